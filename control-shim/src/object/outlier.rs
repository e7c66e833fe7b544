//! `outlierDetection` of a traffic policy, with Istio's defaults.

use super::Spot;
use super::decode::Field;
use ringway_config::model::OutlierDetection;

/// Istio's, where nothing is said.
const CONSECUTIVE_ERRORS: u32 = 5;
const INTERVAL_MS: u64 = 10_000;
const BASE_EJECTION_MS: u64 = 30_000;
const MAX_EJECTION_PERCENT: u8 = 10;

/// What it says, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Outlier {
    /// As the proxy takes it.
    pub rules: OutlierDetection,
    /// Where it stands.
    pub spot: Spot,
}

pub(super) fn outlier(field: &Field<'_>) -> Option<Outlier> {
    let mut fields = field.fields("outlier detection")?;
    let count = |f: Field<'_>| f.number(0, u32::MAX.into()).and_then(|n| u32::try_from(n).ok());
    // Of a percentage, 0 is what is not there, as in Istio.
    let percent = |f: Field<'_>| f.number(0, 100).and_then(|n| u8::try_from(n).ok()).filter(|n| *n > 0);
    let time = |f: Field<'_>| {
        let ms = f.duration_ms()?;
        if ms == 0 {
            f.error("wrong-duration", "it has to be at least 1ms", "");
        }
        Some(ms.max(1))
    };
    let split = fields.get("splitExternalLocalOriginErrors").and_then(|f| f.boolean()).unwrap_or(false);
    let local = fields.get("consecutiveLocalOriginFailures");
    if let Some(local) = local.as_ref().filter(|_| !split) {
        local.error(
            "conflict",
            "`consecutiveLocalOriginFailures` counts nothing without `splitExternalLocalOriginErrors: true`",
            "add that, or remove this",
        );
    }
    // 0 is Istio's default here, too.
    let local = local.and_then(count).filter(|n| *n > 0).unwrap_or(CONSECUTIVE_ERRORS);
    let codes = fields.get("outlierDetectionHttpErrorCodes").map(|f| f.items()).unwrap_or_default();
    let codes = codes.iter().filter_map(|code| u16::try_from(code.number(100, 599)?).ok());
    let mut error_codes: Vec<u16> = codes.collect();
    error_codes.sort_unstable();
    error_codes.dedup();
    let rules = OutlierDetection {
        consecutive_5xx_errors: fields.get("consecutive5xxErrors").and_then(count).unwrap_or(CONSECUTIVE_ERRORS),
        consecutive_gateway_errors: fields.get("consecutiveGatewayErrors").and_then(count).unwrap_or(0),
        split_local_origin: split,
        consecutive_local_failures: if split { local } else { 0 },
        interval_ms: fields.get("interval").and_then(time).unwrap_or(INTERVAL_MS),
        base_ejection_ms: fields.get("baseEjectionTime").and_then(time).unwrap_or(BASE_EJECTION_MS),
        max_ejection_percent: fields.get("maxEjectionPercent").and_then(percent).unwrap_or(MAX_EJECTION_PERCENT),
        min_health_percent: fields.get("minHealthPercent").and_then(percent).unwrap_or(0),
        error_codes,
    };
    if let Some(old) = fields.get("consecutiveErrors") {
        let mend = "write consecutive5xxErrors or consecutiveGatewayErrors";
        old.warning("not-honoured", "`consecutiveErrors` is deprecated and counts nothing, as in Istio", mend);
    }
    fields.finish();
    Some(Outlier { rules, spot: field.spot() })
}
