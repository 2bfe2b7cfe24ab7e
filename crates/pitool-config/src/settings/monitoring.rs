//! Tools to look at the machine, and its logs.

use serde::{Deserialize, Serialize};

use super::known::known;
use super::watch::{Alerts, Limits, MonitorService, Pings, StatusPage};
use crate::values::{Duration, PackageName, Size};

/// The tools that a machine gets where its config names none.
pub(super) const PACKAGES: [&str; 5] = ["htop", "iotop", "ncdu", "nload", "sysstat"];

/// Tools to look at the machine, and its logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Monitoring {
    /// Tools that are installed. A list of yours replaces the default list.
    pub packages: Vec<PackageName>,
    /// Whether sysstat records how busy the machine is, for `sar`.
    pub sysstat: bool,
    /// The machine's log (journald).
    pub journal: Journal,
    /// The service that watches the machine: health checks, metrics, alerts, the status page.
    pub service: MonitorService,
    /// From where on a check warns or fails.
    pub limits: Limits,
    /// Who is told when a check warns or fails, and how often.
    pub alerts: Alerts,
    /// Dead-man pings: a service elsewhere that raises the alarm when this machine falls silent.
    pub pings: Pings,
    /// The status page behind the web server.
    pub page: StatusPage,
}

impl Default for Monitoring {
    fn default() -> Self {
        Self {
            packages: known(&PACKAGES),
            sysstat: true,
            journal: Journal::default(),
            service: MonitorService::default(),
            limits: Limits::default(),
            alerts: Alerts::default(),
            pings: Pings::default(),
            page: StatusPage::default(),
        }
    }
}

/// The machine's log (journald).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Journal {
    /// Where the log is kept.
    pub storage: JournalStorage,
    /// How large it gets.
    pub max_size: Size,
    /// How old it gets.
    pub max_age: Duration,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            storage: JournalStorage::default(),
            max_size: Size::from_mib(200),
            max_age: Duration::from_days(30),
        }
    }
}

/// Where the machine's log is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, schemars(inline))]
pub enum JournalStorage {
    /// On disk where `/var/log/journal` exists, else in memory.
    Auto,
    /// On disk: it outlives a reboot.
    #[default]
    Persistent,
    /// In memory: it spares the SD card and is lost at a reboot.
    Volatile,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_default_is_dropped() {
        assert_eq!(Monitoring::default().packages.len(), PACKAGES.len());
    }
}
