//! What is saved, where to, when, and for how long.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::values::{
    AbsolutePath, AgeRecipient, Argument, BackupName, BucketName, CronTime, Duration, Pattern, Port,
    RemotePath, Size, SshHost, SshUser, UnitName, Url, VolumeName, Word,
};

/// Backups: what is saved, where to, when, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Backup {
    /// Whether backups are made by themselves. By hand they can be made in any case.
    pub enabled: bool,
    /// The directory in which archives are made and kept on this machine.
    pub directory: AbsolutePath,
    /// Whether that directory is on a disk that may not be there. Then nothing is written to it unless the disk is
    /// mounted.
    pub removable: bool,
    /// When the sets are saved.
    pub time: CronTime,
    /// When the newest archive of each set is restored on trial, and every hash and database in it looked at.
    pub drill_time: CronTime,
    /// Who starts them.
    pub schedule: Scheduler,
    /// What becomes of a run in which nothing has changed since the last one.
    pub unchanged: Unchanged,
    /// The public keys that archives are encrypted to; each of the secret keys opens them. Archives are not encrypted
    /// where the list is empty.
    #[cfg_attr(test, schemars(example = serde_json::json!(["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"])))]
    pub recipients: Vec<AgeRecipient>,
    /// The file with the secret key with which this machine opens its own archives. Without it, encrypted archives can
    /// be made here but neither restored nor drilled.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = "/etc/pitool/backup.key"))]
    pub identity_file: Option<AbsolutePath>,
    /// How many archives are kept.
    pub retention: Retention,
    /// The sets, by name; each run makes one archive of each. The set `machine` is there without being named: the data
    /// and config of every app, Grist's documents, nginx, certificates and `/etc/pitool`.
    pub sets: BTreeMap<BackupName, Set>,
    /// Disks and other directories that archives are copied to, by name.
    pub disks: BTreeMap<BackupName, Disk>,
    /// Machines that archives are copied to with rsync over SSH, by name.
    pub ssh: BTreeMap<BackupName, SshTarget>,
    /// Buckets of S3, or of what speaks its language, that archives are copied to, by name.
    pub s3: BTreeMap<BackupName, Bucket>,
}

impl Default for Backup {
    fn default() -> Self {
        Self {
            enabled: true,
            directory: AbsolutePath::backups(),
            removable: false,
            time: CronTime::nightly(),
            drill_time: CronTime::monthly(),
            schedule: Scheduler::default(),
            unchanged: Unchanged::default(),
            recipients: Vec::new(),
            identity_file: None,
            retention: Retention::default(),
            sets: BTreeMap::new(),
            disks: BTreeMap::new(),
            ssh: BTreeMap::new(),
            s3: BTreeMap::new(),
        }
    }
}

/// Who starts backups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, schemars(inline))]
pub enum Scheduler {
    /// Timers of systemd: one that was missed is made up for at the next boot.
    #[default]
    Timer,
    /// Lines in `/etc/cron.d`.
    Cron,
}

/// What becomes of a run in which nothing has changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, schemars(inline))]
pub enum Unchanged {
    /// A note that refers to the archive that has it all, which is kept as long as the note is.
    #[default]
    Note,
    /// An archive like any other.
    Archive,
}

/// How many archives are kept: the newest one of each of the last days, weeks, months and years that have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Retention {
    /// The number of days.
    pub daily: u16,
    /// The number of weeks, from Monday to Sunday.
    pub weekly: u16,
    /// The number of months.
    pub monthly: u16,
    /// The number of years.
    pub yearly: u16,
    /// The number of archives that always stay, whatever their age.
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub minimum: u16,
}

impl Default for Retention {
    /// At least what deleting after 7, 28 and 90 days left: dailies that are 0 to 7 days old are eight, five Sundays
    /// fit into 28 days, and the day before the first of a month may be 90 days ago in the fifth month counted back.
    fn default() -> Self {
        Self { daily: 8, weekly: 5, monthly: 5, yearly: 0, minimum: 3 }
    }
}

/// What is saved together in one archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Set {
    /// Whether it is saved.
    pub enabled: bool,
    /// Files and directories with all that is in them. One that is missing makes the backup fail.
    #[cfg_attr(test, schemars(example = serde_json::json!(["/srv/photos"])))]
    pub paths: Vec<AbsolutePath>,
    /// Files and directories that may be missing, as long as they were never there.
    #[cfg_attr(test, schemars(example = serde_json::json!(["/etc/letsencrypt"])))]
    pub optional: Vec<AbsolutePath>,
    /// SQLite databases that are saved even where no path has them. Databases in the paths are found by themselves.
    #[cfg_attr(test, schemars(example = serde_json::json!(["/var/lib/app/app.db"])))]
    pub databases: Vec<AbsolutePath>,
    /// Docker volumes.
    #[cfg_attr(test, schemars(example = serde_json::json!(["grist_data"])))]
    pub volumes: Vec<VolumeName>,
    /// What is left out: names such as `*.cache`, or whole paths.
    #[cfg_attr(test, schemars(example = serde_json::json!(["*.cache", "/srv/photos/thumbnails"])))]
    pub exclude: Vec<Pattern>,
    /// Whether other file systems mounted below the paths are left out.
    pub one_file_system: bool,
    /// What the containers that use what is saved do meanwhile.
    pub containers: Containers,
    /// Units that are stopped while the set is saved, and started afterwards, such as one that runs `docker run --rm`.
    #[cfg_attr(test, schemars(example = serde_json::json!(["wiki.service"])))]
    pub units: Vec<UnitName>,
    /// A command before the set is saved; where it fails, so does the backup. No shell reads it.
    #[cfg_attr(test, schemars(example = serde_json::json!(["/usr/local/bin/dump-all", "--to", "/var/lib/dumps"])))]
    pub before: Vec<Argument>,
    /// A command after the set was saved, or could not be.
    #[cfg_attr(test, schemars(example = serde_json::json!(["/usr/local/bin/dump-done"])))]
    pub after: Vec<Argument>,
    /// A command that looks at the set as the drill restored it, whose directory is in the variable `PITOOL_DRILL`.
    #[cfg_attr(test, schemars(example = serde_json::json!(["/usr/local/bin/check-photos"])))]
    pub check: Vec<Argument>,
    /// How long each of these commands may take.
    pub command_timeout: Duration,
    /// Units that are stopped while the set is restored in its place, and started afterwards.
    #[cfg_attr(test, schemars(example = serde_json::json!(["nginx.service"])))]
    pub services: Vec<UnitName>,
    /// When it is saved. As all the others where unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = "0 * * * *"))]
    pub time: Option<CronTime>,
}

impl Default for Set {
    fn default() -> Self {
        Self {
            enabled: true,
            paths: Vec::new(),
            optional: Vec::new(),
            databases: Vec::new(),
            volumes: Vec::new(),
            exclude: Vec::new(),
            one_file_system: true,
            containers: Containers::default(),
            units: Vec::new(),
            before: Vec::new(),
            after: Vec::new(),
            check: Vec::new(),
            command_timeout: Duration::from_mins(30),
            services: Vec::new(),
            time: None,
        }
    }
}

/// What containers do while their files are saved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, schemars(inline))]
pub enum Containers {
    /// They run. Databases of SQLite are saved well all the same.
    #[default]
    Running,
    /// They are paused.
    Paused,
    /// They are stopped, and started afterwards.
    Stopped,
}

/// A disk or another directory that archives are copied to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Disk {
    /// The directory.
    #[cfg_attr(test, schemars(example = "/mnt/usb/backups"))]
    pub path: AbsolutePath,
    /// Whether it is on a disk that may not be there. Then nothing is written to it unless the disk is mounted.
    #[serde(default = "yes")]
    pub removable: bool,
    /// Whether archives are copied there.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The sets whose archives are copied there. All where the list is empty.
    #[serde(default)]
    #[cfg_attr(test, schemars(example = serde_json::json!(["machine"])))]
    pub sets: Vec<BackupName>,
    /// Whether this machine never deletes anything there.
    #[serde(default)]
    pub append_only: bool,
    /// How many archives are kept there. As many as here where unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
}

/// A machine that archives are copied to with rsync over SSH.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SshTarget {
    /// The machine.
    pub host: SshHost,
    /// The user there. As ssh has it where unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = &"backup"))]
    pub user: Option<SshUser>,
    /// The port of SSH there. As ssh has it where unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = 22))]
    pub port: Option<Port>,
    /// The directory there, from the root or from where a login begins.
    #[serde(default = "RemotePath::below_login")]
    pub path: RemotePath,
    /// The file with the secret key of SSH. As ssh has it where unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = "/root/.ssh/id_ed25519"))]
    pub identity_file: Option<AbsolutePath>,
    /// The most bytes in a second. No limit where unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = "2MiB"))]
    pub bandwidth: Option<Size>,
    /// Whether archives are copied there.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The sets whose archives are copied there. All where the list is empty.
    #[serde(default)]
    #[cfg_attr(test, schemars(example = serde_json::json!(["machine"])))]
    pub sets: Vec<BackupName>,
    /// Whether this machine never deletes anything there.
    #[serde(default)]
    pub append_only: bool,
    /// How many archives are kept there. As many as here where unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
}

/// A bucket that archives are copied to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Bucket {
    /// The bucket. It must exist.
    pub bucket: BucketName,
    /// The server. Amazon's of the region where unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = "https://s3.eu-central-003.backblazeb2.com"))]
    pub endpoint: Option<Url>,
    /// The region.
    #[serde(default = "Word::s3_region")]
    pub region: Word,
    /// The beginning of every name there, such as `kitchen-pi/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = "kitchen-pi"))]
    pub prefix: Option<RemotePath>,
    /// The file with the key of the account: a line with its id and a line with its secret. It is
    /// `/etc/pitool/s3-NAME.key` where unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = "/etc/pitool/s3-offsite.key"))]
    pub credentials_file: Option<AbsolutePath>,
    /// Whether archives are copied there.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The sets whose archives are copied there. All where the list is empty.
    #[serde(default)]
    #[cfg_attr(test, schemars(example = serde_json::json!(["machine"])))]
    pub sets: Vec<BackupName>,
    /// Whether this machine never deletes anything there.
    #[serde(default)]
    pub append_only: bool,
    /// How many archives are kept there. As many as here where unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
}

fn yes() -> bool {
    true
}

impl Bucket {
    /// The file with the key, for the target of this name.
    pub fn credentials_file(&self, name: &BackupName) -> AbsolutePath {
        self.credentials_file.clone().unwrap_or_else(|| AbsolutePath::s3_key_of(name))
    }
}

/// The name of the set that is there without being named.
pub const MACHINE: &str = "machine";
