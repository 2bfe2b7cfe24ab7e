//! `pitool health`: how the machine is.

use std::time::Duration;

use pitool_monitor::check::look;
use pitool_monitor::finding::{Level, Report};
use pitool_monitor::sample::{Known, Sample, run_at_work};
use pitool_monitor::service::RUN;
use pitool_monitor::setup::Setup;
use pitool_monitor::status::Status;
use pitool_monitor::system::Live;
use serde_json::json;

use crate::exit;
use crate::failure::{Failure, Result, denied};
use crate::render::{health, json as json_out, run};
use crate::session::Session;

/// How old what the monitor found may be: its interval, and as long again for a busy machine.
const FRESH: Duration = Duration::from_secs(600);

/// Looks, judges, shows.
pub(crate) fn run(session: &Session<'_, '_>) -> Result<u8> {
    let (_, report, _) = examined(session)?;
    let terminal = session.terminal;
    if terminal.json {
        let document = json!({
            "command": "health",
            "level": report.level(),
            "taken": report.taken,
            "findings": report.findings,
            "absent": report.absent,
        });
        json_out::document(terminal, &document);
    } else {
        if let Some(holder) = session.at_work()? {
            run::going_on(terminal, None, &holder, &session.clock());
        }
        health::show(terminal, &report);
    }
    Ok(match report.level() {
        Level::Ok => exit::DONE,
        Level::Unknown | Level::Warn => exit::DEGRADED,
        Level::Fail => exit::FAILED,
    })
}

/// Looks at the machine with what the monitor knows besides.
pub(crate) fn examined(session: &Session<'_, '_>) -> Result<(Sample, Report, Setup)> {
    require_live(session)?;
    let (settings, _) = session.settings()?;
    let facts = session.supported_facts()?;
    let setup = pitool_roles::setup(&settings, &facts);
    let known = known(session, monitored(session).as_ref())?;
    let (sample, report) = look(session.inspect(), &Live::default(), &setup, known);
    Ok((sample, report, setup))
}

/// Refuses another root: nothing runs there that could be asked.
pub(crate) fn require_live(session: &Session<'_, '_>) -> Result<()> {
    if session.inspect().live() {
        return Ok(());
    }
    Err(Failure::input("only a running machine can be examined, and this is another root"))
}

/// What the monitor found last, if it is at work.
pub(crate) fn monitored(session: &Session<'_, '_>) -> Option<Status> {
    let content = session.inspect().read(&format!("{RUN}/status.json")).ok()??;
    let status: Status = serde_json::from_slice(content.bytes()).ok()?;
    let age = session.inspect().now().duration_since(status.taken);
    let interval =
        session.settings().map_or(0, |(settings, _)| settings.monitoring.service.interval.as_secs());
    (age.unsigned_abs() < FRESH.max(Duration::from_secs(2 * interval))).then_some(status)
}

/// What no look at the kernel tells: runs from the journal, and what takes the monitor longer than this command may.
fn known(session: &Session<'_, '_>, status: Option<&Status>) -> Result<Known> {
    let compared = status.filter(|status| !status.absent.iter().any(|absent| absent.check == "config"));
    let interrupted = match session.journal().unfinished(session.inspect()) {
        _ if run_at_work(session.inspect()) => None,
        Ok(run) => Some(Ok(run.map(|run| format!("run {}", run.header.run)))),
        // The monitor is root and has looked.
        Err(error) if !session.caller.root && denied(&error) => None,
        Err(error) => Some(Err(error.to_string())),
    };
    // What the monitor could not find out is unknown here too.
    let unknown = |check: &str| {
        let mut findings = status.iter().flat_map(|status| &status.findings);
        findings
            .find(|found| found.check == check && found.level == Level::Unknown)
            .map(|found| found.value.clone())
    };
    Ok(Known {
        interrupted,
        drift: unknown("config").map(Err).or_else(|| compared.map(|status| Ok(status.drift))),
        updates: unknown("updates")
            .map(Err)
            .or_else(|| status.as_ref().and_then(|status| status.updates).map(Ok)),
    })
}
