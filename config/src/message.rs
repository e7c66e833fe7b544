//! What shim and proxy say to each other: length-prefixed, versioned, bounded. `docs/config-format.md` has the layout.

use std::fmt;
use std::sync::Arc;

use crate::blob::Hash;
use crate::limits::{
    BLOB_NAME_BYTES_MAX, BLOBS_MAX, LABELS_MAX, MESSAGE_BYTES_MAX, NAME_BYTES_MAX, REASON_BYTES_MAX, WANT_NAMES_MAX,
};
use crate::model::RuleId;
use crate::root::{Order, RootDelta, RootEntry};
use crate::v1;

/// Version of the stream, said in Hello.
pub const VERSION: u32 = 1;

/// Types of messages are 1 to this.
const TYPES: u8 = 7;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Proxy: who I am and what I hold.
    Hello {
        /// [`VERSION`].
        version: u32,
        /// `namespace/pod`.
        node: String,
        /// Labels of the pod.
        labels: Vec<(String, String)>,
        /// Root held, and its order.
        root: Option<(Hash, Order)>,
    },
    /// Proxy: I need these authorities (`host[:port]`).
    Want {
        /// The names.
        names: Vec<String>,
    },
    /// Shim: what you run from now on. Its blobs came before it.
    Root {
        /// The change.
        delta: RootDelta,
        /// Its order.
        order: Order,
    },
    /// Shim: a blob.
    Blob {
        /// Its bytes.
        bytes: Arc<[u8]>,
    },
    /// Proxy: this order is in force.
    Ack {
        /// The order.
        order: Order,
    },
    /// Proxy: this order was refused; what was in force stays.
    Nack {
        /// The order.
        order: Order,
        /// Why, for people.
        reason: String,
        /// The rule it is about; 0 if none.
        rule: RuleId,
    },
    /// Shim: nobody has these names.
    Absent {
        /// The names.
        names: Vec<String>,
        /// For how long that may be believed.
        lifetime_ms: u32,
    },
}

/// A stream that cannot be followed any further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageError {
    /// Longer than [`MESSAGE_BYTES_MAX`].
    TooLong(usize),
    /// Unknown type.
    Type(u8),
    /// Ends within a field, has bytes left over, or a list beyond its bound.
    Malformed(&'static str),
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MessageError::TooLong(n) => {
                write!(f, "a message of {n} bytes is too long; the other side speaks something else or another version")
            }
            MessageError::Type(t) => write!(f, "message type {t} is unknown; the other side is newer"),
            MessageError::Malformed(what) => write!(f, "malformed message: {what}"),
        }
    }
}

impl std::error::Error for MessageError {}

/// Appends a message: length of what follows (u32), type (u8), fields. A Nack's reason is cut to [`REASON_BYTES_MAX`]; every other bound is the
/// caller's to keep, and the receiver refuses a message that breaks one.
pub fn encode(message: &Message, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    match message {
        Message::Hello { version, node, labels, root } => {
            out.push(1);
            put_u32(out, *version);
            put_str(out, node);
            put_u32(out, labels.len() as u32);
            for (key, value) in labels {
                put_str(out, key);
                put_str(out, value);
            }
            out.push(u8::from(root.is_some()));
            if let Some((hash, order)) = root {
                out.extend_from_slice(&hash.0);
                put_order(out, *order);
            }
        }
        Message::Want { names } => {
            out.push(2);
            put_names(out, names);
        }
        Message::Root { delta, order } => {
            out.push(3);
            put_order(out, *order);
            out.extend_from_slice(&delta.base.0);
            out.extend_from_slice(&delta.result.0);
            put_u32(out, delta.upsert.len() as u32);
            for e in &delta.upsert {
                out.push(e.kind as u8);
                put_str(out, &e.name);
                out.extend_from_slice(&e.hash.0);
            }
            put_u32(out, delta.remove.len() as u32);
            for (kind, name) in &delta.remove {
                out.push(*kind as u8);
                put_str(out, name);
            }
        }
        Message::Blob { bytes } => {
            out.push(4);
            out.extend_from_slice(bytes);
        }
        Message::Ack { order } => {
            out.push(5);
            put_order(out, *order);
        }
        Message::Nack { order, reason, rule } => {
            out.push(6);
            put_order(out, *order);
            put_u32(out, rule.0);
            put_str(out, &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)]);
        }
        Message::Absent { names, lifetime_ms } => {
            out.push(7);
            put_u32(out, *lifetime_ms);
            put_names(out, names);
        }
    }
    let len = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
}

/// Takes one message off the front: it and the bytes used, or `None` when it is not whole yet.
pub fn decode(bytes: &[u8]) -> Result<Option<(Message, usize)>, MessageError> {
    let Some(len) = bytes.first_chunk::<4>() else { return Ok(None) };
    let len = u32::from_le_bytes(*len) as usize;
    if len > MESSAGE_BYTES_MAX {
        return Err(MessageError::TooLong(len));
    }
    // Told at once: the other side may never send all that it announced.
    if let Some(kind) = bytes.get(4).filter(|kind| !(1..=TYPES).contains(*kind)) {
        return Err(MessageError::Type(*kind));
    }
    let Some(body) = bytes.get(4..4 + len) else { return Ok(None) };
    let mut take = Take(body);
    let message = take.message()?;
    if !take.0.is_empty() {
        return Err(MessageError::Malformed("bytes left over"));
    }
    Ok(Some((message, 4 + len)))
}

fn put_u32(out: &mut Vec<u8>, n: u32) {
    out.extend_from_slice(&n.to_le_bytes());
}

fn put_str(out: &mut Vec<u8>, s: &str) {
    put_u32(out, s.len() as u32);
    out.extend_from_slice(s.as_bytes());
}

fn put_names(out: &mut Vec<u8>, names: &[String]) {
    put_u32(out, names.len() as u32);
    names.iter().for_each(|n| put_str(out, n));
}

fn put_order(out: &mut Vec<u8>, order: Order) {
    out.extend_from_slice(&order.incarnation.to_le_bytes());
    out.extend_from_slice(&order.sequence.to_le_bytes());
}

/// Consumes a message body.
struct Take<'a>(&'a [u8]);

impl<'a> Take<'a> {
    fn message(&mut self) -> Result<Message, MessageError> {
        Ok(match self.u8()? {
            1 => self.hello()?,
            2 => Message::Want { names: self.names()? },
            3 => self.root()?,
            4 => Message::Blob { bytes: std::mem::take(&mut self.0).into() },
            5 => Message::Ack { order: self.order()? },
            6 => {
                let (order, rule) = (self.order()?, RuleId(self.u32()?));
                Message::Nack { order, rule, reason: self.str(REASON_BYTES_MAX)? }
            }
            7 => {
                let lifetime_ms = self.u32()?;
                Message::Absent { lifetime_ms, names: self.names()? }
            }
            other => return Err(MessageError::Type(other)),
        })
    }

    fn hello(&mut self) -> Result<Message, MessageError> {
        let version = self.u32()?;
        let node = self.str(NAME_BYTES_MAX)?;
        let count = self.len(LABELS_MAX, 8)?;
        let labels =
            (0..count).map(|_| Ok((self.str(NAME_BYTES_MAX)?, self.str(NAME_BYTES_MAX)?))).collect::<Result<_, _>>()?;
        let root = match self.u8()? {
            0 => None,
            1 => Some((self.hash()?, self.order()?)),
            _ => return Err(MessageError::Malformed("root flag")),
        };
        Ok(Message::Hello { version, node, labels, root })
    }

    fn root(&mut self) -> Result<Message, MessageError> {
        let (order, base, result) = (self.order()?, self.hash()?, self.hash()?);
        let count = self.len(BLOBS_MAX, 37)?;
        let upsert = (0..count)
            .map(|_| {
                Ok(RootEntry { kind: self.kind()?, name: self.str(BLOB_NAME_BYTES_MAX)?.into(), hash: self.hash()? })
            })
            .collect::<Result<_, _>>()?;
        let count = self.len(BLOBS_MAX, 5)?;
        let remove =
            (0..count).map(|_| Ok((self.kind()?, self.str(BLOB_NAME_BYTES_MAX)?))).collect::<Result<_, _>>()?;
        Ok(Message::Root { delta: RootDelta { base, upsert, remove, result }, order })
    }

    fn bytes(&mut self, n: usize) -> Result<&'a [u8], MessageError> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or(MessageError::Malformed("ends within a field"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, MessageError> {
        Ok(self.bytes(1)?[0])
    }

    fn u32(&mut self) -> Result<u32, MessageError> {
        let mut n = [0; 4];
        n.copy_from_slice(self.bytes(4)?);
        Ok(u32::from_le_bytes(n))
    }

    fn u64(&mut self) -> Result<u64, MessageError> {
        let mut n = [0; 8];
        n.copy_from_slice(self.bytes(8)?);
        Ok(u64::from_le_bytes(n))
    }

    /// A list's length: bounded, and no more than what is left can hold.
    fn len(&mut self, max: usize, bytes_each_min: usize) -> Result<usize, MessageError> {
        let n = self.u32()? as usize;
        if n > max || n > self.0.len() / bytes_each_min {
            return Err(MessageError::Malformed("list longer than allowed"));
        }
        Ok(n)
    }

    fn str(&mut self, max: usize) -> Result<String, MessageError> {
        let n = self.u32()? as usize;
        if n > max {
            return Err(MessageError::Malformed("string longer than allowed"));
        }
        std::str::from_utf8(self.bytes(n)?)
            .map(str::to_owned)
            .map_err(|_| MessageError::Malformed("string is not UTF-8"))
    }

    fn names(&mut self) -> Result<Vec<String>, MessageError> {
        let count = self.len(WANT_NAMES_MAX, 4)?;
        (0..count).map(|_| self.str(NAME_BYTES_MAX)).collect()
    }

    fn hash(&mut self) -> Result<Hash, MessageError> {
        let mut hash = [0; 32];
        hash.copy_from_slice(self.bytes(32)?);
        Ok(Hash(hash))
    }

    fn order(&mut self) -> Result<Order, MessageError> {
        Ok(Order { incarnation: self.u64()?, sequence: self.u64()? })
    }

    fn kind(&mut self) -> Result<crate::model::Kind, MessageError> {
        v1::kind(self.u8()?).ok_or(MessageError::Malformed("blob kind"))
    }
}
