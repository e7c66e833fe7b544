//! What the proxy does for every request, piece by piece, each ready to be run again and again: `instructions` counts what a piece takes under callgrind,
//! `times` takes the time.
//!
//! Nothing here measures, and nothing is random: the same pieces of work in the same order each time.

// A measurement that cannot be made ends with a panic that says why.
#![allow(clippy::unwrap_used)]

mod bodies;
mod configs;
pub mod counts;
mod decisions;
mod heads;
pub mod mesh;
mod timers;

/// Does all [`HotPath::operations`] of a path once.
pub type Work = Box<dyn FnMut()>;

/// One of the things that are done for every request, connection or config.
pub struct HotPath {
    /// What figures of it are called.
    pub name: String,
    /// How often the work does it each time: enough for different names, lines and slots to have their turn.
    pub operations: usize,
    prepare: Box<dyn Fn() -> Work>,
}

impl HotPath {
    fn new(name: impl Into<String>, operations: usize, prepare: impl Fn() -> Work + 'static) -> HotPath {
        HotPath { name: name.into(), operations, prepare: Box::new(prepare) }
    }

    /// Everything that the work needs, and the work, done twice already: buffers have their size, and what is found out once is known.
    pub fn prepared(&self) -> Work {
        let mut work = (self.prepare)();
        work();
        work();
        work
    }
}

/// All of them.
pub fn all() -> Vec<HotPath> {
    [heads::paths(), bodies::paths(), decisions::paths(), timers::paths(), configs::paths()]
        .into_iter()
        .flatten()
        .collect()
}
