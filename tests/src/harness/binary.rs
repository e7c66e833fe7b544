//! Where the programs under test are.
//!
//! `RINGWAY_BIN_DIR` names a folder with the finished binaries (`make test` sets it, so that they are built once). Without it the harness asks
//! cargo to bring the binary beside this test up to date, so that a plain `cargo test -p ringway-tests` never tests yesterday's proxy.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The proxy.
pub fn dataplane() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| find("dataplane", "dataplane"))
}

/// The people's command. The proxy is built too: `ringway run` looks for it beside itself.
pub fn ringway() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        dataplane();
        find("control-shim", "ringway")
    })
}

/// The repository's root.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate is a folder of the repository")
}

fn find(package: &str, name: &str) -> PathBuf {
    let path = match std::env::var_os("RINGWAY_BIN_DIR") {
        Some(folder) => PathBuf::from(folder).join(name),
        None => build(package, name),
    };
    assert!(
        path.is_file(),
        "{} is not there: run `make test`, or `cargo build -p {package} --bin {name}`",
        path.display()
    );
    path
}

/// Builds into the target folder and profile that this test was built in.
fn build(package: &str, name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    let profile_dir = test.ancestors().nth(2).expect("tests are in target/<profile>/deps");
    let profile = match profile_dir.file_name().and_then(|n| n.to_str()) {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .current_dir(repository())
        .args(["build", "--quiet", "--profile", profile, "-p", package, "--bin", name, "--target-dir"])
        .arg(profile_dir.parent().expect("a profile's folder is in the target folder"))
        .status();
    assert!(built.is_ok_and(|s| s.success()), "cargo could not build {name}");
    profile_dir.join(name)
}
