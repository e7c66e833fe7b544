//! Header lines as rules see them.

use std::net::IpAddr;

use ringway_config::model::{PolicySet, Role};
use ringway_http::h1::{HEAD_BYTES_CEILING, HeadLimits, HeadWriter, Parse};
use ringway_http::head::{Fields, Known, RequestHead, Sender};
use ringway_policy::Asked;

use super::encode::{self, RequestEdits};

/// The policy's look at header lines: as the upstream will see them, so that no rule decides by what is taken away, or was never to be believed.
pub struct Lines<'a> {
    /// The head.
    pub head: &'a [u8],
    /// Its lines.
    pub fields: &'a Fields,
    /// Who sends them.
    pub sender: Sender,
    /// Whose connection it is: a gateway tells it to the mesh.
    pub peer: IpAddr,
}

impl ringway_policy::Fields for Lines<'_> {
    fn each(&self, name: &str, visit: &mut dyn FnMut(&[u8])) {
        for field in self.fields.iter() {
            if field.name.of(self.head).eq_ignore_ascii_case(name.as_bytes())
                && !field.is_withheld(self.head, self.sender)
                && field.known != Known::TransferEncoding
            {
                visit(field.value.of(self.head));
            }
        }
        match name {
            "x-forwarded-for" if self.sender != Sender::Mesh => {
                visit(encode::address_text(self.peer, &mut [0; encode::ADDRESS_BYTES_MAX]));
            }
            "x-forwarded-proto" if encode::says_scheme(self.sender, self.fields) && self.sender != Sender::Mesh => {
                visit(b"http");
            }
            _ => {}
        }
    }
}

/// Who sends requests to a listener.
pub fn sender(role: Role, policy: &PolicySet) -> Sender {
    match role {
        Role::Outbound | Role::Inbound => Sender::Mesh,
        Role::Gateway if policy.trusted_proxies > 0 => Sender::Proxy,
        Role::Gateway => Sender::Outside,
    }
}

/// The client, where the sender is a proxy that tells of it.
pub fn forwarded_client(head: &[u8], fields: &Fields, sender: Sender, policy: &PolicySet) -> Option<IpAddr> {
    if sender != Sender::Proxy {
        return None;
    }
    let said = fields.iter().filter(|field| field.known == Known::XForwardedFor);
    ringway_policy::forwarded_client(said.map(|field| field.value.of(head)), policy.trusted_proxies)
}

/// The scheme of a request, as far as its sender is believed.
pub fn scheme(head: &[u8], fields: &Fields, sender: Sender) -> &'static str {
    if encode::says_scheme(sender, fields) {
        return "http";
    }
    let said = fields.iter().filter(|field| field.known == Known::XForwardedProto);
    ringway_policy::scheme(said.map(|field| field.value.of(head)))
}

/// A request's head as everything goes by it: what a value reads that has `%REQ(…)%`. Its memory is kept.
#[derive(Default)]
pub struct Plain {
    /// It, before any rule's edit; empty when there is none.
    pub bytes: Vec<u8>,
    parsed: RequestHead,
}

impl Plain {
    /// Takes a request. `edits` are without those of rules.
    pub fn write(&mut self, head: &[u8], request: &RequestHead, edits: &RequestEdits<'_>) {
        self.bytes.clear();
        self.bytes.resize(head.len() + edits.extra_bytes(), 0);
        let mut writer = HeadWriter::new(&mut self.bytes);
        encode::request_head(&mut writer, head, request, edits);
        // One that does not fit is refused later on, for the same reason.
        let bytes = writer.end().unwrap_or(0);
        self.bytes.truncate(bytes);
        self.read();
    }

    /// Takes one that was written before.
    pub fn read(&mut self) {
        let limits = HeadLimits {
            head_bytes_max: HEAD_BYTES_CEILING,
            target_bytes_max: HEAD_BYTES_CEILING,
            fields_max: u8::MAX.into(),
            strict: false,
        };
        if self.parsed.parse(&self.bytes, 0, &limits) != Ok(Parse::Complete) {
            self.bytes.clear();
        }
    }

    /// What there is to read.
    pub fn asked(&self) -> Option<Asked<'_>> {
        (!self.bytes.is_empty()).then(|| Asked {
            method: self.parsed.method_span.of(&self.bytes),
            path: self.parsed.path.of(&self.bytes),
            authority: self.parsed.authority.of(&self.bytes),
            scheme: scheme(&self.bytes, &self.parsed.fields, Sender::Mesh),
            fields: self,
        })
    }
}

impl ringway_policy::Fields for Plain {
    fn each(&self, name: &str, visit: &mut dyn FnMut(&[u8])) {
        for field in self.parsed.fields.named(&self.bytes, name.as_bytes()) {
            visit(field.value.of(&self.bytes));
        }
    }
}

/// Header lines of a response as rules see them: without those that end at this hop.
pub struct Received<'a> {
    /// The head.
    pub head: &'a [u8],
    /// Its lines.
    pub fields: &'a Fields,
}

impl ringway_policy::Fields for Received<'_> {
    fn each(&self, name: &str, visit: &mut dyn FnMut(&[u8])) {
        for field in self.fields.named(self.head, name.as_bytes()) {
            let withheld = matches!(field.known, Known::XEnvoyPeerMetadata | Known::XEnvoyPeerMetadataId);
            if !field.hop && !withheld {
                visit(field.value.of(self.head));
            }
        }
    }
}
