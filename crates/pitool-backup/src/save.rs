//! Saving a set: walk, group, pack in threads, write in order, and only then make it exist.
//!
//! ```text
//! walk ─► groups ─► threads: read, hash, compress, or copy a frame ─► writer, in order ─► archive, manifest
//!   ▲ beside it, in the same order: the manifest of the archive before
//! ```
//!
//! Nothing grows with the set: names of one directory, files with several names, one line of each manifest, and at
//! most a few frames on their way are in memory.

mod entry;
pub(crate) mod exclude;
mod group;
mod large;
pub(crate) mod meta;
mod previous;
mod progress;
pub(crate) mod walk;
mod work;
mod write;
mod xattr;

use std::collections::HashSet;
use std::io::Write;
use std::num::NonZeroU8;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use jiff::Timestamp;
use pitool_host::Digest;

use crate::archive::PIECE;
use crate::archive::frame::Packer;
use crate::archive::lines::{LineWriter, closing};
use crate::archive::seal::{Identities, Output};
use crate::database::{self, Limits, Readers, Snapshot};
use crate::manifest::{Database, End, Header, Line, Note, Seal, What};
use crate::owners::Owners;
use crate::store::Store;
use crate::{ArchiveName, Error, Part, Result, Set, StoredPath, Unchanged};
use entry::{Context, note};
use exclude::Excludes;
use group::{GROUP, Grouping, Planned};
use large::{Large, Opened};
use previous::Previous;
pub use progress::Progress;
use walk::{Root, Rules, Walk};
use work::{Done, Task, Worker};
use write::{Gate, Writer};

/// What a run needs beside the set.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// What to save.
    pub set: &'a Set,
    /// Where to.
    pub store: &'a Store,
    /// A directory on this machine for the copies of databases, for root alone; as large as the largest of them.
    pub scratch: &'a Path,
    /// What opens the archive before, if it is encrypted; without it everything is read anew.
    pub identities: &'a Identities,
    /// The machine's name, for the manifest.
    pub host: &'a str,
    /// The number must be higher than this: the highest that any target of the set has.
    pub after: u32,
    /// Raised when the run should stop.
    pub interrupted: &'a AtomicBool,
}

/// What a run has saved.
#[derive(Clone, Debug, PartialEq)]
pub struct Saved {
    /// The archive.
    pub name: ArchiveName,
    /// The totals of its manifest; with problems the run has failed, though the archive is there.
    pub end: End,
    /// Where the data is.
    pub seal: Seal,
    /// What a person should know, the first ten thousand and every problem.
    pub notes: Vec<Note>,
    /// How long it took.
    pub duration: std::time::Duration,
}

/// Saves a set; `listen` hears how far it is, from another thread.
#[expect(clippy::disallowed_methods, reason = "an archive is named by the time, and says how long it took")]
pub fn save(job: &Job, listen: &(dyn Fn(Progress) + Sync)) -> Result<Saved> {
    let begun = Instant::now();
    let Job { set, store, .. } = *job;
    crate::archive::seal::check_recipients(&set.recipients)?;
    let _lock = store.lock()?;
    store.clean()?;
    clean_scratch(job.scratch)?;
    let roots = roots(set)?;
    let now = Timestamp::now();
    let sequence = store.last_sequence(&set.name)?.max(job.after) + 1;
    let name = ArchiveName::new(set.name.clone(), now, sequence);
    let rules = Rules {
        excludes: Excludes::new(&set.exclude),
        one_file_system: set.one_file_system,
        own: own(&[store.directory(), job.scratch])?,
    };
    let previous = previous::find(store, set, job.identities)?;
    // What went wrong the last time is looked at again, whether it looks the same or not: else one bad night is followed by good
    // ones that nobody looked into.
    let reread = previous
        .as_ref()
        .is_none_or(|previous| previous.end.problems > 0 || previous.reread_is_due(now, set.reread));
    let last_full_read = match &previous {
        Some(previous) if !reread => previous.header.last_full_read,
        _ => now,
    };
    let header = Header {
        format: Header::FORMAT,
        tool: concat!("pitool ", env!("CARGO_PKG_VERSION")).to_owned(),
        name: name.clone(),
        set: set.name.clone(),
        host: job.host.to_owned(),
        started: now,
        roots: roots.iter().map(|root| root.path.clone()).collect(),
        exclude: set.exclude.clone(),
        encrypted: !set.recipients.is_empty(),
        previous: previous.as_ref().map(|previous| previous.header.name.clone()),
        last_full_read,
    };
    let run = Run { job, roots, rules, header, begun };
    if let (Some(previous), false, Unchanged::Manifest) = (&previous, reread, set.unchanged) {
        if let Some((end, notes)) = run.is_unchanged(previous)? {
            return run.keep_unchanged(previous, end, notes);
        }
    }
    run.keep_archive(previous, !reread, listen)
}

struct Run<'a> {
    job: &'a Job<'a>,
    roots: Vec<Root>,
    rules: Rules,
    header: Header,
    begun: Instant,
}

impl Run<'_> {
    fn listen_to_signals(&self) -> Result<()> {
        if self.job.interrupted.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// Walks along the manifest of the archive before and hands on what is to be packed.
    fn plan(
        &self,
        previous: Option<&Previous>,
        emit: &mut dyn FnMut(Planned) -> Result<()>,
    ) -> Result<(u64, Vec<Note>)> {
        let mut walk = Walk::new(self.roots.clone(), &self.rules);
        let mut grouping = Grouping::new(previous.map(|previous| &previous.archive.frames));
        let mut old = previous.map(Previous::entries).transpose()?;
        let mut gone = 0;
        for found in walk.by_ref() {
            self.listen_to_signals()?;
            let before = match &mut old {
                Some(old) => {
                    let (before, skipped) = old.at(&found.path)?;
                    gone += skipped;
                    before
                }
                None => None,
            };
            grouping.add(found, before, emit)?;
        }
        grouping.flush(emit)?;
        if let Some(old) = &mut old {
            gone += old.rest()?;
        }
        Ok((gone, walk.notes))
    }

    /// Whether all is as it was: then the totals of the archive before, and the notes of this walk.
    fn is_unchanged(&self, previous: &Previous) -> Result<Option<(End, Vec<Note>)>> {
        let differs = std::cell::Cell::new(false);
        let mut look = |planned| {
            let same = match planned {
                Planned::Group(members, _) => members.iter().all(|member| member.old.is_some()),
                Planned::Large(member, _) => member.old.is_some(),
            };
            differs.set(!same);
            // The first difference ends the walk.
            if same { Ok(()) } else { Err(Error::Interrupted) }
        };
        match self.plan(Some(previous), &mut look) {
            Ok((0, notes)) => Ok(Some((previous.end.clone(), notes))),
            Ok(_) => Ok(None),
            Err(Error::Interrupted) if differs.get() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn keep_unchanged(self, previous: &Previous, before: End, notes: Vec<Note>) -> Result<Saved> {
        let mut end = End { notes: 0, problems: 0, changed: 0, copied: 0, ..before };
        for note in &notes {
            end.notes += 1;
            end.problems += u64::from(note.what.is_problem());
        }
        let mut lines = LineWriter::new(self.spool()?).map_err(Error::path("write", self.job.scratch))?;
        let all = std::iter::once(Line::Manifest(self.header.clone()))
            .chain(notes.iter().cloned().map(Line::Note))
            .chain([Line::End(end.clone())]);
        for line in all {
            lines.write(&line).map_err(Error::path("write", self.job.scratch))?;
        }
        let (spool, ..) = lines.finish().map_err(Error::path("write", self.job.scratch))?;
        let seal = Seal::UnchangedSince(previous.data.clone());
        self.keep_manifest(&spool, &seal)?;
        Ok(self.saved(end, seal, notes))
    }

    fn saved(&self, end: End, seal: Seal, notes: Vec<Note>) -> Saved {
        Saved { name: self.header.name.clone(), end, seal, notes, duration: self.begun.elapsed() }
    }

    /// A file without a name, for the manifest's lines until the archive is written.
    #[expect(clippy::disallowed_methods, reason = "a directory of root's own")]
    fn spool(&self) -> Result<std::fs::File> {
        use rustix::fs::{Mode, OFlags};
        let scratch = self.job.scratch;
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        match rustix::fs::open(scratch, flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => Ok(file.into()),
            // Not all file systems can: then it has a name for a moment.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR | rustix::io::Errno::NOENT) => {
                let path = scratch.join(format!("{}manifest-{}", database::PREFIX, std::process::id()));
                let mut options = std::fs::OpenOptions::new();
                let file = options.read(true).write(true).create_new(true).open(&path);
                let file = file.map_err(Error::path("create", &path))?;
                std::fs::remove_file(&path).map_err(Error::path("remove", &path))?;
                Ok(file)
            }
            Err(error) => Err(Error::path("create a file in", scratch)(error)),
        }
    }

    fn keep_archive(
        self,
        previous: Option<Previous>,
        trusting: bool,
        listen: &(dyn Fn(Progress) + Sync),
    ) -> Result<Saved> {
        let Job { set, store, scratch, .. } = *self.job;
        let encrypted = self.header.encrypted;
        let (file, partial) = store.begin(&self.header.name, Part::Archive { encrypted })?;
        let output = Output::new(file, partial.path(), &set.recipients)?;
        let lines = LineWriter::new(self.spool()?).map_err(Error::path("write", scratch))?;
        let mut writer = Writer::new(partial.path(), output, lines, listen);
        writer.line(&Line::Manifest(self.header.clone()))?;

        let context = Context {
            old: previous.as_ref().map(|previous| previous.archive.clone()),
            trusting,
            level: set.level,
            scratch: scratch.to_owned(),
            owners: Owners::of_this_machine(),
            readers: Arc::new(Readers::new(scratch, Limits::USUAL)),
        };
        let mut writer = self.pack(previous.as_ref(), &context, writer)?;
        self.listen_to_signals()?;
        for path in set.databases.iter().filter_map(|path| StoredPath::of(path)) {
            let known = writer.databases.iter().any(|database| database.path == path)
                || writer.notes.iter().any(|note| note.path == path.as_bytes() && note.what.is_problem());
            if !known {
                writer.note(Note {
                    path: path.as_bytes().to_vec(),
                    what: What::NoDatabase,
                    detail: String::new(),
                });
            }
        }
        let notes = std::mem::take(&mut writer.notes);
        for note in &notes {
            writer.line(&Line::Note(note.clone()))?;
        }
        let (written, spool, end) = writer.finish(self.header.started.as_second())?;
        partial.keep(&written.file, store)?;
        let milliseconds = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let seal = Seal::Archive { size: written.size, blake3: written.blake3, milliseconds };
        self.keep_manifest(&spool, &seal)?;
        Ok(self.saved(end, seal, notes))
    }

    /// Runs the threads.
    fn pack<'a>(
        &self,
        previous: Option<&Previous>,
        context: &Context,
        writer: Writer<'a>,
    ) -> Result<Writer<'a>> {
        let threads = usize::from(self.job.set.threads.map_or_else(default_threads, NonZeroU8::get));
        // A piece for each thread and two that wait, so that nobody waits for the walk or the disk.
        let gate = &Gate::new(PIECE * (threads as u64 + 2));
        let (tasks, queue) = channel::<Ticket<Task>>();
        let queue = &Mutex::new(queue);
        let (results, done) = channel::<Ticket<Result<Done>>>();
        // A snapshot keeps files open or a copy on the disk until it is checked: the walk waits for the check.
        let (snapshots, to_check) = sync_channel::<(StoredPath, Arc<Snapshot>)>(1);
        thread::scope(|scope| {
            for _ in 0..threads {
                let results = results.clone();
                scope.spawn(move || work(context, queue, results));
            }
            drop(results);
            let checker = scope.spawn(move || checks(&to_check));
            let writing = scope.spawn(move || write(writer, &done, gate));
            let planned = self.feed(previous, context, gate, tasks, snapshots);
            if planned.is_err() {
                gate.stop();
            }
            let written = writing.join().unwrap_or_else(|_| Err(Error::Interrupted));
            let checked = checker.join().unwrap_or_default();
            // What stopped the writer stopped the walk too, and is the cause.
            let mut writer = written?;
            for note in planned? {
                writer.note(note);
            }
            for database in checked {
                if let Some(note) = work::corruption(&database) {
                    writer.note(note);
                }
                writer.databases.push(database);
            }
            Ok(writer)
        })
    }

    /// The walk, as tasks for the threads; hands back its notes.
    fn feed(
        &self,
        previous: Option<&Previous>,
        context: &Context,
        gate: &Gate,
        tasks: Sender<Ticket<Task>>,
        snapshots: SyncSender<(StoredPath, Arc<Snapshot>)>,
    ) -> Result<Vec<Note>> {
        let mut number = 0;
        let mut own_notes = Vec::new();
        let mut send = |room, task| {
            if !gate.enter(room) || tasks.send(Ticket { number, room, of: task }).is_err() {
                return Err(Error::Interrupted);
            }
            number += 1;
            Ok(())
        };
        let mut emit = |planned| match planned {
            Planned::Group(members, whole) => send(2 * GROUP, Task::Group(members, whole)),
            Planned::Large(member, changed) => {
                let found = member.found;
                let opened = Large::open(context, found.clone(), member.old, changed, &mut own_notes);
                let large = match opened {
                    Ok(Opened::Large(large)) => large,
                    Ok(Opened::Database(large, snapshot)) => {
                        // The checker lives as long as this sender.
                        let _ = snapshots.send((large.found.path.clone(), snapshot));
                        large
                    }
                    Err(rustix::io::Errno::NOENT | rustix::io::Errno::LOOP) => {
                        own_notes.push(note(&found, What::Vanished, ""));
                        return Ok(());
                    }
                    Err(error) => {
                        own_notes.push(note(&found, What::Unreadable, &error.to_string()));
                        return Ok(());
                    }
                };
                send(0, Task::Head(large.clone()))?;
                for piece in 0..large.pieces() {
                    self.listen_to_signals()?;
                    send(PIECE, Task::Piece(large.clone(), piece))?;
                }
                Ok(())
            }
        };
        let (_, mut notes) = self.plan(previous, &mut emit)?;
        notes.append(&mut own_notes);
        Ok(notes)
    }

    /// The manifest beside the archive: with it the archive exists.
    fn keep_manifest(&self, spool: &std::fs::File, seal: &Seal) -> Result<()> {
        let Job { set, store, .. } = *self.job;
        let encrypted = self.header.encrypted;
        let (file, partial) = store.begin(&self.header.name, Part::Manifest { encrypted })?;
        let mut output = Output::new(file, partial.path(), &set.recipients)?;
        write_manifest(spool, seal, &mut output).map_err(Error::path("write", partial.path()))?;
        let written = output.finish().map_err(Error::path("write", partial.path()))?;
        partial.keep(&written.file, store)
    }
}

/// The lines' frames, the seal in a frame of its own, and the digest of both.
fn write_manifest(spool: &std::fs::File, seal: &Seal, output: &mut Output) -> std::io::Result<()> {
    let mut hasher = blake3::Hasher::new();
    write::copy(spool, &mut hasher)?;
    write::copy(spool, output)?;
    let mut line = serde_json::to_vec(&Line::Seal(seal.clone()))?;
    line.push(b'\n');
    let frame = Packer::new(Set::LEVEL)?.pack(&line)?;
    hasher.update(&frame);
    output.write_all(&frame)?;
    output.write_all(&closing(&Digest::from_bytes(*hasher.finalize().as_bytes())))
}

/// Two, or one where there is one: a backup leaves the other cores to what the machine is for.
fn default_threads() -> u8 {
    if thread::available_parallelism().is_ok_and(|cores| cores.get() > 1) { 2 } else { 1 }
}

/// A task or what came of it, with its place in the order and the room that it takes.
struct Ticket<T> {
    number: u64,
    room: u64,
    of: T,
}

fn work(context: &Context, queue: &Mutex<Receiver<Ticket<Task>>>, results: Sender<Ticket<Result<Done>>>) {
    let mut worker = Worker::new(context).map_err(Error::path("compress in", &context.scratch));
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Ticket { number, room, of: task }) = next else { return };
        let of = match &mut worker {
            Ok(worker) => worker.run(task),
            Err(_) => Err(Error::Interrupted),
        };
        if results.send(Ticket { number, room, of }).is_err() {
            return;
        }
    }
}

fn write<'a>(
    mut writer: Writer<'a>,
    done: &Receiver<Ticket<Result<Done>>>,
    gate: &Gate,
) -> Result<Writer<'a>> {
    for Ticket { number, room, of } in done {
        match of.and_then(|done| writer.take(number, room, done)) {
            Ok(free) => gate.leave(free),
            Err(error) => {
                gate.stop();
                return Err(error);
            }
        }
    }
    Ok(writer)
}

fn checks(snapshots: &Receiver<(StoredPath, Arc<Snapshot>)>) -> Vec<Database> {
    let check = |(path, snapshot): (StoredPath, Arc<Snapshot>)| {
        let (method, check) = (snapshot.method(), snapshot.check());
        Database { path, method, check }
    };
    snapshots.iter().map(check).collect()
}

/// The paths of a set as roots of a walk.
fn roots(set: &Set) -> Result<Vec<Root>> {
    let wrong = |why: String| Error::Set { set: set.name.to_string(), why };
    let required = set.paths.iter().chain(&set.databases).map(|path| (path, true));
    let roots: Vec<Root> = required
        .chain(set.optional.iter().map(|path| (path, false)))
        .map(|(path, required)| {
            let stored = path.is_absolute().then(|| StoredPath::of(path)).flatten();
            let why =
                || wrong(format!("{} must be an absolute path, not / itself and without ..", path.display()));
            Ok(Root { path: stored.ok_or_else(why)?, required })
        })
        .collect::<Result<_>>()?;
    if roots.is_empty() {
        return Err(wrong("it names nothing to save".to_owned()));
    }
    Ok(roots)
}

#[expect(clippy::disallowed_methods, reason = "directories of root's own, by their configured paths")]
fn own(directories: &[&Path]) -> Result<HashSet<(u64, u64)>> {
    use std::os::unix::fs::MetadataExt;
    let identity = |path: &&Path| {
        let meta = path.metadata().map_err(Error::path("read", path))?;
        Ok((meta.dev(), meta.ino()))
    };
    directories.iter().map(identity).collect()
}

/// Removes the copies of databases that a run that was cut off left behind.
#[expect(clippy::disallowed_methods, reason = "a directory of root's own")]
fn clean_scratch(scratch: &Path) -> Result<()> {
    for entry in std::fs::read_dir(scratch).map_err(Error::path("read", scratch))? {
        let entry = entry.map_err(Error::path("read", scratch))?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(database::PREFIX)) {
            let path = entry.path();
            let removed = match entry.file_type() {
                Ok(kind) if kind.is_dir() => std::fs::remove_dir_all(&path),
                _ => std::fs::remove_file(&path),
            };
            removed.map_err(Error::path("remove", path))?;
        }
    }
    Ok(())
}
