//! The shadow model: what was asked, what arrived where, and what follows from it. It says what must not be.

use std::net::SocketAddr;

use ringway_engine::Time;

use crate::mesh::{Road, Version};
use crate::pattern::{Way, is_at};
use crate::plan::{Plan, Profile, Request};

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing yet.
    Pending,
    /// A whole answer with this status.
    Answered(u16),
    /// Its connection was cut.
    Cut,
    /// Its client left, or could not send it before the drain.
    Abandoned,
}

/// One request and what is known of it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The plan.
    pub request: Request,
    /// When its first byte was last sent.
    pub sent_at: Time,
    /// How often an upstream saw its head.
    pub heads: u32,
    /// How often an upstream saw all of it.
    pub wholes: u32,
    /// What became of it.
    pub outcome: Outcome,
}

/// Everything known.
pub struct Model {
    /// How wrong things may go.
    pub profile: Profile,
    /// All requests by id.
    pub asked: Vec<Asked>,
    /// Versions with the time from which every worker runs them.
    pub versions: Vec<(Version, Option<Time>)>,
    /// The drain began.
    pub draining: bool,
    /// Opaque connections that an upstream saw begin.
    pub tunnels_begun: usize,
}

impl Model {
    /// Nothing has happened.
    pub fn new(plan: &Plan) -> Model {
        let asked = |request: &Request| Asked {
            request: request.clone(),
            sent_at: Time(0),
            heads: 0,
            wholes: 0,
            outcome: Outcome::Pending,
        };
        Model {
            profile: plan.profile,
            asked: plan.requests.iter().map(asked).collect(),
            versions: Vec::new(),
            draining: false,
            tunnels_begun: 0,
        }
    }

    /// The request of this id.
    pub fn request(&self, id: u32) -> &Request {
        &self.asked[id as usize].request
    }

    /// True when this request may fail: answered with an error of the proxy's, or its connection cut.
    pub fn may_fail(&self, id: u32) -> bool {
        let request = self.request(id);
        self.profile.is_lossy()
            || request.answer.sabotage.is_some()
            || (request.road == Road::Flaky && !request.is_replayable())
            // Its tries may end at the endpoint that does not exist.
            || (request.road == Road::Half && request.is_retried())
    }

    /// A client sends it now, perhaps again.
    pub fn sent(&mut self, id: u32, now: Time) {
        self.asked[id as usize].sent_at = now;
    }

    /// An upstream read its head.
    pub fn head_seen(&mut self, id: u32, at: SocketAddr, method: &str) -> Result<(), String> {
        let lossy = self.profile.is_lossy();
        let asked = self.asked.get_mut(id as usize).ok_or_else(|| format!("an upstream got request {id}"))?;
        asked.heads += 1;
        if method != asked.request.method {
            return Err(format!("request {id} arrived as {method}"));
        }
        if asked.request.road.local_status().is_some() {
            return Err(format!("request {id} was not meant for an upstream"));
        }
        let again = asked.request.is_retried() || (asked.request.is_repeatable() && lossy);
        if asked.heads > 1 && !again {
            return Err(format!("request {id} ({method}) was sent upstream {} times", asked.heads));
        }
        self.endpoint_used(at, self.asked[id as usize].sent_at, &format!("request {id}"))
    }

    /// A request or connection that began at `since` reached this endpoint: one of the versions in force meanwhile must name it.
    pub fn endpoint_used(&self, at: SocketAddr, since: Time, what: &str) -> Result<(), String> {
        let first = self.versions.iter().rposition(|(_, from)| from.is_some_and(|from| from < since)).unwrap_or(0);
        if self.versions[first..].iter().any(|(version, _)| version.has(at)) {
            return Ok(());
        }
        Err(format!("{what} went to {at}, which left the config before it was sent"))
    }

    /// An upstream read all of it.
    pub fn whole_seen(&mut self, id: u32, bytes: usize) -> Result<(), String> {
        let asked = &mut self.asked[id as usize];
        asked.wholes += 1;
        if bytes != asked.request.upload.bytes() {
            return Err(format!("request {id} arrived with {bytes} of {} bytes", asked.request.upload.bytes()));
        }
        if asked.wholes > 1 && !asked.request.is_repeatable() {
            return Err(format!("request {id} ({}) was processed twice", asked.request.method));
        }
        Ok(())
    }

    /// Settles a request, once.
    pub fn settle(&mut self, id: u32, outcome: Outcome) -> Result<(), String> {
        let asked = &mut self.asked[id as usize];
        if asked.outcome != Outcome::Pending {
            return Err(format!("request {id} was settled as {:?} and now {outcome:?}", asked.outcome));
        }
        asked.outcome = outcome;
        Ok(())
    }

    /// The answer that the proxy gave by itself.
    pub fn own_answer(&self, id: u32, status: u16) -> Result<(), String> {
        let request = self.request(id);
        match request.road.local_status() {
            Some(planned) if planned == status => Ok(()),
            None if self.may_fail(id) && matches!(status, 400 | 408 | 502 | 503 | 504) => Ok(()),
            _ if self.profile.is_lossy() && status >= 500 => Ok(()),
            _ => {
                Err(format!("request {id} ({} {:?}) was answered {status} by the proxy", request.method, request.road))
            }
        }
    }

    /// At the end: nothing may be left over.
    pub fn settled(&self) -> Result<(), String> {
        for (id, asked) in self.asked.iter().enumerate() {
            match asked.outcome {
                Outcome::Pending => return Err(format!("request {id} has neither an answer nor an end")),
                Outcome::Answered(_)
                    if asked.heads == 0 && asked.request.road.local_status().is_none() && !self.may_fail(id as u32) =>
                {
                    return Err(format!("request {id} was answered by nobody"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Requests with a whole answer.
    pub fn answered(&self) -> usize {
        self.asked.iter().filter(|a| matches!(a.outcome, Outcome::Answered(_))).count()
    }
}

/// Checks bytes of a body or a stream against their pattern.
pub fn expect_bytes(id: u32, way: Way, offset: usize, bytes: &[u8]) -> Result<(), String> {
    if is_at(id, way, offset, bytes) {
        return Ok(());
    }
    Err(format!("wrong bytes {way:?} of exchange {id} within {} at offset {offset}", bytes.len()))
}
