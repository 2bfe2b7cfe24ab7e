//! The roles: the table that everything else starts from.

use pitool_config::Settings;
use pitool_host::Facts;

use crate::wishes::Wishes;
use crate::{app, backup, common, docker, monitoring, security, ssl};

/// A named part of a machine's setup.
#[derive(Clone, Copy, Debug)]
pub struct Role {
    /// Its name on the command line and in the config.
    pub name: &'static str,
    /// Other names for it: the tags of the Ansible roles that it replaces.
    pub tags: &'static [&'static str],
    /// What it is for, in a few words.
    pub about: &'static str,
    /// What it wants.
    pub wishes: fn(&Settings, &Facts) -> Wishes,
}

/// Every role, in the order in which `apply all` shows them.
pub const ROLES: &[Role] = &[
    Role {
        name: "common",
        tags: &["base"],
        about: "packages, time zone, locale, host name, swap, kernel values, users",
        wishes: common::wishes,
    },
    Role {
        name: "security",
        tags: &[],
        about: "sshd, firewall, fail2ban, automatic security updates",
        wishes: security::wishes,
    },
    Role {
        name: "docker",
        tags: &["containers"],
        about: "Docker Engine and Compose",
        wishes: docker::wishes,
    },
    Role {
        name: "monitoring",
        tags: &[],
        about: "tools, logs, the service that watches the machine and tells you",
        wishes: monitoring::wishes,
    },
    Role {
        name: "app",
        tags: &["environment"],
        about: "nginx and the applications behind it",
        wishes: app::wishes,
    },
    Role {
        name: "ssl",
        tags: &[],
        about: "certificates by ACME and HTTPS for the sites",
        wishes: ssl::wishes,
    },
    Role {
        name: "backup",
        tags: &[],
        about: "backups by timer, restored on trial every month",
        wishes: backup::wishes,
    },
];

/// Finds a role by its name or tag.
pub fn find(name: &str) -> Option<&'static Role> {
    ROLES.iter().find(|role| role.name == name || role.tags.contains(&name))
}
