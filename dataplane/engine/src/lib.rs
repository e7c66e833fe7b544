//! Completion-shaped I/O for a thread-per-core proxy.
//!
//! One seam, [`Io`], with three drivers: `Uring`, `Epoll` and `Sim` (seeded, virtual time, faults). The engine moves bytes; it never
//! sees HTTP, configuration or policy. It is the one crate of the workspace that holds `unsafe`, one concept a file.

mod arenas;
pub mod buf;
pub mod choose;
mod clock;
pub mod counting;
pub mod epoll;
pub mod io;
mod listeners;
pub mod mailbox;
mod mapping;
pub mod net;
mod offer;
mod send_queue;
pub mod sim;
pub mod slab;
mod splice;
mod table;
pub mod timers;
pub mod uring;
mod wake;

pub use arenas::{BULK_BYTES, SMALL_BYTES};
pub use buf::Buf;
pub use epoll::Epoll;
pub use io::{Class, Completion, Conn, Errno, Io, Keepalive, ListenSocket, Piece, Sock, Time, Token};
pub use sim::Sim;
pub use uring::Uring;
