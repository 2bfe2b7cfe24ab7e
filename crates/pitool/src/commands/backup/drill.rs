//! `pitool backup drill`: restores the newest archives on trial.

use pitool_backup::record::Deed;

/// What came of a drill.
pub(crate) struct Drilled {
    /// The set.
    pub(crate) set: String,
    /// What was done.
    pub(crate) deed: Deed,
    /// How many databases were opened.
    pub(crate) databases: u64,
}
