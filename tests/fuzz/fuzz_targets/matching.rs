//! Gives the fuzzer's bytes to the target `matching`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gatehouse_fuzz::matching(data));
