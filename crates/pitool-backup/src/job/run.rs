//! Saving sets: verifies the archives, copies them to their targets, deletes old ones.

use std::path::PathBuf;
use std::time::Instant;

use pitool_host::Command;
use pitool_host::text::chain;

use super::error::Result;
use super::event::{Event, Progress, Step};
use super::jobs::Jobs;
use super::outcome::{Moved, Outcome, first_problems};
use super::reached::Reached;
use super::set::Set;
use crate::quiet::{self, Quiet, Restless};
use crate::record::{ArchiveRecord, Deed, LOCAL};
use crate::save::{Job, Saved, save};
use crate::{Store, manifest};

impl Jobs<'_> {
    /// Saves sets, one after the other, and copies their archives to their targets; returns the outcomes of those that were
    /// begun before it was interrupted, and records it. `adopt`: a target that is another one than before is taken as
    /// its successor.
    ///
    /// # Errors
    /// The record cannot be written. A set that cannot be saved is a result, not an error.
    pub fn run(&mut self, sets: &[Set], adopt: bool) -> Result<Vec<Outcome>> {
        // Whatever does not start again is a problem of this job too, and no reason to save nothing.
        let asleep = self.wake().err().map(|error| error.sentence());
        let mut reached: Vec<Reached<'_>> = Vec::new();
        let mut away: Vec<(&str, String)> = Vec::new();
        for place in self.places {
            match self.reach(place, adopt) {
                Ok(there) => {
                    for weakness in &there.weaknesses {
                        self.listener.hear(Event::Weak { target: &place.name, why: &weakness.why });
                    }
                    reached.push(there);
                }
                Err(why) => away.push((&place.name, why)),
            }
        }
        let mut outcomes = Vec::new();
        for set in sets {
            let mut problems: Vec<String> = asleep.iter().cloned().collect();
            for (place, why) in &away {
                let takes = |known: &&super::Place| known.name == *place && known.takes(set.name());
                if self.places.iter().any(|known| takes(&known)) {
                    problems.push(format!("not copied to {place}: {why}"));
                }
            }
            let one = One { jobs: self, set, problems, moved: Vec::new() };
            let outcome = one.save_and_copy(&mut reached);
            self.record.set(set.name()).since.get_or_insert(outcome.deed.time);
            self.remember()?;
            self.listener.hear(Event::Saved(&outcome));
            outcomes.push(outcome);
            if self.host.interrupted() {
                break;
            }
        }
        Ok(outcomes)
    }
}

/// The backup of one set.
struct One<'j, 'a> {
    jobs: &'j mut Jobs<'a>,
    set: &'j Set,
    problems: Vec<String>,
    moved: Vec<Moved>,
}

impl One<'_, '_> {
    #[expect(clippy::disallowed_methods, reason = "says how long it really took")]
    fn save_and_copy(mut self, reached: &mut [Reached<'_>]) -> Outcome {
        let begun = Instant::now();
        let saved = self.save(reached);
        if let Some(saved) = &saved {
            self.judge(saved);
            self.copy(saved, reached);
        }
        let deed = Deed {
            time: self.jobs.host.now(),
            clock_synchronized: self.jobs.synchronized,
            ok: self.problems.is_empty() && saved.is_some(),
            archive: saved.as_ref().map(|saved| saved.name.to_string()),
            seconds: begun.elapsed().as_secs_f64(),
            files: saved.as_ref().map_or(0, |saved| saved.end.files),
            bytes: saved.as_ref().map_or(0, |saved| saved.end.bytes),
            problems: std::mem::take(&mut self.problems),
        };
        let record = self.jobs.record.set(self.set.name());
        record.run = Some(deed.clone());
        if deed.ok {
            record.success = Some(deed.clone());
        }
        // Only now is it known whether the run went well; nothing goes after one that did not.
        self.prune(reached);
        if !self.problems.is_empty() {
            let record = self.jobs.record.set(self.set.name());
            if let Some(run) = &mut record.run {
                run.ok = false;
                run.problems.append(&mut self.problems);
            }
        }
        let deed = self.jobs.record.set(self.set.name()).run.clone().unwrap_or(deed);
        Outcome { set: self.set.name().to_owned(), deed, saved, moved: self.moved }
    }

    /// Saves the set with everything at rest that should be; whatever happens, that comes back.
    fn save(&mut self, reached: &[Reached<'_>]) -> Option<Saved> {
        if !reached.iter().any(|there| there.place.local()) {
            // The reason is among the problems already.
            return None;
        }
        if let Err(why) = self.command(&self.set.before, "before", &[]) {
            self.problems.push(why);
            self.after(false);
            return None;
        }
        let saved = self.save_quietly(reached);
        self.after(saved.is_some());
        saved
    }

    fn save_quietly(&mut self, reached: &[Reached<'_>]) -> Option<Saved> {
        let volumes = match quiet::volumes(self.jobs.host.inspect(), &self.set.volumes) {
            Ok(volumes) => volumes,
            Err(error) => {
                self.problems.push(format!("cannot find its volumes: {}", chain(&error)));
                return None;
            }
        };
        self.look_for_what_is_gone();
        let mut content = self.set.content.clone();
        content.paths.extend(volumes);
        let used: Vec<PathBuf> =
            [content.paths.clone(), content.optional.clone(), content.databases.clone()].concat();
        let quiet = match Quiet::begin(self.jobs.host, self.set.rest, &used, &self.set.units) {
            Ok(quiet) => quiet,
            Err(error) => {
                self.problems
                    .push(format!("cannot pause or stop its containers and units: {}", chain(&error)));
                return None;
            }
        };
        // It is saved all the same: databases are whole in any case, and the rest is better than nothing.
        self.problems.extend(quiet.restless().iter().map(not_at_rest));
        let after = reached.iter().map(|there| there.last(self.set.name())).max().unwrap_or(0);
        let saved = self.archive(&content, after);
        match quiet.end() {
            Ok(started) => self.problems.extend(started.iter().map(not_at_rest)),
            Err(error) => self.problems.push(format!("what was stopped does not start: {}", chain(&error))),
        }
        match saved {
            Ok(saved) => Some(saved),
            Err(error) => {
                self.problems.push(chain(&error));
                None
            }
        }
    }

    fn archive(&self, content: &crate::Set, after: u32) -> crate::Result<Saved> {
        let Jobs { directory, identities, machine, interrupted, listener, .. } = &*self.jobs;
        let store = Store::new(*directory);
        let scratch = self.jobs.scratch()?;
        let job = Job {
            set: content,
            store: &store,
            scratch: &scratch,
            identities,
            host: machine,
            after,
            interrupted,
        };
        let hear = listener.begin(Step::Saving(self.set.name()));
        let saved = save(&job, &|progress| hear(Progress::Files(progress)));
        listener.end();
        saved
    }

    /// A place that may be missing, but was there before, is missed: an app's disk that is not mounted.
    fn look_for_what_is_gone(&mut self) {
        let host = self.jobs.host.inspect();
        let optional: Vec<String> =
            self.set.content.optional.iter().map(|path| path.display().to_string()).collect();
        let there = |path: &&String| host.stat(path).is_ok_and(|found| found.is_some());
        let present: Vec<String> = optional.iter().filter(there).cloned().collect();
        let record = self.jobs.record.set(self.set.name());
        for path in &optional {
            if record.present.contains(path) && !present.contains(path) {
                self.problems.push(format!("{path} was saved before and is not there any more"));
            }
        }
        record.present = present;
    }

    /// Runs one of the set's own commands, which no shell reads.
    fn command(&self, words: &[String], what: &str, env: &[(&str, &str)]) -> Result<(), String> {
        let Some((program, args)) = words.split_first() else { return Ok(()) };
        let mut command = Command::new(program.as_str())
            .args(args.iter().map(String::as_str))
            .timeout(self.set.command_timeout)
            .env("PITOOL_SET", self.set.name());
        for (name, value) in env {
            command = command.env(*name, *value);
        }
        let run = self.jobs.host.run(&command);
        run.map(drop).map_err(|error| format!("its command `{what}` failed: {}", chain(&error)))
    }

    fn after(&mut self, saved: bool) {
        let result = if saved && self.problems.is_empty() { "ok" } else { "failed" };
        if let Err(why) = self.command(&self.set.after, "after", &[("PITOOL_RESULT", result)]) {
            self.problems.push(why);
        }
    }

    /// An archive that holds less than it should is a failure, not a warning that nobody reads.
    fn judge(&mut self, saved: &Saved) {
        let problems = saved.notes.iter().filter(|note| note.what.is_problem());
        let all = usize::try_from(saved.end.problems).unwrap_or(usize::MAX);
        self.problems.extend(first_problems(problems, all));
        if saved.end.entries == 0 {
            self.problems.push("nothing of it is there: the archive is empty".to_owned());
        }
    }

    /// Copies the archive to the targets of its set.
    fn copy(&mut self, saved: &Saved, reached: &mut [Reached<'_>]) {
        let now = self.jobs.host.now();
        let Some((local, others)) = reached.split_first_mut().filter(|(first, _)| first.place.local()) else {
            return;
        };
        if let Err(error) = local.look() {
            self.problems.push(chain(&error));
            return;
        }
        match self.jobs.verify_written(saved) {
            Ok(size) => {
                let refers_to = match &saved.seal {
                    manifest::Seal::UnchangedSince(name) => Some(name.to_string()),
                    manifest::Seal::Archive { .. } => None,
                };
                let known =
                    ArchiveRecord { verified: now, damaged: false, size, bytes: saved.end.bytes, refers_to };
                let target = self.jobs.record.target(LOCAL);
                target.archives.insert(saved.name.to_string(), known);
                target.success = Some(now);
                target.problem = local.exposed();
            }
            Err(why) => {
                self.jobs.record.target(LOCAL).problem = Some(why.clone());
                self.problems.push(why);
                return;
            }
        }
        for there in others.iter_mut().filter(|there| there.place.takes(self.set.name())) {
            let target = &there.place.name;
            let hear = self.jobs.listener.begin(Step::Copying(target));
            let copied = local.copy_to(there, self.set.name(), &mut self.jobs.record, now, &*hear);
            self.jobs.listener.end();
            let record = self.jobs.record.target(target);
            match copied {
                Ok((archives, bytes)) => {
                    record.success = Some(now);
                    record.problem = there.exposed();
                    self.moved.push(Moved { target: target.clone(), deleted: false, archives, bytes });
                }
                Err(error) => {
                    let why = chain(&error);
                    record.problem = Some(why.clone());
                    self.problems.push(format!("not copied to {target}: {why}"));
                }
            }
        }
    }

    fn prune(&mut self, reached: &mut [Reached<'_>]) {
        let (now, synchronized) = (self.jobs.now.clone(), self.jobs.synchronized);
        for there in reached.iter_mut().filter(|there| there.place.takes(self.set.name())) {
            let decisions = there.decide(self.set.name(), &self.jobs.record, &now, synchronized);
            let target = there.place.name.clone();
            match there.delete(&decisions, &mut self.jobs.record) {
                Ok((0, _)) => {}
                Ok((archives, bytes)) => {
                    self.moved.push(Moved { target, deleted: true, archives, bytes });
                }
                Err(error) => {
                    self.problems.push(format!("nothing deleted at {target}: {}", chain(&error)));
                }
            }
        }
    }
}

/// Says that a set was not at rest while it was saved.
fn not_at_rest(restless: &Restless) -> String {
    format!("not at rest: {}", restless.advice("units"))
}
