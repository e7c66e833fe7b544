//! The server's side of TLS: what arrives is opened, what is answered is sealed.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ServerConfig, ServerConnection};

use crate::pem;

/// With this certificate, those that lead to its authority, and its key (PEM). Clients need none.
pub fn config(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, String> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("tls: {e}"))?
        .with_no_client_auth()
        .with_single_cert(pem::certificates(cert)?, pem::key(key)?)
        .map_err(|e| format!("{} with {}: {e}", cert.display(), key.display()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Puts what `bytes` hold behind `plain`, and what TLS itself has to say behind `out`. `false` where that is not TLS, or the client ended it.
pub(super) fn open(session: &mut ServerConnection, mut bytes: &[u8], plain: &mut Vec<u8>, out: &mut Vec<u8>) -> bool {
    while !bytes.is_empty() {
        let read = session.read_tls(&mut bytes);
        let state = session.process_new_packets();
        flush(session, out);
        let Ok(state) = state else { return false };
        // The end is an error as well; what came before it is there.
        let _ = session.reader().read_to_end(plain);
        if state.peer_has_closed() || !matches!(read, Ok(1..)) {
            return false;
        }
    }
    true
}

/// Puts the records of `plain` behind `out`.
pub(super) fn seal(session: &mut ServerConnection, mut plain: &[u8], out: &mut Vec<u8>) {
    while let Ok(len @ 1..) = session.writer().write(plain) {
        plain = &plain[len..];
        flush(session, out);
    }
}

/// Puts the word that no more will come behind `out`.
pub(super) fn close(session: &mut ServerConnection, out: &mut Vec<u8>) {
    session.send_close_notify();
    flush(session, out);
}

fn flush(session: &mut ServerConnection, out: &mut Vec<u8>) {
    // Writing to a Vec does not fail.
    while session.wants_write() && session.write_tls(out).is_ok() {}
}
