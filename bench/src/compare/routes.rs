//! What contenders route by, in nobody's own words: `ours` and `peers` write it down in those of each, and every rule has a request that hits it.

use crate::scenario::{ExpectText, RequestText};

/// The header that some rules look at.
pub const HEADER: &str = "x-tenant";
/// Hosts with a handful of rules.
const SMALL_HOSTS: usize = 100;
const SMALL_RULES: usize = 10;
/// Rules of the one large host.
const LARGE_RULES: usize = 1_000;
/// One request in so many is for a path that no rule has.
const UNMATCHED_EVERY: usize = 20;

/// A table of routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routes {
    /// Everything goes to one destination.
    One,
    /// 100 hosts of 10 rules and one of 1,000, all to one destination: four prefixes, three exact paths, two prefixes with a header and a regular
    /// expression in every ten.
    Full,
    /// So many prefixes of one host, each to a destination of its own; the last one is asked for.
    Many(usize),
}

/// A virtual host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its authority; `*` is any.
    pub authority: String,
    /// The first that holds wins.
    pub rules: Vec<Rule>,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it asks of a request.
    pub condition: Condition,
    /// The destination, counted from 0.
    pub destination: usize,
}

/// What a rule asks of a request. Paths are plain: letters, digits and slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The path starts so.
    Prefix(String),
    /// The path is this.
    Exact(String),
    /// The path starts so, and [`HEADER`] is this.
    PrefixAndHeader(String, String),
    /// The whole path matches.
    Regex(String),
}

impl Routes {
    /// The hosts. Origins answer with as many bytes as the last segment of the path says, so an exact path names them.
    pub fn hosts(self, reply_bytes: usize) -> Vec<Host> {
        let mixed = |authority: String, rules: usize| Host {
            authority,
            rules: (0..rules).map(|n| Rule { condition: Condition::mixed(n, reply_bytes), destination: 0 }).collect(),
        };
        match self {
            Routes::One => {
                let rule = Rule { condition: Condition::Prefix("/".into()), destination: 0 };
                vec![Host { authority: "*".into(), rules: vec![rule] }]
            }
            Routes::Full => (0..SMALL_HOSTS)
                .map(|n| mixed(format!("s{n}.shop.svc.cluster.local"), SMALL_RULES))
                .chain([mixed("catalog.shop.svc.cluster.local".into(), LARGE_RULES)])
                .collect(),
            Routes::Many(count) => {
                let rule = |n| Rule { condition: Condition::Prefix(format!("/p{n}/")), destination: n };
                vec![Host { authority: "many.shop.svc.cluster.local".into(), rules: (0..count).map(rule).collect() }]
            }
        }
    }

    /// Destinations that the rules name.
    pub fn destinations(self) -> usize {
        match self {
            Routes::One | Routes::Full => 1,
            Routes::Many(count) => count,
        }
    }

    /// The mix that hits every rule alike. Whoever has no routes (`routed` is false) answers also what no rule has.
    pub fn requests(self, reply_bytes: usize, routed: bool) -> Vec<RequestText> {
        let hosts = self.hosts(reply_bytes);
        let of = |host: &Host, rule: &Rule| request(&host.authority, rule.condition.request(reply_bytes), 200);
        if let (Routes::Many(_), [host]) = (self, &hosts[..]) {
            return host.rules.last().map(|rule| of(host, rule)).into_iter().collect();
        }
        let mut requests: Vec<RequestText> =
            hosts.iter().flat_map(|host| host.rules.iter().map(move |rule| of(host, rule))).collect();
        if self == Routes::Full {
            let unmatched = requests.len() / (UNMATCHED_EVERY - 1);
            let status = if routed { 404 } else { 200 };
            requests.extend((0..unmatched).map(|n| {
                let host = &hosts[n % hosts.len()];
                request(&host.authority, (format!("/none/{reply_bytes}"), None), status)
            }));
        }
        requests
    }

    /// For people.
    pub fn describe(self) -> String {
        match self {
            Routes::One => "one route".into(),
            Routes::Full => format!(
                "{SMALL_HOSTS} hosts × {SMALL_RULES} rules and one of {LARGE_RULES}, 1 request in {UNMATCHED_EVERY} unmatched"
            ),
            Routes::Many(count) => format!("{count} routes to {count} destinations, the last one asked for"),
        }
    }
}

impl Condition {
    /// The n-th of a mixed table.
    fn mixed(n: usize, reply_bytes: usize) -> Condition {
        match n % 10 {
            0 | 3 | 5 | 8 => Condition::Prefix(format!("/p{n}/")),
            1 | 4 | 7 => Condition::Exact(format!("/e{n}/{reply_bytes}")),
            2 | 6 => Condition::PrefixAndHeader(format!("/h{n}/"), format!("t{n}")),
            _ => Condition::Regex(format!("/r{n}/[a-z]+/[0-9]+")),
        }
    }

    /// A path that this condition alone takes, and the header that it wants.
    fn request(&self, reply_bytes: usize) -> (String, Option<String>) {
        match self {
            Condition::Prefix(prefix) => (format!("{prefix}{reply_bytes}"), None),
            Condition::Exact(path) => (path.clone(), None),
            Condition::PrefixAndHeader(prefix, value) => (format!("{prefix}{reply_bytes}"), Some(value.clone())),
            Condition::Regex(pattern) => {
                (pattern.replace("[a-z]+", "item").replace("[0-9]+", &reply_bytes.to_string()), None)
            }
        }
    }
}

fn request(authority: &str, (path, tenant): (String, Option<String>), status: u16) -> RequestText {
    let host = (authority != "*").then(|| ("Host".to_string(), authority.to_string()));
    let tenant = tenant.map(|tenant| (HEADER.to_string(), tenant));
    RequestText {
        path: Some(path),
        headers: host.into_iter().chain(tenant).collect(),
        expect: Some(ExpectText { status: vec![status], ..ExpectText::default() }),
        ..RequestText::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_full_table_is_mixed_as_said() {
        let hosts = Routes::Full.hosts(128);
        assert_eq!(hosts.iter().map(|host| host.rules.len()).collect::<Vec<_>>(), [vec![10; 100], vec![1000]].concat());
        let count = |is: fn(&Condition) -> bool| hosts[100].rules.iter().filter(|rule| is(&rule.condition)).count();
        assert_eq!(
            [
                count(|c| matches!(c, Condition::Prefix(_))),
                count(|c| matches!(c, Condition::Exact(_))),
                count(|c| matches!(c, Condition::PrefixAndHeader(..))),
                count(|c| matches!(c, Condition::Regex(_))),
            ],
            [400, 300, 200, 100]
        );
    }

    #[test]
    fn every_rule_is_asked_for_once_and_one_request_in_twenty_for_none() {
        for (routed, status) in [(true, 404), (false, 200)] {
            let requests = Routes::Full.requests(128, routed);
            let expected = |request: &RequestText| request.expect.as_ref().unwrap().status[0];
            let unmatched = requests.iter().filter(|request| request.path.as_deref() == Some("/none/128"));
            assert!(unmatched.clone().all(|request| expected(request) == status));
            assert_eq!((requests.len(), unmatched.count()), (2105, 105));
            let mut told: Vec<_> = requests[..2000].iter().map(|r| (&r.path, r.headers.get("Host"))).collect();
            told.sort();
            told.dedup();
            assert_eq!(told.len(), 2000);
        }
        assert_eq!(Routes::Many(10).requests(128, true)[0].path.as_deref(), Some("/p9/128"));
        assert_eq!(Routes::One.requests(64, true)[0].path.as_deref(), Some("/64"));
    }
}
