//! The other end of the proxy's config socket, played by a test.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringway_config::message::{self, Message};
use ringway_config::{Blob, Hash, Order, Root, Snapshot};

use super::wait::{PATIENCE, until};

/// A shim that waits for its proxy.
pub struct Shim {
    listener: UnixListener,
    path: PathBuf,
}

/// The connection of one proxy.
pub struct Link {
    shim: Shim,
    stream: UnixStream,
    input: Vec<u8>,
    /// What the proxy said of itself: its node, and the root it holds.
    pub node: String,
    /// The root and order it had when it connected.
    pub held: Option<(Hash, Order)>,
    root: Root,
    sent: HashSet<Hash>,
    pushed: Option<Snapshot>,
}

impl Shim {
    /// Listens on this path.
    pub fn bind(path: &Path) -> Shim {
        Shim { listener: UnixListener::bind(path).expect("a socket in a temporary folder"), path: path.to_owned() }
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The proxy's connection, after its Hello.
    pub fn accept(self) -> Link {
        self.listener.set_nonblocking(true).unwrap();
        let (stream, _) = until("the proxy to connect", || self.listener.accept().ok());
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut link = Link {
            shim: self,
            stream,
            input: Vec::new(),
            node: String::new(),
            held: None,
            root: Root::default(),
            sent: HashSet::new(),
            pushed: None,
        };
        match link.message() {
            Message::Hello { node, root, .. } => (link.node, link.held) = (node, root),
            other => panic!("the proxy did not say Hello first: {other:?}"),
        }
        link
    }
}

impl Link {
    /// Sends what the proxy lacks of this snapshot, and its root, and waits for the answer. Panics unless it is an Ack.
    pub fn publish(&mut self, snapshot: &Snapshot) {
        self.push(snapshot);
        match self.message() {
            Message::Ack { order } => assert_eq!(order, snapshot.order()),
            other => panic!("the proxy did not accept the config: {other:?}"),
        }
    }

    /// Sends what the proxy lacks of this snapshot, and its root.
    pub fn push(&mut self, snapshot: &Snapshot) {
        self.push_with(snapshot, |blob| blob.bytes().clone());
    }

    /// The same with other bytes for its blobs.
    pub fn push_with(&mut self, snapshot: &Snapshot, bytes: impl Fn(&Blob) -> Arc<[u8]>) {
        let mut out = Vec::new();
        for blob in snapshot.blobs().filter(|b| !self.sent.contains(&b.hash())) {
            message::encode(&Message::Blob { bytes: bytes(blob) }, &mut out);
        }
        let delta = Root::delta(&self.root, snapshot.root());
        message::encode(&Message::Root { delta, order: snapshot.order() }, &mut out);
        self.pushed = Some(snapshot.clone());
        self.send_bytes(&out);
    }

    /// Sends one message.
    pub fn send(&mut self, message: &Message) {
        let mut out = Vec::new();
        message::encode(message, &mut out);
        self.send_bytes(&out);
    }

    /// Sends raw bytes.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.try_send_bytes(bytes).expect("the proxy reads");
    }

    /// Sends raw bytes, unless the proxy is gone.
    pub fn try_send_bytes(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next message of the proxy.
    pub fn message(&mut self) -> Message {
        self.try_message().expect("the proxy closed the config socket")
    }

    /// The next message of the proxy; `None` when it closed the connection.
    pub fn try_message(&mut self) -> Option<Message> {
        loop {
            if let Some((message, used)) = message::decode(&self.input).expect("the proxy speaks the protocol") {
                self.input.drain(..used);
                self.note(&message);
                return Some(message);
            }
            let mut block = [0; 4096];
            match self.stream.read(&mut block) {
                Ok(0) => return None,
                Ok(n) => self.input.extend_from_slice(&block[..n]),
                Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(e) => panic!("no message of the proxy: {e}"),
            }
        }
    }

    /// A root that was accepted is what the next delta stands on, and its blobs are what the proxy has.
    fn note(&mut self, message: &Message) {
        let Message::Ack { order } = message else { return };
        if let Some(snapshot) = self.pushed.take_if(|s| s.order() == *order) {
            self.root = snapshot.root().clone();
            self.sent = self.root.entries().iter().map(|e| e.hash).collect();
        }
    }

    /// Closes this connection and takes the proxy's next one.
    pub fn again(self) -> Link {
        let Link { shim, stream, .. } = self;
        drop(stream);
        shim.accept()
    }
}
