//! VirtualService: routes as Istio writes them, first match wins.

use super::cors;
use super::decode::{Field, Fields};
use super::fault::{self, FaultRule};
use super::opaque_route::{self, TcpRule, TlsRule};
use super::patterns::{self, ExportTo};
use super::retries::{self, Retries};
use super::{Meta, Spot};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ringway_config::limits;
use ringway_config::model::{Cors, HeaderEdits, Match, PathMatch, PathRewrite, Redirect, Respond, StringMatch};

/// A VirtualService.
#[derive(Clone, Debug, PartialEq)]
pub struct VirtualService {
    /// Who it is.
    pub meta: Meta,
    /// Hosts as written, in lower case; none in a delegate.
    pub hosts: Vec<(String, Spot)>,
    /// `mesh`, `name` or `namespace/name`; `mesh` alone when unset.
    pub gateways: Vec<(String, Spot)>,
    /// Who sees it.
    pub export_to: ExportTo,
    /// Rules for HTTP, in order.
    pub http: Vec<HttpRule>,
    /// Rules for TCP, in order.
    pub tcp: Vec<TcpRule>,
    /// Rules for TLS that is not terminated, in order.
    pub tls: Vec<TlsRule>,
}

/// One entry of `http[]`.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpRule {
    /// `http[2]`.
    pub path: String,
    /// Where it stands.
    pub spot: Spot,
    /// %ROUTE_NAME%.
    pub name: String,
    /// Any of these; empty matches everything.
    pub matches: Vec<HttpMatch>,
    /// Injected before anything else is done.
    pub fault: Option<FaultRule>,
    /// It says `headers`, of whatever its action has use for: as a delegate's it takes none of the root's.
    pub has_headers: bool,
    /// What to do.
    pub action: HttpAction,
}

/// One entry of `http[].match[]`.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpMatch {
    /// `http[2].match[0]`.
    pub path: String,
    /// Where it stands.
    pub spot: Spot,
    /// What a request has to be.
    pub matches: Match,
    /// Only on this port.
    pub port: Option<u16>,
    /// Only at these gateways (or `mesh`); empty is all of the VirtualService's.
    pub gateways: Vec<String>,
    /// Only from this namespace.
    pub source_namespace: Option<String>,
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq)]
pub enum HttpAction {
    /// Sends on.
    Route(HttpRoute),
    /// Answers with a redirect.
    Redirect {
        /// Where to.
        to: Redirect,
        /// `derivePort: FROM_REQUEST_PORT`: to the port that the request came to, whatever the new scheme's own port is.
        request_port: bool,
    },
    /// Answers itself.
    Respond(Respond),
    /// Hands over to the rules of another VirtualService.
    Delegate(Delegate),
}

/// The VirtualService that a rule hands over to.
#[derive(Clone, Debug, PartialEq)]
pub struct Delegate {
    /// Name.
    pub name: String,
    /// Namespace; empty is that of the root.
    pub namespace: String,
    /// Where it stands.
    pub spot: Spot,
    /// What holds for its rules unless they say otherwise; without destinations.
    pub settings: HttpRoute,
}

/// A weighted route with its edits.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpRoute {
    /// Where to.
    pub destinations: Vec<Destination>,
    /// Whole exchange; 0 is none.
    pub timeout_ms: u64,
    /// When it is tried again.
    pub retry: Retries,
    /// `rewrite.uri`, bytewise over what matched, or `rewrite.uriRegexRewrite`.
    pub path: PathRewrite,
    /// `rewrite.authority`, or a `set` of Host; empty keeps it.
    pub authority: String,
    /// Edits on the request.
    pub request: HeaderEdits,
    /// Edits on the response.
    pub response: HeaderEdits,
    /// Who may read the response.
    pub cors: Option<Cors>,
    /// Who gets copies.
    pub mirrors: Vec<Mirror>,
}

/// A destination of copies.
#[derive(Clone, Debug, PartialEq)]
pub struct Mirror {
    /// Where to; its weight and edits say nothing.
    pub destination: Destination,
    /// Requests of a million.
    pub per_million: u32,
}

/// One weighted destination.
#[derive(Clone, Debug, PartialEq)]
pub struct Destination {
    /// `http[2].route[0]`.
    pub path: String,
    /// Where `destination` stands.
    pub spot: Spot,
    /// Host as written.
    pub host: String,
    /// Where the host stands.
    pub host_spot: Spot,
    /// Subset; empty is none.
    pub subset: String,
    /// Where the subset stands.
    pub subset_spot: Spot,
    /// Port, when given.
    pub port: Option<u16>,
    /// Relative weight; a single destination has 1.
    pub weight: u32,
    /// It gets copies only: nobody waits for its answers.
    pub copies: bool,
    /// Edits on the request.
    pub request: HeaderEdits,
    /// Edits on the response.
    pub response: HeaderEdits,
}

/// Largest answer that a rule gives itself.
pub const BODY_BYTES_MAX: usize = 64 << 10;

/// Decodes a VirtualService.
pub fn virtual_service(meta: Meta, mut root: Fields<'_>) -> Option<VirtualService> {
    let spec = root.require("spec")?;
    root.harmless(&["status"]);
    root.finish();
    let spec = Field { path: String::new(), ..spec };
    let mut fields = spec.fields("a VirtualService")?;
    let hosts = fields.get("hosts").map(|f| f.items()).unwrap_or_default();
    let hosts: Vec<_> =
        hosts.iter().filter_map(|f| Some((patterns::host_name(f, f.text()?, true)?, f.spot()))).collect();
    let delegate = hosts.is_empty() && !spec.context.broken();
    let gateways = fields.get("gateways");
    if let Some(gateways) = gateways.as_ref().filter(|_| delegate) {
        let message = "a VirtualService without hosts is a delegate and has no gateways of its own";
        gateways.error("conflict", message, "add `hosts`, or remove `gateways`");
    }
    let gateways = gateways.map(|f| f.items()).unwrap_or_default();
    let mut gateways: Vec<_> = gateways.iter().filter_map(|f| Some((f.text()?.to_string(), f.spot()))).collect();
    if gateways.is_empty() {
        gateways.push(("mesh".into(), meta.spot.clone()));
    }
    let export_to = ExportTo::decode(fields.get("exportTo"));
    let http = fields.get("http").map(|f| f.items()).unwrap_or_default();
    let http = http.iter().filter_map(http_rule).collect::<Vec<_>>();
    let tcp = fields.get("tcp").map(|f| f.items()).unwrap_or_default();
    let tcp = tcp.iter().filter_map(opaque_route::tcp_rule).collect::<Vec<_>>();
    let tls = fields.get("tls").map(|f| f.items()).unwrap_or_default();
    let tls = tls.iter().filter_map(|item| opaque_route::tls_rule(item, &hosts)).collect::<Vec<_>>();
    fields.finish();
    if delegate && (http.is_empty() || !tcp.is_empty() || !tls.is_empty()) && !spec.context.broken() {
        let message = "a VirtualService without hosts is a delegate, which has `http` rules and no others";
        spec.error("missing-field", message, "add `hosts`");
    }
    if http.is_empty() && tcp.is_empty() && tls.is_empty() && !spec.context.broken() {
        spec.error("missing-field", "a VirtualService has to have `http`, `tls` or `tcp` rules", "add one");
    }
    Some(VirtualService { meta, hosts, gateways, export_to, http, tcp, tls })
}

fn http_rule(item: &Field<'_>) -> Option<HttpRule> {
    let mut fields = item.fields("an HTTP rule")?;
    let name = fields.get("name").and_then(|f| f.text()).unwrap_or("").to_string();
    let matches = fields.get("match").map(|f| f.items()).unwrap_or_default();
    let matches: Vec<_> = matches.iter().filter_map(http_match).collect();
    let fault = fields.get("fault").and_then(|f| fault::fault(&f));
    let mirrors = mirrors(&mut fields);
    let cors_field = fields.get("corsPolicy");
    let cors = cors_field.as_ref().and_then(cors::policy);
    let timeout_ms = fields.get("timeout").and_then(|f| f.duration_ms()).unwrap_or(0);
    let conditions: Vec<&Match> = matches.iter().map(|one| &one.matches).collect();
    let retry = fields.get("retries").map_or(Retries::Unsaid, |f| Retries::Said(retries::istio(&f, &conditions)));
    let (mut path, mut authority) = (PathRewrite::Keep, String::new());
    if let Some(rewrite) = fields.get("rewrite") {
        (path, authority) = decode_rewrite(&rewrite);
    }
    let headers_field = fields.get("headers");
    let has_headers = headers_field.is_some();
    let (request, response) = headers(headers_field, Some(&mut authority));
    let route = fields.get("route");
    let redirect = fields.get("redirect");
    let respond = fields.get("directResponse");
    let delegate = fields.get("delegate");
    fields.finish();
    let given = [route.is_some(), redirect.is_some(), respond.is_some(), delegate.is_some()]
        .iter()
        .filter(|given| **given)
        .count();
    if given != 1 {
        let message = "an HTTP rule has to have exactly one of `route`, `redirect`, `directResponse` and `delegate`";
        item.error("missing-field", message, "");
        return None;
    }
    let settings = HttpRoute {
        destinations: Vec::new(),
        timeout_ms,
        retry,
        path,
        authority,
        request,
        response: response.clone(),
        cors,
        mirrors,
    };
    let action = if let Some(route) = route {
        let destinations = destinations(&route, true);
        HttpAction::Route(HttpRoute { destinations, ..settings })
    } else if let Some(delegate) = delegate {
        HttpAction::Delegate(decode_delegate(&delegate, settings)?)
    } else if let Some(redirect) = redirect {
        let (to, request_port) = decode_redirect(&redirect, &matches)?;
        HttpAction::Redirect { to: Redirect { response, ..to }, request_port }
    } else {
        HttpAction::Respond(Respond { response, ..decode_respond(&respond?)? })
    };
    if let (Some(field), HttpAction::Redirect { .. } | HttpAction::Respond(_)) = (cors_field, &action) {
        let message = format!("`{}` does nothing for answers of the proxy's own, as in Istio", field.path);
        field.warning("not-honoured", message, "");
    }
    Some(HttpRule { path: item.path.clone(), spot: item.spot(), name, matches, fault, has_headers, action })
}

fn decode_delegate(field: &Field<'_>, settings: HttpRoute) -> Option<Delegate> {
    let mut fields = field.fields("a delegate")?;
    let name = fields.require("name").and_then(|f| f.text());
    let namespace = fields.get("namespace").and_then(|f| f.text()).unwrap_or("").to_string();
    fields.finish();
    Some(Delegate { name: name?.to_string(), namespace, spot: field.spot(), settings })
}

fn http_match(item: &Field<'_>) -> Option<HttpMatch> {
    let mut fields = item.fields("an HTTP match")?;
    let mut matches = Match::default();
    if let Some(uri) = fields.get("uri") {
        matches.path = match patterns::string_match(&uri, false) {
            Some(StringMatch::Exact(text)) => PathMatch::Exact(text),
            Some(StringMatch::Prefix(text)) => PathMatch::Prefix(text),
            Some(StringMatch::Regex(text)) => PathMatch::Regex(text),
            _ => PathMatch::Any,
        };
    }
    matches.ignore_case = fields.get("ignoreUriCase").and_then(|f| f.boolean()).unwrap_or(false);
    matches.method = fields.get("method").and_then(|f| patterns::string_match(&f, false));
    matches.scheme = fields.get("scheme").and_then(|f| patterns::string_match(&f, false));
    matches.authority = fields.get("authority").and_then(|f| patterns::string_match(&f, false));
    if let Some(headers) = fields.get("headers") {
        matches.headers = patterns::header_matches(&headers, false);
    }
    if let Some(headers) = fields.get("withoutHeaders") {
        matches.headers.extend(patterns::header_matches(&headers, true));
    }
    if let Some(query) = fields.get("queryParams") {
        for (name, value) in query.entries() {
            let value =
                if value.node.is_null() { Some(StringMatch::Present) } else { patterns::string_match(&value, true) };
            matches.query.extend(value.map(|value| ringway_config::model::QueryMatch { name: name.into(), value }));
        }
    }
    let port = fields.get("port").and_then(|f| f.port());
    let gateways = fields.get("gateways").map(|f| f.texts()).unwrap_or_default();
    let source_namespace = fields.get("sourceNamespace").and_then(|f| f.text()).map(String::from);
    fields.harmless(&["name", "statPrefix"]);
    matches.source = fields.get("sourceLabels").map(|f| f.labels()).unwrap_or_default().into_iter().collect();
    fields.finish();
    Some(HttpMatch { path: item.path.clone(), spot: item.spot(), matches, port, gateways, source_namespace })
}

fn decode_rewrite(field: &Field<'_>) -> (PathRewrite, String) {
    let Some(mut fields) = field.fields("a rewrite") else { return Default::default() };
    let uri = fields.get("uri").and_then(|f| f.text().filter(|uri| path_text(&f, uri)).map(String::from));
    let authority = fields.get("authority").and_then(|f| f.text().filter(|text| patterns::header_value(&f, text)));
    let authority = authority.unwrap_or("").to_string();
    let regex = fields.get("uriRegexRewrite");
    fields.finish();
    if let (Some(_), Some(regex)) = (&uri, &regex) {
        regex.error("conflict", "a rewrite has either `uri` or `uriRegexRewrite`", "remove one of the two");
    }
    let path = regex.and_then(|f| decode_regex_rewrite(&f));
    (path.or(uri.map(PathRewrite::Prefix)).unwrap_or_default(), authority)
}

fn decode_regex_rewrite(field: &Field<'_>) -> Option<PathRewrite> {
    let mut fields = field.fields("a regex rewrite")?;
    let pattern = fields.require("match").and_then(|f| f.text().map(String::from));
    let substitution = fields.require("rewrite").and_then(|f| {
        let text = f.text()?;
        // An empty one takes away what matches.
        (text.is_empty() || path_text(&f, text)).then(|| text.to_string())
    });
    fields.finish();
    let (pattern, substitution) = (pattern?, substitution?);
    if let Err(reason) = ringway_policy::View::check_rewrite(&pattern, &substitution) {
        let message = format!("`{pattern}` with `{substitution}` is no rewrite in RE2's sense: {reason}");
        field.error("wrong-regex", message, r"`\1` in `rewrite` is the first group of `match`");
        return None;
    }
    Some(PathRewrite::Regex { pattern, substitution })
}

/// A path that may be sent: no spaces, controls, query or fragment.
pub fn path_text(field: &Field<'_>, path: &str) -> bool {
    let fine = !path.is_empty() && path.bytes().all(|b| b > 0x20 && b != 0x7f && b != b'#' && b != b'?');
    if !fine {
        field.error("wrong-path", format!("`{path}` is no path"), "a path without spaces, `?` and `#`");
    }
    fine
}

/// A query that may be sent.
fn query_text(field: &Field<'_>, query: &str) -> bool {
    let fine = query.bytes().all(|b| b > 0x20 && b != 0x7f && b != b'#');
    if !fine {
        field.error("wrong-path", format!("`{query}` is no query"), "a query without spaces and `#`");
    }
    fine
}

fn decode_redirect(field: &Field<'_>, matches: &[HttpMatch]) -> Option<(Redirect, bool)> {
    let mut fields = field.fields("a redirect")?;
    let mut redirect = Redirect { status: 301, ..Redirect::default() };
    if let Some(uri) = fields.get("uri") {
        // It may bring a query of its own, which replaces the received one.
        let path = uri.text().filter(|text| path_text(&uri, text.split_once('?').map_or(text, |(path, _)| path)));
        let full = path.filter(|text| text.split_once('?').is_none_or(|(_, query)| query_text(&uri, query)));
        if full.is_some_and(|text| !text.starts_with('/')) {
            uri.error("wrong-path", format!("`{}` has to start with a slash", uri.path), "a path from the root");
        }
        redirect.path = full.map_or(PathRewrite::Keep, |text| PathRewrite::Full(text.into()));
    }
    if let Some(prefix) = fields.get("prefixRewrite") {
        let on_prefix =
            !matches.is_empty() && matches.iter().all(|one| matches!(one.matches.path, PathMatch::Prefix(_)));
        if redirect.path != PathRewrite::Keep || !on_prefix {
            prefix.error("conflict", "`prefixRewrite` needs prefix matches and goes without `uri`", "");
        }
        redirect.path = prefix
            .text()
            .filter(|text| path_text(&prefix, text))
            .map_or(PathRewrite::Keep, |text| PathRewrite::Prefix(text.into()));
    }
    if let Some(authority) = fields.get("authority") {
        let text = authority.text().unwrap_or("");
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') => match port.parse::<u16>() {
                Ok(port) if port > 0 => (host, port),
                _ => {
                    authority.error("wrong-host", format!("`{port}` is no port"), "a number from 1 to 65535");
                    return None;
                }
            },
            _ => (text, 0),
        };
        redirect.host = patterns::host_name(&authority, host, false).unwrap_or_default();
        // An authority stands for itself: the received port is none of its.
        redirect.port = Some(port);
    }
    if let Some(scheme) = fields.get("scheme") {
        redirect.scheme = scheme.word(&[("http", "http"), ("https", "https")]).unwrap_or("").to_string();
    }
    if let Some(port) = fields.get("port") {
        redirect.port = port.port();
    }
    let mut request_port = false;
    let derive = fields.get("derivePort");
    let derived = derive.is_some();
    if let Some(derive) = derive {
        match derive.word(&[("FROM_PROTOCOL_DEFAULT", false), ("FROM_REQUEST_PORT", true)]) {
            // What stands there without it, too.
            Some(false) | None => {}
            Some(true) => request_port = true,
        }
    }
    if let Some(code) = fields.get("redirectCode") {
        redirect.status = redirect_status(&code)?;
    }
    fields.finish();
    let same = Redirect { status: redirect.status, ..Redirect::default() };
    if redirect == same && !derived && !field.context.broken() {
        let message = "the redirect leads back to where the request was";
        field.error("missing-field", message, "add `uri`, `authority`, `scheme` or `port`");
    }
    Some((redirect, request_port))
}

/// A redirect status.
pub fn redirect_status(field: &Field<'_>) -> Option<u16> {
    let status = field.number(300, 399).and_then(|status| u16::try_from(status).ok())?;
    if ![301, 302, 303, 307, 308].contains(&status) {
        field.error("wrong-number", format!("{status} is no redirect status"), "301, 302, 303, 307 or 308");
        return None;
    }
    Some(status)
}

fn decode_respond(field: &Field<'_>) -> Option<Respond> {
    let mut fields = field.fields("a direct response")?;
    let status = fields.require("status").and_then(|f| f.number(200, 599));
    let mut text = String::new();
    if let Some(body) = fields.get("body") {
        let mut inner = body.fields("a body")?;
        let (string, bytes) = (inner.get("string"), inner.get("bytes"));
        inner.finish();
        if let (Some(_), Some(bytes)) = (&string, &bytes) {
            bytes.error("conflict", "a body is either `string` or `bytes`", "remove one of the two");
        }
        text = string.and_then(|string| string.text().map(String::from)).unwrap_or_default();
        if let Some(bytes) = bytes {
            text = decode_bytes(&bytes)?;
        }
        if text.len() > BODY_BYTES_MAX {
            body.error("limit", format!("the body is longer than {BODY_BYTES_MAX} bytes"), "shorten it");
        }
    }
    fields.finish();
    Some(Respond { status: u16::try_from(status?).ok()?, body: text, ..Respond::default() })
}

/// Bytes as Kubernetes writes them, in base64.
fn decode_bytes(field: &Field<'_>) -> Option<String> {
    let Ok(bytes) = STANDARD.decode(field.text()?) else {
        field.error("wrong-value", format!("`{}` is no base64", field.path), "`base64 -w0 FILE` writes it");
        return None;
    };
    let text = String::from_utf8(bytes).ok();
    if text.is_none() {
        field.not_supported("a body that is no UTF-8 text");
    }
    text
}

fn headers(field: Option<Field<'_>>, authority: Option<&mut String>) -> (HeaderEdits, HeaderEdits) {
    let Some(mut fields) = field.and_then(|f| f.fields("headers")) else { return Default::default() };
    let request = fields.get("request").map(|f| patterns::header_operations(&f, false, authority)).unwrap_or_default();
    let response = fields.get("response").map(|f| patterns::header_operations(&f, true, None)).unwrap_or_default();
    fields.finish();
    (request, response)
}

/// A weighted list of destinations, those of HTTP with header edits. One alone has weight 1 whatever is written; all zero is an error.
pub(super) fn destinations(list: &Field<'_>, http: bool) -> Vec<Destination> {
    let items = list.items();
    let mut destinations: Vec<_> = items.iter().filter_map(|item| destination(item, http)).collect();
    match destinations.as_mut_slice() {
        [] if list.context.broken() => {}
        [] => list.error("missing-field", "a route has to have a destination", "add one"),
        [one] => one.weight = 1,
        several if several.iter().all(|one| one.weight == 0) => {
            list.error("zero-weights", "every destination has weight 0", "give one of them a weight");
        }
        _ => {}
    }
    destinations
}

/// `mirror` with its percentage, or `mirrors`. Without a percentage all requests are copied.
fn mirrors(fields: &mut Fields<'_>) -> Vec<Mirror> {
    const ALL: u32 = limits::PER_MILLION_MAX;
    let one = fields.get("mirror");
    let mut share = fields.get("mirrorPercentage").and_then(|f| fault::percentage(&f));
    // Two spellings of an older field.
    for name in ["mirrorPercent", "mirror_percent"] {
        let percent = fields.get(name).and_then(|f| f.number(0, 100));
        share = share.or(percent.map(|percent| percent as u32 * 10_000));
    }
    let several = fields.get("mirrors");
    if let (Some(_), Some(several)) = (&one, &several) {
        several.error("conflict", "a rule has either `mirror` or `mirrors`", "remove one of the two");
    }
    let mut mirrors: Vec<_> = one.iter().filter_map(|f| mirror(f, &f.path, share.unwrap_or(ALL))).collect();
    for item in several.map(|f| f.items()).unwrap_or_default() {
        let Some(mut inner) = item.fields("a mirror") else { continue };
        let share = inner.get("percentage").map_or(Some(ALL), |f| fault::percentage(&f));
        let to = inner.require("destination");
        inner.finish();
        mirrors.extend(to.and_then(|f| mirror(&f, &item.path, share?)));
    }
    if mirrors.len() > limits::MIRRORS_MAX as usize {
        let message = format!("a rule has {} mirrors at most", limits::MIRRORS_MAX);
        fields.field().error("limit", message, "remove some");
    }
    mirrors.retain(|mirror| mirror.per_million > 0);
    mirrors
}

fn mirror(field: &Field<'_>, path: &str, per_million: u32) -> Option<Mirror> {
    Some(Mirror { destination: Destination { path: path.into(), copies: true, ..target(field)? }, per_million })
}

fn destination(item: &Field<'_>, http: bool) -> Option<Destination> {
    let mut fields = item.fields("a route destination")?;
    let weight = fields.get("weight").map_or(Some(0), |f| f.number(0, 1_000_000));
    let edits = if http { fields.get("headers") } else { None };
    let (request, response) = headers(edits, None);
    let inner = fields.require("destination");
    fields.finish();
    let weight = u32::try_from(weight?).ok()?;
    let (path, spot) = (item.path.clone(), item.spot());
    Some(Destination { path, spot, weight, request, response, ..target(&inner?)? })
}

/// `host`, `subset` and `port`.
fn target(inner: &Field<'_>) -> Option<Destination> {
    let mut fields = inner.fields("a destination")?;
    let host_field = fields.require("host")?;
    let host = host_field.text().and_then(|text| patterns::host_name(&host_field, text, false));
    let subset = fields.get("subset");
    let subset_spot = subset.as_ref().map_or_else(|| inner.spot(), Field::spot);
    let subset = subset.and_then(|f| f.text()).unwrap_or("").to_string();
    let mut port = None;
    if let Some(mut fields) = fields.get("port").and_then(|f| f.fields("a port selector")) {
        port = fields.require("number").and_then(|f| f.port());
        fields.finish();
    }
    fields.finish();
    let (path, spot, host_spot) = (inner.path.clone(), inner.spot(), host_field.spot());
    let (request, response) = (HeaderEdits::default(), HeaderEdits::default());
    Some(Destination {
        path,
        spot,
        host: host?,
        host_spot,
        subset,
        subset_spot,
        port,
        weight: 1,
        copies: false,
        request,
        response,
    })
}
