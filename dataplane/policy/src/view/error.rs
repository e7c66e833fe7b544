//! Why a snapshot did not become a view.

use std::fmt;

use ringway_config::model::{Kind, RuleId};

/// A snapshot refused: which blob, which rule in it, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    /// Kind of the blob.
    pub kind: Kind,
    /// Name of the blob.
    pub blob: String,
    /// The rule in it; 0 when none is to blame.
    pub rule: RuleId,
    /// Why.
    pub cause: Cause,
}

/// Why a blob was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It refers to a blob that the snapshot does not hold.
    Absent(Kind, String),
    /// A blob of one kind decoded to another.
    WrongKind,
    /// A regular expression that does not compile, with what is wrong.
    Pattern(String),
    /// A route's action that its host does not have.
    NoAction(u32),
    /// A domain that is neither exact nor `*.suffix` nor `*`.
    Domain(String),
    /// A domain that another host has on the same listener and port.
    DomainTaken {
        /// The domain.
        domain: String,
        /// Its port; 0 is any.
        port: u16,
        /// The host that has it.
        by: String,
    },
    /// Routes for a listener that speaks no HTTP.
    NotHttp(String),
    /// Tables of consistent hashing of more than [`TABLES_BYTES_MAX`](super::TABLES_BYTES_MAX).
    TablesTooLarge,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.kind, self.blob)?;
        if self.rule != RuleId(0) {
            write!(f, ", rule {}", self.rule.0)?;
        }
        write!(f, ": {}", self.cause)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Absent(kind, name) => write!(f, "refers to {kind:?} {name}, which the snapshot does not hold"),
            Cause::WrongKind => f.write_str("decodes to another kind than it is listed as"),
            Cause::Pattern(reason) => write!(f, "regular expression: {reason}"),
            Cause::NoAction(action) => write!(f, "a route refers to action {action}, which the host does not have"),
            Cause::Domain(domain) => write!(f, "domain {domain:?} is neither exact nor *.suffix nor *"),
            Cause::DomainTaken { domain, port, by } => {
                write!(f, "domain {domain}, port {port}, belongs to {by} already")
            }
            Cause::TablesTooLarge => {
                let mib = super::TABLES_BYTES_MAX >> 20;
                write!(f, "the tables of consistent hashing exceed {mib} MiB; give fewer clusters one, or smaller ones")
            }
            Cause::NotHttp(listener) => write!(f, "has routes for listener {listener}, which speaks no HTTP"),
        }
    }
}

impl std::error::Error for BuildError {}
