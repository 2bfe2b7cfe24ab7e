//! What Docker runs, across a restart of its daemon.
//!
//! A dockerd that stops with `live-restore` leaves its containers running. One that starts without it kills every
//! container that it finds, and counts each as stopped by a person, so that `restart: unless-stopped` does not bring it
//! back (moby, `daemon/daemon.go: restore`). So both need the setting: the dockerd that stops and the one that starts.
//! A running dockerd takes it from a reload; a reload whose file does not name it keeps the value, so only an explicit
//! `false` switches it off again.

use std::time::Duration;

use pitool_host::{Access, Command, Content, Error, FileType, Host, Inspect, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Docker's unit.
const UNIT: &str = "docker.service";

/// Docker's settings.
const CONFIG: &str = "/etc/docker/daemon.json";

/// The setting that keeps containers running without a daemon.
const LIVE_RESTORE: &str = "live-restore";

/// How long dockerd has to heed a reload, which is a signal that nobody answers.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(200);

/// How long a reload is waited for where nobody can say whether it was heeded.
const BLIND: Duration = Duration::from_secs(2);

/// A running container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Its id, 64 hex digits.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// Lists the containers that run, paused ones among them; `None` where Docker does not answer or has no client.
///
/// # Errors
/// The machine's.
pub fn running(host: &dyn Inspect) -> Result<Option<Vec<Container>>> {
    let Some(text) = docker(host, &["ps", "--no-trunc", "--format", "{{.ID}} {{.Names}}"])? else {
        return Ok(None);
    };
    let container = |line: &str| {
        let (id, names) = line.split_once(' ')?;
        // Other names are those that old links gave it: `web,db/web`.
        let name = names.split(',').find(|name| !name.contains('/')).unwrap_or(names);
        Some(Container { id: id.to_owned(), name: name.trim().to_owned() })
    };
    Ok(Some(text.lines().filter_map(container).collect()))
}

/// What the client prints; `None` where it fails or is not there.
fn docker(host: &dyn Inspect, args: &[&str]) -> Result<Option<String>> {
    match host.ask(&Command::new("docker").args(args.iter().copied())) {
        Ok(output) => Ok(output.ok().then_some(output.stdout)),
        Err(Error::Start { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The first dockerd that leaves a container with `--rm` running when it starts with `live-restore` (moby, release notes
/// of 24.0.8; an earlier one removes it for good).
const SPARES_REMOVED: [u32; 3] = [24, 0, 8];

/// Lists the names of the running containers that a restart of dockerd removes for good.
///
/// # Errors
/// The machine's.
pub(crate) fn lost_at_restart(host: &dyn Inspect) -> Result<Vec<String>> {
    let running = running(host)?.unwrap_or_default();
    if running.is_empty() {
        return Ok(Vec::new());
    }
    let ask = ["inspect", "--format", "{{.HostConfig.AutoRemove}} {{.Name}}"];
    let ids = running.iter().map(|container| container.id.as_str());
    let removed = docker(host, &ask.into_iter().chain(ids).collect::<Vec<_>>())?.unwrap_or_default();
    let names = removed.lines().filter_map(|line| line.strip_prefix("true /")).map(str::to_owned);
    let names: Vec<String> = names.collect();
    if names.is_empty() {
        return Ok(names);
    }
    let info = docker(host, &["info", "--format", "{{json .}}"])?;
    let info: Value = info.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let version = info.get("ServerVersion").and_then(Value::as_str).unwrap_or_default();
    // In swarm mode dockerd refuses live-restore, so that its containers stop.
    let swarm =
        info.pointer("/Swarm/LocalNodeState").and_then(Value::as_str).is_some_and(|state| state == "active");
    Ok(if swarm || numbers(version) < SPARES_REMOVED { names } else { Vec::new() })
}

/// The numbers of a version, `20.10.24+dfsg1`; 0 for what is missing.
fn numbers(version: &str) -> [u32; 3] {
    let mut numbers =
        version.split(|character: char| !character.is_ascii_digit()).map(|word| word.parse().unwrap_or(0));
    std::array::from_fn(|_| numbers.next().unwrap_or(0))
}

/// Restarts dockerd without stopping what it runs; what stops nevertheless is started again.
///
/// # Errors
/// The restart's own, or dockerd did not take its final settings.
pub(crate) fn keeping_containers(host: &dyn Host, restart: impl Fn() -> Result<()>) -> Result<()> {
    let before = running(host.inspect())?;
    if before.as_ref().is_some_and(Vec::is_empty) {
        return restart();
    }
    match Config::read(host.inspect())? {
        // dockerd stops with the setting, and the next one starts without: it is there for the time between.
        Some(config) if !config.live_restore() && !flagged(host.inspect())? => {
            config.write(host, Some(true))?;
            // In swarm mode dockerd neither takes the setting nor starts with it.
            let kept = reload(host, true)? && succeeded(restart())?;
            if kept {
                config.write(host, Some(false))?;
            }
            let heeded = !kept || reload(host, false)?;
            config.write(host, None)?;
            if kept {
                // What it runs with is what the file says, to the letter.
                tried(host, &Command::new("systemctl").args(["reload", UNIT]))?;
            } else {
                restart()?;
            }
            if !heeded {
                return Err(Error::Unsupported(format!(
                    "Docker goes on with `{LIVE_RESTORE}`, which {CONFIG} does not name; `systemctl restart docker` \
                     ends that and stops the containers"
                )));
            }
        }
        _ => {
            // A dockerd in swarm mode does not take the setting: then its containers stop, and are started again.
            reload(host, true)?;
            restart()?;
        }
    }
    start_again(host, &before.unwrap_or_default())
}

/// Starts those of the containers that do not run. One that does not start again is what the proof after the run names.
fn start_again(host: &dyn Host, before: &[Container]) -> Result<()> {
    let Some(now) = running(host.inspect())? else { return Ok(()) };
    for container in before.iter().filter(|container| now.iter().all(|now| now.id != container.id)) {
        tried(host, &Command::new("docker").args(["start", &container.id]))?;
    }
    Ok(())
}

/// Has dockerd read its file again, and waits until it runs with this value; whether it does.
fn reload(host: &dyn Host, wanted: bool) -> Result<bool> {
    let heeded = |host: &dyn Host| -> Result<Option<bool>> {
        let value = docker(host.inspect(), &["info", "--format", "{{json .}}"])?;
        let info: Option<Value> = value.and_then(|text| serde_json::from_str(&text).ok());
        Ok(info.and_then(|info| info.get("LiveRestoreEnabled")?.as_bool()).map(|value| value == wanted))
    };
    if wanted && heeded(host)? == Some(true) {
        return Ok(true);
    }
    tried(host, &Command::new("systemctl").args(["reload", UNIT]))?;
    let mut waited = Duration::ZERO;
    loop {
        match heeded(host)? {
            Some(true) => return Ok(true),
            Some(false) if waited < PATIENCE => host.sleep(PAUSE),
            Some(false) => return Ok(false),
            None => {
                host.sleep(BLIND);
                return Ok(true);
            }
        }
        waited += PAUSE;
    }
}

/// Runs what may fail.
fn tried(host: &dyn Host, command: &Command) -> Result<()> {
    succeeded(host.run(command).map(drop)).map(drop)
}

/// Whether it succeeded; only the loss of the machine itself is an error.
fn succeeded(result: Result<()>) -> Result<bool> {
    match result {
        Err(error @ Error::PowerCut) => Err(error),
        other => Ok(other.is_ok()),
    }
}

/// Whether the running dockerd was given the setting on its command line; it refuses a file that has it too.
fn flagged(host: &dyn Inspect) -> Result<bool> {
    let read = |path: &str| -> Result<String> {
        let content = host.read(path)?;
        Ok(content.as_ref().and_then(Content::text).unwrap_or_default().to_owned())
    };
    let process = read("/run/docker.pid")?;
    if process.trim().is_empty() {
        return Ok(false);
    }
    let words = read(&format!("/proc/{}/cmdline", process.trim()))?;
    Ok(words.split('\0').any(|word| matches!(word, "--live-restore" | "--live-restore=true")))
}

/// The file with Docker's settings as it is, to be put back to the byte.
struct Config {
    path: String,
    /// `None` where there is no file.
    original: Option<Content>,
    settings: Map<String, Value>,
    access: Access,
}

impl Config {
    /// Reads it; `None` where there is no place for it, or it holds what dockerd would refuse.
    fn read(host: &dyn Inspect) -> Result<Option<Self>> {
        let mut path = CONFIG.to_owned();
        if let Some(FileType::Link(target)) = host.stat(CONFIG)?.map(|stat| stat.file_type) {
            path = if target.starts_with('/') { target } else { format!("/etc/docker/{target}") };
        }
        let directory = path.rsplit_once('/').map_or("/", |(directory, _)| directory);
        if host.stat(directory)?.is_none() {
            return Ok(None);
        }
        let original = host.read(&path)?;
        let text = original.as_ref().map_or("{}", |content| content.text().unwrap_or_default());
        let text = if text.trim().is_empty() { "{}" } else { text };
        let Ok(settings) = serde_json::from_str(text) else { return Ok(None) };
        let access = host.stat(&path)?.map_or(Access::root(0o644), |stat| stat.access);
        Ok(Some(Self { path, original, settings, access }))
    }

    fn live_restore(&self) -> bool {
        self.settings.get(LIVE_RESTORE).and_then(Value::as_bool).unwrap_or_default()
    }

    /// Writes it with this value for the setting, or as it was.
    fn write(&self, host: &dyn Host, live_restore: Option<bool>) -> Result<()> {
        let Some(live_restore) = live_restore else {
            return match &self.original {
                Some(content) => host.write(&self.path, content.bytes(), self.access),
                None => host.remove(&self.path),
            };
        };
        let mut settings = self.settings.clone();
        settings.insert(LIVE_RESTORE.to_owned(), Value::Bool(live_restore));
        // A map of strings to JSON values always serializes.
        let text = serde_json::to_string_pretty(&settings).unwrap_or_default() + "\n";
        host.write(&self.path, text.as_bytes(), self.access)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_that_spares_containers_is_found() {
        for (version, spares) in [
            ("20.10.24+dfsg1", false),
            ("24.0.7", false),
            ("", false),
            ("24.0.8", true),
            ("26.1.5+dfsg1", true),
        ] {
            assert_eq!(numbers(version) >= SPARES_REMOVED, spares, "{version}");
        }
    }
}
