//! CRC-32C (RFC 3720 appendix B.4), for the rare header that has one.

pub(super) const START: u32 = !0;

const POLYNOMIAL: u32 = 0x82f6_3b78;

pub(super) fn update(sum: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(sum, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| sum >> 1 ^ if sum & 1 == 1 { POLYNOMIAL } else { 0 })
    })
}

pub(super) fn finish(sum: u32) -> u32 {
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 3720.
    #[test]
    fn known_sums() {
        let sum = |bytes: &[u8]| finish(update(START, bytes));
        assert_eq!(sum(&[0; 32]), 0x8a91_36aa);
        assert_eq!(sum(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(sum(b"123456789"), 0xe306_9283);
    }
}
