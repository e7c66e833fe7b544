//! An HTTP client: keep-alive, pipelining, bodies, upgrades, FIN behind the last request, leaving in the middle. It judges every answer.

use std::collections::VecDeque;

use ringway_engine::Time;
use ringway_engine::io::End;
use ringway_engine::sim::{PeerId, PeerState};

use crate::mesh::{LOCAL_BODY, Road, http_address};
use crate::model::{Outcome, expect_bytes};
use crate::pattern::{Way, fill};
use crate::plan::{ClientPlan, Upload};
use crate::run::Stage;
use crate::stream::{Standing, Stream};
use crate::wire::{Body, Head, Item, Reader};

/// One client.
pub struct Client {
    number: usize,
    plan: ClientPlan,
    todo: VecDeque<u32>,
    conn: Option<Conn>,
    moved: usize,
    /// When it wants to act although nothing happens.
    pub wake: Time,
    /// It has nothing to do any more; a connection may be open still.
    pub done: bool,
}

struct Conn {
    peer: PeerId,
    open: bool,
    reader: Reader,
    /// Sent, at least in part, and not answered; the oldest first.
    awaiting: VecDeque<u32>,
    out: VecDeque<Part>,
    write_at: Time,
    read_at: Time,
    /// The answer being read.
    answer: Option<Answering>,
    /// The proxy said that it closes after this answer.
    closing: bool,
    fin_sent: bool,
    stream: Option<(u32, Stream)>,
}

enum Part {
    Bytes { id: u32, bytes: Vec<u8>, at: usize },
    AwaitContinue(u32),
}

impl Part {
    fn unsent(&self) -> usize {
        match self {
            Part::Bytes { bytes, at, .. } => bytes.len() - at,
            Part::AwaitContinue(_) => 0,
        }
    }
}

struct Answering {
    id: u32,
    status: u16,
    upstream: bool,
    bytes: usize,
    text: Vec<u8>,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Fin,
    Cut,
}

impl Client {
    /// A client that has not started.
    pub fn new(number: usize, plan: ClientPlan, epoch: Time) -> Client {
        let wake = epoch.after(plan.start);
        let todo = plan.requests.iter().copied().collect();
        Client { number, plan, todo, conn: None, moved: 0, wake, done: false }
    }

    /// The connection, if there is one.
    pub fn peer(&self) -> Option<PeerId> {
        self.conn.as_ref().map(|c| c.peer)
    }

    /// Where it stands, for the message about a run that is stuck.
    pub fn standing(&self, stage: &Stage) -> String {
        let Some(conn) = &self.conn else {
            return format!("client {}: no connection, wakes {:?}", self.number, self.wake);
        };
        let state = stage.world.peer_state(conn.peer);
        let unsent: usize = conn.out.iter().map(Part::unsent).sum();
        let Client { number, wake, .. } = self;
        let Conn { awaiting, closing, fin_sent, answer, .. } = conn;
        format!(
            "client {number}: {state:?}, awaits {awaiting:?}, {unsent} bytes unsent in {} parts, in an answer: {}, closing: {closing}, FIN: {fin_sent}, wakes {wake:?}",
            conn.out.len(),
            answer.is_some(),
        )
    }

    /// Does what can be done now.
    pub fn act(&mut self, stage: &mut Stage) -> Result<(), String> {
        self.wake = if self.conn.is_none() && !self.done { self.wake } else { Time::NEVER };
        if self.conn.is_none() {
            return self.connect(stage);
        }
        if !self.is_open(stage)? {
            return Ok(());
        }
        self.read(stage)?;
        if self.conn.is_some() {
            self.write(stage)?;
        }
        self.check_end(stage)?;
        self.leave_or_finish(stage)
    }

    fn note(&self, stage: &mut Stage, what: &'static str, id: u32, n: u64) {
        stage.trace.note(stage.now, "client", self.number, what, id, n);
    }

    fn connect(&mut self, stage: &mut Stage) -> Result<(), String> {
        if self.done || stage.now < self.wake {
            return Ok(());
        }
        if self.todo.is_empty() {
            self.done = true;
            return Ok(());
        }
        let peer = stage.world.peer_connect(http_address());
        self.conn = Some(Conn {
            peer,
            open: false,
            reader: Reader::default(),
            awaiting: VecDeque::new(),
            out: VecDeque::new(),
            write_at: Time(0),
            read_at: Time(0),
            answer: None,
            closing: false,
            fin_sent: false,
            stream: None,
        });
        self.wake = Time::NEVER;
        self.note(stage, "connects", 0, 0);
        Ok(())
    }

    /// False while it is connecting, and when that failed.
    fn is_open(&mut self, stage: &mut Stage) -> Result<bool, String> {
        let Some(conn) = &mut self.conn else { return Ok(false) };
        match stage.world.peer_state(conn.peer) {
            PeerState::Open { .. } => {
                conn.open = true;
                Ok(true)
            }
            PeerState::Connecting => Ok(false),
            PeerState::Failed(_) | PeerState::Gone => {
                if !stage.model.draining && !stage.model.profile.is_lossy() {
                    return Err(format!("client {} could not connect", self.number));
                }
                self.note(stage, "cannot connect", 0, 0);
                self.abandon(stage)?;
                Ok(false)
            }
        }
    }

    fn read(&mut self, stage: &mut Stage) -> Result<(), String> {
        let Some(conn) = &mut self.conn else { return Ok(()) };
        if conn.stream.is_some() {
            return Ok(());
        }
        if stage.now < conn.read_at {
            self.wake = self.wake.min(conn.read_at);
            return Ok(());
        }
        let n = stage.world.peer_read_some(conn.peer, conn.reader.input(), self.plan.pace.bytes);
        self.moved += n;
        if n > 0 {
            conn.read_at = stage.now.after(self.plan.pace.gap);
        }
        if n == self.plan.pace.bytes {
            self.wake = self.wake.min(conn.read_at);
        }
        while let Some(conn) = &mut self.conn
            && conn.stream.is_none()
            && let Some(item) = conn.reader.next_item().map_err(|e| format!("client {}: {e}", self.number))?
        {
            match item {
                Item::Head(head) => self.head(stage, &head)?,
                Item::Data(data) => self.data(&data)?,
                Item::End => self.answered(stage)?,
            }
        }
        Ok(())
    }

    fn head(&mut self, stage: &mut Stage, head: &Head) -> Result<(), String> {
        let number = self.number;
        let Some(conn) = &mut self.conn else { return Ok(()) };
        let Some(id) = conn.awaiting.front().copied() else {
            return Err(format!("client {number} got {:?} and had asked for nothing", head.first));
        };
        let upstream = head.field("x-sim-id");
        if let Some(said) = upstream
            && said != id.to_string()
        {
            return Err(format!("client {number} got the answer to request {said} to its request {id}"));
        }
        let status = head.status();
        let planned = stage.model.request(id).clone();
        match status {
            100 => {
                if matches!(conn.out.front(), Some(Part::AwaitContinue(waiting)) if *waiting == id) {
                    conn.out.pop_front();
                }
                return Ok(());
            }
            101 => {
                let Some(opaque) = planned.upgrade else { return Err(format!("request {id} was upgraded unasked")) };
                conn.stream = Some((id, Stream::new(id, Way::Up, opaque, self.plan.pace)));
                self.note(stage, "is upgraded", id, 0);
                return Ok(());
            }
            102..200 => return Ok(()),
            _ => {}
        }
        if upstream.is_none() {
            stage.model.own_answer(id, status)?;
        } else if status != planned.answer.status {
            return Err(format!("request {id} was answered {status}, its upstream said {}", planned.answer.status));
        }
        conn.closing |= head.closes();
        // An answer before the request's end: the rest of it is not sent, and nothing can follow it.
        conn.out.retain(|part| !matches!(part, Part::AwaitContinue(of) if *of == id));
        if conn.out.iter().any(|part| matches!(part, Part::Bytes { id: of, .. } if *of == id)) {
            conn.out.clear();
            conn.closing = true;
        }
        let bodiless = planned.method == "HEAD" || matches!(status, 204 | 304);
        let body = if bodiless { Body::Length(0) } else { head.framing().unwrap_or(Body::UntilClose) };
        conn.closing |= body == Body::UntilClose;
        conn.reader.body(body);
        conn.answer = Some(Answering { id, status, upstream: upstream.is_some(), bytes: 0, text: Vec::new() });
        self.note(stage, "reads a head", id, status.into());
        Ok(())
    }

    fn data(&mut self, data: &[u8]) -> Result<(), String> {
        let Some(answer) = self.conn.as_mut().and_then(|c| c.answer.as_mut()) else { return Ok(()) };
        if answer.upstream {
            expect_bytes(answer.id, Way::Down, answer.bytes, data)?;
        } else {
            answer.text.extend_from_slice(data);
        }
        answer.bytes += data.len();
        Ok(())
    }

    fn answered(&mut self, stage: &mut Stage) -> Result<(), String> {
        let Some(conn) = &mut self.conn else { return Ok(()) };
        let Some(answer) = conn.answer.take() else { return Ok(()) };
        conn.awaiting.pop_front();
        let Answering { id, status, upstream, bytes, text } = answer;
        let planned = stage.model.request(id);
        let expected = if planned.method == "HEAD" { 0 } else { planned.answer.bytes };
        if upstream && bytes != expected {
            return Err(format!("request {id} was answered with {bytes} of {expected} bytes"));
        }
        if planned.road == Road::Local && status == 200 && planned.method != "HEAD" && text != LOCAL_BODY.as_bytes() {
            return Err(format!("request {id} got another text of the proxy"));
        }
        self.note(stage, "has its answer", id, bytes as u64);
        stage.model.settle(id, Outcome::Answered(status))
    }

    fn write(&mut self, stage: &mut Stage) -> Result<(), String> {
        self.more_to_send(stage);
        let Some(conn) = &mut self.conn else { return Ok(()) };
        if conn.stream.is_some() {
            return Ok(());
        }
        while let Some(Part::Bytes { bytes, at, .. }) = conn.out.front_mut() {
            if stage.now < conn.write_at {
                self.wake = self.wake.min(conn.write_at);
                return Ok(());
            }
            let left = bytes.len() - *at;
            let piece = if stage.dice.one_in(3) { 1 + stage.dice.below(left) } else { left };
            let n = stage.world.peer_write(conn.peer, &bytes[*at..*at + piece]);
            *at += n;
            self.moved += n;
            if n < piece {
                return Ok(());
            }
            if *at == bytes.len() {
                conn.out.pop_front();
            } else {
                conn.write_at = stage.now.after(stage.dice.span(std::time::Duration::from_millis(2)));
            }
        }
        let last = conn.out.is_empty() && self.todo.is_empty() && !conn.closing;
        if last && self.plan.half_close && !conn.fin_sent {
            let upgrade = conn.awaiting.iter().any(|id| stage.model.request(*id).upgrade.is_some());
            if !upgrade {
                stage.world.peer_shutdown(conn.peer);
                conn.fin_sent = true;
                self.note(stage, "sends FIN", 0, 0);
            }
        }
        Ok(())
    }

    /// Renders the next request, if it may be sent.
    fn more_to_send(&mut self, stage: &mut Stage) {
        let Some(conn) = &mut self.conn else { return };
        while !conn.closing && conn.stream.is_none() && conn.awaiting.len() < self.plan.depth && !conn.fin_sent {
            let alone = |id: &u32| {
                let request = stage.model.request(*id);
                request.expect || request.upgrade.is_some()
            };
            if conn.awaiting.back().is_some_and(alone) {
                return;
            }
            let Some(id) = self.todo.pop_front() else { return };
            conn.awaiting.push_back(id);
            render(stage, id, &mut conn.out);
            stage.model.sent(id, stage.now);
            stage.trace.note(stage.now, "client", self.number, "sends a request", id, conn.awaiting.len() as u64);
        }
    }

    fn check_end(&mut self, stage: &mut Stage) -> Result<(), String> {
        let Some(conn) = &mut self.conn else { return Ok(()) };
        if let Some((id, stream)) = &mut conn.stream {
            let id = *id;
            let rest = conn.reader.take_rest();
            return match stream.act(stage, conn.peer, &rest, &mut self.wake)? {
                Standing::Open => Ok(()),
                Standing::Done => {
                    stage.model.settle(id, Outcome::Answered(101))?;
                    self.note(stage, "ends its WebSocket", id, 0);
                    self.close(stage);
                    Ok(())
                }
                Standing::Cut if stage.model.may_fail(id) || stage.model.draining => {
                    stage.model.settle(id, Outcome::Cut)?;
                    self.note(stage, "lost its WebSocket", id, 0);
                    self.close(stage);
                    Ok(())
                }
                Standing::Cut => Err(format!("the WebSocket of request {id} was cut")),
            };
        }
        let PeerState::Open { readable, end, .. } = stage.world.peer_state(conn.peer) else { return Ok(()) };
        let ending = match end {
            None => return Ok(()),
            Some(_) if readable > 0 => return Ok(()),
            Some(End::Eof) => Ending::Fin,
            Some(End::Error(_)) => Ending::Cut,
        };
        self.ended(stage, ending)
    }

    fn ended(&mut self, stage: &mut Stage, ending: Ending) -> Result<(), String> {
        let Some(conn) = &mut self.conn else { return Ok(()) };
        if ending == Ending::Fin && conn.reader.ends_here() {
            self.answered(stage)?;
        }
        let Some(conn) = &mut self.conn else { return Ok(()) };
        let between = conn.answer.is_none() && conn.reader.is_blank();
        // Only in the middle of an answer, or before one that was due, has somebody lost something.
        let announced = conn.closing || stage.model.draining;
        let begun = conn.awaiting.front().is_some_and(|id| stage.model.asked[*id as usize].heads > 0);
        let lost = if between && announced && !begun { None } else { conn.awaiting.front().copied() };
        let idle_ok = announced || conn.fin_sent || stage.model.profile.is_lossy();
        self.note(stage, "sees the end", lost.unwrap_or(0), (ending == Ending::Cut).into());
        let Some(conn) = &mut self.conn else { return Ok(()) };
        // The reset for a request that was begun behind it may overtake an answer that has not left yet.
        let overtaken = ending == Ending::Cut
            && conn.awaiting.iter().any(|id| stage.model.may_fail(*id) && stage.model.asked[*id as usize].heads > 0);
        match lost {
            Some(id) if stage.model.may_fail(id) || overtaken => {
                conn.awaiting.pop_front();
                stage.model.settle(id, Outcome::Cut)?;
            }
            Some(id) => {
                let how = if between { "before" } else { "in the middle of" };
                return Err(format!("the connection ended ({ending:?}) {how} the answer to request {id}"));
            }
            None if between && !idle_ok => {
                return Err(format!("client {}: an idle connection was ended ({ending:?})", self.number));
            }
            None => {}
        }
        // Where anything can be lost, a cut says nothing about what is on its way upstream.
        let lossy = stage.model.profile.is_lossy() && ending == Ending::Cut;
        self.send_again(stage, overtaken || lossy)?;
        self.close(stage);
        Ok(())
    }

    /// What the proxy had not begun when it closed goes to the next connection. `unknown`: whether it had cannot be told, or its answer was lost.
    fn send_again(&mut self, stage: &mut Stage, unknown: bool) -> Result<(), String> {
        let Some(conn) = &mut self.conn else { return Ok(()) };
        while let Some(id) = conn.awaiting.pop_back() {
            let begun = stage.model.asked[id as usize].heads > 0;
            if unknown && (begun || stage.model.profile.is_lossy()) || begun && stage.model.may_fail(id) {
                stage.model.settle(id, Outcome::Cut)?;
                continue;
            }
            if begun {
                return Err(format!("request {id} went upstream and its connection was ended before its answer"));
            }
            self.todo.push_front(id);
        }
        Ok(())
    }

    fn leave_or_finish(&mut self, stage: &mut Stage) -> Result<(), String> {
        let Some(conn) = &self.conn else { return Ok(()) };
        let moved = self.moved + conn.stream.as_ref().map_or(0, |(_, s)| s.bytes());
        if self.plan.leave.is_some_and(|bytes| moved >= bytes) {
            self.note(stage, "leaves", 0, moved as u64);
            return self.abandon(stage);
        }
        if conn.stream.is_some() || !conn.awaiting.is_empty() {
            return Ok(());
        }
        if self.todo.is_empty() {
            self.done = true;
        }
        // Some wait for the proxy's FIN, some do not.
        if conn.closing && self.number.is_multiple_of(2) || self.done && !self.plan.stays && !conn.fin_sent {
            self.close(stage);
        }
        Ok(())
    }

    /// Leaves with everything undone.
    fn abandon(&mut self, stage: &mut Stage) -> Result<(), String> {
        let Some(conn) = self.conn.take() else { return Ok(()) };
        let reset = stage.dice.one_in(2);
        if reset {
            stage.world.peer_reset(conn.peer)
        } else {
            stage.world.peer_close(conn.peer)
        }
        let stream = conn.stream.map(|(id, _)| id);
        let awaiting = conn.awaiting.into_iter().filter(|id| Some(*id) != stream);
        for id in stream.into_iter().chain(awaiting).chain(self.todo.drain(..)) {
            stage.model.settle(id, Outcome::Abandoned)?;
        }
        self.done = true;
        self.wake = Time::NEVER;
        Ok(())
    }

    fn close(&mut self, stage: &mut Stage) {
        if let Some(conn) = self.conn.take() {
            stage.world.peer_close(conn.peer);
        }
        self.done = self.todo.is_empty();
        self.wake = if self.done { Time::NEVER } else { stage.now };
    }
}

fn render(stage: &mut Stage, id: u32, out: &mut VecDeque<Part>) {
    let request = stage.model.request(id).clone();
    let mut bytes =
        format!("{} /{}/{id} HTTP/1.1\r\nHost: svc.test\r\n", request.method, request.road.segment()).into_bytes();
    match request.upload {
        Upload::None => {}
        Upload::Length(n) => bytes.extend_from_slice(format!("Content-Length: {n}\r\n").as_bytes()),
        Upload::Chunked(_) => bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
    if request.upgrade.is_some() {
        bytes.extend_from_slice(
            b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        );
    }
    if request.expect {
        bytes.extend_from_slice(b"Expect: 100-continue\r\n\r\n");
        out.push_back(Part::Bytes { id, bytes: std::mem::take(&mut bytes), at: 0 });
        out.push_back(Part::AwaitContinue(id));
    } else {
        bytes.extend_from_slice(b"\r\n");
    }
    match request.upload {
        Upload::None => {}
        Upload::Length(n) => fill(id, Way::Up, 0, n, &mut bytes),
        Upload::Chunked(n) => chunks(stage, id, Way::Up, n, &mut bytes),
    }
    if !bytes.is_empty() {
        out.push_back(Part::Bytes { id, bytes, at: 0 });
    }
}

/// A body in chunks of any size, at times with a trailer.
pub fn chunks(stage: &mut Stage, id: u32, way: Way, len: usize, out: &mut Vec<u8>) {
    let mut at = 0;
    while at < len {
        let n = (1 + stage.dice.size(16 << 10)).min(len - at);
        out.extend_from_slice(format!("{n:x}\r\n").as_bytes());
        fill(id, way, at, n, out);
        out.extend_from_slice(b"\r\n");
        at += n;
    }
    out.extend_from_slice(if stage.dice.one_in(4) { b"0\r\nx-trailer: yes\r\n\r\n" } else { b"0\r\n\r\n" });
}
