//! Gives the fuzzer's bytes to the target `flood`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    gatehouse_fuzz::flood(data);
});
