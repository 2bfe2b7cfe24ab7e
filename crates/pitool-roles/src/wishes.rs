//! What a role returns.

use crate::proofs::Question;
use pitool_kinds::Kind;

/// What a role wants.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// Resources, in the order in which a person would do the work.
    pub resources: Vec<Kind>,
    /// Questions that show whether the promises are in force.
    pub proofs: Vec<Question>,
    /// Sentences for the person: what was decided and why, what needs a reboot, what does not apply here.
    pub notes: Vec<String>,
}

impl Wishes {
    /// Adds a resource.
    pub fn want(&mut self, resource: impl Into<Kind>) {
        self.resources.push(resource.into());
    }

    /// Adds a question.
    pub fn prove(&mut self, question: impl Into<Question>) {
        self.proofs.push(question.into());
    }

    /// Adds a sentence for the person.
    pub fn note(&mut self, sentence: impl Into<String>) {
        self.notes.push(sentence.into());
    }
}
