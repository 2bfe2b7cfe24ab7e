//! What is known of past backups, drills and copies: `/var/lib/pitool/backup/record.json`.
//!
//! Whoever wants to know whether backups are well reads this file: the last run and the last success of every set, the
//! last drill, and which archives are at which target. It is written at the end of each command, whole and durably; a
//! machine that has none (a new one) believes the markers of its targets and verifies what is there before it counts.

use std::collections::BTreeMap;

use jiff::Timestamp;
use pitool_host::{Access, Error, Host, Inspect, Result};
use serde::{Deserialize, Serialize};

/// Where it is.
pub const PATH: &str = "/var/lib/pitool/backup/record.json";

/// Where a record goes that cannot be understood.
pub const DAMAGED: &str = "/var/lib/pitool/backup/record.json.damaged";

/// The directory of everything that backups keep about themselves; root's alone.
pub const DIRECTORY: &str = "/var/lib/pitool/backup";

/// The name of the archives' own directory among the targets.
pub const LOCAL: &str = "local";

/// What is known of past backups.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// The version of the file, 1.
    pub version: u32,
    /// What was done to each set.
    pub sets: BTreeMap<String, SetRecord>,
    /// What is at each target.
    pub targets: BTreeMap<String, TargetRecord>,
}

/// What was done to a set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SetRecord {
    /// When pitool first knew the set: a backup is overdue from then on, even if there never was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The last run, whatever came of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<Deed>,
    /// The last run that saved everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success: Option<Deed>,
    /// Which of the places that may be missing were there the last time: one that goes away is missed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub present: Vec<String>,
    /// The last drill, whatever came of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drill: Option<Deed>,
    /// The last drill that restored everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drill_success: Option<Deed>,
}

/// Something that was done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deed {
    /// When it ended.
    pub time: Timestamp,
    /// Whether a time server confirmed that time.
    pub clock_synchronized: bool,
    /// Whether all went well.
    pub ok: bool,
    /// The archive that it was about, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<String>,
    /// How long it took.
    pub seconds: f64,
    /// How many files it saved or restored.
    #[serde(default)]
    pub files: u64,
    /// How many bytes these have.
    #[serde(default)]
    pub bytes: u64,
    /// What went wrong, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// What is at a target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TargetRecord {
    /// The id in its marker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub marker: Option<String>,
    /// When everything was last copied there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success: Option<Timestamp>,
    /// Why that did not work the last time, if it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The archives there that were looked at, by name.
    pub archives: BTreeMap<String, ArchiveRecord>,
}

/// An archive that was looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArchiveRecord {
    /// When it was verified.
    pub verified: Timestamp,
    /// Whether it was found damaged then: it counts for nothing until it is verified anew.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub damaged: bool,
    /// Its size there; 0 for a note that refers to another one.
    pub size: u64,
    /// How many bytes it restores.
    pub bytes: u64,
    /// The archive that it is a note about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refers_to: Option<String>,
}

impl Record {
    /// Reads the record; an empty one where there is none.
    ///
    /// # Errors
    /// It cannot be read, or it is not one.
    pub fn read(host: &dyn Inspect) -> Result<Self> {
        let Some(content) = host.read(PATH)? else { return Ok(Self { version: 1, ..Self::default() }) };
        serde_json::from_slice(content.bytes())
            .map_err(|error| Error::Parse { what: PATH.to_owned(), why: error.to_string() })
    }

    /// Reads the record; one that is damaged is set aside under [`DAMAGED`], and an empty one takes its place. Then the second
    /// value says so. What is at the targets is learned again from them, as on a new machine.
    ///
    /// # Errors
    /// It cannot be read, or not be set aside.
    pub fn read_or_set_aside(host: &dyn Host) -> Result<(Self, Option<String>)> {
        let why = match Self::read(host.inspect()) {
            Ok(record) => return Ok((record, None)),
            Err(Error::Parse { why, .. }) => why,
            Err(error) => return Err(error),
        };
        set_aside(host, PATH, DAMAGED)?;
        let said = format!(
            "{PATH} was damaged ({why}) and is now {DAMAGED}; when sets last succeeded is forgotten, and what is at \
             the targets is looked at again"
        );
        Ok((Self { version: 1, ..Self::default() }, Some(said)))
    }

    /// Writes the record; after a power cut it is the old one or this one.
    ///
    /// # Errors
    /// The disk is full, or worse.
    pub fn write(&self, host: &dyn Host) -> Result<()> {
        prepare(host)?;
        // Maps with strings as keys always serialize.
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        host.write(PATH, &text, Access::root(0o600))
    }

    /// What is known of a target.
    pub fn target(&mut self, name: &str) -> &mut TargetRecord {
        self.targets.entry(name.to_owned()).or_default()
    }

    /// What is known of a set.
    pub fn set(&mut self, name: &str) -> &mut SetRecord {
        self.sets.entry(name.to_owned()).or_default()
    }
}

/// Moves a file that cannot be understood out of the way; the one that was moved before it goes.
pub(crate) fn set_aside(host: &dyn Host, path: &str, to: &str) -> Result<()> {
    if let Some(content) = host.read(path)? {
        host.write(to, content.bytes(), Access::root(0o600))?;
    }
    host.remove(path)
}

/// Makes the directory where there is none.
///
/// # Errors
/// It cannot be made.
pub fn prepare(host: &dyn Host) -> Result<()> {
    for directory in ["/var/lib/pitool", DIRECTORY] {
        if host.stat(directory)?.is_none() {
            host.make_dir(directory, Access::root(0o700))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// K1.12.
    #[test]
    fn a_damaged_record_is_set_aside_once_and_said_so() {
        for damaged in ["", "\0\0\0\0", "{\"version\": 1, \"sets\": {\"mach", "{\"version\": \"one\"}"] {
            let sim = pitool_sim::Sim::debian(13);
            sim.arrange().put_dir(DIRECTORY).put(PATH, damaged);
            assert!(Record::read(&sim).is_err(), "{damaged:?}");
            let (record, said) = Record::read_or_set_aside(&sim).unwrap();
            assert_eq!((record.version, record.sets.len()), (1, 0));
            assert!(said.is_some_and(|said| said.contains(DAMAGED)));
            let kept = sim.read(DAMAGED).unwrap().unwrap();
            assert_eq!(kept.bytes(), damaged.as_bytes());
            assert_eq!(Record::read_or_set_aside(&sim).unwrap(), (record, None));
        }
    }

    #[test]
    fn a_record_of_a_later_version_loses_nothing_that_is_known_here() {
        let text = r#"{"version": 1, "sets": {"machine": {"future": 1, "run": {"time": "2026-11-21T02:00:00Z",
            "clock_synchronized": true, "ok": true, "seconds": 1.5}}}, "more": []}"#;
        let record: Record = serde_json::from_str(text).unwrap();
        let run = record.sets["machine"].run.as_ref().unwrap();
        assert!(run.ok && run.files == 0 && run.problems.is_empty());
        let again: Record = serde_json::from_str(&serde_json::to_string(&record).unwrap()).unwrap();
        assert_eq!(again, record);
    }
}
