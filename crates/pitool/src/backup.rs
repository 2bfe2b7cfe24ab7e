//! What the commands about backups found and did: plain values, which [`crate::render::backup`] shows.

mod due;

use std::collections::BTreeMap;

use jiff::Timestamp;
use pitool_backup::ArchiveName;
use pitool_backup::record::Deed;

pub(crate) use due::{Due, due};

/// What is known of one set.
pub(crate) struct Listed {
    /// The set.
    pub(crate) set: String,
    /// When it is saved.
    pub(crate) due: Due,
    /// When it is drilled.
    pub(crate) drill_due: Due,
    /// The last run.
    pub(crate) run: Option<Deed>,
    /// The last success.
    pub(crate) success: Option<Timestamp>,
    /// The last drill.
    pub(crate) drill: Option<Deed>,
    /// Its archives, newest first.
    pub(crate) archives: Vec<Row>,
}

/// One archive, wherever it is.
pub(crate) struct Row {
    /// Its name.
    pub(crate) name: ArchiveName,
    /// How many bytes it has where it is; 0 for a note.
    pub(crate) size: u64,
    /// How many bytes it restores, where that is known.
    pub(crate) bytes: Option<u64>,
    /// The archive that it is a note about.
    pub(crate) refers_to: Option<String>,
    /// The targets that have it, each with what is known of it there.
    pub(crate) targets: BTreeMap<String, Known>,
}

/// What is known of an archive at a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Known {
    /// It was verified.
    Verified,
    /// Nobody has looked.
    Unverified,
    /// It was found damaged.
    Damaged,
}

/// The figures of one set.
pub(crate) struct Figures {
    /// The set.
    pub(crate) set: String,
    /// How many archives there are here, and how many of them are notes.
    pub(crate) archives: usize,
    /// How many of them are notes about another one.
    pub(crate) notes: usize,
    /// How many bytes they have on the disk.
    pub(crate) size: u64,
    /// How many bytes the newest one restores.
    pub(crate) bytes: u64,
    /// How many files it has.
    pub(crate) files: u64,
    /// How long the last run took, in seconds.
    pub(crate) run_seconds: Option<f64>,
    /// How long the last drill took: what a restore will take.
    pub(crate) drill_seconds: Option<f64>,
}
