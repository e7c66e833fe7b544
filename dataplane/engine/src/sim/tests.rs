//! The simulation itself: what it promises to tests, apart from the driver contract (`tests/contract`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use super::*;
use crate::io::{CREDIT_UNLIMITED, Class, Completion, Io, Piece, Sock, Token};

const ADDR: &str = "127.0.0.1:80";
const LISTENER: Token = Token(u64::MAX);

fn addr() -> SocketAddr {
    ADDR.parse().unwrap()
}

fn small() -> Limits {
    Limits { sockets_max: 256, small_buffers: 32, bulk_buffers: 2, ..Limits::default() }
}

/// A worker that sends back what it receives, with what it saw written down.
struct Echo {
    sim: Sim,
    socks: BTreeMap<u64, Sock>,
    /// Those that sent FIN and are closed once everything is back with them.
    ending: BTreeSet<u64>,
    next_token: u64,
    trace: String,
}

impl Echo {
    fn new(world: &World) -> Echo {
        let mut sim = world.sim(small());
        sim.accept_start(world.listen(addr()), LISTENER).unwrap();
        Echo { sim, socks: BTreeMap::new(), ending: BTreeSet::new(), next_token: 0, trace: String::new() }
    }

    fn turn(&mut self, deadline: Time) {
        let mut out = Vec::new();
        self.sim.turn(deadline, &mut out);
        writeln!(self.trace, "{:?} {out:?}", self.sim.now()).unwrap();
        for completion in out {
            self.handle(completion);
        }
    }

    fn handle(&mut self, completion: Completion) {
        match completion {
            Completion::Accepted { conn, .. } => {
                self.next_token += 1;
                let Ok(sock) = self.sim.adopt(conn, Token(self.next_token)) else { return };
                self.socks.insert(self.next_token, sock);
                let class = if self.next_token.is_multiple_of(3) { Class::Bulk } else { Class::Small };
                self.sim.recv(sock, class, CREDIT_UNLIMITED);
            }
            Completion::Received { token, buf } => {
                if let Some(sock) = self.socks.get(&token.0) {
                    self.sim.send(*sock, Piece::Buf(buf));
                }
            }
            Completion::ReceiveEnd { token, end: End::Eof } => {
                let Some(sock) = self.socks.get(&token.0).copied() else { return };
                self.ending.insert(token.0);
                if self.sim.queued(sock) == 0 {
                    self.close(token);
                }
            }
            // Not `drained`: more may have been queued since that was true.
            Completion::Sent { token, .. } => {
                if let Some(sock) = self.socks.get(&token.0)
                    && self.sim.queued(*sock) == 0
                    && self.ending.contains(&token.0)
                {
                    self.close(token);
                }
            }
            Completion::ReceiveEnd { token, .. } | Completion::SendFailed { token, .. } => self.close(token),
            Completion::AcceptPaused { .. } => {}
            other => panic!("{other:?}"),
        }
    }

    fn close(&mut self, token: Token) {
        if let Some(sock) = self.socks.remove(&token.0) {
            self.sim.close(sock);
        }
    }
}

struct Client {
    id: PeerId,
    wrote: usize,
    got: Vec<u8>,
    bytes: Vec<u8>,
    complete: bool,
}

fn pattern(client: usize, n: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 7 + i / 251 + client * 31) as u8).collect()
}

/// Runs echo clients to their ends; returns the worker's trace and how many clients got all their bytes back.
fn run_echo(seed: u64, faults: Faults) -> (String, usize) {
    let world = World::new(seed, faults);
    let mut echo = Echo::new(&world);
    let mut clients: Vec<Client> = (0..12)
        .map(|i| Client {
            id: world.peer_connect(addr()),
            wrote: 0,
            got: Vec::new(),
            bytes: pattern(i, 1 + i * i * 400),
            complete: false,
        })
        .collect();
    for _ in 0..20_000 {
        for (i, client) in clients.iter_mut().enumerate() {
            drive(&world, i, client);
        }
        if clients.iter().all(|client| world.peer_state(client.id) == PeerState::Gone) {
            break;
        }
        let deadline = world.now().after(Duration::from_secs(300));
        echo.turn(deadline);
    }
    let complete = clients.iter().filter(|client| client.complete).count();
    // The worker learns that the last clients are gone.
    for _ in 0..1_000 {
        let deadline = world.now().after(Duration::from_secs(1));
        if world.open_sockets() == 0 {
            break;
        }
        echo.turn(deadline);
    }
    assert_eq!((world.open_sockets(), world.open_peers()), (0, 0), "seed {seed}");
    let buffers = echo.sim.buffers();
    assert_eq!((buffers.small_free, buffers.bulk_free), (buffers.small, buffers.bulk), "seed {seed}");
    assert_eq!(echo.sim.stats().spilled_bytes, 0, "seed {seed}");
    (echo.trace, complete)
}

fn drive(world: &World, index: usize, client: &mut Client) {
    let whole = &client.bytes;
    match world.peer_state(client.id) {
        PeerState::Connecting | PeerState::Gone => return,
        PeerState::Failed(_) => return world.peer_close(client.id),
        PeerState::Open { .. } => {}
    }
    client.wrote += world.peer_write(client.id, &whole[client.wrote..]);
    if client.wrote == whole.len() {
        world.peer_shutdown(client.id);
    }
    world.peer_read(client.id, &mut client.got);
    assert!(whole.starts_with(&client.got), "client {index} got bytes that it did not send");
    if let PeerState::Open { readable: 0, end: Some(end), .. } = world.peer_state(client.id) {
        client.complete = end == End::Eof && client.got == *whole;
        world.peer_close(client.id);
    }
}

#[test]
fn one_seed_replays_a_run_and_another_runs_differently() {
    for seed in 0..4 {
        let run = || run_echo(seed, Faults::swarm(seed)).0;
        let first = run();
        assert!(first == run(), "seed {seed} did not replay");
        assert!(first != run_echo(seed + 100, Faults::swarm(seed)).0, "seed {seed} is not used");
    }
}

#[test]
fn timing_faults_lose_nothing() {
    for seed in 0..16 {
        assert_eq!(run_echo(seed, Faults::timing()).1, 12, "seed {seed}");
    }
}

#[test]
fn a_swarm_of_faults_breaks_some_and_corrupts_none() {
    let complete: usize = (0..64).map(|seed| run_echo(seed, Faults::swarm(seed)).1).sum();
    assert!((300..64 * 12).contains(&complete), "{complete} of {}", 64 * 12);
}

/// Turns until something is said.
fn until_said(sim: &mut Sim) -> Vec<Completion> {
    let mut out = Vec::new();
    for _ in 0..1000 {
        sim.turn(Time::NEVER, &mut out);
        if !out.is_empty() {
            return out;
        }
    }
    panic!("nothing happens any more");
}

fn accepted(world: &World, sim: &mut Sim) -> (Sock, PeerId) {
    let peer = world.peer_connect(addr());
    loop {
        for completion in until_said(sim) {
            if let Completion::Accepted { conn, .. } = completion {
                return (sim.adopt(conn, Token(1)).unwrap(), peer);
            }
        }
    }
}

fn listening(seed: u64, faults: Faults) -> (World, Sim) {
    let world = World::new(seed, faults);
    let mut sim = world.sim(small());
    sim.accept_start(world.listen(addr()), LISTENER).unwrap();
    (world, sim)
}

#[test]
fn a_turn_ends_at_its_deadline_and_when_nothing_can_happen() {
    let world = World::new(1, Faults::none());
    let mut sim = world.sim(small());
    let (start, mut out) = (world.now(), Vec::new());
    sim.turn(Time::NEVER, &mut out);
    assert_eq!(sim.now(), start);
    let deadline = start.after(Duration::from_secs(3600));
    sim.turn(deadline, &mut out);
    assert_eq!((sim.now(), out.len()), (deadline, 0));
    sim.turn(start, &mut out);
    assert_eq!(sim.now(), deadline, "time does not go back");
}

#[test]
fn a_turn_returns_when_a_peer_sees_something() {
    let (world, mut sim) = listening(2, Faults::none());
    let (sock, peer) = accepted(&world, &mut sim);
    sim.send(sock, Piece::Static(b"hello"));
    let (mut out, mut got) = (Vec::new(), Vec::new());
    let start = world.now();
    let deadline = start.after(Duration::from_secs(10));
    while world.peer_read(peer, &mut got) == 0 {
        assert!(world.now() < deadline);
        sim.turn(deadline, &mut out);
    }
    assert_eq!((got.as_slice(), world.now()), (&b"hello"[..], start.after(Duration::from_micros(50))));
    let mut touched = Vec::new();
    world.peers_touched(&mut touched);
    assert_eq!(touched, [peer]);
}

#[test]
fn connects_are_refused_answered_late_or_never() {
    let faults = Faults { backlog_max: 1, connect_timeout: Duration::from_secs(9), ..Faults::none() };
    let world = World::new(3, faults);
    let mut sim = world.sim(small());
    let outcome = |sim: &mut Sim, to: &str| {
        let sock = sim.connect(to.parse().unwrap(), Token(5)).unwrap();
        let start = world.now();
        let said = until_said(sim);
        let [Completion::Connected { token: Token(5), result }] = said[..] else { panic!("{said:?}") };
        sim.close(sock);
        (result.map_err(|errno| errno.0), world.now().since(start) / 1_000_000)
    };
    world.peer_listen(addr());
    world.set_blackhole("10.0.0.1:80".parse().unwrap(), true);
    assert_eq!(outcome(&mut sim, "10.0.0.2:80"), (Err(libc::ECONNREFUSED), 0));
    assert_eq!(outcome(&mut sim, "10.0.0.1:80"), (Err(libc::ETIMEDOUT), 9_000));
    assert_eq!(outcome(&mut sim, ADDR), (Ok(()), 0));
    // The backlog is full now.
    assert_eq!(outcome(&mut sim, ADDR), (Err(libc::ETIMEDOUT), 63_000));
    let first = world.peer_accept(addr()).unwrap();
    assert_eq!(outcome(&mut sim, ADDR), (Ok(()), 0));
    world.peer_close(first);
    world.peer_unlisten(addr());
    assert_eq!(outcome(&mut sim, ADDR), (Err(libc::ECONNREFUSED), 0));
    assert_eq!((world.open_sockets(), world.open_peers()), (0, 0));
}

#[test]
fn accepting_pauses_on_a_shortage_and_resumes_by_itself() {
    let (world, mut sim) = listening(4, Faults { accept_emfile: 1.0, ..Faults::none() });
    world.peer_connect(addr());
    let said = until_said(&mut sim);
    assert!(
        matches!(said[..], [Completion::AcceptPaused { listener: LISTENER, errno: Errno(libc::EMFILE) }]),
        "{said:?}"
    );
    let start = sim.now();
    world.set_faults(Faults::none());
    let said = until_said(&mut sim);
    assert!(matches!(said[..], [Completion::Accepted { .. }]), "{said:?}");
    assert_eq!(sim.now(), start.after(crate::listeners::ACCEPT_BACK_OFF));
}

#[test]
fn a_dropped_connection_is_closed_and_another_worker_may_adopt_one() {
    let (world, mut first) = listening(5, Faults::none());
    let mut second = world.sim(small());
    let dropped = world.peer_connect(addr());
    drop(until_said(&mut first));
    assert_eq!(world.open_sockets(), 0);
    world.step();
    assert!(matches!(world.peer_state(dropped), PeerState::Open { end: Some(End::Eof), .. }));

    let handed = world.peer_connect(addr());
    let conn = loop {
        if let Some(Completion::Accepted { conn, .. }) = until_said(&mut first).pop() {
            break conn;
        }
    };
    let conn = std::thread::spawn(move || conn).join().unwrap();
    let sock = second.adopt(conn, Token(9)).unwrap();
    second.recv(sock, Class::Small, CREDIT_UNLIMITED);
    world.peer_write(handed, b"to the second");
    let said = until_said(&mut second);
    assert!(
        matches!(&said[..], [Completion::Received { token: Token(9), buf }] if &buf[..] == b"to the second"),
        "{said:?}"
    );
}

#[test]
fn closing_with_unread_bytes_resets_and_bytes_for_a_closed_socket_are_answered_by_a_reset() {
    let (world, mut sim) = listening(6, Faults::none());
    let (sock, peer) = accepted(&world, &mut sim);
    world.peer_write(peer, b"unread");
    world.advance(Duration::from_millis(1));
    sim.close(sock);
    world.advance(Duration::from_millis(1));
    assert!(matches!(world.peer_state(peer), PeerState::Open { end: Some(End::Error(Errno(libc::ECONNRESET))), .. }));
    assert_eq!(world.peer_write(peer, b"x"), 0);

    let (sock, peer) = accepted(&world, &mut sim);
    sim.close(sock);
    world.advance(Duration::from_millis(1));
    assert!(matches!(world.peer_state(peer), PeerState::Open { end: Some(End::Eof), .. }));
    assert_eq!(world.peer_write(peer, b"late"), 4);
    world.advance(Duration::from_millis(1));
    assert!(matches!(world.peer_state(peer), PeerState::Open { end: Some(End::Error(_)), .. }));
}

#[test]
fn bytes_that_arrived_before_a_reset_are_received_before_it() {
    let (world, mut sim) = listening(7, Faults::none());
    let (sock, peer) = accepted(&world, &mut sim);
    world.peer_write(peer, b"last words");
    world.peer_reset(peer);
    world.advance(Duration::from_millis(1));
    sim.recv(sock, Class::Small, CREDIT_UNLIMITED);
    let mut said = until_said(&mut sim);
    if said.len() == 1 {
        said.extend(until_said(&mut sim));
    }
    let [Completion::Received { buf, .. }, Completion::ReceiveEnd { end: End::Error(Errno(libc::ECONNRESET)), .. }] =
        &said[..]
    else {
        panic!("{said:?}")
    };
    assert_eq!(&buf[..], b"last words");
}

#[test]
fn listeners_of_one_address_share_its_connections() {
    let world = World::new(8, Faults::none());
    let mut workers = [world.sim(small()), world.sim(small())];
    for worker in &mut workers {
        worker.accept_start(world.listen(addr()), LISTENER).unwrap();
    }
    (0..40).for_each(|_| _ = world.peer_connect(addr()));
    world.advance(Duration::from_millis(1));
    let counts = workers.each_mut().map(|worker| {
        let mut out = Vec::new();
        worker.turn(worker.now(), &mut out);
        out.len()
    });
    assert!(counts[0] + counts[1] == 40 && counts.iter().all(|n| *n > 5), "{counts:?}");
}

#[test]
fn a_dropped_driver_closes_everything() {
    let (world, mut sim) = listening(9, Faults::none());
    let (_, peer) = accepted(&world, &mut sim);
    drop(sim);
    assert_eq!(world.open_sockets(), 0);
    world.advance(Duration::from_millis(1));
    assert!(matches!(world.peer_state(peer), PeerState::Open { end: Some(End::Eof), .. }));
    let late = world.peer_connect(addr());
    world.advance(Duration::from_millis(1));
    assert_eq!(world.peer_state(late), PeerState::Failed(Errno(libc::ECONNREFUSED)));
}

#[test]
fn a_connection_counts_for_who_accepts_it() {
    let (world, mut sim) = listening(10, Faults::none());
    let upstream = "10.0.0.1:80".parse().unwrap();
    world.peer_listen(upstream);
    let sock = sim.connect(upstream, Token(1)).unwrap();
    assert!(matches!(until_said(&mut sim)[..], [Completion::Connected { result: Ok(()), .. }]));
    assert_eq!((world.open_sockets(), world.open_peers()), (1, 0));
    // Its upstream has not accepted it yet, and never may.
    sim.close(sock);
    assert_eq!((world.open_sockets(), world.open_peers()), (0, 0));

    let client = world.peer_connect(addr());
    while world.peer_state(client) == PeerState::Connecting {
        assert!(world.step());
    }
    assert_eq!((world.open_sockets(), world.open_peers()), (0, 1), "the last segment of the handshake is on its way");
    world.advance(Duration::from_millis(1));
    assert_eq!((world.open_sockets(), world.open_peers()), (1, 1), "nobody has accepted it");
}

#[test]
fn a_splice_survives_timing_faults_and_a_narrow_target() {
    for seed in 0..16 {
        let (world, mut sim) = listening(seed, Faults { socket_buffer_bytes: 3_000, ..Faults::timing() });
        let (a, from) = accepted(&world, &mut sim);
        let (b, to) = accepted(&world, &mut sim);
        sim.splice(a, b);
        let whole = pattern(0, 100_000);
        let (mut wrote, mut got, mut spliced, mut ended, mut out) = (0, Vec::new(), 0, false, Vec::new());
        for _ in 0..100_000 {
            wrote += world.peer_write(from, &whole[wrote..]);
            if wrote == whole.len() {
                world.peer_shutdown(from);
            }
            world.peer_read(to, &mut got);
            if ended && got.len() == whole.len() {
                break;
            }
            sim.turn(Time::NEVER, &mut out);
            for completion in out.drain(..) {
                match completion {
                    Completion::Spliced { bytes, .. } => spliced += bytes,
                    Completion::ReceiveEnd { end: End::Eof, .. } => ended = true,
                    other => panic!("{other:?}"),
                }
            }
        }
        assert!(ended && got == whole && spliced == whole.len() as u64, "seed {seed}: {} {spliced}", got.len());
    }
}
