//! The receiving side of the stream, without any I/O: blobs by hash, roots by delta, a whole snapshot at a time.

use std::collections::HashMap;
use std::sync::Arc;

use crate::blob::{Blob, Hash};
use crate::error::VerifyError;
use crate::limits::{BLOBS_MAX, SNAPSHOT_BYTES_MAX};
use crate::root::{Order, Root, RootDelta, RootEntry};
use crate::snapshot::Snapshot;

/// Holds the current snapshot and the blobs that came since. Whatever happens, the current snapshot stays until the next one is whole.
pub struct Assembler {
    current: Option<Snapshot>,
    arrived: HashMap<Hash, Blob>,
    arrived_bytes: usize,
}

impl Assembler {
    /// Starts from what is held already.
    pub fn new(current: Option<Snapshot>) -> Assembler {
        Assembler { current, arrived: HashMap::new(), arrived_bytes: 0 }
    }

    /// A blob arrived. It is kept until the next root.
    pub fn blob(&mut self, bytes: Arc<[u8]>) -> Result<(), VerifyError> {
        let (found, size) = (self.arrived.len() + 1, self.arrived_bytes + bytes.len());
        if found > BLOBS_MAX {
            return Err(VerifyError::TooLarge { what: "blobs without a root", found, max: BLOBS_MAX });
        }
        if size > SNAPSHOT_BYTES_MAX {
            let (what, max) = ("bytes of blobs without a root", SNAPSHOT_BYTES_MAX);
            return Err(VerifyError::TooLarge { what, found: size, max });
        }
        let blob = Blob::verify(bytes)?;
        let bytes = blob.bytes().len();
        if self.arrived.insert(blob.hash(), blob).is_none() {
            self.arrived_bytes += bytes;
        }
        Ok(())
    }

    /// A root arrived: the next snapshot, or why there is none. On an error the current one stays. Either way the blobs that came for this
    /// root, and are not in the current snapshot then, are dropped: a sender that was refused sends them again.
    pub fn root(&mut self, delta: RootDelta, order: Order) -> Result<Snapshot, VerifyError> {
        self.arrived_bytes = 0;
        let arrived = std::mem::take(&mut self.arrived);
        let root = self.base(&delta).apply(&delta)?;
        if let Some(current) = &self.current {
            let held = current.order();
            if order == held && root == *current.root() {
                return Ok(current.clone());
            }
            if order.incarnation == held.incarnation && order.sequence <= held.sequence {
                return Err(VerifyError::Stale { held, offered: order });
            }
        }
        let blobs = self.gather(&root, arrived)?;
        let snapshot = Snapshot::open(order, root, blobs)?;
        self.current = Some(snapshot.clone());
        Ok(snapshot)
    }

    /// What is in force.
    pub fn current(&self) -> Option<&Snapshot> {
        self.current.as_ref()
    }

    /// The root that a delta applies to. A new source starts from nothing; what is held still saves sending its blobs again.
    fn base(&self, delta: &RootDelta) -> &Root {
        static EMPTY: Root = Root { entries: Vec::new() };
        match &self.current {
            Some(current) if delta.base != Hash::ZERO => current.root(),
            _ => &EMPTY,
        }
    }

    /// The blobs of a root, in its order, out of those that arrived and those that are held.
    fn gather(&self, root: &Root, mut arrived: HashMap<Hash, Blob>) -> Result<Vec<Blob>, VerifyError> {
        let held: HashMap<Hash, &Blob> = self.current.iter().flat_map(Snapshot::blobs).map(|b| (b.hash(), b)).collect();
        let mut find = |hash: &Hash| arrived.remove(hash).or_else(|| held.get(hash).map(|b| (*b).clone()));
        let missing = |e: &RootEntry| {
            VerifyError::Set(format!(
                "{:?} {:?} is in the root and did not arrive; send it before the root",
                e.kind, e.name
            ))
        };
        root.entries.iter().map(|e| find(&e.hash).ok_or_else(|| missing(e))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Model, PolicySet};

    fn policy(name: &str) -> Arc<[u8]> {
        let model = Model::Policy(PolicySet { name: name.into(), ..PolicySet::default() });
        Blob::encode(&model).expect("a policy that the format takes").bytes().clone()
    }

    #[test]
    fn blobs_that_no_root_follows_are_bounded_in_bytes() {
        let (first, second) = (policy("first"), policy("second"));
        let mut assembler = Assembler::new(None);
        assembler.arrived_bytes = SNAPSHOT_BYTES_MAX - first.len();
        assert_eq!(assembler.blob(first), Ok(()), "up to the limit");
        assert!(
            matches!(assembler.blob(second.clone()), Err(VerifyError::TooLarge { found, .. }) if found > SNAPSHOT_BYTES_MAX)
        );
        assert_eq!(assembler.arrived.len(), 1, "what is refused is not kept");
        assert!(assembler.root(RootDelta::default(), Order::default()).is_err(), "no listeners");
        assert_eq!(
            (assembler.arrived.len(), assembler.arrived_bytes),
            (0, 0),
            "a root, even a refused one, lets go of all"
        );
        assert_eq!(assembler.blob(second), Ok(()));
    }

    #[test]
    fn a_blob_that_comes_twice_is_counted_once() {
        let bytes = policy("p");
        let mut assembler = Assembler::new(None);
        for _ in 0..3 {
            assert_eq!(assembler.blob(bytes.clone()), Ok(()));
        }
        assert_eq!((assembler.arrived.len(), assembler.arrived_bytes), (1, bytes.len()));
    }
}
