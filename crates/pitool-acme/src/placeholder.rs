//! A certificate to start with: signed by itself, made where there is none, replaced by the first real one.
//!
//! With it nginx starts and the sites answer before a CA was ever asked, and the swap is one reload. It is a kind of
//! resource: a role wants it. What a CA issued since is never taken away again, forwards or back.

use jiff::SignedDuration;
use pitool_engine::{Change, Id, Resource, Reversal};
use pitool_host::{Error, Host, Inspect, Result};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde::{Deserialize, Serialize};

use crate::issue::{KeyType, Material, new_key};
use crate::storage::{About, Source, Store, StoreError};

/// A certificate of this name, be it a placeholder. Printed `certificate[NAME]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Placeholder {
    name: String,
    names: Vec<String>,
}

/// What is stored under the name.
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

impl Placeholder {
    /// One for these names, called this.
    pub fn new(name: impl Into<String>, names: impl IntoIterator<Item = String>) -> Self {
        Self { name: name.into(), names: names.into_iter().collect() }
    }

    fn make(&self, host: &dyn Host, store: &Store) -> Result<()> {
        let unusable = |why: String| Error::Unsupported(format!("no placeholder could be made: {why}"));
        let key = new_key(host, KeyType::EcP256).map_err(|error| unusable(error.to_string()))?;
        let bad = |error: rcgen::Error| unusable(error.to_string());
        let pair = KeyPair::from_pem(&key).map_err(bad)?;
        let mut params = CertificateParams::new(self.names.clone()).map_err(bad)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "pitool placeholder");
        // It never decides anything; but a clock that is behind must not make nginx's clients see it as not yet good.
        let now = host.now();
        let moment = |days: i64| {
            let then = now.checked_add(SignedDuration::from_hours(24 * days)).unwrap_or(now);
            let date = then.to_zoned(jiff::tz::TimeZone::UTC).date();
            rcgen::date_time_ymd(
                i32::from(date.year()),
                u8::try_from(date.month()).unwrap_or(1),
                u8::try_from(date.day()).unwrap_or(1),
            )
        };
        (params.not_before, params.not_after) = (moment(-2), moment(365));
        let certificate = params.self_signed(&pair).map_err(bad)?;
        let material = Material { fullchain: certificate.pem(), key };
        let about = About { source: Source::Placeholder, directory: String::new(), profile: None };
        let stored = |error: StoreError| match error {
            StoreError::Host(error) => error,
            other => unusable(other.to_string()),
        };
        let number = store.write(host, &self.name, &material, &about, 0).map_err(stored)?;
        // Going live comes last: as long as it is not, a run that was cut off is seen.
        store.link_letsencrypt(host, &self.name, &self.name, false)?;
        store.activate(host, &self.name, number).map_err(stored)?;
        store.prune(host, &self.name)
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

impl Resource for Placeholder {
    type State = Stored;

    fn id(&self) -> Id {
        Id::new("certificate", &self.name)
    }

    fn observe(&self, host: &dyn Inspect) -> Result<Stored> {
        let store = Store::default();
        let Some(number) = store.current(host, &self.name)? else {
            let begun = host.stat(&store.directory(&self.name))?.is_some();
            return Ok(if begun { Stored::Begun } else { Stored::Nothing });
        };
        // Not checked against its key here: every look of `cert renew` does, and this one is to cost nothing.
        Ok(match store.source(host, &self.name, number)? {
            None => Stored::Begun,
            Some(Source::Placeholder) => Stored::Placeholder,
            Some(Source::Issued | Source::Imported) => Stored::Certificate,
        })
    }

    fn desired(&self, observed: &Stored) -> Stored {
        match observed {
            Stored::Nothing | Stored::Begun => Stored::Placeholder,
            there => *there,
        }
    }

    fn enact(&self, host: &dyn Host, from: &Stored, to: &Stored) -> Result<()> {
        let store = Store::default();
        match (from, to) {
            (Stored::Nothing | Stored::Begun, Stored::Placeholder) => self.make(host, &store),
            (Stored::Placeholder | Stored::Begun, Stored::Nothing) => self.take_away(host, &store),
            // A certificate is neither made nor taken away by a step.
            _ => Ok(()),
        }
    }

    fn change(&self, from: &Stored, to: &Stored) -> Change {
        let words = |state: &Stored| match state {
            Stored::Nothing => "none",
            Stored::Begun => "nothing usable",
            Stored::Placeholder => "a placeholder, signed by itself, until the CA's",
            Stored::Certificate => "the CA's",
        };
        Change::words(format!("{} → {}", words(from), words(to)))
    }

    fn reversal(&self) -> Reversal {
        Reversal::Partial("a certificate that the CA issues meanwhile stays on the disk".into())
    }

    fn restored(&self, before: &Stored, now: &Stored) -> Stored {
        match (before, now) {
            (_, Stored::Certificate) => Stored::Certificate,
            (Stored::Nothing, _) => Stored::Nothing,
            // What was damaged is not made again, and a certificate cannot be made at all.
            (Stored::Begun | Stored::Placeholder | Stored::Certificate, _) => Stored::Placeholder,
        }
    }
}
