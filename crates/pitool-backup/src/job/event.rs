//! What a job reports. How that looks is decided elsewhere.

use crate::job::outcome::{Checked, Drilled, Outcome};
use crate::quiet::Resting;
use crate::restore::Unfinished;
use crate::{ArchiveName, save};

/// Something that happened during a job.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// What an earlier backup or restore had stopped and not started again runs now.
    Woken(&'a [Resting]),
    /// A restore was cut off; until it is run again, its paths hold some of both states.
    Unfinished(&'a Unfinished),
    /// Others can read the archives of a target, or change them.
    Weak {
        /// The target.
        target: &'a str,
        /// Who can do what, a clause.
        why: &'a str,
    },
    /// A target that a command was asked to delete at cannot be reached, or nothing can be deleted there.
    Failed {
        /// The target.
        target: &'a str,
        /// Why.
        why: &'a str,
    },
    /// These are stopped until the restore is over.
    Stopped(&'a [Resting]),
    /// A set was saved, or could not be.
    Saved(&'a Outcome),
    /// An archive was verified.
    Verified(&'a Checked),
    /// A set was drilled.
    Drilled(&'a Drilled),
    /// Old archives of a set were deleted at a target.
    Deleted {
        /// The target.
        target: &'a str,
        /// The set.
        set: &'a str,
        /// How many archives.
        archives: usize,
        /// How many bytes these had.
        bytes: u64,
    },
}

/// A part of a job that may take from seconds to hours.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// A set is saved.
    Saving(&'a str),
    /// Archives are copied to a target.
    Copying(&'a str),
    /// A file is fetched from a target.
    Fetching(&'a str),
    /// An archive is verified.
    Verifying(&'a ArchiveName),
    /// An archive is restored.
    Restoring(&'a ArchiveName),
    /// A set is restored to a directory of its own, to see whether it can be.
    Drilling(&'a str),
}

/// How far a step is.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// Files and bytes so far.
    Files(save::Progress),
    /// Bytes of a file that are there, of all that it has.
    Bytes {
        /// The file.
        file: &'a str,
        /// How many are there.
        done: u64,
        /// How many it has.
        size: u64,
    },
}

/// Who hears what a job reports.
pub trait Listener {
    /// Hears of an event.
    fn hear(&self, event: Event<'_>);

    /// Hears that a step begins, and gives what hears how far it is, from any thread.
    fn begin(&self, step: Step<'_>) -> Box<dyn Fn(Progress<'_>) + Sync>;

    /// Hears that the step is over.
    fn end(&self);
}

/// Hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Listener for Silent {
    fn hear(&self, _: Event<'_>) {}

    fn begin(&self, _: Step<'_>) -> Box<dyn Fn(Progress<'_>) + Sync> {
        Box::new(|_| {})
    }

    fn end(&self) {}
}
