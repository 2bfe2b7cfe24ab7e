//! apt and dpkg.

use std::collections::{BTreeMap, BTreeSet};

use pitool_host::{Access, ActiveState, Package, PackageState};

use crate::accounts::NewUser;
use crate::machine::DIRECTORIES;
use crate::shell::{Ending, Shell, Stop};
use crate::sim::Fault;
use crate::world::{CataloguePackage, Node, Pending, World, split};

/// The file that tells apt that dpkg did not come to its end.
const INTERRUPTED: &str = "/var/lib/dpkg/updates/0000";
const LISTS: &str = "/var/lib/apt/lists";

/// One apt source.
struct Source {
    uri: String,
    suite: String,
    components: String,
    signed_by: Option<String>,
}

impl Source {
    fn list(&self) -> String {
        let place =
            self.uri.split_once("://").map_or(self.uri.as_str(), |(_, rest)| rest).trim_end_matches('/');
        format!("{}_dists_{}_InRelease", place.replace('/', "_"), self.suite.replace('/', "_"))
    }

    fn host(&self) -> &str {
        let place = self.uri.split_once("://").map_or(self.uri.as_str(), |(_, rest)| rest);
        place.split('/').next().unwrap_or_default()
    }

    /// Who signs it, as its InRelease file says: origin and label.
    fn origin(&self) -> (&'static str, &'static str) {
        match self.host() {
            "download.docker.com" => ("Docker", "Docker CE"),
            host if host.contains("archive.raspberrypi") => {
                ("Raspberry Pi Foundation", "Raspberry Pi Foundation")
            }
            host if host.contains("raspbian") => ("Raspbian", "Raspbian"),
            "security.debian.org" => ("Debian", "Debian-Security"),
            _ if self.suite.ends_with("-security") => ("Debian", "Debian-Security"),
            _ => ("Debian", "Debian"),
        }
    }

    fn codename(&self) -> &str {
        self.suite.split('/').next().unwrap_or_default()
    }
}

impl World {
    /// Tells whether a package's files are all there.
    pub(crate) fn unpacked(&self, name: &str) -> bool {
        let pending = self.pending.get(name);
        self.packages.installed(name)
            || matches!(pending, Some(Pending::Unpacked | Pending::ReinstallRequired))
    }

    /// Puts packages into the database as installed by hand, with their files, and without running anything.
    pub(crate) fn preinstall(&mut self, names: &[&str]) {
        for name in names {
            let Some(package) = self.catalogue.get(*name).cloned() else { continue };
            for file in package.payload() {
                self.put_with(&file.path, file.content, Access::root(file.mode));
            }
            self.configure(&package);
            for unit in package.units.iter().filter(|unit| unit.enabled) {
                self.enable_once(&unit.name);
            }
            self.record(&package, PackageState::Installed);
        }
        self.write_database();
    }

    fn record(&mut self, package: &CataloguePackage, state: PackageState) {
        let arch = if package.all { "all".to_owned() } else { self.packages.native.clone() };
        let manual = !self.automatic.contains(&package.name);
        let entry = Package {
            state,
            version: package.version.clone(),
            arch,
            manual,
            reinstall: matches!(
                self.pending.get(&package.name),
                Some(Pending::HalfInstalled | Pending::ReinstallRequired)
            ),
            depends: package.depends.join(", "),
            recommends: package.recommends.join(", "),
            provides: String::new(),
        };
        self.packages.packages.insert(package.name.clone(), entry);
        if state != PackageState::Broken {
            self.pending.remove(&package.name);
        }
        self.write_database();
    }

    fn begin(&mut self, package: &CataloguePackage, pending: Pending) {
        self.put(INTERRUPTED, "");
        self.pending.insert(package.name.clone(), pending);
        self.record(package, PackageState::Broken);
    }

    fn forget(&mut self, name: &str) {
        self.packages.packages.remove(name);
        self.pending.remove(name);
        self.automatic.remove(name);
        self.write_database();
    }

    /// Brings dpkg's status file and apt's extended states, and the marks in the database, up to date.
    pub(crate) fn write_database(&mut self) {
        let (mut status, mut states) = (String::new(), String::new());
        for (name, package) in &mut self.packages.packages {
            package.manual = !self.automatic.contains(name);
            let word = match (package.state, self.pending.get(name)) {
                (PackageState::Installed, _) => "install ok installed",
                (PackageState::ConfigFiles, _) => "deinstall ok config-files",
                (PackageState::Broken, Some(Pending::HalfInstalled)) => "install reinstreq half-installed",
                (PackageState::Broken, Some(Pending::ReinstallRequired)) => "install reinstreq unpacked",
                (PackageState::Broken, Some(Pending::Removing)) => "deinstall ok half-configured",
                (PackageState::Broken, Some(Pending::Purging)) => "purge ok half-configured",
                (PackageState::Broken, _) => "install ok unpacked",
            };
            status += &format!(
                "Package: {name}\nStatus: {word}\nArchitecture: {}\nVersion: {}\n",
                package.arch, package.version
            );
            for (field, value) in [("Depends", &package.depends), ("Recommends", &package.recommends)] {
                if !value.is_empty() {
                    status += &format!("{field}: {value}\n");
                }
            }
            status.push('\n');
        }
        for name in &self.automatic {
            let arch = &self.packages.native;
            states += &format!("Package: {name}\nArchitecture: {arch}\nAuto-Installed: 1\n\n");
        }
        self.put("/var/lib/dpkg/status", status);
        self.put("/var/lib/apt/extended_states", states);
    }

    fn sources(&self) -> Vec<Source> {
        let mut sources = Vec::new();
        let parts = self.gather(&["/etc/apt/sources.list".to_owned(), "/etc/apt/sources.list.d".to_owned()]);
        for (path, content) in &parts {
            let text = content.text().unwrap_or_default();
            if path.ends_with(".sources") {
                for stanza in text.split("\n\n") {
                    let fields: BTreeMap<String, &str> = stanza
                        .lines()
                        .filter(|line| !line.starts_with(['#', ' ']))
                        .filter_map(|line| line.split_once(':'))
                        .map(|(key, value)| (key.to_lowercase(), value.trim()))
                        .collect();
                    let field = |key: &str| fields.get(key).copied().unwrap_or_default();
                    if field("enabled").eq_ignore_ascii_case("no") || !field("types").contains("deb") {
                        continue;
                    }
                    for uri in field("uris").split_whitespace() {
                        for suite in field("suites").split_whitespace() {
                            sources.push(Source {
                                uri: uri.to_owned(),
                                suite: suite.to_owned(),
                                components: field("components").to_owned(),
                                signed_by: Some(field("signed-by").to_owned())
                                    .filter(|key| key.starts_with('/')),
                            });
                        }
                    }
                }
            } else if path.ends_with(".list") {
                for line in text.lines().filter_map(|line| line.trim().strip_prefix("deb ")) {
                    let (options, rest) =
                        match line.trim().strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                            Some((options, rest)) => (options, rest),
                            None => ("", line),
                        };
                    let words: Vec<&str> = rest.split_whitespace().collect();
                    let [uri, suite, components @ ..] = words.as_slice() else { continue };
                    let signed_by =
                        options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
                    sources.push(Source {
                        uri: (*uri).to_owned(),
                        suite: (*suite).to_owned(),
                        components: components.join(" "),
                        signed_by: signed_by.map(str::to_owned),
                    });
                }
            }
        }
        sources
    }

    /// Tells whether apt's lists know a package.
    fn offered(&self, name: &str) -> Option<&CataloguePackage> {
        const DISTRIBUTION: [&str; 3] = ["deb.debian.org", "archive.raspbian.org", "raspbian.raspberrypi"];
        let package = self.catalogue.get(name)?;
        let lists = self.names(LISTS).unwrap_or_default();
        let known = lists.iter().any(|list| match &package.source {
            Some(host) => list.contains(host.as_str()),
            None => DISTRIBUTION.iter().any(|host| list.starts_with(host)),
        });
        known.then_some(package)
    }

    /// Fills apt's lists, as a successful update does.
    pub fn refresh_lists(&mut self) -> &mut Self {
        for source in self.sources() {
            let (origin, label) = source.origin();
            let text =
                format!("Origin: {origin}\nLabel: {label}\nSuite: stable\nCodename: {}\n", source.codename());
            self.put(&format!("{LISTS}/{}", source.list()), text);
        }
        self
    }

    fn unpack(&mut self, package: &CataloguePackage) {
        for file in package.payload().into_iter().filter(|file| !file.conffile) {
            self.put_with(&file.path, file.content, Access::root(file.mode));
        }
        for dir in &package.dirs {
            self.put_dir(dir);
        }
        self.pending.insert(package.name.clone(), Pending::ReinstallRequired);
        self.record(package, PackageState::Broken);
    }

    fn configure(&mut self, package: &CataloguePackage) {
        for file in package.files.iter().filter(|file| file.conffile) {
            if self.node(&file.path, false).is_none() {
                self.put_with(&file.path, file.content.clone(), Access::root(file.mode));
            }
        }
        for dir in &package.dirs {
            self.put_dir(dir);
        }
        for group in &package.groups {
            self.add_group(group, None, true);
        }
        for user in &package.users {
            self.add_user(user, &NewUser { system: true, ..Default::default() });
        }
        // ldconfig, update-rc.d and their like leave nothing that anyone here looks at.
        self.reload_manager();
    }

    /// Enables a unit unless its package has done so before: a person's `disable` outlives an upgrade.
    fn enable_once(&mut self, unit: &str) {
        let mark = format!("/var/lib/systemd/deb-systemd-helper-enabled/{unit}.dsh-also");
        if !self.exists(&mark) {
            let links = self.install_links(unit);
            self.put(&mark, "");
            for (path, target) in links {
                self.put_link(&path, &target);
            }
        }
    }

    fn delete_files(&mut self, package: &CataloguePackage, conffiles: bool) {
        for file in package.payload().iter().filter(|file| file.conffile == conffiles) {
            self.erase(&file.path);
            self.prune(split(&file.path).0);
        }
        for dir in &package.dirs {
            self.prune(dir);
        }
    }

    /// Removes empty directories upwards that no package owns any more.
    fn prune(&mut self, dir: &str) {
        let base = dir.matches('/').count() <= 1 || DIRECTORIES.contains(&dir);
        if base || self.names(dir).is_none_or(|names| !names.is_empty()) {
            return;
        }
        let below = format!("{dir}/");
        let owned = self.catalogue.values().any(|package| {
            let here = |path: &String| path.starts_with(&below) || path == dir;
            self.packages.get(&package.name).is_some()
                && self.unpacked(&package.name)
                && (package.files.iter().any(|file| here(&file.path)) || package.dirs.iter().any(here))
        });
        if !owned {
            self.erase(dir);
            self.prune(split(dir).0);
        }
    }
}

/// What one call of dpkg is to do, in this order.
#[derive(Default)]
struct Transaction {
    marks: BTreeMap<String, bool>,
    remove: Vec<(String, bool)>,
    unpack: Vec<String>,
    configure: Vec<String>,
    status_fd: bool,
    remove_reinstreq: bool,
    failed: BTreeSet<String>,
}

impl Transaction {
    fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.unpack.is_empty() && self.configure.is_empty()
    }

    /// Adds a package and what it needs, dependencies first.
    fn add(&mut self, world: &World, name: &str, options: &Options) -> std::result::Result<(), String> {
        if self.unpack.iter().any(|known| known == name) {
            return Ok(());
        }
        let package = world.offered(name).ok_or_else(|| name.to_owned())?;
        // Against circles: it stands in the list while its dependencies are looked at.
        self.unpack.push(name.to_owned());
        let place = self.unpack.len() - 1;
        let recommends = package.recommends.iter().filter(|_| options.recommends);
        let recommends = recommends.filter(|name| world.offered(name).is_some());
        let needs: Vec<&String> = package.depends.iter().chain(recommends).collect();
        for need in needs {
            if !world.unpacked(need) {
                if !self.unpack.contains(need) {
                    self.marks.entry(need.clone()).or_insert(true);
                }
                self.add(world, need, options)?;
            }
        }
        let name = self.unpack.remove(place);
        self.unpack.push(name);
        for other in &package.conflicts {
            if world.packages.installed(other) {
                self.remove(world, other, false);
            }
        }
        Ok(())
    }

    /// Adds the removal of a package and of what depends on it, dependents first.
    fn remove(&mut self, world: &World, name: &str, purge: bool) {
        if self.remove.iter().any(|(known, _)| known == name) {
            return;
        }
        let dependents: Vec<String> = world
            .catalogue
            .values()
            .filter(|other| world.unpacked(&other.name) && other.depends.iter().any(|need| need == name))
            .map(|other| other.name.clone())
            .collect();
        for other in dependents.iter().filter(|other| *other != name) {
            self.remove(world, other, purge);
        }
        self.remove.push((name.to_owned(), purge));
    }

    fn total(&self) -> usize {
        (self.remove.len() + self.unpack.len() + self.configure.len()).max(1)
    }

    /// Runs dpkg. The status is that of apt.
    fn run(mut self, shell: &mut Shell<'_>) -> Ending {
        let world = shell.world();
        let changed: Vec<_> = self
            .marks
            .iter()
            .filter(|(name, auto)| world.automatic.contains(*name) != **auto)
            .map(|(name, auto)| (name.clone(), *auto))
            .collect();
        drop(world);
        if !changed.is_empty() {
            shell.change("mark extended states", |world| world.mark_automatic(&changed))?;
        }
        if self.is_empty() {
            return Ok(0);
        }
        let mut done = 0;
        for (name, purge) in std::mem::take(&mut self.remove) {
            self.tell(shell, done, &name, "Removing");
            let reinstall = shell.world().packages.get(&name).is_some_and(|package| package.reinstall);
            if reinstall && !self.remove_reinstreq {
                self.failure(shell, &name, "--remove", &inconsistent("a removal"));
                continue;
            }
            remove_one(shell, &name, purge)?;
            done += 1;
        }
        for name in std::mem::take(&mut self.unpack) {
            self.tell(shell, done, &name, "Unpacking");
            self.configure.push(name.clone());
            self.unpack_one(shell, &name)?;
            done += 1;
        }
        for name in std::mem::take(&mut self.configure) {
            self.tell(shell, done, &name, "Configuring");
            self.configure_one(shell, &name)?;
            done += 1;
        }
        shell.change("finish dpkg", |world| {
            world.erase(INTERRUPTED);
        })?;
        if self.failed.is_empty() {
            return Ok(0);
        }
        shell.complain("Errors were encountered while processing:");
        for name in &self.failed {
            shell.complain(format!(" {name}"));
        }
        Ok(1)
    }

    fn tell(&self, shell: &mut Shell<'_>, done: usize, name: &str, what: &str) {
        if self.status_fd {
            let arch = shell.world().packages.native.clone();
            let percent = done as f64 * 100.0 / (done + self.total()) as f64;
            shell.say(format!("pmstatus:{name}:{percent:.4}:{what} {name} ({arch})"));
        } else {
            shell.say(format!("{what} {name} ..."));
        }
    }

    fn unpack_one(&mut self, shell: &mut Shell<'_>, name: &str) -> std::result::Result<(), Stop> {
        let Some(package) = shell.world().catalogue.get(name).cloned() else { return Ok(()) };
        shell
            .change(&format!("half-install {name}"), |world| world.begin(&package, Pending::HalfInstalled))?;
        if let Err(fault) = shell.attempt(&format!("unpack {name}"), |world| world.unpack(&package))? {
            self.failure(shell, name, "--unpack", &fault);
            return Ok(());
        }
        shell.change(&format!("call {name} unpacked"), |world| world.begin(&package, Pending::Unpacked))
    }

    fn failure(&mut self, shell: &mut Shell<'_>, name: &str, phase: &str, fault: &Fault) {
        shell.complain(format!("dpkg: error processing package {name} ({phase}):\n {}", fault.words()));
        self.failed.insert(name.to_owned());
    }

    fn configure_one(&mut self, shell: &mut Shell<'_>, name: &str) -> std::result::Result<(), Stop> {
        let Some(package) = shell.world().catalogue.get(name).cloned() else { return Ok(()) };
        if self.failed.contains(name) {
            return Ok(());
        }
        if package.depends.iter().any(|need| self.failed.contains(need)) {
            let words = "dependency problems - leaving unconfigured".to_owned();
            self.failure(shell, name, "--configure", &Fault::Fails(1, words));
            return Ok(());
        }
        if shell.world().pending.get(name) == Some(&Pending::ReinstallRequired) {
            self.failure(shell, name, "--configure", &inconsistent("configuration"));
            return Ok(());
        }
        let configured = shell.attempt(&format!("configure {name}"), |world| {
            world.put(INTERRUPTED, "");
            world.configure(&package);
        })?;
        if let Err(fault) = configured {
            self.failure(shell, name, "--configure", &fault);
            return Ok(());
        }
        if let Some(words) = &package.fails {
            let words = format!(
                "{words}\n {name} package post-installation script subprocess returned error exit status 1"
            );
            self.failure(shell, name, "--configure", &Fault::Fails(1, words));
            return Ok(());
        }
        for unit in &package.units {
            let unit_name = &unit.name;
            if unit.enabled {
                shell.change(&format!("enable {unit_name}"), |world| world.enable_once(unit_name))?;
            }
            let world = shell.world();
            let allowed = !world.exists("/usr/sbin/policy-rc.d") && !shell.away();
            let status = world.unit_status(unit_name);
            drop(world);
            let wanted = status.enabled() || status.active == ActiveState::Active;
            if !unit.started || !allowed || status.masked() || !wanted {
                continue;
            }
            let started =
                shell.attempt(&format!("start {unit_name}"), |world| world.start_unit(unit_name))?;
            let failed = match started {
                Err(fault) => Some(fault),
                // Without what it needs it takes its package down with it; a bad setting only fails the unit.
                Ok(Err(words)) => unit.needs_file.as_ref().map(|_| Fault::Fails(1, words)),
                Ok(Ok(())) => None,
            };
            if let Some(fault) = failed {
                self.failure(shell, name, "--configure", &fault);
                return Ok(());
            }
        }
        shell.change(&format!("installed {name}"), |world| world.record(&package, PackageState::Installed))
    }
}

/// What dpkg says of a package that is to be installed again before anything else.
fn inconsistent(attempt: &str) -> Fault {
    let words = "package is in a very bad inconsistent state; you should\n reinstall it before attempting";
    Fault::Fails(1, format!("{words} {attempt}"))
}

fn remove_one(shell: &mut Shell<'_>, name: &str, purge: bool) -> std::result::Result<(), Stop> {
    let known = shell.world().catalogue.get(name).cloned();
    let package = known.unwrap_or_else(|| CataloguePackage::new(name));
    let there =
        shell.world().packages.get(name).is_some_and(|package| package.state != PackageState::ConfigFiles);
    if there {
        let pending = if purge { Pending::Purging } else { Pending::Removing };
        shell.change(&format!("half-remove {name}"), |world| world.begin(&package, pending))?;
        for unit in &package.units {
            let active = shell.world().unit_status(&unit.name).active;
            if active != ActiveState::Inactive && !shell.away() {
                shell.change(&format!("stop {}", unit.name), |world| world.stop_unit(&unit.name))?;
            }
        }
        shell.change(&format!("remove {name}"), |world| {
            world.delete_files(&package, false);
            world.reload_manager();
            let leaves = package.files.iter().any(|file| file.conffile) || !package.units.is_empty();
            if leaves { world.record(&package, PackageState::ConfigFiles) } else { world.forget(name) }
        })?;
    }
    if purge && shell.world().packages.get(name).is_some() {
        shell.change(&format!("purge {name}"), |world| {
            world.put(INTERRUPTED, "");
            world.delete_files(&package, true);
            for unit in &package.units {
                for link in world.enabled_links(&unit.name) {
                    world.erase(&link);
                    world.prune(split(&link).0);
                }
                world.erase(&format!("/var/lib/systemd/deb-systemd-helper-enabled/{}.dsh-also", unit.name));
                world.units.remove(&unit.name);
            }
            world.forget(name);
        })?;
    }
    Ok(())
}

impl World {
    fn mark_automatic(&mut self, marks: &[(String, bool)]) {
        for (name, automatic) in marks {
            if *automatic {
                self.automatic.insert(name.clone());
            } else {
                self.automatic.remove(name);
            }
        }
        self.write_database();
    }
}

/// The options of apt-get that change what it does.
struct Options {
    simulate: bool,
    recommends: bool,
    purge: bool,
    no_remove: bool,
    reinstall: bool,
    remove_reinstreq: bool,
    download_only: bool,
    autoremove: bool,
    set: BTreeMap<String, String>,
}

impl Options {
    fn parse<'a>(shell: &Shell<'_>, args: &[&'a str]) -> (Self, Vec<&'a str>) {
        let mut options = Self {
            simulate: false,
            recommends: true,
            purge: false,
            no_remove: false,
            reinstall: false,
            remove_reinstreq: false,
            download_only: false,
            autoremove: false,
            set: BTreeMap::new(),
        };
        let mut words = Vec::new();
        let mut rest = args.iter();
        while let Some(&arg) = rest.next() {
            let mut set = |pair: &str| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                options.remove_reinstreq |= value == "--force-remove-reinstreq";
                options.set.insert(key.to_lowercase(), value.to_owned());
            };
            match arg {
                "-o" | "--option" => set(rest.next().copied().unwrap_or_default()),
                "-s" | "--simulate" | "--dry-run" | "--just-print" => options.simulate = true,
                "--no-install-recommends" => options.recommends = false,
                "--install-recommends" => options.recommends = true,
                "--purge" => options.purge = true,
                "--no-remove" => options.no_remove = true,
                "--reinstall" => options.reinstall = true,
                "-d" | "--download-only" => options.download_only = true,
                "--auto-remove" | "--autoremove" => options.autoremove = true,
                "-y"
                | "-q"
                | "-qq"
                | "--yes"
                | "--assume-yes"
                | "--quiet"
                | "-f"
                | "--fix-broken"
                | "-V"
                | "--"
                | "--allow-downgrades"
                | "--allow-change-held-packages"
                | "--allow-releaseinfo-change"
                | "--with-new-pkgs"
                | "--no-auto-remove" => {}
                _ if arg.starts_with("-o") => set(&arg[2..]),
                _ if arg.starts_with("--option=") => set(&arg[9..]),
                _ if arg.starts_with("-q") => {}
                _ if arg.starts_with('-') => shell.unknown(),
                _ => words.push(arg),
            }
        }
        if options.value("apt::install-recommends").is_some_and(|value| value == "false" || value == "0") {
            options.recommends = false;
        }
        (options, words)
    }

    fn value(&self, key: &str) -> Option<&str> {
        self.set.get(key).map(String::as_str)
    }
}

fn lock(shell: &mut Shell<'_>, options: &Options) -> std::result::Result<(), Stop> {
    let patience = options.value("dpkg::lock::timeout").and_then(|value| value.parse().ok()).unwrap_or(0);
    if shell.wait_for_apt(if patience < 0 { i64::MAX / 4 } else { patience }) {
        return Ok(());
    }
    shell.complain(
        "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 1234 (unattended-upgr)",
    );
    shell.fail(
        100,
        "E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), is another process using it?",
    )
}

/// apt-get(8).
pub(crate) fn get(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    let (options, words) = Options::parse(shell, args);
    let Some((&verb, names)) = words.split_first() else { shell.unknown() };
    match verb {
        "update" => return update(shell, &options),
        "clean" | "autoclean" | "check" => return Ok(0),
        _ => {}
    }
    if !options.simulate {
        lock(shell, &options)?;
        if shell.world().exists(INTERRUPTED) {
            return shell.fail(
                100,
                "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem.",
            );
        }
    }
    let mut transaction = Transaction {
        remove_reinstreq: options.remove_reinstreq,
        // Descriptor 3 is standard output once more (`Command::with_third`).
        status_fd: options.value("apt::status-fd").is_some_and(|fd| fd == "1" || fd == "3"),
        ..Transaction::default()
    };
    let status = match verb {
        "install" => install(shell, &mut transaction, names, &options)?,
        "remove" | "purge" => {
            let purge = verb == "purge" || options.purge;
            let mut status = 0;
            for name in names {
                let name = plain(&shell.world(), name);
                let (known, state) = (
                    shell.world().offered(&name).is_some(),
                    shell.world().packages.get(&name).map(|p| p.state),
                );
                match state {
                    None if !known => {
                        shell.complain(format!("E: Unable to locate package {name}"));
                        status = 100;
                    }
                    Some(PackageState::ConfigFiles) if !purge => {}
                    None => shell.say(format!("Package '{name}' is not installed, so not removed")),
                    Some(_) => transaction.remove(&shell.world(), &name, purge),
                }
            }
            status
        }
        "upgrade" | "dist-upgrade" | "full-upgrade" => {
            let world = shell.world();
            let outdated = world.packages.packages.iter().filter(|(name, package)| {
                let newest = world.offered(name).map(|package| &package.version);
                package.state == PackageState::Installed
                    && newest.is_some_and(|newest| *newest != package.version)
            });
            let outdated: Vec<String> = outdated.map(|(name, _)| name.clone()).collect();
            for name in outdated {
                if transaction.add(&world, &name, &options).is_err() {
                    drop(world);
                    return shell.fail(100, "E: Unable to correct problems, you have held broken packages.");
                }
            }
            0
        }
        "autoremove" => 0,
        _ => shell.unknown(),
    };
    if status != 0 {
        return Ok(status);
    }
    if options.autoremove || verb == "autoremove" {
        loop {
            let next = orphan(&shell.world(), &transaction);
            let Some(name) = next else { break };
            transaction.remove(&shell.world(), &name, options.purge);
        }
    }
    finish_pending(&shell.world(), &mut transaction);
    if options.no_remove && !transaction.remove.is_empty() {
        return shell.fail(100, "E: Packages need to be removed but remove is disabled.");
    }
    if options.simulate {
        for (name, purge) in &transaction.remove {
            shell.say(format!("{} {name} [installed]", if *purge { "Purg" } else { "Remv" }));
        }
        for verb in ["Inst", "Conf"] {
            for name in &transaction.unpack {
                let version =
                    shell.world().catalogue.get(name).map(|p| p.version.clone()).unwrap_or_default();
                shell.say(format!("{verb} {name} ({version} Debian:stable)"));
            }
        }
        return Ok(0);
    }
    if !transaction.unpack.is_empty() {
        let total = transaction.unpack.len();
        for (index, name) in transaction.unpack.clone().iter().enumerate() {
            if transaction.status_fd {
                let percent = index as f64 * 100.0 / total as f64;
                shell.say(format!(
                    "dlstatus:{}:{percent:.4}:Retrieving file {} of {total}",
                    index + 1,
                    index + 1
                ));
            }
            if shell.offline() {
                shell.complain(format!(
                    "E: Failed to fetch http://deb.debian.org/debian/pool/main/{}/{name}/{name}.deb  Temporary failure resolving 'deb.debian.org'",
                    &name[..1]
                ));
            }
        }
        if shell.offline() {
            return shell.fail(
                100,
                "E: Unable to fetch some archives, maybe run apt-get update or try with --fix-missing?",
            );
        }
    }
    if options.download_only {
        return Ok(0);
    }
    match transaction.run(shell)? {
        0 => Ok(0),
        _ => shell.fail(100, "E: Sub-process /usr/bin/dpkg returned an error code (1)"),
    }
}

/// Takes the architecture off a package's name.
fn plain(world: &World, name: &str) -> String {
    let native = format!(":{}", world.packages.native);
    name.trim_end_matches(native.as_str()).trim_end_matches(":all").trim_end_matches(":any").to_owned()
}

fn install(
    shell: &mut Shell<'_>,
    transaction: &mut Transaction,
    names: &[&str],
    options: &Options,
) -> std::result::Result<i32, Stop> {
    let mut missing = Vec::new();
    let mut wanted = Vec::new();
    let world = shell.world();
    for word in names {
        let name = plain(&world, word);
        if !world.catalogue.contains_key(&name) && world.packages.get(&name).is_none() {
            if let Some(name) = name.strip_suffix('-') {
                if world.packages.get(name).is_some_and(|package| package.state != PackageState::ConfigFiles)
                {
                    transaction.remove(&world, name, options.purge);
                }
                continue;
            }
        }
        let (name, version) = match name.split_once('=') {
            Some((name, version)) => (plain(&world, name), Some(version.to_owned())),
            None => (name, None),
        };
        let offered = world.offered(&name);
        match (offered, version) {
            (Some(offered), Some(version)) if offered.version != version => {
                missing.push(format!("E: Version '{version}' for '{name}' was not found"));
            }
            (None, _) if !world.unpacked(&name) => {
                missing.push(format!("E: Unable to locate package {name}"))
            }
            _ => wanted.push(name),
        }
    }
    let mut unmet = None;
    // What is only put back is no more asked for than before.
    let asked = |name: &String| !options.reinstall || !world.unpacked(name);
    for name in &wanted {
        if asked(name) {
            transaction.marks.insert(name.clone(), false);
        }
        let current = world.packages.get(name).map(|package| (package.state, package.version.as_str()));
        let newest = world.offered(name).map(|package| package.version.as_str());
        let up_to_date = match current {
            Some((PackageState::Installed, version)) => {
                !options.reinstall && newest.is_none_or(|newest| newest == version)
            }
            Some((PackageState::Broken, _)) => match world.pending.get(name) {
                Some(Pending::Unpacked) => true,
                // apt takes what dpkg calls unpacked for whole, whatever its flag says.
                Some(Pending::ReinstallRequired) => !options.reinstall,
                _ => false,
            },
            _ => false,
        };
        if !up_to_date {
            if let Err(need) = transaction.add(&world, name, options) {
                unmet = Some(format!(" {name} : Depends: {need} but it is not installable"));
            }
        }
    }
    // Asked for by name beats pulled in by another.
    for name in wanted.iter().filter(|name| asked(name)) {
        transaction.marks.insert(name.clone(), false);
    }
    drop(world);
    for line in &missing {
        shell.complain(line);
    }
    if let Some(line) = unmet {
        shell.say("The following packages have unmet dependencies:");
        shell.say(line);
        shell.complain("E: Unable to correct problems, you have held broken packages.");
        return Ok(100);
    }
    Ok(if missing.is_empty() { 0 } else { 100 })
}

/// Adds what an earlier call left unfinished.
fn finish_pending(world: &World, transaction: &mut Transaction) {
    for (name, pending) in &world.pending {
        if transaction.unpack.contains(name) || transaction.remove.iter().any(|(known, _)| known == name) {
            continue;
        }
        match pending {
            Pending::HalfInstalled => transaction.unpack.push(name.clone()),
            Pending::Unpacked | Pending::ReinstallRequired => transaction.configure.push(name.clone()),
            Pending::Removing => transaction.remove.push((name.clone(), false)),
            Pending::Purging => transaction.remove.push((name.clone(), true)),
        }
    }
}

/// Finds an automatically installed package that nothing needs.
fn orphan(world: &World, transaction: &Transaction) -> Option<String> {
    let going = |name: &str| transaction.remove.iter().any(|(known, _)| known == name);
    let needed = |name: &str| {
        world.catalogue.values().any(|other| {
            (world.unpacked(&other.name) && !going(&other.name) || transaction.unpack.contains(&other.name))
                && other.depends.iter().chain(&other.recommends).any(|need| need == name)
        })
    };
    let installed = world.automatic.iter().filter(|name| world.packages.installed(name) && !going(name));
    installed.into_iter().find(|name| !needed(name)).cloned()
}

fn update(shell: &mut Shell<'_>, options: &Options) -> Ending {
    lock(shell, options)?;
    let sources = shell.world().sources();
    let mut failed = false;
    for (index, source) in sources.iter().enumerate() {
        let place = format!("{} {} InRelease", source.uri, source.suite);
        if shell.offline() {
            shell.say(format!("Ign:{} {place}", index + 1));
            let severity = if options.value("apt::update::error-mode") == Some("any") { "E" } else { "W" };
            shell.complain(format!(
                "{severity}: Failed to fetch {}/dists/{}/InRelease  Temporary failure resolving '{}'",
                source.uri.trim_end_matches('/'),
                source.suite,
                source.host()
            ));
            failed = true;
            continue;
        }
        if let Some(key) = source.signed_by.as_ref().filter(|key| !shell.world().exists(key)) {
            shell.complain(format!("W: GPG error: {place}: The key(s) in the keyring {key} are ignored as the file is not readable by user '_apt' executing apt-key."));
            return shell.fail(100, format!("E: The repository '{place}' is not signed."));
        }
        shell.say(format!("Get:{} {place} [100 kB]", index + 1));
        let (origin, label) = source.origin();
        let text =
            format!("Origin: {origin}\nLabel: {label}\nSuite: stable\nCodename: {}\n", source.codename());
        let path = format!("{LISTS}/{}", source.list());
        shell.change(&format!("update {}", source.list()), |world| {
            world.put(&path, text);
        })?;
    }
    if !failed {
        return Ok(0);
    }
    if options.value("apt::update::error-mode") == Some("any") {
        return shell.fail(
            100,
            "E: Some index files failed to download. They have been ignored, or old ones used instead.",
        );
    }
    shell.complain(
        "W: Some index files failed to download. They have been ignored, or old ones used instead.",
    );
    Ok(0)
}

/// dpkg-query(1): which paths a package brings, and which packages bring a path.
pub(crate) fn dpkg_query(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    let world = shell.world();
    let paths = |name: &str| -> Vec<String> {
        let Some(package) = world.packages.get(name).and_then(|_| world.catalogue.get(name)) else {
            return Vec::new();
        };
        let files = package.files.iter().map(|file| file.path.clone());
        let mut all: BTreeSet<String> = files.chain(package.dirs.iter().cloned()).collect();
        for path in all.clone() {
            let mut above = split(&path).0;
            while above != "/" {
                all.insert(above.to_owned());
                above = split(above).0;
            }
        }
        all.into_iter().collect()
    };
    let lines: Vec<String> = match args {
        ["--listfiles", name] => paths(name),
        ["--search", path] => {
            let owns = |name: &&String| paths(name).iter().any(|owned| owned == path);
            let owners: Vec<&str> = world.packages.packages.keys().filter(owns).map(String::as_str).collect();
            if owners.is_empty() { Vec::new() } else { vec![format!("{}: {path}", owners.join(", "))] }
        }
        _ => shell.unknown(),
    };
    drop(world);
    lines.iter().for_each(|line| shell.say(line));
    Ok(i32::from(lines.is_empty()))
}

/// dpkg(1): only what finishes an interrupted run, and questions.
pub(crate) fn dpkg(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    let args: Vec<&str> = args.iter().copied().filter(|arg| !arg.starts_with("--force-")).collect();
    match args.as_slice() {
        ["--configure", "-a" | "--pending"] => {
            if !shell.wait_for_apt(0) {
                return shell
                    .fail(2, "dpkg: error: dpkg frontend lock was locked by another process with pid 1234");
            }
            let world = shell.world();
            let unpacked = world.pending.keys().filter(|name| world.unpacked(name));
            let mut transaction =
                Transaction { configure: unpacked.cloned().collect(), ..Transaction::default() };
            // dpkg sorts them so that a dependency comes first.
            let pending = std::mem::take(&mut transaction.configure);
            let mut left = pending.clone();
            while !left.is_empty() {
                let ready = left.iter().position(|name| {
                    let depends = world.catalogue.get(name).map(|package| package.depends.as_slice());
                    !depends.unwrap_or_default().iter().any(|need| left.contains(need) && need != name)
                });
                transaction.configure.push(left.remove(ready.unwrap_or(0)));
            }
            let interrupted = world.exists(INTERRUPTED);
            drop(world);
            if transaction.is_empty() && interrupted {
                shell.change("finish dpkg", |world| {
                    world.erase(INTERRUPTED);
                })?;
            }
            transaction.run(shell)
        }
        ["--audit" | "-C"] => {
            let broken: Vec<String> = shell.world().pending.keys().cloned().collect();
            for name in &broken {
                shell.say(format!(" {name}"));
            }
            Ok(i32::from(!broken.is_empty()))
        }
        ["--print-architecture"] => {
            let native = shell.world().packages.native.clone();
            shell.say(native);
            Ok(0)
        }
        ["--compare-versions", ..] => shell.unknown(),
        _ => shell.unknown(),
    }
}

/// apt-mark(8).
pub(crate) fn mark(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    let (options, words) = Options::parse(shell, args);
    let Some((&verb, names)) = words.split_first() else { shell.unknown() };
    let automatic = match verb {
        "auto" => true,
        "manual" => false,
        "showauto" | "showmanual" => {
            let world = shell.world();
            let shown = world.packages.packages.iter().filter(|(_, p)| p.manual == (verb == "showmanual"));
            let shown: Vec<String> = shown.map(|(name, _)| name.clone()).collect();
            drop(world);
            for name in shown {
                shell.say(name);
            }
            return Ok(0);
        }
        _ => shell.unknown(),
    };
    lock(shell, &options)?;
    let mut marks = Vec::new();
    for name in names {
        let name = plain(&shell.world(), name);
        if !shell.world().unpacked(&name) {
            return shell.fail(100, format!("E: Unable to locate package {name}"));
        }
        let how = if automatic { "automatically" } else { "manually" };
        shell.say(format!("{name} set to {how} installed."));
        marks.push((name, automatic));
    }
    shell.change("mark extended states", |world| world.mark_automatic(&marks))?;
    Ok(0)
}

/// apt-cache(8).
pub(crate) fn cache(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    let args: Vec<&str> =
        args.iter().copied().filter(|arg| !matches!(*arg, "-q" | "--quiet" | "-qq")).collect();
    match args.as_slice() {
        ["policy"] => {
            let world = shell.world();
            let arch = world.packages.native.clone();
            let lists = world.names(LISTS).unwrap_or_default();
            let sources: Vec<Source> =
                world.sources().into_iter().filter(|source| lists.contains(&source.list())).collect();
            drop(world);
            shell.say("Package files:\n 100 /var/lib/dpkg/status\n     release a=now");
            for source in sources {
                let (origin, label) = source.origin();
                let codename = source.codename().to_owned();
                let (uri, host) = (source.uri.trim_end_matches('/').to_owned(), source.host().to_owned());
                for component in source.components.split_whitespace() {
                    shell.say(format!(" 500 {uri} {}/{component} {arch} Packages", source.suite));
                    shell.say(format!(
                        "     release o={origin},a=stable,n={codename},l={label},c={component},b={arch}"
                    ));
                    shell.say(format!("     origin {host}"));
                }
            }
            shell.say("Pinned packages:");
            Ok(0)
        }
        ["policy", names @ ..] => {
            for name in names {
                let world = shell.world();
                let name = &plain(&world, name);
                let installed = world.packages.get(name).filter(|p| p.state != PackageState::ConfigFiles);
                let installed = installed.map(|package| package.version.clone());
                let candidate = world.offered(name).map(|package| package.version.clone());
                drop(world);
                if installed.is_none() && candidate.is_none() {
                    continue;
                }
                let or_none = |version: Option<String>| version.unwrap_or_else(|| "(none)".to_owned());
                shell.say(format!("{name}:\n  Installed: {}", or_none(installed.clone())));
                shell.say(format!("  Candidate: {}", or_none(candidate.or(installed))));
            }
            Ok(0)
        }
        _ => shell.unknown(),
    }
}

impl World {
    /// Installs packages at once, as apt would, for a test to arrange.
    ///
    /// # Panics
    /// When the catalogue has no such package.
    pub fn with_installed(&mut self, names: &[&str]) -> &mut Self {
        for name in names {
            let Some(package) = self.catalogue.get(*name).cloned() else {
                panic!("no package {name} to install")
            };
            for need in &package.depends {
                if !self.unpacked(need) {
                    self.automatic.insert(need.clone());
                    self.with_installed(&[need.as_str()]);
                }
            }
            self.preinstall(&[name]);
            for unit in package.units.iter().filter(|unit| unit.started && unit.enabled) {
                if self.unit_status(&unit.name).active != ActiveState::Active {
                    // A unit that does not start is Failed, as after a real installation.
                    let _ = self.start_unit(&unit.name);
                }
            }
        }
        self
    }

    /// Tells whether any directory or file is at this path itself.
    pub(crate) fn is_dir(&self, path: &str) -> bool {
        matches!(self.node(path, true), Some(Node::Dir { .. }))
    }
}
