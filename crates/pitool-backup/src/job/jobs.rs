//! What every job needs.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use jiff::Zoned;
use pitool_host::{Access, Host};

use super::error::{Error, Result};
use super::event::{Event, Listener};
use super::place::Place;
use crate::quiet;
use crate::record::{self, Record};
use crate::restore::Unfinished;
use crate::{Identities, metrics};

/// What every job needs, and the jobs as its methods.
pub struct Jobs<'a> {
    /// The machine.
    pub host: &'a dyn Host,
    /// The targets that are enabled, the directory of the archives first.
    pub places: &'a [Place],
    /// The directory in which archives are made.
    pub directory: &'a Path,
    /// What opens encrypted archives here.
    pub identities: Identities,
    /// The name of the machine, as its archives have it.
    pub machine: String,
    /// Where a restore is written down until it is over: [`Unfinished::PATH`] on a machine.
    pub unfinished: &'a Path,
    /// What is known from earlier jobs.
    pub record: Record,
    /// The time on the machine's clock when the job began, in its time zone.
    pub now: Zoned,
    /// Whether a time server confirms it.
    pub synchronized: bool,
    /// Becomes true when the job is to stop.
    pub interrupted: &'a AtomicBool,
    /// Who hears what happens.
    pub listener: &'a dyn Listener,
}

impl Jobs<'_> {
    /// Begins to change something, under the lock: reads again what an earlier job has recorded meanwhile.
    ///
    /// # Errors
    /// The record cannot be read, or its directory cannot be made.
    pub fn begin(&mut self) -> Result<()> {
        self.record = Record::read(self.host.inspect())?;
        record::prepare(self.host)?;
        Ok(())
    }

    /// As [`wake`].
    ///
    /// # Errors
    /// Its.
    pub fn wake(&self) -> Result<usize> {
        wake(self.host, self.unfinished, self.listener)
    }

    /// Reports a restore that was cut off, until it was done again.
    ///
    /// # Errors
    /// Its record cannot be read.
    pub fn report_unfinished(&self) -> Result<()> {
        report_unfinished(self.unfinished, self.listener)
    }

    /// Writes down what is known now, and the figures for a collector of metrics.
    ///
    /// # Errors
    /// One of the two files cannot be written.
    pub fn remember(&self) -> Result<()> {
        self.record.write(self.host)?;
        self.host.write(metrics::PATH, metrics::render(&self.record).as_bytes(), Access::root(0o644))?;
        Ok(())
    }

    /// A directory for copies of databases and for fetched archives: beside the archives, where there is most room.
    #[expect(clippy::disallowed_methods, reason = "in the directory of the archives, which is root's own")]
    pub(super) fn scratch(&self) -> crate::Result<PathBuf> {
        use std::os::unix::fs::DirBuilderExt;
        let scratch = self.directory.join(".scratch");
        let mut builder = std::fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(&scratch);
        made.map_err(crate::Error::path("make", &scratch))?;
        Ok(scratch)
    }
}

/// Starts what an earlier job that was cut off had stopped; gives how many that were. Reports a restore that was cut off.
///
/// # Errors
/// [`Error::Asleep`], or the record of a restore cannot be read.
pub fn wake(host: &dyn Host, unfinished: &Path, listener: &dyn Listener) -> Result<usize> {
    let woken = quiet::recover(host).map_err(Error::Asleep)?;
    if !woken.is_empty() {
        listener.hear(Event::Woken(&woken));
    }
    report_unfinished(unfinished, listener)?;
    Ok(woken.len())
}

fn report_unfinished(path: &Path, listener: &dyn Listener) -> Result<()> {
    if let Some(unfinished) = Unfinished::read(path)? {
        listener.hear(Event::Unfinished(&unfinished));
    }
    Ok(())
}
