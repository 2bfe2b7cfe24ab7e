//! `pitool backup restore`: brings files back, in their place or somewhere else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use pitool_backup::quiet::{self, Quiet, Rest};
use pitool_backup::record::{self, Record};
use pitool_backup::restore::{Destination, Restore, Restored, Safety, Unfinished, restore};
use pitool_backup::save::Progress;
use pitool_backup::target::Target;
use pitool_backup::{ArchiveName, Error, Store, Stored, StoredPath, manifest};
use pitool_config::settings::Set;
use pitool_config::values::UnitName;
use serde_json::json;

use super::copy::reach;
use super::inventory::{Files, Inventory};
use super::places::{Place, places};
use super::run::{host_name, scratch};
use super::verify::named;
use super::{Backups, confirm, lock, wake, words};
use crate::cli;
use crate::exit;
use crate::failure::{Failure, Result};
use crate::render::{backup as show, bytes, json as json_out};
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
        let got = target.get(&file, &directory.join(&file), &mut |done| {
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

/// Restores an archive or a part of it.
pub(super) fn run(session: &Session<'_, '_>, command: &cli::BackupRestore) -> Result<u8> {
    session.require_root()?;
    let only = stored_paths(&command.paths)?;
    let mut backups = Backups::new(session, &[])?;
    let _lock = lock(session)?;
    backups.record = Record::read(session.inspect())?;
    record::prepare(session.host)?;
    wake(session)?;
    let settings = backups.settings.clone();
    let places = places(&settings.backup);
    let place = named(&places, command.target.as_deref())?;
    let source = source(&mut backups, place, std::slice::from_ref(&command.what), false)?;
    let Some(stored) = source.archives.first() else { return Err(Failure::bug("no archive was picked")) };
    let summary = source.store.summary(stored, &backups.identities())?;
    let roots: Vec<StoredPath> = match only.is_empty() {
        true => summary.header.roots.clone(),
        false => only.clone(),
    };
    let destination = match &command.to {
        Some(directory) => Destination::Directory(absolute(directory)?),
        None => Destination::InPlace,
    };
    let name = stored.name.to_string();
    if destination == Destination::InPlace {
        let made = session.clock().show(&stored.name.time().to_string());
        let what: Vec<String> = roots.iter().map(|root| root.absolute().display().to_string()).collect();
        let question = format!("Replace {} with {name}, made {made}?", what.join(", "));
        confirm(session, &question, command.yes)?;
    }
    let target = Some(place.name.as_str());
    let job = Work { backups: &backups, source: &source, stored, target, only: &only, command };
    let restored = match &destination {
        Destination::Directory(_) => job.restore(&destination)?,
        Destination::InPlace => job.in_place(&roots)?,
    };
    backups.remember()?;
    let replaced = restored.safety.as_ref().map(ToString::to_string);
    let code = if restored.problems.is_empty() { exit::DONE } else { exit::FAILED };
    if session.terminal.json {
        let problems: Vec<String> = restored.problems.iter().map(show::problem).collect();
        let spared = restored.spared.iter();
        let spared: Vec<_> =
            spared.map(|one| json!({ "path": one.path, "why": one.why.to_string() })).collect();
        json_out::document(
            session.terminal,
            &json!({ "command": "backup restore", "archive": name, "entries": restored.entries,
                "bytes": restored.bytes, "deleted": restored.deleted, "seconds": restored.duration.as_secs_f64(),
                "replaced": replaced, "spared": spared, "problems": problems, "exit": code }),
        );
    } else {
        show::restored(session.terminal, &name, &restored, replaced.as_deref());
    }
    Ok(code)
}

/// One restore at work.
struct Work<'a, 's, 'h, 't> {
    backups: &'a Backups<'s, 'h, 't>,
    source: &'a Source,
    stored: &'a Stored,
    target: Option<&'a str>,
    only: &'a [StoredPath],
    command: &'a cli::BackupRestore,
}

impl Work<'_, '_, '_, '_> {
    fn restore(&self, destination: &Destination) -> Result<Restored> {
        let session = self.backups.session;
        let identities = self.backups.identities();
        let directory = self.backups.settings.backup.directory.as_path();
        let own = Store::new(directory);
        let scratch = scratch(directory)?;
        let host = host_name(session);
        let recipients: Vec<String> =
            self.backups.settings.backup.recipients.iter().map(ToString::to_string).collect();
        let safety = Safety { store: &own, scratch: &scratch, host: &host, recipients: &recipients };
        let job = Restore {
            store: &self.source.store,
            archive: self.stored,
            identities: &identities,
            destination,
            only: self.only,
            devices: *destination == Destination::InPlace,
            exact: self.command.exact,
            safety: (*destination == Destination::InPlace && !self.command.no_copy).then_some(safety),
            journal: Some(Path::new(Unfinished::PATH)),
            target: self.target,
            interrupted: &session.caller.stop,
        };
        let live = &session.terminal.live;
        live.start(0, &format!("Restoring {}", self.stored.name));
        let ticker = live.ticker();
        let restored = restore(&job, &move |progress: Progress| {
            ticker.say(format!("Restoring: {} files, {}", progress.files, bytes(progress.bytes)));
        });
        live.finish();
        restored.map_err(|error| match &error {
            Error::Space { .. } => {
                let failure = Failure::from(error);
                let message = format!("{}; nothing was restored", failure.message);
                Failure { message, ..failure }.hint(
                    "make room there, name a PATH to restore only that, or restore to another disk with `--to DIR`",
                )
            }
            _ => error.into(),
        })
    }

    /// Restores where it came from: whoever uses the files rests meanwhile, and what is replaced is kept.
    fn in_place(&self, roots: &[StoredPath]) -> Result<Restored> {
        let session = self.backups.session;
        let paths: Vec<PathBuf> = roots.iter().map(StoredPath::absolute).collect();
        // Of every set that has them: an archive of what a restore replaced is of none of them.
        let concerned = |set: &&Set| {
            let mut own = set.paths.iter().chain(&set.optional).map(|path| path.as_path());
            own.any(|own| paths.iter().any(|path| path.starts_with(own) || own.starts_with(path)))
        };
        let known = self.backups.settings.backup_sets();
        let disabled = self.backups.settings.backup.sets.values();
        let sets = known.values().chain(disabled).filter(concerned);
        let units: BTreeSet<String> = sets.flat_map(|set| &set.services).map(UnitName::to_string).collect();
        let units: Vec<String> = units.into_iter().collect();
        let quiet = Quiet::begin(session.host, Some(Rest::Stopped), &paths, &units).map_err(|error| {
            Failure::machine("what uses these files cannot be stopped; nothing was restored").because(&error)
        })?;
        let resting = quiet::names(quiet.resting());
        if !resting.is_empty() {
            session.terminal.mention(format!("Stopped meanwhile: {resting}."));
        }
        let done = self.restore(&Destination::InPlace).and_then(|restored| {
            self.forget_old()?;
            Ok(restored)
        });
        let woken = quiet.end();
        let done = done?;
        if let Err(error) = woken {
            return Err(Failure::machine(
                "the files are restored, but what was stopped does not start again",
            )
            .because(&error)
            .hint(format!("look why, then start it: {resting}")));
        }
        Ok(done)
    }

    /// Keeps what the last few restores replaced, not of all.
    fn forget_old(&self) -> Result<()> {
        let store = Store::new(self.backups.settings.backup.directory.as_path());
        let mut kept = store.of_set(&Safety::SET.parse()?)?;
        kept.sort_by_key(|stored| stored.name.sequence());
        let old = kept.len().saturating_sub(KEPT);
        for stored in kept.iter().take(old) {
            store.remove(&stored.name).map_err(|error| Failure::machine(words(&error)))?;
        }
        Ok(())
    }
}

/// How many restores' replaced files are kept.
const KEPT: usize = 3;

/// Paths as they are in an archive.
fn stored_paths(paths: &[PathBuf]) -> Result<Vec<StoredPath>> {
    let stored = |path: &PathBuf| {
        let path = path.clone();
        StoredPath::of(&path).ok_or_else(|| {
            Failure::input(format!("{} cannot be in an archive", path.display()))
                .hint("write the path as it was on the machine, without `..`")
        })
    };
    paths.iter().map(stored).collect()
}

fn absolute(directory: &Path) -> Result<PathBuf> {
    std::path::absolute(directory)
        .map_err(|error| Failure::input(format!("{} is no directory", directory.display())).because(&error))
}
