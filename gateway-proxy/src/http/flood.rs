//! What an HTTP/2 client may send that does not ask for anything, and how many of its requests it may take back at once.
//!
//! h2 has no limit on PING, SETTINGS, PRIORITY, WINDOW_UPDATE and unknown frames: each costs little, and a connection can bring
//! millions. So they are counted where the bytes come in, against a budget that requests and data in either direction fill up
//! again. What h2 bounds itself is left to it: CONTINUATION, small DATA frames, resets before a request is taken in, resets
//! that the client makes the proxy send.

use std::time::Duration;

/// A budget that fills up again with time.
struct Budget {
    most: u64,
    per_second: u64,
    left: u64,
    /// Milliseconds of the worker's clock up to which it was filled up.
    filled: u64,
}

/// Counts the frames of one client connection.
pub struct Frames {
    budget: Budget,
    /// Bytes to skip: the client's preface at first, then payloads.
    skip: usize,
    header: [u8; HEADER],
    /// Bytes of `header` that are there.
    have: usize,
    /// Bytes that moved since they last filled the budget up.
    moved: usize,
}

/// Counts the requests that a client takes back as soon as they are made (CVE-2023-44487).
pub struct TakenBack(Budget);

/// Of a frame (RFC 9113 §4.1).
const HEADER: usize = 9;
/// Of a connection (RFC 9113 §3.4).
const PREFACE: usize = 24;

/// Frames that ask for nothing. Clients that probe the bandwidth send a PING per round trip, browsers a PRIORITY_UPDATE
/// with each request.
const FRAMES: u64 = 2000;
const FRAMES_PER_SECOND: u64 = 200;
/// For each request. More than a request brings with it.
const PER_REQUEST: u64 = 8;
/// Go's client acknowledges 4 KiB by two WINDOW_UPDATEs, which is more than others do.
const BYTES_PER_FRAME: usize = 1024;
/// The peer may have to apply them to the whole connection.
const SETTINGS_COST: u64 = 8;

/// A page that is left takes back what it asked for: 100 streams at once.
const TAKEN_BACK: u64 = 200;
const TAKEN_BACK_PER_SECOND: u64 = 50;
/// A request that lived longer was one.
pub const AT_ONCE: Duration = Duration::from_secs(1);

impl Budget {
    fn new(most: u64, per_second: u64, now_ms: u64) -> Self {
        Self { most, per_second, left: most, filled: now_ms }
    }

    fn add(&mut self, amount: u64) {
        self.left = self.left.saturating_add(amount).min(self.most);
    }

    /// False once it is spent.
    fn take(&mut self, amount: u64, now_ms: u64) -> bool {
        if amount > self.left {
            let passed = now_ms.saturating_sub(self.filled);
            self.filled = now_ms;
            self.add(passed * self.per_second / 1000);
        }
        let left = self.left.checked_sub(amount);
        self.left = left.unwrap_or_default();
        left.is_some()
    }
}

impl Frames {
    pub fn new(now_ms: u64) -> Self {
        let budget = Budget::new(FRAMES, FRAMES_PER_SECOND, now_ms);
        Self { budget, skip: PREFACE, header: [0; HEADER], have: 0, moved: 0 }
    }

    /// Bytes went to the client.
    pub fn sent(&mut self, count: usize) {
        self.moved += count;
        if self.moved >= BYTES_PER_FRAME {
            self.budget.add((self.moved / BYTES_PER_FRAME) as u64);
            self.moved %= BYTES_PER_FRAME;
        }
    }

    /// These bytes came, after all that came before. False: there are too many frames among them.
    pub fn received(&mut self, mut bytes: &[u8], now_ms: u64) -> bool {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let taken = (HEADER - self.have).min(bytes.len());
            self.header[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have < HEADER {
                return true;
            }
            self.have = 0;
            if !self.frame(now_ms) {
                return false;
            }
        }
    }

    fn frame(&mut self, now_ms: u64) -> bool {
        const DATA: u8 = 0;
        const HEADERS: u8 = 1;
        const SETTINGS: u8 = 4;
        const END_STREAM: u8 = 1;
        let [high, middle, low, kind, flags, ..] = self.header;
        self.skip = u32::from_be_bytes([0, high, middle, low]) as usize;
        match kind {
            DATA if self.skip > 0 || flags & END_STREAM != 0 => {
                self.sent(self.skip);
                true
            }
            HEADERS => {
                self.budget.add(PER_REQUEST);
                true
            }
            SETTINGS => self.budget.take(SETTINGS_COST, now_ms),
            _ => self.budget.take(1, now_ms),
        }
    }
}

impl TakenBack {
    pub fn new(now_ms: u64) -> Self {
        Self(Budget::new(TAKEN_BACK, TAKEN_BACK_PER_SECOND, now_ms))
    }

    /// A request went to its end. So it takes more than half of them to be taken back: clients that hedge take back many.
    pub fn completed(&mut self) {
        self.0.add(1);
    }

    /// One more. False: it is one too many.
    pub fn count(&mut self, now_ms: u64) -> bool {
        self.0.take(1, now_ms)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let [.., high, middle, low] = length.to_be_bytes();
        let mut frame = vec![high, middle, low, kind, flags, 0, 0, 0, 1];
        frame.resize(HEADER + length, 7);
        frame
    }

    fn begun() -> Frames {
        let mut frames = Frames::new(0);
        assert!(frames.received(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0));
        frames
    }

    /// How many of these are let through without time passing; None: all of 100,000.
    fn most(kind: u8, flags: u8, length: usize) -> Option<usize> {
        let mut frames = begun();
        let one = frame(kind, flags, length);
        (0..100_000).position(|_| !frames.received(&one, 0))
    }

    #[test]
    fn what_asks_for_nothing_is_bounded_and_what_does_is_not() {
        let all = FRAMES as usize;
        let (ping, priority, window_update, unknown) =
            (most(6, 0, 8), most(2, 0, 5), most(8, 0, 4), most(99, 0, 0));
        assert_eq!([ping, priority, window_update, unknown], [Some(all); 4]);
        assert_eq!(most(0, 0, 0), Some(all), "empty DATA");
        assert_eq!(most(4, 0, 6), Some(all / SETTINGS_COST as usize));
        assert_eq!([most(0, 0, 100), most(0, 1, 0), most(1, 4, 20)], [None; 3]);
    }

    #[test]
    fn requests_data_and_time_fill_the_budget_up() {
        let mut frames = begun();
        for at in 0..1000 {
            assert!((0..8).all(|_| frames.received(&frame(8, 0, 4), at)), "{at}");
            assert!(frames.received(&frame(1, 4, 20), at));
        }
        for at in 0..1000 {
            assert!((0..10).all(|_| frames.received(&frame(8, 0, 4), at)), "{at}");
            frames.sent(10 * BYTES_PER_FRAME);
        }
        assert!((0..FRAMES).all(|_| frames.received(&frame(6, 0, 8), 1000)));
        assert!((0..FRAMES_PER_SECOND).all(|_| frames.received(&frame(6, 0, 8), 3000)));
    }

    #[test]
    fn a_page_may_take_back_what_it_asked_for() {
        let mut taken = TakenBack::new(0);
        assert!((0..TAKEN_BACK).all(|_| taken.count(0)));
        assert!(!taken.count(0));
        assert!((0..TAKEN_BACK_PER_SECOND).all(|_| taken.count(1000)));
        assert!(!taken.count(1000));
        for _ in 0..1000 {
            taken.completed();
            assert!(taken.count(1000));
        }
    }

    proptest! {
        #[test]
        fn how_bytes_come_does_not_matter(bytes: Vec<u8>, cuts: Vec<prop::sample::Index>) {
            let (mut whole, mut parts) = (begun(), begun());
            let verdict = whole.received(&bytes, 0);
            let mut rest = &bytes[..];
            let mut cut_verdict = true;
            for cut in cuts {
                let (part, after) = rest.split_at(if rest.is_empty() { 0 } else { cut.index(rest.len()) });
                cut_verdict &= parts.received(part, 0);
                rest = after;
            }
            cut_verdict &= parts.received(rest, 0);
            prop_assert_eq!(verdict, cut_verdict);
            prop_assert_eq!((whole.skip, whole.have, whole.budget.left), (parts.skip, parts.have, parts.budget.left));
        }
    }
}
