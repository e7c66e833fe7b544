//! The verifier: total, without allocation beyond a set of listener names. What passes decodes without a doubt.
//!
//! Records form a tree: the spans that point into a section stand one behind the other and use up the whole of it. So no record is decoded
//! twice, none is left over, and a blob decodes to a small multiple of its size (strings, which are shared, have a budget of their own).

mod cluster;
mod host;
mod listeners;
mod text;

use super::record::*;
use super::section;
use crate::error::{Fault, SectionFault, VerifyError};
use crate::limits::{self, RECORDS_MAX, TIMEOUT_MS_MAX};
use crate::log_format;
use crate::model::Kind;
use crate::wire::{Record, Records, Span, Str, View};
use text::Text;

/// Checks everything that a blob alone can be checked for; tells what it is.
pub fn verify(bytes: &[u8]) -> Result<(Kind, View<'_>), VerifyError> {
    let view = View::open(bytes)?;
    let kind = super::kind(view.header().kind).ok_or(VerifyError::Header { field: "kind" })?;
    let text_left = limits::text_bytes_max(bytes.len());
    let mut c = Checker { view, kind, used: [0; section::END as usize], text_left };
    c.text(c.at(section::STRINGS, 0).field("blob name"), view.header().name, Text::Name)?;
    match kind {
        Kind::Listeners => listeners::verify(&mut c)?,
        Kind::Host => host::verify(&mut c)?,
        Kind::Cluster => cluster::verify(&mut c)?,
        Kind::Endpoints => endpoints(&mut c)?,
        Kind::Policy => policy(&mut c)?,
        Kind::Provenance => provenance(&mut c)?,
    }
    c.finish()?;
    Ok((kind, view))
}

struct Checker<'a> {
    view: View<'a>,
    kind: Kind,
    /// Records of each section that a span has used up.
    used: [u32; section::END as usize],
    text_left: usize,
}

/// A place in the blob, for errors.
#[derive(Clone, Copy)]
struct At {
    kind: Kind,
    section: u16,
    record: u32,
    field: &'static str,
}

impl At {
    fn field(self, field: &'static str) -> At {
        At { field, ..self }
    }

    fn fail(self, fault: Fault) -> VerifyError {
        let At { kind, section, record, field } = self;
        VerifyError::Record { kind, section, record, field, fault }
    }

    fn need(self, holds: bool, fault: Fault) -> Result<(), VerifyError> {
        if holds { Ok(()) } else { Err(self.fail(fault)) }
    }

    fn zero(self, holds: bool) -> Result<(), VerifyError> {
        self.need(holds, Fault::NotZero)
    }

    fn flag(self, value: u8) -> Result<(), VerifyError> {
        self.need(value <= 1, Fault::Flag)
    }

    /// An enum value; `known` is what it stands for.
    fn known<T>(self, value: u8, known: Option<T>) -> Result<T, VerifyError> {
        known.ok_or_else(|| self.fail(Fault::Unknown { value }))
    }

    fn tag(self, value: u8, max: u8) -> Result<(), VerifyError> {
        self.need(value <= max, Fault::Unknown { value })
    }

    fn timeout(self, ms: u64) -> Result<(), VerifyError> {
        self.need(ms <= TIMEOUT_MS_MAX, Fault::Range)
    }

    /// Choices are drawn from a sum of 32 bits.
    fn weights(self, weights: impl Iterator<Item = u32>) -> Result<(), VerifyError> {
        self.need(weights.map(u64::from).sum::<u64>() <= u64::from(u32::MAX), Fault::Weights)
    }
}

impl<'a> Checker<'a> {
    fn at(&self, section: u16, record: u32) -> At {
        At { kind: self.kind, section, record, field: "record" }
    }

    /// A string that says what its kind of text may say.
    #[inline]
    fn text(&mut self, at: At, s: Str, text: Text) -> Result<&'a str, VerifyError> {
        if s == Str::default() && text.may_be_empty() {
            return Ok("");
        }
        let (bytes, max) = (s.len.get() as usize, text.bytes_max());
        at.need(bytes <= max, Fault::TooLong { bytes, max })?;
        let found = self.view.str(s).ok_or_else(|| at.fail(Fault::String))?;
        self.text_left = self.text_left.checked_sub(bytes).ok_or_else(|| at.fail(Fault::TextBudget))?;
        at.need(bytes > 0 || text.may_be_empty(), Fault::Empty)?;
        at.need(text.holds(found), Fault::Characters)?;
        Ok(found)
    }

    /// The records of a span, which has to start where the one before it ended.
    fn span<R: Record>(&mut self, at: At, id: u16, span: Span) -> Result<Records<'a, R>, VerifyError> {
        let (start, count) = (span.start.get(), span.count.get());
        let used = &mut self.used[id as usize];
        at.need(if count == 0 { start == 0 } else { start == *used }, Fault::Span)?;
        let records = self.view.records(id, span).ok_or_else(|| at.fail(Fault::Span))?;
        *used += count;
        Ok(records)
    }

    fn head<R: Record>(&mut self) -> Result<(At, &'a R), VerifyError> {
        let at = self.at(section::HEAD, 0);
        at.need(self.view.count(section::HEAD) == 1, Fault::NotOne)?;
        self.stride::<R>(section::HEAD)?;
        let one = Span { start: 0.into(), count: 1.into() };
        let head = self.view.records(section::HEAD, one).and_then(|mut records| records.next());
        Ok((at, head.ok_or_else(|| at.fail(Fault::NotOne))?))
    }

    /// A section, if it is there, has records of at least this version's size.
    fn stride<R: Record>(&self, id: u16) -> Result<(), VerifyError> {
        match self.view.stride(id) {
            Some(stride) if stride < size_of::<R>() => self.section_fault(id, SectionFault::Stride),
            _ => Ok(()),
        }
    }

    fn section_fault(&self, id: u16, fault: SectionFault) -> Result<(), VerifyError> {
        Err(VerifyError::Section { entry: self.view.entry(id), id, fault })
    }

    fn workload(&mut self, at: At, w: &WorkloadRecord) -> Result<(), VerifyError> {
        let fields = [
            ("namespace", w.namespace),
            ("name", w.name),
            ("app", w.app),
            ("version", w.version),
            ("canonical_name", w.canonical_name),
            ("canonical_revision", w.canonical_revision),
            ("principal", w.principal),
            ("cluster", w.cluster),
        ];
        fields.into_iter().try_for_each(|(field, s)| self.text(at.field(field), s, Text::Line).map(drop))
    }

    /// Places, with a limit on their labels.
    fn places(&mut self, at: At, span: Span) -> Result<(), VerifyError> {
        self.stride::<PlaceRecord>(section::PLACE)?;
        self.stride::<PlaceLabelRecord>(section::PLACE_LABEL)?;
        for (i, p) in (0..).zip(self.span::<PlaceRecord>(at, section::PLACE, span)?) {
            let at = self.at(section::PLACE, i);
            for (field, s) in [("region", p.region), ("zone", p.zone), ("subzone", p.subzone)] {
                self.text(at.field(field), s, Text::Line)?;
            }
            self.labels(at, p.labels)?;
        }
        Ok(())
    }

    /// Labels, with a limit.
    fn labels(&mut self, at: At, span: Span) -> Result<(), VerifyError> {
        at.field("labels").need(span.count.get() as usize <= limits::PLACE_LABELS_MAX, Fault::Range)?;
        let mut last = "";
        for l in self.span::<PlaceLabelRecord>(at.field("labels"), section::PLACE_LABEL, span)? {
            let name = self.text(at.field("labels.name"), l.name, Text::Name)?;
            at.field("labels.name").need(name > last, Fault::Order)?;
            last = name;
            self.text(at.field("labels.value"), l.value, Text::Line)?;
        }
        Ok(())
    }

    /// Nothing is left over.
    fn finish(&self) -> Result<(), VerifyError> {
        for &id in section::of(self.kind) {
            let count = self.view.count(id);
            if count > RECORDS_MAX {
                return self.section_fault(id, SectionFault::Count);
            }
            let used = self.used[id as usize];
            self.at(id, used).need(used as usize == count, Fault::Unreferenced)?;
        }
        Ok(())
    }
}

fn endpoints(c: &mut Checker<'_>) -> Result<(), VerifyError> {
    let (head, h) = c.head::<EndpointsRecord>()?;
    c.stride::<WorkloadRecord>(section::WORKLOAD)?;
    c.stride::<EndpointRecord>(section::ENDPOINT)?;
    for (i, w) in (0..).zip(c.span::<WorkloadRecord>(head.field("workloads"), section::WORKLOAD, h.workloads)?) {
        c.workload(c.at(section::WORKLOAD, i), w)?;
    }
    let mut weights = 0u64;
    for (i, e) in (0..).zip(c.span::<EndpointRecord>(head.field("endpoints"), section::ENDPOINT, h.endpoints)?) {
        let (at, workload) = (c.at(section::ENDPOINT, i), e.workload.get());
        at.field("draining").flag(e.draining)?;
        at.field("reserved").zero(e.reserved == 0)?;
        at.field("port").need(e.address.port.get() != 0, Fault::Range)?;
        at.field("weight").need(e.weight.get() != 0, Fault::NoWeight)?;
        let place = e.place.get();
        at.field("place").need(place == u32::MAX || place < h.places.count.get(), Fault::Index)?;
        at.field("workload").need(workload == u32::MAX || workload < h.workloads.count.get(), Fault::Index)?;
        weights += u64::from(e.weight.get());
    }
    c.stride::<NamedEndpointRecord>(section::NAMED_ENDPOINT)?;
    for (i, n) in (0..).zip(c.span::<NamedEndpointRecord>(head.field("names"), section::NAMED_ENDPOINT, h.names)?) {
        let at = c.at(section::NAMED_ENDPOINT, i);
        c.text(at.field("host"), n.host, Text::DnsName)?;
        at.field("port").need(n.port.get() != 0, Fault::Range)?;
        at.field("weight").need(n.weight.get() != 0, Fault::NoWeight)?;
        at.field("first_only").flag(n.first_only)?;
        let place = n.place.get();
        at.field("place").need(place == u32::MAX || place < h.places.count.get(), Fault::Index)?;
        at.field("reserved").zero(n.reserved == 0)?;
        weights += u64::from(n.weight.get());
    }
    head.field("endpoints").need(weights <= u64::from(u32::MAX), Fault::Weights)?;
    c.places(head.field("places"), h.places)
}

fn policy(c: &mut Checker<'_>) -> Result<(), VerifyError> {
    let (at, h) = c.head::<PolicyRecord>()?;
    at.field("access_log").known(h.access_log, super::access_log(h.access_log))?;
    at.field("path_normalization").known(h.path_normalization, super::path_normalization(h.path_normalization))?;
    at.field("profile").known(h.profile, super::profile(h.profile))?;
    at.field("reserved").zero(h.reserved == 0)?;
    let head_bytes = limits::HEAD_BYTES_MIN..=limits::HEAD_BYTES_MAX;
    at.field("head_bytes_max").need(head_bytes.contains(&h.head_bytes_max.get()), Fault::Range)?;
    let fields = 1..=limits::HEAD_FIELDS_MAX;
    at.field("header_fields_max").need(fields.contains(&h.header_fields_max.get()), Fault::Range)?;
    at.field("head_timeout_ms").timeout(h.head_timeout_ms.get().into())?;
    at.field("body_idle_timeout_ms").timeout(h.body_idle_timeout_ms.get().into())?;
    at.field("downstream_idle_timeout_ms").timeout(h.downstream_idle_timeout_ms.get())?;
    at.field("drain_timeout_ms").timeout(h.drain_timeout_ms.get().into())?;
    at.field("ask_timeout_ms").timeout(h.ask_timeout_ms.get().into())?;
    at.field("trusted_proxies").need(h.trusted_proxies.get() <= limits::TRUSTED_PROXIES_MAX, Fault::Range)?;
    let format = c.text(at.field("access_log_format"), h.access_log_format, Text::Line)?;
    let format_is_known = || super::access_log(h.access_log).is_some_and(|log| log_format::of(log, format).is_ok());
    at.field("access_log_format").need(format.is_empty() || format_is_known(), Fault::Characters)
}

fn provenance(c: &mut Checker<'_>) -> Result<(), VerifyError> {
    let (head, h) = c.head::<ProvenanceRecord>()?;
    c.stride::<OriginRecord>(section::ORIGIN)?;
    let mut last = 0;
    for (i, e) in (0..).zip(c.span::<OriginRecord>(head.field("entries"), section::ORIGIN, h.entries)?) {
        let at = c.at(section::ORIGIN, i);
        at.field("rule").need(e.rule.get() > last, Fault::Order)?;
        last = e.rule.get();
        for (field, s) in
            [("kind", e.kind), ("namespace", e.namespace), ("name", e.name), ("field", e.field), ("file", e.file)]
        {
            c.text(at.field(field), s, Text::Line)?;
        }
    }
    Ok(())
}
