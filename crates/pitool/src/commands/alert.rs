//! `pitool alert`: whether alerts arrive, and dead-man pings.

use std::io::{IsTerminal, Read};

use pitool_monitor::alert::message::Message;
use pitool_monitor::ping::{self, Job, Moment};
use pitool_monitor::sink::Sink;
use serde_json::json;

use crate::cli::{self, PingJob, PingMoment};
use crate::exit;
use crate::failure::{Failure, Result};
use crate::render::json as json_out;
use crate::session::Session;

/// Runs one of them.
pub(crate) fn run(session: &Session<'_, '_>, command: &cli::Alert) -> Result<u8> {
    match command {
        cli::Alert::Test { sink } => test(session, sink.as_deref()),
        cli::Alert::Ping { job, moment } => ping(session, *job, *moment),
    }
}

fn test(session: &Session<'_, '_>, only: Option<&str>) -> Result<u8> {
    let (settings, _) = session.settings()?;
    let mut sinks = Sink::all(&settings.monitoring.alerts);
    let names: Vec<&str> = sinks.iter().map(Sink::name).collect();
    if names.is_empty() {
        return Err(Failure::input("nobody is told of anything: the config has no sink").hint(
            "name one, such as [monitoring.alerts.ntfy] with `url`; all of them are in docs/config.md",
        ));
    }
    if let Some(only) = only {
        if !names.contains(&only) {
            return Err(Failure::input(format!("the config has no sink `{only}`"))
                .hint(format!("it has {}", names.join(", "))));
        }
        sinks.retain(|sink| sink.name() == only);
    }
    let facts = session.supported_facts()?;
    let host = super::monitor::machine(session, &facts).host;
    let now = session.inspect().now();
    let terminal = session.terminal;
    let mut outcomes = Vec::new();
    for sink in &sinks {
        let outcome = sink.send(&Message::test(&host, now), now, session.clock().zone());
        if !terminal.json {
            terminal.line(match &outcome {
                Ok(()) => format!("{}  {:<8} took it", terminal.paint.good("ok  "), sink.name()),
                Err(why) => format!("{}  {:<8} {why}", terminal.paint.bad("fail"), sink.name()),
            });
        }
        outcomes.push((sink.name(), outcome));
    }
    if terminal.json {
        let sinks: Vec<_> = outcomes
            .iter()
            .map(|(name, outcome)| json!({ "sink": name, "sent": outcome.is_ok(), "why": outcome.as_ref().err() }))
            .collect();
        json_out::document(terminal, &json!({ "command": "alert test", "sinks": sinks }));
    }
    Ok(if outcomes.iter().all(|(_, outcome)| outcome.is_ok()) { exit::DONE } else { exit::FAILED })
}

/// The most of standard input that is read to go along.
const TEXT: u64 = 1 << 20;

fn ping(session: &Session<'_, '_>, job: PingJob, moment: PingMoment) -> Result<u8> {
    let (settings, _) = session.settings()?;
    let job = match job {
        PingJob::Heartbeat => Job::Heartbeat,
        PingJob::Backup => Job::Backup,
        PingJob::Drill => Job::Drill,
        PingJob::Renewal => Job::Renewal,
    };
    let moment = match moment {
        PingMoment::Start => Moment::Start,
        PingMoment::Success => Moment::Success,
        PingMoment::Fail => Moment::Fail,
    };
    let mut text = Vec::new();
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        // What cannot be read does not go along; the ping itself matters more.
        let _ = stdin.take(TEXT).read_to_end(&mut text);
    }
    match ping::send(&settings.monitoring.pings, job, moment, &String::from_utf8_lossy(&text)) {
        Ok(true) => Ok(exit::DONE),
        Ok(false) => {
            session.terminal.mention("no address is set for that in [monitoring.pings]: nobody was pinged");
            Ok(exit::DONE)
        }
        Err(why) => Err(Failure::machine("the ping was not taken").because_words(why)),
    }
}
