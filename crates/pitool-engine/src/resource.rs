//! The central trait: one thing that should be so.

use std::collections::BTreeMap;
use std::fmt;

use pitool_host::{Candidate, Content, Digest, Host, Inspect, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A resource's identity, printed `kind[name]` everywhere; unique in a plan.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Id(String);

impl Id {
    /// Joins a kind and a name.
    pub fn new(kind: &str, name: &str) -> Self {
        Self(format!("{kind}[{name}]"))
    }

    /// The whole, as it is printed.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the bracket.
    pub fn kind(&self) -> &str {
        self.0.split_once('[').map_or(self.0.as_str(), |(kind, _)| kind)
    }

    /// The part within the brackets.
    pub fn name(&self) -> &str {
        self.0.split_once('[').map_or("", |(_, rest)| rest.strip_suffix(']').unwrap_or(rest))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// When a step runs. Steps run in stage order, then in the order written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// What must exist before a package is installed: apt sources, a jail for fail2ban.
    Prepare,
    /// All packages of all roles: one apt transaction.
    Packages,
    /// Files, links, users, settings.
    Configure,
    /// Units, the firewall, kernel values.
    Activate,
}

/// What a step may cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Risk {
    /// Nothing out of the ordinary.
    None,
    /// The way in: sshd, the firewall, users.
    Lockout,
}

/// How far a step can be undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reversal {
    /// The old state comes back.
    Exact,
    /// Most of it comes back; the sentence says what does not.
    Partial(String),
    /// It cannot be undone; the sentence says why.
    None(String),
}

/// What a step does to its thing. Programs read it as `new`, `change` and `remove`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It was not there.
    #[serde(rename = "new")]
    Create,
    /// It was there and stays, in another state.
    #[default]
    Change,
    /// It goes.
    Remove,
}

impl Action {
    /// Judges by whether the thing is there before and after.
    pub fn between(before: bool, after: bool) -> Self {
        match (before, after) {
            (false, true) => Self::Create,
            (true, false) => Self::Remove,
            _ => Self::Change,
        }
    }
}

/// A difference between two states, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What becomes of the thing.
    pub action: Action,
    /// A few words: `absent → installed`.
    pub summary: String,
    /// Both texts, where the difference is one of text and none of it is secret.
    #[serde(skip)]
    pub text: Option<(Content, Content)>,
}

impl Change {
    /// A change that a few words describe.
    pub fn words(action: Action, summary: impl Into<String>) -> Self {
        Self { action, summary: summary.into(), text: None }
    }
}

/// One resource on its way from a state to another.
#[derive(Clone, Debug)]
pub struct Move<R: Resource> {
    /// The resource.
    pub resource: R,
    /// Where it is.
    pub from: R::State,
    /// Where it goes.
    pub to: R::State,
}

/// What the steps planned so far will leave: the fingerprint of each resource after its step, and the files that
/// decide who may log in.
#[derive(Clone, Debug, Default)]
pub struct Upcoming(pub(crate) BTreeMap<Id, Option<Digest>>, pub(crate) Vec<Candidate>);

impl Upcoming {
    /// The fingerprint that the resource will have, if a step for it is planned.
    pub fn fingerprint(&self, id: &Id) -> Option<Option<Digest>> {
        self.0.get(id).copied()
    }

    /// Whether a step for this resource is planned.
    pub fn contains(&self, id: &Id) -> bool {
        self.0.contains_key(id)
    }

    /// The files that decide who may log in, as the planned steps will leave them.
    pub fn candidates(&self) -> &[Candidate] {
        &self.1
    }
}

/// What the person who runs pitool agreed to lose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Consent {
    /// The login in which the run was typed in; on the way back also the last way in.
    pub cut_login: bool,
}

/// The circumstances of a step that would be taken.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// The steps that are planned before it; none when its turn has come.
    pub upcoming: &'a Upcoming,
    /// Whether it goes back to what was there before, by a rollback or because the config wants it no more.
    pub back: bool,
    /// What the person agreed to lose.
    pub consent: Consent,
}

/// One thing that should be so: a file, a package, a unit.
///
/// A plain value with a plain [`State`](Resource::State). The engine compares [`observe`](Resource::observe) with
/// [`desired`](Resource::desired) and calls [`enact`](Resource::enact) for the difference; going back is `enact`
/// with the old state as its aim. There is no plan, no dry run and no revert to write.
pub trait Resource: Clone + PartialEq + fmt::Debug + Serialize + DeserializeOwned {
    /// What can be there. Absence is a state, not an error.
    type State: Clone + PartialEq + fmt::Debug + Serialize + DeserializeOwned;

    /// Its identity, `kind[name]`.
    fn id(&self) -> Id;

    /// Reads the state that is there now.
    fn observe(&self, host: &dyn Inspect) -> Result<Self::State>;

    /// The state that should be. Pure; it gets the observed state so that a resource that owns a part (one line,
    /// one JSON key) leaves the rest alone. It must be a fixed point: `desired(desired(x)) == desired(x)`.
    fn desired(&self, observed: &Self::State) -> Self::State;

    /// Moves the machine from one state to the other, not knowing whether forwards or back.
    fn enact(&self, host: &dyn Host, from: &Self::State, to: &Self::State) -> Result<()>;

    /// Tells the difference between two states in words.
    fn change(&self, from: &Self::State, to: &Self::State) -> Change;

    /// When its step runs.
    fn stage(&self) -> Stage {
        Stage::Configure
    }

    /// Ids that this resource settles after, in both directions: a unit watches its files.
    fn watches(&self) -> Vec<Id> {
        Vec::new()
    }

    /// What its step may cut.
    fn risk(&self) -> Risk {
        Risk::None
    }

    /// How far its step can be undone.
    fn reversal(&self) -> Reversal {
        Reversal::Exact
    }

    /// Why the desired state holds back from what was asked for, as a sentence that says what to do.
    fn refusal(&self, _observed: &Self::State) -> Option<String> {
        None
    }

    /// Why the step from one state to another must wait, as a sentence that says what to do; `None` when it may be
    /// taken. Asked only for a step that would be taken otherwise: when it is planned, and when its turn has come.
    fn objection(
        &self,
        _host: &dyn Inspect,
        _from: &Self::State,
        _to: &Self::State,
        _turn: &Turn<'_>,
    ) -> Result<Option<String>> {
        Ok(None)
    }

    /// The files of this state that decide who may log in: what a later step's objection has to know before this step
    /// is taken.
    fn decides_logins(&self, _host: &dyn Inspect, _to: &Self::State) -> Result<Vec<Candidate>> {
        Ok(Vec::new())
    }

    /// The observed state as it will be when its own step comes, given the steps planned before it: a package
    /// ships this file, a watched file changes. Keeps the plan true without touching the machine.
    fn foresee(&self, observed: &Self::State, _upcoming: &Upcoming) -> Self::State {
        observed.clone()
    }

    /// A digest of what watchers read of a state; `None` for absence and where nobody watches.
    fn fingerprint(&self, _state: &Self::State) -> Option<Digest> {
        None
    }

    /// The state that going back aims at, given what was there before and what is there now. Where a resource
    /// owns a part, the rest stays as it is now.
    fn restored(&self, before: &Self::State, _now: &Self::State) -> Self::State {
        before.clone()
    }

    /// What differs, in words, between what was there before a run and what is there after that run was taken back;
    /// `None` where nothing does. What others changed since counts: nothing is "as it was" that was not compared.
    fn remains(&self, before: &Self::State, now: &Self::State) -> Option<String> {
        let summary = self.change(before, now).summary;
        (before != now && !summary.is_empty()).then_some(summary)
    }

    /// Asks which of the moves of going back must not be made, each with why: a configuration that its own program
    /// refuses. It gets one move for each resource that goes back, also where nothing moves. Reads only.
    fn objections(_host: &dyn Inspect, _moves: &[Move<Self>]) -> Vec<(Id, String)> {
        Vec::new()
    }

    /// Whether the move to this state is a departure, settled before what the resource watches instead of after:
    /// a unit stops before its unit file goes.
    fn departs(&self, _to: &Self::State) -> bool {
        false
    }

    /// Writes down what could not be known later: once after the snapshot and before the run's first change, and
    /// once when the run is over (`settled`).
    fn adopt(&self, _host: &dyn Host, _observed: &Self::State, _settled: bool) -> Result<()> {
        Ok(())
    }

    /// Announces what many resources are about to ask, where one question can answer for all of them.
    fn expect(_resources: &[&Self], _host: &dyn Inspect) {}

    /// Finds out, under the lock and before the run's first change, whether what the steps need is to be had: a
    /// package that apt knows. It may refresh caches, but settles nothing.
    ///
    /// # Errors
    /// The ids concerned and why.
    fn preflight(
        _host: &dyn Host,
        _moves: &[Move<Self>],
    ) -> std::result::Result<(), (Vec<Id>, pitool_host::Error)> {
        Ok(())
    }

    /// The name of the group whose neighbouring steps are enacted together, such as one apt transaction.
    fn group(&self) -> Option<&'static str> {
        None
    }

    /// Enacts the steps of one group.
    fn enact_group(host: &dyn Host, moves: &[Move<Self>]) -> Result<()> {
        moves.iter().try_for_each(|step| step.resource.enact(host, &step.from, &step.to))
    }
}
