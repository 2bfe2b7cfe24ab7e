//! Atomic and durable changes of files.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::signal::kill;
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::sys::statfs::{MSDOS_SUPER_MAGIC, fstatfs};
use nix::unistd::{Gid, Pid, Uid, UnlinkatFlags, fchown, fsync, symlinkat, unlinkat};
use rustix::fs::Dir;

use super::tree::{self, Tree};
use crate::{Access, Content, Error, FileType, Result, Stat};

/// The largest file that [`crate::Inspect::read`] reads.
const READ_LIMIT: u64 = 16 << 20;

/// Marks the names of temporary files.
const MARK: &str = ".pitool-";

/// Names of temporary files differ by this within one process.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// Whether a name is that of a temporary file, `.NAME.pitool-<pid>-<n>`, which a power cut can leave behind.
pub fn is_leftover(name: &str) -> bool {
    owner_of(name).is_some()
}

/// The process that made a temporary file.
fn owner_of(name: &str) -> Option<i32> {
    let (before, numbers) = name.strip_prefix('.')?.rsplit_once(MARK)?;
    let (pid, n) = numbers.split_once('-')?;
    n.parse::<u32>().ok()?;
    if before.is_empty() { None } else { pid.parse().ok().filter(|pid| *pid > 0) }
}

/// A fresh name for a temporary file beside `name`.
fn temporary(name: &str) -> String {
    format!("{}{}-{}", temporary_prefix(name), std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn temporary_prefix(name: &str) -> String {
    // A name may have 255 bytes in all (NAME_MAX).
    let mut end = name.len().min(200);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!(".{}{MARK}", &name[..end])
}

/// Whether nothing is at a path, when a call said this.
fn missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::ENOENT | Errno::ENOTDIR))
}

fn describe(file_type: &FileType) -> &'static str {
    match file_type {
        FileType::File => "a file",
        FileType::Directory => "a directory",
        FileType::Link(_) => "a link",
        FileType::Other => "a device, socket or FIFO",
    }
}

fn unexpected(path: &str, found: impl Into<String>, expected: &'static str) -> Error {
    Error::Unexpected { path: path.to_owned(), found: found.into(), expected }
}

pub(super) fn read(tree: &Tree, path: &str) -> Result<Option<Content>> {
    let fail = Error::path("read", path);
    // O_NONBLOCK: a FIFO would wait for a writer.
    let fd = match tree.open(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK, true) {
        Ok(fd) => fd,
        Err(error) if missing(&error) => return Ok(None),
        Err(error) => return Err(fail(error)),
    };
    read_open(fd, path).map(Some)
}

fn read_open(fd: OwnedFd, path: &str) -> Result<Content> {
    let stat = tree::stat(fd.as_fd()).map_err(Error::path("read", path))?;
    if stat.file_type != FileType::File {
        return Err(unexpected(path, describe(&stat.file_type), "a file"));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(stat.size.min(READ_LIMIT)).unwrap_or(0));
    // Files of /proc say that they have 0 bytes, and any file can grow: read and count.
    let read = File::from(fd).take(READ_LIMIT + 1).read_to_end(&mut bytes);
    read.map_err(Error::path("read", path))?;
    if bytes.len() as u64 > READ_LIMIT {
        return Err(unexpected(path, "larger than 16 MiB", "a configuration file"));
    }
    Ok(bytes.into())
}

pub(super) fn stat(tree: &Tree, path: &str) -> Result<Option<Stat>> {
    match tree.open(path, OFlag::O_PATH, false).and_then(|fd| tree::stat(fd.as_fd())) {
        Ok(stat) => Ok(Some(stat)),
        Err(error) if missing(&error) => Ok(None),
        Err(error) => Err(Error::path("look at", path)(error)),
    }
}

pub(super) fn list(tree: &Tree, path: &str) -> Result<Option<Vec<String>>> {
    match tree.open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NONBLOCK, true).and_then(names) {
        Ok(names) => Ok(Some(names)),
        Err(error) if missing(&error) => Ok(None),
        Err(error) => Err(Error::path("list", path)(error)),
    }
}

/// The names in a directory, sorted. One that is not UTF-8 cannot be named by a path of ours: left out.
fn names(directory: OwnedFd) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    // Not nix's: on 32-bit ARM that is readdir(3) of 32-bit inodes, which fails on a file system that has larger ones.
    for entry in Dir::new(directory)? {
        if let Ok(name) = entry?.file_name().to_str() {
            if name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
    }
    names.sort_unstable();
    Ok(names)
}

pub(super) fn write(tree: &Tree, path: &str, content: &[u8], access: Access) -> Result<()> {
    let fail = || Error::path("write", path);
    let (directory, name) = tree.parent(path).map_err(fail())?;
    refuse_directory(directory.as_fd(), name, path, "a file")?;
    sweep(directory.as_fd(), name);
    replace(directory.as_fd(), name, |temporary| {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut file =
            File::from(openat(directory.as_fd(), temporary, flags, Mode::from_bits_truncate(0o600))?);
        file.write_all(content)?;
        give_access(file.as_fd(), access)?;
        file.sync_all()
    })
    .map_err(fail())?;
    if lacks_owners(directory.as_fd()) {
        verify(directory.as_fd(), name, path, content)?;
    }
    Ok(())
}

/// Reads a file back. FAT has no journal, and the Pi boots from what is there (trap T35).
fn verify(directory: BorrowedFd<'_>, name: &str, path: &str, content: &[u8]) -> Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let fd = openat(directory, name, flags, Mode::empty())
        .map_err(|errno| Error::path("read back", path)(errno.into()))?;
    if read_open(fd, path)?.bytes() == content {
        return Ok(());
    }
    Err(Error::path("write", path)(io::Error::other("other bytes were read back: the card may be failing")))
}

pub(super) fn write_in_place(tree: &Tree, path: &str, content: &[u8]) -> Result<()> {
    let fail = || Error::path("write", path);
    let fd = tree.open(path, OFlag::O_WRONLY | OFlag::O_TRUNC, true).map_err(fail())?;
    File::from(fd).write_all(content).map_err(fail())
}

pub(super) fn append(tree: &Tree, path: &str, content: &[u8], durable: bool) -> Result<()> {
    append_io(tree, path, content, durable).map_err(Error::path("append to", path))
}

fn append_io(tree: &Tree, path: &str, content: &[u8], durable: bool) -> io::Result<()> {
    let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_LARGEFILE;
    let (directory, name) = tree.parent(path)?;
    let (fd, created) = match openat(directory.as_fd(), name, flags, Mode::empty()) {
        Ok(fd) => (fd, false),
        Err(Errno::ENOENT) => {
            let flags = flags | OFlag::O_CREAT | OFlag::O_EXCL;
            (openat(directory.as_fd(), name, flags, Mode::from_bits_truncate(0o600))?, true)
        }
        Err(errno) => return Err(errno.into()),
    };
    let mut file = File::from(fd);
    file.write_all(content)?;
    if durable {
        file.sync_all()?;
        if created {
            sync_directory(directory.as_fd())?;
        }
    }
    Ok(())
}

pub(super) fn set_access(tree: &Tree, path: &str, access: Access) -> Result<()> {
    let fail = || Error::path("set access of", path);
    let found = stat(tree, path)?.ok_or_else(|| fail()(Errno::ENOENT.into()))?;
    if !matches!(found.file_type, FileType::File | FileType::Directory) {
        return Err(unexpected(path, describe(&found.file_type), "a file or directory"));
    }
    let (directory, name) = tree.parent(path).map_err(fail())?;
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let fd = openat(directory.as_fd(), name, flags, Mode::empty()).map_err(io::Error::from).map_err(fail())?;
    give_access(fd.as_fd(), access).map_err(fail())?;
    fsync(fd.as_fd()).map_err(io::Error::from).map_err(fail())
}

pub(super) fn link(tree: &Tree, path: &str, target: &str) -> Result<()> {
    let (directory, name) = tree.parent(path).map_err(Error::path("link", path))?;
    refuse_directory(directory.as_fd(), name, path, "a link")?;
    sweep(directory.as_fd(), name);
    replace(directory.as_fd(), name, |temporary| Ok(symlinkat(target, directory.as_fd(), temporary)?))
        .map_err(Error::path("link", path))
}

pub(super) fn make_dir(tree: &Tree, path: &str, access: Access) -> Result<()> {
    let fail = || Error::path("make directory", path);
    let (directory, name) = tree.parent(path).map_err(fail())?;
    match mkdirat(directory.as_fd(), name, Mode::from_bits_truncate(0o700)) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(fail()(errno.into())),
    }
    let found = stat(tree, path)?.map(|stat| stat.file_type);
    if let Some(other) = found.filter(|kind| *kind != FileType::Directory) {
        return Err(unexpected(path, describe(&other), "a directory"));
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(directory.as_fd(), name, flags, Mode::empty())
        .map_err(io::Error::from)
        .and_then(|made| {
            give_access(made.as_fd(), access)?;
            sync_directory(made.as_fd())?;
            sync_directory(directory.as_fd())
        })
        .map_err(fail())
}

pub(super) fn remove(tree: &Tree, path: &str) -> Result<()> {
    let fail = || Error::path("remove", path);
    let (directory, name) = match tree.parent(path) {
        Ok(found) => found,
        Err(error) if missing(&error) => return Ok(()),
        Err(error) => return Err(fail()(error)),
    };
    refuse_directory(directory.as_fd(), name, path, "a file or link")?;
    sweep(directory.as_fd(), name);
    match unlinkat(directory.as_fd(), name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) => sync_directory(directory.as_fd()).map_err(fail()),
        Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(fail()(errno.into())),
    }
}

pub(super) fn remove_dir(tree: &Tree, path: &str) -> Result<bool> {
    let fail = || Error::path("remove directory", path);
    let (directory, name) = match tree.parent(path) {
        Ok(found) => found,
        Err(error) if missing(&error) => return Ok(true),
        Err(error) => return Err(fail()(error)),
    };
    match unlinkat(directory.as_fd(), name, UnlinkatFlags::RemoveDir) {
        Ok(()) => sync_directory(directory.as_fd()).map_err(fail()).map(|()| true),
        Err(Errno::ENOENT) => Ok(true),
        Err(Errno::ENOTEMPTY | Errno::EEXIST) => Ok(false),
        Err(errno) => Err(fail()(errno.into())),
    }
}

/// Makes something under a temporary name with `make`, then gives it its name. On failure nothing of it stays.
fn replace(directory: BorrowedFd<'_>, name: &str, make: impl Fn(&str) -> io::Result<()>) -> io::Result<()> {
    let made = loop {
        let candidate = temporary(name);
        match make(&candidate) {
            // A left-over of a dead process that had our process id.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Ok(()) => {
                break renameat(directory, candidate.as_str(), directory, name)
                    .map_err(io::Error::from)
                    .map_err(|error| (candidate, error));
            }
            Err(error) => break Err((candidate, error)),
        }
    };
    match made {
        Ok(()) => sync_directory(directory),
        Err((temporary, error)) => {
            // The first error is the one to tell; what stays behind is swept at the next write.
            let _ = unlinkat(directory, temporary.as_str(), UnlinkatFlags::NoRemoveDir);
            Err(error)
        }
    }
}

/// Removes temporary files of the same target whose process is gone. Failing to do so harms nobody.
fn sweep(directory: BorrowedFd<'_>, name: &str) {
    let prefix = temporary_prefix(name);
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let Ok(Ok(names)) = openat(directory, ".", flags, Mode::empty()).map(names) else { return };
    for stale in names.iter().filter(|other| other.starts_with(&prefix)) {
        if owner_of(stale).is_some_and(|pid| kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH)) {
            let _ = unlinkat(directory, stale.as_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

fn refuse_directory(directory: BorrowedFd<'_>, name: &str, path: &str, expected: &'static str) -> Result<()> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match openat(directory, name, flags, Mode::empty()) {
        Ok(fd) => {
            let found = tree::stat(fd.as_fd()).map_err(Error::path("look at", path))?;
            if found.file_type == FileType::Directory {
                return Err(unexpected(path, "a directory", expected));
            }
            Ok(())
        }
        Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(Error::path("look at", path)(errno.into())),
    }
}

/// Sets owner and group, then the mode: chown(2) clears the setuid and setgid bits. Only what differs is set.
pub(super) fn give_access(fd: BorrowedFd<'_>, access: Access) -> io::Result<()> {
    let now = tree::stat(fd)?.access;
    let done = (|| {
        if (now.uid, now.gid) != (access.uid, access.gid) {
            fchown(fd, Some(Uid::from_raw(access.uid)), Some(Gid::from_raw(access.gid)))?;
        }
        let now = tree::stat(fd)?.access;
        if now.mode != access.mode {
            fchmod(fd, Mode::from_bits_truncate(access.mode))?;
        }
        Ok(())
    })();
    match done {
        Err(_) if lacks_owners(fd) => Ok(()),
        other => other,
    }
}

/// Whether the file system has no owners and modes of its own, as FAT on the boot partition.
fn lacks_owners(fd: BorrowedFd<'_>) -> bool {
    fstatfs(fd).is_ok_and(|statfs| statfs.filesystem_type() == MSDOS_SUPER_MAGIC)
}

/// Makes a rename, creation or removal in a directory durable. Some file systems (FUSE, 9p) cannot and say EINVAL.
fn sync_directory(directory: BorrowedFd<'_>) -> io::Result<()> {
    match fsync(directory) {
        Ok(()) | Err(Errno::EINVAL) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
