//! An archive as it lies on the disk: its bytes through the encryption, and its frames.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use age::stream::StreamReader;
use pitool_host::Digest;

use super::frame::{self, Start, Unpacker};
use super::index::{self, Frame, Frames, Manifest};
use super::seal::Identities;
use crate::{Error, Result};

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
        let file = File::open(path).map_err(Error::path("open", path))?;
        let kind = if encrypted { Self::unseal(path, file, identities)? } else { Kind::Plain(file) };
        Ok(Self { path: path.to_owned(), kind })
    }

    fn unseal(path: &Path, file: File, identities: &Identities) -> Result<Kind> {
        let sealed = |why: String| Error::Sealed { archive: path.to_owned(), why };
        if identities.is_empty() {
            return Err(sealed("no identity was given".to_owned()));
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

    fn exactly(&self, at: u64, length: u64) -> Result<Vec<u8>> {
        let short = || Error::damaged(&self.path, "it ends too early");
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| short())?];
        let read = self.read(at, &mut bytes).map_err(Error::path("read", &self.path))?;
        if read < bytes.len() {
            return Err(short());
        }
        Ok(bytes)
    }
}

/// An archive that is open for reading, from several threads where it is not encrypted.
pub(crate) struct ArchiveFile {
    bytes: Bytes,
    pub(crate) frames: Frames,
    /// Where the manifest is; `None` when the archive's end is lost.
    pub(crate) manifest: Option<Manifest>,
}

impl ArchiveFile {
    /// Opens an archive by its index.
    pub(crate) fn open(path: &Path, encrypted: bool, identities: &Identities) -> Result<Self> {
        let bytes = Bytes::open(path, encrypted, identities)?;
        let damaged = |what: &str| Error::damaged(path, what);
        // A sealed stream that was cut has no valid end to seek to.
        let length = bytes.length().map_err(|_| damaged("it ends too early"))?;
        let footer_at =
            length.checked_sub(index::FOOTER as u64).ok_or_else(|| damaged("it ends too early"))?;
        let footer = bytes.exactly(footer_at, index::FOOTER as u64)?;
        let lost = || damaged("its end is missing: it was cut off, or is no archive of pitool's");
        let table_length = index::table_length(&footer).filter(|table| *table <= length).ok_or_else(lost)?;
        let table = bytes.exactly(length - table_length, table_length)?;
        let index_length =
            index::index_length(&table).filter(|index| *index <= length - table_length).ok_or_else(lost)?;
        let index_at = length - table_length - index_length;
        let index = bytes.exactly(index_at, index_length)?;
        let (frames, manifest) = index::read(&index, &table).map_err(damaged)?;
        if frames.packed_end() != index_at {
            return Err(damaged("its frames do not add up to its length"));
        }
        Ok(Self { bytes, frames, manifest: Some(manifest) })
    }

    /// Opens an archive whose end is lost, by going from frame to frame until one is not whole.
    pub(crate) fn recover(path: &Path, encrypted: bool, identities: &Identities) -> Result<Self> {
        let bytes = Bytes::open(path, encrypted, identities)?;
        let mut frames = Frames::default();
        let mut walk = FrameWalk::default();
        while let Ok(Some(Walked::Data { packed, plain })) = walk.next(&bytes) {
            let (Ok(packed), Ok(plain)) = (u32::try_from(packed.len()), u32::try_from(plain)) else { break };
            frames.push(packed, plain, None);
        }
        Ok(Self { bytes, frames, manifest: None })
    }

    pub(crate) fn path(&self) -> &Path {
        self.bytes.path()
    }

    /// Reads a frame as it lies in the archive; the error says in which way it is damaged.
    pub(crate) fn packed(&self, frame: &Frame, buffer: &mut Vec<u8>) -> Result<(), String> {
        if frame.packed as usize > frame::LIMIT {
            return Err(format!("a frame of {} bytes is larger than any that pitool writes", frame.packed));
        }
        buffer.clear();
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
}

/// Goes from frame to frame of the same bytes without an index.
#[derive(Default)]
pub(crate) struct FrameWalk {
    at: u64,
    buffer: Vec<u8>,
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
        self.buffer.drain(..self.used);
        self.used = 0;
        loop {
            let (length, plain) = match frame::start(&self.buffer) {
                Start::Data(packed, plain) => (packed, Some(plain)),
                Start::Skippable(packed) => (packed, None),
                Start::Nothing => return Err("something that is no frame".to_owned()),
                Start::Short => (usize::MAX, None),
            };
            if length <= self.buffer.len() {
                self.used = length;
                let packed = &self.buffer[..length];
                return Ok(Some(
                    plain.map_or(Walked::Skippable(packed), |plain| Walked::Data { packed, plain }),
                ));
            }
            if self.buffer.len() > frame::LIMIT {
                return Err("a frame larger than any that pitool writes".to_owned());
            }
            let before = self.buffer.len();
            self.buffer.resize(before + Self::STEP, 0);
            let read = bytes.read(self.at, &mut self.buffer[before..]).map_err(|error| error.to_string())?;
            self.buffer.truncate(before + read);
            self.at += read as u64;
            if read == 0 {
                return if before == 0 { Ok(None) } else { Err("it ends inside of a frame".to_owned()) };
            }
        }
    }
}
