//! What a translation finds, each finding once, in the order of files.

use crate::diagnostic::Diagnostic;
use crate::mesh::service_host;
use crate::object::{Object, ObjectRef, Objects, Spot, decode};
use crate::sorted::Sorted;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Findings of a pass.
#[derive(Default)]
pub(super) struct Findings {
    all: RefCell<Found>,
}

/// Findings by where they are, their codes and messages: what has these three alike is one finding.
pub(super) type Found = Sorted<Name, Finding>;

/// What tells one finding from another. Those without a place come first.
pub(super) type Name = (Option<(Arc<str>, u32, u32)>, &'static str, String);

/// One finding.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    diagnostic: Diagnostic,
    /// What is not there: the mend is what one might have meant, if anything is called alike.
    missing: Option<Missing>,
    /// What is called alike, once somebody has looked.
    near: Option<Option<String>>,
}

impl PartialEq for Finding {
    fn eq(&self, other: &Finding) -> bool {
        self.diagnostic == other.diagnostic && self.missing == other.missing
    }
}

/// What somebody refers to, and nobody has.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Missing {
    Host(String),
    /// `namespace/name`.
    Gateway(String),
}

impl Findings {
    pub fn add(&self, diagnostic: Diagnostic) {
        self.put(diagnostic, None);
    }

    fn put(&self, diagnostic: Diagnostic, missing: Option<Missing>) {
        let place = diagnostic.place.as_ref().map(|place| (place.file.clone(), place.line, place.column));
        let name = (place, diagnostic.code, diagnostic.message.clone());
        let mut all = self.all.borrow_mut();
        if all.get(&name).is_none() {
            all.insert(name, Finding { diagnostic, missing, near: None });
        }
    }

    pub fn error(&self, object: &ObjectRef, spot: &Spot, code: &'static str, message: String, mend: impl Into<String>) {
        self.add(Diagnostic::error(code, message, mend).at(spot.place()).about(object.clone()));
    }

    pub fn warning(
        &self,
        object: &ObjectRef,
        spot: &Spot,
        code: &'static str,
        message: String,
        mend: impl Into<String>,
    ) {
        self.add(Diagnostic::warning(code, message, mend).at(spot.place()).about(object.clone()));
    }

    /// A finding about a reference to what is not there. `diagnostic` has the mend for when nothing is called alike.
    pub fn missing(&self, object: &ObjectRef, spot: &Spot, diagnostic: Diagnostic, missing: Missing) {
        self.put(diagnostic.at(spot.place()).about(object.clone()), Some(missing));
    }

    /// Those that there are so far.
    pub fn names(&self) -> BTreeSet<Name> {
        self.all.borrow().iter().map(|(name, _)| name.clone()).collect()
    }

    pub fn into_found(self) -> Found {
        self.all.into_inner()
    }
}

/// What is said to people. `anew`: other things have names than when somebody looked for those that are called alike.
pub(super) fn tell(found: &mut Found, objects: &Objects, domain: &str, anew: bool) -> Vec<Diagnostic> {
    let asks = |finding: &Finding| finding.missing.is_some() && (anew || finding.near.is_none());
    let asking: Vec<_> = found.iter().filter(|(_, finding)| asks(finding)).cloned().collect();
    let mut names = Names { hosts: None, gateways: None };
    for (name, finding) in asking {
        let near = finding.missing.as_ref().map(|missing| names.nearest(missing, objects, domain));
        found.insert(name, Finding { near, ..finding });
    }
    found.iter().map(|(_, finding)| finding.told()).collect()
}

impl Finding {
    fn told(&self) -> Diagnostic {
        let mut told = self.diagnostic.clone();
        if let Some(Some(near)) = &self.near {
            told.mend = format!("did you mean `{near}`?");
        }
        told
    }
}

/// What one might have meant.
struct Names {
    hosts: Option<Vec<String>>,
    gateways: Option<Vec<String>>,
}

impl Names {
    fn nearest(&mut self, missing: &Missing, objects: &Objects, domain: &str) -> Option<String> {
        const NAMES_LOOKED_AT_MAX: usize = 2_000;
        let list = |kinds: &[&str]| {
            let entries = kinds.iter().flat_map(|kind| objects.of_kind(kind));
            entries.flat_map(|entry| names(&entry.object, domain)).take(NAMES_LOOKED_AT_MAX).collect()
        };
        let (wanted, known) = match missing {
            Missing::Host(host) => (host, self.hosts.get_or_insert_with(|| list(&["ServiceEntry", "Service"]))),
            Missing::Gateway(key) => (key, self.gateways.get_or_insert_with(|| list(&["Gateway"]))),
        };
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        decode::nearest(wanted, &known).map(String::from)
    }
}

/// What others can mean an object by.
pub(super) fn names(object: &Object, domain: &str) -> Vec<String> {
    match object {
        Object::Service(service) => vec![service_host(service, domain)],
        Object::ServiceEntry(entry) => entry.hosts.iter().map(|(host, _)| host.clone()).collect(),
        Object::Gateway(gateway) => vec![format!("{}/{}", gateway.meta.namespace(), gateway.meta.name())],
        _ => Vec::new(),
    }
}
