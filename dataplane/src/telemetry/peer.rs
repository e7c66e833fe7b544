//! Peer metadata: who the other sidecar is, in the header that Istio's sidecars exchange.
//!
//! `x-envoy-peer-metadata` is the base64 of a `google.protobuf.Struct`; only the few fields behind the metric labels are written and read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ringway_config::model::Workload;

use super::names::{Names, UNKNOWN};

/// Longest metadata value that is looked at.
pub const METADATA_BYTES_MAX: usize = 8 << 10;

const CANONICAL_NAME: &str = "service.istio.io/canonical-name";
const CANONICAL_REVISION: &str = "service.istio.io/canonical-revision";

/// The header's value for a workload whose pod is called `pod`.
pub fn encode(pod: &str, w: &Workload) -> String {
    let mut labels = Vec::new();
    for (key, value) in [
        ("app", &w.app),
        (CANONICAL_NAME, &w.canonical_name),
        (CANONICAL_REVISION, &w.canonical_revision),
        ("version", &w.version),
    ] {
        if !value.is_empty() {
            entry(&mut labels, key, &string_value(value));
        }
    }
    let mut out = Vec::new();
    for (key, value) in
        [("CLUSTER_ID", w.cluster.as_str()), ("NAME", pod), ("NAMESPACE", &w.namespace), ("WORKLOAD_NAME", &w.name)]
    {
        entry(&mut out, key, &string_value(value));
    }
    entry(&mut out, "LABELS", &field(5, &labels));
    STANDARD.encode(out)
}

/// Who a header's value says the peer is; `None` when it does not parse. The principal is never taken from here: it is a claim, not a proof.
pub fn decode(value: &[u8]) -> Option<Workload> {
    if value.len() > METADATA_BYTES_MAX {
        return None;
    }
    let bytes = STANDARD.decode(value).ok()?;
    let mut w = Workload::default();
    each_entry(&bytes, &mut |key, value| match (key, value) {
        ("CLUSTER_ID", Value::String(s)) => w.cluster = s.to_owned(),
        ("NAMESPACE", Value::String(s)) => w.namespace = s.to_owned(),
        ("WORKLOAD_NAME", Value::String(s)) => w.name = s.to_owned(),
        ("LABELS", Value::Struct(labels)) => {
            let _ = each_entry(labels, &mut |key, value| match (key, value) {
                ("app", Value::String(s)) => w.app = s.to_owned(),
                ("version", Value::String(s)) => w.version = s.to_owned(),
                (CANONICAL_NAME, Value::String(s)) => w.canonical_name = s.to_owned(),
                (CANONICAL_REVISION, Value::String(s)) => w.canonical_revision = s.to_owned(),
                _ => {}
            });
        }
        _ => {}
    })?;
    Some(w)
}

enum Value<'a> {
    String(&'a str),
    Struct(&'a [u8]),
    Other,
}

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut n = bytes.len();
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out.extend_from_slice(bytes);
    out
}

fn string_value(s: &str) -> Vec<u8> {
    field(3, s.as_bytes())
}

fn entry(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    let pair = [field(1, key.as_bytes()), field(2, value)].concat();
    out.extend(field(1, &pair));
}

/// Reads `map<string, Value> fields = 1`.
fn each_entry<'a>(mut bytes: &'a [u8], visit: &mut dyn FnMut(&'a str, Value<'a>)) -> Option<()> {
    while !bytes.is_empty() {
        let (number, pair) = take_field(&mut bytes)?;
        if number != 1 {
            continue;
        }
        let (mut rest, mut key, mut value) = (pair?, "", Value::Other);
        while !rest.is_empty() {
            match take_field(&mut rest)? {
                (1, Some(k)) => key = std::str::from_utf8(k).ok()?,
                (2, Some(v)) => value = read_value(v)?,
                _ => {}
            }
        }
        visit(key, value);
    }
    Some(())
}

fn read_value(mut bytes: &[u8]) -> Option<Value<'_>> {
    let mut value = Value::Other;
    while !bytes.is_empty() {
        match take_field(&mut bytes)? {
            (3, Some(s)) => value = Value::String(std::str::from_utf8(s).ok()?),
            (5, Some(s)) => value = Value::Struct(s),
            _ => {}
        }
    }
    Some(value)
}

/// Field number, and its bytes if it is length-delimited; other wire types are skipped.
fn take_field<'a>(bytes: &mut &'a [u8]) -> Option<(u64, Option<&'a [u8]>)> {
    let tag = take_varint(bytes)?;
    let skip = match tag & 7 {
        0 => {
            take_varint(bytes)?;
            return Some((tag >> 3, None));
        }
        1 => 8,
        5 => 4,
        2 => {
            let len = usize::try_from(take_varint(bytes)?).ok()?;
            let value = bytes.get(..len)?;
            *bytes = &bytes[len..];
            return Some((tag >> 3, Some(value)));
        }
        _ => return None,
    };
    *bytes = bytes.get(skip..)?;
    Some((tag >> 3, None))
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut n = 0u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        n |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(n);
        }
    }
    None
}

/// The last few peer-metadata values seen, compared as bytes: spares a keyed hash of some 400 bytes a request.
pub struct PeerCache {
    lines: [(Vec<u8>, u16); PeerCache::LINES],
}

impl Default for PeerCache {
    fn default() -> Self {
        PeerCache { lines: std::array::from_fn(|_| (Vec::new(), UNKNOWN)) }
    }
}

impl PeerCache {
    const LINES: usize = 16;

    /// The id of a value.
    pub fn id(&mut self, names: &mut Names, value: &[u8]) -> u16 {
        let tail = value.rchunks(8).nth(1).unwrap_or(value);
        let slot = tail.iter().fold(value.len(), |h, b| h.wrapping_mul(31).wrapping_add(*b as usize)) % Self::LINES;
        let line = &mut self.lines[slot];
        if line.0 != value || value.is_empty() {
            line.0.clear();
            line.0.extend_from_slice(&value[..value.len().min(METADATA_BYTES_MAX)]);
            line.1 = names.peer(value);
        }
        line.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload() -> Workload {
        Workload {
            namespace: "shop".into(),
            name: "reviews-v2".into(),
            app: "reviews".into(),
            version: "v2".into(),
            canonical_name: "reviews".into(),
            canonical_revision: "v2".into(),
            principal: String::new(),
            cluster: "Kubernetes".into(),
        }
    }

    #[test]
    fn what_is_encoded_decodes() {
        assert_eq!(decode(encode("reviews-v2-0", &workload()).as_bytes()), Some(workload()));
    }

    #[test]
    fn garbage_is_nobody_and_no_input_panics() {
        let good = STANDARD.decode(encode("p", &workload())).expect("own output");
        for cut in 0..good.len() {
            let _ = decode(STANDARD.encode(&good[..cut]).as_bytes());
            let mut bent = good.clone();
            bent[cut] ^= 0xff;
            let _ = decode(STANDARD.encode(&bent).as_bytes());
        }
        assert_eq!(decode(b"!!!"), None);
        assert_eq!(decode(&vec![b'A'; METADATA_BYTES_MAX + 1]), None);
    }
}
