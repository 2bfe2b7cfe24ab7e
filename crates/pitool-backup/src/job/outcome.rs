//! What came of a job.

use std::time::Duration;

use crate::ArchiveName;
use crate::record::Deed;
use crate::restore::Problem;
use crate::retention::Decision;
use crate::save::Saved;
use crate::verify::Verified;

/// What came of saving a set.
#[derive(Debug)]
pub struct Outcome {
    /// The set.
    pub set: String,
    /// What was done, as it is recorded.
    pub deed: Deed,
    /// What was saved, if anything was.
    pub saved: Option<Saved>,
    /// What was copied where, and what was deleted there, in this order.
    pub moved: Vec<Moved>,
}

/// Archives that were copied to a target, or deleted there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The target.
    pub target: String,
    /// Whether they were deleted; else they were copied there.
    pub deleted: bool,
    /// How many archives.
    pub archives: usize,
    /// How many bytes these have.
    pub bytes: u64,
}

/// What came of verifying an archive.
#[derive(Debug)]
pub struct Checked {
    /// The archive.
    pub archive: ArchiveName,
    /// The target that it is at.
    pub target: String,
    /// Whether every entry was unpacked and compared.
    pub full: bool,
    /// What was found.
    pub found: Verified,
    /// How long it took.
    pub took: Duration,
}

/// What came of drilling a set.
#[derive(Debug)]
pub struct Drilled {
    /// The set.
    pub set: String,
    /// What was done, as it is recorded.
    pub deed: Deed,
    /// How many databases were opened.
    pub databases: u64,
    /// The archives that failed, if it was not the set's own check or the room for it: the one that was restored, and where it
    /// says that nothing has changed the one that has the data.
    pub damaged: Vec<String>,
}

/// What is decided about the archives of one set at one target.
#[derive(Debug)]
pub struct Plan {
    /// The target.
    pub target: String,
    /// The set.
    pub set: String,
    /// Newest first.
    pub decisions: Vec<Decision>,
    /// Whether nothing is deleted there whatever is decided.
    pub append_only: bool,
}

/// How many problems of a set are recorded one by one.
const MOST: usize = 10;

/// The first problems as sentences, and how many more there are of `all`.
pub(super) fn first_problems<T: ToString>(problems: impl Iterator<Item = T>, all: usize) -> Vec<String> {
    let mut told: Vec<String> = problems.take(MOST).map(|problem| problem.to_string()).collect();
    match all.saturating_sub(MOST) {
        0 => {}
        1 => told.push("and 1 more problem".to_owned()),
        more => told.push(format!("and {more} more problems")),
    }
    told
}

/// The problem of an archive as a whole.
pub(super) fn whole(why: String) -> Verified {
    Verified { problems: vec![Problem { path: None, why }], ..Verified::default() }
}
