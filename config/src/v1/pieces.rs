//! A verified blob read piece by piece: each piece is decoded when it is asked for, and nothing is kept. Whoever compiles a large host holds one of its
//! routes at a time.

use super::decode::Decoder;
use super::record::*;
use super::section;
use crate::model::*;
use crate::wire::{Record, Span, View};

/// A host. What it is asked for and does not have is `None`.
#[derive(Clone, Copy)]
pub struct HostPieces<'a> {
    decoder: Decoder<'a>,
    head: &'a HostRecord,
}

impl<'a> HostPieces<'a> {
    pub(crate) fn of(view: View<'a>) -> HostPieces<'a> {
        let decoder = Decoder(view);
        HostPieces { decoder, head: decoder.head() }
    }

    /// [`Host::rule`].
    pub fn rule(&self) -> RuleId {
        RuleId(self.head.rule.get())
    }

    /// [`Host::listener`].
    pub fn listener(&self) -> &'a str {
        self.decoder.text(self.head.listener)
    }

    /// [`Host::domains`]: pattern and port.
    pub fn domains(&self) -> impl ExactSizeIterator<Item = (&'a str, u16)> + use<'a> {
        let decoder = self.decoder;
        let domain = move |d: &DomainRecord| (decoder.text(d.pattern), d.port.get());
        decoder.records(section::DOMAIN, self.head.domains).map(domain)
    }

    /// [`Host::routes`].
    pub fn routes(&self) -> impl ExactSizeIterator<Item = Route> + use<'a> {
        let decoder = self.decoder;
        decoder.records(section::ROUTE, self.head.routes).map(move |r| decoder.route(r))
    }

    /// One of them.
    pub fn route(&self, number: u32) -> Option<Route> {
        self.one(section::ROUTE, self.head.routes, number).map(|r| self.decoder.route(r))
    }

    /// The name of one of them, read where it lies.
    pub fn route_name(&self, number: u32) -> Option<&'a str> {
        self.one(section::ROUTE, self.head.routes, number).map(|r: &RouteRecord| self.decoder.text(r.name))
    }

    /// [`Host::actions`].
    pub fn actions(&self) -> impl ExactSizeIterator<Item = Action> + use<'a> {
        let decoder = self.decoder;
        decoder.records(section::ACTION, self.head.actions).map(move |a| decoder.action(a))
    }

    /// One of them.
    pub fn action(&self, number: u32) -> Option<Action> {
        self.one(section::ACTION, self.head.actions, number).map(|a| self.decoder.action(a))
    }

    fn one<R: Record + 'a>(&self, id: u16, all: Span, number: u32) -> Option<&'a R> {
        if number >= all.count.get() {
            return None;
        }
        let start = all.start.get().checked_add(number)?;
        self.decoder.records(id, Span { start: start.into(), count: 1.into() }).next()
    }
}

/// The origin of a rule in a provenance blob, whose entries are sorted by it.
pub(crate) fn origin(view: View<'_>, rule: RuleId) -> Option<ProvenanceEntry> {
    let decoder = Decoder(view);
    let all = decoder.head::<ProvenanceRecord>().entries;
    let entry = |number: u32| -> Option<&OriginRecord> {
        let start = all.start.get().checked_add(number)?;
        decoder.records(section::ORIGIN, Span { start: start.into(), count: 1.into() }).next()
    };
    let (mut low, mut high) = (0, all.count.get());
    while low < high {
        let middle = low + (high - low) / 2;
        let found = entry(middle)?;
        match RuleId(found.rule.get()).cmp(&rule) {
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
            std::cmp::Ordering::Equal => return Some(decoder.origin(found)),
        }
    }
    None
}
