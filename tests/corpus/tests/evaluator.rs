//! Each generated request goes through real sockets to the real proxy; what becomes of it is what the evaluator says.

use ringway_corpus::coverage::Coverage;
use ringway_corpus::origins::Origins;
use ringway_corpus::run;
use ringway_tests::harness::{Backend, Case};
use std::io::Write;

/// Cases in which every feature occurs, and how often at least.
const EVERY_FEATURE: (usize, usize) = (4_000, 1);

#[test]
fn what_a_proxy_does_is_what_the_evaluator_says_uring() {
    Case::run(Backend::Uring, 1, |case| half(case, 1));
}

#[test]
fn what_a_proxy_does_is_what_the_evaluator_says_epoll() {
    Case::run(Backend::Epoll, 2, |case| half(case, 2));
}

fn half(case: Case, stream: u64) {
    let mut coverage = Coverage::default();
    for seeds in run::seeds((run::cases() / 2).div_ceil(run::REQUESTS), stream) {
        // They keep the descriptors of their connections, of which a process has only so many.
        let origins = Origins::start();
        coverage.extend(run::against_the_evaluator(case, &seeds, &origins).unwrap_or_else(|e| panic!("{e}")));
    }
    if run::is_asked_for() {
        // Where the harness does not catch it.
        writeln!(std::io::stderr(), "{coverage}").expect("a standard error");
    }
    let (cases, at_least) = EVERY_FEATURE;
    if coverage.cases() >= cases {
        coverage.check(at_least).unwrap_or_else(|e| panic!("{e}"));
    }
}
