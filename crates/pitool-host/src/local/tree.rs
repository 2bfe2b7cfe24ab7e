//! Paths of a machine, opened inside its root.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat, readlinkat};
use nix::sys::stat::Mode;
use nix::unistd::geteuid;

/// As many links as the kernel follows before it says ELOOP (path_resolution(7)).
const MAX_LINKS: u32 = 40;

/// The file system of a machine: the live one, or another one below a directory.
///
/// In another root every component is opened without following links and links are followed by hand, with
/// absolute targets and `..` kept inside, as `openat2(2)` with `RESOLVE_IN_ROOT` does. It works on kernels and in
/// containers that refuse `openat2`, so there is no second way.
#[derive(Debug)]
pub(super) struct Tree {
    /// The root's canonical path on this machine.
    path: PathBuf,
    /// The root directory, when it is not this machine's own.
    root: Option<OwnedFd>,
}

impl Tree {
    /// Opens a root; `/` is the running system.
    pub(super) fn open_root(root: &str) -> io::Result<Self> {
        let path = std::fs::canonicalize(root)?;
        let root = if path == Path::new("/") {
            None
        } else {
            Some(openat(AT_FDCWD, &path, directory_flags(), Mode::empty())?)
        };
        Ok(Self { path, root })
    }

    /// Whether this is the machine's own root.
    pub(super) fn live(&self) -> bool {
        self.root.is_none()
    }

    /// The root's canonical path.
    pub(super) fn root(&self) -> &Path {
        &self.path
    }

    /// Opens what is at an absolute path. Without `follow` a link in the last component is `ELOOP`, or with
    /// `O_PATH` the link itself.
    pub(super) fn open(&self, path: &str, flags: OFlag, follow: bool) -> io::Result<OwnedFd> {
        absolute(path)?;
        let flags = flags | OFlag::O_CLOEXEC | OFlag::O_LARGEFILE;
        let Some(root) = &self.root else {
            let flags = if follow { flags } else { flags | OFlag::O_NOFOLLOW };
            return Ok(openat(AT_FDCWD, path, flags, Mode::from_bits_truncate(0o600))?);
        };
        let place = walk(root.as_fd(), path, follow, &|_| true)?;
        Ok(openat(
            place.directory()?,
            place.name.as_os_str(),
            flags | OFlag::O_NOFOLLOW,
            Mode::from_bits_truncate(0o600),
        )?)
    }

    /// Opens the directory that a path's last component is in, and gives that component.
    pub(super) fn parent<'p>(&self, path: &'p str) -> io::Result<(OwnedFd, &'p str)> {
        absolute(path)?;
        let trimmed = path.trim_end_matches('/');
        let (directory, name) = trimmed.rsplit_once('/').ok_or(Errno::EBUSY)?;
        if matches!(name, "" | "." | "..") {
            return Err(Errno::EINVAL.into());
        }
        let directory = if directory.is_empty() { "/" } else { directory };
        Ok((self.open_trusted(directory)?, name))
    }

    /// Opens a directory in which something is about to change.
    ///
    /// Links on the way are followed only where root made them (or whoever the tree or this process belongs to):
    /// somebody who puts a link in place of a directory of his own must not choose where root writes.
    fn open_trusted(&self, directory: &str) -> io::Result<OwnedFd> {
        let live;
        let root = match &self.root {
            Some(root) => root.as_fd(),
            None => {
                live = openat(AT_FDCWD, "/", directory_flags(), Mode::empty())?;
                live.as_fd()
            }
        };
        let trusted = [0, metadata(root)?.uid(), geteuid().as_raw()];
        let place = walk(root, directory, true, &|uid| trusted.contains(&uid))?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(openat(place.directory()?, place.name.as_os_str(), flags, Mode::empty())?)
    }

    /// The path on this machine, free of links, of a directory of the tree.
    pub(super) fn canonical(&self, path: &str) -> io::Result<PathBuf> {
        absolute(path)?;
        let Some(root) = &self.root else {
            return std::fs::canonicalize(path);
        };
        let place = walk(root.as_fd(), path, true, &|_| true)?;
        openat(
            place.directory()?,
            place.name.as_os_str(),
            directory_flags() | OFlag::O_NOFOLLOW,
            Mode::empty(),
        )?;
        let mut canonical = self.path.clone();
        canonical.extend(place.above.iter().map(|(_, name)| name));
        if place.name != "." {
            canonical.push(&place.name);
        }
        Ok(canonical)
    }
}

/// Flags that open a directory only to work below it.
fn directory_flags() -> OFlag {
    OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC
}

fn absolute(path: &str) -> io::Result<()> {
    if path.starts_with('/') {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "the path is not absolute"))
    }
}

/// Where a path ends: a name in a directory, with every link before it followed.
struct Place<'r> {
    root: BorrowedFd<'r>,
    /// The directories below the root on the way, with their names.
    above: Vec<(OwnedFd, OsString)>,
    /// The last component; `.` where the path ends in the directory itself.
    name: OsString,
}

impl Place<'_> {
    fn directory(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.above.last().map_or(self.root, |(directory, _)| directory.as_fd()))
    }
}

fn walk<'r>(
    root: BorrowedFd<'r>,
    path: &str,
    follow: bool,
    trusted: &dyn Fn(u32) -> bool,
) -> io::Result<Place<'r>> {
    let mut place = Place { root, above: Vec::new(), name: OsString::from(".") };
    // Components still to go, the next one last.
    let mut ahead = components(OsStr::new(path));
    let mut links = 0;
    while let Some(name) = ahead.pop() {
        if name == "." {
            continue;
        }
        if name == ".." {
            place.above.pop();
            continue;
        }
        let last = ahead.is_empty();
        let opened = openat(
            place.directory()?,
            name.as_os_str(),
            OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC,
            Mode::empty(),
        );
        let opened = match opened {
            Ok(opened) => File::from(opened),
            // What is not there may still be created.
            Err(Errno::ENOENT) if last => {
                place.name = name;
                return Ok(place);
            }
            Err(errno) => return Err(errno.into()),
        };
        let metadata = opened.metadata()?;
        let kind = metadata.file_type();
        if kind.is_symlink() && (follow || !last) {
            if !trusted(metadata.uid()) {
                let name = name.to_string_lossy();
                let why = format!("`{name}` on the way is a link that user {} made", metadata.uid());
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
            }
            links += 1;
            if links > MAX_LINKS {
                return Err(Errno::ELOOP.into());
            }
            let target = readlinkat(opened.as_fd(), "")?;
            if target.as_bytes().starts_with(b"/") {
                place.above.clear();
            }
            ahead.extend(components(&target));
        } else if last {
            place.name = name;
            return Ok(place);
        } else if kind.is_dir() {
            place.above.push((opened.into(), name));
        } else {
            return Err(Errno::ENOTDIR.into());
        }
    }
    Ok(place)
}

/// The components of a path, last one first. A trailing slash asks for a directory, as `.` does.
fn components(path: &OsStr) -> Vec<OsString> {
    let mut components: Vec<OsString> = path
        .as_bytes()
        .split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty())
        .map(|name| OsStr::from_bytes(name).to_owned())
        .collect();
    if path.as_bytes().ends_with(b"/") {
        components.push(OsString::from("."));
    }
    components.reverse();
    components
}

/// What is behind an open descriptor. std's own call, since it has 64-bit sizes and times on armv7 too.
pub(super) fn metadata(fd: BorrowedFd<'_>) -> io::Result<std::fs::Metadata> {
    File::from(fd.try_clone_to_owned()?).metadata()
}

/// The part of metadata that a host answers with; `fd` may be an `O_PATH` descriptor of a link.
pub(super) fn stat(fd: BorrowedFd<'_>) -> io::Result<crate::Stat> {
    use crate::{Access, FileType};
    let metadata = metadata(fd)?;
    let kind = metadata.file_type();
    let file_type = if kind.is_file() {
        FileType::File
    } else if kind.is_dir() {
        FileType::Directory
    } else if kind.is_symlink() {
        FileType::Link(readlinkat(fd, "")?.to_string_lossy().into_owned())
    } else {
        FileType::Other
    };
    let access = Access { mode: metadata.mode() & 0o7777, uid: metadata.uid(), gid: metadata.gid() };
    Ok(crate::Stat { file_type, access, size: metadata.size() })
}
