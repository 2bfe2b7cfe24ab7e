//! `pitool backup prune`: deletes archives that no rule wants, or shows which ones and why.

use pitool_backup::job;
use serde_json::json;

use super::backups::Backups;
use super::confirm::confirm;
use super::hear::Hear;
use super::lock::lock;
use crate::cli;
use crate::exit;
use crate::failure::Result;
use crate::render::{backup as show, count, json as json_out};
use crate::session::Session;

/// Deletes, or shows.
pub(super) fn run(session: &Session<'_, '_>, command: &cli::BackupPrune) -> Result<u8> {
    session.require_root()?;
    let backups = Backups::new(session, &command.sets.sets)?;
    let _lock = lock(session)?;
    let hear = Hear(session);
    let mut jobs = backups.jobs(&hear);
    jobs.begin()?;
    jobs.report_unfinished()?;
    let wanted = match &command.target {
        Some(name) => std::slice::from_ref(job::named(&backups.places, Some(name))?),
        None => backups.places.as_slice(),
    };
    let sets: Vec<&str> = backups.sets.keys().map(|set| set.as_str()).collect();
    let (reached, plans) = jobs.plan_prune(wanted, &sets);
    let mut done = reached.len() == wanted.len();
    let going = plans.iter().filter(|plan| !plan.append_only).flat_map(|plan| &plan.decisions);
    let gone = going.filter(|one| !one.keep).count();
    if session.terminal.json {
        let plans: Vec<_> = plans
            .iter()
            .map(|plan| {
                json!({ "target": plan.target, "set": plan.set, "append_only": plan.append_only,
                "archives": plan.decisions })
            })
            .collect();
        let document = json!({ "command": "backup prune", "dry_run": command.dry_run, "plans": plans,
            "clock_synchronized": backups.synchronized });
        json_out::document(session.terminal, &document);
    } else {
        show::plans(session.terminal, &plans, backups.synchronized);
    }
    if command.dry_run || gone == 0 {
        jobs.remember()?;
    } else {
        confirm(session, &format!("Delete {}?", count(gone, "archive")), command.yes)?;
        done &= jobs.prune(reached, &plans)?;
    }
    Ok(if done { exit::DONE } else { exit::FAILED })
}
