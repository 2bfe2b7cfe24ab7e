//! What the config wants of backups, in the values of `pitool-backup`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pitool_backup::job::{Kind, Place, Set};
use pitool_backup::quiet::Rest;
use pitool_backup::record::LOCAL;
use pitool_backup::retention::Policy;
use pitool_backup::{SetName, Unchanged};
use pitool_config::settings::{self, Backup, Containers, MACHINE, Retention};
use pitool_config::values::{AbsolutePath, BackupName};

use crate::failure::Result;

/// What nginx reads of the built-in set, whose only service it is.
const NGINX: [&str; 2] = ["/etc/nginx", "/etc/letsencrypt"];

/// A set. `enabled` are those of the config that are, with the built-in one.
pub(super) fn set(name: &BackupName, set: &settings::Set, backup: &Backup) -> Result<Set> {
    let mut content = pitool_backup::Set::new(name.as_str().parse::<SetName>()?);
    content.paths = paths(&set.paths);
    content.optional = paths(&set.optional);
    content.databases = paths(&set.databases);
    content.exclude = words(&set.exclude);
    content.one_file_system = set.one_file_system;
    content.recipients = words(&backup.recipients);
    content.unchanged = match backup.unchanged {
        settings::Unchanged::Note => Unchanged::Manifest,
        settings::Unchanged::Archive => Unchanged::Archive,
    };
    let built_in = name.as_str() == MACHINE && !backup.sets.contains_key(name);
    let read_by_services = match built_in {
        true => NGINX.iter().map(PathBuf::from).collect(),
        false => [content.paths.clone(), content.optional.clone()].concat(),
    };
    Ok(Set {
        content,
        read_by_services,
        volumes: words(&set.volumes),
        rest: match set.containers {
            Containers::Running => None,
            Containers::Paused => Some(Rest::Paused),
            Containers::Stopped => Some(Rest::Stopped),
        },
        units: words(&set.units),
        services: words(&set.services),
        before: words(&set.before),
        after: words(&set.after),
        check: words(&set.check),
        command_timeout: set.command_timeout.into(),
    })
}

/// All sets that the config knows, also those that are disabled. `enabled` has the built-in one.
pub(super) fn all_sets(enabled: &BTreeMap<BackupName, settings::Set>, backup: &Backup) -> Result<Vec<Set>> {
    let disabled = backup.sets.iter().filter(|(name, _)| !enabled.contains_key(*name));
    enabled.iter().chain(disabled).map(|(name, one)| set(name, one, backup)).collect()
}

/// The targets that are enabled, the archives' own directory first.
pub(super) fn places(backup: &Backup) -> Vec<Place> {
    let policy = |own: Option<Retention>| policy(own.unwrap_or(backup.retention));
    let mut places = vec![Place {
        name: LOCAL.to_owned(),
        sets: Vec::new(),
        append_only: false,
        policy: policy(None),
        marked: backup.removable,
        kind: Kind::Directory { path: backup.directory.as_path().to_owned(), removable: backup.removable },
    }];
    places.extend(backup.disks.iter().filter(|(_, disk)| disk.enabled).map(|(name, disk)| Place {
        name: name.to_string(),
        sets: words(&disk.sets),
        append_only: disk.append_only,
        policy: policy(disk.retention),
        marked: true,
        kind: Kind::Directory { path: disk.path.as_path().to_owned(), removable: disk.removable },
    }));
    places.extend(backup.ssh.iter().filter(|(_, ssh)| ssh.enabled).map(|(name, ssh)| Place {
        name: name.to_string(),
        sets: words(&ssh.sets),
        append_only: ssh.append_only,
        policy: policy(ssh.retention),
        marked: true,
        kind: Kind::Ssh {
            host: ssh.host.to_string(),
            user: ssh.user.as_ref().map(ToString::to_string),
            port: ssh.port.map(|port| port.number()),
            path: ssh.path.to_string(),
            identity_file: ssh.identity_file.as_ref().map(|file| file.as_path().to_owned()),
            bandwidth: ssh.bandwidth.map(|bandwidth| bandwidth.bytes()),
        },
    }));
    places.extend(backup.s3.iter().filter(|(_, bucket)| bucket.enabled).map(|(name, bucket)| Place {
        name: name.to_string(),
        sets: words(&bucket.sets),
        append_only: bucket.append_only,
        policy: policy(bucket.retention),
        marked: true,
        kind: Kind::S3 {
            endpoint: bucket.endpoint.as_ref().map(ToString::to_string),
            region: bucket.region.to_string(),
            bucket: bucket.bucket.to_string(),
            prefix: bucket.prefix.as_ref().map(ToString::to_string),
            credentials_file: bucket.credentials_file(name).as_path().to_owned(),
        },
    }));
    places
}

fn policy(retention: Retention) -> Policy {
    let Retention { daily, weekly, monthly, yearly, minimum } = retention;
    Policy { daily, weekly, monthly, yearly, minimum }
}

fn paths(paths: &[AbsolutePath]) -> Vec<PathBuf> {
    paths.iter().map(|path| path.as_path().to_owned()).collect()
}

fn words<T: ToString>(words: &[T]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}
