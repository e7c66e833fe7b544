//! The cases of the contract that need no knowledge of the driver. Each is one function over any [`World`].

use std::time::Duration;

use ringway_engine::io::{CREDIT_UNLIMITED, End, Io, Limits, SENT_LATE_BYTES_MAX, Stats};
use ringway_engine::{Class, Errno, Piece};

use crate::harness::Harness;
use crate::world::{PeerRead, Room, World};

fn pattern(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 7 + i / 251) as u8).collect()
}

fn stats<W: World>(h: &mut Harness<W>) -> Stats {
    h.io().stats()
}

pub fn accepts_and_knows_both_addresses<W: World>() {
    let mut h = Harness::<W>::new(Limits::default());
    let addr = h.listen(Room::Default);
    let _peer = h.world.peer_connect(addr, Room::Default);
    h.until("accept", |h| h.accepted.len() == 1);
    let (conn, from) = h.accepted.remove(0);
    let token = h.token();
    let sock = h.io().adopt(conn, token).unwrap();
    assert_eq!((h.io().peer_addr(sock), h.io().local_addr(sock)), (Some(from), Some(addr)));
    assert_eq!(stats(&mut h).sockets, 1);
    h.close(sock, token);
    h.settle();
    assert_eq!(stats(&mut h).sockets, 0);
}

pub fn accepts_many_and_stops<W: World>() {
    let mut h = Harness::<W>::new(Limits::default());
    let addr = h.listen(Room::Default);
    let _peers: Vec<_> = (0..100).map(|_| h.world.peer_connect(addr, Room::Default)).collect();
    h.until("all accepts", |h| h.accepted.len() == 100);
    h.stop_listening();
    // The harness fails on any accept from now on.
    h.settle();
}

pub fn refuses_to_hold_more_sockets_than_its_limit<W: World>() {
    let mut h = Harness::<W>::new(Limits { sockets_max: 2, ..Limits::default() });
    let (a, token, _peer_a) = h.pair(Room::Default);
    let (_, _, _peer_b) = h.pair(Room::Default);
    let (_, addr) = h.world.peer_listen();
    let late = h.token();
    assert_eq!(h.io().connect(addr, late), Err(Errno(libc::EMFILE)));
    h.close(a, token);
    h.settle();
    let (_, _, _peer_c) = h.pair(Room::Default);
}

pub fn connects_and_exchanges<W: World>() {
    let mut h = Harness::<W>::new(Limits::default());
    let (listener, addr) = h.world.peer_listen();
    let token = h.token();
    let sock = h.io().connect(addr, token).unwrap();
    // Asked for before the connection stands.
    h.io().recv(sock, Class::Small, CREDIT_UNLIMITED);
    h.io().send(sock, Piece::Static(b"early"));
    h.until("connected", |h| h.heard(token).connected.is_some());
    assert_eq!(h.heard(token).connected, Some(Ok(())));
    assert_eq!(h.io().peer_addr(sock), Some(addr));
    let mut peer = None;
    h.until("the peer's accept", |h| {
        peer = h.world.peer_accept(&listener);
        peer.is_some()
    });
    let peer = peer.unwrap();
    assert_eq!(h.peer_reads(&peer, 5), b"early");
    h.peer_writes(&peer, b"answer");
    h.until("the answer", |h| h.heard(token).received == b"answer");
}

pub fn learns_that_a_connect_was_refused<W: World>() {
    let mut h = Harness::<W>::new(Limits::default());
    let addr = h.world.refusing_addr();
    let token = h.token();
    let sock = h.io().connect(addr, token).unwrap();
    h.io().send(sock, Piece::Static(b"never"));
    h.until("refusal", |h| h.heard(token).connected.is_some());
    assert_eq!(h.heard(token).connected, Some(Err(Errno(libc::ECONNREFUSED))));
    h.close(sock, token);
    h.settle();
    assert_eq!(stats(&mut h).sockets, 0);
}

pub fn a_connect_closed_at_once_says_nothing<W: World>() {
    let mut h = Harness::<W>::new(Limits::default());
    let (_listener, addr) = h.world.peer_listen();
    let refusing = h.world.refusing_addr();
    for addr in [addr, refusing] {
        let token = h.token();
        let sock = h.io().connect(addr, token).unwrap();
        h.close(sock, token);
    }
    h.settle();
    assert_eq!(stats(&mut h).sockets, 0);
}

pub fn receives_in_order<W: World>() {
    let mut h = Harness::<W>::new(Limits::default());
    for class in [Class::Small, Class::Bulk] {
        let (sock, token, peer) = h.pair(Room::Default);
        h.io().recv(sock, class, CREDIT_UNLIMITED);
        let bytes = pattern(1 << 20);
        h.peer_writes(&peer, &bytes);
        h.until("all bytes", |h| h.heard(token).received.len() == bytes.len());
        assert!(h.heard(token).received == bytes);
        h.close(sock, token);
    }
}

pub fn falls_silent_when_the_credit_is_used_up<W: World>() {
    let mut h = Harness::<W>::new(Limits::default());
    let (sock, token, peer) = h.pair(Room::Default);
    let bytes = pattern(20_000);
    h.peer_writes(&peer, &bytes);
    h.world.half_close(&peer);
    let mut granted = 0;
    for credit in [10, 1, 5_000] {
        granted += credit;
        h.io().recv(sock, Class::Small, credit as u32);
        h.until("the credit's worth", |h| h.heard(token).received.len() >= granted);
        h.settle();
        assert_eq!(h.heard(token).received.len(), granted);
    }
    h.io().recv(sock, Class::Small, CREDIT_UNLIMITED);
    h.until("the end", |h| h.heard(token).end.is_some());
    assert!(h.heard(token).received == bytes && h.heard(token).end == Some(End::Eof));
}

pub fn pauses_and_resumes_without_loss<W: World>() {
    let mut h = Harness::<W>::new(Limits::default());
    let (sock, token, peer) = h.open_pair();
    let mut written = 0;
    for round in 0..20 {
        h.peer_writes(&peer, &[round; 100]);
        written += 100;
        h.until("what was written", |h| h.heard(token).received.len() == written);
        h.io().recv(sock, Class::Small, 0);
        // Every other time the pause is taken back before it could reach anyone.
        if round % 2 == 0 {
            h.settle();
            h.peer_writes(&peer, &[round; 50]);
            h.settle();
            assert_eq!(h.heard(token).received.len(), written, "received while paused");
            written += 50;
        }
        h.io().recv(sock, if round % 3 == 0 { Class::Bulk } else { Class::Small }, CREDIT_UNLIMITED);
    }
    h.until("the rest", |h| h.heard(token).received.len() == written);
}

pub fn sends_pieces_in_order<W: World>() {
    let mut h = Harness::<W>::new(Limits::default());
    let (sock, token, peer) = h.open_pair();
    let mut expected = Vec::new();
    for i in 0..50u8 {
        h.io().send(sock, Piece::Static(b"static,"));
        h.send(sock, &[i; 300]);
        expected.extend_from_slice(b"static,");
        expected.extend_from_slice(&[i; 300]);
    }
    assert_eq!(h.io().queued(sock), expected.len());
    assert!(h.peer_reads(&peer, expected.len()) == expected);
    h.until("drained", |h| h.heard(token).drained);
    assert_eq!((h.heard(token).sent, h.io().queued(sock)), (expected.len() as u64, 0));
}

pub fn sends_the_received_buffer_itself<W: World>() {
    let mut h = Harness::<W>::new(Limits::default());
    h.hoard = Some(Vec::new());
    let (_, _, from) = h.open_pair();
    let (to, token, peer) = h.open_pair();
    h.peer_writes(&from, b"GET / HTTP/1.1\r\nsecret: x\r\n\r\n");
    h.until("the bytes", |h| !h.hoard.as_ref().unwrap().is_empty());
    let mut buf = h.hoard.take().unwrap().remove(0);
    let line = buf.split_to(16);
    buf.advance(11);
    h.io().send(to, Piece::Buf(line));
    h.io().send(to, Piece::Buf(buf));
    assert_eq!(h.peer_reads(&peer, 18), b"GET / HTTP/1.1\r\n\r\n");
    h.until("drained", |h| h.heard(token).drained);
}

pub fn finishes_short_sends<W: World>() {
    let mut h = Harness::<W>::new(Limits::default());
    let (sock, token, peer) = h.pair(Room::Tiny);
    let bytes = pattern(600_000);
    h.send(sock, &bytes);
    h.io().shutdown(sock);
    h.settle();
    assert!(h.heard(token).sent < bytes.len() as u64, "the room was not tiny");
    assert!(h.peer_reads(&peer, bytes.len()) == bytes);
    h.peer_reads_eof(&peer);
    assert_eq!((h.heard(token).sent, h.heard(token).drained), (bytes.len() as u64, true));
}

/// A deadline that a test that fails waits for.
const LONG: Duration = Duration::from_secs(5);

pub fn reports_at_once_what_somebody_may_wait_for<W: World>() {
    let mut h = Harness::<W>::new(Limits::default());
    for (hurry, bytes, fin) in [(true, 5, false), (false, SENT_LATE_BYTES_MAX + 1, false), (false, 5, true)] {
        let (sock, token, peer) = h.open_pair();
        h.settle();
        h.io().hurry(sock, hurry);
        h.send(sock, &pattern(bytes));
        if fin {
            h.io().shutdown(sock);
        }
        let deadline = h.io().clock().after(LONG);
        while h.heard(token).sent < bytes as u64 {
            h.turn_until(deadline);
            assert!(h.io().now() < deadline, "{:?} of {bytes} bytes, {hurry}, {fin}", h.heard(token));
        }
        h.peer_reads(&peer, bytes);
        h.close(sock, token);
    }
}

/// The last bytes of a queue that was blocked may be few: whoever was paused for its sake waits for them all the same.
pub fn reports_at_once_that_a_blocked_queue_ran_dry<W: World>() {
    let mut h = Harness::<W>::new(Limits::default());
    let (sock, token, peer) = h.pair(Room::Tiny);
    h.settle();
    h.io().hurry(sock, false);
    let bytes = pattern(600_000);
    h.send(sock, &bytes);
    let deadline = h.io().clock().after(LONG);
    let mut got = 0;
    while !h.heard(token).drained {
        while let PeerRead::Bytes(read) = h.world.read(&peer, 1 << 20) {
            got += read.len();
        }
        h.turn_until(deadline);
        assert!(h.io().now() < deadline, "{:?}, {got} bytes read", h.heard(token));
    }
    assert_eq!(h.heard(token).sent, bytes.len() as u64);
}

pub fn reports_late<W: World>() {
    let mut h = Harness::<W>::new(Limits::default());
    let (sock, token, peer) = h.open_pair();
    h.settle();
    h.io().hurry(sock, false);
    h.io().send(sock, Piece::Static(b"first"));
    let deadline = h.world.soon();
    while h.heard(token).sent == 0 {
        h.turn_until(deadline);
    }
    assert!(h.io().now() >= deadline);
    assert_eq!((h.heard(token).sent, h.heard(token).drained), (5, true));
    // It comes with whatever happens next.
    h.io().send(sock, Piece::Static(b"second"));
    assert_eq!(h.peer_reads(&peer, 5), b"first");
    h.peer_writes(&peer, b"answer");
    h.until("the answer", |h| !h.heard(token).received.is_empty());
    assert_eq!(h.heard(token).sent, 11);
}

pub fn half_closes_from_the_peer<W: World>() {
    let mut h = Harness::<W>::new(Limits::default());
    let (sock, token, peer) = h.open_pair();
    h.peer_writes(&peer, b"request");
    h.world.half_close(&peer);
    h.until("FIN", |h| h.heard(token).end.is_some());
    assert_eq!((h.heard(token).end, &h.heard(token).received[..]), (Some(End::Eof), &b"request"[..]));
    h.io().send(sock, Piece::Static(b"late answer"));
    h.io().shutdown(sock);
    assert_eq!(h.peer_reads(&peer, 11), b"late answer");
    h.peer_reads_eof(&peer);
}

pub fn half_closes_towards_the_peer<W: World>() {
    let mut h = Harness::<W>::new(Limits::default());
    let (sock, token, peer) = h.open_pair();
    h.io().send(sock, Piece::Static(b"last words"));
    h.io().shutdown(sock);
    assert_eq!(h.peer_reads(&peer, 10), b"last words");
    h.peer_reads_eof(&peer);
    h.peer_writes(&peer, b"and mine");
    h.until("the peer's words", |h| h.heard(token).received == b"and mine");
}

pub fn learns_of_a_reset<W: World>() {
    let mut h = Harness::<W>::new(Limits::default());
    let (sock, token, peer) = h.open_pair();
    h.settle();
    h.world.reset(peer);
    h.until("the reset", |h| h.heard(token).end.is_some());
    assert_eq!(h.heard(token).end, Some(End::Error(Errno(libc::ECONNRESET))));
    h.io().send(sock, Piece::Static(b"into the void"));
    h.until("a failed send", |h| h.heard(token).failed.is_some());
    assert_eq!(h.io().queued(sock), 0);
    // Reported once; the harness fails on a second.
    h.io().send(sock, Piece::Static(b"again"));
    h.settle();
}

pub fn cuts_the_stream_by_a_reset<W: World>() {
    let mut h = Harness::<W>::new(Limits::default());
    let (sock, token, peer) = h.open_pair();
    h.settle();
    h.io().reset(sock);
    h.heard.get_mut(&token.0).unwrap().closed = true;
    h.until("a broken stream", |h| match h.world.read(&peer, 1) {
        PeerRead::Nothing => false,
        PeerRead::Broken => true,
        other => panic!("{other:?}"),
    });
}

pub fn says_nothing_after_close<W: World>() {
    let mut h = Harness::<W>::new(Limits { sockets_max: 4, ..Limits::default() });
    for round in 0..200 {
        let (sock, token, peer) = h.open_pair();
        h.world.write(&peer, &[1; 10_000]);
        if round % 2 == 0 {
            h.turn();
            h.world.write(&peer, &[2; 10_000]);
        }
        h.send(sock, &[3; 5_000]);
        if round % 3 == 0 {
            h.world.half_close(&peer);
        }
        if round % 5 == 0 {
            h.io().recv(sock, Class::Small, 0);
        }
        h.close(sock, token);
        // The name is stale now: all of these do nothing, to nobody.
        h.io().recv(sock, Class::Small, CREDIT_UNLIMITED);
        h.io().send(sock, Piece::Static(b"stale"));
        h.io().shutdown(sock);
        h.io().set_token(sock, token);
        h.io().close(sock);
        h.io().reset(sock);
        assert_eq!((h.io().queued(sock), h.io().peer_addr(sock), h.io().local_addr(sock)), (0, None, None));
        h.turn();
    }
    h.settle();
    assert_eq!(stats(&mut h).sockets, 0);
}

pub fn a_stale_name_does_not_touch_the_next_socket<W: World>() {
    let mut h = Harness::<W>::new(Limits { sockets_max: 1, ..Limits::default() });
    let (old, token, _peer) = h.open_pair();
    h.close(old, token);
    h.settle();
    let (new, token, peer) = h.open_pair();
    assert_ne!(old, new);
    h.io().close(old);
    h.io().send(old, Piece::Static(b"wrong"));
    h.io().recv(old, Class::Small, 0);
    h.peer_writes(&peer, b"alive");
    h.until("bytes", |h| h.heard(token).received == b"alive");
    h.io().send(new, Piece::Static(b"right"));
    assert_eq!(h.peer_reads(&peer, 5), b"right");
}

pub fn new_tokens_take_over<W: World>() {
    let mut h = Harness::<W>::new(Limits::default());
    let (sock, old, peer) = h.open_pair();
    h.peer_writes(&peer, b"one");
    h.until("one", |h| h.heard(old).received == b"one");
    let new = h.token();
    h.io().set_token(sock, new);
    h.heard.get_mut(&old.0).unwrap().closed = true;
    h.peer_writes(&peer, b"two");
    h.until("two", |h| h.heard(new).received == b"two");
}

/// 1,000 short messages, with the credit granted anew after each, arm the receive at most `armed` times.
pub fn stays_armed<W: World>(armed: u64) {
    const MESSAGES: u64 = 1_000;
    const CREDIT: u32 = 64 << 10;
    let mut h = Harness::<W>::new(Limits::default());
    let (sock, token, peer) = h.pair(Room::Default);
    let before = stats(&mut h).operations;
    for n in 1..=MESSAGES {
        h.io().recv(sock, Class::Small, CREDIT);
        h.peer_writes(&peer, b"a short message");
        h.until("the message", |h| h.heard(token).received.len() as u64 == n * 15);
    }
    let operations = stats(&mut h).operations - before;
    assert!((1..=armed).contains(&operations), "{operations} operations for {MESSAGES} messages");
}

pub fn parks_without_buffers_and_goes_on_by_itself<W: World>() {
    let mut h = Harness::<W>::new(Limits { small_buffers: 4, ..Limits::default() });
    h.hoard = Some(Vec::new());
    let pairs: Vec<_> = (0..3).map(|_| h.open_pair()).collect();
    let bytes = pattern(100_000);
    for (_, _, peer) in &pairs {
        assert_eq!(h.world.write(peer, &bytes), bytes.len());
    }
    h.until("every buffer in use", |h| h.hoard.as_ref().unwrap().len() == 4);
    h.settle();
    assert_eq!(h.hoard.as_ref().unwrap().len(), 4);
    assert!(stats(&mut h).no_buffers > 0 && h.io().alloc(Class::Small).is_none());
    h.until("everything, four buffers at a time", |h| {
        if h.hoard.as_ref().unwrap().len() == 4 {
            h.hoard.as_mut().unwrap().clear();
        }
        pairs.iter().all(|(_, token, _)| h.heard(*token).received.len() == bytes.len())
    });
    for (_, token, _) in &pairs {
        assert!(h.heard(*token).received == bytes);
    }
}

pub fn one_class_without_buffers_does_not_hold_up_the_other<W: World>() {
    let mut h = Harness::<W>::new(Limits { bulk_buffers: 1, ..Limits::default() });
    h.hoard = Some(Vec::new());
    let (bulk, token, bulk_peer) = h.pair(Room::Default);
    h.io().recv(bulk, Class::Bulk, CREDIT_UNLIMITED);
    let bytes = pattern(400_000);
    h.world.write(&bulk_peer, &bytes);
    h.until("the bulk buffer in use", |h| !h.hoard.as_ref().unwrap().is_empty());
    h.settle();
    let (_, small, small_peer) = h.open_pair();
    for round in 1..=5 {
        h.peer_writes(&small_peer, b"hello");
        h.until("small bytes", |h| h.heard(small).received.len() == round * 5);
    }
    // A turn waits although the bulk socket could be read, had it a buffer.
    let turns = stats(&mut h).turns;
    let deadline = h.io().clock().after(Duration::from_millis(5));
    while h.io().now() < deadline {
        h.turn_until(deadline);
    }
    assert!(stats(&mut h).turns - turns < 50, "the driver spins");
    h.hoard = Some(Vec::new());
    h.until("more bulk bytes", |h| !h.hoard.as_ref().unwrap().is_empty());
    assert!(bytes.starts_with(&h.heard(token).received));
}

pub fn a_closed_socket_does_not_stay_parked<W: World>() {
    let mut h = Harness::<W>::new(Limits { small_buffers: 4, ..Limits::default() });
    h.hoard = Some(Vec::new());
    let (sock, token, peer) = h.open_pair();
    let (_, other, other_peer) = h.open_pair();
    h.world.write(&peer, &[1; 40_000]);
    h.until("every buffer in use", |h| h.hoard.as_ref().unwrap().len() == 4);
    h.close(sock, token);
    h.world.write(&other_peer, b"hello");
    h.settle();
    h.hoard = None;
    h.until("the other's bytes", |h| h.heard(other).received == b"hello");
}

pub fn survives_more_completions_than_its_queue_holds<W: World>() {
    let limits = Limits { queue_entries: 8, completions_per_turn_max: 64, ..Limits::default() };
    let mut h = Harness::<W>::new(limits);
    let pairs: Vec<_> = (0..150).map(|_| h.open_pair()).collect();
    h.settle();
    for round in 0..3u8 {
        for (sock, _, peer) in &pairs {
            assert_eq!(h.world.write(peer, &[round; 10]), 10);
            h.send(*sock, &[round; 10]);
        }
        let wanted = (usize::from(round) + 1) * 10;
        h.until("all bytes of all", |h| {
            pairs
                .iter()
                .all(|(_, token, _)| h.heard(*token).received.len() == wanted && h.heard(*token).sent == wanted as u64)
        });
        for (_, _, peer) in &pairs {
            assert_eq!(h.peer_reads(peer, 10), [round; 10]);
        }
    }
    for (sock, token, _) in &pairs {
        h.close(*sock, *token);
    }
    h.until("all closed", |h| stats(h).sockets == 0);
}

pub fn spills_for_peers_that_do_not_read<W: World>() {
    let limits = Limits { small_buffers: 16, ..Limits::default() };
    let mut h = Harness::<W>::new(limits);
    let (slow, token, slow_peer) = h.pair(Room::Tiny);
    let mut queued = Vec::new();
    // Four times what the buffers hold, so that they can only suffice by being given back.
    h.until("all queued", |h| {
        while let Some(mut buf) = h.io().alloc(Class::Small) {
            let byte = queued.len() as u8 ^ 0x5a;
            buf.fill(byte);
            queued.extend_from_slice(&buf);
            h.io().send(slow, Piece::Buf(buf));
        }
        queued.len() >= 64 * 4096 && stats(h).spilled_bytes > 0
    });
    let (_, other, peer) = h.pair(Room::Default);
    h.until("buffers back", |h| h.io().alloc(Class::Small).is_some());
    let (sock, ..) = h.open_pair();
    h.close(sock, other);
    drop(peer);
    assert!(stats(&mut h).spills > 0);
    assert!(h.peer_reads(&slow_peer, queued.len()) == queued);
    h.until("drained", |h| h.heard(token).drained);
    assert_eq!((stats(&mut h).spilled_bytes, h.heard(token).failed), (0, None));
}

pub fn the_largest_holder_pays_when_the_budget_is_spent<W: World>() {
    let limits = Limits { small_buffers: 16, spill_bytes_max: 64 << 10, ..Limits::default() };
    let mut h = Harness::<W>::new(limits);
    let (greedy, token, _peer) = h.pair(Room::Tiny);
    let (modest, other, modest_peer) = h.pair(Room::Tiny);
    h.send(modest, &[7; 2_000]);
    h.until("the greedy one's end", |h| {
        while h.heard(token).failed.is_none()
            && let Some(buf) = h.io().alloc(Class::Small)
        {
            h.io().send(greedy, Piece::Buf(buf));
        }
        h.heard(token).failed.is_some()
    });
    assert_eq!(h.heard(token).failed, Some(Errno::OVERCOMMIT));
    assert_eq!(h.io().queued(greedy), 0);
    assert!(h.peer_reads(&modest_peer, 2_000) == [7; 2_000]);
    assert_eq!(h.heard(other).failed, None);
    h.until("the budget back", |h| stats(h).spilled_bytes == 0);
}

pub fn splices_both_ways_and_half_closes<W: World>() {
    let mut h = Harness::<W>::new(Limits::default());
    let (a, token_a, peer_a) = h.pair(Room::Default);
    let (b, token_b, peer_b) = h.pair(Room::Default);
    h.io().splice(a, b);
    h.io().splice(b, a);
    let bytes = pattern(500_000);
    let mut written = 0;
    let mut got = Vec::new();
    h.until("bytes through the tunnel", |h| {
        written += h.world.write(&peer_a, &bytes[written..]);
        while let PeerRead::Bytes(more) = h.world.read(&peer_b, 1 << 16) {
            got.extend(more);
        }
        got.len() == bytes.len()
    });
    assert!(got == bytes);
    h.until("the report", |h| h.heard(token_a).spliced == bytes.len() as u64);
    h.world.half_close(&peer_a);
    h.until("FIN of a", |h| h.heard(token_a).end == Some(End::Eof));
    h.io().shutdown(b);
    h.peer_reads_eof(&peer_b);
    // The other direction is still alive.
    h.peer_writes(&peer_b, b"answer");
    assert_eq!(h.peer_reads(&peer_a, 6), b"answer");
    h.world.half_close(&peer_b);
    h.until("FIN of b", |h| h.heard(token_b).end == Some(End::Eof));
    h.io().shutdown(a);
    h.peer_reads_eof(&peer_a);
    h.close(a, token_a);
    h.close(b, token_b);
    h.settle();
    assert_eq!(stats(&mut h).sockets, 0);
}

pub fn splices_after_bytes_were_received_and_paused<W: World>() {
    let mut h = Harness::<W>::new(Limits::default());
    let (a, token, peer_a) = h.open_pair();
    let (b, _, peer_b) = h.pair(Room::Default);
    h.peer_writes(&peer_a, b"head");
    h.until("the head", |h| h.heard(token).received == b"head");
    h.io().recv(a, Class::Small, 0);
    h.settle();
    h.peer_writes(&peer_a, b"body");
    h.io().splice(a, b);
    assert_eq!(h.peer_reads(&peer_b, 4), b"body");
    h.world.reset(peer_b);
    h.settle();
    h.peer_writes(&peer_a, b"lost");
    h.settle();
    h.close(a, token);
}

pub fn a_closed_end_ends_the_splice<W: World>() {
    let mut h = Harness::<W>::new(Limits::default());
    let (a, token_a, peer_a) = h.pair(Room::Default);
    let (b, token_b, _peer_b) = h.pair(Room::Tiny);
    h.io().splice(a, b);
    h.io().splice(b, a);
    h.world.write(&peer_a, &pattern(300_000));
    h.settle();
    h.close(b, token_b);
    h.settle();
    h.close(a, token_a);
    h.settle();
    assert_eq!(stats(&mut h).sockets, 0);
}

pub fn wakes<W: World>() {
    let mut h = Harness::<W>::new(Limits::default());
    let waker = h.io().waker();
    for round in 1..=3 {
        waker.wake();
        waker.wake();
        h.until("Woken", |h| h.woken >= round);
    }
    h.settle();
}

pub fn keeps_deadlines<W: World>() {
    let mut h = Harness::<W>::new(Limits::default());
    for _ in 0..3 {
        let deadline = h.io().clock().after(Duration::from_millis(3));
        let mut turns = 0;
        while h.io().now() < deadline {
            h.turn_until(deadline);
            turns += 1;
            assert!(turns < 50, "the driver does not wait");
        }
    }
    // A deadline in the past is a turn without waiting.
    let past = h.io().now();
    h.turn_until(past);
}
