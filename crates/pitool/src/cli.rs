//! The command line: what a person can type. Man pages and completions are made from the same definitions.

use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

/// Sets up a Raspberry Pi, keeps it so, and can go back
///
/// pitool reads /etc/pitool/pitool.toml and /etc/pitool/conf.d/*.toml. No file at all is a valid config: every key
/// has a default that is right for a fresh Raspberry Pi.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "pitool",
    version,
    propagate_version = false,
    disable_help_subcommand = true,
    arg_required_else_help = true,
    styles = STYLES,
    after_help = AFTER_HELP,
    max_term_width = 100
)]
pub struct Cli {
    /// What every command understands.
    #[command(flatten)]
    pub global: Global,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Yellow.on_default().bold())
    .usage(AnsiColor::Yellow.on_default().bold())
    .literal(AnsiColor::Green.on_default())
    .placeholder(AnsiColor::Cyan.on_default());

const AFTER_HELP: &str = "\
Exit codes:
  0  done, or nothing to do
  1  failed
  2  plan: something would change
  3  wrong usage or config; nothing was changed
  4  a step failed, and everything was taken back
  5  going back is incomplete
  6  another pitool is at work";

/// Options that every command understands.
#[derive(Clone, Debug, Default, Args)]
pub struct Global {
    /// Read this config file only, instead of those in /etc/pitool
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub config: Option<PathBuf>,

    /// Work on the machine whose root directory this is: a mounted card or image
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub root: Option<PathBuf>,

    /// Print JSON for programs
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,

    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", help_heading = "Global options")]
    pub color: Color,

    /// Say only what matters
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Global options")]
    pub quiet: bool,

    /// Say more: every package, every promise
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub verbose: bool,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Show what would change
    ///
    /// Looks at the machine and changes nothing. Exits with 0 when nothing would change, with 2 when something would.
    Plan(Plan),
    /// Make the machine what the config says
    ///
    /// Shows the plan, writes down what is there now, carries the plan out and asks whether its promises are in
    /// force. A run that fails is taken back.
    Apply(Apply),
    /// Go back to what was there before a run
    Rollback(Rollback),
    /// List the runs on this machine, or tell about one
    History(History),
    /// Show what pitool knows of this machine
    Facts,
    /// Write, check and show the config
    #[command(subcommand)]
    Config(Config),
    /// Prepare a card that sets itself up at its first boot
    #[command(subcommand)]
    Image(Image),
    /// Print the completions for a shell
    Completions(Completions),
}

/// Roles on the command line.
#[derive(Clone, Debug, Default, Args)]
pub struct Roles {
    /// Roles: common, security, docker, monitoring, app; all when none is named
    #[arg(value_name = "ROLE")]
    pub roles: Vec<String>,
}

/// `plan`.
#[derive(Clone, Debug, Args)]
pub struct Plan {
    /// The roles to look at.
    #[command(flatten)]
    pub roles: Roles,

    /// Show the difference of each file
    #[arg(long)]
    pub diff: bool,

    /// Plan to undo what the config no longer mentions
    #[arg(long)]
    pub prune: bool,
}

/// `apply`.
#[derive(Clone, Debug, Args)]
pub struct Apply {
    /// The roles to apply.
    #[command(flatten)]
    pub roles: Roles,

    /// Only show what would change, as plan does
    #[arg(long)]
    pub check: bool,

    /// Show the difference of each file
    #[arg(long)]
    pub diff: bool,

    /// Ask whether every promise is in force, even if nothing changes
    #[arg(long, conflicts_with = "check")]
    pub verify: bool,

    /// Undo what the config no longer mentions
    #[arg(long)]
    pub prune: bool,
}

/// `rollback`.
#[derive(Clone, Debug, Args)]
pub struct Rollback {
    /// The run's number; the last one that stands when none is given
    #[arg(value_name = "RUN")]
    pub run: Option<u32>,

    /// Only show what would come back
    #[arg(long)]
    pub check: bool,

    /// Show the difference of each file
    #[arg(long)]
    pub diff: bool,
}

/// `history`.
#[derive(Clone, Debug, Args)]
pub struct History {
    /// The run to tell about
    #[arg(value_name = "RUN")]
    pub run: Option<u32>,
}

/// `config …`.
#[derive(Clone, Debug, Subcommand)]
pub enum Config {
    /// Write an annotated config to /etc/pitool/pitool.toml
    Init {
        /// Print it instead
        #[arg(long)]
        stdout: bool,
    },
    /// Say what is wrong with the config
    Check {
        /// Files to check together, in this order, instead of the machine's own
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Show the config in effect, defaults included
    Show,
    /// Print the JSON schema of the config
    Schema,
    /// Turn an Ansible inventory or vars files into a config
    Import {
        /// hosts.yml, group_vars/*.yml, host_vars/*.yml, and files given with -e
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        /// The host whose variables count
        #[arg(long, value_name = "NAME")]
        host: Option<String>,
        /// Write the config here instead of printing it
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// `image …`.
#[derive(Clone, Debug, Subcommand)]
pub enum Image {
    /// Have a freshly written card install pitool and apply a config at its first boot
    ///
    /// For images with cloud-init, such as current Raspberry Pi OS. What Raspberry Pi Imager wrote onto the card stays
    /// as it is. --config names the config for the card; without it every key has its default. How the first boot went
    /// stands in pitool/report.txt on the boot partition afterwards.
    Seed {
        /// Where the card's boot partition is mounted on this computer
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// The package to install, of the image's architecture
        #[arg(long, value_name = "FILE")]
        deb: Option<PathBuf>,
    },
}

/// `completions`.
#[derive(Clone, Debug, Args)]
pub struct Completions {
    /// The shell
    pub shell: Shell,
}

/// Shells that completions are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// bash
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}

/// The whole command line, for man pages and completions.
pub fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_definitions_are_sound() {
        super::command().debug_assert();
    }
}
