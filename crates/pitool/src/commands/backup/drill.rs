//! `pitool backup drill`: restores the newest archives on trial, and has what came out prove itself.

use std::time::Instant;

use pitool_backup::record::{Deed, LOCAL, Record};
use pitool_backup::save::Progress;
use pitool_backup::{Drill, Error, Store, Stored, drill};
use pitool_config::settings::Set;
use pitool_config::values::{Argument, BackupName};
use pitool_host::text::chain;
use serde_json::json;

use super::backups::Backups;
use super::copy::reach;
use super::lock::lock;
use super::places::places;
use super::scratch::scratch;
use super::unfinished::tell_unfinished;
use crate::backup::Drilled;
use crate::cli;
use crate::exit;
use crate::failure::{Failure, Result};
use crate::render::{backup as show, bytes, json as json_out};
use crate::session::Session;

/// Drills sets.
pub(super) fn run(session: &Session<'_, '_>, command: &cli::BackupSets) -> Result<u8> {
    session.require_root()?;
    let mut backups = Backups::new(session, &command.sets)?;
    let _lock = lock(session)?;
    tell_unfinished(session)?;
    backups.record = Record::read(session.inspect())?;
    let settings = backups.settings.clone();
    let places = places(&settings.backup);
    let identities = backups.identities();
    for place in places.iter().filter(|place| place.local()) {
        reach(session.host, place, &mut backups.record, &identities, false)
            .map_err(|why| Failure::machine(format!("the archives cannot be reached: {why}")))?;
    }
    let sets = backups.sets.clone();
    let mut failed = 0;
    for (name, set) in &sets {
        let drilled = one(&backups, name, set);
        if !drilled.deed.ok {
            failed += 1;
            // An archive that fails its drill counts for nothing until it is verified.
            let known = &mut backups.record.target(LOCAL).archives;
            for archive in &drilled.damaged {
                if let Some(known) = known.get_mut(archive) {
                    known.damaged = true;
                }
            }
        }
        let record = backups.record.set(name.as_str());
        record.drill = Some(drilled.deed.clone());
        if drilled.deed.ok {
            record.drill_success = Some(drilled.deed.clone());
        }
        backups.remember()?;
        show::drilled(session.terminal, &drilled);
        if session.host.interrupted() {
            failed += 1;
            break;
        }
    }
    let code = if failed == 0 { exit::DONE } else { exit::FAILED };
    if session.terminal.json {
        let summary =
            json!({ "event": "summary", "command": "backup drill", "exit": code, "failed": failed });
        json_out::event(session.terminal, &summary);
    }
    Ok(code)
}

fn one(backups: &Backups<'_, '_, '_>, name: &BackupName, set: &Set) -> Drilled {
    let begun = Instant::now();
    let store = Store::new(backups.settings.backup.directory.as_path());
    let newest = store.list().map(|archives| {
        let of_set = archives.into_iter().filter(|stored| stored.name.set().as_str() == name.as_str());
        of_set.max_by_key(|stored| stored.name.sequence())
    });
    let mut deed = Deed {
        time: backups.now(),
        clock_synchronized: backups.synchronized,
        ok: false,
        archive: None,
        seconds: 0.0,
        files: 0,
        bytes: 0,
        problems: Vec::new(),
    };
    let (mut databases, mut damaged) = (0, Vec::new());
    match newest {
        Err(error) => deed.problems.push(chain(&error)),
        Ok(None) => deed
            .problems
            .push(format!("there is no archive of it to restore; `pitool backup run {name}` makes one")),
        Ok(Some(stored)) => {
            deed.archive = Some(stored.name.to_string());
            let data = store.with_data(&stored, &backups.identities()).map(|data| data.name.to_string());
            let both: Vec<String> = [stored.name.to_string()].into_iter().chain(data.ok()).collect();
            match trial(backups, name, set, &store, &stored) {
                Err(error) => {
                    if matches!(error, Error::Damaged { .. }) {
                        damaged.clone_from(&both);
                    }
                    deed.problems.push(chain(&error));
                }
                Ok(drilled) => {
                    if drilled.problems.iter().any(|problem| problem.path.is_some()) {
                        damaged.clone_from(&both);
                    }
                    deed.files = drilled.compared;
                    deed.bytes = drilled.restored.bytes;
                    databases = drilled.databases;
                    let mut problems: Vec<String> = drilled.problems.iter().map(show::problem).collect();
                    let more = problems.len().saturating_sub(MOST);
                    problems.truncate(MOST);
                    deed.problems = problems;
                    if more > 0 {
                        deed.problems.push(format!("and {more} more"));
                    }
                }
            }
        }
    }
    deed.ok = deed.problems.is_empty();
    deed.seconds = begun.elapsed().as_secs_f64();
    deed.time = backups.now();
    Drilled { set: name.to_string(), deed, databases, damaged }
}

/// How many problems of a drill are told one by one.
const MOST: usize = 10;

fn trial(
    backups: &Backups<'_, '_, '_>,
    name: &BackupName,
    set: &Set,
    store: &Store,
    stored: &Stored,
) -> std::result::Result<pitool_backup::Drilled, Error> {
    let session = backups.session;
    let scratch = scratch(store.directory())?;
    let check: Vec<String> = set.check.iter().map(Argument::to_string).collect();
    let identities = backups.identities();
    let job = Drill {
        store,
        archive: stored,
        identities: &identities,
        scratch: &scratch,
        check: &check,
        limit: set.command_timeout.into(),
        thorough: true,
        host: session.host,
        interrupted: &session.caller.stop,
    };
    let live = &session.terminal.live;
    live.start(0, &format!("Restoring {name} on trial"));
    let ticker = live.ticker();
    let drilled = drill(&job, &move |progress: Progress| {
        ticker.say(format!("Restoring on trial: {} files, {}", progress.files, bytes(progress.bytes)));
    });
    live.finish();
    drilled
}
