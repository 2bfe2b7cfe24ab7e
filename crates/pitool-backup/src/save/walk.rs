//! Everything below the paths of a set, in order, without following a link.
//!
//! Names are looked up in directories that are held open, so that nobody who may rename a directory while we walk
//! can lead us out of it. A directory's names are sorted in memory; nothing else of the tree is held.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use pitool_host::trust::{self, Last};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use super::exclude::Excludes;
use super::meta::Meta;
use crate::StoredPath;
use crate::manifest::{Note, What};

/// A thing that the walk came to.
#[derive(Clone)]
pub(crate) struct Found {
    pub(crate) path: StoredPath,
    /// The directory that it is in, and its name there.
    pub(crate) parent: Arc<OwnedFd>,
    pub(crate) name: CString,
    pub(crate) meta: Meta,
    /// A write-ahead log or a journal seems to lie beside it.
    pub(crate) has_log: bool,
}

/// A root of the walk.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    pub(crate) path: StoredPath,
    /// Whether it is a problem when it is not there.
    pub(crate) required: bool,
}

/// How the walk goes.
pub(crate) struct Rules {
    pub(crate) excludes: Excludes,
    pub(crate) one_file_system: bool,
    /// Directories of ours, by device and inode.
    pub(crate) own: HashSet<(u64, u64)>,
}

/// A walk: an iterator over what is found, and notes on what is not.
pub(crate) struct Walk<'a> {
    rules: &'a Rules,
    /// Roots inside of other roots: come to by the way, or where the way does not lead on, begun there.
    inner: Vec<Root>,
    stack: Vec<Level>,
    pub(crate) notes: Vec<Note>,
}

/// Where the walk is on.
enum Level {
    Roots(std::vec::IntoIter<Root>),
    Directory(Listing),
}

/// A directory with the names that are still to come.
struct Listing {
    path: StoredPath,
    directory: Arc<OwnedFd>,
    device: u64,
    names: std::vec::IntoIter<CString>,
}

impl<'a> Walk<'a> {
    /// Begins a walk.
    pub(crate) fn new(mut roots: Vec<Root>, rules: &'a Rules) -> Self {
        roots.sort_by(|a, b| a.path.cmp(&b.path));
        let mut outer: Vec<Root> = Vec::new();
        let mut inner: Vec<Root> = Vec::new();
        let mut notes = Vec::new();
        for root in roots {
            match outer.last_mut() {
                Some(last) if last.path == root.path => last.required |= root.required,
                Some(last) if root.path.is_within(&last.path) => {
                    // It is come to by the way, and missed only here.
                    if root.required && !is_there(&root.path) {
                        notes.push(Note {
                            path: root.path.as_bytes().to_vec(),
                            what: What::Missing,
                            detail: String::new(),
                        });
                    }
                    inner.push(Root { required: false, ..root });
                }
                _ => outer.push(root),
            }
        }
        Self { rules, inner, stack: vec![Level::Roots(outer.into_iter())], notes }
    }

    fn is_named(&self, path: &StoredPath) -> bool {
        self.inner.iter().any(|root| root.path == *path)
    }

    /// Goes on at the roots inside of a directory into which the walk does not go: what is named is saved.
    fn go_on_inside(&mut self, path: &StoredPath) {
        let mut named: Vec<Root> = Vec::new();
        for root in self.inner.iter().filter(|root| root.path.is_within(path)) {
            if named.last().is_none_or(|last| !root.path.is_within(&last.path)) {
                named.push(root.clone());
            }
        }
        if !named.is_empty() {
            self.stack.push(Level::Roots(named.into_iter()));
        }
    }

    fn note(&mut self, path: &StoredPath, what: What, detail: impl ToString) {
        self.notes.push(Note { path: path.as_bytes().to_vec(), what, detail: detail.to_string() });
    }

    fn failed(&mut self, path: &StoredPath, error: Errno) {
        match error {
            Errno::NOENT | Errno::NOTDIR => self.note(path, What::Vanished, ""),
            error => self.note(path, What::Unreadable, error),
        }
    }

    /// A root, if it is there.
    fn root(&mut self, root: &Root) -> Option<Found> {
        let path = root.path.absolute();
        let found = trust::Root::open(Path::new("/")).and_then(|machine| {
            // What leads to a root is the person's own choice, and may be a link of root's.
            let (directory, name) = machine.parent(&path)?;
            let directory = directory.as_fd().try_clone_to_owned()?;
            let name = CString::new(name.as_encoded_bytes()).map_err(|_| Errno::INVAL)?;
            let meta = Meta::of(&statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW)?);
            Ok(Found { path: root.path.clone(), parent: Arc::new(directory), name, meta, has_log: true })
        });
        match found {
            Ok(found) => {
                if found.meta.file_type == FileType::Symlink {
                    self.note(&root.path, What::RootIsLink, "name what it points to");
                }
                return Some(found);
            }
            Err(error) if error.is_missing() => {
                if root.required {
                    self.note(&root.path, What::Missing, "");
                }
            }
            Err(error) => self.note(&root.path, What::Unreadable, error),
        }
        None
    }

    /// Goes into a directory; `false` when it cannot be opened.
    fn enter(&mut self, found: &Found) -> Result<(), Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = openat(&*found.parent, &found.name, flags, Mode::empty())?;
        let mut names: Vec<CString> = Vec::new();
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if !matches!(name.to_bytes(), b"." | b"..") {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        names.shrink_to_fit();
        self.stack.push(Level::Directory(Listing {
            path: found.path.clone(),
            directory: Arc::new(directory),
            device: found.meta.device,
            names: names.into_iter(),
        }));
        Ok(())
    }

    fn skipped(&mut self, found: &Found) -> bool {
        let meta = &found.meta;
        if meta.file_type == FileType::Directory && self.rules.own.contains(&(meta.device, meta.inode)) {
            self.note(&found.path, What::OwnOutput, "");
            return true;
        }
        if meta.file_type == FileType::Socket {
            self.note(&found.path, What::Socket, "");
            return true;
        }
        false
    }
}

/// Whether something is at a path.
fn is_there(path: &StoredPath) -> bool {
    let machine = trust::Root::open(Path::new("/"));
    machine.is_ok_and(|machine| machine.look(&path.absolute(), Last::Itself).is_ok())
}

impl Iterator for Walk<'_> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        loop {
            let (found, device) = match self.stack.last_mut()? {
                Level::Roots(roots) => {
                    let Some(root) = roots.next() else {
                        self.stack.pop();
                        continue;
                    };
                    let Some(found) = self.root(&root) else { continue };
                    let device = found.meta.device;
                    (found, device)
                }
                Level::Directory(listing) => {
                    let Some(name) = listing.names.next() else {
                        self.stack.pop();
                        continue;
                    };
                    let path = listing.path.child(name.to_bytes());
                    let excluded =
                        self.rules.excludes.exclude(&path) || is_sidecar_of_database(listing, &name);
                    let parent = listing.directory.clone();
                    let beside = listing.names.as_slice();
                    let has_log = [b"-wal", &b"-journal"[..]].iter().any(|end| {
                        let log = [name.to_bytes(), *end].concat();
                        beside.binary_search_by(|other| other.to_bytes().cmp(&log)).is_ok()
                    });
                    let device = listing.device;
                    if excluded && !self.is_named(&path) {
                        self.go_on_inside(&path);
                        continue;
                    }
                    match statat(&*parent, &name, AtFlags::SYMLINK_NOFOLLOW) {
                        Ok(stat) => (Found { path, parent, name, meta: Meta::of(&stat), has_log }, device),
                        Err(error) => {
                            self.failed(&path, error);
                            continue;
                        }
                    }
                }
            };
            if self.skipped(&found) {
                continue;
            }
            if found.meta.file_type == FileType::Directory {
                let stays = found.meta.device == device || self.is_named(&found.path);
                if self.rules.one_file_system && !stays {
                    // The place itself is saved, so that there is somewhere to mount to.
                    self.note(&found.path, What::OtherFileSystem, "");
                    self.go_on_inside(&found.path);
                } else if let Err(error) = self.enter(&found) {
                    self.failed(&found.path, error);
                    if matches!(error, Errno::NOENT | Errno::NOTDIR) {
                        continue;
                    }
                }
            }
            return Some(found);
        }
    }
}

/// Whether a file is what SQLite keeps beside a database that it has open: it belongs to that moment and not to the
/// copy, and would spoil it.
fn is_sidecar_of_database(listing: &Listing, name: &CStr) -> bool {
    let Some(base) =
        [&b"-wal"[..], b"-shm", b"-journal"].iter().find_map(|end| name.to_bytes().strip_suffix(*end))
    else {
        return false;
    };
    let Ok(base) = CString::new(base) else { return false };
    let stat = rustix::fs::statat(&*listing.directory, &base, AtFlags::SYMLINK_NOFOLLOW);
    let Ok(meta) = stat.map(|stat| Meta::of(&stat)) else { return false };
    if meta.file_type != FileType::RegularFile {
        return false;
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = openat(&*listing.directory, &base, flags, Mode::empty()) else { return false };
    crate::database::has_magic(&file)
}
