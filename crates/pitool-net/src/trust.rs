//! Which authorities count: those of Debian's package ca-certificates.
//!
//! The machine's own list and not one that is compiled in, so that an authority that the owner added counts, and one that
//! Debian removed does not. It is read when it is needed: kept in memory, it would be a third of what the monitor uses.

use pitool_host::{AUTHORITIES, Content, Inspect};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::certificate::{self, CertificateError};

/// Why there is nobody to trust.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The machine's list is missing or empty.
    #[error("{AUTHORITIES} has no certificates: install the package ca-certificates")]
    Nobody,
    /// The file that the config names cannot be used.
    #[error("`ca_file` {path} cannot be used")]
    File {
        /// The file.
        path: String,
        /// Why.
        source: CertificateError,
    },
    /// A file cannot be read.
    #[error(transparent)]
    Host(#[from] pitool_host::Error),
}

/// Reads the authorities that this machine trusts; a block of the file that cannot be read is left out.
///
/// # Errors
/// [`TrustError::Nobody`].
pub fn machine() -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(AUTHORITIES)
        .map(|certificates| certificates.filter_map(Result::ok).collect())
        .unwrap_or_default();
    if certificates.is_empty() { Err(TrustError::Nobody) } else { Ok(certificates) }
}

/// Reads the authorities that a host trusts, and those of a file that the config names beside them.
///
/// # Errors
/// A file that cannot be read or has no certificates. The host's own list may be missing where the config names a file.
pub fn with_file(
    host: &dyn Inspect,
    ca_file: Option<&str>,
) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let list = host.read(AUTHORITIES)?;
    let list = list.as_ref().map(Content::bytes).unwrap_or_default();
    let mut all: Vec<_> = CertificateDer::pem_slice_iter(list).filter_map(Result::ok).collect();
    match ca_file {
        None if all.is_empty() => return Err(TrustError::Nobody),
        None => {}
        Some(path) => {
            let content = host.read(path)?;
            let text = content.as_ref().and_then(Content::text).unwrap_or_default();
            let more = certificate::chain(text)
                .map_err(|source| TrustError::File { path: path.to_owned(), source })?;
            all.extend(more);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use pitool_sim::Sim;

    use super::*;
    use crate::certificate::tests::self_signed;

    #[test]
    fn a_file_of_the_config_counts_beside_the_list_of_the_machine() {
        let sim = Sim::debian(13);
        let put = |path: &str, text: &str| {
            sim.arrange().put(path, text);
        };
        put(AUTHORITIES, "");
        assert!(matches!(with_file(&sim, None), Err(TrustError::Nobody)));
        let (own, _) = self_signed(&["ca.test"]);
        put("/etc/ssl/own.pem", &own);
        assert_eq!(with_file(&sim, Some("/etc/ssl/own.pem")).unwrap().len(), 1);
        let (known, _) = self_signed(&["known.test"]);
        put(AUTHORITIES, &format!("{known}{known}"));
        assert_eq!(with_file(&sim, None).unwrap().len(), 2);
        assert_eq!(with_file(&sim, Some("/etc/ssl/own.pem")).unwrap().len(), 3);
        let missing = with_file(&sim, Some("/etc/ssl/missing.pem")).unwrap_err();
        assert!(missing.to_string().contains("/etc/ssl/missing.pem"), "{missing}");
    }
}
