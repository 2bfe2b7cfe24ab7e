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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Global;
    use crate::render::Streams;
    use pitool_engine::{Confirmed, Header, Id, Origin};

    #[test]
    fn a_run_says_on_whose_behalf_it_was_made_and_who_confirmed_it() {
        let header = Header {
            format: 2,
            run: RunId(8),
            purpose: Purpose::Apply,
            roles: vec!["common".into()],
            command: "pitool apply common".into(),
            pitool: "0.2.0".into(),
            started: "2026-12-01T00:00:00Z".into(),
            continues: None,
            follows: Some(RunId(7)),
            origin: Some(Origin { fleet: None, commit: Some("0f3c".into()), signer: Some("ops".into()) }),
        };
        let mut run = Run {
            header,
            ending: Some(Ending::Done),
            finished: None,
            begun: vec![],
            unreadable: vec![(Id::new("file", "/etc/odd"), "it is a FIFO".into())],
            changed: 1,
            failures: vec![],
            awaits: Some("2026-12-01T00:11:00Z".into()),
            confirmed: None,
        };
        let shown = |run: &Run| {
            let mut out = Vec::new();
            let terminal = Terminal::new(Streams::captured(&mut out, std::io::sink()), &Global::default());
            one(&terminal, run, None, &Clock::new(None));
            drop(terminal);
            String::from_utf8(out).unwrap()
        };
        let waiting = shown(&run);
        for words in [
            "commit 0f3c, signed by ops",
            "run 7: both go back together",
            "not yet; it waits until",
            "it is a FIFO",
        ] {
            assert!(waiting.contains(words), "{words}: {waiting}");
        }
        let at = "2026-12-01T00:05:00Z".into();
        run.confirmed = Some(Confirmed { by: "pi".into(), from: Some("192.0.2.7".into()), at });
        assert!(shown(&run).contains("by pi from 192.0.2.7"), "{}", shown(&run));
    }
}
