//! User accounts.

use std::collections::BTreeSet;

use pitool_engine::{Change, Id, Resource, Reversal, Risk};
use pitool_host::parse::accounts::Accounts;
use pitool_host::{Command, Host, Inspect, Result};
use serde::{Deserialize, Serialize};

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

/// An account; absence is `None`.
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

    fn primary(&self) -> &str {
        self.group.as_deref().unwrap_or(&self.name)
    }
}

impl Resource for User {
    type State = Option<Account>;

    fn id(&self) -> Id {
        if self.create {
            return Id::new("user", &self.name);
        }
        let groups: Vec<&str> = self.groups.iter().map(String::as_str).collect();
        Id::new("member", &format!("{} {}", self.name, groups.join(",")))
    }

    fn observe(&self, host: &dyn Inspect) -> Result<Option<Account>> {
        let accounts = Accounts::read(host)?;
        let Some(user) = accounts.user(&self.name) else { return Ok(None) };
        let group =
            crate::node::group_name(&accounts, user.gid).map_or_else(|| user.gid.to_string(), str::to_owned);
        let groups = accounts
            .groups_of(&self.name)
            .into_iter()
            .map(str::to_owned)
            .filter(|name| *name != group)
            .collect();
        Ok(Some(Account { group, groups, home: user.home.clone(), shell: user.shell.clone() }))
    }

    fn desired(&self, observed: &Option<Account>) -> Option<Account> {
        match observed {
            None if !self.create => None,
            None => Some(Account {
                group: self.primary().to_owned(),
                groups: self.groups.clone(),
                home: self.home.clone(),
                shell: self.shell.clone(),
            }),
            Some(account) => {
                let mut account = account.clone();
                let missing =
                    self.groups.iter().filter(|group| **group != account.group).cloned().collect::<Vec<_>>();
                account.groups.extend(missing);
                Some(account)
            }
        }
    }

    fn enact(&self, host: &dyn Host, from: &Option<Account>, to: &Option<Account>) -> Result<()> {
        match (from, to) {
            (None, None) => Ok(()),
            (Some(_), None) => host.run(&Command::new("userdel").arg(&self.name)).map(drop),
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

    fn change(&self, from: &Option<Account>, to: &Option<Account>) -> Change {
        Change::words(match (from, to) {
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
            (None, None) => String::new(),
        })
    }

    fn risk(&self) -> Risk {
        if self.groups.contains("sudo") { Risk::Lockout } else { Risk::None }
    }

    fn reversal(&self) -> Reversal {
        Reversal::Partial("a removed user's home directory and files stay".into())
    }

    fn restored(&self, before: &Option<Account>, now: &Option<Account>) -> Option<Account> {
        match (before, now) {
            // Only the groups are ours; what a person changed since stays.
            (Some(before), Some(now)) => {
                let added: BTreeSet<String> = self.groups.difference(&before.groups).cloned().collect();
                Some(Account { groups: now.groups.difference(&added).cloned().collect(), ..now.clone() })
            }
            _ => before.clone(),
        }
    }
}
