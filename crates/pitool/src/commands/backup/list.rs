//! `pitool backup list`: what is saved, where, when next, and what is overdue.

use std::collections::{BTreeMap, BTreeSet};

use pitool_backup::ArchiveName;
use pitool_backup::job::{self, Inventory, here};
use pitool_backup::record::{LOCAL, Record, TargetRecord};
use serde_json::json;

use super::backups::{Backups, not_root};
use super::hear::Hear;
use crate::backup::{Known, Listed, Row, due};
use crate::cli;
use crate::exit;
use crate::failure::Result;
use crate::render::{backup as show, json as json_out};
use crate::session::Session;

/// Lists.
pub(super) fn run(session: &Session<'_, '_>, command: &cli::BackupList) -> Result<u8> {
    let backups = Backups::new(session, &command.sets.sets)?;
    let settings = &backups.settings;
    let hear = Hear(session);
    let mut jobs = backups.jobs(&hear);
    let mut asked: BTreeMap<String, Inventory> = BTreeMap::new();
    let local = settings.backup.directory.as_str();
    asked.insert(LOCAL.to_owned(), here(session.inspect(), local).map_err(|error| not_root(session, error))?);
    if command.target.is_some() {
        let place = job::named(&backups.places, command.target.as_deref())?;
        let there =
            jobs.reach(place, false).map_err(|why| job::Error::Away { target: place.name.clone(), why })?;
        asked.insert(place.name.clone(), there.inventory);
    }
    let record = jobs.record;
    let names: Vec<String> = backups.places.iter().map(|place| place.name.clone()).collect();
    let listed: Vec<Listed> =
        backups.sets.keys().map(|set| one(&backups, &record, set.as_str(), &names, &asked)).collect();
    let others = others(&backups, &asked, command);
    let mut problems: Vec<(String, String)> = names
        .iter()
        .filter_map(|name| {
            let problem = record.targets.get(name)?.problem.clone()?;
            Some((name.clone(), problem))
        })
        .collect();
    for place in &backups.places {
        for why in place.weaknesses(session.host) {
            let known = (place.name.clone(), why);
            if !problems.contains(&known) {
                problems.push(known);
            }
        }
    }
    if session.terminal.json {
        let sets: Vec<_> = listed.iter().map(document).collect();
        let document = json!({ "command": "backup list", "clock_synchronized": backups.synchronized, "sets": sets,
            "schedule": settings.backup.schedule, "enabled": settings.backup.enabled,
            "others": others.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "targets": names, "problems": problems.iter().map(|(target, why)| json!({ "target": target, "problem": why }))
                .collect::<Vec<_>>() });
        json_out::document(session.terminal, &document);
    } else {
        show::listed(
            session.terminal,
            &listed,
            &session.clock(),
            backups.synchronized,
            settings.backup.enabled,
        );
        show::others(session.terminal, &others);
        for (target, why) in problems {
            session.terminal.say(format!("{} {why}", session.terminal.talk.bad(&format!("{target}:"))));
        }
    }
    Ok(exit::DONE)
}

/// Archives here of sets that the config does not have: what restores replaced, and what once was a set.
fn others(
    backups: &Backups<'_, '_, '_>,
    asked: &BTreeMap<String, Inventory>,
    command: &cli::BackupList,
) -> Vec<ArchiveName> {
    let known = backups.settings.backup_sets();
    let local = asked.get(LOCAL).into_iter().flatten().filter(|(_, files)| files.manifest.is_some());
    let mut others: Vec<ArchiveName> = local
        .map(|(name, _)| name.clone())
        .filter(|name| !known.keys().any(|set| set.as_str() == name.set().as_str()))
        .collect();
    others.retain(|_| command.sets.sets.is_empty());
    others.reverse();
    others
}

fn one(
    backups: &Backups<'_, '_, '_>,
    record: &Record,
    set: &str,
    names: &[String],
    asked: &BTreeMap<String, Inventory>,
) -> Listed {
    let known = record.sets.get(set).cloned().unwrap_or_default();
    let own = backups.sets.iter().find(|(name, _)| name.as_str() == set);
    let time =
        own.and_then(|(_, set)| set.time.clone()).unwrap_or_else(|| backups.settings.backup.time.clone());
    let success = known.success.as_ref().map(|deed| deed.time);
    let last = success.or(known.since);
    let saved = due(&time, last, &backups.now, backups.synchronized);
    let drilled = known.drill_success.as_ref().map(|deed| deed.time).or(known.since);
    let drill_due = due(&backups.settings.backup.drill_time, drilled, &backups.now, backups.synchronized);
    let mut rows: BTreeMap<ArchiveName, Row> = BTreeMap::new();
    for target in names {
        let record = record.targets.get(target).cloned().unwrap_or_default();
        for name in archives(set, asked.get(target), &record) {
            let detail = record.archives.get(&name.to_string());
            let files = asked.get(target).and_then(|there| there.get(&name)).copied().unwrap_or_default();
            let size = files.data.map(|(_, size)| size).or(detail.map(|detail| detail.size)).unwrap_or(0);
            let row = rows.entry(name.clone()).or_insert_with(|| Row {
                name,
                size,
                bytes: None,
                refers_to: None,
                targets: BTreeMap::new(),
            });
            row.bytes = row.bytes.or(detail.map(|detail| detail.bytes));
            row.refers_to = row.refers_to.clone().or(detail.and_then(|detail| detail.refers_to.clone()));
            let known = match detail {
                None => Known::Unverified,
                Some(detail) if detail.damaged => Known::Damaged,
                Some(_) => Known::Verified,
            };
            row.targets.insert(target.clone(), known);
        }
    }
    let archives = rows.into_values().rev().collect();
    Listed {
        set: set.to_owned(),
        due: saved,
        drill_due,
        run: known.run,
        success,
        drill: known.drill,
        archives,
    }
}

/// The names of the archives of a set at a target: those that are there, where it was asked, else those that are known.
fn archives(set: &str, there: Option<&Inventory>, known: &TargetRecord) -> BTreeSet<ArchiveName> {
    match there {
        Some(inventory) => {
            let complete = inventory.iter().filter(|(_, files)| files.manifest.is_some());
            complete.map(|(name, _)| name).filter(|name| name.set().as_str() == set).cloned().collect()
        }
        None => known
            .archives
            .keys()
            .filter_map(|name| name.parse().ok())
            .filter(|name: &ArchiveName| name.set().as_str() == set)
            .collect(),
    }
}

fn document(listed: &Listed) -> serde_json::Value {
    let moment = |time: &Option<jiff::Zoned>| time.as_ref().map(|time| time.timestamp().to_string());
    let archives: Vec<_> = listed
        .archives
        .iter()
        .map(|row| {
            json!({ "name": row.name, "time": row.name.time().to_string(), "size": row.size, "bytes": row.bytes,
                "unchanged_since": row.refers_to, "targets": row.targets })
        })
        .collect();
    json!({ "name": listed.set, "next": moment(&listed.due.next), "overdue_since": moment(&listed.due.overdue),
        "missed": listed.due.missed, "drill_overdue_since": moment(&listed.drill_due.overdue),
        "last_run": listed.run, "last_success": listed.success.map(|time| time.to_string()),
        "last_drill": listed.drill, "archives": archives })
}
