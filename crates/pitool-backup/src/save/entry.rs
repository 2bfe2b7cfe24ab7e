//! Entries and notes of what the walk found.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use super::meta::Meta;
use super::walk::Found;
use crate::archive::file::ArchiveFile;
use crate::database::Readers;
use crate::manifest::{Entry, Kind, Note, What};
use crate::owners::Owners;

/// The kernel's times are as coarse as its clock tick, and a file system's may be two seconds (vfat): a file that
/// changed shortly before it was read could change again without its times showing it.
const SETTLED: i64 = 3;

/// What all threads know.
pub(crate) struct Context {
    /// The archive before.
    pub(crate) old: Option<Arc<ArchiveFile>>,
    /// Whether what looks unchanged is believed to be so.
    pub(crate) trusting: bool,
    pub(crate) level: i32,
    pub(crate) scratch: PathBuf,
    pub(crate) owners: Owners,
    pub(crate) readers: Arc<Readers>,
}

/// An entry without its place in the archive.
#[expect(
    clippy::disallowed_methods,
    reason = "times of files are compared with the clock that they come from"
)]
pub(crate) fn entry(
    context: &Context,
    found: &Found,
    meta: Meta,
    kind: Kind,
    xattrs: Vec<crate::manifest::Xattr>,
) -> Entry {
    let unsettled = meta.ctime.seconds > Timestamp::now().as_second() - SETTLED;
    Entry {
        path: found.path.clone(),
        kind,
        mode: meta.mode,
        uid: meta.uid,
        gid: meta.gid,
        user: context.owners.user(meta.uid),
        group: context.owners.group(meta.gid),
        mtime: meta.mtime,
        ctime: meta.ctime,
        inode: meta.inode,
        xattrs,
        offset: 0,
        length: 0,
        unsettled,
    }
}

/// Opens a regular file for reading, without following a link, waiting for a pipe or touching its access time.
pub(crate) fn open(found: &Found) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match openat(&*found.parent, &found.name, flags | OFlags::NOATIME, Mode::empty()) {
        // Only the owner and root may leave the access time alone.
        Err(Errno::PERM) => openat(&*found.parent, &found.name, flags, Mode::empty())?,
        opened => opened?,
    };
    match FileType::from_raw_mode(fstat(&file)?.st_mode) {
        FileType::RegularFile => Ok(file),
        // A pipe or a device took its place: what was found is gone.
        _ => Err(Errno::NOENT),
    }
}

pub(crate) fn note(found: &Found, what: What, detail: &str) -> Note {
    Note { path: found.path.as_bytes().to_vec(), what, detail: detail.to_owned() }
}

/// Looks at a thing again: has it changed since?
pub(crate) fn look_again(found: &Found) -> Result<Meta, Errno> {
    rustix::fs::statat(&*found.parent, &found.name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| Meta::of(&stat))
}
