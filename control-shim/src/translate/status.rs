//! Conditions of the Gateway API's objects, by the very decisions that a translation goes by.

use super::Pass;
use super::attach::{AnyRoute, Obstacle};
use crate::diagnostic::Diagnostic;
use crate::mesh::Mesh;
use crate::object::gateway_api::{AddressProblem, K8sGateway, K8sListener, K8sProtocol, ListenerProblem};
use crate::object::http_filters::INCOMPATIBLE_FILTERS;
use crate::object::http_route::Parent;
use crate::object::objects::Entry;
use crate::object::{Object, ObjectRef};
use crate::status::{CONTROLLER, Condition, Content, ListenerStatus, ObjectStatus, ParentStatus};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Why an object is refused: the code and the message of its first error.
type Refusals<'d> = BTreeMap<&'d ObjectRef, (&'static str, &'d str)>;
/// (Gateway, listener) → accepted routes that are attached.
type Attached = BTreeMap<(ObjectRef, String), BTreeSet<ObjectRef>>;

/// The status of every GatewayClass, Gateway and route, in order of kind, namespace and name.
///
/// `refused` are objects that are not in force, as far as they were understood; `found` has the errors that refused them.
pub fn statuses(mesh: &Mesh, refused: &[Arc<Entry>], found: &[Diagnostic]) -> Vec<ObjectStatus> {
    let of_this_api = |entry: &&Arc<Entry>| {
        matches!(entry.object, Object::GatewayClass(_) | Object::K8sGateway(_)) || AnyRoute::of(&entry.object).is_some()
    };
    let (mut objects, mut refusals) = (mesh.objects.clone(), Refusals::new());
    for entry in refused.iter().filter(of_this_api) {
        let reference = &entry.object.meta().reference;
        let errors = found.iter().filter(|found| found.is_error() && found.object.as_ref() == Some(reference));
        let mut errors = errors.map(|error| (error.code, error.message.as_str()));
        let first = errors.clone().find(|(code, _)| *code == INCOMPATIBLE_FILTERS).or_else(|| errors.next());
        refusals.insert(reference, first.unwrap_or(("refused", "it is refused")));
        objects = objects.with(entry.clone());
    }
    let mesh = Mesh { objects, ..mesh.clone() };
    let pass = Pass::new(&mesh);
    let mut attached = Attached::new();
    let routes = mesh.objects.iter().filter_map(|entry| AnyRoute::of(&entry.object));
    let mut all: Vec<_> = routes.map(|route| pass.route_status(&route, &refusals, &mut attached)).collect();
    for entry in mesh.objects.iter() {
        let refusal = refusals.get(&entry.object.meta().reference);
        let content = match &entry.object {
            Object::GatewayClass(_) => Content::Class { conditions: vec![class_accepted(refusal)] },
            Object::K8sGateway(gateway) => gateway_status(gateway, refusal, &attached),
            _ => continue,
        };
        let meta = entry.object.meta();
        all.push(ObjectStatus { object: meta.reference.clone(), generation: meta.generation, content });
    }
    all.sort_by(|a, b| a.object.cmp(&b.object));
    all
}

/// The only thing that refuses a class as such is parameters.
fn class_accepted(refusal: Option<&(&str, &str)>) -> Condition {
    match refusal {
        Some((_, message)) => Condition::fails("Accepted", "InvalidParameters", *message),
        None => Condition::holds("Accepted"),
    }
}

fn gateway_status(gateway: &K8sGateway, refusal: Option<&(&'static str, &str)>, attached: &Attached) -> Content {
    let served = |listener: &&K8sListener| listener.problem.is_none();
    let left_out: Vec<&str> =
        gateway.listeners.iter().filter(|one| !served(one)).map(|one| one.name.as_str()).collect();
    let none = left_out.len() == gateway.listeners.len();
    let unserved = format!("not served: {}", left_out.join(", "));
    let accepted = match refusal {
        Some((_, message)) if gateway.addresses == Some(AddressProblem::UnknownType) => {
            Condition::fails("Accepted", "UnsupportedAddress", *message)
        }
        Some((_, message)) if gateway.parameters => Condition::fails("Accepted", "InvalidParameters", *message),
        Some((_, message)) => Condition::fails("Accepted", "Invalid", *message),
        None if left_out.is_empty() => Condition::holds("Accepted"),
        None => {
            Condition { status: !none, reason: "ListenersNotValid", message: unserved, ..Condition::holds("Accepted") }
        }
    };
    let programmed = if !accepted.status {
        Condition::fails("Programmed", "Invalid", "the Gateway is not accepted")
    } else if gateway.addresses == Some(AddressProblem::NotUsable) {
        Condition::fails("Programmed", "AddressNotUsable", "it is served, but not at the addresses that it asks for")
    } else {
        Condition::holds("Programmed")
    };
    let unresolved: Vec<&str> =
        gateway.listeners.iter().filter(|one| !one.foreign_kinds.is_empty()).map(|one| one.name.as_str()).collect();
    let resolved = if unresolved.is_empty() {
        Condition::holds("ResolvedRefs")
    } else {
        Condition::fails("ResolvedRefs", "ListenersNotResolved", format!("look at {}", unresolved.join(", ")))
    };
    let listener = |one: &K8sListener| {
        let routes = attached.get(&(gateway.meta.reference.clone(), one.name.clone()));
        listener_status(one, accepted.status, routes.map_or(0, BTreeSet::len))
    };
    let listeners = gateway.listeners.iter().map(listener).collect();
    Content::Gateway { conditions: vec![accepted, programmed, resolved], listeners }
}

fn listener_status(listener: &K8sListener, gateway_accepted: bool, attached_routes: usize) -> ListenerStatus {
    let message = listener.problem.as_ref().map_or(String::new(), |problem| problem.tell().0);
    let (accepted, conflicted) = match &listener.problem {
        None => (None, None),
        Some(ListenerProblem::Protocol(_)) => (Some("UnsupportedProtocol"), None),
        Some(ListenerProblem::Terminate) => (Some("UnsupportedValue"), None),
        Some(ListenerProblem::ProtocolConflict(_)) => (Some("ProtocolConflict"), Some("ProtocolConflict")),
        Some(ListenerProblem::HostnameConflict(_)) => (Some("HostnameConflict"), Some("HostnameConflict")),
    };
    let fails = |kind, reason| Condition::fails(kind, reason, message.clone());
    let resolved = if listener.foreign_kinds.is_empty() {
        Condition::holds("ResolvedRefs")
    } else {
        let kinds = listener.foreign_kinds.join(", ");
        Condition::fails("ResolvedRefs", "InvalidRouteKinds", format!("{kinds} cannot attach to this listener"))
    };
    let conditions = vec![
        accepted.map_or_else(|| Condition::holds("Accepted"), |reason| fails("Accepted", reason)),
        match (accepted, gateway_accepted) {
            (None, true) => Condition::holds("Programmed"),
            (None, false) => Condition::fails("Programmed", "Invalid", "the Gateway is not accepted"),
            (Some(_), _) => fails("Programmed", "Invalid"),
        },
        resolved,
        Condition { status: conflicted.is_some(), ..fails("Conflicted", conflicted.unwrap_or("NoConflicts")) },
    ];
    let kind = listener.protocol.map(K8sProtocol::route_kind).filter(|_| listener.takes_routes);
    ListenerStatus { name: listener.name.clone(), supported_kind: kind, attached_routes, conditions }
}

/// There where some rules of an accepted route are dropped; the API gives the message its first words.
fn partially_invalid(route: &AnyRoute<'_>) -> Option<Condition> {
    let dropped: Vec<String> = route.dropped.iter().map(|(path, why)| format!("{path}: {why}")).collect();
    let message = format!("Dropped Rule {}", dropped.join("; "));
    let condition = Condition::holds("PartiallyInvalid");
    (!dropped.is_empty()).then_some(Condition { reason: "UnsupportedValue", message, ..condition })
}

impl Pass<'_> {
    fn route_status(&self, route: &AnyRoute<'_>, refusals: &Refusals<'_>, attached: &mut Attached) -> ObjectStatus {
        let refusal = refusals.get(&route.meta.reference);
        let mut parents = Vec::new();
        for parent in route.parents {
            let controller = self.controller(parent);
            let taken = self.taken_by(route, parent);
            let conditions = taken.map_or_else(Vec::new, |taken| {
                let accepted = self.route_accepted(route, parent, &taken, refusal);
                let partly = accepted.status.then(|| partially_invalid(route)).flatten();
                if let (true, Ok(listeners)) = (accepted.status, taken) {
                    for listener in listeners {
                        let key = (parent.reference(), listener.name.clone());
                        attached.entry(key).or_default().insert(route.meta.reference.clone());
                    }
                }
                [accepted, self.route_resolved(route)].into_iter().chain(partly).collect()
            });
            parents.push(ParentStatus { parent: parent.clone(), controller, conditions });
        }
        let content = Content::Route { parents };
        ObjectStatus { object: route.meta.reference.clone(), generation: route.meta.generation, content }
    }

    /// Who speaks for a parent: the controller of its class, where the class is there.
    fn controller(&self, parent: &Parent) -> String {
        let class = match self.mesh.objects.get(&parent.reference()).map(|entry| &entry.object) {
            Some(Object::K8sGateway(gateway)) => {
                self.mesh.objects.get(&ObjectRef::new("GatewayClass", "", &gateway.class)).map(|entry| &entry.object)
            }
            _ => None,
        };
        match class {
            Some(Object::GatewayClass(class)) => class.controller.clone(),
            _ => CONTROLLER.to_string(),
        }
    }

    fn route_accepted(
        &self,
        route: &AnyRoute<'_>,
        parent: &Parent,
        taken: &Result<Vec<&K8sListener>, Obstacle>,
        refusal: Option<&(&'static str, &str)>,
    ) -> Condition {
        if let Err(obstacle) = taken {
            let reason = match obstacle {
                Obstacle::NoListener | Obstacle::NoPort | Obstacle::Carried => "NoMatchingParent",
                Obstacle::NotAllowed => "NotAllowedByListeners",
                Obstacle::NoHostname => "NoMatchingListenerHostname",
            };
            return Condition::fails("Accepted", reason, obstacle.tell(route.meta, &parent.reference()).0);
        }
        match refusal {
            Some((INCOMPATIBLE_FILTERS, message)) => Condition::fails("Accepted", "IncompatibleFilters", *message),
            Some((_, message)) => Condition::fails("Accepted", "UnsupportedValue", *message),
            None => Condition::holds("Accepted"),
        }
    }

    fn route_resolved(&self, route: &AnyRoute<'_>) -> Condition {
        let resolve = |backend| self.resolve_backend(route.meta, backend, route.carried).err();
        match route.backends.iter().copied().find_map(resolve) {
            None => Condition::holds("ResolvedRefs"),
            Some(first) => Condition::fails("ResolvedRefs", first.reason, first.message),
        }
    }
}
