//! Names of users and groups, as this machine knows them.
//!
//! They are asked of the C library and so of NSS (nsswitch.conf(5)): a name of LDAP, sssd or systemd-homed is in no file of
//! /etc. Each is asked once; a tree has many files and few owners.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The longest name that is looked up, in bytes; useradd(8) allows 256.
const LONGEST: usize = 256;

/// The most names that are looked up: of more than that, the numbers count.
const MOST: usize = 10_000;

/// Users and groups by number and by name.
#[derive(Debug)]
pub(crate) struct Owners {
    users: Names,
    groups: Names,
}

/// The names of one kind.
#[derive(Debug)]
struct Names {
    by_number: fn(u32) -> Option<String>,
    by_name: fn(&str) -> Option<u32>,
    names: Mutex<HashMap<u32, Option<String>>>,
    numbers: Mutex<HashMap<String, Option<u32>>>,
}

impl Owners {
    /// Those of the running system.
    pub(crate) fn of_this_machine() -> Self {
        Self {
            users: Names::new(
                |number| uzers::get_user_by_uid(number)?.name().to_str().map(str::to_owned),
                |name| Some(uzers::get_user_by_name(name)?.uid()),
            ),
            groups: Names::new(
                |number| uzers::get_group_by_gid(number)?.name().to_str().map(str::to_owned),
                |name| Some(uzers::get_group_by_name(name)?.gid()),
            ),
        }
    }

    /// The name of a user; empty where it has none.
    pub(crate) fn user(&self, number: u32) -> String {
        self.users.name(number).unwrap_or_default()
    }

    /// The name of a group; empty where it has none.
    pub(crate) fn group(&self, number: u32) -> String {
        self.groups.name(number).unwrap_or_default()
    }

    /// A user for a message: the name where there is one.
    pub(crate) fn shown(&self, number: u32) -> String {
        self.users.name(number).unwrap_or_else(|| format!("user {number}"))
    }

    /// The number of a user here, by name where the name is known.
    pub(crate) fn uid(&self, name: &str, number: u32) -> u32 {
        self.users.number(name).unwrap_or(number)
    }

    /// The number of a group here, by name where the name is known.
    pub(crate) fn gid(&self, name: &str, number: u32) -> u32 {
        self.groups.number(name).unwrap_or(number)
    }
}

impl Names {
    fn new(by_number: fn(u32) -> Option<String>, by_name: fn(&str) -> Option<u32>) -> Self {
        Self { by_number, by_name, names: Mutex::default(), numbers: Mutex::default() }
    }

    fn name(&self, number: u32) -> Option<String> {
        let mut known = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(number).or_insert_with(|| (self.by_number)(number)).clone()
    }

    fn number(&self, name: &str) -> Option<u32> {
        // A forged archive may hold anything, and any number of it.
        let odd = |c: char| c.is_control() || c == ':' || c == '/';
        if name.is_empty() || name.len() > LONGEST || name.contains(odd) {
            return None;
        }
        let mut known = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(name) {
            Some(number) => *number,
            None if known.len() >= MOST => None,
            None => *known.entry(name.to_owned()).or_insert((self.by_name)(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn this_machine_is_asked() {
        let owners = Owners::of_this_machine();
        assert_eq!((owners.user(0), owners.group(0)), ("root".to_owned(), "root".to_owned()));
        assert_eq!((owners.uid("root", 7), owners.gid("root", 7)), (0, 0));
        let nobody = u32::MAX - 7;
        assert_eq!((owners.user(nobody), owners.shown(nobody)), (String::new(), format!("user {nobody}")));
        let long = "r".repeat(LONGEST + 1);
        for name in ["", "nobody knows this one", "root\0", "root:", "../root", &long] {
            assert_eq!((owners.uid(name, 7), owners.gid(name, 8)), (7, 8), "{name:?}");
        }
    }

    #[test]
    fn each_is_asked_once() {
        static ASKED: AtomicU32 = AtomicU32::new(0);
        let names = Names::new(
            |number| {
                ASKED.fetch_add(1, Ordering::Relaxed);
                (number == 5).then(|| "five".to_owned())
            },
            |name| {
                ASKED.fetch_add(1, Ordering::Relaxed);
                (name == "five").then_some(5)
            },
        );
        for _ in 0..3 {
            assert_eq!((names.name(5).as_deref(), names.name(6)), (Some("five"), None));
            assert_eq!((names.number("five"), names.number("six")), (Some(5), None));
        }
        assert_eq!(ASKED.load(Ordering::Relaxed), 4);
    }
}
