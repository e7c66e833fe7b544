//! From the authority to the host, and what happens when there is none.

use ringway_config::model::{ListenerProtocol, Match};
use ringway_policy::{LocalKind, Note, Plan, Question, Step};

use crate::world::{TCP, World, decided, explain, get, small};

fn on_demand(mut world: World) -> World {
    if let ListenerProtocol::Http { on_demand, .. } = &mut world.listeners.listeners[0].protocol {
        *on_demand = true;
    }
    world
}

#[test]
fn the_host_of_an_authority() {
    let any = [Match::default()];
    let view = small()
        .host("reviews", &[("reviews.svc.local", 0), ("10.1.1.1", 9080)], &any)
        .host("site", &[("www.example.com", 0), ("*.example.com", 0)], &any)
        .host("zz", &[("*", 8080)], &any)
        .view();
    for (authority, host) in [
        ("reviews", Some("reviews")),
        ("Reviews:9080", Some("reviews")),
        ("reviews.svc.local.", Some("reviews")),
        ("10.1.1.1:9080", Some("reviews")),
        ("10.1.1.1", None),
        ("www.example.com:443", Some("site")),
        ("x.y.example.com", Some("site")),
        ("example.com", None),
        ("example.com:8080", Some("zz")),
        ("example.com:99999", None),
        ("", None),
    ] {
        let (step, notes) = explain(&view, &get("/").authority(authority));
        let found = match (&notes[0], &step) {
            (Note::Host(id), Step::Forward(plan)) if plan.host == *id => Some(&*view.host(*id).name),
            (Note::NoHost, Step::Reply(local)) if local.kind == LocalKind::RouteNotFound => None,
            other => panic!("{authority}: {other:?}"),
        };
        assert_eq!(found, host, "{authority}");
    }
}

#[test]
fn an_unknown_host_is_asked_for_where_the_listener_says_so() {
    let world = || small().host("known", &[("known", 0)], &[Match::default()]);
    let (plain, asking) = (world().view(), on_demand(world()).view());
    let unknown = get("/").authority("unknown");
    let absent = crate::world::Request { host_absent: true, ..get("/").authority("unknown") };
    let missing = |step| matches!(step, Step::Reply(l) if l.status == 404 && l.flags() == "NR" && l.rule.0 == 15001 && l.route == Plan::NONE);
    assert!(missing(decided(&plain, &unknown)));
    assert_eq!(decided(&asking, &unknown), Step::Ask(Question::Host));
    assert!(missing(decided(&asking, &absent)));
    // No name that anybody could know is not asked for.
    for authority in ["", "a:b", &"a".repeat(256)] {
        assert!(missing(decided(&asking, &get("/").authority(authority))), "{authority}");
    }
    assert!(matches!(decided(&asking, &get("/").authority("known")), Step::Forward(_)));
}

#[test]
fn listeners_keep_their_hosts_apart() {
    let view = small().host("h", &[("*", 0)], &[Match::default()]).view();
    let at = |listener| crate::world::Request { listener, ..get("/") };
    assert!(matches!(decided(&view, &at(0)), Step::Forward(_)));
    for listener in [TCP, 2, u32::MAX] {
        assert!(matches!(decided(&view, &at(listener)), Step::Reject(r) if r.flags() == "NR"));
    }
    assert_eq!((view.listener("http"), view.listener("tcp"), view.listener("x")), (Some(0), Some(1), None));
}
