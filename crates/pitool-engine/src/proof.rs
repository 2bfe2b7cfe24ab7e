//! Proofs: questions to the daemons and the kernel whether a promise is in force.

mod round;

use std::time::Duration;

use pitool_host::text::chain;
use pitool_host::{Host, Inspect, Result};
use serde::{Deserialize, Serialize};

use crate::{Event, Id, Verdict};

use round::Round;

/// A question whether a promise is in force, asked of whoever must keep it. It changes nothing.
pub trait Proof {
    /// Its identity, `proof[what is promised]`.
    fn id(&self) -> Id;

    /// Asks.
    fn ask(&self, host: &dyn Inspect) -> Result<Verdict>;
}

/// One proof with its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Proved {
    /// The proof.
    pub id: Id,
    /// The answer.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// How many promises got which answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tally {
    /// They hold.
    pub in_force: usize,
    /// They do not.
    pub not_in_force: usize,
    /// They wait for something.
    pub pending: usize,
    /// They could not be asked.
    pub unknown: usize,
}

impl Tally {
    /// Counts answers.
    pub fn new(proved: &[Proved]) -> Self {
        let mut tally = Self::default();
        for one in proved {
            match one.verdict {
                Verdict::InForce { .. } => tally.in_force += 1,
                Verdict::NotInForce { .. } => tally.not_in_force += 1,
                Verdict::Pending { .. } => tally.pending += 1,
                Verdict::Unknown { .. } => tally.unknown += 1,
            }
        }
        tally
    }
}

/// How long daemons have after a change: a reload is a signal, nobody says when it was heeded, and until then the old
/// settings answer. nginx on a card takes a second or two.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What is waited before a daemon is asked again.
const PAUSE: Duration = Duration::from_millis(250);

/// Asks every proof, telling each answer. A question that could not be asked is `Unknown`; one that several proofs have is
/// asked once. What is not in force is asked anew until `patience`, of all of them together, is at its end.
pub fn prove<P: Proof>(
    proofs: &[P],
    host: &dyn Host,
    mut patience: Duration,
    tell: &mut dyn FnMut(Event),
) -> Vec<Proved> {
    let mut round = Round::new(host.inspect());
    let mut answered = |proof: &P| {
        loop {
            let verdict = proof.ask(&round).unwrap_or_else(|error| Verdict::Unknown { why: chain(&error) });
            if !matches!(verdict, Verdict::NotInForce { .. }) || patience.is_zero() || host.interrupted() {
                return verdict;
            }
            host.sleep(PAUSE);
            patience = patience.saturating_sub(PAUSE);
            host.inspect().forget();
            round = Round::new(host.inspect());
        }
    };
    proofs
        .iter()
        .map(|proof| {
            let (id, verdict) = (proof.id(), answered(proof));
            tell(Event::Proof { id: id.clone(), verdict: verdict.clone() });
            Proved { id, verdict }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};
    use pitool_host::{Command, Output};
    use pitool_sim::{Sim, World};

    use super::*;

    #[test]
    fn a_daemon_has_a_moment_to_heed_its_reload_and_no_longer() {
        struct Heeded(Timestamp);
        impl Proof for Heeded {
            fn id(&self) -> Id {
                Id::new("proof", "heeded")
            }

            fn ask(&self, host: &dyn Inspect) -> Result<Verdict> {
                host.ask(&Command::new("docker").arg("info"))?;
                if host.now() >= self.0 {
                    return Ok(Verdict::InForce { answer: "yes".into() });
                }
                Ok(Verdict::NotInForce { expected: "yes".into(), answer: "no".into(), hint: "wait".into() })
            }
        }
        for (patience, asked, in_force) in [(0, 1, false), (500, 3, false), (10_000, 5, true)] {
            let sim = Sim::of(World::debian(13, "arm64"));
            sim.answer("docker info", Output { status: 0, stdout: String::new(), stderr: String::new() });
            let later = sim.now() + SignedDuration::from_secs(1);
            let mut told = 0;
            let proved = prove(&[Heeded(later)], &sim, Duration::from_millis(patience), &mut |_| told += 1);
            assert_eq!(matches!(proved[0].verdict, Verdict::InForce { .. }), in_force, "{patience}");
            let questions =
                sim.questions().iter().filter(|question| question.starts_with("docker info")).count();
            assert_eq!((questions, told), (asked, 1), "{patience}");
        }
    }
}
