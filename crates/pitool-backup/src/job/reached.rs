//! Reaching targets, copying archives to them and deleting old ones there.

use std::path::Path;

use jiff::{Timestamp, Zoned};
use pitool_host::Host;
use pitool_host::text::{chain, hex};

use super::event::Progress;
use super::inventory::{Files, Inventory, candidates, file_names, inventory, learn};
use super::jobs::Jobs;
use super::place::Place;
use crate::ArchiveName;
use crate::record::{ArchiveRecord, Record};
use crate::retention::{Circumstances, Decision, decide};
use crate::target::{self, Target, Weakness, admit};

/// A target that is there and is the one that it was.
pub struct Reached<'a> {
    /// As the config has it.
    pub place: &'a Place,
    /// What is there.
    pub inventory: Inventory,
    /// The target itself.
    pub(super) target: Box<dyn Target + 'a>,
    /// What others can do with the archives there.
    pub(super) weaknesses: Vec<Weakness>,
}

impl<'a> Jobs<'a> {
    /// Reaches a target and looks at what is there; what keeps it away is recorded. `adopt`: another target than
    /// before is taken as its successor.
    ///
    /// # Errors
    /// Why it cannot be used, a clause.
    pub fn reach(&mut self, place: &'a Place, adopt: bool) -> Result<Reached<'a>, String> {
        let host = self.host;
        let known = self.record.target(&place.name);
        let marker = known.marker.clone().filter(|_| place.marked);
        let reached = fresh_id(host).and_then(|fresh| {
            let target = place.open(host)?;
            let id = admit(&*target, marker.as_deref(), adopt, &fresh)?;
            let files = target.list()?;
            let weaknesses = target.weaknesses()?;
            Ok((target, id, inventory(&files), weaknesses))
        });
        match reached {
            Ok((target, id, inventory, weaknesses)) => {
                known.marker = Some(id);
                learn(&*target, &inventory, known, &self.identities, host.now());
                Ok(Reached { place, target, inventory, weaknesses })
            }
            Err(error) => {
                let why = chain(&error);
                known.problem = Some(why.clone());
                Err(why)
            }
        }
    }
}

/// An id that no other target has.
fn fresh_id(host: &dyn Host) -> target::Result<String> {
    let bytes = host.random(16)?;
    Ok(hex(&bytes))
}

impl Reached<'_> {
    /// Who can read archives there that should not, if anybody can: a problem of the target.
    pub(super) fn exposed(&self) -> Option<String> {
        self.weaknesses.iter().find(|weakness| weakness.readable).map(|weakness| weakness.why.clone())
    }

    /// Looks again at what is there.
    pub(super) fn look(&mut self) -> target::Result<()> {
        self.inventory = inventory(&self.target.list()?);
        self.weaknesses = self.target.weaknesses()?;
        Ok(())
    }

    /// The highest number that any archive of a set has here, whole or not.
    pub(super) fn last(&self, set: &str) -> u32 {
        let numbers =
            self.inventory.keys().filter(|name| name.set().as_str() == set).map(ArchiveName::sequence);
        numbers.max().unwrap_or(0)
    }

    /// The number of the newest archive of a set that is complete here.
    fn newest(&self, set: &str) -> u32 {
        let complete = self.inventory.iter().filter(|(_, files)| files.manifest.is_some());
        let numbers =
            complete.filter(|(name, _)| name.set().as_str() == set).map(|(name, _)| name.sequence());
        numbers.max().unwrap_or(0)
    }

    /// What of a set is here and is missing there: everything newer than the newest that is there, and what notes among
    /// it refer to. Where nothing is there, the newest one.
    fn missing_from(&self, there: &Reached<'_>, set: &str, record: &Record) -> Vec<(ArchiveName, Files)> {
        let known = record.targets.get(&self.place.name);
        let sound = |name: &ArchiveName| {
            let record = known.and_then(|known| known.archives.get(&name.to_string()));
            record.is_some_and(|record| !record.damaged)
        };
        let newest = there.newest(set);
        let here: Vec<(&ArchiveName, &Files)> = self
            .inventory
            .iter()
            .filter(|(name, files)| name.set().as_str() == set && files.manifest.is_some())
            .filter(|(name, _)| sound(name))
            .collect();
        let mut wanted: Vec<&ArchiveName> = match newest {
            0 => here.iter().map(|(name, _)| *name).max_by_key(|name| name.sequence()).into_iter().collect(),
            _ => here.iter().map(|(name, _)| *name).filter(|name| name.sequence() > newest).collect(),
        };
        let refers = |name: &ArchiveName| {
            let record = known.and_then(|known| known.archives.get(&name.to_string()));
            record.and_then(|record| record.refers_to.clone())
        };
        let referred: Vec<String> = wanted.iter().filter_map(|name| refers(name)).collect();
        wanted.extend(here.iter().map(|(name, _)| *name).filter(|name| referred.contains(&name.to_string())));
        let complete =
            |name: &ArchiveName| there.inventory.get(name).is_some_and(|files| files.manifest.is_some());
        let mut missing: Vec<(ArchiveName, Files)> = here
            .iter()
            .filter(|(name, _)| wanted.contains(name) && !complete(name))
            .map(|(name, files)| ((*name).clone(), **files))
            .collect();
        missing.sort_by_key(|(name, _)| name.sequence());
        missing
    }

    /// Copies what is missing there of a set; gives how many archives and bytes that were.
    pub(super) fn copy_to(
        &self,
        there: &mut Reached<'_>,
        set: &str,
        record: &mut Record,
        now: Timestamp,
        hear: &dyn Fn(Progress<'_>),
    ) -> target::Result<(usize, u64)> {
        let directory = self.target.directory().unwrap_or(Path::new("/"));
        let missing = self.missing_from(there, set, record);
        let mut bytes = 0;
        for (name, files) in &missing {
            // The manifest last: an archive without one does not count.
            for (part, size) in [files.data, files.manifest].into_iter().flatten() {
                let file = name.file(part);
                let mut heard = |done| hear(Progress::Bytes { file: &file, done, size });
                there.target.put(&directory.join(&file), &file, &mut heard)?;
                bytes += size;
            }
            there.inventory.insert(name.clone(), *files);
            let text = name.to_string();
            let known =
                record.targets.get(&self.place.name).and_then(|known| known.archives.get(&text)).cloned();
            if let Some(known) = known {
                // What a target has taken is verified by its own way of taking it.
                let copy = ArchiveRecord { verified: now, ..known };
                record.target(&there.place.name).archives.insert(text, copy);
            }
        }
        Ok((missing.len(), bytes))
    }

    /// Decides what becomes of the archives of a set here.
    pub(super) fn decide(
        &self,
        set: &str,
        record: &Record,
        now: &Zoned,
        clock_synchronized: bool,
    ) -> Vec<Decision> {
        let known = record.targets.get(&self.place.name).cloned().unwrap_or_default();
        let failed = record.sets.get(set).and_then(|set| set.run.as_ref()).is_some_and(|run| !run.ok);
        let circumstances = Circumstances { now: now.clone(), clock_synchronized, last_run_failed: failed };
        decide(&candidates(set, &self.inventory, &known), self.place.policy, &circumstances)
    }

    /// Deletes what was decided to go; gives how many archives and bytes that were.
    pub(super) fn delete(
        &mut self,
        decisions: &[Decision],
        record: &mut Record,
    ) -> target::Result<(usize, u64)> {
        let gone: Vec<ArchiveName> = self
            .inventory
            .keys()
            .filter(|name| {
                decisions.iter().any(|decision| !decision.keep && decision.name == name.to_string())
            })
            .cloned()
            .collect();
        if self.place.append_only || gone.is_empty() {
            return Ok((0, 0));
        }
        let mut bytes = 0;
        // Every manifest goes before any data: after a power cut no half looks whole.
        for manifests in [true, false] {
            let mut names = Vec::new();
            for name in &gone {
                let Some(files) = self.inventory.get(name) else { continue };
                let only = match manifests {
                    true => Files { data: None, ..*files },
                    false => Files { manifest: None, ..*files },
                };
                bytes += [only.data, only.manifest].into_iter().flatten().map(|(_, size)| size).sum::<u64>();
                names.extend(file_names(name, &only));
            }
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            self.target.remove(&names)?;
        }
        for name in &gone {
            self.inventory.remove(name);
            record.target(&self.place.name).archives.remove(&name.to_string());
        }
        Ok((gone.len(), bytes))
    }
}
