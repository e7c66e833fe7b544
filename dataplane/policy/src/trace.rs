//! Why a decision fell: `()` in the proxy (compiles to nothing), a recorder in `explain`.

use ringway_config::model::RuleId;

/// One step of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// The authority, normalised, met this host (index in the view).
    Host(u32),
    /// No host has this authority.
    NoHost,
    /// This route was looked at and did not match, for this reason (`path`, `method`, `header x-user`, …).
    Passed(RuleId, String),
    /// This route matched.
    Route(RuleId),
    /// This destination was drawn from the weights.
    Backend(RuleId),
    /// This endpoint was chosen.
    Endpoint(std::net::SocketAddr),
}

/// Takes notes. The note is made only when someone listens.
pub trait Trace {
    /// Whether anybody listens. Near misses are worked out only then: the index never looks at most of them.
    const LISTENS: bool = true;

    /// Records a step.
    fn note(&mut self, note: impl FnOnce() -> Note);
}

impl Trace for () {
    const LISTENS: bool = false;

    #[inline]
    fn note(&mut self, _: impl FnOnce() -> Note) {}
}

impl Trace for Vec<Note> {
    fn note(&mut self, note: impl FnOnce() -> Note) {
        self.push(note());
    }
}
