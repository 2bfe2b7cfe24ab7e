//! The last 24 hours in memory: what the sparklines draw. Never on a disk; kept over a restart of the service under /run.

use std::time::Duration;

use pitool_host::{Access, Host};
use serde::{Deserialize, Serialize};

use crate::checks::percent;
use crate::kernel::cpu::Times;
use crate::sample::Sample;
use crate::status::Lines;

/// Between two points.
pub const STEP: Duration = Duration::from_secs(300);

/// 24 hours.
pub const POINTS: usize = 288;

/// One point; what was not known then is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Degrees Celsius.
    pub temperature: Option<f32>,
    /// Percent of memory in use.
    pub memory: Option<f32>,
    /// Percent of the root disk in use.
    pub disk: Option<f32>,
    /// Percent of processor time.
    pub cpu: Option<f32>,
    /// Load of five minutes.
    pub load: Option<f32>,
    /// Bytes written to all disks since the point before.
    pub written: Option<f32>,
}

/// The points, oldest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct History {
    points: Vec<Point>,
    /// When the last point was taken, in seconds since boot.
    last: Option<u64>,
    #[serde(skip)]
    before: Option<(Times, u64)>,
}

impl History {
    /// Reads what an earlier start of the service left in this boot.
    pub fn read(host: &dyn Host, path: &str) -> Self {
        let content = host.read(path).ok().flatten();
        content.and_then(|content| serde_json::from_slice(content.bytes()).ok()).unwrap_or_default()
    }

    /// Leaves it for the next start. The path is on a file system in memory.
    pub fn write(&self, host: &dyn Host, path: &str) {
        // Plain numbers always serialize; a history that is lost is no harm.
        let text = serde_json::to_vec(self).unwrap_or_default();
        let _ = host.write(path, &text, Access::root(0o600));
    }

    /// Adds a point if it is time for one. `uptime` is the time since boot, which no clock can turn back.
    pub fn add(&mut self, sample: &Sample, uptime: Duration) {
        let now = uptime.as_secs();
        let gap = self.last.map_or(u64::MAX, |last| now.saturating_sub(last));
        if gap < STEP.as_secs() {
            return;
        }
        // A service that was stopped for an hour leaves a gap in the line, not a straight one.
        if self.last.is_some() {
            let missed = usize::try_from(gap / STEP.as_secs() - 1).unwrap_or(POINTS).min(POINTS);
            self.points.extend(std::iter::repeat_n(Point::default(), missed));
        }
        self.points.push(self.point(sample));
        let surplus = self.points.len().saturating_sub(POINTS);
        self.points.drain(..surplus);
        self.last = Some(now);
        let written = sample.written.values().sum();
        self.before = sample.cpu.as_ref().ok().map(|times| (*times, written));
    }

    fn point(&self, sample: &Sample) -> Point {
        let percent = |share: Option<f64>| share.map(|share| percent(share) as f32);
        let root =
            sample.disks.as_ref().ok().and_then(|disks| disks.iter().find(|(mount, _)| mount.point == "/"));
        let written: u64 = sample.written.values().sum();
        let times = sample.cpu.as_ref().ok();
        Point {
            temperature: sample.temperature.map(|celsius| celsius as f32),
            memory: percent(sample.memory.as_ref().ok().and_then(|memory| memory.used())),
            disk: percent(root.and_then(|(_, usage)| usage.as_ref().ok()?.used())),
            cpu: percent(self.before.zip(times).and_then(|((before, _), now)| now.busy_since(&before))),
            load: sample.load.as_ref().ok().map(|load| load[1] as f32),
            written: self
                .before
                .and_then(|(_, before)| written.checked_sub(before))
                .map(|bytes| bytes as f32),
        }
    }

    /// The lines to be drawn.
    pub fn lines(&self) -> Lines {
        let line = |of: fn(&Point) -> Option<f32>| self.points.iter().map(of).collect();
        Lines {
            temperature: line(|point| point.temperature),
            memory: line(|point| point.memory),
            disk: line(|point| point.disk),
            cpu: line(|point| point.cpu),
            load: line(|point| point.load),
        }
    }

    /// Bytes written in the time that is known, and that time.
    pub fn written(&self) -> (f64, Duration) {
        let known: Vec<f64> = self.points.iter().filter_map(|point| point.written.map(f64::from)).collect();
        (known.iter().sum(), STEP * u32::try_from(known.len()).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::tests::{Made, fixture, sample, setup};

    #[test]
    fn a_day_and_no_more_with_gaps_where_nobody_looked() {
        let mut look = sample(&fixture("pi4"), &Made::default(), &setup(""));
        let mut history = History::default();
        for minute in 0..60 * 30 {
            look.written.insert("mmcblk0".into(), minute * 1_000_000);
            history.add(&look, Duration::from_secs(minute * 60));
        }
        assert_eq!(history.points.len(), POINTS);
        let (written, time) = history.written();
        assert_eq!((written as u64, time.as_secs()), (288 * 5_000_000, 86_400));
        assert_eq!(history.points[5].temperature, Some(48.2));
        history.add(&look, Duration::from_secs(60 * 60 * 31));
        let last: Vec<bool> =
            history.points.iter().rev().take(14).map(|point| point.memory.is_some()).collect();
        assert_eq!(last.iter().filter(|known| !**known).count(), 12, "{last:?}");
        assert!(last[0]);
    }
}
