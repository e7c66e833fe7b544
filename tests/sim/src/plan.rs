//! What a seed wants to happen: its faults, and for each client the requests and tunnels, with what their upstreams will do.

use std::time::Duration;

use ringway_engine::sim::Faults;

use crate::dice::Dice;
use crate::mesh::Road;
use crate::wire::Body;

/// How wrong things may go; the seed's remainder chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// A perfect network and polite peers: nothing may fail.
    Calm,
    /// Everything late, split and short; polite peers: nothing may fail.
    Timing,
    /// The same network; peers that leave, cut and lie: only their own requests may fail.
    Hostile,
    /// A mixture of network faults: requests may fail, bytes may not be wrong.
    Swarm,
}

impl Profile {
    /// The profile of a seed.
    pub fn of(seed: u64) -> Profile {
        [Profile::Calm, Profile::Timing, Profile::Hostile, Profile::Swarm][(seed % 4) as usize]
    }

    /// What the network does.
    pub fn faults(self, seed: u64) -> Faults {
        // Small socket buffers make the proxy feel a slow peer soon.
        let socket_buffer_bytes = Dice::new(seed, 3).pick(&[2 << 10, 16 << 10, 128 << 10]);
        match self {
            Profile::Calm => Faults { socket_buffer_bytes, ..Faults::none() },
            Profile::Timing | Profile::Hostile => Faults { socket_buffer_bytes, ..Faults::timing() },
            Profile::Swarm => Faults::swarm(seed),
        }
    }

    /// Peers may misbehave.
    pub fn is_hostile(self) -> bool {
        matches!(self, Profile::Hostile | Profile::Swarm)
    }

    /// Any request may fail.
    pub fn is_lossy(self) -> bool {
        self == Profile::Swarm
    }
}

/// A request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upload {
    /// None, and no framing.
    None,
    /// With Content-Length.
    Length(usize),
    /// In chunks.
    Chunked(usize),
}

impl Upload {
    /// Bytes of content.
    pub fn bytes(self) -> usize {
        match self {
            Upload::None => 0,
            Upload::Length(n) | Upload::Chunked(n) => n,
        }
    }
}

/// What an upstream does wrong with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// Resets after so many bytes of its answer.
    Reset(usize),
    /// Closes after so many bytes of its answer.
    Close(usize),
    /// Answers with what is no HTTP.
    Garbage,
}

/// What an upstream answers.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Framing; `None` for answers without a body.
    pub body: Option<Body>,
    /// Bytes of content.
    pub bytes: usize,
    /// Interim heads before it.
    pub interim: u8,
    /// Does not wait for the request's body.
    pub early: bool,
    /// Says `Connection: close` and does.
    pub close: bool,
    /// Thinks for so long.
    pub delay: Duration,
    /// What goes wrong.
    pub sabotage: Option<Sabotage>,
}

/// Who waits for whom in an opaque stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turns {
    /// Both send at once.
    Free,
    /// The upstream sends after the client's FIN.
    UpstreamLast,
    /// The client sends after the upstream's FIN.
    ClientLast,
}

/// Opaque bytes both ways.
#[derive(Clone, Copy, Debug)]
pub struct Opaque {
    /// Bytes from the client.
    pub up: usize,
    /// Bytes from the upstream.
    pub down: usize,
    /// Who waits for whom.
    pub turns: Turns,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where to.
    pub road: Road,
    /// Method.
    pub method: &'static str,
    /// Body.
    pub upload: Upload,
    /// Waits for a 100.
    pub expect: bool,
    /// Becomes a WebSocket.
    pub upgrade: Option<Opaque>,
    /// What its upstream answers.
    pub answer: Answer,
}

impl Request {
    /// May reach an upstream more than once.
    pub fn is_repeatable(&self) -> bool {
        matches!(self.method, "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE") && self.upgrade.is_none()
    }

    /// Is sent again when a pooled connection turns out to be closed, whatever its body's length.
    pub fn is_replayable(&self) -> bool {
        self.is_repeatable() && matches!(self.upload, Upload::None | Upload::Length(0))
    }

    /// Its answer is one that the route's retry policy does not take for an answer.
    pub fn is_retried(&self) -> bool {
        self.is_repeatable() && (self.answer.status == 503 || self.answer.sabotage.is_some())
    }
}

/// How a peer reads.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Bytes taken at once.
    pub bytes: usize,
    /// Pause afterwards.
    pub gap: Duration,
}

/// One HTTP client.
#[derive(Clone, Debug)]
pub struct ClientPlan {
    /// When it connects.
    pub start: Duration,
    /// What it asks, by number in [`Plan::requests`].
    pub requests: Vec<u32>,
    /// Requests sent ahead of their answers.
    pub depth: usize,
    /// How it reads.
    pub pace: Pace,
    /// Sends FIN behind its last request.
    pub half_close: bool,
    /// Leaves after so many bytes sent and received.
    pub leave: Option<usize>,
    /// Keeps the connection open when it is done, until the proxy closes it.
    pub stays: bool,
}

/// One TCP client.
#[derive(Clone, Debug)]
pub struct TunnelPlan {
    /// When it connects.
    pub start: Duration,
    /// What goes through.
    pub opaque: Opaque,
    /// How it reads.
    pub pace: Pace,
    /// Leaves after so many bytes sent and received.
    pub leave: Option<usize>,
}

/// Everything of a seed.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How wrong things may go.
    pub profile: Profile,
    /// What the network does.
    pub faults: Faults,
    /// Workers, 1 or 2.
    pub workers: usize,
    /// All requests; a request's id is its place.
    pub requests: Vec<Request>,
    /// HTTP clients.
    pub clients: Vec<ClientPlan>,
    /// TCP clients; the first one's id is the number of requests.
    pub tunnels: Vec<TunnelPlan>,
    /// When the configuration changes.
    pub swaps: Vec<Duration>,
    /// The drain starts here although clients are busy; otherwise when they are done.
    pub drain: Option<Duration>,
}

/// Longest body of a request or a response.
const BODY_BYTES_MAX: usize = 160 << 10;
/// Longest opaque stream: enough to be spliced.
const OPAQUE_BYTES_MAX: usize = 900 << 10;
/// Within this span clients start and configurations change.
const SPAN: Duration = Duration::from_millis(300);

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64) -> Plan {
        let mut dice = Dice::new(seed, 1);
        let profile = Profile::of(seed);
        let mut plan = Plan {
            profile,
            faults: profile.faults(seed),
            workers: 1 + (seed / 4 % 2) as usize,
            requests: Vec::new(),
            clients: Vec::new(),
            tunnels: Vec::new(),
            swaps: (0..dice.below(7)).map(|_| dice.span(SPAN)).collect(),
            drain: (dice.one_in(4)).then(|| dice.span(SPAN)),
        };
        plan.swaps.sort();
        for _ in 0..4 + dice.below(14) {
            let client = plan.client(&mut dice);
            plan.clients.push(client);
        }
        for _ in 0..dice.below(4) {
            let leave = (profile.is_hostile() && dice.one_in(4)).then(|| dice.size(OPAQUE_BYTES_MAX));
            let (start, opaque, pace) = (dice.span(SPAN), opaque(&mut dice), pace(&mut dice));
            plan.tunnels.push(TunnelPlan { start, opaque, pace, leave });
        }
        plan
    }

    fn client(&mut self, dice: &mut Dice) -> ClientPlan {
        let hostile = self.profile.is_hostile();
        let first = self.requests.len() as u32;
        let count = 1 + dice.size(30);
        for _ in 0..count {
            let request = request(dice, hostile);
            let upgraded = request.upgrade.is_some();
            self.requests.push(request);
            if upgraded {
                break;
            }
        }
        ClientPlan {
            start: dice.span(SPAN),
            requests: (first..self.requests.len() as u32).collect(),
            depth: dice.pick(&[1, 1, 2, 5]),
            pace: pace(dice),
            half_close: dice.one_in(3),
            leave: (hostile && dice.one_in(5)).then(|| dice.size(200 << 10)),
            stays: dice.one_in(3),
        }
    }
}

fn pace(dice: &mut Dice) -> Pace {
    match dice.below(4) {
        0 => Pace { bytes: 256 + dice.size(16 << 10), gap: dice.span(Duration::from_millis(3)) },
        1 => Pace { bytes: usize::MAX, gap: dice.span(Duration::from_millis(30)) },
        _ => Pace { bytes: usize::MAX, gap: Duration::ZERO },
    }
}

fn opaque(dice: &mut Dice) -> Opaque {
    let max = dice.pick(&[4 << 10, 100 << 10, OPAQUE_BYTES_MAX]);
    Opaque {
        up: dice.size(max),
        down: dice.size(max),
        turns: dice.pick(&[Turns::Free, Turns::UpstreamLast, Turns::ClientLast]),
    }
}

fn request(dice: &mut Dice, hostile: bool) -> Request {
    let road = dice.pick(&[
        Road::Plain,
        Road::Plain,
        Road::Plain,
        Road::Split,
        Road::Split,
        Road::Flaky,
        Road::Flaky,
        Road::Half,
        Road::Local,
        Road::Redirect,
        Road::Nowhere,
    ]);
    let method = dice.pick(&["GET", "GET", "GET", "HEAD", "POST", "POST", "PUT", "DELETE", "OPTIONS"]);
    let upload = match (method, dice.below(4)) {
        ("POST", 2 | 3) => Upload::None,
        ("POST" | "PUT", 0) => Upload::Chunked(dice.size(BODY_BYTES_MAX)),
        ("POST" | "PUT", _) => Upload::Length(dice.size(BODY_BYTES_MAX)),
        ("DELETE", 0) => Upload::Length(dice.size(100)),
        _ => Upload::None,
    };
    let upgrade = (method == "GET" && road == Road::Plain && dice.one_in(8)).then(|| opaque(dice));
    let mut answer = answer(dice, hostile);
    if upgrade.is_some() {
        answer = Answer { status: 101, body: None, bytes: 0, early: false, close: false, sabotage: None, ..answer };
    }
    let expect = upload != Upload::None && dice.one_in(4);
    Request { road, method, upload, expect, upgrade, answer }
}

fn answer(dice: &mut Dice, hostile: bool) -> Answer {
    let status = dice.pick(&[200, 200, 200, 200, 201, 404, 503, 204, 304]);
    let body = match dice.below(8) {
        _ if status == 204 || status == 304 => None,
        0..4 => Some(Body::Length(0)),
        4..7 => Some(Body::Chunked),
        _ => Some(Body::UntilClose),
    };
    let bytes = match body {
        None => 0,
        Some(_) if dice.one_in(4) => dice.below(BODY_BYTES_MAX),
        Some(_) => dice.size(BODY_BYTES_MAX),
    };
    let sabotage = match (hostile && dice.one_in(5), dice.below(6)) {
        (false, _) => None,
        (_, 0) => Some(Sabotage::Garbage),
        // Says nothing at all: that is where a proxy is tempted to try again.
        (_, 1) => Some(Sabotage::Close(0)),
        (_, 2) => Some(Sabotage::Reset(0)),
        (_, 3) if body != Some(Body::UntilClose) => Some(Sabotage::Close(dice.size(bytes + 100))),
        _ => Some(Sabotage::Reset(dice.size(bytes + 100))),
    };
    Answer {
        status,
        body,
        bytes,
        interim: if dice.one_in(8) { 1 + dice.below(3) as u8 } else { 0 },
        early: dice.one_in(8),
        close: dice.one_in(8),
        delay: if dice.one_in(2) { Duration::ZERO } else { dice.span(Duration::from_millis(20)) },
        sabotage,
    }
}
