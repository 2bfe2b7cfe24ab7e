//! Guards that keep a setting from locking everybody out.

use pitool_host::parse::accounts::{Accounts, Password};
use pitool_host::parse::{authorized_keys, sshd_config};
use pitool_host::{ActiveState, Command, Inspect, Result};
use serde::{Deserialize, Serialize};

/// What must be true of the ways in before a setting may close one of them (trap T16).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoginGuard {
    /// Before password logins are turned off: somebody who may use sudo (or root, where root may log in by key)
    /// has a key that parses, or the session that runs pitool came in by key.
    Key {
        /// Whether root may still log in by key.
        root: bool,
    },
    /// Before root's login is turned off: somebody else who may use sudo has a key, or a password that is still
    /// accepted.
    OtherThanRoot {
        /// Whether passwords are accepted.
        passwords: bool,
    },
    /// Before sshd moves to another port: systemd does not listen for it. While ssh.socket does, sshd's own `Port` has
    /// no effect (trap T15), and every session holds the old port until it ends.
    OwnSocket,
    /// Before logins are limited to some users: one of them may use sudo (or is root) and has a key, or a password
    /// that is still accepted.
    Among {
        /// The users who may still log in.
        users: Vec<String>,
        /// Whether passwords are accepted.
        passwords: bool,
        /// Whether root may log in.
        #[serde(default)]
        root: bool,
    },
}

/// Groups whose members may use sudo on Debian and Raspberry Pi OS.
const SUDO_GROUPS: [&str; 3] = ["sudo", "admin", "wheel"];

impl LoginGuard {
    /// Why the setting must wait, as a sentence that says what to do; `None` when it may come.
    pub fn objection(&self, host: &dyn Inspect) -> Result<Option<String>> {
        if *self == Self::OwnSocket {
            return socket_listens(host);
        }
        let accounts = Accounts::read(host)?;
        let admins: Vec<String> = SUDO_GROUPS
            .iter()
            .flat_map(|group| accounts.members(group))
            .filter(|user| *user != "root" && may_log_in(&accounts, user))
            .map(str::to_owned)
            .collect();
        if let Self::Among { users, passwords, root } = self {
            let passwords = passwords_accepted(host, *passwords)?;
            return among(host, &accounts, &admins, users, passwords, *root);
        }
        let becomes_root = matches!(self, Self::OtherThanRoot { .. });
        for user in &admins {
            if has_key(host, &accounts, user)? && (!becomes_root || may_become_root(host, &accounts, user)?) {
                return Ok(None);
            }
        }
        let names = if admins.is_empty() {
            "no user may use sudo".to_owned()
        } else {
            format!("sudo users: {}", admins.join(", "))
        };
        match self {
            Self::Among { .. } | Self::OwnSocket => Ok(None),
            Self::Key { root } => {
                if (*root && has_key(host, &accounts, "root")?) || session_by_key(host)? {
                    return Ok(None);
                }
                Ok(Some(format!(
                    "password logins stay on, because nobody could log in without one: no user with sudo rights has a \
                     valid key ({names}). Add one with `ssh-copy-id USER@THIS-MACHINE` from your computer, or \
                     [common.users.NAME] authorized_keys in the config, then apply again"
                )))
            }
            Self::OtherThanRoot { passwords } => {
                let usable =
                    |user: &String| accounts.user(user).is_some_and(|user| user.password == Password::Usable);
                let passwords = passwords_accepted(host, *passwords)?;
                if passwords && admins.iter().any(usable) {
                    return Ok(None);
                }
                Ok(Some(format!(
                    "root's login stays on, because nobody else could log in and become root ({names}, none with a \
                     valid key{}). Give one of them a key (and a password for sudo), then apply again",
                    if passwords { " or a password" } else { "" }
                )))
            }
        }
    }
}

/// Whether sshd takes passwords and will go on doing so: because the config wants it, or because turning them off
/// has to wait for a key.
fn passwords_accepted(host: &dyn Inspect, wanted: bool) -> Result<bool> {
    let config = sshd_config::read(host)?;
    if config.get("PasswordAuthentication").is_some_and(|setting| setting.value().eq_ignore_ascii_case("no"))
    {
        return Ok(false);
    }
    Ok(wanted || LoginGuard::Key { root: false }.objection(host)?.is_some())
}

/// Whether systemd listens for sshd.
fn socket_listens(host: &dyn Inspect) -> Result<Option<String>> {
    let socket = host.units(&["ssh.socket"])?.pop().unwrap_or_default();
    Ok((socket.active == ActiveState::Active).then(|| {
        "sshd stays on its port, because systemd listens for it (ssh.socket) and its own port has no effect then. Let \
         sshd listen by itself with `systemctl disable ssh.socket && systemctl enable ssh` and a reboot, then apply \
         again"
            .to_owned()
    }))
}

/// Whether one of these users could log in and become root.
fn among(
    host: &dyn Inspect,
    accounts: &Accounts,
    admins: &[String],
    users: &[String],
    passwords: bool,
    root: bool,
) -> Result<Option<String>> {
    // A root who is refused anyway lets nobody in, however good the key.
    let mighty = |user: &&String| (root && user.as_str() == "root") || admins.contains(user);
    for user in users.iter().filter(mighty) {
        let password = || accounts.user(user).is_some_and(|user| user.password == Password::Usable);
        let key =
            has_key(host, accounts, user)? && (user == "root" || may_become_root(host, accounts, user)?);
        if key || (passwords && password()) {
            return Ok(None);
        }
    }
    Ok(Some(format!(
        "everybody may still log in, because none of {} could log in and become root. Put a user with sudo rights and \
         a valid key into [security.ssh] allow_users, then apply again",
        users.join(", ")
    )))
}

/// Whether somebody who is logged in by a key gets further with sudo: it asks for the user's own password, unless a
/// rule says NOPASSWD for the user, for one of their groups or for all (sudoers(5)).
fn may_become_root(host: &dyn Inspect, accounts: &Accounts, user: &str) -> Result<bool> {
    if accounts.user(user).is_some_and(|user| user.password == Password::Usable) {
        return Ok(true);
    }
    let more = host.list("/etc/sudoers.d")?.unwrap_or_default();
    // sudo passes over names with a dot or a tilde, as editors leave them.
    let more =
        more.iter().filter(|name| !name.contains(['.', '~'])).map(|name| format!("/etc/sudoers.d/{name}"));
    for path in std::iter::once("/etc/sudoers".to_owned()).chain(more) {
        let Some(content) = host.read(&path)? else { continue };
        let text = String::from_utf8_lossy(content.bytes()).into_owned();
        let applies = |line: &str| {
            let who = line.split_whitespace().next().unwrap_or_default();
            let group = who.strip_prefix('%').is_some_and(|group| accounts.members(group).contains(&user));
            line.contains("NOPASSWD") && (who == user || who == "ALL" || group)
        };
        if text.lines().map(str::trim).any(applies) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the shell lets somebody in: nologin(8) and false(1) do not.
fn may_log_in(accounts: &Accounts, user: &str) -> bool {
    accounts
        .user(user)
        .is_some_and(|user| !user.shell.ends_with("/nologin") && !user.shell.ends_with("/false"))
}

fn has_key(host: &dyn Inspect, accounts: &Accounts, user: &str) -> Result<bool> {
    let Some(home) = accounts.user(user).map(|user| user.home.as_str()) else { return Ok(false) };
    for name in ["authorized_keys", "authorized_keys2"] {
        if let Some(content) = host.read(&format!("{home}/.ssh/{name}"))? {
            let text = String::from_utf8_lossy(content.bytes());
            if text.lines().any(|line| matches!(authorized_keys::parse_line(line), Ok(Some(_)))) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Whether the ssh session that runs pitool was let in by a key: sshd's own line in the journal for this
/// connection says so. Covers keys that are in no file: certificates, AuthorizedKeysCommand.
fn session_by_key(host: &dyn Inspect) -> Result<bool> {
    let Some(connection) = host.variable("SSH_CONNECTION") else { return Ok(false) };
    let mut words = connection.split_whitespace();
    let (Some(address), Some(port)) = (words.next(), words.next()) else { return Ok(false) };
    let command = Command::new("journalctl").args([
        "-b",
        "-o",
        "cat",
        "--no-pager",
        "-t",
        "sshd",
        "-t",
        "sshd-session",
        "-n",
        "2000",
    ]);
    let Ok(output) = host.ask(&command) else { return Ok(false) };
    let from = format!(" from {address} port {port} ");
    Ok(output.stdout.lines().any(|line| line.starts_with("Accepted publickey for ") && line.contains(&from)))
}
