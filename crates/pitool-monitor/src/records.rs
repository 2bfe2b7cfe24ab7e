//! What other parts of pitool wrote down about their work: backups in their record, certificates in their store.
//!
//! Both are read as those crates write them, so there is one format and one place for it. What the config does not
//! promise is not looked at: a set that nobody saves any more is nobody's worry.

use std::collections::BTreeMap;

use jiff::Timestamp;
use pitool_acme::Store;
use pitool_acme::storage::Source;
use pitool_backup::metrics;
use pitool_backup::record::{PATH, Record};
use pitool_host::Inspect;
use pitool_host::text::chain;
use serde::{Deserialize, Serialize};

use crate::setup::{self, Expected};
use crate::system::System;

/// Where backups are written down.
pub const BACKUP: &str = PATH;

/// Where certificates are.
pub const CERTIFICATES: &str = pitool_acme::storage::ROOT;

/// What is known of backups.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Backups {
    /// Each set that is saved by itself.
    pub sets: BTreeMap<String, BackupSet>,
    /// Each target that archives are copied to, with why that did not work the last time.
    pub targets: BTreeMap<String, Option<String>>,
    /// The figures, as Prometheus reads them.
    pub metrics: String,
}

/// What is written down of one set of backups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BackupSet {
    /// Since when the set is promised.
    pub since: Option<Timestamp>,
    /// When the last good backup was done.
    pub last_success: Option<Timestamp>,
    /// When the last one failed, if it did after that.
    pub last_failure: Option<Timestamp>,
    /// Why.
    pub error: Option<String>,
    /// When a restore was last rehearsed with success.
    pub last_drill: Option<Timestamp>,
    /// Why the last rehearsal failed, if it did after that.
    pub drill_error: Option<String>,
}

/// What is known of one certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Certificate {
    /// From when on the certificate on disk holds.
    pub valid_from: Option<Timestamp>,
    /// Until when.
    pub valid_until: Option<Timestamp>,
    /// Until when the one holds that the web server hands out.
    pub served_until: Option<Timestamp>,
    /// Why that could not be found out, where it should.
    pub served_error: Option<String>,
    /// Why the last renewal failed.
    pub error: Option<String>,
}

/// Reads what is written down of backups; `None` where none are configured.
///
/// # Errors
/// The record is there and of no use; the words say why.
pub fn backups(host: &dyn Inspect, expected: &Expected) -> Result<Option<Backups>, String> {
    if expected.backup_sets.is_empty() {
        return Ok(None);
    }
    let record = Record::read(host).map_err(|error| chain(&error))?;
    // A set that never had a run is promised since the config was applied.
    let promised = std::fs::metadata(setup::PATH)
        .and_then(|file| file.modified())
        .ok()
        .and_then(|time| Timestamp::try_from(time).ok())
        .filter(|_| host.live());
    let failed = |deed: &Option<pitool_backup::record::Deed>| {
        deed.as_ref().filter(|deed| !deed.ok).map(|deed| (deed.time, deed.problems.join("; ")))
    };
    let set = |name: &String| {
        let known = record.sets.get(name).cloned().unwrap_or_default();
        let failure = failed(&known.run);
        BackupSet {
            since: known.since.or(promised),
            last_success: known.success.map(|deed| deed.time),
            last_failure: failure.as_ref().map(|(time, _)| *time),
            error: failure.map(|(_, why)| why),
            last_drill: known.drill_success.map(|deed| deed.time),
            drill_error: failed(&known.drill).map(|(_, why)| why),
        }
    };
    let target = |name: &String| record.targets.get(name).and_then(|target| target.problem.clone());
    Ok(Some(Backups {
        sets: expected.backup_sets.iter().map(|name| (name.clone(), set(name))).collect(),
        targets: expected.backup_targets.iter().map(|name| (name.clone(), target(name))).collect(),
        metrics: metrics::render(&record),
    }))
}

/// Reads what is known of the machine's certificate, and asks the web server for it; `None` where none is configured.
///
/// # Errors
/// The store is there and of no use; the words say why.
pub fn certificates(
    host: &dyn Inspect,
    system: &dyn System,
    expected: &Expected,
) -> Result<Option<BTreeMap<String, Certificate>>, String> {
    let Some(name) = &expected.certificate else { return Ok(None) };
    let store = Store::default();
    let mut found = Certificate::default();
    // Root's alone; without it, only the reason of a failure is missing.
    if let Ok(state) = store.state(host, name) {
        found.error = state.failures.last.map(|last| last.what);
    }
    match store.current(host, name).map_err(|error| chain(&error))? {
        None => {}
        Some(number) => {
            let stored = store.public(host, name, number).map_err(|error| chain(&error))?;
            // A placeholder is there so that nginx can start; it is no certificate that anybody trusts.
            if stored.about.source != Source::Placeholder {
                found.valid_from = Some(stored.certificate.not_before);
                found.valid_until = Some(stored.certificate.not_after);
                if let (true, Some(first)) = (expected.web, stored.certificate.names.first()) {
                    match system.served(&first.replacen('*', "pitool", 1)) {
                        Ok(until) => found.served_until = Some(until),
                        Err(why) => found.served_error = Some(why),
                    }
                }
            }
        }
    }
    Ok(Some(BTreeMap::from([(name.clone(), found)])))
}
