//! What is counted and logged: single-writer cells per worker, read by housekeeping at scrape; access-log records as bytes.

pub mod flag;
pub mod names;
pub mod peer;
pub mod record;
pub mod series;

pub use flag::Flag;
