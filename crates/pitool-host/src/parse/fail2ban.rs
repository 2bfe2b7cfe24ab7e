//! `fail2ban-client status` and `fail2ban-client status JAIL`, fail2ban-client(1).

use serde::Serialize;

/// The state of a jail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Jail {
    /// What it reads in the journal; empty when it reads files.
    pub journal_matches: String,
    /// The files that it reads; empty when it reads the journal.
    pub files: Vec<String>,
    /// Addresses with failures that are not yet forgotten.
    pub currently_failed: u64,
    /// Failures since it started.
    pub total_failed: u64,
    /// Addresses that are banned now.
    pub currently_banned: u64,
    /// Bans since it started.
    pub total_banned: u64,
    /// The banned addresses.
    pub banned: Vec<String>,
}

/// The names of the jails that run.
pub fn parse_jails(output: &str) -> Vec<String> {
    let list = fields(output).find(|(name, _)| *name == "Jail list").map_or("", |(_, value)| value);
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Reads the status of one jail; `None` when the output is not one.
pub fn parse_jail(output: &str) -> Option<Jail> {
    output.lines().find(|line| line.starts_with("Status for the jail:"))?;
    let mut jail = Jail::default();
    for (name, value) in fields(output) {
        let number = || value.parse().unwrap_or(0);
        match name {
            "Journal matches" => value.clone_into(&mut jail.journal_matches),
            "File list" => jail.files = words(value),
            "Currently failed" => jail.currently_failed = number(),
            "Total failed" => jail.total_failed = number(),
            "Currently banned" => jail.currently_banned = number(),
            "Total banned" => jail.total_banned = number(),
            "Banned IP list" => jail.banned = words(value),
            _ => {}
        }
    }
    Some(jail)
}

fn words(value: &str) -> Vec<String> {
    value.split_whitespace().map(str::to_owned).collect()
}

/// The lines of the tree that it draws, without the drawing: `|  |- Name:<tab>value`.
fn fields(output: &str) -> impl Iterator<Item = (&str, &str)> {
    output
        .lines()
        .filter_map(|line| line.trim_start_matches(['|', '`', '-', ' ']).split_once(':'))
        .map(|(name, value)| (name, value.trim()))
}
