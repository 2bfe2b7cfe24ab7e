//! What a run tells a program: JSON, one object a line, each with the version of its form.
//!
//! `pitool apply` and `rollback` print these lines with `--json`; whoever reads them (a fleet, a script) uses the same types.
//! Within a version fields are added, never removed or given another meaning.

use pitool_host::Content;
use serde::{Deserialize, Serialize};

use crate::{
    Action, Ending, Event, Id, Outcome, Plan, Reason, Refused, Resource, Reversal, Risk, RunId, Settled,
    Stage, Step, Tally,
};

/// The version of everything that is printed as JSON.
pub const VERSION: u32 = 1;

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The version of its form.
    pub version: u32,
    /// What it says.
    #[serde(flatten)]
    pub message: Message,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Message {
    /// The plan, before it is carried out.
    Plan(PlanReport),
    /// What came of it: the last line.
    Summary(Summary),
    /// Why the command could not do its work.
    Error(ErrorReport),
    /// Something that happened.
    #[serde(untagged)]
    Event(Event),
}

/// A line that is not understood.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// It is not of this form.
    #[error("this is no line of a run: {0}")]
    Form(#[from] serde_json::Error),
    /// Its version is another one.
    #[error(
        "the line has version {0}, and this pitool reads version {VERSION}; use the same pitool on both sides"
    )]
    Version(u64),
}

impl Line {
    /// A line of the present version.
    pub fn new(message: Message) -> Self {
        Self { version: VERSION, message }
    }

    /// Reads a line.
    ///
    /// # Errors
    /// It is no line of a run, or one of another version.
    pub fn read(text: &str) -> Result<Self, LineError> {
        let value: serde_json::Value = serde_json::from_str(text)?;
        if let Some(version) = value["version"].as_u64().filter(|version| *version != u64::from(VERSION)) {
            return Err(LineError::Version(version));
        }
        Ok(serde_json::from_value(value)?)
    }
}

/// Why a step is planned, without what it follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepReason {
    /// The state is not what the config wants.
    Differs,
    /// Somebody changed it by hand.
    Drift,
    /// Steps before it will change it.
    Follows,
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// Its resource, `kind[name]`.
    pub id: Id,
    /// The kind.
    pub kind: String,
    /// The name within the kind.
    pub name: String,
    /// Roles that want it.
    pub roles: Vec<String>,
    /// When it runs.
    pub stage: Stage,
    /// What it does.
    pub action: Action,
    /// The change in words.
    pub summary: String,
    /// Why.
    pub reason: StepReason,
    /// The ids that it follows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub follows: Vec<Id>,
    /// What it may cut.
    pub risk: Risk,
    /// How far it can be undone.
    pub reversal: Reversal,
    /// The difference of a text that is no secret: where it was asked for, and of what somebody changed by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
    /// Whether nobody asked for the difference, so that its beginning is enough for a person.
    #[serde(skip)]
    pub brief: bool,
}

/// What a role has to say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NoteReport {
    /// The role.
    pub role: String,
    /// The sentence.
    pub note: String,
}

/// A plan as plain values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PlanReport {
    /// The command that carries it out; none: `apply`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The run that it goes back to before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<RunId>,
    /// The steps, in the order in which they run.
    pub steps: Vec<StepReport>,
    /// What is held back.
    pub refused: Vec<Refused>,
    /// What an earlier run settled and the config no longer mentions.
    pub unmanaged: Vec<Id>,
    /// What the roles have to say.
    pub notes: Vec<NoteReport>,
    /// How many things were looked at.
    pub total: usize,
    /// The run that pitool's last knowledge of the machine comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_run: Option<u32>,
}

/// Shows the difference of two texts, if both are texts.
pub type Diff = fn(&Content, &Content) -> Option<String>;

impl PlanReport {
    /// Reports a plan. `diff` shows differences; they are wanted of all steps, or only of what somebody changed by hand.
    pub fn new<R: Resource>(plan: &Plan<R>, notes: &[(String, String)], of_all: bool, diff: Diff) -> Self {
        let note = |(role, note): &(String, String)| NoteReport { role: role.clone(), note: note.clone() };
        Self {
            command: None,
            of: None,
            steps: plan.steps.iter().map(|step| StepReport::new(step, of_all, diff)).collect(),
            refused: plan.refused.clone(),
            unmanaged: plan.unmanaged.clone(),
            notes: notes.iter().map(note).collect(),
            total: plan.total,
            since_run: None,
        }
    }

    /// Whether a step corrects what somebody changed by hand.
    pub fn drifted(&self) -> bool {
        self.steps.iter().any(|step| step.reason == StepReason::Drift)
    }
}

impl StepReport {
    fn new<R: Resource>(step: &Step<R>, of_all: bool, diff: Diff) -> Self {
        let change = step.change();
        let (reason, follows) = match &step.reason {
            Reason::Differs => (StepReason::Differs, vec![]),
            Reason::Drift => (StepReason::Drift, vec![]),
            Reason::Follows(ids) => (StepReason::Follows, ids.clone()),
        };
        Self {
            id: step.id.clone(),
            kind: step.id.kind().to_owned(),
            name: step.id.name().to_owned(),
            roles: step.roles.clone(),
            stage: step.stage(),
            action: change.action,
            diff: change
                .text
                .filter(|(from, _)| of_all || reason == StepReason::Drift && !from.bytes().is_empty())
                .and_then(|(from, to)| diff(&from, &to)),
            summary: change.summary,
            reason,
            follows,
            risk: step.risk(),
            reversal: step.reversal(),
            brief: !of_all,
        }
    }
}

/// A thing whose step failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailureReport {
    /// The thing.
    pub id: Id,
    /// The error with its causes.
    pub error: String,
}

/// A thing that is not as it was asked for, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeftReport {
    /// The thing.
    pub id: Id,
    /// Why.
    pub why: String,
}

/// How a failed run was taken back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackReport {
    /// The run that did so.
    pub run: Option<RunId>,
    /// How it ended.
    pub ending: Ending,
    /// What it changed.
    pub changed: Vec<Id>,
    /// What did not go back.
    pub failures: Vec<FailureReport>,
    /// What is not as it was.
    pub left: Vec<LeftReport>,
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Summary {
    /// `pitool apply`.
    Apply {
        /// The exit code.
        exit: u8,
        /// The run; none where nothing was to be done.
        run: Option<RunId>,
        /// How it ended.
        ending: Ending,
        /// What changed.
        changed: Vec<Id>,
        /// What failed.
        failures: Vec<FailureReport>,
        /// How a failed run was taken back.
        rolled_back: Option<BackReport>,
        /// How many promises got which answer.
        promises: Tally,
        /// How long it took.
        seconds: f64,
    },
    /// `pitool rollback`.
    Rollback {
        /// The exit code.
        exit: u8,
        /// The run.
        run: Option<RunId>,
        /// The run that it went back to before.
        of: RunId,
        /// How it ended.
        ending: Ending,
        /// What changed.
        changed: Vec<Id>,
        /// What is not as it was.
        left: Vec<LeftReport>,
        /// What was held back.
        held: Vec<LeftReport>,
        /// What did not go back.
        failures: Vec<FailureReport>,
        /// How long it took.
        seconds: f64,
    },
}

fn failures(settled: &Settled) -> Vec<FailureReport> {
    let report = |(id, error): &(Id, String)| FailureReport { id: id.clone(), error: error.clone() };
    settled.failures.iter().map(report).collect()
}

fn left(things: &[(Id, String)]) -> Vec<LeftReport> {
    things.iter().map(|(id, why)| LeftReport { id: id.clone(), why: why.clone() }).collect()
}

impl Summary {
    /// What came of `pitool apply`.
    pub fn apply(exit: u8, outcome: &Outcome, promises: Tally, seconds: f64) -> Self {
        let settled = &outcome.settled;
        Self::Apply {
            exit,
            run: settled.run,
            ending: settled.ending,
            changed: settled.changed.clone(),
            failures: failures(settled),
            rolled_back: outcome.rolled_back.as_ref().map(|back| BackReport {
                run: back.run,
                ending: back.ending,
                changed: back.changed.clone(),
                failures: failures(back),
                left: left(&back.left),
            }),
            promises,
            seconds,
        }
    }

    /// What came of `pitool rollback`, which went back to before the run `of`.
    pub fn rollback(exit: u8, of: RunId, settled: &Settled, seconds: f64) -> Self {
        Self::Rollback {
            exit,
            run: settled.run,
            of,
            ending: settled.ending,
            changed: settled.changed.clone(),
            left: left(&settled.left),
            held: left(&settled.held),
            failures: failures(settled),
            seconds,
        }
    }
}

/// Why a command could not do its work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorReport {
    /// Whose fault it is: `input`, `machine` or `bug`.
    pub class: String,
    /// The exit code.
    pub exit: u8,
    /// What failed.
    pub message: String,
    /// Why, the nearest cause first.
    pub causes: Vec<String>,
    /// What to do.
    pub hints: Vec<String>,
    /// Places in the config, each as the config reader reports it.
    pub diagnostics: serde_json::Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_another_version_is_refused_and_not_guessed_at() {
        let line =
            Line::new(Message::Event(Event::Finished { run: RunId(7), ending: Ending::Done, changed: 2 }));
        let text = serde_json::to_string(&line).expect("a line is JSON");
        assert_eq!(text, r#"{"version":1,"event":"finished","run":7,"ending":"done","changed":2}"#);
        assert_eq!(Line::read(&text).expect("it reads what it wrote"), line);
        let later = text.replace("\"version\":1", "\"version\":2");
        assert!(matches!(Line::read(&later), Err(LineError::Version(2))));
        // What was added within the version is skipped.
        let more = text.replace("\"run\":7", "\"run\":7,\"machine\":\"pi\"");
        assert_eq!(Line::read(&more).expect("a field more"), line);
        for bad in ["", "{}", r#"{"version":1,"event":"unheard-of"}"#, "[1]"] {
            assert!(matches!(Line::read(bad), Err(LineError::Form(_))), "{bad}");
        }
    }
}
