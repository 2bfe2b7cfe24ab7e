//! Goals: resources with what they should become, in the order in which they settle.

use std::collections::BTreeMap;

use crate::{Consent, Id, Resource};

/// What a resource should become.
#[derive(Clone, Debug, PartialEq)]
pub enum Aim<S> {
    /// What the config wants.
    Desired,
    /// What was there before a run.
    Restored(S),
}

/// One resource with its aim and the roles that want it.
#[derive(Clone, Debug, PartialEq)]
pub struct Goal<R: Resource> {
    /// The resource.
    pub resource: R,
    /// Names of the roles that want it, in order.
    pub roles: Vec<String>,
    /// What it should become.
    pub aim: Aim<R::State>,
}

impl<R: Resource> Goal<R> {
    /// The state to reach from the one observed.
    pub fn target(&self, observed: &R::State) -> R::State {
        match &self.aim {
            Aim::Desired => self.resource.desired(observed),
            Aim::Restored(before) => self.resource.restored(before, observed),
        }
    }
}

/// Two owners of one thing.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LintError {
    /// Two roles (or one twice) want the same thing in different ways.
    #[error("{id} is wanted in two different ways, by role {first} and role {second}")]
    TwoOwners {
        /// The thing.
        id: Id,
        /// Who wanted it first.
        first: String,
        /// Who wants it otherwise.
        second: String,
    },
}

/// What all selected roles want, each thing once, in the order in which it settles.
#[derive(Clone, Debug)]
pub struct Desired<R: Resource> {
    /// One goal for each thing: stage by stage, within a stage as written.
    pub goals: Vec<Goal<R>>,
    /// The roles that were asked.
    pub roles: Vec<String>,
    /// What the person agreed to lose.
    pub consent: Consent,
}

impl<R: Resource> Desired<R> {
    /// Merges what roles want.
    ///
    /// # Errors
    /// Two different wishes for one id.
    pub fn new(roles: impl IntoIterator<Item = (String, Vec<R>)>) -> Result<Self, LintError> {
        let mut goals: Vec<Goal<R>> = Vec::new();
        let mut index: BTreeMap<Id, usize> = BTreeMap::new();
        let mut names = Vec::new();
        for (role, resources) in roles {
            for resource in resources {
                let id = resource.id();
                match index.get(&id).and_then(|at| goals.get_mut(*at)) {
                    None => {
                        index.insert(id, goals.len());
                        goals.push(Goal { resource, roles: vec![role.clone()], aim: Aim::Desired });
                    }
                    Some(first) if first.resource == resource => {
                        if !first.roles.contains(&role) {
                            first.roles.push(role.clone());
                        }
                    }
                    Some(first) => {
                        let first = first.roles.join(", ");
                        return Err(LintError::TwoOwners { id, first, second: role });
                    }
                }
            }
            names.push(role);
        }
        // What is enacted together must stand together.
        goals.sort_by_key(|goal| (goal.resource.stage(), goal.resource.group().is_none()));
        Ok(Self { goals, roles: names, consent: Consent::default() })
    }

    /// Sets what the person agreed to lose.
    #[must_use]
    pub fn agreed(mut self, consent: Consent) -> Self {
        self.consent = consent;
        self
    }
}

/// Puts restored states in the order that going back needs: the reverse of the order in which they were
/// recorded, with watchers last, except those that depart.
pub(crate) fn backwards<R: Resource>(mut recorded: Vec<Goal<R>>) -> Vec<Goal<R>> {
    recorded.reverse();
    let (last, first): (Vec<_>, Vec<_>) = recorded.into_iter().partition(|goal| {
        let departs = matches!(&goal.aim, Aim::Restored(before) if goal.resource.departs(before));
        !goal.resource.watches().is_empty() && !departs
    });
    let (departing, rest): (Vec<_>, Vec<_>) =
        first.into_iter().partition(|goal| !goal.resource.watches().is_empty());
    departing.into_iter().chain(rest).chain(last).collect()
}
