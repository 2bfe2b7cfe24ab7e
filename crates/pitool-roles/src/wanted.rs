//! What roles want together.

use std::mem;

use pitool_config::Settings;
use pitool_engine::{Desired, LintError, Resource};
use pitool_host::Facts;
use pitool_kinds::Kind;
use pitool_resources::InstalledSet;

use crate::beside::beside;
use crate::proofs::Question;
use crate::role::{ROLES, Role};
use crate::wishes::Wishes;
use crate::{monitoring, watched, web};

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
    let mut all: Vec<(&str, Wishes)> =
        ROLES.iter().map(|role| (role.name, (role.wishes)(settings, facts))).collect();
    let ours: Vec<String> = all
        .iter()
        .flat_map(|(_, wishes)| &wishes.resources)
        .filter(|kind| matches!(kind, Kind::Package(_)))
        .map(|kind| kind.id().name().to_owned())
        .collect();
    let reads = settings
        .monitoring
        .service
        .enabled
        .then(|| monitoring::reads(&watched::of(settings, facts, all.iter().map(|(_, wishes)| wishes))));
    if let Some((_, wishes)) = all.iter_mut().find(|(name, _)| *name == "monitoring") {
        wishes.resources.extend(reads.map(Kind::from));
    }
    let mut own: Vec<&str> = vec!["default", "pitool", "pitool.conf"];
    own.extend(web::SNIPPETS);
    own.extend(settings.apps.keys().map(|name| name.as_str()));
    let sites =
        ["sites-available", "sites-enabled", "conf.d", "snippets"].map(|dir| format!("/etc/nginx/{dir}"));
    let shipped = ["fastcgi-php.conf", "snakeoil.conf"];
    own.extend(shipped);
    let sites: Vec<(&str, &[&str])> = sites.iter().map(|dir| (dir.as_str(), own.as_slice())).collect();
    for role in roles {
        let Some(wish) = all.iter_mut().find(|(name, _)| *name == role.name) else { continue };
        let mut wish = mem::take(&mut wish.1);
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
