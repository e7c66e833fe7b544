//! The compact binary config that the control shim gives to a proxy: model, format, verifier, dump, diff and messages.
//!
//! This crate knows neither Kubernetes nor sockets. `docs/config-format.md` describes the bytes for readers in other languages.

mod assembler;
mod blob;
mod closure;
pub mod diff;
pub mod dump;
mod error;
mod file;
#[doc(hidden)]
pub mod fuzz;
pub mod limits;
pub mod log_format;
pub mod message;
pub mod model;
pub mod operators;
mod retry;
mod root;
pub mod rules;
mod snapshot;
pub mod time_format;
pub mod v1;
pub mod wire;

pub use assembler::Assembler;
pub use blob::{Blob, Hash};
pub use error::{EncodeError, Fault, SectionFault, VerifyError};
pub use file::{FILE_MAGIC, FileError};
pub use root::{Order, Root, RootDelta, RootEntry};
pub use snapshot::Snapshot;
