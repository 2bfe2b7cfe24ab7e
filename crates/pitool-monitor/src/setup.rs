//! What is to be watched here, as plain data: limits, sinks, and what the rest of the config promises.
//!
//! The role monitoring derives it from what all roles want, and writes it to [`PATH`]; the service reads it there, so that the
//! service watches what was last applied, not a config that somebody is in the middle of editing. It holds paths of secrets,
//! never secrets.

use pitool_config::settings::{Alerts, Limits, MonitorService, Pings};
use pitool_config::values::Ports;
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
    /// Units that should be active: services, timers, swap.
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
