//! Reading headers: what [`super::head`] writes, and whatever a hostile archive holds instead.

use pitool_host::Digest;

use super::{BLOCK, EXTENTS_IN_BLOCK, EXTENTS_IN_HEADER};
use crate::StoredPath;
use crate::manifest::{Entry, File, Kind, PATH, Time, Xattr};

/// Names and attributes are short; a header that claims more is refused before memory is taken for it.
const SPECIAL_LIMIT: u64 = 1 << 20;
/// ext4's largest file. A sparse file may claim any size without having data for it.
const SIZE_LIMIT: u64 = 16 << 40;

/// Why a header was not understood.
#[derive(Debug, PartialEq)]
pub(crate) enum Malformed {
    /// It ends before it is complete: at this many bytes it may be.
    Short(usize),
    /// It is no header, or says what no header of ours can say.
    Bad(String),
}

/// What the headers at the beginning of these bytes say.
#[derive(Debug, PartialEq)]
pub(crate) enum Head {
    /// An entry; its `offset` and its file's digest are left to the caller, its `length` is that of head and data.
    Entry {
        /// The entry.
        entry: Box<Entry>,
        /// How many bytes the headers take.
        length: usize,
    },
    /// The manifest, that is no entry of itself.
    Manifest {
        /// How many bytes the headers take.
        length: usize,
        /// How long the manifest is.
        size: u64,
    },
    /// The end of the tar.
    End,
}

/// Reads the headers of the entry at the beginning of these bytes.
pub(crate) fn head_of(bytes: &[u8]) -> Result<Head, Malformed> {
    let mut at = 0;
    let mut long_path = None;
    let mut long_target = None;
    let mut mtime = None;
    let mut xattrs = Vec::new();
    loop {
        let block = block(bytes, at)?;
        if block.iter().all(|byte| *byte == 0) {
            return if at == 0 {
                Ok(Head::End)
            } else {
                bad("the archive ends after a header without its entry")
            };
        }
        if sum(block) != unsigned(&block[148..156])? {
            return bad("a tar header's checksum is wrong");
        }
        let size = unsigned(&block[124..136])?;
        let kind = block[156];
        at += BLOCK;
        if !matches!(kind, b'x' | b'L' | b'K') {
            let path = long_path.unwrap_or_else(|| until_nul(&block[..100]).to_vec());
            let target = long_target.unwrap_or_else(|| until_nul(&block[157..257]).to_vec());
            return member(bytes, at, block, size, path, target, mtime, xattrs);
        }
        if size > SPECIAL_LIMIT {
            return bad("a name or a list of attributes is longer than can be");
        }
        let length = size as usize;
        let content = bytes.get(at..at + length).ok_or(Malformed::Short(at + length + BLOCK))?;
        match kind {
            b'L' => long_path = Some(until_nul(content).to_vec()),
            b'K' => long_target = Some(until_nul(content).to_vec()),
            _ => records(content, &mut mtime, &mut xattrs)?,
        }
        at += length + super::padding(size);
    }
}

#[expect(clippy::too_many_arguments, reason = "the pieces of one header, gathered by its only caller")]
fn member(
    bytes: &[u8],
    mut at: usize,
    block: &[u8],
    size: u64,
    mut path: Vec<u8>,
    target: Vec<u8>,
    mtime: Option<Time>,
    xattrs: Vec<Xattr>,
) -> Result<Head, Malformed> {
    let mut stored = 0;
    let kind = match block[156] {
        b'0' | 0 => {
            stored = size;
            Kind::File(File::plain(size, Digest::of(b"")))
        }
        b'S' => {
            let (extents, real) = sparse(bytes, &mut at, block)?;
            stored = size;
            if extents.iter().try_fold(0u64, |sum, (_, length)| sum.checked_add(*length)) != Some(size) {
                return bad("the extents of a file do not add up to its data");
            }
            Kind::File(File { extents: Some(extents), ..File::plain(real, Digest::of(b"")) })
        }
        b'1' => Kind::HardLink(stored_path(target)?),
        b'2' => Kind::Symlink(target),
        b'3' => Kind::CharDevice(device(&block[329..337])?, device(&block[337..345])?),
        b'4' => Kind::BlockDevice(device(&block[329..337])?, device(&block[337..345])?),
        b'5' => {
            if path.last() == Some(&b'/') {
                path.pop();
            }
            Kind::Directory
        }
        b'6' => Kind::Fifo,
        other => return bad(format!("an entry is of the unknown type {:?}", char::from(other))),
    };
    if stored > SIZE_LIMIT {
        return bad("a file claims to be larger than a file can be");
    }
    if path == PATH.as_bytes() {
        return Ok(Head::Manifest { length: at, size: stored });
    }
    let seconds = signed(&block[136..148])?;
    let entry = Entry {
        path: stored_path(path)?,
        kind,
        mode: (unsigned(&block[100..108])? & 0o7777) as u32,
        uid: id(&block[108..116])?,
        gid: id(&block[116..124])?,
        user: String::from_utf8_lossy(until_nul(&block[265..297])).into_owned(),
        group: String::from_utf8_lossy(until_nul(&block[297..329])).into_owned(),
        mtime: mtime.unwrap_or(Time { seconds, nanoseconds: 0 }),
        ctime: Time::default(),
        inode: 0,
        xattrs,
        offset: 0,
        length: at as u64 + stored + super::padding(stored) as u64,
        unsettled: false,
    };
    Ok(Head::Entry { entry: Box::new(entry), length: at })
}

/// The extents of a sparse file, and its length with its holes.
fn sparse(bytes: &[u8], at: &mut usize, block: &[u8]) -> Result<(Vec<(u64, u64)>, u64), Malformed> {
    let real = unsigned(&block[483..495])?;
    let mut extents = Vec::new();
    let mut take = |field: &[u8], count: usize| -> Result<(), Malformed> {
        for slot in field.chunks_exact(24).take(count) {
            if slot[0] != 0 {
                extents.push((unsigned(&slot[..12])?, unsigned(&slot[12..])?));
            }
        }
        Ok(())
    };
    take(&block[386..482], EXTENTS_IN_HEADER)?;
    let mut more = block[482] != 0;
    while more {
        let next = self::block(bytes, *at)?;
        take(&next[..504], EXTENTS_IN_BLOCK)?;
        more = next[504] != 0;
        *at += BLOCK;
    }
    let mut end = 0;
    for (offset, length) in &extents {
        match offset.checked_add(*length) {
            Some(next) if *offset >= end && next <= real => end = next,
            _ => return bad("the extents of a file lie outside of it or upon each other"),
        }
    }
    if real > SIZE_LIMIT {
        return bad("a file claims to be larger than a file can be");
    }
    Ok((extents, real))
}

fn records(mut bytes: &[u8], mtime: &mut Option<Time>, xattrs: &mut Vec<Xattr>) -> Result<(), Malformed> {
    while !bytes.is_empty() {
        let parsed = || {
            let space = bytes.iter().position(|byte| *byte == b' ')?;
            let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
            let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
            let equals = record.iter().position(|byte| *byte == b'=')?;
            Some((length, std::str::from_utf8(&record[..equals]).ok()?, &record[equals + 1..]))
        };
        let Some((length, key, value)) = parsed() else { return bad("a PAX record is not understood") };
        if key == "mtime" {
            let time = std::str::from_utf8(value).ok().and_then(time);
            *mtime = Some(time.ok_or_else(|| Malformed::Bad("a PAX time is not understood".to_owned()))?);
        } else if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
            xattrs.push(Xattr { name: name.to_owned(), value: value.to_vec() });
        }
        bytes = &bytes[length..];
    }
    Ok(())
}

fn time(text: &str) -> Option<Time> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = seconds.parse().ok()?;
    let fraction = format!("{fraction:0<9}");
    let nanoseconds: u32 = fraction.get(..9)?.parse().ok()?;
    Some(match (negative, nanoseconds) {
        (false, _) => Time { seconds, nanoseconds },
        (true, 0) => Time { seconds: -seconds, nanoseconds },
        (true, _) => Time { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    })
}

fn block(bytes: &[u8], at: usize) -> Result<&[u8], Malformed> {
    bytes.get(at..at + BLOCK).ok_or(Malformed::Short(at + BLOCK))
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or(field)
}

fn stored_path(bytes: Vec<u8>) -> Result<StoredPath, Malformed> {
    let shown = String::from_utf8_lossy(&bytes).into_owned();
    StoredPath::new(bytes)
        .ok_or_else(|| Malformed::Bad(format!("the path {shown:?} leads out of the archive")))
}

fn signed(field: &[u8]) -> Result<i64, Malformed> {
    if field[0] & 0x80 != 0 {
        let negative = field[0] & 0x40 != 0;
        let mut value: i128 = if negative { -1 } else { 0 };
        for (index, byte) in field.iter().enumerate() {
            let byte = if index == 0 && !negative { byte & 0x7f } else { *byte };
            value = value << 8 | i128::from(byte);
        }
        return i64::try_from(value)
            .map_err(|_| Malformed::Bad("a number in a tar header is too large".to_owned()));
    }
    let digits: Vec<u8> = field.iter().copied().filter(|byte| !matches!(byte, b' ' | 0)).collect();
    if digits.is_empty() {
        return Ok(0);
    }
    std::str::from_utf8(&digits)
        .ok()
        .and_then(|digits| i64::from_str_radix(digits, 8).ok())
        .ok_or_else(|| Malformed::Bad("a number in a tar header is none".to_owned()))
}

fn unsigned(field: &[u8]) -> Result<u64, Malformed> {
    u64::try_from(signed(field)?)
        .map_err(|_| Malformed::Bad("a number in a tar header is negative".to_owned()))
}

fn id(field: &[u8]) -> Result<u32, Malformed> {
    u32::try_from(unsigned(field)?).map_err(|_| Malformed::Bad("an owner's number is too large".to_owned()))
}

fn device(field: &[u8]) -> Result<u32, Malformed> {
    u32::try_from(unsigned(field)?).map_err(|_| Malformed::Bad("a device's number is too large".to_owned()))
}

fn sum(block: &[u8]) -> u64 {
    block
        .iter()
        .enumerate()
        .map(|(at, byte)| u64::from(if (148..156).contains(&at) { b' ' } else { *byte }))
        .sum()
}

fn bad<T>(why: impl Into<String>) -> Result<T, Malformed> {
    Err(Malformed::Bad(why.into()))
}

#[cfg(test)]
mod tests {
    use super::super::{END, head};
    use super::*;

    fn entry(kind: Kind) -> Entry {
        Entry {
            path: StoredPath::new(&b"a/b"[..]).unwrap(),
            kind,
            mode: 0o4755,
            uid: 1000,
            gid: 3_000_000_000,
            user: "pi".into(),
            group: String::new(),
            mtime: Time { seconds: -5, nanoseconds: 250_000_000 },
            ctime: Time::default(),
            inode: 0,
            xattrs: Vec::new(),
            offset: 0,
            length: 0,
            unsettled: false,
        }
    }

    fn digest() -> Digest {
        Digest::of(b"")
    }

    #[test]
    fn what_is_written_is_read() {
        let long = StoredPath::new(vec![b'x'; 300]).unwrap();
        let extents = (0..60).map(|number| (number * 8192, 4096)).chain([(1 << 40, 0)]).collect();
        let xattrs = vec![Xattr { name: "user.a".into(), value: b"\0\xff=\n".to_vec() }];
        let cases = [
            entry(Kind::Directory),
            entry(Kind::Symlink(b"/etc/../\xff".to_vec())),
            entry(Kind::Symlink(vec![b'y'; 150])),
            entry(Kind::HardLink(long.clone())),
            entry(Kind::Fifo),
            entry(Kind::CharDevice(4, 300)),
            entry(Kind::BlockDevice(8, 1)),
            entry(Kind::File(File::plain(9 << 30, digest()))),
            entry(Kind::File(File { extents: Some(extents), ..File::plain(1 << 40, digest()) })),
            Entry { path: long, xattrs, ..entry(Kind::File(File::plain(0, digest()))) },
            Entry { mtime: Time { seconds: 1 << 33, nanoseconds: 1 }, ..entry(Kind::Fifo) },
        ];
        for mut entry in cases {
            let bytes = head(&entry);
            assert_eq!(bytes.len() % BLOCK, 0);
            let stored = if let Kind::File(file) = &entry.kind { file.stored() } else { 0 };
            entry.length = bytes.len() as u64 + stored + super::super::padding(stored) as u64;
            let length = bytes.len();
            assert_eq!(head_of(&bytes), Ok(Head::Entry { entry: Box::new(entry), length }));
            for cut in 0..length {
                assert!(matches!(head_of(&bytes[..cut]), Err(Malformed::Short(more)) if more > cut), "{cut}");
            }
        }
        assert_eq!(head_of(&END), Ok(Head::End));
    }

    /// An archive of one entry with its data, read by the crate `tar`, which knows nothing of ours.
    #[test]
    fn another_reader_reads_what_is_written() {
        use std::io::Read;

        let long = StoredPath::new(vec![b'x'; 300]).unwrap();
        // As the writer does: where a file ends with a hole, an empty extent says where.
        let end = 60 * 8192;
        let extents = (0..60).map(|number| (number * 8192, 512)).chain([(end, 0)]).collect::<Vec<_>>();
        let data: Vec<u8> = (0..60 * 512_u32).map(|at| (at / 512 + 1) as u8).collect();
        let mut holes = vec![0; end as usize];
        for ((offset, length), piece) in extents.iter().zip(data.chunks(512)) {
            holes[*offset as usize..][..*length as usize].copy_from_slice(piece);
        }
        let xattrs = vec![Xattr { name: "user.a".into(), value: b"b=c".to_vec() }];
        let sparse = File { extents: Some(extents), ..File::plain(holes.len() as u64, digest()) };
        let cases: Vec<(Entry, &[u8], &[u8], tar::EntryType)> = vec![
            (entry(Kind::Directory), b"", b"", tar::EntryType::Directory),
            (entry(Kind::Symlink(b"/etc/../\xff".to_vec())), b"", b"", tar::EntryType::Symlink),
            (entry(Kind::Symlink(vec![b'y'; 150])), b"", b"", tar::EntryType::Symlink),
            (entry(Kind::HardLink(long.clone())), b"", b"", tar::EntryType::Link),
            (entry(Kind::Fifo), b"", b"", tar::EntryType::Fifo),
            (entry(Kind::CharDevice(4, 300)), b"", b"", tar::EntryType::Char),
            (entry(Kind::File(File::plain(3, digest()))), b"abc", b"abc", tar::EntryType::Regular),
            (entry(Kind::File(sparse)), &data, &holes, tar::EntryType::GNUSparse),
            (
                Entry { path: long, xattrs, ..entry(Kind::File(File::plain(0, digest()))) },
                b"",
                b"",
                tar::EntryType::Regular,
            ),
        ];
        for (entry, stored, whole, kind) in cases {
            let mut bytes = head(&entry);
            bytes.extend_from_slice(stored);
            bytes.resize(bytes.len() + super::super::padding(stored.len() as u64), 0);
            bytes.extend_from_slice(&END);
            let mut archive = tar::Archive::new(bytes.as_slice());
            let mut entries = archive.entries().unwrap();
            let mut read = entries.next().unwrap().unwrap();
            let path = read.path_bytes().into_owned();
            assert_eq!(path.strip_suffix(b"/").unwrap_or(&path), entry.path.as_bytes());
            let target = match &entry.kind {
                Kind::Symlink(target) => Some(target.clone()),
                Kind::HardLink(target) => Some(target.as_bytes().to_vec()),
                _ => None,
            };
            assert_eq!(read.link_name_bytes().map(|name| name.into_owned()), target);
            let header = read.header();
            assert_eq!(header.entry_type(), kind);
            assert_eq!(header.mode().unwrap(), entry.mode);
            assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (1000, 3_000_000_000));
            assert_eq!(header.username().unwrap(), Some("pi"));
            if let Kind::CharDevice(major, minor) = entry.kind {
                assert_eq!(
                    header.device_major().unwrap().zip(header.device_minor().unwrap()),
                    Some((major, minor))
                );
            }
            for xattr in &entry.xattrs {
                let key = format!("SCHILY.xattr.{}", xattr.name);
                let mut extensions = read.pax_extensions().unwrap().unwrap();
                let found = extensions.find(|one| one.as_ref().is_ok_and(|one| one.key() == Ok(&key)));
                assert_eq!(found.unwrap().unwrap().value_bytes(), xattr.value);
            }
            let mut content = Vec::new();
            read.read_to_end(&mut content).unwrap();
            assert!(content == whole, "{:?}", entry.kind);
            drop(read);
            assert!(entries.next().is_none());
        }
    }

    #[test]
    fn hostile_headers_are_refused() {
        for path in ["../x", "/etc/passwd", "a/../../x", ""] {
            let mut bytes = head(&entry(Kind::Fifo));
            let start = bytes.len() - BLOCK;
            bytes[start..start + 100].fill(0);
            bytes[start..start + path.len()].copy_from_slice(path.as_bytes());
            assert!(matches!(head_of(&bytes), Err(Malformed::Bad(_))), "the checksum");
            let header: &mut [u8; BLOCK] = (&mut bytes[start..]).try_into().unwrap();
            super::super::checksum(header);
            let Err(Malformed::Bad(why)) = head_of(&bytes) else { panic!("{path}") };
            assert!(why.contains("leads out"), "{why}");
        }
        let huge = entry(Kind::File(File::plain(u64::MAX >> 2, digest())));
        assert!(matches!(head_of(&head(&huge)), Err(Malformed::Bad(_))));
        let overlapping = Some(vec![(0, 10), (5, 10)]);
        let overlapping = entry(Kind::File(File { extents: overlapping, ..File::plain(100, digest()) }));
        assert!(matches!(head_of(&head(&overlapping)), Err(Malformed::Bad(_))));
    }
}
