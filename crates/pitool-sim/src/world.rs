//! The simulated machine as a plain value: files, packages, units, clock.

use std::collections::{BTreeMap, BTreeSet};

use pitool_host::{Access, ActiveState, Content, Packages};

/// What a path holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A regular file.
    File {
        /// What it holds.
        content: Content,
        /// Its size where that is not the content's length: sparse files such as swap files.
        size: Option<u64>,
        /// Its mode, owner and group.
        access: Access,
    },
    /// A directory.
    Dir {
        /// Its mode, owner and group.
        access: Access,
    },
    /// A symbolic link.
    Link {
        /// Where it points, as written.
        target: String,
    },
    /// A device.
    Device,
}

/// How far dpkg got with a package before it was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    /// Its files may be there in part; only installing it again helps.
    HalfInstalled,
    /// Its files are there, but dpkg was cut off before it took back that it is to be installed again.
    ReinstallRequired,
    /// Its files are there; `dpkg --configure -a` finishes it.
    Unpacked,
    /// Its removal began.
    Removing,
    /// Its removal with its configuration began.
    Purging,
}

/// A file that a package ships.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shipped {
    /// Where it goes.
    pub path: String,
    /// What it holds.
    pub content: Content,
    /// Whether a changed copy is kept on upgrade and removal.
    pub conffile: bool,
    /// Permission bits.
    pub mode: u32,
}

/// A unit that a package ships, with what its daemon does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogueUnit {
    /// Its name with its suffix.
    pub name: String,
    /// The `[Install]` section's `WantedBy`; empty for a static unit.
    pub wanted_by: String,
    /// Other names, from `Alias`.
    pub alias: Vec<String>,
    /// Whether installing the package enables it.
    pub enabled: bool,
    /// Whether installing the package starts it.
    pub started: bool,
    /// Files and directories that the daemon reads when it starts or reloads.
    pub reads: Vec<String>,
    /// A start fails, and with it the installation, unless a file at this path (or in this directory) holds this text.
    pub needs_file: Option<(String, String)>,
    /// A start or reload fails while a file at this path (or in this directory) holds this text.
    pub bad_if: Option<(String, String)>,
    /// Whether it can reload.
    pub reloads: bool,
}

impl CatalogueUnit {
    /// Describes a daemon that is enabled and started when its package is installed.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            wanted_by: if name.ends_with(".timer") { "timers.target" } else { "multi-user.target" }
                .to_owned(),
            alias: Vec::new(),
            enabled: true,
            started: true,
            reads: Vec::new(),
            needs_file: None,
            bad_if: None,
            reloads: true,
        }
    }

    /// Adds a file or directory that the daemon reads.
    #[must_use]
    pub fn reads(mut self, path: &str) -> Self {
        self.reads.push(path.to_owned());
        self
    }

    /// Makes installation neither enable nor start it.
    #[must_use]
    pub fn off(mut self) -> Self {
        (self.enabled, self.started) = (false, false);
        self
    }

    /// Makes it a static unit that other units or boot start.
    #[must_use]
    pub fn without_install(mut self) -> Self {
        self.wanted_by.clear();
        self.enabled = false;
        self
    }

    /// Adds another name.
    #[must_use]
    pub fn alias(mut self, name: &str) -> Self {
        self.alias.push(name.to_owned());
        self
    }

    /// Makes its start fail unless this text is in this file or directory.
    #[must_use]
    pub fn needs(mut self, path: &str, text: &str) -> Self {
        self.needs_file = Some((path.to_owned(), text.to_owned()));
        self
    }

    /// Makes its start fail while this text is in this file or directory.
    #[must_use]
    pub fn bad_if(mut self, path: &str, text: &str) -> Self {
        self.bad_if = Some((path.to_owned(), text.to_owned()));
        self
    }

    /// Makes it refuse to reload.
    #[must_use]
    pub fn without_reload(mut self) -> Self {
        self.reloads = false;
        self
    }

    /// Gives the text of its unit file.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("[Unit]\nDescription={}\n\n", self.name);
        match self.name.rsplit('.').next() {
            Some("service") => {
                text += &format!(
                    "[Service]\nType=notify\nExecStart=/usr/sbin/{}\n",
                    self.name.trim_end_matches(".service")
                );
                if self.reloads {
                    text += "ExecReload=/bin/kill -HUP $MAINPID\n";
                }
            }
            Some("timer") => text += "[Timer]\nOnCalendar=daily\n",
            Some("socket") => text += "[Socket]\nListenStream=22\nAccept=no\n",
            _ => {}
        }
        if !self.wanted_by.is_empty() || !self.alias.is_empty() {
            text += "\n[Install]\n";
            if !self.wanted_by.is_empty() {
                text += &format!("WantedBy={}\n", self.wanted_by);
            }
            for alias in &self.alias {
                text += &format!("Alias={alias}\n");
            }
        }
        text
    }
}

/// A package that apt could install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CataloguePackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Whether it is `Architecture: all`.
    pub all: bool,
    /// What it depends on.
    pub depends: Vec<String>,
    /// What it recommends: installed with it unless apt was told not to.
    pub recommends: Vec<String>,
    /// What it conflicts with.
    pub conflicts: Vec<String>,
    /// Its files.
    pub files: Vec<Shipped>,
    /// Its directories beyond those of its files.
    pub dirs: Vec<String>,
    /// Its units.
    pub units: Vec<CatalogueUnit>,
    /// System users, each with a group of the same name, that its postinst creates.
    pub users: Vec<String>,
    /// System groups that its postinst creates.
    pub groups: Vec<String>,
    /// What its postinst says when it fails.
    pub fails: Option<String>,
    /// Part of the host name of the only apt source that has it; `None` for the distribution's own.
    pub source: Option<String>,
}

impl CataloguePackage {
    /// Describes an empty package.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: "1.0-1".to_owned(),
            all: false,
            depends: Vec::new(),
            recommends: Vec::new(),
            conflicts: Vec::new(),
            files: Vec::new(),
            dirs: Vec::new(),
            units: Vec::new(),
            users: Vec::new(),
            groups: Vec::new(),
            fails: None,
            source: None,
        }
    }

    /// Sets its version.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        self.version = version.to_owned();
        self
    }

    /// Adds packages that it depends on.
    #[must_use]
    pub fn depends(mut self, names: &[&str]) -> Self {
        self.depends.extend(names.iter().map(|&name| name.to_owned()));
        self
    }

    /// Adds packages that it recommends.
    #[must_use]
    pub fn recommends(mut self, names: &[&str]) -> Self {
        self.recommends.extend(names.iter().map(|&name| name.to_owned()));
        self
    }

    /// Adds packages that it conflicts with.
    #[must_use]
    pub fn conflicts(mut self, names: &[&str]) -> Self {
        self.conflicts.extend(names.iter().map(|&name| name.to_owned()));
        self
    }

    /// Adds an ordinary file.
    #[must_use]
    pub fn file(mut self, path: &str, content: &str) -> Self {
        let mode = match path {
            "/usr/bin/sudo" => 0o4755,
            _ if path.contains("/bin/") || path.contains("/sbin/") => 0o755,
            _ => 0o644,
        };
        self.files.push(Shipped { path: path.to_owned(), content: content.into(), conffile: false, mode });
        self
    }

    /// Adds a configuration file.
    #[must_use]
    pub fn conffile(mut self, path: &str, content: &str) -> Self {
        self.files.push(Shipped {
            path: path.to_owned(),
            content: content.into(),
            conffile: true,
            mode: 0o644,
        });
        self
    }

    /// Adds a directory.
    #[must_use]
    pub fn dir(mut self, path: &str) -> Self {
        self.dirs.push(path.to_owned());
        self
    }

    /// Adds a unit.
    #[must_use]
    pub fn unit(mut self, unit: CatalogueUnit) -> Self {
        self.units.push(unit);
        self
    }

    /// Adds a system user with a group of the same name.
    #[must_use]
    pub fn user(mut self, name: &str) -> Self {
        self.users.push(name.to_owned());
        self
    }

    /// Adds a system group.
    #[must_use]
    pub fn group(mut self, name: &str) -> Self {
        self.groups.push(name.to_owned());
        self
    }

    /// Makes its postinst fail with these words.
    #[must_use]
    pub fn fails(mut self, message: &str) -> Self {
        self.fails = Some(message.to_owned());
        self
    }

    /// Makes it known only to the apt source whose host name holds this text.
    #[must_use]
    pub fn source(mut self, host: &str) -> Self {
        self.source = Some(host.to_owned());
        self
    }

    /// Gives the files that it puts on the machine, unit files among them.
    pub(crate) fn payload(&self) -> Vec<Shipped> {
        let units = self.units.iter().map(|unit| Shipped {
            path: format!("/usr/lib/systemd/system/{}", unit.name),
            content: unit.text().into(),
            conffile: false,
            mode: 0o644,
        });
        self.files.iter().cloned().chain(units).collect()
    }
}

/// What the service manager knows of a unit at run time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    /// Whether it runs.
    pub active: ActiveState,
    /// The number of its present or last start among all starts of the machine; 0 for never.
    pub invocation: u64,
    /// How often it was started.
    pub starts: u64,
    /// How often it was reloaded.
    pub reloads: u64,
    /// What the files that it reads held when it last started or reloaded; empty while it does not run.
    pub running_with: BTreeMap<String, Content>,
    /// The unit file and drop-ins as the manager read them; `None` while it has not.
    pub loaded: Option<BTreeMap<String, Content>>,
}

/// A container of the simulated machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Its restart policy; empty where it has none.
    pub policy: String,
    /// Whether it is removed when it stops (`--rm`).
    pub removed: bool,
    /// Whether it runs.
    pub running: bool,
    /// Whether the daemon takes it for stopped by a person.
    pub by_hand: bool,
    /// How often it was started.
    pub starts: u64,
}

impl Container {
    /// A running container with this restart policy.
    pub fn running(policy: &str) -> Self {
        Self { policy: policy.to_owned(), running: true, starts: 1, ..Self::default() }
    }

    /// Runs from now on, whoever stopped it before.
    pub(crate) fn begin(&mut self) {
        (self.running, self.by_hand) = (true, false);
        self.starts += 1;
    }
}

/// The machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct World {
    /// Everything in the file system, /proc and /run too, by absolute path; `/` itself is there.
    pub nodes: BTreeMap<String, Node>,
    /// What dpkg knows.
    pub packages: Packages,
    /// What dpkg was doing with packages that are [`pitool_host::PackageState::Broken`].
    pub pending: BTreeMap<String, Pending>,
    /// Packages that apt has marked as installed automatically; it does so before dpkg begins.
    pub automatic: BTreeSet<String>,
    /// What apt could install once its lists are there.
    pub catalogue: BTreeMap<String, CataloguePackage>,
    /// Units that the manager has touched. Whether a unit exists, is enabled or masked is in [`World::nodes`].
    pub units: BTreeMap<String, Unit>,
    /// What Docker has, by name.
    pub containers: BTreeMap<String, Container>,
    /// Whether the running dockerd leaves its containers running when it stops.
    pub live_restore: bool,
    /// How many units were ever started: makes invocation ids.
    pub starts: u64,
    /// Files under /proc as they are right after boot.
    pub kernel: BTreeMap<String, Content>,
    /// Active swap: path and size in bytes.
    pub swaps: BTreeMap<String, u64>,
    /// What files held before appends that were not synced yet; the file comes back so when the power goes.
    pub unsynced: BTreeMap<String, Option<Node>>,
    /// The time.
    pub clock: jiff::Timestamp,
    /// How often random bytes were drawn: the same machine draws the same ones.
    pub randoms: u64,
    /// How often the machine has booted.
    pub boots: u64,
}

/// The word that makes any configuration wrong.
pub(crate) const WRONG: &str = "SYNTAX-ERROR";

/// The system's error numbers that the simulator gives.
pub(crate) mod errno {
    pub(crate) const ENOENT: i32 = 2;
    pub(crate) const EACCES: i32 = 13;
    pub(crate) const ENOTDIR: i32 = 20;
    pub(crate) const EISDIR: i32 = 21;
    pub(crate) const EINVAL: i32 = 22;
    pub(crate) const ENOSPC: i32 = 28;
    pub(crate) const EROFS: i32 = 30;
    pub(crate) const ELOOP: i32 = 40;
}

/// Splits a path into its directory and its last component.
pub(crate) fn split(path: &str) -> (&str, &str) {
    match path.rfind('/') {
        Some(0) => ("/", &path[1..]),
        Some(at) => (&path[..at], &path[at + 1..]),
        None => ("/", path),
    }
}

fn join(dir: &str, name: &str) -> String {
    if dir == "/" { format!("/{name}") } else { format!("{dir}/{name}") }
}

/// Why root gets no further on a path.
#[derive(Debug)]
pub(crate) enum Stop {
    /// As the kernel says it.
    Errno(i32),
    /// A link of this name, which is not followed.
    ForeignLink(String),
}

impl World {
    /// Gives the path without links (in the last component too, where `follow`), whether or not something is there.
    pub(crate) fn real(&self, path: &str, follow: bool) -> std::result::Result<String, i32> {
        self.walk(path, follow, &mut |_, _| Ok(()))
    }

    /// The same, as far as root follows links: [`pitool_host::trust`]. The error is the number or the link's name.
    pub(crate) fn trusted(&self, path: &str, follow: bool) -> std::result::Result<String, Stop> {
        let mut foreign = None;
        let walked = self.walk(path, follow, &mut |dir, name| {
            if self.is_for_root_alone(dir) {
                return Ok(());
            }
            foreign = Some(name.to_owned());
            Err(errno::ELOOP)
        });
        walked.map_err(|errno| foreign.map_or(Stop::Errno(errno), Stop::ForeignLink))
    }

    /// Whether root alone can change what is in a directory (without links on the way), and exchange it.
    pub(crate) fn is_for_root_alone(&self, dir: &str) -> bool {
        let access = |dir: &str| match self.nodes.get(dir) {
            Some(Node::Dir { access }) => *access,
            _ => Access::root(0o755),
        };
        let alone = |access: Access| access.uid == 0 && access.mode & 0o022 == 0;
        let (mut below, mut fixed) = (dir.to_owned(), alone(access(dir)));
        while below != "/" && fixed {
            let above = split(&below).0.to_owned();
            let (inner, outer) = (access(&below), access(&above));
            // In a sticky directory others can rename only what is theirs.
            fixed = alone(outer) || inner.uid == 0 && outer.uid == 0 && outer.mode & 0o1000 != 0;
            below = above;
        }
        fixed
    }

    fn walk(
        &self,
        path: &str,
        follow: bool,
        link: &mut dyn FnMut(&str, &str) -> std::result::Result<(), i32>,
    ) -> std::result::Result<String, i32> {
        if !path.starts_with('/') {
            return Err(errno::EINVAL);
        }
        let mut todo: Vec<String> =
            path.split('/').rev().filter(|part| !part.is_empty()).map(Into::into).collect();
        let mut done = String::from("/");
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == "." {
                continue;
            }
            if part == ".." {
                done = split(&done).0.to_owned();
                continue;
            }
            let here = join(&done, &part);
            match self.nodes.get(&here) {
                Some(Node::Link { target }) if follow || !todo.is_empty() => {
                    link(&done, &part)?;
                    links += 1;
                    if links > 40 {
                        return Err(errno::ELOOP);
                    }
                    if target.starts_with('/') {
                        done = String::from("/");
                    }
                    todo.extend(target.split('/').rev().filter(|part| !part.is_empty()).map(str::to_owned));
                    continue;
                }
                Some(Node::Dir { .. }) => {}
                Some(_) if !todo.is_empty() => return Err(errno::ENOTDIR),
                None if !todo.is_empty() => return Err(errno::ENOENT),
                _ => {}
            }
            done = here;
        }
        Ok(done)
    }

    /// Looks a path up, following links (the last one only where `follow`).
    pub fn node(&self, path: &str, follow: bool) -> Option<&Node> {
        self.nodes.get(&self.real(path, follow).ok()?)
    }

    /// Reads a file as bytes, following links.
    pub fn content(&self, path: &str) -> Option<&Content> {
        match self.node(path, true) {
            Some(Node::File { content, .. }) => Some(content),
            _ => None,
        }
    }

    /// Reads a file as text; empty where there is none.
    pub fn text(&self, path: &str) -> &str {
        self.content(path).and_then(Content::text).unwrap_or_default()
    }

    /// Tells whether something is there, links followed.
    pub fn exists(&self, path: &str) -> bool {
        self.node(path, true).is_some()
    }

    /// Lists the names in a directory; `None` where there is none.
    pub fn names(&self, path: &str) -> Option<Vec<String>> {
        let real = self.real(path, true).ok()?;
        let Some(Node::Dir { .. }) = self.nodes.get(&real) else { return None };
        let prefix = join(&real, "");
        let inside = self.nodes.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
        Some(
            inside
                .map(|(path, _)| &path[prefix.len()..])
                .filter(|name| !name.is_empty() && !name.contains('/'))
                .map(str::to_owned)
                .collect(),
        )
    }

    /// Puts a file there with root as owner, with the directories above it.
    pub fn put(&mut self, path: &str, content: impl Into<Content>) -> &mut Self {
        self.put_with(path, content, Access::root(0o644))
    }

    /// Puts a file there with this access, with the directories above it.
    pub fn put_with(&mut self, path: &str, content: impl Into<Content>, access: Access) -> &mut Self {
        let real = self.place(path);
        self.nodes.insert(real, Node::File { content: content.into(), size: None, access });
        self
    }

    /// Puts a link there, with the directories above it.
    pub fn put_link(&mut self, path: &str, target: &str) -> &mut Self {
        let real = self.place(path);
        self.nodes.insert(real, Node::Link { target: target.to_owned() });
        self
    }

    /// Puts a directory there, with those above it; one that is there is left alone.
    pub fn put_dir(&mut self, path: &str) -> &mut Self {
        let real = self.place(path);
        self.nodes.entry(real).or_insert(Node::Dir { access: Access::root(0o755) });
        self
    }

    fn place(&mut self, path: &str) -> String {
        let (dir, name) = split(path);
        if dir != "/" && !self.exists(dir) {
            self.put_dir(dir);
        }
        // The directory was just made where it was missing; a file in its place is left to fail in the test.
        let dir = self.real(dir, true).unwrap_or_else(|_| dir.to_owned());
        join(&dir, name)
    }

    /// Replaces a file's content and keeps its access, or puts a new one there.
    pub(crate) fn edit(&mut self, path: &str, text: impl Into<Content>) {
        let real = self.real(path, true).unwrap_or_else(|_| path.to_owned());
        match self.nodes.get_mut(&real) {
            Some(Node::File { content, size, .. }) => {
                *content = text.into();
                *size = None;
            }
            _ => {
                self.put(path, text);
            }
        }
    }

    /// Removes whatever is at a path, and all below it.
    pub fn erase(&mut self, path: &str) -> &mut Self {
        if let Ok(real) = self.real(path, false) {
            let below = join(&real, "");
            self.nodes.retain(|path, _| *path != real && !path.starts_with(&below));
        }
        self
    }

    /// Offers a package to apt.
    pub fn offer(&mut self, package: CataloguePackage) -> &mut Self {
        self.catalogue.insert(package.name.clone(), package);
        self
    }

    /// Reads these files, and those directly in these directories.
    pub(crate) fn gather(&self, paths: &[String]) -> BTreeMap<String, Content> {
        let mut found = BTreeMap::new();
        for path in paths {
            let inside = self.names(path).unwrap_or_default().into_iter().map(|name| join(path, &name));
            for file in std::iter::once(path.clone()).chain(inside) {
                if let Some(content) = self.content(&file) {
                    found.insert(file, content.clone());
                }
            }
        }
        found
    }

    /// Tells whether a file at this path, or directly in this directory, holds this text.
    pub(crate) fn holds(&self, (path, text): &(String, String)) -> bool {
        let found = self.gather(std::slice::from_ref(path));
        found.values().any(|content| content.text().is_some_and(|held| held.contains(text)))
    }

    /// Lists what differs to a person: files, packages, swap, and for each unit whether it runs, and with what.
    /// Clock, counters, boot, /run, /tmp, /proc (save /proc/sys), caches and logs do not count (nor do apt's
    /// and dpkg's files, as their packages are compared), nor what is at or below `besides`.
    pub fn differences(&self, other: &Self, besides: &[&str]) -> Vec<String> {
        const FLEETING: [&str; 9] = [
            "/run",
            "/tmp",
            "/var/tmp",
            "/var/log",
            "/var/cache",
            "/var/lib/apt",
            "/var/lib/dpkg/status",
            "/proc/swaps",
            "/proc/sys/kernel/random",
        ];
        let counts = |path: &str| {
            let below = |dir: &&str| {
                path == *dir || path.strip_prefix(*dir).is_some_and(|rest| rest.starts_with('/'))
            };
            !FLEETING.iter().any(below) && !besides.iter().any(below)
        };
        let mut found = Vec::new();
        let mut compare = |what: String, a: Option<String>, b: Option<String>| {
            if a != b {
                let say = |side: Option<String>| side.unwrap_or_else(|| "nothing".to_owned());
                found.push(format!("{what}: {} / {}", say(a), say(b)));
            }
        };
        fn keys<'a, V>(
            a: &'a BTreeMap<String, V>,
            b: &'a BTreeMap<String, V>,
        ) -> impl Iterator<Item = &'a String> {
            a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)))
        }
        for path in keys(&self.nodes, &other.nodes).filter(|path| counts(path)) {
            compare(
                path.clone(),
                self.nodes.get(path).map(Node::describe),
                other.nodes.get(path).map(Node::describe),
            );
        }
        for name in keys(&self.packages.packages, &other.packages.packages) {
            let describe = |world: &Self| world.packages.get(name).map(|package| format!("{package:?}"));
            compare(format!("package {name}"), describe(self), describe(other));
        }
        for path in keys(&self.swaps, &other.swaps) {
            let describe = |world: &Self| world.swaps.get(path).map(u64::to_string);
            compare(format!("swap {path}"), describe(self), describe(other));
        }
        for name in keys(&self.units, &other.units) {
            // A unit that was touched and does not run is as good as one that never was.
            let describe = |world: &Self| {
                let unit = world.units.get(name)?;
                let with: Vec<String> = unit
                    .running_with
                    .iter()
                    .filter(|(path, _)| counts(path))
                    .map(|(path, content)| format!("{path} {}", content.digest().short()))
                    .collect();
                (unit.active != ActiveState::Inactive).then(|| format!("{:?} with {with:?}", unit.active))
            };
            compare(format!("unit {name}"), describe(self), describe(other));
        }
        found
    }
}

impl Node {
    fn describe(&self) -> String {
        match self {
            Self::File { content, size, access } => match content.text() {
                Some(text) if text.len() <= 120 => {
                    format!("file {access} {text:?} {}", size.unwrap_or_default())
                }
                _ => format!("file {access} {content:?} {}", size.unwrap_or_default()),
            },
            Self::Dir { access } => format!("directory {access}"),
            Self::Link { target } => format!("link to {target}"),
            Self::Device => "device".to_owned(),
        }
    }
}
