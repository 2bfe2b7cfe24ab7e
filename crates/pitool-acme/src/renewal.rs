//! When a certificate is renewed: a pure function of values.
//!
//! What the CA suggests counts first (ARI, RFC 9773), because it knows of revocations and of its own load. Whatever it
//! says, a certificate with a twentieth of its life left is renewed. Without a suggestion, a third of the life left is
//! the moment, a half for lives under ten days (Let's Encrypt's integration guide). Fractions of the lifetime and never
//! day counts: lifetimes fall from 90 to 45 days, and a count that was right then is wrong now.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A time span in which the CA suggests to renew, and the moment in it that was chosen here once, at random.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suggestion {
    /// Its begin.
    pub start: Timestamp,
    /// Its end.
    pub end: Timestamp,
    /// The moment in it: uniformly random, and kept as long as the span stays the same (RFC 9773 section 4.2).
    pub chosen: Timestamp,
    /// Where the CA says why, when it moved the span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<String>,
    /// When the CA is to be asked again.
    pub ask_again: Timestamp,
}

/// From when to when a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Its begin.
    pub not_before: Timestamp,
    /// Its end.
    pub not_after: Timestamp,
}

/// What there is instead of a certificate that could just be renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lacking {
    /// None yet, or the placeholder.
    Certificate,
    /// What is stored cannot be used; why.
    Damaged(String),
    /// Names that the config wants and the certificate does not have.
    Names(Vec<String>),
    /// It comes from another directory than the config says.
    Directory,
}

/// What the decision is made from.
#[derive(Clone, Debug)]
pub struct Situation<'a> {
    /// The certificate that is there, where one is.
    pub validity: Option<Validity>,
    /// What makes it useless as it is.
    pub lacking: Option<Lacking>,
    /// What the CA suggests.
    pub suggestion: Option<&'a Suggestion>,
    /// The time.
    pub now: Timestamp,
    /// Whether somebody keeps the clock: a Pi has no clock chip, and a certificate judged by a wrong time is renewed
    /// for nothing, or not at all.
    pub clock_ok: bool,
    /// How long it is until the next look, so that a moment that would be missed is used before it.
    pub next_look: SignedDuration,
    /// Before when nothing is tried, after failures.
    pub not_before: Option<Timestamp>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing until then.
    Wait {
        /// Until when; later than now.
        until: Timestamp,
        /// Why.
        why: Waiting,
    },
    /// Ask for a certificate now.
    Renew(Reason),
}

/// Why nothing is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The CA suggests that moment.
    Suggested,
    /// So much of the lifetime is left then.
    Fraction,
    /// Nobody keeps the clock.
    Clock,
    /// It failed before, and the CA is not to be bothered.
    Failed,
}

/// Why it is done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Something is lacking.
    Lacking(Lacking),
    /// The CA suggests it.
    Suggested,
    /// A twentieth of the life or less is left.
    Emergency,
    /// A third of the life (a half of a short one) or less is left.
    Fraction,
    /// A person asked for it.
    Forced,
}

/// Lives shorter than this are renewed at their half: a third of six days is too little for a long weekend.
const SHORT: SignedDuration = SignedDuration::from_hours(10 * 24);

impl Validity {
    fn lifetime(&self) -> SignedDuration {
        self.not_after.duration_since(self.not_before).max(SignedDuration::ZERO)
    }

    /// The moment at which a part of the life is left.
    fn left(&self, part: i32) -> Timestamp {
        self.not_after.checked_sub(self.lifetime() / part).unwrap_or(self.not_before)
    }

    /// When it is renewed without a suggestion of the CA.
    pub fn due(&self) -> Timestamp {
        self.left(if self.lifetime() < SHORT { 2 } else { 3 })
    }

    /// When it is renewed whatever the CA suggests.
    pub fn emergency(&self) -> Timestamp {
        self.left(20)
    }
}

/// Decides.
pub fn decide(situation: &Situation<'_>) -> Decision {
    let Situation { now, next_look, .. } = *situation;
    let later = |moment: Timestamp| moment > now;
    if !situation.clock_ok {
        let until = now.checked_add(next_look).unwrap_or(Timestamp::MAX);
        return Decision::Wait { until, why: Waiting::Clock };
    }
    if let Some(until) = situation.not_before.filter(|until| later(*until)) {
        return Decision::Wait { until, why: Waiting::Failed };
    }
    if let Some(lacking) = &situation.lacking {
        return Decision::Renew(Reason::Lacking(lacking.clone()));
    }
    let Some(validity) = situation.validity else {
        return Decision::Renew(Reason::Lacking(Lacking::Certificate));
    };
    let emergency = validity.emergency();
    if !later(emergency) {
        return Decision::Renew(Reason::Emergency);
    }
    if let Some(suggestion) = situation.suggestion {
        let until = suggestion.chosen.min(emergency);
        let seen = now.checked_add(next_look).unwrap_or(Timestamp::MAX);
        if suggestion.chosen <= seen {
            return Decision::Renew(Reason::Suggested);
        }
        return Decision::Wait { until, why: Waiting::Suggested };
    }
    let due = validity.due();
    if later(due) {
        return Decision::Wait { until: due, why: Waiting::Fraction };
    }
    Decision::Renew(Reason::Fraction)
}

/// Less than this must be left before `cert status` warns: a third of the lifetime, and for long certificates never
/// less than the days of the config (30, as in the old roles).
pub fn warn_below(validity: &Validity, days: SignedDuration) -> SignedDuration {
    let lifetime = validity.lifetime();
    let third = lifetime / 3;
    // The days would be most of a short life: for them the fraction alone counts.
    if third >= days {
        third
    } else if lifetime / 2 >= days {
        days
    } else {
        third
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lacking(Lacking::Certificate) => f.write_str("there is no certificate yet"),
            Self::Lacking(Lacking::Damaged(why)) => write!(f, "what is stored cannot be used: {why}"),
            Self::Lacking(Lacking::Names(names)) => write!(f, "it is not good for {}", names.join(", ")),
            Self::Lacking(Lacking::Directory) => {
                f.write_str("it comes from another CA than the config names")
            }
            Self::Suggested => f.write_str("the CA suggests it"),
            Self::Emergency => f.write_str("a twentieth of its lifetime or less is left"),
            Self::Fraction => f.write_str("a third of its lifetime or less is left"),
            Self::Forced => f.write_str("asked for with --force"),
        }
    }
}

impl std::fmt::Display for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Suggested => "the CA suggests that moment",
            Self::Fraction => "a third of the lifetime is left then",
            Self::Clock => "the clock is not synchronized",
            Self::Failed => "it failed, and the CA is not asked again before",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    const DAY: i64 = 86_400;

    fn plain(validity: Validity, now: i64) -> Situation<'static> {
        Situation {
            validity: Some(validity),
            lacking: None,
            suggestion: None,
            now: at(now),
            clock_ok: true,
            next_look: SignedDuration::from_hours(12),
            not_before: None,
        }
    }

    fn days(days: i64) -> Validity {
        Validity { not_before: at(0), not_after: at(days * DAY) }
    }

    #[test]
    fn fractions_of_the_life_and_not_days() {
        for (life, due) in [(90, 60), (45, 30), (6, 3), (9, 4), (10, 6)] {
            let validity = days(life);
            let wait = decide(&plain(validity, (due - 1) * DAY));
            assert!(matches!(wait, Decision::Wait { why: Waiting::Fraction, .. }), "{life}: {wait:?}");
            let renew = decide(&plain(validity, (due + 1) * DAY));
            assert_eq!(renew, Decision::Renew(Reason::Fraction), "{life}");
        }
    }

    #[test]
    fn the_ca_counts_first_and_an_emergency_before_it() {
        let validity = days(90);
        let suggestion = |chosen: i64| Suggestion {
            start: at(chosen),
            end: at(chosen + 1),
            chosen: at(chosen),
            explanation: None,
            ask_again: at(0),
        };
        let with = |now: i64, suggestion: &Suggestion| {
            decide(&Situation { suggestion: Some(suggestion), ..plain(validity, now) })
        };
        // A revocation: long before a third is left.
        assert_eq!(with(10 * DAY, &suggestion(9 * DAY)), Decision::Renew(Reason::Suggested));
        // The next look would come too late.
        assert_eq!(with(10 * DAY, &suggestion(10 * DAY + 3600)), Decision::Renew(Reason::Suggested));
        // Later than a third: the CA knows.
        let wait = with(70 * DAY, &suggestion(80 * DAY));
        assert_eq!(wait, Decision::Wait { until: at(80 * DAY), why: Waiting::Suggested });
        assert_eq!(with(86 * DAY, &suggestion(89 * DAY)), Decision::Renew(Reason::Emergency));
        // A suggestion after the end cannot keep it from being renewed.
        let Decision::Wait { until, .. } = with(70 * DAY, &suggestion(200 * DAY)) else { panic!() };
        assert_eq!(until, validity.emergency());
    }

    #[test]
    fn a_warning_comes_at_a_third_and_for_long_ones_never_under_thirty_days() {
        let thirty = SignedDuration::from_hours(30 * 24);
        for (life, warn) in [(90, 30), (60, 30), (45, 15), (6, 2), (398, 132), (75, 30)] {
            let below = warn_below(&days(life), thirty);
            assert_eq!(below.as_hours() / 24, warn, "{life}");
        }
    }

    /// Validity, now, the window's begin and width, whether the clock is kept, the patience, the next look.
    type Values = (Validity, i64, Option<(i64, i64)>, bool, Option<i64>, i64);

    fn situations() -> impl Strategy<Value = Values> {
        let span = 0..800 * DAY;
        (
            (0..10 * DAY, 1..400 * DAY)
                .prop_map(|(from, life)| Validity { not_before: at(from), not_after: at(from + life) }),
            span.clone(),
            proptest::option::of((span.clone(), 0..30 * DAY)),
            any::<bool>(),
            proptest::option::of(span),
            1..2 * DAY,
        )
    }

    fn situation(
        (validity, now, window, clock_ok, not_before, look): Values,
        decide_with: impl FnOnce(&Situation<'_>),
    ) {
        let suggestion = window.map(|(chosen, width)| Suggestion {
            start: at(chosen),
            end: at(chosen + width),
            chosen: at(chosen),
            explanation: None,
            ask_again: at(0),
        });
        decide_with(&Situation {
            validity: Some(validity),
            lacking: None,
            suggestion: suggestion.as_ref(),
            now: at(now),
            clock_ok,
            next_look: SignedDuration::from_secs(look),
            not_before: not_before.map(at),
        });
    }

    proptest! {
        #[test]
        fn nothing_is_asked_with_a_clock_that_nobody_keeps(values in situations()) {
            let values = (values.0, values.1, values.2, false, values.4, values.5);
            situation(values, |situation| {
                assert!(matches!(decide(situation), Decision::Wait { why: Waiting::Clock, .. }));
            });
        }

        #[test]
        fn a_wait_ends_after_now_and_never_after_the_emergency(values in situations()) {
            situation(values, |situation| {
                if let Decision::Wait { until, why } = decide(situation) {
                    assert!(until > situation.now);
                    if matches!(why, Waiting::Suggested | Waiting::Fraction) {
                        assert!(until <= situation.validity.unwrap().emergency());
                    }
                }
            });
        }

        #[test]
        fn who_looks_when_told_renews_then(values in situations()) {
            situation(values, |situation| {
                if let Decision::Wait { until, why: Waiting::Suggested | Waiting::Fraction } = decide(situation) {
                    let then = Situation { now: until, ..situation.clone() };
                    assert!(matches!(decide(&then), Decision::Renew(_)), "{:?}", decide(&then));
                }
            });
        }

        #[test]
        fn once_due_it_stays_due(values in situations(), later in 0..400 * DAY) {
            situation(values, |situation| {
                if matches!(decide(situation), Decision::Renew(_)) {
                    let now = situation.now.checked_add(SignedDuration::from_secs(later)).unwrap();
                    let then = Situation { now, ..situation.clone() };
                    assert!(matches!(decide(&then), Decision::Renew(_)));
                }
            });
        }

        #[test]
        fn looking_twice_a_day_never_lets_one_run_out(life in 1..400 * DAY, window in proptest::option::of(0..800 * DAY)) {
            let validity = Validity { not_before: at(0), not_after: at(life) };
            let values = |now| (validity, now, window.map(|chosen| (chosen, 1)), true, None, life.min(DAY / 2) / 25 + 1);
            let step = life.min(DAY / 2) / 25 + 1;
            let mut now = 0;
            let mut renewed = false;
            while now < life && !renewed {
                situation(values(now), |situation| renewed = matches!(decide(situation), Decision::Renew(_)));
                now += step;
            }
            prop_assert!(renewed);
        }
    }
}
