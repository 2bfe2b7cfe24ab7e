//! What can go wrong with a backup.

use std::path::{Path, PathBuf};

/// The result of saving, reading or restoring.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A backup that did not work. What a run can go on after is a [`crate::manifest::Note`] instead.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call on a path failed. `operation` is a verb: "read", "write", "remove".
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
    /// A set that cannot be saved as it is written; a whole sentence.
    #[error("backup set {set}: {why}")]
    Set {
        /// The set.
        set: String,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// A name that is no archive's or no set's.
    #[error("{name:?} is not {expected}")]
    Name {
        /// What was given.
        name: String,
        /// What it should be.
        expected: &'static str,
    },
    /// Another run writes into the same directory.
    #[error("another backup or restore is using {}", .0.display())]
    Locked(PathBuf),
    /// No archive of that name, or none of the set.
    #[error("{what} is not in {}", .directory.display())]
    NoArchive {
        /// What was looked for.
        what: String,
        /// Where.
        directory: PathBuf,
    },
    /// The archive or its manifest is not as it was written.
    #[error("{} is damaged: {what}", .archive.display())]
    Damaged {
        /// The file.
        archive: PathBuf,
        /// Which part of it, and what is wrong with that.
        what: String,
    },
    /// The archive is encrypted and none of the identities opens it.
    #[error("{} is encrypted, and {why}", .archive.display())]
    Sealed {
        /// The file.
        archive: PathBuf,
        /// Which identity is missing or wrong.
        why: String,
    },
    /// A recipient or an identity that age does not understand.
    #[error("cannot use the age {what}: {why}")]
    Key {
        /// "recipient" or "identity file PATH"; never the key itself.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// What is to be restored does not fit, or the archive claims to be larger than it can be.
    #[error("{} has {available} bytes free, and {needed} are needed", .directory.display())]
    Space {
        /// Where it was to go.
        directory: PathBuf,
        /// What is needed there, in bytes.
        needed: u64,
        /// What is free, in bytes.
        available: u64,
    },
    /// Paths that were asked for and are not in the archive; nothing was touched.
    #[error("{archive} has no {}", shown(.paths))]
    NotSaved {
        /// The name of the archive.
        archive: String,
        /// What it does not have, at least one.
        paths: Vec<PathBuf>,
    },
    /// A program could not be run.
    #[error(transparent)]
    Host(#[from] pitool_host::Error),
    /// The run was asked to stop; nothing of it is visible.
    #[error("the run was stopped")]
    Interrupted,
}

/// Paths in a sentence.
fn shown(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" and no ")
}

impl Error {
    /// Wraps an I/O error with what was tried on which path.
    pub fn path<E: Into<std::io::Error>>(
        operation: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(E) -> Self {
        move |source| Self::Path { operation, path: path.as_ref().to_owned(), source: source.into() }
    }

    /// Says that an archive is not as it was written.
    pub(crate) fn damaged(archive: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { archive: archive.to_owned(), what: what.into() }
    }
}
