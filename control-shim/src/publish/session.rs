//! The conversation with one proxy, without I/O: messages in, messages out.
//!
//! One root is on its way at a time; the next one goes out when that is answered, and is made from whatever is newest then. So a slow proxy costs one
//! root, never a queue.

use super::{Publisher, Refusal};
use crate::translate::{Compiled, HostConfig};
use ringway_config::message::{Message, VERSION};
use ringway_config::{Blob, Hash, Order, Root, RootEntry};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

/// A proxy's subscription and what it holds.
#[derive(Debug)]
pub struct Session {
    publisher: Publisher,
    node: String,
    /// What the proxy holds as far as we know; empty when we do not, which only costs sending blobs again.
    held: Root,
    /// Authorities asked for, the oldest first.
    wants: Vec<String>,
    state: State,
    /// Root that the proxy refused; it is not sent again.
    refused: Option<Hash>,
}

#[derive(Debug)]
enum State {
    /// A proxy that held something repeats its wants right after Hello; sending before they came would take its hosts away.
    Greeting,
    /// Nothing is on its way.
    Idle,
    /// A root waits for its answer.
    Sent { order: Order, root: Root, version: u64, hosts: usize },
}

/// Most authorities of one proxy; the oldest are given up, and asked for again when they are needed.
pub const WANTS_MAX: usize = 4096;
/// How long a proxy may believe that nobody has a name.
pub const ABSENT_LIFETIME_MS: u32 = 1_000;

/// Why a stream is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionError {
    /// It speaks another version.
    Version(u32),
    /// The first message was not Hello, or Hello came twice.
    Order,
    /// The node is not `namespace/pod`.
    Node(String),
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SessionError::Version(version) => {
                write!(
                    f,
                    "the proxy speaks version {version} of the stream and this shim {VERSION}; use one release of both"
                )
            }
            SessionError::Order => write!(f, "a stream starts with one Hello"),
            SessionError::Node(node) => write!(f, "`{node}` is not `namespace/pod`"),
        }
    }
}

impl std::error::Error for SessionError {}

impl Session {
    /// Opens a session with the proxy's first message.
    ///
    /// # Errors
    /// When that is no proper Hello.
    pub fn open(publisher: Publisher, hello: &Message) -> Result<Session, SessionError> {
        let Message::Hello { version, node, root, .. } = hello else { return Err(SessionError::Order) };
        if *version != VERSION {
            return Err(SessionError::Version(*version));
        }
        let Some((namespace, pod)) = node.split_once('/') else { return Err(SessionError::Node(node.clone())) };
        if namespace.is_empty() || pod.is_empty() {
            return Err(SessionError::Node(node.clone()));
        }
        let state = if root.is_some() { State::Greeting } else { State::Idle };
        publisher.update(node, |status| status.streams += 1);
        Ok(Session { publisher, node: node.clone(), held: Root::default(), wants: Vec::new(), state, refused: None })
    }

    /// Who it is.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Whether it holds back for the wants of a proxy that comes again.
    pub fn is_greeting(&self) -> bool {
        matches!(self.state, State::Greeting)
    }

    /// The wants of a returning proxy had their time.
    pub fn greeted(&mut self, compiled: &Compiled, out: &mut Vec<Message>) {
        if self.is_greeting() {
            self.state = State::Idle;
        }
        self.refresh(compiled, out);
    }

    /// Takes a message of the proxy.
    ///
    /// # Errors
    /// When the stream makes no sense any more.
    pub fn receive(
        &mut self,
        message: Message,
        compiled: &Compiled,
        out: &mut Vec<Message>,
    ) -> Result<(), SessionError> {
        match message {
            Message::Want { names } => self.want(names, compiled, out),
            Message::Ack { order } => self.ack(order, compiled, out),
            Message::Nack { order, reason, rule } => self.nack(Refusal { order, reason, rule }, compiled, out),
            Message::Hello { .. } | Message::Root { .. } | Message::Blob { .. } | Message::Absent { .. } => {
                return Err(SessionError::Order);
            }
        }
        Ok(())
    }

    /// Sends what is new, unless something is on its way.
    pub fn refresh(&mut self, compiled: &Compiled, out: &mut Vec<Message>) {
        if !matches!(self.state, State::Idle) {
            return;
        }
        let Some((root, blobs, hosts)) = self.wanted(compiled, out) else { return };
        let hash = root.hash();
        if hash == self.held.hash() || self.refused == Some(hash) {
            let version = compiled.version;
            self.publisher.update(&self.node, |status| status.version = status.version.max(version));
            return;
        }
        let held: HashSet<Hash> = self.held.entries().iter().map(|entry| entry.hash).collect();
        let new = blobs.iter().filter(|blob| !held.contains(&blob.hash()));
        out.extend(new.map(|blob| Message::Blob { bytes: blob.bytes().clone() }));
        let order = self.publisher.next_order();
        out.push(Message::Root { delta: Root::delta(&self.held, &root), order });
        self.publisher.update(&self.node, |status| status.pushed = order);
        self.state = State::Sent { order, root, version: compiled.version, hosts };
    }

    /// The root that the proxy ought to hold, with its blobs. Wants that nobody answers to any more are given up.
    fn wanted(&mut self, compiled: &Compiled, out: &mut Vec<Message>) -> Option<(Root, Vec<Blob>, usize)> {
        let proxy = compiled.proxy(&self.node)?.clone();
        let mut hosts: BTreeMap<String, Arc<HostConfig>> = BTreeMap::new();
        let mut gone = Vec::new();
        self.wants.retain(|name| match compiled.host_for(&self.node, name) {
            Some(host) => {
                hosts.insert(host.name.clone(), host.clone());
                true
            }
            None => {
                gone.push(name.clone());
                false
            }
        });
        absent(gone, out);
        let hosts: Vec<_> = hosts.into_values().collect();
        // Neither fails for what translate made; if it did, the proxy keeps what it has.
        let blobs: Vec<Blob> = compiled.blobs(&proxy, &hosts).ok()?.into_values().collect();
        let entries =
            blobs.iter().map(|b| RootEntry { kind: b.kind(), name: b.shared_name().clone(), hash: b.hash() }).collect();
        Some((Root::new(entries).ok()?, blobs, hosts.len()))
    }

    fn want(&mut self, names: Vec<String>, compiled: &Compiled, out: &mut Vec<Message>) {
        let mut unknown = Vec::new();
        let asks = compiled.proxy(&self.node).is_some_and(|proxy| proxy.asks);
        for name in names {
            if !asks || compiled.host_for(&self.node, &name).is_none() {
                unknown.push(name);
            } else if !self.wants.contains(&name) {
                self.wants.push(name);
            }
        }
        let excess = self.wants.len().saturating_sub(WANTS_MAX);
        self.wants.drain(..excess);
        absent(unknown, out);
        // Several Wants may follow a Hello; the greeting ends by time.
        self.refresh(compiled, out);
    }

    fn ack(&mut self, order: Order, compiled: &Compiled, out: &mut Vec<Message>) {
        let State::Sent { order: sent, .. } = &self.state else { return };
        if *sent != order {
            return;
        }
        if let State::Sent { root, version, hosts, .. } = std::mem::replace(&mut self.state, State::Idle) {
            self.held = root;
            self.refused = None;
            self.publisher.update(&self.node, |status| {
                status.version = status.version.max(version);
                status.acked = Some(order);
                status.refused = None;
                status.hosts = hosts;
            });
        }
        self.refresh(compiled, out);
    }

    fn nack(&mut self, refusal: Refusal, compiled: &Compiled, out: &mut Vec<Message>) {
        let answered = matches!(&self.state, State::Sent { order, .. } if *order == refusal.order);
        let version = match (&self.state, answered) {
            (State::Sent { version, .. }, true) => *version,
            _ => 0,
        };
        self.publisher.update(&self.node, |status| {
            status.nacks += 1;
            status.version = status.version.max(version);
            status.refused = Some(refusal);
        });
        if !answered {
            return;
        }
        if let State::Sent { root, .. } = std::mem::replace(&mut self.state, State::Idle) {
            self.refused = Some(root.hash());
            // It may have refused before or after taking the blobs in: the next root starts from nothing.
            self.held = Root::default();
        }
        self.refresh(compiled, out);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.publisher.update(&self.node, |status| status.streams = status.streams.saturating_sub(1));
    }
}

fn absent(names: Vec<String>, out: &mut Vec<Message>) {
    for names in names.chunks(ringway_config::limits::WANT_NAMES_MAX) {
        out.push(Message::Absent { names: names.to_vec(), lifetime_ms: ABSENT_LIFETIME_MS });
    }
}
