//! A snapshot for people and for tools.

mod json;
mod text;

pub use json::{action, content, json};
pub use text::text;
