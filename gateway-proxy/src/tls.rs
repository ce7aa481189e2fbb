//! TLS of listeners: which certificate a connection is shown, and what is agreed with it.

pub mod certificate;
pub mod handshake;
pub mod names;
pub mod resolver;
pub mod ticketer;

use std::sync::Arc;

use gateway_common::ir::{self, CertificateId};
use rustls::ServerConfig;
use rustls::sign::CertifiedKey;

/// The TLS side of one port.
pub struct Server {
    pub config: Arc<ServerConfig>,
}

impl Server {
    /// `key` gives a certificate that can be used.
    pub fn new(
        port: &ir::Port,
        key: impl Fn(&CertificateId) -> Option<Arc<CertifiedKey>>,
    ) -> Result<Self, rustls::Error> {
        let resolver = Arc::new(resolver::Resolver::new(port, key));
        let mut config = ServerConfig::builder_with_provider(certificate::provider())
            .with_protocol_versions(rustls::ALL_VERSIONS)?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = ticketer::shared();
        // Tickets alone: a session cache is a lock that all workers share.
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = 1;
        Ok(Self { config: Arc::new(config) })
    }
}
