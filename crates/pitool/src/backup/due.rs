//! When a set is saved next, and since when it should have been.

use jiff::{Timestamp, ToSpan, Zoned};
use pitool_config::values::CronTime;

/// How late a backup may be before it is overdue: the delay of its timer, another backup before it, and its own time.
const GRACE_HOURS: i64 = 2;

/// More missed ones than this are not counted.
const MOST: usize = 1000;

/// What a schedule says of now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Due {
    /// The next moment.
    pub(crate) next: Option<Zoned>,
    /// The first moment that passed without a success, where that is longer ago than it may be.
    pub(crate) overdue: Option<Zoned>,
    /// How many moments passed without a success.
    pub(crate) missed: usize,
}

/// Looks at a schedule. `last` is when it last went well, or when it was first known. An age is judged only by a clock
/// that a time server confirms.
pub(crate) fn due(time: &CronTime, last: Option<Timestamp>, now: &Zoned, synchronized: bool) -> Due {
    let next = time.next_after(now);
    let mut due = Due { next, overdue: None, missed: 0 };
    let (true, Some(last)) = (synchronized, last) else { return due };
    let mut moment = last.to_zoned(now.time_zone().clone());
    while let Some(after) = time.next_after(&moment).filter(|after| after < now && due.missed < MOST) {
        let late = after.checked_add(GRACE_HOURS.hours()).is_ok_and(|late| late < *now);
        if late && due.overdue.is_none() {
            due.overdue = Some(after.clone());
        }
        due.missed += 1;
        moment = after;
    }
    if due.overdue.is_none() {
        // The one of an hour ago is late, not missed.
        due.missed = 0;
    }
    due
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    fn at(time: &str) -> Zoned {
        time.parse::<Timestamp>().unwrap().to_zoned(TimeZone::UTC)
    }

    #[test]
    fn a_night_that_was_missed_is_overdue() {
        let nightly: CronTime = "0 2 * * *".parse().unwrap();
        let look = |last: &str, now: &str, synchronized| {
            let due = due(&nightly, Some(last.parse().unwrap()), &at(now), synchronized);
            (due.next.unwrap().to_string(), due.overdue.map(|time| time.to_string()), due.missed)
        };
        let (saved, tomorrow) = ("2026-11-21T02:03:00Z", "2026-11-22T02:00:00+00:00[UTC]".to_owned());
        assert_eq!(look(saved, "2026-11-21T12:00:00Z", true), (tomorrow, None, 0));
        // Late, but not yet overdue.
        assert_eq!(look(saved, "2026-11-22T03:30:00Z", true).1, None);
        let first = Some("2026-11-22T02:00:00+00:00[UTC]".to_owned());
        assert_eq!(
            look(saved, "2026-11-22T04:30:00Z", true),
            ("2026-11-23T02:00:00+00:00[UTC]".into(), first.clone(), 1)
        );
        assert_eq!(look(saved, "2026-11-25T12:00:00Z", true).2, 4);
        // A clock that is years ahead after a power cut says nothing.
        assert_eq!(look(saved, "2031-01-01T12:00:00Z", false).1, None);
    }
}
