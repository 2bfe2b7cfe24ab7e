//! `pitool backup drill`: restores the newest archives on trial, and has what came out prove itself.

use serde_json::json;

use super::backups::Backups;
use super::hear::Hear;
use super::lock::lock;
use crate::cli;
use crate::exit;
use crate::failure::Result;
use crate::render::json as json_out;
use crate::session::Session;

/// Drills sets.
pub(super) fn run(session: &Session<'_, '_>, command: &cli::BackupSets) -> Result<u8> {
    session.require_root()?;
    let backups = Backups::new(session, &command.sets)?;
    let _lock = lock(session)?;
    let hear = Hear(session);
    let mut jobs = backups.jobs(&hear);
    jobs.begin()?;
    jobs.report_unfinished()?;
    let drilled = jobs.drill(&backups.wanted()?)?;
    let failed = drilled.iter().filter(|one| !one.deed.ok).count() + usize::from(session.host.interrupted());
    let code = if failed == 0 { exit::DONE } else { exit::FAILED };
    if session.terminal.json {
        let summary =
            json!({ "event": "summary", "command": "backup drill", "exit": code, "failed": failed });
        json_out::event(session.terminal, &summary);
    }
    Ok(code)
}
