//! Bytes in one direction over TCP, as fast as they go: a request is one block of them.

use super::{Progress, Protocol, Reply};
use crate::plan::Request;
use crate::tally::Cause;

const BLOCK: Reply = Reply { status: None, keep_alive: true, fault: None };

/// To a server that reads on. A block is done when the kernel has taken it.
#[derive(Debug)]
pub struct BulkSend {
    block: &'static [u8],
}

/// From a server that sends on. A block is done when so many bytes have arrived.
#[derive(Debug)]
pub struct BulkReceive {
    block: usize,
}

impl BulkSend {
    /// Blocks like this one.
    pub fn new(block: &'static [u8]) -> BulkSend {
        BulkSend { block }
    }
}

impl BulkReceive {
    /// Blocks of so many bytes.
    pub fn new(block: usize) -> BulkReceive {
        BulkReceive { block }
    }
}

impl Protocol for BulkSend {
    type Stream = ();
    const HANDSHAKE: bool = false;
    const ONE_WAY: bool = true;

    fn ask(&mut self, (): &mut (), _: &Request, _: &[String], _: &mut Vec<u8>) -> Option<&'static [u8]> {
        Some(self.block)
    }

    fn read(&mut self, (): &mut (), _: &Request, _: &[u8], _: &mut Vec<u8>) -> Progress {
        Progress::More
    }

    fn read_idle(&mut self, (): &mut (), _: &[u8], _: &mut Vec<u8>) -> bool {
        true
    }

    fn end(&mut self, (): &mut (), _: &Request) -> Progress {
        Progress::Broken(Cause::Closed)
    }

    fn next(&mut self, (): &mut ()) {}

    fn sent(&mut self, (): &mut ()) -> Progress {
        Progress::Whole(BLOCK)
    }
}

impl Protocol for BulkReceive {
    /// Bytes that have arrived and belong to no block that is done.
    type Stream = usize;
    const HANDSHAKE: bool = false;

    fn ask(&mut self, _: &mut usize, _: &Request, _: &[String], _: &mut Vec<u8>) -> Option<&'static [u8]> {
        None
    }

    fn read(&mut self, have: &mut usize, _: &Request, bytes: &[u8], _: &mut Vec<u8>) -> Progress {
        *have += bytes.len();
        match have.checked_sub(self.block) {
            None => Progress::More,
            Some(rest) => {
                *have = rest;
                Progress::Whole(BLOCK)
            }
        }
    }

    fn read_idle(&mut self, have: &mut usize, bytes: &[u8], _: &mut Vec<u8>) -> bool {
        // The next block has begun before it is asked for. Whole ones that nobody asked for are none.
        *have = (*have + bytes.len()) % self.block;
        true
    }

    fn end(&mut self, have: &mut usize, _: &Request) -> Progress {
        Progress::Broken(if *have == 0 { Cause::Closed } else { Cause::ShortReply })
    }

    fn next(&mut self, _: &mut usize) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_follow_each_other_without_a_gap() {
        let (request, mut out) = (Request::of_message("block", b""), Vec::new());
        let (mut protocol, mut have) = (BulkReceive::new(10), 0);
        assert_eq!(protocol.end(&mut have, &request), Progress::Broken(Cause::Closed));
        assert_eq!(protocol.read(&mut have, &request, &[0; 7], &mut out), Progress::More);
        assert_eq!(protocol.end(&mut have, &request), Progress::Broken(Cause::ShortReply));
        assert_eq!(protocol.read(&mut have, &request, &[0; 5], &mut out), Progress::Whole(BLOCK));
        protocol.next(&mut have);
        assert!(protocol.read_idle(&mut have, &[0; 27], &mut out));
        assert_eq!(protocol.read(&mut have, &request, &[0; 1], &mut out), Progress::Whole(BLOCK));
        assert!(out.is_empty());
    }
}
