//! What tells the next command that a restore was cut off.
//!
//! Each file is replaced as a whole, so that a power cut leaves no half file; but some are the archive's then, and
//! others are older. That is written down before the first one is touched and forgotten when the last one is there.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use pitool_host::trust::{self, Last, Root, read_bounded};
use serde::{Deserialize, Serialize};

use crate::{ArchiveName, Error, Result};

/// What is written down is a name and a few paths.
const LIMIT: u64 = 1 << 20;

/// A restore that has begun and not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfinished {
    /// What is restored.
    pub archive: ArchiveName,
    /// At which target it is; this machine's directory if none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// In place of what.
    pub paths: Vec<PathBuf>,
    /// Since when.
    pub since: Timestamp,
    /// Where what was there before is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety: Option<ArchiveName>,
}

impl Unfinished {
    /// Where the machine's own is written down.
    pub const PATH: &'static str = "/var/lib/pitool/backup/restoring.json";

    /// Reads what is written down there; `None` where no restore was cut off.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let root = Root::open(Path::new("/")).map_err(Error::path("open", "/"))?;
        let text = match root.open_file(path, Last::Itself).and_then(|file| read_bounded(&file, LIMIT)) {
            Err(error) if error.is_missing() => return Ok(None),
            text => text.map_err(Error::path("read", path))?,
        };
        match serde_json::from_slice(&text) {
            Ok(unfinished) => Ok(Some(unfinished)),
            Err(error) => Err(Error::damaged(path, error.to_string())),
        }
    }

    /// Whether it restores all that the other one did.
    pub(super) fn covers(&self, other: &Self) -> bool {
        other.paths.iter().all(|path| self.paths.iter().any(|own| path.starts_with(own)))
    }

    /// Writes it down, durably.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let (directory, name) = parent(path)?;
        let written = directory.write(name, |file| {
            serde_json::to_writer(file, self).map_err(|error| trust::Error::from(std::io::Error::from(error)))
        });
        written.map_err(Error::path("write", path))
    }

    /// Forgets it: all is there.
    pub(super) fn forget(path: &Path) -> Result<()> {
        let (directory, name) = parent(path)?;
        let gone = match directory.remove(name) {
            Err(error) if !error.is_missing() => Err(error),
            _ => directory.sync(),
        };
        gone.map_err(Error::path("remove", path))
    }
}

fn parent(path: &Path) -> Result<(trust::Directory, &std::ffi::OsStr)> {
    Root::open(Path::new("/")).and_then(|root| root.parent(path)).map_err(Error::path("open", path))
}
