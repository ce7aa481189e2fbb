//! Whether a private key belongs to a certificate, told from what the key's encoding carries: no cryptography.

use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::der_parser::ber::{BerObject, BerObjectContent};
use x509_parser::der_parser::der::parse_der;
use x509_parser::public_key::PublicKey;

/// None: the encoding does not carry the public half (some Ed25519 and EC keys); the proxy finds out when it loads it.
pub(super) fn belongs(leaf: &CertificateDer<'_>, key: &PrivateKeyDer<'_>) -> Option<bool> {
    let (_, certificate) = x509_parser::parse_x509_certificate(leaf).ok()?;
    let spki = certificate.public_key();
    let half = match key {
        PrivateKeyDer::Pkcs1(key) => rsa_half(key.secret_pkcs1_der())?,
        PrivateKeyDer::Sec1(key) => ec_half(key.secret_sec1_der())?,
        PrivateKeyDer::Pkcs8(key) => pkcs8_half(key.secret_pkcs8_der())?,
        _ => return None,
    };
    Some(match (half, spki.parsed()) {
        (Half::Rsa { modulus, exponent }, Ok(PublicKey::RSA(public))) => {
            unsigned(&modulus) == unsigned(public.modulus) && unsigned(&exponent) == unsigned(public.exponent)
        }
        (Half::Point(point), Ok(PublicKey::EC(_) | PublicKey::Unknown(_)) | Err(_)) => {
            *point == *spki.subject_public_key.data
        }
        (Half::Rsa { .. } | Half::Point(_), _) => false,
    })
}

enum Half {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// The bits of the subject public key.
    Point(Vec<u8>),
}

/// RFC 5208 and RFC 5958: version, algorithm, key, [0] attributes, [1] public key.
fn pkcs8_half(der: &[u8]) -> Option<Half> {
    let (_, outer) = parse_der(der).ok()?;
    let parts = outer.as_sequence().ok()?;
    if let Some(public) = tagged(parts, 1) {
        // IMPLICIT BIT STRING: the first byte counts unused bits.
        return Some(Half::Point(public.get(1..)?.to_vec()));
    }
    let algorithm = parts.get(1)?.as_sequence().ok()?.first()?.as_oid().ok()?.to_id_string();
    let inner = parts.get(2)?.as_slice().ok()?;
    match algorithm.as_str() {
        "1.2.840.113549.1.1.1" => rsa_half(inner),
        "1.2.840.10045.2.1" => ec_half(inner),
        _ => None,
    }
}

/// RFC 8017 A.1.2: version, modulus, public exponent, ...
fn rsa_half(der: &[u8]) -> Option<Half> {
    let (_, outer) = parse_der(der).ok()?;
    let parts = outer.as_sequence().ok()?;
    Some(Half::Rsa {
        modulus: parts.get(1)?.as_slice().ok()?.to_vec(),
        exponent: parts.get(2)?.as_slice().ok()?.to_vec(),
    })
}

/// RFC 5915: version, key, [0] parameters, [1] public key.
fn ec_half(der: &[u8]) -> Option<Half> {
    let (_, outer) = parse_der(der).ok()?;
    let (_, bits) = parse_der(tagged(outer.as_sequence().ok()?, 1)?).ok()?;
    if let BerObjectContent::BitString(_, bits) = bits.content {
        Some(Half::Point(bits.data.to_vec()))
    } else {
        None
    }
}

/// The content of the context-specific element `[tag]`.
fn tagged<'a>(parts: &[BerObject<'a>], tag: u32) -> Option<&'a [u8]> {
    parts.iter().find_map(|part| {
        if let BerObjectContent::Unknown(any) = &part.content {
            (any.header.tag().0 == tag).then_some(any.data)
        } else {
            None
        }
    })
}

fn unsigned(integer: &[u8]) -> &[u8] {
    let zeros = integer.iter().take_while(|byte| **byte == 0).count();
    &integer[zeros..]
}
