//! Atomic and durable changes of files.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{OFlags, symlinkat};
use rustix::io::Errno;

use super::tree::Tree;
use crate::inspect::Looked;
use crate::trust::{self, Directory, Kind, Last, Object, attributes, read_bounded};
use crate::{Access, Content, Error, FileType, Result, Stat};

/// The largest file that [`crate::Inspect::read`] reads.
const READ_LIMIT: u64 = 16 << 20;

/// How often something is looked at that changes its kind between two system calls.
const TRIES: u32 = 16;

/// Whether a name is that of a temporary file, `.NAME.pitool-<pid>-<n>`, which a power cut can leave behind.
pub fn is_leftover(name: &str) -> bool {
    trust::is_leftover(OsStr::new(name))
}

fn unexpected(path: &str, found: impl Into<String>, expected: &'static str) -> Error {
    Error::Unexpected { path: path.to_owned(), found: found.into(), expected }
}

/// What a host answers of an open thing; `O_PATH` is enough.
fn stat_of(object: &Object) -> trust::Result<Stat> {
    let file_type = match object.kind() {
        Kind::File => FileType::File,
        Kind::Directory => FileType::Directory,
        Kind::Link => FileType::Link(object.target()?.to_string_lossy().into_owned()),
        Kind::Fifo | Kind::Socket | Kind::CharacterDevice | Kind::BlockDevice => FileType::Other,
    };
    Ok(Stat { file_type, access: object.access(), size: object.metadata().len() })
}

/// `None` where nothing is there; a finding in words.
fn found<T>(operation: &'static str, path: &str, result: trust::Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(Error::finding(operation, path)(error)),
    }
}

pub(super) fn read(tree: &Tree, path: &str) -> Result<Option<Content>> {
    let bytes =
        tree.root().open_file(Path::new(path), Last::Follow).and_then(|file| read_bounded(&file, READ_LIMIT));
    Ok(found("read", path, bytes)?.map(Content::from))
}

pub(super) fn look(tree: &Tree, path: &str) -> Result<Option<Looked>> {
    for _ in 0..TRIES {
        let looked = look_once(tree, Path::new(path));
        if !matches!(&looked, Err(error) if error.errno() == Some(Errno::LOOP)) {
            return found("look at", path, looked);
        }
    }
    Err(unexpected(path, "exchanged all the time", "a file that stays in its place"))
}

/// Opens what is there as a file. `ELOOP` says that it was a link and no longer is.
fn look_once(tree: &Tree, path: &Path) -> trust::Result<Looked> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    match tree.root().raw(path, flags, Last::Itself) {
        Ok(fd) => {
            let file = File::from(fd);
            let stat = stat_of(&Object::new(file.try_clone()?)?)?;
            let content = match stat.file_type {
                FileType::File => Some(read_bounded(&file, READ_LIMIT)?.into()),
                _ => None,
            };
            Ok(Looked { stat, content })
        }
        // A link, a socket, or what this user may not read: it is what it is.
        Err(error) if matches!(error.errno(), Some(Errno::LOOP | Errno::NXIO | Errno::ACCESS)) => {
            let stat = stat_of(&tree.root().look(path, Last::Itself)?)?;
            if stat.file_type == FileType::File { Err(error) } else { Ok(Looked { stat, content: None }) }
        }
        Err(error) => Err(error),
    }
}

pub(super) fn stat(tree: &Tree, path: &str) -> Result<Option<Stat>> {
    let looked = tree.root().look(Path::new(path), Last::Itself).and_then(|object| stat_of(&object));
    found("look at", path, looked)
}

/// The names in a directory, sorted. One that is not UTF-8 cannot be named by a path of ours: left out.
pub(super) fn list(tree: &Tree, path: &str) -> Result<Option<Vec<String>>> {
    let names =
        match tree.root().directory(Path::new(path), Last::Follow).and_then(|directory| directory.list()) {
            // Something else is there: no directory is.
            Err(trust::Error::Unexpected { .. }) => return Ok(None),
            names => found("list", path, names)?,
        };
    Ok(names.map(|names| names.into_iter().filter_map(|name| name.into_string().ok()).collect()))
}

/// The directory that is changed, and the name in it.
fn parent<'p>(tree: &Tree, path: &'p str) -> trust::Result<(Directory, &'p OsStr)> {
    tree.root().parent(Path::new(path))
}

pub(super) fn write(tree: &Tree, path: &str, content: &[u8], access: Access) -> Result<()> {
    let fail = || Error::finding("write", path);
    let (directory, name) = parent(tree, path).map_err(fail())?;
    refuse_directory(&directory, name, path, "a file")?;
    directory.sweep(name);
    let write = directory.write(name, |file| -> trust::Result<()> {
        file.write_all(content)?;
        attributes::set_access(&*file, access)
    });
    write.map_err(fail())?;
    if attributes::lacks_owners(&directory) {
        // FAT has no journal, and the Pi boots from what is there (trap T35).
        let there = directory.open_file(name).and_then(|file| read_bounded(&file, READ_LIMIT));
        if there.map_err(Error::finding("read back", path))? != content {
            let why = "other bytes were read back: the card may be failing";
            return Err(Error::path("write", path)(std::io::Error::other(why)));
        }
    }
    Ok(())
}

pub(super) fn write_in_place(tree: &Tree, path: &str, content: &[u8]) -> Result<()> {
    let opened = tree.root().raw(Path::new(path), OFlags::WRONLY | OFlags::TRUNC, Last::Follow);
    let mut file = File::from(opened.map_err(Error::finding("write", path))?);
    file.write_all(content).map_err(Error::path("write", path))
}

pub(super) fn append(tree: &Tree, path: &str, content: &[u8], durable: bool) -> Result<()> {
    append_to(tree, path, content, durable).map_err(Error::finding("append to", path))
}

fn append_to(tree: &Tree, path: &str, content: &[u8], durable: bool) -> trust::Result<()> {
    let (directory, name) = parent(tree, path)?;
    let (mut file, created) = match directory.open_to_append(name) {
        Err(error) if error.is_missing() => (directory.create_own(name)?, true),
        opened => (opened?, false),
    };
    file.write_all(content)?;
    if durable {
        file.sync_all()?;
        if created {
            directory.sync()?;
        }
    }
    Ok(())
}

pub(super) fn set_access(tree: &Tree, path: &str, access: Access) -> Result<()> {
    let fail = || Error::finding("set access of", path);
    let (directory, name) = parent(tree, path).map_err(fail())?;
    let opened: OwnedFd = match directory.open_file(name) {
        Ok(file) => file.into(),
        Err(trust::Error::Unexpected { found: Kind::Directory, .. }) => {
            directory.enter(name).map_err(fail())?.into()
        }
        Err(trust::Error::Unexpected { found, .. }) => {
            return Err(unexpected(path, found.noun(), "a file or directory"));
        }
        Err(error) => return Err(fail()(error)),
    };
    let object = Object::new(opened).map_err(fail())?;
    let now = object.access();
    // Whoever can exchange files here would be given one of root's that he put in this one's place.
    if object.kind() == Kind::File
        && (now.uid, now.gid) != (access.uid, access.gid)
        && !directory.is_exclusive().map_err(fail())?
    {
        let found = format!("owned by {}:{}, not {}:{}", now.uid, now.gid, access.uid, access.gid);
        return Err(unexpected(path, found, "the file that was looked at; write it to change its owner"));
    }
    attributes::set_access(&object, access).map_err(fail())?;
    rustix::fs::fsync(&object).map_err(|errno| fail()(errno.into()))
}

pub(super) fn link(tree: &Tree, path: &str, target: &str) -> Result<()> {
    let fail = || Error::finding("link", path);
    let (directory, name) = parent(tree, path).map_err(fail())?;
    refuse_directory(&directory, name, path, "a link")?;
    directory.sweep(name);
    let replaced = directory.replace(name, |place, temporary| -> trust::Result<()> {
        Ok(symlinkat(target, place.as_fd(), temporary)?)
    });
    replaced.map_err(fail())
}

pub(super) fn make_dir(tree: &Tree, path: &str, access: Access) -> Result<()> {
    let fail = || Error::finding("make directory", path);
    let (directory, name) = parent(tree, path).map_err(fail())?;
    match directory.make_dir(name, access) {
        Ok(_) => return Ok(()),
        Err(error) if error.errno() == Some(Errno::EXIST) => {}
        Err(error) => return Err(fail()(error)),
    }
    let there = directory.enter(name).map_err(fail())?;
    let done =
        attributes::set_access(&there, access).and_then(|()| there.sync()).and_then(|()| directory.sync());
    done.map_err(fail())
}

pub(super) fn remove(tree: &Tree, path: &str) -> Result<()> {
    let fail = || Error::finding("remove", path);
    let Some((directory, name)) = found("remove", path, parent(tree, path))? else { return Ok(()) };
    refuse_directory(&directory, name, path, "a file or link")?;
    directory.sweep(name);
    match directory.remove(name) {
        Ok(()) => directory.sync().map_err(fail()),
        Err(error) if error.is_missing() => Ok(()),
        Err(error) => Err(fail()(error)),
    }
}

pub(super) fn remove_dir(tree: &Tree, path: &str) -> Result<bool> {
    let fail = || Error::finding("remove directory", path);
    let Some((directory, name)) = found("remove directory", path, parent(tree, path))? else {
        return Ok(true);
    };
    match directory.remove_dir(name) {
        Ok(()) => directory.sync().map_err(fail()).map(|()| true),
        Err(error) => match error.errno() {
            Some(Errno::NOENT) => Ok(true),
            Some(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            _ => Err(fail()(error)),
        },
    }
}

fn refuse_directory(directory: &Directory, name: &OsStr, path: &str, expected: &'static str) -> Result<()> {
    match found("look at", path, directory.look(name))? {
        Some(there) if there.kind() == Kind::Directory => {
            Err(unexpected(path, Kind::Directory.noun(), expected))
        }
        _ => Ok(()),
    }
}
