//! Role backup, which replaces the Ansible role `backup`: what saves the machine by itself, and proves it.
//!
//! Where it differs on purpose:
//! - backup.sh, restore.sh and their log are gone: `pitool backup` does it, and says it to the journal.
//! - A timer for each set that makes up for a missed night, or a line for cron where the config says so; the three jobs
//!   of the old role met at the same minute on the first of a month.
//! - Archives are for root alone: app_user could read root's TLS key from them, and redirect what root wrote.
//! - A service of its own starts again what a power cut caught stopped.
//! - A drill restores the newest archive once a month.
//!
//! The role is quiet about targets: a disk that is not there now is no reason to fail, and `pitool backup run` knows.

use askama::Template;
use pitool_config::Settings;
use pitool_config::settings::Scheduler;
use pitool_config::values::{AbsolutePath, BackupName, CronTime};
use pitool_engine::{Id, Resource};
use pitool_host::{Digest, Facts};
use pitool_resources::{Directory, File, Package, Unit};

use crate::Wishes;
use crate::proofs::{TimerSet, UnitRunning};
use crate::templates::text;

const UNITS: &str = "/etc/systemd/system";

/// The service of each set; the set is its instance.
const SERVICE: &str = "pitool-backup@.service";

/// Lines for cron.
const CRON: &str = "/etc/cron.d/pitool-backup";

/// Half a quarter of an hour: enough that neighbours differ, so little that two o'clock is two o'clock.
const DELAY: &str = "450";

/// Directories that are there on every Debian (hier(7)); deeper ones are made by the first backup, with their parents.
const PARENTS: [&str; 9] =
    ["/", "/home", "/mnt", "/media", "/opt", "/root", "/srv", "/var/backups", "/var/lib"];

#[derive(Template)]
#[template(path = "backup/pitool-backup@.service", escape = "none", ext = "txt")]
struct Service;

#[derive(Template)]
#[template(path = "backup/pitool-drill.service", escape = "none", ext = "txt")]
struct Drill;

#[derive(Template)]
#[template(path = "backup/pitool-backup-recover.service", escape = "none", ext = "txt")]
struct Recover;

#[derive(Template)]
#[template(path = "backup/timer", escape = "none", ext = "txt")]
struct Timer {
    what: String,
    service: String,
    digest: String,
    calendars: Vec<String>,
    delay: &'static str,
}

#[derive(Template)]
#[template(path = "backup/cron", escape = "none", ext = "txt")]
struct Cron {
    lines: Vec<String>,
}

/// What the role wants.
pub fn wishes(settings: &Settings, _facts: &Facts) -> Wishes {
    let mut wishes = Wishes::default();
    let backup = &settings.backup;
    // An archive opens without pitool: with this and tar.
    wishes.want(Package::new("zstd"));
    if backup.ssh.values().any(|target| target.enabled) {
        wishes.want(Package::new("rsync"));
        wishes.want(Package::new("openssh-client"));
    }
    if backup.s3.values().any(|target| target.enabled) {
        wishes.want(Package::new("ca-certificates"));
    }
    place(&backup.directory, backup.removable, &mut wishes);
    if !backup.enabled {
        wishes.note("backups are made by hand only: `enabled = false` in [backup]; a timer of an earlier run goes with `--prune`");
        return wishes;
    }

    let service = File::new(format!("{UNITS}/{SERVICE}"), text(&Service));
    let drill = File::new(format!("{UNITS}/pitool-drill.service"), text(&Drill));
    let jobs = jobs(settings);
    let digest = |content: &str| Digest::of(content.as_bytes()).to_string()[..12].to_owned();
    let (of_service, of_drill) = (digest(&text(&Service)), digest(&text(&Drill)));
    let (service_id, drill_id) = (service.id(), drill.id());
    wishes.want(service);
    wishes.want(drill);
    recover(&mut wishes);
    match backup.schedule {
        Scheduler::Timer => {
            wishes.want(File::absent(CRON));
            for job in &jobs {
                let (digest, reads) = if job.set.is_some() {
                    (of_service.clone(), service_id.clone())
                } else {
                    (of_drill.clone(), drill_id.clone())
                };
                timer(job, digest, reads, &mut wishes);
            }
        }
        Scheduler::Cron => {
            for job in &jobs {
                wishes.want(Unit::stopped(job.timer()));
            }
            wishes.want(Package::new("cron"));
            let line = |job: &Job| format!("{} root systemctl start {}", job.time, job.service());
            let cron = Cron { lines: jobs.iter().map(line).collect() };
            wishes.want(File::new(CRON, text(&cron)));
            wishes.want(Unit::new("cron.service"));
            wishes.prove(UnitRunning { name: "cron.service".into() });
        }
    }
    wishes
}

/// Something that happens again and again.
struct Job {
    /// The set that is saved; none for the drill of all.
    set: Option<BackupName>,
    time: CronTime,
}

impl Job {
    fn service(&self) -> String {
        match &self.set {
            Some(set) => format!("pitool-backup@{set}.service"),
            None => "pitool-drill.service".to_owned(),
        }
    }

    fn timer(&self) -> String {
        match &self.set {
            Some(set) => timer_of(set.as_str()),
            None => "pitool-drill.timer".to_owned(),
        }
    }
}

/// The name of the timer of a set.
pub fn timer_of(set: &str) -> String {
    format!("pitool-backup-{set}.timer")
}

fn jobs(settings: &Settings) -> Vec<Job> {
    let backup = &settings.backup;
    let sets = settings.backup_sets();
    let mut jobs: Vec<Job> = sets
        .into_iter()
        .map(|(name, set)| Job { set: Some(name), time: set.time.unwrap_or_else(|| backup.time.clone()) })
        .collect();
    if !jobs.is_empty() {
        jobs.push(Job { set: None, time: backup.drill_time.clone() });
    }
    jobs
}

/// The directory of the archives, for root alone.
fn place(directory: &AbsolutePath, removable: bool, wishes: &mut Wishes) {
    let path = directory.as_str();
    let parent = match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((parent, _)) => parent,
    };
    // Made where the disk is not mounted, it would be on the wrong one.
    if removable || !PARENTS.contains(&parent) {
        return;
    }
    wishes.want(Directory::new(path).mode(0o700));
    let marker = format!("{path}/{}", ".pitool-target");
    wishes.want(File::new(marker, "local\n").mode(0o600));
}

fn recover(wishes: &mut Wishes) {
    let file = File::new(format!("{UNITS}/pitool-backup-recover.service"), text(&Recover));
    let id = file.id();
    wishes.want(file);
    wishes.want(Unit::new("pitool-backup-recover.service").reads([id]));
}

fn timer(job: &Job, digest: String, reads: Id, wishes: &mut Wishes) {
    let what = match &job.set {
        Some(set) => format!("When the set {set} is saved"),
        None => "When the newest backups are restored on trial".to_owned(),
    };
    let name = job.timer();
    let template =
        Timer { what, service: job.service(), digest, calendars: job.time.calendar(), delay: DELAY };
    let file = File::new(format!("{UNITS}/{name}"), text(&template));
    let id = file.id();
    wishes.want(file);
    wishes.want(Unit::new(&name).reads([id, reads]));
    wishes.prove(TimerSet { name });
}
