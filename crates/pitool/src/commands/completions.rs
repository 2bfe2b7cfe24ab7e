//! `pitool completions`: for a shell.

use clap_complete::{Shell, generate};

use crate::cli;
use crate::exit;
use crate::render::Terminal;

/// Prints the completions for a shell.
pub(crate) fn run(terminal: &Terminal<'_>, command: &cli::Completions) -> u8 {
    let shell = match command.shell {
        cli::Shell::Bash => Shell::Bash,
        cli::Shell::Zsh => Shell::Zsh,
        cli::Shell::Fish => Shell::Fish,
    };
    let mut text = Vec::new();
    generate(shell, &mut cli::command(), "pitool", &mut text);
    terminal.write(&String::from_utf8_lossy(&text));
    exit::DONE
}
