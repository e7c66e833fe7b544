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
    assert_eq!(own(&world, "reviews-v1"), Some(place("eu", "a", "1")));
    assert_eq!(own(&world, "reviews-v4"), None);
}

/// What a DestinationRule with these fields of its traffic policy, and its subset `v2` with those, comes to, and the codes of what is said of it.
fn ruled(policy: &str, subset: &str) -> (World, Vec<&'static str>) {
    let mut text = text("", "");
    text += &format!(
        "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: a}}\nspec: {{host: reviews, trafficPolicy: {{{policy}}}, \
         subsets: [{{name: v2, labels: {{version: v2}}, trafficPolicy: {{{subset}}}}}]}}\n---\napiVersion: networking.istio.io/v1\nkind: \
         VirtualService\nmetadata: {{name: a}}\nspec: {{hosts: [v2.test], http: [{{route: [{{destination: {{host: reviews, subset: v2}}}}]}}]}}\n"
    );
    let world = world(&text);
    let codes = world.loaded.diagnostics.iter().map(|d| d.code).collect();
    (world, codes)
}

fn own(world: &World, workload: &str) -> Option<Place> {
    let proxy = world.compiled.proxy(&world.node(workload)).expect("a proxy");
    let listeners =
        proxy.blobs.iter().find_map(|b| if let Model::Listeners(set) = b.model() { Some(set) } else { None });
    listeners.expect("listeners").place.clone()
}

const FAILOVER: &str = "loadBalancer: {localityLbSetting: {failover: [{from: eu, to: us}]}}";

#[test]
fn failover_takes_outlier_detection() {
    let rule = |regions: &[(&str, &str)]| {
        let regions = regions.iter().map(|(from, to)| ((*from).to_string(), (*to).to_string())).collect();
        Some(LocalityRule::Failover { priority: Vec::new(), regions })
    };
    let notices = "outlierDetection: {maxEjectionPercent: 100}";
    for (policy, expected) in [
        (format!("{FAILOVER}, {notices}"), rule(&[("eu", "us")])),
        // What is in force in Istio where nothing is said.
        (notices.to_string(), rule(&[])),
        (format!("loadBalancer: {{simple: RANDOM}}, {notices}"), rule(&[])),
        (format!("loadBalancer: {{localityLbSetting: {{enabled: true}}}}, {notices}"), rule(&[])),
        (format!("loadBalancer: {{localityLbSetting: {{enabled: false}}}}, {notices}"), None),
    ] {
        let (world, codes) = ruled(&policy, "");
        let (cluster, endpoints) = parts(&world);
        assert_eq!((cluster.locality, codes), (expected.clone(), vec![]), "{policy}");
        assert_eq!(endpoints.places.is_empty(), expected.is_none(), "{policy}");
    }
}

#[test]
fn failover_without_outlier_detection_is_warned_of() {
    let labels = "loadBalancer: {localityLbSetting: {failoverPriority: [version, 'rack=1']}}";
    let whole = format!("{FAILOVER}, outlierDetection: {{maxEjectionPercent: 100}}");
    let port = "portLevelSettings: [{port: {number: 80}, outlierDetection: {maxEjectionPercent: 100}}]";
    for (policy, subset, codes) in [
        (FAILOVER, "", vec!["no-failover"]),
        (labels, "", vec!["no-failover"]),
        (&whole, "", vec![]),
        // A subset's own detection does not help the others.
        (FAILOVER, "outlierDetection: {maxEjectionPercent: 100}", vec!["no-failover"]),
        ("outlierDetection: {maxEjectionPercent: 100}", FAILOVER, vec![]),
        // A port's settings replace the others: there is no failover on it, and no detection beside it.
        (&format!("{FAILOVER}, {port}"), "", vec!["no-failover"]),
        (&format!("{whole}, {port}"), "", vec![]),
    ] {
        let (world, said) = ruled(policy, subset);
        assert_eq!(said, codes, "{policy} {subset}");
        if subset.is_empty() && !codes.is_empty() && !policy.contains(port) {
            assert_eq!(parts(&world).0.locality, None, "{policy}");
        }
    }
}

#[test]
fn failover_by_labels_compares_those_of_the_proxy() {
    let (version, region) = ("version", "topology.kubernetes.io/region");
    let policy = format!(
        "loadBalancer: {{localityLbSetting: {{failoverPriority: [{region}, {version}, 'rack=1']}}}}, outlierDetection: {{maxEjectionPercent: 100}}"
    );
    let (world, codes) = ruled(&policy, "");
    assert_eq!(codes, Vec::<&str>::new());
    let (cluster, endpoints) = parts(&world);
    let Some(LocalityRule::Failover { priority, .. }) = cluster.locality else { panic!("{:?}", cluster.locality) };
    let priority: Vec<_> = priority.iter().map(|label| (label.name.as_str(), label.value.as_deref())).collect();
    assert_eq!(priority, [(region, None), (version, None), ("rack", Some("1"))]);
    let labelled = |place: Place, labels: &[(&str, &str)]| {
        let labels = labels.iter().map(|(name, value)| ((*name).to_string(), (*value).to_string())).collect();
        Some(Place { labels, ..place })
    };
    let expected = [
        ("v1", labelled(place("eu", "a", "1"), &[(region, "eu"), (version, "v1")])),
        ("v2", labelled(place("eu", "b", ""), &[(region, "eu"), (version, "v2")])),
        ("v3", labelled(place("us", "", ""), &[(region, "us"), (version, "v3")])),
        ("v4", labelled(place("", "", ""), &[(version, "v4")])),
    ];
    for (version, place) in &expected {
        assert_eq!(&own(&world, &format!("reviews-{version}")), place, "{version}");
    }
    assert_eq!(places(&endpoints), expected.map(|(version, place)| (version.to_string(), place)));
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
fn names_say_where_their_addresses_are() {
    let world = good(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: a}\nspec:\n  hosts: [reviews.test]\n  ports: [{number: 80, name: http, \
         protocol: HTTP}]\n  resolution: DNS\n  endpoints: [{address: eu.reviews.test, locality: eu/a}, {address: any.reviews.test}]\n---\napiVersion: \
         networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: a}\nspec: {host: reviews.test, trafficPolicy: {outlierDetection: \
         {maxEjectionPercent: 100}}}\n",
    );
    let host = world.compiled.host("default", "reviews.test").expect("known");
    let endpoints =
        host.blobs.iter().find_map(|b| if let Model::Endpoints(set) = b.model() { Some(set.clone()) } else { None });
    let endpoints = endpoints.expect("its names");
    assert_eq!(endpoints.places, [place("eu", "a", "")]);
    let names: Vec<_> = endpoints.names.iter().map(|name| (name.host.as_str(), name.place)).collect();
    assert_eq!(names, [("any.reviews.test", u32::MAX), ("eu.reviews.test", 0)]);
}
