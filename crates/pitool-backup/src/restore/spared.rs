//! What a restore leaves alone.

use std::fmt;

use crate::StoredPath;

/// Something that was left alone though it is not in the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spared {
    /// What: everything that is beneath it, too.
    pub path: StoredPath,
    /// Why.
    pub why: Why,
}

/// Why something was left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Something is mounted there.
    OtherFileSystem,
    /// It holds archives, or what is known of them.
    Own,
    /// It was there when the archive was made, and could not be saved.
    NotSaved,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherFileSystem => "another file system is mounted there",
            Self::Own => "it is where pitool keeps archives, or what it knows of them",
            Self::NotSaved => "the archive does not have it because it could not be saved",
        })
    }
}
