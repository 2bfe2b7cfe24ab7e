//! What a run tells. Rendering is somebody else's work.

use serde::{Deserialize, Serialize};

use crate::{Action, Ending, Id, Purpose, RunId, Stage, Verdict};

/// Who brought a resource to its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// Its own step.
    Step,
    /// Something that ran earlier in this run, such as its package's installation script.
    Earlier,
}

/// Something that happened during a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The snapshot is durable; changes follow.
    Started {
        /// The run's number.
        run: RunId,
        /// Apply or rollback.
        purpose: Purpose,
        /// How many steps are planned.
        steps: usize,
    },
    /// A step begins.
    Step {
        /// The resource.
        id: Id,
        /// Roles that want it.
        roles: Vec<String>,
        /// Its stage.
        stage: Stage,
        /// What becomes of the thing.
        action: Action,
        /// Its change in words.
        summary: String,
    },
    /// A resource reached its state.
    Done {
        /// The resource.
        id: Id,
        /// By whom.
        by: By,
    },
    /// A step failed.
    Failed {
        /// The resource.
        id: Id,
        /// The error with its causes, one a line.
        error: String,
        /// Ids whose steps had not started.
        not_started: Vec<Id>,
    },
    /// Going back left something.
    Left {
        /// The resource.
        id: Id,
        /// What was left and why.
        why: String,
    },
    /// A planned step was not taken, because its objection came up when its turn had come.
    Held {
        /// The resource.
        id: Id,
        /// Why, and what to do.
        why: String,
    },
    /// A proof was asked.
    Proof {
        /// The proof.
        id: Id,
        /// The answer.
        verdict: Verdict,
    },
    /// The run ended.
    Finished {
        /// Its number.
        run: RunId,
        /// How.
        ending: Ending,
        /// How many resources changed.
        changed: usize,
    },
}
