//! `pitool backup …`: saving, looking, restoring, deleting.
//!
//! The crate `pitool-backup` does the work on one set, one directory or one target; what happens when, to which of
//! them, is decided here. Whatever changes something holds the lock of backups, which is another one than that of
//! runs: a backup of hours must not keep `pitool apply` waiting.

mod copy;
mod drill;
mod inventory;
mod list;
mod places;
mod prune;
mod restore;
mod run;
mod stats;
mod verify;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use jiff::Zoned;
use pitool_backup::record::{self, Record};
use pitool_backup::restore::Unfinished;
use pitool_backup::{Identities, metrics, quiet};
use pitool_config::Settings;
use pitool_config::settings::{Containers, Set};
use pitool_config::values::{AbsolutePath, BackupName};
use pitool_host::parse::timedatectl;
use pitool_host::{Access, Command, Lock, LockHolder};

use crate::cli;
use crate::exit;
use crate::failure::{Class, Failure, Result, causes};
use crate::render::bytes;
use crate::session::Session;

/// The lock of everything that writes archives, or stops something for their sake.
const LOCK: &str = "/run/pitool/backup.lock";

/// How long a backup that a timer started waits for another one: a first upload may take a night.
const PATIENCE: Duration = Duration::from_secs(12 * 60 * 60);

/// Runs one of the commands.
pub(crate) fn run(session: &Session<'_, '_>, command: &cli::Backup) -> Result<u8> {
    match command {
        cli::Backup::Run(command) => run::run(session, command),
        cli::Backup::List(command) => list::run(session, command),
        cli::Backup::Verify(command) => verify::run(session, command),
        cli::Backup::Restore(command) => restore::run(session, command),
        cli::Backup::Prune(command) => prune::run(session, command),
        cli::Backup::Stats(command) => stats::run(session, command),
        cli::Backup::Drill(command) => drill::run(session, command),
        cli::Backup::Recover => recover(session),
    }
}

/// What every command about backups knows.
pub(super) struct Backups<'s, 'h, 't> {
    session: &'s Session<'h, 't>,
    settings: Settings,
    record: Record,
    /// The sets that the command is about.
    sets: BTreeMap<BackupName, Set>,
    /// The time, on the machine's clock.
    now: Zoned,
    /// Whether a time server confirms it.
    synchronized: bool,
}

impl<'s, 'h, 't> Backups<'s, 'h, 't> {
    /// Begins a command about some sets, or all.
    fn new(session: &'s Session<'h, 't>, names: &[String]) -> Result<Self> {
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
        Ok(Self { session, settings, record, sets, now, synchronized })
    }

    /// What opens encrypted archives here.
    fn identities(&self) -> Identities {
        let file = self.settings.backup.identity_file.as_ref().map(AbsolutePath::as_path);
        Identities::new(file.map(std::path::Path::to_owned))
    }

    /// Writes down what is known now, and the figures for a metrics collector.
    fn remember(&self) -> Result<()> {
        let host = self.session.host;
        self.record.write(host)?;
        host.write(metrics::PATH, metrics::render(&self.record).as_bytes(), Access::root(0o644))?;
        Ok(())
    }

    /// Adds what a later look cannot find out: when and with what confidence.
    fn now(&self) -> jiff::Timestamp {
        self.session.inspect().now()
    }
}

/// Whether a time server confirms the clock. Where nobody can tell, none does.
fn synchronized(session: &Session<'_, '_>) -> bool {
    let answer = session.inspect().ask(&Command::new("timedatectl").arg("show"));
    answer.is_ok_and(|output| timedatectl::synchronized(&output.stdout) == Some(true))
}

fn not_root(session: &Session<'_, '_>, error: pitool_host::Error) -> Failure {
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

/// Takes the lock of backups. A backup that a timer started waits for another one; a person is told who holds it.
fn lock(session: &Session<'_, '_>) -> Result<Box<dyn Lock>> {
    let host = session.host;
    let holder = LockHolder {
        pid: std::process::id(),
        since: host.now().to_string(),
        command: session.caller.command.clone(),
    };
    let patient = host.variable("INVOCATION_ID").is_some();
    let mut waited = Duration::ZERO;
    loop {
        let held = match host.lock(LOCK, &holder)? {
            Ok(lock) => return Ok(lock),
            Err(held) => held,
        };
        if !patient || waited >= PATIENCE || host.interrupted() {
            return Err(Failure {
                exit: exit::LOCKED,
                ..Failure::machine(format!(
                    "another backup is at work: `{}`, process {}, since {}; nothing was changed",
                    held.command,
                    held.pid,
                    session.clock().tell(&held.since)
                ))
            }
            .hint("wait until it is done, then try again"));
        }
        if waited.is_zero() {
            session.terminal.mention(format!("Waiting for `{}`, process {}.", held.command, held.pid));
        }
        host.sleep(Duration::from_secs(2));
        waited += Duration::from_secs(2);
    }
}

/// Starts what a backup that was cut off had stopped, and says so.
fn wake(session: &Session<'_, '_>) -> Result<usize> {
    let woken = quiet::recover(session.host).map_err(|error| {
        Failure::machine("what an earlier backup had stopped does not start again")
            .because(&error)
            .hint(format!("{} says what it is; start it by hand, then remove that file", quiet::RECORD))
    })?;
    if !woken.is_empty() {
        let names = quiet::names(&woken);
        session.terminal.say(format!("Started again, because an earlier backup was cut off: {names}."));
    }
    tell_unfinished(session)?;
    Ok(woken.len())
}

/// Says that a restore was cut off and what to do about it, until it was done again.
fn tell_unfinished(session: &Session<'_, '_>) -> Result<()> {
    let Some(unfinished) = Unfinished::read(Path::new(Unfinished::PATH))? else { return Ok(()) };
    let Unfinished { archive, target, paths, since, safety } = unfinished;
    let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    let away = target
        .filter(|target| target != pitool_backup::record::LOCAL)
        .map_or_else(String::new, |target| format!(" --target {target}"));
    let since = session.clock().show(&since.to_string());
    let before = safety.map_or_else(String::new, |safety| format!(" What was there before is in {safety}."));
    session.terminal.say(format!(
        "A restore of {archive} was cut off at {since}: what is in {} is partly the archive's and partly older. \
         Run it again: `pitool backup restore{away} {archive} {}`.{before}",
        paths.join(", "),
        paths.join(" ")
    ));
    Ok(())
}

fn recover(session: &Session<'_, '_>) -> Result<u8> {
    session.require_root()?;
    let _lock = match lock(session) {
        // It is at work, so that what it stopped rests with good reason.
        Err(failure) if failure.exit == exit::LOCKED => {
            session.terminal.mention(failure.message);
            return Ok(exit::DONE);
        }
        other => other?,
    };
    record::prepare(session.host)?;
    let woken = wake(session)?;
    if session.terminal.json {
        let document = serde_json::json!({ "command": "backup recover", "started": woken });
        crate::render::json::document(session.terminal, &document);
    } else if woken == 0 {
        session.terminal.mention("Nothing was left stopped.");
    }
    Ok(exit::DONE)
}

/// How the containers of a set rest.
fn rest(set: &Set) -> Option<quiet::Rest> {
    match set.containers {
        Containers::Running => None,
        Containers::Paused => Some(quiet::Rest::Paused),
        Containers::Stopped => Some(quiet::Rest::Stopped),
    }
}

/// Asks a person on a terminal; whoever is none has to say `--yes`.
fn confirm(session: &Session<'_, '_>, question: &str, yes: bool) -> Result<()> {
    use std::io::{BufRead, IsTerminal};
    if yes {
        return Ok(());
    }
    let stdin = std::io::stdin();
    if !stdin.is_terminal() || session.terminal.json {
        return Err(Failure::input("nobody is there to ask; nothing was changed").hint("add `--yes`"));
    }
    session.terminal.say(format!("{question} [y/N] "));
    let mut answer = String::new();
    stdin
        .lock()
        .read_line(&mut answer)
        .map_err(|error| Failure::machine("cannot read the answer").because(&error))?;
    if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(Failure { class: Class::Input, ..Failure::input("nothing was changed") })
}

impl From<pitool_backup::Error> for Failure {
    fn from(error: pitool_backup::Error) -> Self {
        let exit = if matches!(error, pitool_backup::Error::Locked(_)) { exit::LOCKED } else { exit::FAILED };
        let message = match &error {
            pitool_backup::Error::Space { directory, needed, available } => {
                let (needed, available) = (bytes(*needed), bytes(*available));
                format!("{} has {available} free, and {needed} are needed", directory.display())
            }
            error => error.to_string(),
        };
        Failure { exit, causes: causes(&error), ..Failure::machine(message) }
    }
}

impl From<pitool_backup::target::Error> for Failure {
    fn from(error: pitool_backup::target::Error) -> Self {
        Failure::machine(words(&error))
    }
}

/// An error with its causes in one line.
pub(super) fn words(error: &dyn std::error::Error) -> String {
    std::iter::once(error.to_string()).chain(causes(error)).collect::<Vec<_>>().join(": ")
}
