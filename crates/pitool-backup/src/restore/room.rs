//! What cannot fit is refused before anything is touched.
//!
//! Paths are only measured here: whatever they name, nothing is opened and nothing changed.

#![expect(
    clippy::disallowed_methods,
    reason = "asks for sizes and devices by name, and does nothing with the answer"
)]

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::manifest::{Entry, Kind};
use crate::{Error, Result, StoredPath};

/// What one file system has to hold more than now.
#[derive(Default)]
struct Volume {
    /// A directory on it.
    directory: PathBuf,
    /// When all of it is written, so far.
    growth: i128,
    /// At its worst.
    peak: i128,
}

impl Volume {
    /// Counts a file, and what goes when the file is whole.
    fn take(&mut self, written: u64, replaced: u64) {
        self.growth += i128::from(written);
        self.peak = self.peak.max(self.growth);
        self.growth -= i128::from(replaced);
    }
}

/// What the file systems need that a restore goes to, file by file in the order of their paths.
///
/// One after another, because what a file takes the place of goes only when the file is whole.
#[derive(Default)]
pub(super) struct Room {
    volumes: HashMap<u64, Volume>,
    at: Option<(Option<StoredPath>, u64)>,
}

impl Room {
    /// Counts an entry that goes where it came from.
    pub(super) fn in_place(&mut self, entry: &Entry) {
        let Kind::File(file) = &entry.kind else { return };
        let path = entry.path.absolute();
        let (parent, _) = entry.path.split();
        // The manifest is sorted: most files lie beside the one before.
        let device = match &self.at {
            Some((before, device)) if *before == parent => *device,
            _ => {
                let Some((directory, device)) = standing(&path) else { return };
                self.volumes.entry(device).or_insert(Volume { directory, ..Volume::default() });
                self.at = Some((parent, device));
                device
            }
        };
        let Some(volume) = self.volumes.get_mut(&device) else { return };
        let there = fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file);
        // st_blocks counts 512 bytes whatever the file system's own blocks are (stat(2)).
        volume.take(file.stored(), there.map_or(0, |there| there.blocks() * 512));
    }

    /// Checks that everything fits.
    pub(super) fn check(&self) -> Result<()> {
        self.volumes
            .values()
            .try_for_each(|volume| fits(&volume.directory, u64::try_from(volume.peak).unwrap_or(u64::MAX)))
    }
}

/// The nearest directory above a path that is there, and the device that it is on.
fn standing(path: &Path) -> Option<(PathBuf, u64)> {
    path.ancestors().skip(1).find_map(|above| {
        let there = fs::metadata(above).ok().filter(fs::Metadata::is_dir)?;
        Some((above.to_owned(), there.dev()))
    })
}

/// Checks that so many bytes fit into a directory, which need not be there yet.
pub(super) fn beneath(directory: &Path, needed: u64) -> Result<()> {
    match standing(&directory.join("in it")) {
        Some((there, _)) => fits(&there, needed),
        None => Ok(()),
    }
}

/// Checks that so many bytes fit beneath a directory: a megabyte of an archive can unpack to terabytes.
pub fn fits(directory: &Path, needed: u64) -> Result<()> {
    let there = rustix::fs::statvfs(directory).map_err(Error::path("read", directory))?;
    let available = there.f_bavail.saturating_mul(there.f_frsize);
    if needed > available {
        return Err(Error::Space { directory: directory.to_owned(), needed, available });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peak(files: &[(u64, u64)]) -> i128 {
        let mut volume = Volume::default();
        files.iter().for_each(|(written, replaced)| volume.take(*written, *replaced));
        volume.peak
    }

    #[test]
    fn what_is_replaced_goes_when_the_new_file_is_whole_and_not_before() {
        assert_eq!(peak(&[]), 0);
        assert_eq!(peak(&[(10, 0), (5, 0)]), 15);
        assert_eq!(peak(&[(10, 10)]), 10);
        assert_eq!(peak(&[(10, 10), (5, 5)]), 10);
        assert_eq!(peak(&[(5, 5), (10, 10)]), 10);
        assert_eq!(peak(&[(1, 100), (50, 0)]), 1);
    }
}
