//! Which certificate a server really serves, asked by a TLS handshake.
//!
//! Most "certificate expired" reports are files that were renewed and never loaded. Whoever looks at files alone
//! cannot see that.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, ProtocolVersion, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::certificate::{Certificate, CertificateError};

/// What a server serves.
#[derive(Clone, Debug)]
pub struct Served {
    /// Its certificate.
    pub certificate: Certificate,
    /// The version of TLS that was agreed.
    pub protocol: String,
    /// Why a client with these roots would turn away; `None` where it would not.
    pub distrust: Option<String>,
}

/// Why it could not be seen.
#[derive(Debug, thiserror::Error)]
pub enum ServedError {
    /// The address has no meaning.
    #[error("{0} is not HOST:PORT")]
    Address(String),
    /// The name leads nowhere.
    #[error("{name} cannot be looked up: {source}")]
    Lookup {
        /// The name.
        name: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Nobody there.
    #[error("nobody answers at {address}: {source}")]
    Connect {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// No TLS, or none that we have in common.
    #[error("no TLS handshake with {address}: {why}")]
    Handshake {
        /// The address.
        address: SocketAddr,
        /// Why.
        why: String,
    },
    /// What is served cannot be read.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// How long a server may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Takes any certificate, because this asks and does not talk; what a real client would say is kept beside it.
/// That the server has the key is checked in any case.
#[derive(Debug)]
struct Onlooker {
    provider: Arc<CryptoProvider>,
    trusted: Option<Arc<WebPkiServerVerifier>>,
    said: std::sync::Mutex<Option<String>>,
}

impl ServerCertVerifier for Onlooker {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        issuers: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let said = match &self.trusted {
            None => Some("no authority is known here".to_owned()),
            Some(trusted) => {
                trusted.verify_server_cert(leaf, issuers, name, ocsp, now).err().map(|error| match error {
                    Error::InvalidCertificate(why) => format!("{why}"),
                    other => other.to_string(),
                })
            }
        };
        if let Ok(mut place) = self.said.lock() {
            *place = said;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Shakes hands with a server under a name (SNI) and returns what it serves.
///
/// # Errors
/// Nobody there, no TLS, or a certificate that cannot be read.
pub fn handshake(
    address: SocketAddr,
    name: &str,
    roots: &[CertificateDer<'static>],
) -> Result<Served, ServedError> {
    let fail = |why: String| ServedError::Handshake { address, why };
    let provider = crate::tls::provider();
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots.iter().cloned());
    let trusted =
        WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(&provider)).build().ok();
    let onlooker =
        Arc::new(Onlooker { provider: Arc::clone(&provider), trusted, said: std::sync::Mutex::new(None) });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| fail(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&onlooker) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    let server_name = ServerName::try_from(name.to_owned()).map_err(|error| fail(error.to_string()))?;
    let mut connection =
        ClientConnection::new(Arc::new(config), server_name).map_err(|error| fail(error.to_string()))?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)
        .map_err(|source| ServedError::Connect { address, source })?;
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let _ = stream.set_write_timeout(Some(PATIENCE));
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).map_err(|error| fail(error.to_string()))?;
    }
    let protocol = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3".to_owned(),
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2".to_owned(),
        other => format!("{other:?}"),
    };
    let leaf = connection
        .peer_certificates()
        .and_then(|certificates| certificates.first())
        .ok_or_else(|| fail("the server shows no certificate".into()))?;
    let certificate = Certificate::from_der(leaf.as_ref())?;
    let distrust = onlooker.said.lock().ok().and_then(|said| said.clone());
    // So that the server's log has an orderly end of it.
    connection.send_close_notify();
    let _ = connection.write_tls(&mut stream);
    let _ = stream.flush();
    let _ = stream.set_read_timeout(Some(Duration::from_millis(1)));
    let _ = stream.read(&mut [0; 1]);
    Ok(Served { certificate, protocol, distrust })
}

/// Looks at a server that a person named: `HOST:PORT`, `HOST` (443) or `[IPv6]:PORT`.
///
/// # Errors
/// As [`handshake`]; and an address or name that leads nowhere.
pub fn look(target: &str, roots: &[CertificateDer<'static>]) -> Result<Served, ServedError> {
    let (name, port) = parse(target).ok_or_else(|| ServedError::Address(target.to_owned()))?;
    let addresses = (name.as_str(), port)
        .to_socket_addrs()
        .map_err(|source| ServedError::Lookup { name: name.clone(), source })?;
    let mut last = None;
    for address in addresses {
        match handshake(address, &name, roots) {
            Err(error @ ServedError::Connect { .. }) => last = Some(error),
            other => return other,
        }
    }
    Err(last.unwrap_or_else(|| ServedError::Address(target.to_owned())))
}

fn parse(target: &str) -> Option<(String, u16)> {
    let (name, port) = match target.strip_prefix('[') {
        Some(rest) => {
            let (name, rest) = rest.split_once(']')?;
            (name, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match target.rsplit_once(':') {
            // An IPv6 address without brackets has no port.
            Some((name, _)) if name.contains(':') => (target, None),
            Some((name, port)) => (name, Some(port)),
            None => (target, None),
        },
    };
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port > 0)?,
        None => 443,
    };
    (!name.is_empty()).then(|| (name.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use rustls::ServerConfig;
    use rustls_pki_types::PrivateKeyDer;
    use rustls_pki_types::pem::PemObject;

    use super::*;
    use crate::certificate::chain;
    use crate::certificate::tests::self_signed;

    #[test]
    fn targets_as_people_write_them() {
        for (target, expected) in [
            ("pi.test", Some(("pi.test", 443))),
            ("pi.test:8443", Some(("pi.test", 8443))),
            ("[2001:db8::1]:993", Some(("2001:db8::1", 993))),
            ("[2001:db8::1]", Some(("2001:db8::1", 443))),
            ("2001:db8::1", Some(("2001:db8::1", 443))),
            ("pi.test:0", None),
            ("pi.test:x", None),
            (":443", None),
            ("[::1", None),
        ] {
            assert_eq!(parse(target), expected.map(|(name, port)| (name.to_owned(), port)), "{target}");
        }
    }

    #[test]
    fn the_leaf_that_is_served_is_seen_and_whether_it_is_trusted() {
        let (certificate, key) = self_signed(&["pi.test"]);
        let chain = chain(&certificate).unwrap();
        let config = ServerConfig::builder_with_provider(crate::tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.clone(), PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
            .unwrap();
        let config = Arc::new(config);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = stream.unwrap();
                while connection.is_handshaking() {
                    if connection.complete_io(&mut stream).is_err() {
                        break;
                    }
                }
            }
        });
        let served = handshake(address, "pi.test", &[]).unwrap();
        assert_eq!(served.certificate, Certificate::from_pem(&certificate).unwrap());
        assert_eq!(served.protocol, "TLS 1.3");
        assert!(served.distrust.is_some());
        let trusted = handshake(address, "pi.test", &chain).unwrap();
        assert_eq!(trusted.distrust, None, "who has it as a root trusts it");
        let other = handshake(address, "other.test", &chain).unwrap();
        assert!(other.distrust.is_some(), "not under another name");
    }

    #[test]
    fn what_does_not_speak_tls_is_said() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.write_all(b"220 mail.test ESMTP\r\n");
        });
        assert!(matches!(handshake(address, "pi.test", &[]), Err(ServedError::Handshake { .. })));
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(matches!(handshake(closed, "pi.test", &[]), Err(ServedError::Connect { .. })));
    }
}
