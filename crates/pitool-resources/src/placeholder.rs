//! A certificate to start with: a copy of one that the machine has for the names ([`found`]), else one that is signed by
//! itself and replaced by the first real one.
//!
//! With it nginx starts and the sites answer before a CA was ever asked, and the swap is one reload. It is a kind of
//! resource: a role wants it. What a CA issued since is never taken away again, forwards or back.

use pitool_acme::storage::{About, Source, Store, StoreError};
use pitool_acme::{found, issue};
use pitool_engine::{Action, Change, Id, Resource, Reversal};
use pitool_host::{Error, Host, Inspect, Result};
use serde::{Deserialize, Serialize};

/// A certificate of this name, be it a placeholder. Printed `certificate[NAME]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Placeholder {
    name: String,
    names: Vec<String>,
}

/// What the store has under the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stored {
    /// Nothing.
    Nothing,
    /// What a run that was cut off left, or what is damaged: nothing that could be served.
    Begun,
    /// A certificate that was made here.
    Placeholder,
    /// A certificate of a CA.
    Certificate,
}

/// What is stored under the name, and what there is elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Journaled")]
pub struct Kept {
    stored: Stored,
    /// The file of a certificate for the names outside of the store; looked for while the store has none of a CA.
    #[serde(skip_serializing_if = "Option::is_none")]
    elsewhere: Option<String>,
    /// Whether a certificate of a CA lacks its files for names.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unmarked: bool,
}

impl Kept {
    fn of(stored: Stored) -> Self {
        Self { stored, elsewhere: None, unmarked: false }
    }
}

/// A state as it is in journals, old ones among them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Journaled {
    Stored(Stored),
    Kept {
        stored: Stored,
        #[serde(default)]
        elsewhere: Option<String>,
        #[serde(default)]
        unmarked: bool,
    },
}

impl From<Journaled> for Kept {
    fn from(journaled: Journaled) -> Self {
        match journaled {
            Journaled::Stored(stored) => Self::of(stored),
            Journaled::Kept { stored, elsewhere, unmarked } => Self { stored, elsewhere, unmarked },
        }
    }
}

impl Placeholder {
    /// One for these names, called this.
    pub fn new(name: impl Into<String>, names: impl IntoIterator<Item = String>) -> Self {
        Self { name: name.into(), names: names.into_iter().collect() }
    }

    fn make(&self, host: &dyn Host, store: &Store) -> Result<()> {
        let material = issue::placeholder(host, &self.names)
            .map_err(|error| Error::Unsupported(format!("no placeholder could be made: {error}")))?;
        let about = About { source: Source::Placeholder, directory: String::new(), profile: None };
        let number = store.write(host, &self.name, &material, &about, 0).map_err(unusable)?;
        // Going live comes last: as long as it is not, a run that was cut off is seen.
        store.link_letsencrypt(host, &self.name, &self.name, false)?;
        store.activate(host, &self.name, number).map_err(unusable)?;
        store.prune(host, &self.name)
    }

    /// Copies the certificate that was found elsewhere.
    fn take_over(&self, host: &dyn Host, store: &Store) -> Result<()> {
        let Some(found) = found::best(host.inspect(), &self.names)? else {
            return Err(Error::Unsupported("the certificate that was found is gone".into()));
        };
        let about = About { source: Source::Imported, directory: found.directory, profile: None };
        let number = store.write(host, &self.name, &found.material, &about, 0).map_err(unusable)?;
        store.link_letsencrypt(host, &self.name, &self.name, false)?;
        store.activate(host, &self.name, number).map_err(unusable)?;
        store.prune(host, &self.name)
    }

    /// Marks the names of the live certificate.
    fn mark(&self, host: &dyn Host, store: &Store) -> Result<()> {
        let Some(number) = store.current(host.inspect(), &self.name)? else { return Ok(()) };
        let live = store.public(host.inspect(), &self.name, number).map_err(unusable)?;
        store.mark(host, &self.name, number, &live.certificate)
    }

    /// Takes the placeholder away again, and nothing else.
    fn take_away(&self, host: &dyn Host, store: &Store) -> Result<()> {
        let directory = store.directory(&self.name);
        host.remove(&format!("{directory}/current"))?;
        store.unlink_letsencrypt(host, &self.name)?;
        for number in store.numbers(host.inspect(), &self.name)? {
            store.remove(host, &self.name, number)?;
        }
        host.remove(&format!("{directory}/state.json"))?;
        host.remove_dir(&directory).map(drop)
    }
}

fn unusable(error: StoreError) -> Error {
    match error {
        StoreError::Host(error) => error,
        other => Error::Unsupported(other.to_string()),
    }
}

impl Resource for Placeholder {
    type State = Kept;

    fn id(&self) -> Id {
        Id::new("certificate", &self.name)
    }

    fn observe(&self, host: &dyn Inspect) -> Result<Kept> {
        let store = Store::default();
        let mut unmarked = false;
        let stored = match store.current(host, &self.name)? {
            None if host.stat(&store.directory(&self.name))?.is_some() => Stored::Begun,
            None => Stored::Nothing,
            // Not checked against its key here: every look of `cert renew` does, and this one is to cost nothing.
            Some(number) => match store.source(host, &self.name, number)? {
                None => Stored::Begun,
                Some(Source::Placeholder) => Stored::Placeholder,
                Some(Source::Issued | Source::Imported) => {
                    unmarked = !store.marked(host, &self.name)?;
                    Stored::Certificate
                }
            },
        };
        let elsewhere = match stored {
            Stored::Certificate => None,
            _ => found::best(host, &self.names)?.map(|found| found.path),
        };
        Ok(Kept { stored, elsewhere, unmarked })
    }

    fn desired(&self, observed: &Kept) -> Kept {
        let stored = match observed.stored {
            Stored::Certificate => Stored::Certificate,
            _ if observed.elsewhere.is_some() => Stored::Certificate,
            Stored::Nothing | Stored::Begun | Stored::Placeholder => Stored::Placeholder,
        };
        Kept::of(stored)
    }

    fn enact(&self, host: &dyn Host, from: &Kept, to: &Kept) -> Result<()> {
        let store = Store::default();
        match (from.stored, to.stored) {
            (Stored::Certificate, Stored::Certificate) if from.unmarked && !to.unmarked => {
                self.mark(host, &store)
            }
            // A certificate is not taken away by a step.
            (Stored::Certificate, _) => Ok(()),
            (_, Stored::Certificate) => self.take_over(host, &store),
            (Stored::Nothing | Stored::Begun, Stored::Placeholder) => self.make(host, &store),
            (Stored::Placeholder | Stored::Begun, Stored::Nothing) => self.take_away(host, &store),
            _ => Ok(()),
        }
    }

    fn change(&self, from: &Kept, to: &Kept) -> Change {
        if from.stored == to.stored {
            let summary = match (from.unmarked, to.unmarked) {
                (true, false) => "its names are marked, so that nginx sends them to HTTPS",
                _ => "",
            };
            return Change::words(Action::Change, summary);
        }
        let words = |state: &Kept| match state.stored {
            Stored::Nothing => "none",
            Stored::Begun => "nothing usable",
            Stored::Placeholder => "a placeholder, signed by itself, until the CA's",
            Stored::Certificate => "the CA's",
        };
        let action = Action::between(from.stored != Stored::Nothing, to.stored != Stored::Nothing);
        let summary = match (&from.elsewhere, to.stored) {
            (Some(path), Stored::Certificate) => {
                format!("{} → a copy of the one in {path}", words(from))
            }
            _ => format!("{} → {}", words(from), words(to)),
        };
        Change::words(action, summary)
    }

    fn reversal(&self) -> Reversal {
        Reversal::Partial("a certificate of a CA stays on the disk".into())
    }

    fn restored(&self, before: &Kept, now: &Kept) -> Kept {
        let stored = match (before.stored, now.stored) {
            (_, Stored::Certificate) => Stored::Certificate,
            (Stored::Nothing, _) => Stored::Nothing,
            // What was damaged is not made again, and a certificate cannot be made at all.
            (Stored::Begun | Stored::Placeholder | Stored::Certificate, _) => Stored::Placeholder,
        };
        // What others have is theirs, and marks harm nobody.
        Kept { stored, ..now.clone() }
    }
}

#[cfg(test)]
mod tests;
