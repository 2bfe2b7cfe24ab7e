//! Containers and services that rest while their files are saved or restored, and always come back.
//!
//! What is about to be stopped is written down, durably, before it is stopped. Should the power go in between, the next
//! boot or the next backup finds that record and starts everything again ([`recover`]): Docker itself would not,
//! because a container that was stopped by hand stays down with `restart: unless-stopped`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pitool_host::{Access, ActiveState, Command, Error, Host, Inspect, Output, Result, job};
use serde::{Deserialize, Serialize};

/// Where what rests is written down.
pub const RECORD: &str = "/var/lib/pitool/backup/resting.json";

/// How long a program may take to end by itself; Docker's own ten seconds are short for a database on a card.
const GRACE_SECONDS: u64 = 60;

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

/// A running container, with the directories that it uses.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Container {
    id: String,
    name: String,
    mounts: Vec<PathBuf>,
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

fn containers(host: &dyn Inspect) -> Result<Vec<Container>> {
    let list = Command::new("docker").args(["ps", "--quiet", "--no-trunc"]);
    let output = match host.ask(&list) {
        // No Docker, no containers.
        Err(Error::Start { .. }) => return Ok(Vec::new()),
        other => Error::unless_ok(&list, other?)?,
    };
    let ids: Vec<&str> = output.stdout.split_whitespace().collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    // One that ended since the list was made makes the status 1; the others are told all the same.
    let output = host.ask(&Command::new("docker").arg("inspect").args(ids))?;
    running(&output.stdout)
}

/// The directories of Docker's volumes, in the order of their names.
///
/// # Errors
/// A volume that is not there, or no Docker that could tell.
pub fn volumes(host: &dyn Inspect, names: &[String]) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for name in names {
        let command = Command::new("docker").args(["volume", "inspect", "--format", "{{.Mountpoint}}", name]);
        let output = Error::unless_ok(&command, host.ask(&command)?)?;
        paths.push(PathBuf::from(output.stdout.trim()));
    }
    Ok(paths)
}

/// Something that rests until this is ended with [`Quiet::end`]. A run that dies is made up for by [`recover`].
#[must_use]
pub struct Quiet<'h> {
    host: &'h dyn Host,
    resting: Vec<Resting>,
}

/// Whether a container runs and whether it is paused.
fn state(host: &dyn Inspect, id: &str) -> Result<Output> {
    let format = "{{.State.Running}} {{.State.Paused}}";
    host.ask(&Command::new("docker").args(["inspect", "--format", format, id]))
}

impl<'h> Quiet<'h> {
    /// Lets the containers rest that use these paths, and these units if they run.
    ///
    /// # Errors
    /// Something cannot be stopped; then everything is awake again, as far as it can be woken.
    pub fn begin(host: &'h dyn Host, how: Option<Rest>, paths: &[PathBuf], units: &[String]) -> Result<Self> {
        let mut wanted: Vec<Resting> = Vec::new();
        let names: Vec<&str> = units.iter().map(String::as_str).collect();
        if host.live() {
            // Units first: a web server in front of containers would answer with errors otherwise, too.
            for status in host.units(&names)? {
                if status.active == ActiveState::Active {
                    wanted.push(Resting::Unit { name: status.name });
                }
            }
            if let Some(how) = how {
                let used = using(containers(host.inspect())?, paths);
                wanted.extend(used.into_iter().map(|one| Resting::Container {
                    id: one.id,
                    name: one.name,
                    how,
                }));
            }
        }
        let quiet = Self { host, resting: wanted };
        if quiet.resting.is_empty() {
            return Ok(quiet);
        }
        // With what an earlier one could not wake.
        let mut all = recorded(host.inspect())?;
        all.extend(quiet.resting.iter().cloned());
        write(host, &all)?;
        for one in &quiet.resting {
            if let Err(error) = one.rest(host.inspect()).and_then(|command| host.run(&command)) {
                // What keeps it from waking is told by the record that stays.
                let _woken = quiet.end();
                return Err(error);
            }
        }
        Ok(quiet)
    }

    /// What rests.
    pub fn resting(&self) -> &[Resting] {
        &self.resting
    }

    /// Wakes everything, the last first.
    ///
    /// # Errors
    /// Something does not come back. It stays written down, and the next backup or boot tries again.
    pub fn end(self) -> Result<()> {
        wake(self.host, &self.resting).map(drop)
    }
}

/// Wakes what a run that was cut off left resting; gives what that was.
///
/// # Errors
/// Something does not come back, or the record cannot be read.
pub fn recover(host: &dyn Host) -> Result<Vec<Resting>> {
    wake(host, &recorded(host.inspect())?)
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
    use pitool_host::sim::Sim;

    use super::*;

    const INSPECT: &str = r#"[
        {"Id": "aa", "Name": "/grist", "State": {"Running": true, "Paused": false},
         "Mounts": [{"Type": "volume", "Name": "grist", "Source": "/var/lib/docker/volumes/grist/_data"}]},
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

    #[test]
    fn what_cannot_be_woken_stays_written_down_beside_what_rests_later() {
        let asleep = container("aa", Rest::Stopped);
        let sim = resting(&[asleep.clone(), container("bb", Rest::Stopped)]);
        let later = Quiet { host: &sim, resting: vec![container("bb", Rest::Stopped)] };
        says(&sim, STATE, "true false", 0);
        later.end().unwrap();
        assert_eq!(recorded(&sim).unwrap(), [asleep]);
    }

    #[test]
    fn an_answer_that_is_none_is_an_error() {
        assert!(running("Cannot connect to the Docker daemon").is_err());
        assert!(running("[]").unwrap().is_empty());
    }
}
