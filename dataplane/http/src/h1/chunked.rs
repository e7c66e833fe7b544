//! The chunked coding (RFC 9112 §7.1), strictly: 1 to 16 hexadecimal digits, extensions by the grammar and without white space, CRLF and
//! nothing but. Anything else is where two parsers disagree on the end of a message.
//!
//! A small state machine over *runs*: the longest stretch of input that belongs to one state and shares one fate, passed on or left out.

use crate::h1::BodyError;
use crate::h1::trailers::{Held, Verdict};
use crate::token::{is_token_byte, is_value_byte};

/// Digits of a chunk size.
const SIZE_DIGITS_MAX: u8 = 16;
/// Largest chunk: what still fits the signed numbers of neighbours.
const SIZE_MAX: u64 = i64::MAX as u64;
/// Bytes of the extensions of one chunk.
const EXTENSION_BYTES_MAX: u16 = 256;
/// Bytes of all extensions of a body, beyond as many as it has data.
const EXTENSIONS_FREE_BYTES: u64 = 16 << 10;
/// Bytes of the trailer section, as of a head.
const TRAILER_BYTES_MAX: u16 = 60 << 10;
/// Trailer fields, as of a head.
const TRAILER_FIELDS_MAX: u8 = 100;

/// Where in a chunked body.
#[derive(Clone, Copy, Debug)]
enum At {
    /// A chunk's size.
    Size {
        digits: u8,
    },
    /// After `;`: the first byte of an extension's name.
    ExtensionStart,
    ExtensionName,
    /// After `=`.
    ExtensionValue,
    ExtensionToken,
    ExtensionQuoted,
    ExtensionEscape,
    ExtensionQuoteEnd,
    /// The LF after a chunk's size.
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// The first byte of a trailer line, or of the last line.
    Trailer,
    /// A trailer's name that may yet be a refused one.
    TrailerName(Held),
    /// The rest of a name whose fate is known.
    TrailerNameRest {
        kept: bool,
    },
    TrailerValue {
        kept: bool,
    },
    TrailerLf {
        kept: bool,
    },
    LastLf,
    Done,
}

/// A chunked body's decoder.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunked {
    at: At,
    /// The size being read, then what is left of the chunk's data.
    left: u64,
    /// Bytes of this chunk's extensions, then of the trailer section.
    line_bytes: u16,
    trailer_fields: u8,
    extension_bytes: u64,
}

/// A stretch of input.
pub(super) struct Run {
    /// Its bytes, at least one.
    pub len: usize,
    /// What to do with them.
    pub fate: Fate,
    /// Bytes held back before it that go out after all.
    pub held: &'static [u8],
}

/// What becomes of a run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The body's data.
    Data,
    /// Framing and trailers to pass on where the framing is.
    Framing,
    /// Left out.
    Dropped,
}

impl Chunked {
    pub fn new() -> Chunked {
        Chunked { at: At::Size { digits: 0 }, left: 0, line_bytes: 0, trailer_fields: 0, extension_bytes: 0 }
    }

    pub fn is_done(&self) -> bool {
        matches!(self.at, At::Done)
    }

    /// The next run of `input`, which has at least one byte. `data_bytes` is how much data there was so far.
    pub fn run(&mut self, input: &[u8], data_bytes: u64) -> Result<Run, BodyError> {
        match self.at {
            At::Data => Ok(self.data(input)),
            At::Size { digits } => self.size(input, digits),
            At::SizeLf => {
                expect(input[0], b'\n', BodyError::ChunkLineEnd)?;
                (self.at, self.line_bytes) = (if self.left > 0 { At::Data } else { At::Trailer }, 0);
                Ok(framing(1))
            }
            At::DataCr => {
                expect(input[0], b'\r', BodyError::ChunkDataEnd)?;
                self.at = At::DataLf;
                Ok(framing(1))
            }
            At::DataLf => {
                expect(input[0], b'\n', BodyError::ChunkDataEnd)?;
                self.at = At::Size { digits: 0 };
                Ok(framing(1))
            }
            At::LastLf => {
                expect(input[0], b'\n', BodyError::TrailerName)?;
                self.at = At::Done;
                Ok(framing(1))
            }
            At::Done => Ok(Run { len: input.len(), fate: Fate::Dropped, held: b"" }),
            At::Trailer
            | At::TrailerName(_)
            | At::TrailerNameRest { .. }
            | At::TrailerValue { .. }
            | At::TrailerLf { .. } => self.trailers(input),
            _ => self.extensions(input, data_bytes),
        }
    }

    fn data(&mut self, input: &[u8]) -> Run {
        let len = usize::try_from(self.left).map_or(input.len(), |left| left.min(input.len()));
        self.left -= len as u64;
        if self.left == 0 {
            self.at = At::DataCr;
        }
        Run { len, fate: Fate::Data, held: b"" }
    }

    /// Digits, and the CR after them.
    fn size(&mut self, input: &[u8], mut digits: u8) -> Result<Run, BodyError> {
        for (index, &byte) in input.iter().enumerate() {
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'f' => byte - b'a' + 10,
                b'A'..=b'F' => byte - b'A' + 10,
                b'\r' if digits > 0 => {
                    self.at = At::SizeLf;
                    return Ok(framing(index + 1));
                }
                b';' if digits > 0 && index > 0 => {
                    self.at = At::Size { digits };
                    return Ok(framing(index));
                }
                b';' if digits > 0 => {
                    (self.at, self.line_bytes) = (At::ExtensionStart, 0);
                    return Ok(Run { len: 1, fate: Fate::Dropped, held: b"" });
                }
                _ => return Err(BodyError::ChunkSize),
            };
            if digits == SIZE_DIGITS_MAX {
                return Err(BodyError::ChunkSize);
            }
            self.left = (if digits == 0 { 0 } else { self.left << 4 }) | u64::from(digit);
            digits += 1;
            if self.left > SIZE_MAX {
                return Err(BodyError::ChunkSize);
            }
        }
        self.at = At::Size { digits };
        Ok(framing(input.len()))
    }

    /// Extensions up to the CR: `*( ";" token [ "=" ( token / quoted-string ) ] )`, validated and left out.
    fn extensions(&mut self, input: &[u8], data_bytes: u64) -> Result<Run, BodyError> {
        for (index, &byte) in input.iter().enumerate() {
            let next = match (self.at, byte) {
                (At::ExtensionName | At::ExtensionToken | At::ExtensionQuoteEnd, b'\r') if index > 0 => {
                    return Ok(Run { len: index, fate: Fate::Dropped, held: b"" });
                }
                (At::ExtensionName | At::ExtensionToken | At::ExtensionQuoteEnd, b'\r') => {
                    self.at = At::SizeLf;
                    return Ok(framing(1));
                }
                (At::ExtensionName | At::ExtensionToken | At::ExtensionQuoteEnd, b';') => At::ExtensionStart,
                (At::ExtensionName, b'=') => At::ExtensionValue,
                (At::ExtensionStart | At::ExtensionName, b) if is_token_byte(b) => At::ExtensionName,
                (At::ExtensionValue, b'"') => At::ExtensionQuoted,
                (At::ExtensionValue | At::ExtensionToken, b) if is_token_byte(b) => At::ExtensionToken,
                (At::ExtensionQuoted, b'"') => At::ExtensionQuoteEnd,
                (At::ExtensionQuoted, b'\\') => At::ExtensionEscape,
                (At::ExtensionQuoted | At::ExtensionEscape, b) if is_value_byte(b) => At::ExtensionQuoted,
                _ => return Err(BodyError::ChunkExtension),
            };
            self.at = next;
            self.line_bytes += 1;
            self.extension_bytes += 1;
            if self.line_bytes >= EXTENSION_BYTES_MAX
                || self.extension_bytes > EXTENSIONS_FREE_BYTES.saturating_add(data_bytes)
            {
                return Err(BodyError::ChunkExtensionTooLong);
            }
        }
        Ok(Run { len: input.len(), fate: Fate::Dropped, held: b"" })
    }

    /// One line of the trailer section, or what there is of it.
    fn trailers(&mut self, input: &[u8]) -> Result<Run, BodyError> {
        let mut held = match self.at {
            At::TrailerName(held) => held.bytes(),
            _ => b"",
        };
        let mut fate = None;
        for (index, &byte) in input.iter().enumerate() {
            self.count_trailer_byte()?;
            self.at = match (self.at, byte) {
                (At::Trailer, b'\r') => {
                    self.at = At::LastLf;
                    return Ok(framing(1));
                }
                (At::Trailer, _) => self.trailer_starts(byte)?,
                (At::TrailerName(name), b':') if name.is_refused() => At::TrailerValue { kept: false },
                (At::TrailerName(_), b':') => At::TrailerValue { kept: true },
                (At::TrailerName(name), _) => name_goes_on(name, byte)?,
                (At::TrailerNameRest { kept }, b':') => At::TrailerValue { kept },
                (At::TrailerNameRest { kept }, b) if is_token_byte(b) => At::TrailerNameRest { kept },
                (At::TrailerNameRest { .. }, _) => return Err(BodyError::TrailerName),
                (At::TrailerValue { kept }, b'\r') => At::TrailerLf { kept },
                (At::TrailerValue { kept }, b) if is_value_byte(b) => At::TrailerValue { kept },
                (At::TrailerLf { kept }, b'\n') => {
                    self.at = At::Trailer;
                    return Ok(trailer(index + 1, kept, held));
                }
                _ => return Err(BodyError::TrailerValue),
            };
            fate = self.trailer_fate();
        }
        // The name is still open: hold all of it back.
        if fate.is_none() {
            held = b"";
        }
        Ok(trailer(input.len(), fate.unwrap_or(false), held))
    }

    fn trailer_fate(&self) -> Option<bool> {
        match self.at {
            At::TrailerNameRest { kept } | At::TrailerValue { kept } | At::TrailerLf { kept } => Some(kept),
            _ => None,
        }
    }

    fn trailer_starts(&mut self, byte: u8) -> Result<At, BodyError> {
        self.trailer_fields += 1;
        if self.trailer_fields > TRAILER_FIELDS_MAX {
            return Err(BodyError::TrailersTooLong);
        }
        name_goes_on(Held::default(), byte)
    }

    fn count_trailer_byte(&mut self) -> Result<(), BodyError> {
        self.line_bytes += 1;
        if self.line_bytes > TRAILER_BYTES_MAX { Err(BodyError::TrailersTooLong) } else { Ok(()) }
    }
}

fn name_goes_on(name: Held, byte: u8) -> Result<At, BodyError> {
    if !is_token_byte(byte) {
        return Err(BodyError::TrailerName);
    }
    Ok(match name.push(byte) {
        Verdict::Held(held) => At::TrailerName(held),
        Verdict::Refused => At::TrailerNameRest { kept: false },
        Verdict::Kept => At::TrailerNameRest { kept: true },
    })
}

fn expect(byte: u8, wanted: u8, error: BodyError) -> Result<(), BodyError> {
    if byte == wanted { Ok(()) } else { Err(error) }
}

fn framing(len: usize) -> Run {
    Run { len, fate: Fate::Framing, held: b"" }
}

fn trailer(len: usize, kept: bool, held: &'static [u8]) -> Run {
    if kept { Run { len, fate: Fate::Framing, held } } else { Run { len, fate: Fate::Dropped, held: b"" } }
}
