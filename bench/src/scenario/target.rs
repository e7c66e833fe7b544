//! Where requests go: the URL.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    WebSocket,
    Tcp,
}

pub(super) struct Target {
    pub(super) scheme: Scheme,
    /// Over TLS.
    pub(super) secure: bool,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) authority: String,
    pub(super) base: String,
}

impl Target {
    pub(super) fn parse(url: &str) -> Result<Target, String> {
        let ((scheme, secure), rest) = match url.split_once("://") {
            Some(("http", rest)) => ((Scheme::Http, false), rest),
            Some(("https", rest)) => ((Scheme::Http, true), rest),
            Some(("ws", rest)) => ((Scheme::WebSocket, false), rest),
            Some(("wss", rest)) => ((Scheme::WebSocket, true), rest),
            Some(("tcp", rest)) => ((Scheme::Tcp, false), rest),
            Some(("tls", rest)) => ((Scheme::Tcp, true), rest),
            Some((scheme, _)) => {
                return Err(format!("{url}: scheme `{scheme}` is not spoken; use http, https, ws, wss, tcp or tls"));
            }
            None => return Err(format!("{url}: write the scheme, as in http://{url}")),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, base) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let base = if base.starts_with('?') { format!("/{base}") } else { base.to_string() };
        if authority.contains('@') {
            return Err(format!("{url}: user information is not sent; use an Authorization header"));
        }
        let bad_port = || format!("{url}: the port is no number from 1 to 65535");
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, port.parse().ok().filter(|p| *p > 0).ok_or_else(bad_port)?)
            }
            _ if scheme == Scheme::Tcp => return Err(format!("{url}: no port")),
            _ => (authority, if secure { 443 } else { 80 }),
        };
        if scheme == Scheme::Tcp && !base.is_empty() {
            return Err(format!("{url}: TCP has no path"));
        }
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err(format!("{url}: no host"));
        }
        Ok(Target { scheme, secure, host: host.to_string(), port, authority: authority.to_string(), base })
    }
}
