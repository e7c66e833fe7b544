//! A plain HTTP/1.1 client that says exactly the bytes a test wants said, and reads answers with a parser of its own: a codec must not be its own judge.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::wait::PATIENCE;

/// One connection to a server.
pub struct Client {
    stream: Box<dyn Wire>,
    /// Received and not yet consumed.
    input: Vec<u8>,
}

/// What a client runs over.
pub trait Wire: Read + Write + Send {
    /// Sends FIN.
    fn finish(&self) -> io::Result<()>;
    /// The TCP stream, if it is one.
    fn tcp(&self) -> Option<&TcpStream>;
}

impl Wire for TcpStream {
    fn finish(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
    fn tcp(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

impl Wire for UnixStream {
    fn finish(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
    fn tcp(&self) -> Option<&TcpStream> {
        None
    }
}

/// A response as received.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// The head's bytes, with its blank line.
    pub head: Vec<u8>,
    /// Header lines in order.
    pub headers: Vec<(String, String)>,
    /// The body without its framing.
    pub body: Vec<u8>,
    /// Trailer lines in order.
    pub trailers: Vec<(String, String)>,
    /// How many chunks the body came in; `None` when it was not chunked.
    pub chunks: Option<usize>,
}

/// A chunked body, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunked {
    /// The bytes.
    pub body: Vec<u8>,
    /// Trailer lines in order.
    pub trailers: Vec<(String, String)>,
    /// How many chunks there were, the last one not counted.
    pub chunks: usize,
}

impl Response {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("not JSON ({e}): {}", self.text()))
    }

    /// The server means to close.
    pub fn closes(&self) -> bool {
        self.header("connection").is_some_and(|v| v.eq_ignore_ascii_case("close"))
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{} body bytes", String::from_utf8_lossy(&self.head), self.body.len())
    }
}

impl Client {
    /// Connects over TCP.
    pub fn connect(address: SocketAddr) -> Client {
        Client::try_connect(address).unwrap_or_else(|e| panic!("cannot connect to {address}: {e}"))
    }

    /// Connects over TCP, if somebody listens.
    pub fn try_connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        Client::over_tcp(stream)
    }

    /// Takes over a TCP stream.
    pub fn over_tcp(stream: TcpStream) -> io::Result<Client> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Client { stream: Box::new(stream), input: Vec::new() })
    }

    /// Connects to a Unix socket.
    pub fn try_unix(path: &Path) -> io::Result<Client> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Client { stream: Box::new(stream), input: Vec::new() })
    }

    /// The TCP stream below.
    pub fn tcp(&self) -> &TcpStream {
        self.stream.tcp().expect("this client runs over TCP")
    }

    /// Says these bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the other side takes bytes");
    }

    /// Says these bytes, unless the other side is gone.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Says FIN.
    pub fn finish(&self) {
        self.stream.finish().expect("the connection is open");
    }

    /// `GET path` with this authority, and the answer.
    pub fn get(&mut self, authority: &str, path: &str) -> Response {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\n\r\n"));
        self.response()
    }

    /// The next response; the request was not HEAD. Panics when the connection ends first.
    pub fn response(&mut self) -> Response {
        self.try_response(false).unwrap_or_else(|e| panic!("no response: {e}"))
    }

    /// The next response, to a HEAD request.
    pub fn response_to_head(&mut self) -> Response {
        self.try_response(true).unwrap_or_else(|e| panic!("no response: {e}"))
    }

    /// The next response, interim ones included (they have no body), or why there is none.
    pub fn try_response(&mut self, to_head: bool) -> io::Result<Response> {
        let head = self.take_head()?;
        let (status, headers) = parse_head(&head)?;
        let mut response = Response { status, head, headers, body: Vec::new(), trailers: Vec::new(), chunks: None };
        if to_head || status < 200 || status == 204 || status == 304 {
            return Ok(response);
        }
        let chunked = response.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked"));
        let length = response.header("content-length").map(|v| v.parse::<usize>().map_err(|_| bad("content-length")));
        match (chunked, length.transpose()?) {
            (true, Some(_)) => return Err(bad("both Content-Length and Transfer-Encoding")),
            (true, None) => {
                let whole = self.take_chunked()?;
                response.body = whole.body;
                response.trailers = whole.trailers;
                response.chunks = Some(whole.chunks);
            }
            (false, Some(n)) => response.body = self.take(n)?,
            (false, None) => response.body = self.rest()?,
        }
        Ok(response)
    }

    /// Exactly `n` bytes.
    pub fn take(&mut self, n: usize) -> io::Result<Vec<u8>> {
        while self.input.len() < n {
            self.fill()?;
        }
        Ok(self.input.drain(..n).collect())
    }

    /// Whatever comes next, at least a byte; `UnexpectedEof` at the end.
    pub fn some(&mut self) -> io::Result<Vec<u8>> {
        if self.input.is_empty() {
            self.fill()?;
        }
        Ok(std::mem::take(&mut self.input))
    }

    /// Everything up to the other side's FIN.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        loop {
            match self.fill() {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(std::mem::take(&mut self.input)),
                Err(e) => return Err(e),
            }
        }
    }

    /// Asserts that the other side ends the connection (FIN or reset) without another byte.
    pub fn expect_end(&mut self) {
        match self.rest() {
            Ok(rest) => assert!(rest.is_empty(), "more bytes before the end: {}", String::from_utf8_lossy(&rest)),
            Err(e) => assert_eq!(e.kind(), io::ErrorKind::ConnectionReset, "the connection did not end: {e}"),
        }
    }

    /// Asserts that the connection still serves: a GET on it is answered with 200.
    pub fn expect_alive(&mut self, authority: &str) {
        assert_eq!(self.get(authority, "/alive").status, 200);
    }

    /// Bytes up to and including a line's CRLF.
    pub fn line(&mut self) -> io::Result<Vec<u8>> {
        self.take_until(b"\r\n")
    }

    /// Bytes up to and including a blank line.
    pub fn take_head(&mut self) -> io::Result<Vec<u8>> {
        self.take_until(b"\r\n\r\n")
    }

    fn take_until(&mut self, mark: &[u8]) -> io::Result<Vec<u8>> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.input[searched..].windows(mark.len()).position(|w| w == mark) {
                return Ok(self.input.drain(..searched + at + mark.len()).collect());
            }
            searched = self.input.len().saturating_sub(mark.len() - 1);
            self.fill()?;
        }
    }

    /// A chunked body.
    pub fn take_chunked(&mut self) -> io::Result<Chunked> {
        let mut whole = Chunked::default();
        loop {
            let line = self.line()?;
            let digits = std::str::from_utf8(&line[..line.len() - 2]).map_err(|_| bad("chunk size"))?;
            let size = usize::from_str_radix(digits, 16).map_err(|_| bad("chunk size"))?;
            if size == 0 {
                break;
            }
            whole.body.extend(self.take(size)?);
            if self.take(2)? != b"\r\n" {
                return Err(bad("chunk end"));
            }
            whole.chunks += 1;
        }
        loop {
            let line = self.line()?;
            if line == b"\r\n" {
                return Ok(whole);
            }
            whole.trailers.push(field(&line[..line.len() - 2])?);
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut block = [0; 16 << 10];
        match self.stream.read(&mut block)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                self.input.extend_from_slice(&block[..n]);
                Ok(())
            }
        }
    }
}

fn parse_head(head: &[u8]) -> io::Result<(u16, Vec<(String, String)>)> {
    let mut lines = head[..head.len() - 4].split(|b| *b == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l));
    let first = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|s| s.parse().ok());
    let headers = lines.map(field).collect::<io::Result<_>>()?;
    Ok((status.ok_or_else(|| bad(&first))?, headers))
}

/// `Name: value` in two.
pub(super) fn field(line: &[u8]) -> io::Result<(String, String)> {
    let line = String::from_utf8_lossy(line);
    let (name, value) = line.split_once(':').ok_or_else(|| bad(&line))?;
    Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
}

pub(super) fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
