//! `decide()` on tables of several kinds and sizes, every name and route asked for in turn.

use std::hint::black_box;
use std::net::IpAddr;

use ringway_config::model::*;
use ringway_config::{Blob, Snapshot};
use ringway_policy::{Facts, Fields, NoFields, State, Step, View, decide};

use super::mesh::{Seeded, Shape, Text, blobs, order, write_authority, write_path};
use super::{HotPath, Work};

const OPERATIONS: usize = 1_000;
/// Rules of the VirtualService of [`rules`].
const RULES: usize = 1_000;

pub fn paths() -> Vec<HotPath> {
    let mut paths: Vec<HotPath> = [10, 1_000].map(|hosts| on("hosts", hosts, Shape::Prefix)).into();
    for (size, shape) in [(10, Shape::Mixed), (1_000, Shape::Exact), (1_000, Shape::Prefix), (1_000, Shape::Mixed)] {
        paths.push(on("routes of one host", size, shape));
    }
    paths.push(HotPath::new(format!("decide by {RULES} rules of all kinds"), OPERATIONS, || {
        let mut path = Text::default();
        requests(&rules(), move |n, asked| {
            path.write("/r", n, if n % 10 < 7 && n % 10 >= 4 { "" } else { "/items" });
            asked("service-0.default.svc.cluster.local".as_bytes(), path.bytes(), true);
        })
    }));
    paths.push(HotPath::new("decide that no host has a name", OPERATIONS, || {
        let mut name = Text::default();
        requests(&blobs(1_000, 1, Shape::Prefix), move |n, asked| {
            name.write("nobody-", n, ".elsewhere.example.com");
            asked(name.bytes(), b"/", false);
        })
    }));
    paths
}

fn on(what: &'static str, size: usize, shape: Shape) -> HotPath {
    let of_hosts = what == "hosts";
    let name = if of_hosts {
        format!("decide among {size} {what}")
    } else {
        format!("decide among {size} {what} ({shape:?})")
    };
    HotPath::new(name, OPERATIONS, move || {
        let (hosts, routes) = if of_hosts { (size, 1) } else { (1, size) };
        let (mut authority, mut path) = (Text::default(), Text::default());
        requests(&blobs(hosts, routes, shape), move |n, asked| {
            let n = n % size as u32;
            let (host, route) = if of_hosts { (n, 0) } else { (0, n) };
            write_authority(&mut authority, host);
            write_path(&mut path, route, shape);
            asked(authority.bytes(), path.bytes(), true);
        })
    })
}

/// Decides on requests that `make` makes up: authority, path, and whether they are forwarded.
fn requests(blobs: &[Blob], mut make: impl FnMut(u32, &mut dyn FnMut(&[u8], &[u8], bool)) + 'static) -> Work {
    let snapshot = Snapshot::from_blobs(order(), blobs.to_vec()).unwrap();
    let view = View::build(&snapshot, None).unwrap();
    let mut state = State::new();
    state.adopt(&view, 0, &mut Seeded(1), &mut Vec::new());
    let mut rng = Seeded(3);
    Box::new(move || {
        for n in 0..OPERATIONS as u32 {
            make(n, &mut |authority, path, forwarded| {
                let mut facts = Facts {
                    listener: 0,
                    method: b"GET",
                    path,
                    authority,
                    scheme: "http",
                    client: IpAddr::from([127, 0, 0, 1]),
                    fields: if n % 2 == 0 { &NoFields } else { &User },
                    host_absent: false,
                    delayed: false,
                };
                let step = decide(&view, black_box(&mut facts), &mut state, &mut rng, 0, &mut ());
                assert_eq!(matches!(black_box(step), Step::Forward(_)), forwarded);
            });
        }
    })
}

/// A request with a header that rules ask for.
struct User;

impl Fields for User {
    fn each(&self, name: &str, visit: &mut dyn FnMut(&[u8])) {
        if name == "end-user" {
            visit(b"jason");
        }
    }
}

/// One host: of every ten rules four prefixes, three exact paths, two prefixes with a header, one regular expression, and at the end one for everything.
fn rules() -> Vec<Blob> {
    let mut blobs = blobs(1, 1, Shape::Prefix);
    let host = blobs.iter_mut().find(|blob| blob.kind() == Kind::Host).unwrap();
    let Model::Host(mut model) = host.decode() else { unreachable!("a blob's kind is its model's") };
    let path = |n: usize| match n % 10 {
        0..4 | 7 | 8 => PathMatch::Prefix(format!("/r{n}/")),
        4..7 => PathMatch::Exact(format!("/r{n}")),
        _ => PathMatch::Regex(format!("/r{n}/i[a-z]+")),
    };
    let user = || HeaderMatch { name: "end-user".into(), value: StringMatch::Exact("jason".into()), invert: false };
    let matches = |n: usize| Match {
        path: path(n),
        headers: if matches!(n % 10, 7 | 8) { vec![user()] } else { Vec::new() },
        ..Match::default()
    };
    let route = |n: usize, matches| Route { rule: RuleId(n as u32 + 1), name: String::new(), matches, action: 0 };
    model.routes = (0..RULES).map(|n| route(n, matches(n))).collect();
    model.routes.push(route(RULES, Match::default()));
    *host = Blob::encode(&Model::Host(model)).unwrap();
    blobs
}
