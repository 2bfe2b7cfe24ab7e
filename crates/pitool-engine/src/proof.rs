//! Proofs: questions to the daemons and the kernel whether a promise is in force.

use pitool_host::{Inspect, Result};
use serde::Serialize;

use crate::{Event, Id};

/// What a proof found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// The promise holds; the answer says so.
    InForce {
        /// What was answered, in a few words.
        answer: String,
    },
    /// The promise does not hold.
    NotInForce {
        /// What was promised.
        expected: String,
        /// What was answered.
        answer: String,
        /// What to do now.
        hint: String,
    },
    /// The promise is settled and comes into force with something that is still to happen, such as a reboot.
    Pending {
        /// What it waits for.
        until: String,
    },
    /// It could not be asked, or does not apply here; never taken for "holds".
    Unknown {
        /// Why.
        why: String,
    },
}

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

/// Asks every proof, telling each answer. A question that could not be asked is `Unknown`.
pub fn prove<P: Proof>(proofs: &[P], host: &dyn Inspect, tell: &mut dyn FnMut(Event)) -> Vec<Proved> {
    proofs
        .iter()
        .map(|proof| {
            let id = proof.id();
            let verdict = proof.ask(host).unwrap_or_else(|error| Verdict::Unknown { why: chain(&error) });
            tell(Event::Proof { id: id.clone(), verdict: verdict.clone() });
            Proved { id, verdict }
        })
        .collect()
}

/// An error and its causes, joined by colons.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
