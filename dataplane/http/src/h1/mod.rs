//! HTTP/1.1 (RFC 9112): strict in both directions.
//!
//! `httparse` finds tokens; what it lets pass and a neighbour could read differently is refused here: bare LF, two Hosts, both framings,
//! signs and lists in Content-Length, fragments, userinfo. Chunked bodies have a parser of their own. Nothing is repaired: a message is
//! forwarded as it came, or refused.

mod authority;
mod body;
mod chunked;
mod error;
mod fields;
mod lines;
mod reason;
mod request;
mod response;
mod strict;
mod target;
mod trailers;
mod upgrade;
mod write;

pub use body::{BodyDecoder, Decoded, Output};
pub use error::{BodyError, HeadError, HeadTooLong, RequestError, ResponseError};
pub use reason::reason;
pub use write::HeadWriter;

/// Bounds on a head. Defaults: 60 KiB, 100 lines, and the URI inside the head's bound (Istio's).
/// Values above the ceilings ([`HEAD_BYTES_CEILING`], [`FIELDS_CEILING`]) count as the ceiling: spans are two bytes wide.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes of a whole head (431).
    pub head_bytes_max: usize,
    /// Header lines (431).
    pub fields_max: usize,
    /// Bytes of the request-target (414).
    pub target_bytes_max: usize,
    /// Refuse what other readers could understand otherwise.
    pub strict: bool,
}

/// No head is longer, whatever the limits say.
pub const HEAD_BYTES_CEILING: usize = u16::MAX as usize;

/// No head has more lines, whatever the limits say.
pub const FIELDS_CEILING: usize = u8::MAX as usize;

impl Default for HeadLimits {
    fn default() -> Self {
        HeadLimits { head_bytes_max: 60 << 10, fields_max: 100, target_bytes_max: 60 << 10, strict: false }
    }
}

/// Bytes of a request-target that is within reach of every reader: the bound of the strict profile.
const STRICT_TARGET_BYTES_MAX: usize = 8 << 10;

impl HeadLimits {
    /// Bounds of a profile.
    pub fn new(head_bytes_max: usize, fields_max: usize, strict: bool) -> HeadLimits {
        let target_bytes_max = if strict { head_bytes_max.min(STRICT_TARGET_BYTES_MAX) } else { head_bytes_max };
        HeadLimits { head_bytes_max, fields_max, target_bytes_max, strict }
    }

    fn head_bytes(&self) -> usize {
        self.head_bytes_max.min(HEAD_BYTES_CEILING)
    }

    fn fields(&self) -> usize {
        self.fields_max.min(FIELDS_CEILING)
    }
}

/// How far a parse came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parse {
    /// The head is whole; its length is in the head value.
    Complete,
    /// More bytes are needed. `scanned` bytes need not be looked at again: pass it to the next call.
    Partial {
        /// Bytes searched for the head's end.
        scanned: usize,
    },
}
