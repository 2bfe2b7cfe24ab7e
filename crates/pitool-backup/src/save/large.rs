//! A large file: headers in a frame of their own, then its data piece by piece.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pitool_host::Digest;
use pitool_host::text::chain;
use rustix::fs::{SeekFrom, fstat, seek};
use rustix::io::Errno;

use super::entry::{Context, entry, look_again, note, open};
use super::group::LARGE;
use super::meta::Meta;
use super::walk::Found;
use super::xattr;
use crate::archive::file::ArchiveFile;
use crate::archive::{PIECE, chaining_value, tar};
use crate::database::{self, Candidate, Snapshot, Use};
use crate::manifest::{Entry, File, Kind, Note, What};

/// Shorter holes are saved as zeros: a list of many small ones would cost more than they do.
const HOLE: u64 = 64 << 10;

/// A large file that is being saved.
pub(crate) struct Large {
    pub(crate) found: Found,
    /// All that is known of it: without its place, its digest and its pieces.
    pub(crate) entry: Entry,
    /// How many bytes of it go into the archive.
    pub(crate) stored: u64,
    /// What the archive before says of it, when it looks the same and is believed.
    pub(crate) unchanged: Option<Box<Entry>>,
    /// What the archive before says of its path, whether it looks the same or not.
    before: Option<Box<Entry>>,
    looked_same: bool,
    data: Data,
    extents: Vec<(u64, u64)>,
    torn: AtomicBool,
}

enum Data {
    /// The file itself, opened when it is to be read.
    File(std::sync::OnceLock<OwnedFd>),
    /// A database at one moment.
    Database(Arc<Snapshot>),
}

/// What came of opening a large file.
pub(crate) enum Opened {
    Large(Arc<Large>),
    /// A database, and the snapshot that is to be checked.
    Database(Arc<Large>, Arc<Snapshot>),
}

impl Large {
    /// Opens a file; `old` is what the archive before says of it if it looks the same, `changed` if it does not.
    pub(crate) fn open(
        context: &Context,
        found: Found,
        old: Option<Box<Entry>>,
        changed: Option<Box<Entry>>,
        notes: &mut Vec<Note>,
    ) -> Result<Opened, Errno> {
        let looked_same = old.is_some();
        let before = old.clone().or(changed);
        if let (Some(old), true) = (old, context.trusting) {
            if let Kind::File(file) = &old.kind {
                let (stored, extents) = (file.stored(), file.extents.clone());
                let extents = extents.unwrap_or_else(|| vec![(0, file.size)]);
                let data = Data::File(std::sync::OnceLock::new());
                let (entry, unchanged) = (Entry { offset: 0, ..(*old).clone() }, Some(old.clone()));
                let torn = AtomicBool::new(false);
                let large = Self {
                    found,
                    entry,
                    stored,
                    unchanged,
                    before: Some(old),
                    looked_same,
                    data,
                    extents,
                    torn,
                };
                return Ok(Opened::Large(Arc::new(large)));
            }
        }
        let file = open(&found)?;
        let meta = Meta::of(&fstat(&file)?);
        let xattrs = xattr::of_file(&file, &found, notes);
        if database::has_magic(&file) {
            let wal = database::wal(&*found.parent, &found.name, meta.size);
            let candidate = Candidate { directory: &found.parent, name: &found.name, file: &file, meta };
            match Snapshot::of(&context.readers, &candidate, Use::Long) {
                Ok(snapshot) => {
                    let (size, snapshot) = (snapshot.size(), Arc::new(snapshot));
                    let kind = File { database: Some(wal), ..File::plain(size, Digest::of(b"")) };
                    let entry = entry(context, &found, meta, Kind::File(kind), xattrs);
                    let data = Data::Database(snapshot.clone());
                    let extents = vec![(0, size)];
                    let torn = AtomicBool::new(false);
                    let large = Self {
                        found,
                        entry,
                        stored: size,
                        unchanged: None,
                        before,
                        looked_same,
                        data,
                        extents,
                        torn,
                    };
                    return Ok(Opened::Database(Arc::new(large.placed()), snapshot));
                }
                Err(error) => notes.push(note(&found, What::NotCopied, &chain(&error))),
            }
        }
        Self::plain(context, found, file, meta, xattrs, before, looked_same)
    }

    fn plain(
        context: &Context,
        found: Found,
        file: OwnedFd,
        meta: Meta,
        xattrs: Vec<crate::manifest::Xattr>,
        before: Option<Box<Entry>>,
        looked_same: bool,
    ) -> Result<Opened, Errno> {
        let mut kind = File::plain(meta.size, Digest::of(b""));
        let extents = if meta.blocks.saturating_mul(512) < meta.size && meta.size > LARGE {
            let extents = extents(&file, meta.size)?;
            kind.extents = (extents != [(0, meta.size)]).then(|| extents.clone());
            extents
        } else {
            vec![(0, meta.size)]
        };
        let stored = kind.stored();
        let entry = entry(context, &found, meta, Kind::File(kind), xattrs);
        let data = Data::File(file.into());
        let torn = AtomicBool::new(false);
        let large = Self { found, entry, stored, unchanged: None, before, looked_same, data, extents, torn };
        Ok(Opened::Large(Arc::new(large.placed())))
    }

    /// With the length that it takes in the archive.
    fn placed(mut self) -> Self {
        let head = tar::head(&self.entry).len() as u64;
        self.entry.length = head + self.stored + tar::padding(self.stored) as u64;
        self
    }

    /// How many pieces it has; an empty file has none.
    pub(crate) fn pieces(&self) -> usize {
        usize::try_from(self.stored.div_ceil(PIECE)).unwrap_or(usize::MAX)
    }

    fn range(&self, number: usize) -> (u64, u64) {
        let start = number as u64 * PIECE;
        (start, PIECE.min(self.stored - start))
    }

    /// The digest that the file had in the archive before, and whether it looked the same.
    pub(crate) fn digest_before(&self) -> Option<(Digest, bool)> {
        match &self.before.as_deref()?.kind {
            Kind::File(file) => Some((file.blake3, self.looked_same)),
            _ => None,
        }
    }

    /// The old frame that holds this piece if it is unchanged, and the digest that tells.
    pub(crate) fn old_piece(&self, number: usize, old: Option<&ArchiveFile>) -> Option<(usize, Digest)> {
        let before = self.before.as_deref()?;
        let Kind::File(file) = &before.kind else { return None };
        let stored = file.stored();
        let digest = match file.pieces.get(number) {
            Some(digest) => *digest,
            None if number == 0 && stored <= PIECE && self.stored <= PIECE => file.blake3,
            None => return None,
        };
        let head = before.length - stored - tar::padding(stored) as u64;
        let start = before.offset + head + number as u64 * PIECE;
        let frames = &old?.frames;
        let index = frames.holding(start)?;
        let frame = frames.get(index)?;
        let (_, length) = self.range(number);
        let padding = if number + 1 == self.pieces() { tar::padding(self.stored) } else { 0 };
        (frame.offset == start && u64::from(frame.plain) == length + padding as u64)
            .then_some((index, digest))
    }

    /// Reads a piece; what is not there any more is zeros, and the file is torn.
    pub(crate) fn read(&self, number: usize, plain: &mut Vec<u8>) -> Result<(), Errno> {
        let (start, length) = self.range(number);
        plain.clear();
        plain.resize(usize::try_from(length).unwrap_or(0), 0);
        let mut done = 0;
        let mut extent_start = 0;
        for (offset, extent) in &self.extents {
            let skip = (start + done).saturating_sub(extent_start);
            if skip < *extent && done < length {
                let take = (extent - skip).min(length - done);
                let range = done as usize..(done + take) as usize;
                self.fill(&mut plain[range], offset + skip)?;
                done += take;
            }
            extent_start += extent;
        }
        Ok(())
    }

    fn fill(&self, mut buffer: &mut [u8], mut at: u64) -> Result<(), Errno> {
        let file = match &self.data {
            Data::Database(snapshot) => {
                return snapshot.read(buffer, at).map_err(|error| {
                    self.torn.store(true, Ordering::Relaxed);
                    Errno::from_io_error(&error).unwrap_or(Errno::IO)
                });
            }
            Data::File(slot) => match slot.get() {
                Some(file) => file.as_fd(),
                None => {
                    let file = open(&self.found)?;
                    slot.get_or_init(|| file).as_fd()
                }
            },
        };
        while !buffer.is_empty() {
            match rustix::io::pread(file, &mut *buffer, at) {
                Ok(0) => {
                    self.torn.store(true, Ordering::Relaxed);
                    return Ok(());
                }
                Ok(read) => {
                    buffer = &mut buffer[read..];
                    at += read as u64;
                }
                Err(Errno::INTR) => {}
                Err(error) => {
                    self.torn.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// The digest of a piece: of the file if it is its only one, else the chaining value of its subtree.
    pub(crate) fn digest(&self, number: usize, plain: &[u8]) -> Digest {
        if self.stored <= PIECE {
            return Digest::of(plain);
        }
        chaining_value(number, plain)
    }

    /// Whether what was read may be a mixture. A database that could be read never is.
    pub(crate) fn has_changed_since_opened(&self) -> bool {
        if self.torn.load(Ordering::Relaxed) {
            return true;
        }
        let Data::File(_) = &self.data else { return false };
        let Entry { mtime, ctime, inode, .. } = self.entry;
        !look_again(&self.found)
            .is_ok_and(|meta| (meta.mtime, meta.ctime, meta.inode) == (mtime, ctime, inode))
    }
}

/// Where the data of a file is, lseek(2); the last extent ends where the file ends.
fn extents(file: &OwnedFd, size: u64) -> Result<Vec<(u64, u64)>, Errno> {
    let mut extents: Vec<(u64, u64)> = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match seek(file, SeekFrom::Data(at)) {
            Ok(start) => start.min(size),
            Err(Errno::NXIO) => break,
            // A file system that does not know holes has none.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(vec![(0, size)]),
            Err(error) => return Err(error),
        };
        let end = seek(file, SeekFrom::Hole(start))?.min(size);
        if end <= start {
            break;
        }
        match extents.last_mut() {
            Some((last, length)) if start - (*last + *length) < HOLE => *length = end - *last,
            _ => extents.push((start, end - start)),
        }
        at = end;
    }
    if extents.last().is_none_or(|(start, length)| start + length < size) {
        extents.push((size, 0));
    }
    Ok(extents)
}
