//! `pitool backup stats`: sizes, counts and times.

use pitool_backup::ArchiveName;
use pitool_backup::job::here;
use serde_json::json;

use super::backups::Backups;
use crate::backup::Figures;
use crate::cli;
use crate::exit;
use crate::failure::Result;
use crate::render::{backup as show, json as json_out};
use crate::session::Session;

/// Shows.
pub(super) fn run(session: &Session<'_, '_>, command: &cli::BackupSets) -> Result<u8> {
    let backups = Backups::new(session, &command.sets)?;
    let directory = backups.settings.backup.directory.as_str();
    let inventory = here(session.inspect(), directory)?;
    let figures: Vec<Figures> = backups
        .sets
        .keys()
        .map(|set| {
            let of_set = |name: &ArchiveName| name.set().as_str() == set.as_str();
            let there: Vec<_> =
                inventory.iter().filter(|(name, files)| of_set(name) && files.manifest.is_some()).collect();
            let size = there.iter().flat_map(|(_, files)| [files.data, files.manifest]).flatten();
            let known = backups.record.sets.get(set.as_str()).cloned().unwrap_or_default();
            Figures {
                set: set.to_string(),
                archives: there.len(),
                notes: there.iter().filter(|(_, files)| files.data.is_none()).count(),
                size: size.map(|(_, size)| size).sum(),
                bytes: known.success.as_ref().map_or(0, |deed| deed.bytes),
                files: known.success.as_ref().map_or(0, |deed| deed.files),
                run_seconds: known.run.as_ref().map(|deed| deed.seconds),
                drill_seconds: known.drill.as_ref().map(|deed| deed.seconds),
            }
        })
        .collect();
    if session.terminal.json {
        let sets: Vec<_> = figures
            .iter()
            .map(|one| {
                json!({ "name": one.set, "archives": one.archives, "notes": one.notes, "size": one.size,
                    "bytes": one.bytes, "files": one.files, "run_seconds": one.run_seconds,
                    "drill_seconds": one.drill_seconds })
            })
            .collect();
        json_out::document(session.terminal, &json!({ "command": "backup stats", "sets": sets }));
    } else {
        show::figures(session.terminal, &figures);
    }
    Ok(exit::DONE)
}
