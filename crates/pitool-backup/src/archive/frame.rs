//! One zstd frame: independent of all others, with its length in front and a checksum behind.

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{self, CParameter};

/// Larger frames than any of ours are refused before memory is taken for them: a few bytes could claim terabytes.
pub(crate) const LIMIT: usize = 64 << 20;

/// Frames that are larger than this are unpacked one at a time. Only the list of holes of a large file has such frames.
pub(crate) const HEAVY: u32 = 8 << 20;

/// An allocation of this size is always a mapping of its own, which the kernel gets back when it is freed; of smaller ones
/// glibc may keep as much for later (malloc(3), M_MMAP_THRESHOLD). Memory that is not written to costs nothing.
const RETURNED: usize = 33 << 20;

/// Empties a buffer and makes room in it for so many bytes.
pub(crate) fn make_room(buffer: &mut Vec<u8>, length: usize) {
    buffer.clear();
    if length > HEAVY as usize && length > buffer.capacity() {
        *buffer = Vec::with_capacity(length.max(RETURNED));
    } else {
        buffer.reserve(length);
    }
}

/// Compresses bytes into frames.
pub(crate) struct Packer {
    compressor: Compressor<'static>,
    /// As much room as a frame could take; asked of the kernel once and not for each.
    room: Vec<u8>,
}

impl Packer {
    pub(crate) fn new(level: i32) -> std::io::Result<Self> {
        let mut compressor = Compressor::new(level)?;
        compressor.set_parameter(CParameter::ChecksumFlag(true))?;
        Ok(Self { compressor, room: Vec::new() })
    }

    pub(crate) fn pack(&mut self, plain: &[u8]) -> std::io::Result<Vec<u8>> {
        self.room.clear();
        self.room.reserve(zstd_safe::compress_bound(plain.len()));
        self.compressor.compress_to_buffer(plain, &mut self.room)?;
        // What waits to be written should weigh what it is, not what it could have become.
        Ok(self.room.clone())
    }
}

/// Decompresses frames.
pub(crate) struct Unpacker(Decompressor<'static>);

impl Unpacker {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self(Decompressor::new()?))
    }

    /// Unpacks one frame into a buffer, whose old content is dropped. The frame must have exactly this length.
    pub(crate) fn unpack(&mut self, packed: &[u8], length: usize, plain: &mut Vec<u8>) -> Result<(), String> {
        if length > LIMIT {
            return Err(format!("a frame of {length} bytes is larger than any that pitool writes"));
        }
        make_room(plain, length);
        match self.0.decompress_to_buffer(packed, plain) {
            Ok(unpacked) if unpacked == length => Ok(()),
            Ok(unpacked) => Err(format!("a frame holds {unpacked} bytes instead of {length}")),
            Err(error) => Err(format!("a frame cannot be decompressed: {error}")),
        }
    }
}

/// The beginning of a frame as it stands in a file, read without a seek table.
pub(crate) enum Start {
    /// Data: packed and unpacked length.
    Data(usize, usize),
    /// Skippable: packed length.
    Skippable(usize),
    /// It ends before the frame does.
    Short,
    /// No frame begins here.
    Nothing,
}

/// Looks at the frame that these bytes begin with.
pub(crate) fn start(bytes: &[u8]) -> Start {
    let Some(magic) = bytes.first_chunk::<4>().map(|magic| u32::from_le_bytes(*magic)) else {
        return Start::Short;
    };
    if magic & 0xFFFF_FFF0 == SKIPPABLE {
        let Some(length) = bytes[4..].first_chunk::<4>().map(|length| u32::from_le_bytes(*length)) else {
            return Start::Short;
        };
        return usize::try_from(length)
            .map_or(Start::Nothing, |length| Start::Skippable(length.saturating_add(8)));
    }
    if magic != zstd_safe::MAGICNUMBER {
        return Start::Nothing;
    }
    let Ok(packed) = zstd_safe::find_frame_compressed_size(bytes) else { return Start::Short };
    match zstd_safe::get_frame_content_size(bytes) {
        Ok(Some(plain)) => usize::try_from(plain).map_or(Start::Nothing, |plain| Start::Data(packed, plain)),
        _ => Start::Nothing,
    }
}

/// The first of the sixteen magic numbers of skippable frames, RFC 8878 section 3.1.2.
pub(crate) const SKIPPABLE: u32 = 0x184D_2A50;

/// A skippable frame around these bytes; `number` is 0 to 15.
pub(crate) fn skippable(number: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    let mut frame = Vec::with_capacity(8 + content.len());
    frame.extend_from_slice(&(SKIPPABLE + number).to_le_bytes());
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(content);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_what_went_in_and_says_how_long_it_is() {
        let plain = b"pitool ".repeat(1000);
        let packed = Packer::new(3).unwrap().pack(&plain).unwrap();
        let mut followed = packed.clone();
        followed.extend_from_slice(b"more");
        assert!(matches!(start(&followed), Start::Data(a, b) if (a, b) == (packed.len(), plain.len())));
        assert!(matches!(start(&packed[..packed.len() - 1]), Start::Short));
        assert!(matches!(start(&skippable(3, b"abc")), Start::Skippable(11)));
        let mut unpacked = Vec::new();
        Unpacker::new().unwrap().unpack(&packed, plain.len(), &mut unpacked).unwrap();
        assert_eq!(unpacked, plain);
    }

    #[test]
    fn a_frame_that_is_not_as_announced_is_refused() {
        let packed = Packer::new(3).unwrap().pack(&[7; 5000]).unwrap();
        let mut unpacker = Unpacker::new().unwrap();
        let mut plain = Vec::new();
        assert!(unpacker.unpack(&packed, 4999, &mut plain).is_err());
        assert!(unpacker.unpack(&packed, 5001, &mut plain).is_err());
        assert!(unpacker.unpack(&packed, usize::MAX, &mut plain).unwrap_err().contains("larger than any"));
        let mut flipped = packed.clone();
        *flipped.last_mut().unwrap() ^= 1;
        assert!(unpacker.unpack(&flipped, 5000, &mut plain).is_err(), "the checksum is looked at");
    }
}
