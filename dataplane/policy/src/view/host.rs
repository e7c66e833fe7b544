//! One virtual host, compiled: what depends on its blob alone, and what depends on the other blobs of a snapshot.

use std::collections::HashMap;
use std::sync::Arc;

use ringway_config::Blob;
use ringway_config::model::{Action, Backend, Fault, Forward, Host, Mirror, Model, Redirect, Respond, RuleId};
use ringway_config::v1::HostPieces;

use super::conditions::{Conditions, Miss, Request};
use super::cors::Sharing;
use super::error::Cause;
use super::index::Index;
use super::manner::{Manner, Manners};
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
/// A decision reads these compact copies and not the blob: among 100,000 hosts every pointer followed is a cache miss. A host of one route and one
/// destination is read without following any.
pub(crate) struct Program {
    pub(super) blob: Blob,
    pub(crate) rule: RuleId,
    pub(crate) routes: Few<Compiled>,
    index: Index,
    /// Beside the host's actions.
    pub(crate) answers: Few<Answer>,
    /// Clusters that actions name, each once.
    pub(super) clusters: Box<[Arc<str>]>,
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
    Redirect { status: u16, redirect: Box<Redirect> },
    Respond { status: u16, respond: Box<Respond> },
}

/// Weighted destinations.
pub(crate) struct Split {
    pub timeout_ms: u64,
    pub shares: Few<Share>,
    weight_total: u64,
    pub(super) manner: Option<Arc<Manner>>,
    /// Nobody's, of most actions.
    copies: Option<Box<[Copies]>>,
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
    /// What its blob says, decoded on first use and kept: for those who tell of it. A proxy, which has thousands, reads [`HostView::pieces`].
    pub fn model(&self) -> &Host {
        match self.program.blob.model() {
            Model::Host(host) => host,
            _ => unreachable!("a program is compiled from a host"),
        }
    }

    /// What its blob says, read where it lies.
    pub fn pieces(&self) -> HostPieces<'_> {
        self.program.pieces()
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
        let copies = self.split(action).and_then(|split| split.copies.as_deref());
        copies.unwrap_or_default().iter().filter_map(|c| Some((self.clusters.get(c.cluster)?, c.per_million)))
    }

    /// The compiled path edit of an action, if it is one with a pattern.
    pub(super) fn regex_rewrite(&self, action: u32) -> Option<&RegexRewrite> {
        self.split(action)?.manner.as_ref()?.rewrite.as_ref()
    }

    /// Whether an action has mirrors.
    #[inline]
    pub fn copies(&self, action: u32) -> bool {
        self.split(action).is_some_and(|split| split.copies.is_some())
    }

    #[inline]
    pub(super) fn split(&self, action: u32) -> Option<&Split> {
        match self.program.answers.get(action as usize) {
            Some(Answer::Forward(split)) => Some(split),
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
    pub(super) fn compile(
        blob: &Blob,
        own: &[(String, String)],
        manners: &mut Manners,
        patterns: &mut Patterns,
    ) -> Result<Program, (RuleId, Cause)> {
        let host = blob.host().ok_or((RuleId(0), Cause::WrongKind))?;
        let rule_of_host = host.rule();
        let (mut names, mut answers) = (Interned::default(), Vec::with_capacity(host.actions().len()));
        for action in host.actions() {
            let answer = Answer::new(action, &mut names, patterns, manners);
            answers.push(answer.map_err(|reason| (rule_of_host, Cause::Pattern(reason)))?);
        }
        let mut routes = Vec::with_capacity(host.routes().len());
        for route in host.routes() {
            let (rule, action) = (route.rule, route.action);
            let Some(done) = answers.get(action as usize) else {
                return Err((rule, Cause::NoAction(action)));
            };
            let faulty = done.fault().is_some();
            let conditions = Conditions::compile(&route.matches, own, patterns);
            let conditions = conditions.map_err(|reason| (rule, Cause::Pattern(reason)))?;
            routes.push(Compiled { rule, action, faulty, conditions });
        }
        let index = Index::new(&routes);
        let clusters = names.list.into();
        let (blob, rule) = (blob.clone(), rule_of_host);
        Ok(Program { blob, rule, routes: routes.into(), index, answers: answers.into(), clusters })
    }

    pub(super) fn pieces(&self) -> HostPieces<'_> {
        self.blob.host().expect("a program is compiled from a host")
    }

    /// The number of the first route that matches.
    #[inline]
    pub(crate) fn find(&self, request: &Request<'_>, scratch: &mut Vec<u8>) -> Option<u32> {
        self.index.find(&self.routes, request, scratch)
    }

    /// The fault of an action.
    pub(crate) fn fault(&self, action: u32) -> Option<&Fault> {
        self.answers.get(action as usize)?.fault()
    }

    /// Why a route does not match.
    pub(crate) fn miss(&self, route: usize, request: &Request<'_>, scratch: &mut Vec<u8>) -> Option<Miss<'_>> {
        self.routes.get(route)?.conditions.miss(request, scratch)
    }
}

impl Answer {
    /// Err: why a pattern does not compile.
    fn new(
        action: Action,
        names: &mut Interned,
        patterns: &mut Patterns,
        manners: &mut Manners,
    ) -> Result<Answer, String> {
        let forward: Forward = match action {
            Action::Forward(forward) => forward,
            Action::Redirect(redirect) => {
                return Ok(Answer::Redirect { status: redirect.status, redirect: redirect.into() });
            }
            Action::Respond(respond) => {
                return Ok(Answer::Respond { status: respond.status, respond: respond.into() });
            }
        };
        let mut share = |b: &Backend| Share {
            rule: b.rule,
            weight: b.weight,
            cluster: if b.cluster.is_empty() { NO_CLUSTER } else { names.number(&b.cluster) },
            missing_status: b.missing_status,
        };
        let shares = forward.backends.iter().map(&mut share).collect();
        let copies = |m: &Mirror| Copies { cluster: names.number(&m.cluster), per_million: m.per_million };
        let copies: Box<[Copies]> = forward.mirrors.iter().map(copies).collect();
        Ok(Answer::Forward(Split {
            timeout_ms: forward.timeout_ms,
            weight_total: forward.backends.iter().map(|b| u64::from(b.weight)).sum(),
            shares,
            copies: (!copies.is_empty()).then_some(copies),
            manner: manners.of(forward, patterns)?,
        }))
    }

    fn fault(&self) -> Option<&Fault> {
        match self {
            Answer::Forward(split) => split.manner.as_ref()?.forward.fault.as_ref(),
            Answer::Redirect { redirect, .. } => redirect.fault.as_ref(),
            Answer::Respond { respond, .. } => respond.fault.as_ref(),
        }
    }
}

impl Split {
    /// The origins that may read it, where CORS is configured.
    #[inline]
    pub(crate) fn sharing(&self) -> Option<&Sharing> {
        self.manner.as_ref()?.sharing.as_ref()
    }

    /// The action that a share has of its own.
    #[inline]
    pub(crate) fn own(&self, share: u32) -> Option<u32> {
        self.manner.as_ref()?.forward.backends.get(share as usize)?.action
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
struct Interned {
    numbers: HashMap<Arc<str>, u32>,
    list: Vec<Arc<str>>,
}

impl Interned {
    fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let (name, number) = (Arc::<str>::from(name), self.list.len() as u32);
        self.list.push(name.clone());
        self.numbers.insert(name, number);
        number
    }
}
