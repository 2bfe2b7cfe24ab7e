//! Trust at the file system: how root works in directories that belong to others.
//!
//! Everything here goes by descriptor. Four rules:
//!
//! 1. [`Root`] resolves a path component by component. It follows a symbolic link only where root alone can write in
//!    the directory that the link is in, and root alone can replace that directory.
//! 2. What was looked at is what is used: [`Directory::look`], [`Directory::open_file`] and their equals on [`Root`] open
//!    once and do not follow; [`read_bounded`] and the functions of [`attributes`] work on what is open.
//! 3. [`Directory::replace`], [`Directory::write`] and [`Directory::make_dir`] make new things where nobody else can reach
//!    them ([`Staging`]) and rename them into place.
//! 4. A wrong kind of thing is a typed [`Error`] that names what was found, so that the caller can report it and go on.
//!
//! "Root" is uid 0; where pitool does not run as root, also its own user, and below another root the owner of that
//! root directory.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;

use rustix::io::Errno;

pub mod attributes;
mod directory;
mod object;
mod root;
mod rule;
#[cfg(test)]
mod tests;

pub use directory::{Directory, Staging, is_leftover};
pub use object::Object;
pub use root::{Last, Root};

/// The result of an operation of this module.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong. Each variant but the last is a finding about one object, not a failure of the machine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A symbolic link in a directory that somebody else than root can write or replace.
    #[error(
        "`{name}` is a symbolic link in a directory that others can write to, and pitool does not follow it"
    )]
    ForeignLink {
        /// The link's name; lossy where it is not UTF-8.
        name: String,
    },
    /// Something else than expected is there.
    #[error("it is {found}, expected {expected}")]
    Unexpected {
        /// What was found.
        found: Kind,
        /// What the caller needs.
        expected: Kind,
    },
    /// A file has more bytes than the caller reads.
    #[error("it is larger than {limit} bytes")]
    TooLarge {
        /// The bound in bytes.
        limit: u64,
    },
    /// Somebody else made it or can reach it.
    #[error("it is not pitool's own: {0}")]
    NotOurs(&'static str),
    /// A system call failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Error {
    /// Returns the error number where a system call failed.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Io(error) => Errno::from_io_error(error),
            _ => None,
        }
    }

    /// Returns whether nothing is at the path: `ENOENT`, or `ENOTDIR` on the way.
    pub fn is_missing(&self) -> bool {
        matches!(self.errno(), Some(Errno::NOENT | Errno::NOTDIR))
    }
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        Self::Io(errno.into())
    }
}

/// For callers whose errors are [`io::Error`]; [`io::Error::get_ref`] and `downcast_ref` give the finding back.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::ForeignLink { .. } | Error::NotOurs(_) => io::ErrorKind::PermissionDenied,
            Error::Unexpected { .. } => io::ErrorKind::InvalidInput,
            Error::TooLarge { .. } => io::ErrorKind::FileTooLarge,
            Error::Io(error) => error.kind(),
        };
        match error {
            Error::Io(error) => error,
            finding => Self::new(kind, finding),
        }
    }
}

/// The kinds of things in a file system, inode(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A named pipe, fifo(7).
    Fifo,
    /// A socket, unix(7).
    Socket,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
}

impl Kind {
    /// Returns the kind that metadata tell.
    pub fn of(metadata: &std::fs::Metadata) -> Self {
        let kind = metadata.file_type();
        if kind.is_file() {
            Self::File
        } else if kind.is_dir() {
            Self::Directory
        } else if kind.is_symlink() {
            Self::Link
        } else if kind.is_fifo() {
            Self::Fifo
        } else if kind.is_socket() {
            Self::Socket
        } else if kind.is_block_device() {
            Self::BlockDevice
        } else {
            Self::CharacterDevice
        }
    }

    /// Returns the kind with its article: "a regular file".
    pub fn noun(self) -> &'static str {
        match self {
            Self::File => "a regular file",
            Self::Directory => "a directory",
            Self::Link => "a symbolic link",
            Self::Fifo => "a FIFO",
            Self::Socket => "a socket",
            Self::CharacterDevice => "a character device",
            Self::BlockDevice => "a block device",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.noun())
    }
}

/// Reads an open file from where it stands to its end, at most `limit` bytes.
///
/// The size that `fstat` tells is only a hint: files of /proc have 0, and any file can grow while it is read.
///
/// # Errors
/// [`Error::TooLarge`] where there is more, after at most `limit` + 1 bytes were read.
pub fn read_bounded(mut file: &File, limit: u64) -> Result<Vec<u8>> {
    let hint = file.metadata()?.len().min(limit);
    let mut bytes = Vec::with_capacity(usize::try_from(hint).unwrap_or(0));
    file.by_ref().take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(Error::TooLarge { limit });
    }
    Ok(bytes)
}
