//! What has to hold for any bytes. The fuzz target calls this, and so does a plain test over the committed corpus; a violation panics. Nothing
//! here is part of the product.

use std::fmt::Write;

use crate::message::{self, Message};
use crate::model::{Action, Kind, ListenerProtocol, Model};
use crate::{Assembler, Blob, Order, Snapshot, dump};

/// Bytes as a blob, as a snapshot file and as a stream of messages.
pub fn config_view(bytes: &[u8]) {
    blob(bytes);
    if let Ok(snapshot) = Snapshot::from_bytes(bytes) {
        assert!(snapshot.to_bytes() == bytes, "a snapshot file has one form");
        check_snapshot(&snapshot);
    }
    stream(bytes);
}

/// What verifies decodes, and encodes to a blob of the same content.
fn blob(bytes: &[u8]) -> Option<Blob> {
    let blob = Blob::verify(bytes.into()).ok()?;
    let model = blob.decode();
    let again = Blob::encode(&model).expect("what verifies also encodes");
    assert!(again.decode() == model, "{model:?}");
    assert!((again.kind(), again.name()) == (model.kind(), model.name()));
    Some(blob)
}

/// Messages of any order go into an assembler; the blobs that came, whatever the roots said, make a closed set or none.
fn stream(mut bytes: &[u8]) {
    let (mut assembler, mut blobs) = (Assembler::new(None), Vec::new());
    while let Ok(Some((message, used))) = message::decode(bytes) {
        let mut again = Vec::new();
        message::encode(&message, &mut again);
        assert!(again == bytes[..used], "a message has one form: {message:?}");
        bytes = &bytes[used..];
        match message {
            Message::Blob { bytes } => {
                blobs.extend(blob(&bytes));
                let _ = assembler.blob(bytes);
            }
            Message::Root { delta, order } => {
                if let Ok(snapshot) = assembler.root(delta, order) {
                    check_snapshot(&snapshot);
                }
            }
            _ => {}
        }
    }
    if let Ok(snapshot) = Snapshot::from_blobs(Order::default(), blobs) {
        check_snapshot(&snapshot);
        let read = Snapshot::from_bytes(&snapshot.to_bytes()).expect("a snapshot's own file");
        assert!(read.root() == snapshot.root());
    }
}

/// Every reference resolves, and the dumps can be written.
fn check_snapshot(snapshot: &Snapshot) {
    let need = |kind: Kind, name: &str| assert!(snapshot.blob(kind, name).is_some(), "{kind:?} {name:?} dangles");
    let Model::Listeners(set) = snapshot.listeners().model() else { panic!("the listeners' blob is another") };
    need(Kind::Policy, &set.policy);
    for listener in &set.listeners {
        if let ListenerProtocol::Tcp { backends, .. } = &listener.protocol {
            backends.iter().for_each(|b| need(Kind::Cluster, &b.cluster));
        }
    }
    for model in snapshot.blobs().map(Blob::model) {
        match model {
            Model::Host(host) => {
                assert!(set.listeners.iter().any(|l| l.name == host.listener));
                assert!(host.routes.iter().all(|r| host.actions.get(r.action as usize).is_some()));
                for action in &host.actions {
                    if let Action::Forward(f) = action {
                        let there = f.backends.iter().filter(|b| !b.cluster.is_empty());
                        there.for_each(|b| need(Kind::Cluster, &b.cluster));
                    }
                }
            }
            Model::Cluster(cluster) => need(Kind::Endpoints, &cluster.endpoints),
            _ => {}
        }
    }
    let mut text = String::new();
    dump::text(snapshot, &mut text).expect("a string takes everything");
    write!(text, "{}", dump::json(snapshot)).expect("a string takes everything");
    assert!(!text.contains(|c: char| c.is_control() && c != '\n' && c != '\t'), "a dump steers no terminal");
}
