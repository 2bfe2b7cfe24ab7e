//! Asking before archives or files are deleted.

use crate::failure::{Class, Failure, Result};
use crate::session::Session;

/// Asks a person on a terminal; whoever is none has to say `--yes`.
pub(super) fn confirm(session: &Session<'_, '_>, question: &str, yes: bool) -> Result<()> {
    use std::io::{BufRead, IsTerminal};
    if yes {
        return Ok(());
    }
    let stdin = std::io::stdin();
    if !stdin.is_terminal() || session.terminal.json {
        return Err(Failure::input("nobody is there to ask; nothing was changed").hint("add `--yes`"));
    }
    session.terminal.say(format!("{question} [y/N] "));
    let mut answer = String::new();
    stdin
        .lock()
        .read_line(&mut answer)
        .map_err(|error| Failure::machine("cannot read the answer").because(&error))?;
    if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(Failure { class: Class::Input, ..Failure::input("nothing was changed") })
}
