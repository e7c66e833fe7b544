//! One request and its response, and one tunnel: the state between a downstream and an upstream connection.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use ringway_engine::slab::Key;
use ringway_engine::{Buf, Time};
use ringway_http::h1::BodyDecoder;
use ringway_http::head::{Framing, Method, Version};
use ringway_policy::{Plan, Slot};

use super::mirror::Copies;
use super::retry::{GivenUp, Tried};
use crate::active::Active;
use crate::retries::Granted;
use crate::telemetry::Flag;
use crate::telemetry::record::Record;

/// The worker's own count on the shared configuration, so that requests touch no cache line of another worker.
pub type Pinned = Rc<Arc<Active>>;

/// Memory for `replay` that a blank exchange keeps.
const REPLAY_KEPT_BYTES_MAX: usize = 8 << 10;

/// How far the response came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Response {
    /// No final head yet; so many interim (1xx) heads were passed on.
    Awaited {
        /// 1xx heads so far.
        interim: u8,
    },
    /// The head went out, the body follows.
    Body,
    /// All of it is queued.
    Done,
}

/// How long a request is kept to be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Not at all, or not any more.
    Nothing,
    /// Until the kernel took a byte of it.
    UntilSent,
    /// Until the head of its answer went to the client.
    UntilAnswered,
}

/// One HTTP exchange.
pub struct Exchange {
    /// The configuration it was decided on; let go with the response head.
    pub pinned: Option<Pinned>,
    /// What was decided.
    pub plan: Option<Plan>,
    /// The upstream connection.
    pub up: Option<Key>,
    /// The endpoint whose in-flight count this exchange is in.
    pub counted: Option<Slot>,
    /// Encoded head and body bytes that wait for the connection.
    pub waiting: VecDeque<Buf>,
    /// All that was sent so far, while it may be sent again.
    pub replay: Vec<u8>,
    /// Copies of the request for mirrors, until it is whole.
    pub copies: Option<Box<Copies>>,
    /// Header lines of the response that let its origin read it (CORS).
    pub cors: Vec<u8>,
    /// The request's head before any edit, where values of its answer read it.
    pub asked: Vec<u8>,
    /// Bytes of the head in `replay`.
    pub head_bytes: usize,
    /// For how long that is.
    pub keep: Keep,
    /// Doing what it asks for twice is as good as once: an idempotent method, or an `Idempotency-Key`.
    pub repeatable: bool,
    /// It went out again on a fresh connection because a pooled one had closed; this happens once.
    pub replayed: bool,
    /// Its route has a retry policy.
    pub has_policy: bool,
    /// Tries after the first.
    pub retries: u8,
    /// Its place in the cluster's retry budget.
    pub granted: Option<Granted>,
    /// Endpoints it was sent to before.
    pub tried: Tried,
    /// Why there was no further try.
    pub given_up: GivenUp,
    /// Time for one try; 0 is none.
    pub try_timeout_ms: u64,
    /// When the next try starts.
    pub retry_at: Time,
    /// The head of this try's answer must be there by then.
    pub try_deadline: Time,
    /// Its place among the requests that wait for a connection; 0 when it does not.
    pub ticket: u64,
    /// Bytes of `waiting` that are charged to the worker's budget meanwhile.
    pub charged: usize,
    /// Request body.
    pub request_body: BodyDecoder,
    /// All of the request was received.
    pub request_done: bool,
    /// Response so far.
    pub response: Response,
    /// Response body.
    pub response_body: BodyDecoder,
    /// The request's method, for response framing.
    pub method: Method,
    /// The client's version.
    pub version: Version,
    /// The client asked for a WebSocket.
    pub upgrade: bool,
    /// The downstream connection goes on afterwards.
    pub keep_downstream: bool,
    /// The upstream connection goes on afterwards.
    pub keep_upstream: bool,
    /// Sending upstream met a reset. The socket reports it once: to the receiving side the end then looks like FIN.
    pub upstream_reset: bool,
    /// Receiving from upstream is paused until the client reads.
    pub upstream_paused: bool,
    /// Receiving from downstream is paused until the upstream reads.
    pub downstream_paused: bool,
    /// When the head was complete.
    pub start: Time,
    /// The whole exchange must end by then.
    pub deadline: Time,
    /// The connect must end by then.
    pub connect_deadline: Time,
    /// Last time a byte moved.
    pub progress: Time,
    /// When the upstream's head came, for the log.
    pub upstream_head: Time,
    /// Final status; 0 before the head.
    pub status: u16,
    /// Response flag.
    pub flag: Flag,
    /// Interned source workload (inbound) or 0.
    pub source: u16,
    /// Interned destination workload.
    pub destination: u16,
    /// Interned destination service.
    pub service: u16,
    /// Body bytes to the client.
    pub bytes_sent: u64,
    /// Access-log record under construction.
    pub record: Option<Box<Record>>,
}

const _: () = assert!(size_of::<Exchange>() <= 464);

impl Exchange {
    /// A blank one; its buffers are kept over many lives.
    pub fn blank() -> Exchange {
        Exchange {
            pinned: None,
            plan: None,
            up: None,
            counted: None,
            waiting: VecDeque::new(),
            replay: Vec::new(),
            copies: None,
            cors: Vec::new(),
            asked: Vec::new(),
            head_bytes: 0,
            keep: Keep::Nothing,
            repeatable: false,
            replayed: false,
            has_policy: false,
            retries: 0,
            granted: None,
            tried: Tried::default(),
            given_up: GivenUp::No,
            try_timeout_ms: 0,
            retry_at: Time::NEVER,
            try_deadline: Time::NEVER,
            ticket: 0,
            charged: 0,
            request_body: BodyDecoder::new(Framing::None, ringway_http::h1::Output::Verbatim),
            request_done: false,
            response: Response::Awaited { interim: 0 },
            response_body: BodyDecoder::new(Framing::None, ringway_http::h1::Output::Verbatim),
            method: Method::Get,
            version: Version::Http11,
            upgrade: false,
            keep_downstream: true,
            keep_upstream: true,
            upstream_reset: false,
            upstream_paused: false,
            downstream_paused: false,
            start: Time(0),
            deadline: Time::NEVER,
            connect_deadline: Time::NEVER,
            progress: Time(0),
            upstream_head: Time(0),
            status: 0,
            flag: Flag::None,
            source: 0,
            destination: 0,
            service: 0,
            bytes_sent: 0,
            record: None,
        }
    }

    /// Blank again, memory kept unless it is much.
    pub fn reset(&mut self) {
        let (mut waiting, mut replay) = (std::mem::take(&mut self.waiting), std::mem::take(&mut self.replay));
        let (mut cors, mut asked) = (std::mem::take(&mut self.cors), std::mem::take(&mut self.asked));
        waiting.clear();
        replay.clear();
        cors.clear();
        asked.clear();
        if replay.capacity() > REPLAY_KEPT_BYTES_MAX {
            replay = Vec::new();
        }
        *self = Exchange { waiting, replay, cors, asked, ..Exchange::blank() };
    }
}

/// Opaque bytes between two connections: a TCP listener's, or a WebSocket after its 101.
pub struct Tunnel {
    /// The other side.
    pub up: Key,
    /// The upstream is connected.
    pub connected: bool,
    /// Bytes that wait for the connection.
    pub waiting: VecDeque<Buf>,
    /// From the client.
    pub to_up: Flow,
    /// From the upstream.
    pub to_down: Flow,
    /// When it began.
    pub start: Time,
    /// Last time a byte moved.
    pub progress: Time,
    /// Closed after this long without progress; `None` is never.
    pub idle: Option<std::time::Duration>,
    /// The connect must end by then.
    pub connect_deadline: Time,
    /// It is closed then, whatever moves on it.
    pub expires: Time,
    /// Endpoint counted in flight.
    pub counted: Option<Slot>,
    /// The configuration it was decided on, until it is connected: gives [`Tunnel::cluster`] its meaning.
    pub pinned: Option<Pinned>,
    /// Other endpoints may still be tried: nothing was sent.
    pub attempts: u8,
    /// The cluster, to try another endpoint.
    pub cluster: u32,
    /// What the cluster chooses by, if by a key.
    pub key: u64,
    /// How it ended.
    pub flag: Flag,
    /// An HTTP exchange became this tunnel; its record and labels end with it.
    pub http: Option<Box<Exchange>>,
    /// Interned source workload.
    pub source: u16,
    /// Interned destination workload.
    pub destination: u16,
    /// Interned destination service.
    pub service: u16,
    /// Access-log record under construction.
    pub record: Option<Box<Record>>,
}

/// One direction of a tunnel.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flow {
    /// Bytes so far.
    pub bytes: u64,
    /// The source sent FIN.
    pub ended: bool,
    /// The source is paused until the sink drains.
    pub paused: bool,
    /// Bytes now move inside the kernel.
    pub spliced: bool,
    /// Waiting for the sink to drain before splicing.
    pub splice_wanted: bool,
}
