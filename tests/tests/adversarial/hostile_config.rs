//! Row 60: a compiled config that is damaged, foreign or stale never takes effect, and never takes the proxy down.

use ringway_config::Order;
use ringway_config::message::{self, Message};
use ringway_config::model::Role;
use ringway_tests::harness::{Case, Config, Link, Proxy, ProxyBuilder, Upstream};
use ringway_tests::matrix;

matrix!(
    row_60_a_damaged_snapshot_file_is_refused,
    row_60_a_damaged_blob_is_refused_and_the_old_config_stays,
    row_60_an_older_order_is_refused,
    row_60_bytes_that_are_no_protocol,
);

fn row_60_a_damaged_snapshot_file_is_refused(case: Case) {
    let upstream = Upstream::echo();
    let config = Config::http(Role::Outbound).upstream(upstream.address());
    let bytes = config.snapshot().to_bytes();
    let flipped = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x40;
        bytes
    };
    let damaged = [
        Vec::new(),
        b"RINGWAY?".to_vec(),
        bytes[..bytes.len() - 1].to_vec(),
        bytes[..bytes.len() / 2].to_vec(),
        [&bytes[..], b"\0"].concat(),
        flipped(0),
        flipped(8),
        flipped(bytes.len() / 3),
        flipped(bytes.len() / 2),
        flipped(bytes.len() - 1),
        vec![0xff; 4096],
    ];
    for (i, bytes) in damaged.iter().enumerate() {
        let program = ProxyBuilder::new(case, config.clone()).start_refused(bytes);
        let said = program.stderr();
        assert!(!said.is_empty() && !said.contains("panicked"), "damage {i}: {said}");
    }
}

fn row_60_a_damaged_blob_is_refused_and_the_old_config_stays(case: Case) {
    let upstream = Upstream::echo();
    let (proxy, mut link) = with_shim(case, &upstream);
    let mut config = Config::http(Role::Outbound).upstream(upstream.address());
    for (i, per_mille) in [0, 1, 10, 100, 300, 500, 700, 900, 999].into_iter().enumerate() {
        config.policy.head_timeout_ms += 1;
        let snapshot = config.snapshot_at(2 + i as u64);
        link.push_with(&snapshot, |blob| {
            let mut bytes = blob.bytes().to_vec();
            let at = bytes.len() * per_mille / 1000;
            bytes[at] ^= 1;
            bytes.into()
        });
        refused(&mut link, snapshot.order());
        assert_eq!(proxy.get("/").status, 200);
    }
    // It was not the content's fault.
    link.publish(&config.snapshot_at(100));
    assert_eq!(proxy.get("/").status, 200);
}

/// Waits for the Nack of this order; blobs may have been refused one by one before.
fn refused(link: &mut Link, refused: Order) {
    loop {
        match link.message() {
            Message::Nack { order, .. } if order == refused => return,
            Message::Nack { .. } => {}
            other => panic!("not refused: {other:?}"),
        }
    }
}

fn row_60_an_older_order_is_refused(case: Case) {
    let (old, new) = (Upstream::echo(), Upstream::echo());
    let config = |upstream: &Upstream| Config::http(Role::Outbound).upstream(upstream.address());
    let (proxy, mut link) = ProxyBuilder::new(case, config(&old)).start_with_shim();
    link.publish(&config(&new).snapshot_at(5));
    link.push(&config(&old).snapshot_at(4));
    refused(&mut link, Order { incarnation: 1, sequence: 4 });
    assert_eq!(proxy.get("/").status, 200);
    assert_eq!((old.requests().len(), new.requests().len()), (0, 1));
}

fn row_60_bytes_that_are_no_protocol(case: Case) {
    let upstream = Upstream::echo();
    let (proxy, mut link) = with_shim(case, &upstream);
    let mut cut = Vec::new();
    message::encode(&Message::Ack { order: Order { incarnation: 1, sequence: 1 } }, &mut cut);
    for bytes in [vec![0xff; 64], vec![0; 64], b"GET / HTTP/1.1\r\n\r\n".to_vec(), cut] {
        let _ = link.try_send_bytes(&bytes);
        link = link.again();
        assert_eq!(proxy.get("/").status, 200);
    }
}

fn with_shim(case: Case, upstream: &Upstream) -> (Proxy, Link) {
    ProxyBuilder::new(case, Config::http(Role::Outbound).upstream(upstream.address())).start_with_shim()
}
