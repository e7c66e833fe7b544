//! HTTPRoute of the Gateway API, for gateways and (GAMMA) for services.

use super::decode::{Context, Field, Fields};
use super::http_filters::{Filters, Place};
use super::patterns;
use super::retries::{self, Retries};
use super::virtual_service::path_text;
use super::{Meta, Spot};
use crate::diagnostic::Diagnostic;
use ringway_config::limits::MIRRORS_MAX;
use ringway_config::model::{HeaderMatch, Match, PathMatch, QueryMatch, StringMatch};

/// An HTTPRoute.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpRoute {
    /// Who it is.
    pub meta: Meta,
    /// What it attaches to.
    pub parents: Vec<Parent>,
    /// Hosts; empty takes the parent's.
    pub hostnames: Vec<String>,
    /// Its rules.
    pub rules: Vec<Rule>,
}

/// What a route attaches to.
#[derive(Clone, Debug, PartialEq)]
pub struct Parent {
    /// Gateway or Service.
    pub kind: ParentKind,
    /// Namespace.
    pub namespace: String,
    /// Whether the reference says it, or means the route's own.
    pub namespace_given: bool,
    /// Name.
    pub name: String,
    /// One listener of the gateway.
    pub section: Option<String>,
    /// One port.
    pub port: Option<u16>,
    /// Where it stands.
    pub spot: Spot,
}

/// Kind of a parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ParentKind {
    Gateway,
    Service,
}

/// One rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// `rules[0]`.
    pub path: String,
    /// Where it stands.
    pub spot: Spot,
    /// Name.
    pub name: String,
    /// Any of these; never empty.
    pub matches: Vec<RuleMatch>,
    /// Where to.
    pub backends: Vec<BackendRef>,
    /// What is done with its requests besides.
    pub filters: Filters,
    /// `timeouts.request`, and without `retry` the smaller of it and backendRequest; 0 is none.
    pub timeout_ms: u64,
    /// When it is tried again.
    pub retry: Retries,
    /// Why it cannot be honoured, if it cannot: its requests are answered with an error.
    pub unfit: Option<String>,
}

/// One match of a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleMatch {
    /// `rules[0].matches[0]`, or the rule's own path when it has no matches.
    pub path: String,
    /// Where it stands.
    pub spot: Spot,
    /// What a request has to be.
    pub matches: Match,
}

/// One weighted backend.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendRef {
    /// `rules[0].backendRefs[0]`.
    pub path: String,
    /// Where it stands.
    pub spot: Spot,
    /// Group and kind, when it is not a Service.
    pub foreign: Option<String>,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Port.
    pub port: Option<u16>,
    /// Relative weight.
    pub weight: u32,
    /// It gets copies only: nobody waits for its answers.
    pub copies: bool,
    /// What is done with its share of the requests besides.
    pub filters: Filters,
}

impl Rule {
    /// Everywhere that it sends requests, or copies of them.
    pub fn destinations(&self) -> impl Iterator<Item = &BackendRef> {
        let of_backends = self.backends.iter().map(|backend| &backend.filters);
        let mirrors = of_backends.chain([&self.filters]).flat_map(|filters| &filters.mirrors);
        self.backends.iter().chain(mirrors.map(|(to, _)| to))
    }
}

/// Decodes an HTTPRoute.
pub fn http_route(meta: Meta, mut root: Fields<'_>) -> Option<HttpRoute> {
    let spec = root.require("spec")?;
    root.harmless(&["status"]);
    root.finish();
    let spec = Field { path: String::new(), ..spec };
    let mut fields = spec.fields("an HTTPRoute")?;
    let parents = parents(&mut fields, &meta);
    let hostnames = fields.get("hostnames").map(|f| f.items()).unwrap_or_default();
    let hostnames = hostnames.iter().filter_map(|f| patterns::host_name(f, f.text()?, true)).collect();
    let mut rules: Vec<Rule> = Vec::new();
    let (context, mut found) = (spec.context, Vec::new());
    for item in fields.get("rules").map(|f| f.items()).unwrap_or_default() {
        let (rule, of_rule) = context.apart(|| rule(&item, meta.namespace()));
        let unfit = of_rule.iter().find(|one| one.is_error()).map(|one| one.message.clone());
        found.extend(of_rule);
        let Some(rule) = rule.map(|rule| Rule { unfit, ..rule }) else { continue };
        if !rule.name.is_empty() && rules.iter().any(|other| other.name == rule.name) {
            item.error("duplicate-rule", format!("rule `{}` is there twice", rule.name), "rename one of the two");
        }
        rules.push(rule);
    }
    tell(context, found, rules.iter().any(|rule| rule.unfit.is_none()));
    fields.not_supported(&["useDefaultGateways"]);
    fields.finish();
    Some(HttpRoute { meta, parents, hostnames, rules })
}

/// Codes of errors that a cluster's API server does not see: a route that has them may exist.
const UNFIT: [&str; 4] = ["not-supported-yet", "wrong-regex", "forbidden-header", "limit"];

/// Says what was found about rules. `some_fit`: not all of them have errors.
fn tell(context: &Context, mut found: Vec<Diagnostic>, some_fit: bool) {
    if !some_fit || found.iter().any(|one| one.is_error() && !UNFIT.contains(&one.code)) {
        return context.add(found);
    }
    let errors = found.extract_if(.., |one| one.is_error());
    let dropped = errors.map(|error| Diagnostic {
        message: format!("{}; the rule is dropped, and requests for it get 500", error.message),
        ..error
    });
    context.leave_out(dropped.collect());
    context.add(found);
}

/// `parentRefs` of any kind of route.
pub(super) fn parents(fields: &mut Fields<'_>, meta: &Meta) -> Vec<Parent> {
    let parents = fields.get("parentRefs").map(|f| f.items()).unwrap_or_default();
    if parents.is_empty() {
        let message = format!("the {} attaches to nothing and does nothing", meta.reference.kind);
        fields.field().context.warning(meta.spot.span, "no-parent", message, "add `parentRefs`");
    }
    let mut all: Vec<Parent> = Vec::new();
    for item in &parents {
        let Some(parent) = parent(item, meta.namespace()) else { continue };
        let same = |other: &&Parent| {
            (other.kind, &other.namespace, &other.name) == (parent.kind, &parent.namespace, &parent.name)
        };
        let parts = |one: &Parent| (one.section.is_some(), one.port.is_some());
        for other in all.iter().filter(same) {
            if (&other.section, other.port) == (&parent.section, parent.port) || parts(other) != parts(&parent) {
                let message =
                    "references to one parent give the same of `sectionName` and `port`, and differ in one of them";
                item.error("duplicate-parent", message, "merge the two, or tell them apart");
            }
        }
        all.push(parent);
    }
    all
}

fn parent(item: &Field<'_>, own: &str) -> Option<Parent> {
    let mut fields = item.fields("a parent reference")?;
    let group = fields.get("group").map_or(Some("gateway.networking.k8s.io"), |f| match f.node.is_null() {
        true => Some(""),
        false => f.text(),
    });
    let kind = fields.get("kind").map_or(Some("Gateway"), |f| f.text());
    let namespace = fields.get("namespace").and_then(|f| f.text());
    let name = fields.require("name").and_then(|f| f.text());
    let section = fields.get("sectionName").and_then(|f| f.text()).map(String::from);
    let port = fields.get("port").and_then(|f| f.port());
    fields.finish();
    let kind = match (group?, kind?) {
        ("gateway.networking.k8s.io", "Gateway") => ParentKind::Gateway,
        ("" | "core", "Service") => ParentKind::Service,
        (group, kind) => {
            // Its other parents are not worse off for it.
            let message = format!("a parent of kind {kind} in group `{group}` is not supported yet");
            item.context.part_error(item.node.span, "not-supported-yet", message, "attach to a Gateway or a Service");
            return None;
        }
    };
    let (namespace_given, namespace) = (namespace.is_some(), namespace.unwrap_or(own).to_string());
    Some(Parent { kind, namespace, namespace_given, name: name?.to_string(), section, port, spot: item.spot() })
}

fn rule(item: &Field<'_>, own: &str) -> Option<Rule> {
    let mut fields = item.fields("a rule")?;
    let name = fields.get("name").and_then(|f| f.text()).unwrap_or("").to_string();
    let items = fields.get("matches").map(|f| f.items()).unwrap_or_default();
    let mut matches: Vec<_> = items.iter().filter_map(rule_match).collect();
    if items.is_empty() {
        let all = Match { path: PathMatch::Segments("/".into()), ..Match::default() };
        matches.push(RuleMatch { path: item.path.clone(), spot: item.spot(), matches: all });
    }
    let mut rule = Rule {
        path: item.path.clone(),
        spot: item.spot(),
        name,
        matches,
        backends: Vec::new(),
        filters: Filters::default(),
        timeout_ms: 0,
        retry: Retries::Unsaid,
        unfit: None,
    };
    let of = |fields: &mut Fields<'_>, place| {
        let items = fields.get("filters").map(|f| f.items()).unwrap_or_default();
        Filters::read(&items, place, &rule.matches, own)
    };
    let filters = of(&mut fields, Place::Rule);
    let (mut request_ms, mut backend_ms) = (0, 0);
    if let Some(mut timeouts) = fields.get("timeouts").and_then(|f| f.fields("timeouts")) {
        request_ms = timeouts.get("request").and_then(|f| f.duration_ms()).unwrap_or(0);
        let backend = timeouts.get("backendRequest");
        backend_ms = backend.as_ref().and_then(|f| f.duration_ms()).unwrap_or(0);
        if let Some(backend) = backend.filter(|_| request_ms > 0 && backend_ms > request_ms) {
            let message = "`backendRequest` is longer than `request`, which ends first";
            backend.error("conflict", message, "make it shorter, or remove it");
        }
        timeouts.finish();
    }
    if let Some(retry) = fields.get("retry") {
        let conditions: Vec<&Match> = rule.matches.iter().map(|one| &one.matches).collect();
        rule.retry = Retries::Said(retries::gateway_api(&retry, backend_ms, &conditions));
        rule.timeout_ms = request_ms;
    } else {
        // Nobody asked for more tries than the default's, which do not prolong a wait: one timeout holds for all.
        rule.timeout_ms = [request_ms, backend_ms].into_iter().filter(|ms| *ms > 0).min().unwrap_or(0);
    }
    let backends = fields.get("backendRefs").map(|f| f.items()).unwrap_or_default();
    let place = if backends.len() == 1 { Place::OnlyBackend } else { Place::OneOfSeveral };
    let backends = backends.iter().filter_map(|item| {
        let mut fields = item.fields("a backend reference")?;
        let filters = of(&mut fields, place);
        Some(BackendRef { filters, ..backend(item, fields, own)? })
    });
    rule.backends = backends.collect();
    rule.filters = filters;
    fields.not_supported(&["sessionPersistence"]);
    fields.finish();
    let most = rule.backends.iter().map(|backend| backend.filters.mirrors.len()).max().unwrap_or(0);
    if rule.filters.mirrors.len() + most > MIRRORS_MAX as usize {
        item.error("limit", format!("a request has {MIRRORS_MAX} mirrors at most"), "remove some");
    }
    if rule.filters.redirect.is_some() && !rule.backends.is_empty() {
        item.error("conflict", "a rule with RequestRedirect may not have backendRefs", "remove one of the two");
    }
    Some(rule)
}

fn rule_match(item: &Field<'_>) -> Option<RuleMatch> {
    let mut fields = item.fields("a match")?;
    let mut matches = Match { path: PathMatch::Segments("/".into()), ..Match::default() };
    if let Some(path) = fields.get("path") {
        matches.path = path_match(&path)?;
    }
    for header in fields.get("headers").map(|f| f.items()).unwrap_or_default() {
        let Some((name, value)) = name_value(&header) else { continue };
        if !patterns::header_name(&header, &name) {
            continue;
        }
        let name = name.to_ascii_lowercase();
        // Of several entries with one name only the first counts, says the API.
        if !matches.headers.iter().any(|other| other.name == name) {
            matches.headers.push(HeaderMatch { name, value, invert: false });
        }
    }
    for query in fields.get("queryParams").map(|f| f.items()).unwrap_or_default() {
        let Some((name, value)) = name_value(&query) else { continue };
        if !matches.query.iter().any(|other| other.name == name) {
            matches.query.push(QueryMatch { name, value });
        }
    }
    if let Some(method) = fields.get("method") {
        let methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
        let words: Vec<_> = methods.iter().map(|word| (*word, *word)).collect();
        matches.method = method.word(&words).map(|word| StringMatch::Exact(word.into()));
    }
    fields.finish();
    Some(RuleMatch { path: item.path.clone(), spot: item.spot(), matches })
}

fn path_match(field: &Field<'_>) -> Option<PathMatch> {
    let mut fields = field.fields("a path match")?;
    let kinds = [("Exact", 0), ("PathPrefix", 1), ("RegularExpression", 2)];
    let kind = fields.get("type").map_or(Some(1), |f| f.word(&kinds));
    let value = fields.get("value");
    fields.finish();
    let text = match &value {
        Some(value) => value.text()?,
        None => "/",
    };
    if kind? == 2 {
        return patterns::check_regex(&value?, text).then(|| PathMatch::Regex(text.into()));
    }
    // What the API forbids no request has: paths are compared in their normal form.
    const FORBIDDEN: [&str; 6] = ["//", "/./", "/../", "%2f", "%2F", "#"];
    let forbidden = FORBIDDEN.iter().find(|part| text.contains(**part));
    let forbidden = forbidden.or(["/.", "/.."].iter().find(|end| text.ends_with(**end)));
    if let Some(part) = forbidden {
        field.error("wrong-path", format!("`{text}` has `{part}`, which no request matches"), "write the normal form");
        return None;
    }
    if !text.starts_with('/') || !path_text(field, text) {
        field.error("wrong-path", format!("`{text}` has to be an absolute path"), "start it with `/`");
        return None;
    }
    Some(match kind? {
        0 => PathMatch::Exact(text.into()),
        _ if text == "/" => PathMatch::Segments("/".into()),
        _ => PathMatch::Segments(text.trim_end_matches('/').into()),
    })
}

fn name_value(item: &Field<'_>) -> Option<(String, StringMatch)> {
    let mut fields = item.fields("a match")?;
    let name = fields.require("name").and_then(|f| f.text());
    let regex = fields.get("type").map_or(Some(false), |f| f.word(&[("Exact", false), ("RegularExpression", true)]));
    let value = fields.require("value");
    fields.finish();
    let value = value?;
    let text = value.text()?;
    let value = match regex? {
        false => StringMatch::Exact(text.into()),
        true if patterns::check_regex(&value, text) => StringMatch::Regex(text.into()),
        true => return None,
    };
    Some((name?.to_string(), value))
}

/// Group, kind, namespace, name and port of what a route refers to.
pub(super) fn reference(item: &Field<'_>, fields: &mut Fields<'_>, own: &str) -> Option<BackendRef> {
    let group = fields.get("group").and_then(|f| f.text()).unwrap_or("");
    let kind = fields.get("kind").and_then(|f| f.text()).unwrap_or("Service");
    let namespace = fields.get("namespace").and_then(|f| f.text()).unwrap_or(own).to_string();
    let name = fields.require("name").and_then(|f| f.text());
    let port = fields.get("port").and_then(|f| f.port());
    let foreign = (!matches!((group, kind), ("" | "core", "Service"))).then(|| format!("{kind} of group `{group}`"));
    Some(BackendRef {
        path: item.path.clone(),
        spot: item.spot(),
        foreign,
        namespace,
        name: name?.to_string(),
        port,
        weight: 1,
        copies: false,
        filters: Filters::default(),
    })
}

/// One entry of `backendRefs`, beside its filters.
pub(super) fn backend(item: &Field<'_>, mut fields: Fields<'_>, own: &str) -> Option<BackendRef> {
    let reference = reference(item, &mut fields, own);
    let weight = fields.get("weight").map_or(Some(1), |f| f.number(0, 1_000_000));
    fields.finish();
    Some(BackendRef { weight: u32::try_from(weight?).ok()?, ..reference? })
}
