//! Checks a listener set.

use std::collections::HashSet;

use super::text::Text;
use super::{At, Checker};
use crate::error::{Fault, VerifyError};
use crate::v1::record::*;
use crate::v1::{role, section, tag};
use crate::wire::{Span, Str};

pub(super) fn verify(c: &mut Checker<'_>) -> Result<(), VerifyError> {
    let (head, h) = c.head::<ListenersRecord>()?;
    c.stride::<ListenerRecord>(section::LISTENER)?;
    c.stride::<Str>(section::SEARCH)?;
    c.stride::<TcpBackendRecord>(section::TCP_BACKEND)?;
    c.stride::<TlsRouteRecord>(section::TLS_ROUTE)?;
    c.stride::<Str>(section::SERVER_NAME)?;
    c.workload(head.field("node"), &h.node)?;
    c.text(head.field("pod"), h.pod, Text::Line)?;
    c.text(head.field("policy"), h.policy, Text::Name)?;
    head.field("place").need(h.place.count.get() <= 1, Fault::NotOne)?;
    c.places(head.field("place"), h.place)?;
    let mut names = HashSet::new();
    for (i, l) in (0..).zip(c.span::<ListenerRecord>(head.field("listeners"), section::LISTENER, h.listeners)?) {
        let at = c.at(section::LISTENER, i);
        let name = c.text(at.field("name"), l.name, Text::Name)?;
        at.field("name").need(names.insert(name), Fault::Order)?;
        at.field("role").known(l.role, role(l.role))?;
        at.field("reserved").zero(l.reserved == 0)?;
        match l.protocol {
            tag::HTTP => http(c, at, l)?,
            tag::TCP => tcp(c, at, l)?,
            tag::TLS => tls(c, at, l)?,
            value => return Err(at.field("protocol").fail(Fault::Unknown { value })),
        }
    }
    Ok(())
}

fn http(c: &mut Checker<'_>, at: At, l: &ListenerRecord) -> Result<(), VerifyError> {
    at.field("on_demand").flag(l.on_demand)?;
    at.field("fields of TCP").zero(no_tcp(l))?;
    at.field("tls_routes").zero(l.tls_routes == Span::default())?;
    for s in c.span::<Str>(at.field("search"), section::SEARCH, l.search)? {
        c.text(at.field("search"), *s, Text::Suffix)?;
    }
    Ok(())
}

fn tcp(c: &mut Checker<'_>, at: At, l: &ListenerRecord) -> Result<(), VerifyError> {
    at.field("fields of HTTP").zero(no_http(l))?;
    at.field("tls_routes").zero(l.tls_routes == Span::default())?;
    at.field("idle_timeout_ms").timeout(l.idle_timeout_ms.get())?;
    backends(c, at, l.backends)
}

fn tls(c: &mut Checker<'_>, at: At, l: &ListenerRecord) -> Result<(), VerifyError> {
    at.field("fields of HTTP").zero(no_http(l))?;
    at.field("fields of TCP").zero(no_tcp(l))?;
    for r in c.span::<TlsRouteRecord>(at.field("tls_routes"), section::TLS_ROUTE, l.tls_routes)? {
        at.field("tls_routes.idle_timeout_ms").timeout(r.idle_timeout_ms.get())?;
        for name in c.span::<Str>(at.field("tls_routes.names"), section::SERVER_NAME, r.names)? {
            c.text(at.field("tls_routes.names"), *name, Text::Pattern)?;
        }
        backends(c, at, r.backends)?;
    }
    Ok(())
}

fn no_http(l: &ListenerRecord) -> bool {
    l.on_demand == 0 && l.port.get() == 0 && l.search == Span::default()
}

fn no_tcp(l: &ListenerRecord) -> bool {
    l.backends == Span::default() && l.route_rule.get() == 0 && l.idle_timeout_ms.get() == 0
}

fn backends(c: &mut Checker<'_>, at: At, span: Span) -> Result<(), VerifyError> {
    let mut weights = Vec::new();
    for b in c.span::<TcpBackendRecord>(at.field("backends"), section::TCP_BACKEND, span)? {
        c.text(at.field("backends.cluster"), b.cluster, Text::NameOrNone)?;
        weights.push(b.weight.get());
    }
    at.field("backends.weight").weights(weights.into_iter())
}
