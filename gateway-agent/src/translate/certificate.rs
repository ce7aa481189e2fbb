//! A Secret with a certificate and its key, checked before the proxy gets it.

mod public_key;

use gateway_common::ir::{Certificate, CertificateId};
use k8s_openapi::api::core::v1::Secret;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::object::NsName;

const TLS_TYPE: &str = "kubernetes.io/tls";
const CHAIN: &str = "tls.crt";
const KEY: &str = "tls.key";

pub(super) fn id(secret: &NsName) -> CertificateId {
    CertificateId::new(secret.to_string())
}

/// The message names what is wrong in the Secret and the remedy.
pub(super) fn check(name: &NsName, secret: &Secret) -> Result<Certificate, String> {
    let kind = secret.type_.as_deref().unwrap_or("Opaque");
    if kind != TLS_TYPE {
        return Err(format!("Secret {name} is of type {kind}; it must be {TLS_TYPE}"));
    }
    let chain = field(name, secret, CHAIN)?;
    let key = field(name, secret, KEY)?;
    let leaf = check_chain(name, &chain)?;
    let private = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|error| format!("{KEY} of Secret {name} has no usable private key in PEM: {error}"))?;
    if public_key::belongs(&leaf, &private) == Some(false) {
        return Err(format!("{KEY} of Secret {name} is not the key of the first certificate in {CHAIN}"));
    }
    Ok(Certificate { id: id(name), chain, key })
}

fn field(name: &NsName, secret: &Secret, field: &str) -> Result<String, String> {
    let plain = secret.string_data.as_ref().and_then(|data| data.get(field)).cloned();
    let text = match plain {
        Some(text) => Some(text),
        None => secret
            .data
            .as_ref()
            .and_then(|data| data.get(field))
            .map(|bytes| {
                String::from_utf8(bytes.0.clone()).map_err(|_| format!("{field} of Secret {name} is not PEM"))
            })
            .transpose()?,
    };
    text.ok_or_else(|| format!("Secret {name} has no {field}"))
}

/// The leaf, when every certificate can be read.
fn check_chain(name: &NsName, chain: &str) -> Result<CertificateDer<'static>, String> {
    let mut leaf = None;
    for (index, certificate) in CertificateDer::pem_slice_iter(chain.as_bytes()).enumerate() {
        let number = index + 1;
        let der = certificate.map_err(|error| format!("{CHAIN} of Secret {name} is not PEM: {error}"))?;
        x509_parser::parse_x509_certificate(&der).map_err(|error| {
            format!("certificate {number} in {CHAIN} of Secret {name} is malformed: {error}")
        })?;
        leaf.get_or_insert(der);
    }
    leaf.ok_or_else(|| format!("{CHAIN} of Secret {name} has no certificate in PEM"))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use rcgen::{CertificateParams, KeyPair, SignatureAlgorithm};

    use super::*;

    fn secret(kind: &str, chain: &str, key: &str) -> Secret {
        let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
        Secret {
            type_: Some(kind.to_owned()),
            data: Some([(CHAIN.to_owned(), bytes(chain)), (KEY.to_owned(), bytes(key))].into()),
            ..Secret::default()
        }
    }

    fn pair(algorithm: &'static SignatureAlgorithm) -> (String, String) {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate =
            CertificateParams::new(vec!["a.test".to_owned()]).unwrap().self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn check_pair(chain: &str, key: &str) -> Result<Certificate, String> {
        check(&NsName::new("n", "s"), &secret(TLS_TYPE, chain, key))
    }

    #[test]
    fn good_pairs_are_taken_as_they_are() {
        for algorithm in
            [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519]
        {
            let (chain, key) = pair(algorithm);
            let got = check_pair(&chain, &key).unwrap();
            assert_eq!((got.id.as_str(), got.chain, got.key), ("n/s", chain, key));
        }
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ED25519] {
            let error = check_pair(&pair(algorithm).0, &pair(algorithm).1).unwrap_err();
            assert!(error.contains("not the key"), "{error}");
        }
        let error =
            check_pair(&pair(&rcgen::PKCS_ED25519).0, &pair(&rcgen::PKCS_ECDSA_P256_SHA256).1).unwrap_err();
        assert!(error.contains("not the key"), "{error}");
    }

    #[test]
    fn rubbish_is_named() {
        let (chain, key) = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
        let cases = [
            (secret("Opaque", &chain, &key), "type Opaque"),
            (secret(TLS_TYPE, "hello", &key), "no certificate"),
            (secret(TLS_TYPE, &chain, "hello"), "no usable private key"),
            (secret(TLS_TYPE, &chain, &chain), "no usable private key"),
            (Secret { type_: Some(TLS_TYPE.to_owned()), ..Secret::default() }, "has no tls.crt"),
            (
                secret(TLS_TYPE, "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n", &key),
                "malformed",
            ),
        ];
        for (secret, want) in cases {
            let error = check(&NsName::new("n", "s"), &secret).unwrap_err();
            assert!(error.contains(want), "{error} lacks {want}");
        }
    }
}
