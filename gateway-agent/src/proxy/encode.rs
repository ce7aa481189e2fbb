//! Messages as frames, encoded once for all proxies.

use std::sync::Arc;

pub use gateway_common::ir::frame::FrameError as Error;
use gateway_common::ir::frame::{self, MAX_FRAME};
use gateway_common::ir::{FromAgent, Key, Resource};

/// Resources are packed into updates of about this size.
const UPDATE_BYTES: usize = 1 << 20;

/// Frames of one change, and the resources that no frame can hold.
pub type Change = (Arc<[u8]>, Vec<Key>);

pub fn message(message: &FromAgent) -> Result<Arc<[u8]>, Error> {
    let mut bytes = Vec::new();
    frame::encode(message, &mut bytes)?;
    Ok(bytes.into())
}

/// A change and its commit. Resources too large for a frame are left out and returned.
pub fn change<'a>(
    upsert: impl IntoIterator<Item = &'a Resource>,
    remove: Vec<Key>,
    generation: u64,
    full: bool,
) -> Result<Change, Error> {
    let mut bytes = Vec::new();
    let mut too_large = Vec::new();
    let mut pending = Vec::new();
    let mut pending_bytes = 0;
    for resource in upsert {
        let size = serde_json::to_vec(resource)?.len();
        if size > MAX_FRAME - UPDATE_BYTES {
            too_large.push(resource.key());
            continue;
        }
        if pending_bytes + size > UPDATE_BYTES && !pending.is_empty() {
            frame::encode(
                &FromAgent::Update { upsert: std::mem::take(&mut pending), remove: Vec::new() },
                &mut bytes,
            )?;
            pending_bytes = 0;
        }
        pending_bytes += size;
        pending.push(resource.clone());
    }
    for keys in remove.chunks(10_000) {
        frame::encode(&FromAgent::Update { upsert: Vec::new(), remove: keys.to_vec() }, &mut bytes)?;
    }
    frame::encode(&FromAgent::Update { upsert: pending, remove: Vec::new() }, &mut bytes)?;
    frame::encode(&FromAgent::Commit { generation, full }, &mut bytes)?;
    Ok((bytes.into(), too_large))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_common::ir::{Certificate, CertificateId};

    fn certificate(name: &str, size: usize) -> Resource {
        Resource::Certificate(Certificate {
            id: CertificateId::new(name),
            chain: "x".repeat(size),
            key: String::new(),
        })
    }

    fn decode_all(mut bytes: &[u8]) -> Vec<FromAgent> {
        let mut messages = Vec::new();
        while let Some((message, used)) = frame::decode(bytes).unwrap() {
            messages.push(message);
            bytes = &bytes[used..];
        }
        assert!(bytes.is_empty());
        messages
    }

    #[test]
    fn a_large_change_is_many_updates_and_one_commit() {
        let resources: Vec<_> = (0..5).map(|i| certificate(&format!("a/{i}"), 600_000)).collect();
        let (bytes, too_large) = change(&resources, Vec::new(), 3, true).unwrap();
        let messages = decode_all(&bytes);
        assert!(too_large.is_empty());
        assert_eq!(messages.last(), Some(&FromAgent::Commit { generation: 3, full: true }));
        let sent: Vec<_> = messages
            .iter()
            .filter_map(
                |m| if let FromAgent::Update { upsert, .. } = m { Some(upsert.clone()) } else { None },
            )
            .flatten()
            .collect();
        assert_eq!(sent, resources);
        assert!(messages.len() > 3);
    }

    #[test]
    fn what_fits_no_frame_is_named() {
        let resources = [certificate("a/huge", MAX_FRAME), certificate("a/small", 10)];
        let (bytes, too_large) = change(&resources, Vec::new(), 1, false).unwrap();
        assert_eq!(too_large, [resources[0].key()]);
        assert_eq!(decode_all(&bytes).len(), 2);
    }
}
