//! A TLS ClientHello, put together byte by byte.

/// A whole ClientHello in one record, with this server name, if any.
pub fn client_hello(server_name: Option<&str>) -> Vec<u8> {
    let name = server_name.map(|name| extension(0, &list(&[&[0][..], &list(name.as_bytes())].concat())));
    let protocols = extension(16, &list(b"\x02h2\x08http/1.1"));
    let extensions = [name.unwrap_or_default(), protocols].concat();
    let random: Vec<u8> = (0..32).collect();
    let body = [&[3, 3][..], &random, &[0], &list(&[0x13, 1]), &[1, 0], &list(&extensions)].concat();
    let length = (body.len() as u32).to_be_bytes();
    record(&[&[1], &length[1..], &body].concat())
}

/// A handshake record.
pub fn record(content: &[u8]) -> Vec<u8> {
    [&[22, 3, 1][..], &list(content)].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &list(content)].concat()
}

fn list(content: &[u8]) -> Vec<u8> {
    [&(content.len() as u16).to_be_bytes()[..], content].concat()
}
