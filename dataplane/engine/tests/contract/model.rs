//! Random steps against a model: what a driver says must at every moment be explained by what was asked of it and of its peers.
//!
//! Every stream carries a pattern of its own, so a byte that is lost, doubled or given to another socket is found at once.

use std::sync::OnceLock;

use ringway_engine::io::{CREDIT_UNLIMITED, End, Io, Limits};
use ringway_engine::{Class, Sock, Token};

use crate::harness::Harness;
use crate::world::{PeerRead, Room, World};

/// Connections alive at once.
const PAIRS_MAX: usize = 8;
/// Bytes a direction carries before it rests: bounds a run, not the driver.
const AHEAD_MAX: u64 = 200_000;

struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
}

/// One connection: what each side has put in and got out.
struct Pair<P> {
    sock: Sock,
    token: Token,
    peer: P,
    /// Peer to driver: bytes written, bytes checked, FIN.
    peer_wrote: u64,
    checked: u64,
    peer_finished: bool,
    granted: Granted,
    /// Driver to peer: bytes queued, bytes read, FIN.
    queued: u64,
    peer_read: u64,
    finished: bool,
    peer_saw_eof: bool,
}

/// The credit the driver may still use.
#[derive(Clone, Copy, PartialEq)]
enum Granted {
    /// All of it.
    Unlimited,
    /// Up to this many bytes of the stream. What an earlier, larger grant had in flight may still come.
    Until(u64),
}

/// Bytes after which a stream repeats itself: more than is ever on its way.
const PERIOD: usize = 1 << 20;

/// `n` bytes of a stream: random bytes that all streams share, each from a place of its own.
fn stream(token: Token, towards_peer: bool, from: u64, n: u64) -> Vec<u8> {
    static RANDOM: OnceLock<Vec<u8>> = OnceLock::new();
    let random = RANDOM.get_or_init(|| {
        let mut random = Random(0);
        (0..PERIOD).map(|_| random.next(256) as u8).collect()
    });
    let start = (token.0 * 70_001 + u64::from(towards_peer) * 30_011 + from) as usize % PERIOD;
    let n = n as usize;
    let first = &random[start..PERIOD.min(start + n)];
    [first, &random[..n - first.len()]].concat()
}

/// Runs `steps` random steps of one seed, then lets everything drain and compares.
pub fn run<W: World>(seed: u64, steps: u32) {
    let mut random = Random(seed);
    let limits = Limits {
        sockets_max: 64,
        small_buffers: if seed.is_multiple_of(2) { 16 } else { 64 },
        queue_entries: if seed.is_multiple_of(3) { 8 } else { 256 },
        completions_per_turn_max: if seed.is_multiple_of(5) { 3 } else { 256 },
        ..Limits::default()
    };
    let mut h = Harness::<W>::new(limits);
    let room = if seed.is_multiple_of(7) { Room::Tiny } else { Room::Default };
    let mut pairs: Vec<Pair<W::Peer>> = Vec::new();
    for _ in 0..steps {
        step(&mut h, &mut pairs, &mut random, room);
        check(&mut h, &mut pairs);
    }
    drain(&mut h, pairs);
}

fn step<W: World>(h: &mut Harness<W>, pairs: &mut Vec<Pair<W::Peer>>, random: &mut Random, room: Room) {
    if pairs.is_empty() || (pairs.len() < PAIRS_MAX && random.next(40) == 0) {
        let (sock, token, peer) = h.pair(room);
        pairs.push(Pair {
            sock,
            token,
            peer,
            peer_wrote: 0,
            checked: 0,
            peer_finished: false,
            granted: Granted::Until(0),
            queued: 0,
            peer_read: 0,
            finished: false,
            peer_saw_eof: false,
        });
        return;
    }
    let which = random.next(pairs.len() as u64) as usize;
    let pair = &mut pairs[which];
    match random.next(100) {
        0..=21 if !pair.peer_finished && pair.peer_wrote < pair.checked + AHEAD_MAX => {
            let n = size(random);
            pair.peer_wrote += h.world.write(&pair.peer, &stream(pair.token, false, pair.peer_wrote, n)) as u64;
        }
        22..=41 if !pair.finished && pair.queued < pair.peer_read + AHEAD_MAX => {
            let n = size(random);
            h.send(pair.sock, &stream(pair.token, true, pair.queued, n));
            pair.queued += n;
        }
        42..=53 => grant(h, pair, random),
        54..=73 => peer_reads(h, pair, random.next(20_000) + 1),
        74..=75 => {
            h.world.half_close(&pair.peer);
            pair.peer_finished = true;
        }
        76 => {
            h.io().shutdown(pair.sock);
            pair.finished = true;
        }
        77 => {
            let pair = pairs.swap_remove(which);
            h.close(pair.sock, pair.token);
        }
        78 => {
            let pair = pairs.swap_remove(which);
            h.world.reset(pair.peer);
            let now = h.io().now();
            h.turn_until(now);
            h.close(pair.sock, pair.token);
        }
        _ => {
            let now = h.io().now();
            h.turn_until(now);
        }
    }
}

fn size(random: &mut Random) -> u64 {
    let most = [10, 500, 5_000, 30_000][random.next(4) as usize];
    random.next(most) + 1
}

fn grant<W: World>(h: &mut Harness<W>, pair: &mut Pair<W::Peer>, random: &mut Random) {
    let class = if random.next(4) == 0 { Class::Bulk } else { Class::Small };
    let received = h.heard(pair.token).received.len() as u64 + pair.checked;
    let credit = match random.next(4) {
        0 => 0,
        1 => CREDIT_UNLIMITED,
        _ => random.next(20_000) as u32 + 1,
    };
    // A lower grant does not call back what is in flight, so the highest one bounds the stream.
    pair.granted = match (credit, pair.granted) {
        (CREDIT_UNLIMITED, _) | (_, Granted::Unlimited) => Granted::Unlimited,
        (credit, Granted::Until(until)) => Granted::Until(until.max(received + u64::from(credit))),
    };
    h.io().recv(pair.sock, class, credit);
}

fn peer_reads<W: World>(h: &mut Harness<W>, pair: &mut Pair<W::Peer>, max: u64) {
    match h.world.read(&pair.peer, max as usize) {
        PeerRead::Bytes(bytes) => {
            assert!(!pair.peer_saw_eof, "bytes after FIN");
            assert!(bytes == stream(pair.token, true, pair.peer_read, bytes.len() as u64), "wrong bytes at the peer");
            pair.peer_read += bytes.len() as u64;
            assert!(pair.peer_read <= pair.queued, "the peer read what nobody sent");
        }
        PeerRead::Nothing => {}
        PeerRead::Eof => {
            assert!(pair.finished && pair.peer_read == pair.queued, "FIN before the queue drained");
            pair.peer_saw_eof = true;
        }
        PeerRead::Broken => panic!("broken, and nobody broke it"),
    }
}

/// What must hold after every step.
fn check<W: World>(h: &mut Harness<W>, pairs: &mut [Pair<W::Peer>]) {
    for pair in pairs {
        let heard = h.heard.get_mut(&pair.token.0).unwrap();
        let fresh = std::mem::take(&mut heard.received);
        if !fresh.is_empty() {
            assert!(fresh == stream(pair.token, false, pair.checked, fresh.len() as u64), "wrong bytes at the driver");
            pair.checked += fresh.len() as u64;
        }
        assert!(pair.checked <= pair.peer_wrote, "received what nobody wrote");
        if let Granted::Until(until) = pair.granted {
            assert!(pair.checked <= until, "received {} of {until} granted", pair.checked);
        }
        match heard.end {
            Some(End::Eof) => assert!(pair.peer_finished && pair.checked == pair.peer_wrote, "an early end"),
            Some(End::Error(errno)) => panic!("a broken stream that nobody broke: {errno}"),
            None => {}
        }
        assert_eq!(heard.failed, None);
        // A report may lag behind what the peer already read, by what one turn does not hand over.
        assert!(heard.sent <= pair.queued, "sent what nobody queued");
        let (sent, queued) = (heard.sent, h.io().queued(pair.sock) as u64);
        assert!(queued <= pair.queued - sent, "queued and sent overlap");
    }
}

/// Grants everything, reads everything, ends everything: then nothing may be missing.
fn drain<W: World>(h: &mut Harness<W>, mut pairs: Vec<Pair<W::Peer>>) {
    for pair in &mut pairs {
        h.world.half_close(&pair.peer);
        h.io().shutdown(pair.sock);
        h.io().recv(pair.sock, Class::Small, CREDIT_UNLIMITED);
        (pair.peer_finished, pair.finished, pair.granted) = (true, true, Granted::Unlimited);
    }
    h.until("all ends", |h| {
        for pair in &mut pairs {
            if !pair.peer_saw_eof {
                peer_reads(h, pair, 1 << 20);
            }
        }
        check(h, &mut pairs);
        pairs.iter().all(|pair| pair.peer_saw_eof && h.heard(pair.token).end == Some(End::Eof))
    });
    for pair in pairs {
        assert_eq!(pair.checked, pair.peer_wrote);
        assert_eq!(h.heard(pair.token).sent, pair.queued);
        h.close(pair.sock, pair.token);
    }
    h.until("no socket left", |h| h.io().stats().sockets == 0);
    assert_eq!(h.io().stats().spilled_bytes, 0);
}
