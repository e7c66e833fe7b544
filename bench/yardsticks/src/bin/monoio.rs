//! On monoio with io_uring (SINGLE_ISSUER, DEFER_TASKRUN): one thread, a task a connection, buffers handed to the kernel and back.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use monoio::buf::{IoBuf, IoBufMut};
use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt, Splitable};
use monoio::net::{TcpListener, TcpStream};
use yardsticks::{Message, Options};

type Pool = Rc<RefCell<Vec<TcpStream>>>;

fn main() -> io::Result<()> {
    let options = Options::from_args();
    if options.splice {
        eprintln!("error: --splice: only the bare epoll yardstick splices");
        std::process::exit(2);
    }
    let mut ring = io_uring_06::IoUring::builder();
    ring.setup_single_issuer().setup_defer_taskrun();
    let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new().uring_builder(ring).build()?;
    runtime.block_on(async move {
        let listener = TcpListener::bind(options.listen)?;
        let pool = Pool::default();
        loop {
            let (client, _) = listener.accept().await?;
            client.set_nodelay(true)?;
            let pool = pool.clone();
            monoio::spawn(async move {
                // An error ends both connections: dropping them closes them.
                let _ = if options.tcp { tunnel(client, options).await } else { serve(client, &pool, options).await };
            });
        }
    })
}

async fn connect(options: Options) -> io::Result<TcpStream> {
    let upstream = TcpStream::connect_addr(options.upstream).await?;
    upstream.set_nodelay(true)?;
    Ok(upstream)
}

async fn tunnel(client: TcpStream, options: Options) -> io::Result<()> {
    let (client_read, client_write) = client.into_split();
    let (upstream_read, upstream_write) = connect(options).await?.into_split();
    let there = monoio::spawn(copy(client_read, upstream_write, options.buffer_bytes));
    copy(upstream_read, client_write, options.buffer_bytes).await?;
    there.await
}

async fn copy(mut from: impl AsyncReadRent, mut to: impl AsyncWriteRent, buffer_bytes: usize) -> io::Result<()> {
    let mut buf = Vec::with_capacity(buffer_bytes);
    loop {
        let (result, read) = from.read(buf).await;
        if result? == 0 {
            return to.shutdown().await;
        }
        let (result, written) = to.write_all(read).await;
        result?;
        buf = written;
    }
}

async fn serve(mut client: TcpStream, pool: &Pool, options: Options) -> io::Result<()> {
    let mut buf: Vec<u8> = Vec::with_capacity(options.buffer_bytes);
    loop {
        buf = read(&mut client, buf).await?;
        if buf.is_empty() {
            return Ok(());
        }
        let pooled = pool.borrow_mut().pop();
        let mut upstream = match pooled {
            Some(upstream) => upstream,
            None => connect(options).await?,
        };
        let mut request = Message::request();
        loop {
            let whole = request.feed(&buf).map_err(|_| io::ErrorKind::InvalidData)?;
            buf = write(&mut upstream, buf).await?;
            if whole {
                break;
            }
            buf = read(&mut client, buf).await?;
            if buf.is_empty() {
                return Ok(());
            }
        }
        let mut reply = Message::reply(request.is_head);
        loop {
            buf = read(&mut upstream, buf).await?;
            if buf.is_empty() {
                return if reply.end() { client.shutdown().await } else { Ok(()) };
            }
            let whole = reply.feed(&buf).map_err(|_| io::ErrorKind::InvalidData)?;
            buf = write(&mut client, buf).await?;
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

async fn read<B: IoBufMut>(from: &mut TcpStream, buf: B) -> io::Result<B> {
    let (result, buf) = from.read(buf).await;
    result.map(|_| buf)
}

async fn write<B: IoBuf + 'static>(to: &mut TcpStream, buf: B) -> io::Result<B> {
    let (result, buf) = to.write_all(buf).await;
    result.map(|_| buf)
}
