//! Restoring an archive: what uses the files is stopped meanwhile, and what is replaced is kept.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::error::{Error, Result};
use super::event::{Event, Progress, Step};
use super::jobs::Jobs;
use super::set::Set;
use super::source::Source;
use crate::quiet::{self, Quiet, Rest};
use crate::restore::{Destination, Prepared, Restore, Restored, Safety};
use crate::{ArchiveName, Store, Stored, StoredPath, manifest};

/// How many restores' replaced files are kept.
const KEPT: usize = 3;

/// What is to be restored, and how.
pub struct Order<'a> {
    /// Where the archive is.
    pub source: &'a Source,
    /// The archive.
    pub stored: &'a Stored,
    /// The name of the target that it is at.
    pub target: &'a str,
    /// Where it goes.
    pub destination: &'a Destination,
    /// The paths to restore; all where there is none.
    pub only: &'a [StoredPath],
    /// Whether what the archive does not have is deleted.
    pub exact: bool,
    /// Whether what is replaced is kept, as an archive of its own.
    pub keep: bool,
    /// Whether an archive may restore paths that its set does not have.
    pub unlisted_paths: bool,
    /// age recipients of what is kept.
    pub recipients: &'a [String],
}

/// A restore that can be done as far as can be known without doing it.
pub struct Ready<'a> {
    prepared: Prepared<'a>,
    destination: &'a Destination,
    archive: &'a ArchiveName,
}

impl Ready<'_> {
    /// What it replaces; nothing where it goes to a directory of its own.
    pub fn replaces(&self) -> Vec<PathBuf> {
        match self.destination {
            Destination::InPlace => self.prepared.concerned(),
            Destination::Directory(_) => Vec::new(),
        }
    }
}

impl Jobs<'_> {
    /// Looks at everything first, so that what cannot be restored stops nothing. `ready` sees what it will do, and can
    /// refuse; then it is done. `sets` are those of the config, also those that are disabled.
    ///
    /// # Errors
    /// The error of `ready`, or why it was not restored, or only in part: each says whether anything was touched.
    pub fn restore<E: From<Error>>(
        &mut self,
        order: &Order<'_>,
        sets: &[Set],
        ready: impl FnOnce(&Ready<'_>) -> Result<(), E>,
    ) -> Result<Restored, E> {
        let own = Store::new(self.directory);
        let scratch = self.scratch().map_err(Error::from)?;
        let safety =
            Safety { store: &own, scratch: &scratch, host: &self.machine, recipients: order.recipients };
        let in_place = *order.destination == Destination::InPlace;
        let job = Restore {
            store: &order.source.store,
            archive: order.stored,
            identities: &self.identities,
            destination: order.destination,
            only: order.only,
            devices: in_place,
            exact: order.exact,
            safety: (in_place && order.keep).then_some(safety),
            journal: Some(self.unfinished),
            target: Some(order.target),
            interrupted: self.interrupted,
        };
        let prepared = job.prepare().map_err(Error::of_restore)?;
        if let (true, true, false, Some(header)) =
            (in_place, order.only.is_empty(), order.unlisted_paths, prepared.header())
        {
            self.require_listed(header, sets)?;
        }
        let prepared = Ready { prepared, destination: order.destination, archive: &order.stored.name };
        ready(&prepared)?;
        let restored = if in_place { self.in_place(prepared, sets) } else { self.carry_out(prepared) }?;
        self.remember()?;
        Ok(restored)
    }

    fn carry_out(&self, ready: Ready<'_>) -> Result<Restored> {
        let hear = self.listener.begin(Step::Restoring(ready.archive));
        let restored = ready.prepared.run(&|progress| hear(Progress::Files(progress)));
        self.listener.end();
        restored.map_err(Error::of_restore)
    }

    /// Restores where it came from.
    fn in_place(&self, ready: Ready<'_>, sets: &[Set]) -> Result<Restored> {
        let paths = ready.replaces();
        let units = units(sets, &paths);
        let quiet =
            Quiet::begin(self.host, Some(Rest::Stopped), &paths, &units).map_err(Error::NotStopped)?;
        if let Some(restless) = quiet.restless().first() {
            let advice = restless.advice("services");
            return Err(Error::Restless { advice, asleep: quiet.end().err() });
        }
        let names = quiet::names(quiet.resting());
        if !names.is_empty() {
            self.listener.hear(Event::Stopped(quiet.resting()));
        }
        let done = self.carry_out(ready).and_then(|restored| {
            self.forget_old()?;
            Ok(restored)
        });
        let woken = quiet.end();
        let done = done?;
        woken.map_err(|source| Error::StaysStopped { names, source })?;
        Ok(done)
    }

    /// Keeps what the last few restores replaced, not of all.
    fn forget_old(&self) -> Result<()> {
        let store = Store::new(self.directory);
        let mut kept = store.of_set(&Safety::SET.parse()?)?;
        kept.sort_by_key(|stored| stored.name.sequence());
        let old = kept.len().saturating_sub(KEPT);
        for stored in kept.iter().take(old) {
            store.remove(&stored.name)?;
        }
        Ok(())
    }

    /// Requires that the set in the config has the paths that an archive was made of.
    ///
    /// Encryption does not say who wrote an archive: whoever can write to a target can put one there that was made of
    /// other paths, /etc or /root.
    fn require_listed(&self, header: &manifest::Header, sets: &[Set]) -> Result<()> {
        // What a restore replaced was of any set.
        let is_safety = header.set.as_str() == Safety::SET;
        let mut paths: Vec<PathBuf> = Vec::new();
        let mut volumes: Vec<String> = Vec::new();
        for set in sets.iter().filter(|set| is_safety || set.name() == header.set.as_str()) {
            let all = set.content.paths.iter().chain(&set.content.optional).chain(&set.content.databases);
            paths.extend(all.cloned());
            volumes.extend(set.volumes.iter().cloned());
        }
        // Where Docker does not know a volume, its directory is one that the set does not have.
        paths.extend(quiet::volumes(self.host.inspect(), &volumes).unwrap_or_default());
        let other = header.roots.iter().map(StoredPath::absolute);
        let other: Vec<PathBuf> =
            other.filter(|root| !paths.iter().any(|path| root.starts_with(path))).collect();
        match other.is_empty() {
            true => Ok(()),
            false => Err(Error::Unlisted { set: header.set.to_string(), paths: other }),
        }
    }
}

/// The units that are stopped while these paths are replaced: those of every set whose services read any of them. An
/// archive of what a restore replaced is of none of them.
pub(super) fn units(sets: &[Set], paths: &[PathBuf]) -> Vec<String> {
    let meet = |own: &PathBuf| paths.iter().any(|path| path.starts_with(own) || own.starts_with(path));
    let concerned = sets.iter().filter(|set| set.read_by_services.iter().any(meet));
    let units: BTreeSet<&String> = concerned.flat_map(|set| &set.services).collect();
    units.into_iter().cloned().collect()
}
