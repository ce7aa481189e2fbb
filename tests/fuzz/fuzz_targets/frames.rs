//! Gives the fuzzer's bytes to the target `frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    gatehouse_fuzz::frames(data);
});
