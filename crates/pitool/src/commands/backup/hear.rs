//! What backups report, shown.

use pitool_backup::job::{Event, Listener, Progress, Step};
use pitool_backup::quiet;

use crate::render::{backup as show, bytes, count};
use crate::session::Session;

/// Shows what a job reports: results as they come, and a line with its progress.
pub(super) struct Hear<'s, 'h, 't>(pub(super) &'s Session<'h, 't>);

impl Listener for Hear<'_, '_, '_> {
    fn hear(&self, event: Event<'_>) {
        let (terminal, clock) = (self.0.terminal, self.0.clock());
        match event {
            Event::Woken(resting) => terminal.say(format!(
                "Started again, because an earlier backup was cut off: {}.",
                quiet::names(resting)
            )),
            Event::Unfinished(unfinished) => show::unfinished(terminal, unfinished, &clock),
            Event::Weak { target, why } => terminal.say(format!("{target}: {why}.")),
            Event::Failed { target, why } => terminal.say(format!("{target}: {why}")),
            Event::Stopped(resting) => {
                terminal.mention(format!("Stopped meanwhile: {}.", quiet::names(resting)));
            }
            Event::Saved(outcome) => show::outcome(terminal, outcome, &clock),
            Event::Verified(checked) => show::verified(terminal, checked),
            Event::Drilled(drilled) => show::drilled(terminal, drilled),
            Event::Deleted { target, set, archives, bytes: size } => terminal.mention(format!(
                "{target}: {} of {set} deleted, {}",
                count(archives, "archive"),
                bytes(size)
            )),
        }
    }

    fn begin(&self, step: Step<'_>) -> Box<dyn Fn(Progress<'_>) + Sync> {
        let what = match step {
            Step::Saving(set) => format!("Saving {set}"),
            Step::Copying(target) => format!("Copying to {target}"),
            Step::Fetching(file) => format!("Fetching {file}"),
            Step::Verifying(archive) => format!("Verifying {archive}"),
            Step::Restoring(archive) => format!("Restoring {archive}"),
            Step::Drilling(set) => format!("Restoring {set} on trial"),
        };
        let live = &self.0.terminal.live;
        live.start(0, &what);
        let ticker = live.ticker();
        let (saving, copying) = (matches!(step, Step::Saving(_)), matches!(step, Step::Copying(_)));
        Box::new(move |progress| {
            ticker.say(match progress {
                Progress::Files(progress) if saving => format!(
                    "{what}: {} files, {} read, {} written",
                    progress.files,
                    bytes(progress.bytes),
                    bytes(progress.written)
                ),
                // The first pass over an archive counts bytes only.
                Progress::Files(progress) if progress.files == 0 => {
                    format!("{what}: {}", bytes(progress.bytes))
                }
                Progress::Files(progress) => {
                    format!("{what}: {} files, {}", progress.files, bytes(progress.bytes))
                }
                Progress::Bytes { file, done, size } if copying => {
                    format!("{what}: {} of {}, {file}", bytes(done), bytes(size))
                }
                Progress::Bytes { done, size, .. } => {
                    format!("{what}: {} of {}", bytes(done), bytes(size))
                }
            });
        })
    }

    fn end(&self) {
        self.0.terminal.live.finish();
    }
}
