//! The targets of the config.

use std::path::Path;

use pitool_backup::record::{DIRECTORY, LOCAL};
use pitool_backup::retention::Policy;
use pitool_backup::target::{self, Bucket, Credentials, Directory, Ssh, Target};
use pitool_config::settings::{Backup, Retention};
use pitool_config::values::{BackupName, RemotePath, SshUser};
use pitool_host::Host;

use crate::failure::{Failure, Result};

/// A target as the config has it.
pub(super) struct Place<'b> {
    /// Its name.
    pub(super) name: String,
    /// The sets that go there; all where there is none.
    pub(super) sets: &'b [BackupName],
    /// Whether nothing is ever deleted there.
    pub(super) append_only: bool,
    /// How many archives stay there.
    pub(super) policy: Policy,
    /// Whether it is known by its marker: not the archives' own directory where no disk can be missing.
    pub(super) marked: bool,
    kind: Kind<'b>,
}

enum Kind<'b> {
    Directory { path: &'b Path, removable: bool },
    Ssh(&'b pitool_config::settings::SshTarget),
    S3(&'b BackupName, &'b pitool_config::settings::Bucket),
}

impl Place<'_> {
    /// Whether archives of a set go there.
    pub(super) fn takes(&self, set: &str) -> bool {
        self.sets.is_empty() || self.sets.iter().any(|name| name.as_str() == set)
    }

    /// Whether it is the directory in which archives are made.
    pub(super) fn local(&self) -> bool {
        self.name == LOCAL
    }

    /// The target itself; nothing is reached yet.
    pub(super) fn open<'h>(&self, host: &'h dyn Host) -> target::Result<Box<dyn Target + 'h>> {
        Ok(match &self.kind {
            Kind::Directory { path, removable } => Box::new(Directory::new(*path, *removable)),
            Kind::Ssh(ssh) => Box::new(
                Ssh::new(host, ssh.host.as_str(), ssh.path.as_str(), Path::new(DIRECTORY))
                    .user(ssh.user.as_ref().map(SshUser::to_string))
                    .port(ssh.port.map(|port| port.number()))
                    .identity(ssh.identity_file.as_ref().map(|file| file.as_path().to_owned()))
                    .bandwidth(ssh.bandwidth.map(|bandwidth| bandwidth.bytes())),
            ),
            Kind::S3(name, bucket) => {
                let credentials = Credentials::read(bucket.credentials_file(name).as_path())?;
                Box::new(Bucket::new(
                    bucket.endpoint.as_ref().map(AsRef::as_ref),
                    bucket.region.as_str(),
                    bucket.bucket.as_str(),
                    bucket.prefix.as_ref().map(RemotePath::as_str),
                    credentials,
                )?)
            }
        })
    }
}

impl Place<'_> {
    /// What others can do with the archives in a directory of this machine. Where that cannot be told, because the disk
    /// is away, the next run says so.
    pub(super) fn weaknesses(&self, host: &dyn Host) -> Vec<String> {
        let found = match &self.kind {
            Kind::Directory { .. } => self.open(host).and_then(|target| target.weaknesses()),
            Kind::Ssh(_) | Kind::S3(..) => Ok(Vec::new()),
        };
        found.unwrap_or_default().into_iter().map(|weakness| weakness.why).collect()
    }
}

/// The targets that are enabled, the archives' own directory first.
pub(super) fn places(backup: &Backup) -> Vec<Place<'_>> {
    let policy = |own: Option<Retention>| policy(own.unwrap_or(backup.retention));
    let directory = backup.directory.as_path();
    let mut places = vec![Place {
        name: LOCAL.to_owned(),
        sets: &[],
        append_only: false,
        policy: policy(None),
        marked: backup.removable,
        kind: Kind::Directory { path: directory, removable: backup.removable },
    }];
    places.extend(backup.disks.iter().filter(|(_, disk)| disk.enabled).map(|(name, disk)| Place {
        name: name.to_string(),
        sets: &disk.sets,
        append_only: disk.append_only,
        policy: policy(disk.retention),
        marked: true,
        kind: Kind::Directory { path: disk.path.as_path(), removable: disk.removable },
    }));
    places.extend(backup.ssh.iter().filter(|(_, ssh)| ssh.enabled).map(|(name, ssh)| Place {
        name: name.to_string(),
        sets: &ssh.sets,
        append_only: ssh.append_only,
        policy: policy(ssh.retention),
        marked: true,
        kind: Kind::Ssh(ssh),
    }));
    places.extend(backup.s3.iter().filter(|(_, bucket)| bucket.enabled).map(|(name, bucket)| Place {
        name: name.to_string(),
        sets: &bucket.sets,
        append_only: bucket.append_only,
        policy: policy(bucket.retention),
        marked: true,
        kind: Kind::S3(name, bucket),
    }));
    places
}

fn policy(retention: Retention) -> Policy {
    let Retention { daily, weekly, monthly, yearly, minimum } = retention;
    Policy { daily, weekly, monthly, yearly, minimum }
}

/// The target of this name, or the archives' own directory.
pub(super) fn named<'p, 'b>(places: &'p [Place<'b>], name: Option<&str>) -> Result<&'p Place<'b>> {
    let wanted = name.unwrap_or(LOCAL);
    places.iter().find(|place| place.name == wanted).ok_or_else(|| {
        let known: Vec<&str> = places.iter().map(|place| place.name.as_str()).collect();
        Failure::input(format!("there is no target `{wanted}`"))
            .hint(format!("the targets are {}", known.join(", ")))
    })
}
