//! Restoring: every entry under its own name, with owner, mode, times and attributes, and only what has its digest.
//!
//! [`Restore::prepare`] looks at all of it and touches nothing: an archive that cannot be restored is refused before
//! anything is stopped for it. A file is made where nobody else can reach it and renamed into its place when it is
//! whole, so that what was there stays until then. Hard links come after the files, and what is told of directories
//! last, because everything changes them.

mod beneath;
mod job;
mod meta;
mod others;
mod room;
mod spared;
mod survey;
mod unfinished;

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use pitool_host::trust::{self, Directory, Kind as Found, Last, Root, Staging};
use rustix::fs::{AtFlags, FileType, Mode, linkat, makedev, mknodat, symlinkat};
use rustix::io::Errno;

use crate::archive::seal::Identities;
use crate::contents::{Contents, Sink};
use crate::manifest::{Entry, Header, Kind, Note, What};
use crate::owners::Owners;
use crate::save::{Job, Progress, save};
use crate::{ArchiveName, Error, Result, Set, StoredPath, Unchanged};
use beneath::{Beneath, Identity, Place};
pub use job::{Destination, Restore, Safety};
use meta::Meta;
pub use room::fits;
pub use spared::{Spared, Why};
use survey::Survey;
pub use unfinished::Unfinished;

impl Safety<'_> {
    /// The set of which safety copies are archives.
    pub const SET: &'static str = "before-restore";

    /// Keeps what is there of what an archive replaces; `None` when there is nothing. What cannot be kept is not
    /// replaced.
    fn keep(&self, job: &Restore, contents: &Contents, paths: &[StoredPath]) -> Result<Option<ArchiveName>> {
        let mut set = Set::new(Self::SET.parse()?);
        set.paths = paths.iter().map(StoredPath::absolute).collect();
        let root = Root::open(Path::new("/")).map_err(Error::path("open", "/"))?;
        set.paths.retain(|path| root.look(path, Last::Itself).is_ok());
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

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{}: {}", path.absolute().display(), self.why),
            None => f.write_str(&self.why),
        }
    }
}

/// A restore that can be done as far as can be known without doing it.
pub struct Prepared<'a> {
    job: &'a Restore<'a>,
    contents: Contents,
    header: Option<Header>,
    survey: Survey,
}

/// Restores an archive or a part of it; `listen` hears how far it is, from other threads.
pub fn restore(job: &Restore, listen: &(dyn Fn(Progress) + Sync)) -> Result<Restored> {
    job.prepare()?.run(listen)
}

impl Prepared<'_> {
    /// The paths that something is restored at or beneath: of those that were asked for or the archive was made of.
    pub fn concerned(&self) -> Vec<PathBuf> {
        self.survey.concerned.iter().map(StoredPath::absolute).collect()
    }

    /// The beginning of the manifest; `None` when it is lost.
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// Restores; `listen` hears how far it is, from other threads.
    pub fn run(self, listen: &(dyn Fn(Progress) + Sync)) -> Result<Restored> {
        match self.job.destination {
            Destination::Directory(path) => self.fill(Beneath::directory(path)?, None, None, listen),
            Destination::InPlace => self.in_place(listen),
        }
    }

    /// Restores into a directory that is open, whatever the destination.
    pub(crate) fn run_in(self, directory: Directory, listen: &(dyn Fn(Progress) + Sync)) -> Result<Restored> {
        self.fill(Beneath::held(directory)?, None, None, listen)
    }

    #[expect(clippy::disallowed_methods, reason = "a restore is written down with the real time")]
    fn in_place(self, listen: &(dyn Fn(Progress) + Sync)) -> Result<Restored> {
        let job = self.job;
        let roots = self.header.as_ref().map(|header| header.roots.clone()).unwrap_or_default();
        let paths = if job.only.is_empty() { &roots } else { job.only };
        let mut kept = None;
        if let Some(safety) = &job.safety {
            kept = safety.keep(job, &self.contents, paths)?;
        }
        let mut journal = None;
        let mut cut_off = false;
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
        let beneath = Beneath::in_place(&roots)?;
        if cut_off {
            for base in beneath.bases() {
                // Left-overs harm nobody; what is in them is whole or nothing.
                let _ = beneath::clean(base);
            }
        }
        let restored = self.fill(beneath, kept, cut_off.then_some(()), listen)?;
        if let Some(path) = journal {
            Unfinished::forget(path)?;
        }
        Ok(restored)
    }

    #[expect(clippy::disallowed_methods, reason = "says how long a real restore took")]
    fn fill(
        self,
        beneath: Beneath,
        safety: Option<ArchiveName>,
        cut_off: Option<()>,
        listen: &(dyn Fn(Progress) + Sync),
    ) -> Result<Restored> {
        let begun = Instant::now();
        let Self { job, contents, survey, .. } = self;
        let filling = Filling {
            job,
            beneath,
            owners: Owners::of_this_machine(),
            root: rustix_is_root(),
            cut_off: cut_off.is_some(),
            listen,
            entries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            linked: Mutex::new(survey.linked.into_iter().map(|path| (path, None)).collect()),
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
        filling.beneath.tidy();
        let (deleted, spared) = if job.exact { filling.delete_others(&contents)? } else { (0, Vec::new()) };
        filling.directories();
        filling.beneath.tidy();
        // All file systems: what was restored may lie on several, mounted below one another.
        rustix::fs::sync();
        Ok(Restored {
            entries: filling.entries.into_inner(),
            bytes: filling.bytes.into_inner(),
            deleted,
            spared,
            safety,
            problems: filling.problems.into_inner().unwrap_or_else(PoisonError::into_inner),
            duration: begun.elapsed(),
        })
    }
}

impl<'a> Restore<'a> {
    /// Opens the archive and looks at all that is asked for of it; changes nothing.
    ///
    /// # Errors
    /// An archive that cannot be opened, or holds in its place something else than it says; a path that it does not
    /// have, [`Error::NotSaved`]; too little room, [`Error::Space`].
    pub fn prepare(&'a self) -> Result<Prepared<'a>> {
        let contents = Contents::open(self.store, self.archive, self.identities)?;
        let header = contents.header()?;
        if header.is_none() && *self.destination == Destination::InPlace {
            let why = "its manifest is lost: restore it to a directory instead";
            return Err(Error::damaged(contents.archive.path(), why));
        }
        let survey = Survey::of(self, &contents, header.as_ref())?;
        Ok(Prepared { job: self, contents, header, survey })
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
    /// Files that get further names, and what they are once they are restored.
    linked: Mutex<HashMap<StoredPath, Option<Identity>>>,
    later: Mutex<Later>,
    problems: Mutex<Vec<Problem>>,
}

/// What comes after the files.
#[derive(Default)]
struct Later {
    links: Vec<(StoredPath, StoredPath)>,
    directories: Vec<(StoredPath, Meta, Identity)>,
}

/// A large file that is being written.
struct Writing {
    file: File,
    place: Arc<Place>,
    staging: Arc<Staging>,
    temporary: OsString,
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
        Meta::of(entry, self.root.then_some((uid, gid)))
    }

    /// Makes something where nobody else can reach it and puts it into its place: `make` makes it under a name there,
    /// and gives a descriptor of it.
    fn put<F: std::os::fd::AsFd>(
        &self,
        entry: &Entry,
        make: impl FnOnce(&Staging, &OsStr) -> Result<F, String>,
    ) -> Result<(), String> {
        let (place, name) = self.beneath.parent(&entry.path)?;
        let staging = self.beneath.staging(&place)?;
        let temporary = self.beneath.temporary();
        let made = make(&staging, &temporary).and_then(|made| self.meta(entry).onto(&made).map(|()| made));
        match made {
            Ok(made) => {
                self.place(&place, &staging, &temporary, name)?;
                self.remember(entry, &made)
            }
            Err(why) => {
                let _ = staging.remove(&temporary);
                Err(why)
            }
        }
    }

    /// Renames what is whole into its place.
    fn place(&self, place: &Place, staging: &Staging, temporary: &OsStr, name: &OsStr) -> Result<(), String> {
        staging.rename(temporary, &place.directory, name).map_err(|error| {
            let _ = staging.remove(temporary);
            match error.errno() {
                Some(Errno::ISDIR) => "a directory is in its place".to_owned(),
                _ => error.to_string(),
            }
        })
    }

    /// Keeps in mind which file it is where it gets further names.
    fn remember(&self, entry: &Entry, made: impl std::os::fd::AsFd) -> Result<(), String> {
        if !matches!(entry.kind, Kind::File(_)) {
            return Ok(());
        }
        let mut linked = self.linked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(identity) = linked.get_mut(&entry.path) {
            *identity = Some(Identity::of_open(made).map_err(|error| error.to_string())?);
        }
        Ok(())
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
            let mut linked = self.linked.lock().unwrap_or_else(PoisonError::into_inner);
            linked.extend(stand_ins.values().map(|path| (path.clone(), None)));
            drop(linked);
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
        let linked = self.linked.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = linked.get(target).copied().flatten();
        drop(linked);
        let Some(wanted) = wanted else {
            return Err(format!("it is another name of /{target}, which is no file here"));
        };
        let staging = self.beneath.staging(&to)?;
        let temporary = self.beneath.temporary();
        linkat(&from.directory, from_name, &**staging, &*temporary, AtFlags::empty())
            .map_err(|error| error.to_string())?;
        // Whoever may write in the directory of the other name may have put another file there.
        let got = staging.look(&temporary).map(|object| Identity::of(object.metadata()));
        if !got.is_ok_and(|got| got == wanted) {
            let _ = staging.remove(&temporary);
            return Err(format!("another file took the place of /{target}, its other name, meanwhile"));
        }
        self.place(&to, &staging, &temporary, to_name)?;
        // Renaming one name of a file over another does nothing (rename(2)).
        let _ = staging.remove(&temporary);
        Ok(())
    }

    fn lock_later(&self) -> std::sync::MutexGuard<'_, Later> {
        self.later.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a directory of the archive, which is there or is made.
    fn directory(&self, entry: &Entry) -> Result<(), String> {
        let (place, name) = self.beneath.parent(&entry.path)?;
        let (directory, made) = self.beneath.enter(&place, name).map_err(|why| {
            match place.directory.look(name).map(|there| there.kind()) {
                Ok(Found::Directory) | Err(_) => why,
                Ok(_) => "something that is no directory is in its place".to_owned(),
            }
        })?;
        let metadata = directory.metadata().map_err(|error| error.to_string())?;
        let meta = self.meta(entry);
        if !made && !self.may_change(&place, &metadata, &meta).map_err(|error| error.to_string())? {
            return Err(format!(
                "it was there, belongs to {} and keeps its owner and mode: whoever may write to the directory that it \
                 is in can have put it there in the place of another one",
                self.owners.shown(metadata.uid())
            ));
        }
        self.lock_later().directories.push((entry.path.clone(), meta, Identity::of(&metadata)));
        Ok(())
    }

    /// Whether a directory that was there may become what the archive says.
    ///
    /// Where somebody else may rename what is in the directory around it, it can be any directory that was in there,
    /// one that is root's alone and becomes everybody's. What its owner could do with it himself is no harm.
    fn may_change(
        &self,
        place: &Place,
        there: &std::fs::Metadata,
        meta: &Meta,
    ) -> Result<bool, trust::Error> {
        if place.directory.is_exclusive()? {
            return Ok(true);
        }
        let around = place.directory.metadata()?;
        // In a sticky directory of root's nobody renames what is not his own.
        let sticky = around.mode() & 0o1000 != 0 && around.uid() == 0;
        let own = around.mode() & 0o022 == 0 && around.uid() == there.uid();
        let same = meta.owner.is_none_or(|owner| owner == (there.uid(), there.gid()))
            && meta.mode.is_none_or(|mode| mode == there.mode() & 0o7777);
        Ok(sticky || own || same)
    }

    fn directories(&self) {
        let mut directories = std::mem::take(&mut self.lock_later().directories);
        let mut others = self.beneath.take_created();
        for (path, ..) in &directories {
            others.remove(path);
        }
        directories.sort_by(|a, b| b.0.cmp(&a.0));
        for (path, meta, identity) in directories {
            let told = self.again(&path, identity).and_then(|directory| meta.onto(&directory));
            if let Err(why) = told {
                self.say(Some(&path), why);
            }
        }
        // Those that lead to what was saved are not in the archive themselves: as mkdir(1) makes them.
        for (path, identity) in others {
            let told = self.again(&path, identity).and_then(|directory| {
                trust::attributes::set_mode(&directory, 0o755).map_err(|error| error.to_string())
            });
            if let Err(why) = told {
                self.say(Some(&path), why);
            }
        }
    }

    /// Opens a directory that was restored, and no other one.
    fn again(&self, path: &StoredPath, identity: Identity) -> Result<Directory, String> {
        let (place, name) = self.beneath.parent(path)?;
        let directory = place.directory.enter(name).map_err(|error| beneath::in_the_way(name, &error))?;
        let metadata = directory.metadata().map_err(|error| error.to_string())?;
        if Identity::of(&metadata) != identity {
            return Err("another directory took its place while it was restored".to_owned());
        }
        if self.cut_off {
            beneath::clean(&directory).map_err(|error| error.to_string())?;
        }
        Ok(directory)
    }
}

/// Writes what is stored of a file from this place on to where it belongs between the holes.
fn fill(file: &File, entry: &Entry, at: u64, mut data: &[u8]) -> Result<(), String> {
    let Kind::File(kind) = &entry.kind else { return Err("it is no file".to_owned()) };
    let write = |data: &[u8], at: u64| file.write_all_at(data, at).map_err(|error| error.to_string());
    let Some(extents) = &kind.extents else {
        return write(data, at);
    };
    let mut stored: u64 = 0;
    let mut at = at;
    for (offset, length) in extents {
        let skip = at - stored.min(at);
        if skip < *length && !data.is_empty() {
            let take = usize::try_from(length - skip).unwrap_or(usize::MAX).min(data.len());
            let begin = offset.checked_add(skip).ok_or("its holes are where no file can have any")?;
            write(&data[..take], begin)?;
            data = &data[take..];
            at += take as u64;
        }
        stored = stored.saturating_add(*length);
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
        let owner_only = Mode::RUSR | Mode::WUSR;
        // What cannot be opened without doing something is opened to be looked at.
        let looked = |staging: &Staging, name: &OsStr, made: Result<(), Errno>| {
            made.map_err(|error| error.to_string())?;
            staging.look(name).map_err(|error| error.to_string())
        };
        let node = |kind: FileType, device| {
            self.put(entry, |staging, name| {
                looked(staging, name, mknodat(&**staging, name, kind, owner_only, device))
            })
        };
        match &entry.kind {
            Kind::HardLink(_) => {}
            Kind::Directory => self.directory(entry)?,
            Kind::File(_) => {
                self.put(entry, |staging, name| {
                    let file = staging.create_own(name).map_err(|error| error.to_string())?;
                    fill(&file, entry, 0, data).map(|()| file)
                })?;
                self.remove_logs(entry);
            }
            Kind::Symlink(target) => self.put(entry, |staging, name| {
                looked(staging, name, symlinkat(target.as_slice(), &**staging, name))
            })?,
            Kind::Fifo => node(FileType::Fifo, 0)?,
            Kind::CharDevice(..) | Kind::BlockDevice(..) if !self.job.devices => {
                return Err("a device node is created only when it is asked for".to_owned());
            }
            Kind::CharDevice(major, minor) => node(FileType::CharacterDevice, makedev(*major, *minor))?,
            Kind::BlockDevice(major, minor) => node(FileType::BlockDevice, makedev(*major, *minor))?,
        }
        self.done(data.len() as u64);
        Ok(())
    }

    fn open(&self, entry: &Entry, _head: &[u8]) -> Result<Option<Writing>, String> {
        let (place, _) = self.beneath.parent(&entry.path)?;
        let staging = self.beneath.staging(&place)?;
        let temporary = self.beneath.temporary();
        let file = staging.create_own(&temporary).map_err(|error| error.to_string())?;
        Ok(Some(Writing { file, place, staging, temporary }))
    }

    fn piece(&self, large: &Writing, entry: &Entry, at: u64, data: &[u8]) -> Result<(), String> {
        fill(&large.file, entry, at, data)
    }

    fn close(&self, large: &Writing, entry: &Entry, whole: bool) -> Result<(), String> {
        let (_, name) = entry.path.split();
        let told = if whole { self.meta(entry).onto(&large.file) } else { Err(String::new()) };
        if let Err(why) = told {
            let _ = large.staging.remove(&large.temporary);
            // What is not whole has been told already.
            return if whole { Err(why) } else { Ok(()) };
        }
        self.place(&large.place, &large.staging, &large.temporary, name)?;
        self.remember(entry, &large.file)?;
        if let Kind::File(file) = &entry.kind {
            self.remove_logs(entry);
            self.done(file.stored());
        }
        Ok(())
    }

    fn problem(&self, entry: &Entry, why: String) {
        self.say(Some(&entry.path), why);
    }
}

impl Filling<'_> {
    /// Deletes what lies beside a database that was just put there: a log of another one would be played into it.
    fn remove_logs(&self, entry: &Entry) {
        let Kind::File(crate::manifest::File { database: Some(_), .. }) = &entry.kind else { return };
        let Ok((place, name)) = self.beneath.parent(&entry.path) else { return };
        for end in [&b"-wal"[..], b"-shm", b"-journal"] {
            let log = [name.as_bytes(), end].concat();
            let _ = place.directory.remove(OsStr::from_bytes(&log));
        }
    }
}

#[cfg(test)]
mod tests;
