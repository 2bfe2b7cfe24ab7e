//! Paths, resolved from a root descriptor.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2, readlinkat};
use rustix::io::Errno;

use super::directory::open_file_flags;
use super::rule::Trust;
use super::{Directory, Error, Kind, Object, Result};

/// As many symbolic links as the kernel follows before `ELOOP`, path_resolution(7).
const MAX_LINKS: u32 = 40;

/// Whether openat2(2) was refused: Linux before 5.6 says `ENOSYS`, the seccomp filters of some containers `EPERM`.
static REFUSED: AtomicBool = AtomicBool::new(false);

/// What happens to a symbolic link in the last component of a path. On the way links are followed by the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// It is followed by the rule, as on the way.
    Follow,
    /// It is the thing that was asked for.
    Itself,
}

/// A root directory: the machine's own, or that of a tree on it (a mounted card), which no path leads out of.
///
/// Paths are absolute in it; `..` and absolute link targets stay inside. A path without links is one openat2(2).
/// Symbolic links, `..` and kernels without openat2 are walked by hand, by the same rule.
#[derive(Debug)]
pub struct Root {
    /// Opened `O_PATH`.
    fd: OwnedFd,
    trust: Trust,
    by_hand: bool,
}

impl Root {
    /// Opens a root by its path on the machine, which the caller trusts.
    pub fn open(path: &Path) -> Result<Self> {
        Self::new(openat(CWD, path, directory_flags(), Mode::empty())?)
    }

    /// Takes over a descriptor of a root directory.
    pub fn new(fd: OwnedFd) -> Result<Self> {
        let file = File::from(fd);
        let trust = Trust::of_root(&file.metadata()?);
        Ok(Self { fd: file.into(), trust, by_hand: false })
    }

    /// Walks every path by hand, as where there is no openat2.
    #[cfg(test)]
    pub(super) fn by_hand(mut self) -> Self {
        self.by_hand = true;
        self
    }

    /// Opens what is at a path, to look at it.
    ///
    /// # Errors
    /// [`Error::ForeignLink`]; [`Error::is_missing`] where nothing is there.
    pub fn look(&self, path: &Path, last: Last) -> Result<Object> {
        Object::new(self.raw(path, OFlags::PATH, last)?)
    }

    /// Opens a regular file to read it. A FIFO does not wait for a writer.
    ///
    /// # Errors
    /// [`Error::Unexpected`] for everything but a regular file, with [`Last::Itself`] also for a link.
    pub fn open_file(&self, path: &Path, last: Last) -> Result<File> {
        match self.raw(path, open_file_flags(), last) {
            Ok(fd) => super::directory::regular(fd),
            // A link (ELOOP) or a socket (ENXIO): say which.
            Err(error) if matches!(error.errno(), Some(Errno::LOOP | Errno::NXIO)) => {
                match self.look(path, last)?.kind() {
                    Kind::File => Err(error),
                    found => Err(Error::Unexpected { found, expected: Kind::File }),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Opens a directory.
    pub fn directory(&self, path: &Path, last: Last) -> Result<Directory> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let opened = match self.raw(path, flags, last) {
            Ok(fd) => fd,
            Err(error) if matches!(error.errno(), Some(Errno::LOOP | Errno::NOTDIR)) => {
                return match self.look(path, last)?.kind() {
                    Kind::Directory => Err(error),
                    found => Err(Error::Unexpected { found, expected: Kind::Directory }),
                };
            }
            Err(error) => return Err(error),
        };
        Ok(Directory::with_trust(opened, self.trust))
    }

    /// Opens the directory that a path's last component is in, and returns that component. Nothing need be there.
    ///
    /// # Errors
    /// `EBUSY` for the root itself, `EINVAL` where the last component is `..`.
    pub fn parent<'p>(&self, path: &'p Path) -> Result<(Directory, &'p OsStr)> {
        absolute(path)?;
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            let ends_above = path.components().any(|part| part == std::path::Component::ParentDir);
            return Err(if ends_above { Errno::INVAL } else { Errno::BUSY }.into());
        };
        Ok((self.directory(parent, Last::Follow)?, name))
    }

    /// Returns the path in this root, without links, of what is at a path (its last component may be missing).
    pub fn canonical(&self, path: &Path) -> Result<PathBuf> {
        absolute(path)?;
        Ok(self.walk(path, Last::Follow)?.path())
    }

    /// Opens what is at a path with open(2)'s own flags. Without `PATH` it does what open does, to a device too: prefer
    /// the other functions.
    pub(crate) fn raw(&self, path: &Path, flags: OFlags, last: Last) -> Result<OwnedFd> {
        absolute(path)?;
        // openat2 takes no flag that PATH makes meaningless.
        let large = if flags.contains(OFlags::PATH) { OFlags::empty() } else { OFlags::LARGEFILE };
        let flags = flags | OFlags::CLOEXEC | large;
        if !self.by_hand && !REFUSED.load(Ordering::Relaxed) && !has_dots(path) {
            // With PATH a link in the last component would be opened itself.
            let flags = if last == Last::Itself { flags | OFlags::NOFOLLOW } else { flags };
            let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::IN_ROOT;
            match openat2(&self.fd, path, flags, Mode::empty(), resolve) {
                Err(Errno::NOSYS | Errno::PERM) => REFUSED.store(true, Ordering::Relaxed),
                // Where it can be opened itself, the link is the last component and not on the way.
                Err(Errno::LOOP)
                    if last == Last::Itself
                        && openat2(&self.fd, path, link_flags(), Mode::empty(), resolve).is_ok() =>
                {
                    return Err(Errno::LOOP.into());
                }
                Err(Errno::LOOP | Errno::AGAIN) => {}
                opened => return Ok(opened?),
            }
        }
        let place = self.walk(path, last)?;
        Ok(openat(place.directory(), place.name.as_os_str(), flags | OFlags::NOFOLLOW, Mode::empty())?)
    }

    fn walk(&self, path: &Path, last: Last) -> Result<Place<'_>> {
        let root = Step { fd: None, name: OsString::new(), trust: self.trust };
        let mut place = Place { root: self.fd.as_fd(), above: vec![root], name: OsString::from(".") };
        // Components still to go, the next one last.
        let mut ahead = components(path.as_os_str());
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            if name == "." {
                continue;
            }
            if name == ".." {
                if place.above.len() > 1 {
                    place.above.pop();
                }
                continue;
            }
            let is_last = ahead.is_empty();
            // Asking for a directory also mounts what autofs has at this place; a link or file says ENOTDIR (or ELOOP).
            let flags = directory_flags() | OFlags::NOFOLLOW;
            if !is_last {
                match openat(place.directory(), name.as_os_str(), flags, Mode::empty()) {
                    Ok(fd) => {
                        place.enter(fd, name)?;
                        continue;
                    }
                    Err(Errno::NOTDIR | Errno::LOOP) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
            let opened = match openat(place.directory(), name.as_os_str(), link_flags(), Mode::empty()) {
                Ok(fd) => Object::new(fd)?,
                // What is not there may still be created.
                Err(Errno::NOENT) if is_last => {
                    place.name = name;
                    return Ok(place);
                }
                Err(errno) => return Err(errno.into()),
            };
            if opened.kind() == Kind::Link && (last == Last::Follow || !is_last) {
                if !place.trust().may_follow() {
                    return Err(Error::ForeignLink { name: name.to_string_lossy().into_owned() });
                }
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::LOOP.into());
                }
                let target = readlinkat(&opened, c"", Vec::new())?.into_bytes();
                if target.starts_with(b"/") {
                    place.above.truncate(1);
                }
                ahead.extend(components(&OsString::from_vec(target)));
            } else if is_last {
                place.name = name;
                return Ok(place);
            } else {
                return Err(Errno::NOTDIR.into());
            }
        }
        Ok(place)
    }
}

/// A directory on the way; the first one is the root, whose descriptor is the root's.
struct Step {
    fd: Option<OwnedFd>,
    name: OsString,
    trust: Trust,
}

/// Where a path ends: a name in a directory, with every link before it followed.
struct Place<'r> {
    root: BorrowedFd<'r>,
    /// The directories on the way, the root first.
    above: Vec<Step>,
    /// The last component; `.` where the path ends in the directory itself.
    name: OsString,
}

impl Place<'_> {
    fn directory(&self) -> BorrowedFd<'_> {
        self.above.last().and_then(|step| step.fd.as_ref()).map_or(self.root, OwnedFd::as_fd)
    }

    fn trust(&self) -> Trust {
        self.above.last().expect("the root stays").trust
    }

    fn enter(&mut self, fd: OwnedFd, name: OsString) -> Result<()> {
        let file = File::from(fd);
        let trust = self.trust().below(&file.metadata()?);
        self.above.push(Step { fd: Some(file.into()), name, trust });
        Ok(())
    }

    fn path(&self) -> PathBuf {
        let mut path = PathBuf::from("/");
        path.extend(self.above.iter().skip(1).map(|step| &step.name));
        if self.name != "." {
            path.push(&self.name);
        }
        path
    }
}

/// Flags that open a directory only to work below it.
fn directory_flags() -> OFlags {
    OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC
}

/// Flags that open anything to look at it, a symbolic link itself.
fn link_flags() -> OFlags {
    OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

fn absolute(path: &Path) -> Result<()> {
    if path.is_absolute() {
        return Ok(());
    }
    Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "the path is not absolute").into())
}

/// Whether a path has `..`, which the kernel takes from the directory of the moment and the walk from the way it came.
fn has_dots(path: &Path) -> bool {
    path.as_os_str().as_bytes().split(|byte| *byte == b'/').any(|name| name == b"..")
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
