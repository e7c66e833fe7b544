//! Moves the bytes of [`Session`]s over a Unix socket.

use super::{Publisher, Session};
use crate::translate::Compiled;
use ringway_config::message::{self, Message};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};

/// Streams served at a time.
pub const STREAMS_MAX: usize = 10_000;
/// Bytes that a proxy may send in one message: a Want of the most and longest names.
pub const INPUT_BYTES_MAX: usize = 1 << 20;
/// Time for the first message.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for the wants of a proxy that comes again.
const GREETING: Duration = Duration::from_millis(100);
/// Time for the proxy to take in what was written.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause after a failed accept, such as without descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Serves every proxy that connects, from the newest state. Runs until it is dropped or the state's sender is.
///
/// # Errors
/// Never; the type leaves room for a listener that breaks.
pub async fn serve(
    listener: UnixListener,
    state: watch::Receiver<Arc<Compiled>>,
    publisher: Publisher,
) -> io::Result<()> {
    let permits = Arc::new(Semaphore::new(STREAMS_MAX));
    let mut streams = tokio::task::JoinSet::new();
    let mut ended = state.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // A proxy that finds no room is closed at once and comes again.
                    let Ok(permit) = permits.clone().try_acquire_owned() else { continue };
                    let (state, publisher) = (state.clone(), publisher.clone());
                    streams.spawn(async move {
                        let _permit = permit;
                        // A stream's end is seen in its status; the proxy says its side itself.
                        let _ = stream_task(stream, state, publisher).await;
                    });
                }
                Err(_) => tokio::time::sleep(ACCEPT_BACKOFF).await,
            },
            Some(_) = streams.join_next() => {}
            gone = wait_for_end(&mut ended) => return gone,
        }
    }
}

/// Ends when nobody can change the state any more.
async fn wait_for_end(state: &mut watch::Receiver<Arc<Compiled>>) -> io::Result<()> {
    while state.changed().await.is_ok() {}
    Ok(())
}

async fn stream_task(
    stream: UnixStream,
    mut state: watch::Receiver<Arc<Compiled>>,
    publisher: Publisher,
) -> io::Result<()> {
    let mut wire = Wire { stream, input: Vec::new() };
    let hello = tokio::time::timeout(HELLO_TIMEOUT, wire.read()).await??;
    let Some(hello) = hello else { return Ok(()) };
    let mut session = Session::open(publisher, &hello).map_err(io::Error::other)?;
    let mut out = Vec::new();
    let greeting = tokio::time::sleep(GREETING);
    tokio::pin!(greeting);
    let compiled = state.borrow_and_update().clone();
    session.refresh(&compiled, &mut out);
    loop {
        wire.write(&mut out).await?;
        tokio::select! {
            message = wire.read() => {
                let Some(message) = message? else { return Ok(()) };
                let compiled = state.borrow().clone();
                session.receive(message, &compiled, &mut out).map_err(io::Error::other)?;
            }
            changed = state.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                let compiled = state.borrow_and_update().clone();
                session.refresh(&compiled, &mut out);
            }
            () = &mut greeting, if session.is_greeting() => {
                let compiled = state.borrow().clone();
                session.greeted(&compiled, &mut out);
            }
        }
    }
}

/// Whole messages over a stream of bytes.
struct Wire {
    stream: UnixStream,
    input: Vec<u8>,
}

impl Wire {
    /// The next message; `None` at the end. Losing the future loses no byte: what was read stays in `input`.
    async fn read(&mut self) -> io::Result<Option<Message>> {
        loop {
            if let Some((message, used)) = message::decode(&self.input).map_err(io::Error::other)? {
                self.input.drain(..used);
                return Ok(Some(message));
            }
            if self.input.len() > INPUT_BYTES_MAX {
                return Err(io::Error::other("a message of the proxy is too long"));
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Ok(None);
            }
        }
    }

    async fn write(&mut self, out: &mut Vec<Message>) -> io::Result<()> {
        let mut bytes = Vec::new();
        for message in out.drain(..) {
            bytes.clear();
            message::encode(&message, &mut bytes);
            tokio::time::timeout(WRITE_TIMEOUT, self.stream.write_all(&bytes)).await??;
        }
        Ok(())
    }
}
