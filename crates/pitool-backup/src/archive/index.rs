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
const HEAD: usize = 8 + 4 + 4 + 8 + 8 + 4 + 4;
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
    let mut body = Vec::with_capacity(HEAD + 32 * (frames.len() + 2));
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

/// How many bytes at the end of an archive the seek table takes, from its [`FOOTER`].
pub(crate) fn table_length(footer: &[u8]) -> Option<u64> {
    let frames = u32_at(footer, 0)?;
    (footer.len() == FOOTER && footer[4] == 0 && u32_at(footer, 5)? == SEEKABLE)
        .then(|| 8 + u64::from(frames) * 8 + FOOTER as u64)
}

/// How many bytes in front of the seek table the index takes.
pub(crate) fn index_length(table: &[u8]) -> Option<u64> {
    let last = table.len().checked_sub(FOOTER + 8)?;
    u32_at(table, last).map(u64::from)
}

/// Reads the index and the seek table; on failure says what is wrong with them.
pub(crate) fn read(index: &[u8], table: &[u8]) -> Result<(Frames, Manifest), &'static str> {
    const SHORT: &str = "its index is too short";
    let covered = index.len().checked_sub(32).filter(|covered| *covered >= 8 + HEAD + 32).ok_or(SHORT)?;
    if blake3::hash(&index[..covered]).as_bytes() != &index[covered..] {
        return Err("its index is not as it was written");
    }
    if blake3::hash(table).as_bytes() != &index[covered - 32..covered] {
        return Err("its seek table is not as it was written");
    }
    let body = &index[8..];
    if &body[..8] != MAGIC {
        return Err("it has no index of pitool's");
    }
    if u32_at(body, 8) != Some(VERSION) {
        return Err("its index was written by a newer pitool");
    }
    let count = u32_at(body, 12).map_or(0, |count| count as usize);
    // Divided, not multiplied: on 32 bits a hostile count could wrap around to the right length.
    let (digests, entries) = (body.len() - HEAD - 64, table.len().saturating_sub(8 + FOOTER));
    if digests % 32 != 0
        || digests / 32 != count
        || entries % 8 != 0
        || entries / 8 != count.saturating_add(1)
    {
        return Err("its index and its seek table disagree");
    }
    let mut frames = Frames::default();
    for number in 0..count {
        let (Some(packed), Some(plain)) = (u32_at(table, 8 + number * 8), u32_at(table, 12 + number * 8))
        else {
            return Err(SHORT);
        };
        let digest = body[HEAD + number * 32..].first_chunk::<32>().ok_or(SHORT)?;
        frames.push(packed, plain, Some(Digest::from_bytes(*digest)));
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
    Ok((frames, manifest))
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
    use super::*;

    fn sample() -> (Frames, Manifest, Vec<u8>, usize) {
        let mut frames = Frames::default();
        for number in 1..=5u32 {
            frames.push(number * 10, number * 100, Some(Digest::of(&[number as u8])));
        }
        let manifest = Manifest { offset: 1000, length: 400, first: 3, frames: 1 };
        let end = write(&frames, manifest);
        let table = usize::try_from(table_length(&end[end.len() - FOOTER..]).unwrap()).unwrap();
        let split = end.len() - table;
        (frames, manifest, end, split)
    }

    #[test]
    fn what_is_written_is_read() {
        let (frames, manifest, end, split) = sample();
        assert_eq!(index_length(&end[split..]), Some(split as u64));
        assert_eq!(read(&end[..split], &end[split..]), Ok((frames, manifest)));
    }

    #[test]
    fn any_flipped_bit_is_seen() {
        let (_, _, end, split) = sample();
        for bit in 0..end.len() * 8 {
            let mut flipped = end.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&flipped[..split], &flipped[split..]).is_err(), "bit {bit}");
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
