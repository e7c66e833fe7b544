//! The format from outside.

#![allow(clippy::unwrap_used)]

mod arbitrary;
mod closed;
mod corpus;
mod corruption;
mod evolution;
mod faults;
mod round_trip;
mod sample;
mod streams;
mod words;
