//! Certificates and keys in PEM files. Errors name the file.

use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// All certificates of a file; at least one.
pub fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |e: &dyn std::fmt::Display| format!("{}: {e}", file.display());
    let read = CertificateDer::pem_file_iter(file).map_err(|e| wrong(&e))?;
    let found: Vec<_> = read.collect::<Result<_, _>>().map_err(|e| wrong(&e))?;
    if found.is_empty() { Err(wrong(&"no certificate in it (PEM)")) } else { Ok(found) }
}

/// The first key of a file.
pub fn key(file: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(file).map_err(|e| format!("{}: {e}", file.display()))
}
