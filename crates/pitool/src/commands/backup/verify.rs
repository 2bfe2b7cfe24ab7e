//! `pitool backup verify`: are archives as they were written?

use pitool_backup::{Depth, job};
use serde_json::json;

use super::backups::Backups;
use super::hear::Hear;
use super::lock::lock;
use crate::cli;
use crate::exit;
use crate::failure::Result;
use crate::render::{count, json as json_out};
use crate::session::Session;

/// Verifies archives.
pub(super) fn run(session: &Session<'_, '_>, command: &cli::BackupVerify) -> Result<u8> {
    session.require_root()?;
    let backups = Backups::new(session, &[])?;
    // Nothing may be deleted meanwhile, and what is found is written down.
    let _lock = lock(session)?;
    let hear = Hear(session);
    let mut jobs = backups.jobs(&hear);
    jobs.begin()?;
    jobs.report_unfinished()?;
    let place = job::named(&backups.places, command.target.as_deref())?;
    let what = match command.what.as_slice() {
        [] => backups.sets.keys().map(ToString::to_string).collect(),
        some => some.to_vec(),
    };
    let depth = if command.full { Depth::Full } else { Depth::Quick };
    let checked = jobs.verify(place, &what, command.all, depth)?;
    let bad = checked.iter().filter(|one| !one.found.problems.is_empty()).count();
    let code = if bad == 0 { exit::DONE } else { exit::FAILED };
    if session.terminal.json {
        let summary = json!({ "event": "summary", "command": "backup verify", "exit": code,
            "archives": checked.len(), "damaged": bad });
        json_out::event(session.terminal, &summary);
    } else if bad > 0 {
        session.terminal.say(format!("Damaged: {bad} of {}.", count(checked.len(), "archive")));
    }
    Ok(code)
}
