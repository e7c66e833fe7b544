//! Dumps and diffs.

use ringway_config::model::*;
use ringway_config::{Snapshot, diff, dump};

use crate::sample::{ORDER, all_models, models, snapshot};

fn changes(edit: impl FnOnce(&mut Vec<Model>)) -> Vec<String> {
    let mut edited = models();
    edit(&mut edited);
    let new = Snapshot::from_models(ORDER, &edited).unwrap();
    diff::diff(&snapshot(), &new).iter().map(ToString::to_string).collect()
}

fn host(models: &mut [Model]) -> &mut Host {
    match &mut models[1] {
        Model::Host(host) => host,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_dump_is_a_tree_with_rules_resolved_to_their_lines() {
    let mut out = String::new();
    dump::text(&Snapshot::from_models(ORDER, &all_models()).unwrap(), &mut out).unwrap();
    let origin = "[VirtualService shop/reviews http[0] at a.yaml:3:7]";
    for line in [
        "order 1.7  root ".to_owned(),
        "proxy shop/reviews-v1-0  pod reviews-v1-0  policy default  workload reviews-v1".to_owned(),
        format!(
            "listener outbound  127.0.0.1:15001  outbound HTTP, port 80, hosts on demand, search shop.svc.cluster.local  {origin}"
        ),
        format!("  host reviews:9080  for reviews.shop:9080 *.x *  {origin}"),
        "    route \"r0\"  when path under \"/api\" in any case, method = \"GET\", authority suffix \".x\", \
         not header x-user ~ \"a+\", query \"q\" present"
            .to_owned(),
        format!("      → 90 × outbound|9080|v1|reviews  {origin}"),
        "      → 10 × missing, answered with 500".to_owned(),
        "      timeout 1500 ms".to_owned(),
        "      retries 3 on connect-failure reset-before-request; of repeatable requests also on reset retriable-status-codes cancelled unavailable; \
         statuses 418 503; each try 500 ms; back-off up to 25 ms, from 5 ms to 250 ms in all; elsewhere first"
            .to_owned(),
        "  connect timeout none, idle timeout none, connections ≤ ∞, waiting requests ≤ ∞, requests ≤ ∞, requests on a connection ≤ ∞, retries ≤ 12.50 % and always 7"
            .to_owned(),
        format!("      delays 1.25 % by 1500 ms  {origin}"),
        format!("      aborts 100 % with 503  {origin}"),
        "      CORS for origins = \"https://shop.x\", ~ \".*[.]x\"; methods GET,PUT; headers x-a; exposes x-b; for 600 s; \
         with credentials; other preflights pass"
            .to_owned(),
        format!("      copies 0.5 % to outbound|9080|v1|reviews  {origin}"),
        "      redirect 308 scheme https host h port 8443".to_owned(),
        "      answer 418 \"short and stout\"".to_owned(),
        format!("listener tcp  [::1]:6379  outbound TCP, idle timeout 3600 s  {origin}"),
        format!("  → 1 × outbound|9080|v1|reviews  {origin}"),
        format!("listener tls  127.0.0.1:8443  gateway TLS by server name  {origin}"),
        format!("  a.test *.b.test, idle timeout 1500 ms → 2 × outbound|9080|v1|reviews  {origin}"),
        format!("  *, idle timeout none → refuse  {origin}"),
        format!("cluster outbound|9080|v1|reviews  HTTP/1.1, random, of this mesh  {origin}"),
        "  by cookie user, given for 60 s, path /shop, SameSite=Strict, Secure, table of 1021".to_owned(),
        "  warm-up 30 s from 10 %, aggression 1.5".to_owned(),
        "  ejects after 5 errors, for 30 s × n, looked at every 10 s, at most 10 %, errors are [429, 503]".to_owned(),
        "  10.0.0.1:9080  weight 1  shop/reviews-v1 version v1  in eu/a/1  rack=r7".to_owned(),
        "  from eu/* to 80 × eu/a 20 × us".to_owned(),
        "  the nearest first, by rack version=v1, eu fails over to us".to_owned(),
        "  [2001:db8::1]:9080  weight 3  draining".to_owned(),
        "  first address of far.test, port 443  weight 2".to_owned(),
        "policy default  access log JSON  profile strict  paths MERGE_SLASHES".to_owned(),
    ] {
        assert!(out.contains(&format!("\n{line}")) || out.starts_with(&line), "{line:?} is missing in\n{out}");
    }
}

#[test]
fn a_json_dump_has_every_blob() {
    let json = dump::json(&snapshot());
    let kinds: Vec<&str> = json["blobs"].as_array().unwrap().iter().filter_map(|b| b["kind"].as_str()).collect();
    assert_eq!(kinds, ["Listeners", "Host", "Cluster", "Endpoints", "Policy", "Provenance"]);
    assert_eq!(json["order"]["sequence"], 7);
    assert_eq!(json["blobs"][3]["content"]["endpoints"][1]["address"], "[2001:db8::1]:9080");
}

#[test]
fn nothing_changed() {
    assert_eq!(changes(|_| ()), [""; 0]);
    assert_eq!(changes(|m| drop(m.pop())), [""; 0], "provenance changes nothing that a proxy does");
}

#[test]
fn a_change_is_told_in_one_line_by_its_field() {
    let balance = changes(|m| match &mut m[2] {
        Model::Cluster(c) => c.balance = Balance::RoundRobin,
        other => panic!("{other:?}"),
    });
    assert_eq!(balance, ["~ Cluster outbound|9080|v1|reviews balance: \"random\" → \"round_robin\""]);
    let weight = changes(|m| match &mut host(m).actions[0] {
        Action::Forward(f) => f.backends[0].weight = 50,
        other => panic!("{other:?}"),
    });
    let at = "routes[r0].action.forward.backends[outbound|9080|v1|reviews].weight";
    assert_eq!(weight, [format!("~ Host reviews:9080 {at}: 90 → 50")]);
    let own = changes(|m| match &mut host(m).actions[1] {
        Action::Redirect(r) => r.status = 301,
        other => panic!("{other:?}"),
    });
    let at = |route: &str| format!("~ Host reviews:9080 routes[{route}].action");
    let both = [
        at("r1") + ".redirect.status: 308 → 301",
        at("r3") + ".forward.backends[none].action.redirect.status: 308 → 301",
    ];
    assert_eq!(own, both, "also in the place of a number");
    let endpoints = changes(|m| match &mut m[3] {
        Model::Endpoints(e) => drop(e.endpoints.remove(0)),
        other => panic!("{other:?}"),
    });
    assert_eq!(endpoints.len(), 1, "{endpoints:?}");
    assert!(endpoints[0].starts_with("~ Endpoints reviews endpoints[10.0.0.1:9080]: - {"), "{endpoints:?}");
    let domain = changes(|m| host(m).domains.insert(0, Domain { pattern: "new.x".into(), port: 0 }));
    assert_eq!(domain, ["~ Host reviews:9080 domains[new.x:0]: + {\"pattern\":\"new.x\",\"port\":0}"]);
}

#[test]
fn renumbered_actions_are_no_change_and_a_new_order_of_routes_is_one() {
    let renumbered = changes(|m| {
        let host = host(m);
        host.actions.rotate_left(1);
        host.routes.iter_mut().for_each(|r| r.action = (r.action + 3) % 4);
        for action in &mut host.actions {
            let Action::Forward(forward) = action else { continue };
            forward.backends.iter_mut().flat_map(|b| &mut b.action).for_each(|action| *action = (*action + 3) % 4);
        }
    });
    assert_eq!(renumbered, [""; 0]);
    let swapped = changes(|m| host(m).routes.swap(0, 1));
    assert_eq!(
        swapped,
        ["~ Host reviews:9080 routes order: [\"r0\",\"r1\",\"r2\",\"r3\"] → [\"r1\",\"r0\",\"r2\",\"r3\"]"]
    );
}

#[test]
fn blobs_come_and_go() {
    let lines = changes(|m| {
        m.remove(1);
        m.push(Model::Policy(PolicySet { name: "second".into(), ..PolicySet::default() }));
    });
    assert_eq!(lines, ["- Host reviews:9080", "+ Policy second"]);
}
