//! Saves sets of files and databases into archives that open without us, and proves them by restoring.
//!
//! An archive is a plain tar in independent zstd frames with a seek table (`archive/`), saved by a walker of our own
//! (`save/`), read back by `restore/`, `verify.rs` and `drill.rs`. What it holds is told by its manifest
//! ([`manifest`]), the last entry of the archive and a file beside it. Start reading at [`save::save`].
//!
//! All of that is a function of a [`Set`] and a directory. The [`job`]s are above it: what happens to which sets and
//! archives at which targets, and in which order. When they run, and what a person sees of them, is decided elsewhere.

#![cfg_attr(
    test,
    expect(clippy::disallowed_methods, reason = "tests make the files that they save and restore")
)]

mod archive;
mod contents;
#[cfg(test)]
mod corpus;
mod database;
mod drill;
mod error;
#[cfg(test)]
mod forge;
#[cfg(test)]
mod fuzz;
pub mod job;
pub mod manifest;
pub mod metrics;
mod name;
mod owners;
mod path;
pub mod quiet;
pub mod record;
pub mod restore;
pub mod retention;
pub mod save;
mod set;
mod store;
pub mod target;
mod verify;

pub use archive::seal::{Identities, check_recipients};
pub use database::{is_meant as is_database_reader, serve as serve_databases};
pub use drill::{Drill, Drilled, drill};
pub use error::{Error, Result};
pub use name::{ArchiveName, Part, SetName};
pub use path::StoredPath;
pub use restore::restore;
pub use save::save;
pub use set::{Set, Unchanged};
pub use store::{Store, StoreLock, Stored, Summary};
pub use verify::{Depth, Verified, verify};
