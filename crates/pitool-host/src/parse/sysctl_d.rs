//! Kernel settings that are made at boot: sysctl.d(5).

use std::collections::BTreeMap;

use serde::Serialize;

use super::glob;
use crate::{Inspect, Result};

/// The directories, the most important first. /etc/sysctl.conf is not among them (trap T26): on Debian 12 the link
/// /etc/sysctl.d/99-sysctl.conf makes it one of the files, on Debian 13 nobody reads it.
pub const DIRECTORIES: [&str; 4] =
    ["/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d"];

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// The key as a path below /proc/sys, with `/` between its parts; it may be a pattern.
    pub key: String,
    /// The value; `None` for `-key`, which takes the key out of what patterns set.
    pub value: Option<String>,
    /// Whether it may fail silently (`-key = value`).
    pub optional: bool,
}

/// The key in one spelling: the first separator tells which of `.` and `/` separates, the other one is a plain
/// character (`net.ipv4.conf.eth0/1.rp_filter` is `net/ipv4/conf/eth0.1/rp_filter`).
pub fn normal_key(key: &str) -> String {
    if key.find(['.', '/']).is_some_and(|first| key[first..].starts_with('.')) {
        let swap = |character| match character {
            '.' => '/',
            '/' => '.',
            other => other,
        };
        key.chars().map(swap).collect()
    } else {
        key.to_owned()
    }
}

/// Reads a file.
pub fn parse(text: &str) -> Vec<Setting> {
    let setting = |line: &str| {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            return None;
        }
        let (optional, line) = line.strip_prefix('-').map_or((false, line), |line| (true, line));
        let (key, value) = match line.split_once('=') {
            Some((key, value)) => (key, Some(value.trim().to_owned())),
            None if optional => (line, None),
            None => return None,
        };
        Some(Setting { key: normal_key(key.trim()), value, optional })
    };
    text.lines().filter_map(setting).collect()
}

/// The files of a machine in the order in which they are applied: by name; of two with one name that of the more
/// important directory.
pub fn files(inspect: &dyn Inspect) -> Result<Vec<String>> {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for directory in DIRECTORIES.iter().rev() {
        for name in inspect.list(directory)?.unwrap_or_default() {
            if name.ends_with(".conf") && !name.starts_with('.') {
                files.insert(name.clone(), format!("{directory}/{name}"));
            }
        }
    }
    Ok(files.into_values().collect())
}

/// What a key is set to and by which file, after these files (path and text) in this order. The last line that
/// names the key counts; patterns count only for keys that no line names.
pub fn effective(files: &[(&str, &str)], key: &str) -> Option<(String, String)> {
    let key = normal_key(key);
    let mut named = None;
    let mut by_pattern = None;
    let mut excluded = false;
    for (path, setting) in
        files.iter().flat_map(|(path, text)| parse(text).into_iter().map(move |s| (path, s)))
    {
        let found = |value: String| Some((value, (*path).to_owned()));
        if !glob::is_pattern(&setting.key) {
            if setting.key == key {
                excluded |= setting.value.is_none();
                named = setting.value.and_then(found).or(named);
            }
        } else if matches_path(&setting.key, &key) {
            by_pattern = setting.value.and_then(found);
        }
    }
    named.or(by_pattern.filter(|_| !excluded))
}

fn matches_path(pattern: &str, key: &str) -> bool {
    let (patterns, names): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), key.split('/').collect());
    patterns.len() == names.len()
        && patterns.iter().zip(names).all(|(pattern, name)| glob::matches(pattern, name))
}
