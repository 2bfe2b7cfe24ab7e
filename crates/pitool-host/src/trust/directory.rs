//! A directory held by its descriptor, in which things go by one name.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::Write;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{
    AtFlags, Mode, OFlags, RawDir, RenameFlags, SeekFrom, mkdirat, openat, renameat, renameat_with, unlinkat,
};
use rustix::io::Errno;
use rustix::process::{Pid, geteuid, test_kill_process};

use super::rule::Trust;
use super::{Error, Kind, Object, Result, attributes};
use crate::Access;

/// Marks the names of temporary things.
const MARK: &[u8] = b".pitool-";

/// Names of temporary things differ by this within one process.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A directory, open to read. Its methods take the name of one entry (no `/`, not `.` or `..`; else `EINVAL`) and never
/// follow a symbolic link.
#[derive(Debug)]
pub struct Directory {
    file: File,
    trust: Trust,
}

impl Directory {
    /// Takes over a descriptor of a directory that was opened to read.
    pub fn new(fd: impl Into<OwnedFd>) -> Result<Self> {
        let file = File::from(fd.into());
        let trust = Trust::of_process();
        Ok(Self { file, trust })
    }

    pub(super) fn with_trust(fd: OwnedFd, trust: Trust) -> Self {
        Self { file: fd.into(), trust }
    }

    /// Duplicates the descriptor.
    pub fn try_clone(&self) -> Result<Self> {
        Ok(Self { file: self.file.try_clone()?, trust: self.trust })
    }

    /// Asks `fstat` about the directory itself.
    pub fn metadata(&self) -> Result<Metadata> {
        Ok(self.file.metadata()?)
    }

    /// Returns whether root alone can make, rename and remove entries. A sticky directory such as /tmp is not one.
    pub fn is_exclusive(&self) -> Result<bool> {
        Ok(self.trust.itself(&self.metadata()?).exclusive())
    }

    /// Opens what has this name, to look at it: a link itself, a FIFO or device without effect on it.
    pub fn look(&self, name: &OsStr) -> Result<Object> {
        Object::new(self.open(name, OFlags::PATH, Mode::empty())?)
    }

    /// Opens a regular file to read it. A FIFO does not wait for a writer.
    ///
    /// # Errors
    /// [`Error::Unexpected`] for everything but a regular file.
    pub fn open_file(&self, name: &OsStr) -> Result<File> {
        match self.open(name, open_file_flags(), Mode::empty()) {
            Ok(fd) => regular(fd),
            Err(error) => Err(self.instead(name, error, Kind::File)),
        }
    }

    /// Opens a regular file that this process's user made and nobody else can reach, to read it and to write on.
    ///
    /// # Errors
    /// [`Error::NotOurs`] where it has another owner, a mode for others, or a second name. On a file system that keeps
    /// no owners and modes (FAT) every regular file with one name passes.
    pub fn open_own(&self, name: &OsStr) -> Result<File> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match self.open(name, flags, Mode::empty()) {
            Ok(fd) => regular(fd)?,
            Err(error) => return Err(self.instead(name, error, Kind::File)),
        };
        let metadata = file.metadata()?;
        if metadata.nlink() != 1 {
            return Err(Error::NotOurs("it has a second name (a hard link)"));
        }
        self.require_own(&metadata)?;
        Ok(file)
    }

    /// Creates a regular file, 0600, which must not be there, to read and to write.
    pub fn create_own(&self, name: &OsStr) -> Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        Ok(self.open(name, flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    /// Opens a regular file to append to it.
    ///
    /// # Errors
    /// [`Error::Unexpected`] for everything but a regular file.
    pub(crate) fn open_to_append(&self, name: &OsStr) -> Result<File> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NONBLOCK | OFlags::NOCTTY;
        match self.open(name, flags, Mode::empty()) {
            Ok(fd) => regular(fd),
            Err(error) => Err(self.instead(name, error, Kind::File)),
        }
    }

    /// Opens a directory in this one.
    pub fn enter(&self, name: &OsStr) -> Result<Self> {
        match self.open(name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()) {
            Ok(fd) => Ok(Self::with_trust(fd, self.trust)),
            Err(error) => Err(self.instead(name, error, Kind::Directory)),
        }
    }

    /// Opens a directory that nobody else can enter, 0700, and makes it where it is missing: for temporary things that
    /// outlive a process (an upload that is resumed).
    ///
    /// # Errors
    /// [`Error::NotOurs`] where somebody else made it or can reach what is in it; see [`open_own`](Self::open_own) for
    /// file systems without owners.
    pub fn private(&self, name: &OsStr) -> Result<Self> {
        match mkdirat(&self.file, one(name)?, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        let directory = self.enter(name)?;
        self.require_own(&directory.metadata()?)?;
        Ok(directory)
    }

    /// Names in the directory, sorted by their bytes, without `.` and `..`.
    pub fn list(&self) -> Result<Vec<OsString>> {
        let mut names = Vec::new();
        // getdents64(2) itself: readdir(3) of a 32-bit libc fails on inodes that are larger.
        rustix::fs::seek(&self.file, SeekFrom::Start(0))?;
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut entries = RawDir::new(&self.file, &mut buffer);
        while let Some(entry) = entries.next() {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name));
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Replaces or creates a file, durably: written under a temporary name (0600) by `fill`, synced, renamed, and the
    /// directory synced. After a power cut the name has the old content or the new. On failure nothing of it stays.
    ///
    /// `fill` gets the open file and also sets its access ([`attributes::set_access`]).
    pub fn write<E: From<Error>>(
        &self,
        name: &OsStr,
        fill: impl FnOnce(&mut File) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        self.replace(name, |directory, temporary| {
            let mut file = directory.create_own(temporary)?;
            fill(&mut file)?;
            file.flush().and_then(|()| file.sync_all()).map_err(Error::from)?;
            Ok(())
        })
    }

    /// Replaces or creates what has this name, durably: `make` makes it under the temporary name and in the directory
    /// that it is handed, where nobody else can reach it; then it is renamed into place and the directory synced.
    ///
    /// `make` syncs what it made, where that needs it.
    ///
    /// # Errors
    /// What `make` says; a directory with entries in the place of something else is `EISDIR`, `ENOTEMPTY` or the like.
    pub fn replace<E: From<Error>>(
        &self,
        name: &OsStr,
        make: impl FnOnce(&Directory, &OsStr) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        one(name)?;
        if self.needs_staging()? {
            let staging = self.staging(name)?;
            make(&staging, name)?;
            staging.rename(name, self, name)?;
            drop(staging);
        } else {
            let temporary = self.free_name(name)?;
            let done =
                make(self, &temporary).and_then(|()| self.rename(&temporary, self, name).map_err(E::from));
            if let Err(error) = done {
                // The first error is the one to tell; what stays is swept by the next write.
                let _ = self.remove_tree(&temporary);
                return Err(error);
            }
        }
        Ok(self.sync()?)
    }

    /// Makes a directory with this access and returns it. It has no other access at any moment.
    ///
    /// # Errors
    /// `EEXIST` where something has the name.
    pub fn make_dir(&self, name: &OsStr, access: Access) -> Result<Self> {
        let made = if self.needs_staging()? {
            one(name)?;
            if !matches!(self.look(name), Err(error) if error.is_missing()) {
                return Err(Errno::EXIST.into());
            }
            let staging = self.staging(name)?;
            mkdirat(&staging.file, name, Mode::RWXU)?;
            let made = staging.enter(name)?;
            attributes::set_access(&made, access)?;
            match renameat_with(&staging.file, name, &self.file, name, RenameFlags::NOREPLACE) {
                // Not every file system has this flag. Without it at most an empty directory is replaced.
                Err(Errno::INVAL | Errno::NOSYS) => renameat(&staging.file, name, &self.file, name)?,
                done => done?,
            }
            made
        } else {
            mkdirat(&self.file, one(name)?, Mode::RWXU)?;
            let made = self.enter(name)?;
            attributes::set_access(&made, access)?;
            made
        };
        made.sync()?;
        self.sync()?;
        Ok(Self { file: made.file, trust: self.trust })
    }

    /// Makes a directory beside the others in which nobody else can make, exchange or open anything: things that are
    /// made in it have the owner and the mode that they shall have before [`rename`](Self::rename) shows them. `hint` is
    /// for its name, which [`is_leftover`] knows. It is removed with all that is still in it when the value is dropped.
    ///
    /// It is on the same file system, so that a rename out of it works. One staging serves many things.
    ///
    /// # Errors
    /// [`Error::NotOurs`] where somebody exchanged it while it was made.
    pub fn staging(&self, hint: &OsStr) -> Result<Staging> {
        let mut tries = 0;
        loop {
            let name = temporary(hint);
            match mkdirat(&self.file, name.as_os_str(), Mode::RWXU) {
                Ok(()) => {}
                Err(Errno::EXIST) if tries < 1000 => {
                    tries += 1;
                    continue;
                }
                Err(errno) => return Err(errno.into()),
            }
            let directory = self.enter(&name)?;
            // Only what root made and nobody can enter passes; were it exchanged for another such directory, one that
            // is not empty could hold something of this name.
            self.require_own(&directory.metadata()?)?;
            if !directory.list()?.is_empty() {
                return Err(Error::NotOurs("it was exchanged while it was made"));
            }
            return Ok(Staging { directory, parent: self.try_clone()?, name });
        }
    }

    /// Renames an entry, within one file system. What has the new name is replaced, as rename(2) does.
    ///
    /// In a directory that is not exclusive somebody may have exchanged the entry: rename out of a [`Staging`] or a
    /// [`private`](Self::private) directory.
    pub fn rename(&self, name: &OsStr, to: &Directory, new: &OsStr) -> Result<()> {
        Ok(renameat(&self.file, one(name)?, &to.file, one(new)?)?)
    }

    /// Removes an entry that is not a directory.
    pub fn remove(&self, name: &OsStr) -> Result<()> {
        Ok(unlinkat(&self.file, one(name)?, AtFlags::empty())?)
    }

    /// Removes an empty directory.
    pub fn remove_dir(&self, name: &OsStr) -> Result<()> {
        Ok(unlinkat(&self.file, one(name)?, AtFlags::REMOVEDIR)?)
    }

    /// Removes an entry with all that is below it, on one file system. The depth of the tree costs no descriptors and no
    /// stack: each directory within is moved up before it is emptied.
    ///
    /// # Errors
    /// `EBUSY` or `EXDEV` where something is mounted below, `ENOTEMPTY` where somebody keeps adding to it.
    pub fn remove_tree(&self, name: &OsStr) -> Result<()> {
        let mut ahead = vec![name.to_owned()];
        while let Some(name) = ahead.pop() {
            match self.remove(&name) {
                Ok(()) => continue,
                Err(error) if matches!(error.errno(), Some(Errno::ISDIR | Errno::PERM)) => {}
                Err(error) => return Err(error),
            }
            let inner = self.enter(&name)?;
            let mut moved = Vec::new();
            for entry in inner.list()? {
                match inner.remove(&entry) {
                    Ok(()) => {}
                    Err(error) if error.errno() == Some(Errno::NOENT) => {}
                    Err(error) if matches!(error.errno(), Some(Errno::ISDIR | Errno::PERM)) => {
                        // An empty one needs no move.
                        if inner.remove_dir(&entry).is_err() {
                            let free = self.free_name(OsStr::new("remove"))?;
                            inner.rename(&entry, self, &free)?;
                            moved.push(free);
                        }
                    }
                    Err(error) => return Err(error),
                }
            }
            self.remove_dir(&name)?;
            ahead.extend(moved);
        }
        Ok(())
    }

    /// Removes temporary things for this name whose process is gone. Failing to do so harms nobody.
    pub fn sweep(&self, name: &OsStr) {
        let prefix = temporary_prefix(name);
        for stale in self.list().unwrap_or_default() {
            if stale.as_bytes().starts_with(&prefix) {
                let pid = owner_of(stale.as_bytes()).and_then(Pid::from_raw);
                if pid.is_some_and(|pid| test_kill_process(pid) == Err(Errno::SRCH)) {
                    let _ = self.remove_tree(&stale);
                }
            }
        }
    }

    /// Makes creations, renames and removals in it durable. File systems that cannot sync a directory (FUSE, 9p, some
    /// network mounts) say `EINVAL`, `ENOSYS` or `EOPNOTSUPP`, which is not a failure of what was done.
    pub fn sync(&self) -> Result<()> {
        match rustix::fs::fsync(&self.file) {
            Ok(()) | Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether new things need a staging: others can write here, and owners and modes can keep them out.
    fn needs_staging(&self) -> Result<bool> {
        Ok(!self.is_exclusive()? && self.keeps_owners()?)
    }

    /// Whether what this process makes here belongs to its user and has the mode that it was given. FAT and exFAT have
    /// no owners; a network mount may give everything to one user.
    ///
    /// A new file is asked, whose descriptor nobody can exchange.
    fn keeps_owners(&self) -> Result<bool> {
        let name = self.free_name(OsStr::new("owner"))?;
        let metadata = self.create_own(&name)?.metadata()?;
        let _ = self.remove(&name);
        Ok(is_own(&metadata))
    }

    fn require_own(&self, metadata: &Metadata) -> Result<()> {
        if is_own(metadata) || !self.keeps_owners()? {
            return Ok(());
        }
        Err(Error::NotOurs(if metadata.uid() == geteuid().as_raw() {
            "its mode lets others in"
        } else {
            "it belongs to another user"
        }))
    }

    /// A temporary name that nothing has at this moment.
    fn free_name(&self, name: &OsStr) -> Result<OsString> {
        loop {
            let candidate = temporary(name);
            match self.look(&candidate) {
                // A left-over of a dead process that had our process id.
                Ok(_) => {}
                Err(error) if error.is_missing() => return Ok(candidate),
                Err(error) => return Err(error),
            }
        }
    }

    /// The error for an open that failed: what is there instead of the kind that was asked for, where that is why.
    fn instead(&self, name: &OsStr, error: Error, expected: Kind) -> Error {
        match error.errno() {
            Some(Errno::LOOP | Errno::NOTDIR | Errno::NXIO | Errno::ISDIR) => match self.look(name) {
                Ok(object) => object.expect(expected).err().unwrap_or(error),
                Err(_) => error,
            },
            _ => error,
        }
    }

    fn open(&self, name: &OsStr, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::LARGEFILE;
        Ok(openat(&self.file, one(name)?, flags, mode)?)
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl From<Directory> for OwnedFd {
    fn from(directory: Directory) -> Self {
        directory.file.into()
    }
}

/// A directory of this process alone, see [`Directory::staging`].
#[derive(Debug)]
pub struct Staging {
    directory: Directory,
    parent: Directory,
    name: OsString,
}

impl std::ops::Deref for Staging {
    type Target = Directory;

    fn deref(&self) -> &Directory {
        &self.directory
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // By the descriptor first: the owner of the directory around it may have given it another name.
        for name in self.directory.list().unwrap_or_default() {
            let _ = self.directory.remove_tree(&name);
        }
        let _ = self.parent.remove_dir(&self.name);
    }
}

/// Returns whether a name is that of a temporary thing, `.NAME.pitool-<pid>-<n>`, which a power cut can leave behind.
pub fn is_leftover(name: &OsStr) -> bool {
    owner_of(name.as_bytes()).is_some()
}

/// The process that made a temporary thing.
fn owner_of(name: &[u8]) -> Option<i32> {
    let name = name.strip_prefix(b".")?;
    let at = name.windows(MARK.len()).rposition(|window| window == MARK)?;
    let (pid, n) = std::str::from_utf8(&name[at + MARK.len()..]).ok()?.split_once('-')?;
    n.parse::<u32>().ok()?;
    if at == 0 { None } else { pid.parse().ok().filter(|pid| *pid > 0) }
}

/// A name for a temporary thing that becomes `name`.
fn temporary(name: &OsStr) -> OsString {
    let mut temporary = temporary_prefix(name);
    let numbers = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    temporary.extend(numbers.as_bytes());
    OsString::from_vec(temporary)
}

fn temporary_prefix(name: &OsStr) -> Vec<u8> {
    // A name may have 255 bytes in all (NAME_MAX), and some file systems want whole characters.
    let bytes = name.as_bytes();
    let mut end = bytes.len().min(200);
    while end > 0 && end < bytes.len() && bytes[end] & 0xC0 == 0x80 {
        end -= 1;
    }
    [b".", &bytes[..end], MARK].concat()
}

/// Requires the name of one entry.
fn one(name: &OsStr) -> Result<&OsStr> {
    let bytes = name.as_bytes();
    if matches!(bytes, b"" | b"." | b"..") || bytes.iter().any(|byte| matches!(byte, b'/' | 0)) {
        return Err(Errno::INVAL.into());
    }
    Ok(name)
}

/// Flags that open a regular file to read it and do nothing to what is not one.
pub(super) fn open_file_flags() -> OFlags {
    OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY
}

/// Requires what is open to be a regular file.
pub(super) fn regular(fd: OwnedFd) -> Result<File> {
    let file = File::from(fd);
    match Kind::of(&file.metadata()?) {
        Kind::File => Ok(file),
        found => Err(Error::Unexpected { found, expected: Kind::File }),
    }
}

/// Whether something is of this process's user, and for nobody else.
fn is_own(metadata: &Metadata) -> bool {
    metadata.uid() == geteuid().as_raw() && metadata.mode() & 0o077 == 0
}
