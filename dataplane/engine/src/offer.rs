//! Sending by a system call.

use std::io::IoSlice;
use std::os::fd::AsFd;

use rustix::io::Errno as Os;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};

use crate::send_queue::{PIECES_PER_CALL, SendQueue, Sending};

/// Never waits, and a peer that is gone is an error, not a signal.
const FLAGS: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

/// Offers the first pieces of a queue to the kernel: how many bytes it took, and how many were offered.
pub(crate) fn offer(fd: impl AsFd, queue: &SendQueue, sending: &Sending) -> Result<(usize, usize), Os> {
    if let Some(piece) = sending.only_piece(queue) {
        return Ok((rustix::net::send(fd, piece, FLAGS)?, piece.len()));
    }
    let mut slices = [IoSlice::new(&[]); PIECES_PER_CALL];
    let (count, offered) = sending.gather(queue, &mut slices);
    Ok((sendmsg(fd, &slices[..count], &mut SendAncillaryBuffer::default(), FLAGS)?, offered))
}
