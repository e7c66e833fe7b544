//! Flags of TLS.

use std::path::PathBuf;

use clap::Args;

use crate::scenario::{Scenario, TlsText};

#[derive(Args, Debug)]
#[command(next_help_heading = "TLS (https://, wss://, tls://)")]
pub(super) struct TlsArgs {
    /// Authorities that sign servers' certificates, PEM [default: the system's].
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    cacert: Option<PathBuf>,
    /// The client's own certificate and those that lead to its authority, PEM.
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// The key of the client's certificate, PEM.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Take any certificate; the result says so.
    #[arg(long)]
    insecure: bool,
    /// What is asked for (SNI) and what the certificate must be for [default: the URL's host].
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// Protocols that are offered (ALPN) [default: http/1.1; none for tls://].
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    alpn: Vec<String>,
    /// Every handshake is a full one.
    #[arg(long)]
    no_resumption: bool,
}

impl TlsArgs {
    /// Lays them over a scenario.
    pub(super) fn apply(&self, scenario: &mut Scenario) -> Result<(), String> {
        // Relative to where the command runs, not to the scenario's folder.
        let here = std::env::current_dir().map_err(|e| e.to_string())?;
        let file = |path: &Option<PathBuf>| path.as_ref().map(|path| here.join(path));
        let said = TlsText {
            cacert: file(&self.cacert),
            cert: file(&self.cert),
            key: file(&self.key),
            insecure: self.insecure.then_some(true),
            server_name: self.server_name.clone(),
            alpn: (!self.alpn.is_empty()).then(|| self.alpn.clone()),
            resumption: self.no_resumption.then_some(false),
        };
        scenario.tls = said.over(scenario.tls.take());
        Ok(())
    }
}
