//! Which version of each object is in force.
//!
//! An edit that makes an object refer to nothing is refused: its last good version stays. A reference that broke because its target went away stays
//! broken, and answers with its rule id.

use super::edit::after_edit;
use super::{Compiled, Pass};
use crate::mesh::Mesh;
use crate::object::{ObjectRef, Objects};
use std::collections::BTreeMap;

/// Compiles a mesh. With `previous`, objects whose new version refers to nothing while the version in force does not keep the latter.
pub fn translate(mesh: &Mesh, previous: Option<&Compiled>) -> Compiled {
    match previous {
        Some(previous) => after_edit(mesh, previous).unwrap_or_else(|| whole(mesh, previous)),
        None => Pass::new(mesh).compile(),
    }
}

/// The same with nothing taken from the version before but what is in force of refused objects.
pub(super) fn whole(mesh: &Mesh, previous: &Compiled) -> Compiled {
    let mut compiled = Pass::new(mesh).compile();
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
    let mut objects = mesh.objects.clone();
    for reference in &suspects {
        objects = take(&objects, &previous.objects, reference);
    }
    let trial = errors_of(&Pass::new(&with(mesh, objects.clone())).compile());
    for reference in &suspects {
        if trial.get(reference).copied().unwrap_or(0) >= errors[*reference] {
            objects = take(&objects, &mesh.objects, reference);
        }
    }
    if objects == mesh.objects {
        return compiled;
    }
    let mut settled = Pass::new(&with(mesh, objects)).compile();
    settled.version = compiled.version;
    settled.basis.refuses = true;
    // What was refused is said as it was found in the new version.
    let mut diagnostics = compiled.diagnostics;
    let said: std::collections::HashSet<_> = diagnostics.iter().map(ToString::to_string).collect();
    diagnostics.extend(settled.diagnostics.drain(..).filter(|diagnostic| !said.contains(&diagnostic.to_string())));
    settled.diagnostics = diagnostics;
    settled
}

fn with(mesh: &Mesh, objects: Objects) -> Mesh {
    Mesh { objects, ..mesh.clone() }
}

fn take(objects: &Objects, from: &Objects, reference: &ObjectRef) -> Objects {
    match from.get(reference) {
        Some(entry) => objects.with(entry.clone()),
        None => objects.without(reference),
    }
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
