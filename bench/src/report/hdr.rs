//! HdrHistogram's own formats, so that its tools read what we measured.

use std::time::Duration;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer, V2Serializer};

use crate::run::Measured;

/// A histogram as base64 of its compressed V2 form.
pub fn encode(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    // Writing to memory does not fail.
    let _ = V2DeflateSerializer::new().serialize(histogram, &mut bytes);
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes)
}

/// Reads what [`encode`] wrote; `None` if it is something else.
pub fn decode(text: &str) -> Option<Histogram<u64>> {
    let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).ok()?;
    Deserializer::new().deserialize(&mut &bytes[..]).ok()
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
