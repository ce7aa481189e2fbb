//! Which resources the proxies still have to acknowledge.

use std::collections::{BTreeMap, BTreeSet};

use gateway_common::ir::Key;

/// Gateways and certificates, by the generation that carries them as they are wanted now. One that is missing has been
/// acknowledged.
#[derive(Default, Debug)]
pub(super) struct Sent(BTreeMap<Key, u64>);

impl Sent {
    pub(super) fn note(&mut self, upsert: impl Iterator<Item = Key>, remove: &[Key], generation: u64) {
        for key in remove {
            self.0.remove(key);
        }
        // No status waits for the others.
        let waited_for = upsert.filter(|key| matches!(key, Key::Gateway(_) | Key::Certificate(_)));
        self.0.extend(waited_for.map(|key| (key, generation)));
    }

    /// Those that the proxies have not acknowledged, who serve this generation.
    pub(super) fn unacknowledged(&mut self, acknowledged: Option<u64>) -> BTreeSet<Key> {
        self.0.retain(|_, generation| acknowledged < Some(*generation));
        self.0.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_common::ir::{BackendId, CertificateId, GatewayId};

    #[test]
    fn what_is_acknowledged_is_waited_for_no_longer() {
        let gateway = Key::Gateway(GatewayId::new("a/web"));
        let certificate = Key::Certificate(CertificateId::new("a/tls"));
        let backend = Key::Backend(BackendId::new("a/s:80"));
        let mut sent = Sent::default();
        sent.note([gateway.clone(), certificate.clone(), backend].into_iter(), &[], 3);
        sent.note([gateway.clone()].into_iter(), &[], 4);
        let both = BTreeSet::from([gateway.clone(), certificate.clone()]);
        assert_eq!(sent.unacknowledged(None), both);
        assert_eq!(sent.unacknowledged(Some(2)), both);
        assert_eq!(sent.unacknowledged(Some(3)), BTreeSet::from([gateway.clone()]));
        sent.note(std::iter::empty(), &[gateway], 5);
        assert_eq!(sent.unacknowledged(Some(3)), BTreeSet::new());
        sent.note([certificate].into_iter(), &[], 6);
        assert_eq!(sent.unacknowledged(Some(6)), BTreeSet::new());
    }
}
