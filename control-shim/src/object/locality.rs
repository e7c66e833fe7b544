//! Where workloads run, as labels tell it, and `localityLbSetting` of a DestinationRule.

use super::decode::Field;
use super::{Labels, Spot};
use ringway_config::limits::{LOCALITIES_MAX, PLACE_LABELS_MAX};
use ringway_config::model::{Distribute, FailoverLabel, LocalityRule, Place};

/// Well-known labels of region, zone and subzone.
pub const TOPOLOGY: [&str; 3] =
    ["topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"];
/// Labels that say all three at once, `region.zone.subzone` or with slashes; they go before the single ones.
const LOCALITY: [&str; 2] = ["topology.istio.io/locality", "istio-locality"];

/// `localityLbSetting`.
#[derive(Clone, Debug, PartialEq)]
pub enum LocalitySetting {
    /// `enabled: false`.
    Off,
    /// What it says, and where.
    Rule(LocalityRule, Spot),
}

impl LocalitySetting {
    /// The labels of endpoints and of proxies that it compares.
    pub fn compared_labels(&self) -> Vec<String> {
        match self {
            LocalitySetting::Rule(LocalityRule::Failover { priority, .. }, _) => {
                priority.iter().map(|label| label.name.clone()).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// Puts what a `locality` field (`region/zone/subzone`) or a node selector says into labels, where they do not say it themselves.
pub fn label(labels: &mut Labels, values: [Option<&str>; 3]) {
    for (name, value) in TOPOLOGY.iter().zip(values) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            labels.entry((*name).to_string()).or_insert_with(|| value.to_string());
        }
    }
}

/// Region, zone and subzone of a `locality` field.
pub fn split(locality: &str) -> [Option<&str>; 3] {
    let mut parts = locality.splitn(3, '/');
    std::array::from_fn(|_| parts.next())
}

/// Where something with these labels runs, with those labels that somebody compares; none when nothing of it is known.
pub fn place<'a>(labels: &Labels, compared: impl IntoIterator<Item = &'a str>) -> Option<Place> {
    let whole = LOCALITY.iter().find_map(|name| labels.get(*name));
    let [region, zone, subzone] = match whole {
        Some(text) => {
            let text = if text.contains('/') { text.clone() } else { text.replace('.', "/") };
            split(&text).map(|part| part.unwrap_or_default().to_string())
        }
        None => TOPOLOGY.map(|name| labels.get(name).cloned().unwrap_or_default()),
    };
    let parts = [&region, &zone, &subzone];
    let value = |name: &str| {
        let part = TOPOLOGY.iter().position(|label| *label == name).map(|at| parts[at]);
        labels.get(name).or(part).filter(|value| !value.is_empty()).cloned()
    };
    let mut found: Vec<_> =
        compared.into_iter().filter_map(|name| Some((name.to_string(), value(name)?))).take(PLACE_LABELS_MAX).collect();
    found.sort_unstable();
    found.dedup();
    let known = !found.is_empty() || parts.iter().any(|part| !part.is_empty());
    known.then_some(Place { region, zone, subzone, labels: found })
}

/// Decodes `localityLbSetting`.
pub(super) fn locality_setting(field: &Field<'_>) -> Option<LocalitySetting> {
    let mut fields = field.fields("localityLbSetting")?;
    let enabled = fields.get("enabled").map_or(Some(true), |f| f.boolean());
    let distribute_field = fields.get("distribute");
    let failover = fields.get("failover");
    let priority_field = fields.get("failoverPriority");
    fields.finish();
    if let (Some(distribute), true) = (&distribute_field, failover.is_some() || priority_field.is_some()) {
        let message = "`localityLbSetting` has either `distribute` or `failover` and `failoverPriority`";
        distribute.error("conflict", message, "remove one of them");
        return None;
    }
    let rule = match &distribute_field {
        Some(list) => LocalityRule::Distribute(few(list)?.iter().map(distribute).collect::<Option<_>>()?),
        None => LocalityRule::Failover {
            priority: priority_field.as_ref().map_or(Some(Vec::new()), priority)?,
            regions: match &failover {
                Some(list) => few(list)?.iter().map(regions).collect::<Option<_>>()?,
                None => Vec::new(),
            },
        },
    };
    if !enabled? {
        return Some(LocalitySetting::Off);
    }
    let spot = failover.or(priority_field).unwrap_or(field.clone()).spot();
    Some(LocalitySetting::Rule(rule, spot))
}

fn few<'a>(list: &Field<'a>) -> Option<Vec<Field<'a>>> {
    let items = list.items();
    if items.len() > LOCALITIES_MAX {
        list.error("limit", format!("`{}` has at most {LOCALITIES_MAX} entries", list.path), "");
        return None;
    }
    Some(items)
}

fn distribute(item: &Field<'_>) -> Option<Distribute> {
    let mut fields = item.fields("a distribution")?;
    let from = fields.require("from");
    let to_field = fields.require("to");
    fields.finish();
    let (from, to_field) = (locality(&from?)?, to_field?);
    let mut to = Vec::new();
    for (name, weight) in to_field.entries() {
        let name = locality_text(&weight, name)?;
        to.push((name, u32::try_from(weight.number(0, 100)?).ok()?));
    }
    let total: u32 = to.iter().map(|(_, weight)| weight).sum();
    if total != 100 || to.len() > LOCALITIES_MAX {
        let message = format!("the weights from `{from}` add up to {total} instead of 100");
        to_field.error("wrong-number", message, "mend one of them");
        return None;
    }
    Some(Distribute { from, to })
}

/// `region/zone/subzone`, parts of which may be `*` or left out from the end.
fn locality(field: &Field<'_>) -> Option<String> {
    locality_text(field, field.text()?)
}

fn locality_text(field: &Field<'_>, text: &str) -> Option<String> {
    if text.is_empty() || text.split('/').count() > 3 || text.split('/').any(str::is_empty) {
        field.error("wrong-value", format!("`{text}` is no locality"), "write region/zone/subzone, or a part of it");
        return None;
    }
    Some(text.to_string())
}

fn regions(item: &Field<'_>) -> Option<(String, String)> {
    let mut fields = item.fields("a failover")?;
    let from = fields.require("from");
    let to = fields.require("to");
    fields.finish();
    let (from, to) = (from?, to?);
    for field in [&from, &to] {
        let text = field.text()?;
        if text.is_empty() || text.contains(['/', '*']) {
            field.error("wrong-value", format!("`{text}` is no region"), "failover is between regions alone");
            return None;
        }
    }
    if from.text() == to.text() {
        to.error("wrong-value", "a region cannot fail over to itself", "name another region");
        return None;
    }
    Some((from.text()?.to_string(), to.text()?.to_string()))
}

fn priority(list: &Field<'_>) -> Option<Vec<FailoverLabel>> {
    let items = list.items();
    if items.len() > PLACE_LABELS_MAX {
        list.error("limit", format!("`{}` has at most {PLACE_LABELS_MAX} labels", list.path), "");
        return None;
    }
    let label = |item: &Field<'_>| {
        let text = item.text()?;
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value.to_string())));
        if name.is_empty() {
            item.error("wrong-value", format!("`{text}` names no label"), "");
            return None;
        }
        Some(FailoverLabel { name: name.to_string(), value })
    };
    items.iter().map(label).collect()
}
