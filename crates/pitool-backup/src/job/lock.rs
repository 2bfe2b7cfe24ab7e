//! The lock of everything that writes archives, or stops something for their sake.
//!
//! It is another one than that of runs: a backup of hours must not keep `pitool apply` waiting.

use std::time::Duration;

use pitool_host::{Host, Lock, LockHolder, Result};

/// The file that is locked.
const LOCK: &str = "/run/pitool/backup.lock";

/// How long a job waits for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Not at all: a person reads who holds it.
    None,
    /// Up to twelve hours: a first upload may take a night, and what a timer started has time.
    Night,
}

/// Takes the lock of backups, or says who has it. `waiting` hears once of whom this one waits for.
///
/// # Errors
/// The file cannot be made or locked.
pub fn lock(
    host: &dyn Host,
    holder: &LockHolder,
    patience: Patience,
    waiting: &dyn Fn(&LockHolder),
) -> Result<std::result::Result<Box<dyn Lock>, LockHolder>> {
    let most = match patience {
        Patience::None => Duration::ZERO,
        Patience::Night => Duration::from_secs(12 * 60 * 60),
    };
    let mut waited = Duration::ZERO;
    loop {
        let held = match host.lock(LOCK, holder)? {
            Ok(lock) => return Ok(Ok(lock)),
            Err(held) => held,
        };
        if waited >= most || host.interrupted() {
            return Ok(Err(held));
        }
        if waited.is_zero() {
            waiting(&held);
        }
        host.sleep(Duration::from_secs(2));
        waited += Duration::from_secs(2);
    }
}
