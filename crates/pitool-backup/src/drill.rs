//! A drill: restores an archive into scratch, and has what came out prove itself.
//!
//! What was restored is read back from the disk and compared with the manifest, every database is opened and
//! checked, and the set's own command may look at it. Then it is deleted again.

#![expect(
    clippy::disallowed_methods,
    reason = "reads back what was just restored, below a directory of root's alone"
)]

use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pitool_host::trust::{self, Last, Root};
use pitool_host::{Command, Digest, Host};

use crate::archive::seal::Identities;
use crate::archive::{PIECE, chaining_value, merged};
use crate::contents::Contents;
use crate::manifest::{Entry, File, Kind, Time};
use crate::owners::Owners;
use crate::restore::{Destination, Problem, Restore, Restored};
use crate::save::Progress;
use crate::store::{Store, Stored};
use crate::{Error, Result, StoredPath, database};

/// A drill.
#[derive(Clone, Copy)]
pub struct Drill<'a> {
    /// Where the archive is.
    pub store: &'a Store,
    /// Which one.
    pub archive: &'a Stored,
    /// What opens it, if it is encrypted.
    pub identities: &'a Identities,
    /// A directory for root alone with room for all that is in it.
    pub scratch: &'a Path,
    /// A command of the set that looks at what was restored: argv, with the directory in `PITOOL_DRILL`.
    pub check: &'a [String],
    /// How long that may take.
    pub limit: Duration,
    /// Whether databases are checked with `integrity_check`, which compares indexes too, instead of `quick_check`.
    pub thorough: bool,
    /// What runs the command.
    pub host: &'a dyn Host,
    /// Raised when it should stop.
    pub interrupted: &'a AtomicBool,
}

/// What came of a drill.
#[derive(Clone, Debug, PartialEq)]
pub struct Drilled {
    /// What was restored, and how long that took: about what it would take in earnest.
    pub restored: Restored,
    /// How many entries are as the manifest says, after reading them back.
    pub compared: u64,
    /// How many databases answered "ok".
    pub databases: u64,
    /// What does not hold, of the restore too; with any the drill has failed.
    pub problems: Vec<Problem>,
    /// How long all of it took.
    pub duration: Duration,
}

/// Holds a drill.
pub fn drill(job: &Drill, listen: &(dyn Fn(Progress) + Sync)) -> Result<Drilled> {
    let begun = Instant::now();
    // Always the same name: what a drill that was cut off left behind goes with the next one, whatever it restores.
    let cleaned = Cleaned::new(job.scratch)?;
    let destination = Destination::Directory(job.scratch.to_owned());
    // Without devices: a node in scratch would be a way to the device for nobody's good.
    let trial = Restore::new(job.store, job.archive, job.identities, &destination, job.interrupted);
    let mut restored = trial.prepare()?.run_in(cleaned.open()?, listen)?;
    let tree = cleaned.by_descriptor();
    let contents = Contents::open(job.store, job.archive, job.identities)?;
    restored.problems.retain(|problem| !problem.path.as_ref().is_some_and(|path| is_device(&contents, path)));
    let mut drilled = Drilled {
        problems: restored.problems.clone(),
        restored,
        compared: 0,
        databases: 0,
        duration: Duration::ZERO,
    };
    // Only root can give files away, and only then can owners have come back.
    let owners = rustix::process::geteuid().is_root().then(Owners::of_this_machine);
    for entry in contents.entries()? {
        if job.interrupted.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let entry = entry?;
        match compare(job, owners.as_ref(), &tree, &entry) {
            Ok(databases) => {
                drilled.compared += 1;
                drilled.databases += databases;
            }
            Err(why) if !drilled.problems.iter().any(|known| known.path.as_ref() == Some(&entry.path)) => {
                drilled.problems.push(Problem { path: Some(entry.path), why });
            }
            Err(_) => {}
        }
    }
    if let Some((program, args)) = job.check.split_first() {
        let command = Command::new(program)
            .args(args.to_vec())
            .env("PITOOL_DRILL", cleaned.path.to_string_lossy())
            .timeout(job.limit);
        if let Err(error) = job.host.run(&command) {
            drilled.problems.push(Problem { path: None, why: error.to_string() });
        }
    }
    drilled.duration = begun.elapsed();
    Ok(drilled)
}

/// The directory of a drill, for root alone and deleted whatever happens.
///
/// The archives' directory may be on a disk that belongs to somebody else: it is worked in by descriptors.
struct Cleaned {
    scratch: trust::Directory,
    directory: trust::Directory,
    path: PathBuf,
}

/// Always the same name: what a drill that was cut off left behind goes with the next one, whatever it restores.
const NAME: &str = "drill";

impl Cleaned {
    fn new(scratch: &Path) -> Result<Self> {
        let path = scratch.join(NAME);
        let failed = |error: trust::Error| Error::path("make", &path)(error);
        let root = Root::open(Path::new("/")).map_err(failed)?;
        let scratch = root.directory(scratch, Last::Follow).map_err(failed)?;
        match scratch.remove_tree(OsStr::new(NAME)) {
            Err(error) if !error.is_missing() => return Err(Error::path("remove", &path)(error)),
            _ => {}
        }
        let directory = scratch.private(OsStr::new(NAME)).map_err(failed)?;
        Ok(Self { scratch, directory, path })
    }

    fn open(&self) -> Result<trust::Directory> {
        self.directory.try_clone().map_err(Error::path("open", &self.path))
    }

    /// A path to the directory that is open, whatever its name is by now (proc_pid_fd(5)). Nobody but root can put
    /// anything below it.
    fn by_descriptor(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.directory.as_fd().as_raw_fd()).into()
    }
}

impl Drop for Cleaned {
    fn drop(&mut self) {
        let _ = self.scratch.remove_tree(OsStr::new(NAME));
    }
}

fn is_device(contents: &Contents, path: &StoredPath) -> bool {
    let device = |entry: &Entry| matches!(entry.kind, Kind::CharDevice(..) | Kind::BlockDevice(..));
    contents.entries().is_ok_and(|mut entries| {
        entries.any(|entry| entry.is_ok_and(|entry| entry.path == *path && device(&entry)))
    })
}

/// One restored thing against the manifest; says how many databases it is.
fn compare(job: &Drill, owners: Option<&Owners>, directory: &Path, entry: &Entry) -> Result<u64, String> {
    if matches!(entry.kind, Kind::CharDevice(..) | Kind::BlockDevice(..)) {
        return Ok(0);
    }
    let path = directory.join(entry.path.as_path());
    let there = path.symlink_metadata().map_err(|error| format!("it was not restored: {error}"))?;
    let differs = |what: &str| Err(format!("its {what} is another after the restore"));
    if let Kind::HardLink(target) = &entry.kind {
        let other = directory.join(target.as_path()).symlink_metadata();
        return match other {
            Ok(other) if (other.dev(), other.ino()) == (there.dev(), there.ino()) => Ok(0),
            _ => differs("tie to its other name"),
        };
    }
    if let Some(owners) = owners {
        let owner = (owners.uid(&entry.user, entry.uid), owners.gid(&entry.group, entry.gid));
        if (there.uid(), there.gid()) != owner {
            return differs("owner");
        }
    }
    let is_link = matches!(entry.kind, Kind::Symlink(_));
    if !is_link && there.mode() & 0o7777 != entry.mode {
        return differs("mode");
    }
    let mtime = Time { seconds: there.mtime(), nanoseconds: u32::try_from(there.mtime_nsec()).unwrap_or(0) };
    if mtime != entry.mtime {
        return differs("time");
    }
    match &entry.kind {
        Kind::Symlink(target) => {
            use std::os::unix::ffi::OsStrExt;
            let now = fs::read_link(&path).map_err(|error| error.to_string())?;
            if now.as_os_str().as_bytes() != target.as_slice() {
                return differs("target");
            }
        }
        Kind::File(file) => {
            if there.len() != file.size {
                return differs("length");
            }
            if digest(&path, file).map_err(|error| format!("it cannot be read back: {error}"))? != file.blake3
            {
                return differs("content");
            }
            if file.database.is_some() {
                let pragma = if job.thorough { "integrity_check" } else { "quick_check" };
                return match database::check(&path, pragma) {
                    Ok(answer) if answer == "ok" => Ok(1),
                    Ok(answer) => Err(format!("the database is corrupt: {answer}")),
                    Err(error) => Err(format!("the database cannot be opened: {error}")),
                };
            }
        }
        _ => {}
    }
    Ok(0)
}

/// The digest of what a manifest has the digest of: the data between the holes, from the disk.
fn digest(path: &Path, file: &File) -> std::io::Result<Digest> {
    use std::os::unix::fs::FileExt;
    let opened = fs::File::open(path)?;
    rustix::fs::fadvise(&opened, 0, None, rustix::fs::Advice::DontNeed)?;
    let whole = [(0, file.size)];
    let extents = file.extents.as_deref().unwrap_or(&whole);
    let mut pieces = Vec::new();
    let mut piece = Vec::new();
    let mut buffer = vec![0; 256 << 10];
    let room = |piece: &Vec<u8>| usize::try_from(PIECE).unwrap_or(usize::MAX) - piece.len();
    for (offset, length) in extents {
        let mut done = 0;
        while done < *length {
            if room(&piece) == 0 {
                pieces.push(chaining_value(pieces.len(), &piece));
                piece.clear();
            }
            let take =
                usize::try_from(length - done).unwrap_or(usize::MAX).min(buffer.len()).min(room(&piece));
            opened.read_exact_at(&mut buffer[..take], offset + done)?;
            piece.extend_from_slice(&buffer[..take]);
            done += take as u64;
        }
    }
    if pieces.is_empty() {
        return Ok(Digest::of(&piece));
    }
    pieces.push(chaining_value(pieces.len(), &piece));
    Ok(merged(&pieces))
}
