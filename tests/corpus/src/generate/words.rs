//! The small vocabulary that rules and requests share, so that they meet often, and nearly meet as often.

use crate::dice::Dice;
use serde_json::{Map, Value, json};

/// Paths that rules name.
pub const PATHS: [&str; 10] =
    ["/", "/a", "/a/", "/a/b", "/api", "/api/v1", "/api/v1/users", "/static/", "/Cart", "/cart/items"];
/// What a request may add to a path.
pub const TAILS: [&str; 6] = ["", "x", "/", "/x", "/x/y", ".html"];
/// New paths.
pub const NEW_PATHS: [&str; 6] = ["/", "/new", "/new/", "/v2/api", "/deep/er/path", "/n-1"];
/// Patterns of new paths, and what is written for what they match.
pub const PATH_REWRITES: [(&str, &str); 5] = [
    ("^/api/v([0-9]+)", "/v\\1"),
    ("/(a)(/b)?", "/new\\2/\\1"),
    ("[a-z]+", "x"),
    ("^/$", "/index"),
    ("(?i)/CART/(.*)", "/basket/\\1/"),
];
/// Headers that rules look at.
pub const HEADERS: [&str; 4] = ["x-user", "x-env", "x-tier", "x-Mixed-Case"];
/// Values of headers and query parameters.
pub const VALUES: [&str; 7] = ["alice", "bob", "prod", "prod-eu", "gold", "v12", "a b"];
/// Query parameters that rules look at.
pub const QUERIES: [&str; 3] = ["q", "page", "debug"];
/// Methods.
pub const METHODS: [&str; 6] = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];
/// Headers that rules edit. A request brings some of them, and an endpoint's answer others.
pub const EDITED: [&str; 5] = ["x-gone", "x-set", "x-add", "X-Upper", "x-user"];
/// Values that edits write.
pub const WRITTEN: [&str; 4] = ["one", "two", "three four", "5"];

/// The same where values may have variables. What they read is edited by nobody.
const MADE_UP: [&str; 6] = [
    "%REQ(x-env)%",
    "is %REQ(x-tier?:method):3%",
    "%PROTOCOL% 100%%",
    "%REQ(:METHOD)%",
    "by %ROUTE_NAME%.",
    "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
];
/// What only a request may tell: afterwards it may have been rewritten.
const OF_REQUESTS: [&str; 2] = ["%REQ(:authority)%", "%REQ(:scheme)%"];
/// What only a response may tell.
const OF_RESPONSES: [&str; 3] = ["%RESPONSE_CODE%", "%UPSTREAM_REMOTE_ADDRESS%", "%RESP(x-origin)%"];

/// A value with a variable, for a `request` or a `response`.
pub fn made_up(dice: &mut Dice, message: &str) -> &'static str {
    let own = if message == "request" { &OF_REQUESTS[..] } else { &OF_RESPONSES };
    if dice.percent(60) { dice.pick(&MADE_UP) } else { dice.pick(own) }
}

/// A pattern with what it matches as a whole, and what it does not.
pub struct Pattern {
    /// RE2.
    pub text: &'static str,
    /// Matched.
    pub hits: &'static [&'static str],
    /// Nearly matched.
    pub misses: &'static [&'static str],
}

/// Patterns of paths.
pub const PATH_PATTERNS: [Pattern; 5] = [
    Pattern { text: "/api/v[0-9]+", hits: &["/api/v1", "/api/v23"], misses: &["/api/v", "/api/v1/", "/x/api/v1"] },
    Pattern { text: "/(cart|basket)/.*", hits: &["/cart/items", "/basket/"], misses: &["/cart", "/Cart/items"] },
    Pattern { text: ".*\\.(png|jpg)", hits: &["/a/x.png", "/.jpg"], misses: &["/a/x.pngx", "/a/x_png"] },
    Pattern { text: "(?i)/a/B", hits: &["/a/b", "/A/b"], misses: &["/a/b/"] },
    Pattern { text: "/a.?", hits: &["/a", "/ab", "/a/"], misses: &["/abc"] },
];

/// Patterns of values.
pub const VALUE_PATTERNS: [Pattern; 5] = [
    Pattern { text: "a.*e", hits: &["alice", "ae"], misses: &["alicex", "xalice"] },
    Pattern { text: "prod(-[a-z]+)?", hits: &["prod", "prod-eu"], misses: &["prod-", "prod-EU"] },
    Pattern { text: "v[0-9]{1,2}", hits: &["v1", "v12"], misses: &["v123", "V1"] },
    Pattern { text: "^gold$", hits: &["gold"], misses: &["golden"] },
    Pattern { text: ".+", hits: &["x", "bob"], misses: &[] },
];

/// The pattern with this text.
pub fn pattern(text: &str) -> Option<&'static Pattern> {
    PATH_PATTERNS.iter().chain(&VALUE_PATTERNS).find(|pattern| pattern.text == text)
}

/// Istio's StringMatch on a path.
pub fn path_match(dice: &mut Dice) -> Value {
    match dice.below(10) {
        0..=2 => json!({"exact": dice.pick(&PATHS)}),
        3..=7 => json!({"prefix": dice.pick(&PATHS)}),
        _ => json!({"regex": PATH_PATTERNS[dice.below(PATH_PATTERNS.len())].text}),
    }
}

/// Istio's StringMatch on a value; at times an empty one, for presence.
pub fn value_match(dice: &mut Dice) -> Value {
    match dice.below(10) {
        0..=3 => json!({"exact": dice.pick(&VALUES)}),
        4..=5 => json!({"prefix": dice.pick(&["a", "prod", "v", "x"])}),
        6..=8 => json!({"regex": VALUE_PATTERNS[dice.below(VALUE_PATTERNS.len())].text}),
        _ => json!({}),
    }
}

/// Conditions on up to `n` of these names.
pub fn value_matches(dice: &mut Dice, names: &[&str], n: usize) -> Value {
    let named = dice.some(names, n).into_iter().map(|name| (name.to_owned(), value_match(dice)));
    Value::Object(named.collect::<Map<_, _>>())
}

/// `set`, `add` and `remove` of one message, each name in one of them at most.
pub fn edits(dice: &mut Dice) -> Vec<(&'static str, &'static str, &'static str)> {
    let names = dice.some(&EDITED, 3);
    names.into_iter().map(|name| (dice.pick(&["set", "add", "remove"]), name, dice.pick(&WRITTEN))).collect()
}
