//! One file as it was written.

use std::path::PathBuf;

/// One file of the config as it was written: its path, for messages, and its bytes.
///
/// The caller reads `/etc/pitool/pitool.toml`, then `/etc/pitool/conf.d/*.toml` sorted by name, and hands them
/// over in that order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// Where the file is; it is only printed.
    pub path: PathBuf,
    /// What the file holds; it need not be UTF-8, which is then one of the problems reported.
    pub bytes: Vec<u8>,
}

impl Fragment {
    /// Names some bytes.
    pub fn new(path: impl Into<PathBuf>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), bytes: bytes.into() }
    }
}
