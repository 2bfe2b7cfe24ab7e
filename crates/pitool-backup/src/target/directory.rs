//! A directory on this machine, most often on another disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise};

use super::{Error, MARKER, Result, Stored, Target};

/// What a file has before its name until it is whole.
const PARTIAL: &str = ".partial-";

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

    /// Finds out whether the disk is mounted, where that may not be so.
    fn present(&self) -> Result<()> {
        if !self.removable {
            return Ok(());
        }
        // The directory may be still to be made; what counts is the disk that it would be on.
        let there = self.path.ancestors().find(|path| path.symlink_metadata().is_ok());
        let there = there.ok_or_else(|| self.absent("no part of the path exists"))?;
        let device = fs::metadata(there).map_err(Error::path("look at", there))?.dev();
        let root = fs::metadata("/").map_err(Error::path("look at", "/"))?.dev();
        if device == root {
            return Err(self.absent(
                "it is on the same disk as /, so the disk that should be there is not mounted; mount it, or set \
                 `removable = false` if it has no disk of its own",
            ));
        }
        Ok(())
    }

    fn read_marker(&self) -> Result<Option<String>> {
        let path = self.path.join(MARKER);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::path("read", &path)(error)),
        }
    }

    fn make(&self) -> Result<()> {
        let mut builder = fs::DirBuilder::new();
        // An archive holds what only root may read.
        builder.recursive(true).mode(0o700).create(&self.path).map_err(Error::path("make", &self.path))
    }

    /// Makes a file of this directory durable under its name.
    fn publish(&self, file: &File, partial: &Path, name: &str) -> Result<()> {
        file.sync_all().map_err(Error::path("write", partial))?;
        let to = self.path.join(name);
        fs::rename(partial, &to).map_err(Error::path("rename to", &to))?;
        sync_directory(&self.path)
    }
}

fn sync_directory(path: &Path) -> Result<()> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(Error::path("write", path))
}

/// Opens for going on with what is there.
fn open_partial(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.custom_flags(nofollow()).open(path).map_err(Error::path("open", path))
}

fn nofollow() -> i32 {
    i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0)
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
fn go_on(from: &mut File, to: &mut File, progress: &mut dyn FnMut(u64)) -> io::Result<blake3::Hash> {
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
            return Ok(digest.finalize());
        }
    }
}

/// Reads a file back from the disk, not from memory.
fn reread(file: &mut File) -> io::Result<blake3::Hash> {
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
            return Ok(digest.finalize());
        }
    }
}

impl Target for Directory {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn marker(&self) -> Result<Option<String>> {
        self.present()?;
        self.read_marker()
    }

    fn mark(&self, id: &str) -> Result<()> {
        self.present()?;
        self.make()?;
        let partial = self.path.join(format!("{PARTIAL}{MARKER}"));
        let mut file = open_partial(&partial)?;
        file.set_len(0).and_then(|()| writeln!(file, "{id}")).map_err(Error::path("write", &partial))?;
        self.publish(&file, &partial, MARKER)
    }

    fn list(&self) -> Result<Vec<Stored>> {
        self.present()?;
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(self.absent("there is no such directory"));
            }
            Err(error) => return Err(Error::path("list", &self.path)(error)),
        };
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Error::path("list", &self.path))?;
            // An archive's name is plain ASCII; whatever else is there is somebody else's.
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with('.') {
                continue;
            }
            let metadata = entry.metadata().map_err(Error::path("look at", entry.path()))?;
            if metadata.is_file() {
                files.push(Stored { name, size: metadata.len() });
            }
        }
        files.sort();
        Ok(files)
    }

    fn put(&self, file: &Path, name: &str, progress: &mut dyn FnMut(u64)) -> Result<()> {
        let partial = self.path.join(format!("{PARTIAL}{name}"));
        let mut from = File::open(file).map_err(Error::path("open", file))?;
        let mut to = open_partial(&partial)?;
        let written = go_on(&mut from, &mut to, progress).map_err(Error::path("copy to", &partial))?;
        let there = reread(&mut to).map_err(Error::path("read", &partial))?;
        if written != there {
            let why = "what the disk gives back is not what was written to it".to_owned();
            let _left = fs::remove_file(&partial);
            return Err(Error::Damaged { place: self.place(), name: name.to_owned(), why });
        }
        self.publish(&to, &partial, name)
    }

    fn get(&self, name: &str, to: &Path, progress: &mut dyn FnMut(u64)) -> Result<()> {
        let source = self.path.join(name);
        let mut from = File::open(&source).map_err(Error::path("open", &source))?;
        let (directory, partial) = partial_beside(to, name);
        let mut copy = open_partial(&partial)?;
        go_on(&mut from, &mut copy, progress).map_err(Error::path("copy to", &partial))?;
        finish(&copy, &partial, to, &directory)
    }

    fn remove(&self, names: &[&str]) -> Result<()> {
        for name in names {
            let path = self.path.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::path("remove", &path)(error));
                }
                _ => {}
            }
        }
        sync_directory(&self.path)
    }

    fn directory(&self) -> Option<&Path> {
        Some(&self.path)
    }
}

/// The directory of a path, and where its file is until it is whole.
pub(super) fn partial_beside(to: &Path, name: &str) -> (PathBuf, PathBuf) {
    let directory = to.parent().unwrap_or(Path::new("/")).to_owned();
    let partial = directory.join(format!("{PARTIAL}{name}"));
    (directory, partial)
}

/// Makes a file that was fetched durable under its name.
pub(super) fn finish(file: &File, partial: &Path, to: &Path, directory: &Path) -> Result<()> {
    file.sync_all().map_err(Error::path("write", partial))?;
    fs::rename(partial, to).map_err(Error::path("rename to", to))?;
    sync_directory(directory)
}

/// Opens what is there of a file that is fetched.
pub(super) fn open_fetched(partial: &Path) -> Result<File> {
    open_partial(partial)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(content: &[u8]) -> (tempfile::TempDir, PathBuf, Directory) {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        fs::write(&source, content).unwrap();
        let target = Directory::new(dir.path().join("target"), false);
        target.mark("id").unwrap();
        (dir, source, target)
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
            target.get("a.tar.zst", &dir.path().join("back"), &mut |_| {}).unwrap();
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
            let path = target.path.join(format!("{PARTIAL}a"));
            fs::write(&path, &partial).unwrap();
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
        let places = [Path::new(env!("CARGO_MANIFEST_DIR")), Path::new("/usr"), Path::new("/etc")];
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

    #[test]
    fn links_in_the_place_of_a_copy_are_not_followed() {
        let (dir, source, target) = setting(b"secret");
        let victim = dir.path().join("victim");
        fs::write(&victim, "untouched").unwrap();
        std::os::unix::fs::symlink(&victim, target.path.join(format!("{PARTIAL}a"))).unwrap();
        assert!(target.put(&source, "a", &mut |_| {}).is_err());
        assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    }
}
