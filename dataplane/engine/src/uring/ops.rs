//! The entries this driver submits and the words by which their completions are known again.
//!
//! User data: 8 bits of kind, 24 bits of generation, 32 bits of index. Building an entry is harmless; pushing it is where its memory
//! has to be vouched for.

use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd};

use io_uring::squeue::{Entry, Flags};
use io_uring::{opcode, types};

use crate::io::{Listener, Sock};
use crate::send_queue::PIECES_PER_CALL;

/// What completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    RecvSmall = 1,
    RecvBulk = 2,
    Send = 3,
    PollIn = 4,
    PollOut = 5,
    Accept = 6,
    Wake = 7,
    Cancel = 8,
    Probe = 9,
}

impl Kind {
    pub(super) fn of(user_data: u64) -> Option<Kind> {
        Some(match user_data >> 56 {
            1 => Kind::RecvSmall,
            2 => Kind::RecvBulk,
            3 => Kind::Send,
            4 => Kind::PollIn,
            5 => Kind::PollOut,
            6 => Kind::Accept,
            7 => Kind::Wake,
            8 => Kind::Cancel,
            9 => Kind::Probe,
            _ => return None,
        })
    }
}

pub(super) fn socket_data(kind: Kind, sock: Sock) -> u64 {
    (kind as u64) << 56 | u64::from(sock.generation) << 32 | u64::from(sock.index)
}

pub(super) fn socket_name(user_data: u64) -> Sock {
    Sock { index: user_data as u32, generation: (user_data >> 32) as u32 & crate::table::GENERATION_MASK }
}

pub(super) fn listener_data(listener: Listener) -> u64 {
    (Kind::Accept as u64) << 56 | u64::from(listener.0)
}

/// A multishot receive into group `group` that ends with the buffer in which `limit` bytes are reached.
pub(super) fn recv_multi(fd: BorrowedFd<'_>, group: u16, limit: Option<u32>, user_data: u64) -> Entry {
    let mut entry = opcode::RecvMulti::new(types::Fd(fd.as_raw_fd()), group).build().user_data(user_data);
    if let Some(limit) = limit {
        set_optlen(&mut entry, limit);
    }
    entry
}

/// One receive of at most `len` bytes into a buffer of group `group`: for the last bytes of a credit, and where the kernel has no limit for multishot.
pub(super) fn recv_once(fd: BorrowedFd<'_>, group: u16, len: u32, user_data: u64) -> Entry {
    opcode::Recv::new(types::Fd(fd.as_raw_fd()), std::ptr::null_mut(), len)
        .buf_group(group)
        .build()
        .flags(Flags::BUFFER_SELECT)
        .user_data(user_data)
}

/// Never waits: a peer that does not read leaves nothing behind in the kernel.
const SEND_FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

pub(super) fn send(fd: BorrowedFd<'_>, bytes: &[u8], user_data: u64) -> (Entry, u32) {
    let len = bytes.len().min(i32::MAX as usize) as u32;
    let entry = opcode::Send::new(types::Fd(fd.as_raw_fd()), bytes.as_ptr(), len).flags(SEND_FLAGS).build();
    (entry.user_data(user_data), len)
}

pub(super) fn send_message(fd: BorrowedFd<'_>, message: *const libc::msghdr, user_data: u64) -> Entry {
    let entry = opcode::SendMsg::new(types::Fd(fd.as_raw_fd()), message).flags(SEND_FLAGS as u32).build();
    entry.user_data(user_data)
}

pub(super) fn poll(fd: BorrowedFd<'_>, events: i16, multi: bool, user_data: u64) -> Entry {
    opcode::PollAdd::new(types::Fd(fd.as_raw_fd()), events as u16 as u32).multi(multi).build().user_data(user_data)
}

pub(super) fn accept(fd: BorrowedFd<'_>, listener: Listener) -> Entry {
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    opcode::AcceptMulti::new(types::Fd(fd.as_raw_fd())).flags(flags).build().user_data(listener_data(listener))
}

/// Cancels the operation with this user data. Says nothing when it succeeds: the operation's own completion does.
pub(super) fn cancel(target: u64) -> Entry {
    let user_data = (Kind::Cancel as u64) << 56;
    opcode::AsyncCancel::new(target).build().flags(Flags::SKIP_SUCCESS).user_data(user_data)
}

/// Cancels every operation of the ring.
pub(super) fn cancel_all() -> Entry {
    let user_data = (Kind::Cancel as u64) << 56;
    opcode::AsyncCancel2::new(types::CancelBuilder::any()).build().flags(Flags::SKIP_SUCCESS).user_data(user_data)
}

/// Sets `optlen`, the limit of a multishot receive, which the crate's builder does not know yet.
fn set_optlen(entry: &mut Entry, limit: u32) {
    /// Where `struct io_uring_sqe` has it (include/uapi/linux/io_uring.h), beside `file_index` and `splice_fd_in`.
    const OPTLEN_OFFSET: usize = 44;
    const { assert!(size_of::<Entry>() == 64) };
    // SAFETY: an entry is the 64 bytes of the kernel's structure, any bit pattern of which is valid; the offset is in bounds and aligned.
    unsafe { std::ptr::from_mut(entry).cast::<u8>().add(OPTLEN_OFFSET).cast::<u32>().write(limit) };
}

/// Message headers and their parts for the sends of one submission.
pub(super) struct Messages {
    slots: Box<[Message]>,
    used: usize,
}

struct Message {
    header: libc::msghdr,
    parts: [libc::iovec; PIECES_PER_CALL],
}

/// Sends of several pieces in one submission; what is beyond sends its first piece alone.
const MESSAGES_PER_SUBMISSION: usize = 64;

impl Messages {
    pub(super) fn new() -> Messages {
        let message = || {
            // SAFETY: both are plain C structures for which zero is a valid value.
            unsafe { std::mem::zeroed::<Message>() }
        };
        Messages { slots: (0..MESSAGES_PER_SUBMISSION).map(|_| message()).collect(), used: 0 }
    }

    /// A header over these parts, which stays where it is until [`Messages::reset`].
    pub(super) fn add(&mut self, pieces: &[IoSlice<'_>]) -> Option<*const libc::msghdr> {
        let message = self.slots.get_mut(self.used)?;
        self.used += 1;
        for (part, piece) in message.parts.iter_mut().zip(pieces) {
            *part = libc::iovec { iov_base: piece.as_ptr().cast_mut().cast(), iov_len: piece.len() };
        }
        message.header.msg_iov = message.parts.as_mut_ptr();
        message.header.msg_iovlen = pieces.len().min(PIECES_PER_CALL) as _;
        Some(&raw const message.header)
    }

    /// Everything added was submitted; the kernel has copied it.
    pub(super) fn reset(&mut self) {
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_data_comes_back_whole() {
        let sock = Sock { index: u32::MAX, generation: crate::table::GENERATION_MASK };
        for kind in [Kind::RecvSmall, Kind::RecvBulk, Kind::Send, Kind::PollIn, Kind::PollOut, Kind::Probe] {
            let data = socket_data(kind, sock);
            assert_eq!((Kind::of(data), socket_name(data)), (Some(kind), sock));
        }
        assert_eq!(Kind::of(listener_data(Listener(u32::MAX))), Some(Kind::Accept));
        assert_eq!(Kind::of(0), None);
    }

    #[test]
    fn messages_run_out_and_come_back() {
        let mut messages = Messages::new();
        let pieces = [IoSlice::new(b"a"), IoSlice::new(b"b")];
        for _ in 0..MESSAGES_PER_SUBMISSION {
            assert!(messages.add(&pieces).is_some());
        }
        assert!(messages.add(&pieces).is_none());
        messages.reset();
        assert!(messages.add(&pieces).is_some());
    }
}
