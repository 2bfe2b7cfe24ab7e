//! Which archives stay and which may go: a pure function, and never the last good copy.
//!
//! Archives are counted, not aged: the newest one of each of the last days, weeks, months and years that have one. So
//! where backups stop, nothing more is deleted. Daily, weekly and monthly are roles of one file, which stays as long as
//! it has one. Seven things hold whatever happens, and the tests at the end try to break each:
//!
//! 1. Only archives that are known to be whole, with what they refer to, count; others, and those of a time to come, push
//!    none out and have no role.
//! 2. The newest whole archive stays.
//! 3. At least `minimum` whole archives stay, as far as there are any.
//! 4. An archive of which nobody knows whether it is whole stays; one that is known to be incomplete is deleted only
//!    when it is older than a whole one that stays.
//! 5. Nothing is deleted while something speaks against it: see [`Circumstances`].
//! 6. The oldest archive stays while a rule has not found as many as it wants.
//! 7. Each archive is decided once, with a reason; whoever decides again about what stayed deletes nothing more. What a
//!    note that stays refers to stays, from note to note; where nobody knows which one that is, all that came before.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};
use serde::Serialize;

/// How many archives of a set are kept at a target: the newest one of each of the last periods that have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The number of days.
    pub daily: u16,
    /// The number of weeks, from Monday to Sunday (ISO 8601).
    pub weekly: u16,
    /// The number of months.
    pub monthly: u16,
    /// The number of years.
    pub yearly: u16,
    /// The number of archives that always stay; one always does.
    pub minimum: u16,
}

/// What retention needs to know of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its name, unique at its target.
    pub name: String,
    /// When it was made, as its name says.
    pub time: Timestamp,
    /// Its number, which tells archives of one moment apart, and by which the one made last is known even where the
    /// clock was wrong.
    pub sequence: u64,
    /// What is known of it.
    pub condition: Condition,
    /// How many bytes it restores.
    pub size: u64,
    /// Where its data is.
    pub data: Data,
}

/// Where the data of an archive is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// In itself.
    Own,
    /// In this one: it is a note that nothing has changed since.
    Of(String),
    /// In one of those before it: it is such a note, and could not be read.
    Before,
}

/// What is known of an archive, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// Its manifest is missing, or it was found damaged.
    Incomplete,
    /// It looks whole, and nobody has verified it: made by another machine, or encrypted for others.
    Unknown,
    /// It was verified.
    Whole,
}

/// What may speak against deleting anything.
#[derive(Clone, Debug)]
pub struct Circumstances {
    /// The time now, with the zone in which days begin.
    pub now: Zoned,
    /// Whether a time server confirms that time. A Pi has no clock of its own.
    pub clock_synchronized: bool,
    /// Whether the last run of the set failed.
    pub last_run_failed: bool,
}

/// Why an archive stays or goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// The newest of a day, counted from the latest.
    Daily {
        /// Its place, from 1.
        number: u16,
    },
    /// The newest of a week.
    Weekly {
        /// Its place, from 1.
        number: u16,
    },
    /// The newest of a month.
    Monthly {
        /// Its place, from 1.
        number: u16,
    },
    /// The newest of a year.
    Yearly {
        /// Its place, from 1.
        number: u16,
    },
    /// The newest whole one, by its time or by its number.
    Newest,
    /// One of those that always stay.
    Minimum,
    /// The oldest one, while a rule wants more than there are.
    Oldest,
    /// A note that stays refers to it.
    Referred {
        /// The note.
        by: String,
    },
    /// Nobody knows whether it is whole.
    Unknown,
    /// It is not whole, and nothing newer is: it may be all there is.
    LastResort,
    /// Its time is still to come, so nobody knows when it was made.
    Future,
    /// No time server confirms the clock.
    ClockNotSynchronized,
    /// The last run failed.
    LastRunFailed,
    /// The newest archive restores less than half of what the one before did.
    Shrunk,
    /// No rule wants it.
    NoRole,
    /// It is not whole, and a newer one is.
    Incomplete,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Daily { number } => write!(f, "daily {number}"),
            Self::Weekly { number } => write!(f, "weekly {number}"),
            Self::Monthly { number } => write!(f, "monthly {number}"),
            Self::Yearly { number } => write!(f, "yearly {number}"),
            Self::Newest => f.write_str("the newest"),
            Self::Minimum => f.write_str("one of the minimum"),
            Self::Oldest => f.write_str("the oldest, while a rule is not full"),
            Self::Referred { by } => write!(f, "{by} refers to it"),
            Self::Unknown => f.write_str("not verified yet"),
            Self::LastResort => f.write_str("not whole, but nothing newer is"),
            Self::Future => f.write_str("its time is still to come"),
            Self::ClockNotSynchronized => f.write_str("nothing goes while the clock is not synchronized"),
            Self::LastRunFailed => f.write_str("nothing goes after a run that failed"),
            Self::Shrunk => {
                f.write_str("nothing goes while the newest has less than half of what the one before had")
            }
            Self::NoRole => f.write_str("no rule wants it"),
            Self::Incomplete => f.write_str("not whole, and a newer one is"),
        }
    }
}

/// What becomes of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// The archive.
    pub name: String,
    /// Whether it stays.
    pub keep: bool,
    /// Why; never empty.
    pub reasons: Vec<Reason>,
}

/// How far a time may be ahead of the clock before nobody believes it: two machines' clocks differ by seconds.
const AHEAD_MINUTES: i64 = 10;

/// Decides about the archives of one set at one target, newest first.
///
/// Pure: the same archives, policy and circumstances give the same decisions, whatever the order of the archives.
pub fn decide<'a>(archives: &'a [Candidate], policy: Policy, circumstances: &Circumstances) -> Vec<Decision> {
    let zone = circumstances.now.time_zone();
    let latest = circumstances.now.timestamp().saturating_add(AHEAD_MINUTES.minutes());
    let latest = latest.unwrap_or(Timestamp::MAX);
    let mut sorted: Vec<&'a Candidate> = archives.iter().collect();
    sorted.sort_by(|a, b| (b.time, b.sequence, &b.name).cmp(&(a.time, a.sequence, &a.name)));
    let conditions = conditions(archives);
    let condition = |one: &Candidate| conditions.get(one.name.as_str()).copied().unwrap_or(one.condition);
    let good: Vec<&'a Candidate> = sorted
        .iter()
        .copied()
        .filter(|one| condition(one) == Condition::Whole && one.time <= latest)
        .collect();

    let mut kept: BTreeMap<&str, BTreeSet<Reason>> = BTreeMap::new();
    let mut keep = |one: &'a Candidate, reason: Reason| {
        kept.entry(one.name.as_str()).or_default().insert(reason);
    };
    let mut unfilled = false;
    for (rule, wanted) in [
        (Rule::Daily, policy.daily),
        (Rule::Weekly, policy.weekly),
        (Rule::Monthly, policy.monthly),
        (Rule::Yearly, policy.yearly),
    ] {
        let newest = newest_of_periods(&good, rule, zone);
        unfilled |= newest.len() < usize::from(wanted);
        for (one, number) in newest.into_iter().zip(1..=wanted) {
            keep(one, rule.reason(number));
        }
    }
    // Of archives of one rule the newest is the newest of all, so that `newest` has a word of its own only with a
    // clock that went back: then the one made last is another one.
    for newest in
        [good.first().copied(), good.iter().copied().max_by_key(|one| one.sequence)].into_iter().flatten()
    {
        keep(newest, Reason::Newest);
    }
    for one in good.iter().take(usize::from(policy.minimum)) {
        keep(one, Reason::Minimum);
    }
    if let (true, Some(oldest)) = (unfilled, good.last()) {
        keep(oldest, Reason::Oldest);
    }
    for one in sorted.iter().filter(|one| one.time > latest) {
        keep(one, Reason::Future);
    }
    let newest_good = good.first().map(|one| (one.time, one.sequence));
    for one in &sorted {
        match condition(one) {
            Condition::Whole => {}
            Condition::Unknown => keep(one, Reason::Unknown),
            Condition::Incomplete if Some((one.time, one.sequence)) >= newest_good => {
                keep(one, Reason::LastResort);
            }
            Condition::Incomplete => {}
        }
    }
    for reason in against(&good, circumstances) {
        sorted.iter().for_each(|one| keep(one, reason.clone()));
    }
    referred(archives, &mut kept);

    sorted
        .into_iter()
        .map(|one| match kept.remove(one.name.as_str()) {
            Some(reasons) => {
                Decision { name: one.name.clone(), keep: true, reasons: reasons.into_iter().collect() }
            }
            None => {
                let reason =
                    if condition(one) == Condition::Incomplete { Reason::Incomplete } else { Reason::NoRole };
                Decision { name: one.name.clone(), keep: false, reasons: vec![reason] }
            }
        })
        .collect()
}

/// What speaks against deleting anything at all.
fn against(good: &[&Candidate], circumstances: &Circumstances) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if !circumstances.clock_synchronized {
        reasons.push(Reason::ClockNotSynchronized);
    }
    if circumstances.last_run_failed {
        reasons.push(Reason::LastRunFailed);
    }
    // Perhaps a disk was not mounted: what is saved now is not what was worth saving.
    if let [newest, before, ..] = good {
        if newest.size < before.size / 2 {
            reasons.push(Reason::Shrunk);
        }
    }
    reasons
}

/// What is known of each archive together with what it refers to: a note is worth no more than that.
fn conditions(archives: &[Candidate]) -> BTreeMap<&str, Condition> {
    let by_name: BTreeMap<&str, &Candidate> = archives.iter().map(|one| (one.name.as_str(), one)).collect();
    let together = |one: &Candidate| {
        let mut condition = one.condition;
        if condition == Condition::Unknown {
            return condition;
        }
        let mut at = one;
        // Notes refer to what is older, so that there are fewer steps than archives; a circle is a lie.
        for _ in archives {
            match &at.data {
                Data::Own => return condition,
                Data::Before => return condition.min(Condition::Unknown),
                Data::Of(name) => match by_name.get(name.as_str()) {
                    Some(next) => {
                        condition = condition.min(next.condition);
                        at = next;
                    }
                    None => return Condition::Incomplete,
                },
            }
        }
        Condition::Incomplete
    };
    archives.iter().map(|one| (one.name.as_str(), together(one))).collect()
}

/// Keeps what kept notes refer to, from note to note.
fn referred<'a>(archives: &'a [Candidate], kept: &mut BTreeMap<&'a str, BTreeSet<Reason>>) {
    let mut left: Vec<&'a Candidate> =
        archives.iter().filter(|one| kept.contains_key(one.name.as_str())).collect();
    while let Some(note) = left.pop() {
        let is_meant = |one: &&'a Candidate| match &note.data {
            Data::Own => false,
            Data::Of(name) => one.name == *name,
            Data::Before => (one.sequence, &one.name) < (note.sequence, &note.name),
        };
        for whole in archives.iter().filter(is_meant) {
            if !kept.contains_key(whole.name.as_str()) {
                left.push(whole);
            }
            kept.entry(&whole.name).or_default().insert(Reason::Referred { by: note.name.clone() });
        }
    }
}

/// A rule that gives archives their roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

impl Rule {
    fn reason(self, number: u16) -> Reason {
        match self {
            Self::Daily => Reason::Daily { number },
            Self::Weekly => Reason::Weekly { number },
            Self::Monthly => Reason::Monthly { number },
            Self::Yearly => Reason::Yearly { number },
        }
    }

    /// The period of a time, as two numbers that only this period has.
    fn period(self, time: Timestamp, zone: &TimeZone) -> (i16, i16) {
        let local = time.to_zoned(zone.clone());
        match self {
            Self::Daily => (local.year(), local.day_of_year()),
            Self::Weekly => {
                let week = local.date().iso_week_date();
                (week.year(), i16::from(week.week()))
            }
            Self::Monthly => (local.year(), i16::from(local.month())),
            Self::Yearly => (local.year(), 0),
        }
    }
}

/// The newest archive of each period that has one, the latest period first.
fn newest_of_periods<'a>(good: &[&'a Candidate], rule: Rule, zone: &TimeZone) -> Vec<&'a Candidate> {
    let mut last = None;
    let mut newest = Vec::new();
    for one in good {
        let period = rule.period(one.time, zone);
        if last != Some(period) {
            newest.push(*one);
            last = Some(period);
        }
    }
    newest
}

#[cfg(test)]
mod tests;
