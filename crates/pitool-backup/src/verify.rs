//! Looking whether an archive is as it was written.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use pitool_host::Digest;

use crate::archive::file::open_regular;
use crate::archive::seal::Identities;
use crate::archive::tar::{self, Head};
use crate::contents::{Contents, Sink};
use crate::manifest::{Entry, Kind, Seal};
use crate::restore::Problem;
use crate::save::Progress;
use crate::store::{Store, Stored};
use crate::{Error, Part, Result, StoredPath};

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Every byte of both files, as they lie there, against its digest.
    Quick,
    /// And every entry: unpacked, its headers against the manifest, its content against its digest.
    Full,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verified {
    /// Entries that are right; of a quick look the manifest's count.
    pub entries: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// What is wrong; nothing of it, and the archive is as it was written.
    pub problems: Vec<Problem>,
}

/// Looks at an archive. What is damaged in it is no error but a problem.
pub fn verify(
    store: &Store,
    stored: &Stored,
    identities: &Identities,
    depth: Depth,
    interrupted: &AtomicBool,
    listen: &(dyn Fn(Progress) + Sync),
) -> Result<Verified> {
    let mut contents = Contents::open(store, stored, identities)?;
    let whole = |why| Problem { path: None, why };
    let mut verified = Verified::default();
    verified.problems.extend(std::mem::take(&mut contents.problems).into_iter().map(whole));
    verified.problems.extend(against_seal(store, stored, identities, interrupted)?.map(whole));
    frames(&contents, interrupted, listen, &mut verified)?;
    if depth == Depth::Full {
        let looking = Looking {
            listen,
            entries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            problems: Mutex::default(),
        };
        contents.read(contents.entries()?, &looking, interrupted)?;
        verified.entries = looking.entries.into_inner();
        verified.bytes += looking.bytes.into_inner();
        let mut found = looking.problems.into_inner().unwrap_or_else(PoisonError::into_inner);
        found.sort_by(|a, b| a.path.cmp(&b.path));
        found.retain(|problem| !verified.problems.iter().any(|known| known.path == problem.path));
        verified.problems.append(&mut found);
    }
    Ok(verified)
}

/// The archive's file against what its manifest says of it as a whole.
fn against_seal(
    store: &Store,
    stored: &Stored,
    identities: &Identities,
    interrupted: &AtomicBool,
) -> Result<Option<String>> {
    let data = match store.with_data(stored, identities) {
        Ok(data) => data,
        // It was told when the contents were opened.
        Err(Error::Damaged { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let Ok(summary) = store.summary(&data, identities) else { return Ok(None) };
    let Seal::Archive { size, blake3, .. } = summary.seal else {
        return Ok(Some(format!("{} has no data of its own either", data.name)));
    };
    let path = store.path(&data.name, Part::Archive { encrypted: data.encrypted });
    let mut file = open_regular(&path)?;
    let size_now = file.metadata().map_err(Error::path("read", &path))?.len();
    let shown = path.display();
    // Looked at first: a file of a disk that somebody prepared can have a hole of any length in it.
    if size_now != size {
        return Ok(Some(format!("{shown} has {size_now} bytes, and its manifest says {size}")));
    }
    let same = digest(&mut file, &path, interrupted)? == blake3;
    Ok((!same).then(|| format!("{shown} does not have the digest that its manifest says")))
}

/// The digest of an archive as the disk has it: what was just written is in memory, and right there.
fn digest(file: &mut File, path: &Path, interrupted: &AtomicBool) -> Result<Digest> {
    rustix::fs::fadvise(&*file, 0, None, rustix::fs::Advice::DontNeed).map_err(Error::path("read", path))?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        if interrupted.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        match file.read(&mut buffer) {
            Ok(0) => return Ok(Digest::from_bytes(*hasher.finalize().as_bytes())),
            Ok(read) => {
                hasher.update(&buffer[..read]);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::path("read", path)(error)),
        }
    }
}

/// Every frame against its digest; a bad one is named with what is in it.
fn frames(
    contents: &Contents,
    interrupted: &AtomicBool,
    listen: &(dyn Fn(Progress) + Sync),
    verified: &mut Verified,
) -> Result<()> {
    let archive = &contents.archive;
    let mut bad: BTreeMap<usize, String> = BTreeMap::new();
    let mut buffer = Vec::new();
    for (number, frame) in archive.frames.iter().enumerate() {
        if interrupted.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        if let Err(why) = archive.packed(frame, &mut buffer) {
            bad.insert(number, why);
        }
        verified.bytes += u64::from(frame.packed);
        listen(Progress { files: 0, bytes: verified.bytes, written: 0 });
    }
    let mut named = std::collections::BTreeSet::new();
    for entry in contents.entries()? {
        let Ok(entry) = entry else { break };
        verified.entries += 1;
        let first = archive.frames.holding(entry.offset);
        let last = archive.frames.holding(entry.offset.saturating_add(entry.length.max(1) - 1));
        let Some(first) = first else { continue };
        if let Some((number, why)) = bad.range(first..=last.unwrap_or(usize::MAX).max(first)).next() {
            named.insert(*number);
            verified.problems.push(Problem { path: Some(entry.path), why: why.clone() });
        }
    }
    // What holds no entries: the manifest, and the end.
    let others = bad.into_iter().filter(|(number, _)| !named.contains(number));
    verified.problems.extend(others.map(|(_, why)| Problem { path: None, why }));
    Ok(())
}

struct Looking<'a> {
    listen: &'a (dyn Fn(Progress) + Sync),
    entries: AtomicU64,
    bytes: AtomicU64,
    problems: Mutex<Vec<Problem>>,
}

impl Looking<'_> {
    fn right(&self, bytes: u64) {
        let files = self.entries.fetch_add(1, Ordering::Relaxed) + 1;
        let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        (self.listen)(Progress { files, bytes, written: 0 });
    }
}

/// The headers in the archive against the manifest.
fn compare(entry: &Entry, head: &[u8]) -> Result<(), String> {
    let read = match tar::head_of(head) {
        Ok(Head::Entry { entry, length }) if length == head.len() => entry,
        _ => return Err("its headers in the archive are not understood".to_owned()),
    };
    let kind = |kind: &Kind| match kind {
        Kind::File(file) => (Some((file.size, file.extents.clone())), Kind::Directory),
        other => (None, other.clone()),
    };
    let told = |entry: &Entry| {
        (
            entry.path.clone(),
            kind(&entry.kind),
            entry.mode,
            entry.uid,
            entry.gid,
            entry.mtime,
            entry.xattrs.clone(),
        )
    };
    if told(&read) == told(entry) {
        Ok(())
    } else {
        Err("its headers in the archive say something else than the manifest".to_owned())
    }
}

impl Sink for Looking<'_> {
    type Large = ();

    fn entry(&self, entry: &Entry, head: &[u8], data: &[u8]) -> Result<(), String> {
        compare(entry, head)?;
        self.right(data.len() as u64);
        Ok(())
    }

    fn open(&self, entry: &Entry, head: &[u8]) -> Result<Option<()>, String> {
        compare(entry, head).map(Some)
    }

    fn piece(&self, (): &(), _: &Entry, _: u64, _: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn close(&self, (): &(), entry: &Entry, whole: bool) -> Result<(), String> {
        if let (Kind::File(file), true) = (&entry.kind, whole) {
            self.right(file.stored());
        }
        Ok(())
    }

    fn problem(&self, entry: &Entry, why: String) {
        let problem = Problem { path: Some(StoredPath::clone(&entry.path)), why };
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).push(problem);
    }
}
