//! What a backup or a restore that was cut off left behind.

use std::path::Path;

use pitool_backup::quiet;
use pitool_backup::restore::Unfinished;

use crate::failure::{Failure, Result};
use crate::session::Session;

/// Starts what a backup that was cut off had stopped, and says so.
pub(super) fn wake(session: &Session<'_, '_>) -> Result<usize> {
    let woken = quiet::recover(session.host).map_err(|error| {
        Failure::machine("what an earlier backup had stopped does not start again")
            .because(&error)
            .hint(format!("{} says what it is; start it by hand, then remove that file", quiet::RECORD))
    })?;
    if !woken.is_empty() {
        let names = quiet::names(&woken);
        session.terminal.say(format!("Started again, because an earlier backup was cut off: {names}."));
    }
    tell_unfinished(session)?;
    Ok(woken.len())
}

/// Says that a restore was cut off and what to do about it, until it was done again.
pub(super) fn tell_unfinished(session: &Session<'_, '_>) -> Result<()> {
    let Some(unfinished) = Unfinished::read(Path::new(Unfinished::PATH))? else { return Ok(()) };
    let Unfinished { archive, target, paths, since, safety } = unfinished;
    let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    let away = target
        .filter(|target| target != pitool_backup::record::LOCAL)
        .map_or_else(String::new, |target| format!(" --target {target}"));
    let since = session.clock().show(&since.to_string());
    let before = safety.map_or_else(String::new, |safety| format!(" What was there before is in {safety}."));
    session.terminal.say(format!(
        "A restore of {archive} was cut off at {since}: what is in {} is partly the archive's and partly older. \
         Run it again: `pitool backup restore{away} {archive} {}`.{before}",
        paths.join(", "),
        paths.join(" ")
    ));
    Ok(())
}
