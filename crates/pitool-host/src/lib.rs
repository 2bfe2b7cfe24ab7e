//! The only door to the machine: reading it, changing it.
//!
//! Two traits: [`Inspect`] reads, [`Host`] reads and writes. Planning is handed an `&dyn Inspect`, so it
//! cannot change anything. [`local::Local`] is the real machine; the crate `pitool-sim` has a simulated one, and the
//! contract that both keep. [`parse`] holds one pure parser for each text that Debian, systemd or the kernel hands us,
//! [`facts`] the slow truths about the machine, and [`listening`] who serves the network at the moment. [`trust`] holds
//! the rules by which root works in directories that belong to others.
//!
//! This crate knows nothing of resources, roles or configs. Start reading at [`Inspect`].

#![expect(clippy::disallowed_methods, reason = "this crate is the door that everything else goes through")]

pub mod command;
mod docker;
mod error;
pub mod facts;
pub mod http;
mod inspect;
mod job;
pub mod listening;
pub mod local;
mod package;
pub mod parse;
mod rehearsed;
pub mod text;
pub mod trust;
mod unit;
mod values;

pub use command::{Command, Output};
pub use error::{Error, Result};
pub use facts::{DockerSource, Facts, Person, SwapMechanism};

pub use inspect::{Candidate, Host, Inspect, Lock, LockHolder, Looked, Progress};
pub use job::{job, run_job};
pub use package::{Package, PackageState, Packages, related};
pub use rehearsed::Rehearsed;
pub use unit::{ActiveState, UNIT_DIRECTORIES, UnitStatus};
pub use values::{Access, Content, Digest, FileType, Stat};

/// The authorities that this machine trusts, in PEM: update-ca-certificates(8).
pub const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
