//! `pitool backup prune`: deletes archives that no rule wants, or shows which ones and why.

use pitool_backup::record::{self, Record};
use pitool_host::text::chain;
use serde_json::json;

use super::backups::Backups;
use super::confirm::confirm;
use super::copy::{Reached, reach};
use super::lock::lock;
use super::places::{named, places};
use super::unfinished::tell_unfinished;
use crate::backup::Plan;
use crate::cli;
use crate::exit;
use crate::failure::Result;
use crate::render::{backup as show, bytes, count, json as json_out};
use crate::session::Session;

/// Deletes, or shows.
pub(super) fn run(session: &Session<'_, '_>, command: &cli::BackupPrune) -> Result<u8> {
    session.require_root()?;
    let mut backups = Backups::new(session, &command.sets.sets)?;
    let _lock = lock(session)?;
    tell_unfinished(session)?;
    backups.record = Record::read(session.inspect())?;
    record::prepare(session.host)?;
    let settings = backups.settings.clone();
    let places = places(&settings.backup);
    let wanted = match &command.target {
        Some(_) => std::slice::from_ref(named(&places, command.target.as_deref())?),
        None => places.as_slice(),
    };
    let identities = backups.identities();
    let mut reached: Vec<Reached<'_, '_>> = Vec::new();
    let mut failed = false;
    for place in wanted {
        match reach(session.host, place, &mut backups.record, &identities, false) {
            Ok(there) => reached.push(there),
            Err(why) => {
                failed = true;
                session.terminal.say(format!("{}: {why}", place.name));
            }
        }
    }
    let mut plans: Vec<Plan> = Vec::new();
    for there in &reached {
        for set in backups.sets.keys().filter(|set| there.place.takes(set.as_str())) {
            let decisions = there.decide(set.as_str(), &backups.record, &backups.now, backups.synchronized);
            plans.push(Plan {
                target: there.place.name.clone(),
                set: set.to_string(),
                decisions,
                append_only: there.place.append_only,
            });
        }
    }
    let going = |plan: &&Plan| !plan.append_only;
    let gone: usize =
        plans.iter().filter(going).flat_map(|plan| &plan.decisions).filter(|one| !one.keep).count();
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
    if !command.dry_run && gone > 0 {
        confirm(session, &format!("Delete {}?", count(gone, "archive")), command.yes)?;
        for there in &mut reached {
            let name = there.place.name.clone();
            for plan in plans.iter().filter(|plan| plan.target == name) {
                match there.delete(&plan.decisions, &mut backups.record) {
                    Ok((0, _)) => {}
                    Ok((archives, size)) => session.terminal.mention(format!(
                        "{name}: {} of {} deleted, {}",
                        count(archives, "archive"),
                        plan.set,
                        bytes(size)
                    )),
                    Err(error) => {
                        failed = true;
                        session.terminal.say(format!("{name}: {}", chain(&error)));
                    }
                }
            }
        }
    }
    backups.remember()?;
    Ok(if failed { exit::FAILED } else { exit::DONE })
}
