//! The table of the programs that a simulated machine knows.

use std::cell::RefCell;

use pitool_host::{Command, Error, Host, Output, Result};

use crate::shell::{Ending, Shell, Stop};
use crate::sim::{Fault, Sim};
use crate::world::{World, errno};
use crate::{accounts, answers, apt, docker, kernel, locale, login, swap, systemctl, ufw, validators};

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
    let mut shell = Shell::new(sim, world, question, command, line);
    let args: Vec<&str> = command.words().collect();
    let status = match program(&mut shell, &args) {
        Ok(status) | Err(Stop::Status(status)) => status,
        Err(Stop::Broken(error)) => return Err(error),
    };
    Ok(shell.end(status))
}
