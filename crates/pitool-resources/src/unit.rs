//! systemd units: enabled, running, and running with the files that are there.

use std::collections::BTreeMap;
use std::time::Duration;

use pitool_engine::{Action, Change, Id, Resource, Risk, Stage, Turn, Upcoming};
use pitool_host::{Access, ActiveState, Command, Digest, Error, Host, Inspect, Result, UnitStatus, run_job};
use serde::{Deserialize, Serialize};

use crate::{Reader, containers, fingerprint_at};

/// The fingerprint of every file that a unit reads, by path.
type Fingerprints = BTreeMap<String, Option<Digest>>;

/// A unit that is enabled and runs with its present files. Printed `unit[NAME]`.
///
/// A restart is not an event that can get lost: the state says which files the unit was started with, tied to
/// that very start by systemd's invocation id. A unit that runs and was never looked at before is taken to run
/// with what is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unit {
    name: String,
    enabled: Option<bool>,
    active: bool,
    reload: bool,
    reads: Vec<Id>,
    risk: Risk,
    /// Whether it is Docker's daemon, whose containers go on while it restarts.
    #[serde(default, alias = "reload_first", skip_serializing_if = "std::ops::Not::not")]
    keeps_containers: bool,
    /// Files of other units, and those units: what it reads of them is there once they have started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    leavings: Vec<(Id, String)>,
}

/// What the manager and the marks say of a unit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UnitState {
    /// Whether it could run: on another root nothing does, and only what happens at boot is looked at.
    live: bool,
    exists: bool,
    enabled: bool,
    masked: bool,
    active: bool,
    on_disk: Fingerprints,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    running_with: Option<Fingerprints>,
}

impl UnitState {
    /// Whether it runs.
    pub fn runs(&self) -> bool {
        self.active
    }
}

/// Written when a unit is started or adopted; under /run, because a start does not outlive a boot.
#[derive(Serialize, Deserialize)]
struct Mark {
    /// The start that it is about; empty: whatever start follows, as long as the files stay what they were.
    invocation: String,
    with: Fingerprints,
}

/// Where the marks are.
const MARKS: &str = "/run/pitool/started";

/// How long a unit that just started is watched: `systemctl start` returns before a simple service can fail.
const SETTLING: Duration = Duration::from_millis(300);

impl Unit {
    /// Whether it is wanted running.
    pub fn wants_active(&self) -> bool {
        self.active
    }

    /// A unit that is enabled at boot and runs.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            enabled: Some(true),
            active: true,
            reload: false,
            reads: vec![],
            risk: Risk::None,
            keeps_containers: false,
            leavings: vec![],
        }
    }

    /// A unit that neither runs nor starts at boot.
    pub fn stopped(name: impl Into<String>) -> Self {
        Self { enabled: Some(false), active: false, ..Self::new(name) }
    }

    /// Leaves it to others whether it starts at boot (static units, socket activation).
    #[must_use]
    pub fn enabled_as_is(mut self) -> Self {
        self.enabled = None;
        self
    }

    /// Names resources that it reads when it starts: when one changes, it starts anew.
    #[must_use]
    pub fn reads(mut self, ids: impl IntoIterator<Item = Id>) -> Self {
        self.reads.extend(ids);
        self
    }

    /// Names another unit, with its file, whose start leaves files that this one looks for when it starts: when that
    /// unit comes, this one starts anew, unless it started later anyway.
    #[must_use]
    pub fn reads_what_is_left_by(mut self, unit: &str, file: Id) -> Self {
        self.reads.push(file.clone());
        self.leavings.push((file, unit.to_owned()));
        self
    }

    /// Reloads it instead of starting it anew when a file changes.
    #[must_use]
    pub fn reloaded(mut self) -> Self {
        self.reload = true;
        self
    }

    /// Keeps what Docker runs going while the daemon restarts.
    #[must_use]
    pub fn keeping_containers(mut self) -> Self {
        self.keeps_containers = true;
        self
    }

    /// Marks it as a way in.
    #[must_use]
    pub fn risky(mut self) -> Self {
        self.risk = Risk::Lockout;
        self
    }

    /// What it reads, and whether it runs in this state.
    pub fn reader(&self, state: &UnitState) -> Reader {
        Reader { reads: self.reads.clone(), runs: state.active }
    }

    fn mark_path(&self) -> String {
        format!("{MARKS}/{}", self.name)
    }

    /// What is there of the files that it reads, and of others that it was once started with.
    fn on_disk(&self, host: &(impl Inspect + ?Sized), others: &Fingerprints) -> Result<Fingerprints> {
        let paths = self.reads.iter().map(path_of).chain(others.keys().map(String::as_str));
        paths.map(|path| Ok((path.to_owned(), fingerprint_at(host, path)?))).collect()
    }

    fn mark(&self, host: &dyn Inspect) -> Result<Option<Mark>> {
        Ok(host.read(&self.mark_path())?.and_then(|content| serde_json::from_slice(content.bytes()).ok()))
    }

    fn write_mark(&self, host: &dyn Host, invocation: String, with: &Fingerprints) -> Result<()> {
        for dir in ["/run/pitool", MARKS] {
            if host.stat(dir)?.is_none() {
                host.make_dir(dir, Access::root(0o755))?;
            }
        }
        let mark = Mark { invocation, with: with.clone() };
        // Plain maps of strings always serialize.
        let text = serde_json::to_vec(&mark).unwrap_or_default();
        host.write(&self.mark_path(), &text, Access::root(0o600))
    }

    fn status(&self, host: &(impl Inspect + ?Sized)) -> Result<UnitStatus> {
        Ok(host.units(&[&self.name])?.pop().unwrap_or_default())
    }

    /// What it runs with, given that it has seen what a unit left that had started before it did.
    fn with_leavings(
        &self,
        host: &dyn Inspect,
        status: &UnitStatus,
        mut with: Fingerprints,
        on_disk: &Fingerprints,
    ) -> Result<Fingerprints> {
        for (file, unit) in &self.leavings {
            let path = path_of(file);
            let Some((known, found)) = with.get_mut(path).zip(on_disk.get(path)) else { continue };
            if known == found {
                continue;
            }
            let other = host.units(&[unit])?.pop().unwrap_or_default();
            if other.active == ActiveState::Active
                && other.started.is_some()
                && other.started < status.started
            {
                *known = *found;
            }
        }
        Ok(with)
    }

    fn systemctl(&self, host: &dyn Host, verb: &str) -> Result<()> {
        let ran = match verb {
            "start" | "stop" | "restart" | "reload-or-restart" => run_job(host, verb, &self.name),
            _ => host.run(&Command::new("systemctl").args([verb, self.name.as_str()])),
        };
        match ran {
            Err(Error::Failed { command, status, message }) => {
                let journal = host.ask(&Command::new("journalctl").args([
                    "-u",
                    &self.name,
                    "-n",
                    "6",
                    "-o",
                    "cat",
                    "--no-pager",
                ]));
                let lines = journal.map(|output| output.stdout).unwrap_or_default();
                let message = if lines.trim().is_empty() { message } else { lines };
                Err(Error::Failed { command, status, message })
            }
            other => other.map(drop),
        }
    }
}

impl Unit {
    /// Has systemd forget a failed unit whose file is gone: it would list it as `not-found failed` until the next boot.
    fn forget_if_gone(&self, host: &dyn Host, status: &UnitStatus) -> Result<()> {
        if status.stale {
            host.run(&Command::new("systemctl").arg("daemon-reload"))?;
        }
        if status.stale && self.status(host.inspect())?.exists || !status.stale && status.exists {
            return Ok(());
        }
        self.forget_starts(host)
    }

    /// Has systemd forget how often it was started: it refuses a unit that was started too often in a short time
    /// (`StartLimitBurst=`, systemd.unit(5)), and what a run orders must not count against the runs after it.
    fn forget_starts(&self, host: &dyn Host) -> Result<()> {
        match host.run(&Command::new("systemctl").args(["reset-failed", self.name.as_str()])) {
            Err(error @ Error::PowerCut) => Err(error),
            // A unit that is not loaded has nothing to forget.
            _ => Ok(()),
        }
    }
}

/// The path in an id of a file, link or part: its name up to the first space.
fn path_of(id: &Id) -> &str {
    id.name().split(' ').next().unwrap_or_default()
}

impl Resource for Unit {
    type State = UnitState;

    fn id(&self) -> Id {
        Id::new("unit", &self.name)
    }

    fn observe(&self, host: &dyn Inspect) -> Result<UnitState> {
        let status = self.status(host)?;
        let live = host.live();
        let active = live && status.active == ActiveState::Active;
        let mark = if active { self.mark(host)? } else { None };
        let mark = mark.filter(|mark| mark.invocation.is_empty() || mark.invocation == status.invocation);
        // Files that it was started with and that are no longer on the list count until it starts anew; of files that
        // are new on the list it has what is there.
        let known = mark.as_ref().map(|mark| mark.with.clone()).unwrap_or_default();
        let on_disk = self.on_disk(host, &known)?;
        let running_with = active.then(|| match mark {
            // Nobody knows: a reload was cut off.
            Some(mark) if mark.with.is_empty() => mark.with,
            Some(mark) => {
                let mut with = on_disk.clone();
                with.extend(mark.with);
                with
            }
            None => on_disk.clone(),
        });
        let running_with = match running_with {
            Some(with) => Some(self.with_leavings(host, &status, with, &on_disk)?),
            None => None,
        };
        let (exists, enabled, masked) = (status.exists, status.enabled(), status.masked());
        Ok(UnitState { live, exists, enabled, masked, active, on_disk, running_with })
    }

    fn desired(&self, observed: &UnitState) -> UnitState {
        let enabled = self.enabled.unwrap_or(observed.enabled);
        if !self.active && !observed.exists {
            return UnitState { enabled: false, active: false, running_with: None, ..observed.clone() };
        }
        let active = self.active && observed.live;
        UnitState {
            live: observed.live,
            exists: true,
            enabled,
            masked: observed.masked && !self.active,
            active,
            on_disk: observed.on_disk.clone(),
            running_with: active.then(|| observed.on_disk.clone()),
        }
    }

    fn objection(
        &self,
        host: &dyn Inspect,
        from: &UnitState,
        to: &UnitState,
        turn: &Turn<'_>,
    ) -> Result<Option<String>> {
        let stops = from.active && !to.active;
        if turn.back && stops && self.name == "ssh.service" {
            return crate::login::sshd_stays(host, "sshd goes on running", turn);
        }
        let restarts = from.active && to.active && from.running_with != to.running_with;
        if self.keeps_containers && restarts {
            let lost = containers::lost_at_restart(host)?;
            if !lost.is_empty() {
                return Ok(Some(format!(
                    "a restart of this Docker removes {} for good (started with `--rm`); stop {} first, then \
                     run pitool again",
                    lost.join(", "),
                    if lost.len() == 1 { "it" } else { "them" }
                )));
            }
        }
        Ok(None)
    }

    fn enact(&self, host: &dyn Host, from: &UnitState, to: &UnitState) -> Result<()> {
        let status = self.status(host.inspect())?;
        if host.live() && (status.stale || !status.exists) {
            host.run(&Command::new("systemctl").arg("daemon-reload"))?;
        }
        if from.masked && !to.masked {
            self.systemctl(host, "unmask")?;
        }
        if from.enabled != to.enabled {
            self.systemctl(host, if to.enabled { "enable" } else { "disable" })?;
        }
        if !from.masked && to.masked {
            self.systemctl(host, "mask")?;
        }
        if !host.live() {
            return Ok(());
        }
        if !to.active {
            host.remove(&self.mark_path())?;
        }
        let now_on_disk = self.on_disk(host.inspect(), &to.on_disk)?;
        if to.active && from.running_with != to.running_with {
            // A reload keeps the invocation id: should this process die between the reload and its mark, the old
            // mark would lie. Until the new one is there, nobody knows what the unit runs with.
            self.write_mark(host, String::new(), &Fingerprints::new())?;
        }
        match (from.active, to.active) {
            (true, false) => self.systemctl(host, "stop")?,
            (false, true) => {
                self.forget_starts(host)?;
                self.systemctl(host, "start")?;
            }
            (true, true) if from.running_with != to.running_with => {
                self.forget_starts(host)?;
                if self.keeps_containers {
                    containers::keeping_containers(host, || self.systemctl(host, "restart"))?;
                } else {
                    self.systemctl(host, if self.reload { "reload-or-restart" } else { "restart" })?;
                }
            }
            _ => {}
        }
        if to.active {
            if status.unannounced {
                host.sleep(SETTLING);
            }
            let status = self.status(host.inspect())?;
            if status.active == ActiveState::Active {
                self.write_mark(host, status.invocation, &now_on_disk)?;
            }
        }
        Ok(())
    }

    fn change(&self, from: &UnitState, to: &UnitState) -> Change {
        let mut parts = Vec::new();
        if from.active != to.active {
            let words = |state: &UnitState| match (state.exists, state.active) {
                (false, _) => "absent",
                (true, true) => "running",
                (true, false) => "stopped",
            };
            parts.push(format!("{} → {}", words(from), words(to)));
        }
        if from.enabled != to.enabled && (from.exists || !to.active) {
            parts.push(format!("{} at boot", if to.enabled { "starts" } else { "no longer starts" }));
        }
        if from.masked && !to.masked {
            parts.push("unmasked".into());
        }
        if from.active && to.active && from.running_with != to.running_with {
            let verb = if self.reload { "reloaded" } else { "restarted" };
            let with = from.running_with.clone().unwrap_or_default();
            let changed: Vec<&str> = to
                .on_disk
                .iter()
                .filter(|(path, digest)| with.get(*path).copied().flatten() != **digest)
                .map(|(path, _)| path.as_str())
                .collect();
            parts.push(if changed.is_empty() {
                verb.to_owned()
            } else {
                format!("{verb}, because {} changed", changed.join(", "))
            });
        }
        Change::words(Action::between(from.exists, to.exists), parts.join(", "))
    }

    fn stage(&self) -> Stage {
        Stage::Activate
    }

    fn watches(&self) -> Vec<Id> {
        self.reads.clone()
    }

    fn risk(&self) -> Risk {
        self.risk
    }

    fn foresee(&self, observed: &UnitState, upcoming: &Upcoming) -> UnitState {
        let mut state = observed.clone();
        for id in &self.reads {
            if let Some(fingerprint) = upcoming.fingerprint(id) {
                state.on_disk.insert(path_of(id).to_owned(), fingerprint);
            }
        }
        // Files that it was started with and that are no longer on the list.
        for (path, fingerprint) in &mut state.on_disk {
            for kind in ["file", "link"] {
                if let Some(upcoming) = upcoming.fingerprint(&Id::new(kind, path)) {
                    *fingerprint = upcoming;
                }
            }
        }
        state
    }

    fn restored(&self, before: &UnitState, now: &UnitState) -> UnitState {
        // Its files are back by now: it should run with them, whatever it ran with when the run began. Among them may
        // be some that it read then and that the run took off its list.
        let mut on_disk = now.on_disk.clone();
        if before.active {
            for (path, fingerprint) in before.on_disk.iter().filter(|(_, fingerprint)| fingerprint.is_some())
            {
                on_disk.entry(path.clone()).or_insert(*fingerprint);
            }
        }
        UnitState {
            running_with: before.active.then(|| on_disk.clone()),
            on_disk,
            // A unit file goes with its package or its own step; here it only stops.
            exists: before.exists || now.exists,
            ..before.clone()
        }
    }

    fn remains(&self, before: &UnitState, now: &UnitState) -> Option<String> {
        // Its files speak for themselves, and it runs with what is there.
        let alike = UnitState {
            live: now.live,
            exists: now.exists,
            on_disk: now.on_disk.clone(),
            running_with: now.running_with.clone(),
            ..before.clone()
        };
        let summary = self.change(&alike, now).summary;
        (!summary.is_empty()).then_some(summary)
    }

    fn departs(&self, to: &UnitState) -> bool {
        !to.active
    }

    fn adopt(&self, host: &dyn Host, observed: &UnitState, settled: bool) -> Result<()> {
        if !host.live() {
            return Ok(());
        }
        let status = self.status(host.inspect())?;
        match (&observed.running_with, settled) {
            // While a run goes on, a package's script may start the unit anew at a moment that we do not see. So the
            // mark holds for whatever start follows: it ran with what was there before the run changed a file.
            (with, false) => self.write_mark(host, String::new(), with.as_ref().unwrap_or(&observed.on_disk)),
            (Some(with), true) => self.write_mark(host, status.invocation, with),
            (None, true) => {
                if status.active == ActiveState::Failed {
                    self.forget_if_gone(host, &status)?;
                }
                host.remove(&self.mark_path())
            }
        }
    }

    fn expect(resources: &[&Self], host: &dyn Inspect) {
        let names: Vec<&str> = resources.iter().map(|unit| unit.name.as_str()).collect();
        host.expect_units(&names);
    }
}
