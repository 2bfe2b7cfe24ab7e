//! How far a run is.

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Files that are done.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes in the archive.
    pub written: u64,
}
