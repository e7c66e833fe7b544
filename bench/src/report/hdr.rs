//! HdrHistogram's own formats, so that its tools read what we measured.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use hdrhistogram::serialization::{Serializer as _, V2DeflateSerializer};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::json::Report;

/// A histogram packed away: some hundred bytes, where one that is counted in takes 200 KiB. In JSON it is base64 of the compressed V2 form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed(Vec<u8>);

impl Packed {
    /// Packs it.
    pub fn new(histogram: &Histogram<u64>) -> Packed {
        let mut bytes = Vec::new();
        // Writing to memory does not fail.
        let _ = V2DeflateSerializer::new().serialize(histogram, &mut bytes);
        Packed(bytes)
    }

    /// Unpacks it.
    pub fn unpack(&self) -> Histogram<u64> {
        // It was read once before, or written here.
        decoded(&self.0).unwrap_or_else(|_| crate::tally::histogram())
    }
}

impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Packed, D::Error> {
        let bytes = STANDARD.decode(String::deserialize(from)?).map_err(D::Error::custom)?;
        decoded(&bytes).map_err(D::Error::custom)?;
        Ok(Packed(bytes))
    }
}

/// A histogram in JSON, as [`Packed`] is.
pub mod packed {
    use super::*;

    /// Writes it.
    pub fn serialize<S: Serializer>(histogram: &Histogram<u64>, to: S) -> Result<S::Ok, S::Error> {
        Packed::new(histogram).serialize(to)
    }

    /// Reads it.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Histogram<u64>, D::Error> {
        Packed::deserialize(from).map(|packed| packed.unpack())
    }
}

fn decoded(bytes: &[u8]) -> Result<Histogram<u64>, String> {
    let histogram = hdrhistogram::serialization::Deserializer::new().deserialize(&mut &bytes[..]);
    histogram.map_err(|e| format!("no HdrHistogram V2: {e}"))
}

/// The run as an HdrHistogram V2 interval log: a line a second, values in nanoseconds.
pub fn log(report: &Report) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    // Other readers of such logs take the compressed form alone.
    let mut serializer = V2DeflateSerializer::new();
    let mut writer = IntervalLogWriterBuilder::new()
        .with_max_value_divisor(1.0)
        .begin_log_with(&mut bytes, &mut serializer)
        .map_err(|e| format!("HdrHistogram log: {e:?}"))?;
    for second in &report.seconds {
        let start = Duration::from_secs(second.second);
        writer
            .write_histogram(&second.latency.unpack(), start, Duration::from_secs(1), Tag::new("latency"))
            .map_err(|e| format!("HdrHistogram log: {e:?}"))?;
    }
    Ok(bytes)
}
