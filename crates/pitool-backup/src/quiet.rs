//! Containers and services that rest while their files are saved or restored, and always come back.
//!
//! What is about to be stopped is written down, durably, before it is stopped. Should the power go in between, the next
//! boot or the next backup finds that record and starts everything again ([`recover`]): Docker itself would not,
//! because a container that was stopped by hand stays down with `restart: unless-stopped`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use pitool_host::{Access, ActiveState, Command, Error, Host, Inspect, Output, Result, job};
use serde::{Deserialize, Serialize};

/// Where what rests is written down.
pub const RECORD: &str = "/var/lib/pitool/backup/resting.json";

/// Where that goes when it cannot be understood.
const DAMAGED: &str = "/var/lib/pitool/backup/resting.json.damaged";

/// How long a program may take to end by itself; Docker's own ten seconds are short for a database on a card.
const GRACE_SECONDS: u64 = 60;

/// How often a container is looked at whose stop was asked for by a client that was killed: Docker stops it all the same, and
/// says until then that it runs.
const LOOKS: u64 = GRACE_SECONDS / LOOK_SECONDS + 5;
const LOOK_SECONDS: u64 = 2;

/// How containers rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rest {
    /// Frozen where they are.
    Paused,
    /// Ended, to be started again.
    Stopped,
}

/// Something that rests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Resting {
    /// A container.
    Container {
        /// Its id.
        id: String,
        /// Its name, for messages.
        name: String,
        /// How it rests.
        how: Rest,
    },
    /// A unit of systemd.
    Unit {
        /// Its name with its suffix.
        name: String,
    },
}

impl Resting {
    /// What a person calls it.
    pub fn name(&self) -> &str {
        match self {
            Self::Container { name, .. } | Self::Unit { name } => name,
        }
    }

    fn rest(&self, host: &dyn Inspect) -> Result<Command> {
        Ok(match self {
            Self::Container { id, how: Rest::Paused, .. } => Command::new("docker").args(["pause", id]),
            Self::Container { id, how: Rest::Stopped, .. } => Command::new("docker")
                .args(["stop", "--time", &GRACE_SECONDS.to_string(), id])
                .timeout(Duration::from_secs(GRACE_SECONDS + 60)),
            Self::Unit { name } => job(host, "stop", name)?,
        })
    }

    fn wake(&self, host: &dyn Inspect) -> Result<Command> {
        Ok(match self {
            // What was paused when the power went has stopped.
            Self::Container { id, .. } => match state(host, id)?.stdout.trim().ends_with(" true") {
                true => Command::new("docker").args(["unpause", id]),
                false => Command::new("docker").args(["start", id]),
            },
            Self::Unit { name } => job(host, "start", name)?,
        })
    }

    /// Whether it is a container that runs and is not paused.
    fn runs(&self, host: &dyn Inspect) -> Result<bool> {
        match self {
            Self::Container { id, .. } => Ok(state(host, id)?.stdout.trim() == "true false"),
            Self::Unit { .. } => Ok(false),
        }
    }

    /// Whether it is as it should be, without being woken.
    fn awake(&self, host: &dyn Inspect) -> Result<bool> {
        match self {
            Self::Container { id, .. } => {
                let output = state(host, id)?;
                if !output.ok() && output.stderr.to_lowercase().contains("no such") {
                    // Somebody removed it: there is nothing to wake.
                    return Ok(true);
                }
                Ok(output.stdout.trim() == "true false")
            }
            Self::Unit { name } => {
                let status = host.units(&[name])?.pop().unwrap_or_default();
                Ok(status.active == ActiveState::Active || !status.exists)
            }
        }
    }
}

/// Something that goes on although it was to rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restless {
    /// A container that Docker deletes, with its anonymous volumes, when it is stopped (`docker run --rm`).
    DeletedWhenStopped {
        /// Its name.
        name: String,
        /// The systemd unit that runs it, where one was found.
        unit: Option<String>,
    },
    /// A container that something started meanwhile, such as a unit with `Restart=always`.
    StartedMeanwhile {
        /// Its name.
        name: String,
        /// The systemd unit that runs it, where one was found.
        unit: Option<String>,
    },
    /// Containers that run on while Docker's daemon is down, and can be neither paused nor stopped.
    WithoutDaemon,
}

impl Restless {
    /// Says what is not at rest and what to do about it; `key` is the key of the set that names units.
    pub fn advice(&self, key: &str) -> String {
        let name_it = |unit: &Option<String>| match unit {
            Some(unit) => format!("name its unit, {unit}, in `{key}` of the set"),
            None => format!("name the systemd unit that runs it in `{key}` of the set"),
        };
        match self {
            Self::DeletedWhenStopped { name, unit } => format!(
                "the container {name} was not stopped, because Docker deletes it when it stops (`--rm`): {}",
                name_it(unit)
            ),
            Self::StartedMeanwhile { name, unit } => format!(
                "the container {name} was started while containers were stopped: {}",
                name_it(unit)
            ),
            Self::WithoutDaemon => {
                "containers run on although Docker's daemon is down, and cannot be stopped: start docker.service"
                    .to_owned()
            }
        }
    }
}

/// A running container, with the directories that it uses.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Container {
    id: String,
    name: String,
    mounts: Vec<PathBuf>,
    /// Docker deletes it when it stops.
    deleted_when_stopped: bool,
}

/// The part of `docker inspect` that matters here.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    name: String,
    state: State,
    #[serde(default)]
    mounts: Vec<Mount>,
    #[serde(default)]
    host_config: HostConfig,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    #[serde(default)]
    auto_remove: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    #[serde(default)]
    running: bool,
    #[serde(default)]
    paused: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mount {
    #[serde(default)]
    source: PathBuf,
}

/// Reads `docker inspect ID…`: the containers that run and are not paused.
fn running(text: &str) -> Result<Vec<Container>> {
    let inspected: Vec<Inspected> = serde_json::from_str(text)
        .map_err(|error| Error::Parse { what: "`docker inspect`".to_owned(), why: error.to_string() })?;
    Ok(inspected
        .into_iter()
        .filter(|one| one.state.running && !one.state.paused)
        .map(|one| Container {
            id: one.id,
            name: one.name.trim_start_matches('/').to_owned(),
            mounts: one.mounts.into_iter().map(|mount| mount.source).collect(),
            deleted_when_stopped: one.host_config.auto_remove,
        })
        .collect())
}

/// The containers that use any of the paths, or something in them, or something that they are in.
fn using(containers: Vec<Container>, paths: &[PathBuf]) -> Vec<Container> {
    let meet = |a: &Path, b: &Path| a.starts_with(b) || b.starts_with(a);
    containers
        .into_iter()
        .filter(|one| one.mounts.iter().any(|mount| paths.iter().any(|path| meet(mount, path))))
        .collect()
}

/// The containers that run; `None` when Docker's daemon is down and will not answer.
fn containers(host: &dyn Inspect) -> Result<Option<Vec<Container>>> {
    let list = Command::new("docker").args(["ps", "--quiet", "--no-trunc"]);
    let output = match host.ask(&list) {
        // No Docker, no containers.
        Err(Error::Start { .. }) => return Ok(Some(Vec::new())),
        other => other?,
    };
    if !output.ok() && is_down(host, &output)? {
        return Ok(None);
    }
    let output = Error::unless_ok(&list, output)?;
    let ids: Vec<&str> = output.stdout.split_whitespace().collect();
    if ids.is_empty() {
        return Ok(Some(Vec::new()));
    }
    // One that ended since the list was made makes the status 1; the others are told all the same.
    let output = host.ask(&Command::new("docker").arg("inspect").args(ids))?;
    running(&output.stdout).map(Some)
}

/// Whether Docker did not answer because its daemon does not run and nothing is about to start it.
fn is_down(host: &dyn Inspect, output: &Output) -> Result<bool> {
    let said = output.stderr.to_lowercase();
    let unreachable = ["cannot connect to the docker daemon", "failed to connect to the docker api"];
    if !unreachable.iter().any(|words| said.contains(words)) {
        return Ok(false);
    }
    host.forget();
    let status = host.units(&["docker.service"])?.pop().unwrap_or_default();
    Ok(matches!(status.active, ActiveState::Inactive | ActiveState::Failed))
}

/// Whether containers run whose daemon is down (`live-restore`): each has a control group of its own.
fn run_without_daemon(host: &dyn Inspect) -> Result<bool> {
    let with_systemd = host.list("/sys/fs/cgroup/system.slice")?.unwrap_or_default();
    let with_cgroupfs = host.list("/sys/fs/cgroup/docker")?.unwrap_or_default();
    let id = |name: &str| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let scope = |name: &String| {
        name.strip_prefix("docker-").and_then(|name| name.strip_suffix(".scope")).is_some_and(id)
    };
    Ok(with_systemd.iter().any(scope) || with_cgroupfs.iter().any(|name| id(name)))
}

/// The unit of systemd in which a program runs that started the container: `docker run --name NAME …`.
fn unit_of(host: &dyn Inspect, container: &str) -> Option<String> {
    let read = |pid: &str, file: &str| {
        let content = host.read(&format!("/proc/{pid}/{file}")).ok().flatten()?;
        Some(String::from_utf8_lossy(content.bytes()).into_owned())
    };
    let pids = host.list("/proc").ok().flatten()?;
    pids.iter().filter(|pid| pid.bytes().all(|byte| byte.is_ascii_digit())).find_map(|pid| {
        let command = read(pid, "cmdline")?;
        let words: Vec<&str> = command.split('\0').collect();
        let docker = words.first().is_some_and(|program| program.rsplit('/').next() == Some("docker"));
        let named = words.windows(2).any(|two| two == ["--name", container])
            || words.iter().any(|word| word.strip_prefix("--name=") == Some(container));
        if !docker || !named {
            return None;
        }
        let groups = read(pid, "cgroup")?;
        let unit = groups.lines().next_back()?.rsplit('/').next()?;
        unit.ends_with(".service").then(|| unit.to_owned())
    })
}

/// The directories of Docker's volumes, in the order of their names. While Docker's daemon is down, those of local volumes
/// where Docker has them unless it is told otherwise.
///
/// # Errors
/// A volume that is not there, or no Docker that could tell.
pub fn volumes(host: &dyn Inspect, names: &[String]) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for name in names {
        let command = Command::new("docker").args(["volume", "inspect", "--format", "{{.Mountpoint}}", name]);
        let output = host.ask(&command)?;
        if !output.ok() && is_down(host, &output)? {
            let usual = format!("/var/lib/docker/volumes/{name}/_data");
            if host.stat(&usual)?.is_some() {
                paths.push(PathBuf::from(usual));
                continue;
            }
        }
        let output = Error::unless_ok(&command, output)?;
        paths.push(PathBuf::from(output.stdout.trim()));
    }
    Ok(paths)
}

/// Something that rests until this is ended with [`Quiet::end`]. A run that dies is made up for by [`recover`].
#[must_use]
pub struct Quiet<'h> {
    host: &'h dyn Host,
    paths: Vec<PathBuf>,
    resting: Vec<Resting>,
    restless: Vec<Restless>,
    watch: Option<Watch<'h>>,
}

/// Starts what rests again should this process end without doing so, killed or out of memory.
///
/// `pitool backup recover` as a unit of its own waits for the lock of backups, which this process holds while it is
/// alive. Where there is no systemd-run, the next backup or boot does it. A process may have several, one after the other.
struct Watch<'h> {
    host: &'h dyn Host,
    unit: String,
}

impl<'h> Watch<'h> {
    fn begin(host: &'h dyn Host) -> Self {
        static BEGUN: AtomicU32 = AtomicU32::new(0);
        let number = BEGUN.fetch_add(1, Ordering::Relaxed);
        let unit = format!("pitool-backup-watch-{}-{number}.service", std::process::id());
        let command = Command::new("systemd-run").args(["--quiet", "--collect", "--unit", &unit]).args([
            // It is ended while it waits for the lock: that is not a failure.
            "--property=KillSignal=SIGKILL",
            "--property=SuccessExitStatus=SIGKILL",
            "--description=Start what a backup or restore has stopped, should it be killed",
            "pitool",
            "backup",
            "recover",
        ]);
        let _without = host.run(&command);
        Self { host, unit }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let _gone = self.host.run(&Command::new("systemctl").args(["stop", &self.unit]));
    }
}

/// Whether a container runs and whether it is paused.
fn state(host: &dyn Inspect, id: &str) -> Result<Output> {
    let format = "{{.State.Running}} {{.State.Paused}}";
    host.ask(&Command::new("docker").args(["inspect", "--format", format, id]))
}

impl<'h> Quiet<'h> {
    /// Lets these units rest if they run, and the containers that use these paths. What cannot rest is told by
    /// [`Quiet::restless`]. The caller holds the lock of backups: the process that gets it starts everything again ([`recover`]).
    ///
    /// # Errors
    /// Something cannot be stopped; then everything is awake again, as far as it can be woken.
    pub fn begin(host: &'h dyn Host, how: Option<Rest>, paths: &[PathBuf], units: &[String]) -> Result<Self> {
        let mut quiet =
            Self { host, paths: paths.to_owned(), resting: Vec::new(), restless: Vec::new(), watch: None };
        if let Err(error) = quiet.rest(how, units) {
            // What keeps it from waking is told by the record that stays.
            let _woken = quiet.end();
            return Err(error);
        }
        Ok(quiet)
    }

    fn rest(&mut self, how: Option<Rest>, units: &[String]) -> Result<()> {
        let host = self.host;
        if !host.live() {
            return Ok(());
        }
        // Units first: a web server in front of containers would answer with errors otherwise, too, and the containers that a
        // unit runs end with it.
        let names: Vec<&str> = units.iter().map(String::as_str).collect();
        let statuses = host.units(&names)?.into_iter();
        self.put_to_rest(
            statuses
                .filter(|status| status.active == ActiveState::Active)
                .map(|status| Resting::Unit { name: status.name })
                .collect(),
        )?;
        let Some(how) = how else { return Ok(()) };
        let Some(containers) = containers(host.inspect())? else {
            if run_without_daemon(host.inspect())? {
                self.restless.push(Restless::WithoutDaemon);
            }
            return Ok(());
        };
        let (kept, others): (Vec<_>, Vec<_>) = using(containers, &self.paths)
            .into_iter()
            .partition(|one| how == Rest::Stopped && one.deleted_when_stopped);
        self.restless.extend(kept.into_iter().map(|Container { name, .. }| {
            let unit = unit_of(host.inspect(), &name);
            Restless::DeletedWhenStopped { name, unit }
        }));
        let others = others.into_iter();
        self.put_to_rest(others.map(|one| Resting::Container { id: one.id, name: one.name, how }).collect())
    }

    /// Writes down what is about to rest, with what an earlier run could not wake; then lets it rest.
    fn put_to_rest(&mut self, wanted: Vec<Resting>) -> Result<()> {
        if wanted.is_empty() {
            return Ok(());
        }
        let mut all = recorded(self.host.inspect())?;
        all.extend(wanted.iter().cloned());
        write(self.host, &all)?;
        // Before anything is stopped: this process may be killed at any moment.
        self.watch.get_or_insert_with(|| Watch::begin(self.host));
        self.resting.extend(wanted.iter().cloned());
        for one in &wanted {
            self.host.run(&one.rest(self.host.inspect())?)?;
        }
        Ok(())
    }

    /// What rests.
    pub fn resting(&self) -> &[Resting] {
        &self.resting
    }

    /// What goes on although it was to rest.
    pub fn restless(&self) -> &[Restless] {
        &self.restless
    }

    /// What something started although containers were stopped.
    fn started_meanwhile(&self) -> Result<Vec<Restless>> {
        let stopped = |one: &Resting| matches!(one, Resting::Container { how: Rest::Stopped, .. });
        if !self.resting.iter().any(stopped) {
            return Ok(Vec::new());
        }
        let host = self.host.inspect();
        let known = |container: &Container| {
            self.restless.iter().any(
                |one| matches!(one, Restless::DeletedWhenStopped { name, .. } if *name == container.name),
            )
        };
        let running = using(containers(host)?.unwrap_or_default(), &self.paths);
        Ok(running
            .into_iter()
            .filter(|container| !known(container))
            .map(|Container { name, .. }| {
                let unit = unit_of(host, &name);
                Restless::StartedMeanwhile { name, unit }
            })
            .collect())
    }

    /// Wakes everything, the last first; gives what something started meanwhile.
    ///
    /// # Errors
    /// Something does not come back. It stays written down, and the next backup or boot tries again.
    pub fn end(self) -> Result<Vec<Restless>> {
        // Whatever keeps Docker from answering must not keep anything asleep, and is told by what does not wake.
        let started = self.started_meanwhile().unwrap_or_default();
        wake(self.host, &self.resting)?;
        Ok(started)
    }
}

/// Wakes what a run that was cut off left resting; gives what that was.
///
/// # Errors
/// Something does not come back, or the record cannot be read.
pub fn recover(host: &dyn Host) -> Result<Vec<Resting>> {
    match recorded(host.inspect()) {
        Ok(resting) => {
            let stopped = |one: &&Resting| matches!(one, Resting::Container { how: Rest::Stopped, .. });
            let running =
                resting.iter().filter(stopped).filter(|one| one.runs(host.inspect()).unwrap_or_default());
            let mut woken = Vec::new();
            while_stopping(
                running.collect(),
                || {
                    host.sleep(Duration::from_secs(LOOK_SECONDS));
                    host.interrupted()
                },
                |one| one.runs(host.inspect()).unwrap_or(true),
                |one| {
                    // What does not start now is tried once more below, and reported then.
                    let started = one.wake(host.inspect()).and_then(|command| host.run(&command));
                    woken.extend(started.is_ok().then(|| one.clone()));
                },
            );
            woken.extend(wake(host, &resting)?);
            Ok(woken)
        }
        Err(Error::Parse { what, why }) => {
            // Told once: it must not keep every backup that is to come from stopping what it has to.
            crate::record::set_aside(host, RECORD, DAMAGED)?;
            let why = format!("{why}; it is now {DAMAGED}, and what it named may still be stopped");
            Err(Error::Parse { what, why })
        }
        Err(error) => Err(error),
    }
}

/// Looks at containers that run although they were to be stopped, for as long as Docker may take to stop them; hands over each
/// that ends. `pause` waits between two looks, and says whether to give up.
fn while_stopping<'r>(
    mut running: Vec<&'r Resting>,
    mut pause: impl FnMut() -> bool,
    mut runs: impl FnMut(&Resting) -> bool,
    mut ended: impl FnMut(&'r Resting),
) {
    for _ in 0..LOOKS {
        if running.is_empty() || pause() {
            return;
        }
        running.retain(|one| {
            let still = runs(one);
            if !still {
                ended(one);
            }
            still
        });
    }
}

/// What is written down as resting.
fn recorded(host: &dyn Inspect) -> Result<Vec<Resting>> {
    let Some(content) = host.read(RECORD)? else { return Ok(Vec::new()) };
    serde_json::from_slice(content.bytes())
        .map_err(|error| Error::Parse { what: RECORD.to_owned(), why: error.to_string() })
}

/// Wakes what sleeps of these; gives what slept.
fn wake(host: &dyn Host, resting: &[Resting]) -> Result<Vec<Resting>> {
    let mut woken = Vec::new();
    let mut asleep = Vec::new();
    let mut failed = None;
    for one in resting.iter().rev() {
        let outcome = one.awake(host.inspect()).and_then(|awake| match awake {
            true => Ok(()),
            false => {
                woken.push(one.clone());
                host.run(&one.wake(host.inspect())?).map(drop)
            }
        });
        if let Err(error) = outcome {
            asleep.push(one.clone());
            failed = Some(error);
        }
    }
    asleep.reverse();
    let mut left: Vec<Resting> =
        recorded(host.inspect())?.into_iter().filter(|one| !resting.contains(one)).collect();
    left.append(&mut asleep);
    if left.is_empty() {
        host.remove(RECORD)?
    } else {
        write(host, &left)?
    }
    failed.map_or(Ok(woken), Err)
}

fn write(host: &dyn Host, resting: &[Resting]) -> Result<()> {
    // Plain enums of strings always serialize.
    let text = serde_json::to_vec_pretty(resting).unwrap_or_default();
    host.write(RECORD, &text, Access::root(0o600))
}

/// Names for messages, each once.
pub fn names(resting: &[Resting]) -> String {
    let names: BTreeSet<&str> = resting.iter().map(Resting::name).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use pitool_sim::Sim;

    use super::*;

    const INSPECT: &str = r#"[
        {"Id": "aa", "Name": "/grist", "State": {"Running": true, "Paused": false},
         "Mounts": [{"Type": "volume", "Name": "grist", "Source": "/var/lib/docker/volumes/grist/_data"}],
         "HostConfig": {"AutoRemove": true}},
        {"Id": "bb", "Name": "/web", "State": {"Running": true, "Paused": false},
         "Mounts": [{"Type": "bind", "Source": "/opt/web/data/files"}]},
        {"Id": "cc", "Name": "/frozen", "State": {"Running": true, "Paused": true},
         "Mounts": [{"Type": "bind", "Source": "/opt/web/data"}]},
        {"Id": "dd", "Name": "/alone", "State": {"Running": true, "Paused": false}, "Mounts": []}
    ]"#;

    fn found(paths: &[&str]) -> Vec<String> {
        let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
        using(running(INSPECT).unwrap(), &paths).into_iter().map(|one| one.name).collect()
    }

    #[test]
    fn only_containers_that_use_the_files_rest() {
        assert_eq!(found(&["/var/lib/docker/volumes/grist/_data"]), ["grist"]);
        assert_eq!(found(&["/opt/web/data"]), ["web"]);
        assert_eq!(found(&["/opt/web/data/files/a.db"]), ["web"]);
        assert_eq!(found(&["/opt"]), ["web"]);
        // A name that begins alike is another directory.
        assert!(found(&["/opt/web/data/file"]).is_empty());
        assert!(found(&["/etc/nginx"]).is_empty());
    }

    fn container(id: &str, how: Rest) -> Resting {
        Resting::Container { id: id.to_owned(), name: format!("/{id}"), how }
    }

    fn says(sim: &Sim, command: &str, stdout: &str, status: i32) {
        sim.answer(command, Output { stdout: stdout.to_owned(), status, ..Output::default() });
    }

    const STATE: &str = "docker inspect --format";

    /// A machine on which these rest.
    fn resting(containers: &[Resting]) -> Sim {
        let sim = Sim::debian(13);
        sim.arrange().put_dir("/var/lib/pitool/backup");
        write(&sim, containers).unwrap();
        sim
    }

    #[test]
    fn what_was_paused_when_the_power_went_is_started() {
        for (state, verb) in [("false false", "docker start aa"), ("true true", "docker unpause aa")] {
            let sim = resting(&[container("aa", Rest::Paused)]);
            says(&sim, STATE, state, 0);
            says(&sim, verb, "", 0);
            assert_eq!(recover(&sim).unwrap().len(), 1);
            assert!(sim.commands().iter().any(|command| command == verb), "{:?}", sim.commands());
            assert_eq!(recorded(&sim).unwrap(), []);
        }
    }

    /// A client that is killed while Docker gives a container time to end leaves it running, and then it ends.
    #[test]
    fn what_is_about_to_end_is_waited_for() {
        let (slow, unharmed) = (container("aa", Rest::Stopped), container("bb", Rest::Stopped));
        let (mut looks, mut asked, mut ended) = (0, 0, Vec::new());
        while_stopping(
            vec![&slow, &unharmed],
            || {
                looks += 1;
                false
            },
            |one| {
                asked += 1;
                // The third look finds it ended.
                one.name() != "/aa" || asked < 5
            },
            |one| ended.push(one.name()),
        );
        assert_eq!((looks, ended), (LOOKS, vec!["/aa"]));
        const { assert!(LOOKS * LOOK_SECONDS > GRACE_SECONDS) };

        // One that runs on is left alone; one that was only paused is not waited for.
        for (how, waited) in [(Rest::Stopped, true), (Rest::Paused, false)] {
            let sim = resting(&[container("aa", how)]);
            says(&sim, STATE, "true false", 0);
            let before = sim.now();
            assert_eq!(recover(&sim).unwrap(), []);
            let took = sim.now().duration_since(before).unsigned_abs();
            assert_eq!(took > Duration::from_secs(GRACE_SECONDS), waited, "{how:?}: {took:?}");
            assert_eq!(recorded(&sim).unwrap(), []);
        }
    }

    #[test]
    fn what_cannot_be_woken_stays_written_down_beside_what_rests_later() {
        let asleep = container("aa", Rest::Stopped);
        let sim = resting(&[asleep.clone(), container("bb", Rest::Stopped)]);
        let later = Quiet {
            host: &sim,
            paths: Vec::new(),
            resting: vec![container("bb", Rest::Stopped)],
            restless: Vec::new(),
            watch: None,
        };
        says(&sim, "docker ps", "", 0);
        says(&sim, STATE, "true false", 0);
        later.end().unwrap();
        assert_eq!(recorded(&sim).unwrap(), [asleep]);
    }

    /// K1.12.
    #[test]
    fn a_damaged_record_of_what_rests_is_told_once_and_then_out_of_the_way() {
        let sim = with_container(false);
        sim.arrange().put(RECORD, "");
        assert!(recover(&sim).unwrap_err().to_string().contains(DAMAGED));
        assert!(sim.read(DAMAGED).unwrap().is_some());
        assert_eq!(recover(&sim).unwrap(), []);
        let quiet = Quiet::begin(&sim, Some(Rest::Paused), &[PathBuf::from("/opt/web")], &[]).unwrap();
        assert_eq!(quiet.resting().len(), 1);
        drop(quiet.end());
    }

    #[test]
    fn an_answer_that_is_none_is_an_error() {
        assert!(running("Cannot connect to the Docker daemon").is_err());
        assert!(running("[]").unwrap().is_empty());
    }

    /// A machine on which Docker says this of its one container, `aa`, which uses /opt/web.
    fn with_container(removed: bool) -> Sim {
        let sim = Sim::debian(13);
        sim.arrange().put_dir("/var/lib/pitool/backup");
        says(&sim, "docker ps", "aa\n", 0);
        let inspect = format!(
            r#"[{{"Id": "aa", "Name": "/web", "State": {{"Running": true}},
                "Mounts": [{{"Source": "/opt/web/data"}}], "HostConfig": {{"AutoRemove": {removed}}}}}]"#
        );
        says(&sim, "docker inspect aa", &inspect, 0);
        for verb in ["docker stop --time 60 aa", "docker pause aa", "docker unpause aa", "docker start aa"] {
            says(&sim, verb, "", 0);
        }
        says(&sim, STATE, "false false", 0);
        says(&sim, "systemd-run --quiet --collect --unit pitool-backup-watch-", "", 0);
        says(&sim, "systemctl stop pitool-backup-watch-", "", 0);
        sim
    }

    fn ran(sim: &Sim, command: &str) -> bool {
        sim.commands().iter().any(|one| one == command)
    }

    #[test]
    fn a_container_that_docker_deletes_when_it_stops_is_not_stopped_and_its_unit_is_named() {
        let sim = with_container(true);
        sim.arrange().put("/proc/77/cmdline", "/usr/bin/docker\0run\0--rm\0--name\0web\0image\0");
        sim.arrange().put("/proc/77/cgroup", "0::/system.slice/web-app.service\n");
        let paths = [PathBuf::from("/opt/web")];
        let quiet = Quiet::begin(&sim, Some(Rest::Stopped), &paths, &[]).unwrap();
        assert!(quiet.resting().is_empty());
        let [one] = quiet.restless() else { panic!("{:?}", quiet.restless()) };
        let said = one.advice("units");
        assert!(said.contains("container web") && said.contains("web-app.service, in `units`"), "{said}");
        assert_eq!(quiet.end().unwrap(), []);
        assert!(!ran(&sim, "docker stop --time 60 aa"), "{:?}", sim.commands());

        let quiet = Quiet::begin(&sim, Some(Rest::Paused), &paths, &[]).unwrap();
        assert!(quiet.restless().is_empty() && ran(&sim, "docker pause aa"));
        drop(quiet.end());
    }

    #[test]
    fn a_container_that_is_started_meanwhile_is_told() {
        let sim = with_container(false);
        let quiet = Quiet::begin(&sim, Some(Rest::Stopped), &[PathBuf::from("/opt/web")], &[]).unwrap();
        assert!(quiet.restless().is_empty() && ran(&sim, "docker stop --time 60 aa"));
        // A unit with Restart=always makes another one, of the same name.
        let started = quiet.end().unwrap();
        assert_eq!(started, [Restless::StartedMeanwhile { name: "web".to_owned(), unit: None }]);
        assert!(ran(&sim, "docker start aa"), "what was stopped comes back all the same");
        // Should this process be killed, another one starts it: it is there before anything is stopped, and goes last.
        let order = ["systemd-run", "docker stop", "docker start", "systemctl stop"];
        let commands = sim.commands();
        let at = |what: &&str| commands.iter().position(|command| command.starts_with(what));
        let places: Vec<_> = order.iter().map(at).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{commands:?}");
        assert_eq!(recorded(&sim).unwrap(), []);
    }

    /// A machine whose Docker does not answer.
    fn without_daemon(said: &str) -> Sim {
        let sim = Sim::debian(13);
        sim.arrange().put_dir("/var/lib/pitool/backup");
        sim.answer("docker ps", Output { stderr: said.to_owned(), status: 1, ..Output::default() });
        sim.answer("docker volume", Output { stderr: said.to_owned(), status: 1, ..Output::default() });
        sim
    }

    #[test]
    fn with_a_daemon_that_is_down_there_is_nothing_to_stop_unless_containers_run_on() {
        for said in [
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
            "failed to connect to the docker API at unix:///var/run/docker.sock: connect: no such file",
        ] {
            let sim = without_daemon(said);
            let quiet = Quiet::begin(&sim, Some(Rest::Stopped), &[PathBuf::from("/opt/web")], &[]).unwrap();
            assert!(quiet.resting().is_empty() && quiet.restless().is_empty());
            drop(quiet.end());
            sim.arrange().put_dir("/var/lib/docker/volumes/grist/_data");
            let found = volumes(&sim, &["grist".to_owned()]).unwrap();
            assert_eq!(found, [PathBuf::from("/var/lib/docker/volumes/grist/_data")]);
            assert!(volumes(&sim, &["other".to_owned()]).is_err());

            let scope = format!("/sys/fs/cgroup/system.slice/docker-{}.scope", "0f".repeat(32));
            sim.arrange().put_dir(&scope);
            let quiet = Quiet::begin(&sim, Some(Rest::Stopped), &[PathBuf::from("/opt/web")], &[]).unwrap();
            assert_eq!(quiet.restless(), [Restless::WithoutDaemon]);
            drop(quiet.end());
        }
        let sim = without_daemon("permission denied while trying to connect");
        assert!(Quiet::begin(&sim, Some(Rest::Stopped), &[PathBuf::from("/opt/web")], &[]).is_err());
    }
}
