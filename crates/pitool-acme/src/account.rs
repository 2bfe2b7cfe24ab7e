//! The account at a CA: made once, kept, used again. One file for each directory.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use pitool_host::{Access, Content, Host, Inspect};

use crate::error::{AcmeError, Problem};
use crate::http::Client;
use crate::instant::{Enrolment, Instant};
use crate::storage::Store;

/// An account elsewhere that a CA wants to bind its own to (RFC 8555 section 7.3.4).
#[derive(Clone, Debug, Default)]
pub struct External {
    /// Its id.
    pub kid: String,
    /// The file with its key, base64url.
    pub hmac_file: String,
}

/// The file of the account at a directory.
pub fn path(store: &Store, directory: &str) -> String {
    let plain: String = directory
        .trim_start_matches("https://")
        .trim_start_matches("http://")
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' })
        .collect();
    format!("{}/accounts/{plain}.json", store.root())
}

/// Opens the account at a directory, making it where there is none.
///
/// # Errors
/// The CA's refusal or the way to it, or a file that cannot be read.
pub fn open(
    host: &dyn Host,
    client: &Client,
    store: &Store,
    directory: &str,
    email: Option<&str>,
    external: Option<&External>,
) -> Result<Instant, AcmeError> {
    let path = path(store, directory);
    if let Some(kept) = host.read(&path)? {
        let (account, _) =
            Instant::open(client, directory, &Enrolment::Known(kept.text().unwrap_or_default()))?;
        return Ok(account);
    }
    let key = external.map(|external| hmac(host.inspect(), external)).transpose()?;
    let external = external.zip(key.as_deref()).map(|(external, key)| (external.kid.as_str(), key));
    let (account, kept) = Instant::open(client, directory, &Enrolment::New { email, external })?;
    keep(host, store, directory, kept.as_deref())?;
    Ok(account)
}

/// Keeps what is to be kept of an account.
pub(crate) fn keep(
    host: &dyn Host,
    store: &Store,
    directory: &str,
    kept: Option<&str>,
) -> Result<(), AcmeError> {
    match kept {
        Some(kept) => Ok(host.write(&path(store, directory), kept.as_bytes(), Access::root(0o600))?),
        None => Ok(()),
    }
}

/// Sets an account aside that the CA does not know any more, so that the next try makes a new one.
///
/// # Errors
/// The machine's.
pub fn set_aside(
    host: &dyn Host,
    store: &Store,
    directory: &str,
    problem: &Problem,
) -> Result<bool, AcmeError> {
    if problem.short() != "accountDoesNotExist" {
        return Ok(false);
    }
    let path = path(store, directory);
    let Some(kept) = host.read(&path)? else { return Ok(false) };
    host.write(&format!("{path}.gone"), kept.bytes(), Access::root(0o600))?;
    host.remove(&path)?;
    Ok(true)
}

fn hmac(host: &dyn Inspect, external: &External) -> Result<Vec<u8>, AcmeError> {
    let file = &external.hmac_file;
    let content =
        host.read(file)?.ok_or_else(|| AcmeError::Key(format!("`eab_hmac_file` {file} is not there")))?;
    let text = Content::text(&content).unwrap_or_default().trim().trim_end_matches('=').to_owned();
    // CAs write it as base64url; some people's scripts as plain base64.
    let key = BASE64_URL_SAFE_NO_PAD.decode(&text).or_else(|_| BASE64_STANDARD_NO_PAD.decode(&text));
    key.ok()
        .filter(|key| !key.is_empty())
        .ok_or_else(|| AcmeError::Key(format!("`eab_hmac_file` {file} does not hold a key in base64url")))
}
