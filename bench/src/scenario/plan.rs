//! From a scenario to a plan: everything is checked, and names are looked up.

use std::borrow::Cow;
use std::collections::HashSet;
use std::net::ToSocketAddrs;
use std::time::Duration;

use super::target::{Scheme, Target};
use super::{Direction, RequestText, Scenario};
use crate::gate;
use crate::plan::{BLOCK_BYTES_MIN, CONNECTIONS_MAX, MESSAGE_BYTES_MAX, Plan, REQUESTS_MAX, ROWS_MAX, Request, Speech};
use crate::replay::Recorded;

/// Of one block in bulk, where nothing is said.
const BLOCK_BYTES: usize = 1 << 20;

impl Scenario {
    /// Checks everything and looks names up.
    pub fn plan(&self) -> Result<Plan, String> {
        self.checked().map_err(|e| match &self.file {
            Some(file) => format!("{}: {e}", file.display()),
            None => e,
        })
    }

    fn checked(&self) -> Result<Plan, String> {
        let url = self.url.as_deref().ok_or("no URL: give one, as in http://127.0.0.1:8080/path")?;
        let target = Target::parse(url)?;
        let time = |text: &Option<String>, default: Duration| text.as_deref().map_or(Ok(default), gate::duration);
        // What was recorded is counted from its first request on.
        let warmup = if self.recording.is_some() { Duration::ZERO } else { Duration::from_secs(2) };
        let warmup = time(&self.warmup, warmup)?;
        let counted = time(&self.duration, Duration::from_secs(10))?;
        let timeout = time(&self.timeout, Duration::from_secs(10))?;
        let (load, duration) = self.load(warmup, counted)?;
        let threads = self.threads.unwrap_or(1);
        let connections = self.connections.unwrap_or(50);
        if threads == 0 || threads > 1024 {
            return Err("threads: from 1 to 1024".into());
        }
        if connections < threads || connections > CONNECTIONS_MAX {
            return Err(format!("connections: at least one a thread ({threads}) and at most {CONNECTIONS_MAX}"));
        }
        if timeout.is_zero() || duration.is_zero() {
            return Err("duration and timeout: longer than 0".into());
        }
        let (columns, rows) = self.rows(&target)?;
        let addresses: Vec<_> = (target.host.as_str(), target.port)
            .to_socket_addrs()
            .map_err(|e| format!("{}: {e}", target.host))?
            .collect();
        if addresses.is_empty() {
            return Err(format!("{} has no address", target.host));
        }
        let speech = self.speech(&target)?;
        let tls = match &self.tls {
            Some(_) if !target.secure => return Err("tls: only for https://, wss:// and tls://".into()),
            None if !target.secure => None,
            text => Some(text.clone().unwrap_or_default().security(&target, &self.folder)?),
        };
        let texts = self.requests();
        if texts.len() > REQUESTS_MAX {
            return Err(format!("{} requests in the mix; at most {REQUESTS_MAX}", texts.len()));
        }
        let mut mix: Vec<Request> = texts
            .iter()
            .enumerate()
            .map(|(n, text)| {
                self.request(text, n, &target, &columns, &rows).map_err(|e| format!("request {}: {e}", n + 1))
            })
            .collect::<Result<_, String>>()?;
        let mut names = HashSet::new();
        if let Some(twice) = mix.iter().find(|request| !names.insert(request.name.as_str())) {
            return Err(format!("two requests are called `{}`: they would be counted as one", twice.name));
        }
        match speech {
            Speech::Http1 => {}
            Speech::WebSocketEcho(message) => mix[0].name = format!("echo of {} bytes", message.len()),
            Speech::TcpEcho(message) => {
                mix = vec![Request::of_message(&format!("echo of {} bytes", message.len()), message)];
            }
            Speech::BulkSend(block) => {
                mix = vec![Request::of_message(&format!("block of {} bytes sent", block.len()), block)];
            }
            Speech::BulkReceive(len) => {
                mix = vec![Request::of_message(&format!("block of {len} bytes received"), &[])];
            }
        }
        if mix.iter().all(|request| request.weight == 0) {
            return Err("every weight of the mix is 0".into());
        }
        Ok(Plan {
            url: url.to_string(),
            addresses,
            load,
            warmup,
            duration,
            connections,
            threads,
            timeout,
            new_connections: self.new_connections.unwrap_or(false),
            speech,
            tls,
            mix,
            rows,
            seed: self.seed.unwrap_or(1),
            backend: self.backend,
        })
    }

    /// An echo has one message and nothing else that an HTTP scenario has.
    fn speech(&self, target: &Target) -> Result<Speech, String> {
        let scheme = target.scheme;
        if scheme != Scheme::Tcp && self.bulk.is_some() {
            return Err("bulk: only for tcp:// and tls://".into());
        }
        if scheme == Scheme::Http {
            return match self.message_bytes {
                Some(_) => Err("message-bytes: only for ws:// and tcp://".into()),
                None => Ok(Speech::Http1),
            };
        }
        if !self.request.is_empty() || self.recording.is_some() || self.data.is_some() || self.expect.is_some() {
            return Err(
                "an echo has no requests, data or expectations: it sends one message and checks that it comes back"
                    .into(),
            );
        }
        let (usual, least) = if self.bulk.is_some() { (BLOCK_BYTES, BLOCK_BYTES_MIN) } else { (64, 1) };
        let len = self.message_bytes.unwrap_or(usual);
        if !(least..=MESSAGE_BYTES_MAX).contains(&len) {
            return Err(format!("message-bytes: from {least} to {MESSAGE_BYTES_MAX}"));
        }
        let message: Vec<u8> = (0..len).map(|n| b'a' + (n % 26) as u8).collect();
        match scheme {
            Scheme::WebSocket => Ok(Speech::WebSocketEcho(message.leak())),
            _ if !self.headers.is_empty() => Err("headers: TCP has none".into()),
            _ if self.bulk == Some(Direction::Send) => Ok(Speech::BulkSend(message.leak())),
            _ if self.bulk == Some(Direction::Receive) => Ok(Speech::BulkReceive(len)),
            _ => Ok(Speech::TcpEcho(message.leak())),
        }
    }

    /// The mix. What was recorded has a request for every method, filled with host and path.
    fn requests(&self) -> Cow<'_, [RequestText]> {
        let Some(recording) = &self.recording else {
            return if self.request.is_empty() {
                vec![RequestText::default()].into()
            } else {
                (&self.request[..]).into()
            };
        };
        let has_host = self.headers.keys().any(|name| name.eq_ignore_ascii_case("host"));
        let host = (!has_host).then(|| ("Host".to_string(), "{authority}".to_string()));
        let of_method = |method: &String| RequestText {
            name: Some(method.clone()),
            method: Some(method.clone()),
            path: Some("/{path}".into()),
            headers: host.clone().into_iter().collect(),
            ..RequestText::default()
        };
        recording.methods.iter().map(of_method).collect()
    }

    fn rows(&self, target: &Target) -> Result<(Vec<String>, Vec<Vec<String>>), String> {
        if let Some(recording) = &self.recording {
            let row = |request: &Recorded| {
                vec![request.path.clone(), request.authority.as_ref().unwrap_or(&target.authority).clone()]
            };
            return Ok((vec!["path".into(), "authority".into()], recording.requests.iter().map(row).collect()));
        }
        let Some(path) = &self.data else { return Ok((Vec::new(), Vec::new())) };
        let path = self.folder.join(path);
        let wrong = |e: csv::Error| format!("{}: {e}", path.display());
        let mut reader = csv::Reader::from_path(&path).map_err(wrong)?;
        let columns: Vec<String> = reader.headers().map_err(wrong)?.iter().map(str::to_string).collect();
        let mut names = HashSet::new();
        if let Some(twice) = columns.iter().find(|name| !names.insert(*name)) {
            return Err(format!("{}: two columns are called `{twice}`", path.display()));
        }
        let mut rows = Vec::new();
        for record in reader.records() {
            if rows.len() == ROWS_MAX {
                return Err(format!("{}: more than {ROWS_MAX} rows", path.display()));
            }
            rows.push(record.map_err(wrong)?.iter().map(str::to_string).collect());
        }
        if rows.is_empty() {
            return Err(format!("{}: no row behind the names of the columns", path.display()));
        }
        Ok((columns, rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_scenarios_say_what_and_where() {
        let basic = "url = 'http://127.0.0.1'\nrate = 1\n";
        for (toml, said) in [
            ("rate = 1\nrat = 2".to_string(), "2:1: unknown field `rat`"),
            ("url = 'http://h\nrate = 1".into(), "1:16: "),
            ("rate = 1".into(), "no URL"),
            ("url = 'http://127.0.0.1'".into(), "no rate"),
            ("url = 'quic://127.0.0.1'\nrate = 1".into(), "scheme `quic` is not spoken"),
            (format!("{basic}tls = {{ insecure = true }}"), "tls: only for https://"),
            ("url = 'https://127.0.0.1'\nrate = 1\ntls = { insecur = true }".into(), "3:9: unknown field `insecur`"),
            ("url = 'https://127.0.0.1'\nrate = 1\ntls = { cert = 'x.pem' }".into(), "cert and key belong together"),
            ("url = 'https://127.0.0.1'\nrate = 1\ntls = { cacert = '/none.pem' }".into(), "/none.pem: "),
            ("url = 'https://127.0.0.1'\nrate = 1\ntls = { insecure = true, cacert = 'x' }".into(), "only one of them"),
            (
                "url = 'https://127.0.0.1'\nrate = 1\ntls = { insecure = true, server-name = 'a b' }".into(),
                "no name of a",
            ),
            ("url = 'tls://127.0.0.1'\nrate = 1".into(), "no port"),
            ("url = '127.0.0.1:80'\nrate = 1".into(), "write the scheme"),
            (format!("{basic}closed = true"), "a closed loop has no rate"),
            (format!("{basic}think = '1s'"), "only in a closed loop"),
            (format!("{basic}connections = 0"), "connections: at least one a thread"),
            (format!("{basic}warmup = '5 parsecs'"), "no time"),
            (format!("{basic}message-bytes = 5"), "only for ws:// and tcp://"),
            ("url = 'tcp://127.0.0.1'\nrate = 1".into(), "no port"),
            ("url = 'tcp://127.0.0.1:1/x'\nrate = 1".into(), "TCP has no path"),
            ("url = 'tcp://127.0.0.1:1'\nrate = 1\nmessage-bytes = 0".into(), "message-bytes: from 1 to"),
            ("url = 'tcp://127.0.0.1:1'\nrate = 1\nheaders = { a = 'b' }".into(), "TCP has none"),
            ("url = 'ws://127.0.0.1:1'\nrate = 1\n[[request]]\nname = 'x'".into(), "an echo has no requests"),
            ("url = 'http://127.0.0.1'\nbulk = 'send'".into(), "bulk: only for tcp://"),
            ("url = 'tcp://127.0.0.1:1'\nrate = 1\nbulk = 'send'".into(), "bulk: has no rate"),
            ("url = 'tcp://127.0.0.1:1'\nmessage-bytes = 64\nbulk = 'send'".into(), "message-bytes: from 131072 to"),
            (format!("{basic}[[request]]\npath = '/a b'"), "request 1: path `/a b`"),
            (format!("{basic}[[request]]\nheaders = {{ content-length = '3' }}"), "follows from the body"),
            (format!("{basic}[[request]]\nweight = 0"), "every weight of the mix is 0"),
            (format!("{basic}[[request]]\nexpect = {{ body-sha256 = 'xyz' }}"), "64 hexadecimal digits"),
            (format!("{basic}[[request]]\nmethod = 'CONNECT'"), "CONNECT"),
            (format!("{basic}stages = [{{ rate = 5, for = '1s' }}]"), "only one of them"),
            ("url = 'http://127.0.0.1'\nstages = [{ rate = 5 }]".into(), "`for` says how long"),
            (format!("{basic}[[request]]\nname = 'a'\n[[request]]\nname = 'a'"), "two requests are called `a`"),
        ] {
            let got = Scenario::parse(&toml).and_then(|s| s.plan().map(|_| ())).unwrap_err();
            assert!(got.contains(said), "{toml}\nsaid: {got}");
        }
    }
}
