//! What this kernel's receive can do, found out by receiving two bytes.
//!
//! A multishot receive with a limit (`sqe.optlen`) is new; kernels without it refuse the field. A kernel without multishot receive at all
//! has no use for this driver.

use std::os::fd::AsFd;
use std::time::Duration;

use io_uring::cqueue;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};

use super::buf_ring::BufRing;
use super::ops::{self, Kind};
use super::ring::Ring;
use super::{GROUP_SMALL, OpenError};

/// A receive of bytes that are there is answered at once; this only bounds a kernel that does not answer.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// True when multishot receives take a limit. An error when there are none.
pub(super) fn recv_has_limit(ring: &mut Ring, buffers: &mut BufRing) -> Result<bool, OpenError> {
    match receive(ring, buffers, Some(1))? {
        // Beyond the limit by what fits the buffer, and over.
        (1 | 2, false) => Ok(true),
        (1 | 2, true) => Err(OpenError::unsupported("a limit that limits")),
        _ => match receive(ring, buffers, None)? {
            (2, _) => Ok(false),
            (error, _) => Err(OpenError::new("multishot receive", &std::io::Error::from_raw_os_error(-error))),
        },
    }
}

/// The result of the first completion of a receive of two bytes, and whether more were announced. The receive is over when this returns.
fn receive(ring: &mut Ring, buffers: &mut BufRing, limit: Option<u32>) -> Result<(i32, bool), OpenError> {
    let failed = |e: rustix::io::Errno| OpenError::new("probing multishot receive", &e.into());
    let (near, far) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).map_err(failed)?;
    rustix::net::send(&far, b"ab", SendFlags::NOSIGNAL).map_err(failed)?;
    buffers.top_up();
    let entry = ops::recv_multi(near.as_fd(), GROUP_SMALL, limit, (Kind::Probe as u64) << 56);
    // SAFETY: a receive into provided buffers points to no memory of its own.
    unsafe { ring.push(&entry) };
    let mut far = Some(far);
    let mut first = None;
    let mut entries = Vec::new();
    // One completion per byte or for both, and one for the end of the stream.
    for _ in 0..4 {
        ring.enter(true, Some(ANSWER_MAX.as_nanos() as u64));
        ring.reap(usize::MAX, &mut entries);
        for entry in &entries {
            if let Some(slot) = cqueue::buffer_select(entry.flags()) {
                drop(buffers.arena().claim(slot, 0));
            }
            let more = cqueue::more(entry.flags());
            let answer = *first.get_or_insert((entry.result(), more));
            if !more {
                return Ok(answer);
            }
        }
        // The end of the stream ends a receive that goes on.
        far = None;
    }
    drop(far);
    Err(OpenError::unsupported("a receive that ends"))
}
