//! Places that archives are copied to: a directory on another disk, a machine with SSH, a bucket.
//!
//! A target holds files and a marker, `.pitool-target`, with an id. A disk that is not mounted, a NAS whose volume is
//! missing, a bucket of the same name on another server have no marker or another one, and nothing is written there
//! and nothing deleted ([`admit`]). Every file appears under its name only when it is whole; what was cut off goes on
//! where it stopped.

mod directory;
mod mounts;
mod s3;
mod ssh;

use std::path::{Path, PathBuf};

use pitool_host::trust::{self, Last, Root};

pub use directory::Directory;
pub use s3::{Bucket, Credentials};
pub use ssh::Ssh;

/// The name of the file that makes a place a target.
pub const MARKER: &str = ".pitool-target";

/// A marker is a line with an id; no more of one is read.
const MARKER_LIMIT: u64 = 4096;

/// As many files a target may have: 16,000 sets with a year of archives each. A server can claim any number.
const LONGEST: usize = 1 << 20;

/// A place that archives are copied to.
pub trait Target {
    /// The place in words for messages: "/mnt/usb/backups", "nas.local:backups".
    fn place(&self) -> String;

    /// The id in the marker; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Absent`] where the place itself is not there: a disk that is not mounted.
    fn marker(&self) -> Result<Option<String>>;

    /// Makes the place a target, or another one than it was.
    fn mark(&self, id: &str) -> Result<()>;

    /// The files there with their sizes in bytes, without markers and what is not whole, sorted by name.
    fn list(&self) -> Result<Vec<Stored>>;

    /// Copies a file there, going on where an earlier copy was cut off. It is verified when this returns. `progress`
    /// hears how many bytes are there.
    fn put(&self, file: &Path, name: &str, progress: &mut dyn FnMut(u64)) -> Result<()>;

    /// Copies a file from there to a path on this machine, going on where an earlier copy was cut off. No more comes than
    /// the target said that there is.
    fn get(&self, file: &Stored, to: &Path, progress: &mut dyn FnMut(u64)) -> Result<()>;

    /// Deletes files there; one that is not there is fine.
    fn remove(&self, names: &[&str]) -> Result<()>;

    /// The directory where the files can be read at once, if there is one on this machine.
    fn directory(&self) -> Option<&Path> {
        None
    }

    /// What others can do with the archives there, as far as this machine can see.
    fn weaknesses(&self) -> Result<Vec<Weakness>> {
        Ok(Vec::new())
    }
}

/// What others can do with archives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weakness {
    /// Whether they can read one that is not encrypted; else they can delete and replace archives.
    pub readable: bool,
    /// Whose fault it is and what to do, a sentence.
    pub why: String,
}

/// The id in a marker.
fn marker_id(place: &str, bytes: &[u8]) -> Result<String> {
    let text = std::str::from_utf8(bytes).unwrap_or_default().trim();
    match text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        false => Ok(text.to_owned()),
        true => {
            let why = format!("its marker {MARKER} is not one of pitool's");
            Err(Error::Stranger { place: place.to_owned(), why })
        }
    }
}

/// Opens an archive of this machine's to copy it.
fn open_source(file: &Path) -> Result<std::fs::File> {
    let failed = |error: trust::Error| Error::path("open", file)(error.into());
    Root::open(Path::new("/")).and_then(|root| root.open_file(file, Last::Follow)).map_err(failed)
}

/// A file at a target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stored {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
}

/// The result of using a target.
pub type Result<T> = std::result::Result<T, Error>;

/// A target that does not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call on a path failed. `operation` is a verb.
    #[error("cannot {operation} {}", .path.display())]
    Path {
        /// What was tried.
        operation: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The place is not there now; nothing was written.
    #[error("{place} is not there: {why}")]
    Absent {
        /// The place.
        place: String,
        /// What was looked for and not found, and what to do.
        why: String,
    },
    /// The place is another one than before; nothing was written.
    #[error("{place} is not the target that it was: {why}")]
    Stranger {
        /// The place.
        place: String,
        /// What is different.
        why: String,
    },
    /// The place was reached and said no.
    #[error("{place} refused to {operation}: {said}")]
    Refused {
        /// The place.
        place: String,
        /// What was tried, with its object.
        operation: String,
        /// What it answered.
        said: String,
    },
    /// The place could not be reached, or the connection broke.
    #[error("cannot reach {place}: {why}")]
    Unreachable {
        /// The place.
        place: String,
        /// What happened.
        why: String,
    },
    /// A copy is not what it should be a copy of.
    #[error("the copy of {name} at {place} is damaged: {why}")]
    Damaged {
        /// The place.
        place: String,
        /// The file.
        name: String,
        /// What differs.
        why: String,
    },
    /// Credentials that cannot be used; never the credentials themselves.
    #[error("cannot use the key in {}: {why}", .file.display())]
    Key {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A program could not be run.
    #[error(transparent)]
    Host(#[from] pitool_host::Error),
}

impl Error {
    fn path(operation: &'static str, path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Path { operation, path: path.as_ref().to_owned(), source }
    }
}

/// Makes sure that a target is the one that it was, and gives its id, which is to be remembered.
///
/// A place that was never used becomes a target with `fresh` as its id; one that bears a marker is believed the first
/// time, so that a new machine finds its old archives. With `adopt` a place that lost its marker, or has another one,
/// becomes the target: a new disk.
///
/// # Errors
/// [`Error::Stranger`] where the marker is missing or another one than `known`; whatever [`Target::marker`] says.
pub fn admit(target: &dyn Target, known: Option<&str>, adopt: bool, fresh: &str) -> Result<String> {
    let why = match (target.marker()?, known) {
        (Some(found), None) => return Ok(found),
        (Some(found), Some(known)) if found == known => return Ok(found),
        (Some(found), _) if adopt => return Ok(found),
        (None, Some(_)) if !adopt => format!(
            "its marker {MARKER} is missing; is another disk mounted there, or none? If it is a new one, `pitool \
             backup run --adopt` takes it"
        ),
        (Some(_), _) => format!(
            "its marker {MARKER} is another one's; if it is meant to take that one's place, `pitool backup run \
             --adopt` takes it"
        ),
        (None, _) => {
            target.mark(fresh)?;
            return Ok(fresh.to_owned());
        }
    };
    Err(Error::Stranger { place: target.place(), why })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_known_by_its_marker() {
        let dir = tempfile::tempdir().unwrap();
        let target = Directory::new(dir.path().join("target"), false);
        // Never used: it becomes one.
        assert_eq!(admit(&target, None, false, "one").unwrap(), "one");
        assert_eq!(admit(&target, Some("one"), false, "two").unwrap(), "one");
        // A new machine believes what is there.
        assert_eq!(admit(&target, None, false, "two").unwrap(), "one");
        // Another one's.
        assert!(matches!(admit(&target, Some("other"), false, "two"), Err(Error::Stranger { .. })));
        assert_eq!(admit(&target, Some("other"), true, "two").unwrap(), "one");
        // The disk is not mounted: the directory is there, the marker is not.
        std::fs::remove_file(dir.path().join("target").join(MARKER)).unwrap();
        assert!(matches!(admit(&target, Some("one"), false, "two"), Err(Error::Stranger { .. })));
        assert!(!dir.path().join("target").join(MARKER).exists(), "nothing is written to a stranger");
        assert_eq!(admit(&target, Some("one"), true, "two").unwrap(), "two");
    }
}
