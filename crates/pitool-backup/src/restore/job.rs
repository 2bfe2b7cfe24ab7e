//! What to restore, where to, and how.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use crate::StoredPath;
use crate::archive::seal::Identities;
use crate::store::{Store, Stored};

/// Where to restore to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Beneath this directory, which is created if it is not there.
    Directory(PathBuf),
    /// Where it came from.
    InPlace,
}

/// What to restore, and how.
#[derive(Clone, Copy)]
pub struct Restore<'a> {
    /// Where the archive is.
    pub store: &'a Store,
    /// Which one.
    pub archive: &'a Stored,
    /// What opens it, if it is encrypted.
    pub identities: &'a Identities,
    /// Where to.
    pub destination: &'a Destination,
    /// Only these, with all that is beneath them; everything when there are none.
    pub only: &'a [StoredPath],
    /// Where to keep what is there before it is replaced, for a restore in place.
    pub safety: Option<Safety<'a>>,
    /// Whether to create device nodes, which give whoever may open them the device.
    pub devices: bool,
    /// Whether to delete what is beneath the restored paths and not in the archive.
    pub exact: bool,
    /// Where a restore in place is written down while it is at work, [`Unfinished`](super::Unfinished).
    pub journal: Option<&'a Path>,
    /// The name of the target where the archive is, for the same.
    pub target: Option<&'a str>,
    /// Raised when it should stop.
    pub interrupted: &'a AtomicBool,
}

/// Where a safety copy goes: an archive like any other, of the set [`Safety::SET`].
#[derive(Clone, Copy)]
pub struct Safety<'a> {
    /// A directory of archives.
    pub store: &'a Store,
    /// As for a run.
    pub scratch: &'a Path,
    /// The machine's name, for the manifest.
    pub host: &'a str,
    /// As of a set: what is kept is as secret as what it replaces.
    pub recipients: &'a [String],
}

impl<'a> Restore<'a> {
    /// All of an archive, with nothing kept of what is replaced and nothing written down.
    pub fn new(
        store: &'a Store,
        archive: &'a Stored,
        identities: &'a Identities,
        destination: &'a Destination,
        interrupted: &'a AtomicBool,
    ) -> Self {
        Self {
            store,
            archive,
            identities,
            destination,
            only: &[],
            safety: None,
            devices: false,
            exact: false,
            journal: None,
            target: None,
            interrupted,
        }
    }

    /// Whether a path is among what was asked for.
    pub(super) fn wants(&self, path: &StoredPath) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| path.is_within(only))
    }
}
