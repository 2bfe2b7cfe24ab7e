//! `pitool backup run`: saves sets, verifies the archives, copies them to their targets, deletes old ones.

use std::path::PathBuf;
use std::time::Instant;

use pitool_backup::quiet::{self, Quiet, Restless};
use pitool_backup::record::{self, ArchiveRecord, Deed, LOCAL, Record};
use pitool_backup::save::{Job, Progress, Saved};
use pitool_backup::{SetName, Store, Unchanged, save};
use pitool_config::settings::{self, Containers, Set};
use pitool_config::values::{
    AbsolutePath, AgeRecipient, Argument, BackupName, Pattern, UnitName, VolumeName,
};
use pitool_host::Command;
use pitool_host::text::chain;
use serde_json::json;

use super::backups::{Backups, host_name};
use super::copy::{Reached, reach};
use super::lock::lock;
use super::places::places;
use super::scratch::scratch;
use super::unfinished::wake;
use super::verify::after_writing;
use crate::backup::Outcome;
use crate::cli;
use crate::exit;
use crate::failure::Result;
use crate::render::{backup as show, bytes, count, json as json_out};
use crate::session::Session;

/// Saves sets.
pub(super) fn run(session: &Session<'_, '_>, command: &cli::BackupRun) -> Result<u8> {
    session.require_root()?;
    let mut backups = Backups::new(session, &command.sets.sets)?;
    let _lock = lock(session)?;
    // Another backup may have written it while this one waited.
    backups.record = Record::read(session.inspect())?;
    record::prepare(session.host)?;
    // Whatever does not wake is a problem of this run too, and no reason to save nothing.
    let asleep = wake(session).err().map(|failure| {
        let words: Vec<String> =
            std::iter::once(failure.message).chain(failure.causes).chain(failure.hints).collect();
        words.join("; ")
    });

    let settings = backups.settings.clone();
    let places = places(&settings.backup);
    let identities = backups.identities();
    let mut reached: Vec<Reached<'_, '_>> = Vec::new();
    let mut away: Vec<(String, String)> = Vec::new();
    for place in &places {
        match reach(session.host, place, &mut backups.record, &identities, command.adopt) {
            Ok(there) => {
                for weakness in &there.weaknesses {
                    session.terminal.say(format!("{}: {}.", place.name, weakness.why));
                }
                reached.push(there);
            }
            Err(why) => away.push((place.name.clone(), why)),
        }
    }
    let mut outcomes = Vec::new();
    let sets = backups.sets.clone();
    for (name, set) in &sets {
        let problems = asleep.iter().cloned().collect();
        let mut one = One { backups: &mut backups, name, set, problems, targets: Vec::new() };
        for (place, why) in &away {
            let takes = places.iter().any(|known| known.name == *place && known.takes(name.as_str()));
            if takes {
                one.problems.push(format!("not copied to {place}: {why}"));
            }
        }
        let outcome = one.save_and_copy(&mut reached);
        backups.record.set(name.as_str()).since.get_or_insert(outcome.deed.time);
        backups.remember()?;
        show::outcome(session.terminal, &outcome, &session.clock());
        let stopped = session.host.interrupted();
        outcomes.push(outcome);
        if stopped {
            break;
        }
    }
    let failed = outcomes.iter().filter(|outcome| !outcome.deed.ok).count();
    let code = if failed == 0 && outcomes.len() == sets.len() { exit::DONE } else { exit::FAILED };
    if session.terminal.json {
        let summary = json!({ "event": "summary", "command": "backup run", "exit": code,
            "sets": outcomes.len(), "failed": failed });
        json_out::event(session.terminal, &summary);
    }
    Ok(code)
}

/// One set at work.
struct One<'a, 's, 'h, 't> {
    backups: &'a mut Backups<'s, 'h, 't>,
    name: &'a BackupName,
    set: &'a Set,
    problems: Vec<String>,
    targets: Vec<String>,
}

impl One<'_, '_, '_, '_> {
    fn save_and_copy(mut self, reached: &mut [Reached<'_, '_>]) -> Outcome {
        let begun = Instant::now();
        let saved = self.save(reached);
        if let Some(saved) = &saved {
            self.judge(saved);
            self.copy(saved, reached);
        }
        let deed = Deed {
            time: self.backups.now(),
            clock_synchronized: self.backups.synchronized,
            ok: self.problems.is_empty() && saved.is_some(),
            archive: saved.as_ref().map(|saved| saved.name.to_string()),
            seconds: begun.elapsed().as_secs_f64(),
            files: saved.as_ref().map_or(0, |saved| saved.end.files),
            bytes: saved.as_ref().map_or(0, |saved| saved.end.bytes),
            problems: std::mem::take(&mut self.problems),
        };
        let record = self.backups.record.set(self.name.as_str());
        record.run = Some(deed.clone());
        if deed.ok {
            record.success = Some(deed.clone());
        }
        // Only now is it known whether the run went well; nothing goes after one that did not.
        self.prune(reached);
        if !self.problems.is_empty() {
            let record = self.backups.record.set(self.name.as_str());
            if let Some(run) = &mut record.run {
                run.ok = false;
                run.problems.append(&mut self.problems);
            }
        }
        let deed = self.backups.record.set(self.name.as_str()).run.clone().unwrap_or(deed);
        Outcome { set: self.name.to_string(), deed, saved, targets: self.targets }
    }

    /// Saves the set with everything at rest that should be; whatever happens, that comes back.
    fn save(&mut self, reached: &[Reached<'_, '_>]) -> Option<Saved> {
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

    fn save_quietly(&mut self, reached: &[Reached<'_, '_>]) -> Option<Saved> {
        let session = self.backups.session;
        let volumes: Vec<String> = self.set.volumes.iter().map(VolumeName::to_string).collect();
        let volumes = match quiet::volumes(session.inspect(), &volumes) {
            Ok(volumes) => volumes,
            Err(error) => {
                self.problems.push(format!("cannot find its volumes: {}", chain(&error)));
                return None;
            }
        };
        self.look_for_what_is_gone();
        let set = match self.converted(&volumes) {
            Ok(set) => set,
            Err(why) => {
                self.problems.push(why);
                return None;
            }
        };
        let used: Vec<PathBuf> = [set.paths.clone(), set.optional.clone(), set.databases.clone()].concat();
        let units: Vec<String> = self.set.units.iter().map(UnitName::to_string).collect();
        let quiet = match Quiet::begin(session.host, rest(self.set), &used, &units) {
            Ok(quiet) => quiet,
            Err(error) => {
                self.problems
                    .push(format!("cannot bring its containers and units to rest: {}", chain(&error)));
                return None;
            }
        };
        // It is saved all the same: databases are whole in any case, and the rest is better than nothing.
        self.problems.extend(quiet.restless().iter().map(not_at_rest));
        let after = reached.iter().map(|there| there.last(self.name.as_str())).max().unwrap_or(0);
        let saved = self.archive(&set, after);
        match quiet.end() {
            Ok(started) => self.problems.extend(started.iter().map(not_at_rest)),
            Err(error) => self.problems.push(format!("what rested does not come back: {}", chain(&error))),
        }
        match saved {
            Ok(saved) => Some(saved),
            Err(error) => {
                self.problems.push(chain(&error));
                None
            }
        }
    }

    fn archive(&self, set: &pitool_backup::Set, after: u32) -> pitool_backup::Result<Saved> {
        let session = self.backups.session;
        let directory = self.backups.settings.backup.directory.as_path();
        let store = Store::new(directory);
        let scratch = scratch(directory)?;
        let identities = self.backups.identities();
        let host = host_name(session);
        let job = Job {
            set,
            store: &store,
            scratch: &scratch,
            identities: &identities,
            host: &host,
            after,
            interrupted: &session.caller.stop,
        };
        let live = &session.terminal.live;
        live.start(0, &format!("Saving {}", self.name));
        let ticker = live.ticker();
        let name = self.name.to_string();
        let saved = save(&job, &move |progress: Progress| {
            let (files, done) = (progress.files, bytes(progress.bytes));
            ticker.say(format!(
                "Saving {name}: {files} files, {done} read, {} written",
                bytes(progress.written)
            ));
        });
        live.finish();
        saved
    }

    /// A place that may be missing, but was there before, is missed: an app's disk that is not mounted.
    fn look_for_what_is_gone(&mut self) {
        let host = self.backups.session.inspect();
        let there = |path: &&AbsolutePath| host.stat(path.as_str()).is_ok_and(|found| found.is_some());
        let present: Vec<String> =
            self.set.optional.iter().filter(there).map(AbsolutePath::to_string).collect();
        let record = self.backups.record.set(self.name.as_str());
        for path in self.set.optional.iter().map(AbsolutePath::as_str) {
            if record.present.iter().any(|before| before == path) && !present.iter().any(|now| now == path) {
                self.problems.push(format!("{path} was saved before and is not there any more"));
            }
        }
        record.present = present;
    }

    fn converted(&self, volumes: &[PathBuf]) -> std::result::Result<pitool_backup::Set, String> {
        let paths =
            |paths: &[AbsolutePath]| paths.iter().map(|path| path.as_path().to_owned()).collect::<Vec<_>>();
        let name: SetName =
            self.name.as_str().parse().map_err(|error: pitool_backup::Error| chain(&error))?;
        let backup = &self.backups.settings.backup;
        let mut set = pitool_backup::Set::new(name);
        set.paths = [paths(&self.set.paths), volumes.to_vec()].concat();
        set.optional = paths(&self.set.optional);
        set.databases = paths(&self.set.databases);
        set.exclude = self.set.exclude.iter().map(Pattern::to_string).collect();
        set.one_file_system = self.set.one_file_system;
        set.recipients = backup.recipients.iter().map(AgeRecipient::to_string).collect();
        set.unchanged = match backup.unchanged {
            settings::Unchanged::Note => Unchanged::Manifest,
            settings::Unchanged::Archive => Unchanged::Archive,
        };
        Ok(set)
    }

    /// Runs one of the set's own commands, which no shell reads.
    fn command(
        &self,
        words: &[Argument],
        what: &str,
        env: &[(&str, &str)],
    ) -> std::result::Result<(), String> {
        let Some((program, args)) = words.split_first() else { return Ok(()) };
        let mut command = Command::new(program.as_str())
            .args(args.iter().map(Argument::as_str))
            .timeout(self.set.command_timeout.into())
            .env("PITOOL_SET", self.name.as_str());
        for (name, value) in env {
            command = command.env(*name, *value);
        }
        let run = self.backups.session.host.run(&command);
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
        let problems: Vec<String> =
            saved.notes.iter().filter(|note| note.what.is_problem()).map(show::note).collect();
        let more = usize::try_from(saved.end.problems).unwrap_or(usize::MAX).saturating_sub(MOST);
        self.problems.extend(problems.into_iter().take(MOST));
        if more > 0 {
            self.problems.push(format!("and {}", count(more, "more problem")));
        }
        if saved.end.entries == 0 {
            self.problems.push("nothing of it is there: the archive is empty".to_owned());
        }
    }

    /// Copies the archive to the targets of its set.
    fn copy(&mut self, saved: &Saved, reached: &mut [Reached<'_, '_>]) {
        let session = self.backups.session;
        let now = self.backups.now();
        let Some((local, others)) = reached.split_first_mut().filter(|(first, _)| first.place.local()) else {
            return;
        };
        if let Err(error) = local.look() {
            self.problems.push(chain(&error));
            return;
        }
        match after_writing(self.backups, saved) {
            Ok(size) => {
                let refers_to = match &saved.seal {
                    pitool_backup::manifest::Seal::UnchangedSince(name) => Some(name.to_string()),
                    pitool_backup::manifest::Seal::Archive { .. } => None,
                };
                let known =
                    ArchiveRecord { verified: now, damaged: false, size, bytes: saved.end.bytes, refers_to };
                self.backups.record.target(LOCAL).archives.insert(saved.name.to_string(), known);
                let target = self.backups.record.target(LOCAL);
                target.success = Some(now);
                target.problem = local.exposed();
            }
            Err(why) => {
                self.backups.record.target(LOCAL).problem = Some(why.clone());
                self.problems.push(why);
                return;
            }
        }
        for there in others.iter_mut().filter(|there| there.place.takes(self.name.as_str())) {
            let live = &session.terminal.live;
            live.start(0, &format!("Copying to {}", there.place.name));
            let ticker = live.ticker();
            let place = there.place.name.clone();
            let mut hear = |file: &str, done: u64, size: u64| {
                ticker.say(format!("Copying to {place}: {} of {}, {file}", bytes(done), bytes(size)));
            };
            let copied = local.copy_to(there, self.name.as_str(), &mut self.backups.record, now, &mut hear);
            live.finish();
            let record = self.backups.record.target(&there.place.name);
            match copied {
                Ok((archives, size)) => {
                    record.success = Some(now);
                    record.problem = there.exposed();
                    self.targets.push(format!(
                        "{}: {} copied, {}",
                        there.place.name,
                        count(archives, "archive"),
                        bytes(size)
                    ));
                }
                Err(error) => {
                    let why = chain(&error);
                    record.problem = Some(why.clone());
                    self.problems.push(format!("not copied to {}: {why}", there.place.name));
                }
            }
        }
    }

    fn prune(&mut self, reached: &mut [Reached<'_, '_>]) {
        let (now, synchronized) = (self.backups.now.clone(), self.backups.synchronized);
        for there in reached.iter_mut().filter(|there| there.place.takes(self.name.as_str())) {
            let decisions = there.decide(self.name.as_str(), &self.backups.record, &now, synchronized);
            match there.delete(&decisions, &mut self.backups.record) {
                Ok((0, _)) => {}
                Ok((archives, size)) => self.targets.push(format!(
                    "{}: {} deleted, {}",
                    there.place.name,
                    count(archives, "old archive"),
                    bytes(size)
                )),
                Err(error) => {
                    self.problems.push(format!("nothing deleted at {}: {}", there.place.name, chain(&error)));
                }
            }
        }
    }
}

/// Says that a set was not at rest while it was saved.
fn not_at_rest(restless: &Restless) -> String {
    format!("not at rest: {}", restless.advice("units"))
}

/// How many problems of a set are told one by one.
const MOST: usize = 10;

/// How the containers of a set rest.
fn rest(set: &Set) -> Option<quiet::Rest> {
    match set.containers {
        Containers::Running => None,
        Containers::Paused => Some(quiet::Rest::Paused),
        Containers::Stopped => Some(quiet::Rest::Stopped),
    }
}
