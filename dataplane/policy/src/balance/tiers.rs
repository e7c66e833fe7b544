//! Which endpoints come first by where they are (DestinationRule `localityLbSetting`): the part of a cluster that each belongs to, seen from one proxy.
//!
//! Built by housekeeping with the view. What a part gets depends on how much of it is in order, and is a worker's own ([`Live`](super::Live)).

use ringway_config::model::{Endpoint, FailoverLabel, LocalityRule, Place};

/// No part: gets no requests.
pub(crate) const NOWHERE: u32 = u32::MAX;

/// The parts of a cluster.
pub(crate) struct Tiers {
    /// In order of their levels.
    pub parts: Box<[Tier]>,
    /// The part of each endpoint, or [`NOWHERE`].
    pub of: Box<[u32]>,
}

/// Endpoints that are equal.
#[derive(Clone, Copy)]
pub(crate) struct Tier {
    /// From 0, without gaps: a level gets what those before it cannot take.
    pub level: u32,
    /// Weight among the parts of its level.
    pub weight: u32,
}

impl Tiers {
    /// None when all endpoints are equal.
    pub(crate) fn new(rule: &LocalityRule, own: &Place, places: &[Place], endpoints: &[Endpoint]) -> Option<Tiers> {
        match rule {
            LocalityRule::Distribute(list) => {
                let to = &list.iter().find(|d| covers(&d.from, own))?.to;
                let part = |place: &Place| to.iter().position(|(locality, _)| covers(locality, place));
                let of = each(places, endpoints, |place| part(place).map_or(NOWHERE, |n| n as u32));
                let parts = to.iter().map(|(_, weight)| Tier { level: 0, weight: *weight }).collect();
                Some(Tiers { parts, of })
            }
            LocalityRule::Failover { priority, regions } => {
                let ranks = each(places, endpoints, |place| rank(priority, regions, own, place));
                let mut levels: Vec<u32> = ranks.to_vec();
                levels.sort_unstable();
                levels.dedup();
                let of = ranks.iter().map(|rank| levels.partition_point(|level| level < rank) as u32).collect();
                let parts = (0..levels.len() as u32).map(|level| Tier { level, weight: 1 }).collect();
                (levels.len() > 1).then_some(Tiers { parts, of })
            }
        }
    }
}

/// Asks once for each place.
fn each(places: &[Place], endpoints: &[Endpoint], what: impl Fn(&Place) -> u32) -> Box<[u32]> {
    let unknown = what(&Place::default());
    let places: Vec<u32> = places.iter().map(what).collect();
    endpoints.iter().map(|e| places.get(e.place as usize).copied().unwrap_or(unknown)).collect()
}

/// How far a place is; what Istio calls a priority, before gaps are closed.
fn rank(priority: &[FailoverLabel], regions: &[(String, String)], own: &Place, place: &Place) -> u32 {
    /// Ranks by region, zone and subzone.
    const RANKS: u32 = 5;
    if priority.is_empty() {
        return distance(regions, own, place);
    }
    let near = |label: &FailoverLabel| {
        let wanted = label.value.as_deref().unwrap_or_else(|| value(own, &label.name));
        value(place, &label.name) == wanted
    };
    let differs = priority.iter().position(|label| !near(label));
    let rank = differs.map_or(0, |at| (priority.len() - at) as u32);
    if regions.is_empty() { rank } else { rank * RANKS + distance(regions, own, place) }
}

/// 0 in the same subzone, 1 zone, 2 region, 3 elsewhere; 4 where another region comes first.
fn distance(regions: &[(String, String)], own: &Place, place: &Place) -> u32 {
    if own.region != place.region {
        let first = regions.iter().find(|(from, _)| *from == own.region);
        return if first.is_some_and(|(_, to)| *to != place.region) { 4 } else { 3 };
    }
    match (own.zone == place.zone, own.subzone == place.subzone) {
        (true, true) => 0,
        (true, false) => 1,
        (false, _) => 2,
    }
}

fn value<'a>(place: &'a Place, label: &str) -> &'a str {
    let found = place.labels.binary_search_by(|(name, _)| name.as_str().cmp(label));
    found.map_or("", |at| &place.labels[at].1)
}

/// Whether `region/zone/subzone`, with `*` for any and shortened from the end, covers a place.
fn covers(locality: &str, place: &Place) -> bool {
    let mut parts = locality.split('/');
    let mut next = |own: &str| parts.next().is_none_or(|part| part == "*" || part.is_empty() || part == own);
    let region = locality.split('/').next().is_some_and(|part| part == "*" || part == place.region);
    region && next(&place.region) && next(&place.zone) && next(&place.subzone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(locality: &str, labels: &[(&str, &str)]) -> Place {
        let mut parts = locality.split('/').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        let labels = labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Place { region: next(), zone: next(), subzone: next(), labels }
    }

    /// One endpoint for each place, and one without.
    fn set(places: &[Place]) -> Vec<Endpoint> {
        let endpoint = |n: usize| Endpoint {
            address: ([10, 0, 0, n as u8], 80).into(),
            weight: 1,
            draining: false,
            workload: u32::MAX,
            place: if n < places.len() { n as u32 } else { u32::MAX },
        };
        (0..=places.len()).map(endpoint).collect()
    }

    fn failover(priority: &[(&str, Option<&str>)], regions: &[(&str, &str)]) -> LocalityRule {
        LocalityRule::Failover {
            priority: priority
                .iter()
                .map(|(name, value)| FailoverLabel { name: (*name).into(), value: value.map(str::to_owned) })
                .collect(),
            regions: regions.iter().map(|(from, to)| ((*from).into(), (*to).into())).collect(),
        }
    }

    #[test]
    fn localities_cover() {
        for (locality, at, covered) in [
            ("eu/a/1", "eu/a/1", true),
            ("eu/a", "eu/a/1", true),
            ("eu", "eu/a/1", true),
            ("eu/*", "eu/a/1", true),
            ("*", "eu/a/1", true),
            ("*", "", true),
            ("eu/*/1", "eu/b/1", true),
            ("eu/*/1", "eu/b/2", false),
            ("eu/a/1", "eu/a/2", false),
            ("us", "eu/a/1", false),
            ("eu", "", false),
        ] {
            assert_eq!(covers(locality, &place(at, &[])), covered, "{locality} {at}");
        }
    }

    #[test]
    fn levels_by_distance() {
        let places = ["eu/a/1", "eu/a/2", "eu/b/1", "us/a/1", "asia"].map(|at| place(at, &[]));
        let own = place("eu/a/1", &[]);
        let of = |rule| Tiers::new(&rule, &own, &places, &set(&places)).unwrap().of;
        assert_eq!(*of(failover(&[], &[])), [0, 1, 2, 3, 3, 3]);
        assert_eq!(*of(failover(&[], &[("eu", "asia")])), [0, 1, 2, 4, 3, 4]);
        assert_eq!(*of(failover(&[], &[("us", "asia")])), [0, 1, 2, 3, 3, 3]);
        let near = Tiers::new(&failover(&[], &[]), &own, std::slice::from_ref(&own), &set(&places));
        assert!(near.is_some(), "one is near and the others unknown");
    }

    #[test]
    fn levels_by_labels() {
        let places = [
            place("eu", &[("rack", "1"), ("version", "v1")]),
            place("eu", &[("rack", "1"), ("version", "v2")]),
            place("us", &[("rack", "2"), ("version", "v1")]),
            place("us", &[("version", "v1")]),
        ];
        let own = place("eu", &[("rack", "1"), ("version", "v2")]);
        let of = |rule| Tiers::new(&rule, &own, &places, &set(&places)).unwrap().of;
        assert_eq!(*of(failover(&[("rack", None), ("version", None)], &[])), [1, 0, 2, 2, 2]);
        assert_eq!(*of(failover(&[("rack", None), ("version", Some("v1"))], &[])), [0, 1, 2, 2, 2]);
        assert_eq!(*of(failover(&[("version", Some("v1"))], &[("eu", "us")])), [0, 2, 1, 1, 3]);
        let one = place("eu", &[]);
        assert!(
            {
                let only = std::slice::from_ref(&one);
                Tiers::new(&failover(&[("rack", None)], &[]), &one, only, &set(only))
            }
            .is_none(),
            "all are equal"
        );
    }

    #[test]
    fn parts_of_a_distribution() {
        let places = ["eu/a/1", "eu/b/1", "us/a/1"].map(|at| place(at, &[]));
        let to = |to: &[(&str, u32)]| to.iter().map(|(l, w)| ((*l).to_owned(), *w)).collect();
        let rule = LocalityRule::Distribute(vec![
            ringway_config::model::Distribute { from: "us/*".into(), to: to(&[("us", 100)]) },
            ringway_config::model::Distribute { from: "eu/a/*".into(), to: to(&[("eu/a", 80), ("us", 20)]) },
        ]);
        let tiers = Tiers::new(&rule, &place("eu/a/9", &[]), &places, &set(&places)).unwrap();
        assert_eq!(*tiers.of, [0, NOWHERE, 1, NOWHERE]);
        assert_eq!(tiers.parts.iter().map(|p| (p.level, p.weight)).collect::<Vec<_>>(), [(0, 80), (0, 20)]);
        assert!(Tiers::new(&rule, &place("asia", &[]), &places, &set(&places)).is_none());
    }
}
