//! What is encoded decodes to the same, and encodes to the same bytes again.

use std::fmt::Write;

use proptest::prelude::*;
use ringway_config::model::*;
use ringway_config::{Blob, Hash};

use crate::arbitrary;
use crate::sample::models;

#[test]
fn models_survive_encoding_and_encode_the_same_every_time() {
    for model in models() {
        let blob = Blob::encode(&model).unwrap();
        assert_eq!(blob.decode(), model);
        assert_eq!(blob.model(), &model);
        assert_eq!((blob.kind(), blob.name()), (model.kind(), model.name()));
        assert_eq!(Blob::encode(&model).unwrap().hash(), blob.hash());
        let verified = Blob::verify(blob.bytes().clone()).unwrap();
        assert_eq!((verified.hash(), Hash::of(blob.bytes())), (blob.hash(), blob.hash()));
    }
}

/// The bytes are a promise: blobs are named by them, and other programs read them.
#[test]
fn the_bytes_of_a_small_blob() {
    let workload = Workload { namespace: "ns".into(), name: "w".into(), app: "w".into(), ..Workload::default() };
    let set = EndpointSet {
        name: "c".into(),
        workloads: vec![workload],
        places: Vec::new(),
        names: Vec::new(),
        endpoints: vec![Endpoint {
            address: "10.1.2.3:80".parse().unwrap(),
            weight: 7,
            draining: true,
            workload: 0,
            place: u32::MAX,
        }],
    };
    let blob = Blob::encode(&Model::Endpoints(set)).unwrap();
    let mut hex = String::new();
    blob.bytes().iter().for_each(|b| write!(hex, "{b:02x}").unwrap());
    #[rustfmt::skip]
    let golden = [
        "52574231", "04", "00", "0400", "c8000000", "0300000001000000", // RWB1, kind 4, 4 sections, 200 bytes, name
        "0100", "0100", "44000000", "04000000", // strings: 4 bytes at 68
        "0200", "2000", "48000000", "01000000", // head
        "0d00", "4000", "68000000", "01000000", // workloads
        "0e00", "2000", "a8000000", "01000000", // endpoints
        "6e737763", // the pool: ns, w, c
        "0000000001000000", "0000000001000000", "0000000000000000", "0000000000000000", // head: one workload, one endpoint, no place, no name
        "0000000002000000", "0200000001000000", "0200000001000000", "0000000000000000", // workload: ns, w, w
        "0000000000000000", "0000000000000000", "0000000000000000", "0000000000000000",
        "00000000000000000000ffff0a010203", "5000", "01", "00", "07000000", "00000000", "ffffffff", // endpoint
    ];
    assert_eq!(hex, golden.concat());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_model_survives_encoding(model in arbitrary::model()) {
        let blob = Blob::encode(&model).unwrap();
        prop_assert_eq!(&blob.decode(), &model);
        let again = Blob::encode(&blob.decode()).unwrap();
        prop_assert_eq!(again.bytes(), blob.bytes());
    }
}
