//! Clients that stop reading for a while: what is under way to them waits, and nobody loses a byte.

use std::net::TcpStream;

use ringway_config::model::Role;
use ringway_tests::harness::{Case, Client, Proxy, Upstream, until};
use ringway_tests::matrix;
use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};

matrix!(clients_that_pause_lose_nothing);

/// More than what the kernel holds for a client that does not read.
const BYTES: usize = 8 << 20;
/// More clients than there are bulk buffers.
const CLIENTS: usize = 24;

/// Each of them holds more than its share of the worker's buffers, in small pieces, so that buffers run out.
fn clients_that_pause_lose_nothing(case: Case) {
    let upstream = Upstream::script(|conn| {
        let Ok(Some(_)) = conn.request_head() else { return };
        conn.wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n"));
        for piece in 0..BYTES / 4096 {
            if conn.wire.try_send([piece as u8; 4096]).is_err() {
                return;
            }
        }
    });
    let proxy = Proxy::to(case, Role::Gateway, upstream.address());
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| client(&proxy)).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: up.test\r\n\r\n");
    }
    until("unsent bytes to be put aside", || {
        (proxy.metric("ringway_driver_spills_total", &[]) >= CLIENTS as f64 / 2.0).then_some(())
    });
    for client in &mut clients {
        sockopt::set_socket_recv_buffer_size(client.tcp(), 4 << 20).unwrap();
        let body = client.response().body;
        assert_eq!(body.len(), BYTES);
        assert!(body.chunks(4096).enumerate().all(|(piece, bytes)| bytes.iter().all(|byte| *byte == piece as u8)));
    }
    until("all put aside to be sent", || (proxy.metric("ringway_driver_spilled_bytes", &[]) == 0.0).then_some(()));
}

/// With the smallest receive buffer there is.
fn client(proxy: &Proxy) -> Client {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    sockopt::set_socket_recv_buffer_size(&socket, 1).unwrap();
    connect(&socket, &proxy.address()).unwrap();
    Client::over_tcp(TcpStream::from(socket)).unwrap()
}
