//! Only a closed set of blobs opens.

use ringway_config::model::*;
use ringway_config::{Blob, EncodeError, Root, RootEntry, Snapshot, VerifyError};

use crate::sample::{ORDER, models};

fn refused(models: &[Model]) -> VerifyError {
    match Snapshot::from_models(ORDER, models) {
        Err(EncodeError::Rule(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn dangling_references_do_not_open() {
    let all = models();
    for left_out in [Kind::Cluster, Kind::Endpoints, Kind::Policy] {
        let some: Vec<Model> = all.iter().filter(|m| m.kind() != left_out).cloned().collect();
        let error = refused(&some);
        assert!(matches!(error, VerifyError::Dangling { .. }), "without {left_out:?}: {error}");
    }
    let mut unheard = all.clone();
    if let Model::Host(host) = &mut unheard[1] {
        host.listener = "tcp".into();
    }
    let error = refused(&unheard);
    assert_eq!(
        (error.rule(), error.to_string().as_str()),
        (
            RuleId(17),
            "Host \"reviews:9080\" refers to HTTP listener \"tcp\", which is not in the snapshot (rule 00000011)"
        )
    );
    let some: Vec<Model> = all.iter().filter(|m| !matches!(m.kind(), Kind::Provenance | Kind::Host)).cloned().collect();
    assert!(Snapshot::from_models(ORDER, &some).is_ok(), "provenance and hosts may be absent");
}

#[test]
fn there_is_one_listener_set_and_every_name_once() {
    let all = models();
    assert!(matches!(refused(&all[1..]), VerifyError::Set(_)), "no listener set");
    let mut two = all.clone();
    if let Model::Listeners(set) = &all[0] {
        two.push(Model::Listeners(ListenerSet { name: "another".into(), ..set.clone() }));
    }
    assert!(matches!(refused(&two), VerifyError::Set(_)), "two listener sets");
    let mut twice = all.clone();
    twice.push(all[1].clone());
    assert!(matches!(refused(&twice), VerifyError::Set(_)), "two hosts of one name");
}

#[test]
fn root_and_blobs_belong_together() {
    let blobs: Vec<Blob> = models().iter().map(|m| Blob::encode(m).unwrap()).collect();
    let good = Snapshot::from_blobs(ORDER, blobs.clone()).unwrap();
    let root = good.root().clone();
    let open = |root: &Root, blobs: Vec<Blob>| Snapshot::open(ORDER, root.clone(), blobs);
    assert!(open(&root, blobs.iter().rev().cloned().collect()).is_ok(), "in any order");
    assert!(open(&root, blobs[1..].to_vec()).is_err(), "one is missing");
    let stray = Blob::encode(&Model::Policy(PolicySet { name: "stray".into(), ..PolicySet::default() })).unwrap();
    assert!(open(&root, [blobs.clone(), vec![stray]].concat()).is_err(), "one is not in the root");
    let edited = |edit: fn(&mut Vec<RootEntry>)| {
        let mut root = root.clone();
        edit(&mut root.entries);
        root
    };
    let bad = [
        edited(|e| e.swap(0, 1)),
        edited(|e| e.push(e[0].clone())),
        edited(|e| e[2].name = format!("{}x", e[2].name).into()),
        edited(|e| e[2].hash.0[0] ^= 1),
        edited(|e| e[5].kind = Kind::Policy),
        edited(Vec::clear),
    ];
    for (i, root) in bad.iter().enumerate() {
        assert!(open(root, blobs.clone()).is_err(), "root {i}");
    }
    for blob in &blobs {
        assert_eq!(good.blob(blob.kind(), blob.name()).unwrap().hash(), blob.hash());
    }
    assert!(good.blob(Kind::Host, "unknown").is_none());
    assert_eq!(good.listeners().kind(), Kind::Listeners);
}

#[test]
fn a_file_is_replaced_whole_or_not_at_all() {
    let good = Snapshot::from_models(ORDER, &models()).unwrap();
    let folder = std::env::temp_dir().join(format!("ringway-config-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("snapshot");
    good.write_file(&path).unwrap();
    good.write_file(&path).unwrap();
    let read = Snapshot::read_file(&path).unwrap();
    assert_eq!((read.order(), read.root()), (good.order(), good.root()));
    let names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["snapshot"], "nothing is left beside it");
    std::fs::write(&path, b"RWSNAP1\n").unwrap();
    assert!(Snapshot::read_file(&path).unwrap_err().to_string().contains("truncated"));
    assert!(Snapshot::read_file(&folder.join("absent")).is_err());
    assert!(good.write_file(&folder.join("no/such/folder")).is_err());
    std::fs::remove_dir_all(&folder).unwrap();
}
