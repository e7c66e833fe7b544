//! What can be wrong with config: a vocabulary that can be counted, and words that say what, where and how to mend it.

use std::fmt;
use std::net::SocketAddr;

use crate::limits;
use crate::model::{Kind, RuleId};
use crate::root::Order;
use crate::v1::section;

/// A model that cannot be encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// A string is longer than [`limits::STRING_BYTES_MAX`].
    StringTooLong {
        /// Its length.
        bytes: usize,
        /// How it starts.
        start: String,
    },
    /// A section has more than [`limits::RECORDS_MAX`] records.
    TooManyRecords {
        /// Its id.
        section: u16,
        /// How many.
        records: usize,
    },
    /// A blob is larger than [`limits::BLOB_BYTES_MAX`].
    BlobTooLarge {
        /// Its size.
        bytes: usize,
    },
    /// An IPv6 address with a scope or flow label, or one that maps an IPv4 address: the format has neither.
    Address(SocketAddr),
    /// Two rules have the same id.
    RuleCollision(String),
    /// The model breaks a rule of the format.
    Refused {
        /// Kind of the model.
        kind: Kind,
        /// Its name.
        name: String,
        /// What it breaks.
        error: VerifyError,
    },
    /// Models that are no closed set.
    Rule(VerifyError),
}

/// A blob or snapshot that cannot be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifyError {
    /// It ends too early.
    Truncated {
        /// Where.
        what: &'static str,
        /// How long it is.
        bytes: usize,
    },
    /// It does not start as it must.
    Magic {
        /// What it starts with.
        found: [u8; 4],
    },
    /// A version of the format that this program does not read.
    Version {
        /// The digit in the magic.
        found: u8,
    },
    /// Larger than its limit.
    TooLarge {
        /// Of what.
        what: &'static str,
        /// As found.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// It says another length than it has.
    Length {
        /// As it says.
        said: usize,
        /// As found.
        found: usize,
    },
    /// A field of the header is out of its range.
    Header {
        /// Which.
        field: &'static str,
    },
    /// A section lies wrong.
    Section {
        /// Its place in the section table.
        entry: u16,
        /// Its id.
        id: u16,
        /// How.
        fault: SectionFault,
    },
    /// The pool is not UTF-8.
    Utf8 {
        /// First wrong byte of the pool.
        offset: usize,
    },
    /// A record is wrong.
    Record {
        /// Kind of the blob.
        kind: Kind,
        /// Section of the record.
        section: u16,
        /// Its index.
        record: u32,
        /// Its field.
        field: &'static str,
        /// How.
        fault: Fault,
    },
    /// Content does not have the hash it is named by.
    Hash {
        /// Of what.
        what: String,
    },
    /// Something refers to a blob that is not there.
    Dangling {
        /// Who refers.
        from: String,
        /// By which rule.
        rule: RuleId,
        /// To what.
        to: String,
    },
    /// A set of blobs is not one closed configuration.
    Set(String),
    /// Older than what is in force.
    Stale {
        /// In force.
        held: Order,
        /// Offered.
        offered: Order,
    },
}

/// How a section lies wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SectionFault {
    /// Ids do not ascend.
    Order,
    /// It does not start where the one before it ends.
    Offset,
    /// It ends behind the blob's end.
    Bounds,
    /// Records of no size, or smaller than this version's.
    Stride,
    /// More records than [`limits::RECORDS_MAX`].
    Count,
}

/// What is wrong with a record's field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A string lies outside of the pool or splits a character.
    String,
    /// A string is too long.
    TooLong {
        /// Its bytes.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Strings of the blob, each as often as it is used, are beyond [`limits::text_bytes_max`].
    TextBudget,
    /// An empty string where one is needed.
    Empty,
    /// A value that belongs to another variant, or a reserved byte, is not zero.
    NotZero,
    /// A flag is neither 0 nor 1.
    Flag,
    /// An enum value that this version does not know.
    Unknown {
        /// The value.
        value: u8,
    },
    /// A span does not start where the one before it ends, leaves its section, or is empty and not 0, 0.
    Span,
    /// An index beyond its list.
    Index,
    /// Records that no span refers to.
    Unreferenced,
    /// Not exactly one record.
    NotOne,
    /// Not unique, or not sorted where that is promised.
    Order,
    /// A weight of 0 where at least 1 is needed.
    NoWeight,
    /// Weights whose sum does not fit into 32 bits.
    Weights,
    /// A number out of its range.
    Range,
    /// A size of a Maglev table that is no prime.
    NotPrime,
    /// A control character, or what else may not stand in this kind of text.
    Characters,
    /// A header that belongs to the connection.
    FramingHeader,
}

impl VerifyError {
    /// The rule it is about, if one is known; for a Nack.
    pub fn rule(&self) -> RuleId {
        match self {
            VerifyError::Dangling { rule, .. } => *rule,
            _ => RuleId::default(),
        }
    }
}

impl fmt::Display for SectionFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SectionFault::Order => "its id is not larger than the one before; sort the section table",
            SectionFault::Offset => "it does not start where the one before it ends; leave no gap and no overlap",
            SectionFault::Bounds => "it ends behind the blob's end; fetch the blob again",
            SectionFault::Stride => "its records are smaller than version 1's; rebuild the blob",
            SectionFault::Count => "it has too many records; split the blob",
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::TooLong { bytes, max } => return write!(f, "{bytes} bytes are more than {max}; shorten it"),
            Fault::Unknown { value } => {
                return write!(f, "value {value} is unknown; use a newer proxy, or an older shim");
            }
            Fault::String => "the string lies outside of the pool or splits a character; rebuild the blob",
            Fault::TextBudget => "the blob's strings add up to too much; split the blob",
            Fault::Empty => "it may not be empty",
            Fault::NotZero => "it must be zero or empty here; a newer shim may mean something by it",
            Fault::Flag => "neither 0 nor 1",
            Fault::Span => "the span is not the next part of its section; rebuild the blob",
            Fault::Index => "it points beyond the list; rebuild the blob",
            Fault::Unreferenced => "records are left that nothing refers to; rebuild the blob",
            Fault::NotOne => "exactly one record is needed",
            Fault::Order => "it is there twice, or out of order",
            Fault::NoWeight => "a weight is at least 1",
            Fault::Weights => "the weights add up to more than 32 bits hold; divide them by a common factor",
            Fault::Range => "the number is out of range",
            Fault::NotPrime => "the size of a Maglev table is a prime, such as 65537",
            Fault::Characters => "it has a character that may not stand there",
            Fault::FramingHeader => "the header belongs to the connection and cannot be edited; leave it out",
        })
    }
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VerifyError::Truncated { what, bytes } => {
                write!(f, "truncated in the {what}: only {bytes} bytes; fetch it again")
            }
            VerifyError::Magic { found } => {
                write!(f, "not a Ringway config: it starts with \"{}\"", found.escape_ascii())
            }
            VerifyError::Version { found } => {
                write!(f, "format version '{}' is not 1; use programs of one release", found.escape_ascii())
            }
            VerifyError::TooLarge { what, found, max } => write!(f, "{what}: {found} is more than {max}; split it"),
            VerifyError::Length { said, found } => write!(f, "it says {said} bytes and has {found}; fetch it again"),
            VerifyError::Header { field } => write!(f, "the header's {field} is out of range; rebuild it"),
            VerifyError::Section { entry, id, fault } => {
                write!(f, "section {} (entry {entry} of the section table): {fault}", section::name(*id))
            }
            VerifyError::Utf8 { offset } => write!(f, "the string pool is not UTF-8 at byte {offset}; fetch it again"),
            VerifyError::Record { kind, section, record, field, fault } => {
                write!(f, "{kind:?} blob, section {}, record {record}, {field}: {fault}", section::name(*section))
            }
            VerifyError::Hash { what } => {
                write!(f, "{what} does not have the SHA-256 it is named by: corrupted on its way; fetch it again")
            }
            VerifyError::Dangling { from, rule, to } => {
                write!(f, "{from} refers to {to}, which is not in the snapshot (rule {:08x})", rule.0)
            }
            VerifyError::Set(why) => f.write_str(why),
            VerifyError::Stale { held, offered } => {
                write!(f, "order {offered} is not newer than {held}, which is in force; send a newer one")
            }
        }
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EncodeError::StringTooLong { bytes, start } => write!(
                f,
                "a string of {bytes} bytes is longer than {}: “{start}…”; shorten it",
                limits::STRING_BYTES_MAX
            ),
            EncodeError::TooManyRecords { section, records } => {
                write!(f, "{records} {} records are more than {}", section::name(*section), limits::RECORDS_MAX)
            }
            EncodeError::BlobTooLarge { bytes } => {
                write!(f, "a blob of {bytes} bytes is larger than {}; split it", limits::BLOB_BYTES_MAX)
            }
            EncodeError::Address(address) => {
                write!(f, "{address}: an address may have no scope and no flow label, and IPv4 is written as IPv4")
            }
            EncodeError::RuleCollision(what) => {
                write!(f, "two rules have the same id: {what}; rename one of the objects")
            }
            EncodeError::Refused { kind, name, error } => write!(f, "{kind:?} {name:?}: {error}"),
            EncodeError::Rule(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for VerifyError {}
impl std::error::Error for EncodeError {}
