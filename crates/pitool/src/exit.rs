//! Exit codes: part of the interface, so each is here once, with what it promises.

/// Everything is done, or there was nothing to do.
pub const DONE: u8 = 0;

/// It failed: the machine said no, a promise is not in force, or a stopped run waits to go on.
pub const FAILED: u8 = 1;

/// `plan` and `apply --check` only: something would change (or, of `rollback --check`, come back).
pub const PENDING: u8 = 2;

/// The command line or the config is wrong, or the caller is not root; nothing was changed.
pub const USAGE: u8 = 3;

/// A step failed, and everything that the run had changed was taken back.
pub const ROLLED_BACK: u8 = 4;

/// Going back did not reach its end: the machine is in between. The message says what is left to do.
pub const ROLLBACK_INCOMPLETE: u8 = 5;

/// Another run holds the lock; nothing was changed.
pub const LOCKED: u8 = 6;

/// `cert status` only: it works, but needs attention.
pub const DEGRADED: u8 = 10;
