//! A directory of archives: what is in it, who may write to it, and how an archive comes to be in it.
//!
//! An archive is written as `.partial`, synced, renamed; then its manifest likewise. What has no manifest does not
//! exist: a power cut at any moment leaves an archive that is whole, or none.

#![expect(
    clippy::disallowed_methods,
    reason = "this is the door to the directories of archives, whose paths the config names"
)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::archive::lines::Lines;
use crate::archive::seal::Identities;
use crate::manifest::{End, Header, Line, Seal};
use crate::{ArchiveName, Error, Part, Result, SetName};

/// A directory of archives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    directory: PathBuf,
}

/// An archive in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its name.
    pub name: ArchiveName,
    /// Whether it and its manifest are encrypted.
    pub encrypted: bool,
    /// The size of its data on the disk; 0 when nothing had changed and it has none of its own.
    pub size: u64,
    /// The size of its manifest on the disk.
    pub manifest_size: u64,
}

/// What the manifest of an archive says of it as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The beginning of the manifest.
    pub header: Header,
    /// Its totals.
    pub end: End,
    /// Where the data is.
    pub seal: Seal,
}

/// Held while one writes to a directory; the kernel gives it back however the holder ends.
#[derive(Debug)]
pub struct StoreLock {
    _directory: File,
}

impl Store {
    /// Takes a directory; nothing is looked at yet.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The path of one of an archive's files.
    pub fn path(&self, name: &ArchiveName, part: Part) -> PathBuf {
        self.directory.join(name.file(part))
    }

    /// Keeps everybody else from writing here.
    pub fn lock(&self) -> Result<StoreLock> {
        let directory = File::open(&self.directory).map_err(Error::path("open", &self.directory))?;
        match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(StoreLock { _directory: directory }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::Locked(self.directory.clone())),
            Err(error) => Err(Error::path("lock", &self.directory)(error)),
        }
    }

    /// Every archive that exists, in order: those with a manifest.
    pub fn list(&self) -> Result<Vec<Stored>> {
        let mut sizes = BTreeMap::new();
        let mut found = BTreeMap::new();
        for (name, part, size) in self.files()? {
            match part {
                Part::Archive { .. } => {
                    sizes.insert(name, size);
                }
                Part::Manifest { encrypted } => {
                    found.insert(name, (encrypted, size));
                }
            }
        }
        let stored = found.into_iter().map(|(name, (encrypted, manifest_size))| {
            let size = sizes.get(&name).copied().unwrap_or(0);
            Stored { name, encrypted, size, manifest_size }
        });
        Ok(stored.collect())
    }

    /// The archives of one set, in order.
    pub fn of_set(&self, set: &SetName) -> Result<Vec<Stored>> {
        let mut archives = self.list()?;
        archives.retain(|stored| stored.name.set() == set);
        Ok(archives)
    }

    /// One archive by its name.
    pub fn find(&self, name: &ArchiveName) -> Result<Stored> {
        let missing = || Error::NoArchive { what: name.to_string(), directory: self.directory.clone() };
        self.list()?.into_iter().find(|stored| stored.name == *name).ok_or_else(missing)
    }

    /// What the manifest of an archive says of it as a whole; reads all of it and keeps nothing.
    pub fn summary(&self, stored: &Stored, identities: &Identities) -> Result<Summary> {
        let path = self.path(&stored.name, Part::Manifest { encrypted: stored.encrypted });
        let (mut header, mut end, mut seal) = (None, None, None);
        let mut lines = Lines::beside(&path, stored.encrypted, identities)?;
        while let Some(line) = lines.next_but_entries() {
            match line? {
                Line::Manifest(line) => header = Some(line),
                Line::End(line) => end = Some(line),
                Line::Seal(line) => seal = Some(line),
                Line::Entry(_) | Line::Database(_) | Line::Note(_) => {}
            }
        }
        match (header, end, seal) {
            (Some(header), Some(end), Some(seal)) if header.name == stored.name => {
                Ok(Summary { header, end, seal })
            }
            (Some(header), Some(_), Some(_)) => {
                Err(Error::damaged(&path, format!("it is the manifest of {}", header.name)))
            }
            _ => Err(Error::damaged(&path, "its first or last lines are missing")),
        }
    }

    /// The archive that has the data of this one: itself, or the one that it has not changed since.
    pub fn with_data(&self, stored: &Stored, identities: &Identities) -> Result<Stored> {
        match self.summary(stored, identities)?.seal {
            Seal::Archive { .. } => Ok(stored.clone()),
            Seal::UnchangedSince(name) => self.find(&name),
        }
    }

    /// Deletes an archive: its manifest first, so that half of it never looks whole.
    pub fn remove(&self, name: &ArchiveName) -> Result<()> {
        for part in [false, true].map(|encrypted| Part::Manifest { encrypted }) {
            self.remove_file(&name.file(part))?;
        }
        self.sync()?;
        for part in [false, true].map(|encrypted| Part::Archive { encrypted }) {
            self.remove_file(&name.file(part))?;
        }
        self.sync()
    }

    fn remove_file(&self, file: &str) -> Result<()> {
        let path = self.directory.join(file);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::path("remove", path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Every file of an archive, whole or not, with its size.
    fn files(&self) -> Result<Vec<(ArchiveName, Part, u64)>> {
        let failed = || Error::path("read", &self.directory);
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            let Some((name, part)) = entry.file_name().to_str().and_then(ArchiveName::of_file) else {
                continue;
            };
            match entry.metadata() {
                Ok(there) if there.is_file() => files.push((name, part, there.len())),
                // A link, a pipe or a directory is no archive, whatever its name.
                Ok(_) => {}
                // Somebody removed it meanwhile: a prune beside a list.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed()(error)),
            }
        }
        Ok(files)
    }

    /// The highest number that any file of the set has here, whole or not.
    pub(crate) fn last_sequence(&self, set: &SetName) -> Result<u32> {
        let files = self.files()?;
        Ok(files
            .iter()
            .filter(|(name, ..)| name.set() == set)
            .map(|(name, ..)| name.sequence())
            .max()
            .unwrap_or(0))
    }

    /// Removes what runs that were cut off left behind; says how many files that were. The lock must be held.
    ///
    /// Only what is named `.partial` goes. A whole archive without a manifest is left alone: it may be the one that
    /// somebody needs.
    pub(crate) fn clean(&self) -> Result<usize> {
        let failed = || Error::path("read", &self.directory);
        let mut removed = 0;
        for entry in fs::read_dir(&self.directory).map_err(failed())? {
            let name = entry.map_err(failed())?.file_name();
            let partial = name.to_str().and_then(|name| name.strip_suffix(ArchiveName::PARTIAL));
            if let (Some(_), Some(name)) = (partial.and_then(ArchiveName::of_file), name.to_str()) {
                self.remove_file(name)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Creates the file that will become one of an archive's, for its owner alone.
    pub(crate) fn begin(&self, name: &ArchiveName, part: Part) -> Result<(File, Partial)> {
        let to = self.path(name, part);
        let path = self.directory.join(name.file(part) + ArchiveName::PARTIAL);
        let file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(Error::path("create", &path))?;
        Ok((file, Partial { path, to, kept: false }))
    }

    /// Makes renames and removals in the directory durable.
    pub(crate) fn sync(&self) -> Result<()> {
        let directory = File::open(&self.directory).map_err(Error::path("open", &self.directory))?;
        directory.sync_all().map_err(Error::path("sync", &self.directory))
    }
}

/// A file that is not there yet; removed again unless it is kept.
pub(crate) struct Partial {
    path: PathBuf,
    to: PathBuf,
    kept: bool,
}

impl Partial {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it durable under its own name.
    pub(crate) fn keep(mut self, file: &File, store: &Store) -> Result<()> {
        file.sync_all().map_err(Error::path("sync", &self.path))?;
        fs::rename(&self.path, &self.to).map_err(Error::path("rename", &self.path))?;
        self.kept = true;
        store.sync()
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}
