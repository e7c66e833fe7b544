#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dataplane::fuzz::dns_answer(bytes));
