//! Access-log records: a worker writes the facts as bytes into a recycled buffer, housekeeping makes lines of them.

use std::net::SocketAddr;

/// Longest text kept of one field; what is longer is cut.
pub const FIELD_BYTES_MAX: usize = 2048;

/// Text fields in the order in which they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Text {
    Method,
    Path,
    Protocol,
    XForwardedFor,
    UserAgent,
    RequestId,
    Authority,
    UpstreamCluster,
    RouteName,
    Details,
    Termination,
    TransportFailure,
    Flags,
    ServerName,
}

/// How many text fields a record has.
pub const TEXTS: usize = 14;

/// Numbers and addresses of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Numbers {
    /// Wall clock at the start, microseconds since 1970.
    pub start_us: u64,
    pub duration_us: u64,
    /// u64::MAX: the upstream never answered.
    pub upstream_service_us: u64,
    pub bytes_received: u64,
    pub bytes_sent: u64,
    pub status: u16,
    pub rule: u32,
    pub upstream_host: Option<SocketAddr>,
    pub upstream_local: Option<SocketAddr>,
    pub downstream_local: Option<SocketAddr>,
    pub downstream_remote: Option<SocketAddr>,
}

/// A record under construction or in flight; the buffers are recycled.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Numbers.
    pub numbers: Numbers,
    text: Vec<u8>,
    ends: [u32; TEXTS],
}

impl Record {
    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        self.numbers = Numbers::default();
        self.text.clear();
        self.ends = [0; TEXTS];
    }

    /// Sets a text field. Fields may come in any order; one set twice keeps the last.
    pub fn set(&mut self, field: Text, value: &[u8]) {
        let value = &value[..value.len().min(FIELD_BYTES_MAX)];
        let (i, start, end) = self.range(field);
        let grown = value.len() as i64 - (end - start) as i64;
        self.text.splice(start..end, value.iter().copied());
        for e in &mut self.ends[i..] {
            *e = (i64::from(*e) + grown) as u32;
        }
    }

    /// A text field; empty when it was never set.
    pub fn get(&self, field: Text) -> &[u8] {
        let (_, start, end) = self.range(field);
        &self.text[start..end]
    }

    fn range(&self, field: Text) -> (usize, usize, usize) {
        let i = field as usize;
        let start = if i == 0 { 0 } else { self.ends[i - 1] as usize };
        (i, start, self.ends[i] as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_in_any_order() {
        let mut r = Record::default();
        r.set(Text::Authority, b"reviews");
        r.set(Text::Method, b"GET");
        r.set(Text::Path, b"/a");
        r.set(Text::Method, b"DELETE");
        assert_eq!(
            (r.get(Text::Method), r.get(Text::Path), r.get(Text::Authority)),
            (&b"DELETE"[..], &b"/a"[..], &b"reviews"[..])
        );
        assert_eq!(r.get(Text::Flags), b"");
        r.set(Text::UserAgent, &[b'x'; 5000]);
        assert_eq!(r.get(Text::UserAgent).len(), FIELD_BYTES_MAX);
        assert_eq!(r.get(Text::Authority), b"reviews");
    }
}
