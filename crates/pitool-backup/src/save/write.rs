//! What comes of the threads, put in order and written: frames to the archive, lines to the manifest.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use pitool_host::Digest;

use super::progress::Progress;
use super::work::{Done, Packed};
use crate::archive::frame::Packer;
use crate::archive::index::{self, Frames, Manifest};
use crate::archive::lines::LineWriter;
use crate::archive::merged;
use crate::archive::seal::{Output, Written};
use crate::archive::tar;
use crate::manifest::{Database, End, Entry, Kind, Line, Note, What};
use crate::{Error, Result};

/// Notes beyond these are counted and not kept: a tree that is deleted while it is read has one for every file.
const NOTES: usize = 10_000;

/// An archive and its manifest while they are written.
pub(crate) struct Writer<'a> {
    path: PathBuf,
    output: Output,
    frames: Frames,
    lines: LineWriter<File>,
    listen: &'a (dyn Fn(Progress) + Sync),
    waiting: BTreeMap<u64, (u64, Done)>,
    next: u64,
    begin: u64,
    pieces: Vec<Digest>,
    pub(crate) notes: Vec<Note>,
    pub(crate) databases: Vec<Database>,
    pub(crate) end: End,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(
        path: &Path,
        output: Output,
        lines: LineWriter<File>,
        listen: &'a (dyn Fn(Progress) + Sync),
    ) -> Self {
        Self {
            path: path.to_owned(),
            output,
            frames: Frames::default(),
            lines,
            listen,
            waiting: BTreeMap::new(),
            next: 0,
            begin: 0,
            pieces: Vec::new(),
            notes: Vec::new(),
            databases: Vec::new(),
            end: End::default(),
        }
    }

    /// Takes what came of a task, and writes what is next in order; says how much room that gives back.
    pub(crate) fn take(&mut self, number: u64, room: u64, done: Done) -> Result<u64> {
        self.waiting.insert(number, (room, done));
        let mut free = 0;
        while let Some((room, done)) = self.waiting.remove(&self.next) {
            self.write(done)?;
            self.next += 1;
            free += room;
        }
        Ok(free)
    }

    fn write(&mut self, done: Done) -> Result<()> {
        if done.begins {
            self.begin = self.frames.plain_end();
            self.pieces.clear();
        }
        if let Some(packed) = &done.frame {
            self.frame(packed)?;
        }
        self.pieces.extend(done.piece);
        for note in done.notes {
            self.note(note);
        }
        self.databases.extend(done.databases);
        self.end.copied += done.copied;
        self.end.changed += done.changed;
        for mut entry in done.entries {
            if let (Kind::File(file), false) = (&mut entry.kind, self.pieces.is_empty()) {
                match self.pieces.as_slice() {
                    [only] => file.blake3 = *only,
                    pieces => {
                        file.blake3 = merged(pieces);
                        file.pieces = pieces.to_vec();
                    }
                }
                match done.before {
                    Some((before, looked_same)) if before != file.blake3 => {
                        self.end.changed += 1;
                        if looked_same && !entry.unsettled {
                            let path = entry.path.as_bytes().to_vec();
                            self.note(Note { path, what: What::ChangedSilently, detail: String::new() });
                        }
                    }
                    Some(_) => {}
                    None => self.end.changed += 1,
                }
            }
            entry.offset += self.begin;
            self.entry(entry)?;
        }
        (self.listen)(Progress {
            files: self.end.files,
            bytes: self.end.bytes,
            written: self.frames.packed_end(),
        });
        Ok(())
    }

    fn entry(&mut self, entry: Entry) -> Result<()> {
        self.end.entries += 1;
        if let Kind::File(file) = &entry.kind {
            self.end.files += 1;
            self.end.bytes += file.stored();
            self.end.databases += u64::from(file.database.is_some());
        }
        self.line(&Line::Entry(entry))
    }

    pub(crate) fn line(&mut self, line: &Line) -> Result<()> {
        self.lines.write(line).map_err(Error::path("write the manifest of", &self.path))
    }

    pub(crate) fn note(&mut self, note: Note) {
        self.end.notes += 1;
        self.end.problems += u64::from(note.what.is_problem());
        if self.notes.len() < NOTES || note.what.is_problem() {
            self.notes.push(note);
        }
    }

    fn frame(&mut self, packed: &Packed) -> Result<()> {
        self.output.write_all(&packed.bytes).map_err(Error::path("write", &self.path))?;
        let length = u32::try_from(packed.bytes.len()).unwrap_or(u32::MAX);
        self.frames.push(length, packed.plain, Some(packed.digest));
        Ok(())
    }

    fn pack(&mut self, packer: &mut Packer, plain: &[u8]) -> Result<()> {
        let bytes = packer.pack(plain).map_err(Error::path("write", &self.path))?;
        let digest = Digest::of(&bytes);
        self.frame(&Packed { bytes, plain: u32::try_from(plain.len()).unwrap_or(u32::MAX), digest })
    }

    /// Ends both. Hands back the archive, not synced yet, the frames of the manifest's lines, and the totals.
    pub(crate) fn finish(mut self, started: i64) -> Result<(Written, File, End)> {
        let failed = |path: &Path| Error::path("write", path.to_owned());
        for database in std::mem::take(&mut self.databases) {
            self.line(&Line::Database(database))?;
        }
        for note in std::mem::take(&mut self.notes) {
            self.line(&Line::Note(note))?;
        }
        let end = self.end.clone();
        self.line(&Line::End(end.clone()))?;
        let path = self.path.clone();
        let lines = std::mem::replace(
            &mut self.lines,
            LineWriter::new(spare().map_err(failed(&path))?).map_err(failed(&path))?,
        );
        let (spool, frames, length) = lines.finish().map_err(Error::path("write the manifest of", &path))?;

        let mut packer = Packer::new(crate::Set::LEVEL).map_err(failed(&path))?;
        self.pack(&mut packer, &tar::manifest_head(length, started))?;
        let manifest = Manifest {
            offset: self.frames.plain_end(),
            length,
            first: self.frames.len(),
            frames: frames.len(),
        };
        copy(&spool, &mut self.output).map_err(failed(&path))?;
        for (packed, plain, digest) in frames {
            self.frames.push(packed, plain, Some(digest));
        }
        let mut tail = vec![0; tar::padding(length)];
        tail.extend_from_slice(&tar::END);
        self.pack(&mut packer, &tail)?;
        let index = index::write(&self.frames, manifest);
        self.output.write_all(&index).map_err(failed(&path))?;
        Ok((self.output.finish().map_err(failed(&path))?, spool, end))
    }
}

/// Copies a file from its beginning.
pub(crate) fn copy(mut from: &File, to: &mut impl Write) -> std::io::Result<u64> {
    std::io::Seek::rewind(&mut from)?;
    std::io::copy(&mut from, to)
}

#[expect(clippy::disallowed_methods, reason = "a device that is always there")]
fn spare() -> std::io::Result<File> {
    File::open("/dev/null")
}

/// Lets so many bytes be on their way at once: what is packed and waits for its turn to be written takes memory.
pub(crate) struct Gate {
    free: Mutex<u64>,
    opened: Condvar,
    /// Something went wrong: there is no use in going on.
    stopped: AtomicBool,
}

impl Gate {
    pub(crate) fn new(bytes: u64) -> Self {
        Self { free: Mutex::new(bytes), opened: Condvar::new(), stopped: AtomicBool::new(false) }
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room; `false` when all was stopped.
    pub(crate) fn enter(&self, bytes: u64) -> bool {
        let mut free = self.lock();
        while *free < bytes && !self.has_stopped() {
            free = self.opened.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free = free.saturating_sub(bytes);
        !self.has_stopped()
    }

    pub(crate) fn leave(&self, bytes: u64) {
        *self.lock() += bytes;
        self.opened.notify_one();
    }

    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        let _free = self.lock();
        self.opened.notify_all();
    }

    pub(crate) fn has_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}
