//! A TCP client: names its tunnel in its first bytes, then sends and receives opaque ones.

use ringway_engine::Time;
use ringway_engine::sim::{PeerId, PeerState};

use crate::mesh::tcp_address;
use crate::pattern::Way;
use crate::plan::TunnelPlan;
use crate::run::Stage;
use crate::stream::{Standing, Stream};

/// Bytes that name a tunnel to its upstream: its id and when it began.
pub const NAME_BYTES: usize = 12;

/// One client.
pub struct TunnelClient {
    id: u32,
    plan: TunnelPlan,
    peer: Option<PeerId>,
    stream: Stream,
    name: Vec<u8>,
    /// When it wants to act although nothing happens.
    pub wake: Time,
    /// It is over.
    pub done: bool,
    /// Everything went through.
    pub whole: bool,
}

impl TunnelClient {
    /// A client that has not started.
    pub fn new(id: u32, plan: TunnelPlan, epoch: Time) -> TunnelClient {
        let stream = Stream::new(id, Way::Up, plan.opaque, plan.pace);
        let wake = epoch.after(plan.start);
        TunnelClient { id, plan, peer: None, stream, name: Vec::new(), wake, done: false, whole: false }
    }

    /// The connection, if there is one.
    pub fn peer(&self) -> Option<PeerId> {
        self.peer
    }

    /// Where it stands, for the message about a run that is stuck.
    pub fn standing(&self, stage: &Stage) -> String {
        let state = self.peer.map(|peer| stage.world.peer_state(peer));
        format!("tunnel {}: {state:?}, {:?}, {} bytes of its name unsent", self.id, self.stream, self.name.len())
    }

    /// Does what can be done now.
    pub fn act(&mut self, stage: &mut Stage) -> Result<(), String> {
        let Some(peer) = self.peer else {
            if stage.now >= self.wake && !self.done {
                self.peer = Some(stage.world.peer_connect(tcp_address()));
                self.name.extend_from_slice(&self.id.to_le_bytes());
                self.name.extend_from_slice(&stage.now.0.to_le_bytes());
                self.wake = Time::NEVER;
                stage.trace.note(stage.now, "tunnel", self.id as usize, "connects", self.id, 0);
            }
            return Ok(());
        };
        self.wake = Time::NEVER;
        match stage.world.peer_state(peer) {
            PeerState::Connecting => return Ok(()),
            PeerState::Failed(_) | PeerState::Gone => return self.over(stage, Standing::Cut),
            PeerState::Open { .. } => {}
        }
        if !self.name.is_empty() {
            let n = stage.world.peer_write(peer, &self.name);
            self.name.drain(..n);
            if !self.name.is_empty() {
                return Ok(());
            }
        }
        let standing = self.stream.act(stage, peer, &[], &mut self.wake)?;
        if self.plan.leave.is_some_and(|bytes| self.stream.bytes() >= bytes) {
            stage.trace.note(stage.now, "tunnel", self.id as usize, "leaves", self.id, 0);
            stage.world.peer_reset(peer);
            (self.peer, self.done, self.wake) = (None, true, Time::NEVER);
            return Ok(());
        }
        if standing == Standing::Open { Ok(()) } else { self.over(stage, standing) }
    }

    fn over(&mut self, stage: &mut Stage, standing: Standing) -> Result<(), String> {
        if standing == Standing::Cut && !stage.model.draining && !stage.model.profile.is_lossy() {
            return Err(format!("tunnel {} was cut", self.id));
        }
        self.whole = standing == Standing::Done;
        let what = if self.whole { "is done" } else { "is cut" };
        stage.trace.note(stage.now, "tunnel", self.id as usize, what, self.id, self.stream.bytes() as u64);
        if let Some(peer) = self.peer.take() {
            stage.world.peer_close(peer);
        }
        (self.done, self.wake) = (true, Time::NEVER);
        Ok(())
    }
}
