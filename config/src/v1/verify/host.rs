//! Checks a host: domains, routes, actions.

use zerocopy::little_endian::U16;

use super::text::{Text, is_framing};
use super::{At, Checker};
use crate::error::{Fault, VerifyError};
use crate::limits::{self, MIRRORS_MAX, PER_MILLION_MAX};
use crate::model::{PSEUDO_HEADERS, RetryOn, What};
use crate::time_format;
use crate::v1::record::*;
use crate::v1::{section, tag};
use crate::wire::{Span, Str};

pub(super) fn verify(c: &mut Checker<'_>) -> Result<(), VerifyError> {
    let (head, h) = c.head::<HostRecord>()?;
    c.stride::<DomainRecord>(section::DOMAIN)?;
    c.stride::<RouteRecord>(section::ROUTE)?;
    c.stride::<ActionRecord>(section::ACTION)?;
    c.stride::<HeaderMatchRecord>(section::HEADER_MATCH)?;
    c.stride::<QueryMatchRecord>(section::QUERY_MATCH)?;
    c.stride::<BackendRecord>(section::BACKEND)?;
    c.stride::<EditRecord>(section::EDIT)?;
    c.stride::<PartRecord>(section::PART)?;
    c.stride::<PlaceLabelRecord>(section::PLACE_LABEL)?;
    c.stride::<FaultRecord>(section::FAULT)?;
    c.stride::<MirrorRecord>(section::MIRROR)?;
    c.stride::<CorsRecord>(section::CORS)?;
    c.stride::<StringMatchRecord>(section::CORS_ORIGIN)?;
    c.stride::<RetryRecord>(section::RETRY)?;
    c.stride::<U16>(section::STATUS)?;
    c.text(head.field("listener"), h.listener, Text::Name)?;
    for (i, d) in (0..).zip(c.span::<DomainRecord>(head.field("domains"), section::DOMAIN, h.domains)?) {
        let at = c.at(section::DOMAIN, i);
        at.field("reserved").zero(d.reserved.get() == 0)?;
        c.text(at.field("pattern"), d.pattern, Text::Pattern)?;
    }
    for (i, r) in (0..).zip(c.span::<RouteRecord>(head.field("routes"), section::ROUTE, h.routes)?) {
        let at = c.at(section::ROUTE, i);
        at.field("action").need(r.action.get() < h.actions.count.get(), Fault::Index)?;
        route(c, at, r)?;
    }
    for (i, a) in (0..).zip(c.span::<ActionRecord>(head.field("actions"), section::ACTION, h.actions)?) {
        action(c, c.at(section::ACTION, i), a)?;
    }
    own_actions(c, h.actions)
}

/// What a backend points to instead is there, and draws no further.
fn own_actions(c: &Checker<'_>, actions: Span) -> Result<(), VerifyError> {
    let backends = |span| c.view.records::<BackendRecord>(section::BACKEND, span).into_iter().flatten();
    let all = Span { start: 0.into(), count: (c.view.count(section::BACKEND) as u32).into() };
    for (i, b) in (0..).zip(backends(all)) {
        let index = b.action.get();
        if index == tag::NO_ACTION {
            continue;
        }
        let at = c.at(section::BACKEND, i).field("action");
        at.need(index < actions.count.get(), Fault::Index)?;
        let one = Span { start: (actions.start.get() + index).into(), count: 1.into() };
        let own = c.view.records::<ActionRecord>(section::ACTION, one).and_then(|mut records| records.next());
        let own = own.ok_or_else(|| at.fail(Fault::Index))?;
        let further = || backends(own.backends).any(|b| b.action.get() != tag::NO_ACTION);
        at.need(own.kind != tag::FORWARD || (own.backends.count.get() == 1 && !further()), Fault::NotOne)?;
    }
    Ok(())
}

fn route(c: &mut Checker<'_>, at: At, r: &RouteRecord) -> Result<(), VerifyError> {
    c.text(at.field("name"), r.name, Text::Line)?;
    at.field("ignore_case").flag(r.ignore_case)?;
    at.field("reserved").zero(r.reserved == [0; 2])?;
    at.field("path_kind").tag(r.path_kind, 4)?;
    at.field("path").zero(r.path_kind != 0 || r.path == Str::default())?;
    c.text(at.field("path"), r.path, if r.path_kind == 3 { Text::Segments } else { Text::Free })?;
    string_match(c, at.field("method"), &r.method, 0)?;
    string_match(c, at.field("scheme"), &r.scheme, 0)?;
    string_match(c, at.field("authority"), &r.authority, 0)?;
    for h in c.span::<HeaderMatchRecord>(at.field("headers"), section::HEADER_MATCH, r.headers)? {
        c.text(at.field("headers.name"), h.name, Text::LowerToken)?;
        at.field("headers.invert").flag(h.invert)?;
        at.field("headers.reserved").zero(h.reserved == [0; 3])?;
        string_match(c, at.field("headers.value"), &h.value, 1)?;
    }
    for q in c.span::<QueryMatchRecord>(at.field("query"), section::QUERY_MATCH, r.query)? {
        let name = c.text(at.field("query.name"), q.name, Text::Free)?;
        at.field("query.name").need(!name.is_empty(), Fault::Empty)?;
        string_match(c, at.field("query.value"), &q.value, 1)?;
    }
    c.labels(at, r.source)
}

/// `kind_min` 1: there has to be a condition.
fn string_match(c: &mut Checker<'_>, at: At, m: &StringMatchRecord, kind_min: u8) -> Result<(), VerifyError> {
    at.need((kind_min..=5).contains(&m.kind), Fault::Unknown { value: m.kind })?;
    let wordless = m.kind == 0 || m.kind == 5;
    at.zero(m.reserved == [0; 3] && (!wordless || m.value == Str::default()))?;
    c.text(at, m.value, Text::Free).map(drop)
}

fn action(c: &mut Checker<'_>, at: At, a: &ActionRecord) -> Result<(), VerifyError> {
    at.field("reserved").zero(a.reserved == 0)?;
    at.field("has_port").flag(a.has_port)?;
    at.field("port").zero(a.has_port != 0 || a.port.get() == 0)?;
    match a.kind {
        tag::FORWARD => forward(c, at, a)?,
        _ if a.retry != Span::default() => return Err(at.field("fields of other kinds").fail(Fault::NotZero)),
        tag::REDIRECT => redirect(c, at, a)?,
        tag::RESPOND => respond(c, at, a)?,
        value => return Err(at.field("kind").fail(Fault::Unknown { value })),
    }
    edits(c, at.field("request edits"), a.request)?;
    edits(c, at.field("response edits"), a.response)?;
    fault(c, at.field("fault"), a.fault)?;
    cors(c, at.field("cors"), a.cors)?;
    mirrors(c, at.field("mirrors"), a.mirrors)
}

fn mirrors(c: &mut Checker<'_>, at: At, span: Span) -> Result<(), VerifyError> {
    at.need(span.count.get() <= MIRRORS_MAX, Fault::Range)?;
    for m in c.span::<MirrorRecord>(at, section::MIRROR, span)? {
        c.text(at, m.cluster, Text::Name)?;
        at.need(m.per_million.get() <= PER_MILLION_MAX, Fault::Range)?;
    }
    Ok(())
}

/// One at most.
fn fault(c: &mut Checker<'_>, at: At, span: Span) -> Result<(), VerifyError> {
    at.need(span.count.get() <= 1, Fault::NotOne)?;
    for f in c.span::<FaultRecord>(at, section::FAULT, span)? {
        at.zero(f.reserved.get() == 0)?;
        at.timeout(f.delay_ms.get())?;
        let status = f.abort_status.get();
        at.need(status == 0 || (200..=599).contains(&status), Fault::Range)?;
        at.need(f.delay_per_million.get().max(f.abort_per_million.get()) <= PER_MILLION_MAX, Fault::Range)?;
    }
    Ok(())
}

/// One at most.
fn cors(c: &mut Checker<'_>, at: At, span: Span) -> Result<(), VerifyError> {
    at.need(span.count.get() <= 1, Fault::NotOne)?;
    for cors in c.span::<CorsRecord>(at, section::CORS, span)? {
        at.zero(cors.reserved == 0 && (cors.has_max_age != 0 || cors.max_age_s.get() == 0))?;
        [cors.has_max_age, cors.credentials, cors.forward_unmatched].into_iter().try_for_each(|flag| at.flag(flag))?;
        [cors.methods, cors.headers, cors.expose].into_iter().try_for_each(|s| c.text(at, s, Text::Value).map(drop))?;
        for origin in c.span::<StringMatchRecord>(at, section::CORS_ORIGIN, cors.origins)? {
            string_match(c, at, origin, 1)?;
        }
    }
    Ok(())
}

fn forward(c: &mut Checker<'_>, at: At, a: &ActionRecord) -> Result<(), VerifyError> {
    let others = a.status.get() == 0 && a.has_port == 0 && (a.path_kind == 4 || a.scheme == Str::default());
    at.field("fields of other kinds").zero(others)?;
    at.field("timeout_ms").timeout(a.timeout_ms.get())?;
    c.text(at.field("authority"), a.text, Text::Authority)?;
    rewrite(c, at, a)?;
    at.field("retry").need(a.retry.count.get() <= 1, Fault::Range)?;
    for (i, r) in (a.retry.start.get()..).zip(c.span::<RetryRecord>(at.field("retry"), section::RETRY, a.retry)?) {
        retry(c, c.at(section::RETRY, i), r)?;
    }
    let mut weights = 0u64;
    let backends = a.backends;
    for (i, b) in
        (backends.start.get()..).zip(c.span::<BackendRecord>(at.field("backends"), section::BACKEND, backends)?)
    {
        weights += u64::from(b.weight.get());
        backend(c, c.at(section::BACKEND, i), b)?;
    }
    at.field("backends").need(weights <= u64::from(u32::MAX), Fault::Weights)
}

fn retry(c: &mut Checker<'_>, at: At, r: &RetryRecord) -> Result<(), VerifyError> {
    at.field("attempts").need((1..=limits::RETRY_ATTEMPTS_MAX).contains(&r.attempts.get()), Fault::Range)?;
    for (field, bits) in [("on", r.on.get()), ("on_repeatable", r.on_repeatable.get())] {
        at.field(field).need(RetryOn::from_bits(bits).is_some(), Fault::Range)?;
    }
    at.field("try_timeout_ms").timeout(r.try_timeout_ms.get())?;
    at.field("backoff_max_ms").timeout(r.backoff_max_ms.get().into())?;
    let (least, first, most) = (r.backoff_min_ms.get(), r.backoff_ms.get(), r.backoff_max_ms.get());
    at.field("backoff_ms").need((least.max(1)..=most).contains(&first), Fault::Range)?;
    at.field("avoid_previous").flag(r.avoid_previous)?;
    at.field("reserved").zero(r.reserved == [0; 3])?;
    let mut last = 99;
    for status in c.span::<U16>(at.field("statuses"), section::STATUS, r.statuses)?.map(|s| s.get()) {
        at.field("statuses").need(status <= 599, Fault::Range)?;
        at.field("statuses").need(status > last, Fault::Order)?;
        last = status;
    }
    Ok(())
}

fn backend(c: &mut Checker<'_>, at: At, b: &BackendRecord) -> Result<(), VerifyError> {
    at.field("reserved").zero(b.reserved.get() == 0)?;
    if b.action.get() != tag::NO_ACTION {
        let empty = b.cluster == Str::default() && b.missing_status.get() == 0;
        let unedited = b.request == Span::default() && b.response == Span::default();
        return at.field("fields beside an action").zero(empty && unedited);
    }
    let cluster = c.text(at.field("cluster"), b.cluster, Text::NameOrNone)?;
    let status = b.missing_status.get();
    let in_range = (400..=599).contains(&status) || (status == 0 && !cluster.is_empty());
    at.field("missing_status").need(in_range, Fault::Range)?;
    edits(c, at.field("request edits"), b.request)?;
    edits(c, at.field("response edits"), b.response)
}

/// What only a forward has is not there.
fn without_spans_of_forwards(a: &ActionRecord) -> bool {
    [a.backends, a.request, a.cors, a.mirrors, a.retry].iter().all(|span| *span == Span::default())
}

fn redirect(c: &mut Checker<'_>, at: At, a: &ActionRecord) -> Result<(), VerifyError> {
    let spans = without_spans_of_forwards(a);
    let others = a.timeout_ms.get() == 0 && spans;
    at.field("fields of other kinds").zero(others)?;
    at.field("status").need(matches!(a.status.get(), 301 | 302 | 303 | 307 | 308), Fault::Range)?;
    c.text(at.field("host"), a.text, Text::Host)?;
    c.text(at.field("scheme"), a.scheme, Text::Scheme)?;
    rewrite(c, at, a)
}

fn respond(c: &mut Checker<'_>, at: At, a: &ActionRecord) -> Result<(), VerifyError> {
    let strings = a.scheme == Str::default() && a.path == Str::default();
    let spans = without_spans_of_forwards(a);
    let numbers = a.has_port == 0 && a.path_kind == 0 && a.timeout_ms.get() == 0;
    at.field("fields of other kinds").zero(strings && spans && numbers)?;
    at.field("status").need((200..=599).contains(&a.status.get()), Fault::Range)?;
    c.text(at.field("body"), a.text, Text::Free).map(drop)
}

fn rewrite(c: &mut Checker<'_>, at: At, a: &ActionRecord) -> Result<(), VerifyError> {
    at.field("path_kind").tag(a.path_kind, if a.kind == tag::FORWARD { 4 } else { 3 })?;
    if a.path_kind == 4 {
        c.text(at.field("pattern"), a.path, Text::Free)?;
        return c.text(at.field("substitution"), a.scheme, Text::Path).map(drop);
    }
    at.field("path").zero(a.path_kind != 0 || a.path == Str::default())?;
    // A prefix may become anything, as in Istio; the others are paths of their own.
    let text = if a.path_kind >= 2 { Text::RootPath } else { Text::Path };
    c.text(at.field("path"), a.path, text).map(drop)
}

/// Removals, then replacements, then additions.
fn edits(c: &mut Checker<'_>, at: At, span: Span) -> Result<(), VerifyError> {
    let mut last = tag::REMOVE;
    for e in c.span::<EditRecord>(at, section::EDIT, span)? {
        at.need((tag::REMOVE..=tag::ADD).contains(&e.kind), Fault::Unknown { value: e.kind })?;
        at.need(e.kind >= last, Fault::Order)?;
        last = e.kind;
        let parts = e.parts != Span::default();
        let valueless = e.kind == tag::REMOVE || parts;
        at.zero(
            e.reserved == [0; 3] && (!valueless || e.value == Str::default()) && (e.kind != tag::REMOVE || !parts),
        )?;
        let name = c.text(at, e.name, Text::Token)?;
        at.need(!is_framing(name), Fault::FramingHeader)?;
        c.text(at, e.value, Text::Value)?;
        at.need(e.parts.count.get() <= limits::VALUE_PARTS_MAX, Fault::Range)?;
        for (i, p) in (e.parts.start.get()..).zip(c.span::<PartRecord>(at, section::PART, e.parts)?) {
            part(c, c.at(section::PART, i), p)?;
        }
    }
    Ok(())
}

fn part(c: &mut Checker<'_>, at: At, p: &PartRecord) -> Result<(), VerifyError> {
    at.field("reserved").zero(p.reserved == [0; 3])?;
    let only_text = p.alternative == Str::default() && p.bytes_max.get() == 0;
    if p.what == 0 {
        at.field("fields of other kinds").zero(only_text)?;
        return c.text(at.field("text"), p.text, Text::Value).map(drop);
    }
    let Some(what) = What::from_tag(p.what) else {
        return Err(at.field("what").fail(Fault::Unknown { value: p.what }));
    };
    if what == What::StartTime {
        at.field("fields of other kinds").zero(p.alternative == Str::default())?;
        let format = c.text(at.field("text"), p.text, Text::Value)?;
        return at.field("text").need(time_format::is_format(format), Fault::Characters);
    }
    if !what.has_header() {
        let nameless = p.text == Str::default() && p.alternative == Str::default();
        return at.field("fields of other kinds").zero(nameless);
    }
    header(c, at.field("text"), p.text, what)?;
    if p.alternative != Str::default() {
        header(c, at.field("alternative"), p.alternative, what)?;
    }
    Ok(())
}

/// A header that a variable is about.
fn header(c: &mut Checker<'_>, at: At, name: Str, what: What) -> Result<(), VerifyError> {
    let text = c.text(at, name, Text::Value)?;
    match what != What::Resp && PSEUDO_HEADERS.contains(&text) {
        true => Ok(()),
        false => at.need(!text.is_empty() && Text::LowerToken.holds(text), Fault::Characters),
    }
}
