//! A set with what is done around its archive.

use std::path::PathBuf;
use std::time::Duration;

use crate::quiet::Rest;

/// A set with what is done around its archive.
#[derive(Clone, Debug)]
pub struct Set {
    /// What goes into the archive, without its volumes.
    pub content: crate::Set,
    /// Volumes of Docker's, by name.
    pub volumes: Vec<String>,
    /// How the containers that use its files rest while it is saved; `None`: they run.
    pub rest: Option<Rest>,
    /// The units that are stopped while it is saved.
    pub units: Vec<String>,
    /// The units that are stopped while it is restored.
    pub services: Vec<String>,
    /// What these services read: a restore of anything else stops none of them.
    pub read_by_services: Vec<PathBuf>,
    /// The command that runs before it is saved: a program and its arguments, which no shell reads. Empty: none.
    pub before: Vec<String>,
    /// The command that runs afterwards, whatever happened, with `PITOOL_RESULT` `ok` or `failed`.
    pub after: Vec<String>,
    /// The command that judges what a drill restored.
    pub check: Vec<String>,
    /// How long each of these may take.
    pub command_timeout: Duration,
}

impl Set {
    /// Its name.
    pub fn name(&self) -> &str {
        self.content.name.as_str()
    }
}
