//! What the checks find: plain data for alerts, metrics and the page.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It could not be found out.
    Unknown,
    /// It works, but not as it should.
    Warn,
    /// It does not work, or soon will not.
    Fail,
}

impl Level {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// What one check found of one thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The check's name.
    pub check: String,
    /// Of what, where there are several: a mount, a container. Empty otherwise.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// The judgement.
    pub level: Level,
    /// What was found, in words.
    pub value: String,
    /// From where on it is not ok, in words; empty where that goes without saying.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub threshold: String,
    /// What to do; empty when ok.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
    /// The value as a number, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<f64>,
    /// How far below the threshold the number must fall before a problem counts as over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clear_below: Option<f64>,
    /// The finding, by its id, without which this one cannot be ok: while that is bad, nobody is told of this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<String>,
}

impl Finding {
    /// A finding without number and threshold.
    pub fn new(check: &str, level: Level, value: impl Into<String>) -> Self {
        Self {
            check: check.to_owned(),
            subject: String::new(),
            level,
            value: value.into(),
            threshold: String::new(),
            hint: String::new(),
            number: None,
            clear_below: None,
            needs: None,
        }
    }

    /// All is well.
    pub fn ok(check: &str, value: impl Into<String>) -> Self {
        Self::new(check, Level::Ok, value)
    }

    /// It could not be found out, and why.
    pub fn unknown(check: &str, why: impl Into<String>) -> Self {
        Self::new(check, Level::Unknown, why)
    }

    /// Judges a number that is worse the larger it is.
    pub fn high(check: &str, number: f64, words: impl Into<String>, warn: f64, fail: Option<f64>) -> Self {
        let level = match fail {
            Some(fail) if number >= fail => Level::Fail,
            _ if number >= warn => Level::Warn,
            _ => Level::Ok,
        };
        let limit = if level == Level::Fail { fail.unwrap_or(warn) } else { warn };
        // Three percent below, so that a value that trembles at its threshold is one problem and not twenty.
        Self { number: Some(number), clear_below: Some(limit * 0.97), ..Self::new(check, level, words) }
    }

    /// Names the thing.
    #[must_use]
    pub fn of(mut self, subject: impl Into<String>) -> Self {
        self.subject = subject.into();
        self
    }

    /// Says from where on it is not ok.
    #[must_use]
    pub fn threshold(mut self, words: impl Into<String>) -> Self {
        self.threshold = words.into();
        self
    }

    /// Says what to do, unless all is well.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        if self.level != Level::Ok {
            self.hint = hint.into();
        }
        self
    }

    /// Names what must be well first.
    #[must_use]
    pub fn needs(mut self, id: impl Into<String>) -> Self {
        self.needs = Some(id.into());
        self
    }

    /// `check` or `check[subject]`.
    pub fn id(&self) -> String {
        match self.subject.as_str() {
            "" => self.check.clone(),
            subject => format!("{}[{subject}]", self.check),
        }
    }
}

/// A check that does not apply here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absent {
    /// Its name.
    pub check: String,
    /// Why.
    pub why: String,
}

/// Everything that was judged at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// When.
    pub taken: Timestamp,
    /// What was found, in the order of the checks.
    pub findings: Vec<Finding>,
    /// What does not apply.
    pub absent: Vec<Absent>,
}

impl Report {
    /// The worst that was found.
    pub fn level(&self) -> Level {
        self.findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Unknown)
    }

    /// How many there are of each level.
    pub fn counts(&self) -> BTreeMap<Level, usize> {
        let mut counts = BTreeMap::new();
        for finding in &self.findings {
            *counts.entry(finding.level).or_default() += 1;
        }
        counts
    }

    pub(crate) fn find(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    pub(crate) fn absent(&mut self, check: &str, why: impl Into<String>) {
        self.absent.push(Absent { check: check.to_owned(), why: why.into() });
    }
}
