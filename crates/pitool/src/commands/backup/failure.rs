//! Errors of backups as failures.

use crate::exit;
use crate::failure::Failure;
use crate::render::bytes;
use pitool_host::text::{causes, chain};

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
        Failure::machine(chain(&error))
    }
}
