//! Snapshots: the blobs that make one complete configuration.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::blob::{Blob, Hash};
use crate::closure;
use crate::error::{EncodeError, VerifyError};
use crate::limits::BLOBS_MAX;
use crate::model::{Kind, Model};
use crate::root::{Order, Root, RootEntry};

/// One complete, closed configuration. Cloning shares it.
#[derive(Clone)]
pub struct Snapshot(Arc<Inner>);

struct Inner {
    order: Order,
    root: Root,
    /// One for each entry of the root, in its order.
    blobs: Vec<Blob>,
}

impl Snapshot {
    /// Checks that blobs and root belong together and that every reference resolves.
    pub fn open(order: Order, mut root: Root, blobs: impl IntoIterator<Item = Blob>) -> Result<Snapshot, VerifyError> {
        if root.entries.len() > BLOBS_MAX {
            return Err(VerifyError::TooLarge {
                what: "blobs of a snapshot",
                found: root.entries.len(),
                max: BLOBS_MAX,
            });
        }
        root.check_sorted()?;
        let blobs = in_order(&root, blobs.into_iter().collect())?;
        closure::check(&root, &blobs)?;
        // Equal texts: a name is in memory once.
        root.entries.iter_mut().zip(&blobs).for_each(|(e, b)| e.name.clone_from(b.shared_name()));
        Ok(Snapshot(Arc::new(Inner { order, root, blobs })))
    }

    /// Encodes models into a snapshot.
    pub fn from_models(order: Order, models: &[Model]) -> Result<Snapshot, EncodeError> {
        let blobs = models.iter().map(Blob::encode).collect::<Result<Vec<_>, _>>()?;
        Snapshot::from_blobs(order, blobs).map_err(EncodeError::Rule)
    }

    /// A snapshot of exactly these blobs.
    pub fn from_blobs(order: Order, blobs: Vec<Blob>) -> Result<Snapshot, VerifyError> {
        let entries =
            blobs.iter().map(|b| RootEntry { kind: b.kind(), name: b.shared_name().clone(), hash: b.hash() }).collect();
        Snapshot::open(order, Root::new(entries)?, blobs)
    }

    /// When it is from.
    pub fn order(&self) -> Order {
        self.0.order
    }

    /// What it consists of.
    pub fn root(&self) -> &Root {
        &self.0.root
    }

    /// A blob by name.
    pub fn blob(&self, kind: Kind, name: &str) -> Option<&Blob> {
        self.0.root.find(kind, name).ok().map(|i| &self.0.blobs[i])
    }

    /// All blobs by kind and name.
    pub fn blobs(&self) -> impl Iterator<Item = &Blob> {
        self.0.blobs.iter()
    }

    /// The blob of the listener set: the first of all, by its kind.
    pub fn listeners(&self) -> &Blob {
        let first = self.0.blobs.first().filter(|b| b.kind() == Kind::Listeners);
        first.expect("a snapshot was opened with exactly one listener set")
    }
}

/// The blobs in the root's order: each entry has its own, and none is left over.
fn in_order(root: &Root, blobs: Vec<Blob>) -> Result<Vec<Blob>, VerifyError> {
    let fits = |e: &RootEntry, b: &Blob| e.hash == b.hash() && e.kind == b.kind() && *e.name == *b.name();
    if blobs.len() == root.entries.len() && root.entries.iter().zip(&blobs).all(|(e, b)| fits(e, b)) {
        return Ok(blobs);
    }
    let mut by_hash: HashMap<Hash, Blob> = blobs.into_iter().map(|b| (b.hash(), b)).collect();
    let mut list = Vec::with_capacity(by_hash.len().min(root.entries.len()));
    for e in &root.entries {
        let missing = || VerifyError::Set(format!("{:?} {:?} is in the root and not here", e.kind, e.name));
        let blob = by_hash.remove(&e.hash).ok_or_else(missing)?;
        if !fits(e, &blob) {
            return Err(VerifyError::Set(format!("the root calls {blob:?} {:?} {:?}", e.kind, e.name)));
        }
        list.push(blob);
    }
    match by_hash.values().next() {
        Some(stray) => Err(VerifyError::Set(format!("{stray:?} is not in the root"))),
        None => Ok(list),
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({}, {} blobs)", self.0.order, self.0.blobs.len())
    }
}
