//! Who gets in.

use serde::{Deserialize, Serialize};

use crate::values::{Cidr, Comment, Duration, MailAddress, Port, Ports, Source, TimeOfDay, UserName};

/// Who gets in: SSH, firewall, bans, security updates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Security {
    /// Whether kernel and network parameters are set that make attacks harder; none of them breaks Docker or IPv6.
    pub hardening: bool,
    /// The SSH server.
    pub ssh: Ssh,
    /// The firewall (ufw).
    pub firewall: Firewall,
    /// Bans of addresses that fail to log in again and again.
    pub fail2ban: Fail2ban,
    /// Security updates that come by themselves.
    pub updates: Updates,
}

impl Default for Security {
    fn default() -> Self {
        Self {
            hardening: true,
            ssh: Ssh::default(),
            firewall: Firewall::default(),
            fail2ban: Fail2ban::default(),
            updates: Updates::default(),
        }
    }
}

/// The SSH server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Ssh {
    /// The port. Left as it is where unset. The port in use stays open until the new one answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = 2222))]
    pub port: Option<Port>,
    /// Whether root may log in.
    pub permit_root_login: RootLogin,
    /// Whether people may log in with a password. It is turned off only when somebody who may use sudo has a key.
    pub password_authentication: bool,
    /// The only users who may log in. Everybody with an account may where the list is empty.
    pub allow_users: Vec<UserName>,
}

/// Whether root may log in over SSH.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, schemars(inline))]
pub enum RootLogin {
    /// Never.
    #[default]
    No,
    /// With a key, not with a password.
    ProhibitPassword,
    /// As anybody else.
    Yes,
}

/// The firewall (ufw).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Firewall {
    /// Whether the firewall is on.
    pub enabled: bool,
    /// What happens to connections from outside that no rule names. The SSH port always has a rule.
    pub incoming: Policy,
    /// What happens to connections to the outside that no rule names.
    pub outgoing: Policy,
    /// What happens to the ports that Docker publishes, which go past the other rules.
    pub published_ports: PublishedPorts,
    /// The rules for connections from outside, the first that fits decides. A list of yours replaces the default one; SSH
    /// and the sites of this machine bring their own rules, unless a rule of the list names their port.
    pub rules: Vec<Rule>,
    /// Ports that the firewall closes although a service or container uses them when it is first turned on. Ports in use
    /// that neither `rules` nor `close` names stay open then, and each plan says so.
    #[cfg_attr(test, schemars(example = serde_json::json!([445])))]
    pub close: Vec<Ports>,
}

impl Default for Firewall {
    fn default() -> Self {
        Self {
            enabled: true,
            incoming: Policy::Deny,
            outgoing: Policy::Allow,
            published_ports: PublishedPorts::default(),
            rules: vec![Rule::allow(Port::HTTP), Rule::allow(Port::HTTPS)],
            close: Vec::new(),
        }
    }
}

impl Firewall {
    /// Whether a rule of the list names this port.
    pub fn names(&self, port: Port) -> bool {
        self.rules.iter().any(|rule| rule.port.contains(port) && rule.protocol != Protocol::Udp)
    }
}

/// What happens to a connection that no rule names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, schemars(inline))]
pub enum Policy {
    /// It is dropped in silence.
    Deny,
    /// It is refused with an answer.
    Reject,
    /// It passes.
    Allow,
}

/// What happens to the ports that Docker publishes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, schemars(inline))]
pub enum PublishedPorts {
    /// Docker publishes on 127.0.0.1 where a container names no address.
    Loopback,
    /// A published port is reachable from outside only where a rule of the firewall allows it.
    #[default]
    Guarded,
    /// Docker decides: published ports are open to everybody.
    Open,
}

/// A rule of the firewall.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Rule {
    /// The port, or a range such as `"3000:3010"`.
    pub port: Ports,
    /// The protocol.
    #[serde(default)]
    pub protocol: Protocol,
    /// Where the connection comes from: `"any"`, an address or a network.
    #[serde(default)]
    pub from: Source,
    /// What happens to the connection.
    #[serde(default)]
    pub policy: RulePolicy,
    /// A remark that `ufw status` shows beside the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Comment>,
}

impl Rule {
    /// Allows TCP connections to a port from anywhere.
    pub fn allow(port: Port) -> Self {
        Self {
            port: Ports::one(port),
            protocol: Protocol::default(),
            from: Source::default(),
            policy: RulePolicy::default(),
            comment: None,
        }
    }
}

/// The protocol of a rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, schemars(inline))]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// Both.
    Any,
}

/// What a rule does to a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, schemars(inline))]
pub enum RulePolicy {
    /// It passes.
    #[default]
    Allow,
    /// It passes unless its address came six times within 30 seconds.
    Limit,
    /// It is dropped in silence.
    Deny,
    /// It is refused with an answer.
    Reject,
}

/// Bans of addresses that fail to log in again and again (fail2ban).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Fail2ban {
    /// Whether there are bans.
    pub enabled: bool,
    /// How long an address is banned.
    pub bantime: Duration,
    /// The time within which the failures count.
    pub findtime: Duration,
    /// The number of failures that lead to a ban.
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub maxretry: u16,
    /// Whether the ban of an address that comes back is longer each time.
    pub ban_growth: bool,
    /// The longest ban.
    pub bantime_max: Duration,
    /// Addresses and networks that are never banned. The machine's own network never is.
    pub ignore: Vec<Cidr>,
}

impl Default for Fail2ban {
    fn default() -> Self {
        Self {
            enabled: true,
            bantime: Duration::from_hours(1),
            findtime: Duration::from_mins(10),
            maxretry: 5,
            ban_growth: true,
            bantime_max: Duration::from_days(7),
            ignore: Vec::new(),
        }
    }
}

/// Security updates that come by themselves (unattended-upgrades).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Updates {
    /// Whether they come.
    pub enabled: bool,
    /// When the machine reboots after an update that needs it, such as `"04:00"`. Never by itself where unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reboot_time: Option<TimeOfDay>,
    /// Whether kernel and firmware come from Raspberry Pi's archive too, on a machine that has it.
    pub raspberrypi: bool,
    /// Who gets mail about updates: a local user or an address. Nobody where unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mail: Option<MailAddress>,
}

impl Default for Updates {
    fn default() -> Self {
        Self { enabled: true, reboot_time: None, raspberrypi: true, mail: None }
    }
}
