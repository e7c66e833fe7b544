//! Hosts that nobody can list: under a wildcard whose names are looked up, and any where a policy allows it.

use ringway_config::model::{Host, Model};

use crate::manifests::{Answer, Request, World, app, good, to};

fn entry(resolution: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: wild}}\nspec: {{hosts: ['*.wild.test', fixed.wild.test], \
         ports: [{{number: 80, name: http, protocol: HTTP, targetPort: 8080}}], resolution: {resolution}}}\n"
    )
}

fn sidecar(mode: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {{name: s}}\nspec: {{egress: [{{hosts: ['./*']}}], outboundTrafficPolicy: {{mode: {mode}}}}}\n"
    )
}

const MESH: &str = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata: {mesh: 'outboundTrafficPolicy: {mode: ALLOW_ANY}'}\n";

/// Each endpoint of what `web` gets when it asks for an authority, names first.
fn behind(world: &World, authority: &str) -> Vec<String> {
    let Some(host) = world.compiled.host_for(&world.node("web-v1"), authority) else { return Vec::new() };
    let sets =
        host.blobs.iter().filter_map(|blob| if let Model::Endpoints(set) = blob.model() { Some(set) } else { None });
    let named = sets.clone().flat_map(|set| &set.names).map(|name| format!("{}:{}", name.host, name.port));
    named.chain(sets.flat_map(|set| &set.endpoints).map(|e| e.address.to_string())).collect()
}

fn host(world: &World, authority: &str) -> Host {
    match world.compiled.host_for(&world.node("web-v1"), authority).expect("known").blobs[0].model() {
        Model::Host(host) => host.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_host_under_a_wildcard_is_looked_up_by_its_own_name() {
    for resolution in ["DYNAMIC_DNS", "NONE"] {
        let world = good(&(app("web", &["v1"]) + &entry(resolution)));
        for (authority, expected) in [
            ("a.wild.test", &["a.wild.test:8080"][..]),
            ("B.wild.test.:80", &["b.wild.test:8080"]),
            ("a.b.wild.test", &["a.b.wild.test:8080"]),
            ("fixed.wild.test", &["fixed.wild.test:8080"]),
            ("a.wild.test:81", &[]),
            ("wild.test", &[]),
            ("a:b.wild.test", &[]),
        ] {
            assert_eq!(behind(&world, authority), expected, "{authority} {resolution}");
        }
        // No pattern reaches a proxy: the next name is asked for as well.
        let domains = host(&world, "a.wild.test").domains;
        assert_eq!(domains.iter().map(|d| (d.pattern.as_str(), d.port)).collect::<Vec<_>>(), [("a.wild.test", 80)]);
        let answer = world.ask("web-v1", "a.wild.test", Request::default());
        assert_eq!(answer, Answer::Status(503), "nobody has looked it up");
    }
}

#[test]
fn rules_of_the_wildcard_hold_for_its_hosts() {
    let rules = "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v}\nspec: {hosts: [one.wild.test], http: [{timeout: 3s, route: [{destination: {host: two.wild.test}}]}]}\n\
        ---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: r}\nspec: {host: '*.wild.test', trafficPolicy: {connectionPool: {tcp: {maxConnections: 3}}}}\n";
    let world = good(&(app("web", &["v1"]) + &entry("DYNAMIC_DNS") + rules));
    // A route may name any of them.
    assert_eq!(behind(&world, "one.wild.test"), ["two.wild.test:8080"]);
    for authority in ["one.wild.test", "other.wild.test"] {
        let found = world.compiled.host_for(&world.node("web-v1"), authority).expect("known");
        let limits = found
            .blobs
            .iter()
            .find_map(|b| if let Model::Cluster(c) = b.model() { Some(c.max_connections) } else { None });
        assert_eq!(limits, Some(3), "{authority}");
    }
}

#[test]
fn any_host_where_a_policy_allows_it() {
    let web = app("web", &["v1"]);
    for (text, allowed) in [
        (web.clone(), false),
        (web.clone() + &sidecar("REGISTRY_ONLY"), false),
        (web.clone() + &sidecar("ALLOW_ANY"), true),
        (web.clone() + &sidecar("ALLOW_ANY_DYNAMIC_DNS"), true),
        (web.clone() + MESH, true),
        // The Sidecar says it closer.
        (web.clone() + MESH + &sidecar("REGISTRY_ONLY"), false),
    ] {
        let world = good(&text);
        for (authority, expected) in [
            ("any.test", "any.test:80"),
            ("any.test:8443", "any.test:8443"),
            ("192.0.2.7:8080", "192.0.2.7:8080"),
            ("[2001:db8::1]", "[2001:db8::1]:80"),
        ] {
            let expected = if allowed { vec![expected.to_string()] } else { Vec::new() };
            assert_eq!(behind(&world, authority), expected, "{authority}\n{text}");
        }
        // It would only come back.
        for authority in ["localhost:8080", "a.localhost", "127.0.0.1:15001", "[::1]:80", "0.0.0.0"] {
            assert_eq!(behind(&world, authority), Vec::<String>::new(), "{authority}");
        }
        assert_eq!(world.ask("web-v1", "web", Request::default()), to("outbound|80||web.default.svc.cluster.local"));
    }
    let world = good(&(web + &sidecar("ALLOW_ANY")));
    let route = &host(&world, "any.test").routes[0];
    let origin = world.compiled.origin(route.rule).expect("a rule that stands somewhere");
    assert_eq!((route.name.as_str(), origin.field.as_str()), ("allow_any", "outboundTrafficPolicy.mode"));
}
