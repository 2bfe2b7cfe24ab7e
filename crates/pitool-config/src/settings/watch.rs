//! What watches the machine and whom it tells: the service, limits, alerts, pings, the status page.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::values::{
    AbsolutePath, Address, Cidr, Duration, MailAddress, Port, ServerName, Template, Url, Word,
};

/// The service `pitool-monitor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct MonitorService {
    /// Whether the service runs.
    pub enabled: bool,
    /// The address on which metrics and the status page are served. The default is reached from this machine only.
    pub listen: Address,
    /// The port.
    pub port: Port,
    /// Who may ask besides this machine itself, where `listen` is an address that others reach.
    #[cfg_attr(test, schemars(example = serde_json::json!(["192.168.1.0/24"])))]
    pub allow: Vec<Cidr>,
    /// Names under which others ask for it, besides this machine's addresses, `localhost` and its host name. A request for
    /// any other name is refused: a web page could have let its own name point here.
    #[cfg_attr(test, schemars(example = serde_json::json!(["kitchen.home.example"])))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<ServerName>,
    /// A file with a token that whoever asks from another machine must send (`Authorization: Bearer …`). None is asked for
    /// where unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = "/etc/pitool/metrics-token"))]
    pub token_file: Option<AbsolutePath>,
    /// A directory in which `pitool.prom` is kept for node_exporter's textfile collector. None is written where unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = "/var/lib/prometheus/node-exporter"))]
    pub textfile: Option<AbsolutePath>,
    /// How often the machine is checked.
    pub interval: Duration,
}

impl Default for MonitorService {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: Address::LOOPBACK,
            port: Port::MONITOR,
            allow: Vec::new(),
            names: Vec::new(),
            token_file: None,
            textfile: None,
            interval: Duration::from_secs(60),
        }
    }
}

/// From where on a check warns (`_warn`) or fails (`_fail`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Limits {
    /// How busy the processors are, in percent.
    pub cpu_warn: u8,
    /// Load of five minutes for each processor.
    pub load_warn: u8,
    /// Memory that is not available, in percent.
    pub memory_warn: u8,
    /// The same.
    pub memory_fail: u8,
    /// Swap in use, in percent.
    pub swap_warn: u8,
    /// How full a disk is, in percent, by space or by files.
    pub disk_warn: u8,
    /// The same.
    pub disk_fail: u8,
    /// Temperature of the processor in degrees Celsius. A Pi slows down from 80, or from 60 on the 3B+.
    pub temperature_warn: u8,
    /// The same. At 85 a Pi slows down hard.
    pub temperature_fail: u8,
    /// How long a certificate still holds.
    pub certificate_warn: Duration,
    /// The same.
    pub certificate_fail: Duration,
    /// How old the last good backup may be.
    pub backup_warn: Duration,
    /// The same.
    pub backup_fail: Duration,
    /// How old the last restore drill may be.
    pub drill_warn: Duration,
    /// How far the clock may be off, where something keeps it.
    pub clock_warn: Duration,
    /// How many updates may be pending.
    pub updates_warn: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cpu_warn: 95,
            load_warn: 4,
            memory_warn: 90,
            memory_fail: 97,
            swap_warn: 80,
            disk_warn: 85,
            disk_fail: 95,
            temperature_warn: 75,
            temperature_fail: 82,
            certificate_warn: Duration::from_days(21),
            certificate_fail: Duration::from_days(7),
            backup_warn: Duration::from_hours(26),
            backup_fail: Duration::from_hours(50),
            drill_warn: Duration::from_days(35),
            clock_warn: Duration::from_secs(2),
            updates_warn: 50,
        }
    }
}

/// Who is told when a check warns or fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Alerts {
    /// How long a check must be bad before anybody is told. It must be well again as long before the all-clear.
    pub wait: Duration,
    /// How long until a problem that lasts is told again.
    pub repeat: Duration,
    /// From which level on: `warn`, or only what has failed.
    pub level: AlertLevel,
    /// Checks that are told otherwise, by their names.
    pub checks: BTreeMap<Word, AlertRule>,
    /// A push message through ntfy, where `url` or `url_file` is set.
    pub ntfy: Ntfy,
    /// A request to an address of yours, where `url` or `url_file` is set.
    pub webhook: Webhook,
    /// A message in a Slack channel, or in whatever takes Slack's incoming webhooks, where `url_file` is set.
    pub slack: Slack,
    /// A mail, where `server` is set.
    pub mail: Mail,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            wait: Duration::from_mins(3),
            repeat: Duration::from_hours(12),
            level: AlertLevel::default(),
            checks: BTreeMap::new(),
            ntfy: Ntfy::default(),
            webhook: Webhook::default(),
            slack: Slack::default(),
            mail: Mail::default(),
        }
    }
}

impl Alerts {
    /// The names of the sinks that are set.
    pub fn sinks(&self) -> Vec<&'static str> {
        let set = [
            ("ntfy", self.ntfy.url.is_some() || self.ntfy.url_file.is_some()),
            ("webhook", self.webhook.url.is_some() || self.webhook.url_file.is_some()),
            ("slack", self.slack.url_file.is_some()),
            ("mail", self.mail.server.is_some()),
        ];
        set.into_iter().filter(|(_, set)| *set).map(|(name, _)| name).collect()
    }
}

/// From which level on somebody is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, schemars(inline))]
pub enum AlertLevel {
    /// Warnings and failures.
    #[default]
    Warn,
    /// Failures only.
    Fail,
}

/// How one check is told otherwise than the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct AlertRule {
    /// Whether anybody is told of it.
    pub told: bool,
    /// How long it must be bad. As for all where unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = "15m"))]
    pub wait: Option<Duration>,
    /// How long until it is told again. As for all where unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = "1d"))]
    pub repeat: Option<Duration>,
}

impl Default for AlertRule {
    fn default() -> Self {
        Self { told: true, wait: None, repeat: None }
    }
}

/// A push message through ntfy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Ntfy {
    /// The topic's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = "https://ntfy.sh/my-topic"))]
    pub url: Option<Url>,
    /// A file with the topic's address instead, because whoever knows a topic can read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = "/etc/pitool/secrets/ntfy-url"))]
    pub url_file: Option<AbsolutePath>,
    /// A file with an access token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = "/etc/pitool/secrets/ntfy-token"))]
    pub token_file: Option<AbsolutePath>,
}

/// A request to an address of yours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Webhook {
    /// The address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = "https://example.org/alert"))]
    pub url: Option<Url>,
    /// A file with the address instead, where the address is a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = "/etc/pitool/secrets/webhook-url"))]
    pub url_file: Option<AbsolutePath>,
    /// A file with a token that is sent as `Authorization: Bearer …`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = "/etc/pitool/secrets/webhook-token"))]
    pub token_file: Option<AbsolutePath>,
    /// What the body's type is called.
    pub content_type: Template,
    /// The body. `{title}`, `{text}`, `{host}`, `{check}`, `{level}`, `{time}`, `{value}` and `{hint}` are filled in,
    /// quoted as JSON strings need it. The whole alert as JSON where unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = &"{\"message\": \"{title}: {text}\"}"))]
    pub body: Option<Template>,
}

impl Default for Webhook {
    fn default() -> Self {
        Self { url: None, url_file: None, token_file: None, content_type: Template::json(), body: None }
    }
}

/// A message in a Slack channel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Slack {
    /// A file with the address of the incoming webhook, which is a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = "/etc/pitool/secrets/slack-url"))]
    pub url_file: Option<AbsolutePath>,
}

/// A mail.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Mail {
    /// The mail server.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = "smtp.example.org"))]
    pub server: Option<ServerName>,
    /// Its port. 587, 465 or 25 by `security` where unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = 587))]
    pub port: Option<Port>,
    /// How the connection is kept private.
    pub security: MailSecurity,
    /// The user to log in as. Without one nobody logs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = &"pi@example.org"))]
    pub user: Option<Template>,
    /// A file with the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = "/etc/pitool/secrets/mail-password"))]
    pub password_file: Option<AbsolutePath>,
    /// Who it is from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = "pi@example.org"))]
    pub from: Option<MailAddress>,
    /// Who gets it. The sender, where the list is empty.
    #[cfg_attr(test, schemars(example = serde_json::json!(["ada@example.org"])))]
    pub to: Vec<MailAddress>,
}

/// How a connection to a mail server is kept private.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, schemars(inline))]
pub enum MailSecurity {
    /// Begins in the clear and must become TLS before anything is said (port 587).
    #[default]
    Starttls,
    /// TLS from the first byte (port 465).
    Tls,
    /// Not at all (port 25). A password is never sent this way.
    None,
}

/// Dead-man pings, as healthchecks.io and its kin take them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Pings {
    /// A file with the address to ping for as long as the machine lives. The address is a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = "/etc/pitool/secrets/ping-heartbeat"))]
    pub heartbeat_file: Option<AbsolutePath>,
    /// How often.
    pub heartbeat: Duration,
    /// A file with the address to ping when a backup starts, is done or fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = "/etc/pitool/secrets/ping-backup"))]
    pub backup_file: Option<AbsolutePath>,
    /// The same for a restore drill.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = "/etc/pitool/secrets/ping-drill"))]
    pub drill_file: Option<AbsolutePath>,
    /// The same for the renewal of certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = "/etc/pitool/secrets/ping-renewal"))]
    pub renewal_file: Option<AbsolutePath>,
}

impl Default for Pings {
    fn default() -> Self {
        Self {
            heartbeat_file: None,
            heartbeat: Duration::from_mins(5),
            backup_file: None,
            drill_file: None,
            renewal_file: None,
        }
    }
}

/// The status page behind the web server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct StatusPage {
    /// Whether nginx hands it out under `/status/`, to whoever knows the password. It is user `pitool` with the password
    /// in `/etc/nginx/pitool-status.htpasswd`, which is made once and is then yours.
    pub enabled: bool,
}
