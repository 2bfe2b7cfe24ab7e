//! What other parts of pitool write down about their work, and this one reads: backups and certificates.
//!
//! Two small JSON files below /var/lib/pitool. Each is replaced as a whole by whoever does the work. A file that is not there
//! means that this work is not configured; one that cannot be understood is told as such. Times are RFC 3339.
//!
//! `/var/lib/pitool/backup.json`:
//!
//! ```json
//! { "version": 1, "sets": { "data": {
//!     "last_success": "2026-11-21T02:00:10Z", "last_failure": null, "error": null,
//!     "last_drill": "2026-11-01T03:00:00Z", "next": "2026-11-22T02:00:00Z" } } }
//! ```
//!
//! `/var/lib/pitool/certificates.json`; `served_until` is read off the connection, not off the file:
//!
//! ```json
//! { "version": 1, "certificates": { "app.example.org": {
//!     "valid_until": "2027-01-20T00:00:00Z", "served_until": "2027-01-20T00:00:00Z",
//!     "last_renewal": "2026-10-22T00:00:00Z", "error": null, "next": "2026-12-20T00:00:00Z" } } }
//! ```

use std::collections::BTreeMap;

use jiff::Timestamp;
use pitool_host::Inspect;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::kernel::words;

/// Where backups are written down.
pub const BACKUP: &str = "/var/lib/pitool/backup.json";

/// Where certificates are.
pub const CERTIFICATES: &str = "/var/lib/pitool/certificates.json";

/// The version of both files that is understood.
const VERSION: u32 = 1;

/// What is written down of one set of backups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BackupSet {
    /// When the last good backup was done.
    pub last_success: Option<Timestamp>,
    /// When the last one failed, if it did after that.
    pub last_failure: Option<Timestamp>,
    /// Why.
    pub error: Option<String>,
    /// When a restore was last rehearsed with success.
    pub last_drill: Option<Timestamp>,
    /// When the next one is due.
    pub next: Option<Timestamp>,
}

/// What is written down of one certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Certificate {
    /// Until when the certificate on disk holds.
    pub valid_until: Option<Timestamp>,
    /// Until when the one holds that the web server hands out.
    pub served_until: Option<Timestamp>,
    /// When it was last renewed.
    pub last_renewal: Option<Timestamp>,
    /// Why the last renewal failed.
    pub error: Option<String>,
    /// When the next renewal is due.
    pub next: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

#[derive(Deserialize)]
struct BackupFile {
    sets: BTreeMap<String, BackupSet>,
}

#[derive(Deserialize)]
struct CertificateFile {
    certificates: BTreeMap<String, Certificate>,
}

fn read<T: DeserializeOwned>(host: &dyn Inspect, path: &str) -> Result<Option<T>, String> {
    let Some(content) = host.read(path).map_err(|error| words(&error))? else { return Ok(None) };
    let bad = |why: String| format!("{path} cannot be understood: {why}");
    let Versioned { version } =
        serde_json::from_slice(content.bytes()).map_err(|error| bad(error.to_string()))?;
    if version != VERSION {
        return Err(bad(format!("it has version {version}, and this pitool knows version {VERSION}")));
    }
    serde_json::from_slice(content.bytes()).map(Some).map_err(|error| bad(error.to_string()))
}

/// Reads what is written down of backups; `None` where none are configured.
///
/// # Errors
/// The file is there and of no use; the words say why.
pub fn backups(host: &dyn Inspect) -> Result<Option<BTreeMap<String, BackupSet>>, String> {
    Ok(read::<BackupFile>(host, BACKUP)?.map(|file| file.sets))
}

/// Reads what is written down of certificates; `None` where none are configured.
///
/// # Errors
/// The file is there and of no use; the words say why.
pub fn certificates(host: &dyn Inspect) -> Result<Option<BTreeMap<String, Certificate>>, String> {
    Ok(read::<CertificateFile>(host, CERTIFICATES)?.map(|file| file.certificates))
}
