//! The user database: passwd(5), group(5) and shadow(5).

use serde::Serialize;

use crate::{Inspect, Result};

/// Users and groups, in the order of the files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Accounts {
    /// /etc/passwd with what /etc/shadow says of the password.
    pub users: Vec<User>,
    /// /etc/group.
    pub groups: Vec<Group>,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct User {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Full name and the like.
    pub comment: String,
    /// Home directory.
    pub home: String,
    /// Login shell; empty means /bin/sh.
    pub shell: String,
    /// What can be done with the password.
    pub password: Password,
}

/// Whether somebody can log in with a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Password {
    /// There is one.
    Usable,
    /// None matches: the field begins with `!` (passwd -l) or `*`. A login by key stays possible.
    Locked,
    /// None is needed.
    Empty,
    /// It is in a shadow file that has no line for this user.
    Unknown,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Group id.
    pub gid: u32,
    /// Users that are in it beside those whose primary group it is.
    pub members: Vec<String>,
}

impl Accounts {
    /// Reads the three files.
    pub fn read(inspect: &dyn Inspect) -> Result<Self> {
        let text = |path| -> Result<String> {
            let content = inspect.read(path)?;
            Ok(content
                .map(|content| String::from_utf8_lossy(content.bytes()).into_owned())
                .unwrap_or_default())
        };
        Ok(parse(&text("/etc/passwd")?, &text("/etc/group")?, &text("/etc/shadow")?))
    }

    /// Looks a user up by name.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name)
    }

    /// Looks a group up by name.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }

    /// The id of a user.
    pub fn uid_of(&self, name: &str) -> Option<u32> {
        self.user(name).map(|user| user.uid)
    }

    /// The id of a group.
    pub fn gid_of(&self, name: &str) -> Option<u32> {
        self.group(name).map(|group| group.gid)
    }

    /// The groups that a user is in: the primary one first, then by the order of the file.
    pub fn groups_of(&self, user: &str) -> Vec<&str> {
        let primary = self.user(user).map(|user| user.gid);
        let is_primary = |group: &&Group| Some(group.gid) == primary;
        let others =
            self.groups.iter().filter(|group| !is_primary(group) && group.members.iter().any(|m| m == user));
        self.groups.iter().filter(is_primary).take(1).chain(others).map(|group| group.name.as_str()).collect()
    }

    /// Everybody who is in a group, also those whose primary group it is; sorted.
    pub fn members(&self, group: &str) -> Vec<&str> {
        let Some(group) = self.group(group) else { return Vec::new() };
        let primary = self.users.iter().filter(|user| user.gid == group.gid).map(|user| user.name.as_str());
        let mut members: Vec<&str> = group.members.iter().map(String::as_str).chain(primary).collect();
        members.sort_unstable();
        members.dedup();
        members
    }
}

/// Reads passwd, group and shadow. Comments, NIS entries (`+`, `-`) and lines with too few fields are passed over.
pub fn parse(passwd: &str, group: &str, shadow: &str) -> Accounts {
    let shadowed = |name: &str| {
        records(shadow).find(|fields| fields[0] == name).and_then(|fields| fields.get(1).copied())
    };
    let users = records(passwd).filter_map(|fields| {
        let [name, secret, uid, gid, comment, home, shell] = fields[..] else { return None };
        Some(User {
            name: name.to_owned(),
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
            comment: comment.to_owned(),
            home: home.to_owned(),
            shell: shell.to_owned(),
            password: if secret == "x" {
                shadowed(name).map_or(Password::Unknown, password)
            } else {
                password(secret)
            },
        })
    });
    let groups = records(group).filter_map(|fields| {
        let [name, _, gid, members] = fields[..] else { return None };
        let members = members.split(',').filter(|member| !member.is_empty()).map(str::to_owned).collect();
        Some(Group { name: name.to_owned(), gid: gid.parse().ok()?, members })
    });
    Accounts { users: users.collect(), groups: groups.collect() }
}

fn records(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().filter(|line| !line.starts_with(['#', '+', '-'])).map(|line| line.split(':').collect())
}

fn password(field: &str) -> Password {
    match field.as_bytes() {
        [] => Password::Empty,
        [b'!' | b'*', ..] => Password::Locked,
        _ => Password::Usable,
    }
}
