//! `trafficPolicy.loadBalancer` of a DestinationRule.

use super::decode::{Field, Fields};
use super::locality::{LocalitySetting, locality_setting};
use ringway_config::limits::{COOKIE_ATTRIBUTES_MAX, HASH_TABLE_SIZE_MAX, WARMUP_AGGRESSION_MAX};
use ringway_config::model::{Balance, ConsistentHash, HashCookie, HashKey, Warmup};

/// Istio's default of `ringHash.minimumRingSize`.
const RING_SIZE: u32 = 1024;
/// Envoy's default of the size of a Maglev table.
const MAGLEV_SIZE: u32 = 65_537;
/// Istio's default of `warmup.minimumPercent`.
const WARMUP_PERCENT: f64 = 10.0;

/// How to choose an endpoint.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadBalancer {
    /// By which rule.
    pub balance: Balance,
    /// By which key, where the rule is consistent.
    pub hash: Option<ConsistentHash>,
    /// How new endpoints are eased in.
    pub warmup: Option<Warmup>,
    /// Which endpoints come first by where they are.
    pub locality: Option<LocalitySetting>,
}

/// Decodes a load balancer.
pub(super) fn load_balancer(field: &Field<'_>) -> Option<LoadBalancer> {
    let mut fields = field.fields("a load balancer")?;
    fields.not_supported(&["zoneAwareLbSetting"]);
    let locality = fields.get("localityLbSetting");
    let simple = fields.get("simple");
    let consistent = fields.get("consistentHash");
    let warmup_field = fields.get("warmup").or_else(|| fields.get("warmupDurationSecs"));
    fields.harmless(&["warmupDurationSecs"]);
    fields.finish();
    if let (Some(simple), Some(_)) = (&simple, &consistent) {
        let mend = "remove one of the two";
        simple.error("conflict", "a load balancer has either `simple` or `consistentHash`", mend);
    }
    let locality = locality.and_then(|field| locality_setting(&field));
    let mut balancer = LoadBalancer { locality, ..LoadBalancer::default() };
    if let Some(consistent) = &consistent {
        (balancer.balance, balancer.hash) = consistent_hash(consistent)?;
    } else if let Some(simple) = &simple {
        balancer.balance = balance(simple)?;
    }
    if let Some(field) = warmup_field {
        let warmup = warmup(&field);
        if matches!(balancer.balance, Balance::LeastRequest | Balance::RoundRobin) {
            balancer.warmup = warmup;
        } else {
            let message = "`warmup` has no effect here: endpoints are eased in by LEAST_REQUEST and ROUND_ROBIN alone";
            field.warning("not-applied", message, "remove it");
        }
    }
    Some(balancer)
}

fn balance(simple: &Field<'_>) -> Option<Balance> {
    #[derive(Clone, Copy)]
    enum Word {
        Is(Balance),
        LeastConnections,
        Passthrough,
    }
    let words = [
        ("UNSPECIFIED", Word::Is(Balance::LeastRequest)),
        ("LEAST_REQUEST", Word::Is(Balance::LeastRequest)),
        ("ROUND_ROBIN", Word::Is(Balance::RoundRobin)),
        ("RANDOM", Word::Is(Balance::Random)),
        ("LEAST_CONN", Word::LeastConnections),
        ("PASSTHROUGH", Word::Passthrough),
    ];
    match simple.word(&words)? {
        Word::Is(balance) => Some(balance),
        Word::LeastConnections => {
            simple.warning("deprecated", "LEAST_CONN is deprecated and means LEAST_REQUEST", "write LEAST_REQUEST");
            Some(Balance::LeastRequest)
        }
        Word::Passthrough => {
            simple.not_supported("load balancing by PASSTHROUGH, which needs the connection's original destination,");
            None
        }
    }
}

fn consistent_hash(field: &Field<'_>) -> Option<(Balance, Option<ConsistentHash>)> {
    let mut fields = field.fields("consistentHash")?;
    let (balance, table_size) = table(&mut fields)?;
    let header = fields.get("httpHeaderName");
    let cookie_field = fields.get("httpCookie");
    let source = fields.get("useSourceIp");
    let query = fields.get("httpQueryParameterName");
    fields.finish();
    let given = [&header, &cookie_field, &source, &query].into_iter().flatten().count();
    if given > 1 {
        let message = "`consistentHash` hashes one thing: httpHeaderName, httpCookie, useSourceIp or \
                       httpQueryParameterName";
        field.error("conflict", message, "keep one of them");
        return None;
    }
    let key = match (header, cookie_field, source, query) {
        (Some(header), ..) => {
            let name = header.text()?;
            token(&header, name)?;
            Some(HashKey::Header(name.to_ascii_lowercase()))
        }
        (_, Some(field), ..) => Some(HashKey::Cookie(cookie(&field)?)),
        (_, _, Some(source), _) => source.boolean()?.then_some(HashKey::SourceIp),
        (_, _, _, Some(query)) => Some(HashKey::Query(not_empty(&query)?.to_string())),
        _ => None,
    };
    match key {
        Some(key) => Some((balance, Some(ConsistentHash { key, table_size }))),
        None => {
            let message = "`consistentHash` names nothing to hash, so requests go to any endpoint";
            let mend = "add httpHeaderName, httpCookie, useSourceIp: true or httpQueryParameterName";
            field.warning("no-hash-key", message, mend);
            Some((Balance::Random, None))
        }
    }
}

/// Which table, and of what size; 0 means the default.
fn table(fields: &mut Fields<'_>) -> Option<(Balance, u32)> {
    let ring = fields.get("ringHash");
    let maglev = fields.get("maglev");
    let deprecated = fields.get("minimumRingSize");
    if let (Some(_), Some(maglev)) = (&ring, &maglev) {
        maglev.error("conflict", "`consistentHash` has either `ringHash` or `maglev`", "remove one of the two");
        return None;
    }
    if let Some(maglev) = maglev {
        let Some(field) = only(&maglev, "maglev", "tableSize")? else { return Some((Balance::Maglev, MAGLEV_SIZE)) };
        let size = table_size(&field, MAGLEV_SIZE)?;
        if !is_prime(size) {
            let next = (size..).find(|n| is_prime(*n)).unwrap_or(MAGLEV_SIZE);
            field.error(
                "wrong-number",
                format!("{size} is no prime, as a Maglev table needs"),
                format!("write {next}"),
            );
            return None;
        }
        return Some((Balance::Maglev, size));
    }
    let ring = match ring {
        Some(ring) => only(&ring, "ringHash", "minimumRingSize")?,
        None => deprecated,
    };
    let size = ring.map_or(Some(RING_SIZE), |field| table_size(&field, RING_SIZE))?;
    Some((Balance::RingHash, size))
}

/// The one field that a mapping may have.
fn only<'a>(field: &Field<'a>, noun: &'static str, name: &'static str) -> Option<Option<Field<'a>>> {
    let mut fields = field.fields(noun)?;
    let value = fields.get(name);
    fields.finish();
    Some(value)
}

fn table_size(field: &Field<'_>, default: u32) -> Option<u32> {
    let size = u32::try_from(field.number(0, u64::from(HASH_TABLE_SIZE_MAX))?).ok()?;
    Some(if size == 0 { default } else { size })
}

fn is_prime(n: u32) -> bool {
    n > 1 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))
}

fn cookie(field: &Field<'_>) -> Option<HashCookie> {
    let mut fields = field.fields("a cookie")?;
    let name_field = fields.require("name");
    let path_field = fields.get("path");
    let ttl = fields.get("ttl");
    let attributes = fields.get("attributes").map(|f| f.items()).unwrap_or_default();
    fields.finish();
    if attributes.len() > COOKIE_ATTRIBUTES_MAX {
        let message = format!("a cookie has at most {COOKIE_ATTRIBUTES_MAX} attributes");
        field.error("limit", message, "remove some");
        return None;
    }
    let attributes = attributes.iter().map(attribute).collect::<Option<Vec<_>>>()?;
    let name_field = name_field?;
    let name = name_field.text()?;
    token(&name_field, name)?;
    let path = path_field.map_or(Some(String::new()), |field| value(&field))?;
    let ttl_ms = match ttl {
        Some(ttl) => Some(ttl.duration_ms()?),
        None => None,
    };
    Some(HashCookie { name: name.into(), path, ttl_ms, attributes })
}

fn attribute(item: &Field<'_>) -> Option<(String, String)> {
    let mut fields = item.fields("an attribute of a cookie")?;
    let name_field = fields.require("name");
    let value_field = fields.get("value");
    fields.finish();
    let name_field = name_field?;
    let name = name_field.text()?;
    token(&name_field, name)?;
    Some((name.into(), value_field.map_or(Some(String::new()), |field| value(&field))?))
}

/// Names of headers, cookies and attributes (RFC 9110 §5.6.2).
fn token(field: &Field<'_>, name: &str) -> Option<()> {
    let holds = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
    if !holds {
        field.error("wrong-value", format!("`{name}` is no name of a header or cookie"), "");
    }
    holds.then_some(())
}

/// Values of attributes (RFC 6265 §4.1.1).
fn value(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if text.bytes().all(|b| matches!(b, b' '..=b'~') && b != b';') {
        return Some(text.into());
    }
    field.error(
        "wrong-value",
        format!("`{text}` cannot be written into a cookie"),
        "leave out `;` and what is not ASCII",
    );
    None
}

fn not_empty<'a>(field: &Field<'a>) -> Option<&'a str> {
    let text = field.text()?;
    if text.is_empty() {
        field.error("wrong-value", format!("`{}` is empty", field.path), "");
    }
    (!text.is_empty()).then_some(text)
}

/// `warmup`, or the duration alone (`warmupDurationSecs`).
fn warmup(field: &Field<'_>) -> Option<Warmup> {
    if !matches!(field.node.value, crate::yaml::Value::Mapping(_)) {
        return Some(Warmup { duration_ms: duration(field)?, ..default_warmup() });
    }
    let mut fields = field.fields("a warm-up")?;
    let duration_field = fields.require("duration");
    let minimum = fields.get("minimumPercent").map_or(Some(WARMUP_PERCENT), |f| f.decimal(0.0, 100.0));
    let fastest = f64::from(WARMUP_AGGRESSION_MAX) / 1000.0;
    let aggression = fields.get("aggression").map_or(Some(1.0), |f| f.decimal(0.001, fastest));
    fields.finish();
    Some(Warmup {
        duration_ms: duration(&duration_field?)?,
        minimum: (minimum? * 100.0).round() as u32,
        aggression: (aggression? * 1000.0).round() as u32,
    })
}

fn default_warmup() -> Warmup {
    Warmup { duration_ms: 1, minimum: (WARMUP_PERCENT * 100.0) as u32, aggression: 1000 }
}

fn duration(field: &Field<'_>) -> Option<u64> {
    let ms = field.duration_ms()?;
    if ms == 0 {
        field.error("wrong-duration", "a warm-up lasts at least 1ms", "remove it, or write a duration");
    }
    (ms > 0).then_some(ms)
}
