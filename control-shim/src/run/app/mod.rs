//! The stand-in app: what runs in a pod that names no command. It says who it is, as JSON or as a page, and can call onward through its sidecar.
//!
//! All stand-ins of a mesh live in one process and share a thread: no process and no file is touched for a request. They know nothing of manifests;
//! [`crate::run`] tells each who it is.
//!
//! | Path ends with | Answer |
//! |---|---|
//! | `/status/NNN` | that status |
//! | `/delay/MS` | the report, after that many milliseconds (at most [`DELAY_MS_MAX`]) |
//! | `/bytes/N` | N bytes (at most [`FILL_BYTES_MAX`]) |
//! | `/echo` | the request's body |
//! | anything else | the report; with `Upgrade: websocket` an echo of frames |

mod answer;
mod body;
mod calls;
mod echo;
mod page;
mod websocket;

pub use echo::serve_echo;

use hyper_util::rt::{TokioIo, TokioTimer};
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Connections to one port at once; more wait in the kernel's queue.
pub const CONNECTIONS_MAX: usize = 8192;
/// Longest `/delay`.
pub const DELAY_MS_MAX: u64 = 60_000;
/// Largest `/bytes`.
pub const FILL_BYTES_MAX: u64 = 1 << 30;
/// Onward calls for one request.
pub const CALLS_MAX: usize = 8;
/// Onward calls in a chain: the app at the end of a longer one (or of a loop) calls nobody.
pub const CALL_DEPTH_MAX: u32 = 8;

/// Pause after a failed accept (no descriptors left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Who a stand-in is, and whom it calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Label `app`, else the workload's name.
    pub app: String,
    /// Label `version`; empty when there is none.
    pub version: String,
    /// Deployment, StatefulSet or the pod itself.
    pub workload: String,
    /// Namespace.
    pub namespace: String,
    /// Pod name.
    pub pod: String,
    /// Called for every request (annotation `ringway.dev/calls`).
    pub calls: Vec<String>,
    /// The sidecar's outbound HTTP proxy; without one nothing is called.
    pub proxy: Option<SocketAddr>,
    /// Host and port of a TCP service → where the sidecar listens for it.
    pub tcp: Vec<(String, u16, SocketAddr)>,
}

/// One pod's app. It may serve several ports.
pub struct App {
    identity: RwLock<Arc<Identity>>,
    caller: calls::Caller,
}

impl App {
    /// An app that is `identity`.
    pub fn new(identity: Identity) -> Arc<App> {
        let caller = calls::Caller::default();
        Arc::new(App { identity: RwLock::new(Arc::new(identity)), caller })
    }

    /// Is somebody else from now on: manifests were edited.
    pub fn become_known_as(&self, identity: Identity) {
        *self.identity.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(identity);
    }

    fn identity(&self) -> Arc<Identity> {
        self.identity.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Serves HTTP/1.1 until the task is dropped. Connections that are open then live on until their client closes them.
    pub async fn serve_http(self: Arc<Self>, listener: TcpListener) {
        let port = listener.local_addr().map_or(0, |address| address.port());
        accept(listener, move |stream| serve_connection(self.clone(), port, stream)).await;
    }
}

async fn serve_connection(app: Arc<App>, port: u16, stream: TcpStream) {
    let service = hyper::service::service_fn(move |request| answer::answer(app.clone(), port, request));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    // A client that goes away, or talks nonsense, has been answered as far as possible by hyper.
    let _ = connection.await;
}

/// Accepts for ever, at most [`CONNECTIONS_MAX`] at once.
async fn accept<F, T>(listener: TcpListener, serve: F)
where
    F: Fn(TcpStream) -> T,
    T: Future<Output = ()> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // Without it small answers wait for the peer's delayed acknowledgement; a socket that refuses the option is served all the same.
        let _ = stream.set_nodelay(true);
        let serving = serve(stream);
        tokio::spawn(async move {
            serving.await;
            drop(slot);
        });
    }
}

#[cfg(test)]
mod tests;
