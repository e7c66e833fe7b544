//! A snapshot for people and for tools.

mod json;
mod text;

pub(crate) use json::put_own_actions;
pub use json::{action_of, content, json};
pub use text::text;
