//! What pitool looks after: for each thing its state before the first run that wanted it, and how the last run
//! left it. Tells a hand edit from an ordinary change, and what the config no longer mentions.

use std::collections::BTreeMap;

use pitool_host::{Access, Digest, Host, Inspect};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Aim, Goal, Id, Journal, JournalError, Resource, RunId};

/// One thing that pitool looks after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ManagedEntry {
    /// Roles that want it.
    pub roles: Vec<String>,
    /// Digest of the state that the last run left.
    pub left: Digest,
    /// The run that first wanted it.
    pub run: RunId,
    /// Its place among the things that the last run settled: undone in reverse.
    #[serde(default)]
    place: usize,
    resource: Value,
    original: Value,
}

/// Everything that pitool looks after, by id.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Managed {
    entries: BTreeMap<Id, ManagedEntry>,
    /// The newest run, written after its snapshot: by it a damaged journal is known from a run that never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    newest: Option<RunId>,
    /// After a run that was cut off, what is there may be that run's work: nobody knows how pitool left it.
    #[serde(skip)]
    unsure: bool,
}

/// A digest of a state, for telling whether it moved.
pub(crate) fn state_digest<S: Serialize>(state: &S) -> Digest {
    // A state is plain data: it always serializes. An empty digest only ever reports drift once too often.
    Digest::of(&serde_json::to_vec(state).unwrap_or_default())
}

impl Managed {
    fn path(journal: &Journal) -> String {
        format!("{}/managed.json", journal.dir())
    }

    /// Reads the index; nothing there is an empty one.
    ///
    /// # Errors
    /// An unreadable or damaged file.
    pub fn read(journal: &Journal, host: &dyn Inspect) -> Result<Self, JournalError> {
        let dir = journal.dir().to_owned();
        let content = host.read(&Self::path(journal)).map_err(|source| JournalError::Read { dir, source })?;
        content.map_or(Ok(Self::default()), |content| {
            serde_json::from_slice(content.bytes()).map_err(|error| JournalError::Damaged {
                run: RunId(0),
                why: format!("managed.json: {error}"),
            })
        })
    }

    pub(crate) fn write(&self, journal: &Journal, host: &dyn Host) -> Result<(), JournalError> {
        let text = serde_json::to_vec(self)
            .map_err(|error| JournalError::Damaged { run: RunId(0), why: error.to_string() })?;
        let dir = journal.dir().to_owned();
        host.write(&Self::path(journal), &text, Access::root(0o600))
            .map_err(|source| JournalError::Write { dir, source })
    }

    /// The same after a run that did not come to its end, if there is one.
    pub(crate) fn after(self, unfinished: bool) -> Self {
        Self { unsure: unfinished, ..self }
    }

    /// The digest of the state that the last run left, where pitool looks after this id and knows.
    pub fn left(&self, id: &Id) -> Option<Digest> {
        self.entries.get(id).filter(|_| !self.unsure).map(|entry| entry.left)
    }

    /// The newest run, as far as it was written down here.
    pub(crate) fn newest(&self) -> Option<RunId> {
        self.newest
    }

    /// Every entry.
    pub fn entries(&self) -> impl Iterator<Item = (&Id, &ManagedEntry)> {
        self.entries.iter()
    }

    /// Ids that only the asked roles wanted and that are wanted no more.
    pub fn unwanted<R: Resource>(&self, goals: &[Goal<R>], roles: &[String]) -> Vec<Id> {
        let wanted: std::collections::BTreeSet<Id> = goals.iter().map(|goal| goal.resource.id()).collect();
        self.entries
            .iter()
            .filter(|(id, entry)| {
                !wanted.contains(*id) && entry.roles.iter().all(|role| roles.contains(role))
            })
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// Goals that bring unwanted things back to what they were before pitool.
    pub(crate) fn originals<R: Resource>(
        &self,
        ids: &[Id],
        journal: &Journal,
        host: &dyn Inspect,
    ) -> Result<Vec<Goal<R>>, JournalError> {
        let mut entries: Vec<&ManagedEntry> = ids.iter().filter_map(|id| self.entries.get(id)).collect();
        entries.sort_by_key(|entry| entry.place);
        entries
            .into_iter()
            .map(|entry| {
                Ok(Goal {
                    resource: journal.recall(host, entry.run, entry.resource.clone())?,
                    roles: entry.roles.clone(),
                    aim: Aim::Restored(journal.recall(host, entry.run, entry.original.clone())?),
                })
            })
            .collect()
    }

    /// Takes in what a run is about to settle.
    pub(crate) fn begin<R: Resource>(
        &mut self,
        run: RunId,
        goals: &[Goal<R>],
        observed: &[R::State],
        journal: &Journal,
        host: &dyn Host,
    ) -> Result<(), JournalError> {
        self.newest = Some(run);
        for (place, (goal, before)) in goals.iter().zip(observed).enumerate() {
            if matches!(goal.aim, Aim::Restored(_)) && self.entries.contains_key(&goal.resource.id()) {
                continue;
            }
            let resource = journal.store(host, &goal.resource)?;
            let id = goal.resource.id();
            match self.entries.get_mut(&id) {
                Some(entry) => {
                    entry.resource = resource;
                    entry.roles = goal.roles.clone();
                    entry.place = place;
                }
                None => {
                    let original = journal.store(host, before)?;
                    let left = state_digest(before);
                    self.entries.insert(
                        id,
                        ManagedEntry { roles: goal.roles.clone(), left, run, place, resource, original },
                    );
                }
            }
        }
        Ok(())
    }

    /// Takes in how a run left a thing: one that is back at its original state is looked after no more.
    pub(crate) fn settle<R: Resource>(
        &mut self,
        goal: &Goal<R>,
        now: &R::State,
        journal: &Journal,
        host: &dyn Inspect,
    ) -> Result<(), JournalError> {
        let id = goal.resource.id();
        let Some(entry) = self.entries.get_mut(&id) else { return Ok(()) };
        if matches!(goal.aim, Aim::Restored(_)) {
            let original: R::State = journal.recall(host, entry.run, entry.original.clone())?;
            if original == *now || goal.resource.restored(&original, now) == *now {
                self.entries.remove(&id);
                return Ok(());
            }
        }
        entry.left = state_digest(now);
        Ok(())
    }
}
