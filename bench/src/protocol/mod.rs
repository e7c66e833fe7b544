//! What a connection speaks: which bytes ask for something, and which bytes are the whole answer. No socket and no clock; the worker has those, is
//! compiled once for every protocol, and knows none of them.

pub mod bulk;
pub mod http1;
pub mod tcp;
pub mod tls;
pub mod websocket;

use crate::plan::Request;
use crate::tally::Cause;

/// A protocol, with what all connections of a worker share.
pub trait Protocol {
    /// What one connection remembers.
    type Stream: Default;

    /// Something has to be said and heard before the first request. Such connections are opened by the request that needs them, so that a
    /// handshake that fails or never ends is a failure of a request.
    const HANDSHAKE: bool;

    /// There is no reply: see [`Protocol::sent`].
    const ONE_WAY: bool = false;

    /// A connection is up: puts what is to be said first behind `out`.
    fn greet(&mut self, _stream: &mut Self::Stream, _request: &Request, _out: &mut Vec<u8>) {}

    /// [`Progress::Secured`] has been noted: goes on from there.
    fn proceed(&mut self, _stream: &mut Self::Stream, _request: &Request, _out: &mut Vec<u8>) -> Progress {
        Progress::Open
    }

    /// The bytes of a request: those that never change, or put behind `out`.
    fn ask(
        &mut self,
        stream: &mut Self::Stream,
        request: &Request,
        row: &[String],
        out: &mut Vec<u8>,
    ) -> Option<&'static [u8]>;

    /// Takes bytes that arrived while a request was under way. What is to be said at once goes behind `out`.
    fn read(&mut self, stream: &mut Self::Stream, request: &Request, bytes: &[u8], out: &mut Vec<u8>) -> Progress;

    /// Takes bytes that arrived while none was; `false` where that ends the connection.
    fn read_idle(&mut self, _stream: &mut Self::Stream, _bytes: &[u8], _out: &mut Vec<u8>) -> bool {
        false
    }

    /// The kernel has taken every byte of the request, where that is all.
    fn sent(&mut self, _stream: &mut Self::Stream) -> Progress {
        Progress::More
    }

    /// The peer ended the stream while a request was under way.
    fn end(&mut self, stream: &mut Self::Stream, request: &Request) -> Progress;

    /// Ready for the next request.
    fn next(&mut self, stream: &mut Self::Stream);

    /// More about the last [`Progress::Broken`], where a cause does not say it.
    fn why(&mut self) -> Option<String> {
        None
    }
}

/// A whole reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Its status, where the protocol has them.
    pub status: Option<u16>,
    /// The connection may be used again.
    pub keep_alive: bool,
    /// What was wrong with it, if it was not as expected.
    pub fault: Option<Cause>,
}

/// What was agreed in a handshake of TLS, as numbers of its registries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// A session of an earlier connection went on: no certificates, no signatures.
    pub resumed: bool,
    /// The version.
    pub version: u16,
    /// The cipher suite.
    pub suite: u16,
    /// The group of the key exchange; 0 where there was none.
    pub group: u16,
}

/// How far a piece of input got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More is needed.
    More,
    /// The handshake of TLS is over; see [`Protocol::proceed`].
    Secured(Session),
    /// Every handshake is over: the request can be sent.
    Open,
    /// The reply is whole. Bytes behind it make the connection useless: nobody asked for them.
    Whole(Reply),
    /// No reply: what came is not the protocol, or ended too early.
    Broken(Cause),
}
