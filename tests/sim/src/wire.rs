//! A small reader of HTTP/1.1 messages, apart from the proxy's own: what it does not understand is a failure of the run.

/// A head: its first line and its fields.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// Request or status line.
    pub first: String,
    /// Name (lower case) and value.
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// The first value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The status of a response; 0 when there is none.
    pub fn status(&self) -> u16 {
        self.first.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0)
    }

    /// `Connection: close` is among the fields.
    pub fn closes(&self) -> bool {
        self.fields.iter().any(|(n, v)| n == "connection" && v.eq_ignore_ascii_case("close"))
    }

    /// The framing that the fields announce; `None` without any.
    pub fn framing(&self) -> Option<Body> {
        if self.field("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
            return Some(Body::Chunked);
        }
        self.field("content-length").and_then(|v| v.parse().ok()).map(Body::Length)
    }
}

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// This many bytes.
    Length(usize),
    /// Chunks.
    Chunked,
    /// Until the connection ends.
    UntilClose,
}

/// What was read.
#[derive(Debug)]
pub enum Item {
    /// A whole head. The caller says with [`Reader::body`] what follows.
    Head(Head),
    /// Bytes of the body.
    Data(Vec<u8>),
    /// The message is complete.
    End,
}

#[derive(Debug)]
enum State {
    Head,
    Length(usize),
    ChunkSize,
    Chunk(usize),
    ChunkEnd,
    Trailers,
    UntilClose,
}

/// An incremental reader.
#[derive(Debug)]
pub struct Reader {
    bytes: Vec<u8>,
    at: usize,
    state: State,
}

impl Default for Reader {
    fn default() -> Self {
        Reader { bytes: Vec::new(), at: 0, state: State::Head }
    }
}

impl Reader {
    /// Where to append what arrived.
    pub fn input(&mut self) -> &mut Vec<u8> {
        if self.at > 0 {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
        &mut self.bytes
    }

    /// Says what follows the head that was just read.
    pub fn body(&mut self, body: Body) {
        self.state = match body {
            Body::Length(n) => State::Length(n),
            Body::Chunked => State::ChunkSize,
            Body::UntilClose => State::UntilClose,
        };
    }

    /// True between messages with nothing left over.
    pub fn is_blank(&self) -> bool {
        matches!(self.state, State::Head) && self.rest().is_empty()
    }

    /// True inside of a body that ends with the connection.
    pub fn until_close(&self) -> bool {
        matches!(self.state, State::UntilClose)
    }

    /// The bytes not read yet: what follows an upgrade.
    pub fn take_rest(&mut self) -> Vec<u8> {
        let rest = self.rest().to_vec();
        self.at = self.bytes.len();
        rest
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// The next item, if it is all there.
    pub fn next_item(&mut self) -> Result<Option<Item>, String> {
        loop {
            match self.state {
                State::Head => {
                    if let Some(first) = self.rest().first()
                        && !first.is_ascii_uppercase()
                    {
                        return Err(format!("{:?} where a head begins", self.rest().escape_ascii().to_string()));
                    }
                    let Some(len) = self.rest().windows(4).position(|w| w == b"\r\n\r\n") else { return Ok(None) };
                    let head = parse_head(&self.rest()[..len])?;
                    self.at += len + 4;
                    return Ok(Some(Item::Head(head)));
                }
                State::Length(0) => return Ok(Some(self.end())),
                State::Length(left) => match self.data(left) {
                    Some(data) => {
                        self.state = State::Length(left - data.len());
                        return Ok(Some(Item::Data(data)));
                    }
                    None => return Ok(None),
                },
                State::ChunkSize => {
                    let Some(line) = self.line()? else { return Ok(None) };
                    let size = line.split(';').next().unwrap_or("");
                    let size = usize::from_str_radix(size, 16).map_err(|_| format!("chunk size {line:?}"))?;
                    self.state = if size == 0 { State::Trailers } else { State::Chunk(size) };
                }
                State::Chunk(left) => match self.data(left) {
                    Some(data) => {
                        self.state = if data.len() == left { State::ChunkEnd } else { State::Chunk(left - data.len()) };
                        return Ok(Some(Item::Data(data)));
                    }
                    None => return Ok(None),
                },
                State::ChunkEnd => match self.line()? {
                    Some(line) if line.is_empty() => self.state = State::ChunkSize,
                    Some(line) => return Err(format!("{line:?} behind a chunk")),
                    None => return Ok(None),
                },
                State::Trailers => match self.line()? {
                    Some(line) if line.is_empty() => return Ok(Some(self.end())),
                    Some(_) => {}
                    None => return Ok(None),
                },
                State::UntilClose => return Ok(self.data(usize::MAX).map(Item::Data)),
            }
        }
    }

    /// The connection ended cleanly: true when that completes a message.
    pub fn ends_here(&mut self) -> bool {
        let ends = self.until_close();
        if ends {
            self.state = State::Head;
        }
        ends
    }

    fn end(&mut self) -> Item {
        self.state = State::Head;
        Item::End
    }

    fn data(&mut self, max: usize) -> Option<Vec<u8>> {
        let n = self.rest().len().min(max);
        if n == 0 {
            return None;
        }
        let data = self.rest()[..n].to_vec();
        self.at += n;
        Some(data)
    }

    fn line(&mut self) -> Result<Option<String>, String> {
        let Some(len) = self.rest().windows(2).position(|w| w == b"\r\n") else {
            return if self.rest().len() > 4096 { Err("a line without an end".into()) } else { Ok(None) };
        };
        let line = text(&self.rest()[..len])?;
        self.at += len + 2;
        Ok(Some(line))
    }
}

fn parse_head(bytes: &[u8]) -> Result<Head, String> {
    let text = text(bytes)?;
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or("").to_string();
    let field = |line: &str| {
        let (name, value) = line.split_once(':').ok_or_else(|| format!("{line:?} in a head"))?;
        Ok((name.to_ascii_lowercase(), value.trim().to_string()))
    };
    Ok(Head { first, fields: lines.map(field).collect::<Result<_, String>>()? })
}

fn text(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec())
        .map_err(|_| format!("bytes that are no text: {:?}", &bytes[..bytes.len().min(40)]))
}
