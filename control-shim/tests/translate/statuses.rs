//! Conditions of the Gateway API's objects. The cases are named after those of the API's own conformance suite that ask for the same.

use super::manifests::{app, load};
use control_shim::mesh::{Mesh, Options, placement};
use control_shim::status::{Content, FEATURES, ObjectStatus, to_json, to_text};
use control_shim::translate::statuses;
use serde_json::Value;
use std::path::Path;

fn all(manifests: &str) -> Vec<ObjectStatus> {
    let loaded = load(manifests);
    let mesh = Mesh::new(loaded.objects.clone(), &mut placement::Sequential::default(), Options::default());
    statuses(&mesh, &loaded.refused, &loaded.diagnostics)
}

fn conditions(value: &Value, of: &str, into: &mut Vec<String>) {
    for one in value["conditions"].as_array().expect("a list") {
        let part = |name: &str| one[name].as_str().unwrap_or("").to_string();
        into.push(format!("{of}: {} {} {}", part("type"), part("status"), part("reason")));
    }
}

/// One line a condition, and one for what else a listener says.
fn lines(manifests: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for status in all(manifests) {
        let json = to_json(&status);
        let of = format!("{} {}", json["kind"].as_str().unwrap_or(""), json["metadata"]["name"].as_str().unwrap_or(""));
        match &status.content {
            Content::Class { .. } => conditions(&json["status"], &of, &mut lines),
            Content::Gateway { .. } => {
                conditions(&json["status"], &of, &mut lines);
                for listener in json["status"]["listeners"].as_array().expect("a list") {
                    let of = format!("{of}/{}", listener["name"].as_str().unwrap_or(""));
                    let kinds = listener["supportedKinds"].as_array().expect("a list");
                    let kinds: Vec<&str> = kinds.iter().filter_map(|kind| kind["kind"].as_str()).collect();
                    lines.push(format!("{of}: {} {}", listener["attachedRoutes"], kinds.join(",")));
                    conditions(listener, &of, &mut lines);
                }
            }
            Content::Route { .. } => {
                let parents = json["status"]["parents"].as_array().expect("a list");
                if parents.is_empty() {
                    lines.push(format!("{of}: no parents"));
                }
                for parent in parents {
                    let of = format!("{of}@{}", parent["parentRef"]["name"].as_str().unwrap_or(""));
                    conditions(parent, &of, &mut lines);
                }
            }
        }
    }
    lines
}

/// Each expected line has to be there.
fn expect(case: &str, manifests: &str, expected: &[&str]) {
    let found = lines(manifests);
    for line in expected {
        assert!(
            found.iter().any(|other| other.trim_end() == *line),
            "{case}: {line:?} is not in\n{}",
            found.join("\n")
        );
    }
}

fn gateway(name: &str, listeners: &str) -> String {
    object("v1", "Gateway", name, "default", &format!("{{gatewayClassName: ringway, listeners: [{listeners}]}}"))
}

fn route(kind: &str, name: &str, spec: &str) -> String {
    object("v1", kind, name, "default", spec)
}

fn object(version: &str, kind: &str, name: &str, namespace: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: gateway.networking.k8s.io/{version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}, generation: 7}}\nspec: {spec}\n"
    )
}

const HTTP: &str = "{name: http, port: 80, protocol: HTTP}";
const TO_WEB: &str = "rules: [{backendRefs: [{name: web, port: 80}]}]";
const TO_TCP: &str = "rules: [{backendRefs: [{name: bytes, port: 9000}]}]";

/// A Service `bytes` that carries opaque TCP.
fn bytes() -> String {
    app("bytes", &["v1"])
        .replace("{name: http, port: 80, targetPort: 8080}", "{name: tcp, port: 9000, targetPort: 8080}")
}

#[test]
fn what_is_right_is_accepted_resolved_and_programmed() {
    let text = app("web", &["v1"])
        + &object("v1", "GatewayClass", "ringway", "x", "{controllerName: example.test/controller}")
        + &gateway("door", HTTP)
        + &route("HTTPRoute", "r", &format!("{{parentRefs: [{{name: door}}], {TO_WEB}}}"));
    let text = text.replace("namespace: x, ", "");
    assert_eq!(
        lines(&text),
        [
            "Gateway door: Accepted True Accepted",
            "Gateway door: Programmed True Programmed",
            "Gateway door: ResolvedRefs True ResolvedRefs",
            "Gateway door/http: 1 HTTPRoute",
            "Gateway door/http: Accepted True Accepted",
            "Gateway door/http: Programmed True Programmed",
            "Gateway door/http: ResolvedRefs True ResolvedRefs",
            "Gateway door/http: Conflicted False NoConflicts",
            "GatewayClass ringway: Accepted True Accepted",
            "HTTPRoute r@door: Accepted True Accepted",
            "HTTPRoute r@door: ResolvedRefs True ResolvedRefs",
        ]
    );
    let all = all(&text);
    assert!(all.iter().all(ObjectStatus::is_good), "{all:#?}");
    assert_eq!(
        to_text(&all),
        "Gateway.gateway.networking.k8s.io default/door\n  Accepted, Programmed, ResolvedRefs\n  listener http: 1 HTTPRoute\n    Accepted, Programmed, ResolvedRefs\nGatewayClass ringway\n  Accepted\nHTTPRoute default/r\n  Gateway.gateway.networking.k8s.io default/door\n    Accepted, ResolvedRefs\n"
    );
    let route = to_json(&all[2]);
    let parent = &route["status"]["parents"][0];
    // GatewayClassObservedGenerationBump, GatewayObservedGenerationBump, HTTPRouteObservedGenerationBump.
    for status in &all {
        let json = to_json(status)["status"].to_string();
        assert!(
            json.contains("\"observedGeneration\":7")
                && json.matches("\"reason\"").count() == json.matches(":7").count()
        );
    }
    assert_eq!(parent["controllerName"], "example.test/controller");
    assert_eq!(parent["conditions"][0]["observedGeneration"], 7);
    assert_eq!(
        parent["parentRef"],
        serde_json::json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "door"})
    );
    let class = to_json(&all[1]);
    assert_eq!(class["status"]["supportedFeatures"][0]["name"], "Gateway");
    assert!(class["metadata"].get("namespace").is_none());
}

#[test]
fn gateways() {
    let with = |rest: &str| {
        gateway("door", HTTP).replace("gatewayClassName: ringway,", &format!("gatewayClassName: ringway, {rest},"))
    };
    for (case, text, expected) in [
        (
            "GatewayListenerUnsupportedProtocol",
            gateway("none", "{name: invalid, port: 1111, protocol: INVALID}")
                + &gateway(
                    "some",
                    "{name: http, port: 80, protocol: HTTP}, {name: invalid, port: 1111, protocol: INVALID}",
                ),
            &[
                "Gateway none: Accepted False ListenersNotValid",
                "Gateway none: Programmed False Invalid",
                "Gateway none/invalid: 0",
                "Gateway none/invalid: Accepted False UnsupportedProtocol",
                "Gateway some: Accepted True ListenersNotValid",
                "Gateway some: Programmed True Programmed",
                "Gateway some/http: 0 HTTPRoute",
                "Gateway some/http: Accepted True Accepted",
                "Gateway some/invalid: 0",
                "Gateway some/invalid: Accepted False UnsupportedProtocol",
                "Gateway some/invalid: Programmed False Invalid",
            ][..],
        ),
        (
            "GatewayInvalidRouteKind",
            gateway("only", "{name: http, port: 80, protocol: HTTP, allowedRoutes: {kinds: [{kind: InvalidRoute}]}}")
                + &gateway(
                    "both",
                    "{name: http, port: 80, protocol: HTTP, allowedRoutes: {kinds: [{kind: InvalidRoute}, {kind: HTTPRoute}]}}",
                ),
            &[
                "Gateway only/http: 0",
                "Gateway only/http: ResolvedRefs False InvalidRouteKinds",
                "Gateway only: ResolvedRefs False ListenersNotResolved",
                "Gateway both/http: 0 HTTPRoute",
                "Gateway both/http: ResolvedRefs False InvalidRouteKinds",
            ],
        ),
        (
            "TLSRouteListenerPassthroughSupportedKinds",
            gateway(
                "tls",
                "{name: tls, port: 443, protocol: TLS, tls: {mode: Passthrough}, allowedRoutes: {kinds: [{kind: TCPRoute}, {kind: TLSRoute}]}}",
            ),
            &["Gateway tls/tls: 0 TLSRoute", "Gateway tls/tls: ResolvedRefs False InvalidRouteKinds"],
        ),
        (
            "TLSRouteListenerTerminateNotSupported",
            gateway(
                "tls",
                "{name: tls, port: 8443, protocol: TLS, tls: {mode: Terminate, certificateRefs: [{name: c}]}}",
            ),
            &["Gateway tls/tls: Accepted False UnsupportedValue", "Gateway tls: Accepted False ListenersNotValid"],
        ),
        (
            "TLSRouteListenerMixedTerminationNotSupported",
            gateway(
                "tls",
                "{name: ended, port: 8443, hostname: a.test, protocol: TLS, tls: {certificateRefs: [{name: c}]}}, {name: passed, port: 8443, hostname: b.test, protocol: TLS, tls: {mode: Passthrough}}",
            ),
            &[
                "Gateway tls/ended: Accepted False ProtocolConflict",
                "Gateway tls/passed: Accepted False ProtocolConflict",
                "Gateway tls/passed: Conflicted True ProtocolConflict",
            ],
        ),
        (
            "conflicting listeners are none of them served",
            gateway(
                "door",
                "{name: a, port: 80, protocol: HTTP}, {name: b, port: 80, protocol: TCP}, {name: c, port: 81, protocol: HTTP}, {name: d, port: 82, protocol: HTTP, hostname: x.test}, {name: e, port: 82, protocol: HTTP, hostname: x.test}",
            ),
            &[
                "Gateway door: Accepted True ListenersNotValid",
                "Gateway door/a: Conflicted True ProtocolConflict",
                "Gateway door/b: Conflicted True ProtocolConflict",
                "Gateway door/c: Conflicted False NoConflicts",
                "Gateway door/d: Conflicted True HostnameConflict",
                "Gateway door/e: Accepted False HostnameConflict",
                "Gateway door/e: Programmed False Invalid",
            ],
        ),
        (
            "UDP and TCP share a port number",
            gateway("door", "{name: a, port: 53, protocol: UDP}, {name: b, port: 53, protocol: TCP}"),
            &[
                "Gateway door/a: Accepted False UnsupportedProtocol",
                "Gateway door/b: Accepted True Accepted",
                "Gateway door/b: Conflicted False NoConflicts",
            ],
        ),
        (
            "GatewayInvalidParametersRef",
            with("infrastructure: {parametersRef: {group: a.test, kind: Nothing, name: x}}"),
            &["Gateway door: Accepted False InvalidParameters", "Gateway door/http: Programmed False Invalid"],
        ),
        (
            "infrastructure without parameters",
            with("infrastructure: {labels: {a: b}, annotations: {c: d}}"),
            &["Gateway door: Accepted True Accepted", "Gateway door: Programmed True Programmed"],
        ),
        (
            "an address of a type that nobody knows",
            with("addresses: [{type: example.test/Odd, value: x}]"),
            &["Gateway door: Accepted False UnsupportedAddress"],
        ),
        (
            "an address that cannot be had",
            with("addresses: [{value: 198.51.100.1}]"),
            &["Gateway door: Accepted True Accepted", "Gateway door: Programmed False AddressNotUsable"],
        ),
        (
            "GatewayOptionalAddressValue",
            with("addresses: [{type: IPAddress}]"),
            &["Gateway door: Accepted True Accepted", "Gateway door: Programmed True Programmed"],
        ),
        (
            "HTTPS is no protocol here",
            gateway("door", "{name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: c}]}}"),
            &[
                "Gateway door/https: Accepted False UnsupportedProtocol",
                "Gateway door: Accepted False ListenersNotValid",
            ],
        ),
        (
            "TLS towards backends",
            with("tls: {backend: {clientCertificateRef: {name: c}}}"),
            &["Gateway door: Accepted False Invalid", "Gateway door: Programmed False Invalid"],
        ),
        (
            "GatewayModifyListeners: one more",
            gateway("door", "{name: http, port: 80, protocol: HTTP}, {name: more, port: 81, protocol: HTTP}"),
            &["Gateway door/http: Programmed True Programmed", "Gateway door/more: Programmed True Programmed"],
        ),
        (
            "GatewayNameMaximumLength",
            gateway(&"a".repeat(63), HTTP).replace("default", "a-namespace"),
            &["Gateway aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa: Programmed True Programmed"],
        ),
        (
            "parameters of a class",
            object(
                "v1",
                "GatewayClass",
                "c",
                "default",
                "{controllerName: a.test/b, parametersRef: {group: a, kind: B, name: c}}",
            ),
            &["GatewayClass c: Accepted False InvalidParameters"],
        ),
    ] {
        expect(case, &text, expected);
    }
}

#[test]
fn attachment() {
    let tcp = "{name: tcp, port: 9310, protocol: TCP}";
    let tls = "{name: tls, port: 443, protocol: TLS, hostname: '*.example.test', tls: {mode: Passthrough}}";
    for (case, listeners, route, expected) in [
        (
            "HTTPRouteInvalidParentRefNotMatchingSectionName",
            HTTP,
            route("HTTPRoute", "r", &format!("{{parentRefs: [{{name: door, sectionName: other}}], {TO_WEB}}}")),
            &[
                "HTTPRoute r@door: Accepted False NoMatchingParent",
                "HTTPRoute r@door: ResolvedRefs True ResolvedRefs",
                "Gateway door/http: 0 HTTPRoute",
            ][..],
        ),
        (
            "HTTPRouteInvalidParentRefNotMatchingListenerPort",
            HTTP,
            route("HTTPRoute", "r", &format!("{{parentRefs: [{{name: door, port: 81}}], {TO_WEB}}}")),
            &["HTTPRoute r@door: Accepted False NoMatchingParent"],
        ),
        (
            "HTTPRouteInvalidParentRefSectionNameNotMatchingPort",
            "{name: http, port: 80, protocol: HTTP}, {name: other, port: 81, protocol: HTTP}",
            route(
                "HTTPRoute",
                "r",
                &format!("{{parentRefs: [{{name: door, sectionName: http, port: 81}}], {TO_WEB}}}"),
            ),
            &["HTTPRoute r@door: Accepted False NoMatchingParent"],
        ),
        (
            "HTTPRouteListenerPortMatching",
            "{name: http, port: 80, protocol: HTTP}, {name: other, port: 81, protocol: HTTP}",
            route("HTTPRoute", "r", &format!("{{parentRefs: [{{name: door, port: 81}}], {TO_WEB}}}")),
            &[
                "HTTPRoute r@door: Accepted True Accepted",
                "Gateway door/http: 0 HTTPRoute",
                "Gateway door/other: 1 HTTPRoute",
            ],
        ),
        (
            "HTTPRouteInvalidCrossNamespaceParentRef",
            HTTP,
            object(
                "v1",
                "HTTPRoute",
                "r",
                "away",
                "{parentRefs: [{name: door, namespace: default}], rules: [{backendRefs: []}]}",
            ),
            &[
                "HTTPRoute r@door: Accepted False NotAllowedByListeners",
                "HTTPRoute r@door: ResolvedRefs True ResolvedRefs",
                "Gateway door/http: 0 HTTPRoute",
            ],
        ),
        (
            "HTTPRouteCrossNamespace",
            "{name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}",
            object(
                "v1",
                "HTTPRoute",
                "r",
                "away",
                "{parentRefs: [{name: door, namespace: default}], rules: [{backendRefs: []}]}",
            ),
            &["HTTPRoute r@door: Accepted True Accepted", "Gateway door/http: 1 HTTPRoute"],
        ),
        (
            "a namespace by a selector",
            "{name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: Selector, selector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: NotIn, values: [a, b]}, {key: kubernetes.io/metadata.name, operator: Exists}, {key: x, operator: DoesNotExist}]}}}}",
            object(
                "v1",
                "HTTPRoute",
                "r",
                "away",
                "{parentRefs: [{name: door, namespace: default}], rules: [{backendRefs: []}]}",
            ),
            &["HTTPRoute r@door: Accepted True Accepted"],
        ),
        (
            "a namespace that a selector leaves out",
            "{name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: Selector, selector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: [a, b]}]}}}}",
            object(
                "v1",
                "HTTPRoute",
                "r",
                "away",
                "{parentRefs: [{name: door, namespace: default}], rules: [{backendRefs: []}]}",
            ),
            &["HTTPRoute r@door: Accepted False NotAllowedByListeners"],
        ),
        (
            "HTTPRouteDisallowedKind",
            tls,
            route("HTTPRoute", "r", &format!("{{parentRefs: [{{name: door}}], {TO_WEB}}}")),
            &[
                "HTTPRoute r@door: Accepted False NotAllowedByListeners",
                "HTTPRoute r@door: ResolvedRefs True ResolvedRefs",
                "Gateway door/tls: 0 TLSRoute",
            ],
        ),
        (
            "TCPRouteInvalidNonTCPListener",
            HTTP,
            route("TCPRoute", "r", &format!("{{parentRefs: [{{name: door, sectionName: http}}], {TO_TCP}}}")),
            &["TCPRoute r@door: Accepted False NotAllowedByListeners", "Gateway door/http: 0 HTTPRoute"],
        ),
        (
            "TCPRouteMultipleRoutesAttachment",
            tcp,
            route("TCPRoute", "r", &format!("{{parentRefs: [{{name: door}}], {TO_TCP}}}"))
                + &route("TCPRoute", "s", &format!("{{parentRefs: [{{name: door}}], {TO_TCP}}}")),
            &[
                "TCPRoute r@door: Accepted True Accepted",
                "TCPRoute s@door: Accepted True Accepted",
                "Gateway door/tcp: 2 TCPRoute",
            ],
        ),
        (
            "TLSRouteInvalidNoMatchingListener",
            HTTP,
            route("TLSRoute", "r", &format!("{{parentRefs: [{{name: door}}], hostnames: [a.example.test], {TO_TCP}}}")),
            &["TLSRoute r@door: Accepted False NotAllowedByListeners"],
        ),
        (
            "TLSRouteInvalidNoMatchingListenerHostname",
            tls,
            route("TLSRoute", "r", &format!("{{parentRefs: [{{name: door}}], hostnames: [a.test], {TO_TCP}}}")),
            &["TLSRoute r@door: Accepted False NoMatchingListenerHostname", "Gateway door/tls: 0 TLSRoute"],
        ),
        (
            "TLSRouteHostnameIntersection",
            tls,
            route(
                "TLSRoute",
                "r",
                &format!("{{parentRefs: [{{name: door}}], hostnames: [a.test, a.example.test], {TO_TCP}}}"),
            ),
            &["TLSRoute r@door: Accepted True Accepted", "Gateway door/tls: 1 TLSRoute"],
        ),
        (
            "GatewayWithAttachedRoutes: a hostname in common with none",
            "{name: http, port: 80, protocol: HTTP, hostname: foo.test}",
            route("HTTPRoute", "r", &format!("{{parentRefs: [{{name: door}}], {TO_WEB}}}"))
                + &route(
                    "HTTPRoute",
                    "s",
                    &format!("{{parentRefs: [{{name: door}}], hostnames: [bar.test], {TO_WEB}}}"),
                ),
            &["HTTPRoute s@door: Accepted False NoMatchingListenerHostname", "Gateway door/http: 1 HTTPRoute"],
        ),
        (
            "a parent that is not there has nobody to speak for it",
            HTTP,
            route("HTTPRoute", "r", &format!("{{parentRefs: [{{name: wall}}], {TO_WEB}}}")),
            &["HTTPRoute r: no parents"],
        ),
        (
            "a parent of another kind is another controller's",
            HTTP,
            route(
                "HTTPRoute",
                "r",
                &format!("{{parentRefs: [{{kind: ListenerSet, name: x}}, {{name: door}}], {TO_WEB}}}"),
            ),
            &["HTTPRoute r@door: Accepted True Accepted", "Gateway door/http: 1 HTTPRoute"],
        ),
        (
            "a route with what is not supported is refused at each parent",
            HTTP,
            route(
                "HTTPRoute",
                "r",
                "{parentRefs: [{name: door}], rules: [{filters: [{type: ExtensionRef, extensionRef: {group: a, kind: B, name: c}}]}]}",
            ),
            &["HTTPRoute r@door: Accepted False UnsupportedValue", "Gateway door/http: 0 HTTPRoute"],
        ),
        (
            "one of two rules that cannot be honoured",
            HTTP,
            route(
                "HTTPRoute",
                "r",
                "{parentRefs: [{name: door}], rules: [{backendRefs: [{name: web, port: 80}]}, {matches: [{path: {value: /x}}], backendRefs: [{name: nobody, port: 80}], filters: [{type: ExtensionRef, extensionRef: {group: a, kind: B, name: c}}]}]}",
            ),
            &[
                "HTTPRoute r@door: Accepted True Accepted",
                "HTTPRoute r@door: PartiallyInvalid True UnsupportedValue",
                "HTTPRoute r@door: ResolvedRefs True ResolvedRefs",
                "Gateway door/http: 1 HTTPRoute",
            ],
        ),
        (
            "one of two rules that no API server takes",
            HTTP,
            route(
                "HTTPRoute",
                "r",
                "{parentRefs: [{name: door}], rules: [{backendRefs: [{name: web, port: 80}]}, {matches: [{path: {value: x}}]}]}",
            ),
            &["HTTPRoute r@door: Accepted False UnsupportedValue", "Gateway door/http: 0 HTTPRoute"],
        ),
        (
            "filters that exclude each other",
            HTTP,
            route(
                "HTTPRoute",
                "r",
                "{parentRefs: [{name: door}], rules: [{filters: [{type: RequestRedirect, requestRedirect: {port: 81}}, {type: URLRewrite, urlRewrite: {hostname: a.test}}]}]}",
            ),
            &["HTTPRoute r@door: Accepted False IncompatibleFilters"],
        ),
        (
            "a Service is a parent too",
            HTTP,
            route(
                "HTTPRoute",
                "r",
                &format!(
                    "{{parentRefs: [{{group: '', kind: Service, name: web, port: 80}}, {{group: '', kind: Service, name: bytes, port: 1}}], {TO_WEB}}}"
                ),
            ) + &route(
                "TCPRoute",
                "s",
                &format!(
                    "{{parentRefs: [{{group: '', kind: Service, name: bytes}}, {{group: '', kind: Service, name: web}}], {TO_TCP}}}"
                ),
            ),
            &[
                "HTTPRoute r@web: Accepted True Accepted",
                "HTTPRoute r@bytes: Accepted False NoMatchingParent",
                "TCPRoute s@bytes: Accepted True Accepted",
                "TCPRoute s@web: Accepted False NoMatchingParent",
            ],
        ),
    ] {
        let text = app("web", &["v1"]) + &bytes() + &gateway("door", listeners) + &route;
        expect(case, &text, expected);
    }
}

#[test]
fn references() {
    let grant = |kind: &str, from: &str, name: &str| {
        object(
            "v1beta1",
            "ReferenceGrant",
            "g",
            "away",
            &format!(
                "{{from: [{{group: gateway.networking.k8s.io, kind: {kind}, namespace: {from}}}], to: [{{group: '', kind: Service, name: {name}}}]}}"
            ),
        )
    };
    let far = || app("web", &["v1"]).replace("namespace: default", "namespace: away");
    let away = "{name: web, namespace: away, port: 80}";
    let http = |backend: &str| {
        route("HTTPRoute", "r", &format!("{{parentRefs: [{{name: door}}], rules: [{{backendRefs: [{backend}]}}]}}"))
    };
    let tcp = |backend: &str| {
        route("TCPRoute", "r", &format!("{{parentRefs: [{{name: door}}], rules: [{{backendRefs: [{backend}]}}]}}"))
    };
    let tls = |backend: &str| {
        route(
            "TLSRoute",
            "r",
            &format!("{{parentRefs: [{{name: door}}], hostnames: [a.test], rules: [{{backendRefs: [{backend}]}}]}}"),
        )
    };
    let nobody = "{name: nobody, port: 80}";
    for (case, text, expected) in [
        ("HTTPRouteInvalidNonExistentBackendRef", http(nobody), "HTTPRoute r@door: ResolvedRefs False BackendNotFound"),
        (
            "HTTPRouteInvalidBackendRefUnknownKind",
            http("{group: a.test, kind: Odd, name: web}"),
            "HTTPRoute r@door: ResolvedRefs False InvalidKind",
        ),
        (
            "HTTPRouteInvalidCrossNamespaceBackendRef",
            far() + &http(away),
            "HTTPRoute r@door: ResolvedRefs False RefNotPermitted",
        ),
        (
            "HTTPRouteInvalidReferenceGrant",
            far() + &grant("HTTPRoute", "other", "web") + &http(away),
            "HTTPRoute r@door: ResolvedRefs False RefNotPermitted",
        ),
        (
            "HTTPRoutePartiallyInvalidViaInvalidReferenceGrant",
            far()
                + &grant("HTTPRoute", "default", "other")
                + &app("near", &["v1"])
                + &http(&format!("{{name: near, port: 80}}, {away}")),
            "HTTPRoute r@door: ResolvedRefs False RefNotPermitted",
        ),
        (
            "HTTPRouteReferenceGrant",
            far() + &grant("HTTPRoute", "default", "web") + &http(away),
            "HTTPRoute r@door: ResolvedRefs True ResolvedRefs",
        ),
        (
            "a port that the Service does not have",
            app("web", &["v1"]) + &http("{name: web, port: 81}"),
            "HTTPRoute r@door: ResolvedRefs False BackendNotFound",
        ),
        (
            "a port that carries something else",
            bytes() + &http("{name: bytes, port: 9000}"),
            "HTTPRoute r@door: ResolvedRefs False UnsupportedProtocol",
        ),
        (
            "a mirror is a reference too",
            route(
                "HTTPRoute",
                "r",
                &format!(
                    "{{parentRefs: [{{name: door}}], rules: [{{filters: [{{type: RequestMirror, requestMirror: {{backendRef: {nobody}}}}}]}}]}}"
                ),
            ),
            "HTTPRoute r@door: ResolvedRefs False BackendNotFound",
        ),
        ("HTTPRouteNoBackendRefs", http(""), "HTTPRoute r@door: ResolvedRefs True ResolvedRefs"),
        ("TCPRouteInvalidBackendRefNonexistent", tcp(nobody), "TCPRoute r@door: ResolvedRefs False BackendNotFound"),
        (
            "TCPRouteInvalidCrossNamespaceBackendRef",
            far() + &tcp(away),
            "TCPRoute r@door: ResolvedRefs False RefNotPermitted",
        ),
        ("TLSRouteInvalidBackendRefNonexistent", tls(nobody), "TLSRoute r@door: ResolvedRefs False BackendNotFound"),
        (
            "TLSRouteInvalidBackendRefUnknownKind",
            tls("{group: a.test, kind: Odd, name: web}"),
            "TLSRoute r@door: ResolvedRefs False InvalidKind",
        ),
        (
            "TLSRouteInvalidReferenceGrant",
            far() + &grant("HTTPRoute", "default", "web") + &tls(away),
            "TLSRoute r@door: ResolvedRefs False RefNotPermitted",
        ),
    ] {
        let door = gateway(
            "door",
            "{name: http, port: 80, protocol: HTTP}, {name: tcp, port: 81, protocol: TCP}, {name: tls, port: 82, protocol: TLS, tls: {mode: Passthrough}}",
        );
        let accepted = expected.split(':').next().unwrap_or("").to_string() + ": Accepted True Accepted";
        expect(case, &(door + &text), &[expected, &accepted]);
    }
}

/// Rows of docs/gateway-api.md name tests; each has to be in the file that its row says it is in.
#[test]
fn the_list_of_conformance_tests_is_true() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a repository");
    let read =
        |path: &str| std::fs::read_to_string(repository.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let docs = read("docs/gateway-api.md");
    let (_, list) = docs.split_once("## The conformance suite").expect("the list");
    let places = [
        ("conditions", read("control-shim/tests/translate/statuses.rs")),
        ("traffic", read("tests/tests/run/gateway_api.rs")),
    ];
    let mut rows = 0;
    for row in list.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [names, outcome, ..] = cells[..] else { panic!("{row}") };
        for name in names.split(", ") {
            rows += 1;
            for (word, source) in &places {
                let inside = |at: usize| {
                    source[..at].ends_with(char::is_alphanumeric)
                        || source[at + name.len()..].starts_with(char::is_alphanumeric)
                };
                let there = source.match_indices(name).any(|(at, _)| !inside(at));
                assert_eq!(outcome.contains(word), there, "{name}: the row says {outcome}; {word}?");
            }
        }
    }
    assert!(rows > 150, "only {rows} tests are listed");
}

#[test]
fn features_are_sorted_and_told() {
    assert!(FEATURES.is_sorted());
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/gateway-api.md");
    let docs = std::fs::read_to_string(docs).expect("docs/gateway-api.md");
    for feature in FEATURES {
        assert!(
            docs.contains(&format!("| {feature} | yes |")),
            "docs/gateway-api.md does not say that {feature} works"
        );
    }
    let claimed = docs.lines().filter(|line| line.contains(" | yes |")).count();
    assert_eq!(claimed, FEATURES.len(), "docs/gateway-api.md says yes to more than is claimed");
}
