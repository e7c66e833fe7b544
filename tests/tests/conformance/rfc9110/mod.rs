//! RFC 9110: HTTP semantics that an intermediary has a part in.

mod section_15_status;
mod section_5_fields;
mod section_7_6_forwarding;
mod section_9_3_methods;
