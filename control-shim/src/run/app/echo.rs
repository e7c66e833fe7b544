//! What stands in for an app behind a TCP port: it sends everything back.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Read and sent back at a time.
const BLOCK_BYTES: usize = 16 << 10;

/// Serves until the task is dropped.
pub async fn serve_echo(listener: TcpListener) {
    super::accept(listener, echo).await;
}

async fn echo(mut stream: TcpStream) {
    let mut block = vec![0; BLOCK_BYTES];
    // A half-closed client gets everything back, then our FIN. An error is the client's end.
    while let Ok(n @ 1..) = stream.read(&mut block).await {
        if stream.write_all(&block[..n]).await.is_err() {
            return;
        }
    }
    let _ = stream.shutdown().await;
}
