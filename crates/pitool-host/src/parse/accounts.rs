//! The user database: passwd(5), group(5) and shadow(5).

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{Inspect, Result};

/// Users and groups, in the order of the files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Accounts {
    /// /etc/passwd with what /etc/shadow says of the password.
    pub users: Vec<User>,
    /// /etc/group.
    pub groups: Vec<Group>,
    /// What /etc/shadow says of time, by user.
    #[serde(skip)]
    pub ageing: BTreeMap<String, Ageing>,
}

/// The fields of shadow(5) that are about time, in days since 1970; `None` for an empty one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ageing {
    /// When the password was last changed; 0 asks for a new one at the next login.
    pub changed: Option<i64>,
    /// How long a password is valid.
    pub maximum: Option<i64>,
    /// How long after that a login with the old password still asks for a new one.
    pub inactive: Option<i64>,
    /// When the account ends.
    pub expires: Option<i64>,
}

/// What the account stage of pam_unix(8) says on a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It lets the user in.
    Valid,
    /// The account has ended (`PAM_ACCT_EXPIRED`).
    Ended,
    /// The user must enter a new password before anything else (`PAM_NEW_AUTHTOK_REQD`).
    NewPassword,
    /// The password is too old even for that (`PAM_AUTHTOK_EXPIRED`).
    TooOld,
}

impl Ageing {
    /// What pam_unix(8) says on this day, as in its `check_shadow_expiry`.
    pub fn standing(&self, today: i64) -> Standing {
        // A negative number is an empty field.
        let field = |value: Option<i64>| value.filter(|value| *value >= 0);
        if field(self.expires).is_some_and(|end| today >= end) {
            return Standing::Ended;
        }
        let Some(changed) = field(self.changed) else { return Standing::Valid };
        if changed == 0 {
            return Standing::NewPassword;
        }
        let (age, maximum) = (today - changed, field(self.maximum));
        match (maximum, field(self.inactive)) {
            _ if age < 0 => Standing::Valid,
            (Some(maximum), Some(inactive)) if age > maximum && age > maximum + inactive => Standing::TooOld,
            (Some(maximum), _) if age > maximum => Standing::NewPassword,
            _ => Standing::Valid,
        }
    }
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
    pub fn read(inspect: &(impl Inspect + ?Sized)) -> Result<Self> {
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
    let ageing = records(shadow).map(|fields| {
        let day = |at: usize| fields.get(at).and_then(|field| field.trim().parse().ok());
        let ageing = Ageing { changed: day(2), maximum: day(4), inactive: day(6), expires: day(7) };
        (fields[0].to_owned(), ageing)
    });
    Accounts { users: users.collect(), groups: groups.collect(), ageing: ageing.collect() }
}

fn records(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().filter(|line| !line.starts_with(['#', '+', '-'])).map(|line| line.split(':').collect())
}

fn password(field: &str) -> Password {
    match field.as_bytes() {
        [] => Password::Empty,
        [b'!' | b'*', ..] => Password::Locked,
        // crypt(5): `$ID$…`, the 20 characters of BSDi's, the 13 of the oldest. No password becomes any other text.
        [b'$', ..] if field.matches('$').count() >= 3 => Password::Usable,
        [b'_', rest @ ..] if rest.len() == 19 => Password::Usable,
        bytes if bytes.len() == 13 => Password::Usable,
        _ => Password::Locked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(shadow: &str, today: i64) -> Standing {
        parse("", "", &format!("ada:x:{shadow}\n")).ageing["ada"].standing(today)
    }

    #[test]
    fn what_pam_says_of_the_dates_in_shadow() {
        for (fields, today, expected) in [
            ("20000:0:99999:7:::", 20100, Standing::Valid),
            ("20000:0:99999:7::20100:", 20099, Standing::Valid),
            ("20000:0:99999:7::20100:", 20100, Standing::Ended),
            ("20000:0:99999:7::0:", 20100, Standing::Ended),
            ("20000:0:99999:7::-1:", 20100, Standing::Valid),
            ("0:0:99999:7:::", 20100, Standing::NewPassword),
            ("20000:0:90:7:::", 20090, Standing::Valid),
            ("20000:0:90:7:::", 20091, Standing::NewPassword),
            ("20000:0:90:7:10::", 20100, Standing::NewPassword),
            ("20000:0:90:7:10::", 20101, Standing::TooOld),
            ("20000::::::", 30000, Standing::Valid),
            (":0:90:7:::", 30000, Standing::Valid),
            ("20000:0:90:7:::", 19000, Standing::Valid),
        ] {
            assert_eq!(standing(fields, today), expected, "{fields} on day {today}");
        }
    }

    #[test]
    fn only_a_hash_is_a_password() {
        let of =
            |field: &str| parse("a:x:1:1::/:/bin/sh", "", &format!("a:{field}:1::::::")).users[0].password;
        for field in ["$y$j9T$salt$hash", "$6$salt$hash", "abJnggxhB/yWI", "_J9..XXXXjKFJ/wKLmP."] {
            assert_eq!(of(field), Password::Usable, "{field}");
        }
        for field in ["!", "*", "!$y$j9T$salt$hash", "x", "NP", "$6$", "LOCKED"] {
            assert_eq!(of(field), Password::Locked, "{field}");
        }
        assert_eq!(of(""), Password::Empty);
    }
}
