//! The index and the seek table at the end of an archive, and the table of frames that they describe.
//!
//! The seek table is that of zstd's seekable format (facebook/zstd, contrib/seekable_format), without its optional
//! checksums. The index is a skippable frame of our own in front of it, little-endian:
//!
//! ```text
//! "pitoolix"  u32 version  u32 frames  u64 manifest offset  u64 manifest length  u32 manifest's first frame
//! u32 manifest's frames  32 bytes for each frame: BLAKE3 of it as it lies in the archive
//! 32 bytes: BLAKE3 of the seek table  32 bytes: BLAKE3 of this frame up to here
//! ```
//!
//! So every bit of an archive is under a digest, and a bad one can be named with the files that it spoils.

use pitool_host::Digest;

use super::frame;

const MAGIC: &[u8; 8] = b"pitoolix";
const VERSION: u32 = 1;
/// The index up to its digests: the header of its frame, and the numbers.
pub(crate) const HEAD: usize = 8 + 8 + 4 + 4 + 8 + 8 + 4 + 4;
/// A frame's digest in the index.
pub(crate) const DIGEST: usize = 32;
/// A frame's lengths in the seek table.
pub(crate) const ENTRY: usize = 8;
/// More frames than this no archive has: 16 TiB in large files, 512 GiB in small ones. Each takes 64 bytes of memory
/// when an archive is opened.
pub(crate) const LIMIT: usize = 1 << 22;
const SEEKABLE: u32 = 0x8F92_EAB1;
/// The footer of the seek table: number of frames, descriptor, magic number.
pub(crate) const FOOTER: usize = 9;

/// One frame of data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Frame {
    /// Where it begins in the archive.
    pub(crate) at: u64,
    /// Its length there.
    pub(crate) packed: u32,
    /// Where its content begins in the tar.
    pub(crate) offset: u64,
    /// Its content's length.
    pub(crate) plain: u32,
    /// BLAKE3 of it as it lies in the archive; `None` when the index was lost.
    pub(crate) digest: Option<Digest>,
}

/// The frames of an archive in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Frames(Vec<Frame>);

impl Frames {
    pub(crate) fn push(&mut self, packed: u32, plain: u32, digest: Option<Digest>) {
        self.0.push(Frame { at: self.packed_end(), packed, offset: self.plain_end(), plain, digest });
    }

    pub(crate) fn packed_end(&self) -> u64 {
        self.0.last().map_or(0, |frame| frame.at + u64::from(frame.packed))
    }

    pub(crate) fn plain_end(&self) -> u64 {
        self.0.last().map_or(0, |frame| frame.offset + u64::from(frame.plain))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Frame> {
        self.0.get(index)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Frame> {
        self.0.iter()
    }

    /// Which frame holds this byte of the tar.
    pub(crate) fn holding(&self, offset: u64) -> Option<usize> {
        let index = self.0.partition_point(|frame| frame.offset + u64::from(frame.plain) <= offset);
        (index < self.0.len()).then_some(index)
    }
}

/// Where the manifest is in an archive.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Manifest {
    /// Where its first line begins in the tar.
    pub(crate) offset: u64,
    /// Its length.
    pub(crate) length: u64,
    /// Its frames, which hold nothing else.
    pub(crate) first: usize,
    /// How many they are.
    pub(crate) frames: usize,
}

/// What follows the last frame of data: the index and the seek table.
pub(crate) fn write(frames: &Frames, manifest: Manifest) -> Vec<u8> {
    let mut body = Vec::with_capacity(HEAD - 8 + DIGEST * (frames.len() + 2));
    body.extend_from_slice(MAGIC);
    body.extend_from_slice(&VERSION.to_le_bytes());
    body.extend_from_slice(&short(frames.len()).to_le_bytes());
    body.extend_from_slice(&manifest.offset.to_le_bytes());
    body.extend_from_slice(&manifest.length.to_le_bytes());
    body.extend_from_slice(&short(manifest.first).to_le_bytes());
    body.extend_from_slice(&short(manifest.frames).to_le_bytes());
    for frame in frames.iter() {
        body.extend_from_slice(frame.digest.map_or([0; 32], |digest| *digest.as_bytes()).as_slice());
    }
    let index_length = 8 + body.len() + 64;

    let mut table = Vec::with_capacity((frames.len() + 1) * 8 + FOOTER);
    for (packed, plain) in
        frames.iter().map(|frame| (frame.packed, frame.plain)).chain([(short(index_length), 0)])
    {
        table.extend_from_slice(&packed.to_le_bytes());
        table.extend_from_slice(&plain.to_le_bytes());
    }
    table.extend_from_slice(&short(frames.len() + 1).to_le_bytes());
    table.push(0);
    table.extend_from_slice(&SEEKABLE.to_le_bytes());
    let table = frame::skippable(14, &table);

    body.extend_from_slice(blake3::hash(&table).as_bytes());
    // The digest covers the frame's own header too, so it is made around the body with room for itself.
    body.extend_from_slice(&[0; 32]);
    let mut index = frame::skippable(0, &body);
    let covered = index.len() - 32;
    let digest = blake3::hash(&index[..covered]);
    index[covered..].copy_from_slice(digest.as_bytes());
    index.extend_from_slice(&table);
    index
}

/// How many frames of data an archive has, from the [`FOOTER`] of its seek table.
pub(crate) fn frames(footer: &[u8; FOOTER]) -> Option<usize> {
    let entries = u32_at(footer, 0)?;
    let table = footer[4] == 0 && u32_at(footer, 5)? == SEEKABLE;
    // The last one is the index itself.
    table.then_some(entries)?.checked_sub(1).map(|count| count as usize)
}

/// How many bytes at the end of an archive the seek table takes.
pub(crate) fn table_length(count: usize) -> u64 {
    (8 + FOOTER) as u64 + (count as u64 + 1) * ENTRY as u64
}

/// How many bytes in front of the seek table the index takes.
pub(crate) fn index_length(count: usize) -> u64 {
    HEAD as u64 + (count as u64 + 2) * DIGEST as u64
}

/// Where the first entry of a seek table is.
pub(crate) fn first_entry(table: u64) -> u64 {
    table + 8
}

/// Reads the beginning of an index, up to [`HEAD`]; on failure says what is wrong with it.
pub(crate) fn manifest(head: &[u8; HEAD], count: usize) -> Result<Manifest, &'static str> {
    const SHORT: &str = "its index is too short";
    let body = &head[8..];
    if &body[..8] != MAGIC {
        return Err("it has no index of pitool's");
    }
    if u32_at(body, 8) != Some(VERSION) {
        return Err("its index was written by a newer pitool");
    }
    if u32_at(body, 12).map(|frames| frames as usize) != Some(count) {
        return Err("its index and its seek table disagree");
    }
    let manifest = Manifest {
        offset: u64_at(body, 16).ok_or(SHORT)?,
        length: u64_at(body, 24).ok_or(SHORT)?,
        first: u32_at(body, 32).ok_or(SHORT)? as usize,
        frames: u32_at(body, 36).ok_or(SHORT)? as usize,
    };
    if manifest.first.checked_add(manifest.frames).is_none_or(|end| end > count) {
        return Err("its index points past its end");
    }
    Ok(manifest)
}

/// Adds the frames of which these are lengths and digests; says how many that are.
pub(crate) fn read(entries: &[u8], digests: &[u8], frames: &mut Frames) -> usize {
    let before = frames.len();
    for (entry, digest) in entries.chunks_exact(ENTRY).zip(digests.chunks_exact(DIGEST)) {
        if let (Some(packed), Some(plain), Some(digest)) =
            (u32_at(entry, 0), u32_at(entry, 4), digest.first_chunk::<DIGEST>())
        {
            frames.push(packed, plain, Some(Digest::from_bytes(*digest)));
        }
    }
    frames.len() - before
}

/// Four billion frames would be sixteen petabytes.
fn short(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::super::file::ArchiveFile;
    use super::super::seal::Identities;
    use super::*;

    /// A file of five frames of nothing, an index and a seek table, and where the index begins.
    fn sample() -> (Frames, Manifest, Vec<u8>, usize) {
        let mut frames = Frames::default();
        for number in 1..=5u32 {
            frames.push(number * 10, number * 100, Some(Digest::of(&[number as u8])));
        }
        let manifest = Manifest { offset: 1000, length: 400, first: 3, frames: 1 };
        let data = 150;
        let mut bytes = vec![0; data];
        bytes.extend_from_slice(&write(&frames, manifest));
        (frames, manifest, bytes, data)
    }

    fn opened(bytes: &[u8]) -> Result<ArchiveFile, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        ArchiveFile::open(file.path(), false, &Identities::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_written_is_read() {
        let (frames, manifest, bytes, _) = sample();
        let archive = opened(&bytes).unwrap();
        assert_eq!((archive.frames, archive.manifest), (frames, Some(manifest)));
    }

    #[test]
    fn any_flipped_bit_is_seen() {
        let (_, _, bytes, start) = sample();
        for bit in start * 8..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(opened(&flipped).is_err(), "bit {bit}");
        }
    }

    /// K1.8: what a footer claims costs no memory.
    #[test]
    fn a_footer_that_claims_all_frames_there_can_be_is_refused() {
        let (_, _, bytes, _) = sample();
        let footer = bytes.len() - FOOTER;
        for (claim, said) in [
            (u32::MAX, "more frames than"),
            (5_000_000, "more frames than"),
            (400_000, "its end is missing"),
            (0, "its end is missing"),
        ] {
            let mut lying = bytes.clone();
            lying[footer..footer + 4].copy_from_slice(&claim.to_le_bytes());
            let error = opened(&lying).map(drop).unwrap_err();
            assert!(error.contains(said), "{claim}: {error}");
            // In a file that claims to be long enough, too: it has a hole.
            let file = tempfile::NamedTempFile::new().unwrap();
            file.as_file().set_len(1 << 40).unwrap();
            std::os::unix::fs::FileExt::write_all_at(
                file.as_file(),
                &lying[footer..],
                (1 << 40) - FOOTER as u64,
            )
            .unwrap();
            assert!(ArchiveFile::open(file.path(), false, &Identities::default()).is_err());
        }
    }

    #[test]
    fn a_byte_is_found_in_its_frame() {
        let (frames, ..) = sample();
        assert_eq!(
            [0, 99, 100, 299, 300, 1499, 1500].map(|offset| frames.holding(offset)),
            [Some(0), Some(0), Some(1), Some(1), Some(2), Some(4), None]
        );
    }
}
