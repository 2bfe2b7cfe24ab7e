//! The simulated service manager.
//!
//! Whether a unit exists, is enabled or masked is read from the files and links that systemd reads; only what
//! runs, and with what, is the manager's own.

use std::collections::BTreeMap;

use pitool_host::{ActiveState, Content, UnitStatus};

use crate::world::{CatalogueUnit, Node, Unit, WRONG, World, split};

/// Where unit files are looked for, the first first.
const DIRS: [&str; 3] = ["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system"];

/// The state of one unit file.
enum Fragment {
    /// There is one.
    File(String),
    /// It is a link to /dev/null, or empty.
    Masked,
}

impl World {
    /// Gives a unit's own name for any of its names.
    pub(crate) fn unit_name(&self, name: &str) -> String {
        let name = if name.contains('.') { name.to_owned() } else { format!("{name}.service") };
        for dir in DIRS {
            match self.node(&format!("{dir}/{name}"), false) {
                Some(Node::Link { target }) if target != "/dev/null" => {
                    let own = target.rsplit('/').next().unwrap_or_default();
                    return own.to_owned();
                }
                Some(_) => return name,
                None => {}
            }
        }
        name
    }

    fn fragment(&self, name: &str) -> Option<Fragment> {
        let find = |name: &str| {
            DIRS.iter().map(|dir| format!("{dir}/{name}")).find_map(|path| match self.node(&path, false)? {
                Node::Link { target } if target == "/dev/null" => Some(Fragment::Masked),
                Node::Link { .. } => self.content(&path).map(|_| Fragment::File(path)),
                Node::File { content, .. } if content.bytes().is_empty() => Some(Fragment::Masked),
                Node::File { .. } => Some(Fragment::File(path)),
                _ => None,
            })
        };
        find(name).or_else(|| {
            let (template, rest) = name.split_once('@')?;
            find(&format!("{template}@.{}", rest.rsplit_once('.')?.1))
        })
    }

    /// Reads a unit's file and drop-ins as they are now.
    pub(crate) fn unit_files(&self, name: &str) -> BTreeMap<String, Content> {
        let mut paths: Vec<String> = DIRS.iter().rev().map(|dir| format!("{dir}/{name}.d")).collect();
        if let Some(Fragment::File(path)) = self.fragment(name) {
            paths.push(path);
        }
        let mut files = self.gather(&paths);
        files.retain(|path, _| !path.contains(".d/") || path.ends_with(".conf"));
        files
    }

    /// Gives the values of one setting in a unit's file and drop-ins.
    pub(crate) fn unit_setting(&self, name: &str, key: &str) -> Vec<String> {
        let files = self.unit_files(name);
        let texts = files.values().filter_map(Content::text);
        let values =
            texts.flat_map(str::lines).filter_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='));
        values.map(|value| value.trim().to_owned()).collect()
    }

    fn install_setting(&self, name: &str, key: &str) -> Vec<String> {
        let values = self.unit_setting(name, key);
        values.iter().flat_map(|value| value.split_whitespace()).map(str::to_owned).collect()
    }

    /// Gives the links that enabling a unit makes: each path and its target.
    pub(crate) fn install_links(&self, name: &str) -> Vec<(String, String)> {
        let Some(Fragment::File(file)) = self.fragment(name) else { return Vec::new() };
        let link = |path: String| (path, file.clone());
        let wanted = self.install_setting(name, "WantedBy").into_iter();
        let required = self.install_setting(name, "RequiredBy").into_iter();
        let alias = self.install_setting(name, "Alias").into_iter();
        wanted
            .map(|by| link(format!("/etc/systemd/system/{by}.wants/{name}")))
            .chain(required.map(|by| link(format!("/etc/systemd/system/{by}.requires/{name}"))))
            .chain(alias.map(|other| link(format!("/etc/systemd/system/{other}"))))
            .collect()
    }

    /// Finds the links by which a unit is enabled now, under /etc.
    pub(crate) fn enabled_links(&self, name: &str) -> Vec<String> {
        let inside = self.nodes.range("/etc/systemd/system/".to_owned().."/etc/systemd/system0".to_owned());
        let links = inside.filter_map(|(path, node)| match node {
            Node::Link { target } => Some((path, target)),
            _ => None,
        });
        let ours = links.filter(|(path, target)| {
            let (dir, last) = split(path);
            let by_dependency = last == name && (dir.ends_with(".wants") || dir.ends_with(".requires"));
            let by_alias =
                dir == "/etc/systemd/system" && last != name && target.rsplit('/').next() == Some(name);
            by_dependency || by_alias
        });
        ours.map(|(path, _)| path.clone()).collect()
    }

    /// Tells what `systemctl show` would say of a unit.
    pub(crate) fn unit_status(&self, asked: &str) -> UnitStatus {
        let name = self.unit_name(asked);
        let unit = self.units.get(&name);
        let (exists, file_state) = match self.fragment(&name) {
            Some(Fragment::Masked) => (true, "masked"),
            Some(Fragment::File(_)) if !self.enabled_links(&name).is_empty() => (true, "enabled"),
            Some(Fragment::File(_)) if self.install_links(&name).is_empty() => (true, "static"),
            Some(Fragment::File(_)) => (true, "disabled"),
            None => (false, ""),
        };
        let loaded = unit.and_then(|unit| unit.loaded.as_ref());
        UnitStatus {
            name: asked.to_owned(),
            exists,
            active: unit.map(|unit| unit.active).unwrap_or_default(),
            file_state: file_state.to_owned(),
            invocation: match unit.map_or(0, |unit| unit.invocation) {
                0 => String::new(),
                number => blake3::hash(&number.to_le_bytes()).to_hex()[..32].to_owned(),
            },
            unannounced: false,
            // The simulated machine counts its starts: in their order is all that anybody asks.
            started: unit.map(|unit| unit.invocation).filter(|number| *number > 0),
            stale: loaded.is_some_and(|loaded| *loaded != self.unit_files(&name)),
        }
    }

    /// Finds what is known of the daemon behind a unit.
    fn daemon(&self, name: &str) -> Option<&CatalogueUnit> {
        self.catalogue
            .values()
            .filter(|package| self.unpacked(&package.name))
            .flat_map(|package| &package.units)
            .find(|unit| unit.name == name)
    }

    /// Says why a unit's daemon would not start now.
    fn obstacle(&self, name: &str) -> Option<String> {
        let daemon = self.daemon(name)?;
        if let Some(needs) = daemon.needs_file.as_ref().filter(|needs| !self.holds(needs)) {
            return Some(format!("{} has no {:?}", needs.0, needs.1));
        }
        let bad =
            |wrong: &(String, String)| self.holds(wrong).then(|| format!("{:?} in {}", wrong.1, wrong.0));
        let broken = |path: &String| bad(&(path.clone(), WRONG.to_owned()));
        daemon.bad_if.as_ref().and_then(bad).or_else(|| daemon.reads.iter().find_map(broken))
    }

    /// Gives the files that a unit's daemon reads when it starts, its unit file as the manager has it among them.
    fn reading(&self, name: &str) -> BTreeMap<String, Content> {
        let mut files =
            self.gather(self.daemon(name).map(|daemon| daemon.reads.as_slice()).unwrap_or_default());
        let loaded = self.units.get(name).and_then(|unit| unit.loaded.clone());
        files.extend(loaded.unwrap_or_else(|| self.unit_files(name)));
        let environment = self.unit_setting(name, "EnvironmentFile");
        files.extend(self.gather(
            &environment.iter().map(|path| path.trim_start_matches('-').to_owned()).collect::<Vec<_>>(),
        ));
        files
    }

    fn unit(&mut self, name: &str) -> &mut Unit {
        self.units.entry(name.to_owned()).or_default()
    }

    /// Starts a unit anew, whether or not it runs. The words of a failure are those of systemctl.
    pub(crate) fn start_unit(&mut self, name: &str) -> Result<(), String> {
        match self.fragment(name) {
            None => return Err(format!("Failed to start {name}: Unit {name} not found.")),
            Some(Fragment::Masked) => return Err(format!("Failed to start {name}: Unit {name} is masked.")),
            Some(Fragment::File(_)) => {}
        }
        if self.units.get(name).is_none_or(|unit| unit.loaded.is_none()) {
            let files = self.unit_files(name);
            self.unit(name).loaded = Some(files);
        }
        let obstacle = self.obstacle(name);
        let oneshot = self.unit_setting(name, "Type").last().is_some_and(|kind| kind == "oneshot")
            && !self
                .unit_setting(name, "RemainAfterExit")
                .iter()
                .any(|value| value == "yes" || value == "true");
        if name == "docker.service" {
            if self.active(name) {
                self.dockerd_stops();
            }
            if obstacle.is_none() {
                self.dockerd_starts();
            }
        }
        let running_with = if obstacle.is_some() || oneshot { BTreeMap::new() } else { self.reading(name) };
        self.starts += 1;
        let invocation = self.starts;
        let unit = self.unit(name);
        unit.invocation = invocation;
        unit.starts += 1;
        unit.running_with = running_with;
        unit.active = match (&obstacle, oneshot) {
            (Some(_), _) => ActiveState::Failed,
            (None, true) => ActiveState::Inactive,
            (None, false) => ActiveState::Active,
        };
        if name.ends_with(".swap") && obstacle.is_none() {
            for path in self.unit_setting(name, "What") {
                self.swap_on(&path);
            }
        }
        if name == "systemd-journal-flush.service" && obstacle.is_none() {
            self.flush_journal();
        }
        match obstacle {
            None => Ok(()),
            Some(_) => Err(format!(
                "Job for {name} failed because the control process exited with error code.\n\
                 See \"systemctl status {name}\" and \"journalctl -xeu {name}\" for details."
            )),
        }
    }

    /// Puts the journal where the running journald keeps it; the last file that says so counts, by its name alone.
    fn flush_journal(&mut self) {
        let journald = self.units.get("systemd-journald.service").map(|unit| unit.running_with.clone());
        let mut files: Vec<_> = journald.unwrap_or_default().into_iter().collect();
        files.sort_by_key(|(path, _)| (path.contains(".d/"), split(path).1.to_owned()));
        let lines = files.iter().flat_map(|(_, content)| content.text().unwrap_or_default().lines());
        let storage = lines.rev().find_map(|line| line.trim().strip_prefix("Storage=")).unwrap_or("auto");
        let (disk, memory) = ("/var/log/journal", "/run/log/journal");
        let root = match storage {
            "none" => return,
            "persistent" => disk,
            "auto" if self.exists(disk) => disk,
            _ => memory,
        };
        let machine = self.text("/etc/machine-id").trim().to_owned();
        for dir in ["/run/log", root, &format!("{root}/{machine}")] {
            if !self.exists(dir) {
                self.put_dir(dir);
            }
        }
        self.put(&format!("{root}/{machine}/system.journal"), "LPKSHHRH");
    }

    /// Makes a running unit read its files again, keeping its invocation.
    pub(crate) fn reload_unit(&mut self, name: &str) -> Result<(), String> {
        if self.fragment(name).is_none() {
            return Err(format!("Failed to reload {name}: Unit {name} not found."));
        }
        if self.units.get(name).is_none_or(|unit| unit.active != ActiveState::Active) {
            return Err(format!("{name} is not active, cannot reload."));
        }
        if !self.reloadable(name) {
            return Err(format!(
                "Failed to reload {name}: Job type reload is not applicable for unit {name}."
            ));
        }
        if self.obstacle(name).is_some() {
            return Err(format!("Job for {name} failed."));
        }
        if name == "docker.service" {
            self.dockerd_reloads();
        }
        let running_with = self.reading(name);
        let unit = self.unit(name);
        unit.running_with = running_with;
        unit.reloads += 1;
        Ok(())
    }

    /// Tells whether a unit can reload.
    pub(crate) fn reloadable(&self, name: &str) -> bool {
        self.daemon(name)
            .map_or_else(|| !self.unit_setting(name, "ExecReload").is_empty(), |daemon| daemon.reloads)
    }

    /// Stops a unit.
    pub(crate) fn stop_unit(&mut self, name: &str) {
        if name == "docker.service" && self.active(name) {
            self.dockerd_stops();
        }
        if let Some(unit) = self.units.get_mut(name) {
            unit.active = ActiveState::Inactive;
            unit.running_with.clear();
        }
        if name.ends_with(".swap") {
            for path in self.unit_setting(name, "What") {
                self.swap_off(&path);
            }
        }
    }

    /// Makes the manager read all unit files again.
    pub(crate) fn reload_manager(&mut self) {
        let names: Vec<String> = self.units.keys().cloned().collect();
        for name in names {
            let files = self.unit_files(&name);
            match self.units.get_mut(&name) {
                // What neither has a file nor runs is forgotten.
                Some(unit) if files.is_empty() && unit.active != ActiveState::Active => {
                    self.units.remove(&name);
                }
                Some(unit) if unit.loaded.is_some() => unit.loaded = Some(files),
                _ => {}
            }
        }
    }

    /// Finds the units that are started at boot.
    fn wanted_at_boot(&self) -> Vec<String> {
        const TARGETS: [&str; 6] = ["sysinit", "basic", "multi-user", "sockets", "timers", "swap"];
        let mut names = Vec::new();
        for dir in DIRS {
            for target in TARGETS {
                for kind in ["wants", "requires"] {
                    names.extend(self.names(&format!("{dir}/{target}.target.{kind}")).unwrap_or_default());
                }
            }
        }
        names
    }

    /// Starts the machine after its power was gone.
    pub(crate) fn boot(&mut self) {
        self.boots += 1;
        self.clock += jiff::SignedDuration::from_secs(30);
        for (path, before) in std::mem::take(&mut self.unsynced) {
            match before {
                Some(node) => self.nodes.insert(path, node),
                None => self.nodes.remove(&path),
            };
        }
        self.nodes.retain(|path, _| !path.starts_with("/run/") && !path.starts_with("/tmp/"));
        for dir in ["/run/lock", "/run/systemd/system", "/run/sshd"] {
            self.put_dir(dir);
        }
        for (path, content) in self.kernel.clone() {
            self.put(&path, content);
        }
        let id = blake3::hash(format!("boot {}", self.boots).as_bytes()).to_hex();
        let id = format!("{}-{}-{}-{}-{}\n", &id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..32]);
        self.put("/proc/sys/kernel/random/boot_id", id);
        self.apply_sysctls();
        self.take_host_name();
        self.mount_swaps();
        // Nothing outlives a boot; what docker is to start again it starts again.
        self.live_restore = false;
        self.end_containers(false);
        for unit in self.units.values_mut() {
            *unit = Unit { starts: unit.starts, reloads: unit.reloads, ..Unit::default() };
        }
        for name in self.wanted_at_boot() {
            let name = self.unit_name(&name);
            if self.unit_status(&name).active != ActiveState::Active {
                // A unit that fails at boot is Failed; nobody else is told.
                let _ = self.start_unit(&name);
            }
        }
    }
}
