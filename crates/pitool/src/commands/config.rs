//! `pitool config`: writes, checks and shows the config.

use std::path::{Path, PathBuf};

use pitool_config::{Loaded, Settings, Severity};
use pitool_host::Access;
use serde_json::json;

use crate::cli;
use crate::exit;
use crate::failure::{Failure, Result};
use crate::render::{count, failure, json as json_out};
use crate::session::{CONFIG, Session, files};

/// Does what was asked about the config.
pub(crate) fn run(session: &Session<'_, '_>, command: &cli::Config) -> Result<u8> {
    match command {
        cli::Config::Init { stdout } => init(session, *stdout),
        cli::Config::Check { files } => check(session, files),
        cli::Config::Show => show(session),
        cli::Config::Schema => {
            session.terminal.line(pitool_config::schema().trim_end());
            Ok(exit::DONE)
        }
        cli::Config::Forward { program, loki } => forward(session, *program, loki),
        cli::Config::Import { files, host, output } => {
            import(session, files, host.as_deref(), output.as_deref())
        }
    }
}

fn forward(session: &Session<'_, '_>, program: cli::Forwarder, loki: &str) -> Result<u8> {
    let host = super::monitor::machine(session, &session.supported_facts()?).host;
    let text = match program {
        cli::Forwarder::Alloy => pitool_monitor::forward::alloy(&host, loki),
        cli::Forwarder::FluentBit => pitool_monitor::forward::fluent_bit(&host, loki),
    };
    let text = text.map_err(Failure::input)?;
    session.terminal.write(&text);
    Ok(exit::DONE)
}

fn init(session: &Session<'_, '_>, stdout: bool) -> Result<u8> {
    if stdout {
        session.terminal.write(pitool_config::example());
        return Ok(exit::DONE);
    }
    let target = session.global.config.clone();
    let shown = target.as_deref().map_or_else(|| CONFIG.to_owned(), |path| path.display().to_string());
    match target {
        Some(path) => write_new(&path, pitool_config::example())?,
        None => {
            session.require_root()?;
            if session.host.stat(CONFIG)?.is_some() {
                return Err(exists(CONFIG));
            }
            if session.host.stat("/etc/pitool")?.is_none() {
                session.host.make_dir("/etc/pitool", Access::root(0o755))?;
            }
            // For root alone: people put addresses with tokens into it.
            session.host.write(CONFIG, pitool_config::example().as_bytes(), Access::root(0o600))?;
        }
    }
    session.terminal.mention(format!(
        "Wrote {shown}: every key, with its default. Edit what should be otherwise, then `pitool plan`."
    ));
    Ok(exit::DONE)
}

fn exists(path: &str) -> Failure {
    Failure::input(format!("{path} is there already; nothing was changed"))
        .hint("`pitool config init --stdout` prints the example, to compare or to keep elsewhere")
}

/// Writes a file that the person named and that must not be there.
#[expect(
    clippy::disallowed_methods,
    reason = "the person who calls names it, and what is there is not opened"
)]
fn write_new(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    let written = std::fs::File::create_new(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => exists(&path.display().to_string()),
        _ => Failure::machine(format!("cannot write {}", path.display())).because(&error),
    })
}

fn check(session: &Session<'_, '_>, named: &[PathBuf]) -> Result<u8> {
    let terminal = session.terminal;
    let fragments = if named.is_empty() { session.fragments()? } else { files(named)? };
    let (problems, ok) = match pitool_config::load(&fragments) {
        Ok(Loaded { warnings, .. }) => (warnings, true),
        Err(problems) => (problems, false),
    };
    let code = if ok { exit::DONE } else { exit::USAGE };
    let paths: Vec<String> = fragments.iter().map(|fragment| fragment.path.display().to_string()).collect();
    if terminal.json {
        let document =
            json!({ "command": "config check", "ok": ok, "files": paths, "diagnostics": problems });
        json_out::document(terminal, &document);
        return Ok(code);
    }
    failure::diagnostics(terminal, &problems);
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    let warnings = problems.len() - errors;
    let found = match (errors, warnings) {
        (0, 0) => None,
        (errors, 0) => Some(count(errors, "error")),
        (0, warnings) => Some(count(warnings, "warning")),
        (errors, warnings) => Some(format!("{}, {}", count(errors, "error"), count(warnings, "warning"))),
    };
    let what = match paths.as_slice() {
        [] => "There is no config file: every key has its default.".to_owned(),
        [path] => format!("{path}: {}.", found.unwrap_or_else(|| "good".to_owned())),
        paths => format!("{}: {}.", count(paths.len(), "file"), found.unwrap_or_else(|| "good".to_owned())),
    };
    terminal.mention(what);
    Ok(code)
}

fn show(session: &Session<'_, '_>) -> Result<u8> {
    let (settings, _) = session.settings()?;
    let terminal = session.terminal;
    if terminal.json {
        json_out::document(terminal, &json!({ "command": "config show", "config": settings }));
        return Ok(exit::DONE);
    }
    let written = |settings: &Settings| settings.to_toml().map_err(|error| Failure::bug(error.to_string()));
    terminal.write(&marked(&written(&settings)?, &written(&Settings::default())?));
    Ok(exit::DONE)
}

/// Marks the lines of a config that say what its default says anyway.
fn marked(config: &str, defaults: &str) -> String {
    let places = |text: &str| {
        let mut heading = String::new();
        let mut lines = Vec::new();
        for line in text.lines() {
            if line.starts_with('[') {
                line.clone_into(&mut heading);
            }
            lines.push((heading.clone(), line.to_owned()));
        }
        lines
    };
    let defaults = places(defaults);
    let mut shown = String::new();
    for place in places(config) {
        let line = &place.1;
        let complete = line.contains(" = ") && !line.ends_with(['[', '"']) || line.ends_with("\"");
        let is_default = complete && !line.starts_with(['[', ' ', ']']) && defaults.contains(&place);
        shown.push_str(line);
        shown.push_str(if is_default { "  # default\n" } else { "\n" });
    }
    shown
}

fn import(
    session: &Session<'_, '_>,
    named: &[PathBuf],
    host: Option<&str>,
    output: Option<&Path>,
) -> Result<u8> {
    let terminal = session.terminal;
    let imported = pitool_config::import::import(&files(named)?, host).map_err(|problems| Failure {
        message: "the import did not work; nothing was written".to_owned(),
        ..Failure::config(problems)
    })?;
    match output {
        Some(path) => {
            write_new(path, &imported.toml)?;
            terminal.mention(format!("Wrote {}.", path.display()));
        }
        None => terminal.write(&imported.toml),
    }
    for note in &imported.notes {
        terminal.say(note.to_string());
    }
    Ok(exit::DONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_marked_in_their_own_section_only() {
        let defaults = "[a]\nx = 1\ny = \"no\"\n\n[b]\nx = 2\n";
        let config = "[a]\nx = 2\ny = \"no\"\n\n[b]\nx = 2\n";
        let shown = "[a]\nx = 2\ny = \"no\"  # default\n\n[b]\nx = 2  # default\n";
        assert_eq!(marked(config, defaults), shown);
    }

    #[test]
    fn what_is_shown_is_a_config() {
        let written = Settings::default().to_toml().unwrap();
        let shown = marked(&written, &written);
        assert_eq!(toml::from_str::<toml::Table>(&shown).unwrap(), toml::from_str(&written).unwrap());
        assert!(shown.contains("# default"));
    }
}
