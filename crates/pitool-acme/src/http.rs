//! Requests to a CA.
//!
//! instant-acme's own client has no time limits at all, tries nothing again and hides `Retry-After`. This one has the limits
//! of [`pitool_net::Limits`], tries a connection once more, and turns 429 and 503 into [`HttpError::Busy`].

use std::time::Duration;

use http::{Request, Response};
use pitool_net::{Error, Limits};
use rustls_pki_types::CertificateDer;

use crate::error::{HttpError, Problem};

/// A client of CAs that trusts these roots.
#[derive(Clone, Debug)]
pub struct Client {
    client: pitool_net::Client,
}

impl Client {
    /// A client that trusts these certificates and nobody else.
    pub fn new(roots: &[CertificateDer<'_>], limits: Limits) -> Self {
        Self { client: pitool_net::Client::new(roots, limits) }
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
        let url = url.to_owned();
        self.client.send(request).map_err(|error| match error {
            Error::Timeout(_) => HttpError::Timeout { url },
            Error::TooLarge => HttpError::TooLarge { url },
            error => HttpError::Connect { url, why: error.to_string() },
        })
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
