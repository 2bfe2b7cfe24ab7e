//! Restoring: every entry under its own name, with owner, mode, times and attributes, and only what has its digest.
//!
//! A file is written beside its place and renamed into it when it is whole, so that what was there stays until
//! then. Hard links come after the files, and what is told of directories last, because everything changes them.

mod beneath;
mod meta;
mod others;
mod room;
mod unfinished;

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, linkat, makedev, mkdirat, mknodat, openat, renameat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use crate::archive::seal::Identities;
use crate::contents::{Contents, Sink};
use crate::manifest::{Entry, Kind, Note, What};
use crate::owners::Owners;
use crate::save::{Job, Progress, save};
use crate::store::{Store, Stored};
use crate::{ArchiveName, Error, Result, Set, StoredPath, Unchanged};
use beneath::Beneath;
use meta::Meta;
pub use others::{Spared, Why};
pub use unfinished::Unfinished;

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
    /// Where a restore in place is written down while it is at work, [`Unfinished`].
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

impl Safety<'_> {
    /// The set of which safety copies are archives.
    pub const SET: &'static str = "before-restore";

    /// Keeps what is there of what an archive replaces; `None` when there is nothing. What cannot be kept is not
    /// replaced.
    fn keep(&self, job: &Restore, contents: &Contents, paths: &[StoredPath]) -> Result<Option<ArchiveName>> {
        let mut set = Set::new(Self::SET.parse()?);
        set.paths = paths.iter().map(StoredPath::absolute).collect();
        set.paths.retain(|path| path.symlink_metadata().is_ok());
        if set.paths.is_empty() {
            return Ok(None);
        }
        set.recipients = self.recipients.to_vec();
        // The last few are kept by their number: each has to stand alone.
        set.unchanged = Unchanged::Archive;
        let identities = Identities::default();
        let (store, scratch, host, interrupted) = (self.store, self.scratch, self.host, job.interrupted);
        loop {
            let work =
                Job { set: &set, store, scratch, identities: &identities, host, after: 0, interrupted };
            let saved = save(&work, &|_| {})?;
            if let Some(note) = saved.notes.iter().find(|note| note.what == What::Unreadable) {
                let path = String::from_utf8_lossy(&note.path);
                let why = format!("what is there could not be kept: /{path}: {}", note.detail);
                return Err(Error::Set { set: Self::SET.to_owned(), why });
            }
            let elsewhere = replaced_elsewhere(job, contents, &saved.notes)?;
            if elsewhere.is_empty() {
                return Ok(Some(saved.name));
            }
            set.paths.extend(elsewhere);
            store.remove(&saved.name)?;
        }
    }
}

/// Where other file systems are mounted now beneath which the archive has something.
fn replaced_elsewhere(job: &Restore, contents: &Contents, notes: &[Note]) -> Result<Vec<PathBuf>> {
    let mounted = notes.iter().filter(|note| note.what == What::OtherFileSystem);
    let mounted: Vec<StoredPath> = mounted.filter_map(|note| StoredPath::new(note.path.as_slice())).collect();
    let mut replaced = BTreeSet::new();
    if !mounted.is_empty() {
        for entry in contents.entries_within(job.only)? {
            let path = entry?.path;
            let beneath = |mount: &&StoredPath| path.is_within(mount) && path != **mount;
            if let Some(mount) = mounted.iter().find(beneath).filter(|_| job.wants(&path)) {
                replaced.insert(mount.absolute());
            }
        }
    }
    Ok(replaced.into_iter().collect())
}

/// What was restored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Restored {
    /// Entries.
    pub entries: u64,
    /// Bytes of files, without holes.
    pub bytes: u64,
    /// What was deleted because it is not in the archive.
    pub deleted: u64,
    /// What is not in the archive and was left alone, though [`Restore::exact`] asked for its deletion.
    pub spared: Vec<Spared>,
    /// The safety copy of what was there.
    pub safety: Option<ArchiveName>,
    /// What could not be restored, and what is wrong with the archive; with any the restore has failed.
    pub problems: Vec<Problem>,
    /// How long it took.
    pub duration: Duration,
}

/// Something that could not be restored or does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which path; `None` for the archive as a whole.
    pub path: Option<StoredPath>,
    /// Why.
    pub why: String,
}

/// Restores an archive or a part of it; `listen` hears how far it is, from other threads.
pub fn restore(job: &Restore, listen: &(dyn Fn(Progress) + Sync)) -> Result<Restored> {
    let begun = Instant::now();
    let contents = Contents::open(job.store, job.archive, job.identities)?;
    let mut kept = None;
    let mut journal = None;
    let mut cut_off = false;
    let beneath = match job.destination {
        Destination::Directory(path) => {
            let beneath = Beneath::directory(path)?;
            if job.only.is_empty() {
                room::fits(path, contents.archive.frames.plain_end())?;
            }
            beneath
        }
        Destination::InPlace => {
            let header = contents.header()?.ok_or_else(|| {
                Error::damaged(
                    contents.archive.path(),
                    "its manifest is lost: restore it to a directory instead",
                )
            })?;
            room::in_place(job, &contents)?;
            let paths = if job.only.is_empty() { &header.roots } else { job.only };
            if let Some(safety) = &job.safety {
                kept = safety.keep(job, &contents, paths)?;
            }
            if let Some(path) = job.journal {
                let before = Unfinished::read(path)?;
                cut_off = before.is_some();
                let unfinished = Unfinished {
                    archive: job.archive.name.clone(),
                    target: job.target.map(str::to_owned),
                    paths: paths.iter().map(StoredPath::absolute).collect(),
                    since: Timestamp::now(),
                    // What was there before the first attempt is what a person wants back.
                    safety: before.as_ref().and_then(|before| before.safety.clone()).or(kept.clone()),
                };
                // A part of what was cut off does not make all of it whole.
                if before.is_none_or(|before| unfinished.covers(&before)) {
                    unfinished.write(path)?;
                    journal = Some(path);
                }
            }
            Beneath::in_place(&header.roots)?
        }
    };
    let filling = Filling {
        job,
        beneath,
        owners: Owners::of_this_machine(),
        root: rustix_is_root(),
        cut_off,
        listen,
        entries: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
        later: Mutex::default(),
        problems: Mutex::default(),
    };
    for why in &contents.problems {
        filling.say(None, why.clone());
    }
    let wanted = |entry: &Result<Entry>| match entry {
        Ok(entry) => job.wants(&entry.path),
        Err(_) => true,
    };
    contents.read(contents.entries_within(job.only)?.filter(wanted), &filling, job.interrupted)?;
    filling.links(&contents)?;
    let (deleted, spared) = if job.exact { filling.delete_others(&contents)? } else { (0, Vec::new()) };
    filling.directories();
    // All file systems: what was restored may lie on several, mounted below one another.
    rustix::fs::sync();
    if let Some(path) = journal {
        Unfinished::forget(path)?;
    }
    Ok(Restored {
        entries: filling.entries.into_inner(),
        bytes: filling.bytes.into_inner(),
        deleted,
        spared,
        safety: kept,
        problems: filling.problems.into_inner().unwrap_or_else(PoisonError::into_inner),
        duration: begun.elapsed(),
    })
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

    fn wants(&self, path: &StoredPath) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| path.is_within(only))
    }
}

fn rustix_is_root() -> bool {
    rustix::process::geteuid().is_root()
}

struct Filling<'a> {
    job: &'a Restore<'a>,
    beneath: Beneath,
    owners: Owners,
    root: bool,
    /// A restore before this one was cut off and may have left files that are not whole.
    cut_off: bool,
    listen: &'a (dyn Fn(Progress) + Sync),
    entries: AtomicU64,
    bytes: AtomicU64,
    later: Mutex<Later>,
    problems: Mutex<Vec<Problem>>,
}

/// What comes after the files.
#[derive(Default)]
struct Later {
    links: Vec<(StoredPath, StoredPath)>,
    directories: Vec<(StoredPath, Meta)>,
}

/// A large file that is being written.
struct Writing {
    file: File,
    directory: Arc<OwnedFd>,
    temporary: std::ffi::OsString,
}

impl Filling<'_> {
    fn say(&self, path: Option<&StoredPath>, why: String) {
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        problems.push(Problem { path: path.cloned(), why });
    }

    fn done(&self, bytes: u64) {
        let files = self.entries.fetch_add(1, Ordering::Relaxed) + 1;
        let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        (self.listen)(Progress { files, bytes, written: bytes });
    }

    fn meta(&self, entry: &Entry) -> Meta {
        let (uid, gid) = (self.owners.uid(&entry.user, entry.uid), self.owners.gid(&entry.group, entry.gid));
        Meta {
            owner: self.root.then_some((uid, gid)),
            mode: entry.mode,
            mtime: entry.mtime,
            xattrs: entry.xattrs.clone(),
        }
    }

    /// Puts a file that is whole into its place.
    fn place(&self, directory: &OwnedFd, temporary: &OsStr, name: &OsStr) -> Result<(), String> {
        match renameat(directory, temporary, directory, name) {
            Ok(()) => Ok(()),
            Err(error) => {
                let _ = unlinkat(directory, temporary, AtFlags::empty());
                Err(match error {
                    Errno::ISDIR => "a directory is in its place".to_owned(),
                    error => error.to_string(),
                })
            }
        }
    }

    fn file(&self, entry: &Entry, directory: &OwnedFd, name: &OsStr, data: &[u8]) -> Result<(), String> {
        // Where nothing is in its place, it is not written beside it.
        let (file, temporary) = match create(directory, name) {
            Ok(file) => (file, None),
            Err(Errno::EXIST) => {
                let temporary = self.beneath.temporary();
                (create(directory, &temporary).map_err(|error| error.to_string())?, Some(temporary))
            }
            Err(error) => return Err(error.to_string()),
        };
        let written = fill(&file, entry, 0, data).and_then(|()| self.meta(entry).onto(&file));
        if let Err(why) = written {
            let _ = unlinkat(directory, temporary.as_deref().unwrap_or(name), AtFlags::empty());
            return Err(why);
        }
        match temporary {
            Some(temporary) => self.place(directory, &temporary, name),
            None => Ok(()),
        }
    }

    /// Makes something that is no file, under another name first where something is in its place.
    fn make(
        &self,
        entry: &Entry,
        directory: &OwnedFd,
        name: &OsStr,
        make: impl Fn(&OsStr) -> Result<(), Errno>,
    ) -> Result<(), String> {
        let made = match make(name) {
            Err(Errno::EXIST) => {
                let temporary = self.beneath.temporary();
                make(&temporary).map_err(|error| error.to_string())?;
                self.place(directory, &temporary, name)
            }
            made => made.map_err(|error| error.to_string()),
        };
        made?;
        let meta = self.meta(entry);
        if matches!(entry.kind, Kind::HardLink(_)) {
            Ok(())
        } else {
            meta.onto_name(directory, name, &entry.kind)
        }
    }

    /// The further names of files, and what was only wanted under such a name.
    fn links(&self, contents: &Contents) -> Result<()> {
        let mut links = std::mem::take(&mut self.lock_later().links);
        links.sort_by(|a, b| a.0.cmp(&b.0));
        let mut stand_ins: HashMap<StoredPath, StoredPath> = HashMap::new();
        for (path, target) in &links {
            if !self.job.wants(target) {
                stand_ins.entry(target.clone()).or_insert_with(|| path.clone());
            }
        }
        if !stand_ins.is_empty() {
            let entries = contents.entries()?.filter_map(|entry| match entry {
                Ok(entry) => {
                    let path = stand_ins.get(&entry.path)?.clone();
                    Some(Ok(Entry { path, ..entry }))
                }
                Err(error) => Some(Err(error)),
            });
            contents.read(entries, self, self.job.interrupted)?;
        }
        for (path, target) in links {
            let target = match stand_ins.get(&target) {
                Some(stand_in) if *stand_in == path => continue,
                Some(stand_in) => stand_in.clone(),
                None => target,
            };
            match self.link(&path, &target) {
                Ok(()) => self.done(0),
                Err(why) => self.say(Some(&path), why),
            }
        }
        Ok(())
    }

    fn link(&self, path: &StoredPath, target: &StoredPath) -> Result<(), String> {
        let (from, from_name) = self.beneath.parent(target)?;
        let (to, to_name) = self.beneath.parent(path)?;
        if beneath::there(&from, from_name) != Some(FileType::RegularFile) {
            return Err(format!("it is another name of /{target}, which is no file here"));
        }
        match linkat(&*from, from_name, &*to, to_name, AtFlags::empty()) {
            Err(Errno::EXIST) => {
                let temporary = self.beneath.temporary();
                linkat(&*from, from_name, &*to, &temporary, AtFlags::empty())
                    .map_err(|error| error.to_string())?;
                self.place(&to, &temporary, to_name)?;
                // Renaming one name of a file over another does nothing (rename(2)).
                let _ = unlinkat(&*to, &temporary, AtFlags::empty());
                Ok(())
            }
            linked => linked.map_err(|error| error.to_string()),
        }
    }

    fn lock_later(&self) -> std::sync::MutexGuard<'_, Later> {
        self.later.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn directories(&self) {
        let mut directories = std::mem::take(&mut self.lock_later().directories);
        let mut others = self.beneath.take_created();
        for (path, _) in &directories {
            others.remove(path);
        }
        directories.sort_by(|a, b| b.0.cmp(&a.0));
        for (path, meta) in directories {
            let told = self.beneath.parent(&path).and_then(|(parent, name)| {
                let directory =
                    beneath::enter(&parent, name).map_err(|error| beneath::in_the_way(name, error))?;
                if self.cut_off {
                    beneath::clean(&directory).map_err(|error| error.to_string())?;
                }
                meta.onto(&directory)
            });
            if let Err(why) = told {
                self.say(Some(&path), why);
            }
        }
        // Those that lead to what was saved are not in the archive themselves: as mkdir(1) makes them.
        for path in others {
            let opened = self.beneath.parent(&path);
            let opened = opened
                .and_then(|(parent, name)| beneath::enter(&parent, name).map_err(|error| error.to_string()));
            let told = opened.and_then(|directory| {
                rustix::fs::fchmod(&directory, Mode::from_raw_mode(0o755)).map_err(|error| error.to_string())
            });
            if let Err(why) = told {
                self.say(Some(&path), why);
            }
        }
    }
}

fn create(directory: &OwnedFd, name: &OsStr) -> Result<File, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(directory, name, flags, Mode::RUSR | Mode::WUSR).map(File::from)
}

/// Writes what is stored of a file from this place on to where it belongs between the holes.
fn fill(file: &File, entry: &Entry, at: u64, mut data: &[u8]) -> Result<(), String> {
    let Kind::File(kind) = &entry.kind else { return Err("it is no file".to_owned()) };
    let write = |data: &[u8], at: u64| file.write_all_at(data, at).map_err(|error| error.to_string());
    let Some(extents) = &kind.extents else {
        return write(data, at);
    };
    let mut stored = 0;
    let mut at = at;
    for (offset, length) in extents {
        let skip = at - stored.min(at);
        if skip < *length && !data.is_empty() {
            let take = usize::try_from(length - skip).unwrap_or(usize::MAX).min(data.len());
            write(&data[..take], offset + skip)?;
            data = &data[take..];
            at += take as u64;
        }
        stored += length;
    }
    file.set_len(kind.size).map_err(|error| error.to_string())
}

impl Sink for Filling<'_> {
    type Large = Writing;

    fn entry(&self, entry: &Entry, _head: &[u8], data: &[u8]) -> Result<(), String> {
        if let Kind::HardLink(target) = &entry.kind {
            self.lock_later().links.push((entry.path.clone(), target.clone()));
            return Ok(());
        }
        let (directory, name) = self.beneath.parent(&entry.path)?;
        let owner_only = Mode::RUSR | Mode::WUSR;
        match &entry.kind {
            Kind::HardLink(_) => {}
            Kind::Directory => {
                match mkdirat(&*directory, name, Mode::RWXU) {
                    Ok(()) => {}
                    Err(Errno::EXIST) if beneath::there(&directory, name) == Some(FileType::Directory) => {}
                    Err(Errno::EXIST) => {
                        return Err("something that is no directory is in its place".to_owned());
                    }
                    Err(error) => return Err(error.to_string()),
                }
                let meta = self.meta(entry);
                self.lock_later().directories.push((entry.path.clone(), meta));
            }
            Kind::File(file) => {
                self.file(entry, &directory, name, data)?;
                if file.database.is_some() {
                    remove_logs(&directory, name);
                }
            }
            Kind::Symlink(target) => {
                self.make(entry, &directory, name, |name| symlinkat(target.as_slice(), &*directory, name))?;
            }
            Kind::Fifo => self.make(entry, &directory, name, |name| {
                mknodat(&*directory, name, FileType::Fifo, owner_only, 0)
            })?,
            Kind::CharDevice(..) | Kind::BlockDevice(..) if !self.job.devices => {
                return Err("a device node is created only when it is asked for".to_owned());
            }
            Kind::CharDevice(major, minor) => self.make(entry, &directory, name, |name| {
                mknodat(&*directory, name, FileType::CharacterDevice, owner_only, makedev(*major, *minor))
            })?,
            Kind::BlockDevice(major, minor) => self.make(entry, &directory, name, |name| {
                mknodat(&*directory, name, FileType::BlockDevice, owner_only, makedev(*major, *minor))
            })?,
        }
        self.done(data.len() as u64);
        Ok(())
    }

    fn open(&self, entry: &Entry, _head: &[u8]) -> Result<Option<Writing>, String> {
        let (directory, _) = self.beneath.parent(&entry.path)?;
        let temporary = self.beneath.temporary();
        let file = create(&directory, &temporary).map_err(|error| error.to_string())?;
        Ok(Some(Writing { file, directory, temporary }))
    }

    fn piece(&self, large: &Writing, entry: &Entry, at: u64, data: &[u8]) -> Result<(), String> {
        fill(&large.file, entry, at, data)
    }

    fn close(&self, large: &Writing, entry: &Entry, whole: bool) -> Result<(), String> {
        let (_, name) = entry.path.split();
        let told = if whole { self.meta(entry).onto(&large.file) } else { Err(String::new()) };
        if let Err(why) = told {
            let _ = unlinkat(&*large.directory, &large.temporary, AtFlags::empty());
            // What is not whole has been told already.
            return if whole { Err(why) } else { Ok(()) };
        }
        self.place(&large.directory, &large.temporary, name)?;
        if let Kind::File(file) = &entry.kind {
            if file.database.is_some() {
                remove_logs(&large.directory, name);
            }
            self.done(file.stored());
        }
        Ok(())
    }

    fn problem(&self, entry: &Entry, why: String) {
        self.say(Some(&entry.path), why);
    }
}

/// Deletes what lies beside a database that was just put there: a log of another one would be played into it.
fn remove_logs(directory: &OwnedFd, name: &OsStr) {
    for end in [&b"-wal"[..], b"-shm", b"-journal"] {
        let log = [name.as_bytes(), end].concat();
        let _ = unlinkat(directory, OsStr::from_bytes(&log), AtFlags::empty());
    }
}

#[cfg(test)]
mod tests;
