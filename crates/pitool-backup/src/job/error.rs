//! What keeps a job from being done.

use std::path::PathBuf;

use pitool_host::text::chain;

/// The result of a job.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A job that was not done. What a job can continue after is in its outcome instead.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Saving, reading or restoring failed.
    #[error(transparent)]
    Backup(#[from] crate::Error),
    /// A call on the machine failed.
    #[error(transparent)]
    Host(#[from] pitool_host::Error),
    /// A target failed.
    #[error(transparent)]
    Target(#[from] crate::target::Error),
    /// No target has this name.
    #[error("there is no target `{name}`")]
    NoTarget {
        /// What was asked for.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// A target cannot be reached, or is another one than before.
    #[error("{target} cannot be used: {why}")]
    Away {
        /// Its name.
        target: String,
        /// Why.
        why: String,
    },
    /// A target has no whole archive of this name, and none of a set of this name.
    #[error("there is no archive of `{what}` at {target}")]
    NoArchive {
        /// What was asked for.
        what: String,
        /// The target.
        target: String,
    },
    /// What is to be restored does not fit; nothing was restored.
    #[error("{} has {available} bytes free, and {needed} are needed; nothing was restored", .directory.display())]
    NoRoom {
        /// Where it was to go.
        directory: PathBuf,
        /// What is needed there, in bytes.
        needed: u64,
        /// What is free, in bytes.
        available: u64,
    },
    /// Paths that were asked for are not in the archive; nothing was restored.
    #[error("{0}; nothing was restored")]
    NotSaved(String),
    /// What an earlier job had stopped does not start.
    #[error("what an earlier backup had stopped does not start again")]
    Asleep(#[source] pitool_host::Error),
    /// What uses the files that are to be replaced cannot be stopped; nothing was restored.
    #[error("what uses these files cannot be stopped; nothing was restored")]
    NotStopped(#[source] pitool_host::Error),
    /// Something writes to the files that are to be replaced and cannot be stopped; nothing was restored.
    #[error("something writes to these files; nothing was restored")]
    Restless {
        /// What that is, and what to do.
        advice: String,
        /// What does not start of what was stopped for the restore.
        #[source]
        asleep: Option<pitool_host::Error>,
    },
    /// The files are restored; what was stopped for it does not start.
    #[error("the files are restored, but what was stopped does not start again")]
    StaysStopped {
        /// What was stopped, by name.
        names: String,
        /// Why it does not start.
        #[source]
        source: pitool_host::Error,
    },
    /// The archive was made of paths that its set does not have; nothing was restored.
    #[error(
        "the archive was made of paths that the set {set} in the config does not have: {}; nothing was restored",
        shown(.paths)
    )]
    Unlisted {
        /// The set.
        set: String,
        /// The paths.
        paths: Vec<PathBuf>,
    },
}

fn shown(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

impl Error {
    /// What keeps an archive from being restored.
    pub(super) fn of_restore(error: crate::Error) -> Self {
        match error {
            crate::Error::Space { directory, needed, available } => {
                Self::NoRoom { directory, needed, available }
            }
            error @ crate::Error::NotSaved { .. } => Self::NotSaved(error.to_string()),
            error => error.into(),
        }
    }

    /// The error with its causes in one sentence, for a record.
    pub(super) fn sentence(&self) -> String {
        match self {
            Self::Asleep(_) => format!("{}; {}", chain(self), asleep_hint()),
            other => chain(other),
        }
    }
}

/// What to do about [`Error::Asleep`].
fn asleep_hint() -> String {
    format!("{} says what it is; start it by hand, then remove that file", crate::quiet::RECORD)
}
