//! TLS from outside: real handshakes with servers of another kind of every wrongness.

// Test code: what cannot happen in a sound environment may panic.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/served.rs"]
mod served;
#[path = "common/web_socket.rs"]
mod web_socket;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use self::common::{json, listen, ringway_load};
use self::served::Served;
use self::web_socket::web_socket;

const DRIVERS: [&str; 2] = ["auto", "epoll"];

/// An authority, and the folder where its certificate (`ca.pem`) and others are.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

type Secure = StreamOwned<ServerConnection, TcpStream>;

impl Authority {
    fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.as_ref().pem()).unwrap();
        Authority { issuer, folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_string()
    }

    /// A certificate for this name, and its key.
    fn signed(&self, name: &str, expired: bool) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new([name.to_string()]).unwrap();
        if expired {
            (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
        }
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    fn server(&self, name: &str, expired: bool, wants_clients: bool) -> ServerConfig {
        let (certificate, key) = self.signed(name, expired);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
        let builder = if wants_clients {
            let mut roots = RootCertStore::empty();
            roots.add(self.issuer.as_ref().der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config
    }
}

fn listen_secure(config: ServerConfig, serve: impl Fn(Secure) + Send + Sync + 'static) -> SocketAddr {
    let config = Arc::new(config);
    listen(move |stream| {
        let _ = stream.set_nodelay(true);
        serve(StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream));
    })
}

/// Reads a head; nothing at the end of the stream.
fn head(stream: &mut impl Read) -> Option<()> {
    let (mut seen, mut byte) = (Vec::new(), [0]);
    while !seen.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        seen.push(byte[0]);
    }
    Some(())
}

/// Answers every request alike.
fn answers(reply: &'static [u8]) -> impl Fn(Secure) + Send + Sync {
    move |mut stream| {
        while head(&mut stream).is_some() {
            if stream.write_all(reply).is_err() {
                return;
            }
        }
        // What is left unread would reset the connection under the client's eyes.
        while let Ok(1..) = stream.sock.read(&mut [0; 4096]) {}
    }
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn run(url: &str, backend: &str, more: &[&str]) -> Value {
    let fixed = ["run", url, "-c", "1", "-d", "500ms", "--warmup", "0s", "--io-backend", backend];
    let pace: &[&str] = if more.contains(&"--closed") { &[] } else { &["--rate", "50"] };
    json(&[&fixed[..], pace, more].concat())
}

/// How many requests there were: 25 are due, and on a busy machine the one connection may not be free for the last of them.
fn requests(run: &Value) -> u64 {
    let requests = run["requests"].as_u64().unwrap();
    assert_eq!((requests + run["unsent"].as_u64().unwrap(), requests > 2), (25, true), "{run:#}");
    requests
}

fn assert_good(run: &Value) {
    assert_eq!((requests(run) > 0, run["errors"]["causes"].to_string().as_str()), (true, "{}"), "{run:#}");
}

fn assert_failed(run: &Value, cause: &str) {
    let all = format!("{{\"{cause}\":{}}}", requests(run));
    assert_eq!(run["errors"]["causes"].to_string(), all, "{run:#}");
}

fn handshakes(run: &Value) -> (u64, u64) {
    (run["tls"]["full"].as_u64().unwrap(), run["tls"]["resumed"].as_u64().unwrap())
}

#[test]
fn handshakes_are_counted_and_sessions_go_on() {
    let authority = Authority::new("ours");
    let ca = authority.path("ca.pem");
    let address = listen_secure(authority.server("127.0.0.1", false, false), answers(OK));
    let url = format!("https://{address}/");
    for backend in DRIVERS {
        let kept = run(&url, backend, &["--cacert", &ca]);
        assert_good(&kept);
        assert_eq!((handshakes(&kept), kept["connects"].as_u64()), ((1, 0), Some(1)), "{kept:#}");
        assert_eq!((&kept["tls"]["verified"], &kept["statuses"]["200"]), (&Value::Bool(true), &kept["requests"]));
        let agreed = kept["tls"]["agreed"].as_object().unwrap();
        assert_eq!(agreed.keys().collect::<Vec<_>>(), ["TLSv1.3 TLS_AES_256_GCM_SHA384 X25519MLKEM768"], "{kept:#}");
        assert!(kept["tls"]["handshake"]["max_ns"].as_u64() > Some(0), "{kept:#}");

        // Every connection brings tickets for the next one.
        let new = run(&url, backend, &["--cacert", &ca, "--new-connections"]);
        assert_good(&new);
        assert_eq!((handshakes(&new), &new["connects"]), ((1, requests(&new) - 1), &new["requests"]), "{new:#}");
        let full = run(&url, backend, &["--cacert", &ca, "--new-connections", "--no-resumption"]);
        assert_good(&full);
        assert_eq!(handshakes(&full), (requests(&full), 0), "{full:#}");
    }
    // A connection that was opened in the warm-up is not counted; what it agreed on is told.
    let warm = json(&["run", &url, "--cacert", &ca, "--rate", "50", "-c", "1", "-d", "500ms", "--warmup", "500ms"]);
    assert_good(&warm);
    assert_eq!((handshakes(&warm), warm["tls"]["agreed"].as_object().unwrap().len()), ((0, 0), 1), "{warm:#}");
}

#[test]
fn failures_of_tls_say_why() {
    let (authority, other) = (Authority::new("ours"), Authority::new("theirs"));
    let (ca, wrong) = (authority.path("ca.pem"), other.path("ca.pem"));
    let good = listen_secure(authority.server("127.0.0.1", false, false), answers(OK));
    let expired = listen_secure(authority.server("127.0.0.1", true, false), answers(OK));
    let strict = listen_secure(authority.server("127.0.0.1", false, true), answers(OK));
    let plain = listen(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        while let Ok(1..) = stream.read(&mut [0; 4096]) {}
    });
    let mute = listen(|mut stream| {
        let _ = stream.shutdown(Shutdown::Write);
        while let Ok(1..) = stream.read(&mut [0; 4096]) {}
    });
    let cases: [(SocketAddr, &[&str], &str); 8] = [
        (good, &["--cacert", &wrong], "invalid peer certificate: UnknownIssuer"),
        (good, &["--cacert", &ca, "--server-name", "shop.example"], "certificate not valid for name \"shop.example\""),
        (good, &["--cacert", &ca, "--alpn", "h2"], "received fatal alert: NoApplicationProtocol"),
        (expired, &["--cacert", &ca], "invalid peer certificate: Expired"),
        (strict, &["--cacert", &ca], "received fatal alert: CertificateRequired"),
        (plain, &["--cacert", &ca], "received corrupt message of type InvalidContentType"),
        (mute, &["--cacert", &ca], "the connection ended in the handshake"),
        (good, &[], "invalid peer certificate: UnknownIssuer"),
    ];
    for backend in DRIVERS {
        for (address, args, why) in &cases {
            let failed = run(&format!("https://{address}/"), backend, args);
            assert_failed(&failed, "tls");
            let reasons = failed["errors"]["reasons"].as_object().unwrap();
            assert_eq!(reasons.len(), 1, "{failed:#}");
            assert!(reasons.keys().all(|reason| reason.contains(why)), "{why}: {failed:#}");
        }
        // Whoever does not look sees none of the first four; the result says so.
        let careless = run(&format!("https://{expired}/"), backend, &["--insecure"]);
        assert_good(&careless);
        assert_eq!(careless["tls"]["verified"], Value::Bool(false));
    }
    let url = format!("https://{expired}/");
    let output = ringway_load(&["run", &url, "--insecure", "--closed", "-c", "1", "-d", "100ms", "--warmup", "0s"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("certificates were not verified (--insecure)") && text.contains("TLS        1 full"),
        "{text}"
    );
}

#[test]
fn clients_have_certificates_too() {
    let authority = Authority::new("ours");
    let (certificate, key) = authority.signed("a-client", false);
    std::fs::write(authority.path("client.pem"), certificate.pem()).unwrap();
    std::fs::write(authority.path("client.key"), key.serialize_pem()).unwrap();
    let address = listen_secure(authority.server("shop.example", false, true), answers(OK));
    let scenario = authority.path("mutual.toml");
    let text = format!(
        "url = 'https://{address}/'\nrate = 50\nduration = '500ms'\nwarmup = '0s'\nconnections = 1\n\
         [tls]\ncacert = 'ca.pem'\ncert = 'client.pem'\nkey = 'client.key'\nserver-name = 'shop.example'\n"
    );
    std::fs::write(&scenario, text).unwrap();
    for backend in DRIVERS {
        assert_good(&json(&["run", &scenario, "--io-backend", backend]));
    }
    // Its files are relative to the scenario, those of the command line to where that runs.
    assert!(!Path::new("client.pem").exists());
    let output = ringway_load(&["run", &scenario, "--cert", "client.pem"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains("client.pem: "), "{output:?}");
}

#[test]
fn an_end_without_close_notify_is_a_short_reply() {
    let authority = Authority::new("ours");
    let ca = authority.path("ca.pem");
    // The body of `/` lasts until the end of the connection.
    let until_close = |says_so: bool, reply: &'static [u8]| {
        listen_secure(authority.server("127.0.0.1", false, false), move |mut stream: Secure| {
            if head(&mut stream).is_some() {
                stream.write_all(reply).unwrap();
                if says_so {
                    stream.conn.send_close_notify();
                    stream.flush().unwrap();
                }
                let _ = stream.sock.shutdown(Shutdown::Write);
                // Until the client has gone.
                let _ = stream.sock.read(&mut [0; 64]);
            }
        })
    };
    let cut = until_close(false, b"HTTP/1.1 200 OK\r\n\r\nhalf of i");
    let short = until_close(true, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
    let whole = until_close(true, b"HTTP/1.1 200 OK\r\n\r\nall of it");
    for backend in DRIVERS {
        let run = |address| run(&format!("https://{address}/"), backend, &["--cacert", &ca]);
        assert_failed(&run(cut), "short-reply");
        assert_failed(&run(short), "short-reply");
        assert_good(&run(whole));
    }
}

#[test]
fn the_origin_speaks_tls() {
    let authority = Authority::new("ours");
    let (certificate, key) = authority.signed("127.0.0.1", false);
    let (ca, cert, private) = (authority.path("ca.pem"), authority.path("server.pem"), authority.path("server.key"));
    std::fs::write(&cert, certificate.pem()).unwrap();
    std::fs::write(&private, key.serialize_pem()).unwrap();
    for backend in DRIVERS {
        let server = Served::start(&["--tls-cert", &cert, "--tls-key", &private], backend);
        let url = server.url.replace("/N", "/200000");
        assert!(url.starts_with("https://"), "{url}");
        let kept = run(&url, backend, &["--cacert", &ca]);
        assert_good(&kept);
        let body_bytes = requests(&kept) * 200_000;
        assert_eq!((handshakes(&kept), kept["bytes_read"].as_u64() > Some(body_bytes)), ((1, 0), true), "{kept:#}");
        // The server closes each with close_notify.
        let new = run(&url, backend, &["--cacert", &ca, "--new-connections"]);
        assert_good(&new);
        assert_eq!(handshakes(&new), (1, requests(&new) - 1), "{new:#}");
        // A client that does not trust it, and one that does not speak TLS, are no harm to others.
        assert_failed(&run(&url, backend, &[]), "tls");
        assert_failed(&run(&url.replace("https", "http"), backend, &[]), "malformed");
        assert_good(&run(&url, backend, &["--cacert", &ca]));
    }
}

#[test]
fn bulk_goes_over_tls() {
    let authority = Authority::new("ours");
    let ca = authority.path("ca.pem");
    let mut config = authority.server("127.0.0.1", false, false);
    config.alpn_protocols.clear();
    let sink = listen_secure(config.clone(), |mut stream| while let Ok(1..) = stream.read(&mut [0; 16 << 10]) {});
    let source = listen_secure(config, |mut stream| while stream.write_all(&[b'x'; 16 << 10]).is_ok() {});
    for backend in DRIVERS {
        for (address, direction) in [(sink, "send"), (source, "receive")] {
            let run = run(&format!("tls://{address}"), backend, &["--closed", "--cacert", &ca, "--bulk", direction]);
            assert!(run["requests"].as_u64() > Some(2) && run["errors"]["share"] == 0.0, "{run:#}");
        }
    }
}

#[test]
fn echoes_over_tls_come_back() {
    let authority = Authority::new("ours");
    let ca = authority.path("ca.pem");
    let mut config = authority.server("127.0.0.1", false, false);
    config.alpn_protocols.clear();
    let echo = listen_secure(config, |mut stream| {
        let mut buf = vec![0; 16 << 10];
        while let Ok(n @ 1..) = stream.read(&mut buf) {
            if stream.write_all(&buf[..n]).is_err() {
                return;
            }
        }
    });
    let socket = listen_secure(authority.server("127.0.0.1", false, false), |stream| {
        web_socket(stream, "101 Switching Protocols");
    });
    for backend in DRIVERS {
        for (url, bytes) in [(format!("tls://{echo}"), "100000"), (format!("wss://{socket}/chat"), "60000")] {
            let header: &[&str] = if url.starts_with("wss") { &["-H", "Cookie: a=b"] } else { &[] };
            let args = [&["--cacert", ca.as_str(), "--message-bytes", bytes], header].concat();
            let run = run(&url, backend, &args);
            assert_good(&run);
            assert_eq!((handshakes(&run), run["connects"].as_u64()), ((1, 0), Some(1)), "{run:#}");
        }
    }
}
