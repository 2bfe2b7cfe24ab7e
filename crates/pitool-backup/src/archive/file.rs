//! An archive as it lies on the disk: its bytes through the encryption, and its frames.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use age::stream::StreamReader;
use pitool_host::Digest;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::frame::{self, Start, Unpacker};
use super::index::{self, Frame, Frames, Manifest};
use super::seal::Identities;
use crate::{Error, Result};

/// An age header is a few hundred bytes for each recipient; a longer one is refused before age reads it.
const AGE_HEADER: usize = 64 << 10;

/// What the last line of an age header begins with (age-encryption.org/v1).
const AGE_HEADER_END: &[u8] = b"\n---";

/// How much of the index and the seek table is in memory at once.
const CHUNK: usize = 64 << 10;

/// Opens a file of an archive for reading: a regular file and nothing else.
///
/// A disk that somebody prepared may have a link, a named pipe or a device under an archive's name. A link is not
/// followed, and opening a pipe does not wait for its writer (open(2), `O_NONBLOCK`).
#[expect(
    clippy::disallowed_methods,
    reason = "archives lie on disks of others; nothing but a regular file is read"
)]
pub(crate) fn open_regular(path: &Path) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::LOOP) => return Err(Error::damaged(path, "it is a symbolic link, which is not followed")),
        // A socket, or a device without a driver.
        Err(Errno::NXIO | Errno::NODEV) => return Err(Error::damaged(path, "it is not a regular file")),
        Err(error) => return Err(Error::path("open", path)(error)),
    };
    if !file.metadata().map_err(Error::path("read", path))?.is_file() {
        return Err(Error::damaged(path, "it is not a regular file"));
    }
    Ok(file)
}

/// The bytes of a file, decrypted where it is encrypted, from any place.
pub(crate) struct Bytes {
    path: PathBuf,
    kind: Kind,
}

enum Kind {
    Plain(File),
    Sealed(Box<Mutex<StreamReader<BufReader<File>>>>),
}

impl Bytes {
    pub(crate) fn open(path: &Path, encrypted: bool, identities: &Identities) -> Result<Self> {
        let file = open_regular(path)?;
        let kind = if encrypted { Self::unseal(path, file, identities)? } else { Kind::Plain(file) };
        Ok(Self { path: path.to_owned(), kind })
    }

    fn unseal(path: &Path, file: File, identities: &Identities) -> Result<Kind> {
        let sealed = |why: String| Error::Sealed { archive: path.to_owned(), why };
        if identities.is_empty() {
            return Err(sealed("no identity was given".to_owned()));
        }
        let mut start = vec![0; AGE_HEADER];
        let length = file.read_at(&mut start, 0).map_err(Error::path("read", path))?;
        if !start[..length].windows(AGE_HEADER_END.len()).any(|bytes| bytes == AGE_HEADER_END) {
            return Err(Error::damaged(path, "it does not begin with an age header"));
        }
        let identities = identities.load()?;
        let decryptor = age::Decryptor::new_buffered(BufReader::new(file)).map_err(|error| match error {
            age::DecryptError::Io(source) => Error::path("read", path)(source),
            _ => Error::damaged(path, "its age header is not understood"),
        })?;
        let stream = decryptor
            .decrypt(identities.iter().map(|identity| identity as &dyn age::Identity))
            .map_err(|error| match error {
                age::DecryptError::NoMatchingKeys => sealed("none of the identities opens it".to_owned()),
                _ => Error::damaged(path, "its age header is not as it was written"),
            })?;
        Ok(Kind::Sealed(Box::new(Mutex::new(stream))))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Fills a buffer from this place; says how much of it, less only at the end.
    pub(crate) fn read(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        match &self.kind {
            Kind::Plain(file) => {
                while filled < buffer.len() {
                    match file.read_at(&mut buffer[filled..], at + filled as u64) {
                        Ok(0) => break,
                        Ok(more) => filled += more,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            Kind::Sealed(stream) => {
                let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
                stream.seek(SeekFrom::Start(at))?;
                while filled < buffer.len() {
                    match stream.read(&mut buffer[filled..]) {
                        Ok(0) => break,
                        Ok(more) => filled += more,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        // What was decrypted before is whole.
                        Err(_) if filled > 0 => break,
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Ok(filled)
    }

    pub(crate) fn length(&self) -> io::Result<u64> {
        match &self.kind {
            Kind::Plain(file) => Ok(file.metadata()?.len()),
            Kind::Sealed(stream) => {
                stream.lock().unwrap_or_else(PoisonError::into_inner).seek(SeekFrom::End(0))
            }
        }
    }

    /// Fills a buffer from this place; less is damage.
    fn exactly(&self, at: u64, buffer: &mut [u8]) -> Result<()> {
        let read = self.read(at, buffer).map_err(Error::path("read", &self.path))?;
        if read < buffer.len() {
            return Err(Error::damaged(&self.path, "it ends too early"));
        }
        Ok(())
    }

    /// Hands on a part of the file in pieces, so that no length that a file claims sizes an allocation.
    fn in_chunks(&self, range: Range<u64>, mut take: impl FnMut(&[u8])) -> Result<()> {
        let mut buffer = vec![0; CHUNK];
        let mut at = range.start;
        while at < range.end {
            let length = usize::try_from(range.end - at).unwrap_or(CHUNK).min(CHUNK);
            self.exactly(at, &mut buffer[..length])?;
            take(&buffer[..length]);
            at += length as u64;
        }
        Ok(())
    }

    /// BLAKE3 of a part of the file.
    fn digest(&self, range: Range<u64>) -> Result<blake3::Hash> {
        let mut hasher = blake3::Hasher::new();
        self.in_chunks(range, |bytes| {
            hasher.update(bytes);
        })?;
        Ok(hasher.finalize())
    }
}

/// An archive that is open for reading, from several threads where it is not encrypted.
pub(crate) struct ArchiveFile {
    bytes: Bytes,
    pub(crate) frames: Frames,
    /// Where the manifest is; `None` when the archive's end is lost.
    pub(crate) manifest: Option<Manifest>,
    heavy: Mutex<()>,
}

impl ArchiveFile {
    /// Opens an archive by its index.
    ///
    /// Everything in it may be a lie: each length is compared with the others and with the length of the file, and
    /// both digests hold, before a frame is put down.
    pub(crate) fn open(path: &Path, encrypted: bool, identities: &Identities) -> Result<Self> {
        let bytes = Bytes::open(path, encrypted, identities)?;
        let damaged = |what: &str| Error::damaged(path, what);
        let lost = || damaged("its end is missing: it was cut off, or is no archive of pitool's");
        // A sealed stream that was cut has no valid end to seek to.
        let length = bytes.length().map_err(|_| damaged("it ends too early"))?;
        let footer_at =
            length.checked_sub(index::FOOTER as u64).ok_or_else(|| damaged("it ends too early"))?;
        let mut footer = [0; index::FOOTER];
        bytes.exactly(footer_at, &mut footer)?;
        let count = index::frames(&footer).ok_or_else(lost)?;
        if count > index::LIMIT {
            return Err(damaged("its end claims more frames than an archive can have"));
        }
        let table_at = length.checked_sub(index::table_length(count)).ok_or_else(lost)?;
        let index_at = table_at.checked_sub(index::index_length(count)).ok_or_else(lost)?;

        let mut head = [0; index::HEAD];
        let mut digests = [0; 64];
        bytes.exactly(index_at, &mut head)?;
        bytes.exactly(table_at - 64, &mut digests)?;
        let (of_table, of_index) = digests.split_at(32);
        if bytes.digest(index_at..table_at - 32)?.as_bytes() != of_index {
            return Err(damaged("its index is not as it was written"));
        }
        if bytes.digest(table_at..length)?.as_bytes() != of_table {
            return Err(damaged("its seek table is not as it was written"));
        }
        let manifest = index::manifest(&head, count).map_err(damaged)?;

        let mut frames = Frames::default();
        let mut entries = vec![0; CHUNK / index::DIGEST * index::ENTRY];
        let (mut entry_at, mut done) = (index::first_entry(table_at), 0);
        let (start, end) = (index_at + index::HEAD as u64, table_at - 64);
        let mut failed = None;
        // A chunk holds whole digests.
        bytes.in_chunks(start..end, |digests| {
            let entries = &mut entries[..digests.len() / index::DIGEST * index::ENTRY];
            if let (None, Err(error)) = (&failed, bytes.exactly(entry_at, entries)) {
                failed = Some(error);
            }
            entry_at += entries.len() as u64;
            done += index::read(entries, digests, &mut frames);
        })?;
        match failed {
            Some(error) => return Err(error),
            None if done != count => return Err(lost()),
            None => {}
        }
        if frames.packed_end() != index_at {
            return Err(damaged("its frames do not add up to its length"));
        }
        Ok(Self { bytes, frames, manifest: Some(manifest), heavy: Mutex::new(()) })
    }

    /// Opens an archive whose end is lost, by going from frame to frame until one is not whole.
    pub(crate) fn recover(path: &Path, encrypted: bool, identities: &Identities) -> Result<Self> {
        let bytes = Bytes::open(path, encrypted, identities)?;
        let mut frames = Frames::default();
        let mut walk = FrameWalk::default();
        while let Ok(Some(Walked::Data { packed, plain })) = walk.next(&bytes) {
            let (Ok(packed), Ok(plain)) = (u32::try_from(packed.len()), u32::try_from(plain)) else { break };
            if frames.len() >= index::LIMIT {
                break;
            }
            frames.push(packed, plain, None);
        }
        Ok(Self { bytes, frames, manifest: None, heavy: Mutex::new(()) })
    }

    pub(crate) fn path(&self) -> &Path {
        self.bytes.path()
    }

    /// Reads a frame as it lies in the archive; the error says in which way it is damaged.
    pub(crate) fn packed(&self, frame: &Frame, buffer: &mut Vec<u8>) -> Result<(), String> {
        if frame.packed as usize > frame::LIMIT {
            return Err(format!("a frame of {} bytes is larger than any that pitool writes", frame.packed));
        }
        frame::make_room(buffer, frame.packed as usize);
        buffer.resize(frame.packed as usize, 0);
        match self.bytes.read(frame.at, buffer) {
            Ok(read) if read == buffer.len() => {}
            Ok(_) => return Err("the archive ends too early".to_owned()),
            Err(error) => return Err(format!("the archive cannot be read: {error}")),
        }
        match frame.digest {
            Some(digest) if Digest::of(buffer) != digest => {
                Err(format!("the frame at byte {} is not as it was written", frame.at))
            }
            _ => Ok(()),
        }
    }

    /// To be held while the content of a frame is in memory by the threads that unpack frames beside each other: a few
    /// bytes can unpack to [`frame::LIMIT`], which a small machine has once and not once for each thread.
    pub(crate) fn weigh(&self, frame: &Frame) -> Option<MutexGuard<'_, ()>> {
        let heavy = frame.plain > frame::HEAVY || frame.packed > frame::HEAVY;
        heavy.then(|| self.heavy.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads and unpacks a frame.
    pub(crate) fn plain(&self, frame: &Frame, reading: &mut Reading) -> Result<(), String> {
        self.packed(frame, &mut reading.packed)?;
        reading.unpacker.unpack(&reading.packed, frame.plain as usize, &mut reading.plain)
    }
}

/// What reading frames needs again and again: one for each thread.
pub(crate) struct Reading {
    unpacker: Unpacker,
    packed: Vec<u8>,
    /// The content of the frame that was read last.
    pub(crate) plain: Vec<u8>,
}

impl Reading {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { unpacker: Unpacker::new()?, packed: Vec::new(), plain: Vec::new() })
    }

    /// Gives back the memory of a frame that was larger than frames are.
    pub(crate) fn lighten(&mut self) {
        for buffer in [&mut self.packed, &mut self.plain] {
            if buffer.capacity() > frame::HEAVY as usize {
                *buffer = Vec::new();
            }
        }
    }
}

/// Goes from frame to frame of the same bytes without an index.
#[derive(Default)]
pub(crate) struct FrameWalk {
    /// What of the file is read.
    at: u64,
    buffer: Vec<u8>,
    /// What of the buffer the frames before took.
    used: usize,
}

/// A frame that a [`FrameWalk`] came to.
pub(crate) enum Walked<'a> {
    /// Data, as it lies in the file and its unpacked length.
    Data { packed: &'a [u8], plain: usize },
    /// A skippable frame, with its header.
    Skippable(&'a [u8]),
}

impl FrameWalk {
    /// How much is read at once: more than most frames are long.
    const STEP: usize = 256 << 10;

    /// The next frame; `None` at the end of the file, an error where it is cut off or something else.
    pub(crate) fn next(&mut self, bytes: &Bytes) -> Result<Option<Walked<'_>>, String> {
        loop {
            let rest = &self.buffer[self.used..];
            let (length, plain) = match frame::start(rest) {
                Start::Data(packed, plain) => (packed, Some(plain)),
                Start::Skippable(packed) => (packed, None),
                Start::Nothing => return Err("something that is no frame".to_owned()),
                Start::Short => (usize::MAX, None),
            };
            if length <= rest.len() {
                let start = self.used;
                self.used += length;
                let packed = &self.buffer[start..self.used];
                return Ok(Some(
                    plain.map_or(Walked::Skippable(packed), |plain| Walked::Data { packed, plain }),
                ));
            }
            if rest.len() >= frame::LIMIT {
                return Err("a frame larger than any that pitool writes".to_owned());
            }
            self.buffer.drain(..self.used);
            self.used = 0;
            let before = self.buffer.len();
            // Doubled: what is there of a frame is looked at again each time.
            let step = before.clamp(Self::STEP, frame::LIMIT);
            self.buffer.resize(before + step.min(frame::LIMIT + Self::STEP - before), 0);
            let read = bytes.read(self.at, &mut self.buffer[before..]).map_err(|error| error.to_string())?;
            self.buffer.truncate(before + read);
            self.at += read as u64;
            if read == 0 {
                return if before == 0 { Ok(None) } else { Err("it ends inside of a frame".to_owned()) };
            }
        }
    }
}
