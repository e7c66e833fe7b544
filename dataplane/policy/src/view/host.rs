//! One virtual host, compiled: what depends on its blob alone, and what depends on the other blobs of a snapshot.

use std::collections::HashMap;
use std::sync::Arc;

use ringway_config::model::{Action, Backend, Fault, Forward, Host, Mirror, PathRewrite, Route, RuleId};

use super::blob_of::BlobOf;
use super::conditions::{Conditions, Miss, Request};
use super::cors::Sharing;
use super::error::Cause;
use super::index::Index;
use super::pattern::Patterns;
use super::regex_rewrite::RegexRewrite;
use super::text::Few;
use crate::balance::{below, by_weight};
use crate::facts::Rng;

/// A share without a cluster.
const NO_CLUSTER: u32 = u32::MAX;

/// One virtual host; one cache line.
#[repr(align(64))]
pub struct HostView {
    /// Name of its blob.
    pub name: Arc<str>,
    /// What its blob says: domains, routes and actions.
    pub model: BlobOf<Host>,
    pub(crate) program: Arc<Program>,
    /// Dense ids of the program's clusters.
    pub(super) clusters: Numbers,
}

/// Dense ids, of which the first is at hand: most hosts have one cluster.
#[derive(Clone)]
pub(super) struct Numbers {
    first: u32,
    /// All of them; none where there is at most one.
    all: Option<Arc<[u32]>>,
}

const _: () = assert!(size_of::<HostView>() == 64);

/// What can be compiled from the blob alone, and is kept for as long as the blob does not change.
///
/// A decision reads these compact copies and not the model: among 100,000 hosts every pointer followed is a cache miss. A host of one route and one
/// destination is read without following any.
pub(crate) struct Program {
    pub(super) model: BlobOf<Host>,
    pub(crate) rule: RuleId,
    pub(crate) routes: Few<Compiled>,
    index: Index,
    /// Beside the model's actions.
    pub(crate) answers: Few<Answer>,
    /// Clusters that actions name, each once.
    pub(super) clusters: Box<[Box<str>]>,
}

/// A route, compiled.
pub(crate) struct Compiled {
    pub rule: RuleId,
    /// Checked: an index into [`Program::answers`].
    pub action: u32,
    /// The action has a fault to inject.
    pub faulty: bool,
    pub conditions: Conditions,
}

/// What a decision needs of an action.
pub(crate) enum Answer {
    Forward(Split),
    Redirect { status: u16 },
    Respond { status: u16 },
}

/// Weighted destinations.
pub(crate) struct Split {
    pub timeout_ms: u64,
    pub shares: Few<Share>,
    weight_total: u64,
    rare: Option<Box<Rare>>,
}

/// What few actions have.
struct Rare {
    sharing: Option<Sharing>,
    copies: Box<[Copies]>,
    rewrite: Option<RegexRewrite>,
    /// Beside the shares: the actions that some of them have of their own. Empty where none has.
    own: Box<[Option<u32>]>,
}

/// A destination of copies.
struct Copies {
    /// An index into [`Program::clusters`].
    cluster: u32,
    per_million: u32,
}

/// One weighted destination.
pub(crate) struct Share {
    pub rule: RuleId,
    weight: u32,
    /// An index into [`Program::clusters`], or [`NO_CLUSTER`].
    cluster: u32,
    pub missing_status: u16,
}

impl HostView {
    /// Its routes, in the order of evaluation.
    pub fn routes(&self) -> &[Route] {
        &self.model.routes
    }

    /// What its routes do.
    pub fn actions(&self) -> &[Action] {
        &self.model.actions
    }

    /// The cluster of a backend; `None` when it names none.
    pub fn cluster(&self, action: u32, backend: u32) -> Option<u32> {
        match self.program.answers.get(action as usize)? {
            Answer::Forward(split) => self.cluster_of(split.shares.get(backend as usize)?),
            Answer::Redirect { .. } | Answer::Respond { .. } => None,
        }
    }

    /// The clusters that get copies of an action's requests, and of how many of a million.
    pub fn mirrors(&self, action: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
        let copies = self.rare(action).map_or(&[][..], |rare| &rare.copies);
        copies.iter().filter_map(|c| Some((self.clusters.get(c.cluster)?, c.per_million)))
    }

    /// The compiled path edit of an action, if it is one with a pattern.
    pub(super) fn regex_rewrite(&self, action: u32) -> Option<&RegexRewrite> {
        self.rare(action)?.rewrite.as_ref()
    }

    /// Whether an action has mirrors.
    #[inline]
    pub fn copies(&self, action: u32) -> bool {
        self.rare(action).is_some_and(|rare| !rare.copies.is_empty())
    }

    #[inline]
    fn rare(&self, action: u32) -> Option<&Rare> {
        match self.program.answers.get(action as usize) {
            Some(Answer::Forward(split)) => split.rare.as_deref(),
            _ => None,
        }
    }

    /// The dense id of a share's cluster; `None` when it has none.
    pub(crate) fn cluster_of(&self, share: &Share) -> Option<u32> {
        self.clusters.get(share.cluster)
    }
}

impl Numbers {
    #[inline]
    fn get(&self, number: u32) -> Option<u32> {
        match &self.all {
            None => (number == 0 && self.first != NO_CLUSTER).then_some(self.first),
            Some(all) => all.get(number as usize).copied(),
        }
    }
}

impl FromIterator<u32> for Numbers {
    fn from_iter<I: IntoIterator<Item = u32>>(ids: I) -> Numbers {
        let all: Vec<u32> = ids.into_iter().collect();
        let first = all.first().copied().unwrap_or(NO_CLUSTER);
        Numbers { first, all: (all.len() > 1).then(|| all.into()) }
    }
}

impl Program {
    /// `own`: the labels of the proxy's workload.
    pub(super) fn compile(model: BlobOf<Host>, own: &[(String, String)]) -> Result<Program, (RuleId, Cause)> {
        let mut patterns = Patterns::default();
        let mut routes = Vec::with_capacity(model.routes.len());
        for route in &model.routes {
            let (rule, action) = (route.rule, route.action);
            let Some(done) = model.actions.get(action as usize) else {
                return Err((rule, Cause::NoAction(action)));
            };
            let faulty = fault_of(done).is_some();
            let conditions = Conditions::compile(&route.matches, own, &mut patterns);
            let conditions = conditions.map_err(|reason| (rule, Cause::Pattern(reason)))?;
            routes.push(Compiled { rule, action, faulty, conditions });
        }
        let index = Index::new(&routes);
        let mut names = Interned::default();
        let compiled = model.actions.iter().map(|action| Answer::new(action, &mut names, &mut patterns));
        let answers = compiled.collect::<Result<_, String>>().map_err(|reason| (model.rule, Cause::Pattern(reason)))?;
        let clusters = names.list.into_iter().map(Box::from).collect();
        Ok(Program { rule: model.rule, routes: routes.into(), index, answers, clusters, model })
    }

    /// The number of the first route that matches.
    #[inline]
    pub(crate) fn find(&self, request: &Request<'_>, scratch: &mut Vec<u8>) -> Option<u32> {
        self.index.find(&self.routes, request, scratch)
    }

    /// The fault of an action.
    pub(crate) fn fault(&self, action: u32) -> Option<&Fault> {
        fault_of(self.model.actions.get(action as usize)?)
    }

    /// Why a route does not match.
    pub(crate) fn miss(&self, route: usize, request: &Request<'_>, scratch: &mut Vec<u8>) -> Option<Miss<'_>> {
        self.routes.get(route)?.conditions.miss(request, scratch)
    }
}

impl Answer {
    /// Err: why a pattern does not compile.
    fn new<'a>(action: &'a Action, names: &mut Interned<'a>, patterns: &mut Patterns) -> Result<Answer, String> {
        let forward = match action {
            Action::Forward(forward) => forward,
            Action::Redirect(redirect) => return Ok(Answer::Redirect { status: redirect.status }),
            Action::Respond(respond) => return Ok(Answer::Respond { status: respond.status }),
        };
        let share = |b: &'a Backend| Share {
            rule: b.rule,
            weight: b.weight,
            cluster: if b.cluster.is_empty() { NO_CLUSTER } else { names.number(&b.cluster) },
            missing_status: b.missing_status,
        };
        Ok(Answer::Forward(Split {
            timeout_ms: forward.timeout_ms,
            weight_total: forward.backends.iter().map(|b| u64::from(b.weight)).sum(),
            shares: forward.backends.iter().map(share).collect(),
            rare: Rare::new(forward, names, patterns)?.map(Box::new),
        }))
    }
}

impl Rare {
    /// Err: why a pattern does not compile.
    fn new<'a>(
        forward: &'a Forward,
        names: &mut Interned<'a>,
        patterns: &mut Patterns,
    ) -> Result<Option<Rare>, String> {
        let copies = |m: &'a Mirror| Copies { cluster: names.number(&m.cluster), per_million: m.per_million };
        let copies: Box<[Copies]> = forward.mirrors.iter().map(copies).collect();
        let rewrite = match &forward.path {
            PathRewrite::Regex { pattern, substitution } => Some(RegexRewrite::compile(pattern, substitution)?),
            _ => None,
        };
        let sharing = forward.cors.as_ref().map(|cors| Sharing::compile(cors, patterns)).transpose()?;
        let has_own = forward.backends.iter().any(|b| b.action.is_some());
        let own = forward.backends.iter().map(|b| b.action).filter(|_| has_own).collect();
        let none = sharing.is_none() && copies.is_empty() && rewrite.is_none() && !has_own;
        Ok((!none).then_some(Rare { sharing, copies, rewrite, own }))
    }
}

fn fault_of(action: &Action) -> Option<&Fault> {
    match action {
        Action::Forward(forward) => forward.fault.as_ref(),
        Action::Redirect(redirect) => redirect.fault.as_ref(),
        Action::Respond(respond) => respond.fault.as_ref(),
    }
}

impl Split {
    /// The origins that may read it, where CORS is configured.
    #[inline]
    pub(crate) fn sharing(&self) -> Option<&Sharing> {
        self.rare.as_ref()?.sharing.as_ref()
    }

    /// The action that a share has of its own.
    #[inline]
    pub(crate) fn own(&self, share: u32) -> Option<u32> {
        *self.rare.as_ref()?.own.get(share as usize)?
    }

    /// Draws a share by weight. None when there is none to draw: no share, or several that all weigh nothing.
    pub(crate) fn draw(&self, rng: &mut impl Rng) -> Option<u32> {
        match &*self.shares {
            [] => None,
            // A single destination is where requests go, whatever its weight (Istio's API).
            [_] => Some(0),
            shares => by_weight(shares.iter().map(|s| s.weight), below(rng, self.weight_total)?),
        }
    }
}

/// Cluster names, numbered as they come.
#[derive(Default)]
struct Interned<'a> {
    numbers: HashMap<&'a str, u32>,
    list: Vec<&'a str>,
}

impl<'a> Interned<'a> {
    fn number(&mut self, name: &'a str) -> u32 {
        *self.numbers.entry(name).or_insert_with(|| {
            self.list.push(name);
            self.list.len() as u32 - 1
        })
    }
}
