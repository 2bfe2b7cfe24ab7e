//! What tells the next command that a restore was cut off.
//!
//! Each file is replaced as a whole, so that a power cut leaves no half file; but some are the archive's then, and
//! others are older. That is written down before the first one is touched and forgotten when the last one is there.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{ArchiveName, Error, Result};

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
        let text = match fs::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
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
        let partial = path.with_extension("partial");
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&partial);
        let mut file = file.map_err(Error::path("create", &partial))?;
        let text = serde_json::to_vec(self).map_err(std::io::Error::from);
        text.and_then(|text| file.write_all(&text)).map_err(Error::path("write", &partial))?;
        file.sync_all().map_err(Error::path("sync", &partial))?;
        fs::rename(&partial, path).map_err(Error::path("rename", &partial))?;
        sync_parent(path)
    }

    /// Forgets it: all is there.
    pub(super) fn forget(path: &Path) -> Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::path("remove", path)(error))
            }
            _ => sync_parent(path),
        }
    }
}

fn sync_parent(path: &Path) -> Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    File::open(parent).and_then(|directory| directory.sync_all()).map_err(Error::path("sync", parent))
}
