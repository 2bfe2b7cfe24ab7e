//! The base of the machine.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize, de};

use super::known::known;
use crate::values::{
    FullName, HostName, Locale, PackageName, PublicKey, Swap, SysctlKey, SysctlValue, TimeZone, UnixShell,
    UserName,
};

/// The packages that a machine gets where its config names none.
pub(super) const PACKAGES: [&str; 12] = [
    "ca-certificates",
    "cron",
    "curl",
    "git",
    "gnupg",
    "htop",
    "lsb-release",
    "net-tools",
    "rsync",
    "unzip",
    "vim",
    "wget",
];

/// The kernel parameters that a machine gets beside those that its config names.
pub(super) const SYSCTLS: [(&str, i64); 3] =
    [("net.ipv4.tcp_keepalive_time", 600), ("vm.swappiness", 10), ("vm.vfs_cache_pressure", 50)];

/// The base of the machine: packages, time, language, swap, kernel parameters, users.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Common {
    /// Packages that are installed. A list of yours replaces the default list.
    pub packages: Vec<PackageName>,
    /// Whether apply also upgrades the packages that are there. Security updates come by themselves: see
    /// `security.updates`.
    pub upgrade: Upgrade,
    /// The time zone, such as `"Europe/Berlin"`. Left as it is where unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<TimeZone>,
    /// The language of the system, such as `"en_GB.UTF-8"`; it is generated and made the default. Left as it is where
    /// unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locale: Option<Locale>,
    /// The name of the machine. Left as it is where unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<HostName>,
    /// How much swap: `"auto"` leaves the choice to the machine's own mechanism, `"none"` turns it off, a size such as
    /// `"2GiB"` sets it.
    pub swap: Swap,
    /// Kernel parameters, each with a number or a text. Yours are added to the default ones, or replace them key by
    /// key.
    pub sysctl: Sysctls,
    /// Whether the clock is set over the network.
    pub time_sync: bool,
    /// Whether the kernel counts memory per container, which Docker's memory limits need. Only changes a Raspberry Pi's
    /// boot settings, and needs a reboot.
    pub memory_cgroup: bool,
    /// Whether the hardware watchdog reboots the machine when it hangs.
    pub watchdog: bool,
    /// The people who use the machine, by user name. Users that are not named here are left alone.
    pub users: BTreeMap<UserName, User>,
}

impl Default for Common {
    fn default() -> Self {
        Self {
            packages: known(&PACKAGES),
            upgrade: Upgrade::default(),
            timezone: None,
            locale: None,
            hostname: None,
            swap: Swap::default(),
            sysctl: Sysctls::default(),
            time_sync: true,
            memory_cgroup: true,
            watchdog: false,
            users: BTreeMap::new(),
        }
    }
}

/// Whether apply also upgrades the packages that are there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, schemars(inline))]
pub enum Upgrade {
    /// Nothing is upgraded.
    #[default]
    None,
    /// Packages are upgraded where no other package has to go (`apt-get upgrade`, which may add packages).
    Safe,
    /// Packages are upgraded, and others removed where need be (`apt-get dist-upgrade`).
    Full,
}

/// Kernel parameters: the default ones and those of the config.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
#[cfg_attr(test, schemars(inline))]
pub struct Sysctls(BTreeMap<SysctlKey, SysctlValue>);

impl Default for Sysctls {
    fn default() -> Self {
        let parameter = |(key, value): &(&str, i64)| Some((key.parse().ok()?, SysctlValue::Integer(*value)));
        Self(SYSCTLS.iter().filter_map(parameter).collect())
    }
}

impl Deref for Sysctls {
    type Target = BTreeMap<SysctlKey, SysctlValue>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Sysctls {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Over;

        impl<'de> de::Visitor<'de> for Over {
            type Value = Sysctls;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of kernel parameters")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Sysctls, A::Error> {
                let mut sysctls = Sysctls::default();
                while let Some((key, value)) = map.next_entry()? {
                    sysctls.0.insert(key, value);
                }
                Ok(sysctls)
            }
        }

        deserializer.deserialize_map(Over)
    }
}

/// Somebody who uses the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct User {
    /// Groups that the user is in, beside the user's own. Other memberships are left alone.
    #[cfg_attr(test, schemars(example = serde_json::json!(["adm", "plugdev"])))]
    pub groups: Vec<UserName>,
    /// The public keys with which the user logs in, as in a file that ends in `.pub`. Other keys in the user's file are
    /// left alone.
    pub authorized_keys: Vec<PublicKey>,
    /// Whether the user may do everything with sudo, without a password.
    pub sudo: bool,
    /// The login shell.
    pub shell: UnixShell,
    /// The person's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<FullName>,
}

impl Default for User {
    fn default() -> Self {
        Self {
            groups: Vec::new(),
            authorized_keys: Vec::new(),
            sudo: false,
            shell: UnixShell::bash(),
            comment: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_default_is_dropped() {
        assert_eq!(Common::default().packages.len(), PACKAGES.len());
        assert_eq!(Common::default().sysctl.len(), SYSCTLS.len());
    }
}
