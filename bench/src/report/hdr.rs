//! HdrHistogram's own formats, so that its tools read what we measured.

use std::time::Duration;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use hdrhistogram::serialization::{Serializer as _, V2DeflateSerializer, V2Serializer};

use crate::run::Measured;

/// A histogram in JSON: base64 of its compressed V2 form.
pub mod base64_v2 {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use super::*;

    /// Writes it.
    pub fn serialize<S: Serializer>(histogram: &Histogram<u64>, to: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        // Writing to memory does not fail.
        let _ = V2DeflateSerializer::new().serialize(histogram, &mut bytes);
        to.serialize_str(&STANDARD.encode(bytes))
    }

    /// Reads it.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Histogram<u64>, D::Error> {
        let bytes = STANDARD.decode(String::deserialize(from)?).map_err(D::Error::custom)?;
        let histogram = hdrhistogram::serialization::Deserializer::new().deserialize(&mut &bytes[..]);
        histogram.map_err(|e| D::Error::custom(format!("no HdrHistogram V2: {e}")))
    }
}

/// The run as an HdrHistogram V2 interval log: a line a second, values in nanoseconds.
pub fn log(measured: &Measured) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut serializer = V2Serializer::new();
    let mut writer = IntervalLogWriterBuilder::new()
        .with_max_value_divisor(1.0)
        .begin_log_with(&mut bytes, &mut serializer)
        .map_err(|e| format!("HdrHistogram log: {e:?}"))?;
    for second in &measured.seconds {
        let start = Duration::from_secs(second.second);
        writer
            .write_histogram(&second.tally.latency, start, Duration::from_secs(1), Tag::new("latency"))
            .map_err(|e| format!("HdrHistogram log: {e:?}"))?;
    }
    Ok(bytes)
}
