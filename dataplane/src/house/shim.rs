//! The stream to the control shim: connects, says Hello, and goes on trying for ever, since the config in use stays good without it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ringway_config::message::{self, Message};
use ringway_config::{Hash, Order, Snapshot};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};

use super::options::{ConfigFrom, Options};

const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// Messages waiting in either direction.
const QUEUE_MAX: usize = 1024;

/// What came from the shim.
pub enum ShimEvent {
    /// The stream is up; Hello was said.
    Connected,
    /// A message.
    Message(Message),
    /// Something to tell the operator.
    Said(String),
}

/// Housekeeping's end of the stream.
pub struct Shim {
    out: mpsc::Sender<Message>,
    held: watch::Sender<Option<Option<(Hash, Order)>>>,
}

impl Shim {
    /// A stream to the shim named by the options; connects when [`Shim::connect_from`] says what is held. No shim: events never come.
    pub fn start(options: &Options) -> (Option<Shim>, mpsc::Receiver<ShimEvent>) {
        let (events_tx, events) = mpsc::channel(QUEUE_MAX);
        let ConfigFrom::Unix(path) = &options.config else {
            return (None, events);
        };
        let (out, outbox) = mpsc::channel(QUEUE_MAX);
        let (held, held_rx) = watch::channel(None);
        tokio::task::spawn_local(keep_connected(path.clone(), options.node.clone(), outbox, held_rx, events_tx));
        (Some(Shim { out, held }), events)
    }

    /// Connects, telling which root is held already.
    pub fn connect_from(&mut self, current: Option<&Snapshot>) {
        let _ = self.held.send(Some(current.map(|s| (s.root().hash(), s.order()))));
    }

    /// Queues a message. A full queue means that the shim does not read: the message is dropped, and the next Hello tells the state anew.
    pub fn send(&mut self, message: Message) {
        let _ = self.out.try_send(message);
    }
}

async fn keep_connected(
    path: PathBuf,
    node: String,
    mut outbox: mpsc::Receiver<Message>,
    mut held: watch::Receiver<Option<Option<(Hash, Order)>>>,
    events: mpsc::Sender<ShimEvent>,
) {
    while held.borrow().is_none() {
        if held.changed().await.is_err() {
            return;
        }
    }
    let mut retry = RETRY_MIN;
    let mut told = false;
    loop {
        match UnixStream::connect(&path).await {
            Ok(stream) => {
                (retry, told) = (RETRY_MIN, false);
                let root = held.borrow().unwrap_or_default();
                let end = talk(stream, &node, root, &mut outbox, &events).await;
                let said = format!("config: the stream to {} ended: {end}; the config in use stays", path.display());
                if events.send(ShimEvent::Said(said)).await.is_err() {
                    return;
                }
            }
            Err(error) if !told => {
                told = true;
                let _ = events.send(ShimEvent::Said(waiting(&path, &error))).await;
            }
            Err(_) => {}
        }
        tokio::time::sleep(retry).await;
        retry = (retry * 2).min(RETRY_MAX);
    }
}

fn waiting(path: &Path, error: &std::io::Error) -> String {
    format!("config: no control shim at {} yet ({error}); trying on", path.display())
}

/// Runs one connection; returns why it ended.
async fn talk(
    mut stream: UnixStream,
    node: &str,
    root: Option<(Hash, Order)>,
    outbox: &mut mpsc::Receiver<Message>,
    events: &mpsc::Sender<ShimEvent>,
) -> String {
    let (mut input, mut output) = (Vec::with_capacity(16 << 10), Vec::new());
    message::encode(
        &Message::Hello { version: message::VERSION, node: node.to_owned(), labels: Vec::new(), root },
        &mut output,
    );
    if let Err(error) = stream.write_all(&output).await {
        return error.to_string();
    }
    if events.send(ShimEvent::Connected).await.is_err() {
        return "housekeeping ended".into();
    }
    loop {
        tokio::select! {
            read = stream.read_buf(&mut input) => match read {
                Ok(0) => return "closed by the shim".into(),
                Err(error) => return error.to_string(),
                Ok(_) => if let Err(error) = deliver(&mut input, events).await { return error },
            },
            Some(message) = outbox.recv() => {
                output.clear();
                message::encode(&message, &mut output);
                if let Err(error) = stream.write_all(&output).await {
                    return error.to_string();
                }
            }
        }
    }
}

async fn deliver(input: &mut Vec<u8>, events: &mpsc::Sender<ShimEvent>) -> Result<(), String> {
    let mut used = 0;
    loop {
        match message::decode(&input[used..]) {
            Ok(Some((message, consumed))) => {
                used += consumed;
                events.send(ShimEvent::Message(message)).await.map_err(|_| "housekeeping ended".to_owned())?;
            }
            Ok(None) => break,
            Err(error) => return Err(error.to_string()),
        }
    }
    input.drain(..used);
    Ok(())
}
