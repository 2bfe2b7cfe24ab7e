//! When something happens again and again: five fields, as cron(8) reads them.
//!
//! The crate `cron` knows calendars, but it counts the days of the week from 1 for Sunday and wants both the day of
//! the month and the day of the week to fit. A crontab counts from 0, and where both are named either one is enough
//! (crontab(5)). Both are translated here, so that a line copied from a crontab means what it meant there.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use chrono::DateTime;
use cron::TimeUnitSpec;
use jiff::Zoned;
use jiff::tz::TimeZone;

use super::{Invalid, serde_text};

/// A cron expression of five fields, in the machine's time zone.
#[derive(Debug, Clone)]
pub struct CronTime {
    text: String,
    /// One, or two of which either is enough.
    either: Vec<cron::Schedule>,
}

serde_text!(CronTime, "a cron expression", "cron expression", "0 2 * * *");

impl PartialEq for CronTime {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for CronTime {}

/// systemd's names, and cron's, of the days from Sunday on.
const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

impl CronTime {
    /// Every night at two: what the replaced roles did.
    pub(crate) fn nightly() -> Self {
        Self::known("0 2 * * *")
    }

    /// Once a month, on another day and hour than most things are done.
    pub(crate) fn monthly() -> Self {
        Self::known("30 4 3 * *")
    }

    /// Reads an expression that is part of this program; a test shows that each is good.
    fn known(text: &str) -> Self {
        text.parse().unwrap_or_else(|_| Self { text: text.to_owned(), either: Vec::new() })
    }

    /// The five fields, as a crontab takes them.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The same moments as systemd writes them, for `OnCalendar=` lines, of which either is enough (systemd.time(7)).
    pub fn calendar(&self) -> Vec<String> {
        self.either.iter().map(calendar).collect()
    }

    /// The first moment after another one, on the clock of that one's time zone. An hour that a change of the clock
    /// leaves out happens right after it.
    pub fn next_after(&self, after: &Zoned) -> Option<Zoned> {
        // The clock on the wall, told as if it were UTC, which leaves no hour out.
        let wall = after.datetime().to_zoned(TimeZone::UTC).ok()?.timestamp();
        let wall = DateTime::from_timestamp(wall.as_second(), 0)?;
        let mut walls: Vec<DateTime<chrono::Utc>> =
            self.either.iter().filter_map(|one| one.after(&wall).next()).collect();
        walls.sort_unstable();
        let next = jiff::Timestamp::from_second(walls.first()?.timestamp()).ok()?;
        next.to_zoned(TimeZone::UTC).datetime().to_zoned(after.time_zone().clone()).ok()
    }
}

/// The numbers of a field, or `*` where it has all.
fn listed(field: &impl TimeUnitSpec) -> String {
    if field.is_all() {
        return "*".to_owned();
    }
    field.iter().map(|number| format!("{number:02}")).collect::<Vec<_>>().join(",")
}

fn calendar(one: &cron::Schedule) -> String {
    let days =
        one.days_of_week().iter().filter_map(|day| DAYS.get(usize::try_from(day).ok()?.checked_sub(1)?));
    let days: Vec<&str> = days.copied().collect();
    let days = if one.days_of_week().is_all() { String::new() } else { format!("{} ", days.join(",")) };
    let (month, day) = (listed(one.months()), listed(one.days_of_month()));
    format!("{days}*-{month}-{day} {}:{}:00", listed(one.hours()), listed(one.minutes()))
}

/// Reads the days of the week as crontab(5) has them: numbers from 0 or names, 7 being Sunday too.
fn week(field: &str) -> Option<BTreeSet<usize>> {
    let day = |text: &str| {
        let named = DAYS.iter().position(|name| name.eq_ignore_ascii_case(text));
        named.or_else(|| text.parse::<usize>().ok().filter(|number| *number <= 7))
    };
    let mut days = BTreeSet::new();
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse::<usize>().ok().filter(|step| *step > 0)?),
            None => (part, 1),
        };
        let (first, last) = match (range, range.split_once('-')) {
            ("*", _) => (0, 6),
            (_, Some((first, last))) => (day(first)?, day(last)?),
            (one, None) => (day(one)?, if part.contains('/') { 6 } else { day(one)? }),
        };
        if first > last {
            return None;
        }
        days.extend((first..=last).step_by(step).map(|day| day % 7));
    }
    Some(days)
}

impl FromStr for CronTime {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let form = "minute, hour, day of the month, month and day of the week, such as \"0 2 * * *\" for every \
                    night at two";
        let bad = |why: &str| Invalid::new(format!("{text:?} is not a cron expression: {why}"));
        if text.trim_start().starts_with('@') {
            return Err(bad("it begins with `@`").hint(form));
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        let &[minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(bad(&format!("it has {} fields, not five", fields.len())).hint(form));
        };
        // What else the crate would understand is no cron expression for anybody but it.
        let good = |c: char| c.is_ascii_alphanumeric() || "*,-/".contains(c);
        if let Some(c) = text.chars().find(|c| !good(*c) && !c.is_whitespace()) {
            return Err(bad(&format!("{c:?} has no meaning in it")).hint(form));
        }
        let days = week(weekday).ok_or_else(|| {
            bad(&format!("{weekday:?} is no day of the week"))
                .hint("0 to 7 or sun to sat; 0 and 7 are Sunday")
        })?;
        let weekdays = if days.len() == 7 {
            "*".to_owned()
        } else {
            days.iter().map(|day| (day + 1).to_string()).collect::<Vec<_>>().join(",")
        };
        let one = |day: &str, weekday: &str| {
            format!("0 {minute} {hour} {day} {month} {weekday}")
                .parse::<cron::Schedule>()
                .map_err(|_| bad("a number is out of its range").hint(form))
        };
        let either = match (day.starts_with('*'), weekday.starts_with('*')) {
            (false, false) => vec![one(day, "*")?, one("*", &weekdays)?],
            _ => vec![one(day, &weekdays)?],
        };
        let schedule = Self { text: fields.join(" "), either };
        // A leap year is among any eight years but those around 1900 and 2100.
        let start: DateTime<chrono::Utc> = DateTime::UNIX_EPOCH;
        if schedule.either.iter().all(|one| one.after(&start).next().is_none()) {
            return Err(bad("there is no such day"));
        }
        Ok(schedule)
    }
}

impl fmt::Display for CronTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The next moment on the clock in Berlin.
    fn next(text: &str, after: &str) -> String {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let after = after.parse::<jiff::civil::DateTime>().unwrap().to_zoned(zone).unwrap();
        let next = text.parse::<CronTime>().unwrap().next_after(&after).unwrap();
        next.strftime("%Y-%m-%d %H:%M %:z").to_string()
    }

    #[test]
    fn the_known_ones_are_good() {
        for known in [CronTime::nightly(), CronTime::monthly()] {
            assert!(!known.calendar().is_empty(), "{known}");
        }
    }

    #[test]
    fn days_of_the_week_are_a_crontabs() {
        // The 21st of November 2026 is a Saturday.
        let now = "2026-11-21T03:00";
        assert_eq!(next("0 2 * * 1", now), "2026-11-23 02:00 +01:00");
        assert_eq!(next("0 2 * * 0", now), "2026-11-22 02:00 +01:00");
        assert_eq!(next("0 2 * * 7", now), "2026-11-22 02:00 +01:00");
        assert_eq!(next("0 2 * * sat", now), "2026-11-28 02:00 +01:00");
        assert_eq!(next("0 2 * * 5-7", now), "2026-11-22 02:00 +01:00");
        assert_eq!(week("1-5/2"), Some(BTreeSet::from([1, 3, 5])));
        assert_eq!(week("*/2"), Some(BTreeSet::from([0, 2, 4, 6])));
    }

    #[test]
    fn where_both_days_are_named_either_is_enough() {
        let now = "2026-11-21T03:00";
        assert_eq!(next("0 2 25 * mon", now), "2026-11-23 02:00 +01:00");
        assert_eq!(next("0 2 25 * mon", "2026-11-24T03:00"), "2026-11-25 02:00 +01:00");
        // With a star in either, both must fit.
        assert_eq!(next("0 2 */2 * mon", now), "2026-11-23 02:00 +01:00");
    }

    #[test]
    fn systemd_hears_the_same() {
        let calendar = |text: &str| text.parse::<CronTime>().unwrap().calendar();
        assert_eq!(calendar("0 2 * * *"), ["*-*-* 02:00:00"]);
        assert_eq!(calendar("*/30 4 1 jan,7 *"), ["*-01,07-01 04:00,30:00"]);
        assert_eq!(calendar("5 0 13 * fri"), ["*-*-13 00:05:00", "Fri *-*-* 00:05:00"]);
        assert_eq!(calendar("0 2 * * 0,6"), ["Sun,Sat *-*-* 02:00:00"]);
    }

    #[test]
    fn an_hour_that_the_clock_leaves_out_is_not_lost() {
        let next = next("30 2 * * *", "2026-03-28T12:00");
        assert_eq!(next, "2026-03-29 03:30 +02:00");
    }

    #[test]
    fn what_is_no_cron_expression() {
        for bad in [
            "",
            "2",
            "@daily",
            "0 2 * *",
            "0 0 2 * * *",
            "60 2 * * *",
            "0 24 * * *",
            "0 2 0 * *",
            "0 2 * 13 *",
            "0 2 * * 8",
            "0 2 * * x",
            "0 2 * * 5-1",
            "0 2 31 2 *",
            "0 2 L * *",
            "0 2 ? * *",
            "a b c d e",
        ] {
            assert!(bad.parse::<CronTime>().is_err(), "{bad}");
        }
    }
}
