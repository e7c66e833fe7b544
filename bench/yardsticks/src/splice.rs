//! Bytes that the kernel moves from one socket through a pipe to another.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Bytes of one splice, and what is asked of a pipe.
const PIPE_BYTES: usize = 1 << 20;

/// How many bytes moved, `None` when one of the two is not ready.
pub fn moved(from: RawFd, to: RawFd) -> io::Result<Option<usize>> {
    let flags = libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK;
    let none = std::ptr::null_mut();
    // SAFETY: both descriptors are open; the offsets are null, as neither is a file.
    let length = unsafe { libc::splice(from, none, to, none, PIPE_BYTES, flags) };
    match usize::try_from(length) {
        Ok(length) => Ok(Some(length)),
        Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// A pipe's two ends, and that it holds nothing.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd, usize)> {
    let mut ends = [0; 2];
    // SAFETY: `ends` has room for the two descriptors.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_NONBLOCK | libc::O_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both were opened just now and nobody else owns them.
    let (read, write) = unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) };
    // A refusal leaves the size as it is.
    // SAFETY: takes no pointer.
    unsafe { libc::fcntl(write.as_raw_fd(), libc::F_SETPIPE_SZ, PIPE_BYTES) };
    Ok((read, write, 0))
}
