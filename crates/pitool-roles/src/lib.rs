//! The roles: pure functions from config and facts to resources.
//!
//! A [`Role`] never sees the host, so it cannot branch on a state that changes during the run. It returns
//! [`Wishes`]: resources in the order of the story, proofs that the promises are in force, and notes for the
//! person. One file per role, its texts beside it in `templates/<role>/`; [`proofs`] is the one list of
//! questions, `pitool-kinds` the one list of kinds.
//!
//! Start reading at [`ROLES`], then at [`security`], the longest story.

mod accounts;
pub mod app;
pub mod backup;
pub mod common;
pub mod docker;
pub mod monitoring;
pub mod proofs;
pub mod security;
pub mod ssl;
mod templates;
mod web;
mod wishes;

use std::borrow::Cow;

use pitool_config::Settings;
use pitool_engine::{Desired, LintError, Resource};
use pitool_host::Facts;
use pitool_kinds::Kind;
use pitool_resources::InstalledSet;

pub use proofs::Question;
pub use wishes::Wishes;

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

/// Packages whose purging would delete what a person keeps in them: going back removes, but does not purge them.
const KEEPING: &[&str] = &["docker.io", "docker-ce", "containerd", "containerd.io"];

/// Where that is: containers, volumes and images of Docker, with its own store and with containerd's.
const DATA: &[(&str, &[&str])] = &[
    ("/var/lib/docker/containers", &[]),
    ("/var/lib/docker/volumes", &["backingFsBlockDev", "metadata.db"]),
    ("/var/lib/docker/image/overlay2/imagedb/content/sha256", &[]),
    ("/var/lib/containerd/io.containerd.content.v1.content/blobs/sha256", &[]),
];

/// The web server: purging it deletes all of /etc/nginx, a person's own sites too.
const WEB: &[&str] = &["nginx", "nginx-common"];

/// Finds a role by its name or tag.
pub fn find(name: &str) -> Option<&'static Role> {
    ROLES.iter().find(|role| role.name == name || role.tags.contains(&name))
}

/// What these roles want together.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Each thing once, in the order in which it settles.
    pub desired: Desired<Kind>,
    /// Every question, with the role that asks it.
    pub proofs: Vec<(String, Question)>,
    /// Every note, with its role.
    pub notes: Vec<(String, String)>,
}

/// Leaves the web server out of the settings where another program has its port, and says so: nginx could not start, and
/// Debian's package fails to install where nginx does not start.
pub fn beside<'s>(settings: &'s Settings, facts: &Facts) -> (Cow<'s, Settings>, Option<String>) {
    if facts.web_server.is_empty() || !settings.app.enabled {
        return (Cow::Borrowed(settings), None);
    }
    let mut settings = settings.clone();
    // The other program may serve the same sites: which ports are open does not hang on who has them at the moment.
    settings.security.firewall.rules = settings.firewall_rules();
    settings.app.enabled = false;
    let note = format!(
        "nginx and its sites are left out, because {} has port 80: stop it and apply again, or set `enabled = false` in [app]",
        facts.web_server
    );
    (Cow::Owned(settings), Some(note))
}

/// Asks roles what they want and puts it together.
///
/// # Errors
/// Two roles that want one thing in different ways.
pub fn wanted(roles: &[&Role], settings: &Settings, facts: &Facts) -> Result<Wanted, LintError> {
    let mut proofs = Vec::new();
    let mut notes = Vec::new();
    let (settings, taken) = beside(settings, facts);
    let settings = &*settings;
    if let (Some(note), true) = (taken, roles.iter().any(|role| ["app", "ssl"].contains(&role.name))) {
        notes.push(("app".to_owned(), note));
    }
    let mut wishes = Vec::new();
    // Of every role, asked for or not: an earlier run may have settled it.
    let ours: Vec<String> = ROLES
        .iter()
        .flat_map(|role| (role.wishes)(settings, facts).resources)
        .filter(|kind| matches!(kind, Kind::Package(_)))
        .map(|kind| kind.id().name().to_owned())
        .collect();
    let mut own: Vec<&str> = vec!["default", "pitool", "pitool.conf"];
    own.extend(web::SNIPPETS);
    own.extend(settings.apps.keys().map(|name| name.as_str()));
    let sites =
        ["sites-available", "sites-enabled", "conf.d", "snippets"].map(|dir| format!("/etc/nginx/{dir}"));
    let shipped = ["fastcgi-php.conf", "snakeoil.conf"];
    own.extend(shipped);
    let sites: Vec<(&str, &[&str])> = sites.iter().map(|dir| (dir.as_str(), own.as_slice())).collect();
    for role in roles {
        let mut wish = (role.wishes)(settings, facts);
        let has_packages = wish.resources.iter().any(|kind| matches!(kind, Kind::Package(_)));
        if has_packages {
            wish.want(InstalledSet::default().keeping(KEEPING, DATA).keeping(WEB, &sites).ours(ours.clone()));
        }
        for proof in wish.proofs {
            // Two roles may promise the same; one asks.
            if !proofs.iter().any(|(_, known)| *known == proof) {
                proofs.push((role.name.to_owned(), proof));
            }
        }
        notes.extend(wish.notes.into_iter().map(|note| (role.name.to_owned(), note)));
        wishes.push((role.name.to_owned(), wish.resources));
    }
    Ok(Wanted { desired: Desired::new(wishes)?, proofs, notes })
}
