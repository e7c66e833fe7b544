//! A snapshot for people and for tools.

mod json;
mod text;

pub use json::{content, json};
pub use text::text;
