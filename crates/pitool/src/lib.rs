//! The program `pitool`: its command line, its commands and everything that it prints.
//!
//! [`start`] is the program on the real machine. [`run`] is the same for any [`Host`] and any streams, so that a test
//! runs whole commands on a simulated machine. A command reads the config and the facts, asks the roles what they
//! want, has the engine plan or apply it, and hands the outcome to [`render`]. It decides nothing about the machine.
//!
//! Start reading at [`cli`], then at `commands/plan.rs` and `commands/apply.rs`.

mod backup;
pub mod cli;
mod commands;
pub mod exit;
pub mod failure;
pub mod render;
mod session;

use std::ffi::OsString;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser;
use clap::error::ErrorKind;
use pitool_host::Host;
use pitool_host::local::Local;

use cli::{Cli, Command, Global};
use failure::{Failure, Result};
use render::{Streams, Terminal};
pub use session::Caller;
use session::Session;

/// Runs pitool on this machine, or on the root that its arguments name.
pub fn start() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if pitool_backup::is_database_reader(&arguments) {
        return pitool_backup::serve_databases();
    }
    let streams = Streams::standard();
    let code = match parse(&arguments, streams) {
        Ok((cli, terminal)) => {
            let stop = Arc::new(AtomicBool::new(false));
            let caller = Caller {
                root: nix::unistd::geteuid().is_root(),
                command: command_line(&arguments),
                stop: Arc::clone(&stop),
            };
            finish(
                &terminal,
                open(&cli, &terminal, stop).and_then(|host| dispatch(&cli, &host, &terminal, &caller)),
            )
        }
        Err(code) => code,
    };
    ExitCode::from(code)
}

/// Runs one command line, whose first word is the program's name, on a machine; returns its exit code.
///
/// `--root` is left to whoever made the host.
pub fn run(
    arguments: impl IntoIterator<Item = impl Into<OsString>>,
    host: &dyn Host,
    root: bool,
    streams: Streams<'_>,
) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    match parse(&arguments, streams) {
        Ok((cli, terminal)) => {
            let caller = Caller { root, command: command_line(&arguments), stop: Arc::default() };
            finish(&terminal, dispatch(&cli, host, &terminal, &caller))
        }
        Err(code) => code,
    }
}

/// Understands a command line; help and wrong usage are printed at once.
fn parse<'a>(arguments: &[OsString], streams: Streams<'a>) -> std::result::Result<(Cli, Terminal<'a>), u8> {
    match Cli::try_parse_from(arguments) {
        Ok(cli) => {
            let terminal = Terminal::new(streams, &cli.global);
            Ok((cli, terminal))
        }
        Err(error) => {
            let colors = if error.use_stderr() { streams.stderr_colors } else { streams.stdout_colors };
            let text = if colors { error.render().ansi().to_string() } else { error.render().to_string() };
            let terminal = Terminal::new(streams, &Global::default());
            if error.use_stderr() {
                terminal.say(text.trim_end());
            } else {
                terminal.write(&text);
            }
            Err(match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => exit::DONE,
                _ => exit::USAGE,
            })
        }
    }
}

/// The command line as a person would type it again.
fn command_line(arguments: &[OsString]) -> String {
    let words = arguments.iter().skip(1).map(|word| word.to_string_lossy().into_owned());
    std::iter::once("pitool".to_owned())
        .chain(words.map(|word| if word.contains([' ', '"', '\'']) { format!("{word:?}") } else { word }))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Opens the machine and has signals stop a run between two steps.
fn open(cli: &Cli, terminal: &Terminal<'_>, stop: Arc<AtomicBool>) -> Result<Local> {
    let root = cli.global.root.as_deref().unwrap_or(std::path::Path::new("/"));
    let root = root
        .to_str()
        .ok_or_else(|| Failure::input(format!("the root {} has a name that is not UTF-8", root.display())))?;
    let local = Local::new(root).map_err(|error| Failure { exit: exit::USAGE, ..Failure::from(error) })?;
    let live = Rc::clone(&terminal.live);
    let changes = match &cli.command {
        Command::Apply(apply) => !apply.check,
        Command::Rollback(rollback) => !rollback.check,
        Command::Cert(cert) => !matches!(cert, cli::Cert::Status { .. } | cli::Cert::List),
        Command::Backup(_) => true,
        _ => false,
    };
    if changes {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
        // A lost ssh connection is no wish to stop: the run goes on, and its journal tells what came of it.
        let unheard = Arc::new(AtomicBool::new(false));
        for (signal, flag) in [(SIGINT, &stop), (SIGTERM, &stop), (SIGHUP, &unheard)] {
            signal_hook::flag::register(signal, Arc::clone(flag))
                .map_err(|error| Failure::machine("cannot listen to signals").because(&error))?;
        }
        if matches!(cli.command, Command::Apply(_) | Command::Rollback(_)) && !cli.global.quiet {
            answer_signals().map_err(|error| Failure::machine("cannot listen to signals").because(&error))?;
        }
    }
    Ok(local.with_progress(Box::new(move |progress| live.hear(&progress))).with_interrupt(stop))
}

/// Tells a person who presses ^C at once that it was heard: a step may take minutes, and is never cut short.
fn answer_signals() -> std::io::Result<()> {
    use std::io::Write;

    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for _ in &mut signals {
            // In one write, so that no progress gets in between; where nobody listens, nothing is lost.
            let _ = std::io::stderr()
                .write_all(b"\nStopping after this step; what it began is completed first.\n");
        }
    })?;
    Ok(())
}

fn dispatch(cli: &Cli, host: &dyn Host, terminal: &Terminal<'_>, caller: &Caller) -> Result<u8> {
    let session = Session::new(host, terminal, &cli.global, caller);
    match &cli.command {
        Command::Plan(command) => commands::plan::run(&session, command),
        Command::Apply(command) => commands::apply::run(&session, command),
        Command::Rollback(command) => commands::rollback::run(&session, command),
        Command::History(command) => commands::history::run(&session, command),
        Command::Facts => commands::facts::run(&session),
        Command::Cert(command) => commands::cert::run(&session, command),
        Command::Backup(command) => commands::backup::run(&session, command),
        Command::Health => commands::health::run(&session),
        Command::Status(command) => commands::status::run(&session, command),
        Command::Monitor(command) => commands::monitor::run(&session, command),
        Command::Alert(command) => commands::alert::run(&session, command),
        Command::Doctor => commands::doctor::run(&session),
        Command::Config(command) => commands::config::run(&session, command),
        Command::Image(command) => commands::image::run(&session, command),
        Command::Completions(command) => Ok(commands::completions::run(terminal, command)),
    }
}

/// Prints why a command could not do its work, and decides its exit code.
fn finish(terminal: &Terminal<'_>, result: Result<u8>) -> u8 {
    terminal.live.finish();
    let code = match result {
        Ok(code) => code,
        Err(failure) => {
            if terminal.json {
                render::json::failure(terminal, &failure);
            }
            render::failure::show(terminal, &failure);
            failure.exit
        }
    };
    match terminal.lost() {
        Some(kind) if code == exit::DONE => {
            terminal.say(format!("error: the output could not be written: {kind}"));
            exit::FAILED
        }
        _ => code,
    }
}
