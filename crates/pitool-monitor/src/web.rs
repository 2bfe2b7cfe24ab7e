//! Requests to the outside: bounded in time, size and redirects.

use std::sync::Arc;
use std::time::Duration;

use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// How long one request may take in all.
const PATIENCE: Duration = Duration::from_secs(15);

/// The most of an answer that is read, to say why something was refused.
const ANSWER: u64 = 2048;

/// Sends a body to an address.
///
/// # Errors
/// Nobody answered, or the answer was not a good one. The words never have the address in them, which may be a secret.
pub(crate) fn post(url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<(), String> {
    // An address without TLS needs no list of authorities, and a machine without one can still tell its own network.
    let tls = if url.starts_with("https://") {
        let roots: Vec<Certificate<'static>> =
            crate::tls::trusted()?.iter().map(|der| Certificate::from_der(der.as_ref()).to_owned()).collect();
        TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&roots))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build()
    } else {
        TlsConfig::default()
    };
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .tls_config(tls)
        .timeout_global(Some(PATIENCE))
        .max_redirects(3)
        .http_status_as_error(false)
        .proxy(None)
        .user_agent(concat!("pitool/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let mut request = agent.post(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut answer = request.send(body).map_err(|error| told(&error))?;
    let status = answer.status().as_u16();
    if (200..300).contains(&status) {
        return Ok(());
    }
    let text =
        answer.body_mut().with_config().limit(ANSWER).lossy_utf8(true).read_to_string().unwrap_or_default();
    let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(120).collect();
    Err(format!("it answered with status {status} {text}").trim_end().to_owned())
}

/// What went wrong, without the address.
fn told(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(_) => format!("no answer within {} s", PATIENCE.as_secs()),
        ureq::Error::HostNotFound => "its name is not known: is the network there?".to_owned(),
        ureq::Error::ConnectionFailed => "no connection".to_owned(),
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::BadUri(_) => "the address is none".to_owned(),
        ureq::Error::Rustls(error) => format!("TLS: {error}"),
        other => {
            let words = other.to_string();
            // Some errors quote the address.
            if words.contains("://") { "the request failed".to_owned() } else { words }
        }
    }
}
