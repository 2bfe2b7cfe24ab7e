//! What is remembered of failures, and when it is tried again.
//!
//! Let's Encrypt's own advice: after 1, 10 and 100 minutes, then once a day, remembered across restarts. A failed
//! validation also counts against a budget of our own, below the CA's limit of five an hour.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How long after the n-th failure in a row it is tried again.
const SCHEDULE: [SignedDuration; 3] =
    [SignedDuration::from_mins(1), SignedDuration::from_mins(10), SignedDuration::from_mins(100)];

/// How long after every later one.
const DAILY: SignedDuration = SignedDuration::from_hours(24);

/// So many validations may fail in an hour: Let's Encrypt allows five for a name.
const BUDGET: usize = 3;

const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// A CA that says "not before" is believed for so long, so that a slip of its own does not lock a machine out for good.
const LONGEST: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The failures since the last success.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Failures {
    /// How many in a row.
    pub count: u32,
    /// The last one.
    pub last: Option<Failure>,
    /// Before when nothing is tried.
    pub next_try: Option<Timestamp>,
    /// When validations failed, within the last hour.
    pub validations: Vec<Timestamp>,
}

/// One failure, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// When.
    pub at: Timestamp,
    /// What was answered: the CA's own document where there is one.
    pub what: String,
    /// What it means and what to do.
    pub advice: Option<String>,
    /// Whether it happened in a rehearsal, at the CA's other directory.
    #[serde(default)]
    pub rehearsal: bool,
}

impl Failures {
    /// Remembers a failure and decides when it is tried again. `retry_after` is how long the CA asks to be left alone,
    /// `validation` whether it counts against the CA's limit of failed validations.
    pub fn record(&mut self, failure: Failure, retry_after: Option<Duration>, validation: bool) {
        let now = failure.at;
        let wait = SCHEDULE.get(self.count as usize).copied().unwrap_or(DAILY);
        self.count = self.count.saturating_add(1);
        let after = |wait: SignedDuration| now.checked_add(wait).unwrap_or(Timestamp::MAX);
        let mut next = after(wait);
        if let Some(told) = retry_after {
            let told = SignedDuration::try_from(told).unwrap_or(LONGEST).min(LONGEST);
            next = next.max(after(told));
        }
        // What fails at the other directory does not count against the limits of this one.
        if validation && !failure.rehearsal {
            self.validations.push(now);
        }
        self.validations.retain(|at| now.duration_since(*at) < HOUR && *at <= now);
        if self.validations.len() >= BUDGET {
            let oldest = self.validations[self.validations.len() - BUDGET];
            next = next.max(oldest.checked_add(HOUR).unwrap_or(Timestamp::MAX));
        }
        self.next_try = Some(next);
        self.last = Some(failure);
    }

    /// Whether the next try is to be rehearsed first where nothing is at stake.
    pub fn rehearse(&self) -> bool {
        self.count > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn failed(second: i64, rehearsal: bool) -> Failure {
        Failure { at: at(second), what: "no".into(), advice: None, rehearsal }
    }

    #[test]
    fn a_minute_ten_a_hundred_then_daily() {
        let mut failures = Failures::default();
        let mut waits = Vec::new();
        for _ in 0..5 {
            failures.record(failed(0, false), None, false);
            waits.push(failures.next_try.unwrap().as_second() / 60);
        }
        assert_eq!(waits, [1, 10, 100, 1440, 1440]);
        assert!(failures.validations.is_empty(), "what never reached the CA costs no budget");
        assert!(failures.rehearse());
    }

    #[test]
    fn the_ca_may_ask_for_more_patience_but_not_for_ever() {
        for (told, next) in [(3600, 3600), (1, 60), (u64::MAX, 7 * 86_400)] {
            let mut failures = Failures::default();
            failures.record(failed(0, false), Some(Duration::from_secs(told)), false);
            assert_eq!(failures.next_try, Some(at(next)), "{told}");
        }
    }

    #[test]
    fn three_validations_an_hour() {
        let mut failures = Failures::default();
        failures.record(failed(0, false), None, true);
        assert_eq!(failures.next_try, Some(at(60)));
        failures.record(failed(60, true), None, true);
        assert_eq!(failures.validations.len(), 1, "a rehearsal does not count");
        failures.count = 0;
        failures.record(failed(700, false), None, true);
        failures.count = 0;
        failures.record(failed(800, false), None, true);
        assert_eq!(failures.next_try, Some(at(3600)), "an hour after the first of three");
        failures.count = 0;
        failures.record(failed(3700, false), None, true);
        assert_eq!(failures.validations.len(), 3, "those of more than an hour ago are forgotten");
    }
}
