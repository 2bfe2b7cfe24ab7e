//! `pitool backup verify`: are archives as they were written?

use std::time::Instant;

use pitool_backup::record::{ArchiveRecord, Record};
use pitool_backup::save::{Progress, Saved};
use pitool_backup::{Depth, Error, Store, Stored, Verified, manifest, verify};
use pitool_host::text::chain;
use serde_json::json;

use super::backups::Backups;
use super::lock::lock;
use super::places::{named, places};
use super::source::{Source, source};
use super::unfinished::tell_unfinished;
use crate::cli;
use crate::exit;
use crate::failure::Result;
use crate::render::{backup as show, bytes, count, json as json_out};
use crate::session::Session;

/// Verifies archives.
pub(super) fn run(session: &Session<'_, '_>, command: &cli::BackupVerify) -> Result<u8> {
    session.require_root()?;
    let mut backups = Backups::new(session, &[])?;
    // Nothing may be deleted meanwhile, and what is found is written down.
    let _lock = lock(session)?;
    tell_unfinished(session)?;
    backups.record = Record::read(session.inspect())?;
    let settings = backups.settings.clone();
    let places = places(&settings.backup);
    let place = named(&places, command.target.as_deref())?;
    let chosen = chosen(&backups, &command.what);
    let Source { store, archives, fetched: _fetched } = source(&mut backups, place, &chosen, command.all)?;
    let depth = if command.full { Depth::Full } else { Depth::Quick };
    let mut bad = 0;
    for stored in &archives {
        let begun = Instant::now();
        let found = one(&backups, &store, stored, depth)?;
        let name = stored.name.to_string();
        let now = session.inspect().now();
        let damaged = !found.problems.is_empty();
        bad += usize::from(damaged);
        // Of an archive that says that nothing has changed, the data are in another one.
        let data = store.with_data(stored, &backups.identities()).map(|data| data.name.to_string());
        let known = backups.record.target(&place.name);
        if let (true, Ok(data)) = (damaged, data) {
            if let Some(known) = known.archives.get_mut(&data) {
                known.damaged = true;
            }
        }
        match known.archives.get_mut(&name) {
            Some(known) => (known.verified, known.damaged) = (now, damaged),
            None => remember(&store, stored, &settings, known, (now, damaged)),
        }
        if session.terminal.json {
            let problems: Vec<String> = found.problems.iter().map(show::problem).collect();
            let event = json!({ "event": "verified", "archive": name, "target": place.name, "full": command.full,
                "entries": found.entries, "bytes": found.bytes, "problems": problems,
                "seconds": begun.elapsed().as_secs_f64() });
            json_out::event(session.terminal, &event);
        } else {
            show::verified(session.terminal, &name, &found, begun.elapsed());
        }
    }
    backups.remember()?;
    let code = if bad == 0 { exit::DONE } else { exit::FAILED };
    if session.terminal.json {
        let summary = json!({ "event": "summary", "command": "backup verify", "exit": code,
            "archives": archives.len(), "damaged": bad });
        json_out::event(session.terminal, &summary);
    } else if bad > 0 {
        session.terminal.say(format!("Damaged: {bad} of {}.", count(archives.len(), "archive")));
    }
    Ok(code)
}

/// What the person named, or every set.
fn chosen(backups: &Backups<'_, '_, '_>, what: &[String]) -> Vec<String> {
    match what {
        [] => backups.sets.keys().map(ToString::to_string).collect(),
        some => some.to_vec(),
    }
}

/// Writes down an archive that nobody knew.
fn remember(
    store: &Store,
    stored: &Stored,
    settings: &pitool_config::Settings,
    known: &mut pitool_backup::record::TargetRecord,
    (verified, damaged): (jiff::Timestamp, bool),
) {
    let file = settings.backup.identity_file.as_ref().map(|file| file.as_path().to_owned());
    let Ok(summary) = store.summary(stored, &pitool_backup::Identities::new(file)) else { return };
    let (size, refers_to) = match summary.seal {
        manifest::Seal::Archive { size, .. } => (size, None),
        manifest::Seal::UnchangedSince(other) => (0, Some(other.to_string())),
    };
    let record = ArchiveRecord { verified, damaged, size, bytes: summary.end.bytes, refers_to };
    known.archives.insert(stored.name.to_string(), record);
}

/// Looks at one archive, with a line of progress; what keeps it from being looked at is a problem of it.
fn one(backups: &Backups<'_, '_, '_>, store: &Store, stored: &Stored, depth: Depth) -> Result<Verified> {
    let session = backups.session;
    let live = &session.terminal.live;
    live.start(0, &format!("Verifying {}", stored.name));
    let ticker = live.ticker();
    let name = stored.name.to_string();
    let hear = move |progress: Progress| ticker.say(format!("Verifying {name}: {}", bytes(progress.bytes)));
    let found = verify(store, stored, &backups.identities(), depth, &session.caller.stop, &hear);
    live.finish();
    match found {
        Ok(found) => Ok(found),
        Err(error @ (Error::Damaged { .. } | Error::NoArchive { .. })) => {
            let problem = pitool_backup::restore::Problem { path: None, why: chain(&error) };
            Ok(Verified { problems: vec![problem], ..Verified::default() })
        }
        Err(error) => Err(error.into()),
    }
}

/// Reads an archive back from the disk right after it was written; gives its size.
pub(super) fn after_writing(
    backups: &Backups<'_, '_, '_>,
    saved: &Saved,
) -> std::result::Result<u64, String> {
    let store = Store::new(backups.settings.backup.directory.as_path());
    let size = match saved.seal {
        manifest::Seal::Archive { size, .. } => size,
        // Nothing was written but the manifest; the archive that has the data was verified when it was made.
        manifest::Seal::UnchangedSince(_) => return Ok(0),
    };
    let stored = store.find(&saved.name).map_err(|error| chain(&error))?;
    let identities = backups.identities();
    if stored.encrypted && identities.is_empty() {
        // Only the others can open it. What can be told without a key is its size.
        return match stored.size == size {
            true => Ok(size),
            false => {
                Err(format!("{} has {} bytes on the disk, and {size} were written", saved.name, stored.size))
            }
        };
    }
    let found = one(backups, &store, &stored, Depth::Quick).map_err(|failure| failure.message)?;
    match found.problems.first() {
        None => Ok(size),
        Some(problem) => {
            Err(format!("what was written does not come back from the disk: {}", show::problem(problem)))
        }
    }
}
