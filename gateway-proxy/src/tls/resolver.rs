//! Which certificate a ClientHello gets: that of the listener with the most specific host name for its SNI, and of this
//! listener the one that names the SNI.

use std::sync::Arc;

use gateway_common::ir::{self, CertificateId, Hostname, ListenerProtocol};
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
    names: HostMap<Arc<CertifiedKey>>,
    default: Arc<CertifiedKey>,
}

impl Resolver {
    pub fn new(port: &ir::Port, key: impl Fn(&CertificateId) -> Option<Arc<CertifiedKey>>) -> Self {
        let mut by_host = HostMap::default();
        for listener in &port.listeners {
            let ListenerProtocol::Https { certificates } = &listener.protocol else { continue };
            if let Some(choice) = Choice::new(certificates.iter().filter_map(&key)) {
                by_host.insert(listener.hostname.as_ref(), Arc::new(choice));
            }
        }
        Self { by_host }
    }

    fn find(&self, sni: &str) -> Option<Arc<CertifiedKey>> {
        let choice = self.by_host.find(sni)?;
        Some(choice.names.find(sni).unwrap_or(&choice.default).clone())
    }
}

impl Choice {
    /// The first certificate is the default; the first that has a name has it.
    fn new(keys: impl Iterator<Item = Arc<CertifiedKey>>) -> Option<Self> {
        let mut names = HostMap::default();
        let mut default = None;
        for key in keys {
            for name in super::names::of(&key) {
                let name = Hostname::new(name);
                if names.get_mut(Some(&name)).is_none() {
                    names.insert(Some(&name), key.clone());
                }
            }
            default.get_or_insert(key);
        }
        Some(Self { names, default: default? })
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let Some(sni) = hello.server_name() else { return self.find("") };
        self.find(&sni.to_ascii_lowercase())
    }
}
