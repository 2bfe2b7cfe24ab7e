//! `pitool doctor`: every signal with its source, and the known traps.

use pitool_host::Access;
use pitool_monitor::doctor::{Look, Signal, Verdict, signals, traps};
use pitool_monitor::system::Live;
use serde_json::json;

use super::health::examined;
use crate::exit;
use crate::failure::Result;
use crate::render::{Terminal, json as json_out, wrap};
use crate::session::Session;

/// Columns of a name.
const NAME: usize = 26;

/// Shows both.
pub(crate) fn run(session: &Session<'_, '_>) -> Result<u8> {
    let (sample, _, setup) = examined(session)?;
    let facts = session.supported_facts()?;
    let system = Live::default();
    let look =
        Look { host: session.inspect(), system: &system, facts: &facts, sample: &sample, setup: &setup };
    let mut signals = signals(&look);
    if session.caller.root {
        signals.push(write_probe(session));
    }
    let traps = traps(&look);
    let found = traps.iter().filter(|trap| matches!(trap.verdict, Verdict::Found { .. })).count();
    let terminal = session.terminal;
    if terminal.json {
        json_out::document(terminal, &json!({ "command": "doctor", "signals": signals, "traps": traps }));
        return Ok(exit::DONE);
    }
    terminal.line(terminal.paint.heading("Signals"));
    for signal in &signals {
        let value = match (&signal.value, &signal.why) {
            (Some(value), _) => value.clone(),
            (None, why) => format!("not known: {}", why.as_deref().unwrap_or("no reason was given")),
        };
        let source = terminal.paint.faint(&format!("[{}]", signal.source));
        terminal.line(format!(
            "  {:<NAME$}{}",
            signal.name,
            wrap(&format!("{value} {source}"), terminal.width, NAME + 2, NAME + 2)
        ));
    }
    terminal.line(format!("\n{}", terminal.paint.heading("Known traps")));
    for trap in &traps {
        show(terminal, trap.number, trap.name, &trap.verdict);
    }
    terminal.line(match found {
        0 => "\nNone of the known traps was found.".to_owned(),
        1 => "\n1 of the known traps was found.".to_owned(),
        found => format!("\n{found} of the known traps were found."),
    });
    Ok(exit::DONE)
}

fn show(terminal: &Terminal<'_>, number: u8, name: &str, verdict: &Verdict) {
    let paint = terminal.paint;
    let (word, text) = match verdict {
        Verdict::Fine { what } => (paint.good("fine    "), what),
        Verdict::Found { what, .. } => (paint.notable("found   "), what),
        Verdict::NotHere { why } => (paint.faint("not here"), why),
        Verdict::Unknown { why } => (paint.faint("unknown "), why),
    };
    let told = !matches!(verdict, Verdict::NotHere { .. }) || terminal.verbose;
    let sentence = if told { format!("{name}: {text}") } else { name.to_owned() };
    terminal.line(format!("  {number:>2}  {word}  {}", wrap(&sentence, terminal.width, 16, 16)));
    if let Verdict::Found { hint, .. } = verdict {
        terminal.line(format!("                {}", wrap(hint, terminal.width, 16, 16)));
    }
}

/// Writes a small file and takes it away: a disk that says it is writable may not be.
fn write_probe(session: &Session<'_, '_>) -> Signal {
    const PROBE: &str = "/var/lib/pitool/.write-probe";
    let tried =
        session.host.write(PROBE, b"probe\n", Access::root(0o600)).and_then(|()| session.host.remove(PROBE));
    let why = tried.err().map(|error| pitool_host::text::chain(&error));
    Signal {
        name: "write probe",
        source: "a file in /var/lib/pitool, written and removed",
        value: why.is_none().then(|| "it can be written".to_owned()),
        why,
    }
}
