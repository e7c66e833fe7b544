//! An upstream's side of one connection: HTTP by the plan of each request, or an opaque stream.

use std::net::SocketAddr;
use std::time::Duration;

use ringway_engine::Time;
use ringway_engine::io::End;
use ringway_engine::sim::{PeerId, PeerState};

use crate::client::chunks;
use crate::mesh::endpoint;
use crate::model::expect_bytes;
use crate::pattern::{Way, fill};
use crate::plan::{Pace, Sabotage};
use crate::run::Stage;
use crate::stream::{Standing, Stream};
use crate::tunnel::NAME_BYTES;
use crate::wire::{Body, Head, Item, Reader};

/// One accepted connection.
pub struct Server {
    number: usize,
    /// The connection.
    pub peer: PeerId,
    address: SocketAddr,
    reader: Reader,
    current: Option<Serving>,
    out: Vec<u8>,
    out_at: usize,
    after: After,
    pace: Pace,
    read_at: Time,
    /// Closes then, if it is idle.
    idle_until: Time,
    stream: Option<Stream>,
    opaque: bool,
    /// When it wants to act although nothing happens.
    pub wake: Time,
    /// Closed.
    pub done: bool,
}

/// The request being served.
struct Serving {
    id: u32,
    bytes: usize,
    whole: bool,
    answer_at: Option<Time>,
    answered: bool,
}

/// What follows when everything is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    Stay,
    Fin,
    FinSent,
    Close,
    Reset,
}

impl Server {
    /// A connection that was just accepted.
    pub fn new(number: usize, peer: PeerId, address: SocketAddr, pace: Pace) -> Server {
        Server {
            number,
            peer,
            address,
            reader: Reader::default(),
            current: None,
            out: Vec::new(),
            out_at: 0,
            after: After::Stay,
            pace,
            read_at: Time(0),
            idle_until: Time::NEVER,
            stream: None,
            opaque: (0..2).any(|i| endpoint("tcp", i) == address),
            wake: Time(0),
            done: false,
        }
    }

    /// True when it is an HTTP connection without a request at this address.
    pub fn is_idle_at(&self, gone: impl Fn(SocketAddr) -> bool) -> bool {
        !self.opaque && self.stream.is_none() && self.current.is_none() && gone(self.address)
    }

    /// Does what can be done now.
    pub fn act(&mut self, stage: &mut Stage) -> Result<(), String> {
        self.wake = Time::NEVER;
        if self.stream.is_none() {
            self.read(stage)?;
        }
        if !self.done && self.stream.is_none() {
            self.serve(stage);
            self.write(stage)?;
        }
        if !self.done && self.stream.is_some() {
            return self.pass(stage);
        }
        if !self.done {
            self.check_end(stage);
        }
        Ok(())
    }

    fn note(&self, stage: &mut Stage, what: &'static str, id: u32, n: u64) {
        stage.trace.note(stage.now, "server", self.number, what, id, n);
    }

    fn read(&mut self, stage: &mut Stage) -> Result<(), String> {
        if stage.now < self.read_at {
            self.wake = self.wake.min(self.read_at);
            return Ok(());
        }
        let n = stage.world.peer_read_some(self.peer, self.reader.input(), self.pace.bytes);
        if n > 0 {
            self.read_at = stage.now.after(self.pace.gap);
        }
        if n == self.pace.bytes {
            self.wake = self.wake.min(self.read_at);
        }
        if self.opaque {
            return self.read_name(stage);
        }
        while let Some(item) =
            self.reader.next_item().map_err(|e| format!("upstream connection {}: {e}", self.number))?
        {
            match item {
                Item::Head(head) => self.head(stage, &head)?,
                Item::Data(data) => {
                    let Some(serving) = &mut self.current else { return Err("a body without a head".into()) };
                    expect_bytes(serving.id, Way::Up, serving.bytes, &data)?;
                    serving.bytes += data.len();
                }
                Item::End => self.whole(stage)?,
            }
        }
        Ok(())
    }

    fn read_name(&mut self, stage: &mut Stage) -> Result<(), String> {
        let input = self.reader.input();
        if input.len() < NAME_BYTES {
            return Ok(());
        }
        let id = u32::from_le_bytes([input[0], input[1], input[2], input[3]]);
        let since = u64::from_le_bytes(input[4..12].try_into().expect("eight bytes"));
        input.drain(..NAME_BYTES);
        stage.model.endpoint_used(self.address, Time(since), &format!("tunnel {id}"))?;
        stage.model.tunnels_begun += 1;
        let Some(plan) = stage.tunnels.get(&id) else { return Err(format!("nobody began tunnel {id}")) };
        self.stream = Some(Stream::new(id, Way::Down, plan.opaque, self.pace));
        self.note(stage, "begins a tunnel", id, 0);
        Ok(())
    }

    fn head(&mut self, stage: &mut Stage, head: &Head) -> Result<(), String> {
        let mut words = head.first.split(' ');
        let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let Some(id) = path.rsplit('/').next().and_then(|id| id.parse::<u32>().ok()) else {
            return Err(format!("an upstream got {:?}", head.first));
        };
        // An answer may be out before all of its request is here: then the next request may follow at once.
        let over = |s: &Serving| s.whole && s.answered && self.out_at == self.out.len();
        if let Some(serving) = self.current.as_ref().filter(|s| !over(s)) {
            return Err(format!("request {id} reached an upstream that still serves request {}", serving.id));
        }
        if self.after != After::Stay {
            return Err(format!("request {id} reached an upstream that had said close"));
        }
        stage.model.head_seen(id, self.address, method)?;
        self.note(stage, "gets a request", id, 0);
        let metadata = head.field("x-envoy-peer-metadata").is_some();
        if metadata != (0..3).any(|i| endpoint("plain", i) == self.address) {
            return Err(format!("request {id} came {} peer metadata", if metadata { "with" } else { "without" }));
        }
        self.idle_until = Time::NEVER;
        self.reader.body(head.framing().unwrap_or(Body::Length(0)));
        let request = stage.model.request(id).clone();
        for _ in 0..request.answer.interim {
            self.out.extend_from_slice(format!("HTTP/1.1 103 Early Hints\r\nx-sim-id: {id}\r\n\r\n").as_bytes());
        }
        if request.expect && !request.answer.early {
            self.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let answer_at = request.answer.early.then(|| stage.now.after(request.answer.delay));
        self.current = Some(Serving { id, bytes: 0, whole: false, answer_at, answered: false });
        Ok(())
    }

    fn whole(&mut self, stage: &mut Stage) -> Result<(), String> {
        let Some(serving) = &mut self.current else { return Ok(()) };
        serving.whole = true;
        stage.model.whole_seen(serving.id, serving.bytes)?;
        if serving.answer_at.is_none() && !serving.answered {
            let delay = stage.model.request(serving.id).answer.delay;
            serving.answer_at = Some(stage.now.after(delay));
        }
        Ok(())
    }

    /// Answers when it is time; lets go of a request that is answered and read.
    fn serve(&mut self, stage: &mut Stage) {
        let Some(serving) = &mut self.current else {
            if stage.now >= self.idle_until {
                self.note(stage, "closes an idle connection", 0, 0);
                stage.world.peer_close(self.peer);
                self.done = true;
            } else {
                self.wake = self.wake.min(self.idle_until);
            }
            return;
        };
        match serving.answer_at {
            Some(at) if stage.now >= at => {
                serving.answer_at = None;
                serving.answered = true;
                let id = serving.id;
                self.answer(stage, id);
            }
            Some(at) => self.wake = self.wake.min(at),
            None => {}
        }
    }

    fn answer(&mut self, stage: &mut Stage, id: u32) {
        let request = stage.model.request(id).clone();
        let answer = request.answer;
        let start = self.out.len();
        let mut head = format!("HTTP/1.1 {} Fine\r\nx-sim-id: {id}\r\n", answer.status);
        match answer.body {
            None if request.upgrade.is_some() => head.push_str(
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
            ),
            None => {}
            Some(Body::Length(_)) => head.push_str(&format!("Content-Length: {}\r\n", answer.bytes)),
            Some(Body::Chunked) => head.push_str("Transfer-Encoding: chunked\r\n"),
            Some(Body::UntilClose) => {}
        }
        if answer.close {
            head.push_str("Connection: close\r\n");
        }
        head.push_str("\r\n");
        self.out.extend_from_slice(head.as_bytes());
        if request.method != "HEAD" {
            match answer.body {
                Some(Body::Chunked) => chunks(stage, id, Way::Down, answer.bytes, &mut self.out),
                Some(_) => fill(id, Way::Down, 0, answer.bytes, &mut self.out),
                None => {}
            }
        }
        let until_close = answer.body == Some(Body::UntilClose) && request.method != "HEAD";
        self.after = if answer.close || until_close { After::Fin } else { After::Stay };
        let cut = |bytes: usize, len: usize| start + bytes.min(len - start - 1);
        match answer.sabotage {
            Some(Sabotage::Reset(bytes)) => {
                self.out.truncate(cut(bytes, self.out.len()));
                self.after = After::Reset;
            }
            Some(Sabotage::Close(bytes)) => {
                self.out.truncate(cut(bytes, self.out.len()));
                self.after = After::Close;
            }
            Some(Sabotage::Garbage) => {
                self.out.truncate(start);
                self.out.extend_from_slice(b"HTTP/9.1 what is this\r\n\r\n");
                self.after = After::Fin;
            }
            None => {}
        }
        if let Some(opaque) = request.upgrade {
            self.stream = Some(Stream::new(id, Way::Down, opaque, self.pace));
        }
        self.note(stage, "answers", id, (self.out.len() - start) as u64);
    }

    fn write(&mut self, stage: &mut Stage) -> Result<(), String> {
        if !self.flush(stage) {
            return Ok(());
        }
        let over = self.current.as_ref().is_some_and(|s| s.answered);
        if over && self.after != After::Stay {
            match self.after {
                After::Reset => {
                    stage.world.peer_reset(self.peer);
                    self.done = true;
                }
                After::Close => {
                    stage.world.peer_close(self.peer);
                    self.done = true;
                }
                After::Fin => {
                    stage.world.peer_shutdown(self.peer);
                    self.after = After::FinSent;
                }
                After::FinSent | After::Stay => {}
            }
            return Ok(());
        }
        if self.stream.is_none() && self.current.as_ref().is_some_and(|s| s.answered && s.whole) {
            self.current = None;
            let flaky = (0..2).any(|i| endpoint("flaky", i) == self.address);
            if flaky && stage.dice.one_in(2) {
                self.idle_until = stage.now.after(stage.dice.span(Duration::from_millis(20)));
                self.wake = self.wake.min(self.idle_until);
            }
        }
        Ok(())
    }

    /// True when everything is written.
    fn flush(&mut self, stage: &mut Stage) -> bool {
        let left = &self.out[self.out_at..];
        if !left.is_empty() {
            self.out_at += stage.world.peer_write(self.peer, left);
        }
        if self.out_at < self.out.len() {
            return false;
        }
        self.out.clear();
        self.out_at = 0;
        true
    }

    fn pass(&mut self, stage: &mut Stage) -> Result<(), String> {
        if !self.flush(stage) {
            return Ok(());
        }
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let rest = if self.opaque { std::mem::take(self.reader.input()) } else { self.reader.take_rest() };
        match stream.act(stage, self.peer, &rest, &mut self.wake)? {
            Standing::Open => {}
            standing => {
                let what = if standing == Standing::Done { "ends its stream" } else { "lost its stream" };
                self.note(stage, what, 0, 0);
                stage.world.peer_close(self.peer);
                self.done = true;
            }
        }
        Ok(())
    }

    fn check_end(&mut self, stage: &mut Stage) {
        match stage.world.peer_state(self.peer) {
            PeerState::Open { readable: 0, end: Some(End::Eof | End::Error(_)), .. } | PeerState::Gone => {
                self.note(stage, "sees the end", 0, 0);
                stage.world.peer_close(self.peer);
                self.done = true;
            }
            _ => {}
        }
    }
}
