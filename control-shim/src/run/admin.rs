//! Asks a proxy's admin server, which listens on a Unix socket in the run's private folder.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use std::path::Path;
use std::time::Duration;
use tokio::net::UnixStream;

/// A whole question and answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Largest page: 2,048 series of about 25 lines of 600 bytes.
const PAGE_BYTES_MAX: usize = 64 << 20;

/// `GET path`: the status and the text, or why there is none.
pub async fn get(socket: &Path, path: &'static str) -> Result<(u16, String), String> {
    match tokio::time::timeout(TIMEOUT, exchange(socket, path)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("no answer within {} s", TIMEOUT.as_secs())),
    }
}

async fn exchange(socket: &Path, path: &'static str) -> Result<(u16, String), String> {
    let stream = UnixStream::connect(socket).await.map_err(|error| format!("admin socket: {error}"))?;
    let said = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(said)?;
    let exchange = async {
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = hyper::Uri::from_static(path);
        request.headers_mut().insert(HOST, hyper::header::HeaderValue::from_static("localhost"));
        let response = sender.send_request(request).await.map_err(said)?;
        let status = response.status().as_u16();
        let body =
            Limited::new(response.into_body(), PAGE_BYTES_MAX).collect().await.map_err(|error| error.to_string())?;
        Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
    };
    let mut connection = std::pin::pin!(connection);
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        outcome = &mut exchange => outcome,
        ended = &mut connection => match ended {
            // The whole answer may have been read by then.
            Ok(()) => exchange.await,
            Err(error) => Err(said(error)),
        },
    }
}
