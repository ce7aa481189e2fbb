//! HTTP/2 frames as a client sends them, counted as the proxy counts them.

use gateway_proxy::http::flood::Frames;

use super::input::Input;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// As `docs/proxy.md` has them: the budget, and what a request and a KiB of data give back.
const BUDGET: usize = 2000;
const PER_REQUEST: usize = 8;

/// Whether the frames that the input describes, again and again, are let through: cut into pieces, in one piece, and by a
/// count of whole frames. None: there is no frame.
pub(crate) fn count(mut input: Input<'_>) -> Option<[bool; 3]> {
    let repeated = 1 + input.below(200);
    let mut cuts = Input::new(&input.rest()[..input.rest().len() / 3]);
    let (mut bytes, mut left, mut moved, mut within) = (PREFACE.to_vec(), BUDGET, 0, true);
    let mut frames = Vec::new();
    while !input.is_empty() && frames.len() < 100 {
        frames.push((input.below(12), input.below(256), input.below(256) * input.one_of(&[0, 1, 9])));
    }
    for (kind, flags, length) in frames.repeat(repeated) {
        let [.., high, middle, low] = length.to_be_bytes();
        let byte = |number: usize| u8::try_from(number).unwrap_or_default();
        bytes.extend([high, middle, low, byte(kind), byte(flags), 0, 0, 0, 1]);
        bytes.resize(bytes.len() + length, 0xff);
        let cost = match kind {
            0 if length > 0 || flags % 2 == 1 => {
                moved += length;
                left = (left + moved / 1024).min(BUDGET);
                moved %= 1024;
                0
            }
            1 => {
                left = (left + PER_REQUEST).min(BUDGET);
                0
            }
            4 => 8,
            _ => 1,
        };
        within &= cost <= left;
        left = left.saturating_sub(cost);
    }
    if frames.is_empty() {
        return None;
    }
    let whole = Frames::new(0).received(&bytes, 0);
    let mut counted = Frames::new(0);
    let mut coming = &bytes[..];
    let mut parts = true;
    while parts && !coming.is_empty() {
        let count = if cuts.is_empty() { coming.len() } else { cuts.below(40).min(coming.len()) };
        parts = counted.received(&coming[..count], 0);
        coming = &coming[count..];
    }
    Some([parts, whole, within])
}
