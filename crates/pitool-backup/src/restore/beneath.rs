//! Writing beneath a directory that nothing leads out of.
//!
//! Every directory on the way is opened by its name in the one before, without following a link. A link in the way,
//! whether it came with the archive or was put there by somebody else, is an error and not a way out.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, mkdirat, openat, statat, unlinkat};
use rustix::io::Errno;

use crate::{Error, Result, StoredPath};

/// Directories that are kept open: a walk comes back to few of them.
const OPEN: usize = 64;

/// What a file is called until it is whole. Longer names than this plus a number do not occur.
pub(crate) const TEMPORARY: &str = ".pitool-restore-";

/// The directories beneath which a restore writes.
pub(crate) struct Beneath {
    /// Prefixes of stored paths, and where each leads. The most specific one counts.
    bases: Vec<(Option<StoredPath>, OwnedFd)>,
    open: Mutex<HashMap<StoredPath, Arc<OwnedFd>>>,
    /// Directories that were created on the way to something.
    created: Mutex<BTreeSet<StoredPath>>,
    temporary: AtomicU64,
}

impl Beneath {
    /// Everything beneath one directory, which is created if it is not there.
    pub(crate) fn directory(path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path).map_err(Error::path("create", path))?;
        Ok(Self::new(vec![(None, open(CWD, path).map_err(Error::path("open", path))?)]))
    }

    /// Where it came from. What leads to the paths of a set is the person's own and may have links in it; beneath
    /// them nothing is followed.
    pub(crate) fn in_place(roots: &[StoredPath]) -> Result<Self> {
        let mut bases = Vec::new();
        for root in roots {
            let (parent, _) = root.split();
            let path = parent.as_ref().map_or_else(|| "/".into(), StoredPath::absolute);
            std::fs::create_dir_all(&path).map_err(Error::path("create", &path))?;
            bases.push((parent, open(CWD, &path).map_err(Error::path("open", &path))?));
        }
        Ok(Self::new(bases))
    }

    fn new(bases: Vec<(Option<StoredPath>, OwnedFd)>) -> Self {
        Self { bases, open: Mutex::default(), created: Mutex::default(), temporary: AtomicU64::new(0) }
    }

    /// The directory that a path is in, created where it is missing, and the path's name in it.
    pub(crate) fn parent<'p>(&self, path: &'p StoredPath) -> Result<(Arc<OwnedFd>, &'p OsStr), String> {
        let (parent, name) = path.split();
        let Some(parent) = parent else {
            let (_, base) =
                self.bases.iter().find(|(prefix, _)| prefix.is_none()).ok_or_else(|| outside(path))?;
            return Ok((Arc::new(base.try_clone().map_err(|error| error.to_string())?), name));
        };
        let mut cache = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(directory) = cache.get(&parent) {
            return Ok((directory.clone(), name));
        }
        drop(cache);
        let directory = Arc::new(self.walk(&parent)?);
        cache = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= OPEN {
            cache.clear();
        }
        cache.insert(parent, directory.clone());
        Ok((directory, name))
    }

    fn walk(&self, path: &StoredPath) -> Result<OwnedFd, String> {
        let bytes = path.as_bytes();
        let inside =
            |prefix: &Option<StoredPath>| prefix.as_ref().is_none_or(|prefix| path.is_within(prefix));
        let length =
            |prefix: &Option<StoredPath>| prefix.as_ref().map_or(0, |prefix| prefix.as_bytes().len());
        let base =
            self.bases.iter().filter(|(prefix, _)| inside(prefix)).max_by_key(|(prefix, _)| length(prefix));
        let (prefix, base) = base.ok_or_else(|| outside(path))?;
        let mut directory = base.try_clone().map_err(|error| error.to_string())?;
        let rest = &bytes[length(prefix)..];
        let mut length = length(prefix);
        for part in rest.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
            length += part.len() + usize::from(length > 0);
            let part = OsStr::from_bytes(part);
            if there(&directory, part).is_none() {
                let mut created = self.created.lock().unwrap_or_else(PoisonError::into_inner);
                created.extend(StoredPath::new(&bytes[..length]));
            }
            directory = enter(&directory, part).map_err(|error| in_the_way(part, error))?;
        }
        Ok(directory)
    }

    /// The directories that were created on the way to something, for root alone.
    pub(crate) fn take_created(&self) -> BTreeSet<StoredPath> {
        std::mem::take(&mut *self.created.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A name for what is not whole yet.
    pub(crate) fn temporary(&self) -> OsString {
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        format!("{TEMPORARY}{}-{number}", std::process::id()).into()
    }
}

fn outside(path: &StoredPath) -> String {
    format!("/{path} is none of the paths that the archive says it was made of")
}

fn open(at: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    openat(at, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Opens a directory in another, created for root alone if it is not there.
pub(crate) fn enter(directory: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(directory, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => {
            match mkdirat(directory, name, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
            openat(directory, name, flags, Mode::empty())
        }
        opened => opened,
    }
}

/// Removes what a restore that was cut off left in a directory.
pub(crate) fn clean(directory: &OwnedFd) -> Result<(), Errno> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if entry.file_name().to_bytes().starts_with(TEMPORARY.as_bytes()) {
            unlinkat(directory, entry.file_name(), AtFlags::empty())?;
        }
    }
    Ok(())
}

/// What to say when a directory cannot be entered.
pub(crate) fn in_the_way(name: &OsStr, error: Errno) -> String {
    match error {
        Errno::LOOP | Errno::NOTDIR => {
            format!("{} is in its way and is no directory; a link is not followed", name.to_string_lossy())
        }
        error => format!("{}: {error}", name.to_string_lossy()),
    }
}

/// Whether something is there, and what.
pub(crate) fn there(directory: &OwnedFd, name: &OsStr) -> Option<FileType> {
    let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some(FileType::from_raw_mode(stat.st_mode))
}
