//! `ringway-load serve` as a process.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A server on a port that was free. Dropped, it is stopped.
pub struct Served {
    child: Child,
    /// As it says it itself.
    pub url: String,
}

impl Served {
    pub fn start(args: &[&str], backend: &str) -> Served {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringway-load"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--io-backend", backend]).args(args);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
        let url = line.split(' ').nth(2).unwrap_or_else(|| panic!("{line}")).to_string();
        Served { child, url }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
