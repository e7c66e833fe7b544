//! Every committed fuzz input, through the functions that the fuzz targets call.

use std::path::Path;

/// Runs a corpus; one that is missing or nearly empty is a mistake.
fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut inputs = 0;
    for entry in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("a folder that can be listed").path();
        let bytes = std::fs::read(&path).expect("a file that can be read");
        if std::panic::catch_unwind(|| check(&bytes)).is_err() {
            panic!("{} breaks an invariant", path.display());
        }
        inputs += 1;
    }
    assert!(inputs >= 20, "{}: only {inputs} inputs", folder.display());
}

#[test]
fn h1_request() {
    replay("h1_request", ringway_http::fuzz::h1_request);
}

#[test]
fn h1_response() {
    replay("h1_response", ringway_http::fuzz::h1_response);
}

#[test]
fn chunked() {
    replay("chunked", ringway_http::fuzz::chunked);
}

#[test]
fn client_hello() {
    replay("client_hello", ringway_http::fuzz::client_hello);
}
