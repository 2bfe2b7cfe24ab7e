//! Errors of backups as failures, and in one line.

use crate::exit;
use crate::failure::{Failure, causes};
use crate::render::bytes;

impl From<pitool_backup::Error> for Failure {
    fn from(error: pitool_backup::Error) -> Self {
        let exit = if matches!(error, pitool_backup::Error::Locked(_)) { exit::LOCKED } else { exit::FAILED };
        let message = match &error {
            pitool_backup::Error::Space { directory, needed, available } => {
                let (needed, available) = (bytes(*needed), bytes(*available));
                format!("{} has {available} free, and {needed} are needed", directory.display())
            }
            error => error.to_string(),
        };
        Failure { exit, causes: causes(&error), ..Failure::machine(message) }
    }
}

impl From<pitool_backup::target::Error> for Failure {
    fn from(error: pitool_backup::target::Error) -> Self {
        Failure::machine(words(&error))
    }
}

/// An error with its causes in one line.
pub(super) fn words(error: &dyn std::error::Error) -> String {
    std::iter::once(error.to_string()).chain(causes(error)).collect::<Vec<_>>().join(": ")
}
