//! Frames of the control socket: a big-endian `u32` length, then that many bytes of JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// A longer frame is refused; a sender splits its update long before.
pub const MAX_FRAME: usize = 16 << 20;

#[derive(Debug, Error)]
pub enum FrameError {
    #[error("frame of {0} bytes, more than {MAX_FRAME}")]
    TooLong(usize),
    #[error("frame is not the message expected: {0}")]
    Json(#[from] serde_json::Error),
}

/// Appends one frame to `out`.
pub fn encode<T: Serialize>(message: &T, out: &mut Vec<u8>) -> Result<(), FrameError> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    serde_json::to_writer(&mut *out, message)?;
    let length = out.len() - start - 4;
    match u32::try_from(length) {
        Ok(prefix) if length <= MAX_FRAME => {
            out[start..start + 4].copy_from_slice(&prefix.to_be_bytes());
            Ok(())
        }
        _ => {
            out.truncate(start);
            Err(FrameError::TooLong(length))
        }
    }
}

/// Takes one frame off the front of `input`: the message and the bytes it used, or None while it is incomplete.
pub fn decode<T: DeserializeOwned>(input: &[u8]) -> Result<Option<(T, usize)>, FrameError> {
    let Some((prefix, rest)) = input.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*prefix) as usize;
    if length > MAX_FRAME {
        return Err(FrameError::TooLong(length));
    }
    match rest.get(..length) {
        None => Ok(None),
        Some(json) => Ok(Some((serde_json::from_slice(json)?, 4 + length))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::FromAgent;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn frames_come_back_and_halves_wait() {
        let mut bytes = Vec::new();
        let message = FromAgent::Commit { generation: 7, full: true };
        encode(&message, &mut bytes).unwrap();
        for cut in 0..bytes.len() {
            assert!(decode::<FromAgent>(&bytes[..cut]).unwrap().is_none());
        }
        assert_eq!(decode::<FromAgent>(&bytes).unwrap(), Some((message, bytes.len())));
    }

    #[test]
    fn a_long_frame_is_refused_before_it_is_read() {
        let error = decode::<FromAgent>(&u32::MAX.to_be_bytes()).unwrap_err();
        assert!(matches!(error, FrameError::TooLong(_)));
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_a_message_an_error_or_a_wait(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode::<FromAgent>(&bytes);
        }
    }
}
