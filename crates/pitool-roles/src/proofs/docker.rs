//! Questions to Docker.

use std::collections::BTreeMap;

use jiff::Timestamp;
use pitool_engine::{Id, Proof, Verdict};
use pitool_host::{ActiveState, Command, Inspect, Result};
use pitool_resources::{Container, running_containers};
use serde_json::Value;

/// What `docker info` says, or why it says nothing.
fn info(host: &dyn Inspect) -> Result<std::result::Result<Value, String>> {
    let output = host.ask(&Command::new("docker").args(["info", "--format", "{{json .}}"]))?;
    // Without a daemon it prints what the client knows and ends with 0 or 1, by version.
    Ok(match serde_json::from_str::<Value>(&output.stdout) {
        Ok(info) if text(&info, "ServerVersion").is_empty() => Err(output.tail()),
        Ok(info) => Ok(info),
        Err(_) => Err(output.tail()),
    })
}

fn text<'a>(info: &'a Value, key: &str) -> &'a str {
    info.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn flag(info: &Value, key: &str) -> bool {
    info.get(key).and_then(Value::as_bool).unwrap_or_default()
}

fn silent(answer: String) -> Verdict {
    Verdict::NotInForce {
        expected: "Docker answers".into(),
        answer,
        hint: "`systemctl status docker` and `journalctl -u docker -n 50` say why".into(),
    }
}

/// Whether the daemon answers and runs with the settings that were promised.
#[derive(Clone, Debug, PartialEq)]
pub struct DockerAnswers {
    /// The log driver of new containers.
    pub log_driver: String,
    /// Whether containers survive the daemon.
    pub live_restore: bool,
}

impl Proof for DockerAnswers {
    fn id(&self) -> Id {
        Id::new("proof", "Docker runs with its settings")
    }

    fn ask(&self, host: &dyn Inspect) -> Result<Verdict> {
        Ok(info(host)?.map_or_else(silent, |info| self.judge(&info)))
    }
}

impl DockerAnswers {
    fn judge(&self, info: &Value) -> Verdict {
        let (driver, live_restore) = (text(info, "LoggingDriver"), flag(info, "LiveRestoreEnabled"));
        if (driver, live_restore) != (self.log_driver.as_str(), self.live_restore) {
            return Verdict::NotInForce {
                expected: format!("log driver {}, live-restore {}", self.log_driver, self.live_restore),
                answer: format!("log driver {driver}, live-restore {live_restore}"),
                hint: "`systemctl restart docker` makes it read /etc/docker/daemon.json again".into(),
            };
        }
        let answer = format!("version {} on {}", text(info, "ServerVersion"), text(info, "Architecture"));
        Verdict::InForce { answer }
    }
}

/// Whether a container's memory can be limited: on a Pi, limits are taken and then ignored (trap T1).
#[derive(Clone, Debug, PartialEq)]
pub struct DockerMemoryLimit {
    /// Whether the Pi's firmware starts the kernel, which switches the memory cgroup off.
    pub pi: bool,
}

impl Proof for DockerMemoryLimit {
    fn id(&self) -> Id {
        Id::new("proof", "memory limits of containers count")
    }

    fn ask(&self, host: &dyn Inspect) -> Result<Verdict> {
        Ok(info(host)?.map_or_else(silent, |info| self.judge(&info)))
    }
}

impl DockerMemoryLimit {
    fn judge(&self, info: &Value) -> Verdict {
        if flag(info, "MemoryLimit") {
            return Verdict::InForce { answer: format!("cgroup version {}", text(info, "CgroupVersion")) };
        }
        if self.pi {
            return Verdict::Pending {
                until: "a reboot with `cgroup_enable=memory` in cmdline.txt, which role common writes; until then a \
                        container may take all memory"
                    .into(),
            };
        }
        Verdict::Unknown { why: "this kernel cannot limit memory; limits of containers are ignored".into() }
    }
}

/// Whether Compose answers.
#[derive(Clone, Debug, PartialEq)]
pub struct ComposeAnswers {
    /// Whether it is `docker compose`, not `docker-compose`.
    pub plugin: bool,
}

impl Proof for ComposeAnswers {
    fn id(&self) -> Id {
        Id::new("proof", if self.plugin { "docker compose answers" } else { "docker-compose answers" })
    }

    fn ask(&self, host: &dyn Inspect) -> Result<Verdict> {
        let command = if self.plugin {
            Command::new("docker").args(["compose", "version", "--short"])
        } else {
            Command::new("docker-compose").args(["version", "--short"])
        };
        let output = host.ask(&command)?;
        if output.ok() {
            return Ok(Verdict::InForce { answer: format!("version {}", output.stdout.trim()) });
        }
        Ok(Verdict::NotInForce {
            expected: "Compose answers".into(),
            answer: output.tail(),
            hint: format!("`{}` should say its version", command.display()),
        })
    }
}

/// Whether every container has a limit for its log: settings count for new containers only (trap T34).
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerLogsLimited;

impl Proof for ContainerLogsLimited {
    fn id(&self) -> Id {
        Id::new("proof", "logs of containers have a limit")
    }

    fn ask(&self, host: &dyn Inspect) -> Result<Verdict> {
        let list = host.ask(&Command::new("docker").args(["ps", "--all", "--quiet"]))?;
        if !list.ok() {
            return Ok(silent(list.tail()));
        }
        let ids: Vec<&str> = list.stdout.split_whitespace().collect();
        if ids.is_empty() {
            return Ok(Verdict::InForce { answer: "no containers yet".into() });
        }
        let format = "{{.Name}} {{json .HostConfig.LogConfig}}";
        let output = host.ask(&Command::new("docker").args(["inspect", "--format", format]).args(ids))?;
        Ok(limited(&output.stdout))
    }
}

fn limited(containers: &str) -> Verdict {
    let endless = |line: &&str| {
        let Some((_, config)) = line.split_once(' ') else { return false };
        let config: Value = serde_json::from_str(config).unwrap_or_default();
        text(&config, "Type") == "json-file" && config.pointer("/Config/max-size").is_none()
    };
    let without: Vec<&str> = containers
        .lines()
        .filter(endless)
        .filter_map(|line| Some(line.split_once(' ')?.0.trim_start_matches('/')))
        .collect();
    if without.is_empty() {
        return Verdict::InForce { answer: format!("{} containers", containers.lines().count()) };
    }
    Verdict::Pending {
        until: format!("new containers in place of those that keep older settings: {}", without.join(", ")),
    }
}

/// Whether the containers that ran before a run still run.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainersRun {
    before: Vec<Container>,
    since: Timestamp,
}

impl ContainersRun {
    /// Notes what runs now; `None` where Docker runs nothing.
    ///
    /// # Errors
    /// The machine's.
    pub fn note(host: &dyn Inspect) -> Result<Option<Self>> {
        if !docker_runs(host)? {
            return Ok(None);
        }
        let before = running_containers(host)?.unwrap_or_default();
        Ok((!before.is_empty()).then(|| Self { before, since: host.now() }))
    }

    /// The names of those that ran.
    pub fn names(&self) -> Vec<&str> {
        names(&self.before)
    }
}

fn docker_runs(host: &dyn Inspect) -> Result<bool> {
    let unit = host.units(&["docker.service"])?.pop().unwrap_or_default();
    Ok(unit.active == ActiveState::Active)
}

fn names<'c>(containers: impl IntoIterator<Item = &'c Container>) -> Vec<&'c str> {
    containers.into_iter().map(|container| container.name.as_str()).collect()
}

/// What became of a container that does not run.
#[derive(Clone, Debug, PartialEq)]
struct Ended {
    status: i64,
    at: Option<Timestamp>,
}

impl Proof for ContainersRun {
    fn id(&self) -> Id {
        Id::new("proof", "containers that ran before run")
    }

    fn ask(&self, host: &dyn Inspect) -> Result<Verdict> {
        let Some(now) = running_containers(host)? else {
            return Ok(silent(format!("no answer; {} ran", self.names().join(", "))));
        };
        let lost = self.before.iter().filter(|container| now.iter().all(|now| now.id != container.id));
        let lost: Vec<&Container> = lost.collect();
        let mut ended = BTreeMap::new();
        let mut restart = None;
        if !lost.is_empty() {
            for container in &lost {
                let output = host.ask(
                    &Command::new("docker")
                        .args(["inspect", "--type", "container", "--format", "{{json .State}}"])
                        .arg(&container.id),
                )?;
                let Ok(state) = serde_json::from_str::<Value>(&output.stdout) else { continue };
                let status = state.get("ExitCode").and_then(Value::as_i64).unwrap_or_default();
                let at = text(&state, "FinishedAt").parse().ok();
                ended.insert(container.id.as_str(), Ended { status, at });
            }
            let show = host.ask(&Command::new("systemctl").args([
                "show",
                "--timestamp=unix",
                "--property=ActiveExitTimestamp,ActiveEnterTimestamp",
                "docker.service",
            ]))?;
            restart = restarted(&show.stdout).filter(|(_, up)| *up >= self.since);
        }
        Ok(self.judge(&lost, &ended, restart))
    }
}

/// From when to when Docker was down, in whole seconds that hold it.
fn restarted(show: &str) -> Option<(Timestamp, Timestamp)> {
    let at = |key: &str, more: i64| {
        let value = show.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix("=@"))?;
        Timestamp::from_second(value.trim().parse::<i64>().ok()? + more).ok()
    };
    at("ActiveExitTimestamp", 0).zip(at("ActiveEnterTimestamp", 1))
}

impl ContainersRun {
    fn judge(
        &self,
        lost: &[&Container],
        ended: &BTreeMap<&str, Ended>,
        restart: Option<(Timestamp, Timestamp)>,
    ) -> Verdict {
        let own = |container: &&&Container| match (ended.get(container.id.as_str()), restart) {
            (_, None) => true,
            // It ended before Docker stopped, or after Docker was up again.
            (Some(Ended { at: Some(at), .. }), Some((down, up))) => *at < down || *at > up,
            _ => false,
        };
        let cut: Vec<&&Container> = lost.iter().filter(|container| !own(container)).collect();
        if !cut.is_empty() {
            let gone = |container: &&&&Container| !ended.contains_key(container.id.as_str());
            let hint = match cut.iter().find(|container| !gone(container)) {
                Some(one) => format!(
                    "`docker start {0}` starts it, `docker logs {0}` shows why it does not run",
                    one.name
                ),
                None => {
                    "Docker removes a container of `docker run --rm` when it stops: start it again as before"
                        .to_owned()
                }
            };
            let words = |container: &&&Container| {
                let how = if gone(&container) { " (removed)" } else { "" };
                format!("{}{how}", container.name)
            };
            return Verdict::NotInForce {
                expected: format!("{} run", self.names().join(", ")),
                answer: format!(
                    "stopped with Docker: {}",
                    cut.iter().map(words).collect::<Vec<_>>().join(", ")
                ),
                hint,
            };
        }
        if !lost.is_empty() {
            let words = |container: &&Container| match ended.get(container.id.as_str()) {
                Some(ended) => format!("{} ended with status {}", container.name, ended.status),
                None => format!("{} was removed", container.name),
            };
            let words: Vec<String> = lost.iter().map(words).collect();
            return Verdict::Unknown { why: format!("not by Docker's restart: {}", words.join(", ")) };
        }
        let answer = self.names().join(", ");
        Verdict::InForce { answer }
    }
}

/// Whether what Docker publishes obeys the firewall.
#[derive(Clone, Debug, PartialEq)]
pub struct PublishedPortsGuarded {
    /// Whether a port that no rule names is closed.
    pub closed: bool,
}

impl Proof for PublishedPortsGuarded {
    fn id(&self) -> Id {
        Id::new("proof", "ports of containers obey the firewall")
    }

    fn ask(&self, host: &dyn Inspect) -> Result<Verdict> {
        let rules = host.ask(&Command::new("iptables").arg("-S"))?;
        if let Ok(info) = info(host)? {
            // Docker 29 can write its rules with nftables, past every chain of iptables (trap T20).
            if info.pointer("/FirewallBackend/Driver").and_then(Value::as_str) == Some("nftables") {
                return Ok(open("Docker uses its nftables backend, which does not ask DOCKER-USER".into()));
            }
        }
        Ok(self.judge(&rules.stdout))
    }
}

fn open(answer: String) -> Verdict {
    Verdict::NotInForce {
        expected: "FORWARD → DOCKER-USER → PITOOL-DOCKER".into(),
        answer,
        hint: "`systemctl restart pitool-docker-firewall` writes the rules again; `iptables -S` shows them"
            .into(),
    }
}

impl PublishedPortsGuarded {
    fn judge(&self, rules: &str) -> Verdict {
        let position = |rule: &str| rules.lines().position(|line| line == rule);
        if position("-A FORWARD -j DOCKER-USER").is_none() {
            return open("forwarded packets do not pass DOCKER-USER".into());
        }
        let Some(jump) = position("-A DOCKER-USER -j PITOOL-DOCKER") else {
            return open("DOCKER-USER does not lead to our rules".into());
        };
        if position("-A DOCKER-USER -j RETURN").is_some_and(|end| end < jump) {
            return open("DOCKER-USER ends before our rules".into());
        }
        let leads = |line: &str| line == "-A PITOOL-DOCKER -m conntrack --ctstate DNAT -g PITOOL-DOCKER-REST";
        let closes = |line: &str| {
            let target = line.strip_prefix("-A PITOOL-DOCKER-REST -j ");
            target.is_some_and(|target| ["DROP", "REJECT"].iter().any(|word| target.starts_with(word)))
        };
        if self.closed && !(rules.lines().any(leads) && rules.lines().any(closes)) {
            return open("a port that no rule names is open".into());
        }
        Verdict::InForce { answer: "in DOCKER-USER".into() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_daemon_with_other_settings_is_found() {
        let info = json!({"ServerVersion": "26.1.5+dfsg1", "Architecture": "x86_64", "LoggingDriver": "json-file",
            "LiveRestoreEnabled": true, "MemoryLimit": false, "CgroupVersion": "2"});
        let proof = DockerAnswers { log_driver: "json-file".into(), live_restore: true };
        assert_eq!(proof.judge(&info), Verdict::InForce { answer: "version 26.1.5+dfsg1 on x86_64".into() });
        assert!(matches!(
            DockerAnswers { live_restore: false, ..proof }.judge(&info),
            Verdict::NotInForce { .. }
        ));
        assert!(matches!(DockerMemoryLimit { pi: true }.judge(&info), Verdict::Pending { .. }));
        assert!(matches!(DockerMemoryLimit { pi: false }.judge(&info), Verdict::Unknown { .. }));
    }

    #[test]
    fn containers_from_before_the_limit_are_named() {
        let old = "/web {\"Type\":\"json-file\",\"Config\":{}}\n";
        let new = "/db {\"Type\":\"json-file\",\"Config\":{\"max-file\":\"3\",\"max-size\":\"10m\"}}\n";
        assert_eq!(limited(new), Verdict::InForce { answer: "1 containers".into() });
        let Verdict::Pending { until } = limited(&format!("{old}{new}")) else { panic!("not pending") };
        assert!(until.ends_with(": web"), "{until}");
    }

    #[test]
    fn a_container_that_docker_cut_is_told_from_one_that_ended() {
        let container = |name: &str| Container { id: format!("id-of-{name}"), name: name.into() };
        let at = |second| Timestamp::from_second(second).unwrap();
        let (web, job, task) = (container("web"), container("job"), container("task"));
        let proof = ContainersRun { before: vec![web.clone(), job.clone(), task.clone()], since: at(1000) };
        let restart = restarted("ActiveEnterTimestamp=@1010\nActiveExitTimestamp=@1008\n");
        assert_eq!(restart, Some((at(1008), at(1011))));

        let Verdict::InForce { answer } = proof.judge(&[], &BTreeMap::new(), restart) else { panic!() };
        assert_eq!(answer, "web, job, task");

        let ended = |name, second| (name, Ended { status: 3, at: Some(at(second)) });
        for second in [1007, 1012] {
            let states = BTreeMap::from([ended("id-of-job", second)]);
            let Verdict::Unknown { why } = proof.judge(&[&job], &states, restart) else { panic!() };
            assert_eq!(why, "not by Docker's restart: job ended with status 3");
        }
        let states = BTreeMap::from([ended("id-of-web", 1009)]);
        let Verdict::NotInForce { answer, hint, .. } = proof.judge(&[&web, &task], &states, restart) else {
            panic!()
        };
        assert_eq!(answer, "stopped with Docker: web, task (removed)");
        assert!(hint.contains("docker start web"), "{hint}");
        // Docker did not restart: whoever removed it was somebody else.
        let Verdict::Unknown { why } = proof.judge(&[&task], &BTreeMap::new(), None) else { panic!() };
        assert_eq!(why, "not by Docker's restart: task was removed");
    }

    #[test]
    fn the_way_to_the_rules_is_followed() {
        let rules = "-P FORWARD DROP\n-N PITOOL-DOCKER\n-A FORWARD -j DOCKER-USER\n-A DOCKER-USER -j PITOOL-DOCKER\n\
            -A DOCKER-USER -j RETURN\n-A PITOOL-DOCKER -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN\n\
            -A PITOOL-DOCKER -m conntrack --ctstate DNAT -g PITOOL-DOCKER-REST\n-A PITOOL-DOCKER-REST -j DROP\n";
        let proof = PublishedPortsGuarded { closed: true };
        assert!(matches!(proof.judge(rules), Verdict::InForce { .. }));
        for line in rules.lines().filter(|line| line.contains("-j DOCKER-USER") || line.contains("-REST")) {
            assert!(matches!(proof.judge(&rules.replace(line, "")), Verdict::NotInForce { .. }), "{line}");
        }
    }
}
