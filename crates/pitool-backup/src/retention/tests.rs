//! The seven invariants, each attacked with archives, policies and circumstances that chance makes.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;

const NOW: &str = "2026-11-21T12:00:00Z";

fn now() -> Zoned {
    NOW.parse::<Timestamp>().unwrap().to_zoned(TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap())
}

fn fine() -> Circumstances {
    Circumstances { now: now(), clock_synchronized: true, last_run_failed: false }
}

/// Archives as chance makes them, over more than two years.
fn archives() -> impl Strategy<Value = Vec<Candidate>> {
    within(20_000)
}

/// Archives of the last so many hours, and of a few that are still to come.
fn within(hours: i64) -> impl Strategy<Value = Vec<Candidate>> {
    let conditions = [Condition::Whole, Condition::Whole, Condition::Unknown, Condition::Incomplete];
    let condition = prop::sample::select(conditions.to_vec());
    let one = (-50..hours, condition, prop::sample::select(vec![0u64, 1, 100, 1000, 1001]), 0..6usize);
    prop::collection::vec(one, 0..60).prop_map(|made| {
        let mut archives: Vec<Candidate> = made
            .iter()
            .enumerate()
            .map(|(index, (hours, condition, size, _))| Candidate {
                name: format!("a{index}"),
                time: now().timestamp() - SignedDuration::from_hours(*hours),
                sequence: u64::try_from(index * 7 % 61).unwrap(),
                condition: *condition,
                size: *size,
                data: Data::Own,
            })
            .collect();
        for (index, (.., refers)) in made.iter().enumerate() {
            match refers {
                0 if index > 0 => archives[index].data = Data::Of(archives[index / 2].name.clone()),
                // Forged, or torn away from what it was a note about.
                1 if index % 7 == 0 => archives[index].data = Data::Of(format!("a{}", index + 3)),
                2 if archives[index].condition == Condition::Unknown => archives[index].data = Data::Before,
                _ => {}
            }
        }
        archives
    })
}

/// The same without what keeps everything: shrunken sizes.
fn ordinary() -> impl Strategy<Value = Vec<Candidate>> {
    archives().prop_map(of_one_size)
}

/// Two months of them: so few that rules for months and years are not full.
fn recent() -> impl Strategy<Value = Vec<Candidate>> {
    within(1500).prop_map(of_one_size)
}

fn of_one_size(mut archives: Vec<Candidate>) -> Vec<Candidate> {
    archives.iter_mut().for_each(|one| one.size = 1000);
    archives
}

fn policies() -> impl Strategy<Value = Policy> {
    (0..10u16, 0..6u16, 0..6u16, 0..3u16, 0..5u16).prop_map(|(daily, weekly, monthly, yearly, minimum)| {
        Policy { daily, weekly, monthly, yearly, minimum }
    })
}

fn kept<'a>(archives: &'a [Candidate], decisions: &[Decision]) -> Vec<&'a Candidate> {
    archives.iter().filter(|one| decisions.iter().any(|d| d.keep && d.name == one.name)).collect()
}

/// Whether an archive and all that it refers to was verified: something can be restored from it.
fn has_data(archives: &[Candidate], one: &Candidate) -> bool {
    let mut seen = BTreeSet::new();
    let mut at = one;
    while at.condition == Condition::Whole && seen.insert(at.name.clone()) {
        match &at.data {
            Data::Own => return true,
            Data::Before => return false,
            Data::Of(name) => match archives.iter().find(|other| other.name == *name) {
                Some(next) => at = next,
                None => return false,
            },
        }
    }
    false
}

/// Verified archives with a believable time, newest first.
fn good(archives: &[Candidate]) -> Vec<&Candidate> {
    let latest = now().timestamp() + SignedDuration::from_mins(AHEAD_MINUTES);
    let mut good: Vec<&Candidate> =
        archives.iter().filter(|one| has_data(archives, one) && one.time <= latest).collect();
    good.sort_by(|a, b| (b.time, b.sequence, &b.name).cmp(&(a.time, a.sequence, &a.name)));
    good
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// 1. What is not verified, or not yet, pushes nothing out: what stays of the rest is the same without it.
    #[test]
    fn only_verified_archives_count(archives in ordinary(), policy in policies()) {
        let latest = now().timestamp() + SignedDuration::from_mins(AHEAD_MINUTES);
        let counts = |one: &Candidate| has_data(&archives, one) && one.time <= latest;
        let is_meant = |one: &Candidate| {
            archives.iter().any(|note| has_data(&archives, note) && note.data == Data::Of(one.name.clone()))
        };
        let counted: Vec<Candidate> =
            archives.iter().filter(|one| counts(one) || is_meant(one)).cloned().collect();
        let with = decide(&archives, policy, &fine());
        let without = decide(&counted, policy, &fine());
        for one in &counted {
            let alone = without.iter().find(|d| d.name == one.name).unwrap();
            let among = with.iter().find(|d| d.name == one.name).unwrap();
            prop_assert!(among.keep || !alone.keep, "{} stays alone and goes among the others", one.name);
        }
        for decision in &with {
            let one = archives.iter().find(|one| one.name == decision.name).unwrap();
            let role = decision.reasons.iter().any(|reason| matches!(
                reason,
                Reason::Daily { .. } | Reason::Weekly { .. } | Reason::Monthly { .. } | Reason::Yearly { .. }
                    | Reason::Minimum | Reason::Newest | Reason::Oldest
            ));
            prop_assert!(!role || (has_data(&archives, one) && one.time <= latest), "{decision:?}");
        }
    }

    /// 2. The newest verified archive stays, and so does the one that was made last.
    #[test]
    fn the_newest_verified_stays(archives in ordinary(), policy in policies()) {
        let decisions = decide(&archives, policy, &fine());
        let stays = |name: &str| decisions.iter().any(|d| d.keep && d.name == name);
        if let Some(newest) = good(&archives).first() {
            prop_assert!(stays(&newest.name));
        }
        if let Some(highest) = good(&archives).iter().map(|one| one.sequence).max() {
            prop_assert!(good(&archives).iter().any(|one| one.sequence == highest && stays(&one.name)));
        }
    }

    /// 3. At least the minimum of verified archives stays, and never less than one.
    #[test]
    fn the_minimum_stays(archives in ordinary(), policy in policies()) {
        let stay = good(&archives);
        let decisions = decide(&archives, policy, &fine());
        let left = kept(&archives, &decisions).into_iter().filter(|one| stay.contains(one)).count();
        prop_assert!(left >= stay.len().min(usize::from(policy.minimum.max(1))));
    }

    /// 4. What nobody has verified stays; what is incomplete goes only when something newer that is whole stays.
    #[test]
    fn the_only_copy_is_not_deleted_for_lack_of_a_manifest(archives in ordinary(), policy in policies()) {
        let decisions = decide(&archives, policy, &fine());
        let kept = kept(&archives, &decisions);
        for gone in decisions.iter().filter(|d| !d.keep) {
            let one = archives.iter().find(|one| one.name == gone.name).unwrap();
            let newer = |other: &&Candidate| {
                has_data(&archives, other) && (other.time, other.sequence) > (one.time, one.sequence)
            };
            let allowed = match one.condition {
                Condition::Whole if has_data(&archives, one) => true,
                // A note whose data is not whole.
                Condition::Whole => kept.iter().any(newer),
                Condition::Unknown => false,
                Condition::Incomplete => kept.iter().any(newer),
            };
            prop_assert!(allowed, "{one:?}");
        }
    }

    /// 5. Nothing goes while the clock is not synchronized, after a failed run, or when the newest shrank.
    #[test]
    fn nothing_goes_while_something_speaks_against_it(
        archives in archives(), policy in policies(), synchronized in any::<bool>(), failed in any::<bool>(),
    ) {
        let circumstances =
            Circumstances { now: now(), clock_synchronized: synchronized, last_run_failed: failed };
        let decisions = decide(&archives, policy, &circumstances);
        let shrunk = matches!(good(&archives)[..], [newest, before, ..] if newest.size < before.size / 2);
        if !synchronized || failed || shrunk {
            prop_assert!(decisions.iter().all(|d| d.keep));
        }
    }

    /// 6. The oldest stays while any rule has found fewer than it wants.
    #[test]
    fn the_oldest_stays_while_a_rule_is_not_full(archives in recent(), policy in policies()) {
        let good = good(&archives);
        let days: BTreeSet<String> =
            good.iter().map(|one| one.time.to_zoned(now().time_zone().clone()).date().to_string()).collect();
        let months: BTreeSet<String> = days.iter().map(|day| day[..7].to_owned()).collect();
        let years: BTreeSet<String> = days.iter().map(|day| day[..4].to_owned()).collect();
        let short = days.len() < usize::from(policy.daily)
            || months.len() < usize::from(policy.monthly)
            || years.len() < usize::from(policy.yearly);
        if let (true, Some(oldest)) = (short, good.last()) {
            let decisions = decide(&archives, policy, &fine());
            prop_assert!(decisions.iter().any(|d| d.keep && d.name == oldest.name));
        }
    }

    /// 7. Every archive is decided once, with reasons; the order in which they come does not matter; and what stayed
    /// stays when it is decided about again.
    #[test]
    fn each_is_decided_once_and_for_all(archives in ordinary(), policy in policies()) {
        let decisions = decide(&archives, policy, &fine());
        let names: BTreeSet<&str> = decisions.iter().map(|d| d.name.as_str()).collect();
        prop_assert_eq!((decisions.len(), names.len()), (archives.len(), archives.len()));
        prop_assert!(decisions.iter().all(|d| !d.reasons.is_empty()));
        let mut other = archives.clone();
        other.reverse();
        prop_assert_eq!(&decide(&other, policy, &fine()), &decisions);
        let stayed: Vec<Candidate> = kept(&archives, &decisions).into_iter().cloned().collect();
        let again = decide(&stayed, policy, &fine());
        prop_assert!(again.iter().all(|d| d.keep), "{again:?}");
    }

    /// 7, too. A note never outlives what it refers to, whatever becomes of the note and whatever it is known of both; and
    /// what can be restored from the notes that stay can still be restored when the others are gone.
    #[test]
    fn what_a_note_refers_to_stays(
        archives in archives(), policy in policies(), synchronized in any::<bool>(), failed in any::<bool>(),
    ) {
        let circumstances =
            Circumstances { now: now(), clock_synchronized: synchronized, last_run_failed: failed };
        let decisions = decide(&archives, policy, &circumstances);
        let kept = kept(&archives, &decisions);
        let left: Vec<Candidate> = kept.iter().map(|one| (*one).clone()).collect();
        for note in &kept {
            for one in &archives {
                let meant = match &note.data {
                    Data::Own => false,
                    Data::Of(name) => one.name == *name,
                    Data::Before => one.sequence < note.sequence,
                };
                prop_assert!(!meant || left.contains(one), "{} without {}", note.name, one.name);
            }
            prop_assert_eq!(has_data(&left, note), has_data(&archives, note), "{}", note.name);
        }
    }
}

/// What `find -mtime +7`, `+28` and `+90` left of daily archives, Sundays and firsts of the month.
fn left_by_the_old_script(day: i64, days: i64, start: jiff::civil::Date) -> Vec<i64> {
    (0..=day)
        .filter(|made| {
            let date = start.checked_add(SignedDuration::from_hours(24 * made)).unwrap();
            let age = day - made;
            let sunday = date.weekday() == jiff::civil::Weekday::Sunday;
            age <= 7 || (sunday && age <= 28) || (date.day() == 1 && age <= 90)
        })
        .filter(|made| *made < days)
        .collect()
}

/// For two years of nights, whenever one looks: for whatever the old script still had, there is one of the same night,
/// or of the night before.
#[test]
fn the_defaults_keep_at_least_what_7_28_and_90_days_kept() {
    let policy = Policy { daily: 8, weekly: 5, monthly: 5, yearly: 0, minimum: 3 };
    let start = jiff::civil::date(2025, 1, 1);
    let zone = now().time_zone().clone();
    let mut archives: Vec<(i64, Candidate)> = Vec::new();
    for day in 0..730 {
        let date = start.checked_add(SignedDuration::from_hours(24 * day)).unwrap();
        let time = date.at(2, 0, 0, 0).to_zoned(zone.clone()).unwrap();
        archives.push((
            day,
            Candidate {
                name: date.to_string(),
                time: time.timestamp(),
                sequence: u64::try_from(day).unwrap(),
                condition: Condition::Whole,
                size: 1000,
                data: Data::Own,
            },
        ));
        let circumstances = Circumstances { now: time, clock_synchronized: true, last_run_failed: false };
        let candidates: Vec<Candidate> = archives.iter().map(|(_, one)| one.clone()).collect();
        let decisions = decide(&candidates, policy, &circumstances);
        archives.retain(|(_, one)| decisions.iter().any(|d| d.keep && d.name == one.name));
        for old in left_by_the_old_script(day, 730, start) {
            let same = archives.iter().any(|(made, _)| *made == old || *made == old - 1);
            assert!(
                same || old == 0,
                "{date}: nothing of night {old}; there are {:?}",
                archives.iter().map(|(made, _)| made).collect::<Vec<_>>()
            );
        }
    }
    assert!(archives.len() <= 18, "{} archives", archives.len());
}

fn at(name: &str, time: &str, sequence: u64) -> Candidate {
    Candidate {
        name: name.into(),
        time: time.parse().unwrap(),
        sequence,
        condition: Condition::Whole,
        size: 1000,
        data: Data::Own,
    }
}

#[test]
fn days_begin_at_midnight_on_the_machines_own_clock() {
    // 23:30 and 00:30 in Berlin, on one day of UTC.
    let archives = [at("a", "2026-11-19T22:30:00Z", 1), at("b", "2026-11-19T23:30:00Z", 2)];
    let policy = Policy { daily: 2, weekly: 0, monthly: 0, yearly: 0, minimum: 1 };
    let decisions = decide(&archives, policy, &fine());
    assert_eq!(decisions[0].reasons, [Reason::Daily { number: 1 }, Reason::Newest, Reason::Minimum]);
    assert_eq!(decisions[1].reasons, [Reason::Daily { number: 2 }]);
}

#[test]
fn one_week_of_two_years_is_two_weeks() {
    let archives = [at("a", "2025-11-19T02:00:00Z", 1), at("b", "2026-11-18T02:00:00Z", 2)];
    let policy = Policy { daily: 0, weekly: 2, monthly: 0, yearly: 0, minimum: 1 };
    let decisions = decide(&archives, policy, &fine());
    assert_eq!(decisions[1].reasons, [Reason::Weekly { number: 2 }]);
}

#[test]
fn a_clock_that_was_ahead_costs_nothing() {
    let mut archives: Vec<Candidate> = (1..=9u8)
        .map(|day| at(&format!("d{day}"), &format!("2026-11-{:02}T02:00:00Z", day + 11), day.into()))
        .collect();
    archives.push(at("ahead", "2099-01-01T02:00:00Z", 10));
    let policy = Policy { daily: 8, weekly: 0, monthly: 0, yearly: 0, minimum: 3 };
    let gone: Vec<String> =
        decide(&archives, policy, &fine()).into_iter().filter(|d| !d.keep).map(|d| d.name).collect();
    assert_eq!(gone, ["d1"]);
}

#[test]
fn an_empty_newest_one_deletes_nothing() {
    let mut archives: Vec<Candidate> = (1..=20u8)
        .map(|day| at(&format!("d{day}"), &format!("2026-11-{day:02}T02:00:00Z"), day.into()))
        .collect();
    archives[19].size = 10;
    let policy = Policy { daily: 3, weekly: 0, monthly: 0, yearly: 0, minimum: 1 };
    assert!(decide(&archives, policy, &fine()).iter().all(|d| d.keep && d.reasons.contains(&Reason::Shrunk)));
}

#[test]
fn notes_about_a_damaged_archive_push_nothing_out() {
    let mut archives: Vec<Candidate> = (1..=9u8)
        .map(|day| at(&format!("d{day}"), &format!("2026-11-{day:02}T02:00:00Z"), day.into()))
        .collect();
    for note in &mut archives[4..] {
        note.data = Data::Of("d4".into());
    }
    let policy = Policy { daily: 3, weekly: 0, monthly: 0, yearly: 0, minimum: 1 };
    let stay = |archives: &[Candidate]| -> Vec<String> {
        let decisions = decide(archives, policy, &fine());
        decisions.into_iter().filter(|one| one.keep).map(|one| one.name).collect()
    };
    assert_eq!(stay(&archives), ["d9", "d8", "d7", "d4"]);
    // It turns out that what all of them refer to cannot be read: what is left is what came before.
    archives[3].condition = Condition::Incomplete;
    let left = stay(&archives);
    assert!(["d3", "d2", "d1"].iter().all(|name| left.contains(&(*name).to_owned())), "{left:?}");
}
