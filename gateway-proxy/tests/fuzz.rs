//! The fuzz targets on random bytes. Coverage-guided runs: `cargo +nightly fuzz run --fuzz-dir tests/fuzz TARGET`.

#[expect(unreachable_pub, reason = "public in the fuzz crate, which has the same files")]
#[path = "../../tests/fuzz/src/lib.rs"]
mod fuzz;

use std::cell::Cell;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

/// Runs a target on random bytes; of a thousand, at least `least` must be understood, or it tries nothing.
fn thousand(target: fn(&[u8]) -> bool, longest: usize, least: u32) {
    let config = ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() };
    let understood = Cell::new(0);
    let each = |data: Vec<u8>| {
        understood.set(understood.get() + u32::from(target(&data)));
        Ok(())
    };
    TestRunner::new(config)
        .run(&vec(any::<u8>(), 0..longest), each)
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(understood.get() >= least, "{} of a thousand were understood", understood.get());
}

#[test]
fn proxy_protocol() {
    thousand(fuzz::proxy_protocol, 300, 100);
}

#[test]
fn client_hello() {
    thousand(fuzz::client_hello, 300, 100);
}

#[test]
fn path() {
    thousand(fuzz::path, 40, 100);
}

#[test]
fn answer() {
    thousand(fuzz::answer, 60, 40);
}

#[test]
fn flood() {
    thousand(fuzz::flood, 60, 100);
}

#[test]
fn frames() {
    thousand(fuzz::frames, 80, 100);
}

proptest! {
    // Each case is a table that changes several times.
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn matching(data in vec(any::<u8>(), 0..400)) {
        fuzz::matching(&data);
    }
}
