//! HTTP with limits: every request ends, and no answer fills the memory.
//!
//! instant-acme's own client has no time limits at all, tries nothing again and hides `Retry-After`. This one gives
//! each request 10 s to connect and 30 s in all, takes no more than 1 MiB, tries a connection once more, and turns 429
//! and 503 into [`HttpError::Busy`].

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use rustls_pki_types::CertificateDer;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Error};

use crate::error::{HttpError, Problem};

/// Time limits of a client.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// To connect, the TLS handshake included.
    pub connect: Duration,
    /// For the whole request.
    pub whole: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), whole: Duration::from_secs(30) }
    }
}

/// The longest answer that is read: a chain of certificates has some 10 KiB.
const LARGEST: u64 = 1 << 20;

/// CAs want to know who asks (RFC 8555 section 6.1).
const USER_AGENT: &str = concat!("pitool/", env!("CARGO_PKG_VERSION"));

/// A client that trusts these roots.
#[derive(Clone, Debug)]
pub struct Client {
    agent: Agent,
}

impl Client {
    /// A client that trusts these certificates and nobody else.
    pub fn new(roots: &[CertificateDer<'_>], limits: Limits) -> Self {
        let roots: Vec<Certificate<'static>> =
            roots.iter().map(|root| Certificate::from_der(root.as_ref()).to_owned()).collect();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .user_agent(USER_AGENT)
            .http_status_as_error(false)
            .timeout_connect(Some(limits.connect))
            .timeout_global(Some(limits.whole))
            .max_redirects(0)
            .max_redirects_will_error(false)
            // The caller's proxy settings are not the machine's.
            .proxy(None)
            // A connection that the CA has closed meanwhile would cost a request.
            .max_idle_age(Duration::from_secs(10))
            .build()
            .new_agent();
        Self { agent }
    }

    /// Sends a request; any status but 429 and 503 is an answer.
    ///
    /// # Errors
    /// Nobody there, no answer in time, too large an answer, 429 or 503.
    pub fn send(&self, request: &Request<Vec<u8>>) -> Result<Response<Vec<u8>>, HttpError> {
        let url = request.uri().to_string();
        // Without TLS only within this machine: the mock of the tests, and a CA behind a local proxy.
        let local = matches!(request.uri().host(), Some("127.0.0.1" | "[::1]" | "localhost"));
        if !(request.uri().scheme_str() == Some("https") || local) {
            return Err(HttpError::Url(url));
        }
        let mut answer = self.once(request, &url);
        if matches!(answer, Err(HttpError::Connect { .. })) {
            answer = self.once(request, &url);
        }
        let answer = answer?;
        let status = answer.status().as_u16();
        if !matches!(status, 429 | 503) {
            return Ok(answer);
        }
        Err(HttpError::Busy {
            url,
            status,
            retry_after: retry_after(&answer),
            problem: problem(answer.body()).map(Box::new),
        })
    }

    /// Fetches a document.
    ///
    /// # Errors
    /// As [`Client::send`]; a status that is not 2xx, or what is not JSON.
    pub fn json(&self, url: &str) -> Result<(serde_json::Value, Option<Duration>), HttpError> {
        let request = Request::get(url).body(Vec::new()).map_err(|_| HttpError::Url(url.to_owned()))?;
        let answer = self.send(&request)?;
        let bad = || HttpError::Answer { url: url.to_owned(), status: answer.status().as_u16() };
        if !answer.status().is_success() {
            return Err(bad());
        }
        let value = serde_json::from_slice(answer.body()).map_err(|_| bad())?;
        Ok((value, retry_after(&answer)))
    }

    fn once(&self, request: &Request<Vec<u8>>, url: &str) -> Result<Response<Vec<u8>>, HttpError> {
        let fail = |error: Error| match error {
            Error::Timeout(_) => HttpError::Timeout { url: url.to_owned() },
            Error::BodyExceedsLimit(_) => HttpError::TooLarge { url: url.to_owned() },
            Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                HttpError::Timeout { url: url.to_owned() }
            }
            error => HttpError::Connect { url: url.to_owned(), why: error.to_string() },
        };
        let answer = if request.body().is_empty() {
            let (parts, _) = request.clone().into_parts();
            self.agent.run(Request::from_parts(parts, ()))
        } else {
            self.agent.run(request.clone())
        };
        let (parts, mut body) = answer.map_err(fail)?.into_parts();
        let body = body.with_config().limit(LARGEST).read_to_vec().map_err(fail)?;
        Ok(Response::from_parts(parts, body))
    }
}

/// How long an answer asks to be left alone, RFC 9110 section 10.2.3, as seconds or as a date.
fn retry_after<B>(answer: &Response<B>) -> Option<Duration> {
    let value = answer.headers().get(http::header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |name| jiff::fmt::rfc2822::parse(name).ok().map(|date| date.timestamp());
    let then = date(value)?;
    // Against the CA's own clock where it tells: ours may be wrong.
    let now = answer.headers().get(http::header::DATE)?.to_str().ok().and_then(date)?;
    Some(Duration::try_from(then.duration_since(now)).unwrap_or(Duration::ZERO))
}

/// The problem document in an answer.
pub(crate) fn problem(body: &[u8]) -> Option<Problem> {
    let problem: Problem = serde_json::from_slice(body).ok()?;
    (!problem.kind.is_empty() || !problem.detail.is_empty()).then_some(problem)
}

/// The roots that this machine trusts (package ca-certificates), and those of a file of the config.
///
/// # Errors
/// A file that cannot be read, or has none.
pub fn roots(
    host: &dyn pitool_host::Inspect,
    ca_file: Option<&str>,
) -> pitool_host::Result<Vec<CertificateDer<'static>>> {
    let mut all = Vec::new();
    for (path, needed) in
        std::iter::once((pitool_host::AUTHORITIES, ca_file.is_none())).chain(ca_file.map(|path| (path, true)))
    {
        let text = host.read(path)?;
        let text = text.as_ref().and_then(pitool_host::Content::text).unwrap_or_default();
        match crate::certificate::chain(text) {
            Ok(certificates) => all.extend(certificates),
            Err(_) if !needed => {}
            Err(error) => {
                let what = if path == pitool_host::AUTHORITIES {
                    format!("{path} has no certificates of authorities: install the package ca-certificates")
                } else {
                    format!("`ca_file` {path} cannot be used: {error}")
                };
                return Err(pitool_host::Error::Unsupported(what));
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(headers: &[(&str, &str)]) -> Response<()> {
        let mut builder = Response::builder();
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap()
    }

    #[test]
    fn patience_in_seconds_and_as_a_date() {
        let seconds = |headers: &[(&str, &str)]| retry_after(&answer(headers)).map(|after| after.as_secs());
        assert_eq!(seconds(&[("retry-after", "120")]), Some(120));
        assert_eq!(seconds(&[]), None);
        assert_eq!(seconds(&[("retry-after", "soon")]), None);
        let now = ("date", "Fri, 31 Dec 2027 23:59:00 GMT");
        assert_eq!(seconds(&[("retry-after", "Fri, 31 Dec 2027 23:59:59 GMT"), now]), Some(59));
        assert_eq!(seconds(&[("retry-after", "Fri, 31 Dec 2027 23:00:00 GMT"), now]), Some(0));
    }
}
