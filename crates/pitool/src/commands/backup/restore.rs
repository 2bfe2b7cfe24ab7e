//! `pitool backup restore`: brings files back, in their place or somewhere else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use pitool_backup::quiet::{self, Quiet, Rest};
use pitool_backup::record::{self, Record};
use pitool_backup::restore::{Destination, Prepared, Restore, Restored, Safety, Unfinished};
use pitool_backup::save::Progress;
use pitool_backup::{Error, Store, Stored, StoredPath, manifest};
use pitool_config::settings::{MACHINE, Set};
use pitool_config::values::{BackupName, UnitName};
use pitool_host::text::chain;
use pitool_host::{Command, Host};
use serde_json::json;

use super::backups::{Backups, host_name};
use super::confirm::confirm;
use super::lock::lock;
use super::places::{named, places};
use super::scratch::scratch;
use super::source::{Source, source};
use super::unfinished::wake;
use crate::cli;
use crate::exit;
use crate::failure::{Failure, Result};
use crate::render::{backup as show, bytes, json as json_out};
use crate::session::Session;

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
    let destination = match &command.to {
        Some(directory) => Destination::Directory(absolute(directory)?),
        None => Destination::InPlace,
    };
    let name = stored.name.to_string();
    let target = Some(place.name.as_str());
    let job = Work { backups: &backups, source: &source, stored, target, only: &only, command };
    let restored = job.carry_out(&destination)?;
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
    /// Looks at everything first, so that what cannot be restored stops nothing; then asks, and restores.
    fn carry_out(&self, destination: &Destination) -> Result<Restored> {
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
        let prepared = job.prepare().map_err(explained)?;
        match destination {
            Destination::Directory(_) => self.restore(prepared),
            Destination::InPlace => self.in_place(prepared),
        }
    }

    fn restore(&self, prepared: Prepared<'_>) -> Result<Restored> {
        let session = self.backups.session;
        let live = &session.terminal.live;
        live.start(0, &format!("Restoring {}", self.stored.name));
        let ticker = live.ticker();
        let restored = prepared.run(&move |progress: Progress| {
            ticker.say(format!("Restoring: {} files, {}", progress.files, bytes(progress.bytes)));
        });
        live.finish();
        restored.map_err(explained)
    }

    /// Restores where it came from: whoever uses the files rests meanwhile, and what is replaced is kept.
    fn in_place(&self, prepared: Prepared<'_>) -> Result<Restored> {
        let session = self.backups.session;
        if let (true, false, Some(header)) =
            (self.only.is_empty(), self.command.unlisted_paths, prepared.header())
        {
            listed(self.backups, header)?;
        }
        let paths = prepared.concerned();
        let made = session.clock().show(&self.stored.name.time().to_string());
        let what: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        let question = format!("Replace {} with {}, made {made}?", what.join(", "), self.stored.name);
        confirm(session, &question, self.command.yes)?;
        let units = units(&self.backups.settings, &paths);
        // Before anything is stopped: this process may be killed at any moment.
        let watch = Watch::begin(session.host);
        let quiet = Quiet::begin(session.host, Some(Rest::Stopped), &paths, &units).map_err(|error| {
            Failure::machine("what uses these files cannot be stopped; nothing was restored").because(&error)
        })?;
        if let Some(restless) = quiet.restless().first() {
            let why = restless.advice("services");
            let woken = quiet.end();
            let failure = Failure::machine("something writes to these files; nothing was restored").hint(why);
            return Err(match woken {
                Ok(_) => failure,
                Err(error) => failure.because(&error),
            });
        }
        let resting = quiet::names(quiet.resting());
        if !resting.is_empty() {
            session.terminal.mention(format!("Stopped meanwhile: {resting}."));
        }
        let done = self.restore(prepared).and_then(|restored| {
            self.forget_old()?;
            Ok(restored)
        });
        let woken = quiet.end();
        drop(watch);
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
            store.remove(&stored.name).map_err(|error| Failure::machine(chain(&error)))?;
        }
        Ok(())
    }
}

/// Says what to do about an error.
fn explained(error: Error) -> Failure {
    match &error {
        Error::Space { .. } => {
            let failure = Failure::from(error);
            let message = format!("{}; nothing was restored", failure.message);
            Failure { message, ..failure }.hint(
                "make room there, name a PATH to restore only that, or restore to another disk with `--to DIR`",
            )
        }
        Error::NotSaved { .. } => Failure::input(format!("{error}; nothing was restored")).hint(
            "name a path as it was on the machine; `zstd -dc ARCHIVE | tar t` lists what an archive has",
        ),
        _ => error.into(),
    }
}

/// Requires that the set in the config has the paths that an archive was made of.
///
/// Encryption does not say who wrote an archive: whoever can write to a target can put one there that was made of
/// other paths, /etc or /root.
fn listed(backups: &Backups<'_, '_, '_>, header: &manifest::Header) -> Result<()> {
    let settings = &backups.settings;
    let known = settings.backup_sets();
    let disabled = settings.backup.sets.iter().filter(|(name, _)| !known.contains_key(*name));
    // What a restore replaced was of any set.
    let is_safety = header.set.as_str() == Safety::SET;
    let own = |(name, _): &(&BackupName, &Set)| is_safety || name.as_str() == header.set.as_str();
    let mut paths: Vec<PathBuf> = Vec::new();
    let mut volumes: Vec<String> = Vec::new();
    for (_, set) in known.iter().chain(disabled).filter(own) {
        let all = set.paths.iter().chain(&set.optional).chain(&set.databases);
        paths.extend(all.map(|path| path.as_path().to_owned()));
        volumes.extend(set.volumes.iter().map(ToString::to_string));
    }
    // Where Docker does not know a volume, its directory is one that the set does not have.
    paths.extend(quiet::volumes(backups.session.host.inspect(), &volumes).unwrap_or_default());
    let other = header.roots.iter().map(StoredPath::absolute);
    let other: Vec<PathBuf> = other.filter(|root| !paths.iter().any(|path| root.starts_with(path))).collect();
    if other.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = other.iter().map(|path| path.display().to_string()).collect();
    Err(Failure::input(format!(
        "the archive was made of paths that the set {} in the config does not have: {}; nothing was restored",
        header.set,
        names.join(", ")
    ))
    .hint("add them to the set, name the paths to restore, or, if you trust who wrote the archive, add `--unlisted-paths`"))
}

/// The units that are stopped while these paths are replaced: those of every set that has any of them. An archive of
/// what a restore replaced is of none of them.
fn units(settings: &pitool_config::Settings, paths: &[PathBuf]) -> Vec<String> {
    let meet = |own: &Path| paths.iter().any(|path| path.starts_with(own) || own.starts_with(path));
    let known = settings.backup_sets();
    let disabled = settings.backup.sets.iter().filter(|(name, _)| !known.contains_key(*name));
    let mut units: BTreeSet<String> = BTreeSet::new();
    for (name, set) in known.iter().chain(disabled) {
        // The set that is there without being named has nginx, which reads nothing else of it.
        let built_in = name.as_str() == MACHINE && !settings.backup.sets.contains_key(name);
        let concerned = match built_in {
            true => NGINX.iter().any(|path| meet(Path::new(path))),
            false => set.paths.iter().chain(&set.optional).any(|path| meet(path.as_path())),
        };
        if concerned {
            units.extend(set.services.iter().map(UnitName::to_string));
        }
    }
    units.into_iter().collect()
}

/// What nginx reads of the built-in set.
const NGINX: [&str; 2] = ["/etc/nginx", "/etc/letsencrypt"];

/// Starts what was stopped should this process end without doing so, killed or out of memory.
///
/// `pitool backup recover` as a unit of its own waits for the lock of backups, which this process holds while it is
/// alive. Where there is no systemd-run, the next backup or boot does it.
struct Watch<'h> {
    host: &'h dyn Host,
    unit: String,
}

impl<'h> Watch<'h> {
    fn begin(host: &'h dyn Host) -> Self {
        let unit = format!("pitool-restore-{}.service", std::process::id());
        let command = Command::new("systemd-run").args(["--quiet", "--collect", "--unit", &unit]).args([
            "--description=Start what a restore has stopped, should it be killed",
            "pitool",
            "backup",
            "recover",
        ]);
        let _without = host.run(&command);
        Self { host, unit }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        // It waits and has done nothing yet.
        let _gone = self.host.run(&Command::new("systemctl").args(["kill", "--signal=KILL", &self.unit]));
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
