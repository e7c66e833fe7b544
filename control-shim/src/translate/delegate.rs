//! Delegation: a rule of a root VirtualService hands over to the rules of another one, each narrowed to what the root's rule matches.

use super::Pass;
use super::virtual_service::{Routes, Seat, gateway_key};
use crate::object::retries::Retries;
use crate::object::virtual_service::{Delegate, HttpAction, HttpMatch, HttpRule, VirtualService};
use crate::object::{Object, ObjectRef};
use ringway_config::model::{Action, Backend, Forward, HeaderMatch, PathMatch, PathRewrite, QueryMatch, StringMatch};

impl Pass<'_> {
    /// Appends the rules of a delegate. A rule that matches what the root's rule does not is left out with an error; without a delegate the root's
    /// requests are answered with 503.
    pub(super) fn delegate_routes(
        &self,
        root: &VirtualService,
        rule: &HttpRule,
        to: &Delegate,
        seat: Seat<'_>,
        into: &mut Routes,
    ) {
        let Some(delegate) = self.delegate(root, to) else { return self.nowhere(root, rule, seat, into) };
        for sub in &delegate.http {
            let object = &delegate.meta.reference;
            if matches!(sub.action, HttpAction::Delegate(_)) {
                let message = format!("{object} delegates although {} delegates to it", root.meta.reference);
                self.findings.error(
                    object,
                    &sub.spot,
                    "nested-delegate",
                    message,
                    "one level of delegation is possible",
                );
                continue;
            }
            match merge(root.meta.namespace(), rule, to, sub) {
                Some(merged) => {
                    let before = into.actions.len();
                    self.rule_routes(delegate, &merged, seat, into);
                    into.actions[before..].iter_mut().for_each(|action| self.inherit_fault(root, rule, action));
                }
                None => {
                    let message = format!(
                        "`{}` matches requests that `{}` of {} does not; it is left out",
                        sub.path, rule.path, root.meta.reference
                    );
                    let mend = "every match of a delegate has to be a part of one of the root's";
                    self.findings.error(object, &sub.spot, "delegate-conflict", message, mend);
                }
            }
        }
    }

    fn inherit_fault(&self, root: &VirtualService, rule: &HttpRule, action: &mut Action) {
        let fault = match action {
            Action::Forward(forward) => &mut forward.fault,
            Action::Redirect(redirect) => &mut redirect.fault,
            Action::Respond(respond) => &mut respond.fault,
        };
        if fault.is_none() {
            *fault = self.fault(root, rule);
        }
    }

    fn delegate(&self, root: &VirtualService, to: &Delegate) -> Option<&VirtualService> {
        let namespace = if to.namespace.is_empty() { root.meta.namespace() } else { &to.namespace };
        let reference = ObjectRef::new("VirtualService", namespace, &to.name);
        let found = match self.mesh.objects.get(&reference).map(|entry| &entry.object) {
            Some(Object::VirtualService(found)) => Some(found),
            _ => None,
        };
        let (message, mend) = match found {
            None => (format!("there is no {reference} to delegate to"), "add it, or correct the name"),
            Some(found) if !found.hosts.is_empty() => {
                (format!("{reference} has hosts of its own and is no delegate"), "remove its `hosts`")
            }
            Some(found) if !self.virtual_services.is_visible(found, root.meta.namespace()) => {
                (format!("{reference} is not exported to `{}`", root.meta.namespace()), "widen its `exportTo`")
            }
            Some(found) => return Some(found),
        };
        self.findings.error(&root.meta.reference, &to.spot, "unknown-delegate", message, mend);
        None
    }

    /// The root's matches, answered with 503.
    fn nowhere(&self, root: &VirtualService, rule: &HttpRule, seat: Seat<'_>, into: &mut Routes) {
        let missing = Backend {
            weight: 1,
            rule: self.rule(&root.meta, &rule.path, &rule.spot),
            missing_status: super::virtual_service::MISSING_STATUS,
            ..Backend::default()
        };
        let action = Action::Forward(Forward { backends: vec![missing], ..Forward::default() });
        self.put_rule(root, rule, action, seat, into);
    }
}

/// The delegate's rule where the root's holds; what the delegate does not say, the root does. `None`: one of its matches is no part of any of the
/// root's.
fn merge(root_namespace: &str, root: &HttpRule, to: &Delegate, sub: &HttpRule) -> Option<HttpRule> {
    let mut merged = HttpRule { name: joined(&root.name, &sub.name), ..sub.clone() };
    merged.matches = match (root.matches.as_slice(), sub.matches.as_slice()) {
        ([], own) => own.to_vec(),
        (roots, []) => {
            let here = |one: &HttpMatch| HttpMatch {
                path: sub.path.clone(),
                spot: sub.spot.clone(),
                ..absolute(one, root_namespace)
            };
            roots.iter().map(here).collect()
        }
        (roots, own) => {
            let mut all = Vec::new();
            for one in own {
                let before = all.len();
                all.extend(roots.iter().filter_map(|root| narrow(&absolute(root, root_namespace), one)));
                if all.len() == before {
                    return None;
                }
            }
            all
        }
    };
    inherit(&mut merged, to);
    Some(merged)
}

/// Settings of the root's rule that the delegate's does not have.
fn inherit(rule: &mut HttpRule, delegate: &Delegate) {
    let root = &delegate.settings;
    match &mut rule.action {
        HttpAction::Route(route) => {
            if route.timeout_ms == 0 {
                route.timeout_ms = root.timeout_ms;
            }
            if route.path == PathRewrite::Keep && route.authority.is_empty() {
                (route.path, route.authority) = (root.path.clone(), root.authority.clone());
            }
            if !rule.has_headers {
                (route.request, route.response) = (root.request.clone(), root.response.clone());
            }
            if route.retry == Retries::Unsaid {
                route.retry.clone_from(&root.retry);
            }
            if route.mirrors.is_empty() {
                route.mirrors.clone_from(&root.mirrors);
            }
            if route.cors.is_none() {
                route.cors.clone_from(&root.cors);
            }
        }
        HttpAction::Redirect { to, .. } if !rule.has_headers => to.response = root.response.clone(),
        HttpAction::Respond(respond) if !rule.has_headers => respond.response = root.response.clone(),
        HttpAction::Redirect { .. } | HttpAction::Respond(_) | HttpAction::Delegate(_) => {}
    }
}

fn joined(root: &str, own: &str) -> String {
    match (root, own) {
        ("", name) | (name, "") => name.into(),
        (root, own) => format!("{root}-{own}"),
    }
}

/// Gateways are named from the namespace of the VirtualService that names them.
fn absolute(one: &HttpMatch, namespace: &str) -> HttpMatch {
    HttpMatch { gateways: one.gateways.iter().map(|name| gateway_key(name, namespace)).collect(), ..one.clone() }
}

/// Both matches in one; `None` when the delegate's is no part of the root's.
fn narrow(root: &HttpMatch, own: &HttpMatch) -> Option<HttpMatch> {
    let (outer, inner) = (&root.matches, &own.matches);
    let conditions =
        [(&outer.method, &inner.method), (&outer.scheme, &inner.scheme), (&outer.authority, &inner.authority)];
    let headers = |own: &HeaderMatch| {
        let same = |root: &&HeaderMatch| root.name == own.name && root.invert == own.invert;
        outer.headers.iter().find(same).is_none_or(|root| within(&root.value, &own.value))
    };
    let query = |own: &QueryMatch| {
        outer.query.iter().find(|root| root.name == own.name).is_none_or(|root| within(&root.value, &own.value))
    };
    let fits = path_within(&outer.path, &inner.path)
        && conditions.iter().all(|(root, own)| match (root, own) {
            (Some(root), Some(own)) => within(root, own),
            _ => true,
        })
        && inner.headers.iter().all(headers)
        && inner.query.iter().all(query)
        && outer.ignore_case == inner.ignore_case
        && inner.source.iter().all(|(name, value)| outer.source.iter().all(|(n, v)| n != name || v == value))
        && agree(root.port.as_ref(), own.port.as_ref())
        && agree(root.source_namespace.as_ref(), own.source_namespace.as_ref())
        && (root.gateways.is_empty() || own.gateways.iter().all(|name| root.gateways.contains(name)));
    fits.then(|| {
        let mut merged = own.clone();
        let matches = &mut merged.matches;
        if matches.path == PathMatch::Any {
            matches.path = outer.path.clone();
        }
        for (own, root) in [
            (&mut matches.method, &outer.method),
            (&mut matches.scheme, &outer.scheme),
            (&mut matches.authority, &outer.authority),
        ] {
            if own.is_none() {
                own.clone_from(root);
            }
        }
        let missing =
            |root: &&HeaderMatch| !inner.headers.iter().any(|own| (&own.name, own.invert) == (&root.name, root.invert));
        matches.headers.extend(outer.headers.iter().filter(missing).cloned());
        let missing = |root: &&QueryMatch| !inner.query.iter().any(|own| own.name == root.name);
        matches.query.extend(outer.query.iter().filter(missing).cloned());
        matches.source.extend(outer.source.iter().filter(|label| !inner.source.contains(label)).cloned());
        matches.source.sort();
        merged.port = own.port.or(root.port);
        merged.source_namespace = own.source_namespace.clone().or_else(|| root.source_namespace.clone());
        if merged.gateways.is_empty() {
            merged.gateways = root.gateways.clone();
        }
        merged
    })
}

fn agree<T: PartialEq>(root: Option<&T>, own: Option<&T>) -> bool {
    root.is_none() || own.is_none() || root == own
}

fn path_within(root: &PathMatch, own: &PathMatch) -> bool {
    let text = |path: &PathMatch| match path {
        PathMatch::Any => None,
        PathMatch::Exact(text) => Some(StringMatch::Exact(text.clone())),
        PathMatch::Prefix(text) | PathMatch::Segments(text) => Some(StringMatch::Prefix(text.clone())),
        PathMatch::Regex(text) => Some(StringMatch::Regex(text.clone())),
    };
    match (text(root), text(own)) {
        (Some(root), Some(own)) => within(&root, &own),
        _ => true,
    }
}

/// Whether what meets the second condition meets the first one. Two different conditions with a regular expression are taken for a conflict, as in
/// Istio.
fn within(root: &StringMatch, own: &StringMatch) -> bool {
    match (root, own) {
        (StringMatch::Prefix(root), StringMatch::Prefix(own) | StringMatch::Exact(own)) => {
            own.starts_with(root.as_str())
        }
        (root, own) => root == own && !matches!(root, StringMatch::Regex(_)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_part_of_what() {
        let [exact, prefix, regex] = [StringMatch::Exact, StringMatch::Prefix, StringMatch::Regex];
        for (root, own, part) in [
            (exact("/a".into()), exact("/a".into()), true),
            (exact("/a".into()), exact("/b".into()), false),
            (exact("/a".into()), prefix("/a".into()), false),
            (prefix("/a".into()), prefix("/a/b".into()), true),
            (prefix("/a/b".into()), prefix("/a".into()), false),
            (prefix("/a".into()), exact("/ab".into()), true),
            (prefix("/a".into()), exact("/b".into()), false),
            (regex("a".into()), regex("a".into()), false),
            (prefix("/a".into()), regex("/a".into()), false),
            (StringMatch::Present, exact("a".into()), false),
            (StringMatch::Present, StringMatch::Present, true),
        ] {
            assert_eq!(within(&root, &own), part, "{own:?} in {root:?}");
        }
    }
}
