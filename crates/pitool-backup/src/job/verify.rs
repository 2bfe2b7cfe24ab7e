//! Whether archives are as they were written.

use std::time::Instant;

use pitool_host::text::chain;

use super::error::Result;
use super::event::{Event, Progress, Step};
use super::inventory::recorded;
use super::jobs::Jobs;
use super::outcome::{Checked, whole};
use super::place::Place;
use super::source::Source;
use crate::save::Saved;
use crate::verify::{Depth, Verified, verify};
use crate::{Error, Store, Stored, manifest};

impl<'a> Jobs<'a> {
    /// Verifies archives at a target, named by themselves or by their sets: of a set the newest one, or `all`. Gives what
    /// was found, and records it.
    ///
    /// # Errors
    /// The target cannot be used or does not have them, an archive cannot be looked at. A damaged one is a result, not an error.
    pub fn verify(
        &mut self,
        place: &'a Place,
        what: &[String],
        all: bool,
        depth: Depth,
    ) -> Result<Vec<Checked>> {
        let source = self.source(place, what, all)?;
        let mut checked = Vec::new();
        for stored in &source.archives {
            let one = self.check(place, &source, stored, depth)?;
            self.listener.hear(Event::Verified(&one));
            checked.push(one);
        }
        self.remember()?;
        Ok(checked)
    }

    #[expect(clippy::disallowed_methods, reason = "says how long it really took")]
    fn check(&mut self, place: &Place, source: &Source, stored: &Stored, depth: Depth) -> Result<Checked> {
        let begun = Instant::now();
        let store = &source.store;
        let found = self.look(store, stored, depth)?;
        let name = stored.name.to_string();
        let now = self.host.now();
        let damaged = !found.problems.is_empty();
        // Of an archive that says that nothing has changed, the data are in another one.
        let data = store.with_data(stored, &self.identities).map(|data| data.name.to_string());
        let known = self.record.target(&place.name);
        if let (true, Ok(data)) = (damaged, data) {
            if let Some(known) = known.archives.get_mut(&data) {
                known.damaged = true;
            }
        }
        match known.archives.get_mut(&name) {
            Some(known) => (known.verified, known.damaged) = (now, damaged),
            None => {
                if let Ok(summary) = store.summary(stored, &self.identities) {
                    known.archives.insert(name, recorded(&summary, now, damaged));
                }
            }
        }
        let (archive, target) = (stored.name.clone(), place.name.clone());
        let full = depth == Depth::Full;
        Ok(Checked { archive, target, full, found, took: begun.elapsed() })
    }

    /// Verifies one archive; what keeps it from being looked at is a problem of it.
    fn look(&self, store: &Store, stored: &Stored, depth: Depth) -> crate::Result<Verified> {
        let hear = self.listener.begin(Step::Verifying(&stored.name));
        let progress = |progress| hear(Progress::Files(progress));
        let found = verify(store, stored, &self.identities, depth, self.interrupted, &progress);
        self.listener.end();
        match found {
            Err(error @ (Error::Damaged { .. } | Error::NoArchive { .. })) => Ok(whole(chain(&error))),
            found => found,
        }
    }

    /// Reads an archive back from the disk right after it was written; gives its size.
    pub(super) fn verify_written(&self, saved: &Saved) -> Result<u64, String> {
        let store = Store::new(self.directory);
        let size = match saved.seal {
            manifest::Seal::Archive { size, .. } => size,
            // Nothing was written but the manifest; the archive that has the data was verified when it was made.
            manifest::Seal::UnchangedSince(_) => return Ok(0),
        };
        let stored = store.find(&saved.name).map_err(|error| chain(&error))?;
        if stored.encrypted && self.identities.is_empty() {
            // Only the others can open it. Without a key, its size is all that can be compared.
            return match stored.size == size {
                true => Ok(size),
                false => Err(format!(
                    "{} has {} bytes on the disk, and {size} were written",
                    saved.name, stored.size
                )),
            };
        }
        let found = self.look(&store, &stored, Depth::Quick).map_err(|error| chain(&error))?;
        match found.problems.first() {
            None => Ok(size),
            Some(problem) => Err(format!("what was written does not come back from the disk: {problem}")),
        }
    }
}
