//! Archives that are right in every digest and say what a test wants them to say.
//!
//! Whoever can write to a target can make these: age encrypts and does not say who wrote.

use pitool_host::Digest;

use crate::archive::frame::Packer;
use crate::archive::index::{self, Frames, Manifest};
use crate::archive::lines::{LineWriter, closing};
use crate::archive::tar;
use crate::manifest::{End, Entry, File, Header, Kind, Line, Seal, Time};
use crate::{ArchiveName, StoredPath};

/// The name that forged archives have unless a test needs another one.
pub(crate) fn name() -> ArchiveName {
    "evil-20261121T000000Z-000001".parse().unwrap()
}

pub(crate) fn stored(path: &str) -> StoredPath {
    StoredPath::new(path.as_bytes()).unwrap()
}

/// An entry of this user, 0644.
pub(crate) fn entry(path: &str, kind: Kind) -> Entry {
    Entry {
        path: stored(path),
        kind,
        mode: 0o644,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        user: String::new(),
        group: String::new(),
        mtime: Time { seconds: 1, nanoseconds: 0 },
        ctime: Time::default(),
        inode: 0,
        xattrs: Vec::new(),
        offset: 0,
        length: 0,
        unsettled: false,
    }
}

/// A file with its data, as an archive holds them.
pub(crate) type Piece = (Entry, Vec<u8>);

pub(crate) fn file(path: &str, data: &[u8]) -> Piece {
    (entry(path, Kind::File(File::plain(data.len() as u64, Digest::of(data)))), data.to_vec())
}

pub(crate) fn directory(path: &str) -> Piece {
    (Entry { mode: 0o755, ..entry(path, Kind::Directory) }, Vec::new())
}

pub(crate) fn link(path: &str, target: &str) -> Piece {
    (entry(path, Kind::Symlink(target.as_bytes().to_vec())), Vec::new())
}

pub(crate) fn hard_link(path: &str, target: &str) -> Piece {
    (entry(path, Kind::HardLink(stored(target))), Vec::new())
}

pub(crate) fn header(name: &ArchiveName, roots: &[StoredPath]) -> Header {
    Header {
        format: Header::FORMAT,
        tool: "evil".into(),
        name: name.clone(),
        set: name.set().clone(),
        host: "there".into(),
        started: name.time(),
        roots: roots.to_vec(),
        exclude: Vec::new(),
        encrypted: false,
        previous: None,
        last_full_read: name.time(),
    }
}

/// Both files of an archive.
#[derive(Clone)]
pub(crate) struct Forgery {
    pub(crate) archive: Vec<u8>,
    pub(crate) manifest: Vec<u8>,
}

/// An archive of one frame with these entries, whose manifest says of them what `change` makes of it.
pub(crate) fn forge(
    name: &ArchiveName,
    roots: &[StoredPath],
    entries: Vec<Piece>,
    change: &dyn Fn(&mut Entry),
) -> Forgery {
    let mut plain = Vec::new();
    let mut lines = LineWriter::new(Vec::new()).unwrap();
    lines.write(&Line::Manifest(header(name, roots))).unwrap();
    for (mut entry, data) in entries {
        entry.offset = plain.len() as u64;
        plain.extend_from_slice(&tar::head(&entry));
        plain.extend_from_slice(&data);
        plain.resize(plain.len() + tar::padding(data.len() as u64), 0);
        entry.length = plain.len() as u64 - entry.offset;
        change(&mut entry);
        lines.write(&Line::Entry(entry)).unwrap();
    }
    plain.extend_from_slice(&tar::END);
    lines.write(&Line::End(End::default())).unwrap();
    of(&plain, lines)
}

/// An archive of one frame, and a manifest of these lines and a seal.
pub(crate) fn of(plain: &[u8], mut lines: LineWriter<Vec<u8>>) -> Forgery {
    let archive = framed(&[plain]);
    let seal = Seal::Archive { size: archive.len() as u64, blake3: Digest::of(&archive), milliseconds: 0 };
    lines.write(&Line::Seal(seal)).unwrap();
    let (mut manifest, ..) = lines.finish().unwrap();
    let digest = Digest::of(&manifest);
    manifest.extend_from_slice(&closing(&digest));
    Forgery { archive, manifest }
}

/// An archive of these frames, without a manifest in it.
pub(crate) fn framed(plain: &[&[u8]]) -> Vec<u8> {
    let mut packer = Packer::new(3).unwrap();
    let mut frames = Frames::default();
    let mut archive = Vec::new();
    for plain in plain {
        let packed = packer.pack(plain).unwrap();
        frames.push(packed.len() as u32, plain.len() as u32, Some(Digest::of(&packed)));
        archive.extend_from_slice(&packed);
    }
    archive.extend_from_slice(&index::write(&frames, Manifest { first: plain.len(), ..Manifest::default() }));
    archive
}

/// A manifest of this text, with the digest at its end.
pub(crate) fn manifest(text: &[u8]) -> Vec<u8> {
    let mut packed = Packer::new(1).unwrap().pack(text).unwrap();
    let digest = Digest::of(&packed);
    packed.extend_from_slice(&closing(&digest));
    packed
}
