//! Targets as a config names them.

use std::path::{Path, PathBuf};

use pitool_host::Host;

use super::error::{Error, Result};
use crate::record::{DIRECTORY, LOCAL};
use crate::retention::Policy;
use crate::target::{self, Bucket, Credentials, Directory, Ssh, Target};

/// A target as a config names it: where it is, and what goes and stays there.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its name; [`LOCAL`] is the directory in which archives are made.
    pub name: String,
    /// The sets that go there, by name; all where there is none.
    pub sets: Vec<String>,
    /// Whether nothing is ever deleted there.
    pub append_only: bool,
    /// How many archives stay there.
    pub policy: Policy,
    /// Whether it is known by its marker: not the archives' own directory where no disk can be missing.
    pub marked: bool,
    /// What it is, and how to get there.
    pub kind: Kind,
}

/// What a target is, and how to get there.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A directory of this machine.
    Directory {
        /// Its absolute path.
        path: PathBuf,
        /// Whether a disk has to be mounted there.
        removable: bool,
    },
    /// A directory of another machine, by OpenSSH.
    Ssh {
        /// The machine.
        host: String,
        /// The user there; as ssh(1) has it if none is named.
        user: Option<String>,
        /// The port there; as ssh(1) has it if none is named.
        port: Option<u16>,
        /// The directory there.
        path: String,
        /// The file of the secret key; as ssh(1) has it if none is named.
        identity_file: Option<PathBuf>,
        /// The most bytes in a second.
        bandwidth: Option<u64>,
    },
    /// A bucket of a server that speaks S3.
    S3 {
        /// The server's URL; Amazon's of the region if none is named.
        endpoint: Option<String>,
        /// The region.
        region: String,
        /// The bucket.
        bucket: String,
        /// The beginning of every name there.
        prefix: Option<String>,
        /// The file with the key of the account.
        credentials_file: PathBuf,
    },
}

impl Place {
    /// Whether archives of a set go there.
    pub fn takes(&self, set: &str) -> bool {
        self.sets.is_empty() || self.sets.iter().any(|name| name == set)
    }

    /// Whether it is the directory in which archives are made.
    pub fn local(&self) -> bool {
        self.name == LOCAL
    }

    /// The target itself; nothing is reached yet.
    pub(super) fn open<'h>(&self, machine: &'h dyn Host) -> target::Result<Box<dyn Target + 'h>> {
        Ok(match &self.kind {
            Kind::Directory { path, removable } => Box::new(Directory::new(path, *removable)),
            Kind::Ssh { host, user, port, path, identity_file, bandwidth } => Box::new(
                Ssh::new(machine, host, path, Path::new(DIRECTORY))
                    .user(user.clone())
                    .port(*port)
                    .identity(identity_file.clone())
                    .bandwidth(*bandwidth),
            ),
            Kind::S3 { endpoint, region, bucket, prefix, credentials_file } => {
                let credentials = Credentials::read(credentials_file)?;
                Box::new(Bucket::new(endpoint.as_deref(), region, bucket, prefix.as_deref(), credentials)?)
            }
        })
    }

    /// What others can do with the archives in a directory of this machine. While its disk is away nobody can tell, and
    /// the next run does.
    pub fn weaknesses(&self, host: &dyn Host) -> Vec<String> {
        let found = match &self.kind {
            Kind::Directory { .. } => self.open(host).and_then(|target| target.weaknesses()),
            Kind::Ssh { .. } | Kind::S3 { .. } => Ok(Vec::new()),
        };
        found.unwrap_or_default().into_iter().map(|weakness| weakness.why).collect()
    }
}

/// The target of this name, or the archives' own directory.
///
/// # Errors
/// [`Error::NoTarget`].
pub fn named<'p>(places: &'p [Place], name: Option<&str>) -> Result<&'p Place> {
    let wanted = name.unwrap_or(LOCAL);
    places.iter().find(|place| place.name == wanted).ok_or_else(|| Error::NoTarget {
        name: wanted.to_owned(),
        known: places.iter().map(|place| place.name.clone()).collect(),
    })
}
