//! Checks a cluster: where it is, its limits, and how an endpoint is chosen.

use zerocopy::little_endian::U16;

use super::text::Text;
use super::{At, Checker};
use crate::error::{Fault, VerifyError};
use crate::limits::{
    self, COOKIE_ATTRIBUTES_MAX, HASH_TABLE_SIZE_MAX, KEEPALIVE_PROBES_MAX, KEEPALIVE_S_MAX, LOCALITIES_MAX,
    PLACE_LABELS_MAX, WARMUP_AGGRESSION_MAX, WARMUP_MINIMUM_MAX,
};
use crate::model::Balance;
use crate::v1::record::*;
use crate::v1::{balance, protocol, section, tag};
use crate::wire::{Span, Str};

pub(super) fn verify(c: &mut Checker<'_>) -> Result<(), VerifyError> {
    let (at, h) = c.head::<ClusterRecord>()?;
    c.stride::<HashRecord>(section::HASH)?;
    c.stride::<CookieAttributeRecord>(section::COOKIE_ATTRIBUTE)?;
    c.stride::<WarmupRecord>(section::WARMUP)?;
    c.stride::<LocalityRecord>(section::LOCALITY)?;
    at.field("protocol").known(h.protocol, protocol(h.protocol))?;
    let balance = at.field("balance").known(h.balance, balance(h.balance))?;
    at.field("mesh_internal").flag(h.mesh_internal)?;
    at.field("reserved").zero(h.reserved == 0)?;
    at.field("connect_timeout_ms").timeout(h.connect_timeout_ms.get().into())?;
    at.field("idle_timeout_ms").timeout(h.idle_timeout_ms.get())?;
    at.field("retry_share").need(h.retry_share.get() <= limits::RETRY_SHARE_MAX, Fault::Range)?;
    c.text(at.field("endpoints"), h.endpoints, Text::Name)?;
    c.text(at.field("service_host"), h.service_host, Text::Line)?;
    c.text(at.field("service_name"), h.service_name, Text::Line)?;
    c.text(at.field("service_namespace"), h.service_namespace, Text::Line)?;
    at.field("hash").need((h.hash.count.get() == 1) == balance.is_consistent(), Fault::NotOne)?;
    at.field("hash").need(h.hash.count.get() <= 1, Fault::NotOne)?;
    for hash in c.span::<HashRecord>(at.field("hash"), section::HASH, h.hash)? {
        verify_hash(c, c.at(section::HASH, 0), hash, balance)?;
    }
    let warms = matches!(balance, Balance::LeastRequest | Balance::RoundRobin);
    at.field("warmup").need(h.warmup.count.get() <= u32::from(warms), Fault::NotOne)?;
    for warmup in c.span::<WarmupRecord>(at.field("warmup"), section::WARMUP, h.warmup)? {
        let at = c.at(section::WARMUP, 0);
        at.field("duration_ms").timeout(warmup.duration_ms.get())?;
        at.field("duration_ms").need(warmup.duration_ms.get() > 0, Fault::Range)?;
        at.field("minimum").need(warmup.minimum.get() <= WARMUP_MINIMUM_MAX, Fault::Range)?;
        let aggression = 1..=WARMUP_AGGRESSION_MAX;
        at.field("aggression").need(aggression.contains(&warmup.aggression.get()), Fault::Range)?;
    }
    at.field("locality").need(h.locality.count.get() <= 1, Fault::NotOne)?;
    for locality in c.span::<LocalityRecord>(at.field("locality"), section::LOCALITY, h.locality)? {
        verify_locality(c, c.at(section::LOCALITY, 0), locality)?;
    }
    verify_outlier(c, at.field("outlier"), h.outlier)?;
    verify_connection(c, at.field("connection"), h.connection)
}

fn verify_connection(c: &mut Checker<'_>, at: At, span: Span) -> Result<(), VerifyError> {
    c.stride::<ConnectionRecord>(section::CONNECTION)?;
    at.need(span.count.get() <= 1, Fault::NotOne)?;
    for r in c.span::<ConnectionRecord>(at, section::CONNECTION, span)? {
        let at = c.at(section::CONNECTION, 0);
        let numbers = [r.keepalive_probes.get(), r.keepalive_time_s.get(), r.keepalive_interval_s.get()];
        at.field("duration_max_ms").timeout(r.duration_max_ms.get())?;
        at.field("keepalive").flag(r.keepalive)?;
        at.field("reserved").zero(r.reserved == [0; 3])?;
        at.field("fields of keepalive").zero(r.keepalive == 1 || numbers == [0; 3])?;
        at.field("keepalive_probes").need(numbers[0] <= KEEPALIVE_PROBES_MAX, Fault::Range)?;
        at.field("keepalive_time_s").need(numbers[1] <= KEEPALIVE_S_MAX, Fault::Range)?;
        at.field("keepalive_interval_s").need(numbers[2] <= KEEPALIVE_S_MAX, Fault::Range)?;
    }
    Ok(())
}

fn verify_locality(c: &mut Checker<'_>, at: At, l: &LocalityRecord) -> Result<(), VerifyError> {
    c.stride::<DistributeRecord>(section::DISTRIBUTE)?;
    c.stride::<LocalityShareRecord>(section::LOCALITY_SHARE)?;
    c.stride::<FailoverLabelRecord>(section::FAILOVER_LABEL)?;
    c.stride::<FailoverRegionRecord>(section::FAILOVER_REGION)?;
    at.field("reserved").zero(l.reserved == [0; 3])?;
    let none = Span::default();
    match l.kind {
        tag::DISTRIBUTE => at.field("fields of failover").zero(l.priority == none && l.regions == none)?,
        tag::FAILOVER => at.field("fields of distribute").zero(l.distribute == none)?,
        value => return Err(at.field("kind").fail(Fault::Unknown { value })),
    }
    let few = |span: Span, max: usize| span.count.get() as usize <= max;
    at.field("distribute").need(few(l.distribute, LOCALITIES_MAX), Fault::Range)?;
    at.field("priority").need(few(l.priority, PLACE_LABELS_MAX), Fault::Range)?;
    at.field("regions").need(few(l.regions, LOCALITIES_MAX), Fault::Range)?;
    for d in c.span::<DistributeRecord>(at.field("distribute"), section::DISTRIBUTE, l.distribute)? {
        c.text(at.field("distribute.from"), d.from, Text::Line)?;
        at.field("distribute.to").need(few(d.to, LOCALITIES_MAX), Fault::Range)?;
        let mut weights = Vec::new();
        for s in c.span::<LocalityShareRecord>(at.field("distribute.to"), section::LOCALITY_SHARE, d.to)? {
            c.text(at.field("distribute.to"), s.locality, Text::Line)?;
            weights.push(s.weight.get());
        }
        at.field("distribute.to").weights(weights.into_iter())?;
    }
    for p in c.span::<FailoverLabelRecord>(at.field("priority"), section::FAILOVER_LABEL, l.priority)? {
        c.text(at.field("priority.name"), p.name, Text::Name)?;
        c.text(at.field("priority.value"), p.value, Text::Line)?;
        at.field("priority.fixed").flag(p.fixed)?;
        at.field("priority.value").zero(p.fixed == 1 || p.value == Str::default())?;
        at.field("priority.reserved").zero(p.reserved == [0; 3])?;
    }
    for r in c.span::<FailoverRegionRecord>(at.field("regions"), section::FAILOVER_REGION, l.regions)? {
        c.text(at.field("regions.from"), r.from, Text::Line)?;
        c.text(at.field("regions.to"), r.to, Text::Line)?;
    }
    Ok(())
}

fn verify_outlier(c: &mut Checker<'_>, at: At, span: Span) -> Result<(), VerifyError> {
    c.stride::<OutlierRecord>(section::OUTLIER)?;
    c.stride::<U16>(section::STATUS)?;
    at.need(span.count.get() <= 1, Fault::NotOne)?;
    for o in c.span::<OutlierRecord>(at, section::OUTLIER, span)? {
        let at = c.at(section::OUTLIER, 0);
        at.field("interval_ms").need(o.interval_ms.get() != 0, Fault::Range)?;
        at.field("interval_ms").timeout(o.interval_ms.get())?;
        at.field("base_ejection_ms").timeout(o.base_ejection_ms.get())?;
        at.field("split_local_origin").flag(o.split_local_origin)?;
        at.field("max_ejection_percent").need(o.max_ejection_percent <= 100, Fault::Range)?;
        at.field("min_health_percent").need(o.min_health_percent <= 100, Fault::Range)?;
        at.field("reserved").zero(o.reserved == 0)?;
        let mut last = 99;
        for (i, status) in (0..).zip(c.span::<U16>(at.field("error_codes"), section::STATUS, o.error_codes)?) {
            let at = c.at(section::STATUS, i).field("status");
            at.need(status.get() <= 599, Fault::Range)?;
            at.need(status.get() > last, Fault::Order)?;
            last = status.get();
        }
    }
    Ok(())
}

fn verify_hash(c: &mut Checker<'_>, at: At, h: &HashRecord, balance: Balance) -> Result<(), VerifyError> {
    let (size, kind) = (h.table_size.get(), h.kind);
    at.field("reserved").zero(h.reserved.get() == 0)?;
    at.field("table_size").need((1..=HASH_TABLE_SIZE_MAX).contains(&size), Fault::Range)?;
    at.field("table_size").need(balance != Balance::Maglev || is_prime(size), Fault::NotPrime)?;
    match kind {
        tag::HEADER => drop(c.text(at.field("name"), h.name, Text::LowerToken)?),
        tag::COOKIE => drop(c.text(at.field("name"), h.name, Text::Token)?),
        tag::SOURCE_IP => at.field("name").zero(h.name == Str::default())?,
        tag::QUERY => {
            let name = c.text(at.field("name"), h.name, Text::Free)?;
            at.field("name").need(!name.is_empty(), Fault::Empty)?;
        }
        value => return Err(at.field("kind").fail(Fault::Unknown { value })),
    }
    let plain = h.generated == 0 && h.path == Str::default() && h.ttl_ms.get() == 0 && h.attributes == Span::default();
    at.field("fields of a cookie").zero(kind == tag::COOKIE || plain)?;
    at.field("generated").flag(h.generated)?;
    at.field("ttl_ms").zero(h.generated == 1 || h.ttl_ms.get() == 0)?;
    at.field("ttl_ms").timeout(h.ttl_ms.get())?;
    c.text(at.field("path"), h.path, Text::CookieValue)?;
    let count = h.attributes.count.get() as usize;
    at.field("attributes").need(count <= COOKIE_ATTRIBUTES_MAX, Fault::Range)?;
    for a in c.span::<CookieAttributeRecord>(at.field("attributes"), section::COOKIE_ATTRIBUTE, h.attributes)? {
        c.text(at.field("attributes.name"), a.name, Text::Token)?;
        c.text(at.field("attributes.value"), a.value, Text::CookieValue)?;
    }
    Ok(())
}

/// By trial: a table has at most 2^20 entries.
fn is_prime(n: u32) -> bool {
    n > 1 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))
}
