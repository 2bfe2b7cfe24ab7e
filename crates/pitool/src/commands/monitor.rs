//! `pitool monitor`: the service.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use pitool_monitor::setup::Setup;
use pitool_monitor::status::Machine;

use crate::cli;
use crate::exit;
use crate::failure::{Failure, Result};
use crate::session::{Session, file};

/// Runs until it is told to stop.
pub(crate) fn run(session: &Session<'_, '_>, command: &cli::Monitor) -> Result<u8> {
    super::health::require_live(session)?;
    session.require_root()?;
    let facts = session.supported_facts()?;
    let setup = match &command.setup {
        Some(path) => {
            let text = String::from_utf8_lossy(&file(path)?.bytes).into_owned();
            Setup::from_toml(&text).map_err(|error| {
                Failure::input(format!("{} is not what this pitool writes", path.display()))
                    .because(&error)
                    .hint("`sudo pitool apply monitoring` writes it anew")
            })?
        }
        None => pitool_roles::setup(&session.settings()?.0, &facts),
    };
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stop))
            .map_err(|error| Failure::machine("cannot listen to signals").because(&error))?;
    }
    let machine = machine(session, &facts);
    let zone = session.clock().zone().clone();
    pitool_monitor::service::run(setup, machine, zone, stop, |line| {
        // The journal; where nobody reads it, nobody is missed.
        let _ = writeln!(std::io::stderr(), "{}", crate::render::visible(line, false));
    })
    .map_err(|error| Failure::machine(error.to_string()).because_of(&error))?;
    Ok(exit::DONE)
}

/// What this machine is called and what it is.
pub(crate) fn machine(session: &Session<'_, '_>, facts: &pitool_host::Facts) -> Machine {
    let name = session.inspect().read("/proc/sys/kernel/hostname").ok().flatten();
    let host = name.map(|name| String::from_utf8_lossy(name.bytes()).trim().to_owned()).unwrap_or_default();
    Machine {
        host: if host.is_empty() { "this machine".to_owned() } else { host },
        model: facts.model.clone(),
        os: facts.os_name.clone(),
        kernel: facts.kernel.clone(),
    }
}
