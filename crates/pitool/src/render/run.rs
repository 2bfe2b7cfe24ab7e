//! A run as it happens, and what came of it.

use std::collections::BTreeMap;

use pitool_engine::report::{Message, PlanReport, StepReport};
use pitool_engine::{By, Ending, Event, Id, Outcome, Purpose, Run, RunId, Settled};
use pitool_host::LockHolder;

use crate::render::{Clock, Terminal, count, json, list, wrap};

/// What one run told so far.
#[derive(Clone, Debug, Default)]
struct Told {
    steps: usize,
    begun: Vec<Id>,
    ended: Vec<Id>,
    failure: Option<(Id, String, Vec<Id>)>,
    left: Vec<(Id, String)>,
}

/// Listens to the events of an apply or a rollback and shows them as they come.
pub struct Follower<'t, 'a> {
    terminal: &'t Terminal<'a>,
    words: BTreeMap<String, (String, String)>,
    runs: Vec<Told>,
}

impl<'t, 'a> Follower<'t, 'a> {
    /// Begins to listen to the run of a plan.
    pub fn new(terminal: &'t Terminal<'a>, plan: &PlanReport) -> Self {
        if terminal.quiet || terminal.json {
            terminal.live.silence();
        }
        let role = |step: &StepReport| step.roles.first().cloned().unwrap_or_default();
        let words = plan.steps.iter().map(|step| (step.id.to_string(), (role(step), step.summary.clone())));
        Self { terminal, words: words.collect(), runs: Vec::new() }
    }

    /// Takes in an event.
    pub fn hear(&mut self, event: &Event) {
        if self.terminal.json {
            json::line(self.terminal, Message::Event(event.clone()));
        }
        let live = &self.terminal.live;
        match event {
            Event::Started { purpose, steps, .. } => {
                if !self.runs.is_empty() && matches!(purpose, Purpose::Rollback { .. }) {
                    live.finish();
                    self.terminal.mention("A step failed; taking back what was changed.");
                }
                self.runs.push(Told { steps: *steps, ..Told::default() });
                live.start(*steps, "");
            }
            Event::Step { id, roles, summary, .. } => {
                let role = roles.first().cloned().unwrap_or_default();
                live.step(format!("{role}  {id}").trim_start(), |steps| count(steps, id.kind()));
                self.words.insert(id.to_string(), (role, summary.clone()));
                if let Some(told) = self.runs.last_mut() {
                    told.begun.push(id.clone());
                }
            }
            Event::Done { id, by } => {
                let summary = (*by == By::Earlier).then(|| "already so, by a step before it".to_owned());
                self.ended(id, summary);
            }
            Event::Failed { id, error, not_started } => {
                if let Some(told) = self.runs.last_mut() {
                    // The first failure is the one that ended it; going back tells of each.
                    told.failure.get_or_insert((id.clone(), error.clone(), not_started.clone()));
                }
            }
            Event::Left { id, why } => {
                // What was held back was no step, and a comparison at the end is none either.
                let step = self.runs.last_mut().is_some_and(|told| {
                    told.left.push((id.clone(), why.clone()));
                    told.begun.contains(id) && !told.ended.contains(id)
                });
                if step {
                    self.ended(id, Some(why.clone()));
                }
            }
            Event::Held { id, why } => self.ended(id, Some(format!("held back: {why}"))),
            Event::Finished { .. } => live.finish(),
            Event::Proof { .. } => {}
        }
    }

    fn ended(&mut self, id: &Id, instead: Option<String>) {
        let Some(told) = self.runs.last_mut() else { return };
        told.ended.push(id.clone());
        self.terminal.live.done(told.ended.len());
        let terminal = self.terminal;
        if terminal.json || terminal.quiet || (terminal.live.terminal() && !terminal.verbose) {
            return;
        }
        let (role, summary) = self.words.get(&id.to_string()).cloned().unwrap_or_default();
        let summary = instead.unwrap_or(summary);
        let start = format!("{role:<10}  {id}");
        let length = start.chars().count() + 2;
        if length + summary.chars().count() <= terminal.width {
            terminal.line(format!("{start}  {summary}").trim_end());
        } else {
            terminal.line(format!("{start}\n            {}", wrap(&summary, terminal.width, 12, 12)));
        }
    }

    /// What going back left where it was, and why.
    pub fn left(&self) -> Vec<(Id, String)> {
        self.runs.iter().flat_map(|told| told.left.clone()).collect()
    }

    /// Tells of a failed step: what, why, what was done, what was not begun, what became of it.
    pub fn failure(&self, outcome: &Outcome) {
        let Some((told, (id, error, not_started))) =
            self.runs.first().and_then(|told| Some((told, told.failure.as_ref()?)))
        else {
            return;
        };
        let terminal = self.terminal;
        let role =
            self.words.get(&id.to_string()).map(|(role, _)| role.as_str()).filter(|role| !role.is_empty());
        let role = role.map_or(String::new(), |role| format!(" (role {role})"));
        terminal.say(format!("\n{} {id}{role}", terminal.talk.bad("failed:")));
        say_chain(terminal, error);
        let row = |name: &str, words: &str| {
            terminal.say(format!("  {name:<14} {}", wrap(words, terminal.width, 17, 17)));
        };
        let listed = |ids: &[Id]| match ids.len() {
            0 => "nothing".to_owned(),
            number => format!("{} of {}: {}", number, count(told.steps, "change"), list(ids, 6)),
        };
        row("done before", &listed(&told.ended));
        row("not started", &listed(not_started));
        match &outcome.rolled_back {
            Some(back) if back.ending == Ending::Done && back.left.is_empty() => {
                row("taken back", "yes; the machine is as it was before this run");
            }
            Some(back) if back.ending == Ending::Done => {
                row("taken back", &format!("yes, but {} as it was before", differs(back.left.len())));
            }
            Some(back) if back.ending == Ending::Interrupted => {
                row("taken back", "not all of it: it was stopped");
            }
            Some(back) => {
                let failures = back.failures.len();
                row("taken back", &format!("not all of it: {} did not go back", count(failures, "thing")));
                self.failures(back);
            }
            None => row("taken back", "no"),
        }
        self.say_left();
    }

    /// Tells of everything that went wrong on the way back.
    pub fn failures(&self, settled: &Settled) {
        for (id, error) in &settled.failures {
            self.terminal.say(format!("{} {id}", self.terminal.talk.bad("failed:")));
            say_chain(self.terminal, error);
        }
    }

    /// Tells what going back left where it was.
    pub fn say_left(&self) {
        for (id, why) in self.left() {
            self.terminal.say(format!("  left: {id}"));
            self.terminal.say(format!("      {}", wrap(&why, self.terminal.width, 6, 6)));
        }
    }

    /// How many steps of how many the first run ended.
    pub fn progress(&self) -> (usize, usize) {
        self.runs.first().map_or((0, 0), |told| (told.ended.len(), told.steps))
    }

    /// The last step that ended.
    pub fn last(&self) -> Option<&Id> {
        self.runs.first().and_then(|told| told.ended.last())
    }
}

/// Says an error whose causes are joined by colons, one cause a line where it would not fit.
fn say_chain(terminal: &Terminal<'_>, error: &str) {
    if error.chars().count() + 2 <= terminal.width && !error.contains('\n') {
        terminal.say(format!("  {error}"));
        return;
    }
    for (number, line) in error.lines().enumerate() {
        let indent = if number == 0 { 2 } else { 4 };
        terminal.say(format!("{}{}", " ".repeat(indent), wrap(line, terminal.width, indent, indent + 2)));
    }
}

/// `Run 7 (pitool apply all) was cut off (it began at 2026-11-21 03:37) after at least 12 changes`, and what to do.
pub fn unfinished(terminal: &Terminal<'_>, run: &Run, clock: &Clock) {
    let Run { header, .. } = run;
    let how = match (run.ending, &header.purpose) {
        (Some(Ending::Failed), Purpose::Rollback { .. }) => "did not reach its end",
        (Some(Ending::Failed), Purpose::Apply) => "failed and was not taken back",
        (Some(Ending::Interrupted), _) => "was stopped",
        _ => "was cut off",
    };
    let when = match &run.finished {
        Some(at) => format!("at {}", clock.tell(at)),
        None => format!("(it began at {})", clock.tell(&header.started)),
    };
    // What a power cut took was not written down: the journal may know of fewer changes than there were.
    let after = match (run.ending, run.changed) {
        (None, 0) => String::new(),
        (None, some) => format!(" after at least {}", count(some, "change")),
        (Some(_), known) => format!(" after {}", count(known, "change")),
    };
    let what = format!("Run {} ({}) {how} {when}{after}.", header.run, header.command);
    let next = match &header.purpose {
        Purpose::Apply => format!("`{}` goes on, `pitool rollback` goes back.", again(run)),
        Purpose::Rollback { of, .. } => {
            format!("`pitool rollback {of}` goes on going back, `pitool apply` goes forward instead.")
        }
    };
    let text = wrap(&format!("{what} {next}"), terminal.width, 9, 9);
    terminal.say(format!("{} {text}", terminal.talk.notable("warning:")));
}

/// The command that goes on with a run.
fn again(run: &Run) -> String {
    let all = pitool_roles::ROLES.len() == run.header.roles.len();
    let roles = if all { "all".to_owned() } else { run.header.roles.join(" ") };
    format!("pitool apply {roles}")
}

/// `1 thing is not`, `3 things are not`.
pub fn differs(things: usize) -> String {
    if things == 1 { "1 thing is not".to_owned() } else { format!("{things} things are not") }
}

/// Whether this run is the holder's: both were begun by the same command line.
pub fn at_work(run: &Run, holder: &LockHolder) -> bool {
    run.ending.is_none() && (holder.pid == 0 || run.header.command == holder.command)
}

/// `Run 7 (pitool apply all) is going on: process 4242, since 2026-11-21 03:37.`
pub fn going_on(terminal: &Terminal<'_>, newest: Option<&Run>, holder: &LockHolder, clock: &Clock) {
    let what = match newest.filter(|run| at_work(run, holder)) {
        Some(run) => format!("Run {} ({}) is going on", run.header.run, run.header.command),
        None if holder.pid == 0 => "Another pitool is at work".to_owned(),
        None => format!("`{}` is at work", holder.command),
    };
    let who = if holder.pid == 0 {
        String::new()
    } else {
        format!(": process {}, since {}", holder.pid, clock.tell(&holder.since))
    };
    let text = wrap(&format!("{what}{who}. What is shown here may change."), terminal.width, 9, 9);
    terminal.say(format!("{} {text}", terminal.talk.notable("warning:")));
}

/// That the newest run cannot be read.
pub fn damaged(terminal: &Terminal<'_>, run: RunId) {
    let what = format!("{}.", pitool_engine::JournalError::Newest(run));
    let mut letters = what.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase()).into_iter();
    let text = wrap(&first.chain(letters).collect::<String>(), terminal.width, 9, 9);
    terminal.say(format!("{} {text}", terminal.talk.notable("warning:")));
}

/// `Run 7` where there was one.
pub fn name(run: Option<RunId>) -> String {
    run.map_or_else(|| "The run".to_owned(), |run| format!("Run {run}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Global;
    use crate::render::Streams;
    use pitool_engine::{Action, Cause, Stage};

    fn hear(events: &[Event], outcome: &Outcome) -> (String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        {
            let terminal = Terminal::new(Streams::captured(&mut out, &mut err), &Global::default());
            let mut follower = Follower::new(&terminal, &PlanReport::default());
            events.iter().for_each(|event| follower.hear(event));
            follower.failure(outcome);
        }
        (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn a_failed_run_tells_what_was_done_and_what_became_of_it() {
        let id = |name: &str| Id::new("file", name);
        let step = |name: &str| Event::Step {
            id: id(name),
            roles: vec!["security".into()],
            stage: Stage::Configure,
            action: Action::Change,
            summary: "content".into(),
        };
        let settled = |run, ending| Settled { run: Some(RunId(run)), ending, ..Settled::nothing() };
        let back = Purpose::Rollback { of: RunId(7), cause: Cause::Failed };
        let events = [
            Event::Started { run: RunId(7), purpose: Purpose::Apply, steps: 3 },
            step("/a"),
            Event::Done { id: id("/a"), by: By::Step },
            step("/b"),
            Event::Failed {
                id: id("/b"),
                error: "cannot write /b: No space left on device".into(),
                not_started: vec![id("/c")],
            },
            Event::Finished { run: RunId(7), ending: Ending::Failed, changed: 1 },
            Event::Started { run: RunId(8), purpose: back, steps: 1 },
            Event::Finished { run: RunId(8), ending: Ending::Done, changed: 1 },
        ];
        let outcome =
            Outcome { settled: settled(7, Ending::Failed), rolled_back: Some(settled(8, Ending::Done)) };
        let (out, err) = hear(&events, &outcome);
        assert_eq!(out, "security    file[/a]  content\n");
        assert_eq!(
            err,
            "A step failed; taking back what was changed.

failed: file[/b] (role security)
  cannot write /b: No space left on device
  done before    1 of 3 changes: file[/a]
  not started    1 of 3 changes: file[/c]
  taken back     yes; the machine is as it was before this run
"
        );
    }
}
