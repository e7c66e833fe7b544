//! How an action forwards, besides where to and within what time: edits, tries, faults and the like. Plain actions have nothing of it, and those that do the
//! same share it.

use std::sync::Arc;

use ringway_config::model::{Backend, Forward, PathRewrite};

use super::cors::Sharing;
use super::pattern::Patterns;
use super::regex_rewrite::RegexRewrite;

/// Manners looked at before a new one is made.
const RECENT_MAX: usize = 8;

/// What few actions have.
pub(crate) struct Manner {
    /// The action without clusters, weights, rules and time; without backends where they edit nothing.
    pub forward: Forward,
    pub sharing: Option<Sharing>,
    pub rewrite: Option<RegexRewrite>,
}

/// Those that were made last.
#[derive(Default)]
pub(super) struct Manners(Vec<Arc<Manner>>);

impl Manners {
    /// None for a plain action. Err: why a pattern does not compile.
    pub(super) fn of(&mut self, forward: Forward, patterns: &mut Patterns) -> Result<Option<Arc<Manner>>, String> {
        let forward = bare(forward);
        if forward == Forward::default() {
            return Ok(None);
        }
        if let Some(same) = self.0.iter().find(|manner| manner.forward == forward) {
            return Ok(Some(same.clone()));
        }
        let rewrite = match &forward.path {
            PathRewrite::Regex { pattern, substitution } => Some(RegexRewrite::compile(pattern, substitution)?),
            _ => None,
        };
        let sharing = forward.cors.as_ref().map(|cors| Sharing::compile(cors, patterns)).transpose()?;
        if self.0.len() == RECENT_MAX {
            self.0.remove(0);
        }
        let manner = Arc::new(Manner { forward, sharing, rewrite });
        self.0.push(manner.clone());
        Ok(Some(manner))
    }
}

/// Without what is compiled apart.
fn bare(mut forward: Forward) -> Forward {
    forward.timeout_ms = 0;
    forward.mirrors = Vec::new();
    for backend in &mut forward.backends {
        let (request, response) = (std::mem::take(&mut backend.request), std::mem::take(&mut backend.response));
        *backend = Backend { request, response, action: backend.action, ..Backend::default() };
    }
    if forward.backends.iter().all(|backend| *backend == Backend::default()) {
        forward.backends = Vec::new();
    }
    forward
}
