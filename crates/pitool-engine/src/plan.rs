//! Plans: what would change, without changing it.

use std::collections::BTreeMap;

use pitool_host::Inspect;
use serde::{Deserialize, Serialize};

use crate::managed::state_digest;
use crate::{Aim, Change, Consent, Goal, Id, Managed, Move, Resource, Reversal, Risk, Stage, Turn, Upcoming};

/// Why a step is in the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// What is there differs from what the config wants.
    Differs,
    /// What is there differs from what pitool last left: somebody or something changed it by hand.
    Drift,
    /// It is right now, but steps before it will change that.
    Follows(Vec<Id>),
}

/// One planned change.
#[derive(Clone, Debug)]
pub struct Step<R: Resource> {
    /// The resource.
    pub resource: R,
    /// Its identity.
    pub id: Id,
    /// Roles that want it.
    pub roles: Vec<String>,
    /// What is there (or will be, when its turn comes).
    pub before: R::State,
    /// What will be there.
    pub after: R::State,
    /// Why.
    pub reason: Reason,
}

impl<R: Resource> Step<R> {
    /// The difference in words.
    pub fn change(&self) -> Change {
        self.resource.change(&self.before, &self.after)
    }

    /// When it runs.
    pub fn stage(&self) -> Stage {
        self.resource.stage()
    }

    /// What it may cut.
    pub fn risk(&self) -> Risk {
        self.resource.risk()
    }

    /// How far it can be undone.
    pub fn reversal(&self) -> Reversal {
        self.resource.reversal()
    }
}

/// Something that was asked for and is held back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The resource.
    pub id: Id,
    /// Roles that want it.
    pub roles: Vec<String>,
    /// Why, and what to do.
    pub why: String,
}

/// Ordered steps, each before → after.
#[derive(Clone, Debug)]
pub struct Plan<R: Resource> {
    /// The steps in the order in which they run.
    pub steps: Vec<Step<R>>,
    /// What is held back.
    pub refused: Vec<Refused>,
    /// Things that an earlier run settled and that the asked roles no longer want.
    pub unmanaged: Vec<Id>,
    /// How many things were looked at.
    pub total: usize,
    /// Every observed state, one for each goal.
    pub(crate) observed: Vec<R::State>,
    /// What does not go back, with why.
    pub(crate) held: Held,
}

/// Ids that going back leaves as they are, each with why.
pub(crate) type Held = BTreeMap<Id, String>;

impl<R: Resource> Plan<R> {
    /// The ids whose steps are not those of a plan that was made earlier.
    pub(crate) fn moved_since(&self, earlier: &Self) -> Vec<Id> {
        let stands_in = |plan: &Self, step: &Step<R>| {
            plan.steps.iter().any(|other| {
                (&other.id, &other.before, &other.after) == (&step.id, &step.before, &step.after)
            })
        };
        let mut moved: Vec<Id> = Vec::new();
        let new = self.steps.iter().filter(|step| !stands_in(earlier, step));
        for step in new.chain(earlier.steps.iter().filter(|step| !stands_in(self, step))) {
            if !moved.contains(&step.id) {
                moved.push(step.id.clone());
            }
        }
        moved
    }
}

/// A resource that could not be observed.
#[derive(Debug, thiserror::Error)]
#[error("cannot tell the state of {id}")]
pub struct PlanError {
    /// The resource.
    pub id: Id,
    /// Why.
    #[source]
    pub source: pitool_host::Error,
}

/// Compares what is there with what should be. Reads only.
///
/// # Errors
/// A resource whose state cannot be read: unknown is not the same as unchanged.
pub fn plan<R: Resource>(
    goals: &[Goal<R>],
    host: &dyn Inspect,
    managed: &Managed,
    consent: Consent,
) -> Result<Plan<R>, PlanError> {
    plan_holding(goals, host, managed, consent, Held::new())
}

/// The same, where some of what goes back is held already.
pub(crate) fn plan_holding<R: Resource>(
    goals: &[Goal<R>],
    host: &dyn Inspect,
    managed: &Managed,
    consent: Consent,
    mut held: Held,
) -> Result<Plan<R>, PlanError> {
    let resources: Vec<&R> = goals.iter().map(|goal| &goal.resource).collect();
    R::expect(&resources, host);
    let observed = goals.iter().map(|goal| {
        goal.resource.observe(host).map_err(|source| PlanError { id: goal.resource.id(), source })
    });
    let observed: Vec<R::State> = observed.collect::<Result<_, _>>()?;
    let plan = steps(goals, host, observed.clone(), managed, consent, held.clone())?;
    let back: Vec<Move<R>> = goals
        .iter()
        .zip(&observed)
        .filter(|(goal, _)| matches!(goal.aim, Aim::Restored(_)))
        .map(|(goal, observed)| {
            let step = plan.steps.iter().find(|step| step.id == goal.resource.id());
            let to = step.map_or_else(|| observed.clone(), |step| step.after.clone());
            Move { resource: goal.resource.clone(), from: observed.clone(), to }
        })
        .collect();
    if back.is_empty() {
        return Ok(plan);
    }
    let objections = R::objections(host, &back);
    if objections.is_empty() {
        return Ok(plan);
    }
    held.extend(objections);
    steps(goals, host, observed, managed, consent, held)
}

/// The steps from these states, one for each goal.
fn steps<R: Resource>(
    goals: &[Goal<R>],
    host: &dyn Inspect,
    observed_states: Vec<R::State>,
    managed: &Managed,
    consent: Consent,
    held: Held,
) -> Result<Plan<R>, PlanError> {
    let mut upcoming = Upcoming::default();
    let mut plan = Plan {
        steps: Vec::new(),
        refused: Vec::new(),
        unmanaged: Vec::new(),
        total: goals.len(),
        observed: Vec::new(),
        held,
    };
    for (goal, observed) in goals.iter().zip(observed_states) {
        let id = goal.resource.id();
        let foreseen = goal.resource.foresee(&observed, &upcoming);
        let after = goal.target(&foreseen);
        if let Some(why) = goal.resource.refusal(&foreseen) {
            plan.refused.push(Refused { id: id.clone(), roles: goal.roles.clone(), why });
        }
        if let Some(why) = plan.held.get(&id).filter(|_| foreseen != after) {
            plan.refused.push(Refused { id: id.clone(), roles: goal.roles.clone(), why: why.clone() });
            plan.observed.push(observed);
            continue;
        }
        // What counts is the state that its turn will find: steps before it may bring it there, or take it away.
        let differs = foreseen != after;
        let back = matches!(goal.aim, Aim::Restored(_));
        let objection = match differs {
            true => {
                let turn = Turn { upcoming: &upcoming, back, consent };
                let asked = goal.resource.objection(host, &foreseen, &after, &turn);
                asked.map_err(|source| PlanError { id: id.clone(), source })?
            }
            false => None,
        };
        if let Some(why) = objection {
            plan.refused.push(Refused { id, roles: goal.roles.clone(), why });
        } else if differs {
            if back {
                let files = goal.resource.decides_logins(host, &after);
                upcoming.1.extend(files.map_err(|source| PlanError { id: id.clone(), source })?);
            }
            let alone = goal.target(&observed) == observed;
            let watched = goal.resource.watches();
            let moved = managed.left(&id).is_some_and(|left| {
                // The state of a watcher names all that it watches: when the config changes that list, the
                // difference is the config's.
                left != state_digest(&observed) && (watched.is_empty() || left == state_digest(&after))
            });
            let causes: Vec<Id> = watched.into_iter().filter(|id| upcoming.contains(id)).collect();
            let reason = match (alone, moved) {
                (true, _) => Reason::Follows(causes),
                (false, true) if causes.is_empty() => Reason::Drift,
                (false, true) => Reason::Follows(causes),
                (false, false) => Reason::Differs,
            };
            upcoming.0.insert(id.clone(), goal.resource.fingerprint(&after));
            plan.steps.push(Step {
                resource: goal.resource.clone(),
                id,
                roles: goal.roles.clone(),
                before: if observed == after { foreseen } else { observed.clone() },
                after,
                reason,
            });
        }
        plan.observed.push(observed);
    }
    Ok(plan)
}
