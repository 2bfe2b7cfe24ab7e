//! The settings of TLS connections that are not HTTP: rustls with ring.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, Error, RootCertStore};
use rustls_pki_types::CertificateDer;

/// What does the cryptography, in every connection of this program.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Makes the settings of a client that trusts these authorities and nobody else.
///
/// # Errors
/// rustls and its provider have no version of TLS in common.
pub fn config(roots: &[CertificateDer<'static>]) -> Result<Arc<ClientConfig>, Error> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots.iter().cloned());
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
