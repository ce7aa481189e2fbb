//! Which certificate a ClientHello gets: that of the listener with the most specific host name for its SNI, and of this
//! listener the first one that names the SNI and has a key that the client can verify.

use std::sync::Arc;

use gateway_common::ir::{self, CertificateId, Hostname, ListenerProtocol};
use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::route::HostMap;

#[derive(Debug)]
pub struct Resolver {
    by_host: HostMap<Arc<Choice>>,
}

/// The certificates of one listener.
#[derive(Debug)]
struct Choice {
    names: HostMap<Vec<Arc<CertifiedKey>>>,
    /// For other names.
    all: Vec<Arc<CertifiedKey>>,
}

impl Resolver {
    pub fn new(port: &ir::Port, key: impl Fn(&CertificateId) -> Option<Arc<CertifiedKey>>) -> Self {
        let mut by_host = HostMap::default();
        for listener in &port.listeners {
            let ListenerProtocol::Https { certificates } = &listener.protocol else { continue };
            // One without a usable certificate has its names all the same: they are not for a wider listener's.
            let choice = Choice::new(certificates.iter().filter_map(&key));
            by_host.insert(listener.hostname.as_ref(), Arc::new(choice));
        }
        Self { by_host }
    }

    fn find(&self, sni: &str, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let choice = self.by_host.find(sni)?;
        let keys = choice.names.find(sni).unwrap_or(&choice.all);
        let mut usable =
            keys.iter().filter(|key| keys.len() == 1 || key.key.choose_scheme(schemes).is_some());
        usable.next().or(keys.first()).cloned()
    }
}

impl Choice {
    fn new(keys: impl Iterator<Item = Arc<CertifiedKey>>) -> Self {
        let all: Vec<_> = keys.collect();
        let mut names: HostMap<Vec<_>> = HostMap::default();
        for key in &all {
            for name in super::names::of(key) {
                names.entry(Some(&Hostname::new(name))).push(key.clone());
            }
        }
        Self { names, all }
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let sni = hello.server_name().map(str::to_ascii_lowercase);
        self.find(&sni.unwrap_or_default(), hello.signature_schemes())
    }
}

#[cfg(test)]
mod tests {
    use rustls::crypto::aws_lc_rs::sign::any_supported_type;
    use rustls_pki_types::PrivateKeyDer;

    use super::*;

    fn certificate(algorithm: &'static rcgen::SignatureAlgorithm, name: &str) -> Arc<CertifiedKey> {
        let pair = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let leaf = rcgen::CertificateParams::new([name.to_owned()]).unwrap().self_signed(&pair).unwrap();
        let key = PrivateKeyDer::try_from(pair.serialize_der()).unwrap();
        Arc::new(CertifiedKey::new(vec![leaf.der().clone()], any_supported_type(&key).unwrap()))
    }

    #[test]
    fn a_client_gets_a_key_that_it_can_verify() {
        let keys = [
            certificate(&rcgen::PKCS_ECDSA_P256_SHA256, "a.example"),
            certificate(&rcgen::PKCS_ED25519, "a.example"),
            certificate(&rcgen::PKCS_ED25519, "b.example"),
        ];
        let mut by_host = HostMap::default();
        by_host.insert(None, Arc::new(Choice::new(keys.iter().cloned())));
        by_host.insert(Some(&Hostname::new("bare.example")), Arc::new(Choice::new(std::iter::empty())));
        let resolver = Resolver { by_host };
        let (p256, ed25519) = (SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519);
        for (sni, schemes, want) in [
            ("a.example", &[ed25519, p256][..], 0),
            ("a.example", &[ed25519], 1),
            ("b.example", &[p256], 2),
            ("c.example", &[p256], 0),
            ("c.example", &[ed25519], 1),
            ("c.example", &[SignatureScheme::RSA_PSS_SHA256], 0),
        ] {
            let found = resolver.find(sni, schemes).unwrap();
            assert!(Arc::ptr_eq(&found, &keys[want]), "{sni} {schemes:?}");
        }
        assert!(resolver.find("bare.example", &[ed25519, p256]).is_none(), "another listener's certificate");
    }
}
