//! The lock of everything that writes archives.

use pitool_backup::job::{self, Patience};
use pitool_host::{Lock, LockHolder};

use crate::exit;
use crate::failure::{Failure, Result};
use crate::session::Session;

/// Takes the lock of backups. A backup that a timer started waits for another one; a person is told who holds it.
pub(super) fn lock(session: &Session<'_, '_>) -> Result<Box<dyn Lock>> {
    let host = session.host;
    let holder = LockHolder {
        pid: std::process::id(),
        since: host.now().to_string(),
        command: session.caller.command.clone(),
    };
    let patience = match host.variable("INVOCATION_ID") {
        Some(_) => Patience::Night,
        None => Patience::None,
    };
    let waiting = |held: &LockHolder| {
        session.terminal.mention(format!("Waiting for `{}`, process {}.", held.command, held.pid));
    };
    job::lock(host, &holder, patience, &waiting)?.map_err(|held| {
        Failure {
            exit: exit::LOCKED,
            ..Failure::machine(format!(
                "another backup is at work: `{}`, process {}, since {}; nothing was changed",
                held.command,
                held.pid,
                session.clock().tell(&held.since)
            ))
        }
        .hint("wait until it is done, then try again")
    })
}
