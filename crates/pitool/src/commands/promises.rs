//! Asking whether promises are in force, with progress.

use std::time::Duration;

use pitool_engine::{Proved, prove};
use pitool_roles::Question;

use crate::render::json as json_out;
use crate::session::Session;

/// Asks promises whether they are in force.
pub(super) fn ask(session: &Session<'_, '_>, questions: Vec<Question>, patience: Duration) -> Vec<Proved> {
    let terminal = session.terminal;
    terminal.live.start(questions.len(), "Asking whether the promises are in force");
    // What the run itself saw of a unit was right after its start.
    session.inspect().forget();
    let mut asked = 0;
    let proved = prove(&questions, session.host, patience, &mut |event| {
        asked += 1;
        terminal.live.done(asked);
        if terminal.json {
            json_out::event(terminal, &event);
        }
    });
    terminal.live.finish();
    proved
}
