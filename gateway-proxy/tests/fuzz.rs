//! The fuzz targets on random bytes. Coverage-guided runs: `cargo +nightly fuzz run --fuzz-dir tests/fuzz TARGET`.

#[expect(unreachable_pub, reason = "public in the fuzz crate, which has the same files")]
#[path = "../../tests/fuzz/src/lib.rs"]
mod fuzz;

use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn proxy_protocol(data in vec(any::<u8>(), 0..300)) {
        fuzz::proxy_protocol(&data);
    }

    #[test]
    fn client_hello(data in vec(any::<u8>(), 0..300)) {
        fuzz::client_hello(&data);
    }

    #[test]
    fn path(data in vec(any::<u8>(), 0..40)) {
        fuzz::path(&data);
    }

    #[test]
    fn answer(data in vec(any::<u8>(), 0..60)) {
        fuzz::answer(&data);
    }

    #[test]
    fn frames(data in "[ -~]{0,80}") {
        fuzz::frames(data.as_bytes());
    }
}

proptest! {
    // Each case is a table that changes several times.
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn matching(data in vec(any::<u8>(), 0..400)) {
        fuzz::matching(&data);
    }
}
