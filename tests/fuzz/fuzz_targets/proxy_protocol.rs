//! Gives the fuzzer's bytes to the target `proxy protocol`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    gatehouse_fuzz::proxy_protocol(data);
});
