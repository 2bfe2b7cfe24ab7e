//! Guards that keep a setting from locking everybody out.

use pitool_host::parse::accounts::{Accounts, Password, User};
use pitool_host::parse::sshd_config::{self, Setting, SshdConfig};
use pitool_host::parse::{authorized_keys, glob, proc_pid_stat};
use pitool_host::{Access, ActiveState, Command, FileType, Inspect, Result};
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
        let door = Door::read(host)?;
        let admins: Vec<String> = SUDO_GROUPS
            .iter()
            .flat_map(|group| door.accounts.members(group))
            .filter(|user| *user != "root" && door.has_shell(user))
            .map(str::to_owned)
            .collect();
        if let Self::Among { users, passwords, root } = self {
            return door.among(&admins, users, door.passwords_accepted(*passwords)?, *root);
        }
        let becomes_root = matches!(self, Self::OtherThanRoot { .. });
        for user in &admins {
            let key = door.admits(user) && door.has_key(user)?;
            if key && (!becomes_root || door.may_become_root(user)?) {
                return Ok(None);
            }
        }
        let mut names = Vec::new();
        for user in &admins {
            names.push(match door.key(user)? {
                _ if !door.admits(user) => format!("{user}, whom sshd refuses"),
                Key::Unsafe(path) => format!(
                    "{user}, whose key sshd passes over, because {path} has to be {user}'s or root's and writable by \
                     nobody else"
                ),
                _ => user.clone(),
            });
        }
        let names = if names.is_empty() {
            "no user may use sudo".to_owned()
        } else {
            format!("sudo users: {}", names.join(", "))
        };
        match self {
            Self::Among { .. } | Self::OwnSocket => Ok(None),
            Self::Key { root } => {
                if (*root && door.admits("root") && door.has_key("root")?) || session_by_key(host)? {
                    return Ok(None);
                }
                Ok(Some(format!(
                    "password logins stay on, because nobody could log in without one: no user with sudo rights has a \
                     valid key for every address ({names}). Add one with `ssh-copy-id USER@THIS-MACHINE` from your computer, or \
                     [common.users.NAME] authorized_keys in the config, then apply again"
                )))
            }
            Self::OtherThanRoot { passwords } => {
                let usable = |user: &String| door.admits(user) && door.has_password(user);
                let passwords = door.passwords_accepted(*passwords)?;
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

/// What decides who gets in: the accounts, and sshd's configuration as it is. `Match` blocks are not judged.
struct Door<'a> {
    host: &'a dyn Inspect,
    accounts: Accounts,
    sshd: SshdConfig,
}

impl<'a> Door<'a> {
    fn read(host: &'a dyn Inspect) -> Result<Self> {
        Ok(Self { host, accounts: Accounts::read(host)?, sshd: sshd_config::read(host)? })
    }

    /// Whether the shell lets somebody in: nologin(8) and false(1) do not.
    fn has_shell(&self, user: &str) -> bool {
        let shell = self.accounts.user(user).map(|user| user.shell.as_str());
        shell.is_some_and(|shell| !shell.ends_with("/nologin") && !shell.ends_with("/false"))
    }

    fn has_password(&self, user: &str) -> bool {
        self.accounts.user(user).is_some_and(|user| user.password == Password::Usable)
    }

    /// Whether sshd's lists let this user in (sshd_config(5): `DenyUsers`, `AllowUsers`, `DenyGroups`, `AllowGroups`; each
    /// that is there must agree).
    fn admits(&self, user: &str) -> bool {
        let listed = self.patterns("allowusers");
        // A pattern with a host lets in from there only: not enough to rely on.
        let allowed = listed.is_empty() || listed.iter().any(|pattern| glob::matches(pattern, user));
        allowed && self.admits_besides(user)
    }

    /// The same without `AllowUsers`, which is what is about to change.
    fn admits_besides(&self, user: &str) -> bool {
        let name = |pattern: &str| pattern.split('@').next().unwrap_or_default().to_owned();
        let groups = self.accounts.groups_of(user);
        let member = |pattern: &&str| groups.iter().any(|group| glob::matches(pattern, group));
        let allowed = self.patterns("allowgroups");
        !self.patterns("denyusers").iter().any(|pattern| glob::matches(&name(pattern), user))
            && !self.patterns("denygroups").iter().any(member)
            && (allowed.is_empty() || allowed.iter().any(member))
    }

    fn patterns(&self, keyword: &str) -> Vec<&str> {
        self.sshd.all(keyword).flat_map(|setting| &setting.args).map(String::as_str).collect()
    }

    /// Whether sshd takes passwords and will go on doing so: because the config wants it, or because turning them off
    /// has to wait for a key.
    fn passwords_accepted(&self, wanted: bool) -> Result<bool> {
        let off = |setting: &Setting| setting.value().eq_ignore_ascii_case("no");
        if self.sshd.get("PasswordAuthentication").is_some_and(off) {
            return Ok(false);
        }
        Ok(wanted || LoginGuard::Key { root: false }.objection(self.host)?.is_some())
    }

    /// Whether one of these users could log in and become root.
    fn among(
        &self,
        admins: &[String],
        users: &[String],
        passwords: bool,
        root: bool,
    ) -> Result<Option<String>> {
        // A root who is refused anyway lets nobody in, however good the key.
        let mighty = |user: &&String| (root && user.as_str() == "root") || admins.contains(user);
        for user in users.iter().filter(mighty).filter(|user| self.admits_besides(user)) {
            let key = self.has_key(user)? && (user == "root" || self.may_become_root(user)?);
            if key || (passwords && self.has_password(user)) {
                return Ok(None);
            }
        }
        Ok(Some(format!(
            "everybody may still log in, because none of {} could log in and become root. Put a user with sudo rights \
             and a valid key into [security.ssh] allow_users, then apply again",
            users.join(", ")
        )))
    }

    /// Whether somebody who is logged in by a key gets further with sudo: it asks for the user's own password, unless a
    /// rule says NOPASSWD for the user, for one of their groups or for all (sudoers(5)).
    fn may_become_root(&self, user: &str) -> Result<bool> {
        if self.has_password(user) {
            return Ok(true);
        }
        let more = self.host.list("/etc/sudoers.d")?.unwrap_or_default();
        // sudo passes over names with a dot or a tilde, as editors leave them.
        let more = more
            .iter()
            .filter(|name| !name.contains(['.', '~']))
            .map(|name| format!("/etc/sudoers.d/{name}"));
        for path in std::iter::once("/etc/sudoers".to_owned()).chain(more) {
            let Some(content) = self.host.read(&path)? else { continue };
            let text = String::from_utf8_lossy(content.bytes()).into_owned();
            let applies = |line: &str| {
                let who = line.split_whitespace().next().unwrap_or_default();
                let group =
                    who.strip_prefix('%').is_some_and(|group| self.accounts.members(group).contains(&user));
                line.contains("NOPASSWD") && (who == user || who == "ALL" || group)
            };
            if text.lines().map(str::trim).any(applies) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether sshd takes a key from a file of this user's that opens a shell from anywhere.
    fn has_key(&self, user: &str) -> Result<bool> {
        Ok(matches!(self.key(user)?, Key::Good))
    }

    /// The best that the files in which sshd looks for this user's keys have.
    fn key(&self, user: &str) -> Result<Key> {
        let mut best = Key::None;
        let Some(account) = self.accounts.user(user) else { return Ok(best) };
        let files = self.sshd.get("AuthorizedKeysFile").map(|setting| setting.args.clone());
        let files =
            files.unwrap_or_else(|| vec![".ssh/authorized_keys".into(), ".ssh/authorized_keys2".into()]);
        for name in files.iter().filter(|name| !name.eq_ignore_ascii_case("none")) {
            // sshd_config(5), TOKENS.
            let name =
                name.replace("%h", &account.home).replace("%u", user).replace("%U", &account.uid.to_string());
            let path = if name.starts_with('/') { name } else { format!("{}/{name}", account.home) };
            // Whatever is no file that can be read has no keys: a user may put anything there.
            let Ok(Some(content)) = self.host.read(&path) else { continue };
            let text = String::from_utf8_lossy(content.bytes());
            if text.lines().any(opens_a_shell) {
                match self.unsafe_at(&path, account)? {
                    None => return Ok(Key::Good),
                    Some(place) => best = Key::Unsafe(place),
                }
            }
        }
        Ok(best)
    }

    /// Where on the way to a file of keys somebody else may write, so that sshd does not read it (sshd_config(5),
    /// `StrictModes`): the file, and the directories above it up to the home.
    fn unsafe_at(&self, path: &str, account: &User) -> Result<Option<String>> {
        if self.sshd.get("StrictModes").is_some_and(|setting| setting.value().eq_ignore_ascii_case("no")) {
            return Ok(None);
        }
        let mut place = path;
        loop {
            let Some(stat) = self.host.stat(place)? else { return Ok(None) };
            // Where a link leads is for sshd to find out.
            if !matches!(stat.file_type, FileType::Link(_)) && !self.safe(stat.access, account) {
                return Ok(Some(place.to_owned()));
            }
            match place.rsplit_once('/') {
                Some((above, _)) if place != account.home && !above.is_empty() => place = above,
                _ => return Ok(None),
            }
        }
    }

    /// Whether it is root's or the user's, and nobody else may write to it; a group may whose only member is the owner, as
    /// Debian's sshd has it.
    fn safe(&self, access: Access, account: &User) -> bool {
        let owner = self.accounts.users.iter().find(|user| user.uid == access.uid);
        let alone = |owner: &User| {
            let others = self.accounts.groups.iter().filter(|group| group.gid == access.gid);
            owner.gid == access.gid && others.flat_map(|group| &group.members).all(|name| *name == owner.name)
        };
        (access.uid == 0 || access.uid == account.uid)
            && access.mode & 0o002 == 0
            && (access.mode & 0o020 == 0 || owner.is_some_and(alone))
    }
}

/// What a user has to log in with.
enum Key {
    /// Nothing.
    None,
    /// A key that sshd passes over, because others may write to this file or directory on the way to it.
    Unsafe(String),
    /// A key that sshd takes.
    Good,
}

/// Whether a line is a key, and one without an option that ties it to an address, a command or a date (sshd(8)).
fn opens_a_shell(line: &str) -> bool {
    let Ok(Some(key)) = authorized_keys::parse_line(line) else { return false };
    let options = key.options.to_ascii_lowercase();
    !["from=", "command=", "expiry-time=", "principals=", "cert-authority"]
        .iter()
        .any(|option| options.contains(option))
}

/// `SSH_CONNECTION` of the nearest process above this one that has it: sudo does not hand it on (sudoers(5), `env_reset`).
fn callers_connection(host: &dyn Inspect) -> Option<String> {
    let text = |path: &str| {
        let content = host.read(path).ok()??;
        Some(String::from_utf8_lossy(content.bytes()).into_owned())
    };
    let mut process = "self".to_owned();
    // sudo, a shell or two, tmux: nobody is farther down.
    for _ in 0..16 {
        let stat = text(&format!("/proc/{process}/stat"))?;
        process = proc_pid_stat::field(&stat, proc_pid_stat::PPID)?.to_owned();
        let environment = text(&format!("/proc/{process}/environ"))?;
        let found = environment.split('\0').find_map(|variable| variable.strip_prefix("SSH_CONNECTION="));
        if let Some(connection) = found {
            return Some(connection.to_owned());
        }
    }
    None
}

/// Whether the ssh session that runs pitool was let in by a key: sshd's own line in the journal for this
/// connection says so. Covers keys that are in no file: certificates, AuthorizedKeysCommand.
fn session_by_key(host: &dyn Inspect) -> Result<bool> {
    let Some(connection) = host.variable("SSH_CONNECTION").or_else(|| callers_connection(host)) else {
        return Ok(false);
    };
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
