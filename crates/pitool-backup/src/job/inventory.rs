//! What is at a target, and what is known of it.

use std::collections::BTreeMap;
use std::path::Path;

use pitool_host::{FileType, Inspect};

use crate::manifest::Seal;
use crate::record::{ArchiveRecord, DIRECTORY, TargetRecord};
use crate::retention::{Candidate, Condition, Data};
use crate::target::{Stored, Target};
use crate::{ArchiveName, Identities, Part, Store, Summary};

/// The files of one archive at a target, with their sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// The data.
    pub data: Option<(Part, u64)>,
    /// The manifest. An archive without one does not count.
    pub manifest: Option<(Part, u64)>,
}

/// The archives at a target.
pub type Inventory = BTreeMap<ArchiveName, Files>;

/// Sorts files by the archives that they belong to; whatever belongs to none is left out.
pub(super) fn inventory(files: &[Stored]) -> Inventory {
    let mut found = Inventory::new();
    for file in files {
        let Some((name, part)) = ArchiveName::of_file(&file.name) else { continue };
        let files = found.entry(name).or_default();
        match part {
            Part::Archive { .. } => files.data = Some((part, file.size)),
            Part::Manifest { .. } => files.manifest = Some((part, file.size)),
        }
    }
    found
}

/// The archives in a directory of this machine, by names and sizes alone.
///
/// # Errors
/// The directory cannot be read; one that is not there has none.
pub fn here(host: &dyn Inspect, directory: &str) -> pitool_host::Result<Inventory> {
    let mut files = Vec::new();
    for name in host.list(directory)?.unwrap_or_default() {
        let found = host.stat(&format!("{directory}/{name}"))?;
        if let Some(stat) = found.filter(|stat| stat.file_type == FileType::File) {
            files.push(Stored { name, size: stat.size });
        }
    }
    Ok(inventory(&files))
}

/// The names of an archive's files, the manifest first: without it the rest is nothing, and never looks whole.
pub(super) fn file_names(name: &ArchiveName, files: &Files) -> Vec<String> {
    [files.manifest, files.data].into_iter().flatten().map(|(part, _)| name.file(part)).collect()
}

/// What retention needs to know of the archives of a set.
pub(super) fn candidates(set: &str, inventory: &Inventory, known: &TargetRecord) -> Vec<Candidate> {
    let of_set = inventory.iter().filter(|(name, _)| name.set().as_str() == set);
    of_set
        .map(|(name, files)| {
            let text = name.to_string();
            let record = known.archives.get(&text);
            let here = files.data.map_or(0, |(_, size)| size);
            let condition = match (files.manifest, record) {
                (None, _) => Condition::Incomplete,
                (Some(_), None) => Condition::Unknown,
                // It has another size than when it was verified: it is not that archive any more.
                (Some(_), Some(record)) if record.damaged || record.size != here => Condition::Incomplete,
                (Some(_), Some(_)) => Condition::Whole,
            };
            Candidate {
                name: text,
                time: name.time(),
                sequence: name.sequence().into(),
                condition,
                size: record.map_or(0, |record| record.bytes),
                data: match record {
                    Some(record) => record.refers_to.clone().map_or(Data::Own, Data::Of),
                    None if files.data.is_none() => Data::Before,
                    None => Data::Own,
                },
            }
        })
        .collect()
}

/// Forgets what is gone, and learns from manifests what was never seen: the archives that a new machine finds.
///
/// What cannot be read stays unknown, and so stays.
pub(super) fn learn(
    target: &dyn Target,
    inventory: &Inventory,
    known: &mut TargetRecord,
    identities: &Identities,
    now: jiff::Timestamp,
) {
    known.archives.retain(|name, _| inventory.keys().any(|there| there.to_string() == *name));
    for (name, files) in inventory {
        let text = name.to_string();
        let Some(manifest) = files.manifest else { continue };
        if known.archives.contains_key(&text) {
            continue;
        }
        let Some(summary) = summary(target, name, manifest, identities) else { continue };
        let here = files.data.map_or(0, |(_, size)| size);
        let learned = recorded(&summary, now, false);
        // A size that fits is what a target can tell without sending everything; `verify` reads it all.
        if learned.size == here {
            known.archives.insert(text, learned);
        }
    }
}

/// Reads the manifest beside an archive, wherever it is.
#[expect(clippy::disallowed_methods, reason = "in the directory of the record, which is root's own")]
fn summary(
    target: &dyn Target,
    name: &ArchiveName,
    (manifest, size): (Part, u64),
    identities: &Identities,
) -> Option<Summary> {
    let read = |directory: &Path| {
        let store = Store::new(directory);
        let stored = store.find(name).ok()?;
        store.summary(&stored, identities).ok()
    };
    if let Some(directory) = target.directory() {
        return read(directory);
    }
    let directory = Path::new(DIRECTORY).join("fetched");
    std::fs::create_dir_all(&directory).ok()?;
    let wanted = Stored { name: name.file(manifest), size };
    let file = directory.join(&wanted.name);
    // A server can claim any size.
    crate::restore::fits(&directory, size).ok()?;
    target.get(&wanted, &file, &mut |_| {}).ok()?;
    let found = read(&directory);
    let _left = std::fs::remove_file(&file);
    found
}

/// What is recorded of an archive that its manifest describes.
pub(super) fn recorded(summary: &Summary, verified: jiff::Timestamp, damaged: bool) -> ArchiveRecord {
    let (size, refers_to) = match &summary.seal {
        Seal::Archive { size, .. } => (*size, None),
        Seal::UnchangedSince(other) => (0, Some(other.to_string())),
    };
    ArchiveRecord { verified, damaged, size, bytes: summary.end.bytes, refers_to }
}
