//! A directory on this machine, most often on another disk.
//!
//! It may belong to somebody else, and whoever prepared the disk may have put anything into it. So it is opened once
//! and worked in by its descriptor; a marker and an archive are regular files and bounded; and what is not whole yet
//! is in a directory of root's own within it.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use pitool_host::Digest;
use pitool_host::trust::{self, Kind, Last, Root, read_bounded};
use rustix::fs::{Advice, fadvise};

use super::mounts::{Mount, has_own_disk, mounts};
use super::{Error, LONGEST, MARKER, MARKER_LIMIT, Result, Stored, Target, Weakness, marker_id};

/// Where files are until they are whole: a directory for root alone.
const PARTIAL: &str = ".partial";

/// What the names of such files began with in the directory itself.
const OLD_PARTIAL: &str = ".partial-";

/// Large enough for a card to write at full speed, small enough for a machine with 512 MB.
const BUFFER: usize = 1 << 20;

/// A directory that archives are copied to.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
    removable: bool,
}

impl Directory {
    /// A directory; `removable` says that it is on a disk that may not be there, so that a directory on the disk of
    /// the root is not it.
    pub fn new(path: impl Into<PathBuf>, removable: bool) -> Self {
        Self { path: path.into(), removable }
    }

    fn absent(&self, why: &str) -> Error {
        Error::Absent { place: self.place(), why: why.to_owned() }
    }

    fn failed(&self, operation: &'static str, error: trust::Error) -> Error {
        Error::path(operation, &self.path)(error.into())
    }

    /// Finds out whether the disk is mounted, where that may not be so.
    fn present(&self, root: &Root) -> Result<()> {
        if !self.removable {
            return Ok(());
        }
        // The directory may be still to be made; what counts is the disk that it would be on.
        let there = self.path.ancestors().find(|path| root.look(path, Last::Follow).is_ok());
        let there = there.ok_or_else(|| self.absent("no part of the path exists"))?;
        let there = root.canonical(there).map_err(|error| self.failed("look at", error))?;
        let mounts: Vec<Mount> = mounts()?;
        if !has_own_disk(&there, &mounts) {
            return Err(self.absent(
                "it is on the same disk as /, so the disk that should be there is not mounted; mount it, or set \
                 `removable = false` if it has no disk of its own",
            ));
        }
        Ok(())
    }

    /// Opens the directory; `None` where there is none.
    fn open(&self) -> Result<Option<trust::Directory>> {
        let root = Root::open(Path::new("/")).map_err(|error| self.failed("open", error))?;
        self.present(&root)?;
        match root.directory(&self.path, Last::Follow) {
            Ok(directory) => Ok(Some(directory)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(self.failed("open", error)),
        }
    }

    fn opened(&self) -> Result<trust::Directory> {
        self.open()?.ok_or_else(|| self.absent("there is no such directory"))
    }

    /// Opens the directory, and makes it with what is missing on the way: an archive holds what only root may read.
    fn made(&self) -> Result<trust::Directory> {
        if let Some(directory) = self.open()? {
            return Ok(directory);
        }
        let root = Root::open(Path::new("/")).map_err(|error| self.failed("open", error))?;
        make(&root, &self.path).map_err(|error| self.failed("make", error))
    }
}

/// Opens a directory of this machine's own, and makes it for root alone where it is missing.
pub(super) fn own(path: &Path) -> Result<trust::Directory> {
    let failed = |error: trust::Error| Error::path("make", path)(error.into());
    let root = Root::open(Path::new("/")).map_err(failed)?;
    match root.directory(path, Last::Follow) {
        Err(error) if error.is_missing() => make(&root, path).map_err(failed),
        found => found.map_err(failed),
    }
}

/// Makes a directory for root alone, with what is missing on the way.
fn make(root: &Root, path: &Path) -> trust::Result<trust::Directory> {
    let (parent, name) = match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => (parent, name),
        _ => return root.directory(path, Last::Follow),
    };
    let parent = match root.directory(parent, Last::Follow) {
        Err(error) if error.is_missing() => make(root, parent)?,
        found => found?,
    };
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    match parent.make_dir(name, pitool_host::Access { mode: 0o700, uid, gid }) {
        Err(error) if error.errno() == Some(rustix::io::Errno::EXIST) => parent.enter(name),
        made => made,
    }
}

/// A file that is written until it is whole, going on with what an earlier copy left. Nobody else can reach it.
pub(super) struct Partial {
    directory: trust::Directory,
    place: trust::Directory,
    pub(super) file: File,
    path: PathBuf,
}

impl Partial {
    /// Begins or goes on with a file of this directory.
    fn of(directory: trust::Directory, path: &Path, name: &str) -> Result<Self> {
        let failed = |error: trust::Error| Error::path("open", path.join(PARTIAL))(error.into());
        // What is there and is not root's own is somebody else's trap, or left from a file system that lost its owners.
        let place = match directory.private(OsStr::new(PARTIAL)) {
            Err(trust::Error::NotOurs(_) | trust::Error::Unexpected { .. }) => {
                directory.remove_tree(OsStr::new(PARTIAL)).map_err(failed)?;
                directory.private(OsStr::new(PARTIAL)).map_err(failed)?
            }
            place => place.map_err(failed)?,
        };
        let _ = directory.remove(OsStr::new(&format!("{OLD_PARTIAL}{name}")));
        let name = OsStr::new(name);
        let file = match place.open_own(name) {
            Ok(file) => file,
            Err(trust::Error::NotOurs(_) | trust::Error::Unexpected { .. }) => {
                place.remove_tree(name).map_err(failed)?;
                place.create_own(name).map_err(failed)?
            }
            Err(error) if error.is_missing() => place.create_own(name).map_err(failed)?,
            Err(error) => return Err(failed(error)),
        };
        Ok(Self { directory, place, file, path: path.join(name) })
    }

    /// Begins or goes on with a file of this machine's own.
    pub(super) fn beside(to: &Path) -> Result<Self> {
        let failed = |error: trust::Error| Error::path("open", to)(error.into());
        let root = Root::open(Path::new("/")).map_err(failed)?;
        let (directory, name) = root.parent(to).map_err(failed)?;
        Self::of(directory, to.parent().unwrap_or(Path::new("/")), &name.to_string_lossy())
    }

    fn name(&self) -> &OsStr {
        self.path.file_name().unwrap_or_default()
    }

    /// Makes it durable under its name.
    pub(super) fn publish(self) -> Result<()> {
        self.file.sync_all().map_err(Error::path("write", &self.path))?;
        let placed =
            self.place.rename(self.name(), &self.directory, self.name()).and_then(|()| self.directory.sync());
        placed.map_err(|error| Error::path("rename to", &self.path)(error.into()))?;
        // The next copy makes it again; where another one is cut off, it is not empty.
        let _ = self.directory.remove_dir(OsStr::new(PARTIAL));
        Ok(())
    }

    fn remove(&self) {
        let _left = self.place.remove(self.name());
    }
}

/// How many bytes at the beginning of both are the same.
fn common(mut a: impl Read, mut b: impl Read) -> io::Result<u64> {
    let (mut left, mut right) = (vec![0; BUFFER], vec![0; BUFFER]);
    let mut same = 0;
    loop {
        let wanted = fill(&mut a, &mut left)?;
        let found = fill(&mut b, &mut right[..wanted.max(1)])?;
        let equal = left[..wanted].iter().zip(&right[..found]).take_while(|(a, b)| a == b).count();
        same += equal as u64;
        if equal < BUFFER {
            return Ok(same);
        }
    }
}

/// Reads until the buffer is full or nothing comes any more.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut full = 0;
    while full < buffer.len() {
        match from.read(&mut buffer[full..]) {
            Ok(0) => break,
            Ok(read) => full += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(full)
}

/// Copies the rest of a file behind what is there of its copy, and gives the digest of the whole.
fn go_on(from: &mut File, to: &mut File, progress: &mut dyn FnMut(u64)) -> io::Result<Digest> {
    let start = common(&mut *from, &mut *to)?;
    // What follows is cut off: a rest of something else, or garbage of a power cut.
    to.set_len(start)?;
    from.rewind()?;
    to.seek(SeekFrom::Start(start))?;
    let mut digest = blake3::Hasher::new();
    let mut buffer = vec![0; BUFFER];
    let mut done: u64 = 0;
    loop {
        let read = fill(from, &mut buffer)?;
        digest.update(&buffer[..read]);
        let old = usize::try_from(start.saturating_sub(done)).unwrap_or(usize::MAX).min(read);
        to.write_all(&buffer[old..read])?;
        done += read as u64;
        progress(done.max(start));
        if read < BUFFER {
            return Ok(Digest::from_bytes(*digest.finalize().as_bytes()));
        }
    }
}

/// Reads a file back from the disk, not from memory.
fn reread(file: &mut File) -> io::Result<Digest> {
    file.sync_all()?;
    // Were the pages still in memory, this would prove nothing about the disk.
    fadvise(&*file, 0, None, Advice::DontNeed)?;
    file.rewind()?;
    let mut digest = blake3::Hasher::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = fill(file, &mut buffer)?;
        digest.update(&buffer[..read]);
        if read < BUFFER {
            return Ok(Digest::from_bytes(*digest.finalize().as_bytes()));
        }
    }
}

impl Target for Directory {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn marker(&self) -> Result<Option<String>> {
        let Some(directory) = self.open()? else { return Ok(None) };
        let file = match directory.open_file(OsStr::new(MARKER)) {
            Ok(file) => file,
            Err(error) if error.is_missing() => return Ok(None),
            Err(error @ trust::Error::Unexpected { .. }) => {
                let why = format!("its marker {MARKER} cannot be read: {error}");
                return Err(Error::Stranger { place: self.place(), why });
            }
            Err(error) => return Err(Error::path("read", self.path.join(MARKER))(error.into())),
        };
        let bytes = match read_bounded(&file, MARKER_LIMIT) {
            Err(trust::Error::TooLarge { .. }) => Vec::new(),
            read => read.map_err(|error| Error::path("read", self.path.join(MARKER))(error.into()))?,
        };
        marker_id(&self.place(), &bytes).map(Some)
    }

    fn mark(&self, id: &str) -> Result<()> {
        let directory = self.made()?;
        let written =
            directory.write(OsStr::new(MARKER), |file| writeln!(file, "{id}").map_err(trust::Error::from));
        written.map_err(|error| Error::path("write", self.path.join(MARKER))(error.into()))
    }

    fn list(&self) -> Result<Vec<Stored>> {
        let directory = self.opened()?;
        let mut files = Vec::new();
        for name in directory.list().map_err(|error| self.failed("list", error))? {
            // An archive's name is plain ASCII; whatever else is there is somebody else's.
            let Some(text) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
            match directory.look(&name) {
                Ok(there) if there.kind() == Kind::File => {
                    files.push(Stored { name: text.to_owned(), size: there.metadata().len() });
                }
                Ok(_) => {}
                // It went meanwhile.
                Err(error) if error.is_missing() => {}
                Err(error) => return Err(Error::path("look at", self.path.join(&name))(error.into())),
            }
            if files.len() > LONGEST {
                return Err(self.absent("more files are in it than a target can have"));
            }
        }
        files.sort();
        Ok(files)
    }

    fn put(&self, file: &Path, name: &str, progress: &mut dyn FnMut(u64)) -> Result<()> {
        let mut from = super::open_source(file)?;
        let mut to = Partial::of(self.opened()?, &self.path, name)?;
        let written = go_on(&mut from, &mut to.file, progress).map_err(Error::path("copy to", &to.path))?;
        let there = reread(&mut to.file).map_err(Error::path("read", &to.path))?;
        if written != there {
            let why = "what the disk gives back is not what was written to it".to_owned();
            to.remove();
            return Err(Error::Damaged { place: self.place(), name: name.to_owned(), why });
        }
        to.publish()
    }

    fn get(&self, file: &Stored, to: &Path, progress: &mut dyn FnMut(u64)) -> Result<()> {
        let source = self.path.join(&file.name);
        let mut from = self
            .opened()?
            .open_file(OsStr::new(&file.name))
            .map_err(|error| Error::path("open", &source)(error.into()))?;
        let mut copy = Partial::beside(to)?;
        go_on(&mut from, &mut copy.file, progress).map_err(Error::path("copy to", to))?;
        copy.publish()
    }

    fn remove(&self, names: &[&str]) -> Result<()> {
        let directory = self.opened()?;
        for name in names {
            match directory.remove(OsStr::new(name)) {
                Err(error) if !error.is_missing() => {
                    return Err(Error::path("remove", self.path.join(name))(error.into()));
                }
                _ => {}
            }
        }
        directory.sync().map_err(|error| self.failed("write", error))
    }

    fn directory(&self) -> Option<&Path> {
        Some(&self.path)
    }

    fn weaknesses(&self) -> Result<Vec<Weakness>> {
        let directory = self.opened()?;
        let failed = |error| self.failed("look at", error);
        let around = directory.metadata().map_err(failed)?;
        let bare = lacks_owners(&directory);
        let place = self.place();
        let mut found = Vec::new();
        if !is_private(&around) {
            let readable = directory.list().map_err(failed)?.into_iter().find(|name| {
                // Encrypted archives are for everybody to read.
                let plain = name.to_str().is_some_and(|name| name.ends_with(".tar.zst"));
                let open = |there: trust::Object| !is_private(there.metadata());
                plain && directory.look(name).is_ok_and(open)
            });
            if let Some(name) = readable {
                let advice = match bare {
                    true => "mount it with `umask=077`, or encrypt the archives with `recipients`".to_owned(),
                    false => format!("`chown root: {place}/* && chmod 600 {place}/*` keeps the others out"),
                };
                let name = name.to_string_lossy();
                let why = format!("other users of this machine can read {place}/{name}; {advice}");
                found.push(Weakness { readable: true, why });
            }
        }
        if !directory.is_exclusive().map_err(failed)? {
            let advice = match bare {
                true => "its file system has no owners: mount it with `umask=077`".to_owned(),
                false => format!("`chown root: {place} && chmod go-w {place}` makes it root's alone"),
            };
            let why = format!("others than root can delete or replace the archives in {place}; {advice}");
            found.push(Weakness { readable: false, why });
        }
        Ok(found)
    }
}

/// Whether something is for the user of this process alone.
fn is_private(metadata: &Metadata) -> bool {
    metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o077 == 0
}

/// Whether the file system keeps no owners: what is shown is what it was mounted with, and chown(1) fails.
fn lacks_owners(directory: &trust::Directory) -> bool {
    /// FAT, exFAT, NTFS, NTFS of the kernel's newer driver, FUSE (ntfs-3g and others); statfs(2) and magic.h.
    const BARE: [u64; 5] = [0x4d44, 0x2011_bab0, 0x5346_544e, 0x7366_746e, 0x6573_5546];
    rustix::fs::fstatfs(directory)
        .is_ok_and(|there| u64::try_from(there.f_type).is_ok_and(|kind| BARE.contains(&kind)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn setting(content: &[u8]) -> (tempfile::TempDir, PathBuf, Directory) {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        fs::write(&source, content).unwrap();
        let target = Directory::new(dir.path().join("target"), false);
        target.mark("id").unwrap();
        (dir, source, target)
    }

    /// What an earlier copy left, as it left it.
    fn left(path: &Path, content: &[u8]) {
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
        fs::DirBuilder::new().mode(0o700).create(path.parent().unwrap()).unwrap();
        let mut file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path).unwrap();
        file.write_all(content).unwrap();
    }

    fn sample(length: usize) -> Vec<u8> {
        (0..length).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect()
    }

    #[test]
    fn what_is_put_comes_back() {
        for length in [0, 1, BUFFER - 1, BUFFER, BUFFER + 1, 3 * BUFFER + 5] {
            let (dir, source, target) = setting(&sample(length));
            let mut last = 0;
            target.put(&source, "a.tar.zst", &mut |done| last = done).unwrap();
            assert_eq!(last, length as u64);
            assert_eq!(target.list().unwrap(), [Stored { name: "a.tar.zst".into(), size: length as u64 }]);
            let file = Stored { name: "a.tar.zst".into(), size: length as u64 };
            target.get(&file, &dir.path().join("back"), &mut |_| {}).unwrap();
            assert_eq!(fs::read(dir.path().join("back")).unwrap(), sample(length));
            target.remove(&["a.tar.zst", "never-there"]).unwrap();
            assert!(target.list().unwrap().is_empty());
        }
    }

    #[test]
    fn a_copy_that_was_cut_off_goes_on() {
        let content = sample(3 * BUFFER + 5);
        // Cut in the middle; cut with garbage at the end; longer than the source; of something else altogether.
        let mut garbage = content[..BUFFER + 10].to_vec();
        garbage.extend([0; 4096]);
        let mut longer = content.clone();
        longer.extend([1; 10]);
        for (partial, kept) in [
            (content[..BUFFER + 10].to_vec(), BUFFER + 10),
            (garbage, BUFFER + 10),
            (longer, content.len()),
            (vec![9; 77], 0),
        ] {
            let (_dir, source, target) = setting(&content);
            let path = target.path.join(PARTIAL).join("a");
            left(&path, &partial);
            let mut first = None;
            target
                .put(&source, "a", &mut |done| {
                    first.get_or_insert(done);
                })
                .unwrap();
            assert!(first.unwrap() >= kept as u64);
            assert_eq!(fs::read(target.path.join("a")).unwrap(), content);
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_disk_that_is_not_mounted_is_refused() {
        // The place of the crate is on the disk of the root in every box of ours, or the temporary directory is.
        let root = fs::metadata("/").unwrap().dev();
        let here = std::path::absolute(".").unwrap();
        let places = [here.as_path(), Path::new("/usr"), Path::new("/etc")];
        let Some(place) = places.into_iter().find(|place| fs::metadata(place).unwrap().dev() == root) else {
            panic!("no directory here is on the disk of the root");
        };
        let target = Directory::new(place.join("pitool-never-made/backups"), true);
        let error = target.marker().unwrap_err();
        assert!(matches!(error, Error::Absent { .. }), "{error}");
        assert!(target.mark("id").is_err() && !place.join("pitool-never-made").exists());
        // A file system of its own is one.
        let mounted = Directory::new("/proc/self", true);
        assert_eq!(mounted.marker().unwrap(), None);
    }

    /// K1.6: what lies where a copy begins is not gone on with, unless it is root's own.
    #[test]
    fn what_somebody_put_in_the_place_of_a_copy_is_not_used() {
        type Trap<'a> = &'a dyn Fn(&Path, &Path);
        let traps: [Trap<'_>; 5] = [
            // A link to a file elsewhere.
            &|path, victim| {
                left(path, b"");
                fs::remove_file(path).unwrap();
                std::os::unix::fs::symlink(victim, path).unwrap();
            },
            // A file that others can read: its content stays theirs to read, whatever its mode becomes.
            &|path, _| {
                left(path, b"");
                fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
            },
            // A file with a second name.
            &|path, victim| {
                left(path, b"");
                fs::remove_file(path).unwrap();
                fs::hard_link(victim, path).unwrap();
            },
            // A directory that others can write to, or is a link.
            &|path, _| {
                left(path, b"se");
                let parent = path.parent().unwrap();
                fs::set_permissions(parent, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
            },
            &|path, victim| {
                std::os::unix::fs::symlink(victim.parent().unwrap(), path.parent().unwrap()).unwrap();
            },
        ];
        for (number, trap) in traps.iter().enumerate() {
            let (dir, source, target) = setting(b"secret");
            let victim = dir.path().join("victim");
            fs::write(&victim, "untouched").unwrap();
            fs::set_permissions(&victim, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            trap(&target.path.join(PARTIAL).join("a"), &victim);
            target.put(&source, "a", &mut |_| {}).unwrap();
            assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched", "{number}");
            let there = fs::symlink_metadata(target.path.join("a")).unwrap();
            assert!(there.is_file() && is_private(&there) && there.nlink() == 1, "{number}: {there:?}");
            assert_eq!(fs::read_to_string(target.path.join("a")).unwrap(), "secret", "{number}");
        }
    }

    /// K1.8: a marker that is a pipe, a device or endless is a finding, at once and without memory.
    #[test]
    fn a_marker_that_is_none_is_a_stranger() {
        let traps: [&dyn Fn(&Path); 5] = [
            &|path| {
                let fifo = rustix::fs::FileType::Fifo;
                rustix::fs::mknodat(rustix::fs::CWD, path, fifo, rustix::fs::Mode::RUSR, 0).unwrap();
            },
            &|path| std::os::unix::fs::symlink("/dev/zero", path).unwrap(),
            &|path| fs::create_dir(path).unwrap(),
            &|path| File::create(path).unwrap().set_len(1 << 42).unwrap(),
            &|path| fs::write(path, b"\x1b[2Jid\n").unwrap(),
        ];
        for (number, trap) in traps.iter().enumerate() {
            let (_dir, _, target) = setting(b"");
            let path = target.path.join(MARKER);
            fs::remove_file(&path).unwrap();
            trap(&path);
            let error = target.marker().unwrap_err();
            assert!(matches!(error, Error::Stranger { .. }), "{number}: {error}");
            assert!(!error.to_string().contains('\u{1b}'));
        }
    }

    #[test]
    fn archives_that_others_can_read_or_replace_are_found() {
        use std::os::unix::fs::PermissionsExt;
        let (_dir, source, target) = setting(b"secret");
        target.put(&source, "set-20261121T000000Z-000001.tar.zst", &mut |_| {}).unwrap();
        let change = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let archive = target.path.join("set-20261121T000000Z-000001.tar.zst");
        let found = || -> Vec<bool> {
            target.weaknesses().unwrap().iter().map(|weakness| weakness.readable).collect()
        };
        assert_eq!(found(), [true; 0]);
        change(&target.path, 0o755);
        assert_eq!(found(), [true; 0]);
        change(&archive, 0o644);
        assert_eq!(found(), [true]);
        change(&target.path, 0o777);
        assert_eq!(found(), [true, false]);
        change(&archive, 0o600);
        assert_eq!(found(), [false]);
        // Nobody comes near what is in a private directory.
        change(&archive, 0o644);
        change(&target.path, 0o700);
        assert_eq!(found(), [true; 0]);
    }
}
