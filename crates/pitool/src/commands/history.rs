//! `pitool history`: the runs on this machine.

use pitool_engine::{Run, RunId};
use serde_json::json;

use crate::cli;
use crate::exit;
use crate::failure::{Failure, Result, denied};
use crate::render::run::at_work;
use crate::render::{history, json as json_out};
use crate::session::Session;

/// Lists the runs, or tells about one.
pub(crate) fn run(session: &Session<'_, '_>, command: &cli::History) -> Result<u8> {
    let terminal = session.terminal;
    let failed = |error: pitool_engine::JournalError| {
        if !session.caller.root && denied(&error) {
            let hint = format!("type `sudo {}`", session.caller.command);
            return Failure::machine("only root may read the journal").hint(hint);
        }
        session.failed(&error.into())
    };
    if let Some(number) = command.run {
        let run = session.journal().run(session.inspect(), RunId(number)).map_err(failed)?;
        let run = run.ok_or_else(|| failed(pitool_engine::JournalError::Missing(RunId(number))))?;
        if terminal.json {
            json_out::document(terminal, &json!({ "command": "history", "run": run }));
        } else {
            history::one(terminal, &run, going_on(session, std::slice::from_ref(&run))?, &session.clock());
        }
        return Ok(exit::DONE);
    }
    let runs = session.journal().list(session.inspect()).map_err(failed)?;
    if terminal.json {
        let newest_first: Vec<_> = runs.iter().rev().collect();
        let going_on = going_on(session, &runs)?;
        json_out::document(
            terminal,
            &json!({ "command": "history", "runs": newest_first, "going_on": going_on }),
        );
    } else {
        session.unfinished()?;
        history::table(terminal, &runs, going_on(session, &runs)?, &session.clock());
    }
    Ok(exit::DONE)
}

/// Which of these runs is going on.
fn going_on(session: &Session<'_, '_>, runs: &[Run]) -> Result<Option<RunId>> {
    let Some(holder) = session.at_work()? else { return Ok(None) };
    Ok(runs.last().filter(|run| at_work(run, &holder)).map(|run| run.header.run))
}
