//! `unreachable-rule` against brute force: a rule that is said to take everything another one would does take every request that is tried.

use control_shim::explain::{Request, Subject};
use control_shim::lint::covers;
use ringway_config::model::{
    Action, Domain, HeaderMatch, Host, Listener, ListenerProtocol, ListenerSet, Match, Model, PathMatch, PolicySet,
    QueryMatch, Respond, Role, Route, RuleId, StringMatch,
};
use ringway_config::{Blob, Order, Snapshot};

const RULES: usize = 400;

/// xorshift64*: the same rules in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }

    fn one(&mut self, of: &[&str]) -> String {
        of[self.below(of.len())].to_string()
    }

    fn text(&mut self, of: &[&str]) -> StringMatch {
        match self.below(5) {
            0 | 1 => StringMatch::Exact(self.one(of)),
            2 => StringMatch::Prefix(self.one(&["a", "P", "G", "ab"])),
            3 => StringMatch::Suffix(self.one(&["b", "T", "ab"])),
            _ => match self.below(2) {
                0 => StringMatch::Present,
                _ => StringMatch::Regex(self.one(&["a.*", ".*", "GET|POST", "[ab]"])),
            },
        }
    }

    fn rule(&mut self) -> Match {
        const PATHS: [&str; 8] = ["/", "/a", "/a/", "/a/b", "/ab", "/A", "/A/b", "/b"];
        let path = match self.below(6) {
            0 => PathMatch::Any,
            1 => PathMatch::Exact(self.one(&PATHS)),
            2 => PathMatch::Prefix(self.one(&PATHS)),
            3 | 4 => PathMatch::Segments(self.one(&["/", "/a", "/a/b", "/ab", "/A", "/A/b", "/b"])),
            _ => PathMatch::Regex(self.one(&["/.*", ".*", "/a.*", "/a", "/a(/.*)?", "/[^/]*", "(?i)/a"])),
        };
        let mut rule = Match { path, ignore_case: self.below(4) == 0, ..Match::default() };
        if self.below(3) == 0 {
            rule.method = Some(self.text(&["GET", "POST"]));
        }
        for _ in 0..self.below(3) {
            let (name, value) = (self.one(&["x", "y"]), self.text(&["a", "b", "ab"]));
            rule.headers.push(HeaderMatch { name, value, invert: self.below(3) == 0 });
        }
        if self.below(4) == 0 {
            rule.query.push(QueryMatch { name: "q".into(), value: self.text(&["a", "b"]) });
        }
        rule
    }
}

/// One host a rule.
fn subject(rules: &[Match]) -> Subject {
    let policy = PolicySet::default();
    let listener = Listener {
        name: "l".into(),
        rule: RuleId(0),
        address: ([127, 0, 0, 1], 80).into(),
        role: Role::Outbound,
        protocol: ListenerProtocol::Http { on_demand: false, search: Vec::new(), port: 80 },
    };
    let set = ListenerSet {
        name: "n".into(),
        policy: policy.name.clone(),
        listeners: vec![listener],
        ..ListenerSet::default()
    };
    let mut models = vec![Model::Listeners(set), Model::Policy(policy)];
    for (rule, number) in rules.iter().zip(1..) {
        let name = format!("h{number}");
        let respond = Respond { status: 200, ..Respond::default() };
        models.push(Model::Host(Host {
            name: name.clone(),
            listener: "l".into(),
            rule: RuleId(number),
            domains: vec![Domain { pattern: name, port: 0 }],
            routes: vec![Route { rule: RuleId(number), name: String::new(), matches: rule.clone(), action: 0 }],
            actions: vec![Action::Respond(respond)],
        }));
    }
    let blobs = models.iter().map(|model| Blob::encode(model).expect("fits")).collect();
    let snapshot = Snapshot::from_blobs(Order { incarnation: 1, sequence: 1 }, blobs).expect("closed");
    Subject::new(&snapshot).expect("compiles")
}

fn requests() -> Vec<Request> {
    let headers: [&[(&str, &str)]; 8] = [
        &[],
        &[("x", "a")],
        &[("x", "b")],
        &[("x", "ab")],
        &[("x", "a"), ("x", "b")],
        &[("x", ""), ("y", "a")],
        &[("y", "ab"), ("x", "a")],
        &[("y", "b"), ("y", "a")],
    ];
    let mut all = Vec::new();
    for path in ["/", "/a", "/a/", "/a/b", "/a/bc", "/ab", "/ab/c", "/A", "/A/b", "/A/B", "/b", "/b/", "/c/a"] {
        for query in ["", "?q=a", "?q=b", "?q=", "?q=ab&q=a"] {
            for method in ["GET", "POST", "PUT"] {
                for headers in headers {
                    let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
                    let target = format!("{path}{query}");
                    all.push(Request { method: method.into(), target, authority: String::new(), headers });
                }
            }
        }
    }
    all
}

#[test]
fn a_rule_that_is_said_to_cover_another_takes_all_that_it_takes() {
    let mut dice = Dice(0x5eed);
    let rules: Vec<Match> = (0..RULES).map(|_| dice.rule()).collect();
    let (subject, requests) = (subject(&rules), requests());
    let takes = |number: usize| -> Vec<bool> {
        let ask = |request: &Request| {
            let request = Request { authority: format!("h{}", number + 1), ..request.clone() };
            subject.verdict(0, &request).2 == 200
        };
        requests.iter().map(ask).collect()
    };
    let taken: Vec<Vec<bool>> = (0..RULES).map(takes).collect();
    let (mut said, mut true_of_all) = (0, 0);
    for (outer, outer_takes) in rules.iter().zip(&taken) {
        for (inner, inner_takes) in rules.iter().zip(&taken) {
            let counter = inner_takes.iter().zip(outer_takes).position(|(inner, outer)| *inner && !*outer);
            let met = inner_takes.iter().any(|inner| *inner);
            true_of_all += usize::from(counter.is_none() && met);
            if covers(outer, inner) {
                said += 1;
                assert!(counter.is_none(), "{outer:?} does not cover {inner:?}: {:?}", counter.map(|at| &requests[at]));
            }
        }
    }
    // Where it stays silent, expressions and values are compared that only requests could tell apart.
    assert!(said * 2 > true_of_all, "only {said} of {true_of_all} are found");
}
