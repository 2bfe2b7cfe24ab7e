//! Docker: the client, and what the daemon does with its containers when it stops, starts and reloads.

use serde_json::{Value, json};

use crate::shell::{Ending, Shell};
use crate::world::World;

/// What `docker ps` says of published ports, as a test has put it there.
const PUBLISHED: &str = "/run/docker/containers";

const UNIT: &str = "docker.service";
const CONFIG: &str = "/etc/docker/daemon.json";

/// docker(1).
pub(crate) fn docker(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    if args == ["compose", "version", "--short"] {
        shell.say("2.26.1");
        return Ok(0);
    }
    if !shell.world().active(UNIT) {
        return shell.fail(
            1,
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
        );
    }
    match args {
        ["info", "--format", "{{json .}}"] => {
            let info = info(&shell.world());
            shell.say(info.to_string());
        }
        ["ps", "--all", "--quiet"] => {
            let ids: Vec<String> = shell.world().containers.keys().map(|name| id(name)).collect();
            ids.iter().for_each(|id| shell.say(&id[..12]));
        }
        ["ps", "--no-trunc", "--format", "{{.Names}}\t{{.Ports}}"] => {
            let text = shell.world().text(PUBLISHED).to_owned();
            text.lines().for_each(|line| shell.say(line));
        }
        ["ps", "--no-trunc", "--format", "{{.ID}} {{.Names}}"] => {
            let world = shell.world();
            let running = world.containers.iter().filter(|(_, container)| container.running);
            let lines: Vec<String> = running.map(|(name, _)| format!("{} {name}", id(name))).collect();
            drop(world);
            lines.iter().for_each(|line| shell.say(line));
        }
        ["inspect", "--format", "{{.HostConfig.AutoRemove}} {{.Name}}", ids @ ..] => {
            let world = shell.world();
            let asked = world.containers.iter().filter(|(name, _)| ids.contains(&id(name).as_str()));
            let lines: Vec<String> = asked.map(|(name, one)| format!("{} /{name}", one.removed)).collect();
            drop(world);
            lines.iter().for_each(|line| shell.say(line));
        }
        ["start", wanted] => {
            let name = shell.world().containers.keys().find(|name| id(name) == *wanted).cloned();
            let Some(name) = name else {
                return shell.fail(1, format!("Error response from daemon: No such container: {wanted}"));
            };
            shell.change(&format!("start container {name}"), |world| {
                if let Some(container) = world.containers.get_mut(&name).filter(|one| !one.running) {
                    container.begin();
                }
            })?;
        }
        _ => shell.unknown(),
    }
    Ok(0)
}

/// The id of a container, made from its name.
fn id(name: &str) -> String {
    blake3::hash(name.as_bytes()).to_hex().to_string()
}

fn info(world: &World) -> Value {
    let running = world.units.get(UNIT).map(|unit| &unit.running_with);
    let config = running.and_then(|files| files.get(CONFIG)).cloned();
    let config: Value =
        config.and_then(|config| serde_json::from_slice(config.bytes()).ok()).unwrap_or_default();
    let packages = ["docker-ce", "docker.io"].map(|name| world.packages.get(name).cloned());
    let version = packages.into_iter().flatten().next().map(|package| package.version);
    let version = version.unwrap_or_default();
    let version = version.rsplit(':').next().unwrap_or_default();
    let memory = world.text("/sys/fs/cgroup/cgroup.controllers").contains("memory");
    json!({
        "ServerVersion": version.split(['-', '+']).next(),
        "Architecture": "aarch64",
        "LoggingDriver": config.get("log-driver").cloned().unwrap_or(json!("json-file")),
        "LiveRestoreEnabled": world.live_restore,
        "MemoryLimit": memory,
        "CgroupVersion": "2",
    })
}

impl World {
    /// What the file says of live-restore.
    fn configured(&self) -> Option<bool> {
        let config: Value = serde_json::from_slice(self.content(CONFIG)?.bytes()).ok()?;
        config.get("live-restore")?.as_bool()
    }

    pub(crate) fn end_containers(&mut self, by_hand: bool) {
        for container in self.containers.values_mut().filter(|container| container.running) {
            (container.running, container.by_hand) = (false, by_hand);
        }
        self.containers.retain(|_, container| container.running || !container.removed);
    }

    /// What a daemon that stops does: it leaves its containers alone with live-restore only.
    pub(crate) fn dockerd_stops(&mut self) {
        if !self.live_restore {
            self.end_containers(false);
        }
    }

    /// What a daemon that starts does: without live-restore it kills what it finds, as if a person had stopped it.
    pub(crate) fn dockerd_starts(&mut self) {
        self.live_restore = self.configured().unwrap_or_default();
        if !self.live_restore {
            self.end_containers(true);
        }
        // Docker before 24.0.8 removes what was started with `--rm`, with live-restore, too.
        if self.packages.get("docker.io").is_some_and(|docker| docker.version.starts_with("20.")) {
            self.containers.retain(|_, container| !container.removed);
        }
        for container in self.containers.values_mut().filter(|container| !container.running) {
            let again = match container.policy.as_str() {
                "always" => true,
                "unless-stopped" => !container.by_hand,
                _ => false,
            };
            if again {
                container.begin();
            }
        }
    }

    /// What a daemon that reloads does: a file that does not name the setting leaves it as it is.
    pub(crate) fn dockerd_reloads(&mut self) {
        self.live_restore = self.configured().unwrap_or(self.live_restore);
    }
}
