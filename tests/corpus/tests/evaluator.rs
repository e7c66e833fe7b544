//! Each generated request goes through real sockets to the real proxy; what becomes of it is what the evaluator says.

use ringway_corpus::origins::Origins;
use ringway_corpus::run;
use ringway_tests::harness::{Backend, Case};

#[test]
fn what_a_proxy_does_is_what_the_evaluator_says_uring() {
    Case::run(Backend::Uring, 1, |case| half(case, 1));
}

#[test]
fn what_a_proxy_does_is_what_the_evaluator_says_epoll() {
    Case::run(Backend::Epoll, 2, |case| half(case, 2));
}

fn half(case: Case, stream: u64) {
    let origins = Origins::start();
    for seeds in run::seeds(run::cases() / 2, stream) {
        run::against_the_evaluator(case, &seeds, &origins).unwrap_or_else(|e| panic!("{e}"));
    }
}
