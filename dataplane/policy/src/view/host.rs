//! One virtual host, compiled: what depends on its blob alone, and what depends on the other blobs of a snapshot.

use std::collections::HashMap;
use std::sync::Arc;

use ringway_config::model::{Action, Backend, Fault, Host, Mirror, PathRewrite, Route, RuleId};

use super::blob_of::BlobOf;
use super::conditions::{Conditions, Miss, Request};
use super::cors::Sharing;
use super::error::Cause;
use super::index::Index;
use super::pattern::Patterns;
use super::regex_rewrite::RegexRewrite;
use crate::balance::{below, by_weight};
use crate::facts::Rng;

/// A share without a cluster.
const NO_CLUSTER: u32 = u32::MAX;

/// One virtual host.
pub struct HostView {
    /// Name of its blob.
    pub name: Arc<str>,
    /// What its blob says: domains, routes and actions.
    pub model: BlobOf<Host>,
    pub(crate) program: Arc<Program>,
    /// Dense ids of the program's clusters.
    pub(super) clusters: Arc<[u32]>,
}

/// What can be compiled from the blob alone, and is kept for as long as the blob does not change.
///
/// A decision reads these compact copies and not the model: among 100,000 hosts every pointer followed is a cache miss.
pub(crate) struct Program {
    pub(super) model: BlobOf<Host>,
    pub(crate) rule: RuleId,
    pub(crate) routes: Box<[Compiled]>,
    index: Index,
    /// Beside the model's actions.
    pub(crate) answers: Box<[Answer]>,
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
    pub shares: Box<[Share]>,
    pub sharing: Option<Box<Sharing>>,
    copies: Box<[Copies]>,
    pub(super) rewrite: Option<Box<RegexRewrite>>,
    weight_total: u64,
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
        let copies = match self.program.answers.get(action as usize) {
            Some(Answer::Forward(split)) => &split.copies[..],
            _ => &[],
        };
        copies.iter().filter_map(|c| Some((self.clusters.get(c.cluster as usize).copied()?, c.per_million)))
    }

    /// The compiled path edit of an action, if it is one with a pattern.
    pub(super) fn regex_rewrite(&self, action: u32) -> Option<&RegexRewrite> {
        match self.program.answers.get(action as usize) {
            Some(Answer::Forward(split)) => split.rewrite.as_deref(),
            _ => None,
        }
    }

    /// Whether an action has mirrors.
    #[inline]
    pub fn copies(&self, action: u32) -> bool {
        matches!(self.program.answers.get(action as usize), Some(Answer::Forward(split)) if !split.copies.is_empty())
    }

    /// The dense id of a share's cluster; `None` when it has none.
    pub(crate) fn cluster_of(&self, share: &Share) -> Option<u32> {
        self.clusters.get(share.cluster as usize).copied()
    }
}

impl Program {
    pub(super) fn compile(model: BlobOf<Host>) -> Result<Program, (RuleId, Cause)> {
        let mut patterns = Patterns::default();
        let mut routes = Vec::with_capacity(model.routes.len());
        for route in &model.routes {
            let (rule, action) = (route.rule, route.action);
            let Some(done) = model.actions.get(action as usize) else {
                return Err((rule, Cause::NoAction(action)));
            };
            let faulty = fault_of(done).is_some();
            let conditions = Conditions::compile(&route.matches, &mut patterns);
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
        let mut copies = |m: &'a Mirror| Copies { cluster: names.number(&m.cluster), per_million: m.per_million };
        let copies = forward.mirrors.iter().map(&mut copies).collect();
        let share = |b: &'a Backend| Share {
            rule: b.rule,
            weight: b.weight,
            cluster: if b.cluster.is_empty() { NO_CLUSTER } else { names.number(&b.cluster) },
            missing_status: b.missing_status,
        };
        let rewrite = match &forward.path {
            PathRewrite::Regex { pattern, substitution } => {
                Some(Box::new(RegexRewrite::compile(pattern, substitution)?))
            }
            _ => None,
        };
        let sharing = forward.cors.as_ref().map(|cors| Sharing::compile(cors, patterns)).transpose()?;
        Ok(Answer::Forward(Split {
            timeout_ms: forward.timeout_ms,
            weight_total: forward.backends.iter().map(|b| u64::from(b.weight)).sum(),
            shares: forward.backends.iter().map(share).collect(),
            sharing: sharing.map(Box::new),
            copies,
            rewrite,
        }))
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
