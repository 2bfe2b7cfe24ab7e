//! Archives at a target, fetched where they cannot be read there.

use std::path::{Path, PathBuf};

use super::error::{Error, Result};
use super::event::{Progress, Step};
use super::inventory::{Files, Inventory};
use super::jobs::Jobs;
use super::place::Place;
use crate::target::{self, Target};
use crate::{ArchiveName, Store, Stored, manifest};

/// Archives in a directory of this machine.
pub struct Source {
    /// The directory.
    pub store: Store,
    /// The archives, as the person named them.
    pub archives: Vec<Stored>,
    /// What was fetched into the directory and is to go when everything is done.
    pub(super) _fetched: Option<Fetched>,
}

/// A directory of what was fetched from a target that is not on this machine; goes with its value.
pub(super) struct Fetched(PathBuf);

impl Drop for Fetched {
    #[expect(clippy::disallowed_methods, reason = "in the directory of the archives, which is root's own")]
    fn drop(&mut self) {
        let _left = std::fs::remove_dir_all(&self.0);
    }
}

impl<'a> Jobs<'a> {
    /// Finds archives at a target, by their names or their sets', and fetches them where they cannot be read at once.
    /// Of a set, the newest one, or `all`.
    ///
    /// # Errors
    /// The target cannot be used, or does not have them.
    #[expect(clippy::disallowed_methods, reason = "in the directory of the archives, which is root's own")]
    pub fn source(&mut self, place: &'a Place, what: &[String], all: bool) -> Result<Source> {
        let there =
            self.reach(place, false).map_err(|why| Error::Away { target: place.name.clone(), why })?;
        let names = pick(&there.inventory, what, all, place)?;
        if let Some(directory) = there.target.directory() {
            let store = Store::new(directory);
            let archives = names.iter().map(|name| store.find(name)).collect::<crate::Result<_>>()?;
            return Ok(Source { store, archives, _fetched: None });
        }
        let directory = self.scratch()?.join("fetched");
        std::fs::create_dir_all(&directory).map_err(crate::Error::path("make", &directory))?;
        let store = Store::new(&directory);
        let mut archives = Vec::new();
        for name in &names {
            self.fetch(&*there.target, &there.inventory, name, &directory)?;
            let stored = store.find(name)?;
            if let manifest::Seal::UnchangedSince(other) = store.summary(&stored, &self.identities)?.seal {
                self.fetch(&*there.target, &there.inventory, &other, &directory)?;
            }
            archives.push(stored);
        }
        // Only from here on: after an interrupted connection, the next job continues with what is there.
        Ok(Source { store, archives, _fetched: Some(Fetched(directory)) })
    }

    fn fetch(
        &self,
        target: &dyn Target,
        inventory: &Inventory,
        name: &ArchiveName,
        directory: &Path,
    ) -> Result<()> {
        let files = inventory.get(name).copied().unwrap_or_default();
        for (part, size) in [files.data, files.manifest].into_iter().flatten() {
            let file = name.file(part);
            // A server can claim any size; what it sends is bounded by it.
            crate::restore::fits(directory, size)?;
            let hear = self.listener.begin(Step::Fetching(&file));
            let wanted = target::Stored { name: file.clone(), size };
            let got = target.get(&wanted, &directory.join(&file), &mut |done| {
                hear(Progress::Bytes { file: &file, done, size });
            });
            self.listener.end();
            got?;
        }
        Ok(())
    }
}

/// Finds the archives that a person named by set or by name.
fn pick(inventory: &Inventory, what: &[String], all: bool, place: &Place) -> Result<Vec<ArchiveName>> {
    let complete = |files: &Files| files.manifest.is_some();
    let mut picked = Vec::new();
    for word in what {
        let of_set: Vec<&ArchiveName> = inventory
            .iter()
            .filter(|(name, files)| name.set().as_str() == word && complete(files))
            .map(|(name, _)| name)
            .collect();
        if let Some(newest) = of_set.iter().max_by_key(|name| name.sequence()) {
            match all {
                true => picked.extend(of_set.iter().map(|name| (*name).clone())),
                false => picked.push((*newest).clone()),
            }
            continue;
        }
        let named = word.parse::<ArchiveName>().ok();
        match named.filter(|name| inventory.get(name).is_some_and(complete)) {
            Some(name) => picked.push(name),
            None => {
                return Err(Error::NoArchive { what: word.clone(), target: place.name.clone() });
            }
        }
    }
    Ok(picked)
}
