//! Which version of each object is in force.
//!
//! An edit that makes an object refer to nothing is refused: its last good version stays. A reference that broke because its target went away stays
//! broken, and answers with its rule id.

use super::edit::after_edit;
use super::{Compiled, Pass};
use crate::mesh::Mesh;
use crate::object::ObjectRef;
use std::collections::BTreeMap;

/// Compiles a mesh. With `previous`, objects whose new version refers to nothing while the version in force does not keep the latter.
pub fn translate(mesh: &Mesh, previous: Option<&Compiled>) -> Compiled {
    match previous {
        Some(previous) => {
            settle(mesh, previous, |mesh| after_edit(mesh, previous).unwrap_or_else(|| Pass::new(mesh).compile()))
        }
        None => Pass::new(mesh).compile(),
    }
}

/// The same with nothing taken from the version before but what is in force of refused objects. `compile` makes of a mesh what it comes to by itself.
pub(super) fn settle(mesh: &Mesh, previous: &Compiled, compile: impl Fn(&Mesh) -> Compiled) -> Compiled {
    let mut compiled = compile(mesh);
    compiled.version = previous.version + 1;
    let errors = errors_of(&compiled);
    let suspects: Vec<&ObjectRef> = errors
        .keys()
        .filter(|reference| {
            let (new, old) = (mesh.objects.get(reference), previous.objects.get(reference));
            old.is_some() && new != old
        })
        .collect();
    if suspects.is_empty() {
        return compiled;
    }
    // All of them back at once, then forward again each one that is no better off with its old version.
    let back = |references: &[&ObjectRef]| {
        let objects = mesh.objects.with_those_of(&previous.objects, references);
        compile(&Mesh { objects, ..mesh.clone() })
    };
    let trial = back(&suspects);
    let left = errors_of(&trial);
    let better = |reference: &&ObjectRef| left.get(*reference).copied().unwrap_or(0) < errors[*reference];
    let refused: Vec<&ObjectRef> = suspects.iter().copied().filter(better).collect();
    if refused.is_empty() {
        return compiled;
    }
    let mut settled = if refused.len() == suspects.len() { trial } else { back(&refused) };
    settled.version = compiled.version;
    // What was refused is said as it was found in the new version.
    let mut diagnostics = compiled.diagnostics;
    let said: std::collections::HashSet<_> = diagnostics.iter().map(ToString::to_string).collect();
    diagnostics.extend(settled.diagnostics.drain(..).filter(|diagnostic| !said.contains(&diagnostic.to_string())));
    settled.diagnostics = diagnostics;
    settled
}

/// Errors by object.
fn errors_of(compiled: &Compiled) -> BTreeMap<ObjectRef, usize> {
    let mut errors = BTreeMap::new();
    for diagnostic in compiled.diagnostics.iter().filter(|diagnostic| diagnostic.is_error()) {
        if let Some(object) = &diagnostic.object {
            *errors.entry(object.clone()).or_insert(0) += 1;
        }
    }
    errors
}
