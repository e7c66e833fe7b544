//! Runs a test in a process of its own: this test binary, started once more for the one test and told by its environment to be
//! the child. For what cannot be undone in a process, or would hit the other tests of it.

use std::process::Command;

const CHILD: &str = "RINGWAY_TEST_CHILD";

/// Runs `child` in a process of its own and asks that it ends well. `test` is the name of the calling test.
pub fn in_child(test: &str, child: impl FnOnce()) {
    if std::env::var_os(CHILD).is_some() {
        return child();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "the child ran no test: {text}");
}
