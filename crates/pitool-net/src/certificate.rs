//! What a certificate says, read from its own bytes, and whether a key belongs to it.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use pitool_host::text::hex;
use ring::digest;
use rustls::crypto::ring::sign;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use x509_parser::extensions::{GeneralName, ParsedExtension};

/// What is of interest in a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The names that it is good for, as written in it, sorted.
    pub names: Vec<String>,
    /// When it begins to be good.
    pub not_before: Timestamp,
    /// When it ends to be good.
    pub not_after: Timestamp,
    /// Who signed it: the organization and common name of the issuer.
    pub issuer: String,
    /// Whether it is signed by its own key, so that nobody vouches for it.
    pub self_signed: bool,
    /// The SHA-256 of its bytes, in hex.
    pub fingerprint: String,
    /// Its identifier towards the CA: authority key identifier and serial number, RFC 9773 section 4.1; `None` where
    /// the first is not in it.
    pub ari_id: Option<String>,
}

/// Why a certificate, or a certificate and its key, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// It cannot be read.
    #[error("this is not a certificate in PEM: {0}")]
    Certificate(String),
    /// The key cannot be read.
    #[error("this is not a private key in PEM: {0}")]
    Key(String),
    /// They do not belong together.
    #[error("the private key does not belong to the certificate")]
    Mismatch,
}

impl Certificate {
    /// Reads one from its DER bytes.
    ///
    /// # Errors
    /// [`CertificateError::Certificate`] with the parser's words.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let bad = |error: &dyn std::fmt::Display| CertificateError::Certificate(error.to_string());
        let (_, parsed) = x509_parser::parse_x509_certificate(der).map_err(|error| bad(&error))?;
        let time = |time: i64| {
            Timestamp::from_second(time).map_err(|error| CertificateError::Certificate(error.to_string()))
        };
        let mut names = Vec::new();
        let mut key_identifier = None;
        for extension in parsed.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::SubjectAlternativeName(alternative) => {
                    names.extend(alternative.general_names.iter().filter_map(|name| match name {
                        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
                        _ => None,
                    }));
                }
                ParsedExtension::AuthorityKeyIdentifier(authority) => {
                    key_identifier = authority.key_identifier.as_ref().map(|id| id.0.to_vec());
                }
                _ => {}
            }
        }
        names.sort();
        names.dedup();
        let words = |name: &x509_parser::x509::X509Name<'_>| {
            let organization = name.iter_organization().next().and_then(|part| part.as_str().ok());
            let common = name.iter_common_name().next().and_then(|part| part.as_str().ok());
            [organization, common].into_iter().flatten().collect::<Vec<_>>().join(" ")
        };
        Ok(Self {
            names,
            not_before: time(parsed.validity().not_before.timestamp())?,
            not_after: time(parsed.validity().not_after.timestamp())?,
            issuer: words(parsed.issuer()),
            self_signed: parsed.issuer() == parsed.subject(),
            fingerprint: fingerprint(der),
            ari_id: key_identifier.map(|id| {
                let serial = BASE64_URL_SAFE_NO_PAD.encode(parsed.raw_serial());
                format!("{}.{serial}", BASE64_URL_SAFE_NO_PAD.encode(id))
            }),
        })
    }

    /// Reads the first certificate of a PEM text: the one for the names, before those of its issuers.
    ///
    /// # Errors
    /// As [`Certificate::from_der`].
    pub fn from_pem(pem: &str) -> Result<Self, CertificateError> {
        Self::from_der(leaf(pem)?.as_ref())
    }

    /// How long it is good in all.
    pub fn lifetime(&self) -> SignedDuration {
        self.not_after.duration_since(self.not_before)
    }

    /// Whether it is good for a name, by itself or by a wildcard of one label, RFC 9525 section 6.3.
    pub fn covers(&self, name: &str) -> bool {
        self.names.iter().any(|own| covers(own, name))
    }
}

/// Whether a name in a certificate, perhaps a wildcard, covers a host name (or is the same wildcard).
pub fn covers(own: &str, name: &str) -> bool {
    if own.eq_ignore_ascii_case(name) {
        return true;
    }
    let (Some(parent), Some((label, rest))) = (own.strip_prefix("*."), name.split_once('.')) else {
        return false;
    };
    label != "*" && !label.is_empty() && rest.eq_ignore_ascii_case(parent)
}

/// The SHA-256 of a certificate's bytes, in hex.
pub fn fingerprint(der: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, der).as_ref())
}

/// The certificates of a PEM text, in their order.
///
/// # Errors
/// [`CertificateError::Certificate`] where the text is damaged or has none.
pub fn chain(pem: &str) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let certificates = certificates.map_err(|error| CertificateError::Certificate(error.to_string()))?;
    if certificates.is_empty() {
        return Err(CertificateError::Certificate("there is no certificate in it".into()));
    }
    Ok(certificates)
}

fn leaf(pem: &str) -> Result<CertificateDer<'static>, CertificateError> {
    chain(pem)?.into_iter().next().ok_or_else(|| CertificateError::Certificate("there is none in it".into()))
}

/// Reads a certificate with its issuers and its key, and makes sure that they belong together: nginx starts with no
/// other pair.
///
/// # Errors
/// Which of them cannot be read, or [`CertificateError::Mismatch`].
pub fn pair(fullchain: &str, key: &str) -> Result<Certificate, CertificateError> {
    let chain = chain(fullchain)?;
    let bad_key = |why: String| CertificateError::Key(why);
    let private =
        PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| bad_key(error.to_string()))?;
    let signing = sign::any_supported_type(&private).map_err(|error| bad_key(error.to_string()))?;
    let certificate = match chain.first() {
        Some(leaf) => Certificate::from_der(leaf.as_ref())?,
        None => return Err(CertificateError::Certificate("there is none in it".into())),
    };
    match CertifiedKey::new(chain, signing).keys_match() {
        Ok(()) => Ok(certificate),
        Err(_) => Err(CertificateError::Mismatch),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A certificate for tests that its own key signed: the chain and the key in PEM.
    pub(crate) fn self_signed(names: &[&str]) -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    #[test]
    fn a_pair_is_a_pair_only_when_it_is_one() {
        let (certificate, key) = self_signed(&["a.test", "*.b.test"]);
        let (other, other_key) = self_signed(&["a.test"]);
        let read = pair(&certificate, &key).unwrap();
        assert_eq!(read.names, ["*.b.test", "a.test"]);
        assert!(read.self_signed);
        assert!(matches!(pair(&certificate, &other_key), Err(CertificateError::Mismatch)));
        assert!(matches!(pair(&other, &key), Err(CertificateError::Mismatch)));
        let cut = &key[..key.len() / 2];
        assert!(matches!(pair(&certificate, cut), Err(CertificateError::Key(_))));
        assert!(matches!(pair(&certificate, ""), Err(CertificateError::Key(_))));
        assert!(matches!(pair("", &key), Err(CertificateError::Certificate(_))));
        let damaged = certificate.replace('M', "N");
        assert!(pair(&damaged, &key).is_err());
    }

    #[test]
    fn a_wildcard_covers_one_label() {
        for (own, name, yes) in [
            ("a.test", "a.test", true),
            ("a.test", "A.TEST", true),
            ("*.a.test", "b.a.test", true),
            ("*.a.test", "a.test", false),
            ("*.a.test", "c.b.a.test", false),
            ("*.a.test", "*.a.test", true),
            ("*.test", "*.a.test", false),
            ("b.test", "a.test", false),
        ] {
            assert_eq!(covers(own, name), yes, "{own} {name}");
        }
    }
}
