//! Rule ids: stable under reformatting, because they are made of what a rule *is*, not of where it stands.

use sha2::{Digest, Sha256};

use crate::model::RuleId;

/// The id of a rule: the first four bytes of the SHA-256 of kind, namespace, name and field path, separated by NUL. Never 0.
pub fn rule_id(kind: &str, namespace: &str, name: &str, field: &str) -> RuleId {
    let mut hash = Sha256::new();
    for part in [kind, namespace, name, field] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let digest = hash.finalize();
    let id = u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]]);
    RuleId(id.max(1))
}
