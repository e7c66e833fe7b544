//! Rule id → where the rule stands.

use super::shards::Shards;
use crate::object::{ObjectRef, Spot};
use ringway_config::model::{Action, ListenerProtocol, Model, ProvenanceEntry, RuleId};
use ringway_config::rules::rule_id;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Every rule of a translation.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    map: Shards<RuleId, Arc<Rule>>,
}

#[derive(Debug)]
struct Rule {
    object: ObjectRef,
    field: String,
    spot: Spot,
}

impl Rules {
    /// The id of a rule, and the rule that has it already if that is another one.
    pub(super) fn add(&mut self, object: &ObjectRef, field: &str, spot: &Spot) -> (RuleId, Option<String>) {
        let id = rule_id(&object.kind, &object.namespace, &object.name, field);
        let Some(known) = self.map.get(&id) else {
            let rule = Rule { object: object.clone(), field: field.into(), spot: spot.clone() };
            self.map.insert(id, Arc::new(rule));
            return (id, None);
        };
        let same = known.object == *object && known.field == field;
        (id, (!same).then(|| format!("`{}` of {}", known.field, known.object)))
    }

    /// Forgets what these objects said, and learns of `newer` what is in `ids`.
    pub(super) fn renew(
        &mut self,
        older: &Rules,
        objects: &BTreeSet<ObjectRef>,
        newer: &Rules,
        ids: &BTreeSet<RuleId>,
    ) {
        let gone = older.map.iter().filter(|(_, rule)| objects.contains(&rule.object)).map(|(id, _)| *id);
        gone.for_each(|id| self.map.remove(&id));
        for id in ids {
            if let Some(rule) = newer.map.get(id) {
                self.map.insert(*id, rule.clone());
            }
        }
    }

    /// The entries of these rules, sorted.
    pub fn entries(&self, ids: &BTreeSet<RuleId>) -> Vec<ProvenanceEntry> {
        ids.iter().filter_map(|id| self.entry(*id)).collect()
    }

    /// The object, field and place of a rule.
    pub fn standing(&self, id: RuleId) -> Option<(&ObjectRef, &str, &Spot)> {
        self.map.get(&id).map(|rule| (&rule.object, rule.field.as_str(), &rule.spot))
    }

    /// Where a rule stands.
    pub fn entry(&self, id: RuleId) -> Option<ProvenanceEntry> {
        let rule = self.map.get(&id)?;
        Some(ProvenanceEntry {
            rule: id,
            kind: rule.object.kind.to_string(),
            namespace: rule.object.namespace.to_string(),
            name: rule.object.name.to_string(),
            field: rule.field.clone(),
            file: rule.spot.file.name.to_string(),
            line: rule.spot.span.line,
            column: rule.spot.span.column,
        })
    }
}

/// The rules that a model names.
pub(super) fn rules_of(model: &Model, into: &mut BTreeSet<RuleId>) {
    match model {
        Model::Listeners(set) => {
            for listener in &set.listeners {
                into.insert(listener.rule);
                match &listener.protocol {
                    ListenerProtocol::Http { .. } => {}
                    ListenerProtocol::Tcp { rule, .. } => drop(into.insert(*rule)),
                    ListenerProtocol::Tls { routes } => into.extend(routes.iter().map(|route| route.rule)),
                }
            }
        }
        Model::Host(host) => {
            into.insert(host.rule);
            into.extend(host.routes.iter().map(|route| route.rule));
            for action in &host.actions {
                let fault = match action {
                    Action::Forward(forward) => {
                        into.extend(forward.backends.iter().map(|backend| backend.rule));
                        into.extend(forward.mirrors.iter().map(|mirror| mirror.rule));
                        &forward.fault
                    }
                    Action::Redirect(redirect) => &redirect.fault,
                    Action::Respond(respond) => &respond.fault,
                };
                into.extend(fault.iter().map(|fault| fault.rule));
            }
        }
        Model::Cluster(cluster) => {
            into.insert(cluster.rule);
        }
        Model::Endpoints(_) | Model::Policy(_) | Model::Provenance(_) => {}
    }
    into.remove(&RuleId(0));
}
