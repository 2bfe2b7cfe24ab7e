//! Requests to the outside: an alert, a ping.

use std::time::Duration;

use http::Request;
use pitool_net::{Client, Limits, trust};

/// How long one request may take in all.
const PATIENCE: Duration = Duration::from_secs(15);

/// The most of an answer that is read, in bytes, to say why something was refused.
const ANSWER: u64 = 2048;

/// Sends a body to an address.
///
/// # Errors
/// Nobody answered, or the answer was not a good one. The words never have the address in them, which may be a secret.
pub(crate) fn post(url: &str, headers: &[(&str, &str)], mut body: &[u8]) -> Result<(), String> {
    // An address without TLS needs no list of authorities, and a machine without one can still reach its own network.
    let roots = match url.starts_with("https://") {
        true => trust::machine().map_err(|error| error.to_string())?,
        false => Vec::new(),
    };
    let limits = Limits { connect: PATIENCE, whole: Some(PATIENCE), redirects: 3, ..Limits::default() };
    let mut request = Request::post(url).header("Content-Length", body.len());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(()).map_err(|_| pitool_net::Error::Address.to_string())?;
    let answer =
        Client::new(&roots, limits).begin(request, Some(&mut body)).map_err(|error| error.to_string())?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let text = answer.into_body().beginning(ANSWER);
    let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(120).collect();
    Err(format!("it answered with status {} {text}", status.as_u16()).trim_end().to_owned())
}
