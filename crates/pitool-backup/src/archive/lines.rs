//! A manifest's lines, in frames: written while the run goes on, read one at a time.

use std::io::{self, BufRead, Write};
use std::path::Path;

use pitool_host::Digest;

use super::file::{ArchiveFile, Bytes, FrameWalk, Reading, Walked};
use super::frame::{self, Packer, Unpacker};
use super::seal::Identities;
use crate::manifest::Line;
use crate::{Error, Result, StoredPath};

/// Lines are long and alike: larger frames save nothing more, and each costs its size in memory.
const FRAME: usize = 512 << 10;

/// Digests do not compress, and the rest compresses at any level.
const LEVEL: i32 = 1;

/// A frame that was written: its length packed and unpacked, and its digest.
pub(crate) type Written = (u32, u32, Digest);

/// Writes lines as frames.
pub(crate) struct LineWriter<W> {
    packer: Packer,
    plain: Vec<u8>,
    out: W,
    frames: Vec<Written>,
    length: u64,
}

impl<W: Write> LineWriter<W> {
    pub(crate) fn new(out: W) -> io::Result<Self> {
        Ok(Self { packer: Packer::new(LEVEL)?, plain: Vec::new(), out, frames: Vec::new(), length: 0 })
    }

    pub(crate) fn write(&mut self, line: &Line) -> io::Result<()> {
        serde_json::to_writer(&mut self.plain, line)?;
        self.plain.push(b'\n');
        if self.plain.len() >= FRAME { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.plain.is_empty() {
            return Ok(());
        }
        let packed = self.packer.pack(&self.plain)?;
        let [packed_length, length] =
            [packed.len(), self.plain.len()].map(|length| u32::try_from(length).unwrap_or(u32::MAX));
        self.frames.push((packed_length, length, Digest::of(&packed)));
        self.length += u64::from(length);
        self.plain.clear();
        self.out.write_all(&packed)
    }

    /// Ends the frame; hands back where it went, its frames and the sum of their lengths unpacked.
    pub(crate) fn finish(mut self) -> io::Result<(W, Vec<Written>, u64)> {
        self.flush()?;
        Ok((self.out, self.frames, self.length))
    }
}

/// The frame at the end of a manifest beside its archive: a digest of all before it.
pub(crate) fn closing(before: &Digest) -> Vec<u8> {
    frame::skippable(0, before.as_bytes())
}

/// Reads lines from a manifest beside its archive, or from the one inside.
pub(crate) struct Lines {
    from: From,
    plain: Vec<u8>,
    at: usize,
    /// How the lines of the entries begin that are wanted; with none of these all are.
    wanted: Vec<Vec<u8>>,
}

enum From {
    Beside { bytes: Box<Bytes>, walk: FrameWalk, unpacker: Unpacker },
    Inside { archive: std::sync::Arc<ArchiveFile>, next: usize, end: usize, reading: Reading },
}

impl Lines {
    /// Opens the manifest beside an archive, after looking at every byte of it.
    pub(crate) fn beside(path: &Path, encrypted: bool, identities: &Identities) -> Result<Self> {
        let bytes = Bytes::open(path, encrypted, identities)?;
        check(&bytes).map_err(|what| Error::damaged(path, what))?;
        let unpacker = Unpacker::new().map_err(Error::path("read", path))?;
        Ok(Self::new(From::Beside { bytes: Box::new(bytes), walk: FrameWalk::default(), unpacker }))
    }

    /// Opens the manifest inside an archive.
    pub(crate) fn inside(archive: &std::sync::Arc<ArchiveFile>) -> Result<Self> {
        let manifest =
            archive.manifest.ok_or_else(|| Error::damaged(archive.path(), "its manifest is lost"))?;
        let reading = Reading::new().map_err(Error::path("read", archive.path()))?;
        let (next, end) = (manifest.first, manifest.first + manifest.frames);
        Ok(Self::new(From::Inside { archive: archive.clone(), next, end, reading }))
    }

    fn new(from: From) -> Self {
        Self { from, plain: Vec::new(), at: 0, wanted: Vec::new() }
    }

    /// Passes by lines of entries that are not in these directories, and are not these themselves. Some others may come all
    /// the same: only the beginning of a line is looked at, because to read them all was two thirds of a small restore.
    pub(crate) fn within(mut self, only: &[StoredPath]) -> Self {
        // Plain strings always serialize.
        let text = |path| serde_json::to_vec(path).unwrap_or_default();
        let beginning = |path| [PATH, text(path).strip_suffix(b"\"").unwrap_or_default()].concat();
        self.wanted = only.iter().map(beginning).collect();
        self
    }

    fn path(&self) -> &Path {
        match &self.from {
            From::Beside { bytes, .. } => bytes.path(),
            From::Inside { archive, .. } => archive.path(),
        }
    }

    /// Unpacks the next frame; `false` at the end.
    fn more(&mut self) -> Result<bool, String> {
        self.at = 0;
        match &mut self.from {
            From::Beside { bytes, walk, unpacker } => {
                let Some(Walked::Data { packed, plain }) = walk.next(bytes)? else {
                    self.plain.clear();
                    return Ok(false);
                };
                unpacker.unpack(packed, plain, &mut self.plain)?;
            }
            From::Inside { archive, next, end, reading } => {
                if next == end {
                    self.plain.clear();
                    return Ok(false);
                }
                let frame = archive.frames.get(*next).ok_or("its manifest is lost")?;
                archive.plain(frame, reading)?;
                std::mem::swap(&mut self.plain, &mut reading.plain);
                *next += 1;
            }
        }
        Ok(true)
    }
}

impl Lines {
    /// The next line that is no entry; entries are nearly all, and to read them all takes its time.
    pub(crate) fn next_but_entries(&mut self) -> Option<Result<Line>> {
        loop {
            while self.plain.get(self.at..).is_some_and(|rest| rest.starts_with(ENTRY)) {
                self.skip();
            }
            match self.next()? {
                Ok(Line::Entry(_)) => {}
                line => return Some(line),
            }
        }
    }

    fn skip(&mut self) {
        // Reading from memory does not fail, and frames end where lines end.
        self.at += (&self.plain[self.at..]).skip_until(b'\n').unwrap_or_default();
    }

    /// Whether the next line is of an entry that is not wanted. What is no text is written otherwise, and looked at as a whole.
    fn is_passed_by(&self) -> bool {
        let rest = &self.plain[self.at..];
        !self.wanted.is_empty()
            && rest.starts_with(PATH)
            && rest.get(PATH.len()) == Some(&b'"')
            && !self.wanted.iter().any(|beginning| rest.starts_with(beginning))
    }
}

/// How the line of an entry begins.
const ENTRY: &[u8] = b"{\"entry\":";

/// The same up to its path.
const PATH: &[u8] = b"{\"entry\":{\"path\":";

impl Iterator for Lines {
    type Item = Result<Line>;

    fn next(&mut self) -> Option<Result<Line>> {
        let start = loop {
            if self.at >= self.plain.len() {
                match self.more() {
                    Ok(true) => {}
                    Ok(false) => return None,
                    Err(what) => {
                        return Some(Err(Error::damaged(self.path(), format!("its manifest: {what}"))));
                    }
                }
            }
            let start = self.at;
            let passed_by = self.is_passed_by();
            self.skip();
            if !passed_by {
                break start;
            }
        };
        let line = serde_json::from_slice(&self.plain[start..self.at]);
        Some(
            line.map_err(|error| {
                Error::damaged(self.path(), format!("its manifest is not understood: {error}"))
            }),
        )
    }
}

/// Whether a manifest is as it was written, by the digest at its end.
fn check(bytes: &Bytes) -> Result<(), String> {
    let mut hasher = blake3::Hasher::new();
    let mut walk = FrameWalk::default();
    let mut closed = false;
    while let Some(walked) = walk.next(bytes)? {
        match walked {
            _ if closed => return Err("something follows its end".to_owned()),
            Walked::Data { packed, .. } => {
                hasher.update(packed);
            }
            Walked::Skippable(packed) => {
                let digest = Digest::from_bytes(*hasher.finalize().as_bytes());
                if packed != closing(&digest) {
                    return Err("it is not as it was written".to_owned());
                }
                closed = true;
            }
        }
    }
    if closed { Ok(()) } else { Err("its end is missing".to_owned()) }
}
