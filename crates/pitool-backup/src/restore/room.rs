//! What cannot fit is refused before anything is touched.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Restore;
use crate::contents::Contents;
use crate::manifest::Kind;
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

/// Checks what is wanted of an archive against the file systems that it came from.
///
/// One after another, because what a file takes the place of goes only when the file is whole.
pub(super) fn in_place(job: &Restore, contents: &Contents) -> Result<()> {
    let mut volumes: HashMap<u64, Volume> = HashMap::new();
    let mut at: Option<(Option<StoredPath>, u64)> = None;
    for entry in contents.entries_within(job.only)? {
        let Ok(entry) = entry else { continue };
        let Kind::File(file) = &entry.kind else { continue };
        if !job.wants(&entry.path) {
            continue;
        }
        let path = entry.path.absolute();
        let (parent, _) = entry.path.split();
        // The manifest is sorted: most files lie beside the one before.
        let device = match &at {
            Some((before, device)) if *before == parent => *device,
            _ => {
                let Some((directory, device)) = standing(&path) else { continue };
                volumes.entry(device).or_insert(Volume { directory, ..Volume::default() });
                at = Some((parent, device));
                device
            }
        };
        let Some(volume) = volumes.get_mut(&device) else { continue };
        let there = fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file);
        // st_blocks counts 512 bytes whatever the file system's own blocks are (stat(2)).
        volume.take(file.stored(), there.map_or(0, |there| there.blocks() * 512));
    }
    volumes
        .values()
        .try_for_each(|volume| fits(&volume.directory, u64::try_from(volume.peak).unwrap_or(u64::MAX)))
}

/// The nearest directory above a path that is there, and the device that it is on.
fn standing(path: &Path) -> Option<(PathBuf, u64)> {
    path.ancestors().skip(1).find_map(|above| {
        let there = fs::metadata(above).ok().filter(fs::Metadata::is_dir)?;
        Some((above.to_owned(), there.dev()))
    })
}

/// Checks that so many bytes fit beneath a directory: a megabyte of an archive can unpack to terabytes.
pub(super) fn fits(directory: &Path, needed: u64) -> Result<()> {
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
