//! Which variables a host has, by Ansible's order of precedence.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::note::Note;
use super::yaml::{self, File, Node, Value};
use crate::{Diagnostic, Fragment};

/// A variable and where it was set.
#[derive(Debug, Clone)]
pub(super) struct Variable {
    pub(super) value: Value,
    pub(super) path: PathBuf,
    pub(super) line: usize,
}

/// The variables of one host, or of one source of variables.
pub(super) type Variables = BTreeMap<String, Variable>;

/// Everything that was read.
#[derive(Default)]
pub(super) struct Inventory {
    /// The hosts in the order of the file.
    pub(super) hosts: Vec<String>,
    /// The groups that each host or group is directly in.
    parents: BTreeMap<String, BTreeSet<String>>,
    defaults: Variables,
    group: BTreeMap<String, Variables>,
    group_files: BTreeMap<String, Variables>,
    host: BTreeMap<String, Variables>,
    host_files: BTreeMap<String, Variables>,
    plain: Variables,
    has_inventory: bool,
    group_paths: BTreeMap<String, PathBuf>,
}

/// Groups are not nested deeper.
const DEEPEST: usize = 20;

/// What a file is, by its path and, where that says nothing, by what it holds.
enum Purpose {
    Defaults,
    Group(String),
    Host(String),
    Inventory,
    Plain,
}

fn purpose(fragment: &Fragment, entries: &[(String, usize, Node)]) -> Purpose {
    // Whoever stands in group_vars names a file of it without that.
    let path = std::path::absolute(&fragment.path).unwrap_or_else(|_| fragment.path.clone());
    let parts: Vec<String> = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let after = |folder: &str| {
        let at = parts.iter().rposition(|part| part == folder)?;
        let name = parts.get(at + 1)?;
        Some(name.trim_end_matches(".yml").trim_end_matches(".yaml").to_owned())
    };
    if let Some(name) = after("group_vars") {
        return Purpose::Group(name);
    }
    if let Some(name) = after("host_vars") {
        return Purpose::Host(name);
    }
    let group =
        |node: &Node| ["hosts", "children"].iter().any(|key| matches!(node.get(key), Some(Node::Map(_))));
    if entries.iter().any(|(name, _, node)| group(node) || (name == "all" && node.get("vars").is_some())) {
        return Purpose::Inventory;
    }
    match fragment.path.iter().any(|part| part == "defaults") {
        true => Purpose::Defaults,
        false => Purpose::Plain,
    }
}

impl Inventory {
    /// Reads every file.
    ///
    /// # Errors
    /// The files that are not YAML.
    pub(super) fn read(files: &[Fragment], notes: &mut Vec<Note>) -> Result<Self, Vec<Diagnostic>> {
        let mut inventory = Self::default();
        let mut problems = Vec::new();
        for fragment in files {
            let entries = match yaml::read(fragment) {
                Ok(File::Map(entries)) => entries,
                Ok(File::Vault) => {
                    let message = "encrypted with Ansible Vault: not imported, and not decoded";
                    notes.push(Note::new(&fragment.path, 1, message));
                    continue;
                }
                Err(problem) => {
                    problems.push(*problem);
                    continue;
                }
            };
            match purpose(fragment, &entries) {
                Purpose::Inventory => {
                    inventory.has_inventory = true;
                    for (name, _, node) in &entries {
                        inventory.group(name, node, fragment, notes, 0);
                    }
                }
                Purpose::Defaults => set(&mut inventory.defaults, fragment, &entries),
                Purpose::Plain => set(&mut inventory.plain, fragment, &entries),
                Purpose::Group(name) => {
                    inventory.group_paths.insert(name.clone(), fragment.path.clone());
                    set(inventory.group_files.entry(name).or_default(), fragment, &entries);
                }
                Purpose::Host(name) => set(inventory.host_files.entry(name).or_default(), fragment, &entries),
            }
        }
        if !inventory.has_inventory {
            inventory.hosts = inventory.host_files.keys().cloned().collect();
        }
        if problems.is_empty() { Ok(inventory) } else { Err(problems) }
    }

    fn group(&mut self, name: &str, node: &Node, fragment: &Fragment, notes: &mut Vec<Note>, depth: usize) {
        for (key, line, node) in node.entries() {
            match key.as_str() {
                "hosts" => {
                    for (host, line, variables) in node.entries() {
                        if host.contains('[') {
                            let message = format!("`{host}` is a range of hosts: it counts as one host here");
                            notes.push(Note::new(&fragment.path, *line, message));
                        }
                        if !self.hosts.contains(host) {
                            self.hosts.push(host.clone());
                        }
                        self.parents.entry(host.clone()).or_default().insert(name.to_owned());
                        set(self.host.entry(host.clone()).or_default(), fragment, variables.entries());
                    }
                }
                "children" if depth < DEEPEST => {
                    for (child, _, node) in node.entries() {
                        self.parents.entry(child.clone()).or_default().insert(name.to_owned());
                        self.group(child, node, fragment, notes, depth + 1);
                    }
                }
                "vars" => set(self.group.entry(name.to_owned()).or_default(), fragment, node.entries()),
                other => {
                    let message = format!("`{other}` is not a part of a group: not imported");
                    notes.push(Note::new(&fragment.path, *line, message));
                }
            }
        }
    }

    /// The groups that a host is in, in the order in which Ansible lets the later win: by their depth below `all` (the
    /// longest way counts), then by `ansible_group_priority` in the inventory, then by name.
    fn groups(&self, host: &str) -> Vec<String> {
        let mut found: BTreeSet<&str> = BTreeSet::from(["all"]);
        let mut open = vec![host];
        while let Some(name) = open.pop() {
            let parents = self.parents.get(name).into_iter().flatten().map(String::as_str);
            open.extend(parents.filter(|parent| found.insert(parent)));
        }
        let mut depths: BTreeMap<&str, usize> = found.iter().map(|name| (*name, 1)).collect();
        depths.insert("all", 0);
        // A group that is its own parent would sink for ever.
        for _ in 0..DEEPEST {
            for name in found.iter().filter(|name| **name != "all") {
                let parents = self.parents.get(*name).into_iter().flatten();
                let above = parents.filter_map(|parent| depths.get(parent.as_str())).max();
                let depth = above.map_or(1, |above| above + 1);
                depths.insert(name, depth);
            }
        }
        let mut groups: Vec<&str> = found.into_iter().collect();
        groups.sort_by_key(|name| (depths.get(name).copied(), self.priority(name), *name));
        groups.into_iter().map(str::to_owned).collect()
    }

    fn priority(&self, group: &str) -> i64 {
        let variable = self.group.get(group).and_then(|variables| variables.get("ansible_group_priority"));
        match variable.map(|variable| &variable.value) {
            Some(Value::Text(priority)) => priority.trim().parse().unwrap_or(1),
            _ => 1,
        }
    }

    /// The variables of a host; without one, those that are not tied to a host.
    pub(super) fn variables(&self, host: Option<&str>) -> Variables {
        let groups = match host {
            Some(host) if self.has_inventory => self.groups(host),
            _ => {
                let others = self.group_files.keys().filter(|name| *name != "all").cloned();
                std::iter::once("all".to_owned()).chain(others).collect()
            }
        };
        let mut layers: Vec<&Variables> = vec![&self.defaults];
        layers.extend(groups.iter().filter_map(|group| self.group.get(group)));
        layers.extend(groups.iter().filter_map(|group| self.group_files.get(group)));
        if let Some(host) = host {
            layers.extend(self.host.get(host));
            layers.extend(self.host_files.get(host));
        }
        layers.push(&self.plain);
        let mut variables = Variables::new();
        for layer in layers {
            variables.extend(layer.iter().map(|(name, variable)| (name.clone(), variable.clone())));
        }
        variables
    }

    /// The files of groups in which no host is.
    pub(super) fn unused(&self) -> Vec<&PathBuf> {
        if !self.has_inventory {
            return Vec::new();
        }
        let used: BTreeSet<String> = self.hosts.iter().flat_map(|host| self.groups(host)).collect();
        self.group_paths
            .iter()
            .filter(|(name, _)| *name != "all" && !used.contains(*name))
            .map(|(_, path)| path)
            .collect()
    }
}

fn set(variables: &mut Variables, fragment: &Fragment, entries: &[(String, usize, Node)]) {
    for (name, line, node) in entries {
        let variable = Variable { value: node.value(), path: fragment.path.clone(), line: *line };
        variables.insert(name.clone(), variable);
    }
}
