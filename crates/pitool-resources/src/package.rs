//! Debian packages, and the set of all that are installed.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use pitool_engine::{Action, Change, Id, Move, Resource, Reversal, Stage, Turn};
use pitool_host::{Command, Error, Host, Inspect, PackageState, Packages, Result, related};
use serde::{Deserialize, Serialize};

use crate::apt;

/// The name of the group that becomes one apt transaction.
pub(crate) const TRANSACTION: &str = "apt";

/// A package that is installed, or is not. Printed `package[NAME]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Package {
    name: String,
    wanted: bool,
    data: Option<String>,
    own_source: bool,
}

/// What dpkg and apt say of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackageStatus {
    /// dpkg knows nothing of it.
    Absent,
    /// Removed, its configuration files still there.
    ConfigFiles,
    /// In between: dpkg was interrupted.
    Broken,
    /// Installed because another package needs it.
    Automatic,
    /// Installed because it was asked for.
    Manual,
}

impl PackageStatus {
    fn installed(self) -> bool {
        matches!(self, Self::Automatic | Self::Manual)
    }

    fn words(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::ConfigFiles => "configuration only",
            Self::Broken => "half installed",
            Self::Automatic => "installed as a dependency",
            Self::Manual => "installed",
        }
    }
}

fn status(host: &dyn Inspect, name: &str) -> Result<PackageStatus> {
    Ok(match host.packages()?.get(name) {
        None => PackageStatus::Absent,
        Some(package) => match package.state {
            PackageState::Installed if package.manual => PackageStatus::Manual,
            PackageState::Installed => PackageStatus::Automatic,
            PackageState::ConfigFiles => PackageStatus::ConfigFiles,
            PackageState::Broken => PackageStatus::Broken,
        },
    })
}

impl Package {
    /// A package that should be installed.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), wanted: true, data: None, own_source: false }
    }

    /// A package that should not be installed (its configuration files may stay).
    pub fn absent(name: impl Into<String>) -> Self {
        Self { name: name.into(), wanted: false, data: None, own_source: false }
    }

    /// Names data that purging the package would delete, and that going back therefore keeps.
    #[must_use]
    pub fn keeping(mut self, data: &str) -> Self {
        self.data = Some(data.into());
        self
    }

    /// Tells that it comes from an apt source which the same run may add, so that nobody can know it before.
    #[must_use]
    pub fn from_own_source(mut self) -> Self {
        self.own_source = true;
        self
    }
}

impl Resource for Package {
    type State = PackageStatus;

    fn id(&self) -> Id {
        Id::new("package", &self.name)
    }

    fn observe(&self, host: &dyn Inspect) -> Result<PackageStatus> {
        status(host, &self.name)
    }

    fn desired(&self, observed: &PackageStatus) -> PackageStatus {
        match (self.wanted, observed) {
            (true, _) => PackageStatus::Manual,
            (false, PackageStatus::Absent) => PackageStatus::Absent,
            (false, _) => PackageStatus::ConfigFiles,
        }
    }

    fn enact(&self, host: &dyn Host, from: &PackageStatus, to: &PackageStatus) -> Result<()> {
        Self::enact_group(host, &[Move { resource: self.clone(), from: *from, to: *to }])
    }

    fn change(&self, from: &PackageStatus, to: &PackageStatus) -> Change {
        let is_there =
            |status: &PackageStatus| !matches!(status, PackageStatus::Absent | PackageStatus::ConfigFiles);
        let action = Action::between(is_there(from), is_there(to));
        Change::words(action, format!("{} → {}", from.words(), to.words()))
    }

    fn stage(&self) -> Stage {
        Stage::Packages
    }

    fn reversal(&self) -> Reversal {
        match &self.data {
            Some(data) => Reversal::Partial(format!("{data} stays, and with it the package's configuration")),
            None => Reversal::Exact,
        }
    }

    fn restored(&self, before: &PackageStatus, now: &PackageStatus) -> PackageStatus {
        match (before, now) {
            (PackageStatus::Absent, PackageStatus::ConfigFiles) if self.data.is_some() => {
                PackageStatus::ConfigFiles
            }
            (PackageStatus::Absent, now) if self.data.is_some() && now.installed() => {
                PackageStatus::ConfigFiles
            }
            // What was half installed before goes back to not being there, never to being broken.
            (PackageStatus::Broken, now) => {
                if now.installed() {
                    *now
                } else {
                    PackageStatus::Absent
                }
            }
            _ => *before,
        }
    }

    fn group(&self) -> Option<&'static str> {
        Some(TRANSACTION)
    }

    fn enact_group(host: &dyn Host, moves: &[Move<Self>]) -> Result<()> {
        let mut work = Transaction::default();
        for step in moves {
            work.add(&step.resource.name, step.from, step.to);
            work.new_source |= step.resource.own_source;
        }
        work.carry_out(host)
    }

    fn preflight(host: &dyn Host, moves: &[Move<Self>]) -> std::result::Result<(), (Vec<Id>, Error)> {
        let names: Vec<String> = moves
            .iter()
            .filter(|step| step.to.installed() && !step.from.installed() && !step.resource.own_source)
            .map(|step| step.resource.name.clone())
            .collect();
        if names.is_empty() {
            return Ok(());
        }
        apt::update(host).map_err(|error| (vec![], error))?;
        let unknown = apt::unknown(host, &names).map_err(|error| (vec![], error))?;
        if unknown.is_empty() {
            return Ok(());
        }
        let ids = unknown.iter().map(|name| Id::new("package", name)).collect();
        let noun = if unknown.len() == 1 { "this package" } else { "these packages" };
        Err((ids, Error::Unsupported(format!("apt does not know {noun}: {}", unknown.join(", ")))))
    }
}

#[derive(Default)]
struct Transaction {
    install: Vec<String>,
    remove: Vec<String>,
    purge: Vec<String>,
    manual: Vec<String>,
    automatic: Vec<String>,
    new_source: bool,
}

impl Transaction {
    fn add(&mut self, name: &str, from: PackageStatus, to: PackageStatus) {
        let name = name.to_owned();
        match to {
            PackageStatus::Manual | PackageStatus::Automatic => {
                if !from.installed() {
                    self.install.push(name.clone());
                }
                if to == PackageStatus::Automatic {
                    self.automatic.push(name);
                } else if from == PackageStatus::Automatic {
                    self.manual.push(name);
                }
            }
            PackageStatus::ConfigFiles => self.remove.push(name),
            PackageStatus::Absent => self.purge.push(name),
            PackageStatus::Broken => {}
        }
    }

    fn carry_out(self, host: &dyn Host) -> Result<()> {
        apt::repair(host, self.remove.iter().chain(&self.purge))?;
        // What is only removed goes first: apt would purge it along with a dependency that is purged.
        if !self.remove.is_empty() {
            apt::remove(host, &self.remove, false)?;
        }
        if !self.purge.is_empty() {
            apt::remove(host, &self.purge, true)?;
        }
        if !self.install.is_empty() {
            if self.new_source {
                apt::update(host)?;
            }
            apt::install(host, &self.install)?;
        }
        if !self.automatic.is_empty() {
            apt::mark(host, &self.automatic, false)?;
        }
        if !self.manual.is_empty() {
            apt::mark(host, &self.manual, true)?;
        }
        Ok(())
    }
}

/// Every package that is installed, the dependencies included. Printed `packages[dpkg]`.
///
/// It wants nothing for itself. Its state in a run's snapshot lets going back take away exactly what the run
/// brought, dependencies too, in one transaction. What somebody else installed since stays, with all that it needs;
/// and so does what a package from before needs by now, such as a newer kernel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InstalledSet {
    /// Packages whose purging would delete what a person has in some places.
    #[serde(default)]
    kept_for: Vec<Keeping>,
    /// Packages that the config asks for, of all its roles: of the others, those that came since and that are not
    /// mere dependencies are somebody else's.
    #[serde(default)]
    ours: BTreeSet<String>,
}

/// Packages that are removed instead of purged while somebody has something in their places.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Keeping {
    packages: BTreeSet<String>,
    /// The directories, each with the names that are there from the start.
    data: Vec<(String, Vec<String>)>,
}

impl InstalledSet {
    /// Going back removes these packages but does not purge them while one of these directories has anything in it
    /// beside the given names.
    #[must_use]
    pub fn keeping(mut self, names: &[&str], data: &[(&str, &[&str])]) -> Self {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        self.kept_for.push(Keeping {
            packages: owned(names).into_iter().collect(),
            data: data.iter().map(|(dir, initial)| ((*dir).to_owned(), owned(initial))).collect(),
        });
        self
    }

    /// Names the packages that the config asks for.
    #[must_use]
    pub fn ours<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.ours.extend(names.into_iter().map(Into::into));
        self
    }

    /// The packages that are not to be purged now.
    fn holding(&self, host: &dyn Inspect) -> Result<BTreeSet<String>> {
        let mut holding = BTreeSet::new();
        for group in &self.kept_for {
            for (dir, initial) in &group.data {
                let names = host.list(dir)?.unwrap_or_default();
                // Cut off before it configured the package, dpkg has left its configuration files under such names.
                let base = |name: &str| name.strip_suffix(".dpkg-new").unwrap_or(name).to_owned();
                if names.iter().any(|name| !initial.contains(&base(name))) {
                    holding.extend(group.packages.iter().cloned());
                    break;
                }
            }
        }
        Ok(holding)
    }
}

/// How many packages a sentence names.
const NAMED: usize = 6;

/// Directories of the configuration that packages share. What was in them before a package came is a person's.
const SHARED: [&str; 4] = ["/etc", "/etc/default", "/etc/logrotate.d", "/etc/cron.d"];

/// What is in them.
fn found(host: &dyn Inspect) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for directory in SHARED {
        let names = host.list(directory)?.unwrap_or_default();
        found.extend(names.into_iter().map(|name| format!("{directory}/{name}")));
    }
    Ok(found)
}

/// Which of these packages a purge would have delete what was there before they came: a file or a directory that only they
/// bring and that was found before. A restored backup is such a case.
fn spared(host: &dyn Inspect, purge: &[String], found: &BTreeSet<String>) -> Result<BTreeSet<String>> {
    let mut spared = BTreeSet::new();
    for name in purge.iter().filter(|_| !found.is_empty()) {
        let listed = host.ask(&Command::new("dpkg-query").args(["--listfiles", name]))?;
        let brought = |path: &&str| found.contains(*path) && !SHARED.contains(path);
        for path in listed.stdout.lines().filter(brought) {
            let owners = host.ask(&Command::new("dpkg-query").args(["--search", path]))?.stdout;
            let owners = owners.lines().filter_map(|line| line.strip_suffix(path)?.strip_suffix(": "));
            let mut owners = owners.flat_map(|names| names.split(", "));
            let bare = |owner: &str| owner.split(':').next().unwrap_or_default().to_owned();
            if owners.all(|owner| purge.contains(&bare(owner))) {
                spared.insert(name.clone());
                break;
            }
        }
    }
    Ok(spared)
}

/// What dpkg has, and whether it was cut off.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct InstalledState {
    packages: BTreeMap<String, PackageStatus>,
    /// Whether dpkg's journal holds unfinished work, so that every apt refuses to do anything.
    interrupted: bool,
    /// Packages whose purging would delete what a person has.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    holding: BTreeSet<String>,
    /// What was in the directories of the configuration that packages share.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    found: BTreeSet<String>,
    /// Where the relations between packages can be looked up; of what is there now only.
    #[serde(skip)]
    dpkg: Rc<Packages>,
}

impl PartialEq for InstalledState {
    /// What else there was to look up is no part of the state.
    fn eq(&self, other: &Self) -> bool {
        (&self.packages, self.interrupted, &self.holding)
            == (&other.packages, other.interrupted, &other.holding)
    }
}

impl InstalledState {
    fn installed(&self, name: &str) -> bool {
        self.packages.get(name).is_some_and(|status| status.installed())
    }

    /// These packages and all that they need, one from the other; `recommended` ones too if asked for.
    fn needed<'s>(&'s self, roots: impl Iterator<Item = &'s String>, recommended: bool) -> BTreeSet<&'s str> {
        let mut providers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, package) in &self.dpkg.packages {
            for provided in related(&package.provides) {
                providers.entry(provided).or_default().push(name);
            }
        }
        let mut found = BTreeSet::new();
        let mut ahead: Vec<&str> = roots.map(String::as_str).collect();
        while let Some(name) = ahead.pop() {
            if !self.installed(name) || !found.insert(name) {
                continue;
            }
            let Some(package) = self.dpkg.get(name) else { continue };
            let more = if recommended { package.recommends.as_str() } else { "" };
            for need in related(&package.depends).chain(related(more)) {
                ahead.push(need);
                ahead.extend(providers.get(need).into_iter().flatten());
            }
        }
        found
    }
}

impl Resource for InstalledSet {
    type State = InstalledState;

    fn id(&self) -> Id {
        Id::new("packages", "dpkg")
    }

    fn observe(&self, host: &dyn Inspect) -> Result<InstalledState> {
        let dpkg = host.packages()?;
        let packages = dpkg.packages.keys().map(|name| Ok((name.clone(), status(host, name)?)));
        Ok(InstalledState {
            packages: packages.collect::<Result<_>>()?,
            interrupted: apt::interrupted(host)?,
            holding: self.holding(host)?,
            found: found(host)?,
            dpkg: Rc::clone(&dpkg),
        })
    }

    fn desired(&self, observed: &InstalledState) -> InstalledState {
        InstalledState { interrupted: false, ..observed.clone() }
    }

    fn enact(&self, host: &dyn Host, from: &InstalledState, to: &InstalledState) -> Result<()> {
        let mut work = Transaction::default();
        let names: BTreeSet<&String> = from.packages.keys().chain(to.packages.keys()).collect();
        for name in names {
            let state =
                |set: &InstalledState| set.packages.get(name).copied().unwrap_or(PackageStatus::Absent);
            if state(from) != state(to) {
                work.add(name, state(from), state(to));
            }
        }
        let spared = spared(host.inspect(), &work.purge, &to.found)?;
        work.purge.retain(|name| !spared.contains(name));
        work.remove.extend(spared.into_iter().filter(|name| from.installed(name)));
        work.new_source = !work.install.is_empty();
        work.carry_out(host)
    }

    fn change(&self, from: &InstalledState, to: &InstalledState) -> Change {
        let installed = |set: &InstalledState, name: &String| {
            set.packages.get(name).is_some_and(|status| status.installed())
        };
        let more = to.packages.keys().filter(|name| installed(to, name) && !installed(from, name)).count();
        let fewer = from.packages.keys().filter(|name| installed(from, name) && !installed(to, name)).count();
        let mut parts = Vec::new();
        if from.interrupted {
            parts.push("dpkg was interrupted; its work is finished first".to_owned());
        }
        if more > 0 {
            parts.push(format!("{more} to install"));
        }
        if fewer > 0 {
            parts.push(format!("{fewer} to remove"));
        }
        if parts.is_empty() {
            parts.push("marks and left-over configuration".to_owned());
        }
        Change::words(Action::Change, parts.join(", "))
    }

    fn stage(&self) -> Stage {
        Stage::Packages
    }

    fn objection(
        &self,
        host: &dyn Inspect,
        from: &InstalledState,
        to: &InstalledState,
        turn: &Turn<'_>,
    ) -> Result<Option<String>> {
        let gone = |name: &str| {
            let installed =
                |state: &InstalledState| state.packages.get(name).is_some_and(|status| status.installed());
            turn.back && installed(from) && !installed(to)
        };
        if gone("openssh-server") {
            return crate::login::sshd_stays(host, "the packages stay, openssh-server among them", turn);
        }
        if gone("sudo") {
            return crate::login::sudo_stays(host, "the packages stay, sudo among them", turn);
        }
        Ok(None)
    }

    fn reversal(&self) -> Reversal {
        Reversal::Partial(
            "packages that hold data are removed but not purged, and what others installed since stays"
                .into(),
        )
    }

    fn remains(&self, before: &InstalledState, now: &InstalledState) -> Option<String> {
        let was = |name: &String| before.packages.get(name).copied().unwrap_or(PackageStatus::Absent);
        let is = |name: &String| now.packages.get(name).copied().unwrap_or(PackageStatus::Absent);
        let names: BTreeSet<&String> = before.packages.keys().chain(now.packages.keys()).collect();
        // How it came to be installed is a mark, which `package[NAME]` tells where it is ours.
        let alike = |name: &String| was(name) == is(name) || was(name).installed() && is(name).installed();
        let differing: Vec<String> = names
            .into_iter()
            .filter(|name| !alike(name))
            .map(|name| format!("{name} {} → {}", was(name).words(), is(name).words()))
            .collect();
        let more = differing.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let named = differing.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        (!differing.is_empty()).then(|| format!("{named}{more}"))
    }

    fn restored(&self, before: &InstalledState, now: &InstalledState) -> InstalledState {
        let mut target = before.packages.clone();
        for (name, status) in &now.packages {
            let had = before.packages.get(name).copied();
            if now.holding.contains(name) && had.is_none() && *status != PackageStatus::Absent {
                target.insert(name.clone(), PackageStatus::ConfigFiles);
            }
            if had == Some(PackageStatus::Broken) {
                target.insert(name.clone(), *status);
            }
            // A mark that somebody else changed.
            if had.is_some_and(PackageStatus::installed) && status.installed() && !self.ours.contains(name) {
                target.insert(name.clone(), *status);
            }
        }
        let came = |name: &&String| !before.packages.get(*name).is_some_and(|status| status.installed());
        let theirs = now.packages.iter().filter(|(name, status)| {
            came(name) && **status == PackageStatus::Manual && !self.ours.contains(*name)
        });
        let from_before = now.packages.keys().filter(|name| !came(name));
        let mut stays = now.needed(theirs.map(|(name, _)| name), true);
        stays.extend(now.needed(from_before, false));
        for (name, status) in now.packages.iter().filter(|(name, _)| came(name)) {
            if stays.contains(name.as_str()) && !self.ours.contains(name) {
                target.insert(name.clone(), *status);
            }
        }
        // A dependency that went since comes back with what needs it, if anything does: an old kernel does not.
        target.retain(|name, status| *status != PackageStatus::Automatic || now.installed(name));
        // Nobody wants a half-installed package back.
        target.retain(|name, status| *status != PackageStatus::Broken || now.packages.contains_key(name));
        InstalledState {
            packages: target,
            interrupted: false,
            holding: now.holding.clone(),
            found: before.found.clone(),
            dpkg: Rc::clone(&now.dpkg),
        }
    }
}
