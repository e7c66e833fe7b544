//! Roots, deltas, the assembler and the messages.

use std::sync::Arc;

use proptest::prelude::*;
use ringway_config::limits::{MESSAGE_BYTES_MAX, NAME_BYTES_MAX, REASON_BYTES_MAX, WANT_NAMES_MAX};
use ringway_config::message::{self, Message, MessageError};
use ringway_config::model::*;
use ringway_config::{Assembler, Hash, Order, Root, RootDelta, RootEntry, Snapshot, VerifyError};

use crate::sample::{ORDER, models, snapshot};

const NEXT: Order = Order { sequence: ORDER.sequence + 1, ..ORDER };

fn changed(order: Order) -> Snapshot {
    let mut models = models();
    if let Model::Cluster(c) = &mut models[2] {
        c.balance = Balance::RoundRobin;
    }
    Snapshot::from_models(order, &models).unwrap()
}

fn send(assembler: &mut Assembler, from: &Root, to: &Snapshot) -> Result<Snapshot, VerifyError> {
    let delta = Root::delta(from, to.root());
    for entry in &delta.upsert {
        assembler.blob(to.blob(entry.kind, &entry.name).unwrap().bytes().clone())?;
    }
    assembler.root(delta, to.order())
}

#[test]
fn an_assembler_goes_from_nothing_to_a_snapshot_and_on() {
    let (old, new) = (snapshot(), changed(NEXT));
    let mut assembler = Assembler::new(None);
    assert!(assembler.current().is_none());
    assert_eq!(send(&mut assembler, &Root::default(), &old).unwrap().root(), old.root());
    let delta = Root::delta(old.root(), new.root());
    assert_eq!((delta.upsert.len(), delta.remove.len()), (1, 0));
    let got = send(&mut assembler, old.root(), &new).unwrap();
    assert_eq!((got.root(), got.order()), (new.root(), NEXT));
    assert_eq!(assembler.current().unwrap().root(), new.root());
}

#[test]
fn orders_only_grow_within_an_incarnation() {
    let (old, new) = (snapshot(), changed(NEXT));
    let mut assembler = Assembler::new(Some(new.clone()));
    for order in [ORDER, NEXT] {
        let back = Root::delta(new.root(), old.root());
        let error = assembler.root(back, order).unwrap_err();
        assert_eq!(error, VerifyError::Stale { held: NEXT, offered: order });
        assert_eq!(assembler.current().unwrap().order(), NEXT);
    }
    let same = Root::delta(new.root(), new.root());
    assert_eq!(assembler.root(same, NEXT).unwrap().order(), NEXT, "what is held, told again, is no step back");
    let rollback = Snapshot::from_models(Order { sequence: 9, ..ORDER }, &models()).unwrap();
    assert_eq!(send(&mut assembler, new.root(), &rollback).unwrap().root(), old.root(), "old content, new order");
    let elsewhere = changed(Order { incarnation: 2, sequence: 1 });
    assert_eq!(send(&mut assembler, old.root(), &elsewhere).unwrap().order(), elsewhere.order(), "another source");
}

#[test]
fn a_root_that_cannot_be_built_leaves_the_current_one() {
    let (old, new) = (snapshot(), changed(NEXT));
    let delta = Root::delta(old.root(), new.root());
    let mut assembler = Assembler::new(Some(old.clone()));
    assert!(assembler.root(delta.clone(), NEXT).is_err(), "its blob did not arrive");
    let foreign = RootDelta { base: Hash([7; 32]), ..delta.clone() };
    assert!(assembler.root(foreign, NEXT).is_err(), "a delta against another root");
    let wrong = RootDelta { result: Hash([7; 32]), ..delta.clone() };
    assert!(assembler.root(wrong, NEXT).is_err(), "a delta that does not give what it says");
    let cluster = (Kind::Cluster, "outbound|9080|v1|reviews".to_owned());
    let mut without = old.root().clone();
    without.entries.retain(|e| e.kind != Kind::Cluster);
    let dangling = RootDelta { upsert: Vec::new(), remove: vec![cluster.clone()], result: without.hash(), ..delta };
    assert!(matches!(assembler.root(dangling, NEXT), Err(VerifyError::Dangling { .. })));
    assert!(assembler.blob(Arc::from(&b"RWB1"[..])).is_err());
    assert_eq!(assembler.current().unwrap().order(), ORDER);
    assert!(send(&mut assembler, old.root(), &new).is_ok(), "and it goes on");
}

#[test]
fn a_delta_names_each_blob_once_and_removes_what_is_there() {
    let root = snapshot().root().clone();
    let entry = root.entries[0].clone();
    let key = (entry.kind, entry.name.to_string());
    let delta = |upsert: &[&RootEntry], remove: &[&(Kind, String)]| RootDelta {
        base: root.hash(),
        upsert: upsert.iter().map(|e| (*e).clone()).collect(),
        remove: remove.iter().map(|k| (*k).clone()).collect(),
        result: root.hash(),
    };
    assert!(root.apply(&delta(&[&entry], &[])).is_ok());
    assert!(root.apply(&delta(&[&entry, &entry], &[])).is_err());
    assert!(root.apply(&delta(&[&entry], &[&key])).is_err());
    assert!(root.apply(&delta(&[], &[&(Kind::Host, "unknown".into())])).is_err());
}

#[test]
fn provenance_is_in_the_root_and_in_nobody_elses_hash() {
    let moved: Vec<Model> = models()
        .into_iter()
        .map(|m| match m {
            Model::Provenance(mut p) => {
                p.entries.iter_mut().for_each(|e| e.line += 10);
                Model::Provenance(p)
            }
            other => other,
        })
        .collect();
    let (before, after) = (snapshot(), Snapshot::from_models(ORDER, &moved).unwrap());
    let delta = Root::delta(before.root(), after.root());
    assert_eq!(delta.upsert.iter().map(|e| e.kind).collect::<Vec<_>>(), [Kind::Provenance]);
    assert_ne!(before.root().hash(), after.root().hash());
    assert_eq!(before.root().content_hash(), after.root().content_hash());
    assert_eq!((Root::default().hash(), Root::default().content_hash()), (Hash::ZERO, Hash::ZERO));
}

fn every_message() -> Vec<Message> {
    let old = snapshot();
    vec![
        Message::Hello {
            version: 1,
            node: "a/b".into(),
            labels: vec![("k".into(), "v".into())],
            root: Some((old.root().hash(), ORDER)),
        },
        Message::Hello { version: 1, node: String::new(), labels: Vec::new(), root: None },
        Message::Want { names: vec!["reviews:9080".into()] },
        Message::Blob { bytes: old.blobs().next().unwrap().bytes().clone() },
        Message::Root { delta: Root::delta(&Root::default(), old.root()), order: ORDER },
        Message::Root { delta: Root::delta(old.root(), &Root::default()), order: NEXT },
        Message::Ack { order: ORDER },
        Message::Nack { order: ORDER, reason: "why".into(), rule: RuleId(5) },
        Message::Absent { names: vec!["x".into()], lifetime_ms: 500 },
    ]
}

fn encoded(message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    message::encode(message, &mut out);
    out
}

#[test]
fn messages_survive_in_any_pieces() {
    let list = every_message();
    let bytes: Vec<u8> = list.iter().flat_map(encoded).collect();
    let (mut at, mut got) = (0, Vec::new());
    for end in 0..=bytes.len() {
        while let Some((message, used)) = message::decode(&bytes[at..end]).unwrap() {
            got.push(message);
            at += used;
        }
    }
    assert_eq!((got, at), (list, bytes.len()));
}

#[test]
fn messages_that_end_too_early_or_too_late_are_refused() {
    for message in every_message().iter().filter(|m| !matches!(m, Message::Blob { .. })) {
        let good = encoded(message);
        for cut in 5..good.len() {
            let mut bad = good[..cut].to_vec();
            bad[..4].copy_from_slice(&(cut as u32 - 4).to_le_bytes());
            assert!(matches!(message::decode(&bad), Err(MessageError::Malformed(_))), "{message:?} cut at {cut}");
        }
        let mut long = [&good[..], &[0]].concat();
        long[..4].copy_from_slice(&(good.len() as u32 - 3).to_le_bytes());
        assert_eq!(message::decode(&long), Err(MessageError::Malformed("bytes left over")));
    }
}

#[test]
fn messages_beyond_a_bound_are_refused() {
    let want = |names: usize, bytes: usize| encoded(&Message::Want { names: vec!["n".repeat(bytes); names] });
    assert!(message::decode(&want(WANT_NAMES_MAX, NAME_BYTES_MAX)).is_ok());
    assert!(message::decode(&want(WANT_NAMES_MAX + 1, 1)).is_err());
    assert!(message::decode(&want(1, NAME_BYTES_MAX + 1)).is_err());
    assert_eq!(message::decode(&[0, 0, 0, 0]), Err(MessageError::Malformed("ends within a field")));
    for kind in [0, 8, 255] {
        assert_eq!(message::decode(&[255, 255, 0, 0, kind]), Err(MessageError::Type(kind)), "told at once");
    }
    let too_long = (MESSAGE_BYTES_MAX as u32 + 1).to_le_bytes();
    assert_eq!(message::decode(&too_long), Err(MessageError::TooLong(MESSAGE_BYTES_MAX + 1)));
    let count = u32::MAX.to_le_bytes();
    let liar = [&[5, 0, 0, 0, 2][..], &count].concat();
    assert_eq!(message::decode(&liar), Err(MessageError::Malformed("list longer than allowed")));
    let nack = encoded(&Message::Nack { order: ORDER, reason: "ü".repeat(REASON_BYTES_MAX), rule: RuleId(1) });
    match message::decode(&nack) {
        Ok(Some((Message::Nack { reason, .. }, _))) => assert_eq!(reason.len(), REASON_BYTES_MAX),
        other => panic!("{other:?}"),
    }
}

fn entries() -> impl Strategy<Value = Vec<RootEntry>> {
    proptest::collection::btree_map((1u8..5, "[a-c]{1,2}"), any::<u8>(), 0..12).prop_map(|map| {
        let kind = |n| [Kind::Listeners, Kind::Host, Kind::Cluster, Kind::Endpoints][n as usize - 1];
        map.into_iter()
            .map(|((k, name), h)| RootEntry { kind: kind(k), name: name.into(), hash: Hash([h; 32]) })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn a_delta_leads_from_any_root_to_any_other(old in entries(), new in entries()) {
        let (old, new) = (Root::new(old).unwrap(), Root::new(new).unwrap());
        let mut delta = Root::delta(&old, &new);
        prop_assert_eq!(&old.apply(&delta).unwrap(), &new);
        delta.upsert.reverse();
        delta.remove.reverse();
        prop_assert_eq!(&old.apply(&delta).unwrap(), &new);
        if old != new {
            prop_assert!(new.apply(&delta).is_err());
        }
    }

    #[test]
    fn random_messages_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 1u8..8) {
        let _ = message::decode(&bytes);
        let mut framed = ((bytes.len() + 1) as u32).to_le_bytes().to_vec();
        framed.push(kind);
        framed.extend_from_slice(&bytes);
        if let Ok(Some((message, used))) = message::decode(&framed) {
            prop_assert_eq!(used, framed.len());
            let again = encoded(&message);
            prop_assert_eq!(again, framed);
        }
    }
}
