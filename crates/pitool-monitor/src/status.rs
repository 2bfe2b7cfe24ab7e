//! Everything that there is to tell at one moment: what `status.json` says, the page shows and the metrics count.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::alert::Told;
use crate::docker::{Container, Docker};
use crate::event::Event;
use crate::finding::{Absent, Finding, Level, Report};
use crate::kernel::pi::Throttled;
use crate::records::{BackupSet, Certificate};
use crate::sample::{Drift, Sample, Updates};
use crate::state::{Count, State};

/// The version of what is written as JSON; fields may be added within one.
pub const VERSION: u32 = 1;

/// What this machine is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Its name.
    pub host: String,
    /// The board, or empty.
    pub model: String,
    /// The system.
    pub os: String,
    /// The kernel.
    pub kernel: String,
}

/// A disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiskStatus {
    /// Where it is mounted.
    pub point: String,
    /// The device.
    pub device: String,
    /// Bytes in all.
    pub size: u64,
    /// Bytes that anybody may fill.
    pub available: u64,
    /// Bytes written to it in its whole life, where it is ext4.
    pub lifetime_written: Option<u64>,
    /// Errors that are recorded in it.
    pub errors: Option<u64>,
}

/// A container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerStatus {
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// Docker's word for its state.
    pub state: String,
    /// Docker's words for it.
    pub status: String,
    /// The memory that the kernel holds it to.
    pub memory_limit: Option<u64>,
}

/// A run of pitool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its number.
    pub number: u32,
    /// When it began.
    pub started: String,
    /// What was typed.
    pub command: String,
    /// How it ended, in a word.
    pub ending: String,
}

/// Something that is due.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// What.
    pub name: String,
    /// When.
    pub next: Timestamp,
}

/// The last 24 hours, a value every five minutes, oldest first; what was not known then is null.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lines {
    /// Degrees Celsius.
    pub temperature: Vec<Option<f32>>,
    /// Percent of memory.
    pub memory: Vec<Option<f32>>,
    /// Percent of the root disk.
    pub disk: Vec<Option<f32>>,
    /// Percent of processor time.
    pub cpu: Vec<Option<f32>>,
    /// Load of five minutes.
    pub load: Vec<Option<f32>>,
}

/// Alerts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AlertStatus {
    /// The sinks of the config.
    pub sinks: Vec<String>,
    /// Problems that somebody was told of and that are not over.
    pub told: BTreeMap<String, Told>,
    /// Messages that wait to be sent.
    pub waiting: usize,
    /// Messages that were given up.
    pub dropped: u64,
    /// Sinks that do not take what they are sent, and why.
    pub troubles: BTreeMap<String, String>,
}

/// The moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The version of this document.
    pub version: u32,
    /// The version of pitool.
    pub pitool: String,
    /// The machine.
    pub machine: Machine,
    /// When it was looked at.
    pub taken: Timestamp,
    /// When it booted.
    pub booted: Option<Timestamp>,
    /// The worst that was found.
    pub level: Level,
    /// What was found.
    pub findings: Vec<Finding>,
    /// What does not apply.
    pub absent: Vec<Absent>,
    /// Degrees Celsius.
    pub temperature: Option<f64>,
    /// The firmware's word on power.
    pub throttled: Option<Throttled>,
    /// Whether the voltage is too low now, by the Pi's own chip.
    pub low_voltage: Option<bool>,
    /// Counted events.
    pub events: BTreeMap<Event, Count>,
    /// The last ones, oldest first.
    pub recent: Vec<(Timestamp, Event)>,
    /// Disks.
    pub disks: Vec<DiskStatus>,
    /// eMMC, by device: percent of its life used.
    pub emmc: BTreeMap<String, u8>,
    /// Bytes written to all disks in a day, as far as the last 24 hours tell.
    pub written_daily: Option<u64>,
    /// Containers.
    pub containers: Vec<ContainerStatus>,
    /// Certificates.
    pub certificates: BTreeMap<String, Certificate>,
    /// Backups.
    pub backups: BTreeMap<String, BackupSet>,
    /// Their figures, for `/metrics`.
    #[serde(skip)]
    pub backup_metrics: String,
    /// Updates.
    pub updates: Option<Updates>,
    /// How the machine differs from its config, where it does.
    #[serde(default)]
    pub drift: Option<Drift>,
    /// Runs, newest first.
    pub runs: Vec<Run>,
    /// What is due, soonest first.
    pub jobs: Vec<Job>,
    /// Alerts.
    pub alerts: AlertStatus,
    /// The last 24 hours.
    #[serde(default)]
    pub history: Lines,
}

impl Status {
    /// Puts it together.
    pub fn of(machine: Machine, sample: &Sample, report: &Report, state: &State) -> Self {
        let disks = sample.disks.as_ref().map(|disks| {
            disks
                .iter()
                .filter_map(|(mount, usage)| {
                    let usage = usage.as_ref().ok()?;
                    let ext4 =
                        sample.ext4.iter().find(|ext4| format!("/dev/{}", ext4.device) == mount.device);
                    Some(DiskStatus {
                        point: mount.point.clone(),
                        device: mount.device.clone(),
                        size: usage.size,
                        available: usage.available,
                        lifetime_written: ext4.and_then(|ext4| ext4.lifetime_written),
                        errors: ext4.map(|ext4| ext4.errors),
                    })
                })
                .collect()
        });
        let containers: &[Container] = match &sample.docker {
            Docker::Answers(containers) => containers,
            Docker::Absent | Docker::Silent(_) => &[],
        };
        let container = |container: &Container| ContainerStatus {
            name: container.name.clone(),
            image: container.image.clone(),
            state: if container.unhealthy() { "unhealthy".to_owned() } else { container.state.clone() },
            status: container.status.clone(),
            memory_limit: container.memory_limit,
        };
        let backups = sample.backups.clone().ok().flatten().unwrap_or_default();
        Self {
            version: VERSION,
            pitool: env!("CARGO_PKG_VERSION").to_owned(),
            machine,
            taken: sample.taken,
            booted: sample.booted,
            level: report.level(),
            findings: report.findings.clone(),
            absent: report.absent.clone(),
            temperature: sample.temperature,
            throttled: sample.throttled.clone().ok().flatten(),
            low_voltage: sample.low_voltage,
            events: state.events.clone(),
            recent: state.recent.clone(),
            disks: disks.unwrap_or_default(),
            emmc: sample.emmc.iter().map(|emmc| (emmc.device.clone(), emmc.used)).collect(),
            written_daily: None,
            containers: containers.iter().map(container).collect(),
            certificates: sample.certificates.clone().ok().flatten().unwrap_or_default(),
            backups: backups.sets,
            backup_metrics: backups.metrics,
            updates: sample.known.updates.clone().and_then(Result::ok),
            drift: sample.known.drift.clone().and_then(Result::ok).flatten(),
            runs: Vec::new(),
            jobs: Vec::new(),
            alerts: AlertStatus { told: state.told.clone(), ..AlertStatus::default() },
            history: Lines::default(),
        }
    }
}
