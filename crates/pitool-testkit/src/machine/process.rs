//! Processes of this host, told apart by pid and start time so that a reused pid is never mistaken.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A process that cannot be confused with a later one of the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    started: u64,
}

impl Process {
    /// Finds the living process of this pid; a zombie counts as dead.
    pub(crate) fn find(pid: i32) -> Option<Self> {
        let stat = stat(pid)?;
        (stat.state != 'Z' && stat.state != 'X').then_some(Self { pid, started: stat.started })
    }

    /// Names the process this code runs in.
    pub(crate) fn own() -> Result<Self> {
        Self::find(nix::unistd::getpid().as_raw()).context("reading /proc/self: is /proc mounted?")
    }

    pub(crate) fn alive(self) -> bool {
        Self::find(self.pid) == Some(self)
    }

    /// Sends SIGKILL if the process still is the one that was meant.
    pub(crate) fn kill(self) {
        if self.alive() {
            let _ = kill(Pid::from_raw(self.pid), Signal::SIGKILL);
        }
    }

    /// Writes the process the way [`Process::parse`] reads it.
    pub(crate) fn format(self) -> String {
        format!("{} {}", self.pid, self.started)
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (pid, started) = text.split_once(' ')?;
        Some(Self { pid: pid.parse().ok()?, started: started.parse().ok()? })
    }
}

struct Stat {
    state: char,
    parent: i32,
    started: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses, and may itself hold spaces and parentheses.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

/// Lists the pids of every process.
pub(crate) fn all() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Lists the living children of a process.
pub(crate) fn children(parent: i32) -> Vec<Process> {
    all()
        .into_iter()
        .filter(|&pid| stat(pid).is_some_and(|stat| stat.parent == parent))
        .filter_map(Process::find)
        .collect()
}

/// Reads the identity of the pid namespace a process lives in.
pub(crate) fn pid_namespace(pid: i32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/pid")).ok()
}

/// Lists the processes of one pid namespace; those of namespaces nested in it are not among them.
pub(crate) fn in_pid_namespace(namespace: &Path) -> Vec<Process> {
    all()
        .into_iter()
        .filter(|&pid| pid_namespace(pid).as_deref() == Some(namespace))
        .filter_map(Process::find)
        .collect()
}

/// Finds the systemd-nspawn processes that run the tree `root`, whoever started them.
pub(crate) fn nspawns_of(root: &Path) -> Vec<Process> {
    let wanted = format!("--directory={}", root.display());
    all()
        .into_iter()
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
                let mut words = line.split(|byte| *byte == 0);
                words.next().is_some_and(|program| program.ends_with(b"systemd-nspawn"))
                    && words.any(|word| word == wanted.as_bytes())
            })
        })
        .filter_map(Process::find)
        .collect()
}

/// Waits until the condition holds; false when the time is over.
pub(crate) fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs a program of this host and hands back what it printed; failure is an error that quotes its stderr.
pub(crate) fn tool<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> Result<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    let output = command.output().with_context(|| format!("starting {program}"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} failed ({}): {}", output.status, stderr.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a program of this name is on this host.
pub(crate) fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.into_iter().any(|folder| folder.join(program).is_file())
}
