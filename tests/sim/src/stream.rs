//! One side of an opaque stream: sends its bytes, checks the other's, and insists on FIN in both directions.

use ringway_engine::Time;
use ringway_engine::io::End;
use ringway_engine::sim::{PeerId, PeerState};

use crate::model::expect_bytes;
use crate::pattern::{Way, fill};
use crate::plan::{Opaque, Pace, Turns};
use crate::run::Stage;

/// How it stands.
#[derive(Debug, PartialEq, Eq)]
pub enum Standing {
    /// Goes on.
    Open,
    /// Everything was sent and received.
    Done,
    /// Cut.
    Cut,
}

/// One side.
#[derive(Debug)]
pub struct Stream {
    id: u32,
    ours: Way,
    send_bytes: usize,
    sent: usize,
    receive_bytes: usize,
    received: usize,
    waits: bool,
    fin_sent: bool,
    ended: bool,
    pace: Pace,
    read_at: Time,
}

/// Bytes offered to the network at once.
const WRITE_BYTES: usize = 32 << 10;

impl Stream {
    /// The side that sends `ours`.
    pub fn new(id: u32, ours: Way, opaque: Opaque, pace: Pace) -> Stream {
        let (send_bytes, receive_bytes, last) = match ours {
            Way::Up => (opaque.up, opaque.down, Turns::ClientLast),
            Way::Down => (opaque.down, opaque.up, Turns::UpstreamLast),
        };
        Stream {
            id,
            ours,
            send_bytes,
            sent: 0,
            receive_bytes,
            received: 0,
            waits: opaque.turns == last,
            fin_sent: false,
            ended: false,
            pace,
            read_at: Time(0),
        }
    }

    /// Bytes so far, both ways.
    pub fn bytes(&self) -> usize {
        self.sent + self.received
    }

    /// Does what can be done now.
    pub fn act(&mut self, stage: &mut Stage, peer: PeerId, rest: &[u8], wake: &mut Time) -> Result<Standing, String> {
        self.take(rest)?;
        self.send(stage, peer);
        self.receive(stage, peer, wake)?;
        let PeerState::Open { readable, end, .. } = stage.world.peer_state(peer) else { return Ok(Standing::Cut) };
        match end {
            Some(End::Error(_)) if readable == 0 => return Ok(Standing::Cut),
            Some(End::Eof) if readable == 0 && !self.ended => {
                if self.received != self.receive_bytes {
                    return Ok(Standing::Cut);
                }
                self.ended = true;
                self.send(stage, peer);
            }
            _ => {}
        }
        if self.ended && self.fin_sent { Ok(Standing::Done) } else { Ok(Standing::Open) }
    }

    fn receive(&mut self, stage: &mut Stage, peer: PeerId, wake: &mut Time) -> Result<(), String> {
        if stage.now < self.read_at {
            *wake = (*wake).min(self.read_at);
            return Ok(());
        }
        let mut bytes = std::mem::take(&mut stage.scratch);
        bytes.clear();
        let n = stage.world.peer_read_some(peer, &mut bytes, self.pace.bytes);
        let taken = self.take(&bytes);
        stage.scratch = bytes;
        if n > 0 {
            self.read_at = stage.now.after(self.pace.gap);
        }
        if n == self.pace.bytes {
            *wake = (*wake).min(self.read_at);
        }
        taken
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        let theirs = if self.ours == Way::Up { Way::Down } else { Way::Up };
        expect_bytes(self.id, theirs, self.received, bytes)?;
        self.received += bytes.len();
        if self.received > self.receive_bytes {
            return Err(format!("stream {} got {} of {} bytes", self.id, self.received, self.receive_bytes));
        }
        Ok(())
    }

    fn send(&mut self, stage: &mut Stage, peer: PeerId) {
        if self.fin_sent || (self.waits && !self.ended) {
            return;
        }
        while self.sent < self.send_bytes {
            let len = (self.send_bytes - self.sent).min(WRITE_BYTES);
            stage.scratch.clear();
            fill(self.id, self.ours, self.sent, len, &mut stage.scratch);
            let n = stage.world.peer_write(peer, &stage.scratch);
            self.sent += n;
            if n < len {
                return;
            }
        }
        stage.world.peer_shutdown(peer);
        self.fin_sent = true;
    }
}
