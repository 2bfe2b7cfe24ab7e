//! Which run can be taken back.

use pitool_host::Inspect;

use super::{Journal, JournalError, Purpose, Result, RunId};
use crate::Managed;

impl Journal {
    /// The newest run, if its snapshot is not whole although the run began.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn damaged(&self, host: &dyn Inspect) -> Result<Option<RunId>> {
        let Some(newest) = Managed::read(self, host)?.newest() else { return Ok(None) };
        Ok(if self.run(host, newest)?.is_none() { Some(newest) } else { None })
    }

    /// The run that going back without a number undoes: an unfinished one, else the newest apply that is not
    /// undone already; with the runs that it went on with.
    pub fn undoable(&self, host: &dyn Inspect) -> Result<Option<RunId>> {
        if let Some(run) = self.damaged(host)? {
            return Err(JournalError::Newest(run));
        }
        if let Some(run) = self.unfinished(host)? {
            return match run.header.purpose {
                Purpose::Apply => Ok(Some(self.origin(host, run.header.run)?)),
                Purpose::Rollback { of, .. } => Ok(Some(of)),
            };
        }
        let mut standing: Vec<RunId> = Vec::new();
        let mut undone: Vec<(RunId, Vec<RunId>)> = Vec::new();
        for run in self.list(host)? {
            match run.header.purpose {
                Purpose::Apply => standing.push(run.header.run),
                // One that did not reach its end undid nothing that could not be undone again.
                Purpose::Rollback { .. } if run.unfinished() => {}
                Purpose::Rollback { of, .. } => {
                    let again = undone.iter().position(|(rollback, _)| *rollback == of);
                    let (keep, gone) = standing.into_iter().partition(|number| *number < of);
                    standing = keep;
                    undone.push((run.header.run, gone));
                    if let Some(at) = again {
                        standing.extend(undone[at].1.clone());
                    }
                }
            }
        }
        standing.last().map(|run| self.origin(host, *run)).transpose()
    }

    /// Follows `continues` and `follows` to the run that began the work.
    fn origin(&self, host: &dyn Inspect, run: RunId) -> Result<RunId> {
        let mut at = run;
        while let Some(previous) =
            self.run(host, at)?.and_then(|run| run.header.continues.or(run.header.follows))
        {
            if previous >= at {
                break;
            }
            at = previous;
        }
        Ok(at)
    }
}
