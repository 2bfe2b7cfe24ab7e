//! A place to save from and restore to, and what a tree looks like to somebody who did not write it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use pitool_backup::restore::{Destination, Problem, Restore, Restored, Safety, restore};
use pitool_backup::save::{Job, Saved, save};
use pitool_backup::{
    Depth, Error, Identities, Result, Set, Store, Stored, StoredPath, Unchanged, Verified, verify,
};

/// A source, a store and a scratch directory; gone when dropped.
pub(crate) struct Place {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) set: Set,
    pub(crate) identities: Identities,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["source", "store", "scratch", "safety", "state"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let mut set = Set::new("test".parse().unwrap());
        set.paths = vec![folder.path().join("source")];
        set.unchanged = Unchanged::Archive;
        Self { folder, set, identities: Identities::default() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn source(&self, name: &str) -> PathBuf {
        self.path("source").join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.source(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn store(&self) -> Store {
        Store::new(self.path("store"))
    }

    pub(crate) fn save(&self) -> Saved {
        // Another test that starts a program at this moment has a copy of every lock until that program runs (fork(2)).
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            match self.try_save() {
                Err(Error::Locked(_)) if Instant::now() < until => thread::sleep(Duration::from_millis(20)),
                saved => return saved.unwrap(),
            }
        }
    }

    pub(crate) fn try_save(&self) -> Result<Saved> {
        let job = Job {
            set: &self.set,
            store: &self.store(),
            scratch: &self.path("scratch"),
            identities: &self.identities,
            host: "pi",
            after: 0,
            interrupted: &AtomicBool::new(false),
        };
        save(&job, &|_| {})
    }

    pub(crate) fn newest(&self) -> Stored {
        self.store().list().unwrap().pop().unwrap()
    }

    fn store_of(&self, name: &str) -> Store {
        Store::new(self.path(name))
    }

    /// Restores the newest archive into a directory and says where the source is there.
    pub(crate) fn restore(&self, to: &str) -> (PathBuf, Restored) {
        let restored = self.try_restore(to, &[]).unwrap();
        (self.path(to).join(self.path("source").strip_prefix("/").unwrap()), restored)
    }

    pub(crate) fn try_restore(&self, to: &str, only: &[StoredPath]) -> Result<Restored> {
        self.restore_to(&Destination::Directory(self.path(to)), only, false)
    }

    pub(crate) fn restore_to(
        &self,
        destination: &Destination,
        only: &[StoredPath],
        exact: bool,
    ) -> Result<Restored> {
        restore(
            &Restore {
                only,
                safety: Some(Safety {
                    store: &self.store_of("safety"),
                    scratch: &self.path("scratch"),
                    host: "pi",
                    recipients: &[],
                }),
                exact,
                journal: Some(&self.path("state/restoring.json")),
                ..Restore::new(
                    &self.store(),
                    &self.newest(),
                    &self.identities,
                    destination,
                    &AtomicBool::new(false),
                )
            },
            &|_| {},
        )
    }

    /// Restores an archive of another store into a directory and says where the source is there.
    pub(crate) fn restore_from(&self, store: &Store, archive: &Stored, to: &str) -> PathBuf {
        let (destination, never) = (Destination::Directory(self.path(to)), AtomicBool::new(false));
        let job = Restore::new(store, archive, &self.identities, &destination, &never);
        let restored = restore(&job, &|_| {}).unwrap();
        assert_eq!(whys(&restored.problems), [""; 0]);
        self.path(to).join(self.path("source").strip_prefix("/").unwrap())
    }

    pub(crate) fn verify(&self, depth: Depth) -> Verified {
        let never = AtomicBool::new(false);
        verify(&self.store(), &self.newest(), &self.identities, depth, &never, &|_| {}).unwrap()
    }

    /// The newest archive's data.
    pub(crate) fn archive(&self) -> PathBuf {
        self.file(".tar.zst")
    }

    pub(crate) fn manifest(&self) -> PathBuf {
        self.file(".manifest.zst")
    }

    fn file(&self, end: &str) -> PathBuf {
        let mut files: Vec<_> =
            fs::read_dir(self.path("store")).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.to_string_lossy().contains(end));
        files.sort();
        files.pop().unwrap()
    }

    /// Everything that is not an archive's, in the store and in scratch.
    pub(crate) fn leftovers(&self) -> Vec<PathBuf> {
        let all = ["store", "scratch"].map(|name| fs::read_dir(self.path(name)).unwrap());
        let mut left: Vec<_> = all.into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
        left.retain(|path| !path.extension().is_some_and(|end| end == "zst" || end == "age"));
        left
    }
}

/// Everything that can be seen of a tree, by path.
pub(crate) fn tree(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut seen = BTreeMap::new();
    let mut names: BTreeMap<(u64, u64), PathBuf> = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let meta = path.symlink_metadata().unwrap();
        let kind = meta.file_type();
        let relative = path.strip_prefix(root).unwrap().to_owned();
        let mut text = format!(
            "{:o} {}:{} {}.{:09}",
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.mtime(),
            meta.mtime_nsec()
        );
        if kind.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if kind.is_symlink() {
            text += &format!(" -> {:?}", fs::read_link(&path).unwrap());
        } else if kind.is_file() {
            let sparse = meta.len() > 1 << 20 && meta.blocks() * 512 < meta.len() / 2;
            text += &format!(" {} {} sparse={sparse}", meta.len(), blake3::hash(&fs::read(&path).unwrap()));
            if meta.nlink() > 1 {
                // Whichever name sorts first stands for the file.
                let first = names.entry((meta.dev(), meta.ino())).or_insert_with(|| relative.clone());
                *first = relative.clone().min(first.clone());
            }
        } else if kind.is_fifo() {
            text += " fifo";
        }
        text += &format!(" {:?}", xattrs(&path));
        seen.insert(relative, text);
    }
    for path in seen.keys().cloned().collect::<Vec<_>>() {
        let meta = root.join(&path).symlink_metadata().unwrap();
        if let Some(first) = names.get(&(meta.dev(), meta.ino())) {
            *seen.get_mut(&path).unwrap() += &format!(" links={} of {first:?}", meta.nlink());
        }
    }
    seen
}

fn xattrs(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut names = vec![0; 4096];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
    let mut found = Vec::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let name = std::ffi::OsStr::from_bytes(name);
        let mut value = vec![0; 4096];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
        found.push((name.to_string_lossy().into_owned(), value[..length].to_vec()));
    }
    found.sort();
    found
}

/// Unpacks an archive with nothing of ours: `zstd -dc FILE | tar x`.
pub(crate) fn stock_unpack(archive: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let script =
        "zstd -qdc \"$1\" | tar --warning=no-timestamp --xattrs --xattrs-include='*' -xpf - -C \"$2\"";
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", script, "sh"])
        .args([archive, to])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

/// What a set of problems says, for messages.
pub(crate) fn whys(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(|problem| format!("{:?}: {}", problem.path, problem.why)).collect()
}

/// Compares trees and shows only what differs.
pub(crate) fn assert_same(left: &Path, right: &Path) {
    let (left, right) = (tree(left), tree(right));
    let paths: std::collections::BTreeSet<_> = left.keys().chain(right.keys()).collect();
    let differing: Vec<_> = paths
        .into_iter()
        .filter(|path| left.get(*path) != right.get(*path))
        .map(|path| format!("{path:?}\n  {:?}\n  {:?}", left.get(path), right.get(path)))
        .collect();
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

/// Numbers that are the same in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % limit
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length.div_ceil(8)).flat_map(|_| self.below(u64::MAX).to_le_bytes()).take(length).collect()
    }
}

/// Raises a flag when it goes: threads that work until then end when the test fails, too.
pub(crate) struct Stop<'a>(pub(crate) &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}
