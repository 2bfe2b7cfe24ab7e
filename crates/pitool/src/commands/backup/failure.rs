//! Errors of backups as failures.

use pitool_backup::{job, quiet};
use pitool_host::text::{causes, chain};

use crate::exit;
use crate::failure::Failure;
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
        Failure::machine(chain(&error))
    }
}

impl From<job::Error> for Failure {
    fn from(error: job::Error) -> Self {
        let input = || Failure::input(error.to_string());
        let machine = || Failure::machine(error.to_string()).because_of(&error);
        match &error {
            job::Error::NoTarget { known, .. } => {
                input().hint(format!("the targets are {}", known.join(", ")))
            }
            job::Error::NoArchive { .. } => input()
                .hint("`pitool backup list` names the sets and their archives; `--target` looks elsewhere"),
            job::Error::NotSaved(_) => input().hint(
                "name a path as it was on the machine; `zstd -dc ARCHIVE | tar t` lists what an archive has",
            ),
            job::Error::Unlisted { .. } => input().hint(
                "add them to the set, name the paths to restore, or, if you trust who wrote the archive, add \
                 `--unlisted-paths`",
            ),
            job::Error::NoRoom { directory, needed, available } => {
                let (needed, available) = (bytes(*needed), bytes(*available));
                let room = format!("{} has {available} free, and {needed} are needed", directory.display());
                Failure::machine(format!("{room}; nothing was restored")).hint(
                    "make room there, name a PATH to restore only that, or restore to another disk with `--to DIR`",
                )
            }
            job::Error::Asleep(_) => machine()
                .hint(format!("{} says what it is; start it by hand, then remove that file", quiet::RECORD)),
            job::Error::Restless { advice, .. } => machine().hint(advice.clone()),
            job::Error::StaysStopped { names, .. } => {
                machine().hint(format!("look why, then start it: {names}"))
            }
            job::Error::Away { .. } | job::Error::NotStopped(_) => machine(),
            job::Error::Backup(_) | job::Error::Host(_) | job::Error::Target(_) => match error {
                job::Error::Backup(error) => error.into(),
                job::Error::Host(error) => error.into(),
                job::Error::Target(error) => error.into(),
                error => Failure::machine(chain(&error)),
            },
        }
    }
}
