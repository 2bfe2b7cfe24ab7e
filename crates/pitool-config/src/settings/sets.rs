//! The sets of backups that there are without being named, beside those of the config.

use std::collections::BTreeMap;

use super::known::known;
use super::{MACHINE, Set, Settings};
use crate::values::{AbsolutePath, BackupName, UnitName};

impl Settings {
    /// The sets that are saved, by name, the set `machine` among them.
    pub fn backup_sets(&self) -> BTreeMap<BackupName, Set> {
        let mut sets = self.backup.sets.clone();
        if let Ok(name) = MACHINE.parse::<BackupName>() {
            sets.entry(name).or_insert_with(|| self.machine());
        }
        sets.retain(|_, set| set.enabled);
        sets
    }

    /// What the replaced role saved, of every app.
    fn machine(&self) -> Set {
        let mut optional: Vec<AbsolutePath> = Vec::new();
        for (name, site) in &self.apps {
            let home = site.home(name);
            optional.extend([home.join("config"), home.join("data")]);
            optional.extend(site.grist_data_dir.clone());
        }
        if self.apps.is_empty() {
            optional.push(AbsolutePath::grist());
        }
        optional.extend(known::<AbsolutePath>(&["/etc/letsencrypt", "/etc/nginx", "/etc/pitool"]));
        let mut unique = Vec::new();
        for path in optional {
            if !unique.contains(&path) {
                unique.push(path);
            }
        }
        let services = if self.app.enabled { vec![UnitName::nginx()] } else { Vec::new() };
        Set { optional: unique, services, ..Set::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        crate::load(&[crate::Fragment::new("test", text)]).unwrap_or_else(|p| panic!("{}", p[0])).settings
    }

    #[test]
    fn the_machine_is_saved_without_being_named() {
        let text =
            "[apps.notes]\ngrist_data_dir = \"/srv/grist\"\n[backup.sets.photos]\npaths = [\"/srv/photos\"]";
        let sets = settings(text).backup_sets();
        let names: Vec<&str> = sets.keys().map(BackupName::as_str).collect();
        assert_eq!(names, ["machine", "photos"]);
        let machine = &sets[&"machine".parse().unwrap()];
        let saved: Vec<&str> = machine.optional.iter().map(AbsolutePath::as_str).collect();
        assert_eq!(
            saved,
            [
                "/opt/notes/config",
                "/opt/notes/data",
                "/srv/grist",
                "/etc/letsencrypt",
                "/etc/nginx",
                "/etc/pitool"
            ]
        );
        assert!(settings("[backup.sets.machine]\nenabled = false").backup_sets().is_empty());
    }
}
