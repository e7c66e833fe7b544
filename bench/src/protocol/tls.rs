//! TLS around any protocol: what that says is sealed, what it hears has been opened. No socket and no clock here either.

use std::io::{BufRead, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, ClientConnection, Error, HandshakeKind};

use super::{Progress, Protocol, Reply, Session};
use crate::plan::Request;
use crate::tally::Cause;

/// A protocol over TLS, with what all connections of a worker share: their sessions among them.
pub struct Tls<P> {
    inner: P,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    /// What the inner protocol says, before it is sealed.
    plain: Vec<u8>,
    why: Option<String>,
}

/// A connection.
#[derive(Default)]
pub struct Stream<S> {
    session: Option<Box<ClientConnection>>,
    /// The handshake is over.
    secured: bool,
    inner: S,
}

impl<P: Protocol> Tls<P> {
    /// Around `inner`, with a server of this name.
    pub fn new(inner: P, config: Arc<ClientConfig>, name: ServerName<'static>) -> Tls<P> {
        Tls { inner, config, name, plain: Vec::new(), why: None }
    }

    fn broken(&mut self, why: impl ToString) -> Progress {
        self.why = Some(why.to_string());
        Progress::Broken(Cause::Tls)
    }

    /// Opens what arrived and passes it on; `request` is the one under way, if there is one.
    fn open(
        &mut self,
        stream: &mut Stream<P::Stream>,
        request: Option<&Request>,
        mut bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Progress {
        let mut progress = Progress::More;
        while !bytes.is_empty() {
            let Some(session) = &mut stream.session else { return self.broken("no session") };
            match session.read_tls(&mut bytes) {
                Ok(0) => break,
                Ok(_) => {}
                // More than the session keeps came before anything was asked.
                Err(_) => return Progress::Broken(Cause::Malformed),
            }
            let state = match session.process_new_packets() {
                Ok(state) => state,
                Err(error) => {
                    // The alert that tells the server.
                    flush(session, out);
                    return match progress {
                        Progress::Whole(reply) => Progress::Whole(Reply { keep_alive: false, ..reply }),
                        _ => self.broken(without_time(error)),
                    };
                }
            };
            flush(session, out);
            if stream.secured {
                progress = self.hear(stream, request, progress, out);
                if state.peer_has_closed() {
                    return self.closed(stream, request, progress);
                }
            } else if state.peer_has_closed() {
                return self.broken("the server closed the connection in the handshake");
            }
        }
        match &stream.session {
            Some(session) if !stream.secured && !session.is_handshaking() => {
                stream.secured = true;
                Progress::Secured(told(session))
            }
            _ => progress,
        }
    }

    /// Passes on what has been opened.
    fn hear(
        &mut self,
        stream: &mut Stream<P::Stream>,
        request: Option<&Request>,
        mut progress: Progress,
        out: &mut Vec<u8>,
    ) -> Progress {
        let Stream { session: Some(session), inner, .. } = stream else { return progress };
        loop {
            let mut reader = session.reader();
            let len = match reader.fill_buf() {
                Ok(bytes) if !bytes.is_empty() => {
                    self.plain.clear();
                    progress = match (progress, request) {
                        (Progress::More, Some(request)) => self.inner.read(inner, request, bytes, &mut self.plain),
                        (Progress::Broken(_), _) => progress,
                        // Nobody asked for these.
                        _ if self.inner.read_idle(inner, bytes, &mut self.plain) => progress,
                        (Progress::Whole(reply), _) => Progress::Whole(Reply { keep_alive: false, ..reply }),
                        _ => Progress::Broken(Cause::Malformed),
                    };
                    bytes.len()
                }
                _ => return progress,
            };
            reader.consume(len);
            seal(session, &self.plain, out);
        }
    }

    /// The server said that it will send no more.
    fn closed(&mut self, stream: &mut Stream<P::Stream>, request: Option<&Request>, progress: Progress) -> Progress {
        match (progress, request) {
            (Progress::Whole(reply), _) => Progress::Whole(Reply { keep_alive: false, ..reply }),
            (Progress::Broken(cause), _) => Progress::Broken(cause),
            (_, Some(request)) => self.inner.end(&mut stream.inner, request),
            (_, None) => Progress::Broken(Cause::Closed),
        }
    }
}

impl<P: Protocol> Protocol for Tls<P> {
    type Stream = Stream<P::Stream>;
    const HANDSHAKE: bool = true;
    const ONE_WAY: bool = P::ONE_WAY;

    fn greet(&mut self, stream: &mut Self::Stream, _: &Request, out: &mut Vec<u8>) {
        // The same configuration and name made a session when the run was planned.
        if let Ok(mut session) = ClientConnection::new(self.config.clone(), self.name.clone()) {
            flush(&mut session, out);
            stream.session = Some(Box::new(session));
        }
    }

    fn proceed(&mut self, stream: &mut Self::Stream, request: &Request, out: &mut Vec<u8>) -> Progress {
        // What came with the end of the handshake was not asked for.
        match self.hear(stream, None, Progress::Open, out) {
            Progress::Open if P::HANDSHAKE => {}
            progress => return progress,
        }
        self.plain.clear();
        self.inner.greet(&mut stream.inner, request, &mut self.plain);
        if let Some(session) = &mut stream.session {
            seal(session, &self.plain, out);
        }
        Progress::More
    }

    fn ask(
        &mut self,
        stream: &mut Self::Stream,
        request: &Request,
        row: &[String],
        out: &mut Vec<u8>,
    ) -> Option<&'static [u8]> {
        self.plain.clear();
        let fixed = self.inner.ask(&mut stream.inner, request, row, &mut self.plain);
        if let Some(session) = &mut stream.session {
            seal(session, fixed.unwrap_or(&self.plain), out);
        }
        None
    }

    fn read(&mut self, stream: &mut Self::Stream, request: &Request, bytes: &[u8], out: &mut Vec<u8>) -> Progress {
        self.open(stream, Some(request), bytes, out)
    }

    fn read_idle(&mut self, stream: &mut Self::Stream, bytes: &[u8], out: &mut Vec<u8>) -> bool {
        // Tickets for later sessions come at any time.
        let fine = matches!(self.open(stream, None, bytes, out), Progress::More);
        // No request has failed by it.
        self.why = None;
        fine
    }

    fn sent(&mut self, stream: &mut Self::Stream) -> Progress {
        self.inner.sent(&mut stream.inner)
    }

    fn end(&mut self, stream: &mut Self::Stream, request: &Request) -> Progress {
        if !stream.secured {
            return self.broken("the connection ended in the handshake");
        }
        // Without the server's word that this is all (close_notify), the end may be anybody's doing.
        match self.inner.end(&mut stream.inner, request) {
            Progress::Broken(cause) => Progress::Broken(cause),
            _ => Progress::Broken(Cause::ShortReply),
        }
    }

    fn next(&mut self, stream: &mut Self::Stream) {
        self.inner.next(&mut stream.inner);
    }

    fn why(&mut self) -> Option<String> {
        self.why.take()
    }
}

/// A reason that stays the same while the clock goes on, so that it is counted as one.
fn without_time(error: Error) -> Error {
    match error {
        Error::InvalidCertificate(CertificateError::ExpiredContext { .. }) => CertificateError::Expired.into(),
        Error::InvalidCertificate(CertificateError::NotValidYetContext { .. }) => CertificateError::NotValidYet.into(),
        error => error,
    }
}

/// What was agreed.
fn told(session: &ClientConnection) -> Session {
    Session {
        resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
        version: session.protocol_version().map_or(0, u16::from),
        suite: session.negotiated_cipher_suite().map_or(0, |suite| u16::from(suite.suite())),
        group: session.negotiated_key_exchange_group().map_or(0, |group| u16::from(group.name())),
    }
}

/// Puts the records of `plain` behind `out`. The session keeps none of them.
fn seal(session: &mut ClientConnection, mut plain: &[u8], out: &mut Vec<u8>) {
    while !plain.is_empty() {
        match session.writer().write(plain) {
            Ok(len @ 1..) => plain = &plain[len..],
            _ => return,
        }
        flush(session, out);
    }
}

fn flush(session: &mut ClientConnection, out: &mut Vec<u8>) {
    // Writing to a Vec does not fail.
    while session.wants_write() && session.write_tls(out).is_ok() {}
}
