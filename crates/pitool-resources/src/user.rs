//! User accounts.

use std::collections::BTreeSet;

use pitool_engine::{Action, Change, Id, Resource, Reversal, Risk, Turn};
use pitool_host::parse::accounts::Accounts;
use pitool_host::{Access, Candidate, Command, Host, Inspect, Result};
use serde::{Deserialize, Serialize};

use crate::login::going_back;

/// A user with a home and groups. Printed `user[NAME]`.
///
/// Of an account that is there already only the missing groups are ours: a person's shell and home stay. One that is
/// [of an existing account](User::of_existing) is printed `member[NAME GROUPS]`, so that a role can add a group to
/// an account which another role looks after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct User {
    name: String,
    group: Option<String>,
    groups: BTreeSet<String>,
    home: String,
    shell: String,
    comment: String,
    create: bool,
}

/// An account, and what a userdel that was cut off left of one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UserState {
    account: Option<Account>,
    /// Groups that name a user who is not there.
    left_in: BTreeSet<String>,
    /// Whether the group of the user's own name is there without the user.
    left_group: bool,
    /// Whether the home that the account would have is there without it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    left_home: bool,
}

/// An account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Account {
    group: String,
    groups: BTreeSet<String>,
    home: String,
    shell: String,
}

impl User {
    /// A person's account with a home directory of its own and bash.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        let home = format!("/home/{name}");
        Self {
            name,
            group: None,
            groups: BTreeSet::new(),
            home,
            shell: "/bin/bash".into(),
            comment: String::new(),
            create: true,
        }
    }

    /// Sets the primary group, which must exist or have the user's own name.
    #[must_use]
    pub fn group(mut self, group: &str) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Adds supplementary groups.
    #[must_use]
    pub fn groups<S: Into<String>>(mut self, groups: impl IntoIterator<Item = S>) -> Self {
        self.groups.extend(groups.into_iter().map(Into::into));
        self
    }

    /// Sets home, which useradd makes with the skeleton's files if it is missing.
    #[must_use]
    pub fn home(mut self, home: &str) -> Self {
        self.home = home.into();
        self
    }

    /// Sets the login shell.
    #[must_use]
    pub fn shell(mut self, shell: &str) -> Self {
        self.shell = shell.into();
        self
    }

    /// Sets the comment (GECOS).
    #[must_use]
    pub fn comment(mut self, comment: &str) -> Self {
        self.comment = comment.into();
        self
    }

    /// Only adds the groups to an account that is there; never creates one.
    #[must_use]
    pub fn of_existing(mut self) -> Self {
        self.create = false;
        self
    }

    /// A line of the user database as this state has it; `None` where it goes.
    fn entry(&self, path: &str, line: &str, to: &UserState) -> Option<String> {
        let mut fields: Vec<String> = line.split(':').map(str::to_owned).collect();
        let own = fields.first().is_some_and(|name| *name == self.name);
        match (path, &to.account) {
            ("/etc/group", account) => {
                let name = fields.first()?.clone();
                let is_in = account.as_ref().is_some_and(|account| account.groups.contains(&name));
                let members = fields.get_mut(3)?;
                let mut left: Vec<&str> =
                    members.split(',').filter(|member| !member.is_empty() && *member != self.name).collect();
                if is_in {
                    left.push(&self.name);
                }
                *members = left.join(",");
            }
            (_, None) if own => return None,
            ("/etc/passwd", Some(account)) if own => account.shell.clone_into(fields.get_mut(6)?),
            _ => {}
        }
        Some(fields.join(":"))
    }

    fn primary(&self) -> &str {
        self.group.as_deref().unwrap_or(&self.name)
    }
}

impl Resource for User {
    type State = UserState;

    fn id(&self) -> Id {
        if self.create {
            return Id::new("user", &self.name);
        }
        let groups: Vec<&str> = self.groups.iter().map(String::as_str).collect();
        Id::new("member", &format!("{} {}", self.name, groups.join(",")))
    }

    fn observe(&self, host: &dyn Inspect) -> Result<UserState> {
        let accounts = Accounts::read(host)?;
        let groups: BTreeSet<String> =
            accounts.groups_of(&self.name).into_iter().map(str::to_owned).collect();
        let Some(user) = accounts.user(&self.name) else {
            let left_group = self.create && accounts.group(&self.name).is_some();
            let left_home = self.create && host.stat(&self.home)?.is_some();
            return Ok(UserState { account: None, left_in: groups, left_group, left_home });
        };
        let group =
            crate::node::group_name(&accounts, user.gid).map_or_else(|| user.gid.to_string(), str::to_owned);
        let groups = groups.into_iter().filter(|name| *name != group).collect();
        let account = Account { group, groups, home: user.home.clone(), shell: user.shell.clone() };
        Ok(UserState { account: Some(account), ..UserState::default() })
    }

    fn desired(&self, observed: &UserState) -> UserState {
        let account = match &observed.account {
            None if !self.create => return observed.clone(),
            None => Account {
                group: self.primary().to_owned(),
                groups: self.groups.iter().filter(|group| *group != self.primary()).cloned().collect(),
                home: self.home.clone(),
                shell: self.shell.clone(),
            },
            Some(account) => {
                let mut account = account.clone();
                // A useradd that was cut off leaves a user whose group has a number but no name.
                if self.create && account.group.parse::<u32>().is_ok() {
                    account.group = self.primary().to_owned();
                }
                let missing: Vec<String> =
                    self.groups.iter().filter(|group| **group != account.group).cloned().collect();
                account.groups.extend(missing);
                account
            }
        };
        UserState { account: Some(account), ..UserState::default() }
    }

    fn enact(&self, host: &dyn Host, from: &UserState, to: &UserState) -> Result<()> {
        match (&from.account, &to.account) {
            (_, None) => {
                if from.account.is_some() {
                    host.run(&Command::new("userdel").arg(&self.name))?;
                }
                let left = self.observe(host.inspect())?;
                for group in left.left_in.difference(&to.left_in) {
                    host.run(&Command::new("gpasswd").args(["--delete", &self.name, group]))?;
                }
                if left.left_group && !to.left_group {
                    host.run(&Command::new("groupdel").arg(&self.name))?;
                }
                Ok(())
            }
            (None, Some(account)) => {
                let accounts = Accounts::read(host.inspect())?;
                let mut command = Command::new("useradd").args([
                    "--home-dir",
                    &account.home,
                    "--create-home",
                    "--shell",
                    &account.shell,
                ]);
                if !self.comment.is_empty() {
                    command = command.args(["--comment", &self.comment]);
                }
                if accounts.gid_of(&account.group).is_some() {
                    command = command.args(["--gid", &account.group]);
                } else if account.group == self.name {
                    command = command.arg("--user-group");
                } else {
                    host.run(&Command::new("groupadd").arg(&account.group))?;
                    command = command.args(["--gid", &account.group]);
                }
                if !account.groups.is_empty() {
                    let groups: Vec<&str> = account.groups.iter().map(String::as_str).collect();
                    command = command.args(["--groups", &groups.join(",")]);
                }
                host.run(&command.arg(&self.name)).map(drop)
            }
            (Some(from), Some(to)) => {
                if from.group != to.group {
                    host.run(&Command::new("groupadd").args(["--gid", &from.group, &to.group]))?;
                }
                let more: Vec<&str> = to.groups.difference(&from.groups).map(String::as_str).collect();
                if !more.is_empty() {
                    host.run(&Command::new("usermod").args([
                        "--append",
                        "--groups",
                        &more.join(","),
                        &self.name,
                    ]))?;
                }
                for group in from.groups.difference(&to.groups) {
                    host.run(&Command::new("gpasswd").args(["--delete", &self.name, group]))?;
                }
                if from.shell != to.shell {
                    host.run(&Command::new("usermod").args(["--shell", &to.shell, &self.name]))?;
                }
                if from.home != to.home {
                    host.run(&Command::new("usermod").args(["--home", &to.home, &self.name]))?;
                }
                Ok(())
            }
        }
    }

    fn change(&self, from: &UserState, to: &UserState) -> Change {
        let summary = match (&from.account, &to.account) {
            (None, Some(account)) => {
                let groups: Vec<&str> = account.groups.iter().map(String::as_str).collect();
                let groups =
                    if groups.is_empty() { String::new() } else { format!(", in {}", groups.join(", ")) };
                format!("absent → home {}{groups}", account.home)
            }
            (Some(_), None) => "removed; its home stays".to_owned(),
            (Some(from), Some(to)) => {
                let more = to.groups.difference(&from.groups).map(|group| format!("+{group}"));
                let fewer = from.groups.difference(&to.groups).map(|group| format!("-{group}"));
                format!("groups {}", more.chain(fewer).collect::<Vec<_>>().join(" "))
            }
            (None, None) => "what an interrupted userdel left is removed".to_owned(),
        };
        Change::words(Action::between(from.account.is_some(), to.account.is_some()), summary)
    }

    fn risk(&self) -> Risk {
        if self.groups.contains("sudo") { Risk::Lockout } else { Risk::None }
    }

    fn reversal(&self) -> Reversal {
        Reversal::Partial("a removed user's home directory and files stay".into())
    }

    fn objection(
        &self,
        host: &dyn Inspect,
        from: &UserState,
        to: &UserState,
        turn: &Turn<'_>,
    ) -> Result<Option<String>> {
        let fewer = match (&from.account, &to.account) {
            (Some(_), None) => true,
            (Some(from), Some(to)) => !from.groups.is_subset(&to.groups) || from.shell != to.shell,
            (None, _) => false,
        };
        if !turn.back || !fewer {
            return Ok(None);
        }
        let what = match to.account {
            None => "the account stays",
            Some(_) => "its groups stay",
        };
        going_back(host, what, &self.decides_logins(host, to)?, turn)
    }

    /// The user database without the account, or with other groups and another shell of it.
    fn decides_logins(&self, host: &dyn Inspect, to: &UserState) -> Result<Vec<Candidate>> {
        let mut candidates = Vec::new();
        for path in ["/etc/passwd", "/etc/shadow", "/etc/group"] {
            let Some(content) = host.read(path)? else { continue };
            let access = host.stat(path)?.map_or(Access::root(0o644), |stat| stat.access);
            let text = String::from_utf8_lossy(content.bytes()).into_owned();
            let lines = text.lines().filter_map(|line| self.entry(path, line, to));
            let text: String = lines.map(|line| line + "\n").collect();
            candidates.push(Candidate::File { path: path.to_owned(), content: text.into(), access });
        }
        Ok(candidates)
    }

    fn restored(&self, before: &UserState, now: &UserState) -> UserState {
        match (&before.account, &now.account) {
            // Only the groups are ours; what a person changed since stays.
            (Some(was), Some(is)) => {
                let ours = |group: &&String| self.groups.contains(*group);
                let groups =
                    is.groups.iter().filter(|group| !ours(group)).chain(was.groups.iter().filter(ours));
                let account = Account { groups: groups.cloned().collect(), ..is.clone() };
                UserState { account: Some(account), ..UserState::default() }
            }
            // A home stays, with what is in it.
            _ => UserState { left_home: before.account.is_none() && now.left_home, ..before.clone() },
        }
    }

    fn remains(&self, before: &UserState, now: &UserState) -> Option<String> {
        let gone = before.account.is_none() && now.account.is_none();
        if gone && now.left_home && !before.left_home {
            return Some(format!("its home {} stays, with what is in it", self.home));
        }
        let alike = before.account == now.account;
        (!alike).then(|| self.change(before, now).summary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_action_says_whether_the_account_comes_or_goes() {
        let user = User::new("ada").groups(["sudo"]);
        let none = UserState::default();
        let there = user.desired(&none);
        let action = |from, to| user.change(from, to).action;
        assert_eq!(action(&none, &there), Action::Create);
        assert_eq!(action(&there, &none), Action::Remove);
        assert_eq!(action(&there, &there), Action::Change);
    }
}
