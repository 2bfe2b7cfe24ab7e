//! `pitool status`: what the monitor knows, in short or as the page.

use pitool_monitor::finding::Level;
use pitool_monitor::page;
use pitool_monitor::state::State;
use pitool_monitor::status::Status;

use super::health::{examined, monitored};
use crate::cli;
use crate::exit;
use crate::failure::Result;
use crate::render::{count, json as json_out, list};
use crate::session::Session;

/// Shows it.
pub(crate) fn run(session: &Session<'_, '_>, command: &cli::Status) -> Result<u8> {
    let found = monitored(session);
    let at_work = found.is_some();
    let status = match found {
        Some(status) => status,
        None => {
            let (sample, report, _) = examined(session)?;
            let machine = super::monitor::machine(session, &session.supported_facts()?);
            Status::of(machine, &sample, &report, &State::default())
        }
    };
    let terminal = session.terminal;
    if command.html {
        terminal.write(&page::render(&status, session.clock().zone()));
    } else if terminal.json {
        json_out::document(terminal, &status);
    } else {
        short(session, &status, at_work);
    }
    Ok(exit::DONE)
}

fn short(session: &Session<'_, '_>, status: &Status, at_work: bool) {
    let terminal = session.terminal;
    let clock = session.clock();
    let row = |name: &str, value: &str| terminal.line(format!("{name:<12}{value}"));
    let bad: Vec<String> = status
        .findings
        .iter()
        .filter(|finding| finding.level != Level::Ok)
        .map(|finding| finding.id())
        .collect();
    row("machine", &format!("{}, {}", status.machine.host, status.machine.os));
    row(
        "state",
        &match bad.as_slice() {
            [] => format!("ok, {}", count(status.findings.len(), "check")),
            bad => format!("{}: {} (`pitool health` says what to do)", status.level.word(), list(bad, 6)),
        },
    );
    row("looked at", &clock.show(&status.taken.to_string()));
    row(
        "monitor",
        match at_work {
            true => "at work",
            false => "not at work: `systemctl status pitool-monitor`",
        },
    );
    let alerts = &status.alerts;
    let sinks = if alerts.sinks.is_empty() {
        "nobody is told: see [monitoring.alerts]".to_owned()
    } else {
        alerts.sinks.join(", ")
    };
    row("alerts", &format!("{sinks}; {} not over, {} waiting", alerts.told.len(), alerts.waiting));
    for (sink, why) in &alerts.troubles {
        row("", &format!("{sink} does not take them: {why}"));
    }
    if let Some(run) = status.runs.first() {
        row(
            "last run",
            &format!("{}, `{}`, {} {}", run.number, run.command, run.ending, clock.show(&run.started)),
        );
    }
    if let Some(job) = status.jobs.first() {
        row("next", &format!("{} at {}", job.name, clock.show(&job.next.to_string())));
    }
}
