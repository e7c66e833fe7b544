//! Sans-IO HTTP codecs: bytes in, events and ranges out. No socket, no clock, no allocation after warm-up. Of TLS only the first message is read,
//! for its server name.

pub mod client_hello;
#[doc(hidden)]
pub mod fuzz;
pub mod h1;
pub mod head;
mod known;
mod token;
