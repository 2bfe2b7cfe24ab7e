//! Runs of the past.

use pitool_engine::{Cause, Ending, Purpose, Run, RunId};

use crate::render::{Clock, Terminal, count, duration, text, wrap};

/// How a run ended, in words.
pub fn ending(run: &Run, going_on: Option<RunId>) -> &'static str {
    match run.ending {
        None if going_on == Some(run.header.run) => "going on",
        None => "cut off",
        Some(Ending::Done) => "done",
        Some(Ending::Interrupted) => "stopped",
        Some(Ending::Failed) => "failed",
    }
}

fn painted(terminal: &Terminal<'_>, run: &Run, words: &str) -> String {
    match run.ending {
        Some(Ending::Done) => words.to_owned(),
        None | Some(Ending::Interrupted) => terminal.paint.notable(words),
        Some(Ending::Failed) => terminal.paint.bad(words),
    }
}

/// How many things changed, as far as the journal knows: a power cut may have taken its last lines.
fn changes(run: &Run) -> String {
    match (run.ending, run.changed) {
        (None, 0) => "?".to_owned(),
        (None, known) => format!("{known}+"),
        (Some(_), known) => known.to_string(),
    }
}

/// Lists runs, newest first.
pub fn table(terminal: &Terminal<'_>, runs: &[Run], going_on: Option<RunId>, clock: &Clock) {
    if runs.is_empty() {
        terminal.line("There was no run on this machine yet.");
        return;
    }
    let head = format!("{:>4}  {:<16}  {:<8}  {:>7}  {}", "run", "started", "result", "changes", "command");
    terminal.line(terminal.paint.heading(&head));
    for run in runs.iter().rev() {
        let result = painted(terminal, run, &format!("{:<8}", ending(run, going_on)));
        let command = match &run.header.purpose {
            Purpose::Rollback { of, cause: Cause::Asked } => format!("{} (of run {of})", run.header.command),
            Purpose::Rollback { of, cause: Cause::Failed } => {
                format!("{} (run {of} taken back)", run.header.command)
            }
            Purpose::Rollback { of, cause: Cause::Unconfirmed } => {
                format!("{} (run {of} was not confirmed)", run.header.command)
            }
            Purpose::Apply => run.header.command.clone(),
        };
        terminal.line(format!(
            "{:>4}  {:<16}  {result}  {:>7}  {}",
            run.header.run.0,
            clock.show(&run.header.started),
            changes(run),
            wrap(&command, terminal.width, 43, 43),
        ));
    }
}

/// Tells about one run.
pub fn one(terminal: &Terminal<'_>, run: &Run, going_on: Option<RunId>, clock: &Clock) {
    let paint = terminal.paint;
    let purpose = match &run.header.purpose {
        Purpose::Apply => String::new(),
        Purpose::Rollback { of, .. } => format!(", going back to before run {of}"),
    };
    terminal.line(format!("{}{purpose}", paint.heading(&format!("Run {}", run.header.run))));
    let row = |name: &str, value: &str| terminal.line(format!("  {name:<9} {value}"));
    row("command", &run.header.command);
    row("roles", &run.header.roles.join(", "));
    row("started", &clock.show(&run.header.started));
    let took = run.finished.as_deref().and_then(|end| text::between(&run.header.started, end));
    let took = took.map_or(String::new(), |took| format!(", took {}", duration(took)));
    row(
        "result",
        &match run.ending {
            None if going_on.is_some() => "going on".to_owned(),
            None => painted(terminal, run, "cut off; a power cut may have taken the last words about it"),
            Some(_) => {
                format!(
                    "{}, {}{took}",
                    painted(terminal, run, ending(run, None)),
                    count(run.changed, "change")
                )
            }
        },
    );
    row("pitool", &run.header.pitool);
    if let Some(before) = run.header.continues {
        row("goes on", &format!("with run {before}"));
    }
    if let Some(before) = run.header.follows {
        row("follows", &format!("run {before}: both go back together"));
    }
    if let Some(origin) = &run.header.origin {
        let parts =
            [("fleet run ", &origin.fleet), ("commit ", &origin.commit), ("signed by ", &origin.signer)];
        let parts = parts.into_iter().filter_map(|(name, value)| Some(format!("{name}{}", value.as_ref()?)));
        row("origin", &parts.collect::<Vec<_>>().join(", "));
    }
    match (&run.awaits, &run.confirmed) {
        (_, Some(confirmed)) => {
            let from = confirmed.from.as_ref().map_or(String::new(), |from| format!(" from {from}"));
            row("confirmed", &format!("by {}{from}, {}", confirmed.by, clock.show(&confirmed.at)));
        }
        (Some(until), None) => row("confirmed", &format!("not yet; it waits until {}", clock.show(until))),
        (None, None) => {}
    }
    if !run.begun.is_empty() {
        terminal.line(format!("\n{}", paint.heading("Steps")));
    }
    for (id, summary, _) in &run.begun {
        let failed = run.failures.iter().any(|(failed, _)| failed == id);
        let sign = if failed { paint.bad("failed ") } else { String::new() };
        terminal.line(format!("  {sign}{id}"));
        if !summary.is_empty() {
            terminal.line(format!("      {}", wrap(summary, terminal.width, 6, 6)));
        }
    }
    if !run.unreadable.is_empty() {
        terminal.line(format!("\n{}", paint.heading("Not looked at")));
    }
    for (id, why) in &run.unreadable {
        terminal.line(format!("  {id}"));
        terminal.line(format!("      {}", wrap(why, terminal.width, 6, 6)));
    }
    if !run.failures.is_empty() {
        terminal.line(format!("\n{}", paint.heading("Failures")));
    }
    for (id, error) in &run.failures {
        terminal.line(format!("  {id}"));
        terminal.line(format!("      {}", wrap(error, terminal.width, 6, 6)));
    }
}
