//! TLS for everything that goes out: rustls with ring, trusting what Debian's ca-certificates trusts.
//!
//! The machine's own list and not one that is compiled in, so that an authority that the owner added counts, and one that Debian
//! removed does not. It is read when it is needed: kept in memory it would be a third of what the service uses.

use std::sync::Arc;

use pitool_host::AUTHORITIES;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// Reads the trusted authorities.
///
/// # Errors
/// The file is not there, with what to do.
pub(crate) fn trusted() -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(AUTHORITIES)
        .map(|certificates| certificates.filter_map(Result::ok).collect())
        .unwrap_or_default();
    if certificates.is_empty() {
        return Err(format!(
            "{AUTHORITIES} has no certificates; `sudo apt install ca-certificates` brings them"
        ));
    }
    Ok(certificates)
}

/// A client's settings.
///
/// # Errors
/// There is nobody to trust.
pub(crate) fn client() -> Result<Arc<rustls::ClientConfig>, String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(trusted()?);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
