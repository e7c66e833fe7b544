//! A running mesh applies everything but the broken objects, whose last good version stays.

use super::manifests::{Answer, Request, World, app, file, from, good, load, to};
use control_shim::object::{decode, objects};

fn service(name: &str, subset: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}}}\nspec:\n  hosts: [{name}]\n  http: [{{route: [{{destination: {{host: {name}, subset: {subset}}}}}]}}]\n"
    )
}

fn rule(name: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: {name}}}\nspec: {{host: {name}, subsets: [{{name: v1, labels: {{version: v1}}}}, {{name: v2, labels: {{version: v2}}}}]}}\n"
    )
}

/// Twenty objects: two apps of three, two rules, two VirtualServices, ten more apps' services.
fn twenty() -> String {
    let mut text = app("a", &["v1", "v2"])
        + &app("b", &["v1", "v2"])
        + &rule("a")
        + &rule("b")
        + &service("a", "v1")
        + &service("b", "v1");
    for index in 0..10 {
        text += &format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{index}}}\nspec: {{ports: [{{name: http, port: 80}}]}}\n"
        );
    }
    text
}

fn subset(world: &World, host: &str) -> Answer {
    world.ask("a-v1", host, Request::default())
}

fn cluster(host: &str, subset: &str) -> Answer {
    to(&format!("outbound|80|{subset}|{host}.default.svc.cluster.local"))
}

#[test]
fn one_of_twenty_objects_is_broken_and_another_one_edited() {
    let before = good(&twenty());
    assert_eq!(before.mesh.objects.len(), 20);
    let broken = service("a", "v1").replace("subset: v1", "subset: v2").replace("http:", "htpp:");
    let edited = twenty().replace(&service("a", "v1"), &broken).replace(&service("b", "v1"), &service("b", "v2"));
    let after = from(load(&edited), Some(&before));
    assert_eq!(after.errors()[0].code, "unknown-field");
    assert_eq!(after.mesh.objects.len(), 20);
    assert_eq!((subset(&after, "a"), subset(&after, "b")), (cluster("a", "v1"), cluster("b", "v2")));
}

#[test]
fn an_edit_that_refers_to_nothing_is_refused_until_its_target_comes() {
    let before = good(&twenty());
    let edited =
        twenty().replace(&service("a", "v1"), &service("a", "v3")).replace(&service("b", "v1"), &service("b", "v2"));
    let after = from(load(&edited), Some(&before));
    assert_eq!(after.codes(), ["unknown-subset"]);
    assert_eq!((subset(&after, "a"), subset(&after, "b")), (cluster("a", "v1"), cluster("b", "v2")));
    // The subset arrives in a later edit: the refused version comes into force by itself.
    let mended = edited.replace(
        &rule("a"),
        &rule("a").replace("{name: v1, labels", "{name: v3, labels: {version: v2}}, {name: v1, labels"),
    );
    let last = from(load(&mended), Some(&after));
    assert_eq!((last.codes(), subset(&last, "a")), (vec![], cluster("a", "v3")));
}

#[test]
fn a_rule_whose_target_was_deleted_stays_and_answers_503() {
    let before = good(&twenty());
    let after = from(load(&twenty().replace(&rule("a"), "")), Some(&before));
    assert_eq!(after.codes(), ["unknown-subset"]);
    assert_eq!((subset(&after, "a"), subset(&after, "b")), (Answer::Status(503), cluster("b", "v1")));
    // An edit elsewhere in that rule is still taken: it is no worse than what is in force.
    let edited = twenty().replace(&rule("a"), "").replace(
        "{route: [{destination: {host: a, subset: v1}}]}",
        "{name: new, route: [{destination: {host: a, subset: v1}}]}",
    );
    let last = from(load(&edited), Some(&after));
    let host = last.compiled.host("default", "a").expect("known");
    let ringway_config::model::Model::Host(host) = host.blobs[0].model() else { panic!() };
    assert_eq!(host.routes[0].name, "new");
}

#[test]
fn a_file_that_is_no_yaml_keeps_what_it_held_and_a_deleted_object_goes() {
    let two = |one: &str, two: &str| {
        objects::load(&[vec![file("one.yaml", one), file("two.yaml", two)]], decode::Options::default())
    };
    let before = from(two(&app("a", &["v1"]), &app("b", &["v1"])), None);
    let after = from(two("a: [", &app("c", &["v1"])), Some(&before));
    let hosts: Vec<_> = ["a", "b", "c"].iter().map(|host| after.compiled.host("default", host).is_some()).collect();
    assert_eq!(hosts, [true, false, true]);
}
