//! Moving bytes from one socket to another inside the kernel: splice(2) through a pipe.
//!
//! A [`Pump`] is one direction. It fills its pipe from the one socket only when the pipe is empty, and empties it into the other, so
//! "would block" always names one side. A pump holds a pipe only while bytes are in it: an idle tunnel costs no descriptors. The
//! drivers decide when to run a pump, by readiness; the ring's own splice operation is not used (it needs a kernel worker).

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno as Os;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with};

use crate::io::{End, Errno, Sock};

/// Asked for per pipe; the kernel may give less.
const PIPE_BYTES: usize = 256 << 10;
/// Empty pipes kept for reuse.
const PIPES_KEPT_MAX: usize = 64;
/// Bytes a pump moves before others get their turn.
const PUMP_BYTES_PER_TURN: u64 = 1 << 20;

/// Both ends of a pipe.
#[derive(Debug)]
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

/// Empty pipes.
#[derive(Debug, Default)]
pub(crate) struct Pipes(Vec<Pipe>);

impl Pipes {
    fn take(&mut self) -> Result<Pipe, Os> {
        if let Some(pipe) = self.0.pop() {
            return Ok(pipe);
        }
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // A refusal (the user's pipe quota) leaves the default size, which works too.
        let _ = fcntl_setpipe_size(&write, PIPE_BYTES);
        Ok(Pipe { read, write })
    }

    fn give(&mut self, pipe: Pipe) {
        if self.0.len() < PIPES_KEPT_MAX {
            self.0.push(pipe);
        }
    }
}

/// One direction of a tunnel.
#[derive(Debug)]
pub(crate) struct Pump {
    pub(crate) from: Sock,
    pub(crate) to: Sock,
    /// On the driver's list of pumps to run.
    pub(crate) queued: bool,
    pipe: Option<Pipe>,
    in_pipe: usize,
}

/// Where a run of a pump stopped.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// Nothing to read.
    Unreadable,
    /// No room to write.
    Unwritable,
    /// Its share of this turn is used up.
    Share,
    /// The source ended and everything was delivered.
    Ended(End),
    /// The destination failed.
    WriteFailed(Errno),
}

/// What a run of a pump did.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) bytes: u64,
    pub(crate) calls: u64,
    pub(crate) stopped: Stopped,
}

impl Pump {
    pub(crate) fn new(from: Sock, to: Sock) -> Pump {
        Pump { from, to, queued: false, pipe: None, in_pipe: 0 }
    }

    /// Moves what can be moved now. Both descriptors are non-blocking.
    pub(crate) fn run(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, pipes: &mut Pipes) -> Run {
        let mut run = Run { bytes: 0, calls: 0, stopped: Stopped::Share };
        while run.bytes < PUMP_BYTES_PER_TURN {
            if let Err(stopped) = self.step(from, to, pipes, &mut run) {
                run.stopped = stopped;
                break;
            }
        }
        if self.in_pipe == 0
            && let Some(pipe) = self.pipe.take()
        {
            pipes.give(pipe);
        }
        run
    }

    fn step(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        pipes: &mut Pipes,
        run: &mut Run,
    ) -> Result<(), Stopped> {
        let pipe = match &self.pipe {
            Some(pipe) => pipe,
            None => self.pipe.insert(pipes.take().map_err(|e| Stopped::WriteFailed(e.into()))?),
        };
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        run.calls += 1;
        if self.in_pipe == 0 {
            match rustix::pipe::splice(from, None, &pipe.write, None, PIPE_BYTES, flags) {
                Ok(0) => Err(Stopped::Ended(End::Eof)),
                Ok(n) => {
                    self.in_pipe = n;
                    Ok(())
                }
                Err(Os::AGAIN) => Err(Stopped::Unreadable),
                Err(Os::INTR) => Ok(()),
                Err(e) => Err(Stopped::Ended(End::Error(e.into()))),
            }
        } else {
            match rustix::pipe::splice(&pipe.read, None, to, None, self.in_pipe, flags) {
                Ok(n) => {
                    self.in_pipe -= n.min(self.in_pipe);
                    run.bytes += n as u64;
                    Ok(())
                }
                Err(Os::AGAIN) => Err(Stopped::Unwritable),
                Err(Os::INTR) => Ok(()),
                Err(e) => Err(Stopped::WriteFailed(e.into())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn moves_bytes_and_the_end_and_holds_no_pipe_when_idle() {
        let ((mut a, b), (c, mut d)) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
        for s in [&b, &c] {
            s.set_nonblocking(true).unwrap();
        }
        let name = Sock { index: 0, generation: 0 };
        let (mut pump, mut pipes) = (Pump::new(name, name), Pipes::default());
        a.write_all(b"through").unwrap();
        let run = pump.run(b.as_fd(), c.as_fd(), &mut pipes);
        assert_eq!((run.bytes, run.stopped), (7, Stopped::Unreadable));
        assert!(pump.pipe.is_none() && pipes.0.len() == 1);
        let mut got = [0; 7];
        d.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"through");
        drop(a);
        assert_eq!(pump.run(b.as_fd(), c.as_fd(), &mut pipes).stopped, Stopped::Ended(End::Eof));
    }

    #[test]
    fn a_destination_that_does_not_read_blocks_and_then_goes_on() {
        let ((mut a, b), (c, mut d)) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
        for s in [&a, &b, &c] {
            s.set_nonblocking(true).unwrap();
        }
        let name = Sock { index: 0, generation: 0 };
        let (mut pump, mut pipes) = (Pump::new(name, name), Pipes::default());
        let (mut written, mut moved) = (0u64, 0u64);
        loop {
            if let Ok(n) = a.write(&[7; 65536]) {
                written += n as u64;
            }
            let run = pump.run(b.as_fd(), c.as_fd(), &mut pipes);
            moved += run.bytes;
            if run.stopped == Stopped::Unwritable {
                break;
            }
        }
        drop(a);
        let mut got = vec![0; 1 << 20];
        let mut read = 0;
        while moved < written || read < written {
            read += d.read(&mut got).unwrap() as u64;
            moved += pump.run(b.as_fd(), c.as_fd(), &mut pipes).bytes;
        }
        assert_eq!((read, moved), (written, written));
    }
}
