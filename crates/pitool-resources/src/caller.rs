//! The ssh login in which pitool was typed in.

use pitool_host::parse::accounts::Accounts;
use pitool_host::parse::proc_pid_stat;
use pitool_host::{Inspect, Result};

/// An ssh login that an ancestor of this process belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The user who logged in.
    pub(crate) user: String,
    /// The address that the connection comes from.
    pub(crate) address: String,
    /// The port that it comes from.
    pub(crate) from_port: String,
    /// The port of this machine that it came in through.
    pub(crate) port: u16,
}

/// More processes than lie between a login and a command: shells, sudo, tmux.
const ANCESTORS: usize = 64;

/// Finds the login; `None` on a console, in a timer, on a serial line.
///
/// `SSH_CONNECTION` (ssh(1)) is in the environment of the process that sshd started and of what inherits it; sudo does
/// not hand it on (sudoers(5), `env_reset`). The process farthest up that has it runs as the user who logged in.
pub(crate) fn caller(host: &dyn Inspect) -> Result<Option<Caller>> {
    if !host.live() {
        return Ok(None);
    }
    let text = |path: &str| {
        let content = host.read(path).ok()??;
        Some(String::from_utf8_lossy(content.bytes()).into_owned())
    };
    let mut found = host.variable("SSH_CONNECTION").map(|connection| (connection, "self".to_owned()));
    let mut process = "self".to_owned();
    for _ in 0..ANCESTORS {
        let Some(stat) = text(&format!("/proc/{process}/stat")) else { break };
        match proc_pid_stat::field(&stat, proc_pid_stat::PPID) {
            Some(parent) if !matches!(parent, "0" | "1") => parent.clone_into(&mut process),
            _ => break,
        }
        let environment = text(&format!("/proc/{process}/environ")).unwrap_or_default();
        let connection = environment
            .split('\0')
            .find_map(|variable| variable.strip_prefix("SSH_CONNECTION=").map(str::to_owned));
        match (&found, connection) {
            // Another connection farther up is one that this login was made from, such as tmux's first.
            (Some((nearest, _)), Some(connection)) if *nearest != connection => break,
            (_, Some(connection)) => found = Some((connection, process.clone())),
            (_, None) => {}
        }
    }
    let Some((connection, process)) = found else { return Ok(None) };
    let words: Vec<&str> = connection.split_whitespace().collect();
    let [address, from_port, _, port] = words[..] else { return Ok(None) };
    let Ok(port) = port.parse() else { return Ok(None) };
    let status = text(&format!("/proc/{process}/status")).unwrap_or_default();
    let uid =
        status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().next()?.parse().ok());
    let accounts = Accounts::read(host)?;
    let user = accounts.users.iter().find(|user| user.uid == uid.unwrap_or(0));
    let user = user.map_or_else(|| "root".to_owned(), |user| user.name.clone());
    Ok(Some(Caller { user, address: address.to_owned(), from_port: from_port.to_owned(), port }))
}
