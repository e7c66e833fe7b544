//! Bodies: how far an input belongs to the message, and which range of it goes on. Nothing is copied or re-encoded; what is forwarded is
//! what came, with what must not go further left out.

use crate::h1::BodyError;
use crate::h1::chunked::{Chunked, Fate};
use crate::head::Framing;
use std::ops::Range;

/// What the peer gets of a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// The chunked stream, without chunk extensions and refused trailers.
    Verbatim,
    /// The data alone, without the chunk framing and any trailers (towards HTTP/1.0 peers).
    Data,
}

/// Where a body is. Small, and a copy is a checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct BodyDecoder {
    state: State,
    output: Output,
    data_bytes: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Length { left: u64 },
    Chunked(Chunked),
    UntilClose,
    Done,
}

/// What became of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Bytes of the input that are dealt with; never 0 for an input that is not empty, unless the body is done.
    pub consumed: usize,
    /// Bytes to send before `forward`: the start of a trailer's name that an earlier input ended in the middle of. Empty but for that.
    pub before: &'static [u8],
    /// The range of the input to pass on as it stands; inside `..consumed`.
    pub forward: Range<usize>,
    /// The body ended with `consumed`; what follows belongs to the next message.
    pub done: bool,
}

impl BodyDecoder {
    /// For a body that is about to start.
    pub fn new(framing: Framing, output: Output) -> BodyDecoder {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(left) => State::Length { left },
            Framing::Chunked => State::Chunked(Chunked::new()),
            Framing::UntilClose => State::UntilClose,
        };
        BodyDecoder { state, output, data_bytes: 0 }
    }

    /// Looks at `input`; to be called again with the rest until `done`, or until `consumed` covers the input.
    ///
    /// Every byte of `forward` has been validated. Chunk extensions and refused trailer lines fall outside of it, so that what is sent is a clean
    /// chunked stream. After an error the message is lost.
    pub fn decode(&mut self, input: &[u8]) -> Result<Decoded, BodyError> {
        match self.state {
            State::Length { left } => {
                let len = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
                let left = left - len as u64;
                self.state = if left == 0 { State::Done } else { State::Length { left } };
                Ok(self.data(len))
            }
            State::UntilClose => Ok(self.data(input.len())),
            State::Chunked(chunked) => self.chunked(chunked, input),
            State::Done => Ok(self.data(0)),
        }
    }

    /// The body has ended; true at once for a message without one.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Body bytes so far, without framing.
    pub fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// The connection closed: the end of a close-delimited body, and too early for any other.
    pub fn on_eof(&self) -> Result<(), BodyError> {
        match self.state {
            State::UntilClose | State::Done => Ok(()),
            State::Length { .. } | State::Chunked(_) => Err(BodyError::Truncated),
        }
    }

    /// `len` bytes of plain data.
    fn data(&mut self, len: usize) -> Decoded {
        self.data_bytes = self.data_bytes.saturating_add(len as u64);
        Decoded { consumed: len, before: b"", forward: 0..len, done: self.is_done() }
    }

    /// Runs until the input ends, the body ends, or bytes to forward would no longer be one range.
    fn chunked(&mut self, mut chunked: Chunked, input: &[u8]) -> Result<Decoded, BodyError> {
        let mut decoded = Decoded { consumed: 0, before: b"", forward: 0..0, done: false };
        while decoded.consumed < input.len() && !chunked.is_done() {
            let checkpoint = chunked;
            let at = decoded.consumed;
            let run = chunked.run(&input[at..], self.data_bytes)?;
            let goes_on = match (run.fate, self.output) {
                (Fate::Dropped, _) | (Fate::Framing, Output::Data) => false,
                (Fate::Data, _) | (Fate::Framing, Output::Verbatim) => true,
            };
            if goes_on && decoded.forward.is_empty() {
                decoded.before = run.held;
                decoded.forward.start = at;
            } else if goes_on && decoded.forward.end != at {
                chunked = checkpoint;
                break;
            }
            decoded.consumed = at + run.len;
            if goes_on {
                decoded.forward.end = decoded.consumed;
            }
            if run.fate == Fate::Data {
                self.data_bytes = self.data_bytes.saturating_add(run.len as u64);
            }
        }
        decoded.done = chunked.is_done();
        self.state = if decoded.done { State::Done } else { State::Chunked(chunked) };
        Ok(decoded)
    }
}
