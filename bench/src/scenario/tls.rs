//! How a server is trusted, and who the client says it is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use serde::Deserialize;

use super::target::{Scheme, Target};
use crate::pem;
use crate::plan::Security;

/// Where systems keep the authorities that they trust; the first one that is there.
const SYSTEM_AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// `tls` of a scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct TlsText {
    /// Authorities that sign servers' certificates (PEM); the system's where nothing is said.
    pub cacert: Option<PathBuf>,
    /// The client's own certificate, followed by those that lead to its authority (PEM).
    pub cert: Option<PathBuf>,
    /// The key of the client's certificate (PEM).
    pub key: Option<PathBuf>,
    /// Any certificate will do.
    pub insecure: Option<bool>,
    /// In place of the URL's host: what is asked for (SNI) and what the certificate must be for.
    pub server_name: Option<String>,
    /// Protocols that are offered (ALPN); `http/1.1` where that is spoken and nothing is said, none for TCP.
    pub alpn: Option<Vec<String>>,
    /// Sessions of earlier connections go on; yes where nothing is said.
    pub resumption: Option<bool>,
}

impl TlsText {
    /// This, and where it says nothing what `under` says. Nothing, where neither says anything.
    pub fn over(self, under: Option<TlsText>) -> Option<TlsText> {
        let said = under.is_some();
        let under = under.unwrap_or_default();
        let trusts = self.cacert.is_some() || self.insecure.is_some();
        let both = TlsText {
            // Whom to trust is one question.
            cacert: if trusts { self.cacert } else { under.cacert },
            insecure: if trusts { self.insecure } else { under.insecure },
            cert: self.cert.or(under.cert),
            key: self.key.or(under.key),
            server_name: self.server_name.or(under.server_name),
            alpn: self.alpn.or(under.alpn),
            resumption: self.resumption.or(under.resumption),
        };
        (said || both != TlsText::default()).then_some(both)
    }

    /// Reads the files, and tries whether a session can be made of it all.
    pub(super) fn security(&self, target: &Target, folder: &Path) -> Result<Security, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|e| format!("tls: {e}"))?;
        let verifies = self.insecure != Some(true);
        let builder = if verifies {
            builder.with_root_certificates(authorities(self.cacert.as_ref().map(|file| folder.join(file)).as_deref())?)
        } else if self.cacert.is_some() {
            return Err("tls: cacert and insecure: only one of them".into());
        } else {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        };
        let mut config = match (&self.cert, &self.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(cert), Some(key)) => {
                let (cert, key) = (folder.join(cert), folder.join(key));
                builder
                    .with_client_auth_cert(pem::certificates(&cert)?, pem::key(&key)?)
                    .map_err(|e| format!("{} with {}: {e}", cert.display(), key.display()))?
            }
            _ => return Err("tls: cert and key belong together".into()),
        };
        let usual = if target.scheme == Scheme::Tcp { vec![] } else { vec!["http/1.1".to_string()] };
        let offered = self.alpn.clone().unwrap_or(usual);
        if let Some(wrong) = offered.iter().find(|name| name.is_empty() || name.len() > 255) {
            return Err(format!("tls: alpn `{wrong}`: from 1 to 255 bytes"));
        }
        config.alpn_protocols = offered.into_iter().map(String::into_bytes).collect();
        let name = self.server_name.as_ref().unwrap_or(&target.host);
        let name = ServerName::try_from(name.clone()).map_err(|_| format!("tls: `{name}` is no name of a server"))?;
        let config = Arc::new(config);
        ClientConnection::new(config.clone(), name.clone()).map_err(|e| format!("tls: {e}"))?;
        Ok(Security { config, name, verifies, resumes: self.resumption != Some(false) })
    }
}

/// Those of a file, or the system's.
fn authorities(file: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = file {
        for certificate in pem::certificates(file)? {
            roots.add(certificate).map_err(|e| format!("{}: {e}", file.display()))?;
        }
        return Ok(roots);
    }
    let system = SYSTEM_AUTHORITIES.map(Path::new).into_iter().find(|file| file.exists());
    let system = system.ok_or("tls: this system has no authorities where they usually are; name a file (--cacert)")?;
    // Among many there are old ones that this library does not read.
    roots.add_parsable_certificates(pem::certificates(system)?);
    Ok(roots)
}

/// Takes any certificate, but only from who has its key: the work of a handshake stays what it is.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
