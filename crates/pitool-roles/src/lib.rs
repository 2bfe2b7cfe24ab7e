//! The roles: pure functions from config and facts to resources.
//!
//! A [`Role`] never sees the host, so it cannot branch on a state that changes during the run. It returns
//! [`Wishes`]: resources in the order of the story, proofs that the promises are in force, and notes for the
//! person. One file per role, its texts beside it in `templates/<role>/`; [`proofs`] is the one list of
//! questions, `pitool-kinds` the one list of kinds.
//!
//! Start reading at [`ROLES`], then at [`security`], the longest story.

mod accounts;
pub mod app;
pub mod backup;
mod beside;
pub mod common;
pub mod docker;
pub mod monitoring;
pub mod proofs;
mod role;
pub mod security;
pub mod ssl;
mod templates;
mod wanted;
mod watched;
mod web;
mod wishes;

pub use proofs::Question;
pub use role::{ROLES, Role, find};
pub use wanted::{Wanted, wanted};
pub use watched::setup;
pub use wishes::Wishes;
