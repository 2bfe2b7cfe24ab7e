//! What is to be watched here, as plain data: limits, sinks, and what the rest of the config promises.
//!
//! The role monitoring writes it to [`PATH`] and the service reads it there, so that the service watches what was last applied,
//! not a config that somebody is in the middle of editing. It holds paths of secrets, never secrets.

use pitool_config::Settings;
use pitool_config::settings::{Alerts, Limits, MonitorService, Pings, Protocol, RulePolicy};
use pitool_config::values::Ports;
use pitool_host::Facts;
use serde::{Deserialize, Serialize};

/// Where the service finds its setup.
pub const PATH: &str = "/etc/pitool/monitor.toml";

/// What the service needs to know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    /// What the config promises of this machine.
    pub expected: Expected,
    /// The service itself.
    pub service: MonitorService,
    /// From where on a check warns or fails.
    pub limits: Limits,
    /// Dead-man pings.
    pub pings: Pings,
    /// Who is told.
    pub alerts: Alerts,
}

/// What the config promises.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Expected {
    /// The container that the machine itself is, empty where it is none: its clock and power are its host's.
    pub container: String,
    /// Units that should run.
    pub units: Vec<String>,
    /// Whether connections that no rule names are refused.
    pub firewall: bool,
    /// Whether Docker should run.
    pub docker: bool,
    /// Whether nginx should.
    pub web: bool,
    /// Whether updates are installed by themselves.
    pub automatic_updates: bool,
    /// Ports that the config opens.
    pub ports: Vec<OpenPorts>,
    /// Sets of backups that are made by themselves.
    pub backup_sets: Vec<String>,
    /// Targets that archives are copied to.
    pub backup_targets: Vec<String>,
    /// The name of the machine's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// Apps behind nginx.
    pub apps: Vec<App>,
}

/// Ports that the config opens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenPorts {
    /// The ports.
    pub ports: Ports,
    /// Whether TCP.
    pub tcp: bool,
    /// Whether UDP.
    pub udp: bool,
}

/// An app behind nginx.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct App {
    /// Its name.
    pub name: String,
    /// A name under which it is asked for; empty for the bare address.
    pub host: String,
    /// The port of the program behind it, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<u16>,
}

impl Setup {
    /// Takes from the config what matters here.
    pub fn of(settings: &Settings, facts: &Facts) -> Self {
        let monitoring = &settings.monitoring;
        Self {
            expected: Expected::of(settings, facts),
            service: monitoring.service.clone(),
            limits: monitoring.limits.clone(),
            pings: monitoring.pings.clone(),
            alerts: monitoring.alerts.clone(),
        }
    }

    /// Writes it as the file at [`PATH`] has it, without the first lines.
    ///
    /// # Errors
    /// None with values that came from a config.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }

    /// Reads that file.
    ///
    /// # Errors
    /// The text is not what this version writes; its words have the line.
    pub fn from_toml(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }
}

impl Expected {
    fn of(settings: &Settings, facts: &Facts) -> Self {
        let security = &settings.security;
        let mut units = Vec::new();
        let mut expect = |wanted: bool, unit: &str| units.extend(wanted.then(|| unit.to_owned()));
        expect(!facts.sshd_off, "ssh.service");
        expect(security.fail2ban.enabled, "fail2ban.service");
        expect(settings.docker.enabled, "docker.service");
        expect(settings.app.enabled, "nginx.service");
        expect(true, "cron.service");
        expect(settings.monitoring.service.enabled, "pitool-monitor.service");
        let ssh = security.ssh.port.unwrap_or(pitool_config::values::Port::SSH);
        let mut ports = vec![OpenPorts { ports: Ports::one(ssh), tcp: true, udp: false }];
        let rules = settings
            .firewall_rules()
            .into_iter()
            .filter(|rule| !matches!(rule.policy, RulePolicy::Deny | RulePolicy::Reject));
        ports.extend(rules.map(|rule| OpenPorts {
            ports: rule.port,
            tcp: rule.protocol != Protocol::Udp,
            udp: rule.protocol != Protocol::Tcp,
        }));
        let apps = settings.apps.iter().map(|(name, site)| App {
            name: name.to_string(),
            host: site
                .server_name
                .first()
                .map(|name| name.as_str().replacen('*', "pitool", 1))
                .unwrap_or_default(),
            upstream: site.upstream.then(|| site.upstream_port.number()),
        });
        let backup = &settings.backup;
        let backup_sets = match backup.enabled {
            true => settings.backup_sets().into_keys().map(|name| name.to_string()).collect(),
            false => Vec::new(),
        };
        let disks = backup.disks.iter().filter(|(_, target)| target.enabled).map(|(name, _)| name);
        let ssh = backup.ssh.iter().filter(|(_, target)| target.enabled).map(|(name, _)| name);
        let s3 = backup.s3.iter().filter(|(_, target)| target.enabled).map(|(name, _)| name);
        let targets = disks.chain(ssh).chain(s3).map(ToString::to_string);
        Self {
            container: facts.container.clone(),
            units,
            firewall: security.firewall.enabled,
            docker: settings.docker.enabled,
            web: settings.app.enabled && !facts.default_sites.contains_key(&80),
            automatic_updates: security.updates.enabled,
            ports,
            backup_sets,
            backup_targets: if settings.backup.enabled { targets.collect() } else { Vec::new() },
            certificate: settings.ssl.name().map(ToString::to_string),
            apps: apps.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Setup;
    use crate::state::State;

    /// The service starts anew with the package and reads what the version before it wrote, until the next apply.
    #[test]
    fn the_files_of_0_1_0_are_read() {
        let setup = include_str!("../../../tests/upgrade/v0.1.0/etc/pitool/monitor.toml");
        let setup = Setup::from_toml(setup).expect("the setup of 0.1.0");
        assert_eq!(setup.expected.backup_sets, ["machine", "notes"]);
        let state = include_str!("../../../tests/upgrade/v0.1.0/var/lib/pitool-monitor/state.json");
        let state: State = serde_json::from_str(state).expect("the state of 0.1.0");
        assert!(state.written.is_some());
    }
}
