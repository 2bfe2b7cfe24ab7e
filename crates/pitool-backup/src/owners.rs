//! Names of users and groups, as the machine's own files have them.

use std::collections::HashMap;

/// Users and groups by number and by name, from /etc/passwd and /etc/group.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    users: Names,
    groups: Names,
}

#[derive(Debug, Default)]
struct Names {
    names: HashMap<u32, String>,
    numbers: HashMap<String, u32>,
}

impl Owners {
    /// Reads them; a machine without these files has numbers only.
    #[expect(clippy::disallowed_methods, reason = "the machine's own files, which root alone writes")]
    pub(crate) fn of_this_machine() -> Self {
        let read = |path: &str| Names::parse(&std::fs::read_to_string(path).unwrap_or_default());
        Self { users: read("/etc/passwd"), groups: read("/etc/group") }
    }

    pub(crate) fn user(&self, number: u32) -> String {
        self.users.names.get(&number).cloned().unwrap_or_default()
    }

    pub(crate) fn group(&self, number: u32) -> String {
        self.groups.names.get(&number).cloned().unwrap_or_default()
    }

    /// A user for a message: the name where there is one.
    pub(crate) fn shown(&self, number: u32) -> String {
        self.users.names.get(&number).cloned().unwrap_or_else(|| format!("user {number}"))
    }

    /// The number of a user here, by name where the name is known.
    pub(crate) fn uid(&self, name: &str, number: u32) -> u32 {
        self.users.numbers.get(name).copied().unwrap_or(number)
    }

    /// The number of a group here, by name where the name is known.
    pub(crate) fn gid(&self, name: &str, number: u32) -> u32 {
        self.groups.numbers.get(name).copied().unwrap_or(number)
    }
}

impl Names {
    fn parse(text: &str) -> Self {
        let mut names = Self::default();
        for line in text.lines() {
            let mut fields = line.split(':');
            let (Some(name), Some(number)) =
                (fields.next(), fields.nth(1).and_then(|field| field.parse().ok()))
            else {
                continue;
            };
            // The first line counts, as for getpwuid(3).
            names.names.entry(number).or_insert_with(|| name.to_owned());
            names.numbers.entry(name.to_owned()).or_insert(number);
        }
        names
    }
}
