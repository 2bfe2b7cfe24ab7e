//! Plans, applies, journals and rolls back resources of any kind.
//!
//! The engine is generic over one [`Resource`] type and names no kind; it prints nothing, but tells what happens
//! as [`Event`]s. Data flows one way: [`Goal`]s (what should be) and the reading half of the host make a
//! [`Plan`]; [`Engine::apply`] takes a durable snapshot, settles each goal in order, and writes the journal.
//! Rollback is the same function with the journal's snapshot as goals: it has no code of its own for any kind.
//!
//! Start reading at [`Resource`], then [`Engine::apply`].

mod engine;
mod event;
mod goal;
mod journal;
mod managed;
mod plan;
mod proof;
pub mod report;
mod resource;
mod verdict;

pub use engine::{Engine, Error, Outcome, Result, Settled};
pub use event::{By, Event};
pub use goal::{Aim, Desired, Goal, LintError};
pub use journal::{Cause, Confirmed, Ending, Header, Journal, JournalError, Origin, Purpose, Run, RunId};
pub use managed::{Managed, ManagedEntry};
pub use plan::{Plan, PlanError, Reason, Refused, Step, plan};
pub use proof::{PATIENCE, Proof, Proved, Tally, prove};
pub use resource::{Action, Change, Consent, Id, Move, Resource, Reversal, Risk, Stage, Turn, Upcoming};
pub use verdict::Verdict;
