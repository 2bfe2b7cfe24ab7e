//! Applying and going back: one function that settles goals.

use pitool_host::text::chain;
use pitool_host::{Host, Inspect, LockHolder};

use crate::goal::backwards;
use crate::plan::{Held, plan_holding};
use crate::{
    Aim, By, Cause, Consent, Desired, Ending, Event, Goal, Header, Id, Journal, JournalError, Managed, Move,
    Origin, Plan, PlanError, Purpose, Resource, Reversal, RunId, Turn, Upcoming, plan,
};

/// A run that could not begin, or not tell how it ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A state could not be read.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The journal could not be written or read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Another run is going on.
    #[error("another pitool is at work: `{}`, process {}, since {}", .0.command, .0.pid, .0.since)]
    Locked(LockHolder),
    /// The lock itself could not be taken.
    #[error("cannot take the lock")]
    Lock(#[source] pitool_host::Error),
    /// The machine moved between showing the plan and carrying it out.
    #[error("the machine changed after the plan was made: {}", .0.iter().map(Id::to_string).collect::<Vec<_>>().join(", "))]
    Moved(Vec<Id>),
    /// Something that is needed is not to be had; found out before the first change.
    #[error("{}; nothing was changed", if ids.is_empty() { "the machine is not ready".to_owned() } else { format!("cannot settle {}", ids.iter().map(Id::to_string).collect::<Vec<_>>().join(", ")) })]
    Preflight {
        /// The resources concerned; empty when the machine as a whole is.
        ids: Vec<Id>,
        /// Why.
        #[source]
        source: pitool_host::Error,
    },
    /// There is nothing to go back to.
    #[error("there is no run to roll back")]
    NothingToUndo,
    /// Power is gone (simulated machines only).
    #[error(transparent)]
    PowerCut(pitool_host::Error),
}

/// The result of a run.
pub type Result<T> = std::result::Result<T, Error>;

/// Where the lock is. /run is empty after every boot, and so is the lock.
const LOCK: &str = "/run/pitool/lock";

/// How one run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Its number; `None` when there was nothing to do and nothing was written.
    pub run: Option<RunId>,
    /// How it ended.
    pub ending: Ending,
    /// Ids that changed.
    pub changed: Vec<Id>,
    /// Ids that failed, with the error.
    pub failures: Vec<(Id, String)>,
    /// Ids whose steps were not taken on purpose, with why and what to do.
    pub held: Vec<(Id, String)>,
    /// Of a rollback: ids that are not what they were before the run that was taken back, as a comparison showed, with
    /// what differs or why it was left. What failed or was held is not among them.
    pub left: Vec<(Id, String)>,
}

/// What came of an apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The run.
    pub settled: Settled,
    /// The run that took a failed one back.
    pub rolled_back: Option<Settled>,
}

/// Settles goals on a host, with a journal.
pub struct Engine<'h> {
    host: &'h dyn Host,
    journal: Journal,
    command: String,
    version: String,
    origin: Option<Origin>,
}

impl<'h> Engine<'h> {
    /// An engine for this host; the command line and version go into the journal.
    pub fn new(host: &'h dyn Host, journal: Journal, command: &str, version: &str) -> Self {
        Self { host, journal, command: command.to_owned(), version: version.to_owned(), origin: None }
    }

    /// Sets on whose behalf the runs are made; it goes into the journal.
    #[must_use]
    pub fn on_behalf_of(self, origin: Origin) -> Self {
        Self { origin: Some(origin), ..self }
    }

    /// The plan for what is wanted; reads only. With `prune`, things that are wanted no more go back to what
    /// they were before pitool.
    ///
    /// # Errors
    /// A state that cannot be read.
    pub fn plan<R: Resource>(
        desired: &Desired<R>,
        prune: bool,
        journal: &Journal,
        host: &dyn Inspect,
    ) -> Result<Plan<R>> {
        let (goals, managed, unwanted) = Self::goals(desired, prune, journal, host)?;
        let mut plan = plan(&goals, host, &managed, desired.consent)?;
        plan.unmanaged = unwanted;
        Ok(plan)
    }

    fn goals<R: Resource>(
        desired: &Desired<R>,
        prune: bool,
        journal: &Journal,
        host: &dyn Inspect,
    ) -> Result<(Vec<Goal<R>>, Managed, Vec<Id>)> {
        let unfinished = journal.unfinished(host)?.is_some();
        let managed = Managed::read(journal, host)?.after(unfinished);
        let unwanted = managed.unwanted(&desired.goals, &desired.roles);
        if prune {
            let originals = backwards(managed.originals(&unwanted, journal, host)?);
            return Ok((
                originals.into_iter().chain(desired.goals.iter().cloned()).collect(),
                managed,
                vec![],
            ));
        }
        Ok((desired.goals.clone(), managed, unwanted))
    }

    /// The plan of going back to what was there before a run (or before the last one that stands).
    ///
    /// # Errors
    /// No such run; a state that cannot be read.
    pub fn plan_rollback<R: Resource>(
        run: Option<RunId>,
        consent: Consent,
        journal: &Journal,
        host: &dyn Inspect,
    ) -> Result<(RunId, Plan<R>)> {
        let run = match run {
            Some(run) => run,
            None => journal.undoable(host)?.ok_or(Error::NothingToUndo)?,
        };
        let (goals, held) = Self::going_back(run, journal, host)?;
        // Whoever goes back undoes everything alike, whoever did it.
        Ok((run, plan_holding(&goals, host, &Managed::default(), consent, held)?))
    }

    /// The goals of going back to before a run, in order, and what of them is held.
    ///
    /// Whoever goes on with a rollback that did not reach its end finishes that one: what it had brought back and
    /// somebody changed since is not brought back once more. A unit is: what it reads may come back only now.
    fn going_back<R: Resource>(
        run: RunId,
        journal: &Journal,
        host: &dyn Inspect,
    ) -> Result<(Vec<Goal<R>>, Held)> {
        let goals = backwards(journal.before::<R>(host, run)?);
        let attempts = journal.unfinished_rollbacks::<R>(host, run)?;
        let mut held = Held::new();
        for goal in goals.iter().filter(|goal| goal.resource.watches().is_empty()) {
            let id = goal.resource.id();
            let back = attempts.iter().find(|attempt| {
                attempt.ended.contains(&id)
                    || attempt.before.get(&id).is_some_and(|state| goal.target(state) == *state)
            });
            if let Some(attempt) = back {
                let why = format!("it was changed after run {} had brought it back, and stays", attempt.run);
                held.insert(id, why);
            }
        }
        Ok((goals, held))
    }

    /// Makes the machine what is wanted. A failed run is taken back.
    ///
    /// `shown` is the plan that a person saw: if the machine moved since, nothing is done.
    ///
    /// # Errors
    /// Whatever keeps the run from beginning. A failed step is an outcome, not an error.
    pub fn apply<R: Resource>(
        &self,
        desired: &Desired<R>,
        prune: bool,
        shown: Option<&Plan<R>>,
        tell: &mut dyn FnMut(Event),
    ) -> Result<Outcome> {
        let inspect = self.host.inspect();
        let unfinished = self.journal.unfinished(inspect)?;
        if unfinished.is_none() && shown.is_some_and(|plan| plan.steps.is_empty()) {
            return Ok(Outcome { settled: Settled::nothing(), rolled_back: None });
        }
        let _lock = self.lock()?;
        let (goals, managed, _) = Self::goals(desired, prune, &self.journal, inspect)?;
        let plan = plan(&goals, inspect, &managed, desired.consent)?;
        if let Some(shown) = shown {
            let moved = plan.moved_since(shown);
            if !moved.is_empty() {
                return Err(Error::Moved(moved));
            }
        }
        if plan.steps.is_empty() {
            let complete = unfinished
                .as_ref()
                .filter(|run| run.header.roles.iter().all(|role| desired.roles.contains(role)));
            match complete.map(|run| (run, &run.header.purpose)) {
                // A rollback that was given up: an empty run says that all stands again.
                Some((_, Purpose::Rollback { .. })) => {}
                // What a cut run began is complete: close it, or every command would go on asking about it.
                Some((run, Purpose::Apply)) => {
                    self.journal.finish(self.host, run.header.run, Ending::Done, run.changed)?;
                    return Ok(Outcome { settled: Settled::nothing(), rolled_back: None });
                }
                None => return Ok(Outcome { settled: Settled::nothing(), rolled_back: None }),
            }
        }
        let moves: Vec<Move<R>> = plan
            .steps
            .iter()
            .map(|step| Move {
                resource: step.resource.clone(),
                from: step.before.clone(),
                to: step.after.clone(),
            })
            .collect();
        if let Err((ids, source)) = R::preflight(self.host, &moves) {
            return Err(Error::Preflight { ids, source });
        }
        // Whoever gives a rollback up goes on with the run that it was to undo, and a later one takes both back.
        let continues = unfinished.map(|run| match run.header.purpose {
            Purpose::Apply => run.header.run,
            Purpose::Rollback { of, .. } => of,
        });
        let settled = self.settle(
            &goals,
            plan,
            managed,
            Purpose::Apply,
            &desired.roles,
            continues,
            desired.consent,
            false,
            tell,
        )?;
        let rolled_back = match (settled.ending, settled.run) {
            (Ending::Failed, Some(run)) => {
                // Who asked the run to stop asked for no machine that is half changed.
                self.host.set_interrupt_aside();
                // What a failed run changed a moment ago is nobody's only way in.
                let consent = Consent { cut_login: true };
                Some(self.settle_back::<R>(run, Cause::Failed, consent, tell)?)
            }
            _ => None,
        };
        Ok(Outcome { settled, rolled_back })
    }

    /// Makes the machine what it was before a run, or before the last one that stands.
    ///
    /// # Errors
    /// Whatever keeps the run from beginning. A failed step is an outcome, not an error.
    pub fn rollback<R: Resource>(
        &self,
        run: Option<RunId>,
        consent: Consent,
        tell: &mut dyn FnMut(Event),
    ) -> Result<(RunId, Settled)> {
        let _lock = self.lock()?;
        let run = match run {
            Some(run) => run,
            None => self.journal.undoable(self.host.inspect())?.ok_or(Error::NothingToUndo)?,
        };
        Ok((run, self.settle_back::<R>(run, Cause::Asked, consent, tell)?))
    }

    /// Goes back to before a run. Where that run failed, it does so even if nothing can be written down any more: the failed
    /// run's own snapshot is durable.
    fn settle_back<R: Resource>(
        &self,
        run: RunId,
        cause: Cause,
        consent: Consent,
        tell: &mut dyn FnMut(Event),
    ) -> Result<Settled> {
        let inspect = self.host.inspect();
        let (goals, held) = Self::going_back::<R>(run, &self.journal, inspect)?;
        let managed = Managed::read(&self.journal, inspect)?;
        let plan = plan_holding(&goals, inspect, &managed, consent, held)?;
        let roles = self.journal.run(inspect, run)?.map(|run| run.header.roles).unwrap_or_default();
        // Recorded even when nothing is left to do: the journal must say that the run does not stand any more.
        let purpose = Purpose::Rollback { of: run, cause };
        self.settle(&goals, plan, managed, purpose, &roles, None, consent, cause == Cause::Failed, tell)
    }

    /// Takes the machine's lock, for work that changes it and is no run: a certificate that is renewed.
    ///
    /// # Errors
    /// Who has it.
    pub fn lock(&self) -> Result<Box<dyn pitool_host::Lock>> {
        let holder = LockHolder {
            pid: std::process::id(),
            since: self.host.now().to_string(),
            command: self.command.clone(),
        };
        self.host.lock(LOCK, &holder).map_err(Error::Lock)?.map_err(Error::Locked)
    }

    /// Who changes the machine at this moment, without getting in the way.
    ///
    /// # Errors
    /// The lock cannot be looked at.
    pub fn at_work(host: &dyn Inspect) -> Result<Option<LockHolder>> {
        host.lock_holder(LOCK).map_err(Error::Lock)
    }

    /// Settles goals in order: the one function that changes the machine.
    #[expect(
        clippy::too_many_arguments,
        reason = "one call for each way in, and a struct would only rename them"
    )]
    fn settle<R: Resource>(
        &self,
        goals: &[Goal<R>],
        plan: Plan<R>,
        mut managed: Managed,
        purpose: Purpose,
        roles: &[String],
        continues: Option<RunId>,
        consent: Consent,
        unrecorded: bool,
        tell: &mut dyn FnMut(Event),
    ) -> Result<Settled> {
        let host = self.host;
        let header = |run, format| Header {
            format,
            run,
            purpose: purpose.clone(),
            roles: roles.to_vec(),
            command: self.command.clone(),
            pitool: self.version.clone(),
            started: host.now().to_string(),
            continues,
            follows: None,
            origin: self.origin.clone(),
        };
        let begun = self.journal.begin(host, header, goals, &plan.observed).and_then(|run| {
            managed.begin(run, goals, &plan.observed, &self.journal, host)?;
            managed.write(&self.journal, host)?;
            Ok(run)
        });
        let run = match begun {
            Err(error) if unrecorded && error.disk() => self.journal.next(host.inspect())?,
            begun => begun?,
        };
        tell(Event::Started { run, purpose: purpose.clone(), steps: plan.steps.len() });

        let mut settled = Settled { run: Some(run), ..Settled::nothing() };
        let mut work = Work { engine: self, run, plan: &plan, consent, settled: &mut settled, tell };
        let resources: Vec<&R> = goals.iter().map(|goal| &goal.resource).collect();
        // The preflight may have run a command, after which nothing that was read before counts.
        R::expect(&resources, host.inspect());
        let adopted = goals.iter().zip(&plan.observed).find_map(|(goal, observed)| {
            goal.resource.adopt(host, observed, false).err().map(|error| (goal.resource.id(), error))
        });
        match adopted {
            Some((id, error)) => work.failed(&id, error, &[])?,
            None => work.walk(goals)?,
        }

        // What the run left is what the next one starts from.
        let rollback = matches!(purpose, Purpose::Rollback { .. });
        Work::adopt(goals, host, true, |goal, now| {
            if rollback && settled.ending != Ending::Interrupted {
                let id = goal.resource.id();
                let known = settled
                    .failures
                    .iter()
                    .chain(&settled.held)
                    .chain(&settled.left)
                    .any(|(other, _)| *other == id);
                if let Some(why) = Some(()).filter(|()| !known).and_then(|()| difference(goal, now)) {
                    tell(Event::Left { id: id.clone(), why: why.clone() });
                    settled.left.push((id, why));
                }
            }
            let Some(now) = now else { return Ok(()) };
            Ok(managed.settle(goal, now, &self.journal, host.inspect())?)
        })?;
        let changed = settled.changed.len();
        let recorded = managed
            .write(&self.journal, host)
            .and_then(|()| self.journal.finish(host, run, settled.ending, changed));
        match recorded {
            // A failed run is taken back whether or not the disk can say that it failed.
            Err(error) if error.disk() && (unrecorded || settled.ending == Ending::Failed) => {}
            Err(error) => return Err(error.late(run).into()),
            Ok(()) => {}
        }
        tell(Event::Finished { run, ending: settled.ending, changed: settled.changed.len() });
        Ok(settled)
    }
}

impl Settled {
    /// What comes of a run that has nothing to do.
    pub fn nothing() -> Self {
        Self {
            run: None,
            ending: Ending::Done,
            changed: vec![],
            failures: vec![],
            held: vec![],
            left: vec![],
        }
    }
}

/// One walk over the goals of a run.
struct Work<'a, 'h, R: Resource> {
    engine: &'a Engine<'h>,
    run: RunId,
    plan: &'a Plan<R>,
    consent: Consent,
    settled: &'a mut Settled,
    tell: &'a mut dyn FnMut(Event),
}

impl<R: Resource> Work<'_, '_, R> {
    fn walk(&mut self, goals: &[Goal<R>]) -> Result<()> {
        let mut at = 0;
        while let Some(goal) = goals.get(at) {
            if self.engine.host.interrupted() {
                self.settled.ending = Ending::Interrupted;
                return Ok(());
            }
            let group = goal.resource.group();
            let length = if group.is_none() {
                1
            } else {
                goals[at..].iter().take_while(|goal| goal.resource.group() == group).count()
            };
            let going_on = self.steps(&goals[at..at + length], at, &goals[at + length..])?;
            if !going_on {
                return Ok(());
            }
            at += length;
        }
        Ok(())
    }

    /// Looks at each goal and lets it write down what it runs with; one that cannot only costs a restart.
    fn adopt(
        goals: &[Goal<R>],
        host: &dyn Host,
        settled: bool,
        mut seen: impl FnMut(&Goal<R>, Option<&R::State>) -> Result<()>,
    ) -> Result<()> {
        let resources: Vec<&R> = goals.iter().map(|goal| &goal.resource).collect();
        R::expect(&resources, host.inspect());
        for goal in goals {
            let Ok(now) = goal.resource.observe(host.inspect()) else {
                seen(goal, None)?;
                continue;
            };
            if let Err(error @ pitool_host::Error::PowerCut) = goal.resource.adopt(host, &now, settled) {
                return Err(Error::PowerCut(error));
            }
            seen(goal, Some(&now))?;
        }
        Ok(())
    }

    /// Enacts neighbouring goals together; false when the run must stop.
    fn steps(&mut self, goals: &[Goal<R>], offset: usize, rest: &[Goal<R>]) -> Result<bool> {
        let host = self.engine.host;
        let back = goals.iter().any(|goal| matches!(goal.aim, Aim::Restored(_)));
        let mut moves: Vec<(&Goal<R>, Move<R>)> = Vec::new();
        for (index, goal) in goals.iter().enumerate() {
            let id = goal.resource.id();
            let from = match goal.resource.observe(host.inspect()) {
                Ok(state) => state,
                Err(error) => {
                    self.failed(&id, error, rest)?;
                    if back { continue } else { return Ok(false) }
                }
            };
            let to = goal.target(&from);
            if from != to {
                if let Some(why) = self.plan.held.get(&id) {
                    self.left(&id, why.clone());
                    continue;
                }
                let back = matches!(goal.aim, Aim::Restored(_));
                let turn = Turn { upcoming: &Upcoming::default(), back, consent: self.consent };
                match goal.resource.objection(host.inspect(), &from, &to, &turn) {
                    Ok(None) => {}
                    Ok(Some(why)) => {
                        // The plan has said it already, unless it counted on a step before this one.
                        if self.plan.steps.iter().any(|step| step.id == id) {
                            (self.tell)(Event::Held { id: id.clone(), why: why.clone() });
                        }
                        self.settled.held.push((id, why));
                        continue;
                    }
                    Err(error) => {
                        self.failed(&id, error, rest)?;
                        if back { continue } else { return Ok(false) }
                    }
                }
            }
            if from != to {
                moves.push((goal, Move { resource: goal.resource.clone(), from, to }));
            } else if self.plan.observed.get(offset + index).is_some_and(|before| *before != from)
                && self.plan.steps.iter().any(|step| step.id == id)
            {
                (self.tell)(Event::Done { id: id.clone(), by: By::Earlier });
                self.settled.changed.push(id);
            }
        }
        if moves.is_empty() {
            return Ok(true);
        }
        let mut begun = Vec::new();
        for (goal, step) in &moves {
            let id = goal.resource.id();
            let change = step.resource.change(&step.from, &step.to);
            let (roles, stage) = (goal.roles.clone(), goal.resource.stage());
            let (action, summary) = (change.action, change.summary.clone());
            begun.push((id.clone(), change));
            (self.tell)(Event::Step { id, roles, stage, action, summary });
        }
        let noted = self.engine.journal.steps_begin(host, self.run, &begun);
        self.noted(noted)?;
        if moves.iter().any(|(goal, _)| goal.resource.group().is_some()) {
            // What a group does may start units by itself, with what is there by now.
            Self::adopt(rest, host, false, |_, _| Ok(()))?;
        }
        let bare: Vec<Move<R>> = moves.iter().map(|(_, step)| step.clone()).collect();
        let enacted = match bare.as_slice() {
            [one] if one.resource.group().is_none() => one.resource.enact(host, &one.from, &one.to),
            many => R::enact_group(host, many),
        };
        if let Err(error) = enacted {
            let ids: Vec<&Id> = begun.iter().map(|(id, _)| id).collect();
            self.failed(concerned(&ids, &error), error, rest)?;
            return Ok(back);
        }
        let mut ended = Vec::new();
        for (goal, step) in &moves {
            let id = goal.resource.id();
            let reached = goal.resource.observe(host.inspect()).map(|now| (goal.target(&now) == now, now));
            match (reached, goal.resource.reversal(), back) {
                (Ok((true, _)), ..) => {
                    (self.tell)(Event::Done { id: id.clone(), by: By::Step });
                }
                (Ok((false, now)), Reversal::Partial(why) | Reversal::None(why), true) => {
                    self.left(&id, why);
                    if now != step.from {
                        self.settled.changed.push(id);
                    }
                    continue;
                }
                (Ok((false, now)), ..) => {
                    let gap = step.resource.change(&now, &goal.target(&now)).summary;
                    let gap = if gap.is_empty() { gap } else { format!(" (still to do: {gap})") };
                    let error = pitool_host::Error::Unsupported(format!(
                        "the step ended without an error, but {id} did not reach its state{gap}"
                    ));
                    self.failed(&id, error, rest)?;
                    if !back {
                        return Ok(false);
                    }
                    continue;
                }
                (Err(error), ..) => {
                    self.failed(&id, error, rest)?;
                    if !back {
                        return Ok(false);
                    }
                    continue;
                }
            }
            self.settled.changed.push(id.clone());
            ended.push(id);
        }
        let noted = self.engine.journal.steps_end(host, self.run, &ended);
        self.noted(noted)?;
        Ok(true)
    }

    /// Lets a run go on when a line of the journal could not be written: those lines are for people, and a full
    /// disk must not keep a failed run from being taken back.
    fn noted(&self, written: std::result::Result<(), JournalError>) -> Result<()> {
        match written {
            Err(JournalError::Write { source: source @ pitool_host::Error::PowerCut, .. }) => {
                Err(Error::PowerCut(source))
            }
            _ => Ok(()),
        }
    }

    fn left(&mut self, id: &Id, why: String) {
        (self.tell)(Event::Left { id: id.clone(), why: why.clone() });
        self.settled.left.push((id.clone(), why));
    }

    fn failed(&mut self, id: &Id, error: pitool_host::Error, rest: &[Goal<R>]) -> Result<()> {
        if matches!(error, pitool_host::Error::PowerCut) {
            return Err(Error::PowerCut(error));
        }
        let error = chain(&error);
        self.settled.ending = Ending::Failed;
        self.settled.failures.push((id.clone(), error.clone()));
        let waiting = rest.iter().map(|goal| goal.resource.id());
        let not_started = waiting.filter(|id| self.plan.steps.iter().any(|step| step.id == *id)).collect();
        let noted = self.engine.journal.step_failed(self.engine.host, self.run, id, &error);
        self.noted(noted)?;
        (self.tell)(Event::Failed { id: id.clone(), error, not_started });
        Ok(())
    }
}

/// What differs from what was there before; also where nobody can tell, because it cannot be read.
fn difference<R: Resource>(goal: &Goal<R>, now: Option<&R::State>) -> Option<String> {
    let Aim::Restored(before) = &goal.aim else { return None };
    match now {
        Some(now) => goal.resource.remains(before, now),
        None => Some("its state cannot be read, so nobody compared it".to_owned()),
    }
}

/// Which of those that were settled together an error is about: the first that its words name, else the first.
fn concerned<'i>(ids: &[&'i Id], error: &pitool_host::Error) -> &'i Id {
    let message = match error {
        pitool_host::Error::Failed { message, .. } => message.as_str(),
        _ => "",
    };
    // `nginx:arm64`, `nginx (--configure):` and `nginx` are nginx, and libnginx-mod is not.
    let part_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.');
    let mut words = message.split(|c| !part_of_name(c)).map(|word| word.trim_end_matches('.'));
    words.find_map(|word| ids.iter().find(|id| id.name() == word)).unwrap_or(&ids[0])
}
