//! Owner, mode, attributes and times, in the order in which they do not spoil each other.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{
    AtFlags, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chmodat, chownat, utimensat,
};
use rustix::io::Errno;

use crate::manifest::{Kind, Time, Xattr};

/// What is told of a thing besides its content.
#[derive(Clone)]
pub(super) struct Meta {
    /// Numbers of owner and group; `None` when only root could give it away.
    pub(super) owner: Option<(u32, u32)>,
    pub(super) mode: u32,
    pub(super) mtime: Time,
    pub(super) xattrs: Vec<Xattr>,
}

impl Meta {
    /// Onto an open file or directory.
    pub(super) fn onto(&self, file: impl AsFd) -> Result<(), String> {
        let failed = |what: &'static str| move |error: Errno| format!("its {what} cannot be set: {error}");
        // The owner first: changing it takes setuid bits and capabilities away.
        if let Some((uid, gid)) = self.owner {
            rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
                .map_err(failed("owner"))?;
        }
        rustix::fs::fchmod(&file, Mode::from_raw_mode(self.mode)).map_err(failed("mode"))?;
        for xattr in &self.xattrs {
            let set = rustix::fs::fsetxattr(&file, xattr.name.as_str(), &xattr.value, XattrFlags::empty());
            set.map_err(|error| format!("its attribute {} cannot be set: {error}", xattr.name))?;
        }
        rustix::fs::futimens(&file, &self.times()).map_err(failed("time"))
    }

    /// Onto what cannot be opened without doing something: a link, a pipe, a device.
    pub(super) fn onto_name(&self, directory: &OwnedFd, name: &OsStr, kind: &Kind) -> Result<(), String> {
        let failed = |what: &'static str| move |error: Errno| format!("its {what} cannot be set: {error}");
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        if let Some((uid, gid)) = self.owner {
            let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            chownat(directory, name, uid, gid, nofollow).map_err(failed("owner"))?;
        }
        // A link has no mode of its own. What was just made here is no link.
        if !matches!(kind, Kind::Symlink(_)) {
            chmodat(directory, name, Mode::from_raw_mode(self.mode), AtFlags::empty())
                .map_err(failed("mode"))?;
        }
        for xattr in &self.xattrs {
            let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
            path.extend_from_slice(name.as_bytes());
            let set = rustix::fs::lsetxattr(
                path.as_slice(),
                xattr.name.as_str(),
                &xattr.value,
                XattrFlags::empty(),
            );
            set.map_err(|error| format!("its attribute {} cannot be set: {error}", xattr.name))?;
        }
        utimensat(directory, name, &self.times(), nofollow).map_err(failed("time"))
    }

    fn times(&self) -> Timestamps {
        let time = Timespec { tv_sec: self.mtime.seconds, tv_nsec: self.mtime.nanoseconds as _ };
        Timestamps { last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, last_modification: time }
    }
}
