//! Owner, mode, attributes and times, in the order in which they do not spoil each other.

use std::os::fd::AsFd;

use pitool_host::trust::{Error, attributes};
use rustix::fs::{Timespec, Timestamps, UTIME_OMIT};

use crate::manifest::{Entry, Kind, Time, Xattr};

/// What is told of a thing besides its content.
#[derive(Clone)]
pub(super) struct Meta {
    /// Numbers of owner and group; `None` when only root could give it away.
    pub(super) owner: Option<(u32, u32)>,
    /// Permission bits; `None` for a symbolic link, which has none of its own.
    pub(super) mode: Option<u32>,
    mtime: Time,
    xattrs: Vec<Xattr>,
}

impl Meta {
    /// What is told of an entry.
    pub(super) fn of(entry: &Entry, owner: Option<(u32, u32)>) -> Self {
        let mode = (!matches!(entry.kind, Kind::Symlink(_))).then_some(entry.mode & 0o7777);
        Self { owner, mode, mtime: entry.mtime, xattrs: entry.xattrs.clone() }
    }

    /// Onto what is open: a file, a directory, or anything that was opened to be looked at.
    pub(super) fn onto(&self, open: impl AsFd) -> Result<(), String> {
        let open = open.as_fd();
        let failed = |what: &'static str| move |error: Error| format!("its {what} cannot be set: {error}");
        // The owner first: changing it takes setuid bits and capabilities away.
        if let Some((uid, gid)) = self.owner {
            attributes::set_owner(open, Some(uid), Some(gid)).map_err(failed("owner"))?;
        }
        if let Some(mode) = self.mode {
            attributes::set_mode(open, mode).map_err(failed("mode"))?;
        }
        self.rest_onto(open)
    }

    /// Attributes and times, without owner and mode.
    pub(super) fn rest_onto(&self, open: impl AsFd) -> Result<(), String> {
        let open = open.as_fd();
        for xattr in &self.xattrs {
            attributes::set_xattr(open, &xattr.name, &xattr.value)
                .map_err(|error| format!("its attribute {} cannot be set: {error}", xattr.name))?;
        }
        let time = Timespec { tv_sec: self.mtime.seconds, tv_nsec: self.mtime.nanoseconds as _ };
        let times =
            Timestamps { last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, last_modification: time };
        attributes::set_times(open, &times).map_err(|error| format!("its time cannot be set: {error}"))
    }
}
