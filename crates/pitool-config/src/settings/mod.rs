//! The settings: every key of the config, typed, with its default.
//!
//! The comments on the fields are the config reference: `pitool config schema` and the reference page are
//! generated from them.

mod app;
mod backup;
mod common;
mod docker;
mod monitoring;
mod security;
mod ssl;
mod watch;

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use app::{App, Site};
pub use backup::{
    Backup, Bucket, Containers, Disk, MACHINE, Retention, Scheduler, Set, SshTarget, Unchanged,
};
pub use common::{Common, Sysctls, Upgrade, User};
pub use docker::{Docker, DockerSource};
pub use monitoring::{Journal, JournalStorage, Monitoring};
pub use security::{
    Fail2ban, Firewall, Policy, Protocol, PublishedPorts, RootLogin, Rule, RulePolicy, Security, Ssh, Updates,
};
pub use ssl::{Challenge, KeyType, Ssl, Tls};
pub use watch::{
    AlertLevel, AlertRule, Alerts, Limits, Mail, MailSecurity, MonitorService, Ntfy, Pings, Slack,
    StatusPage, Webhook,
};

use crate::values::AppName;

/// What the machine should be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Settings {
    /// The base of the machine: packages, time, language, swap, kernel parameters, users.
    pub common: Common,
    /// Who gets in: SSH, firewall, bans, security updates.
    pub security: Security,
    /// The container engine.
    pub docker: Docker,
    /// What looks at the machine: tools, logs, the service that watches it and tells you.
    pub monitoring: Monitoring,
    /// Backups: what is saved, where to, when, and for how long.
    pub backup: Backup,
    /// The web server in front of the apps.
    pub app: App,
    /// The apps, by name; each is a site of the web server with a user and a directory of its own.
    pub apps: BTreeMap<AppName, Site>,
    /// Certificates by ACME, and how the web server speaks TLS.
    pub ssl: Ssl,
}

impl Settings {
    /// Writes the settings as one TOML document that loads to the same settings.
    ///
    /// # Errors
    /// None with settings that were loaded; an empty `None` in `docker.daemon`, which no file can hold, is one.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }
}

/// Reads names that are part of this program; a test shows that none is dropped.
fn known<T: FromStr>(names: &[&str]) -> Vec<T> {
    names.iter().filter_map(|name| name.parse().ok()).collect()
}
