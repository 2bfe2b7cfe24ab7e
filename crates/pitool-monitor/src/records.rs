//! What other parts of pitool wrote down about their work: backups in their record, certificates in their store.
//!
//! The files are read as their JSON and PEM says, with the few fields that matter here; the crates that write them are
//! not known here, and `tests/records.rs` of the program `pitool` holds both ends together. What the config does not
//! promise is not looked at: a set that nobody saves any more needs no watching.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use pitool_host::text::chain;
use pitool_host::{Content, FileType, Inspect};
use pitool_net::certificate;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use crate::setup::{self, Expected};
use crate::system::System;

/// Where backups are written down: JSON, root's alone.
pub const BACKUP: &str = "/var/lib/pitool/backup/record.json";

/// The version of that file that is understood here.
const BACKUP_VERSION: u32 = 1;

/// Where the figures of backups are, as Prometheus reads them.
const BACKUP_METRICS: &str = "/var/lib/pitool/backup/metrics.prom";

/// Where certificates are: below it `certificates/NAME/`, with the link `current` to the directory of what is in use.
pub const CERTIFICATES: &str = "/var/lib/pitool-acme";

/// The record of backups.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Record {
    version: u32,
    sets: BTreeMap<String, SetRecord>,
    targets: BTreeMap<String, TargetRecord>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SetRecord {
    since: Option<Timestamp>,
    run: Option<Deed>,
    success: Option<Deed>,
    drill: Option<Deed>,
    drill_success: Option<Deed>,
}

#[derive(Deserialize)]
struct Deed {
    time: Timestamp,
    ok: bool,
    #[serde(default)]
    problems: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TargetRecord {
    problem: Option<String>,
}

/// What is known of a certificate besides what it says: `about.json` beside it.
#[derive(Deserialize)]
struct About {
    source: String,
}

/// What pitool looks after: JSON, root's alone.
pub const MANAGED: &str = "/var/lib/pitool/managed.json";

#[derive(Deserialize)]
struct Managed {
    entries: BTreeMap<String, IgnoredAny>,
}

/// The source of a certificate that is there only so that the web server can start.
const PLACEHOLDER: &str = "placeholder";

/// What is remembered of renewals: `state.json` of a certificate, root's alone.
#[derive(Default, Deserialize)]
#[serde(default)]
struct State {
    failures: Failures,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Failures {
    last: Option<Failure>,
}

#[derive(Deserialize)]
struct Failure {
    what: String,
}

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

/// The units that some run has settled; `None` where that cannot be read.
pub fn settled_units(host: &dyn Inspect) -> Option<BTreeSet<String>> {
    let managed: Managed = json(host, MANAGED).ok()??;
    let unit = |id: &String| Some(id.strip_prefix("unit[")?.strip_suffix(']')?.to_owned());
    Some(managed.entries.keys().filter_map(unit).collect())
}

/// Reads what is written down of backups; `None` where none are configured.
///
/// # Errors
/// The record is there and of no use; the words say why.
pub fn backups(host: &dyn Inspect, expected: &Expected) -> Result<Option<Backups>, String> {
    if expected.backup_sets.is_empty() {
        return Ok(None);
    }
    let record: Record =
        json(host, BACKUP)?.unwrap_or(Record { version: BACKUP_VERSION, ..Record::default() });
    if record.version > BACKUP_VERSION {
        return Err(format!("{BACKUP} has version {}: a later pitool wrote it", record.version));
    }
    let metrics = text(host, BACKUP_METRICS)?.unwrap_or_default();
    // A set that never had a run is promised since the config was applied.
    let promised = std::fs::metadata(setup::PATH)
        .and_then(|file| file.modified())
        .ok()
        .and_then(|time| Timestamp::try_from(time).ok())
        .filter(|_| host.live());
    let failed =
        |deed: Option<&Deed>| deed.filter(|deed| !deed.ok).map(|deed| (deed.time, deed.problems.join("; ")));
    let none = SetRecord::default();
    let set = |name: &String| {
        let known = record.sets.get(name).unwrap_or(&none);
        let failure = failed(known.run.as_ref());
        BackupSet {
            since: known.since.or(promised),
            last_success: known.success.as_ref().map(|deed| deed.time),
            last_failure: failure.as_ref().map(|(time, _)| *time),
            error: failure.map(|(_, why)| why),
            last_drill: known.drill_success.as_ref().map(|deed| deed.time),
            drill_error: failed(known.drill.as_ref()).map(|(_, why)| why),
        }
    };
    let target = |name: &String| record.targets.get(name).and_then(|target| target.problem.clone());
    Ok(Some(Backups {
        sets: expected.backup_sets.iter().map(|name| (name.clone(), set(name))).collect(),
        targets: expected.backup_targets.iter().map(|name| (name.clone(), target(name))).collect(),
        metrics,
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
    let directory = format!("{CERTIFICATES}/certificates/{name}");
    let mut found = Certificate::default();
    // Root's alone; without it, only the reason of a failure is missing.
    if let Ok(Some(state)) = json::<State>(host, &format!("{directory}/state.json")) {
        found.error = state.failures.last.map(|last| last.what);
    }
    // The link is read once: a renewal may exchange it between two files.
    let current = host.stat(&format!("{directory}/current")).map_err(|error| chain(&error))?;
    if let Some(FileType::Link(target)) = current.map(|stat| stat.file_type) {
        let live = format!("{directory}/{target}");
        let missing = |file: &str| format!("{live}/{file} is missing");
        let file = format!("{live}/fullchain.pem");
        let fullchain = text(host, &file)?.ok_or_else(|| missing("fullchain.pem"))?;
        let about: About = json(host, &format!("{live}/about.json"))?.ok_or_else(|| missing("about.json"))?;
        let certificate = certificate::Certificate::from_pem(&fullchain)
            .map_err(|error| format!("{file} cannot be used: {}", chain(&error)))?;
        // A placeholder is there so that nginx can start; it is not a certificate that anybody trusts.
        if about.source != PLACEHOLDER {
            found.valid_from = Some(certificate.not_before);
            found.valid_until = Some(certificate.not_after);
            if let (true, Some(first)) = (expected.web, certificate.names.first()) {
                match system.served(&first.replacen('*', "pitool", 1)) {
                    Ok(until) => found.served_until = Some(until),
                    Err(why) => found.served_error = Some(why),
                }
            }
        }
    }
    Ok(Some(BTreeMap::from([(name.clone(), found)])))
}

/// Reads a text; `None` where there is none.
fn text(host: &dyn Inspect, path: &str) -> Result<Option<String>, String> {
    let content = host.read(path).map_err(|error| chain(&error))?;
    content
        .map(|content| content.text().map(str::to_owned).ok_or_else(|| format!("{path} is not UTF-8")))
        .transpose()
}

/// Reads a value; `None` where there is none.
fn json<T: DeserializeOwned>(host: &dyn Inspect, path: &str) -> Result<Option<T>, String> {
    let content: Option<Content> = host.read(path).map_err(|error| chain(&error))?;
    content
        .map(|content| {
            serde_json::from_slice(content.bytes()).map_err(|error| format!("{path} cannot be read: {error}"))
        })
        .transpose()
}
