//! Restoring the newest archives to a directory of their own, and judging what came out.

use std::time::Instant;

use pitool_host::text::chain;

use super::error::{Error, Result};
use super::event::{Event, Progress, Step};
use super::jobs::Jobs;
use super::outcome::{Drilled, first_problems};
use super::set::Set;
use crate::drill::{Drill, drill};
use crate::record::{Deed, LOCAL};
use crate::{Store, Stored};

impl Jobs<'_> {
    /// Drills sets, one after the other, and records it; returns the outcomes of those that were drilled before it was
    /// interrupted.
    ///
    /// # Errors
    /// The directory of the archives cannot be used. A failed drill is a result, not an error.
    pub fn drill(&mut self, sets: &[Set]) -> Result<Vec<Drilled>> {
        for place in self.places.iter().filter(|place| place.local()) {
            self.reach(place, false).map_err(|why| Error::Away { target: place.name.clone(), why })?;
        }
        let mut all = Vec::new();
        for set in sets {
            let drilled = self.drill_set(set);
            if !drilled.deed.ok {
                // An archive that fails its drill counts for nothing until it is verified.
                let known = &mut self.record.target(LOCAL).archives;
                for archive in &drilled.damaged {
                    if let Some(known) = known.get_mut(archive) {
                        known.damaged = true;
                    }
                }
            }
            let record = self.record.set(set.name());
            record.drill = Some(drilled.deed.clone());
            if drilled.deed.ok {
                record.drill_success = Some(drilled.deed.clone());
            }
            self.remember()?;
            self.listener.hear(Event::Drilled(&drilled));
            all.push(drilled);
            if self.host.interrupted() {
                break;
            }
        }
        Ok(all)
    }

    #[expect(clippy::disallowed_methods, reason = "says how long it really took")]
    fn drill_set(&self, set: &Set) -> Drilled {
        let begun = Instant::now();
        let name = set.name();
        let store = Store::new(self.directory);
        let newest = store.list().map(|archives| {
            let of_set = archives.into_iter().filter(|stored| stored.name.set().as_str() == name);
            of_set.max_by_key(|stored| stored.name.sequence())
        });
        let mut deed = Deed {
            time: self.host.now(),
            clock_synchronized: self.synchronized,
            ok: false,
            archive: None,
            seconds: 0.0,
            files: 0,
            bytes: 0,
            problems: Vec::new(),
        };
        let (mut databases, mut damaged) = (0, Vec::new());
        match newest {
            Err(error) => deed.problems.push(chain(&error)),
            Ok(None) => deed
                .problems
                .push(format!("there is no archive of it to restore; `pitool backup run {name}` makes one")),
            Ok(Some(stored)) => {
                deed.archive = Some(stored.name.to_string());
                let data = store.with_data(&stored, &self.identities).map(|data| data.name.to_string());
                let both: Vec<String> = [stored.name.to_string()].into_iter().chain(data.ok()).collect();
                match self.drill_archive(set, &store, &stored) {
                    Err(error) => {
                        if matches!(error, crate::Error::Damaged { .. }) {
                            damaged.clone_from(&both);
                        }
                        deed.problems.push(chain(&error));
                    }
                    Ok(drilled) => {
                        if drilled.problems.iter().any(|problem| problem.path.is_some()) {
                            damaged.clone_from(&both);
                        }
                        deed.files = drilled.compared;
                        deed.bytes = drilled.restored.bytes;
                        databases = drilled.databases;
                        deed.problems = first_problems(drilled.problems.iter(), drilled.problems.len());
                    }
                }
            }
        }
        deed.ok = deed.problems.is_empty();
        deed.seconds = begun.elapsed().as_secs_f64();
        deed.time = self.host.now();
        Drilled { set: name.to_owned(), deed, databases, damaged }
    }

    fn drill_archive(&self, set: &Set, store: &Store, stored: &Stored) -> crate::Result<crate::Drilled> {
        let scratch = self.scratch()?;
        let job = Drill {
            store,
            archive: stored,
            identities: &self.identities,
            scratch: &scratch,
            check: &set.check,
            limit: set.command_timeout,
            thorough: true,
            host: self.host,
            interrupted: self.interrupted,
        };
        let hear = self.listener.begin(Step::Drilling(set.name()));
        let drilled = drill(&job, &|progress| hear(Progress::Files(progress)));
        self.listener.end();
        drilled
    }
}
