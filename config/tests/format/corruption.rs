//! Damage and hostility: whatever is done to the bytes, it is noticed or harmless.

use std::collections::BTreeSet;

use proptest::prelude::*;
use ringway_config::model::*;
use ringway_config::{Blob, Snapshot, VerifyError};

use crate::arbitrary;
use crate::sample::{ORDER, models, snapshot};

#[test]
fn every_single_byte_corruption_and_every_truncation_of_a_snapshot_is_detected() {
    let good = snapshot().to_bytes();
    assert_eq!(Snapshot::from_bytes(&good).unwrap().order(), ORDER);
    let mut bad = good.clone();
    for at in 0..good.len() {
        for bit in [1 << (at % 8), 0xff] {
            bad[at] = good[at] ^ bit;
            assert!(Snapshot::from_bytes(&bad).is_err(), "byte {at} ^ {bit:#x} went unnoticed");
        }
        bad[at] = good[at];
        assert!(Snapshot::from_bytes(&good[..at]).is_err(), "cut at {at} went unnoticed");
    }
    bad.push(0);
    assert!(matches!(Snapshot::from_bytes(&bad), Err(VerifyError::Length { .. })), "a byte too many");
}

/// What passes the verifier is sound: it decodes, and its content encodes to a blob of the same content.
fn check(bytes: Vec<u8>) -> Option<Model> {
    let blob = Blob::verify(bytes.into()).ok()?;
    let model = blob.decode();
    let again = Blob::encode(&model).expect("what verifies also encodes");
    assert_eq!(again.decode(), model);
    Some(model)
}

#[test]
fn row_60_bent_blobs_never_panic_and_never_decode_to_something_that_does_not_encode() {
    let mut passed = 0;
    for model in models() {
        let good = Blob::encode(&model).unwrap().bytes().to_vec();
        for at in 0..good.len() {
            for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                passed += usize::from(check(bad).is_some());
            }
        }
    }
    assert!(passed > 100, "some edits are harmless, such as another weight: {passed}");
}

/// The reference: everything that a set of models refers to is in it. Written on models, apart from the product's check on records.
fn is_closed(models: &[Model]) -> bool {
    let names: BTreeSet<(Kind, &str)> = models.iter().map(|m| (m.kind(), m.name())).collect();
    let sets: Vec<&ListenerSet> =
        models.iter().filter_map(|m| if let Model::Listeners(l) = m { Some(l) } else { None }).collect();
    let [set] = sets[..] else { return false };
    let known = |b: &TcpBackend| b.cluster.is_empty() || names.contains(&(Kind::Cluster, &b.cluster));
    models.iter().all(|m| match m {
        Model::Listeners(l) => {
            names.contains(&(Kind::Policy, &l.policy))
                && l.listeners.iter().all(|l| match &l.protocol {
                    ListenerProtocol::Http { .. } => true,
                    ListenerProtocol::Tcp { backends, .. } => backends.iter().all(known),
                    ListenerProtocol::Tls { routes } => routes.iter().flat_map(|r| &r.backends).all(known),
                })
        }
        Model::Host(h) => {
            let http = |l: &Listener| l.name == h.listener && matches!(l.protocol, ListenerProtocol::Http { .. });
            set.listeners.iter().any(http)
                && h.actions.iter().all(|a| match a {
                    Action::Forward(f) => {
                        f.backends.iter().all(|b| b.cluster.is_empty() || names.contains(&(Kind::Cluster, &b.cluster)))
                            && f.mirrors.iter().all(|m| names.contains(&(Kind::Cluster, &m.cluster)))
                    }
                    Action::Redirect(_) | Action::Respond(_) => true,
                })
        }
        Model::Cluster(c) => names.contains(&(Kind::Endpoints, &c.endpoints)),
        Model::Endpoints(_) | Model::Policy(_) | Model::Provenance(_) => true,
    })
}

/// Bends each word of each blob in turn: offsets, counts, spans, strings, indices. Hashes are made to fit, as an attacker would.
#[test]
fn no_bent_offset_gets_a_dangling_reference_past() {
    let good: Vec<Blob> = models().iter().map(|m| Blob::encode(m).unwrap()).collect();
    let (mut opened, mut refused) = (0, 0);
    for bent in 0..good.len() {
        let bytes = good[bent].bytes();
        for at in 0..bytes.len() - 3 {
            let word = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
            for value in [word.wrapping_add(1), word.wrapping_sub(1), word ^ 2, 0, 3, u32::MAX] {
                let mut bad = bytes.to_vec();
                bad[at..at + 4].copy_from_slice(&value.to_le_bytes());
                let Ok(blob) = Blob::verify(bad.into()) else { continue };
                let mut blobs = good.clone();
                blobs[bent] = blob;
                let models: Vec<Model> = blobs.iter().map(Blob::decode).collect();
                let open = Snapshot::from_blobs(ORDER, blobs).is_ok();
                assert_eq!(open, is_closed(&models), "blob {bent}, word at {at} became {value}");
                if open { opened += 1 } else { refused += 1 }
            }
        }
    }
    assert!(opened > 100 && refused > 20, "both happen: {opened}, {refused}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), with_magic in any::<bool>()) {
        let mut bytes = bytes;
        if with_magic && bytes.len() >= 12 {
            bytes[..4].copy_from_slice(b"RWB1");
            bytes[5] = 0;
            bytes[7] = 0;
            let len = (bytes.len() as u32).to_le_bytes();
            bytes[8..12].copy_from_slice(&len);
        }
        let _ = Snapshot::from_bytes(&bytes);
        check(bytes);
    }

    #[test]
    fn bent_models_never_panic(
        model in arbitrary::model(),
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = Blob::encode(&model).unwrap().bytes().to_vec();
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        check(bytes);
    }
}
