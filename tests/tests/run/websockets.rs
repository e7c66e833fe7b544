//! Open WebSockets through the gateway and a sidecar, while the mesh is edited again and again.

use ringway_tests::harness::mesh::{copy_of, edit};
use ringway_tests::harness::{Client, Mesh};

const SOCKETS: usize = 300;
const EDITS: usize = 25;
/// Snapshots alive in a proxy at most (ARCHITECTURE.md).
const SNAPSHOTS_MAX: f64 = 4.0;

fn open(mesh: &Mesh) -> Client {
    let mut client = Client::connect(mesh.gateway(8080));
    client.send(
        "GET /talk HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let answer = client.response();
    assert_eq!((answer.status, answer.header("sec-websocket-accept")), (101, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")));
    client
}

/// One masked frame there, one unmasked frame back.
fn talk(client: &mut Client, word: u8) {
    client.send([0x81, 0x81, 0, 0, 0, 0, word]);
    assert_eq!(client.take(3).expect("an echo"), [0x81, 1, word]);
}

#[test]
fn they_stay_open_through_edits_and_old_snapshots_go() {
    let folder = copy_of("examples/bookshop");
    let split = folder.path().join("reviews-split.yaml");
    let mut mesh = Mesh::start(&[folder.path().to_str().unwrap()]);
    let mut sockets: Vec<Client> = (0..SOCKETS).map(|_| open(&mesh)).collect();
    for n in 0..EDITS {
        let seen = mesh.events().len();
        edit(&split, &format!("weight: {}", 90 - n), &format!("weight: {}", 89 - n));
        mesh.wait_for_after(seen, "the edit to be applied", |event| event["event"] == "applied");
        // Every socket between two edits, over and over.
        for socket in sockets.iter_mut().skip(n).step_by(EDITS) {
            talk(socket, b'a' + n as u8);
        }
    }
    sockets.iter_mut().for_each(|socket| talk(socket, b'!'));
    for (pod, page) in mesh.metrics() {
        let line = page.lines().find_map(|line| line.strip_prefix("ringway_snapshots_alive "));
        let alive: f64 = line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{pod} does not tell"));
        assert!(alive <= SNAPSHOTS_MAX, "{alive} snapshots alive in {pod}");
    }
}
