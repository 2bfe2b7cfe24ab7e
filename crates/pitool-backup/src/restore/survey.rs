//! What is known of a restore before it touches anything.

use std::collections::HashSet;

use super::job::{Destination, Restore};
use super::room;
use crate::contents::Contents;
use crate::manifest::{Entry, Header, Kind};
use crate::{Error, Result, StoredPath};

/// Hard links are rare, and their targets are kept in memory; a manifest can claim any number of them.
const LINKS: usize = 1 << 20;

/// What a walk through all entries that are wanted tells.
pub(super) struct Survey {
    /// Files that get further names.
    pub(super) linked: HashSet<StoredPath>,
    /// Of the paths that were asked for, or the archive was made of, those with something to restore.
    pub(super) concerned: Vec<StoredPath>,
}

impl Survey {
    pub(super) fn of(job: &Restore, contents: &Contents, header: Option<&Header>) -> Result<Self> {
        let in_place = *job.destination == Destination::InPlace;
        let roots: &[StoredPath] = header.map_or(&[], |header| &header.roots);
        let paths = if job.only.is_empty() { roots } else { job.only };
        let mut found = vec![false; paths.len()];
        let mut linked = HashSet::new();
        let mut room = room::Room::default();
        for entry in contents.entries_within(job.only)? {
            let entry = entry?;
            if !job.wants(&entry.path) {
                continue;
            }
            if in_place {
                announced(contents, roots, &entry)?;
                room.in_place(&entry);
            }
            if let Kind::HardLink(target) = &entry.kind {
                linked.insert(target.clone());
                if linked.len() > LINKS {
                    return Err(Error::damaged(
                        contents.archive.path(),
                        "it claims more hard links than there can be",
                    ));
                }
            }
            // Entries come in the order of their paths: mostly it is the one before.
            for (path, found) in paths.iter().zip(&mut found) {
                *found = *found || entry.path.is_within(path);
            }
        }
        let missing = job.only.iter().zip(&found).filter(|(_, found)| !**found);
        let missing: Vec<_> = missing.map(|(path, _)| path.absolute()).collect();
        if !missing.is_empty() {
            return Err(Error::NotSaved { archive: job.archive.name.to_string(), paths: missing });
        }
        match job.destination {
            Destination::InPlace => room.check()?,
            Destination::Directory(path) if job.only.is_empty() => {
                room::beneath(path, contents.archive.frames.plain_end())?;
            }
            Destination::Directory(_) => {}
        }
        let concerned = paths.iter().zip(found).filter(|(_, found)| *found);
        Ok(Self { linked, concerned: concerned.map(|(path, _)| path.clone()).collect() })
    }
}

/// Checks that an entry is where the archive says that it was made of, with the file that it is another name of.
///
/// A person is asked whether these paths should be replaced, and no others may be.
fn announced(contents: &Contents, roots: &[StoredPath], entry: &Entry) -> Result<()> {
    let within = |path: &StoredPath| roots.iter().any(|root| path.is_within(root));
    let outside = match &entry.kind {
        _ if !within(&entry.path) => &entry.path,
        Kind::HardLink(target) if !within(target) => target,
        _ => return Ok(()),
    };
    let what = format!(
        "it holds /{outside}, which is in none of the paths that it says it was made of; somebody may have made it to \
         harm this machine. `--to DIR` restores it where that does no harm"
    );
    Err(Error::damaged(contents.archive.path(), what))
}
