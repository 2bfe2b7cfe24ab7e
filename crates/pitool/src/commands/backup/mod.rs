//! `pitool backup …`: saving, looking, restoring, deleting.
//!
//! The crate `pitool-backup` does the work and decides what happens when; here it is given the values of the config
//! (`wanted`), and what it reports is shown (`hear`). Whatever changes something holds the lock of backups, which is
//! another one than that of runs: a backup of hours must not keep `pitool apply` waiting.

mod backups;
mod confirm;
mod drill;
mod failure;
mod hear;
mod list;
mod lock;
mod prune;
mod restore;
mod run;
mod stats;
mod verify;
mod wanted;

use std::path::Path;

use pitool_backup::restore::Unfinished;
use pitool_backup::{job, record};

use crate::cli;
use crate::exit;
use crate::failure::Result;
use crate::session::Session;
use hear::Hear;
use lock::lock;

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

fn recover(session: &Session<'_, '_>) -> Result<u8> {
    session.require_root()?;
    let _lock = match lock(session) {
        // It is still running, so what it stopped is stopped for a reason.
        Err(failure) if failure.exit == exit::LOCKED => {
            session.terminal.mention(failure.message);
            return Ok(exit::DONE);
        }
        other => other?,
    };
    record::prepare(session.host)?;
    let woken = job::wake(session.host, Path::new(Unfinished::PATH), &Hear(session))?;
    if session.terminal.json {
        let document = serde_json::json!({ "command": "backup recover", "started": woken });
        crate::render::json::document(session.terminal, &document);
    } else if woken == 0 {
        session.terminal.mention("Nothing was left stopped.");
    }
    Ok(exit::DONE)
}
