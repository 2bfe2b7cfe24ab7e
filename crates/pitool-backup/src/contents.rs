//! What is in an archive, entry by entry, with every byte checked against its digest before anybody gets it.

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use pitool_host::Digest;

use crate::archive::file::{ArchiveFile, Reading};
use crate::archive::lines::Lines;
use crate::archive::seal::Identities;
use crate::archive::tar::{self, Head, Malformed};
use crate::archive::{PIECE, chaining_value, merged};
use crate::manifest::{Entry, File, Header, Kind, Line};
use crate::store::{Store, Stored};
use crate::{Error, Part, Result, StoredPath};

/// How many threads read. What limits is the disk, and creating files.
const THREADS: usize = 2;

/// An archive that is open, and where its list of entries comes from.
pub(crate) struct Contents {
    pub(crate) archive: Arc<ArchiveFile>,
    list: List,
    identities: Identities,
    /// What is wrong with the archive as a whole.
    pub(crate) problems: Vec<String>,
}

enum List {
    /// The manifest beside the archive.
    Beside { path: std::path::PathBuf, encrypted: bool },
    /// The manifest inside.
    Inside,
    /// The headers in the archive itself: both manifests are lost.
    Scan,
}

impl Contents {
    /// Opens what is left of an archive.
    pub(crate) fn open(store: &Store, stored: &Stored, identities: &Identities) -> Result<Self> {
        let mut problems = Vec::new();
        let mut say = |error: &Error| problems.push(error.to_string());
        let encrypted = stored.encrypted;
        let data = match store.with_data(stored, identities) {
            Ok(data) => data,
            Err(error @ Error::Damaged { .. }) => {
                say(&error);
                stored.clone()
            }
            Err(error) => return Err(error),
        };
        let path = store.path(&data.name, Part::Archive { encrypted });
        let archive = match ArchiveFile::open(&path, encrypted, identities) {
            Ok(archive) => archive,
            Err(error @ Error::Damaged { .. }) => {
                say(&error);
                ArchiveFile::recover(&path, encrypted, identities)?
            }
            Err(error) => return Err(error),
        };
        let manifest = store.path(&data.name, Part::Manifest { encrypted });
        Ok(Self::with_list(Arc::new(archive), &manifest, encrypted, identities, problems))
    }

    fn with_list(
        archive: Arc<ArchiveFile>,
        manifest: &Path,
        encrypted: bool,
        identities: &Identities,
        mut problems: Vec<String>,
    ) -> Self {
        let list = match Lines::beside(manifest, encrypted, identities) {
            Ok(_) => List::Beside { path: manifest.to_owned(), encrypted },
            Err(error) => {
                let said = error.to_string();
                if !problems.contains(&said) {
                    problems.push(said);
                }
                let whole = |mut lines: Lines| {
                    let last = lines.try_fold(None, |_, line| line.map(Some));
                    matches!(last, Ok(Some(Line::End(_))))
                };
                let inside = Lines::inside(&archive).is_ok_and(whole);
                if inside { List::Inside } else { List::Scan }
            }
        };
        Self { archive, list, identities: identities.clone(), problems }
    }

    /// The lines of the manifest, those of entries at least within these paths, with none of everything; of a scan the
    /// entries alone.
    pub(crate) fn lines(&self, only: &[StoredPath]) -> Result<Box<dyn Iterator<Item = Result<Line>>>> {
        Ok(match &self.list {
            List::Beside { path, encrypted } => {
                Box::new(Lines::beside(path, *encrypted, &self.identities)?.within(only))
            }
            List::Inside => Box::new(Lines::inside(&self.archive)?.within(only)),
            List::Scan => {
                let failed = Error::path("read", self.archive.path());
                Box::new(Scan::new(self.archive.clone()).map_err(failed)?.map(|entry| Ok(Line::Entry(entry))))
            }
        })
    }

    /// The entries in their order.
    pub(crate) fn entries(&self) -> Result<impl Iterator<Item = Result<Entry>> + use<>> {
        self.entries_within(&[])
    }

    /// At least the entries within these paths, in their order; with none of everything.
    pub(crate) fn entries_within(
        &self,
        only: &[StoredPath],
    ) -> Result<impl Iterator<Item = Result<Entry>> + use<>> {
        let entries = self.lines(only)?.filter_map(|line| match line {
            Ok(Line::Entry(entry)) => Some(Ok(entry)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        });
        Ok(entries)
    }

    /// The beginning of the manifest; `None` when it is lost.
    pub(crate) fn header(&self) -> Result<Option<Header>> {
        match self.lines(&[])?.next() {
            Some(Ok(Line::Manifest(header))) => Ok(Some(header)),
            Some(Err(error)) => Err(error),
            _ => Ok(None),
        }
    }

    /// Hands every chosen entry to a sink, from several threads and in no order, after checking its digest.
    pub(crate) fn read<S: Sink>(
        &self,
        entries: impl Iterator<Item = Result<Entry>>,
        sink: &S,
        interrupted: &AtomicBool,
    ) -> Result<()> {
        let (tasks, queue) = sync_channel::<Task<S::Large>>(THREADS);
        let queue = Mutex::new(queue);
        let failed = || Error::path("read", self.archive.path());
        let tools =
            (0..THREADS).map(|_| Reading::new()).collect::<std::io::Result<Vec<_>>>().map_err(failed())?;
        let mut reading = Reading::new().map_err(failed())?;
        thread::scope(|scope| {
            for tool in tools {
                let (archive, queue) = (&*self.archive, &queue);
                scope.spawn(move || work(archive, queue, tool, sink));
            }
            // Taken along, so that the threads end when this does.
            let tasks = tasks;
            let mut group: Vec<Entry> = Vec::new();
            let mut group_frame = 0;
            let send = |task| tasks.send(task).map_err(|_| Error::Interrupted);
            for entry in entries {
                if interrupted.load(Ordering::Relaxed) {
                    return Err(Error::Interrupted);
                }
                let entry = entry?;
                let frames = &self.archive.frames;
                let first = frames.holding(entry.offset);
                let last =
                    entry.offset.checked_add(entry.length.max(1) - 1).and_then(|end| frames.holding(end));
                let (Some(first), Some(last)) = (first, last) else {
                    sink.problem(&entry, "it lies behind the end of what is left of the archive".to_owned());
                    continue;
                };
                if first != last {
                    self.large(entry, first..=last, &mut reading, sink, &send)?;
                    continue;
                }
                if group_frame != first && !group.is_empty() {
                    send(Task::Frame(group_frame, std::mem::take(&mut group)))?;
                }
                group_frame = first;
                group.push(entry);
            }
            if !group.is_empty() {
                send(Task::Frame(group_frame, group))?;
            }
            Ok(())
        })
    }

    fn large<S: Sink>(
        &self,
        entry: Entry,
        frames: RangeInclusive<usize>,
        reading: &mut Reading,
        sink: &S,
        send: &dyn Fn(Task<S::Large>) -> Result<()>,
    ) -> Result<()> {
        let (first, last) = frames.into_inner();
        let layout = || {
            let Kind::File(file) = &entry.kind else { return None };
            let stored = file.stored();
            let head = entry.length.checked_sub(stored.checked_add(tar::padding(stored) as u64)?)?;
            let frame = self.archive.frames.get(first)?;
            let pieces = usize::try_from(stored.div_ceil(PIECE)).ok()?;
            // A piece has a frame: what a manifest claims beyond that would be looked for one piece after the other.
            let fits = frame.offset == entry.offset
                && u64::from(frame.plain) == head
                && stored > 0
                && pieces == last - first;
            fits.then_some((stored, pieces, frame))
        };
        let Some((stored, pieces, frame)) = layout() else {
            sink.problem(&entry, "the manifest says that it is where it cannot be".to_owned());
            return Ok(());
        };
        let weight = self.archive.weigh(frame);
        let large = self.archive.plain(frame, reading).and_then(|()| sink.open(&entry, &reading.plain));
        reading.lighten();
        drop(weight);
        let large = match large {
            Ok(Some(large)) => large,
            Ok(None) => return Ok(()),
            Err(why) => {
                sink.problem(&entry, why);
                return Ok(());
            }
        };
        let large = Arc::new(Open {
            entry,
            stored,
            large,
            left: AtomicUsize::new(pieces),
            bad: AtomicBool::new(false),
        });
        for number in 0..pieces {
            send(Task::Piece(first + 1 + number, number, large.clone()))?;
        }
        Ok(())
    }
}

/// Takes what is read. A sentence that is returned becomes a problem of the entry.
pub(crate) trait Sink: Sync {
    /// A large file that is being taken.
    type Large: Send + Sync;

    /// Takes a whole entry: its headers, and its data if it is a file.
    fn entry(&self, entry: &Entry, head: &[u8], data: &[u8]) -> Result<(), String>;

    /// Begins a large file; `None` when it is not wanted.
    fn open(&self, entry: &Entry, head: &[u8]) -> Result<Option<Self::Large>, String>;

    /// Takes data of a large file, from this place of what is stored of it. Pieces come in any order.
    fn piece(&self, large: &Self::Large, entry: &Entry, at: u64, data: &[u8]) -> Result<(), String>;

    /// Ends a large file, whole or not.
    fn close(&self, large: &Self::Large, entry: &Entry, whole: bool) -> Result<(), String>;

    /// Hears that an entry cannot be had.
    fn problem(&self, entry: &Entry, why: String);
}

enum Task<L> {
    Frame(usize, Vec<Entry>),
    Piece(usize, usize, Arc<Open<L>>),
}

struct Open<L> {
    entry: Entry,
    stored: u64,
    large: L,
    left: AtomicUsize,
    bad: AtomicBool,
}

fn work<S: Sink>(
    archive: &ArchiveFile,
    queue: &Mutex<Receiver<Task<S::Large>>>,
    mut tool: Reading,
    sink: &S,
) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            Err(_) => return,
            Ok(Task::Frame(frame, entries)) => {
                let frame = archive.frames.get(frame);
                let weight = frame.and_then(|frame| archive.weigh(frame));
                let unpacked = match frame {
                    Some(frame) => archive.plain(frame, &mut tool).map(|()| frame.offset),
                    None => Err("it lies behind the end of the archive".to_owned()),
                };
                for entry in &entries {
                    let taken = unpacked.as_ref().map_err(Clone::clone).and_then(|offset| {
                        let (head, data) = cut(entry, *offset, &tool.plain)?;
                        sink.entry(entry, head, data)
                    });
                    if let Err(why) = taken {
                        sink.problem(entry, why);
                    }
                }
                tool.lighten();
                drop(weight);
            }
            Ok(Task::Piece(frame, number, open)) => {
                if let Err(why) = piece(archive, frame, number, &open, &mut tool, sink) {
                    if !open.bad.swap(true, Ordering::Relaxed) {
                        sink.problem(&open.entry, why);
                    }
                }
                if open.left.fetch_sub(1, Ordering::AcqRel) == 1 {
                    let whole = !open.bad.load(Ordering::Acquire);
                    if let Err(why) = sink.close(&open.large, &open.entry, whole) {
                        sink.problem(&open.entry, why);
                    }
                }
            }
        }
    }
}

/// The headers and the data of an entry in its frame, after checking the data.
fn cut<'a>(entry: &Entry, frame: u64, plain: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), String> {
    let stored = if let Kind::File(file) = &entry.kind { file.stored() } else { 0 };
    let range = || {
        let start = usize::try_from(entry.offset.checked_sub(frame)?).ok()?;
        let bytes = plain.get(start..start.checked_add(usize::try_from(entry.length).ok()?)?)?;
        let data = usize::try_from(stored).ok()?;
        let head = bytes.len().checked_sub(data.checked_add(tar::padding(stored))?)?;
        Some((&bytes[..head], &bytes[head..head + data]))
    };
    let (head, data) = range().ok_or("the manifest says that it is where it cannot be")?;
    match &entry.kind {
        Kind::File(file) if Digest::of(data) != file.blake3 => {
            Err("its content does not have its digest".to_owned())
        }
        _ => Ok((head, data)),
    }
}

fn piece<S: Sink>(
    archive: &ArchiveFile,
    frame: usize,
    number: usize,
    open: &Open<S::Large>,
    tool: &mut Reading,
    sink: &S,
) -> Result<(), String> {
    if open.bad.load(Ordering::Relaxed) {
        return Ok(());
    }
    let frame = archive.frames.get(frame).ok_or("it lies behind the end of the archive")?;
    if u64::from(frame.plain) > PIECE + tar::BLOCK as u64 {
        return Err("a piece of it is longer than pieces are".to_owned());
    }
    archive.plain(frame, tool)?;
    let at = number as u64 * PIECE;
    let length = PIECE.min(open.stored - at);
    let data = tool.plain.get(..length as usize).ok_or("a piece of it is shorter than the manifest says")?;
    let Kind::File(file) = &open.entry.kind else { return Err("it is no file".to_owned()) };
    let right = match file.pieces.get(number) {
        Some(digest) => chaining_value(number, data) == *digest,
        None => number == 0 && open.stored <= PIECE && Digest::of(data) == file.blake3,
    };
    if !right || (number == 0 && file.pieces.len() > 1 && merged(&file.pieces) != file.blake3) {
        return Err("its content does not have its digest".to_owned());
    }
    sink.piece(&open.large, &open.entry, at, data)
}

/// Goes through the headers of an archive whose manifests are lost. What follows a damaged header cannot be found
/// by the headers, but at the beginning of the next frame that has one.
struct Scan {
    archive: Arc<ArchiveFile>,
    reading: Reading,
    frame: usize,
    at: usize,
}

impl Scan {
    fn new(archive: Arc<ArchiveFile>) -> std::io::Result<Self> {
        let mut scan = Self { archive, reading: Reading::new()?, frame: 0, at: 0 };
        scan.unpack();
        Ok(scan)
    }

    fn unpack(&mut self) {
        self.at = 0;
        let frame = self.archive.frames.get(self.frame);
        if frame.is_none_or(|frame| self.archive.plain(frame, &mut self.reading).is_err()) {
            self.reading.plain.clear();
        }
    }

    fn advance(&mut self) {
        self.frame += 1;
        self.unpack();
    }

    /// The pieces of a large file, whose headers are all of this frame.
    fn large(&mut self, mut entry: Entry, stored: u64) -> Option<Entry> {
        let pieces = usize::try_from(stored.div_ceil(PIECE)).ok()?;
        let mut digests = Vec::new();
        for number in 0..pieces {
            self.advance();
            let length = PIECE.min(stored - number as u64 * PIECE);
            let data = self.reading.plain.get(..usize::try_from(length).ok()?)?;
            digests.push(if pieces == 1 { Digest::of(data) } else { chaining_value(number, data) });
        }
        let Kind::File(file) = &mut entry.kind else { return None };
        match digests.as_slice() {
            [only] => file.blake3 = *only,
            _ => {
                file.blake3 = merged(&digests);
                file.pieces = digests;
            }
        }
        self.advance();
        Some(entry)
    }
}

impl Iterator for Scan {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            let frame = *self.archive.frames.get(self.frame)?;
            if self.at >= self.reading.plain.len() {
                self.advance();
                continue;
            }
            let bytes = &self.reading.plain[self.at..];
            let (entry, head) = match tar::head_of(bytes) {
                Ok(Head::Entry { entry, length }) => (entry, length),
                Ok(Head::Manifest { .. } | Head::End) => return None,
                Err(Malformed::Short(_) | Malformed::Bad(_)) => {
                    self.advance();
                    continue;
                }
            };
            let mut entry = Entry { offset: frame.offset + self.at as u64, ..*entry };
            let stored = if let Kind::File(file) = &entry.kind { file.stored() } else { 0 };
            if stored > 0 && self.at == 0 && head == bytes.len() {
                match self.large(entry, stored) {
                    Some(entry) => return Some(entry),
                    None => continue,
                }
            }
            let data =
                usize::try_from(stored).ok().and_then(|stored| bytes.get(head..head.checked_add(stored)?));
            let Some(data) = data else {
                self.advance();
                continue;
            };
            if let Kind::File(File { blake3, .. }) = &mut entry.kind {
                *blake3 = Digest::of(data);
            }
            self.at += usize::try_from(entry.length).unwrap_or(usize::MAX - self.at);
            return Some(entry);
        }
    }
}
