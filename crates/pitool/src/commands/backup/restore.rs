//! `pitool backup restore`: brings files back, in their place or somewhere else.

use std::path::{Path, PathBuf};

use pitool_backup::StoredPath;
use pitool_backup::job::{self, Order};
use pitool_backup::restore::Destination;
use serde_json::json;

use super::backups::Backups;
use super::confirm::confirm;
use super::hear::Hear;
use super::lock::lock;
use super::wanted::all_sets;
use crate::cli;
use crate::exit;
use crate::failure::{Failure, Result};
use crate::render::{backup as show, json as json_out};
use crate::session::Session;

/// Restores an archive or a part of it.
pub(super) fn run(session: &Session<'_, '_>, command: &cli::BackupRestore) -> Result<u8> {
    session.require_root()?;
    let only = stored_paths(&command.paths)?;
    let destination = match &command.to {
        Some(directory) => Destination::Directory(absolute(directory)?),
        None => Destination::InPlace,
    };
    let backups = Backups::new(session, &[])?;
    let _lock = lock(session)?;
    let hear = Hear(session);
    let mut jobs = backups.jobs(&hear);
    jobs.begin()?;
    jobs.wake()?;
    let place = job::named(&backups.places, command.target.as_deref())?;
    let source = jobs.source(place, std::slice::from_ref(&command.what), false)?;
    let Some(stored) = source.archives.first() else { return Err(Failure::bug("no archive was picked")) };
    let recipients: Vec<String> =
        backups.settings.backup.recipients.iter().map(ToString::to_string).collect();
    let order = Order {
        source: &source,
        stored,
        target: &place.name,
        destination: &destination,
        only: &only,
        exact: command.exact,
        keep: !command.no_copy,
        unlisted_paths: command.unlisted_paths,
        recipients: &recipients,
    };
    let sets = all_sets(&backups.settings.backup_sets(), &backups.settings.backup)?;
    let restored = jobs.restore(&order, &sets, |ready| -> Result<()> {
        if matches!(destination, Destination::Directory(_)) {
            return Ok(());
        }
        let paths: Vec<String> = ready.replaces().iter().map(|path| path.display().to_string()).collect();
        let made = session.clock().show(&stored.name.time().to_string());
        let question = format!("Replace {} with {}, made {made}?", paths.join(", "), stored.name);
        confirm(session, &question, command.yes)
    })?;
    let name = stored.name.to_string();
    let replaced = restored.safety.as_ref().map(ToString::to_string);
    let code = if restored.problems.is_empty() { exit::DONE } else { exit::FAILED };
    if session.terminal.json {
        let problems: Vec<String> = restored.problems.iter().map(ToString::to_string).collect();
        let spared = restored.spared.iter();
        let spared: Vec<_> =
            spared.map(|one| json!({ "path": one.path, "why": one.why.to_string() })).collect();
        json_out::document(
            session.terminal,
            &json!({ "command": "backup restore", "archive": name, "entries": restored.entries,
                "bytes": restored.bytes, "deleted": restored.deleted, "seconds": restored.duration.as_secs_f64(),
                "replaced": replaced, "spared": spared, "problems": problems, "exit": code }),
        );
    } else {
        show::restored(session.terminal, &name, &restored, replaced.as_deref());
    }
    Ok(code)
}

/// Paths as they are in an archive.
fn stored_paths(paths: &[PathBuf]) -> Result<Vec<StoredPath>> {
    let stored = |path: &PathBuf| {
        let path = path.clone();
        StoredPath::of(&path).ok_or_else(|| {
            Failure::input(format!("{} cannot be in an archive", path.display()))
                .hint("write the path as it was on the machine, without `..`")
        })
    };
    paths.iter().map(stored).collect()
}

fn absolute(directory: &Path) -> Result<PathBuf> {
    std::path::absolute(directory).map_err(|error| {
        Failure::input(format!("{} is not a directory", directory.display())).because(&error)
    })
}
