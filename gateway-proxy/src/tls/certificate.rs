//! A certificate and its key, parsed once per change.

use std::sync::Arc;

use gateway_common::ir::Certificate;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;

#[derive(Debug, Error)]
pub enum CertificateError {
    #[error("tls.crt: {0}; give PEM, leaf first")]
    Chain(pem::Error),
    #[error("tls.key: {0}; give a private key in PEM")]
    Key(pem::Error),
    #[error("tls.crt and tls.key cannot be used together: {0}")]
    Unusable(#[from] rustls::Error),
}

pub fn parse(ir: &Certificate) -> Result<CertifiedKey, CertificateError> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(ir.chain.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(CertificateError::Chain)?;
    let key = PrivateKeyDer::from_pem_slice(ir.key.as_bytes()).map_err(CertificateError::Key)?;
    Ok(CertifiedKey::from_der(chain, key, &provider())?)
}

/// The cryptography of all TLS here.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: std::sync::LazyLock<Arc<CryptoProvider>> =
        std::sync::LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));
    PROVIDER.clone()
}
