//! Guards that keep a step from locking everybody out, or out of the login in which pitool was typed in.

use std::collections::BTreeSet;

use pitool_engine::Turn;
use pitool_host::parse::sshd_config;
use pitool_host::{ActiveState, Candidate, Inspect, Rehearsed, Result};
use serde::{Deserialize, Serialize};

use crate::caller::{Caller, caller};
use crate::way::{Limits, Ways, losers};

/// What must be true of the ways in before a setting may close one of them (trap T16).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoginGuard {
    /// Before password logins are turned off: somebody can log in with a key and become root.
    Key {
        /// Whether root may still log in by key.
        root: bool,
    },
    /// Before root's login is turned off: somebody else can log in and become root.
    OtherThanRoot {
        /// Whether passwords are accepted.
        passwords: bool,
    },
    /// Before only root's password is refused: root has a key, or somebody else can log in and become root.
    RootByKey,
    /// Before sshd moves to another port: systemd does not listen for it. While ssh.socket does, sshd's own `Port` has
    /// no effect (trap T15), and every session holds the old port until it ends.
    OwnSocket,
    /// Before logins are limited to some users: one of them can log in and become root.
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

impl LoginGuard {
    /// Why the setting must wait, as sentences that say what stays open, why and what to do; `None` when it may come.
    pub(crate) fn objection(
        &self,
        host: &dyn Inspect,
        setting: &Candidate,
        turn: &Turn<'_>,
    ) -> Result<Option<String>> {
        let (what, for_whom, needed) = match self {
            Self::OwnSocket => {
                if let Some(why) = socket_listens(host)? {
                    return Ok(Some(why));
                }
                return port_stays(host, std::slice::from_ref(setting), turn);
            }
            Self::Key { .. } => {
                ("password logins stay on", true, "nobody could log in with a key and become root")
            }
            Self::RootByKey => (
                "root's password stays accepted",
                false,
                "root has no key and nobody else could log in and become root",
            ),
            Self::OtherThanRoot { .. } => {
                ("root's login stays on", false, "nobody else could log in and become root")
            }
            Self::Among { .. } => {
                ("everybody may still log in", false, "none of the users named could log in and become root")
            }
        };
        let closing = Closing { host, candidates: vec![], before: vec![], limits: self.limits(host, turn)? };
        let advice = match self {
            Self::Among { .. } => {
                "Put a user with sudo rights and a valid key into [security.ssh] allow_users"
            }
            Self::OtherThanRoot { passwords: true } => "Give somebody with sudo rights a key or a password",
            _ => {
                "Add a key with `ssh-copy-id USER@THIS-MACHINE` from your computer, or [common.users.NAME] \
                 authorized_keys in the config"
            }
        };
        closing.objection(turn.consent.cut_login, false, what, for_whom, needed, advice)
    }

    fn limits(&self, host: &dyn Inspect, turn: &Turn<'_>) -> Result<Limits> {
        // Where the config turns passwords off but that has to wait for a key, they go on being accepted.
        let no_passwords = |wanted: bool| -> Result<bool> {
            if wanted {
                return Ok(false);
            }
            let limits = Limits { no_passwords: true, no_root: true, ..Limits::default() };
            let closing = Closing { host, candidates: vec![], before: vec![], limits };
            Ok(closing.objection(turn.consent.cut_login, false, "", false, "", "")?.is_none())
        };
        Ok(match self {
            Self::Key { root } => Limits { no_passwords: true, no_root: !root, ..Limits::default() },
            Self::RootByKey => Limits { no_root_password: true, ..Limits::default() },
            Self::OtherThanRoot { passwords } => {
                Limits { no_passwords: no_passwords(*passwords)?, no_root: true, ..Limits::default() }
            }
            Self::Among { users, passwords, root } => Limits {
                no_passwords: no_passwords(*passwords)?,
                no_root: !root,
                users: Some(users.clone()),
                ..Limits::default()
            },
            Self::OwnSocket => Limits::default(),
        })
    }
}

/// Why a step that goes back must wait: it would take away the login in which pitool was typed in, or the last way in.
/// `becomes` are the files that decide about logins as the step would leave them.
pub(crate) fn going_back(
    host: &dyn Inspect,
    what: &str,
    becomes: &[Candidate],
    turn: &Turn<'_>,
) -> Result<Option<String>> {
    if turn.consent.cut_login || !host.live() {
        return Ok(None);
    }
    if caller(host)?.is_none() && !sshd_runs(host)? {
        // Nobody gets in over ssh anyway.
        return Ok(None);
    }
    let before = turn.upcoming.candidates().to_vec();
    let candidates: Vec<Candidate> = before.iter().chain(becomes).cloned().collect();
    if let Some(why) = port_stays(host, &candidates, turn)? {
        return Ok(Some(why));
    }
    let closing = Closing { host, candidates, before, limits: Limits::default() };
    let advice = "Give somebody else a key and sudo rights and go back again, or use `--cut-login`";
    closing.objection(false, true, what, true, "nobody else could log in and become root", advice)
}

/// Why sshd must not go: the login in which pitool was typed in came through it.
pub(crate) fn sshd_stays(host: &dyn Inspect, what: &str, turn: &Turn<'_>) -> Result<Option<String>> {
    let Some(caller) = caller(host)?.filter(|_| !turn.consent.cut_login) else { return Ok(None) };
    if !crate::sshd::own_ports(host)?.contains(&caller.port) {
        return Ok(None);
    }
    Ok(Some(format!(
        "{what}, because this run was typed in over ssh by {} and nobody could log in again. Do it on the console, or \
         use `--cut-login`",
        caller.user
    )))
}

/// Why sudo must not go: whoever typed this run in became root with it.
pub(crate) fn sudo_stays(host: &dyn Inspect, what: &str, turn: &Turn<'_>) -> Result<Option<String>> {
    let caller = caller(host)?.filter(|caller| !turn.consent.cut_login && caller.user != "root");
    Ok(caller.map(|caller| {
        format!(
            "{what}, because this run was typed in over ssh by {}, who could not become root again. Do it on the console, \
             or use `--cut-login`",
            caller.user
        )
    }))
}

/// A step that may close ways in.
struct Closing<'h> {
    host: &'h dyn Inspect,
    /// The files as they will be after it.
    candidates: Vec<Candidate>,
    /// The files as they will be before it.
    before: Vec<Candidate>,
    limits: Limits,
}

impl Closing<'_> {
    fn objection(
        &self,
        cut_login: bool,
        back: bool,
        what: &str,
        for_whom: bool,
        needed: &str,
        advice: &str,
    ) -> Result<Option<String>> {
        let caller = caller(self.host)?;
        let after = Ways::read(self.host, &self.candidates, self.limits.clone(), caller.as_ref())?;
        let before = Ways::read(self.host, &self.before, Limits::default(), caller.as_ref())?;
        if let Some(Caller { user, .. }) = caller.as_ref().filter(|_| !cut_login) {
            let then = after.of(user)?;
            if !then.is_open() && then.is_worse_than(&before.of(user)?) {
                let next = if back {
                    "Do it in another user's login or on the console, or use `--cut-login`".to_owned()
                } else {
                    "Log in as somebody else and apply again, or use `--cut-login`".to_owned()
                };
                return Ok(Some(format!(
                    "{what}, because this run was typed in over ssh by {user}, who could not log in again and become \
                     root ({}). {next}",
                    then.why()
                )));
            }
        }
        for user in after.users() {
            if after.of(&user)?.is_open() {
                return Ok(None);
            }
        }
        let losers = losers(&before, &after)?;
        if losers.is_empty() {
            return Ok(None);
        }
        let mut reasons = Vec::new();
        for user in told(&after, &losers) {
            reasons.push(format!("{user}: {}", after.of(&user)?.why()));
        }
        let whom: Vec<&str> = losers.iter().map(String::as_str).collect();
        let whom = if for_whom { format!(" for {}", whom.join(", ")) } else { String::new() };
        let then = if back { "" } else { ", then apply again" };
        Ok(Some(format!("{what}{whom}, because {needed} ({}). {advice}{then}", reasons.join("; "))))
    }
}

/// Whose reasons are told: those who lose something, and people; not more than five.
fn told(after: &Ways<'_>, losers: &BTreeSet<String>) -> Vec<String> {
    let (first, rest): (Vec<String>, Vec<String>) =
        after.users().into_iter().partition(|user| losers.contains(user));
    let people = rest.into_iter().filter(|user| after.is_person(user));
    let gone = losers.iter().filter(|user| !first.contains(user)).cloned().collect::<Vec<_>>();
    first.into_iter().chain(gone).chain(people).take(5).collect()
}

/// Why the ports of sshd must not change: the login in which pitool was typed in came through one of them.
fn port_stays(host: &dyn Inspect, candidates: &[Candidate], turn: &Turn<'_>) -> Result<Option<String>> {
    let Some(caller) = caller(host)?.filter(|_| !turn.consent.cut_login) else { return Ok(None) };
    let view = Rehearsed::new(host, candidates.to_vec());
    let (now, then) = (sshd_config::read(host)?.ports(), sshd_config::read(&view)?.ports());
    if !now.contains(&caller.port) || then.contains(&caller.port) {
        return Ok(None);
    }
    let then: Vec<String> = then.iter().map(ToString::to_string).collect();
    Ok(Some(format!(
        "sshd stays on port {}, because this run was typed in through it by {}. If port {} can be reached from where you \
         are, use `--cut-login` and log in there before you leave this session",
        caller.port,
        caller.user,
        then.join(", ")
    )))
}

/// Whether sshd, or systemd for it, listens.
fn sshd_runs(host: &dyn Inspect) -> Result<bool> {
    let units = host.units(&["ssh.service", "ssh.socket"])?;
    Ok(units.iter().any(|unit| unit.active != ActiveState::Inactive))
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
