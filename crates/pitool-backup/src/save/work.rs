//! What the threads do: read, hash and compress one group or one piece at a time, or copy it from the archive before.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use pitool_host::Digest;
use pitool_host::text::chain;
use rustix::fs::{FileType, fstat, readlinkat};
use rustix::io::Errno;

use super::entry::{Context, entry, note, open};
use super::group::{LARGE, Member};
use super::large::Large;
use super::meta::Meta;
use super::walk::Found;
use super::xattr;
use crate::archive::file::Reading;
use crate::archive::frame::Packer;
use crate::archive::tar;
use crate::database::{self, Candidate, NotTaken, Snapshot, Use};
use crate::manifest::{CopyMethod, Database, Entry, File, Kind, Note, What};
use crate::{Error, Result};

/// How often a small file that changes while it is read is read again.
const ATTEMPTS: usize = 3;

/// A file that grew is read up to here; what is behind belongs to the next run.
const GROWTH: u64 = 4 * LARGE;

/// One thing to do.
pub(crate) enum Task {
    /// Pack these into one frame; the old frame that is exactly this, if there is one.
    Group(Vec<Member>, Option<usize>),
    /// Pack the headers of a large file.
    Head(Arc<Large>),
    /// Pack one piece of it.
    Piece(Arc<Large>, usize),
}

/// A frame as it goes into the archive.
pub(crate) struct Packed {
    pub(crate) bytes: Vec<u8>,
    pub(crate) plain: u32,
    pub(crate) digest: Digest,
}

/// What came of a task.
#[derive(Default)]
pub(crate) struct Done {
    /// What goes into the archive, at most one frame.
    pub(crate) frame: Option<Packed>,
    /// It begins one entry or several, with offsets counted from here.
    pub(crate) begins: bool,
    /// The entries that end with it.
    pub(crate) entries: Vec<Entry>,
    /// The chaining value of a piece.
    pub(crate) piece: Option<Digest>,
    pub(crate) databases: Vec<Database>,
    pub(crate) notes: Vec<Note>,
    /// Bytes of the tar that were copied.
    pub(crate) copied: u64,
    /// How many of the entries are new or have changed.
    pub(crate) changed: u64,
    /// The digest that the large file that ends with it had before, and whether it looked the same.
    pub(crate) before: Option<(Digest, bool)>,
}

/// One thread's tools.
pub(crate) struct Worker<'a> {
    context: &'a Context,
    packer: Packer,
    plain: Vec<u8>,
    data: Vec<u8>,
    old: Reading,
    /// Which old frame is unpacked in `old`.
    unpacked: Option<usize>,
}

impl<'a> Worker<'a> {
    pub(crate) fn new(context: &'a Context) -> std::io::Result<Self> {
        let packer = Packer::new(context.level)?;
        Ok(Self {
            context,
            packer,
            plain: Vec::new(),
            data: Vec::new(),
            old: Reading::new()?,
            unpacked: None,
        })
    }

    pub(crate) fn run(&mut self, task: Task) -> Result<Done> {
        match task {
            Task::Group(members, whole) => self.group(members, whole),
            Task::Head(large) => {
                self.plain.clear();
                self.plain.extend_from_slice(&tar::head(&large.entry));
                let mut done = Done { frame: Some(self.pack()?), begins: true, ..Done::default() };
                if large.pieces() == 0 {
                    done.entries.push(large.entry.clone());
                }
                Ok(done)
            }
            Task::Piece(large, number) => self.piece(&large, number),
        }
    }

    fn pack(&mut self) -> Result<Packed> {
        let bytes = self.packer.pack(&self.plain).map_err(|source| Error::Path {
            operation: "compress",
            path: self.context.scratch.clone(),
            source,
        })?;
        let digest = Digest::of(&bytes);
        Ok(Packed { bytes, plain: u32::try_from(self.plain.len()).unwrap_or(u32::MAX), digest })
    }

    /// Takes over an old frame as it is; `None` when it is not as it was written.
    fn take_over(&mut self, frame: usize) -> Option<Packed> {
        let old = self.context.old.as_ref()?;
        let frame = old.frames.get(frame)?;
        let mut bytes = Vec::new();
        old.packed(frame, &mut bytes).ok()?;
        Some(Packed { bytes, plain: frame.plain, digest: frame.digest? })
    }

    fn group(&mut self, members: Vec<Member>, whole: Option<usize>) -> Result<Done> {
        let mut done = Done { begins: true, ..Done::default() };
        if let (Some(frame), true) = (whole, self.context.trusting) {
            if let Some(packed) = self.take_over(frame) {
                let start =
                    members.first().and_then(|member| member.old.as_ref()).map_or(0, |old| old.offset);
                done.copied = u64::from(packed.plain);
                done.frame = Some(packed);
                for member in members {
                    done.entries.extend(member.old.map(|old| Entry { offset: old.offset - start, ..*old }));
                }
                note_databases(&mut done);
                return Ok(done);
            }
            done.notes.extend(members.first().map(|member| note(&member.found, What::PreviousDamaged, "")));
        }
        self.plain.clear();
        let total = members.len();
        for member in members {
            self.member(member, &mut done)?;
        }
        if self.plain.is_empty() {
            return Ok(done);
        }
        // All was read again and nothing had changed: what was compressed once need not be again.
        let same = whole.filter(|_| done.changed == 0 && done.entries.len() == total);
        if let Some(packed) = same.and_then(|frame| self.take_over(frame)) {
            if packed.plain as usize == self.plain.len() {
                done.copied = u64::from(packed.plain);
                done.frame = Some(packed);
                return Ok(done);
            }
        }
        done.frame = Some(self.pack()?);
        Ok(done)
    }

    fn member(&mut self, member: Member, done: &mut Done) -> Result<()> {
        let offset = self.plain.len() as u64;
        if let (Some(old), true) = (&member.old, self.context.trusting) {
            if self.splice(old) {
                let entry = Entry { offset, ..(**old).clone() };
                if matches!(&entry.kind, Kind::File(File { database: Some(_), .. })) {
                    done.databases.push(unchanged_database(&entry));
                }
                done.entries.push(entry);
                return Ok(());
            }
            done.notes.push(note(&member.found, What::PreviousDamaged, ""));
        }
        let Member { found, link, old } = member;
        let read = match (found.meta.file_type, link) {
            (FileType::RegularFile, None) => self.file(&found, done),
            (_, Some(link)) => {
                Ok(Some((self.entry(&found, found.meta, Kind::HardLink(link), Vec::new()), false)))
            }
            _ => self.special(&found).map(|kind| {
                let kind = kind?;
                let xattrs = xattr::of_path(&found, &mut done.notes);
                Some((self.entry(&found, found.meta, kind, xattrs), false))
            }),
        };
        match read {
            Ok(Some((mut entry, unsettled))) => {
                entry.unsettled |= unsettled;
                entry.offset = offset;
                if !matches!(entry.kind, Kind::File(_)) {
                    self.data.clear();
                }
                let head = tar::head(&entry);
                self.plain.extend_from_slice(&head);
                self.plain.extend_from_slice(&self.data);
                self.plain.resize(self.plain.len() + tar::padding(self.data.len() as u64), 0);
                entry.length = self.plain.len() as u64 - offset;
                match old {
                    Some(old) if is_same_content(&entry, &old) => {}
                    Some(_) => {
                        done.changed += 1;
                        // It looked the same, or it would have no old entry.
                        done.notes.push(note(&found, What::ChangedSilently, ""));
                    }
                    None => done.changed += 1,
                }
                done.entries.push(entry);
            }
            Ok(None) => done.notes.push(note(&found, What::Vanished, "")),
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::NXIO) => {
                done.notes.push(note(&found, What::Vanished, ""));
            }
            Err(error) => done.notes.push(note(&found, What::Unreadable, &error.to_string())),
        }
        Ok(())
    }

    /// Takes an unchanged entry's bytes out of its old frame.
    fn splice(&mut self, old: &Entry) -> bool {
        let Some(archive) = &self.context.old else { return false };
        let Some(number) = archive.frames.holding(old.offset) else { return false };
        let Some(frame) = archive.frames.get(number) else { return false };
        if self.unpacked != Some(number) {
            self.unpacked = None;
            if archive.plain(frame, &mut self.old).is_err() {
                return false;
            }
            self.unpacked = Some(number);
        }
        let start = old.offset - frame.offset;
        let range = usize::try_from(start).ok().zip(usize::try_from(start.saturating_add(old.length)).ok());
        let Some(bytes) = range.and_then(|(start, end)| self.old.plain.get(start..end)) else { return false };
        self.plain.extend_from_slice(bytes);
        true
    }

    fn entry(&self, found: &Found, meta: Meta, kind: Kind, xattrs: Vec<crate::manifest::Xattr>) -> Entry {
        entry(self.context, found, meta, kind, xattrs)
    }

    /// Reads a small file into `data`.
    fn file(&mut self, found: &Found, done: &mut Done) -> Result<Option<(Entry, bool)>, Errno> {
        let file = open(found)?;
        let mut expected = found.meta;
        let mut attempt = 1;
        let (meta, torn) = loop {
            self.data.clear();
            let limit = expected.size.min(GROWTH);
            read_up_to(&file, &mut self.data, limit)?;
            let meta = Meta::of(&fstat(&file)?);
            if meta == expected && self.data.len() as u64 == meta.size {
                break (meta, false);
            }
            expected = meta;
            if attempt == ATTEMPTS {
                break (meta, true);
            }
            attempt += 1;
        };
        let xattrs = xattr::of_file(&file, found, &mut done.notes);
        let mut database = None;
        if self.data.starts_with(database::MAGIC) {
            database = self.database(found, &file, meta, done);
        } else if torn {
            done.notes.push(note(found, What::Changed, ""));
        }
        let mut kind = File::plain(self.data.len() as u64, Digest::of(&self.data));
        let torn = torn && database.is_none();
        kind.database = database;
        Ok(Some((self.entry(found, meta, Kind::File(kind), xattrs), torn)))
    }

    /// Puts a whole copy of a small database into `data`; leaves its file there when that does not work.
    fn database(
        &mut self,
        found: &Found,
        file: &OwnedFd,
        meta: Meta,
        done: &mut Done,
    ) -> Option<crate::manifest::Wal> {
        let wal = database::wal(&*found.parent, &found.name, meta.size);
        let candidate = Candidate { directory: &found.parent, name: &found.name, file, meta };
        let taken = Snapshot::of(&self.context.readers, &candidate, Use::Brief);
        let read = taken.and_then(|snapshot| {
            let size = usize::try_from(snapshot.size().min(GROWTH + 1)).unwrap_or(0);
            if size as u64 > GROWTH {
                return Err(NotTaken::Odd("it grew while the backup looked at it".to_owned()));
            }
            let mut bytes = vec![0; size];
            snapshot.read(&mut bytes, 0).map_err(|error| NotTaken::Io("read", error))?;
            Ok((snapshot, bytes))
        });
        match read {
            Ok((snapshot, bytes)) => {
                self.data = bytes;
                let (method, check) = (snapshot.method(), snapshot.check());
                let checked = Database { path: found.path.clone(), method, check };
                done.notes.extend(corruption(&checked));
                done.databases.push(checked);
                Some(wal)
            }
            Err(error) => {
                done.notes.push(note(found, What::NotCopied, &chain(&error)));
                None
            }
        }
    }

    fn special(&self, found: &Found) -> Result<Option<Kind>, Errno> {
        let (major, minor) = found.meta.special;
        Ok(match found.meta.file_type {
            FileType::Directory => Some(Kind::Directory),
            FileType::Symlink => {
                let target =
                    readlinkat(&*found.parent, &found.name, Vec::new()).map_err(|error| match error {
                        // Something else took its place.
                        Errno::INVAL => Errno::NOENT,
                        error => error,
                    })?;
                Some(Kind::Symlink(target.into_bytes()))
            }
            FileType::Fifo => Some(Kind::Fifo),
            FileType::CharacterDevice => Some(Kind::CharDevice(major, minor)),
            FileType::BlockDevice => Some(Kind::BlockDevice(major, minor)),
            _ => None,
        })
    }

    fn piece(&mut self, large: &Large, number: usize) -> Result<Done> {
        let mut done = Done::default();
        let old = large.old_piece(number, self.context.old.as_deref());
        let last = number + 1 == large.pieces();
        let mut frame = None;
        let mut chaining = None;
        if let (Some((old_frame, digest)), true) = (old, self.context.trusting && large.unchanged.is_some()) {
            frame = self.take_over(old_frame);
            chaining = Some(digest);
            if frame.is_none() {
                done.notes.push(note(&large.found, What::PreviousDamaged, ""));
                if matches!(&large.entry.kind, Kind::File(File { database: Some(_), .. })) {
                    // Pieces of two moments are no database. The next run, after a problem, reads it anew.
                    done.notes.push(note(&large.found, What::NotCopied, "the archive before is damaged"));
                }
            }
        }
        if frame.is_none() {
            if let Err(error) = large.read(number, &mut self.plain) {
                done.notes.push(note(&large.found, What::Unreadable, &error.to_string()));
            }
            let digest = large.digest(number, &self.plain);
            let padding = if last { tar::padding(large.stored) } else { 0 };
            self.plain.resize(self.plain.len() + padding, 0);
            if let Some((old_frame, before)) = old {
                if before == digest {
                    frame = self.take_over(old_frame);
                }
            }
            chaining = Some(digest);
            if frame.is_none() {
                frame = Some(self.pack()?);
            } else {
                done.copied = self.plain.len() as u64;
            }
        } else {
            done.copied = frame.as_ref().map_or(0, |frame| u64::from(frame.plain));
        }
        done.frame = frame;
        done.piece = chaining;
        if last {
            let mut entry = large.entry.clone();
            if large.has_changed_since_opened() {
                done.notes.push(note(&large.found, What::Changed, ""));
                entry.unsettled = true;
            }
            done.before = large.digest_before();
            if large.unchanged.is_some() && matches!(&entry.kind, Kind::File(File { database: Some(_), .. }))
            {
                done.databases.push(unchanged_database(&entry));
            }
            done.entries.push(entry);
        }
        Ok(done)
    }
}

/// Reads a file to its end, but not further than this.
fn read_up_to(file: impl std::os::fd::AsFd, data: &mut Vec<u8>, limit: u64) -> Result<(), Errno> {
    // One byte more, so that a single read shows that the file has not grown.
    let limit = usize::try_from(limit).unwrap_or(usize::MAX - 1);
    data.resize(limit + 1, 0);
    let mut filled = 0;
    while filled <= limit {
        match rustix::io::pread(&file, &mut data[filled..], filled as u64) {
            Ok(0) => break,
            Ok(more) => {
                filled += more;
                if filled == limit {
                    break;
                }
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    data.truncate(filled.min(limit));
    Ok(())
}

fn is_same_content(new: &Entry, old: &Entry) -> bool {
    let blind = |entry: &Entry| Entry {
        offset: 0,
        unsettled: false,
        user: String::new(),
        group: String::new(),
        ..entry.clone()
    };
    blind(new) == blind(old)
}

fn note_databases(done: &mut Done) {
    let databases =
        done.entries.iter().filter(|entry| matches!(&entry.kind, Kind::File(File { database: Some(_), .. })));
    done.databases = databases.map(unchanged_database).collect();
}

fn unchanged_database(entry: &Entry) -> Database {
    Database { path: entry.path.clone(), method: CopyMethod::Unchanged, check: String::new() }
}

/// The note that a database is corrupt, if it is.
pub(crate) fn corruption(database: &Database) -> Option<Note> {
    (database.check != "ok").then(|| Note {
        path: database.path.as_bytes().to_vec(),
        what: What::Corrupt,
        detail: database.check.clone(),
    })
}
