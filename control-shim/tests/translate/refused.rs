//! What is refused, by name, place and mend: nothing is silently ignored.

use super::manifests::{app, load, world};

/// (manifest, code, part of the message, line)
const TABLE: &[(&str, &str, &str, u32)] = &[
    ("kind: Service\n", "no-kind", "apiVersion", 1),
    ("apiVersion: v1\nkind: Service\nmetadata: {name: A_b}\n", "no-name", "metadata.name", 3),
    ("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {prots: []}\n", "unknown-field", "`prots`", 4),
    (
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {type: ExternalName, externalName: b.c}\n",
        "not-supported-yet",
        "ExternalName",
        4,
    ),
    (
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{name: http, port: 70000}]}\n",
        "wrong-number",
        "ports[0].port",
        4,
    ),
    ("apiVersion: v2\nkind: Service\nmetadata: {name: a}\nspec: {}\n", "unknown-version", "v2", 1),
    (
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: a}\n",
        "not-enforced",
        "PeerAuthentication",
        2,
    ),
    (
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a}\n",
        "not-enforced",
        "AuthorizationPolicy",
        2,
    ),
    (
        "apiVersion: networking.istio.io/v1\nkind: EnvoyFilter\nmetadata: {name: a}\n",
        "not-supported-yet",
        "EnvoyFilter",
        2,
    ),
    (
        "apiVersion: networking.istio.io/v1\nkind: VirtualServce\nmetadata: {name: a}\n",
        "not-supported-yet",
        "VirtualServce",
        2,
    ),
    (
        "apiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\nmetadata: {name: a}\n",
        "not-supported-yet",
        "GRPCRoute",
        2,
    ),
    (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a, labels: {version: 1}}\nspec: {template: {spec: {containers: []}}}\n",
        "wrong-type",
        "version",
        3,
    ),
];

#[test]
fn objects() {
    for (text, code, part, line) in TABLE {
        let loaded = load(text);
        let found = loaded.diagnostics.iter().find(|diagnostic| diagnostic.code == *code);
        let found = found.unwrap_or_else(|| panic!("no {code} in {:?} for\n{text}", loaded.diagnostics));
        assert!(found.is_error() && found.message.contains(part), "{found}");
        assert_eq!(found.place.as_ref().map(|place| place.line), Some(*line), "{found}");
        assert!(loaded.objects.is_empty(), "{text}");
    }
}

/// Fields of one VirtualService rule.
#[test]
fn virtual_service_fields() {
    let rules = [
        ("retries: {attempts: -1}", "wrong-number", "attempts"),
        ("retries: {attempts: 256}", "wrong-number", "attempts"),
        ("retries: {attempts: 1, retryOn: 'reset,conect-failure'}", "wrong-value", "conect-failure"),
        ("retries: {attempts: 1, retryOn: '99'}", "wrong-value", "99"),
        ("retries: {attempts: 1, perTryTimeout: fast}", "wrong-duration", "fast"),
        ("retries: {attempt: 1}", "unknown-field", "attempt"),
        ("delegate: {name: d}", "missing-field", "exactly one"),
        ("match: [{uri: {regex: '(?=x)'}}]", "wrong-regex", "(?=x)"),
        ("match: [{uri: {exact: /a, prefix: /b}}]", "conflict", "only one"),
        ("match: [{headers: {a: {suffix: b}}}]", "unknown-field", "suffix"),
        ("timeout: 10", "wrong-type", "timeout"),
        ("timeout: 10parsecs", "wrong-duration", "10parsecs"),
        ("headers: {request: {set: {x: '%CONNECTION_ID%'}}}", "not-supported-yet", "%CONNECTION_ID%"),
        ("headers: {request: {set: {x: '%START_TIME(%Q)%'}}}", "unknown-variable", "time format"),
        ("headers: {request: {set: {x: 'a %REQ(x) b'}}}", "unknown-variable", "no end"),
        ("headers: {request: {set: {x: '100%'}}}", "unknown-variable", "no end"),
        ("headers: {request: {set: {x: '%PROTOCOLS%'}}}", "unknown-variable", "`%PROTOCOLS%`"),
        ("headers: {request: {set: {x: '%REQ%'}}}", "unknown-variable", "names no header"),
        ("headers: {request: {set: {x: '%REQ()%'}}}", "unknown-variable", "names no header"),
        ("headers: {request: {set: {x: '%PROTOCOL()%'}}}", "unknown-variable", "about no header"),
        ("headers: {request: {set: {x: '%REQ(a b)%'}}}", "wrong-header", "a b"),
        ("headers: {response: {set: {x: '%RESP(:path)%'}}}", "wrong-header", ":path"),
        ("headers: {request: {set: {x: '%REQ(x):0%'}}}", "unknown-variable", "no length"),
        ("headers: {request: {set: {x: '%PROTOCOL-x%'}}}", "unknown-variable", "`%PROTOCOL-x%`"),
        ("headers: {request: {set: {x: '%REQ(x)y%'}}}", "unknown-variable", "`y`"),
        ("headers: {request: {set: {x: '%REQ(x%'}}}", "unknown-variable", "no end"),
        ("headers: {request: {set: {host: '%REQ(x)%'}}}", "not-supported-yet", "Host"),
        ("headers: {request: {remove: [content-length]}}", "forbidden-header", "content-length"),
        ("headers: {request: {set: {\"x\": \"a\\r\\nb\"}}}", "wrong-header", "control"),
        ("rewrite: {uriRegexRewrite: {match: a, rewrite: '\\1'}}", "wrong-regex", "no group"),
        ("redirect: {uri: /x}", "missing-field", "exactly one"),
    ];
    for (field, code, part) in rules {
        let text = format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: a}}\nspec:\n  hosts: [b]\n  http:\n  - {field}\n    route: [{{destination: {{host: b}}}}]\n"
        );
        let loaded = load(&text);
        let found = loaded.diagnostics.iter().find(|d| d.code == code && d.message.contains(part));
        assert!(found.is_some_and(|d| d.is_error()), "{field}: {:?}", loaded.diagnostics);
        assert!(loaded.objects.is_empty(), "{field}");
    }
}

#[test]
fn destination_rule_fields() {
    let policies = [
        ("outlierDetection: {consecutive5xxError: 1}", "unknown-field"),
        ("outlierDetection: {interval: 0s}", "wrong-duration"),
        ("outlierDetection: {maxEjectionPercent: 101}", "wrong-number"),
        ("outlierDetection: {outlierDetectionHttpErrorCodes: [600]}", "wrong-number"),
        ("outlierDetection: {consecutiveLocalOriginFailures: 1}", "conflict"),
        ("tls: {mode: SIMPLE}", "not-supported-yet"),
        ("tls: {mode: ISTIO_MUTUAL}", "not-enforced"),
        ("loadBalancer: {simple: PASSTHROUGH}", "not-supported-yet"),
        ("loadBalancer: {simple: RANDOM, consistentHash: {useSourceIp: true}}", "conflict"),
        ("loadBalancer: {consistentHash: {useSourceIp: true, httpHeaderName: a}}", "conflict"),
        ("loadBalancer: {consistentHash: {useSourceIp: true, maglev: {}, ringHash: {}}}", "conflict"),
        ("loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 1000}}}", "wrong-number"),
        ("loadBalancer: {consistentHash: {useSourceIp: true, ringHash: {minimumRingSize: 2000000}}}", "wrong-number"),
        ("loadBalancer: {consistentHash: {httpHeaderName: 'a b'}}", "wrong-value"),
        ("loadBalancer: {consistentHash: {httpQueryParameterName: ''}}", "wrong-value"),
        ("loadBalancer: {consistentHash: {httpCookie: {path: /}}}", "missing-field"),
        ("loadBalancer: {consistentHash: {httpCookie: {name: a, path: /;b}}}", "wrong-value"),
        ("loadBalancer: {consistentHash: {httpCookie: {name: a, ttl: 1}}}", "wrong-type"),
        ("loadBalancer: {localityLbSetting: {distribute: [{from: eu, to: {us: 50, asia: 40}}]}}", "wrong-number"),
        ("loadBalancer: {localityLbSetting: {distribute: [{from: eu//1, to: {us: 100}}]}}", "wrong-value"),
        ("loadBalancer: {localityLbSetting: {distribute: [{from: eu, to: {us//b: 100}}]}}", "wrong-value"),
        ("loadBalancer: {localityLbSetting: {distribute: [{from: eu}]}}", "missing-field"),
        ("loadBalancer: {localityLbSetting: {distribute: [], failoverPriority: []}}", "conflict"),
        ("loadBalancer: {localityLbSetting: {failover: [{from: eu, to: us/a}]}}", "wrong-value"),
        ("loadBalancer: {localityLbSetting: {failover: [{from: eu, to: eu}]}}", "wrong-value"),
        ("loadBalancer: {localityLbSetting: {failoverPriority: ['=a']}}", "wrong-value"),
        ("loadBalancer: {warmup: {duration: 0s}}", "wrong-duration"),
        ("loadBalancer: {warmup: {aggression: 1}}", "missing-field"),
        ("loadBalancer: {warmup: {duration: 1s, aggression: 0}}", "wrong-number"),
        ("loadBalancer: {warmup: {duration: 1s, minimumPercent: 101}}", "wrong-number"),
        ("loadBalancer: {simple: LEAST_REQUESTS}", "wrong-value"),
        ("connectionPool: {http: {http2MaxRequests: -1}}", "wrong-number"),
        ("connectionPool: {htpp: {}}", "unknown-field"),
        ("connectionPool: {http: {maxRetries: many}}", "wrong-number"),
        ("retryBudget: {percent: 101}", "wrong-number"),
        ("portLevelSettings: [{port: {number: 80}, retryBudget: {}}]", "unknown-field"),
    ];
    for (policy, code) in policies {
        let text = format!(
            "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: a}}\nspec:\n  host: b\n  trafficPolicy: {{{policy}}}\n"
        );
        let codes: Vec<_> = load(&text).diagnostics.iter().map(|d| d.code).collect();
        assert_eq!(codes, [code], "{policy}");
    }
}

#[test]
fn what_the_mesh_has_no_business_with_is_one_notice_a_kind() {
    let map = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
    let loaded = load(&format!("{map}{map}---\napiVersion: v1\nkind: Secret\nmetadata: {{name: a}}\n"));
    let said: Vec<_> = loaded.diagnostics.iter().map(|d| (d.severity.word(), d.message.clone())).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].1.contains("ConfigMap") && said[0].1.contains("2 objects") && said[0].0 == "notice");
}

#[test]
fn unknown_hosts_are_named_with_the_nearest_one() {
    let text = app("reviews", &["v1"])
        + "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec:\n  hosts: [reviews]\n  http: [{route: [{destination: {host: revews}}]}]\n";
    let world = world(&text);
    assert_eq!(world.codes(), ["unknown-host"]);
    assert_eq!(world.errors()[0].mend, "did you mean `reviews.default.svc.cluster.local`?");
}
