//! `pitool facts`: what pitool knows of this machine.

use pitool_host::facts;
use serde_json::{Value, json};

use crate::exit;
use crate::failure::{Failure, Result};
use crate::render::{json as json_out, wrap};
use crate::session::Session;

/// Words for the facts whose names do not say enough; every other one is shown by its name.
const WORDS: [(&str, &str); 14] = [
    ("os", "distribution"),
    ("os_name", "system"),
    ("arch", "architecture"),
    ("kernel_arch", "kernel's machine"),
    ("kernel_modules", "kernel modules there"),
    ("armv6", "ARMv6"),
    ("model", "board"),
    ("cpus", "processors"),
    ("systemd", "systemd runs"),
    ("live", "running system"),
    ("swap", "swap made by"),
    ("raspberrypi_archive", "Raspberry Pi's archive"),
    ("volatile_journal", "journal in memory only"),
    ("ipv6_disabled", "kernel without IPv6"),
];

/// Columns for the names.
const NAMES: usize = 24;

/// Shows the facts, of any machine.
pub(crate) fn run(session: &Session<'_, '_>) -> Result<u8> {
    let facts = facts::gather(session.inspect())?;
    let supported = facts::supported(&facts);
    let terminal = session.terminal;
    if terminal.json {
        let why = supported.as_ref().err();
        let document =
            json!({ "command": "facts", "facts": facts, "supported": supported.is_ok(), "why": why });
        json_out::document(terminal, &document);
        return Ok(exit::DONE);
    }
    let row = |name: &str, value: &str| {
        terminal.line(format!("{name:<NAMES$}{}", wrap(value, terminal.width, NAMES, NAMES)));
    };
    // From the serialized form, so that no fact is forgotten here.
    let facts = serde_json::to_value(&facts).map_err(|error| Failure::bug(error.to_string()))?;
    for (key, value) in facts.as_object().into_iter().flatten() {
        let words = WORDS.iter().find(|(name, _)| name == key).map(|(_, words)| (*words).to_owned());
        row(&words.unwrap_or_else(|| key.replace('_', " ")), &shown(key, value));
    }
    match supported {
        Ok(()) => row("supported", "yes"),
        Err(why) => row("supported", &format!("no: {why}")),
    }
    Ok(exit::DONE)
}

fn shown(key: &str, value: &Value) -> String {
    match (key, value) {
        ("memory", Value::Number(bytes)) if bytes.as_u64() != Some(0) => {
            format!("{} MiB", bytes.as_u64().unwrap_or(0) >> 20)
        }
        (_, Value::Bool(true)) => "yes".to_owned(),
        (_, Value::Bool(false)) => "no".to_owned(),
        (_, Value::Null) => "none".to_owned(),
        ("container" | "time_daemon" | "nginx" | "web_server" | "openssl", Value::String(text))
            if text.is_empty() =>
        {
            "none".to_owned()
        }
        (_, Value::String(text)) if text.is_empty() => "unknown".to_owned(),
        ("release", Value::Number(number)) if number.as_u64() == Some(0) => "testing".to_owned(),
        (_, Value::Number(number)) if number.as_u64() == Some(0) => "unknown".to_owned(),
        (_, Value::String(text)) => text.clone(),
        (_, other) => other.to_string(),
    }
}
