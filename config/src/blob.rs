//! One blob: bytes that were checked, named by their SHA-256.

use std::fmt;
use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256};

use crate::error::{EncodeError, VerifyError};
use crate::model::{Kind, Model, ProvenanceEntry, RuleId};
use crate::v1::{self, HostPieces};
use crate::wire::View;

/// SHA-256.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// Of nothing: the hash of the empty root.
    pub const ZERO: Hash = Hash([0; 32]);

    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Hash {
        Hash(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// A verified blob. Cloning shares it.
#[derive(Clone)]
pub struct Blob(Arc<Inner>);

struct Inner {
    bytes: Arc<[u8]>,
    hash: Hash,
    kind: Kind,
    name: Arc<str>,
    model: OnceLock<Box<Model>>,
}

impl Blob {
    /// Encodes a model. What the format forbids is refused here as the verifier would refuse it.
    pub fn encode(model: &Model) -> Result<Blob, EncodeError> {
        let bytes: Arc<[u8]> = v1::encode(model)?.into();
        Blob::verify(bytes).map_err(|error| EncodeError::Refused {
            kind: model.kind(),
            name: model.name().to_owned(),
            error,
        })
    }

    /// Checks bytes from anywhere.
    pub fn verify(bytes: Arc<[u8]>) -> Result<Blob, VerifyError> {
        let hash = Hash::of(&bytes);
        Blob::verify_hashed(bytes, hash)
    }

    /// Checks bytes that were hashed already.
    pub(crate) fn verify_hashed(bytes: Arc<[u8]>, hash: Hash) -> Result<Blob, VerifyError> {
        let (kind, view) = v1::verify(&bytes)?;
        let name = view.str(view.header().name).unwrap_or_default().into();
        Ok(Blob(Arc::new(Inner { bytes, hash, kind, name, model: OnceLock::new() })))
    }

    /// The bytes.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.0.bytes
    }

    /// Their SHA-256.
    pub fn hash(&self) -> Hash {
        self.0.hash
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its name, shared with whoever keeps it.
    pub fn shared_name(&self) -> &Arc<str> {
        &self.0.name
    }

    /// Whether it has endpoints that are names; nothing is decoded.
    pub fn has_names(&self) -> bool {
        self.kind() == Kind::Endpoints && self.view().count(v1::section::NAMED_ENDPOINT) > 0
    }

    /// Its records, read where they lie.
    pub fn view(&self) -> View<'_> {
        View::reopen(&self.0.bytes).expect("a blob was verified")
    }

    /// Its content, decoded on first use and kept.
    #[inline]
    pub fn model(&self) -> &Model {
        self.0.model.get_or_init(|| Box::new(v1::decode(self.view())))
    }

    /// Its content, decoded anew.
    pub fn decode(&self) -> Model {
        v1::decode(self.view())
    }

    /// A host's content, piece by piece.
    pub fn host(&self) -> Option<HostPieces<'_>> {
        (self.kind() == Kind::Host).then(|| HostPieces::of(self.view()))
    }

    /// The origin of a rule, of a provenance blob that has it.
    pub fn origin(&self, rule: RuleId) -> Option<ProvenanceEntry> {
        if self.kind() == Kind::Provenance { v1::origin(self.view(), rule) } else { None }
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({:?} {:?} {})", self.kind(), self.name(), self.hash())
    }
}
