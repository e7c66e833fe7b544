#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringway_http::fuzz::client_hello(bytes));
