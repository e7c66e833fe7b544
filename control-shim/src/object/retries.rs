//! `retries` of a VirtualService and `retry` of an HTTPRoute, and what holds where neither is written.

use super::decode::{Field, Fields};
use ringway_config::limits::RETRY_ATTEMPTS_MAX;
use ringway_config::model::{BACKOFF_GROWTH_MAX, Match, Retry, RetryBudget, RetryOn, StringMatch};

/// What a rule says of trying again.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Retries {
    /// Nothing: what holds for the mesh holds for it.
    #[default]
    Unsaid,
    /// This; `None` is never.
    Said(Option<Retry>),
}

impl Retries {
    /// What holds in a mesh with this default.
    pub fn or(&self, default: &Option<Retry>) -> Option<Retry> {
        match self {
            Retries::Unsaid => default.clone(),
            Retries::Said(retry) => retry.clone(),
        }
    }
}

/// Words of `retryOn` that HTTP/1.1 has no case of.
const OF_OTHER_PROTOCOLS: [&str; 2] = ["refused-stream", "http3-post-connect-failure"];
/// Words of `retryOn` that are understood and do nothing here.
const NOT_HONOURED: [&str; 2] = ["retriable-headers", "envoy-ratelimited"];

/// Decodes `retries` of a rule with these matches; `None` never tries again.
pub fn istio(field: &Field<'_>, matches: &[&Match]) -> Option<Retry> {
    let mut retry = Retry::default();
    let mut fields = field.fields("a retry policy")?;
    let attempts = fields.get("attempts").and_then(|f| f.number(0, RETRY_ATTEMPTS_MAX.into()));
    retry.try_timeout_ms = fields.get("perTryTimeout").and_then(|f| f.duration_ms()).unwrap_or(0);
    retry.avoid_previous = fields.get("retryIgnorePreviousHosts").and_then(|f| f.boolean()).unwrap_or(true);
    if let Some(ms) = fields.get("backoff").and_then(|f| f.duration_ms()) {
        set_backoff(&mut retry, ms);
    }
    if let Some(on) = fields.get("retryOn") {
        retry_on(&on, &mut retry, matches);
    }
    fields.not_honoured(&["retryRemoteLocalities"]);
    fields.finish();
    if attempts.is_none() && !field.context.broken() {
        field.warning("no-attempts", "without `attempts` there are no retries, as in Istio", "add `attempts`");
    }
    retry.attempts = u32::try_from(attempts.unwrap_or(0)).unwrap_or(0);
    (retry.attempts > 0).then_some(retry)
}

/// Decodes `retry` of an HTTPRoute's rule with these matches.
pub fn gateway_api(field: &Field<'_>, try_timeout_ms: u64, matches: &[&Match]) -> Option<Retry> {
    let mut fields = field.fields("a retry policy")?;
    let defaults = Retry::default();
    let attempts =
        fields.get("attempts").map_or(Some(defaults.attempts.into()), |f| f.number(1, RETRY_ATTEMPTS_MAX.into()));
    let mut statuses = Vec::new();
    let codes = fields.get("codes");
    for code in codes.as_ref().map(|f| f.items()).unwrap_or_default() {
        statuses.extend(code.number(400, 599).and_then(|code| u16::try_from(code).ok()));
    }
    let backoff = fields.get("backoff").and_then(|f| f.duration_ms());
    fields.finish();
    statuses.sort_unstable();
    statuses.dedup();
    // The API names the codes; connection errors are left to us, and so kept to what cannot repeat a write.
    let on = if statuses.is_empty() { defaults.on } else { defaults.on | RetryOn::STATUSES };
    let on_repeatable = defaults.on_repeatable.without(RetryOn::STATUSES);
    let mut retry =
        Retry { attempts: u32::try_from(attempts?).ok()?, on, on_repeatable, statuses, try_timeout_ms, ..defaults };
    if let Some(ms) = backoff {
        set_backoff(&mut retry, ms);
        // "Unsuccessful backend requests are not retried before the configured minimum duration."
        retry.backoff_min_ms = retry.backoff_ms;
    }
    if let Some(codes) = codes.filter(|_| !retry.statuses.is_empty()) {
        warn_of_duplicates(&codes, "`retry.codes`", matches);
    }
    Some(retry)
}

fn set_backoff(retry: &mut Retry, ms: u64) {
    // The format's times end at ten years, far below this.
    retry.backoff_ms =
        u32::try_from(ms).unwrap_or(u32::MAX / BACKOFF_GROWTH_MAX).clamp(1, u32::MAX / BACKOFF_GROWTH_MAX);
    retry.backoff_max_ms = retry.backoff_ms * BACKOFF_GROWTH_MAX;
}

/// Reads Envoy's words, and numbers that are statuses. What is written holds for every method.
fn retry_on(field: &Field<'_>, retry: &mut Retry, matches: &[&Match]) {
    let Some(text) = field.text() else { return };
    let (mut on, mut statuses) = (RetryOn::NONE, Vec::new());
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        if let Some((_, reason)) = RetryOn::NAMES.iter().find(|(name, _)| *name == word) {
            on |= *reason;
        } else if let Ok(status) = word.parse::<u16>()
            && (100..=599).contains(&status)
        {
            on |= RetryOn::STATUSES;
            statuses.push(status);
        } else if NOT_HONOURED.contains(&word) {
            field.warning("not-honoured", format!("`{word}` in `retryOn` is not honoured"), "");
        } else if !OF_OTHER_PROTOCOLS.contains(&word) {
            let names: Vec<&str> = RetryOn::NAMES.iter().map(|(name, _)| *name).chain(OF_OTHER_PROTOCOLS).collect();
            let mend = super::decode::nearest(word, &names).map_or_else(
                || format!("statuses, or some of {}", names.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            field.error("wrong-value", format!("`{word}` is no condition of `retryOn`"), mend);
        }
    }
    // An empty list is no list: Istio's default stays.
    if on == RetryOn::NONE && statuses.is_empty() && text.trim().is_empty() {
        return;
    }
    statuses.sort_unstable();
    statuses.dedup();
    (retry.on, retry.on_repeatable, retry.statuses) = (on, RetryOn::NONE, statuses);
    if on.without(RetryOn::UNPROCESSED) != RetryOn::NONE {
        warn_of_duplicates(field, "`retryOn`", matches);
    }
}

/// A policy that somebody wrote is obeyed, and they are told what it may do.
fn warn_of_duplicates(field: &Field<'_>, what: &str, matches: &[&Match]) {
    const REPEATABLE: [&str; 6] = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"];
    let harmless =
        |one: &&Match| matches!(&one.method, Some(StringMatch::Exact(method)) if REPEATABLE.contains(&method.as_str()));
    if !matches.is_empty() && matches.iter().all(harmless) {
        return;
    }
    field.warning(
        "duplicate-writes",
        format!("{what} tries every method again, also a POST that may have been processed"),
        "match idempotent methods, or leave it out: by default only requests that may be repeated are",
    );
}

/// Decodes `connectionPool.http.maxRetries`: so many and no share.
pub fn max_retries(field: &Field<'_>) -> Option<RetryBudget> {
    let floor = field.number(0, u32::MAX.into()).and_then(|n| u32::try_from(n).ok())?;
    Some(RetryBudget { share: 0, floor })
}

/// Decodes `trafficPolicy.retryBudget`.
pub fn budget(field: &Field<'_>) -> Option<RetryBudget> {
    let mut fields: Fields<'_> = field.fields("a retry budget")?;
    let mut budget = RetryBudget::default();
    if let Some(percent) = fields.get("percent") {
        let number = percent.scalar().and_then(|text| text.parse::<f64>().ok());
        match number.filter(|number| (0.0..=100.0).contains(number)) {
            Some(number) => budget.share = (number * 100.0).round() as u32,
            None => percent.error("wrong-number", format!("`{}` has to be a number from 0 to 100", percent.path), ""),
        }
    }
    if let Some(floor) = fields.get("minRetryConcurrency").and_then(|f| f.number(0, u32::MAX.into())) {
        budget.floor = u32::try_from(floor).ok()?;
    }
    fields.not_honoured(&["budgetInterval"]);
    fields.finish();
    Some(budget)
}
