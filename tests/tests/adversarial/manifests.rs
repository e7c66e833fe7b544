//! Row 41: protection that would be skipped in silence. Row 61: manifests that are small to write and endless to read. `ringway check` says what is wrong with them, soon and in bounded memory.

use std::process::Command;

use ringway_tests::harness::{Mesh, Program, binary};

/// Address space of the command, KiB: what a bomb must fit into.
const ADDRESS_SPACE_KIB: u64 = 1 << 20;

#[test]
fn row_61_bombs_are_refused() {
    let aliases: String = (1..30).fold("a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned(), |all, i| {
        all + &format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 9].join(", "))
    });
    let bombs = [
        ("aliases", aliases),
        ("sequences", "[".repeat(200_000)),
        ("mappings", "{a: ".repeat(200_000)),
        ("indentation", (0..3_000).fold(String::new(), |all, i| all + &" ".repeat(i) + "a:\n")),
        ("nodes", "- x\n".repeat(3_000_000)),
        ("twice", "apiVersion: v1\nkind: Service\nkind: Secret\nmetadata: {name: a}\n".to_owned()),
        ("tag", "apiVersion: v1\nkind: !!python/object:os.system Service\nmetadata: {name: a}\n".to_owned()),
        ("itself", "a: &a\n  b: *a\n".to_owned()),
        ("nul", "apiVersion: v1\0\nkind: Service\n".to_owned()),
    ];
    for (name, text) in bombs {
        let (mut check, _dir) = check(&text);
        let status = check.wait();
        assert_eq!(status.code(), Some(1), "{name}: {}", check.stderr());
        let said = check.stdout() + &check.stderr();
        assert!(said.contains("manifest.yaml:"), "{name}: no place in {said}");
        assert!(said.len() < 64 << 10, "{name}: {} bytes of complaints", said.len());
    }
}

/// The other half: what is allowed passes, under the same limit.
#[test]
fn row_61_what_is_sound_is_not_refused() {
    let (mut check, _dir) = check(
        "apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: &l {app: a}}\nspec:\n  selector: *l\n  ports: [{port: 80, name: http}]\n",
    );
    assert!(check.wait().success(), "{}{}", check.stdout(), check.stderr());
}

/// A rule that nobody enforces, or that nobody understands, refuses the whole mesh: nothing runs without it.
#[test]
fn row_41_protection_that_is_not_understood_fails_closed() {
    let policies = [
        "{action: DENY, rules: [{to: [{operation: {paths: [/admin]}}]}]}",
        "{action: DENY, rules: [{to: [{operation: {pathz: [/admin]}}]}]}",
        "{action: DENY, rules: [{not: {or: [{and: []}]}}]}",
        "{action: DENI}",
        "{}",
    ];
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("policy.yaml");
    for profile in ["istio", "strict"] {
        for policy in policies {
            let text = format!(
                "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: a}}\nspec: {policy}\n"
            );
            std::fs::write(&path, text).unwrap();
            let manifests = ["examples/hello.yaml", path.to_str().unwrap(), "--profile", profile];
            let (status, events, _) = Mesh::refused(&manifests);
            assert_eq!(status.code(), Some(1), "{policy}");
            let places =
                events.iter().filter(|event| event["severity"] == "error").map(|event| event["file"].to_string());
            assert!(places.clone().any(|place| place.contains("policy.yaml")), "{policy}: {events:?}");
        }
    }
}

fn check(text: &str) -> (Program, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("manifest.yaml");
    std::fs::write(&path, text).unwrap();
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("ulimit -v {ADDRESS_SPACE_KIB} && exec \"$0\" \"$@\"")).arg(binary::ringway());
    command.arg("check").arg(path);
    (Program::start(command), dir)
}
