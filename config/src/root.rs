//! Roots: which blobs one proxy is subscribed to, and how one root becomes another.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::blob::Hash;
use crate::error::VerifyError;
use crate::model::Kind;

/// Which of two configurations of one source is newer. In no hash: the same content under a new order is a rollback, not a new content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Order {
    /// Another one when the source starts anew.
    pub incarnation: u64,
    /// Grows with every configuration.
    pub sequence: u64,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.incarnation, self.sequence)
    }
}

/// One line of a root.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RootEntry {
    /// Kind of the blob.
    pub kind: Kind,
    /// Its name.
    pub name: Arc<str>,
    /// Its content.
    pub hash: Hash,
}

impl RootEntry {
    fn key(&self) -> (Kind, &str) {
        (self.kind, &self.name)
    }
}

/// Everything that one proxy is subscribed to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Root {
    /// Sorted by kind and name, which are unique; [`crate::Snapshot::open`] checks it.
    pub entries: Vec<RootEntry>,
}

/// The way from one root to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RootDelta {
    /// Hash of the root it applies to; zero is the empty root.
    pub base: Hash,
    /// Entries added or changed.
    pub upsert: Vec<RootEntry>,
    /// Entries removed.
    pub remove: Vec<(Kind, String)>,
    /// Hash of the root it gives.
    pub result: Hash,
}

impl Root {
    /// A root of these entries, in any order. Two of one kind and name are refused.
    pub fn new(mut entries: Vec<RootEntry>) -> Result<Root, VerifyError> {
        entries.sort();
        let root = Root { entries };
        root.check_sorted()?;
        Ok(root)
    }

    pub(crate) fn check_sorted(&self) -> Result<(), VerifyError> {
        match self.entries.windows(2).find(|pair| pair[0].key() >= pair[1].key()) {
            Some(pair) => Err(VerifyError::Set(format!(
                "{:?} {:?} is in the root twice or out of order; sort it by kind and name",
                pair[1].kind, pair[1].name
            ))),
            None => Ok(()),
        }
    }

    /// The entries in order.
    pub fn entries(&self) -> &[RootEntry] {
        &self.entries
    }

    /// SHA-256 over kind, length of the name, name and hash of each entry; zero when there is none.
    pub fn hash(&self) -> Hash {
        hash(self.entries.iter())
    }

    /// The same without provenance: what the proxy does, apart from where it was written down.
    pub fn content_hash(&self) -> Hash {
        hash(self.entries.iter().filter(|e| e.kind != Kind::Provenance))
    }

    pub(crate) fn find(&self, kind: Kind, name: &str) -> Result<usize, usize> {
        self.entries.binary_search_by(|e| e.key().cmp(&(kind, name)))
    }

    /// What leads from `old` to `new`.
    pub fn delta(old: &Root, new: &Root) -> RootDelta {
        let same = |e: &&RootEntry| old.find(e.kind, &e.name).is_ok_and(|i| old.entries[i].hash == e.hash);
        let upsert = new.entries.iter().filter(|e| !same(e)).cloned().collect();
        let gone = |e: &&RootEntry| new.find(e.kind, &e.name).is_err();
        let remove = old.entries.iter().filter(gone).map(|e| (e.kind, e.name.to_string())).collect();
        RootDelta { base: old.hash(), upsert, remove, result: new.hash() }
    }

    /// Applies a delta, whose lists may be in any order. Both ends are checked, and a kind and name stands in it once.
    pub fn apply(&self, delta: &RootDelta) -> Result<Root, VerifyError> {
        if delta.base != self.hash() {
            return Err(VerifyError::Hash { what: "the root that this delta applies to".into() });
        }
        let mut changes: Vec<(Kind, &str, Option<&RootEntry>)> =
            delta.upsert.iter().map(|e| (e.kind, &*e.name, Some(e))).collect();
        changes.extend(delta.remove.iter().map(|(kind, name)| (*kind, name.as_str(), None)));
        changes.sort_by_key(|&(kind, name, _)| (kind, name));
        if let Some(pair) = changes.windows(2).find(|p| (p[0].0, p[0].1) == (p[1].0, p[1].1)) {
            return Err(VerifyError::Set(format!("{:?} {:?} is in the delta twice", pair[0].0, pair[0].1)));
        }
        let root = Root { entries: merge(&self.entries, &changes)? };
        if root.hash() != delta.result {
            return Err(VerifyError::Hash { what: "the root that this delta gives".into() });
        }
        Ok(root)
    }
}

/// Both lists are sorted; one pass.
fn merge(old: &[RootEntry], changes: &[(Kind, &str, Option<&RootEntry>)]) -> Result<Vec<RootEntry>, VerifyError> {
    let mut entries = Vec::with_capacity(old.len() + changes.len());
    let mut old = old.iter().peekable();
    for &(kind, name, entry) in changes {
        while let Some(kept) = old.next_if(|e| e.key() < (kind, name)) {
            entries.push(kept.clone());
        }
        let replaced = old.next_if(|e| e.key() == (kind, name)).is_some();
        match entry {
            Some(entry) => entries.push(entry.clone()),
            None if replaced => {}
            None => return Err(VerifyError::Set(format!("{kind:?} {name:?} is removed and was not there"))),
        }
    }
    entries.extend(old.cloned());
    Ok(entries)
}

fn hash<'a>(entries: impl Iterator<Item = &'a RootEntry>) -> Hash {
    let mut hash = Sha256::new();
    let mut empty = true;
    for e in entries {
        empty = false;
        hash.update([e.kind as u8]);
        hash.update((e.name.len() as u32).to_le_bytes());
        hash.update(e.name.as_bytes());
        hash.update(e.hash.0);
    }
    if empty { Hash::ZERO } else { Hash(hash.finalize().into()) }
}
