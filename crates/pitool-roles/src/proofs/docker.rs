//! Questions to Docker.

use pitool_engine::{Id, Proof, Verdict};
use pitool_host::{Command, Inspect, Result};
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
        let closes = |line: &str| line.starts_with("-A PITOOL-DOCKER -m conntrack --ctstate DNAT -j ");
        if self.closed && !rules.lines().any(closes) {
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
    fn the_way_to_the_rules_is_followed() {
        let rules = "-P FORWARD DROP\n-N PITOOL-DOCKER\n-A FORWARD -j DOCKER-USER\n-A DOCKER-USER -j PITOOL-DOCKER\n\
            -A DOCKER-USER -j RETURN\n-A PITOOL-DOCKER -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN\n\
            -A PITOOL-DOCKER -m conntrack --ctstate DNAT -j DROP\n";
        let proof = PublishedPortsGuarded { closed: true };
        assert!(matches!(proof.judge(rules), Verdict::InForce { .. }));
        for line in rules.lines().filter(|line| line.contains("-j DOCKER-USER") || line.contains("-j DROP")) {
            assert!(matches!(proof.judge(&rules.replace(line, "")), Verdict::NotInForce { .. }), "{line}");
        }
    }
}
