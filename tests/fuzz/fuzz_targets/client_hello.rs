//! Gives the fuzzer's bytes to the target `client hello`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    gatehouse_fuzz::client_hello(data);
});
