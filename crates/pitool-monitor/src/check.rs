//! Judgements: each check looks at a sample and says ok, warn, fail or unknown, with the value, the threshold and what to do.
//!
//! Pure functions of [`Sample`], [`Setup`] and the sample before. What does not apply here (no Docker, no sensor, nothing configured)
//! is no finding but an [`Absent`](crate::finding::Absent), with the reason; what could not be found out is `unknown`, never ok.

use std::time::Duration;

use pitool_host::Inspect;

use crate::checks;
use crate::finding::Report;
use crate::kernel::{cpu, required};
use crate::sample::{Known, Sample};
use crate::setup::Setup;
use crate::system::System;

/// Looks at the machine on its own: for rates it looks at the processors twice, a tenth of a second apart or more.
pub fn look(host: &dyn Inspect, system: &dyn System, setup: &Setup, known: Known) -> (Sample, Report) {
    let times = || required(host, "/proc/stat").map(|text| cpu::stat(&text).all);
    let (started, first) = (system.monotonic(), times());
    let mut sample = Sample::take(host, system, setup, known);
    std::thread::sleep(BETWEEN.saturating_sub(system.monotonic().saturating_sub(started)));
    sample.cpu = times();
    let before = Sample { cpu: first, ..sample.clone() };
    let report = judge(&sample, Some(&before), setup);
    (sample, report)
}

/// Processor time is counted in hundredths of a second: ten of them are the least that says something.
const BETWEEN: Duration = Duration::from_millis(100);

/// Judges a sample. `before` is an earlier one, for what is a rate.
pub fn judge(sample: &Sample, before: Option<&Sample>, setup: &Setup) -> Report {
    let mut report = Report { taken: sample.taken, findings: Vec::new(), absent: Vec::new() };
    checks::machine::judge(sample, before, setup, &mut report);
    checks::storage::judge(sample, setup, &mut report);
    checks::services::judge(sample, setup, &mut report);
    checks::care::judge(sample, setup, &mut report);
    report
}
