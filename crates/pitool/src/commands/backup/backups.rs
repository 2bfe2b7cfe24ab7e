//! What every command about backups knows.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Zoned;
use pitool_backup::Identities;
use pitool_backup::job::{self, Jobs, Listener, Place};
use pitool_backup::record::Record;
use pitool_backup::restore::Unfinished;
use pitool_config::Settings;
use pitool_config::settings::Set;
use pitool_config::values::{AbsolutePath, BackupName};
use pitool_host::Command;
use pitool_host::parse::timedatectl;

use super::wanted;
use crate::failure::{Failure, Result};
use crate::session::Session;

/// What every command about backups knows.
pub(super) struct Backups<'s, 'h, 't> {
    pub(super) session: &'s Session<'h, 't>,
    pub(super) settings: Settings,
    pub(super) record: Record,
    /// The targets that are enabled, the archives' own directory first.
    pub(super) places: Vec<Place>,
    /// The sets that the command is about.
    pub(super) sets: BTreeMap<BackupName, Set>,
    /// The time, on the machine's clock.
    pub(super) now: Zoned,
    /// Whether a time server confirms it.
    pub(super) synchronized: bool,
}

impl<'s, 'h, 't> Backups<'s, 'h, 't> {
    /// Begins a command about some sets, or all.
    pub(super) fn new(session: &'s Session<'h, 't>, names: &[String]) -> Result<Self> {
        if !session.inspect().live() {
            return Err(Failure::input("backups are made and restored on the running machine only")
                .hint("leave out --root; `zstd -d` and `tar` open an archive anywhere"));
        }
        let (settings, _) = session.settings()?;
        let known = settings.backup_sets();
        for name in names {
            if !known.keys().any(|set| set.as_str() == name) {
                return Err(unknown_set(name, known.keys()));
            }
        }
        let wanted =
            |name: &BackupName| names.is_empty() || names.iter().any(|wanted| wanted == name.as_str());
        let sets: BTreeMap<BackupName, Set> = known.into_iter().filter(|(name, _)| wanted(name)).collect();
        if sets.is_empty() {
            return Err(Failure::input("there is no set to save: every one is disabled in [backup.sets]"));
        }
        let record = if session.caller.root {
            let (record, said) = Record::read_or_set_aside(session.host)?;
            if let Some(said) = said {
                session.terminal.say(format!("warning: {said}"));
            }
            record
        } else {
            Record::read(session.inspect()).map_err(|error| not_root(session, error))?
        };
        let now = session.inspect().now().to_zoned(session.clock().zone().clone());
        let synchronized = synchronized(session);
        let places = wanted::places(&settings.backup);
        Ok(Self { session, settings, record, places, sets, now, synchronized })
    }

    /// The jobs of `pitool-backup`, with what the config says of them.
    pub(super) fn jobs<'a>(&'a self, listener: &'a dyn Listener) -> Jobs<'a> {
        let backup = &self.settings.backup;
        let file = backup.identity_file.as_ref().map(AbsolutePath::as_path);
        Jobs {
            host: self.session.host,
            places: &self.places,
            directory: backup.directory.as_path(),
            identities: Identities::new(file.map(Path::to_owned)),
            machine: host_name(self.session),
            unfinished: Path::new(Unfinished::PATH),
            record: self.record.clone(),
            now: self.now.clone(),
            synchronized: self.synchronized,
            interrupted: &self.session.caller.stop,
            listener,
        }
    }

    /// The sets that the command is about, in the values of `pitool-backup`.
    pub(super) fn wanted(&self) -> Result<Vec<job::Set>> {
        self.sets.iter().map(|(name, set)| wanted::set(name, set, &self.settings.backup)).collect()
    }
}

/// Whether a time server confirms the clock. Where nobody can tell, none does.
fn synchronized(session: &Session<'_, '_>) -> bool {
    let answer = session.inspect().ask(&Command::new("timedatectl").arg("show"));
    answer.is_ok_and(|output| timedatectl::synchronized(&output.stdout) == Some(true))
}

pub(super) fn not_root(session: &Session<'_, '_>, error: pitool_host::Error) -> Failure {
    if session.caller.root {
        return error.into();
    }
    let command = &session.caller.command;
    Failure::input("only root may look at backups").hint(format!("type `sudo {command}`"))
}

fn unknown_set<'a>(name: &str, known: impl Iterator<Item = &'a BackupName>) -> Failure {
    let known: Vec<&str> = known.map(BackupName::as_str).collect();
    let near =
        known.iter().copied().filter(|known| strsim::damerau_levenshtein(name, known) <= 1 + known.len() / 4);
    let failure = Failure::input(format!("there is no set `{name}`"));
    match near.min_by_key(|known| strsim::damerau_levenshtein(name, known)) {
        Some(near) => failure.hint(format!("did you mean `{near}`?")),
        None => failure.hint(format!("the sets are {}", known.join(", "))),
    }
}

/// The name of this machine, as its archives bear it.
fn host_name(session: &Session<'_, '_>) -> String {
    let content = session.inspect().read("/etc/hostname").ok().flatten();
    content.map(|content| String::from_utf8_lossy(content.bytes()).trim().to_owned()).unwrap_or_default()
}
