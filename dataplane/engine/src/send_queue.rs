//! What a socket still has to send, for every driver alike: the queue of pieces, its state, and the spilling of unsent tails.
//!
//! Pieces of all sockets live in one pool of nodes, so an idle socket pays for a few words only and queueing does not allocate once the
//! pool is warm. A queue whose peer does not read is *blocked*: after [`SEND_BLOCKED_MAX`], or at once when buffers run low, its
//! tail is copied to the heap and its buffers go back to everybody. The copies are charged to the worker's budget; when that is spent,
//! the largest holder loses its queue. This file never makes a system call: the drivers do, and report what happened.

use std::collections::VecDeque;
use std::io::IoSlice;

use crate::buf::Buf;
use crate::io::{Completion, Errno, Limits, Piece, SEND_BLOCKED_MAX, SENT_LATE_BYTES_MAX, Sock, Time, Token};
use crate::table::Table;

/// End of a list of nodes.
const NIL: u32 = u32::MAX;
/// Pieces that go into one call; a queue that is longer takes several.
pub(crate) const PIECES_PER_CALL: usize = 16;

/// Where a queue stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendState {
    /// The connection is not established; pieces wait.
    Opening,
    /// A call may be made.
    Ready,
    /// The kernel has a call of this queue, and reads its first pieces.
    InFlight,
    /// The kernel takes no more until the peer has read.
    Blocked,
    /// An error ended it; what is queued from now on is dropped.
    Failed,
}

/// Where the FIN of a queue stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fin {
    /// Not asked for.
    No,
    /// To be sent when the queue has drained.
    Wanted,
    /// Sent.
    Sent,
}

/// One socket's queue: names of nodes in the pool of [`Sending`].
#[derive(Debug)]
pub(crate) struct SendQueue {
    head: u32,
    tail: u32,
    /// Heap bytes of spilled pieces, charged to the worker.
    charged: u32,
    /// Bytes taken since it was last empty.
    taken: u32,
    pub(crate) state: SendState,
    pub(crate) fin: Fin,
    /// See [`Io::hurry`](crate::Io::hurry).
    pub(crate) hurry: bool,
    to_flush: bool,
    enlisted: bool,
    bytes: usize,
    blocked_since: Time,
}

impl SendQueue {
    pub(crate) fn new(state: SendState) -> SendQueue {
        SendQueue {
            head: NIL,
            tail: NIL,
            charged: 0,
            taken: 0,
            state,
            fin: Fin::No,
            hurry: true,
            to_flush: false,
            enlisted: false,
            bytes: 0,
            blocked_since: Time(0),
        }
    }

    /// Bytes not yet taken by the kernel.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head == NIL
    }

    /// That the last bytes were taken may be reported late. It never held more than was taken since it was empty, so nobody was paused for its sake.
    pub(crate) fn may_report_late(&self) -> bool {
        !self.hurry && self.is_empty() && self.fin == Fin::No && self.taken as usize <= SENT_LATE_BYTES_MAX
    }
}

/// A socket as seen from here.
pub(crate) trait Sender {
    fn queue(&mut self) -> &mut SendQueue;
    fn token(&self) -> Token;
}

struct Node {
    piece: Piece,
    /// Heap bytes charged for this piece.
    charged: u32,
    next: u32,
}

/// The queues of one worker: their nodes, who has to be flushed, who is blocked, and the spill budget.
pub(crate) struct Sending {
    nodes: Vec<Node>,
    free: u32,
    to_flush: Vec<Sock>,
    /// Blocked queues by the time they blocked. May name queues that are blocked no more.
    blocked: VecDeque<(Time, Sock)>,
    spilled_bytes: usize,
    spills: u64,
    spill_bytes_max: usize,
}

/// The budget does not have as many bytes as this queue would hold in all.
#[derive(Debug, PartialEq, Eq)]
struct Overdrawn(usize);

impl Sending {
    pub(crate) fn new(limits: &Limits) -> Sending {
        Sending {
            nodes: Vec::new(),
            free: NIL,
            to_flush: Vec::new(),
            blocked: VecDeque::new(),
            spilled_bytes: 0,
            spills: 0,
            spill_bytes_max: limits.spill_bytes_max,
        }
    }

    pub(crate) fn spills(&self) -> u64 {
        self.spills
    }

    pub(crate) fn spilled_bytes(&self) -> usize {
        self.spilled_bytes
    }

    /// Queues a piece. Dropped when the queue has failed or its FIN was asked for.
    pub(crate) fn push(&mut self, sock: Sock, queue: &mut SendQueue, piece: Piece) {
        if piece.is_empty() || queue.state == SendState::Failed || queue.fin != Fin::No {
            return;
        }
        queue.bytes += piece.len();
        let node = self.new_node(piece);
        match queue.tail {
            NIL => (queue.head, queue.taken) = (node, 0),
            tail => self.nodes[tail as usize].next = node,
        }
        queue.tail = node;
        match queue.state {
            SendState::Ready => self.want_flush(sock, queue),
            SendState::Blocked => self.enlist(sock, queue),
            SendState::Opening | SendState::InFlight | SendState::Failed => {}
        }
    }

    /// Asks for FIN after the last piece.
    pub(crate) fn finish(&mut self, sock: Sock, queue: &mut SendQueue) {
        if queue.fin == Fin::No {
            queue.fin = Fin::Wanted;
            if queue.state == SendState::Ready {
                self.want_flush(sock, queue);
            }
        }
    }

    /// The kernel may be asked again: after a connect, a blocked peer that read, a call that completed.
    pub(crate) fn ready(&mut self, sock: Sock, queue: &mut SendQueue) {
        if queue.state != SendState::Failed {
            queue.state = SendState::Ready;
            if !queue.is_empty() || queue.fin == Fin::Wanted {
                self.want_flush(sock, queue);
            }
        }
    }

    /// The kernel takes no more for now.
    pub(crate) fn block(&mut self, sock: Sock, queue: &mut SendQueue, now: Time) {
        queue.state = SendState::Blocked;
        queue.blocked_since = now;
        self.enlist(sock, queue);
    }

    /// The list of sockets to flush; give it back with [`Sending::put_flush_list`] to keep its memory.
    pub(crate) fn take_flush_list(&mut self) -> Vec<Sock> {
        std::mem::take(&mut self.to_flush)
    }

    /// Takes the memory of the list back. Sockets that asked meanwhile stay.
    pub(crate) fn put_flush_list(&mut self, mut list: Vec<Sock>) {
        list.clear();
        list.append(&mut self.to_flush);
        self.to_flush = list;
    }

    pub(crate) fn has_flushes(&self) -> bool {
        !self.to_flush.is_empty()
    }

    /// Marks a queue taken off the flush list.
    pub(crate) fn flushing(&mut self, queue: &mut SendQueue) {
        queue.to_flush = false;
    }

    /// The first bytes, when they are all there is.
    pub(crate) fn only_piece(&self, queue: &SendQueue) -> Option<&[u8]> {
        if queue.head == NIL || queue.head != queue.tail { None } else { Some(self.bytes_of(queue.head)) }
    }

    /// The first pieces of a queue, as many as fit `out`: how many, and their bytes.
    pub(crate) fn gather<'a>(&'a self, queue: &SendQueue, out: &mut [IoSlice<'a>]) -> (usize, usize) {
        let (mut count, mut bytes, mut node) = (0, 0, queue.head);
        while node != NIL && count < out.len() {
            let piece = self.bytes_of(node);
            out[count] = IoSlice::new(piece);
            bytes += piece.len();
            count += 1;
            node = self.nodes[node as usize].next;
        }
        (count, bytes)
    }

    /// The kernel took the first `n` bytes.
    pub(crate) fn consume(&mut self, queue: &mut SendQueue, n: usize) {
        let mut left = n.min(queue.bytes);
        queue.bytes -= left;
        queue.taken = queue.taken.saturating_add(u32::try_from(left).unwrap_or(u32::MAX));
        while queue.head != NIL {
            let node = &mut self.nodes[queue.head as usize];
            let len = node.piece.len();
            if left < len {
                match &mut node.piece {
                    Piece::Buf(buf) => buf.advance(left),
                    Piece::Static(bytes) => *bytes = &bytes[left..],
                }
                return;
            }
            left -= len;
            self.drop_head(queue);
        }
    }

    /// Drops everything queued.
    pub(crate) fn clear(&mut self, queue: &mut SendQueue) {
        while queue.head != NIL {
            self.drop_head(queue);
        }
        queue.bytes = 0;
    }

    /// Ends the queue with an error, once.
    pub(crate) fn fail(&mut self, queue: &mut SendQueue, token: Token, errno: Errno, out: &mut Vec<Completion>) {
        if queue.state != SendState::Failed {
            self.clear(queue);
            queue.state = SendState::Failed;
            out.push(Completion::SendFailed { token, errno });
        }
    }

    /// When [`Sending::relieve`] next has something to do.
    pub(crate) fn next_deadline(&self) -> Time {
        self.blocked.front().map_or(Time::NEVER, |(since, _)| since.after(SEND_BLOCKED_MAX))
    }

    /// Copies the tails of queues that have been blocked too long, or of any blocked one while `are_low` says that buffers run
    /// low.
    pub(crate) fn relieve<T: Sender>(
        &mut self,
        table: &mut Table<T>,
        now: Time,
        are_low: impl Fn() -> bool,
        out: &mut Vec<Completion>,
    ) {
        while let Some(&(since, sock)) = self.blocked.front() {
            let low = are_low();
            if !low && since.after(SEND_BLOCKED_MAX) > now {
                return;
            }
            self.blocked.pop_front();
            let Some(socket) = table.get_mut(sock) else { continue };
            let queue = socket.queue();
            queue.enlisted = false;
            if queue.state != SendState::Blocked {
                continue;
            }
            if !low && queue.blocked_since.after(SEND_BLOCKED_MAX) > now {
                // It moved since it was listed.
                queue.enlisted = true;
                self.blocked.push_back((queue.blocked_since, sock));
                continue;
            }
            self.relieve_one(table, sock, out);
        }
    }

    fn relieve_one<T: Sender>(&mut self, table: &mut Table<T>, sock: Sock, out: &mut Vec<Completion>) {
        while let Some(socket) = table.get_mut(sock) {
            match self.spill(socket.queue()) {
                Ok(()) => return,
                Err(Overdrawn(needed)) => {
                    let victim = self.largest_holder(table, needed).unwrap_or(sock);
                    if let Some(socket) = table.get_mut(victim) {
                        let token = socket.token();
                        self.fail(socket.queue(), token, Errno::OVERCOMMIT, out);
                    }
                    if victim == sock {
                        return;
                    }
                }
            }
        }
    }

    /// The blocked socket with the most spilled bytes, if it has more than `bytes`.
    fn largest_holder<T: Sender>(&self, table: &mut Table<T>, bytes: usize) -> Option<Sock> {
        table
            .iter_mut()
            .filter_map(|(sock, socket)| {
                let queue = socket.queue();
                (queue.state == SendState::Blocked).then_some((queue.charged as usize, sock))
            })
            .max_by_key(|(charged, _)| *charged)
            .filter(|(charged, _)| *charged > bytes)
            .map(|(_, sock)| sock)
    }

    /// Copies every run of pieces that hold buffer slots into one heap block.
    fn spill(&mut self, queue: &mut SendQueue) -> Result<(), Overdrawn> {
        let needed = self.slot_bytes(queue);
        if needed == 0 {
            return Ok(());
        }
        if self.spilled_bytes + needed > self.spill_bytes_max {
            return Err(Overdrawn(queue.charged as usize + needed));
        }
        let mut node = queue.head;
        while node != NIL {
            if self.holds_slot(node) {
                self.spill_run(queue, node);
            }
            node = self.nodes[node as usize].next;
        }
        self.spills += 1;
        Ok(())
    }

    /// Replaces the pieces from `first` up to the next one without a slot by one heap piece in `first`.
    fn spill_run(&mut self, queue: &mut SendQueue, first: u32) {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(self.bytes_of(first));
        let mut next = self.nodes[first as usize].next;
        while next != NIL && self.holds_slot(next) {
            bytes.extend_from_slice(self.bytes_of(next));
            let after = self.nodes[next as usize].next;
            self.free_node(next);
            next = after;
        }
        bytes.shrink_to_fit();
        let charged = bytes.len();
        let node = &mut self.nodes[first as usize];
        node.next = next;
        node.charged = charged as u32;
        node.piece = Piece::Buf(Buf::heap(bytes));
        if next == NIL {
            queue.tail = first;
        }
        queue.charged += charged as u32;
        self.spilled_bytes += charged;
    }

    fn slot_bytes(&self, queue: &SendQueue) -> usize {
        let (mut bytes, mut node) = (0, queue.head);
        while node != NIL {
            if self.holds_slot(node) {
                bytes += self.bytes_of(node).len();
            }
            node = self.nodes[node as usize].next;
        }
        bytes
    }

    fn holds_slot(&self, node: u32) -> bool {
        matches!(&self.nodes[node as usize].piece, Piece::Buf(buf) if buf.holds_slot())
    }

    fn want_flush(&mut self, sock: Sock, queue: &mut SendQueue) {
        if !queue.to_flush {
            queue.to_flush = true;
            self.to_flush.push(sock);
        }
    }

    fn enlist(&mut self, sock: Sock, queue: &mut SendQueue) {
        if !queue.enlisted {
            queue.enlisted = true;
            self.blocked.push_back((queue.blocked_since, sock));
        }
    }

    fn bytes_of(&self, node: u32) -> &[u8] {
        match &self.nodes[node as usize].piece {
            Piece::Buf(buf) => buf,
            Piece::Static(bytes) => bytes,
        }
    }

    fn new_node(&mut self, piece: Piece) -> u32 {
        let node = Node { piece, charged: 0, next: NIL };
        if self.free == NIL {
            self.nodes.push(node);
            return self.nodes.len() as u32 - 1;
        }
        let index = self.free;
        self.free = std::mem::replace(&mut self.nodes[index as usize], node).next;
        index
    }

    fn free_node(&mut self, index: u32) {
        let node = &mut self.nodes[index as usize];
        node.piece = Piece::Static(&[]);
        node.next = self.free;
        self.free = index;
    }

    fn drop_head(&mut self, queue: &mut SendQueue) {
        let head = queue.head;
        let node = &mut self.nodes[head as usize];
        let charged = std::mem::take(&mut node.charged);
        queue.head = node.next;
        if queue.head == NIL {
            queue.tail = NIL;
        }
        queue.charged -= charged;
        self.spilled_bytes -= charged as usize;
        self.free_node(head);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buf::Arena;

    struct Peer {
        queue: SendQueue,
        token: Token,
    }

    impl Sender for Peer {
        fn queue(&mut self) -> &mut SendQueue {
            &mut self.queue
        }
        fn token(&self) -> Token {
            self.token
        }
    }

    fn peer(token: u64) -> Peer {
        Peer { queue: SendQueue::new(SendState::Ready), token: Token(token) }
    }

    fn contents(sending: &Sending, queue: &SendQueue) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); PIECES_PER_CALL];
        let (count, bytes) = sending.gather(queue, &mut slices);
        let all: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect();
        assert_eq!(all.len(), bytes);
        all
    }

    #[test]
    fn pieces_leave_in_order_and_short_writes_cut_them() {
        let mut sending = Sending::new(&Limits::default());
        let mut table = Table::new(1);
        let sock = table.insert(peer(1)).ok().unwrap();
        let queue = &mut table.get_mut(sock).unwrap().queue;
        sending.push(sock, queue, Piece::Static(b"abc"));
        assert_eq!(sending.only_piece(queue), Some(&b"abc"[..]));
        sending.push(sock, queue, Piece::Buf(Buf::heap(b"defg".to_vec())));
        sending.push(sock, queue, Piece::Static(b""));
        assert_eq!((sending.only_piece(queue), queue.bytes()), (None, 7));
        sending.consume(queue, 4);
        assert_eq!(contents(&sending, queue), b"efg");
        sending.consume(queue, 3);
        assert!(queue.is_empty() && queue.bytes() == 0);
        assert_eq!(sending.take_flush_list(), [sock]);
    }

    #[test]
    fn a_blocked_queue_gives_its_buffers_back_after_a_while_and_keeps_its_bytes() {
        let arena = Arena::new(8, 4).unwrap();
        let mut sending = Sending::new(&Limits::default());
        let mut table = Table::new(1);
        let sock = table.insert(peer(1)).ok().unwrap();
        let queue = &mut table.get_mut(sock).unwrap().queue;
        for byte in [b'a', b'b'] {
            let mut buf = arena.take().unwrap();
            buf.fill(byte);
            sending.push(sock, queue, Piece::Buf(buf));
        }
        sending.push(sock, queue, Piece::Static(b"-"));
        sending.consume(queue, 6);
        sending.block(sock, queue, Time(5));
        let mut out = Vec::new();
        sending.relieve(&mut table, Time(6), || false, &mut out);
        assert_eq!(arena.free(), 2);
        sending.relieve(&mut table, Time(5).after(SEND_BLOCKED_MAX), || false, &mut out);
        assert_eq!((arena.free(), sending.spilled_bytes(), sending.spills()), (4, 10, 1));
        let queue = &mut table.get_mut(sock).unwrap().queue;
        assert_eq!(contents(&sending, queue), b"aabbbbbbbb-");
        sending.consume(queue, 10);
        assert_eq!(sending.spilled_bytes(), 0);
        assert!(out.is_empty() && sending.next_deadline() == Time::NEVER);
    }

    #[test]
    fn when_the_budget_is_spent_the_largest_holder_pays() {
        let arena = Arena::new(8, 8).unwrap();
        let mut sending = Sending::new(&Limits { spill_bytes_max: 24, ..Limits::default() });
        let mut table = Table::new(3);
        let socks: Vec<Sock> = (0..3).map(|i| table.insert(peer(i)).ok().unwrap()).collect();
        // Sixteen bytes, eight bytes, eight bytes: the third does not fit any more.
        for (sock, slots) in socks.iter().zip([2, 1, 1]) {
            let queue = &mut table.get_mut(*sock).unwrap().queue;
            for _ in 0..slots {
                sending.push(*sock, queue, Piece::Buf(arena.take().unwrap()));
            }
            sending.block(*sock, queue, Time(0));
        }
        let mut out = Vec::new();
        sending.relieve(&mut table, Time(0), || true, &mut out);
        assert_eq!(arena.free(), 8);
        assert!(matches!(out[..], [Completion::SendFailed { token: Token(0), errno: Errno::OVERCOMMIT }]), "{out:?}");
        assert_eq!(sending.spilled_bytes(), 16);
    }

    #[test]
    fn a_socket_does_not_pay_while_there_is_a_budget() {
        let arena = Arena::new(64 << 10, 4).unwrap();
        let mut sending = Sending::new(&Limits::default());
        let mut table = Table::new(1);
        let sock = table.insert(peer(7)).ok().unwrap();
        let queue = &mut table.get_mut(sock).unwrap().queue;
        for _ in 0..4 {
            sending.push(sock, queue, Piece::Buf(arena.take().unwrap()));
        }
        sending.block(sock, queue, Time(0));
        let mut out = Vec::new();
        sending.relieve(&mut table, Time(0), || true, &mut out);
        assert_eq!((out.len(), arena.free(), sending.spilled_bytes()), (0, 4, 256 << 10));
    }

    #[test]
    fn nothing_is_queued_after_fin_or_failure() {
        let mut sending = Sending::new(&Limits::default());
        let mut out = Vec::new();
        let sock = Sock { index: 0, generation: 0 };
        let mut queue = SendQueue::new(SendState::Ready);
        sending.finish(sock, &mut queue);
        sending.push(sock, &mut queue, Piece::Static(b"late"));
        assert_eq!(queue.bytes(), 0);
        let mut queue = SendQueue::new(SendState::Ready);
        sending.fail(&mut queue, Token(1), Errno(libc::EPIPE), &mut out);
        sending.fail(&mut queue, Token(1), Errno(libc::EPIPE), &mut out);
        sending.push(sock, &mut queue, Piece::Static(b"late"));
        assert_eq!((queue.bytes(), out.len()), (0, 1));
    }

    #[test]
    fn the_rest_of_much_that_was_queued_is_not_reported_late() {
        let mut sending = Sending::new(&Limits::default());
        let sock = Sock { index: 0, generation: 0 };
        let mut queue = SendQueue::new(SendState::Ready);
        queue.hurry = false;
        for (calls, late) in [
            (&[5][..], true),
            (&[SENT_LATE_BYTES_MAX], true),
            (&[SENT_LATE_BYTES_MAX, 1], false),
            (&[40_000, 5], false),
            (&[3, 4], true),
        ] {
            sending.push(sock, &mut queue, Piece::Buf(Buf::heap(vec![0; calls.iter().sum()])));
            calls.iter().for_each(|taken| sending.consume(&mut queue, *taken));
            assert_eq!(queue.may_report_late(), late, "{calls:?}");
        }
    }

    #[test]
    fn an_idle_queue_is_small() {
        assert!(size_of::<SendQueue>() <= 40);
    }
}
