//! `fault` of a VirtualService's HTTP rule, and shares of requests in percent.

use super::Spot;
use super::decode::Field;
use ringway_config::limits::PER_MILLION_MAX;
use ringway_config::model::Fault;

/// Faults, and where they stand.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultRule {
    /// `http[2].fault`.
    pub path: String,
    /// Where it stands.
    pub spot: Spot,
    /// What is injected; the rule's id is set by the translation.
    pub fault: Fault,
}

/// Reads `fault`.
pub fn fault(field: &Field<'_>) -> Option<FaultRule> {
    let mut fields = field.fields("a fault")?;
    let mut fault = Fault::default();
    if let Some(delay) = fields.get("delay") {
        decode_delay(&delay, &mut fault);
    }
    if let Some(abort) = fields.get("abort") {
        decode_abort(&abort, &mut fault);
    }
    fields.finish();
    Some(FaultRule { path: field.path.clone(), spot: field.spot(), fault })
}

fn decode_delay(field: &Field<'_>, into: &mut Fault) {
    let Some(mut fields) = field.fields("a delay") else { return };
    // Istio's own validation refuses it as well.
    fields.not_supported(&["exponentialDelay"]);
    let exponential = field.node.get("exponentialDelay").is_some();
    let fixed = if exponential { fields.get("fixedDelay") } else { fields.require("fixedDelay") };
    let fixed = fixed.and_then(|f| Some((f.duration_ms()?, f)));
    let share = fields.get("percentage").and_then(|f| percentage(&f));
    let old_share = fields.get("percent").and_then(|f| f.number(0, 100)).map(|percent| percent as u32 * 10_000);
    fields.finish();
    if let Some((0, fixed)) = &fixed {
        fixed.error("wrong-duration", "a delay has to be 1ms at least", "remove it, or make it longer");
    }
    into.delay_ms = fixed.map_or(0, |(ms, _)| ms);
    into.delay_per_million = or_never(field, share.or(old_share));
}

fn decode_abort(field: &Field<'_>, into: &mut Fault) {
    let Some(mut fields) = field.fields("an abort") else { return };
    let http = fields.get("httpStatus").and_then(|f| f.number(200, 599)).and_then(|n| u16::try_from(n).ok());
    let grpc = fields.get("grpcStatus").and_then(|f| grpc_status(&f));
    fields.not_supported(&["http2Error"]);
    let share = fields.get("percentage").and_then(|f| percentage(&f));
    fields.finish();
    match (http, grpc) {
        (Some(_), Some(_)) => {
            field.error("conflict", "an abort has either `httpStatus` or `grpcStatus`", "remove one of the two");
        }
        (None, None) if !field.context.broken() => {
            field.error("missing-field", "an abort has to say with which status", "add `httpStatus`");
        }
        _ => {}
    }
    into.abort_status = http.or(grpc).unwrap_or(0);
    into.abort_per_million = or_never(field, share);
}

/// Without a percentage Istio injects nothing.
fn or_never(field: &Field<'_>, share: Option<u32>) -> u32 {
    if share.is_none() && !field.context.broken() {
        let message = format!("`{}` has no percentage and so, as in Istio, never happens", field.path);
        field.warning("never-happens", message, "add `percentage: {value: 100}`");
    }
    share.unwrap_or(0)
}

/// `{value: 12.5}` in requests of a million.
pub fn percentage(field: &Field<'_>) -> Option<u32> {
    let mut fields = field.fields("a percentage")?;
    // A message without its field is 0, as in every protocol buffer.
    let value = fields.get("value").map_or(Some(0.0), |f| f.decimal(0.0, 100.0));
    fields.finish();
    // Envoy's fractions are whole millionths as well; what is finer is cut.
    value.map(|percent| ((percent * 10_000.0) as u32).min(PER_MILLION_MAX))
}

/// The HTTP status that a gRPC status, by name or number, has for a client that speaks no gRPC (`google.rpc.Code`).
fn grpc_status(field: &Field<'_>) -> Option<u16> {
    const CODES: [(&str, u16); 17] = [
        ("OK", 200),
        ("CANCELLED", 499),
        ("UNKNOWN", 500),
        ("INVALID_ARGUMENT", 400),
        ("DEADLINE_EXCEEDED", 504),
        ("NOT_FOUND", 404),
        ("ALREADY_EXISTS", 409),
        ("PERMISSION_DENIED", 403),
        ("RESOURCE_EXHAUSTED", 429),
        ("FAILED_PRECONDITION", 400),
        ("ABORTED", 409),
        ("OUT_OF_RANGE", 400),
        ("UNIMPLEMENTED", 501),
        ("INTERNAL", 500),
        ("UNAVAILABLE", 503),
        ("DATA_LOSS", 500),
        ("UNAUTHENTICATED", 401),
    ];
    let text = field.text()?;
    match text.parse::<usize>() {
        Ok(number) if number < CODES.len() => Some(CODES[number].1),
        _ => field.word(&CODES),
    }
}
