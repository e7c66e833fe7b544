//! Filters of an HTTPRoute's rules and backends.

use super::cors;
use super::decode::Field;
use super::http_route::{BackendRef, RuleMatch, reference};
use super::patterns;
use super::virtual_service::{path_text, redirect_status};
use ringway_config::limits::PER_MILLION_MAX;
use ringway_config::model::{Cors, HeaderEdits, HeaderValue, PathMatch, PathRewrite, Redirect};

/// What one list of filters asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filters {
    /// A redirect instead of a backend.
    pub redirect: Option<Redirect>,
    /// Path edit.
    pub rewrite: PathRewrite,
    /// New authority.
    pub authority: String,
    /// Edits on the request.
    pub request: HeaderEdits,
    /// Edits on the response.
    pub response: HeaderEdits,
    /// Who may read the response.
    pub cors: Option<Cors>,
    /// Who gets copies, and of how many requests of a million; never of none.
    pub mirrors: Vec<(BackendRef, u32)>,
}

/// Whose filters they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A rule's.
    Rule,
    /// Those of its only backend.
    OnlyBackend,
    /// Those of one of its backends.
    OneOfSeveral,
}

/// Code of filters that exclude each other.
pub const INCOMPATIBLE_FILTERS: &str = "incompatible-filters";
/// Types of filters, as the API names them.
const FILTER_TYPES: &[&str] = &[
    "RequestHeaderModifier",
    "ResponseHeaderModifier",
    "RequestRedirect",
    "URLRewrite",
    "CORS",
    "RequestMirror",
    "ExtensionRef",
    "ExternalAuth",
];
/// The fields of those that are refused everywhere.
const OTHER_FILTERS: &[&str] = &["extensionRef", "externalAuth"];

impl Filters {
    /// `matches` are the rule's, `own` is the route's namespace.
    pub(super) fn read(items: &[Field<'_>], place: Place, matches: &[RuleMatch], own: &str) -> Filters {
        let mut filters = Filters::default();
        let kinds: Vec<_> = items.iter().map(|item| filters.add(item, place, matches, own)).collect();
        check_together(items, &kinds);
        filters
    }

    /// Nothing but edits of headers is asked for.
    pub fn only_edit_headers(&self) -> bool {
        let Filters { redirect, rewrite, authority, request: _, response: _, cors, mirrors } = self;
        redirect.is_none()
            && *rewrite == PathRewrite::Keep
            && authority.is_empty()
            && cors.is_none()
            && mirrors.is_empty()
    }

    /// Its type.
    fn add<'a>(&mut self, item: &Field<'a>, place: Place, matches: &[RuleMatch], own: &str) -> Option<&'a str> {
        let mut fields = item.fields("a filter")?;
        let kind = fields.require("type").and_then(|f| f.text_among(FILTER_TYPES)).unwrap_or("");
        match kind {
            "RequestHeaderModifier" => {
                if let Some(edits) = fields.require("requestHeaderModifier") {
                    self.request = modifier(&edits, Host::Edit(&mut self.authority));
                }
            }
            "ResponseHeaderModifier" => {
                if let Some(edits) = fields.require("responseHeaderModifier") {
                    self.response = modifier(&edits, Host::Response);
                }
            }
            "RequestRedirect" => {
                if let Some(to) = fields.require("requestRedirect") {
                    self.redirect = redirect(&to, matches);
                }
            }
            "URLRewrite" => {
                if let Some(rewrite) = fields.require("urlRewrite") {
                    self.url_rewrite(&rewrite, matches);
                }
            }
            "RequestMirror" => {
                if let Some(field) = fields.require("requestMirror") {
                    let to = mirror(&field, &item.path, own);
                    self.mirrors.extend(to.filter(|(_, per_million)| *per_million > 0));
                }
            }
            // A preflight and the request that it asks for may be drawn for different ones.
            "CORS" if place == Place::OneOfSeveral => {
                item.not_supported("filter CORS at one of several backends");
                fields.refused(&["cors"]);
            }
            "CORS" => {
                if let Some(field) = fields.require("cors") {
                    self.cors = cors::filter(&field);
                }
            }
            other => {
                item.not_supported(format!("filter {other}"));
                fields.refused(OTHER_FILTERS);
            }
        }
        // Fields of other filter types beside the declared one are a mistake.
        if !item.context.broken() {
            fields.finish();
        }
        Some(kind)
    }

    fn url_rewrite(&mut self, field: &Field<'_>, matches: &[RuleMatch]) {
        let Some(mut fields) = field.fields("a URL rewrite") else { return };
        if let Some(hostname) = fields.get("hostname") {
            let name = hostname.text().and_then(|text| patterns::host_name(&hostname, text, false));
            self.authority = name.unwrap_or_default();
        }
        if let Some(path) = fields.get("path") {
            self.rewrite = path_modifier(&path, matches).unwrap_or_default();
        }
        fields.finish();
    }
}

/// What an edit of Host is.
enum Host<'a> {
    /// Another authority.
    Edit(&'a mut String),
    /// A mistake: responses have none.
    Response,
}

fn modifier(field: &Field<'_>, mut host: Host<'_>) -> HeaderEdits {
    let mut edits = HeaderEdits::default();
    let Some(mut fields) = field.fields("a header modifier") else { return edits };
    // The Gateway API has no variables: `%` stands for itself.
    let mut read = |list: Option<Field<'_>>, into: &mut Vec<(String, HeaderValue)>| {
        for item in list.map(|f| f.items()).unwrap_or_default() {
            let Some(mut fields) = item.fields("a header") else { continue };
            let name = fields.require("name").and_then(|f| f.text()).unwrap_or("").to_string();
            let value = fields.require("value").and_then(|f| f.text()).unwrap_or("").to_string();
            fields.finish();
            if name.eq_ignore_ascii_case("host") {
                match &mut host {
                    // `urlRewrite.hostname` says it too, and counts.
                    Host::Edit(authority) if !authority.is_empty() => {}
                    Host::Edit(authority) => **authority = value,
                    Host::Response => item.error("forbidden-header", "Host is no response header", "remove it"),
                }
            } else if patterns::header_name(&item, &name) && patterns::header_value(&item, &value) {
                into.push((name, HeaderValue::Text(value)));
            }
        }
    };
    read(fields.get("set"), &mut edits.set);
    read(fields.get("add"), &mut edits.add);
    let remove = fields.get("remove").map(|f| f.items()).unwrap_or_default();
    edits.remove = remove
        .iter()
        .filter_map(|f| f.text().filter(|name| patterns::header_name(f, name)).map(String::from))
        .collect();
    fields.finish();
    patterns::check_edits(field, &edits);
    edits
}

fn redirect(field: &Field<'_>, matches: &[RuleMatch]) -> Option<Redirect> {
    let mut fields = field.fields("a redirect")?;
    let mut redirect = Redirect { status: 302, ..Redirect::default() };
    if let Some(scheme) = fields.get("scheme") {
        redirect.scheme = scheme.word(&[("http", "http"), ("https", "https")])?.to_string();
        // Without a port, a scheme means its own port, says the API.
        redirect.port = Some(0);
    }
    if let Some(hostname) = fields.get("hostname") {
        redirect.host = patterns::host_name(&hostname, hostname.text()?, false)?;
    }
    if let Some(port) = fields.get("port") {
        redirect.port = Some(port.port()?);
    }
    if let Some(path) = fields.get("path") {
        redirect.path = path_modifier(&path, matches)?;
    }
    if let Some(status) = fields.get("statusCode") {
        redirect.status = redirect_status(&status)?;
    }
    fields.finish();
    Some(redirect)
}

fn path_modifier(field: &Field<'_>, matches: &[RuleMatch]) -> Option<PathRewrite> {
    let mut fields = field.fields("a path modifier")?;
    let full = fields.require("type").and_then(|f| f.word(&[("ReplaceFullPath", true), ("ReplacePrefixMatch", false)]));
    let replace_full = fields.get("replaceFullPath").and_then(|f| f.text());
    let replace_prefix = fields.get("replacePrefixMatch").and_then(|f| f.text());
    fields.finish();
    let (text, other) = if full? { (replace_full, replace_prefix) } else { (replace_prefix, replace_full) };
    if other.is_some() {
        field.error("conflict", "the path modifier has a field of another type", "remove it, or change `type`");
    }
    let Some(text) = text else {
        field.error("missing-field", "the path modifier does not say what to put in", "add the field of its type");
        return None;
    };
    if !full? && !matches.iter().all(|one| matches!(one.matches.path, PathMatch::Segments(_))) {
        field.error(
            "conflict",
            "ReplacePrefixMatch needs PathPrefix matches",
            "change the matches or replace the full path",
        );
        return None;
    }
    if !text.is_empty() && !path_text(field, text) {
        return None;
    }
    let text = if text.starts_with('/') { text.to_string() } else { format!("/{text}") };
    Some(if full? { PathRewrite::Full(text) } else { PathRewrite::Segments(text) })
}

/// A RequestMirror: all requests unless it says `percent` or `fraction`.
fn mirror(field: &Field<'_>, path: &str, own: &str) -> Option<(BackendRef, u32)> {
    let mut fields = field.fields("a request mirror")?;
    let to = fields.require("backendRef");
    let percent = fields.get("percent");
    let fraction = fields.get("fraction");
    fields.finish();
    if let (Some(_), Some(fraction)) = (&percent, &fraction) {
        fraction.error("conflict", "a mirror has either `percent` or `fraction`", "remove one of the two");
    }
    let mut per_million = u64::from(PER_MILLION_MAX);
    if let Some(percent) = percent {
        per_million = percent.number(0, 100)? * 10_000;
    }
    if let Some(fraction) = fraction {
        let mut fields = fraction.fields("a fraction")?;
        let numerator = fields.require("numerator").and_then(|f| f.number(0, i32::MAX as u64));
        let denominator = fields.get("denominator").map_or(Some(100), |f| f.number(1, i32::MAX as u64));
        fields.finish();
        let (numerator, denominator) = (numerator?, denominator?);
        if numerator > denominator {
            fraction.error("wrong-number", "a fraction is at most 1", "make the numerator smaller");
            return None;
        }
        per_million = numerator * u64::from(PER_MILLION_MAX) / denominator;
    }
    let to = to?;
    let mut fields = to.fields("a backend reference")?;
    let reference = reference(&to, &mut fields, own);
    fields.finish();
    Some((BackendRef { path: path.into(), copies: true, ..reference? }, u32::try_from(per_million).ok()?))
}

/// Filters of one list that exclude each other.
fn check_together(items: &[Field<'_>], kinds: &[Option<&str>]) {
    for (index, (item, kind)) in items.iter().zip(kinds).enumerate() {
        let Some(kind) = kind else { continue };
        let above = &kinds[..index];
        if *kind != "RequestMirror" && above.contains(&Some(kind)) {
            item.error("duplicate-filter", format!("{kind} is there twice"), "merge the two");
        }
        let other = match *kind {
            "RequestRedirect" => "URLRewrite",
            "URLRewrite" => "RequestRedirect",
            _ => continue,
        };
        if above.contains(&Some(other)) {
            item.error(
                INCOMPATIBLE_FILTERS,
                "RequestRedirect and URLRewrite exclude each other",
                "remove one of the two",
            );
        }
    }
}
