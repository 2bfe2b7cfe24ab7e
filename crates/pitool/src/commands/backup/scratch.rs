//! Where copies of databases and fetched archives are made.

use std::path::{Path, PathBuf};

/// A directory for copies of databases, where there is most room: beside the archives.
pub(super) fn scratch(directory: &Path) -> pitool_backup::Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt;
    let scratch = directory.join(".scratch");
    let mut builder = std::fs::DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o700)
        .create(&scratch)
        .map_err(pitool_backup::Error::path("make", &scratch))?;
    Ok(scratch)
}
