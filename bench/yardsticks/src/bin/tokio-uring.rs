//! On tokio-uring: one thread, a task a connection, buffers handed to the kernel and back.

use std::cell::RefCell;
use std::io;
use std::net::Shutdown;
use std::rc::Rc;

use tokio_uring::buf::BoundedBuf;
use tokio_uring::net::{TcpListener, TcpStream};
use yardsticks::{Message, Options};

type Pool = Rc<RefCell<Vec<TcpStream>>>;

fn main() -> io::Result<()> {
    let options = Options::from_args();
    if options.splice {
        eprintln!("error: --splice: only the bare epoll yardstick splices");
        std::process::exit(2);
    }
    tokio_uring::start(async move {
        let listener = TcpListener::bind(options.listen)?;
        let pool = Pool::default();
        loop {
            let (client, _) = listener.accept().await?;
            client.set_nodelay(true)?;
            let pool = pool.clone();
            tokio_uring::spawn(async move {
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

async fn tunnel(client: TcpStream, options: Options) -> io::Result<()> {
    let (client, upstream) = (Rc::new(client), Rc::new(connect(options).await?));
    let there = tokio_uring::spawn(copy(client.clone(), upstream.clone(), options.buffer_bytes));
    copy(upstream, client, options.buffer_bytes).await?;
    there.await.map_err(io::Error::other)?
}

async fn copy(from: Rc<TcpStream>, to: Rc<TcpStream>, buffer_bytes: usize) -> io::Result<()> {
    let mut buf = vec![0; buffer_bytes];
    loop {
        let (length, read) = receive(&from, buf).await?;
        if length == 0 {
            return to.shutdown(Shutdown::Write);
        }
        buf = send(&to, read, length).await?;
    }
}

async fn serve(client: TcpStream, pool: &Pool, options: Options) -> io::Result<()> {
    let mut buf = vec![0; options.buffer_bytes];
    loop {
        let mut length;
        (length, buf) = receive(&client, buf).await?;
        if length == 0 {
            return Ok(());
        }
        let pooled = pool.borrow_mut().pop();
        let upstream = match pooled {
            Some(upstream) => upstream,
            None => connect(options).await?,
        };
        let mut request = Message::request();
        loop {
            let whole = request.feed(&buf[..length]).map_err(|_| io::ErrorKind::InvalidData)?;
            buf = send(&upstream, buf, length).await?;
            if whole {
                break;
            }
            (length, buf) = receive(&client, buf).await?;
            if length == 0 {
                return Ok(());
            }
        }
        let mut reply = Message::reply(request.is_head);
        loop {
            (length, buf) = receive(&upstream, buf).await?;
            if length == 0 {
                return if reply.end() { client.shutdown(Shutdown::Write) } else { Ok(()) };
            }
            let whole = reply.feed(&buf[..length]).map_err(|_| io::ErrorKind::InvalidData)?;
            buf = send(&client, buf, length).await?;
            if whole {
                break;
            }
        }
        // Heads pass as they are: whatever ends the client's connection ends the upstream one.
        if request.keep_alive && reply.keep_alive {
            pool.borrow_mut().push(upstream);
        } else {
            return client.shutdown(Shutdown::Write);
        }
    }
}

async fn receive(from: &TcpStream, buf: Vec<u8>) -> io::Result<(usize, Vec<u8>)> {
    let (result, buf) = from.read(buf).await;
    result.map(|length| (length, buf))
}

async fn send(to: &TcpStream, buf: Vec<u8>, length: usize) -> io::Result<Vec<u8>> {
    let (result, slice) = to.write_all(buf.slice(..length)).await;
    result.map(|()| slice.into_inner())
}
