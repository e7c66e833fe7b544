//! Localities: from labels, node selectors and `localityLbSetting` to clusters and places.

use ringway_config::model::{Cluster, Distribute, EndpointSet, LocalityRule, Model, Place};

use crate::manifests::{World, good, world};

fn deployment(version: &str, labels: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: reviews-{version}}}\nspec:\n  selector: {{matchLabels: {{app: reviews}}}}\n  \
         template:\n    metadata: {{labels: {{app: reviews, version: {version}{labels}}}}}\n    spec:\n{spec}      containers: [{{name: app, image: x, \
         ports: [{{containerPort: 8080}}]}}]\n"
    )
}

/// `reviews` with pods in several places, and these fields of its Service and of its DestinationRule's load balancer.
fn text(service: &str, balancer: &str) -> String {
    let mut text = format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: reviews}}\nspec:\n  selector: {{app: reviews}}\n{service}  ports: [{{name: http, port: 80, targetPort: 8080}}]\n"
    );
    text += &deployment("v1", ", istio-locality: eu.a.1", "");
    text += &deployment("v2", ", topology.kubernetes.io/region: eu, topology.kubernetes.io/zone: b", "");
    text += &deployment("v3", "", "      nodeSelector: {topology.kubernetes.io/region: us, disk: ssd}\n");
    text += &deployment("v4", "", "");
    if !balancer.is_empty() {
        text += &format!(
            "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: a}}\nspec: {{host: reviews, trafficPolicy: {{loadBalancer: {balancer}}}}}\n"
        );
    }
    text
}

fn parts(world: &World) -> (Cluster, EndpointSet) {
    let host = world.compiled.host("default", "reviews").expect("known");
    let of =
        |pick: &dyn Fn(&Model) -> bool| host.blobs.iter().map(|b| b.model().clone()).find(|m| pick(m)).expect("made");
    match (of(&|m| matches!(m, Model::Cluster(_))), of(&|m| matches!(m, Model::Endpoints(_)))) {
        (Model::Cluster(cluster), Model::Endpoints(endpoints)) => (cluster, endpoints),
        other => panic!("{other:?}"),
    }
}

fn place(region: &str, zone: &str, subzone: &str) -> Place {
    Place { region: region.into(), zone: zone.into(), subzone: subzone.into(), labels: Vec::new() }
}

/// Where the endpoints of each version are.
fn places(endpoints: &EndpointSet) -> Vec<(String, Option<Place>)> {
    let of = |e: &ringway_config::model::Endpoint| {
        (endpoints.workloads[e.workload as usize].version.clone(), endpoints.places.get(e.place as usize).cloned())
    };
    let mut all: Vec<_> = endpoints.endpoints.iter().map(of).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

#[test]
fn distribute() {
    let setting = "{localityLbSetting: {distribute: [{from: eu/a/*, to: {eu/a/*: 80, 'us': 20}}]}}";
    let world = good(&text("", setting));
    let (cluster, endpoints) = parts(&world);
    let to = vec![("eu/a/*".to_string(), 80), ("us".to_string(), 20)];
    assert_eq!(cluster.locality, Some(LocalityRule::Distribute(vec![Distribute { from: "eu/a/*".into(), to }])));
    let expected = [
        ("v1", Some(place("eu", "a", "1"))),
        ("v2", Some(place("eu", "b", ""))),
        ("v3", Some(place("us", "", ""))),
        ("v4", None),
    ];
    assert_eq!(places(&endpoints), expected.map(|(version, place)| (version.to_string(), place)));
    let own = |workload: &str| {
        let proxy = world.compiled.proxy(&world.node(workload)).expect("a proxy");
        proxy
            .blobs
            .iter()
            .find_map(|blob| if let Model::Listeners(set) = blob.model() { Some(set.place.clone()) } else { None })
    };
    assert_eq!(own("reviews-v1"), Some(Some(place("eu", "a", "1"))));
    assert_eq!(own("reviews-v4"), Some(None));
}

#[test]
fn near_endpoints_first() {
    let nearest = Some(LocalityRule::Failover { priority: Vec::new(), regions: Vec::new() });
    let close = "  trafficDistribution: PreferClose\n";
    for (service, balancer, expected) in [
        ("", "", None),
        (close, "", nearest.clone()),
        ("  trafficDistribution: PreferSameZone\n", "{simple: RANDOM}", nearest),
        (close, "{localityLbSetting: {enabled: false}}", None),
    ] {
        let (cluster, endpoints) = parts(&good(&text(service, balancer)));
        assert_eq!(
            endpoints.places.is_empty(),
            expected.is_none(),
            "{service} {balancer}: places that nobody asks for"
        );
        assert_eq!(cluster.locality, expected, "{service} {balancer}");
    }
}

#[test]
fn endpoints_of_a_service_entry_say_where_they_are() {
    let world = good(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: a}\nspec:\n  hosts: [reviews.test]\n  ports: [{number: 80, name: http, \
         protocol: HTTP}]\n  resolution: STATIC\n  endpoints: [{address: 10.0.0.1, locality: eu/a}, {address: 10.0.0.2}]\n---\napiVersion: \
         networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: a}\nspec: {host: reviews.test, trafficPolicy: {loadBalancer: {localityLbSetting: \
         {distribute: [{from: '*', to: {eu: 100}}]}}}}\n",
    );
    let host = world.compiled.host("default", "reviews.test").expect("known");
    let endpoints =
        host.blobs.iter().find_map(|b| if let Model::Endpoints(set) = b.model() { Some(set.clone()) } else { None });
    let endpoints = endpoints.expect("its endpoints");
    assert_eq!(endpoints.places, [place("eu", "a", "")]);
    assert_eq!(endpoints.endpoints.iter().map(|e| e.place).collect::<Vec<_>>(), [0, u32::MAX]);
}

#[test]
fn failover_is_warned_of() {
    for setting in ["failover: [{from: eu, to: us}]", "failoverPriority: [version, 'rack=1']"] {
        let world = world(&text("", &format!("{{localityLbSetting: {{{setting}}}}}")));
        let codes: Vec<_> = world.loaded.diagnostics.iter().map(|d| d.code).collect();
        assert_eq!(codes, ["no-failover"], "{setting}");
        assert_eq!(parts(&world).0.locality, None);
    }
}
