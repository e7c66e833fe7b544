//! RFC 9112: HTTP/1.1.

mod section_2_3_version;
mod section_3_2_target;
mod section_6_body;
mod section_7_chunked;
mod section_9_connections;
