//! `pitool backup run`: saves sets, verifies the archives, copies them to their targets, deletes old ones.

use serde_json::json;

use super::backups::Backups;
use super::hear::Hear;
use super::lock::lock;
use crate::cli;
use crate::exit;
use crate::failure::Result;
use crate::render::json as json_out;
use crate::session::Session;

/// Saves sets.
pub(super) fn run(session: &Session<'_, '_>, command: &cli::BackupRun) -> Result<u8> {
    session.require_root()?;
    let backups = Backups::new(session, &command.sets.sets)?;
    let _lock = lock(session)?;
    let hear = Hear(session);
    let mut jobs = backups.jobs(&hear);
    jobs.begin()?;
    let sets = backups.wanted()?;
    let outcomes = jobs.run(&sets, command.adopt)?;
    let failed = outcomes.iter().filter(|outcome| !outcome.deed.ok).count();
    let code = if failed == 0 && outcomes.len() == sets.len() { exit::DONE } else { exit::FAILED };
    if session.terminal.json {
        let summary = json!({ "event": "summary", "command": "backup run", "exit": code,
            "sets": outcomes.len(), "failed": failed });
        json_out::event(session.terminal, &summary);
    }
    Ok(code)
}
