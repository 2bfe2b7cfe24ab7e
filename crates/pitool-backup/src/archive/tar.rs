//! tar headers: GNU's format with PAX records for what it lacks.
//!
//! GNU's long names and base-256 numbers take any bytes and any size, and every tar reads them; PAX records carry
//! nanoseconds and extended attributes (`SCHILY.xattr.`, as GNU tar and bsdtar write them); files with holes are
//! GNU's old sparse type, which GNU tar, bsdtar and the crate `tar` read. Sources: tar(5), "Basic Tar Format" and "GNU
//! Extensions to the Archive Format" in GNU tar's manual, pax(1) of POSIX.

use pitool_host::Digest;

use crate::StoredPath;
use crate::manifest::{Entry, File, Kind, Time, Xattr};

mod read;

pub(crate) use read::{Head, Malformed, head_of};

/// Everything in a tar is a multiple of this.
pub(crate) const BLOCK: usize = 512;

/// What ends a tar: two empty blocks.
pub(crate) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// How many sparse extents fit into the header, and how many into each block behind it.
const EXTENTS_IN_HEADER: usize = 4;
const EXTENTS_IN_BLOCK: usize = 21;

/// How many bytes of zeros follow data of this length.
pub(crate) fn padding(length: u64) -> usize {
    (BLOCK - (length % BLOCK as u64) as usize) % BLOCK
}

/// The headers of an entry: all that comes before its data.
pub(crate) fn head(entry: &Entry) -> Vec<u8> {
    let mut head = Vec::with_capacity(3 * BLOCK);
    let pax = pax_records(entry);
    if !pax.is_empty() {
        special(&mut head, b'x', "././@PaxHeader", &pax);
    }
    let mut path = entry.path.as_bytes().to_vec();
    if entry.kind == Kind::Directory {
        path.push(b'/');
    }
    let target: &[u8] = match &entry.kind {
        Kind::Symlink(target) => target,
        Kind::HardLink(target) => target.as_bytes(),
        _ => b"",
    };
    for (kind, name) in [(b'K', target), (b'L', path.as_slice())] {
        // The field has 100 bytes and no need for a NUL at its end.
        if name.len() > 100 {
            special(&mut head, kind, "././@LongLink", &[name, b"\0"].concat());
        }
    }
    let (kind, stored) = match &entry.kind {
        Kind::File(file) if file.extents.is_some() => (b'S', file.stored()),
        Kind::File(file) => (b'0', file.size),
        Kind::HardLink(_) => (b'1', 0),
        Kind::Symlink(_) => (b'2', 0),
        Kind::CharDevice(..) => (b'3', 0),
        Kind::BlockDevice(..) => (b'4', 0),
        Kind::Directory => (b'5', 0),
        Kind::Fifo => (b'6', 0),
    };
    let mut block = [0; BLOCK];
    text(&mut block[..100], &path);
    number(&mut block[100..108], i64::from(entry.mode));
    number(&mut block[108..116], i64::from(entry.uid));
    number(&mut block[116..124], i64::from(entry.gid));
    number(&mut block[124..136], i64::try_from(stored).unwrap_or(i64::MAX));
    number(&mut block[136..148], entry.mtime.seconds);
    block[156] = kind;
    text(&mut block[157..257], target);
    block[257..265].copy_from_slice(b"ustar  \0");
    // Names are cut to what fits with its NUL: the numbers are there as well.
    text(&mut block[265..296], entry.user.as_bytes());
    text(&mut block[297..328], entry.group.as_bytes());
    if let Kind::CharDevice(major, minor) | Kind::BlockDevice(major, minor) = entry.kind {
        number(&mut block[329..337], i64::from(major));
        number(&mut block[337..345], i64::from(minor));
    }
    let mut more = Vec::new();
    if let Kind::File(File { size, extents: Some(extents), .. }) = &entry.kind {
        let (first, rest) = extents.split_at(extents.len().min(EXTENTS_IN_HEADER));
        extent_list(&mut block[386..482], first);
        block[482] = u8::from(!rest.is_empty());
        number(&mut block[483..495], i64::try_from(*size).unwrap_or(i64::MAX));
        let mut blocks = rest.chunks(EXTENTS_IN_BLOCK).peekable();
        while let Some(extents) = blocks.next() {
            let mut block = [0; BLOCK];
            extent_list(&mut block[..504], extents);
            block[504] = u8::from(blocks.peek().is_some());
            more.extend_from_slice(&block);
        }
    }
    checksum(&mut block);
    head.extend_from_slice(&block);
    head.extend_from_slice(&more);
    head
}

/// The headers of the manifest, which is the last entry and is not in itself.
pub(crate) fn manifest_head(length: u64, mtime: i64) -> Vec<u8> {
    let entry = Entry {
        path: StoredPath::new(crate::manifest::PATH.as_bytes()).expect("the manifest's path is a plain name"),
        kind: Kind::File(File::plain(length, Digest::of(b""))),
        mode: 0o600,
        uid: 0,
        gid: 0,
        user: "root".to_owned(),
        group: "root".to_owned(),
        mtime: Time { seconds: mtime, nanoseconds: 0 },
        ctime: Time::default(),
        inode: 0,
        xattrs: Vec::new(),
        offset: 0,
        length: 0,
        unsettled: false,
    };
    head(&entry)
}

fn special(head: &mut Vec<u8>, kind: u8, name: &str, content: &[u8]) {
    let mut block = [0; BLOCK];
    text(&mut block[..100], name.as_bytes());
    number(&mut block[100..108], 0o644);
    number(&mut block[108..116], 0);
    number(&mut block[116..124], 0);
    number(&mut block[124..136], content.len() as i64);
    number(&mut block[136..148], 0);
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar  \0");
    checksum(&mut block);
    head.extend_from_slice(&block);
    head.extend_from_slice(content);
    head.resize(head.len() + padding(content.len() as u64), 0);
}

fn pax_records(entry: &Entry) -> Vec<u8> {
    let mut records = Vec::new();
    if entry.mtime.nanoseconds != 0 {
        record(&mut records, "mtime", decimal(entry.mtime).as_bytes());
    }
    for xattr in &entry.xattrs {
        record(&mut records, &format!("SCHILY.xattr.{}", xattr.name), &xattr.value);
    }
    records
}

/// `"LENGTH KEY=VALUE\n"`, where the length counts its own digits too.
fn record(records: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} {key}=").as_bytes());
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// A time as a decimal number; before 1970 the seconds count down and the nanoseconds up.
fn decimal(time: Time) -> String {
    if time.seconds >= 0 {
        return format!("{}.{:09}", time.seconds, time.nanoseconds);
    }
    format!("-{}.{:09}", -(time.seconds + 1), 1_000_000_000 - time.nanoseconds)
}

fn text(field: &mut [u8], text: &[u8]) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
}

/// An octal number with a NUL, or GNU's base-256 where it does not fit.
fn number(field: &mut [u8], number: i64) {
    let digits = field.len() - 1;
    if number >= 0 && number >> (3 * digits) == 0 {
        for (place, digit) in field[..digits].iter_mut().rev().enumerate() {
            *digit = b'0' + (number >> (3 * place) & 7) as u8;
        }
        return;
    }
    let fill = if number < 0 { 0xff } else { 0 };
    field.fill(fill);
    let bytes = number.to_be_bytes();
    let length = bytes.len().min(field.len());
    let start = field.len() - length;
    field[start..].copy_from_slice(&bytes[bytes.len() - length..]);
    field[0] = if number < 0 { 0xff } else { 0x80 | field[0] };
}

fn extent_list(field: &mut [u8], extents: &[(u64, u64)]) {
    for (slot, (offset, length)) in field.chunks_mut(24).zip(extents) {
        number(&mut slot[..12], i64::try_from(*offset).unwrap_or(i64::MAX));
        number(&mut slot[12..], i64::try_from(*length).unwrap_or(i64::MAX));
    }
}

/// The sum of all bytes, with its own field as blanks.
pub(crate) fn checksum(block: &mut [u8; BLOCK]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

/// The xattrs that PAX records can carry: their keys end at the first `=`.
pub(crate) fn storable(xattr: &Xattr) -> bool {
    !xattr.name.contains('=')
}
