//! One thing that was opened to look at it.

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{CWD, Mode, OFlags};

use super::{Error, Kind, Result};
use crate::Access;

/// One thing of any kind, held by an `O_PATH` descriptor with what `fstat` told when it was opened.
///
/// Nobody can exchange it: whatever happens to the name, the descriptor is of this inode. It was not followed if it is a
/// symbolic link, and nothing was done to it if it is a FIFO or a device.
#[derive(Debug)]
pub struct Object {
    file: File,
    metadata: Metadata,
}

impl Object {
    /// Takes over a descriptor.
    pub fn new(fd: impl Into<OwnedFd>) -> Result<Self> {
        let file = File::from(fd.into());
        let metadata = file.metadata()?;
        Ok(Self { file, metadata })
    }

    /// Returns its kind.
    pub fn kind(&self) -> Kind {
        Kind::of(&self.metadata)
    }

    /// Returns what `fstat` told: size, times, links, device and inode (64-bit everywhere).
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Returns mode (07777), owner and group.
    pub fn access(&self) -> Access {
        Access { mode: self.metadata.mode() & 0o7777, uid: self.metadata.uid(), gid: self.metadata.gid() }
    }

    /// Reads where a symbolic link points.
    pub fn target(&self) -> Result<OsString> {
        self.expect(Kind::Link)?;
        Ok(OsString::from_vec(rustix::fs::readlinkat(&self.file, c"", Vec::new())?.into_bytes()))
    }

    /// Opens this very file again, to read it or with other flags.
    ///
    /// # Errors
    /// [`Error::Unexpected`] where it is not a regular file: opening a FIFO waits, and opening a device can do something.
    pub fn open_file(&self, flags: OFlags) -> Result<File> {
        self.expect(Kind::File)?;
        let flags = flags | OFlags::CLOEXEC | OFlags::LARGEFILE;
        let magic = magic(self.file.as_fd());
        Ok(rustix::fs::openat(CWD, magic.as_str(), flags, Mode::empty())?.into())
    }

    /// Requires a kind.
    ///
    /// # Errors
    /// [`Error::Unexpected`] where it is of another one.
    pub fn expect(&self, expected: Kind) -> Result<()> {
        match self.kind() {
            found if found == expected => Ok(()),
            found => Err(Error::Unexpected { found, expected }),
        }
    }
}

impl AsFd for Object {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The magic link of a descriptor, proc_pid_fd(5).
pub(super) fn magic(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}
