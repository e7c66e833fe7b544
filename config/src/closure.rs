//! Checks that a set of blobs is closed: whatever a blob refers to by name is there. Reads records in place; nothing is decoded.

use std::collections::HashSet;

use crate::blob::Blob;
use crate::error::VerifyError;
use crate::model::{Kind, RuleId};
use crate::root::Root;
use crate::v1::record::*;
use crate::v1::{section, tag};
use crate::wire::{Record, Span, Str, View};

/// Every reference of these blobs, which are those of the root, resolves.
pub(crate) fn check(root: &Root, blobs: &[Blob]) -> Result<(), VerifyError> {
    let mut sets = blobs.iter().filter(|b| b.kind() == Kind::Listeners);
    let (Some(set), None) = (sets.next(), sets.next()) else {
        return Err(VerifyError::Set("a snapshot has exactly one listener set".into()));
    };
    let http = http_listeners(&set.view());
    for blob in blobs {
        let from = From { root, blob, view: blob.view() };
        match blob.kind() {
            Kind::Listeners => from.listeners()?,
            Kind::Host => from.host(&http)?,
            Kind::Cluster => from.cluster()?,
            Kind::Endpoints | Kind::Policy | Kind::Provenance => {}
        }
    }
    Ok(())
}

/// Names of the listeners that hosts can be on.
fn http_listeners<'a>(set: &View<'a>) -> HashSet<&'a str> {
    all::<ListenerRecord>(set, section::LISTENER)
        .filter(|l| l.protocol == tag::HTTP)
        .filter_map(|l| set.str(l.name))
        .collect()
}

/// All records of a section. The verifier saw to it that each of them is referred to.
fn all<'a, R: Record + 'a>(view: &View<'a>, id: u16) -> impl Iterator<Item = &'a R> + use<'a, R> {
    let span = Span { start: 0.into(), count: (view.count(id) as u32).into() };
    view.records::<R>(id, span).into_iter().flatten()
}

/// A blob that refers.
struct From<'a> {
    root: &'a Root,
    blob: &'a Blob,
    view: View<'a>,
}

impl From<'_> {
    fn listeners(&self) -> Result<(), VerifyError> {
        for head in all::<ListenersRecord>(&self.view, section::HEAD) {
            self.need(Kind::Policy, head.policy, 0)?;
        }
        for l in all::<ListenerRecord>(&self.view, section::LISTENER) {
            let backends = self.view.records::<TcpBackendRecord>(section::TCP_BACKEND, l.backends);
            self.tunnel(backends.into_iter().flatten(), l.route_rule.get())?;
        }
        for r in all::<TlsRouteRecord>(&self.view, section::TLS_ROUTE) {
            let backends = self.view.records::<TcpBackendRecord>(section::TCP_BACKEND, r.backends);
            self.tunnel(backends.into_iter().flatten(), r.rule.get())?;
        }
        Ok(())
    }

    fn host(&self, http: &HashSet<&str>) -> Result<(), VerifyError> {
        for head in all::<HostRecord>(&self.view, section::HEAD) {
            let listener = self.view.str(head.listener).unwrap_or_default();
            if !http.contains(listener) {
                return Err(self.dangling(head.rule.get(), format!("HTTP listener {listener:?}")));
            }
        }
        all::<MirrorRecord>(&self.view, section::MIRROR)
            .try_for_each(|m| self.need(Kind::Cluster, m.cluster, m.rule.get()))?;
        // Likewise here.
        all::<BackendRecord>(&self.view, section::BACKEND)
            .filter(|b| b.cluster.len.get() != 0)
            .try_for_each(|b| self.need(Kind::Cluster, b.cluster, b.rule.get()))
    }

    /// An empty name is a destination that does not exist, and says so itself.
    fn tunnel<'b>(&self, backends: impl Iterator<Item = &'b TcpBackendRecord>, rule: u32) -> Result<(), VerifyError> {
        backends.filter(|b| b.cluster.len.get() != 0).try_for_each(|b| self.need(Kind::Cluster, b.cluster, rule))
    }

    fn cluster(&self) -> Result<(), VerifyError> {
        all::<ClusterRecord>(&self.view, section::HEAD)
            .try_for_each(|c| self.need(Kind::Endpoints, c.endpoints, c.rule.get()))
    }

    fn need(&self, kind: Kind, name: Str, rule: u32) -> Result<(), VerifyError> {
        let name = self.view.str(name).unwrap_or_default();
        match self.root.find(kind, name) {
            Ok(_) => Ok(()),
            Err(_) => Err(self.dangling(rule, format!("{kind:?} {name:?}"))),
        }
    }

    fn dangling(&self, rule: u32, to: String) -> VerifyError {
        let from = format!("{:?} {:?}", self.blob.kind(), self.blob.name());
        VerifyError::Dangling { from, rule: RuleId(rule), to }
    }
}
