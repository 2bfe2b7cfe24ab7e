//! The journal: what was there when a run started, then what happened.
//!
//! One append-only file of JSON lines per run, `runs/000007.jsonl`, and one file per distinct content,
//! `blobs/<digest>`. Everything is readable by root only. The header, the snapshot of every resource and the
//! line `ready` are one durable write before the run's first change; a file without `ready` belongs to a run
//! that never changed anything. Later lines tell what happened; a crash leaves a valid prefix.
//!
//! The format is 2; 1, that of pitool 0.1.0, is read. A line of a kind that is not known is skipped after `ready`, and so is
//! a field: what a later version adds costs no new format unless it changes what going back means.

mod undoable;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use pitool_host::{Access, Content, Digest, Host, Inspect};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Action, Aim, Change, Goal, Id, Resource};

/// The number of a run, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub u32);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What a run is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Purpose {
    /// Make the machine what the config says.
    Apply,
    /// Make the machine what it was before this run.
    Rollback {
        /// The run.
        of: RunId,
        /// Why it goes back.
        #[serde(default)]
        cause: Cause,
    },
}

/// Why a run goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// A person or a program asked for it.
    #[default]
    Asked,
    /// The run before it failed.
    Failed,
    /// Nobody confirmed the run before it in time.
    Unconfirmed,
}

/// On whose behalf a run was made, if nobody typed it on the machine itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The fleet's run that it is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<String>,
    /// The commit that the config is from: its object name, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Whose signature of it was verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
}

/// Who confirmed a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    /// The user, or the program that did so.
    pub by: String,
    /// Where the connection came from; `None` at a console.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// When, RFC 3339.
    pub at: String,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// Every resource reached its state.
    Done,
    /// Somebody asked it to stop; it stopped after a step.
    Interrupted,
    /// A step failed.
    Failed,
}

/// The first line of a run's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the file's format; an unknown one is refused with the version of pitool that wrote it.
    pub format: u32,
    /// The run's number.
    pub run: RunId,
    /// What it is for.
    pub purpose: Purpose,
    /// The roles that were asked.
    pub roles: Vec<String>,
    /// The command line.
    pub command: String,
    /// The version of pitool.
    pub pitool: String,
    /// When it started, RFC 3339. The clock may have been wrong.
    pub started: String,
    /// An unfinished run that this one goes on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<RunId>,
    /// The run whose second part this one is: both go back together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<RunId>,
    /// On whose behalf it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

impl Header {
    /// The same as the present format would have it: format 1 did not say why a run goes back, but its command did.
    fn read(mut self) -> Self {
        if let (1, Purpose::Rollback { cause, .. }) = (self.format, &mut self.purpose) {
            let asked = self.command.starts_with("pitool rollback");
            *cause = if asked { Cause::Asked } else { Cause::Failed };
        }
        self
    }
}

/// The present version of the format.
const FORMAT: u32 = 2;

/// The oldest version of the format that is read: that of pitool 0.1.0.
const OLDEST: u32 = 1;

/// Runs to keep; older ones go when a new run starts. Twenty weekly changes are nearly half a year.
const KEPT_RUNS: usize = 20;

/// Bytes that all kept runs and contents may take: an SD card's rounding error.
const KEPT_BYTES: u64 = 100 << 20;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    Header(Header),
    Snapshot {
        id: Id,
        roles: Vec<String>,
        resource: Value,
        /// The state; none where it could not be read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Value>,
        /// Why it could not: nothing was changed there, and nothing goes back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unreadable: Option<String>,
    },
    Ready {
        resources: usize,
    },
    Begin {
        id: Id,
        #[serde(default)]
        action: Action,
        summary: String,
    },
    End {
        id: Id,
    },
    Failed {
        id: Id,
        error: String,
    },
    Finished {
        ending: Ending,
        changed: usize,
        at: String,
    },
    /// It stays only if somebody confirms it before then.
    Awaits {
        until: String,
    },
    Confirmed(Confirmed),
}

/// One run as its file tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Run {
    /// The header.
    #[serde(flatten)]
    pub header: Header,
    /// How it ended; `None` when it was cut off.
    pub ending: Option<Ending>,
    /// When it ended, RFC 3339.
    pub finished: Option<String>,
    /// Ids whose steps began, with their change in words, and what became of the thing.
    pub begun: Vec<(Id, String, Action)>,
    /// Ids whose state could not be read when it started, with why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<(Id, String)>,
    /// How many resources changed; of a cut run, how many steps ended.
    pub changed: usize,
    /// The failures.
    pub failures: Vec<(Id, String)>,
    /// Until when somebody has to confirm it, RFC 3339, if it waits or waited for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub awaits: Option<String>,
    /// Who confirmed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<Confirmed>,
}

impl Run {
    /// What a run is of which the header alone is known.
    fn of(header: Header) -> Self {
        Self {
            header: header.read(),
            ending: None,
            finished: None,
            begun: vec![],
            unreadable: vec![],
            changed: 0,
            failures: vec![],
            awaits: None,
            confirmed: None,
        }
    }

    /// Whether it goes back unless somebody confirms it.
    pub fn unconfirmed(&self) -> bool {
        self.awaits.is_some() && self.confirmed.is_none()
    }

    /// Whether it was cut off or stopped half way: it waits for `apply` to go on or `rollback` to go back.
    pub fn unfinished(&self) -> bool {
        !matches!(self.ending, Some(Ending::Done))
    }
}

/// A journal that cannot be written or understood.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk said no.
    #[error("cannot write the journal in {dir}; nothing was changed")]
    Write {
        /// Where.
        dir: String,
        /// Why.
        #[source]
        source: pitool_host::Error,
    },
    /// The disk said no when the run was over.
    #[error(
        "run {run} has settled everything, but the journal in {dir} cannot say so; make room and apply again"
    )]
    Late {
        /// The run.
        run: RunId,
        /// Where.
        dir: String,
        /// Why.
        #[source]
        source: pitool_host::Error,
    },
    /// The disk said no, reading.
    #[error("cannot read the journal in {dir}")]
    Read {
        /// Where.
        dir: String,
        /// Why.
        #[source]
        source: pitool_host::Error,
    },
    /// Written by another version.
    #[error(
        "run {run} was written by pitool {pitool} in format {format}, which this version cannot read; use that version to roll it back"
    )]
    Format {
        /// The run.
        run: RunId,
        /// Its writer.
        pitool: String,
        /// Its format.
        format: u32,
    },
    /// The newest run cannot be read, so that nobody knows what it changed.
    #[error(
        "run {0}, the newest, is damaged: its file is missing or cut short; `pitool history` lists the runs that can be \
         read, and `pitool rollback NUMBER` goes back to before one of them"
    )]
    Newest(RunId),
    /// There is no such run.
    #[error("there is no run {0}; `pitool history` lists the runs")]
    Missing(RunId),
    /// A content is encrypted, and this version has no key.
    #[error("run {run} holds a secret that only a newer pitool can open; use that version to roll it back")]
    Sealed {
        /// The run.
        run: RunId,
    },
    /// A line or a content is damaged.
    #[error("run {run} is damaged: {why}")]
    Damaged {
        /// The run.
        run: RunId,
        /// What is wrong.
        why: String,
    },
}

type Result<T> = std::result::Result<T, JournalError>;

/// A rollback that did not reach its end.
pub(crate) struct Attempt<R: Resource> {
    /// Its number.
    pub(crate) run: RunId,
    /// What it found.
    pub(crate) before: BTreeMap<Id, R::State>,
    /// What it brought back.
    pub(crate) ended: BTreeSet<Id>,
}

impl JournalError {
    /// Whether the disk took no more (and not that the power went).
    pub(crate) fn disk(&self) -> bool {
        matches!(self, Self::Write { source, .. } if !matches!(source, pitool_host::Error::PowerCut))
    }

    /// The same at the end of a run, when it is not true any more that nothing was changed.
    pub(crate) fn late(self, run: RunId) -> Self {
        match self {
            Self::Write { dir, source } if !matches!(source, pitool_host::Error::PowerCut) => {
                Self::Late { run, dir, source }
            }
            other => other,
        }
    }
}

/// The journal of one machine.
#[derive(Clone, Debug)]
pub struct Journal {
    dir: String,
}

impl Default for Journal {
    fn default() -> Self {
        Self::new("/var/lib/pitool")
    }
}

impl Journal {
    /// The journal in this directory.
    pub fn new(dir: &str) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// The directory.
    pub fn dir(&self) -> &str {
        &self.dir
    }

    fn runs_dir(&self) -> String {
        format!("{}/runs", self.dir)
    }

    fn path(&self, run: RunId) -> String {
        format!("{}/runs/{:06}.jsonl", self.dir, run.0)
    }

    fn blob_path(&self, digest: &str) -> String {
        format!("{}/blobs/{digest}", self.dir)
    }

    fn write_error(&self) -> impl FnOnce(pitool_host::Error) -> JournalError + '_ {
        |source| JournalError::Write { dir: self.dir.clone(), source }
    }

    fn read_error(&self) -> impl FnOnce(pitool_host::Error) -> JournalError + '_ {
        |source| JournalError::Read { dir: self.dir.clone(), source }
    }

    fn numbers(&self, host: &dyn Inspect) -> Result<Vec<RunId>> {
        let names = host.list(&self.runs_dir()).map_err(self.read_error())?.unwrap_or_default();
        Ok(names.iter().filter_map(|name| name.strip_suffix(".jsonl")?.parse().ok().map(RunId)).collect())
    }

    fn lines(&self, host: &dyn Inspect, run: RunId) -> Result<Option<Vec<Line>>> {
        let Some(content) = host.read(&self.path(run)).map_err(self.read_error())? else { return Ok(None) };
        let text = String::from_utf8_lossy(content.bytes()).into_owned();
        if let Some(first) = text.lines().next() {
            if let Ok(value) = serde_json::from_str::<Value>(first) {
                let header = &value["header"];
                let known = u64::from(OLDEST)..=u64::from(FORMAT);
                if let Some(format) = header["format"].as_u64().filter(|format| !known.contains(format)) {
                    let pitool = header["pitool"].as_str().unwrap_or("?").to_owned();
                    return Err(JournalError::Format { run, pitool, format: format as u32 });
                }
            }
        }
        // A power cut or a full disk may leave a torn line: of a snapshot nothing after it counts; once the run was
        // ready it is one line for people that is missing.
        let mut lines = Vec::new();
        for line in text.lines() {
            match serde_json::from_str(line) {
                Ok(line) => lines.push(line),
                Err(_) if lines.iter().any(|line| matches!(line, Line::Ready { .. })) => {}
                Err(_) => break,
            }
        }
        Ok(Some(lines))
    }

    /// Reads one run; `None` for a file that never became ready, or none at all.
    pub fn run(&self, host: &dyn Inspect, run: RunId) -> Result<Option<Run>> {
        let Some(lines) = self.lines(host, run)? else { return Ok(None) };
        let mut found: Option<Run> = None;
        let mut ready = false;
        let mut ended = 0;
        for line in lines {
            match (line, &mut found) {
                (Line::Header(header), found) => *found = Some(Run::of(header)),
                (Line::Snapshot { id, unreadable: Some(why), .. }, Some(run)) => {
                    run.unreadable.push((id, why))
                }
                (Line::Ready { .. }, _) => ready = true,
                (Line::Begin { id, action, summary }, Some(run)) => run.begun.push((id, summary, action)),
                (Line::End { .. }, Some(_)) => ended += 1,
                (Line::Failed { id, error }, Some(run)) => run.failures.push((id, error)),
                (Line::Finished { ending, changed, at }, Some(run)) => {
                    run.ending = Some(ending);
                    run.finished = Some(at);
                    ended = changed;
                }
                (Line::Awaits { until }, Some(run)) => run.awaits = Some(until),
                (Line::Confirmed(confirmed), Some(run)) => run.confirmed = Some(confirmed),
                _ => {}
            }
        }
        Ok(found.filter(|_| ready).map(|run| Run { changed: ended, ..run }))
    }

    /// Reads every run that became ready, oldest first.
    pub fn list(&self, host: &dyn Inspect) -> Result<Vec<Run>> {
        let mut runs = Vec::new();
        for number in self.numbers(host)? {
            runs.extend(self.run(host, number)?);
        }
        Ok(runs)
    }

    /// The newest run if it was cut off or stopped half way.
    pub fn unfinished(&self, host: &dyn Inspect) -> Result<Option<Run>> {
        for number in self.numbers(host)?.into_iter().rev() {
            if let Some(run) = self.run(host, number)? {
                return Ok(Some(run).filter(Run::unfinished));
            }
        }
        Ok(None)
    }

    /// What was there before this run, for every resource that it or a later run looked at: the earliest
    /// snapshot wins. In the order in which they were recorded. A state that could not be read is none: its run did not
    /// touch the thing, and the next snapshot of it counts.
    pub fn before<R: Resource>(&self, host: &dyn Inspect, run: RunId) -> Result<Vec<Goal<R>>> {
        if self.run(host, run)?.is_none() {
            let damaged = self.damaged(host)? == Some(run);
            return Err(if damaged { JournalError::Newest(run) } else { JournalError::Missing(run) });
        }
        let mut seen = BTreeSet::new();
        let mut goals = Vec::new();
        for number in self.numbers(host)?.into_iter().filter(|number| *number >= run) {
            if self.run(host, number)?.is_none() {
                continue;
            }
            for line in self.lines(host, number)?.unwrap_or_default() {
                let Line::Snapshot { id, roles, resource, before: Some(before), .. } = line else { continue };
                if seen.insert(id) {
                    let resource = self.recall(host, number, resource)?;
                    let before = self.recall(host, number, before)?;
                    goals.push(Goal { resource, roles, aim: Aim::Restored(before) });
                }
            }
        }
        Ok(goals)
    }

    /// Rollbacks of this run that failed or were stopped, the newest first, where no other run came after them. Of one that
    /// was cut off nobody knows what it did last: it is done over.
    pub(crate) fn unfinished_rollbacks<R: Resource>(
        &self,
        host: &dyn Inspect,
        run: RunId,
    ) -> Result<Vec<Attempt<R>>> {
        let mut attempts = Vec::new();
        for number in self.numbers(host)?.into_iter().rev() {
            let Some(found) = self.run(host, number)? else { continue };
            let same = matches!(found.header.purpose, Purpose::Rollback { of, .. } if of == run);
            if !same || !found.unfinished() {
                break;
            }
            if found.ending.is_none() {
                continue;
            }
            let mut attempt = Attempt { run: number, before: BTreeMap::new(), ended: BTreeSet::new() };
            for line in self.lines(host, number)?.unwrap_or_default() {
                match line {
                    Line::Snapshot { id, before: Some(before), .. } => {
                        attempt.before.insert(id, self.recall(host, number, before)?);
                    }
                    Line::End { id } => drop(attempt.ended.insert(id)),
                    _ => {}
                }
            }
            attempts.push(attempt);
        }
        Ok(attempts)
    }

    /// Starts a run: one durable write with the header and the state of every resource.
    pub(crate) fn begin<R: Resource>(
        &self,
        host: &dyn Host,
        header: impl FnOnce(RunId, u32) -> Header,
        goals: &[Goal<R>],
        observed: &[R::State],
    ) -> Result<RunId> {
        for dir in [self.dir.clone(), self.runs_dir(), format!("{}/blobs", self.dir)] {
            if host.stat(&dir).map_err(self.read_error())?.is_none() {
                host.make_dir(&dir, Access::root(0o700)).map_err(self.write_error())?;
            }
        }
        let numbers = self.numbers(host.inspect())?;
        self.prune(host, &numbers)?;
        let run = RunId(numbers.last().map_or(1, |last| last.0 + 1));
        let mut lines = vec![Line::Header(header(run, FORMAT))];
        for (goal, before) in goals.iter().zip(observed) {
            lines.push(Line::Snapshot {
                id: goal.resource.id(),
                roles: goal.roles.clone(),
                resource: self.store(host, &goal.resource)?,
                before: Some(self.store(host, before)?),
                unreadable: None,
            });
        }
        lines.push(Line::Ready { resources: goals.len() });
        self.append(host, run, &lines, true)?;
        Ok(run)
    }

    /// The number after the last one.
    pub(crate) fn next(&self, host: &dyn Inspect) -> Result<RunId> {
        Ok(RunId(self.numbers(host)?.last().map_or(1, |last| last.0 + 1)))
    }

    fn append(&self, host: &dyn Host, run: RunId, lines: &[Line], durable: bool) -> Result<()> {
        // The line before may be torn: the end must not be lost with it.
        let mut text = if matches!(lines, [Line::Finished { .. }]) { "\n".to_owned() } else { String::new() };
        for line in lines {
            let line = serde_json::to_string(line)
                .map_err(|error| JournalError::Damaged { run, why: error.to_string() })?;
            text.push_str(&line);
            text.push('\n');
        }
        host.append(&self.path(run), text.as_bytes(), durable).map_err(self.write_error())
    }

    /// Tells that steps begin. Not synced: for people; going back needs the snapshot only.
    pub(crate) fn steps_begin(&self, host: &dyn Host, run: RunId, steps: &[(Id, Change)]) -> Result<()> {
        let begin = |(id, change): &(Id, Change)| Line::Begin {
            id: id.clone(),
            action: change.action,
            summary: change.summary.clone(),
        };
        let lines: Vec<Line> = steps.iter().map(begin).collect();
        self.append(host, run, &lines, false)
    }

    /// Tells that steps ended.
    pub(crate) fn steps_end(&self, host: &dyn Host, run: RunId, ids: &[Id]) -> Result<()> {
        let lines: Vec<Line> = ids.iter().map(|id| Line::End { id: id.clone() }).collect();
        self.append(host, run, &lines, false)
    }

    /// Tells that a step failed.
    pub(crate) fn step_failed(&self, host: &dyn Host, run: RunId, id: &Id, error: &str) -> Result<()> {
        self.append(host, run, &[Line::Failed { id: id.clone(), error: error.to_owned() }], false)
    }

    /// Ends a run, durably.
    pub(crate) fn finish(&self, host: &dyn Host, run: RunId, ending: Ending, changed: usize) -> Result<()> {
        let at = host.now().to_string();
        self.append(host, run, &[Line::Finished { ending, changed, at }], true)
    }

    /// Serializes a value, moving file contents out of it into files named by digest.
    pub(crate) fn store<T: Serialize>(&self, host: &dyn Host, value: &T) -> Result<Value> {
        let mut value = serde_json::to_value(value)
            .map_err(|error| JournalError::Damaged { run: RunId(0), why: error.to_string() })?;
        self.store_contents(host, &mut value)?;
        Ok(value)
    }

    fn store_contents(&self, host: &dyn Host, value: &mut Value) -> Result<()> {
        match value {
            Value::Object(map) if map.len() == 1 && map.contains_key(Content::KEY) => {
                let content: Content = serde_json::from_value(value.clone())
                    .map_err(|error| JournalError::Damaged { run: RunId(0), why: error.to_string() })?;
                let digest = content.digest().to_string();
                let path = self.blob_path(&digest);
                if host.stat(&path).map_err(self.read_error())?.is_none() {
                    host.write(&path, content.bytes(), Access::root(0o600)).map_err(self.write_error())?;
                }
                *value = serde_json::json!({ BLOB: digest });
                Ok(())
            }
            Value::Object(map) => map.values_mut().try_for_each(|value| self.store_contents(host, value)),
            Value::Array(items) => items.iter_mut().try_for_each(|value| self.store_contents(host, value)),
            _ => Ok(()),
        }
    }

    /// Reads a stored value back, contents included.
    pub(crate) fn recall<T: serde::de::DeserializeOwned>(
        &self,
        host: &dyn Inspect,
        run: RunId,
        mut value: Value,
    ) -> Result<T> {
        self.recall_contents(host, run, &mut value)?;
        serde_json::from_value(value).map_err(|error| JournalError::Damaged { run, why: error.to_string() })
    }

    fn recall_contents(&self, host: &dyn Inspect, run: RunId, value: &mut Value) -> Result<()> {
        match value {
            Value::Object(map) if map.len() == 1 && map.contains_key(SEALED) => {
                Err(JournalError::Sealed { run })
            }
            Value::Object(map) if map.len() == 1 && map.contains_key(BLOB) => {
                let digest = map[BLOB].as_str().and_then(Digest::parse);
                let digest = digest
                    .ok_or_else(|| JournalError::Damaged { run, why: "a content has no digest".into() })?;
                let content = host.read(&self.blob_path(&digest.to_string())).map_err(self.read_error())?;
                let content = content.filter(|content| content.digest() == digest).ok_or_else(|| {
                    JournalError::Damaged { run, why: format!("content {digest} is missing or altered") }
                })?;
                *value = serde_json::to_value(content)
                    .map_err(|error| JournalError::Damaged { run, why: error.to_string() })?;
                Ok(())
            }
            Value::Object(map) => {
                map.values_mut().try_for_each(|value| self.recall_contents(host, run, value))
            }
            Value::Array(items) => {
                items.iter_mut().try_for_each(|value| self.recall_contents(host, run, value))
            }
            _ => Ok(()),
        }
    }

    /// Removes the oldest runs over the limits, never the newest, the newest that changed something nor an unfinished one,
    /// and the contents that nothing names any more.
    fn prune(&self, host: &dyn Host, numbers: &[RunId]) -> Result<()> {
        let size = |path: &str| {
            host.stat(path).map_err(self.read_error()).map(|stat| stat.map_or(0, |stat| stat.size))
        };
        let blobs = host.list(&format!("{}/blobs", self.dir)).map_err(self.read_error())?.unwrap_or_default();
        let mut sizes = BTreeMap::new();
        for blob in blobs {
            let bytes = size(&self.blob_path(&blob))?;
            sizes.insert(blob, bytes);
        }
        let mut bytes: u64 = sizes.values().sum();
        for number in numbers {
            bytes += size(&self.path(*number))?;
        }
        if numbers.len() < KEPT_RUNS && bytes <= KEPT_BYTES {
            return Ok(());
        }
        // How many of the kept files name each content.
        let mut named: BTreeMap<String, usize> = BTreeMap::new();
        let files = numbers.iter().map(|run| self.path(*run)).chain([format!("{}/managed.json", self.dir)]);
        for path in files {
            for blob in self.names_in(host, &path)? {
                *named.entry(blob).or_default() += 1;
            }
        }
        let runs = self.list(host.inspect())?;
        let newest_change = runs.iter().rev().find(|run| run.changed > 0).map(|run| run.header.run);
        let mut excess = numbers.len().saturating_sub(KEPT_RUNS - 1);
        let mut unnamed = |named: &BTreeMap<String, usize>, bytes: &mut u64| -> Result<()> {
            for blob in sizes.keys().filter(|blob| !named.contains_key(*blob)).cloned().collect::<Vec<_>>() {
                host.remove(&self.blob_path(&blob)).map_err(self.write_error())?;
                *bytes = bytes.saturating_sub(sizes.remove(&blob).unwrap_or_default());
            }
            Ok(())
        };
        unnamed(&named, &mut bytes)?;
        for number in numbers {
            if excess == 0 && bytes <= KEPT_BYTES {
                break;
            }
            let run = runs.iter().find(|run| run.header.run == *number);
            let protected = run.is_some_and(|run| run.ending.is_none() || run.unconfirmed())
                || newest_change == Some(*number)
                || numbers.last() == Some(number);
            if protected {
                continue;
            }
            let path = self.path(*number);
            for blob in self.names_in(host, &path)? {
                if let Some(count) = named.get_mut(&blob) {
                    *count -= 1;
                }
            }
            named.retain(|_, count| *count > 0);
            bytes = bytes.saturating_sub(size(&path)?);
            host.remove(&path).map_err(self.write_error())?;
            excess = excess.saturating_sub(1);
            unnamed(&named, &mut bytes)?;
        }
        Ok(())
    }

    /// The contents that a file of the journal names.
    fn names_in(&self, host: &dyn Host, path: &str) -> Result<BTreeSet<String>> {
        let Some(content) = host.read(path).map_err(self.read_error())? else { return Ok(BTreeSet::new()) };
        let text = String::from_utf8_lossy(content.bytes());
        let keys = [BLOB, SEALED].iter().flat_map(|key| text.match_indices(key));
        let names = keys.filter_map(|(at, key)| {
            let rest = text.get(at + key.len()..)?.trim_start_matches(['"', ':', ' ']);
            rest.get(..64).map(str::to_owned)
        });
        Ok(names.collect())
    }
}

/// The key that stands for a content moved into a file of its own.
const BLOB: &str = "$blob";

/// The key that stands for a content whose file is encrypted for the machine, named by the digest of the encrypted bytes.
const SEALED: &str = "$sealed";
