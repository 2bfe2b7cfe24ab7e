//! What a proof found.

use serde::{Deserialize, Serialize};

/// What a proof found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
