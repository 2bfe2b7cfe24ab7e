//! What is beneath the restored directories and not in the archive, and what of it may be deleted.
//!
//! An archive that does not have a thing is only a reason to delete it where it would have it, had it been there. So
//! nothing goes that the run was told to leave out or could not read, nothing that is on another file system (a NAS
//! that is mounted there), no archives, and nothing at all unless everything was restored.

use std::collections::HashSet;
use std::ffi::{CString, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use pitool_host::trust::{Last, Root};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, fstat, openat2, statat, unlinkat};
use rustix::io::Errno;

use super::spared::{Spared, Why};
use super::{Filling, beneath};
use crate::contents::Contents;
use crate::manifest::{Kind, Line, What};
use crate::save::exclude::Excludes;
use crate::save::meta::Meta;
use crate::target::MARKER;
use crate::{Result, StoredPath};

impl Filling<'_> {
    /// Deletes what is beneath the restored directories and not in the archive: a walk beside the manifest. Says how
    /// much that was, and what stayed.
    pub(super) fn delete_others(&self, contents: &Contents) -> Result<(u64, Vec<Spared>)> {
        let Some(header) = contents.header()?.filter(|_| self.is_whole()) else {
            self.say(None, "nothing was deleted, because not everything is restored".to_owned());
            return Ok((0, Vec::new()));
        };
        let roots = if self.job.only.is_empty() { header.roots } else { self.job.only.to_vec() };
        let mut others = Others {
            filling: self,
            roots,
            left_out: Excludes::new(&header.exclude),
            not_saved: HashSet::new(),
            own: self.own(),
            deleted: 0,
            spared: Vec::new(),
        };
        for line in contents.lines(&[])? {
            if let Line::Note(note) = line? {
                others.remember(&note.path, note.what);
            }
        }
        let mut siblings: Vec<(StoredPath, Vec<Vec<u8>>)> = Vec::new();
        for entry in contents.entries_within(self.job.only)? {
            let entry = entry?;
            if !self.job.wants(&entry.path) {
                continue;
            }
            while siblings.last().is_some_and(|(directory, _)| !entry.path.is_within(directory)) {
                if let Some((directory, names)) = siblings.pop() {
                    others.leave_only(&directory, names);
                }
            }
            if let (Some((_, names)), (_, name)) = (siblings.last_mut(), entry.path.split()) {
                names.push(name.as_bytes().to_vec());
            }
            if entry.kind == Kind::Directory {
                siblings.push((entry.path, Vec::new()));
            }
        }
        while let Some((directory, names)) = siblings.pop() {
            others.leave_only(&directory, names);
        }
        others.spared.sort_by(|a, b| a.path.cmp(&b.path));
        others.spared.dedup();
        Ok((others.deleted, others.spared))
    }

    fn is_whole(&self) -> bool {
        self.problems.lock().is_ok_and(|problems| problems.is_empty())
    }

    /// The directories of archives that are known here, and that of the journal, by device and inode.
    fn own(&self) -> HashSet<(u64, u64)> {
        use std::os::unix::fs::MetadataExt;
        let safety = self.job.safety.iter().flat_map(|safety| [safety.store.directory(), safety.scratch]);
        let journal = self.job.journal.and_then(Path::parent);
        let directories: Vec<&Path> = safety.chain([self.job.store.directory()]).chain(journal).collect();
        let Ok(root) = Root::open(Path::new("/")) else { return HashSet::new() };
        let identity = |path: &Path| {
            let there = root.look(path, Last::Follow).ok()?;
            Some((there.metadata().dev(), there.metadata().ino()))
        };
        directories.into_iter().filter_map(identity).collect()
    }
}

struct Others<'a> {
    filling: &'a Filling<'a>,
    /// What the person named: that these are file systems of their own is no surprise.
    roots: Vec<StoredPath>,
    left_out: Excludes,
    not_saved: HashSet<StoredPath>,
    own: HashSet<(u64, u64)>,
    deleted: u64,
    spared: Vec<Spared>,
}

impl Others<'_> {
    fn remember(&mut self, path: &[u8], what: What) {
        match what {
            What::Unreadable | What::OwnOutput | What::OtherFileSystem => {
                self.not_saved.extend(StoredPath::new(path));
            }
            What::Changed
            | What::Vanished
            // Sockets are left alone wherever they are.
            | What::Socket
            | What::ChangedSilently
            | What::PreviousDamaged
            | What::Missing
            | What::RootIsLink
            | What::NotCopied
            | What::NoDatabase
            | What::Corrupt => {}
        }
    }

    fn spare(&mut self, path: &StoredPath, why: Why) {
        self.spared.push(Spared { path: path.clone(), why });
    }

    /// Deletes what is in a directory of the archive, but what has these names.
    fn leave_only(&mut self, path: &StoredPath, mut keep: Vec<Vec<u8>>) {
        keep.sort_unstable();
        let done = match self.open(path) {
            Ok(Some(directory)) => self.delete(&directory, path, &keep).map_err(|error| error.to_string()),
            Ok(None) => Ok(true),
            Err(why) => Err(why),
        };
        if let Err(why) = done {
            self.filling.say(Some(path), format!("what the archive does not have of it stays: {why}"));
        }
    }

    /// Opens a directory on the file system of the root that it is beneath; `None` where it is to be left alone.
    fn open(&mut self, path: &StoredPath) -> Result<Option<OwnedFd>, String> {
        let root = self.roots.iter().filter(|root| path.is_within(root));
        let Some(root) = root.max_by_key(|root| root.as_bytes().len()) else { return Ok(None) };
        let (place, name) = self.filling.beneath.parent(root)?;
        let root_directory = match place.directory.enter(name) {
            Ok(directory) => OwnedFd::from(directory),
            Err(error) if error.is_missing() => return Ok(None),
            Err(error) => return Err(beneath::in_the_way(name, &error)),
        };
        let rest = &path.as_bytes()[root.as_bytes().len()..];
        let rest = rest.strip_prefix(b"/").unwrap_or(rest);
        if rest.is_empty() {
            return Ok(Some(root_directory));
        }
        match on_same_file_system(&root_directory, OsStr::from_bytes(rest)) {
            Ok(directory) => Ok(Some(directory)),
            Err(Errno::XDEV) => {
                self.spare(path, Why::OtherFileSystem);
                Ok(None)
            }
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Deletes what is in a directory, but what has these names; says whether it is all that stayed.
    fn delete(&mut self, directory: &OwnedFd, path: &StoredPath, keep: &[Vec<u8>]) -> Result<bool, Errno> {
        let mut names: Vec<CString> = Vec::new();
        for entry in Dir::read_from(directory)? {
            names.push(entry?.file_name().to_owned());
        }
        let there = Meta::of(&fstat(directory)?);
        let is_target = names.iter().any(|name| name.to_bytes() == MARKER.as_bytes());
        if is_target || self.own.contains(&(there.device, there.inode)) {
            self.spare(path, Why::Own);
            return Ok(false);
        }
        if self.not_saved.contains(path) {
            self.spare(path, Why::NotSaved);
            return Ok(false);
        }
        let mut all = true;
        for name in names {
            let bytes = name.to_bytes();
            if matches!(bytes, b"." | b"..")
                || keep.binary_search_by(|kept| kept.as_slice().cmp(bytes)).is_ok()
            {
                continue;
            }
            match self.delete_one(directory, &path.child(bytes), &name) {
                Ok(gone) => all &= gone,
                // It went by itself.
                Err(Errno::NOENT) => {}
                Err(error) => {
                    all = false;
                    let why = format!("it is not in the archive and stays: {error}");
                    self.filling.say(Some(&path.child(bytes)), why);
                }
            }
        }
        Ok(all)
    }

    /// Deletes one thing with all that is in it; says whether nothing of it stayed.
    fn delete_one(&mut self, directory: &OwnedFd, path: &StoredPath, name: &CString) -> Result<bool, Errno> {
        if self.left_out.exclude(path) {
            return Ok(false);
        }
        let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let flags = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Socket => return Ok(false),
            FileType::Directory => {
                let inner = match on_same_file_system(directory, OsStr::from_bytes(name.to_bytes())) {
                    Err(Errno::XDEV) => {
                        self.spare(path, Why::OtherFileSystem);
                        return Ok(false);
                    }
                    inner => inner?,
                };
                if !self.delete(&inner, path, &[])? {
                    return Ok(false);
                }
                AtFlags::REMOVEDIR
            }
            _ if self.not_saved.contains(path) => {
                self.spare(path, Why::NotSaved);
                return Ok(false);
            }
            _ => AtFlags::empty(),
        };
        match unlinkat(directory, name, flags) {
            // A file can be mounted, too.
            Err(Errno::BUSY) => {
                self.spare(path, Why::OtherFileSystem);
                Ok(false)
            }
            other => {
                other?;
                self.deleted += 1;
                Ok(true)
            }
        }
    }
}

/// Opens a directory that can be reached without a link and without coming to another file system, `EXDEV`; a bind mount
/// is one, too, though its device is the same.
fn on_same_file_system(directory: &OwnedFd, path: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    openat2(directory, path, flags, Mode::empty(), resolve)
}
