//! What every trap consists of, and what its look can say.

use pitool_host::text::chain;
use pitool_host::{Command, Facts, Inspect, Output};
use serde::Serialize;

use crate::kernel::text;
use crate::sample::{Reading, Sample};
use crate::setup::Setup;
use crate::system::System;

/// What a trap's look has to look at.
pub struct Look<'l> {
    /// The machine.
    pub host: &'l dyn Inspect,
    /// Its kernel and services.
    pub system: &'l dyn System,
    /// Slow truths about it.
    pub facts: &'l Facts,
    /// What was found.
    pub sample: &'l Sample,
    /// What should be.
    pub setup: &'l Setup,
}

/// What became of a look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// The trap is not sprung, and how that is known.
    Fine {
        /// In words.
        what: String,
    },
    /// It is.
    Found {
        /// What was found.
        what: String,
        /// What to do.
        hint: String,
    },
    /// There can be no such trap here.
    NotHere {
        /// Why.
        why: String,
    },
    /// It could not be found out.
    Unknown {
        /// Why.
        why: String,
    },
}

pub(super) fn fine(what: impl Into<String>) -> Verdict {
    Verdict::Fine { what: what.into() }
}

pub(super) fn found(what: impl Into<String>, hint: impl Into<String>) -> Verdict {
    Verdict::Found { what: what.into(), hint: hint.into() }
}

pub(super) fn not_here(why: impl Into<String>) -> Verdict {
    Verdict::NotHere { why: why.into() }
}

pub(super) fn unknown(why: impl Into<String>) -> Verdict {
    Verdict::Unknown { why: why.into() }
}

/// A trap.
pub(super) struct Trap {
    pub(super) number: u8,
    pub(super) name: &'static str,
    pub(super) look: fn(&Look<'_>) -> Verdict,
}

/// Lines that are neither empty nor a remark.
pub(super) fn settings(text: &str) -> impl DoubleEndedIterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

impl Look<'_> {
    /// A file as text, if it is there.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        text(self.host, path)
    }

    /// Names in a directory.
    pub(super) fn names(&self, path: &str) -> Vec<String> {
        crate::kernel::names(self.host, path)
    }

    pub(super) fn there(&self, path: &str) -> bool {
        matches!(self.host.stat(path), Ok(Some(_)))
    }

    /// Files of a directory with this ending, as path and text.
    pub(super) fn files(&self, dir: &str, ending: &str) -> Vec<(String, String)> {
        let paths = self
            .names(dir)
            .into_iter()
            .filter(|name| name.ends_with(ending))
            .map(|name| format!("{dir}/{name}"));
        paths.filter_map(|path| Some((path.clone(), self.text(&path)?))).collect()
    }

    pub(super) fn installed(&self, package: &str) -> bool {
        self.host.packages().is_ok_and(|packages| packages.installed(package))
    }

    /// Asks a program.
    pub(super) fn ask(&self, program: &str, args: &[&str]) -> Reading<Output> {
        self.host.ask(&Command::new(program).args(args.to_vec())).map_err(|error| chain(&error))
    }

    pub(super) fn active(&self, unit: &str) -> bool {
        let units = self.sample.units.as_deref().unwrap_or_default();
        units.iter().any(|found| found.unit == unit && found.active == "active")
    }

    pub(super) fn docker(&self) -> bool {
        self.installed("docker.io") || self.installed("docker-ce")
    }

    /// Whether the firmware of a Pi starts this machine.
    pub(super) fn firmware(&self) -> Option<&str> {
        self.facts.firmware.as_deref()
    }
}
