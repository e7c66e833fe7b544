//! What the suites share: the program as a process, and servers that are told what to do.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::Arc;

use serde_json::Value;

pub fn ringway_load(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringway-load")).args(args).output().unwrap()
}

pub fn json(args: &[&str]) -> Value {
    let output = ringway_load(&[args, &["--output", "json"]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|e| {
        panic!("{args:?}: {e}\n{text}\n{}", String::from_utf8_lossy(&output.stderr));
    })
}

/// A server of threads: every connection has one, which ends with the test's process.
pub fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}
