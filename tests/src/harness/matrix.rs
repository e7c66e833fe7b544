//! The matrix every test from outside runs on: both drivers, one worker and two.

use std::io::Write;
use std::sync::OnceLock;

use super::proxy::ProxyBuilder;

/// The proxy's I/O driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// io_uring.
    Uring,
    /// epoll.
    Epoll,
}

impl Backend {
    /// As `--io-backend` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Uring => "uring",
            Backend::Epoll => "epoll",
        }
    }
}

/// One cell of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// The driver.
    pub backend: Backend,
    /// How many workers.
    pub workers: usize,
}

impl Case {
    /// Runs a test in this cell, or says why not.
    pub fn run(backend: Backend, workers: usize, test: fn(Case)) {
        if backend == Backend::Uring && !uring_works() {
            return skip("io_uring is refused on this machine");
        }
        test(Case { backend, workers });
    }
}

/// Says that a test did not run, on a line that the test runner does not capture and `.ci/run` counts.
pub fn skip(reason: &str) {
    let test = std::thread::current().name().unwrap_or("test").to_owned();
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: {reason}");
}

/// Whether a proxy left to choose takes io_uring; asked once.
fn uring_works() -> bool {
    static WORKS: OnceLock<bool> = OnceLock::new();
    *WORKS.get_or_init(|| ProxyBuilder::probe().start().backend() == "uring")
}

/// Makes tests of functions `fn name(case: Case)`: each becomes a module of that name with one test for every cell.
#[macro_export]
macro_rules! matrix {
    ($($name:ident),+ $(,)?) => {
        $(mod $name {
            use $crate::harness::{Backend, Case};

            #[test]
            fn uring_1_worker() {
                Case::run(Backend::Uring, 1, super::$name);
            }
            #[test]
            fn uring_2_workers() {
                Case::run(Backend::Uring, 2, super::$name);
            }
            #[test]
            fn epoll_1_worker() {
                Case::run(Backend::Epoll, 1, super::$name);
            }
            #[test]
            fn epoll_2_workers() {
                Case::run(Backend::Epoll, 2, super::$name);
            }
        })+
    };
}
