//! Archives at a target, fetched where they cannot be read there.

use std::path::{Path, PathBuf};

use pitool_backup::target::{self, Target};
use pitool_backup::{ArchiveName, Store, Stored, manifest};

use super::backups::Backups;
use super::copy::reach;
use super::inventory::{Files, Inventory};
use super::places::Place;
use super::scratch::scratch;
use crate::failure::{Failure, Result};
use crate::render::bytes;
use crate::session::Session;

/// Archives in a directory of this machine.
pub(super) struct Source {
    /// The directory.
    pub(super) store: Store,
    /// The archives, as the person named them.
    pub(super) archives: Vec<Stored>,
    /// What was fetched into the directory and is to go when everything is done.
    pub(super) fetched: Option<Fetched>,
}

/// A directory of what was fetched from a target that is not on this machine; goes with its value.
pub(super) struct Fetched(PathBuf);

impl Drop for Fetched {
    fn drop(&mut self) {
        let _left = std::fs::remove_dir_all(&self.0);
    }
}

/// Finds archives at a target, and fetches them where they cannot be read at once.
pub(super) fn source(
    backups: &mut Backups<'_, '_, '_>,
    place: &Place<'_>,
    what: &[String],
    all: bool,
) -> Result<Source> {
    let session = backups.session;
    let identities = backups.identities();
    let there = reach(session.host, place, &mut backups.record, &identities, false)
        .map_err(|why| Failure::machine(format!("{} cannot be used: {why}", place.name)))?;
    let names = pick(&there.inventory, what, all, place)?;
    if let Some(directory) = there.target.directory() {
        let store = Store::new(directory);
        let archives = names.iter().map(|name| store.find(name)).collect::<pitool_backup::Result<_>>()?;
        return Ok(Source { store, archives, fetched: None });
    }
    // On the disk of the archives: the one that is meant to be large.
    let directory = scratch(backups.settings.backup.directory.as_path())?.join("fetched");
    std::fs::create_dir_all(&directory).map_err(pitool_backup::Error::path("make", &directory))?;
    let store = Store::new(&directory);
    let mut archives = Vec::new();
    for name in &names {
        fetch(session, &*there.target, &there.inventory, name, &directory)?;
        let stored = store.find(name)?;
        if let manifest::Seal::UnchangedSince(other) = store.summary(&stored, &identities)?.seal {
            fetch(session, &*there.target, &there.inventory, &other, &directory)?;
        }
        archives.push(stored);
    }
    // Only from here on: where the line broke, what is there is fetched on the next time.
    Ok(Source { store, archives, fetched: Some(Fetched(directory)) })
}

fn fetch(
    session: &Session<'_, '_>,
    target: &dyn Target,
    inventory: &Inventory,
    name: &ArchiveName,
    directory: &Path,
) -> Result<()> {
    let files = inventory.get(name).copied().unwrap_or_default();
    for (part, size) in [files.data, files.manifest].into_iter().flatten() {
        let file = name.file(part);
        let live = &session.terminal.live;
        live.start(0, &format!("Fetching {file}"));
        let ticker = live.ticker();
        // A server can claim any size; what it sends is bounded by it.
        pitool_backup::restore::fits(directory, size)?;
        let wanted = target::Stored { name: file.clone(), size };
        let got = target.get(&wanted, &directory.join(&file), &mut |done| {
            ticker.say(format!("Fetching {file}: {} of {}", bytes(done), bytes(size)));
        });
        live.finish();
        got?;
    }
    Ok(())
}

/// Finds the archives that a person named by set or by name.
fn pick(inventory: &Inventory, what: &[String], all: bool, place: &Place<'_>) -> Result<Vec<ArchiveName>> {
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
                return Err(Failure::input(format!("there is no archive of `{word}` at {}", place.name))
                    .hint(
                        "`pitool backup list` names the sets and their archives; `--target` looks elsewhere",
                    ));
            }
        }
    }
    Ok(picked)
}
