//! The programs that a simulated machine knows, and what they are handed.

use std::cell::{Ref, RefCell};

use pitool_host::{Command, Error, Host, Output, Result};

use crate::sim::{Fault, Sim};
use crate::world::{World, errno};
use crate::{accounts, answers, apt, docker, kernel, locale, login, swap, systemctl, ufw, validators};

/// Why a program stops before its end.
pub(crate) enum Stop {
    /// The machine itself failed.
    Broken(Error),
    /// The program gives up with this status.
    Status(i32),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

/// How a program ends: its status.
pub(crate) type Ending = std::result::Result<i32, Stop>;

/// A program: it is handed its surroundings and its arguments.
type Program = fn(&mut Shell<'_>, &[&str]) -> Ending;

/// Every program that there is, unless it comes with a package that is not installed ([`Shell::world`] knows).
const PROGRAMS: &[(&str, &str, Program)] = &[
    ("apt-cache", "", apt::cache),
    ("apt-config", "", answers::apt_config),
    ("apt-get", "", apt::get),
    ("apt-mark", "", apt::mark),
    ("bash", "", answers::bash),
    ("blkid", "", swap::blkid),
    ("curl", "curl", answers::curl),
    ("docker", "", docker::docker),
    ("dockerd", "", validators::dockerd),
    ("dpkg", "", apt::dpkg),
    ("dpkg-query", "", apt::dpkg_query),
    ("fail2ban-client", "fail2ban", validators::fail2ban_client),
    ("fallocate", "", swap::fallocate),
    ("false", "", |_, _| Ok(1)),
    ("gpasswd", "", accounts::gpasswd),
    ("groupadd", "", accounts::groupadd),
    ("groupdel", "", accounts::groupdel),
    ("hostname", "", kernel::hostname),
    ("iptables", "iptables", answers::iptables),
    // The simulated services say nothing.
    ("journalctl", "", |_, _| Ok(0)),
    ("locale", "", locale::locale),
    ("locale-gen", "locales", locale::locale_gen),
    ("logrotate", "logrotate", validators::logrotate),
    ("mkswap", "", swap::mkswap),
    ("nginx", "nginx", validators::nginx),
    ("setpriv", "", login::setpriv),
    ("ss", "", answers::ss),
    ("sshd", "openssh-server", validators::sshd),
    ("su", "", answers::su),
    ("sudo", "sudo", login::sudo),
    ("swapoff", "", swap::swapoff),
    ("swapon", "", swap::swapon),
    ("sysctl", "", kernel::sysctl),
    ("systemctl", "", systemctl::systemctl),
    ("systemd-analyze", "", answers::systemd_analyze),
    ("timedatectl", "", locale::timedatectl),
    ("true", "", |_, _| Ok(0)),
    ("ufw", "ufw", ufw::ufw),
    ("uname", "", kernel::uname),
    ("useradd", "", accounts::useradd),
    ("userdel", "", accounts::userdel),
    ("usermod", "", accounts::usermod),
    ("visudo", "sudo", validators::visudo),
];

/// The surroundings of one run of a program.
pub(crate) struct Shell<'a> {
    sim: &'a Sim,
    world: &'a RefCell<World>,
    question: bool,
    /// The command that is run.
    pub(crate) command: &'a Command,
    line: &'a mut dyn FnMut(&str),
    stdout: String,
    stderr: String,
}

/// Answers a question about this world, which may be another than the machine's own.
pub(crate) fn ask(sim: &Sim, world: &RefCell<World>, command: &Command) -> Result<Output> {
    execute(sim, world, true, command, &mut |_| {})
}

/// Runs a command on the machine.
pub(crate) fn run(sim: &Sim, command: &Command, line: &mut dyn FnMut(&str)) -> Result<Output> {
    execute(sim, &sim.world, false, command, line)
}

fn execute(
    sim: &Sim,
    world: &RefCell<World>,
    question: bool,
    command: &Command,
    line: &mut dyn FnMut(&str),
) -> Result<Output> {
    let name = command.program.rsplit('/').next().unwrap_or_default();
    let Some((_, package, program)) = PROGRAMS.iter().find(|(known, ..)| *known == name) else {
        // A test that runs what the simulator does not know must not go on as if it had worked.
        panic!("the simulated machine does not know `{}`", command.display());
    };
    let no_such_file = || Error::Start {
        program: command.program.clone(),
        source: std::io::Error::from_raw_os_error(errno::ENOENT),
    };
    if !package.is_empty() && !world.borrow().unpacked(package) {
        return Err(no_such_file());
    }
    let packages: &[&str] = match name {
        "dockerd" => &["docker.io", "docker-ce"],
        // Debian 12 has the client in docker.io, too.
        "docker" if world.borrow().debian_12() => &["docker.io", "docker-ce-cli"],
        "docker" => &["docker-cli", "docker-ce-cli"],
        _ => &[],
    };
    if !packages.is_empty() && !packages.iter().any(|package| world.borrow().unpacked(package)) {
        return Err(no_such_file());
    }
    match sim.fault(&command.display()) {
        Some(Fault::Hangs) => {
            return Err(Error::Timeout { command: command.display(), limit: command.timeout });
        }
        Some(Fault::Takes(time)) => {
            sim.sleep(time.min(command.timeout));
            let output = execute(sim, world, question, command, line)?;
            let timeout = || Error::Timeout { command: command.display(), limit: command.timeout };
            return if time > command.timeout { Err(timeout()) } else { Ok(output) };
        }
        Some(Fault::Fails(status, words)) => {
            return Ok(Output { status, stdout: String::new(), stderr: words });
        }
        Some(fault) => {
            return Ok(Output {
                status: 1,
                stdout: String::new(),
                stderr: format!("{name}: {}", fault.words()),
            });
        }
        None => {}
    }
    let mut shell =
        Shell { sim, world, question, command, line, stdout: String::new(), stderr: String::new() };
    let args: Vec<&str> = command.words().collect();
    let status = match program(&mut shell, &args) {
        Ok(status) | Err(Stop::Status(status)) => status,
        Err(Stop::Broken(error)) => return Err(error),
    };
    Ok(Output { status, stdout: shell.stdout, stderr: shell.stderr })
}

impl Shell<'_> {
    /// The machine as it is.
    pub(crate) fn world(&self) -> Ref<'_, World> {
        self.world.borrow()
    }

    /// Prints a line on standard output.
    pub(crate) fn say(&mut self, line: impl AsRef<str>) {
        (self.line)(line.as_ref());
        self.stdout.push_str(line.as_ref());
        self.stdout.push('\n');
    }

    /// Prints on standard output without ending the line.
    pub(crate) fn print(&mut self, text: &str) {
        self.stdout.push_str(text);
    }

    /// Prints a line on standard error.
    pub(crate) fn complain(&mut self, line: impl AsRef<str>) {
        self.stderr.push_str(line.as_ref());
        self.stderr.push('\n');
    }

    /// Prints a line on standard error and ends the program with this status.
    pub(crate) fn fail<T>(&mut self, status: i32, line: impl AsRef<str>) -> std::result::Result<T, Stop> {
        self.complain(line);
        Err(Stop::Status(status))
    }

    /// Makes one change to the machine; a fault that a test asked for ends the program here.
    pub(crate) fn change<T>(
        &mut self,
        what: &str,
        change: impl FnOnce(&mut World) -> T,
    ) -> std::result::Result<T, Stop> {
        match self.attempt(what, change)? {
            Ok(value) => Ok(value),
            Err(fault) => {
                self.fail(if let Fault::Fails(status, _) = fault { status } else { 1 }, fault.words())
            }
        }
    }

    /// Makes one change to the machine; a fault that a test asked for comes back.
    pub(crate) fn attempt<T>(
        &mut self,
        what: &str,
        change: impl FnOnce(&mut World) -> T,
    ) -> std::result::Result<std::result::Result<T, Fault>, Stop> {
        assert!(!self.question, "the question `{}` changes the machine: {what}", self.command.display());
        match self.sim.fault(what) {
            Some(fault) => Ok(Err(fault)),
            None => Ok(Ok(self.sim.change(what, change)?)),
        }
    }

    /// Ends in a panic: the arguments are none that the simulator knows.
    pub(crate) fn unknown(&self) -> ! {
        panic!("the simulated {} does not know `{}`", self.command.program, self.command.display());
    }

    /// Whether there is no network.
    pub(crate) fn offline(&self) -> bool {
        self.sim.offline.get()
    }

    /// Whether this is another root where nothing runs.
    pub(crate) fn away(&self) -> bool {
        self.sim.away.get()
    }

    /// Waits until the other apt is done, at most so many seconds; `false` when it still holds its locks then.
    pub(crate) fn wait_for_apt(&mut self, patience: i64) -> bool {
        let Some(until) = self.sim.apt_lock.get() else { return true };
        let now = self.world.borrow().clock;
        let left = until.duration_since(now).as_secs();
        if left > 0 && patience > 0 {
            self.say("Waiting for cache lock: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 1234 (unattended-upgr)");
            let slept = jiff::SignedDuration::from_secs(left.min(patience));
            self.world.borrow_mut().clock += slept;
        }
        let free = left <= patience || left <= 0;
        if free {
            self.sim.apt_lock.set(None);
        }
        free
    }
}
