//! Owner, mode, extended attributes and times of what is open. No function here takes a path.
//!
//! Each takes any descriptor, also an `O_PATH` one of a FIFO, a socket, a device or a symbolic link ([`super::Object`]).
//! fchmod(2), fsetxattr(2) and futimens(3) refuse `O_PATH` with `EBADF`; then `/proc/self/fd/N` names the inode that is
//! open (a magic link, which ends there and follows nothing). `fchmodat2` and `setxattrat` with `AT_EMPTY_PATH` would do
//! the same, but need Linux 6.6 and 6.13; Debian 12 has 6.1.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, CWD, Gid, Mode, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::object::magic;
use super::{Error, Object, Result};
use crate::Access;

/// Sets the owner and group; `None` leaves one as it is. The kernel clears setuid, setgid and capabilities of a file:
/// set the owner first.
pub fn set_owner(fd: impl AsFd, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
    let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
    Ok(rustix::fs::chownat(fd, c"", uid, gid, AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Sets the permission bits (07777).
///
/// # Errors
/// `EOPNOTSUPP` for a symbolic link, which has no mode of its own.
pub fn set_mode(fd: impl AsFd, mode: u32) -> Result<()> {
    let fd = fd.as_fd();
    let mode = Mode::from_raw_mode(mode);
    match rustix::fs::fchmod(fd, mode) {
        Err(Errno::BADF) => Ok(rustix::fs::chmodat(CWD, magic(fd).as_str(), mode, AtFlags::empty())?),
        done => Ok(done?),
    }
}

/// Sets owner, group and mode, in this order and only what differs. A file system without owners (FAT) keeps its own.
pub fn set_access(fd: impl AsFd, access: Access) -> Result<()> {
    let fd = fd.as_fd();
    let done = (|| {
        let now = access_of(fd)?;
        if (now.uid, now.gid) != (access.uid, access.gid) {
            set_owner(fd, Some(access.uid), Some(access.gid))?;
        }
        if access_of(fd)?.mode != access.mode {
            set_mode(fd, access.mode)?;
        }
        Ok(())
    })();
    match done {
        Err(_) if lacks_owners(fd) => Ok(()),
        other => other,
    }
}

fn access_of(fd: BorrowedFd<'_>) -> Result<Access> {
    Ok(Object::new(fd.try_clone_to_owned().map_err(Error::from)?)?.access())
}

/// Returns whether the file system is FAT, as the boot partition: no owners, no modes, no journal.
pub fn lacks_owners(fd: impl AsFd) -> bool {
    /// MSDOS_SUPER_MAGIC, statfs(2).
    const FAT: u64 = 0x4d44;
    rustix::fs::fstatfs(fd).is_ok_and(|statfs| u64::try_from(statfs.f_type) == Ok(FAT))
}

/// Sets an extended attribute, xattr(7).
pub fn set_xattr(fd: impl AsFd, name: &str, value: &[u8]) -> Result<()> {
    let fd = fd.as_fd();
    match rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty()) {
        Err(Errno::BADF) => Ok(rustix::fs::setxattr(magic(fd).as_str(), name, value, XattrFlags::empty())?),
        done => Ok(done?),
    }
}

/// Sets the times of last access and modification, utimensat(2).
pub fn set_times(fd: impl AsFd, times: &Timestamps) -> Result<()> {
    let fd = fd.as_fd();
    match rustix::fs::futimens(fd, times) {
        Err(Errno::BADF) => Ok(rustix::fs::utimensat(CWD, magic(fd).as_str(), times, AtFlags::empty())?),
        done => Ok(done?),
    }
}
