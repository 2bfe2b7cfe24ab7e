//! The lock of everything that writes archives.

use std::time::Duration;

use pitool_host::{Lock, LockHolder};

use crate::exit;
use crate::failure::{Failure, Result};
use crate::session::Session;

/// The lock of everything that writes archives, or stops something for their sake.
const LOCK: &str = "/run/pitool/backup.lock";

/// How long a backup that a timer started waits for another one: a first upload may take a night.
const PATIENCE: Duration = Duration::from_secs(12 * 60 * 60);

/// Takes the lock of backups. A backup that a timer started waits for another one; a person is told who holds it.
pub(super) fn lock(session: &Session<'_, '_>) -> Result<Box<dyn Lock>> {
    let host = session.host;
    let holder = LockHolder {
        pid: std::process::id(),
        since: host.now().to_string(),
        command: session.caller.command.clone(),
    };
    let patient = host.variable("INVOCATION_ID").is_some();
    let mut waited = Duration::ZERO;
    loop {
        let held = match host.lock(LOCK, &holder)? {
            Ok(lock) => return Ok(lock),
            Err(held) => held,
        };
        if !patient || waited >= PATIENCE || host.interrupted() {
            return Err(Failure {
                exit: exit::LOCKED,
                ..Failure::machine(format!(
                    "another backup is at work: `{}`, process {}, since {}; nothing was changed",
                    held.command,
                    held.pid,
                    session.clock().tell(&held.since)
                ))
            }
            .hint("wait until it is done, then try again"));
        }
        if waited.is_zero() {
            session.terminal.mention(format!("Waiting for `{}`, process {}.", held.command, held.pid));
        }
        host.sleep(Duration::from_secs(2));
        waited += Duration::from_secs(2);
    }
}
