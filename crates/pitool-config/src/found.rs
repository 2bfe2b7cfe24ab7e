//! The problems of a config, while it is read and checked.

use crate::diagnostic::{Diagnostic, Severity};
use crate::fragment::Fragment;
use crate::tree::{Origin, Path};

/// The problems found so far.
pub(crate) struct Found<'a> {
    fragments: &'a [Fragment],
    problems: Vec<(Origin, Diagnostic)>,
    removed: Vec<Path>,
}

impl<'a> Found<'a> {
    /// Nothing found yet in these fragments.
    pub(crate) fn new(fragments: &'a [Fragment]) -> Self {
        Self { fragments, problems: Vec::new(), removed: Vec::new() }
    }

    /// Adds a problem at a place.
    pub(crate) fn add(
        &mut self,
        severity: Severity,
        at: &Origin,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        let Some(fragment) = self.fragments.get(at.file) else { return };
        let problem = Diagnostic::new(severity, fragment, at.start..at.end, message, hint);
        self.problems.push((at.clone(), problem));
    }

    /// Notes that what is at this path is too wrong to read.
    pub(crate) fn remove(&mut self, path: Path) {
        self.removed.push(path);
    }

    /// Tells whether something at this path or in it was too wrong to read, so that its default stands there now.
    pub(crate) fn removed(&self, path: &Path) -> bool {
        self.removed.iter().any(|removed| removed.starts_with(path) || path.starts_with(removed))
    }
    /// The problems with their places, in the order in which they were found.
    pub(crate) fn problems(self) -> Vec<(Origin, Diagnostic)> {
        self.problems
    }
}
