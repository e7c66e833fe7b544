//! What the Gateway API's `status` of its objects has to say, as data: who is accepted, what is attached, which references lead nowhere.
//!
//! [`crate::translate::statuses`] computes it from objects alone: no clock, no cluster. Whoever writes it to one adds `lastTransitionTime`.

mod features;
mod json;
mod text;

pub use features::FEATURES;
pub use json::to_json;
pub use text::to_text;

use crate::object::ObjectRef;
use crate::object::http_route::Parent;

/// `controllerName` of routes whose class is not among the objects.
pub const CONTROLLER: &str = "ringway.dev/gateway-controller";

/// The status of one object.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectStatus {
    /// Whose it is.
    pub object: ObjectRef,
    /// `metadata.generation` that it is about; 0 is unknown.
    pub generation: u64,
    /// What it says.
    pub content: Content,
}

/// The parts of a status, by kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A GatewayClass.
    Class {
        /// Accepted.
        conditions: Vec<Condition>,
    },
    /// A Gateway.
    Gateway {
        /// Accepted, Programmed, ResolvedRefs.
        conditions: Vec<Condition>,
        /// In order.
        listeners: Vec<ListenerStatus>,
    },
    /// A route.
    Route {
        /// One for each parent, in order.
        parents: Vec<ParentStatus>,
    },
}

/// The status of one listener.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerStatus {
    /// Its name.
    pub name: String,
    /// The kind of route that may attach, if one may.
    pub supported_kind: Option<&'static str>,
    /// Accepted routes that are attached.
    pub attached_routes: usize,
    /// Accepted, Programmed, ResolvedRefs, Conflicted.
    pub conditions: Vec<Condition>,
}

/// The status of a route at one parent.
#[derive(Clone, Debug, PartialEq)]
pub struct ParentStatus {
    /// Which one, as the route refers to it.
    pub parent: Parent,
    /// Whose it is.
    pub controller: String,
    /// Accepted, ResolvedRefs, and PartiallyInvalid where it is true. None: there is no such parent, and so nobody to say anything.
    pub conditions: Vec<Condition>,
}

/// One condition. `lastTransitionTime` is the writer's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// `type`.
    pub kind: &'static str,
    /// `True` or `False`.
    pub status: bool,
    /// One word, of the API's list.
    pub reason: &'static str,
    /// For people; empty when the reason says all.
    pub message: String,
}

impl Condition {
    /// `kind` holds: the reason is its name.
    pub fn holds(kind: &'static str) -> Self {
        Condition { kind, status: true, reason: kind, message: String::new() }
    }

    /// `kind` does not hold.
    pub fn fails(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Condition { kind, status: false, reason, message: message.into() }
    }

    /// Whether it is as people want it.
    pub fn is_good(&self) -> bool {
        self.status != matches!(self.kind, "Conflicted" | "PartiallyInvalid")
    }
}

impl ObjectStatus {
    /// Every condition of it.
    pub fn conditions(&self) -> Vec<&Condition> {
        match &self.content {
            Content::Class { conditions } => conditions.iter().collect(),
            Content::Gateway { conditions, listeners } => {
                conditions.iter().chain(listeners.iter().flat_map(|listener| &listener.conditions)).collect()
            }
            Content::Route { parents } => parents.iter().flat_map(|parent| &parent.conditions).collect(),
        }
    }

    /// Whether nothing is amiss.
    pub fn is_good(&self) -> bool {
        let orphan =
            matches!(&self.content, Content::Route { parents } if parents.iter().any(|p| p.conditions.is_empty()));
        !orphan && self.conditions().iter().all(|condition| condition.is_good())
    }
}
