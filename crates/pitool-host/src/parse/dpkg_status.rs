//! dpkg's status database, /var/lib/dpkg/status: stanzas in the format of deb822(5), with the fields of dpkg-query(1).

use std::collections::{BTreeMap, HashSet};

use crate::{Package, PackageState, Packages};

/// One stanza.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Entry<'t> {
    /// `Package`.
    pub name: &'t str,
    /// `Architecture`.
    pub arch: &'t str,
    /// `Version`, empty where dpkg has none (anymore).
    pub version: &'t str,
    /// `Status` in short; `None` for `not-installed`.
    pub state: Option<PackageState>,
    /// The flag `reinstreq` of `Status`.
    #[serde(skip)]
    pub reinstall: bool,
    /// `Pre-Depends`.
    #[serde(skip)]
    pub pre_depends: &'t str,
    /// `Depends`.
    #[serde(skip)]
    pub depends: &'t str,
    /// `Recommends`.
    #[serde(skip)]
    pub recommends: &'t str,
    /// `Provides`.
    #[serde(skip)]
    pub provides: &'t str,
}

/// Reads all stanzas that name a package. Field names are matched as dpkg writes them.
pub fn parse(text: &str) -> Vec<Entry<'_>> {
    // A stanza of a desktop's status file has about 1000 bytes.
    let mut entries = Vec::with_capacity(text.len() / 800);
    let mut entry = EMPTY;
    for line in text.split('\n').chain([""]) {
        match line.as_bytes() {
            [] => {
                if !entry.name.is_empty() {
                    entries.push(entry);
                }
                entry = EMPTY;
            }
            [b'P', b'a', ..] => set(&mut entry.name, line, "Package:"),
            [b'P', b'r', b'e', ..] => set(&mut entry.pre_depends, line, "Pre-Depends:"),
            [b'P', b'r', b'o', ..] => set(&mut entry.provides, line, "Provides:"),
            [b'D', ..] => set(&mut entry.depends, line, "Depends:"),
            [b'R', ..] => set(&mut entry.recommends, line, "Recommends:"),
            [b'A', ..] => set(&mut entry.arch, line, "Architecture:"),
            [b'V', ..] => set(&mut entry.version, line, "Version:"),
            [b'S', ..] => {
                if let Some(status) = line.strip_prefix("Status:") {
                    entry.state = state(status);
                    entry.reinstall = status.contains(" reinstreq ");
                }
            }
            _ => {}
        }
    }
    entries
}

const EMPTY: Entry<'static> = Entry {
    name: "",
    arch: "",
    version: "",
    state: None,
    reinstall: false,
    pre_depends: "",
    depends: "",
    recommends: "",
    provides: "",
};

fn set<'t>(field: &mut &'t str, line: &'t str, name: &str) {
    if let Some(value) = line.strip_prefix(name) {
        *field = value.trim();
    }
}

/// The third word of `want flag state`, dpkg(1) "Package states".
fn state(status: &str) -> Option<PackageState> {
    match status.split_ascii_whitespace().nth(2)? {
        "not-installed" => None,
        "installed" => Some(PackageState::Installed),
        "config-files" => Some(PackageState::ConfigFiles),
        _ => Some(PackageState::Broken),
    }
}

/// Puts the database together: the status file, the records that an interrupted dpkg left in
/// /var/lib/dpkg/updates (in order, each replaces its stanza), and apt's marks from
/// [`super::extended_states::parse`]. `None` when the package `dpkg` itself is missing: then there is no native
/// architecture, and the text is not a machine's status.
pub fn packages(status: &str, updates: &[&str], automatic: &HashSet<(&str, &str)>) -> Option<Packages> {
    let mut entries = parse(status);
    entries.extend(updates.iter().flat_map(|update| parse(update)));
    let native = entries.iter().find(|entry| entry.name == "dpkg").map(|entry| entry.arch)?;
    let mut packages = BTreeMap::new();
    for entry in entries {
        let ours = matches!(entry.arch, "all" | "") || entry.arch == native;
        let key = if ours { entry.name.to_owned() } else { format!("{}:{}", entry.name, entry.arch) };
        let Some(state) = entry.state else {
            packages.remove(&key);
            continue;
        };
        // apt marks packages of architecture `all` under the native one.
        let marked = if ours { native } else { entry.arch };
        let manual =
            !automatic.contains(&(entry.name, marked)) && !automatic.contains(&(entry.name, entry.arch));
        let (version, arch) = (entry.version.to_owned(), entry.arch.to_owned());
        let depends = match (entry.pre_depends, entry.depends) {
            ("", depends) => depends.to_owned(),
            (before, "") => before.to_owned(),
            (before, depends) => format!("{before}, {depends}"),
        };
        let (recommends, provides) = (entry.recommends.to_owned(), entry.provides.to_owned());
        let reinstall = entry.reinstall;
        packages
            .insert(key, Package { state, version, arch, manual, reinstall, depends, recommends, provides });
    }
    Some(Packages { native: native.to_owned(), packages })
}
