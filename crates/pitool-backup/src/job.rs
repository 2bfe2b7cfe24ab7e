//! The jobs: saving sets and copying their archives, verifying, drilling, restoring and deleting them.
//!
//! The rest of the crate works on one set, one directory or one target; what happens to which of them, and in which
//! order, is decided here. A job takes plain values ([`Jobs`], [`Set`], [`Place`]) and reports with an [`Event`]; it knows no
//! config, no schedule and no terminal. Whatever changes something runs while its caller holds the lock of backups
//! ([`lock`]).

mod drill;
mod error;
mod event;
mod inventory;
mod jobs;
mod lock;
mod outcome;
mod place;
mod prune;
mod reached;
mod restore;
mod run;
mod set;
mod source;
#[cfg(test)]
mod tests;
mod verify;

pub use error::{Error, Result};
pub use event::{Event, Listener, Progress, Silent, Step};
pub use inventory::{Files, Inventory, here};
pub use jobs::{Jobs, wake};
pub use lock::{Patience, lock};
pub use outcome::{Checked, Drilled, Moved, Outcome, Plan};
pub use place::{Kind, Place, named};
pub use reached::Reached;
pub use restore::{Order, Ready};
pub use set::Set;
pub use source::Source;
