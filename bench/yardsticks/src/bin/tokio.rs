//! On tokio: one thread, a task a connection.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use yardsticks::{Message, Options};

type Pool = Rc<RefCell<Vec<TcpStream>>>;

fn main() -> io::Result<()> {
    let options = Options::from_args();
    if options.splice {
        eprintln!("error: --splice: only the bare epoll yardstick splices");
        std::process::exit(2);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        let listener = TcpListener::bind(options.listen).await?;
        let pool = Pool::default();
        loop {
            let (client, _) = listener.accept().await?;
            client.set_nodelay(true)?;
            let pool = pool.clone();
            tokio::task::spawn_local(async move {
                // An error ends both connections: dropping them closes them.
                let _ = if options.tcp { tunnel(client, options).await } else { serve(client, &pool, options).await };
            });
        }
    })
}

async fn connect(options: Options) -> io::Result<TcpStream> {
    let upstream = TcpStream::connect(options.upstream).await?;
    upstream.set_nodelay(true)?;
    Ok(upstream)
}

async fn tunnel(mut client: TcpStream, options: Options) -> io::Result<()> {
    let mut upstream = connect(options).await?;
    let bytes = options.buffer_bytes;
    tokio::io::copy_bidirectional_with_sizes(&mut client, &mut upstream, bytes, bytes).await.map(drop)
}

async fn serve(mut client: TcpStream, pool: &Pool, options: Options) -> io::Result<()> {
    let mut buf = vec![0; options.buffer_bytes];
    loop {
        let mut length = client.read(&mut buf).await?;
        if length == 0 {
            return Ok(());
        }
        let mut upstream = match idle(pool) {
            Some(upstream) => upstream,
            None => connect(options).await?,
        };
        let mut request = Message::request();
        loop {
            let whole = request.feed(&buf[..length]).map_err(|_| io::ErrorKind::InvalidData)?;
            upstream.write_all(&buf[..length]).await?;
            if whole {
                break;
            }
            length = client.read(&mut buf).await?;
            if length == 0 {
                return Ok(());
            }
        }
        let mut reply = Message::reply(request.is_head);
        loop {
            length = upstream.read(&mut buf).await?;
            if length == 0 {
                // The end of a body that has no other, or of everything.
                return if reply.end() { client.shutdown().await } else { Ok(()) };
            }
            let whole = reply.feed(&buf[..length]).map_err(|_| io::ErrorKind::InvalidData)?;
            client.write_all(&buf[..length]).await?;
            if whole {
                break;
            }
        }
        // Heads pass as they are: whatever ends the client's connection ends the upstream one.
        if request.keep_alive && reply.keep_alive {
            pool.borrow_mut().push(upstream);
        } else {
            return client.shutdown().await;
        }
    }
}

/// An idle connection that has said nothing since; one that was closed meanwhile is dropped.
fn idle(pool: &Pool) -> Option<TcpStream> {
    loop {
        let upstream = pool.borrow_mut().pop()?;
        let said = upstream.try_read(&mut [0]);
        if matches!(said, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
            return Some(upstream);
        }
    }
}
