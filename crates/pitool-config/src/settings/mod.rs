//! The settings: every key of the config, typed, with its default.
//!
//! The comments on the fields are the config reference: `pitool config schema` and the reference page are
//! generated from them.

mod app;
mod backup;
mod common;
mod docker;
mod known;
mod monitoring;
mod security;
mod sets;
mod ssl;
mod watch;

use std::collections::BTreeMap;

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

use crate::values::{AppName, Port};

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

    /// The ports that the sites of this machine are served on: HTTP, and with a certificate HTTPS.
    pub fn site_ports(&self) -> Vec<Port> {
        let secured = self.ssl.name().is_some();
        if !self.app.enabled || self.apps.is_empty() && !secured {
            return Vec::new();
        }
        [Port::HTTP].into_iter().chain(secured.then_some(Port::HTTPS)).collect()
    }

    /// The rules of the firewall: those of the config, and behind them one for each port of a site that they do not name.
    pub fn firewall_rules(&self) -> Vec<Rule> {
        let firewall = &self.security.firewall;
        let ports = self.site_ports().into_iter().filter(|port| !firewall.names(*port));
        firewall.rules.iter().cloned().chain(ports.map(Rule::allow)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sites_bring_their_rules_where_a_list_does_not_name_their_ports() {
        let rules = |text: &str| -> Vec<String> {
            let settings: Settings = toml::from_str(text).unwrap();
            settings.firewall_rules().iter().map(|rule| format!("{:?} {}", rule.policy, rule.port)).collect()
        };
        let lan = "[security.firewall]\nrules = [{ port = 8123 }]\n";
        let site = "[apps.blog]\n";
        let tls = "[ssl]\ndomains = [\"pi.example.org\"]\n";
        assert_eq!(rules(""), ["Allow 80", "Allow 443"]);
        assert_eq!(rules(lan), ["Allow 8123"], "without a site there is nothing to keep open");
        assert_eq!(rules(&format!("{lan}{site}")), ["Allow 8123", "Allow 80"]);
        assert_eq!(rules(&format!("{lan}{site}{tls}")), ["Allow 8123", "Allow 80", "Allow 443"]);
        assert_eq!(rules(&format!("{lan}{site}{tls}[app]\nenabled = false\n")), ["Allow 8123"]);
        let shut =
            "[security.firewall]\nrules = [{ port = 80, policy = \"deny\" }, { port = \"400:500\" }]\n";
        assert_eq!(rules(&format!("{shut}{site}{tls}")), ["Deny 80", "Allow 400:500"]);
        let quic = "[security.firewall]\nrules = [{ port = 443, protocol = \"udp\" }]\n";
        assert_eq!(rules(&format!("{quic}{site}{tls}")), ["Allow 443", "Allow 80", "Allow 443"]);
    }
}
