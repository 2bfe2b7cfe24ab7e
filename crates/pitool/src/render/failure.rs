//! Failures and warnings, in words.

use pitool_config::{Diagnostic, Severity};

use crate::failure::{Class, Failure};
use crate::render::{Terminal, wrap};

/// Says why a command could not do its work.
pub fn show(terminal: &Terminal<'_>, failure: &Failure) {
    diagnostics(terminal, &failure.diagnostics);
    let paint = terminal.talk;
    let message = wrap(&failure.message, terminal.width, 7, 7);
    terminal.say(format!("{} {message}", paint.bad("error:")));
    for cause in &failure.causes {
        terminal.say(format!("  because: {}", wrap(cause, terminal.width, 11, 11)));
    }
    hints(terminal, &failure.hints);
    if failure.class == Class::Bug {
        let sentence = "This is a mistake in pitool. Please report it, with the command and the config, at";
        terminal.say(format!("\n{sentence}\n{}/issues", env!("CARGO_PKG_REPOSITORY")));
    }
}

/// Says what to do, after an empty line.
pub fn hints(terminal: &Terminal<'_>, hints: &[String]) {
    if !hints.is_empty() {
        terminal.say("");
    }
    for hint in hints {
        terminal.say(format!("{} {}", terminal.talk.notable("hint:"), wrap(hint, terminal.width, 6, 6)));
    }
}

/// Says what is wrong in files.
pub fn diagnostics(terminal: &Terminal<'_>, diagnostics: &[Diagnostic]) {
    for diagnostic in diagnostics {
        let text = diagnostic.to_string();
        let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let paint = terminal.talk;
        let place = format!("{}:{}:{}:", diagnostic.path.display(), diagnostic.line, diagnostic.column);
        let first = match (first.strip_prefix(&place), diagnostic.severity) {
            (Some(message), Severity::Error) => format!("{}{message}", paint.bad(&place)),
            (Some(message), Severity::Warning) => format!("{}{message}", paint.notable(&place)),
            (None, _) => first.to_owned(),
        };
        terminal.say(format!("{first}\n{rest}"));
    }
}
