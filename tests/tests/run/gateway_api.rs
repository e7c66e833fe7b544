//! The Gateway API's conformance tests for traffic, written anew: one mesh, each case a request and what has to come of it. The cases have the names of
//! those of the API's own suite; docs/gateway-api.md lists them all. Those about conditions are in control-shim/tests/translate/statuses.rs.

// Test code: what cannot happen in a sound environment may panic.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use ringway_tests::harness::http::Response;
use ringway_tests::harness::mesh::address;
use ringway_tests::harness::{Client, Mesh, Reply, Upstream, client_hello, until};

/// A gateway with open doors, one whose listeners lie within each other, one for bytes; and a pod that calls through its sidecar.
const DOORS: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: door}
spec:
  gatewayClassName: ringway
  listeners:
  - {name: one, port: 8080, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}
  - {name: two, port: 8081, protocol: HTTP}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: isolated}
spec:
  gatewayClassName: ringway
  listeners:
  - {name: any, port: 8082, protocol: HTTP}
  - {name: example, port: 8082, protocol: HTTP, hostname: '*.example.test'}
  - {name: foo, port: 8082, protocol: HTTP, hostname: '*.foo.example.test'}
  - {name: abc, port: 8082, protocol: HTTP, hostname: abc.foo.example.test}
  - {name: lonely, port: 8082, protocol: HTTP, hostname: lonely.example.test}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: bytes}
spec:
  gatewayClassName: ringway
  listeners:
  - {name: tcp, port: 9100, protocol: TCP}
  - {name: also, port: 9101, protocol: TCP}
  - {name: tls, port: 8443, protocol: TLS, hostname: '*.example.test', tls: {mode: Passthrough}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: all}
spec:
  gatewayClassName: ringway
  listeners:
  - {name: a, port: 9200, protocol: TCP}
  - {name: b, port: 9201, protocol: TCP}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: caller}
spec:
  selector: {matchLabels: {app: caller}}
  template:
    metadata: {labels: {app: caller}}
    spec: {containers: [{name: app, image: x, ports: [{containerPort: 8080}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: consumer, namespace: away}
spec:
  selector: {matchLabels: {app: consumer}}
  template:
    metadata: {labels: {app: consumer}}
    spec: {containers: [{name: app, image: x, ports: [{containerPort: 8080}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: far, namespace: away}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default}, {group: gateway.networking.k8s.io, kind: TCPRoute, namespace: default}]
  to: [{group: '', kind: Service, name: far}]
";

/// A Service with an upstream of the test's behind it.
fn service(namespace: &str, name: &str, ports: &str, at: &[(&str, &Upstream)]) -> String {
    let slice: Vec<String> =
        at.iter().map(|(port, to)| format!("{{name: {port}, port: {}}}", to.address().port())).collect();
    format!(
        "---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{ports: [{ports}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-1, namespace: {namespace}, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{}]
endpoints: [{{addresses: [127.0.0.1]}}]
",
        slice.join(", ")
    )
}

/// A route in `default`.
fn route(kind: &str, name: &str, spec: &str) -> String {
    format!("---\napiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n{spec}\n")
}

/// An HTTPRoute at the open doors for one host.
fn at_door(host: &str, rules: &str) -> String {
    let name = host.replace(['.', '*'], "x");
    route(
        "HTTPRoute",
        &name,
        &format!("  parentRefs: [{{name: door, sectionName: one}}]\n  hostnames: ['{host}']\n  rules:\n{rules}"),
    )
}

const V1: &str = "backendRefs: [{name: v1, port: 80}]";
const V2: &str = "backendRefs: [{name: v2, port: 80}]";

/// Answers with its name and the head as it came.
fn named(name: &'static str) -> Upstream {
    Upstream::serve(move |request| {
        let body = format!("{name}\n{}", request.text());
        let head = "HTTP/1.1 200 OK\r\nx-set: old\r\nx-gone: here\r\nContent-Length: ";
        Reply::raw(format!("{head}{}\r\n\r\n{body}", body.len()))
    })
}

/// Says its name and hangs up.
fn bytes(name: &'static str) -> Upstream {
    Upstream::script(move |conn| {
        if conn.wire.some().is_ok() {
            conn.wire.send(name);
        }
    })
}

/// What came of a request, in one line: `v1 GET /path`, or the status and the Location.
fn told(response: &Response) -> String {
    if let Some(to) = response.header("location") {
        return format!("{} {to}", response.status);
    }
    if response.status != 200 {
        return response.status.to_string();
    }
    let text = response.text();
    let mut lines = text.lines();
    let (name, request) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    format!("{name} {}", request.trim_end_matches(" HTTP/1.1"))
}

/// What the last hop saw of a header.
fn seen(response: &Response, name: &str) -> String {
    let text = response.text();
    let values: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(other, _)| other.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .collect();
    values.join(",")
}

/// Routes of the table below.
fn table_routes() -> String {
    let mut all = String::new();
    // HTTPRouteExactPathMatching, HTTPRouteMatching, HTTPRoutePathMatchOrder, HTTPRouteHeaderMatching, …
    all += &at_door(
        "exact.test",
        &format!(
            "  - matches: [{{path: {{type: Exact, value: /one}}}}]\n    {V1}\n  - matches: [{{path: {{type: Exact, value: /two}}}}]\n    {V2}"
        ),
    );
    all += &at_door(
        "match.test",
        &format!(
            "  - matches: [{{path: {{type: PathPrefix, value: /}}}}, {{headers: [{{name: version, value: one}}]}}]\n    {V1}\n  - matches: [{{path: {{type: PathPrefix, value: /v2}}}}, {{headers: [{{name: version, value: two}}]}}]\n    {V2}"
        ),
    );
    all += &at_door(
        "order.test",
        &format!(
            "  - matches: [{{path: {{type: PathPrefix, value: /match}}}}]\n    {V1}\n  - matches: [{{path: {{type: PathPrefix, value: /match/prefix/}}}}]\n    {V2}\n  - matches: [{{path: {{type: Exact, value: /match/prefix/one}}}}]\n    {V1}"
        ),
    );
    all += &at_door(
        "headers.test",
        &format!(
            "  - matches: [{{headers: [{{name: version, value: one}}]}}]\n    {V1}\n  - matches: [{{headers: [{{name: version, value: two}}, {{name: color, value: orange}}]}}, {{headers: [{{name: color, value: blue}}]}}]\n    {V2}"
        ),
    );
    all += &at_door(
        "query.test",
        &format!(
            "  - matches: [{{queryParams: [{{name: animal, value: whale}}]}}]\n    {V1}\n  - matches: [{{queryParams: [{{name: animal, value: dolphin}}, {{name: color, value: blue}}]}}]\n    {V2}"
        ),
    );
    all += &at_door(
        "method.test",
        &format!("  - matches: [{{method: POST}}]\n    {V1}\n  - matches: [{{method: GET}}]\n    {V2}"),
    );
    // The same host by two routes: HTTPRouteMatchingAcrossRoutes.
    all += &at_door("across.test", &format!("  - matches: [{{path: {{value: /}}}}]\n    {V1}"));
    all += &at_door(
        "across.test",
        &format!("  - matches: [{{path: {{value: /v2}}}}, {{headers: [{{name: version, value: two}}]}}]\n    {V2}"),
    )
    .replace("name: acrossxtest", "name: across-2");
    // Redirects.
    let redirect = |path: &str, body: &str| {
        format!(
            "  - matches: [{{path: {{type: PathPrefix, value: {path}}}}}]\n    filters: [{{type: RequestRedirect, requestRedirect: {{{body}}}}}]\n"
        )
    };
    all += &at_door(
        "redirect.test",
        &[
            redirect("/host", "hostname: other.test"),
            redirect("/host-301", "hostname: other.test, statusCode: 301"),
            redirect("/s303", "statusCode: 303, port: 80"),
            redirect("/s307", "statusCode: 307, port: 80"),
            redirect("/s308", "statusCode: 308, port: 80"),
            redirect("/https", "scheme: https"),
            redirect("/https-443", "scheme: https, port: 443"),
            redirect("/https-8443", "scheme: https, port: 8443"),
            redirect("/http", "scheme: http"),
            redirect("/http-80", "scheme: http, port: 80"),
            redirect("/port", "port: 8083"),
            redirect("/nil", "statusCode: 301"),
            redirect("/prefix", "port: 80, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}"),
            redirect("/root/", "port: 80, path: {type: ReplacePrefixMatch, replacePrefixMatch: /}"),
            redirect("/full", "port: 80, path: {type: ReplaceFullPath, replaceFullPath: /all/of/it}"),
        ]
        .concat(),
    );
    // Rewrites.
    let rewrite = |path: &str, body: &str, backend: &str| {
        format!(
            "  - matches: [{{path: {{type: PathPrefix, value: {path}}}}}]\n    filters: [{{type: URLRewrite, urlRewrite: {{{body}}}}}]\n    {backend}\n"
        )
    };
    all += &at_door(
        "rewrite.test",
        &[
            rewrite("/prefix/one", "path: {type: ReplacePrefixMatch, replacePrefixMatch: /one}", V1),
            rewrite("/strip", "path: {type: ReplacePrefixMatch, replacePrefixMatch: /}", V1),
            rewrite("/strip-slash/", "path: {type: ReplacePrefixMatch, replacePrefixMatch: /}", V1),
            rewrite("/empty", "path: {type: ReplacePrefixMatch, replacePrefixMatch: ''}", V1),
            rewrite("/slash", "path: {type: ReplacePrefixMatch, replacePrefixMatch: /xyz/}", V1),
            rewrite("/full", "path: {type: ReplaceFullPath, replaceFullPath: /one}", V1),
            rewrite("/host", "hostname: other.test", V2),
        ]
        .concat(),
    );
    // Filters of a backend.
    let of_backend = |path: &str, filter: &str| {
        format!(
            "  - matches: [{{path: {{type: PathPrefix, value: {path}}}}}]\n    backendRefs: [{{name: v1, port: 80, filters: [{filter}]}}]\n"
        )
    };
    all += &at_door(
        "backend.test",
        &[
            of_backend("/full", "{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /rewritten}}}"),
            of_backend("/prefix", "{type: URLRewrite, urlRewrite: {hostname: in.test, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}}"),
            of_backend("/redirect", "{type: RequestRedirect, requestRedirect: {port: 80, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}}"),
            of_backend("/host", "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: host, value: in.test}]}}"),
            of_backend("/cors", "{type: CORS, cors: {allowOrigins: ['https://a.test']}}"),
            of_backend("/edit", "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-a, value: b}]}}, {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-set, value: new}]}}"),
        ]
        .concat(),
    );
    all += &at_door(
        "edits.test",
        &format!(
            "  - filters:\n    - {{type: RequestHeaderModifier, requestHeaderModifier: {{set: [{{name: x-set, value: new}}], add: [{{name: x-add, value: b}}], remove: [x-gone]}}}}\n    - {{type: ResponseHeaderModifier, responseHeaderModifier: {{set: [{{name: x-set, value: new}}], add: [{{name: x-add, value: b}}], remove: [x-gone]}}}}\n    {V1}"
        ),
    );
    let wildcard =
        "{type: CORS, cors: {allowOrigins: ['*'], allowMethods: ['*'], allowHeaders: ['*'], exposeHeaders: ['*']}}";
    let exact = "{type: CORS, cors: {allowOrigins: ['https://www.foo.test', 'https://*.bar.test'], allowMethods: [GET, OPTIONS], allowHeaders: [x-a, x-b], exposeHeaders: [x-c], allowCredentials: true, maxAge: 3600}}";
    all += &at_door(
        "cors.test",
        &format!(
            "  - matches: [{{path: {{value: /exact}}}}]\n    filters: [{exact}]\n    {V1}\n  - matches: [{{path: {{value: /any}}}}]\n    filters: [{wildcard}]\n    {V1}"
        ),
    );
    // Rules without backends, and a rule with a name.
    all += &at_door(
        "none.test",
        &format!(
            "  - matches: [{{path: {{value: /none}}}}]\n  - name: named-rule\n    matches: [{{path: {{value: /named}}}}]\n    {V1}"
        ),
    );
    all += &at_door(
        "timeout.test",
        "  - matches: [{path: {value: /request}}]\n    timeouts: {request: 100ms}\n    backendRefs: [{name: silent, port: 80}]\n  - matches: [{path: {value: /backend}}]\n    timeouts: {backendRequest: 100ms}\n    backendRefs: [{name: silent, port: 80}]\n  - matches: [{path: {value: /disabled}}]\n    timeouts: {request: 0s}\n    backendRefs: [{name: v1, port: 80}]",
    );
    all += &at_door(
        "retry.test",
        "  - matches: [{path: {value: /2}}]\n    retry: {codes: [500], attempts: 2, backoff: 1ms}\n    backendRefs: [{name: flaky, port: 80}]\n  - matches: [{path: {value: /1}}]\n    retry: {codes: [500], attempts: 1, backoff: 1ms}\n    backendRefs: [{name: flaky, port: 80}]\n  - matches: [{path: {value: /other}}]\n    retry: {codes: [503], attempts: 2, backoff: 1ms}\n    backendRefs: [{name: flaky, port: 80}]",
    );
    let half = "  - retry: {attempts: 2, backoff: 1ms}\n    backendRefs: [{name: half, port: 80}]";
    all += &at_door("half.test", half);
    all += &at_door(
        "mirror.test",
        "  - filters:\n    - {type: RequestMirror, requestMirror: {backendRef: {name: copies, port: 80}}}\n    - {type: RequestMirror, requestMirror: {backendRef: {name: more-copies, port: 80}}}\n    - {type: RequestMirror, requestMirror: {backendRef: {name: no-copies, port: 80}, percent: 0}}\n    - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-a, value: b}]}}\n    backendRefs: [{name: v1, port: 80}]",
    );
    all += &at_door(
        "weight.test",
        "  - backendRefs:\n    - {name: v1, port: 80, weight: 70, filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-backend, value: one}]}}]}\n    - {name: v2, port: 80, weight: 30, filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-backend, value: two}]}}]}\n    - {name: far, namespace: away, port: 80, weight: 0}",
    );
    all += &at_door(
        "shares.test",
        "  - filters:
    - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-rule, value: every}]}}
    - {type: CORS, cors: {allowOrigins: ['https://a.test']}}
    backendRefs:
    - name: v1
      port: 80
      filters:
      - {type: URLRewrite, urlRewrite: {hostname: in.test, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}}
      - {type: RequestMirror, requestMirror: {backendRef: {name: share-copies, port: 80}}}
      - {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-set, value: own}]}}
    - {name: v2, port: 80}
    - {name: v1, port: 80, filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: host, value: in.test}]}}]}
    - name: v2
      port: 80
      filters: [{type: RequestRedirect, requestRedirect: {port: 80, path: {type: ReplaceFullPath, replaceFullPath: /else}}}]",
    );
    all += &at_door("grant.test", "  - backendRefs: [{name: far, namespace: away, port: 80}]");
    // Routes of other places: another namespace, a port, every listener, hosts that meet.
    all += &route("HTTPRoute", "away", "  parentRefs: [{name: door, namespace: default, sectionName: one}]\n  hostnames: [away.test]\n  rules: [{backendRefs: [{name: far, port: 80}]}]").replace("name: away}", "name: away, namespace: away}");
    all += &route(
        "HTTPRoute",
        "port",
        &format!("  parentRefs: [{{name: door, port: 8081}}]\n  hostnames: [port.test]\n  rules: [{{{V1}}}]"),
    );
    all += &route(
        "HTTPRoute",
        "both",
        &format!(
            "  parentRefs: [{{name: door}}, {{name: isolated, sectionName: any}}]\n  hostnames: [both.test]\n  rules: [{{{V1}}}]"
        ),
    );
    let within = |name: &str, hostnames: &str| {
        route(
            "HTTPRoute",
            &format!("in-{name}"),
            &format!(
                "  parentRefs: [{{name: isolated, sectionName: {name}}}]\n{hostnames}  rules: [{{matches: [{{path: {{value: /{name}}}}}], {V1}}}]"
            ),
        )
    };
    all += &within("any", "");
    all +=
        &within("example", "  hostnames: [bar.test, '*.example.test', '*.foo.example.test', abc.foo.example.test]\n");
    all += &within("foo", "");
    all += &within("abc", "");
    // Bytes.
    all += &route(
        "TCPRoute",
        "tcp-a",
        "  parentRefs: [{name: bytes, sectionName: tcp}]\n  rules: [{backendRefs: [{name: tcp-a, port: 9000}]}]",
    );
    all += &route(
        "TCPRoute",
        "tcp-b",
        "  parentRefs: [{name: bytes, port: 9100}]\n  rules: [{backendRefs: [{name: tcp-b, port: 9000}]}]",
    );
    all += &route(
        "TCPRoute",
        "tcp-c",
        "  parentRefs: [{name: bytes, sectionName: also}]\n  rules: [{backendRefs: [{name: tcp-a, port: 9000, weight: 0}, {name: tcp-b, port: 9000, weight: 3}]}]",
    );
    all += &route(
        "TCPRoute",
        "tcp-all",
        "  parentRefs: [{name: all}]\n  rules: [{backendRefs: [{name: tcp-b, port: 9000}]}]",
    );
    all += &route(
        "TLSRoute",
        "tls-a",
        "  parentRefs: [{name: bytes}]\n  hostnames: [a.example.test, a.other.test]\n  rules: [{backendRefs: [{name: tcp-a, port: 9000}]}]",
    );
    all += &route(
        "TLSRoute",
        "tls-b",
        "  parentRefs: [{name: bytes}]\n  hostnames: ['*.example.test']\n  rules: [{backendRefs: [{name: tcp-b, port: 9000}]}]",
    );
    // The mesh: producer and consumer routes, and bytes between sidecars.
    let service_parent = "{group: '', kind: Service, name: shop, port: 80}";
    all += &route(
        "HTTPRoute",
        "producer",
        &format!(
            "  parentRefs: [{service_parent}]\n  rules:\n  - matches: [{{path: {{value: /v2}}}}]\n    {V2}\n  - matches: [{{path: {{value: /moved}}}}]\n    filters: [{{type: RequestRedirect, requestRedirect: {{hostname: other.test, statusCode: 301}}}}]\n  - matches: [{{queryParams: [{{name: q, value: '1'}}]}}]\n    name: by-query\n    {V2}\n  - matches: [{{path: {{value: /w}}}}]\n    filters: [{{type: URLRewrite, urlRewrite: {{path: {{type: ReplacePrefixMatch, replacePrefixMatch: /}}}}}}]\n    {V1}\n  - filters: [{{type: RequestHeaderModifier, requestHeaderModifier: {{set: [{{name: x-a, value: b}}]}}}}]\n    {V1}"
        ),
    );
    let moves = |path: &str, body: &str| {
        format!(
            "  - matches: [{{path: {{value: {path}}}}}]\n    filters: [{{type: RequestRedirect, requestRedirect: {{{body}}}}}]\n"
        )
    };
    let rules = [
        moves("/s303", "statusCode: 303"),
        moves("/s307", "statusCode: 307"),
        moves("/s308", "statusCode: 308"),
        moves("/port", "port: 8083"),
        moves("/https", "scheme: https"),
        moves("/path", "path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}"),
    ];
    all += &route(
        "HTTPRoute",
        "moves",
        &format!("  parentRefs: [{{group: '', kind: Service, name: moves}}]\n  rules:\n{}", rules.concat()),
    );
    all += &route(
        "HTTPRoute",
        "split",
        "  parentRefs: [{group: '', kind: Service, name: split}]\n  rules: [{backendRefs: [{name: v1, port: 80, weight: 1, filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-backend, value: one}]}}]}, {name: v2, port: 80, weight: 1}]}]",
    );
    all += &route("HTTPRoute", "consumer", "  parentRefs: [{group: '', kind: Service, name: shop, namespace: default}]\n  rules: [{backendRefs: [{name: far, port: 80}]}]").replace("name: consumer}", "name: consumer, namespace: away}");
    all += &route(
        "TCPRoute",
        "mesh-bytes",
        "  parentRefs: [{group: '', kind: Service, name: tcp-a, port: 9000}]\n  rules: [{backendRefs: [{name: tcp-b, port: 9000}]}]",
    );
    all
}

/// Case, port of the door, host, request line and further head lines, what comes of it.
const TABLE: &[(&str, u16, &str, &str, &str)] = &[
    ("HTTPRouteSimpleSameNamespace", 8080, "both.test", "GET /", "v1 GET /"),
    ("HTTPRouteExactPathMatching", 8080, "exact.test", "GET /one", "v1 GET /one"),
    ("HTTPRouteExactPathMatching", 8080, "exact.test", "GET /two", "v2 GET /two"),
    ("HTTPRouteExactPathMatching", 8080, "exact.test", "GET /one/example", "404"),
    ("HTTPRouteExactPathMatching", 8080, "exact.test", "GET /One", "404"),
    ("HTTPRouteMatching", 8080, "match.test", "GET /", "v1 GET /"),
    ("HTTPRouteMatching", 8080, "match.test", "GET /v2", "v2 GET /v2"),
    ("HTTPRouteMatching", 8080, "match.test", "GET /v2/x", "v2 GET /v2/x"),
    ("HTTPRouteMatching", 8080, "match.test", "GET /v2example", "v1 GET /v2example"),
    ("HTTPRouteMatching", 8080, "match.test", "GET /\r\nVersion: two", "v2 GET /"),
    ("HTTPRouteMatching", 8080, "match.test", "GET /v2/\r\nVersion: one", "v2 GET /v2/"),
    ("HTTPRoutePathMatchOrder", 8080, "order.test", "GET /match/prefix/one/any", "v2 GET /match/prefix/one/any"),
    ("HTTPRoutePathMatchOrder", 8080, "order.test", "GET /match/prefix/one", "v1 GET /match/prefix/one"),
    ("HTTPRoutePathMatchOrder", 8080, "order.test", "GET /match/prefix", "v2 GET /match/prefix"),
    ("HTTPRoutePathMatchOrder", 8080, "order.test", "GET /match/prefixes", "v1 GET /match/prefixes"),
    ("HTTPRouteHeaderMatching", 8080, "headers.test", "GET /\r\nVersion: one", "v1 GET /"),
    ("HTTPRouteHeaderMatching", 8080, "headers.test", "GET /\r\nversion: two\r\ncolor: orange", "v2 GET /"),
    ("HTTPRouteHeaderMatching", 8080, "headers.test", "GET /\r\nVersion: two", "404"),
    ("HTTPRouteHeaderMatching", 8080, "headers.test", "GET /\r\nVersion: one\r\ncolor: blue", "v1 GET /"),
    ("HTTPRouteHeaderMatching", 8080, "headers.test", "GET /\r\ncolor: BLUE", "404"),
    ("HTTPRouteQueryParamMatching", 8080, "query.test", "GET /?animal=whale", "v1 GET /?animal=whale"),
    (
        "HTTPRouteQueryParamMatching",
        8080,
        "query.test",
        "GET /?color=blue&animal=dolphin",
        "v2 GET /?color=blue&animal=dolphin",
    ),
    ("HTTPRouteQueryParamMatching", 8080, "query.test", "GET /?ANIMAL=whale", "404"),
    ("HTTPRouteMethodMatching", 8080, "method.test", "POST /", "v1 POST /"),
    ("HTTPRouteMethodMatching", 8080, "method.test", "GET /", "v2 GET /"),
    ("HTTPRouteMethodMatching", 8080, "method.test", "HEAD /", "404"),
    ("HTTPRouteMatchingAcrossRoutes", 8080, "across.test", "GET /", "v1 GET /"),
    ("HTTPRouteMatchingAcrossRoutes", 8080, "across.test", "GET /v2/", "v2 GET /v2/"),
    ("HTTPRouteMatchingAcrossRoutes", 8080, "across.test", "GET /\r\nversion: two", "v2 GET /"),
    (
        "HTTPRouteRedirectHostAndStatus",
        8080,
        "redirect.test:80",
        "GET /host-301?q",
        "301 http://other.test:DOOR/host-301?q",
    ),
    ("HTTPRoute303Redirect", 8080, "redirect.test", "GET /s303", "303 http://redirect.test/s303"),
    ("HTTPRoute307Redirect", 8080, "redirect.test", "GET /s307", "307 http://redirect.test/s307"),
    ("HTTPRoute308Redirect", 8080, "redirect.test", "GET /s308", "308 http://redirect.test/s308"),
    ("HTTPRouteRedirectScheme", 8080, "redirect.test:8080", "GET /https", "302 https://redirect.test/https"),
    ("HTTPRouteRedirectPortAndScheme", 8080, "redirect.test", "GET /https-443", "302 https://redirect.test/https-443"),
    (
        "HTTPRouteRedirectPortAndScheme",
        8080,
        "redirect.test",
        "GET /https-8443",
        "302 https://redirect.test:8443/https-8443",
    ),
    ("HTTPRouteRedirectPortAndScheme", 8080, "redirect.test:8080", "GET /http", "302 http://redirect.test/http"),
    ("HTTPRouteRedirectPortAndScheme", 8080, "redirect.test:8080", "GET /http-80", "302 http://redirect.test/http-80"),
    ("HTTPRouteRedirectPortAndScheme", 8080, "redirect.test:DOOR", "GET /nil", "301 http://redirect.test:DOOR/nil"),
    ("HTTPRouteRedirectPort", 8080, "redirect.test", "GET /port", "302 http://redirect.test:8083/port"),
    ("HTTPRouteRedirectPath", 8080, "redirect.test", "GET /prefix/a?q", "302 http://redirect.test/new/a?q"),
    ("HTTPRouteRedirectPath", 8080, "redirect.test", "GET /prefix", "302 http://redirect.test/new"),
    ("HTTPRouteRedirectPath", 8080, "redirect.test", "GET /root/lemon", "302 http://redirect.test/lemon"),
    ("HTTPRouteRedirectPath", 8080, "redirect.test", "GET /root", "302 http://redirect.test/"),
    ("HTTPRouteRedirectPath", 8080, "redirect.test", "GET /full/x", "302 http://redirect.test/all/of/it"),
    ("HTTPRouteRewritePath", 8080, "rewrite.test", "GET /prefix/one/two", "v1 GET /one/two"),
    ("HTTPRouteRewritePath", 8080, "rewrite.test", "GET /strip/one?q", "v1 GET /one?q"),
    ("HTTPRouteRewritePath", 8080, "rewrite.test", "GET /strip", "v1 GET /"),
    ("HTTPRouteRewritePath", 8080, "rewrite.test", "GET /strip/", "v1 GET /"),
    ("HTTPRouteRewritePath", 8080, "rewrite.test", "GET /strip-slash/three", "v1 GET /three"),
    ("HTTPRouteRewritePath", 8080, "rewrite.test", "GET /empty/three", "v1 GET /three"),
    ("HTTPRouteRewritePath", 8080, "rewrite.test", "GET /slash/three", "v1 GET /xyz/three"),
    ("HTTPRouteRewritePath", 8080, "rewrite.test", "GET /slash", "v1 GET /xyz"),
    ("HTTPRouteRewritePath", 8080, "rewrite.test", "GET /full/one/two", "v1 GET /one"),
    ("HTTPRouteBackendURLRewrite", 8080, "backend.test", "GET /full/original", "v1 GET /rewritten"),
    ("HTTPRouteBackendURLRewrite", 8080, "backend.test", "GET /prefix/original", "v1 GET /new/original"),
    (
        "HTTPRouteBackendRequestRedirect",
        8080,
        "backend.test",
        "GET /redirect/original",
        "302 http://backend.test/new/original",
    ),
    ("HTTPRouteNoBackendRefs", 8080, "none.test", "GET /none", "500"),
    ("HTTPRouteNamedRule", 8080, "none.test", "GET /named", "v1 GET /named"),
    ("HTTPRouteTimeoutRequest", 8080, "timeout.test", "GET /request", "504"),
    ("HTTPRouteTimeoutBackendRequest", 8080, "timeout.test", "GET /backend", "504"),
    ("HTTPRouteTimeoutRequest", 8080, "timeout.test", "GET /disabled", "v1 GET /disabled"),
    ("HTTPRouteReferenceGrant", 8080, "grant.test", "GET /", "far GET /"),
    ("HTTPRouteCrossNamespace", 8080, "away.test", "GET /", "far GET /"),
    ("HTTPRouteListenerPortMatching", 8081, "port.test", "GET /", "v1 GET /"),
    ("HTTPRouteListenerPortMatching", 8080, "port.test", "GET /", "404"),
    ("HTTPRouteMultipleGateways", 8081, "both.test", "GET /", "v1 GET /"),
    ("HTTPRouteMultipleGateways", 8082, "both.test", "GET /", "v1 GET /"),
    ("HTTPRouteListenerHostnameMatching", 8082, "x.test", "GET /any", "v1 GET /any"),
    ("HTTPRouteListenerHostnameMatching", 8082, "bar.test", "GET /example", "404"),
    ("HTTPRouteHostnameIntersection", 8082, "bar.example.test", "GET /example", "v1 GET /example"),
    ("GatewayHTTPListenerIsolation", 8082, "bar.example.test", "GET /any", "404"),
    ("GatewayHTTPListenerIsolation", 8082, "bar.foo.example.test", "GET /foo", "v1 GET /foo"),
    ("GatewayHTTPListenerIsolation", 8082, "bar.foo.example.test", "GET /example", "404"),
    ("GatewayHTTPListenerIsolation", 8082, "abc.foo.example.test", "GET /abc", "v1 GET /abc"),
    ("GatewayHTTPListenerIsolation", 8082, "abc.foo.example.test", "GET /foo", "404"),
    ("GatewayHTTPListenerIsolation", 8082, "lonely.example.test", "GET /example", "404"),
    ("GatewayHTTPListenerIsolation", 8082, "lonely.example.test", "GET /any", "404"),
];

/// The same through a sidecar: workload, host, request, what comes of it.
const MESH: &[(&str, &str, &str, &str, &str)] = &[
    ("MeshBasic", "caller", "v1", "GET /", "v1 GET /"),
    ("MeshHTTPRouteMatching", "caller", "shop", "GET /v2/x", "v2 GET /v2/x"),
    ("MeshFrontend", "caller", "shop.default.svc.cluster.local", "GET /v2", "v2 GET /v2"),
    ("MeshHTTPRouteQueryParamMatching", "caller", "shop", "GET /?q=1", "v2 GET /?q=1"),
    ("MeshHTTPRouteRedirectHostAndStatus", "caller", "shop", "GET /moved", "301 http://other.test/moved"),
    ("MeshHTTPRouteRewritePath", "caller", "shop", "GET /w/x", "v1 GET /x"),
    ("MeshHTTPRouteSimpleSameNamespace", "caller", "shop.default", "GET /", "v1 GET /"),
    ("MeshHTTPRoute303Redirect", "caller", "moves", "GET /s303", "303 http://moves/s303"),
    ("MeshHTTPRoute307Redirect", "caller", "moves", "GET /s307", "307 http://moves/s307"),
    ("MeshHTTPRoute308Redirect", "caller", "moves", "GET /s308", "308 http://moves/s308"),
    ("MeshHTTPRouteRedirectPort", "caller", "moves", "GET /port", "302 http://moves:8083/port"),
    ("MeshHTTPRouteSchemeRedirect", "caller", "moves", "GET /https", "302 https://moves/https"),
    ("MeshHTTPRouteRedirectPath", "caller", "moves", "GET /path/x", "302 http://moves/new/x"),
    ("MeshHTTPRouteNamedRule", "caller", "shop", "GET /any?q=1", "v2 GET /any?q=1"),
    ("MeshPorts", "caller", "shop:81", "GET /v2", "shop GET /v2"),
    ("MeshConsumerRoute", "consumer", "shop.default", "GET /v2", "far GET /v2"),
    ("MeshConsumerRoute", "consumer", "shop.default:81", "GET /v2", "far GET /v2"),
];

fn ask(client: &mut Client, host: &str, request: &str) -> Response {
    let (line, lines) = request.split_once("\r\n").unwrap_or((request, ""));
    let lines = if lines.is_empty() { String::new() } else { format!("{lines}\r\n") };
    client.send(format!("{line} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n{lines}\r\n"));
    if line.starts_with("HEAD") { client.response_to_head() } else { client.response() }
}

#[test]
fn the_conformance_suite_for_traffic() {
    let servers: BTreeMap<&str, Upstream> =
        ["v1", "v2", "far", "shop", "copies", "more-copies", "no-copies", "share-copies"]
            .map(|name| (name, named(name)))
            .into();
    let raw: BTreeMap<&str, Upstream> = ["tcp-a", "tcp-b"].map(|name| (name, bytes(name))).into();
    let silent = Upstream::script(|conn| drop(conn.wire.rest()));
    let failures = std::sync::Arc::new(AtomicUsize::new(0));
    let flaky = Upstream::serve({
        let failures = failures.clone();
        move |_| match failures.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)) {
            Ok(_) => Reply::raw("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"),
            Err(_) => Reply::ok("flaky\nGET /"),
        }
    });
    let http = "{name: http, port: 80}";
    let mut manifest = DOORS.to_string();
    for name in ["v1", "v2", "copies", "more-copies", "no-copies", "share-copies"] {
        manifest += &service("default", name, http, &[("http", &servers[name])]);
    }
    manifest += &service("away", "far", http, &[("http", &servers["far"])]);
    let two = "{name: http, port: 80}, {name: http-2, port: 81}";
    manifest += &service("default", "shop", two, &[("http", &servers["shop"]), ("http-2", &servers["shop"])]);
    for name in ["moves", "split"] {
        manifest += &service("default", name, http, &[("http", &servers["shop"])]);
    }
    // Nobody listens at the second address.
    let half = service("default", "half", http, &[("http", &servers["v1"])]);
    manifest += &half.replace("[127.0.0.1]}", "[127.0.0.1]}, {addresses: [127.254.254.254]}");
    manifest += &service("default", "silent", http, &[("http", &silent)]);
    manifest += &service("default", "flaky", http, &[("http", &flaky)]);
    for (name, server) in &raw {
        manifest += &service("default", name, "{name: tcp, port: 9000}", &[("tcp", server)]);
    }
    manifest += &table_routes();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mesh.yaml"), manifest).unwrap();
    let mesh = Mesh::start(&[folder.path().to_str().unwrap()]);

    for (case, port, host, request, expected) in TABLE {
        let door = mesh.gateway(*port);
        let filled = |text: &str| text.replace("DOOR", &door.port().to_string());
        let host = if host.ends_with(":80") { format!("redirect.test:{}", door.port()) } else { filled(host) };
        let found = told(&ask(&mut Client::connect(door), &host, request));
        assert_eq!(found, filled(expected), "{case}: {request} of {host} at {port}");
    }
    for (case, workload, host, request, expected) in MESH {
        let mut client = Client::connect(address(&mesh.pod(workload)["outbound"]));
        assert_eq!(told(&ask(&mut client, host, request)), *expected, "{case}: {request} of {host} from {workload}");
    }
    let mut door = Client::connect(mesh.gateway(8080));
    edits(&mut door);
    // HTTPRouteRetryConnectionError, and HTTPRouteServiceTypes: Services with slices of their own.
    for _ in 0..20 {
        assert_eq!(told(&ask(&mut door, "half.test", "GET /")), "v1 GET /");
    }
    let mut caller = Client::connect(address(&mesh.pod("caller")["outbound"]));
    // MeshTrafficSplit, MeshHTTPRouteWeight, MeshHTTPRouteBackendRequestHeaderModifier: all of 64 at one side happen once in 2^63 runs.
    let answers: Vec<_> = (0..64).map(|_| ask(&mut caller, "split", "GET /")).collect();
    for (told_by, edited) in [("v1 GET /", "one"), ("v2 GET /", "")] {
        assert!(
            answers.iter().any(|answer| told(answer) == told_by && seen(answer, "x-backend") == edited),
            "{told_by}"
        );
    }
    assert_eq!(seen(&ask(&mut caller, "shop", "GET /"), "x-a"), "b");
    cors(&mut door);
    retries(&mut door, &failures, &flaky);
    mirrors(&mut door, &servers);
    weights(&mut door);
    filters_of_shares(&mut door, &servers["share-copies"]);
    opaque(&mesh);
    broken_references(&mesh, folder.path());
}

/// HTTPRouteRequestHeaderModifier, HTTPRouteResponseHeaderModifier, HTTPRouteRewriteHost, HTTPRouteBackendRequestHeaderModifier,
/// MeshHTTPRouteRequestHeaderModifier.
fn edits(door: &mut Client) {
    let edited = ask(door, "edits.test", "GET /\r\nx-set: old\r\nx-add: a\r\nX-Gone: here");
    let request: Vec<String> = ["x-set", "x-add", "x-gone"].map(|name| seen(&edited, name)).into();
    assert_eq!(request, ["new", "a,b", ""]);
    let response: Vec<Option<&str>> = ["x-set", "x-add", "x-gone"].map(|name| edited.header(name)).into();
    assert_eq!(response, [Some("new"), Some("b"), None]);
    let host = ask(door, "rewrite.test", "GET /host");
    assert_eq!((told(&host), seen(&host, "host")), ("v2 GET /host".into(), "other.test".into()));
    let of_backend = ask(door, "backend.test", "GET /edit");
    assert_eq!((seen(&of_backend, "x-a"), of_backend.header("x-set")), ("b".into(), Some("new")));
    assert_eq!(seen(&ask(door, "backend.test", "GET /prefix/x"), "host"), "in.test");
    assert_eq!(seen(&ask(door, "backend.test", "GET /host"), "host"), "in.test");
    let cors = ask(door, "backend.test", "GET /cors\r\norigin: https://a.test");
    assert_eq!(cors.header("access-control-allow-origin"), Some("https://a.test"));
}

/// HTTPRouteCORS.
fn cors(door: &mut Client) {
    let preflight = |door: &mut Client, path: &str, origin: &str| {
        let asks = "access-control-request-method: PUT\r\naccess-control-request-headers: x-a, x-z";
        ask(door, "cors.test", &format!("OPTIONS {path}\r\norigin: {origin}\r\n{asks}"))
    };
    let exact = preflight(door, "/exact", "https://www.foo.test");
    let header = |response: &Response, name: &str| response.header(&format!("access-control-{name}")).map(String::from);
    assert!(matches!(exact.status, 200 | 204), "{exact:?}");
    for (name, value) in [
        ("allow-origin", "https://www.foo.test"),
        ("allow-methods", "GET,OPTIONS"),
        ("allow-headers", "x-a,x-b"),
        ("allow-credentials", "true"),
        ("max-age", "3600"),
    ] {
        assert_eq!(header(&exact, name).map(|value| value.replace(", ", ",")), Some(value.to_string()), "{name}");
    }
    for (origin, allowed) in [
        ("https://www.foo.test", true),
        ("https://a.b.bar.test", true),
        ("https://bar.test", false),
        ("http://www.foo.test", false),
        ("https://foo.test", false),
    ] {
        let answer = ask(door, "cors.test", &format!("GET /exact\r\norigin: {origin}"));
        let expected = allowed.then(|| origin.to_string());
        assert_eq!((answer.status, header(&answer, "allow-origin")), (200, expected), "{origin}");
        assert_eq!(header(&preflight(door, "/exact", origin), "allow-origin").is_some(), allowed, "{origin}");
    }
    let any = preflight(door, "/any", "https://elsewhere.test");
    assert!(matches!(header(&any, "allow-origin").as_deref(), Some("*" | "https://elsewhere.test")), "{any:?}");
    assert!(matches!(header(&any, "allow-methods").as_deref(), Some("*" | "PUT")), "{any:?}");
    assert_eq!((header(&any, "allow-credentials"), header(&any, "max-age").as_deref()), (None, Some("5")));
}

/// HTTPRouteRetry: the first try is none of the attempts.
fn retries(door: &mut Client, failures: &AtomicUsize, flaky: &Upstream) {
    for (path, failing, status, requests) in
        [("/2", 2, 200, 3), ("/2", 3, 500, 3), ("/1", 1, 200, 2), ("/1", 2, 500, 2), ("/other", 1, 500, 1)]
    {
        failures.store(failing, SeqCst);
        flaky.take_requests();
        let answer = ask(door, "retry.test", &format!("GET {path}"));
        assert_eq!((answer.status, flaky.take_requests().len()), (status, requests), "{path} failing {failing} times");
    }
    failures.store(0, SeqCst);
}

/// HTTPRouteRequestMirror, HTTPRouteRequestMultipleMirrors, HTTPRouteRequestPercentageMirror (0 %).
fn mirrors(door: &mut Client, servers: &BTreeMap<&str, Upstream>) {
    assert_eq!(told(&ask(door, "mirror.test", "GET /a")), "v1 GET /a");
    for name in ["copies", "more-copies"] {
        let copy = until(&format!("a copy at {name}"), || servers[name].requests().into_iter().next());
        assert_eq!((copy.target.as_str(), copy.header("x-a")), ("/a", Some("b")));
    }
    assert_eq!(servers["no-copies"].requests_seen(), 0);
}

/// HTTPRouteWeight, HTTPRouteRequestHeaderModifierBackendWeights: within five standard deviations.
fn weights(door: &mut Client) {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..600 {
        let answer = ask(door, "weight.test", "GET /");
        *counts.entry(format!("{} {}", told(&answer), seen(&answer, "x-backend"))).or_default() += 1;
    }
    let ones = counts["v1 GET / one"];
    assert!((364..=476).contains(&ones) && counts["v2 GET / two"] == 600 - ones, "{counts:?}");
}

/// HTTPRouteBackendURLRewrite, HTTPRouteBackendRequestRedirect and mirrors, at some of several backends: all of 128 at three of four of them happen once
/// in 10^16 runs.
fn filters_of_shares(door: &mut Client, copies: &Upstream) {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..128 {
        let answer = ask(door, "shares.test", "GET /a\r\norigin: https://a.test");
        let lines = [seen(&answer, "host"), seen(&answer, "x-rule")].join(" ");
        let answered = ["x-set", "access-control-allow-origin"].map(|name| answer.header(name).unwrap_or("-"));
        *counts.entry([told(&answer), lines, answered.join(" ")].join(" | ")).or_default() += 1;
    }
    let rewritten = "v1 GET /new/a | in.test every | own https://a.test";
    let expected = [
        "302 http://shares.test/else |   | - -",
        "v1 GET /a | in.test every | old https://a.test",
        rewritten,
        "v2 GET /a | shares.test every | old https://a.test",
    ];
    assert_eq!(counts.keys().map(String::as_str).collect::<Vec<_>>(), expected);
    let all = until("the copies of its share", || {
        let seen = copies.requests();
        (seen.len() >= counts[rewritten]).then_some(seen)
    });
    assert!(all.len() == counts[rewritten] && all.iter().all(|copy| copy.target == "/new/a"), "{counts:?}");
}

/// TCPRouteMultipleRoutesAttachment, TCPRouteParentRefPortAndSectionName, TCPRouteParentRefAttachAll, TCPRouteWeightedRouting, TLSRouteSimpleSameNamespace,
/// TLSRouteHostnameIntersection, and a TCPRoute of a Service.
fn opaque(mesh: &Mesh) {
    let said = |at, what: &[u8]| {
        let mut client = Client::connect(at);
        client.send(what);
        String::from_utf8(client.rest().unwrap_or_default()).unwrap()
    };
    assert_eq!(said(mesh.gateway(9100), b"hello"), "tcp-a");
    for port in [9101, 9200, 9201] {
        assert_eq!(said(mesh.gateway(port), b"hello"), "tcp-b", "{port}");
    }
    for (name, expected) in
        [("a.example.test", "tcp-a"), ("b.example.test", "tcp-b"), ("a.other.test", ""), ("example.test", "")]
    {
        assert_eq!(said(mesh.gateway(8443), &client_hello(Some(name))), expected, "{name}");
    }
    let listener = &mesh.pod("caller")["tcp"]["tcp-a.default.svc.cluster.local:9000"];
    assert_eq!(said(address(listener), b"hello"), "tcp-b");
}

/// HTTPRouteInvalidNonExistentBackendRef, HTTPRouteInvalidBackendRefUnknownKind, HTTPRouteInvalidCrossNamespaceBackendRef, and a half of
/// HTTPRoutePartiallyInvalidViaInvalidReferenceGrant: what cannot be had answers 500, in a mesh that runs.
fn broken_references(mesh: &Mesh, folder: &Path) {
    let backend =
        |path: &str, to: &str| format!("  - matches: [{{path: {{value: {path}}}}}]\n    backendRefs: [{to}]\n");
    let rules = [
        backend("/nobody", "{name: nobody, port: 80}"),
        backend("/kind", "{group: a.test, kind: Odd, name: v1, port: 80}"),
        backend("/namespace", "{name: far-too, namespace: away, port: 80}"),
        backend("/fine", "{name: v1, port: 80}"),
        // PartiallyInvalid: its requests do not fall to another rule.
        backend("/fine/dropped", "{name: v1, port: 80}")
            + "    filters: [{type: ExtensionRef, extensionRef: {group: a.test, kind: Odd, name: x}}]\n",
    ];
    fs::write(folder.join("broken.yaml"), at_door("broken.test", &rules.concat())).unwrap();
    let mut client = Client::connect(mesh.gateway(8080));
    until("the new route", || (told(&client.get("broken.test", "/fine")) == "v1 GET /fine").then_some(()));
    for path in ["/nobody", "/kind", "/namespace", "/fine/dropped"] {
        assert_eq!(client.get("broken.test", path).status, 500, "{path}");
    }
}
