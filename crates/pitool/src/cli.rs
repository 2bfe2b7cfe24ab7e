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
  6  another pitool is at work
  10 health, cert status: it works, but something needs attention";

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
    /// Look after this machine's certificate
    #[command(subcommand)]
    Cert(Cert),
    /// Save, list, verify and restore backups
    #[command(subcommand)]
    Backup(Backup),
    /// Say how the machine is
    ///
    /// Looks at processors, memory, disks, heat, power, services, containers, sites, certificates, backups and more, and says
    /// of each whether it is ok, with the threshold and what to do. Exits with 0 when all is ok, with 10 when something needs a
    /// look or could not be found out, with 1 when something does not work.
    Health,
    /// Show what the monitor knows: state, alerts, runs, what comes next
    Status(Status),
    /// Watch the machine, serve metrics and the status page, send alerts (the service pitool-monitor runs this)
    Monitor(Monitor),
    /// Try out whether alerts arrive; ping for a job
    #[command(subcommand)]
    Alert(Alert),
    /// Show every signal with its source, and the known traps of this machine
    Doctor,
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
    /// Roles: common, security, docker, monitoring, app, ssl, backup; all when none is named
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

    /// Close ports in use too, which otherwise stay open until the config names them
    #[arg(long)]
    pub close_ports: bool,
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

    /// Close ports in use too, which otherwise stay open until the config names them
    #[arg(long)]
    pub close_ports: bool,

    /// Let this run take away the login that it is typed in: its port, user, key or sudo
    #[arg(long)]
    pub cut_login: bool,
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

    /// Let this run take away the login that it is typed in: its port, user, key or sudo, or the last way in
    #[arg(long)]
    pub cut_login: bool,
}

/// `history`.
#[derive(Clone, Debug, Args)]
pub struct History {
    /// The run to tell about
    #[arg(value_name = "RUN")]
    pub run: Option<u32>,
}

/// `cert …`.
#[derive(Clone, Debug, Subcommand)]
pub enum Cert {
    /// Ask for the certificate now, if there is none that is good
    ///
    /// Does not wait after a failure: type it when you have put right what was wrong.
    Issue,
    /// Do what is due: renew, load, run hooks that failed
    ///
    /// What the timer does several times a day. After a failure it waits 1, 10 and 100 minutes, then a day.
    Renew {
        /// Renew even if it is not due
        #[arg(long)]
        force: bool,
    },
    /// Show the certificates, as stored and as served
    ///
    /// Exits with 10 when one runs out soon, is not the one that is served, or is missing.
    Status {
        /// Look at these servers instead: HOST, HOST:PORT
        #[arg(value_name = "HOST:PORT")]
        hosts: Vec<String>,
    },
    /// List every stored certificate with its generations
    List,
    /// Take over certbot's certificate and account, without asking for a new one
    Import {
        /// What certbot calls the certificate; the only one, or the one that the config names, when none is given
        #[arg(value_name = "NAME")]
        name: Option<String>,
        /// Where certbot's files are
        #[arg(long, value_name = "DIR", default_value = "/etc/letsencrypt")]
        from: String,
    },
}

/// `backup …`.
#[derive(Clone, Debug, Subcommand)]
pub enum Backup {
    /// Save sets, copy the archives to their targets, delete old ones
    ///
    /// Exits with 0 only when everything was saved, verified and copied everywhere. An archive that lacks something is
    /// kept all the same.
    Run(BackupRun),
    /// Show what is saved, where, when next, and what is overdue
    List(BackupList),
    /// Look whether archives are as they were written
    Verify(BackupVerify),
    /// Bring files back
    ///
    /// In their place, with services stopped meanwhile and what is replaced kept aside; or with --to somewhere else.
    Restore(BackupRestore),
    /// Delete archives that no rule wants
    Prune(BackupPrune),
    /// Restore the newest archives on trial, and compare every hash and open every database
    Drill(BackupSets),
    /// Show sizes, counts and times
    Stats(BackupSets),
    /// Start what a backup that was cut off had stopped
    ///
    /// Done by itself at boot and by the next backup.
    Recover,
}

/// Sets on the command line.
#[derive(Clone, Debug, Default, Args)]
pub struct BackupSets {
    /// Sets; all when none is named
    #[arg(value_name = "SET")]
    pub sets: Vec<String>,
}

/// `backup run`.
#[derive(Clone, Debug, Args)]
pub struct BackupRun {
    /// What to save.
    #[command(flatten)]
    pub sets: BackupSets,

    /// Take a target that lost its marker, or has another one: a new disk
    #[arg(long)]
    pub adopt: bool,
}

/// `backup list`.
#[derive(Clone, Debug, Args)]
pub struct BackupList {
    /// What to list.
    #[command(flatten)]
    pub sets: BackupSets,

    /// Ask this target what it has, instead of what is known of it
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,
}

/// `backup verify`.
#[derive(Clone, Debug, Args)]
pub struct BackupVerify {
    /// Sets, or single archives; the newest of every set when none is named
    #[arg(value_name = "SET|ARCHIVE")]
    pub what: Vec<String>,

    /// Decode everything and compare every entry, not only the whole file
    #[arg(long)]
    pub full: bool,

    /// Every archive of the sets, not only the newest
    #[arg(long)]
    pub all: bool,

    /// At this target instead of here
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,
}

/// `backup restore`.
#[derive(Clone, Debug, Args)]
pub struct BackupRestore {
    /// A set, of which the newest archive is taken, or an archive
    #[arg(value_name = "SET|ARCHIVE")]
    pub what: String,

    /// Only these files and directories, as they were saved
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,

    /// Into this directory instead of where it was
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,

    /// From this target instead of from here
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,

    /// Delete what is in restored directories and not in the archive
    #[arg(long)]
    pub exact: bool,

    /// Also restore paths of the archive that its set in the config does not have
    #[arg(long, conflicts_with = "to")]
    pub unlisted_paths: bool,

    /// Keep no copy of what is replaced
    #[arg(long, conflicts_with = "to")]
    pub no_copy: bool,

    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// `backup prune`.
#[derive(Clone, Debug, Args)]
pub struct BackupPrune {
    /// Of which sets.
    #[command(flatten)]
    pub sets: BackupSets,

    /// Only show what would stay and what would go, with the reasons
    #[arg(long)]
    pub dry_run: bool,

    /// At this target instead of everywhere
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,

    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// `status`.
#[derive(Clone, Debug, Args)]
pub struct Status {
    /// Print the status page instead
    #[arg(long, conflicts_with = "json")]
    pub html: bool,
}

/// `monitor`.
#[derive(Clone, Debug, Args)]
pub struct Monitor {
    /// Watch what this file says, instead of what the config says
    #[arg(long, value_name = "FILE")]
    pub setup: Option<PathBuf>,
}

/// `alert …`.
#[derive(Clone, Debug, Subcommand)]
pub enum Alert {
    /// Send a test message through every sink, or through one
    Test {
        /// ntfy, webhook, slack or mail
        #[arg(value_name = "SINK")]
        sink: Option<String>,
    },
    /// Ping the dead-man switch of a job
    ///
    /// For units that do the work: ExecStartPre=-/usr/bin/pitool alert ping backup start. Text on standard input goes along.
    Ping {
        /// The job
        job: PingJob,
        /// What happened
        moment: PingMoment,
    },
}

/// Jobs that have a dead-man switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PingJob {
    /// The machine lives
    Heartbeat,
    /// A backup
    Backup,
    /// A rehearsed restore
    Drill,
    /// The renewal of certificates
    Renewal,
}

/// What happened to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PingMoment {
    /// It begins
    Start,
    /// It is done
    Success,
    /// It failed
    Fail,
}

/// Programs that send logs to Loki.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Forwarder {
    /// Grafana Alloy
    Alloy,
    /// Fluent Bit
    FluentBit,
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
    /// Print a config for a program that sends this machine's logs to Loki
    Forward {
        /// The program
        program: Forwarder,
        /// Loki's address, such as https://loki.example.org
        #[arg(value_name = "URL")]
        loki: String,
    },
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
