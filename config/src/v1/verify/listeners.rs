//! Checks a listener set.

use std::collections::HashSet;

use super::text::Text;
use super::{At, Checker};
use crate::error::{Fault, VerifyError};
use crate::v1::record::*;
use crate::v1::{role, section, tag};
use crate::wire::Str;

pub(super) fn verify(c: &mut Checker<'_>) -> Result<(), VerifyError> {
    let (head, h) = c.head::<ListenersRecord>()?;
    c.stride::<ListenerRecord>(section::LISTENER)?;
    c.stride::<Str>(section::SEARCH)?;
    c.stride::<TcpBackendRecord>(section::TCP_BACKEND)?;
    c.workload(head.field("node"), &h.node)?;
    c.text(head.field("pod"), h.pod, Text::Line)?;
    c.text(head.field("policy"), h.policy, Text::Name)?;
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
            value => return Err(at.field("protocol").fail(Fault::Unknown { value })),
        }
    }
    Ok(())
}

fn http(c: &mut Checker<'_>, at: At, l: &ListenerRecord) -> Result<(), VerifyError> {
    at.field("on_demand").flag(l.on_demand)?;
    let tcp_is_zero = l.backends.count.get() == 0 && l.backends.start.get() == 0;
    at.field("fields of TCP").zero(tcp_is_zero && l.route_rule.get() == 0 && l.idle_timeout_ms.get() == 0)?;
    for s in c.span::<Str>(at.field("search"), section::SEARCH, l.search)? {
        c.text(at.field("search"), *s, Text::Suffix)?;
    }
    Ok(())
}

fn tcp(c: &mut Checker<'_>, at: At, l: &ListenerRecord) -> Result<(), VerifyError> {
    let http_is_zero = l.on_demand == 0 && l.port.get() == 0 && l.search.count.get() == 0 && l.search.start.get() == 0;
    at.field("fields of HTTP").zero(http_is_zero)?;
    at.field("idle_timeout_ms").timeout(l.idle_timeout_ms.get())?;
    let mut weights = Vec::new();
    for b in c.span::<TcpBackendRecord>(at.field("backends"), section::TCP_BACKEND, l.backends)? {
        c.text(at.field("backends.cluster"), b.cluster, Text::Name)?;
        weights.push(b.weight.get());
    }
    at.field("backends.weight").weights(weights.into_iter())
}
