//! Tells the program which compiler built it: counts of one compiler are no baseline for another.

use std::process::Command;

fn main() {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let said = Command::new(rustc).arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let version = said.split(' ').nth(1).unwrap_or("unknown");
    println!("cargo:rustc-env=COMPILER=rustc {}", version.trim());
    println!("cargo:rerun-if-changed=build.rs");
}
