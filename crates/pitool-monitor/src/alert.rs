//! Deciding whom to tell of what, and when: `wait`, `repeat`, all-clears, dependencies. Pure; time is handed in.

pub mod message;
pub mod queue;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use pitool_config::settings::{AlertLevel, Alerts};
use serde::{Deserialize, Serialize};

use crate::finding::{Finding, Level, Report};
use message::{Message, What};

/// A problem that somebody was told of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// How bad it was.
    pub level: Level,
    /// Since when it is bad.
    pub since: Timestamp,
    /// When it was last told.
    pub last: Timestamp,
}

/// A problem on its way.
#[derive(Clone, Debug, Default)]
struct Track {
    /// Since when it is bad without a break, on the clock that never goes back.
    bad: Option<(Duration, Timestamp)>,
    /// Since when it is well.
    well: Option<Duration>,
    /// What was told of it, and when it is told again on the same clock.
    told: Option<(Told, Duration)>,
    /// The last that was found, for the all-clear of something that is gone.
    last: Option<Finding>,
}

/// Everything that is on its way.
#[derive(Debug)]
pub struct Watch {
    rules: Alerts,
    host: String,
    tracks: BTreeMap<String, Track>,
}

impl Watch {
    /// Goes on with what was told before a restart. `now` and `clock` are this moment on both clocks.
    pub fn new(
        rules: Alerts,
        host: &str,
        told: &BTreeMap<String, Told>,
        now: Timestamp,
        clock: Duration,
    ) -> Self {
        let mut watch = Self { rules, host: host.to_owned(), tracks: BTreeMap::new() };
        for (id, told) in told {
            let (_, repeat, _) = watch.rule(id.split('[').next().unwrap_or_default());
            let ago = now.as_second().saturating_sub(told.last.as_second()).max(0);
            let due = clock + repeat.saturating_sub(Duration::from_secs(ago.unsigned_abs()));
            let track =
                Track { bad: Some((clock, told.since)), told: Some((told.clone(), due)), ..Track::default() };
            watch.tracks.insert(id.clone(), track);
        }
        watch
    }

    /// What somebody was told of and is not over.
    pub fn told(&self) -> BTreeMap<String, Told> {
        let told = |(id, track): (&String, &Track)| Some((id.clone(), track.told.as_ref()?.0.clone()));
        self.tracks.iter().filter_map(told).collect()
    }

    /// Takes a new report; returns what is to be told now.
    pub fn step(&mut self, report: &Report, clock: Duration) -> Vec<Message> {
        let threshold = match self.rules.level {
            AlertLevel::Warn => Level::Unknown,
            AlertLevel::Fail => Level::Fail,
        };
        let bad_ids: Vec<String> =
            report.findings.iter().filter(|finding| finding.level >= Level::Warn).map(Finding::id).collect();
        let mut messages = Vec::new();
        for finding in &report.findings {
            let (wait, repeat, told) = self.rule(&finding.check);
            if !told {
                self.tracks.remove(&finding.id());
                continue;
            }
            let held = finding.needs.as_ref().is_some_and(|needs| bad_ids.contains(needs));
            let track = self.tracks.entry(finding.id()).or_default();
            let told_before = track.told.as_ref().map(|(told, _)| told.level);
            // A problem is over when the value is well clear of the threshold, not when it touches it.
            let clear = match threshold {
                // Its own mark is that of a warning.
                Level::Fail => track.last.as_ref().and_then(|last| last.clear_below),
                _ => finding.clear_below,
            };
            let clinging = told_before.is_some()
                && finding.number.zip(clear).is_some_and(|(number, clear)| number >= clear);
            if finding.level < threshold && clinging {
                track.well = None;
                continue;
            }
            if finding.level < threshold {
                track.bad = None;
                let Some((told, _)) = &track.told else { continue };
                let well = *track.well.get_or_insert(clock);
                if clock.saturating_sub(well) >= wait {
                    messages.push(Message::of(What::Clear, finding, &self.host, report.taken, told.since));
                    track.told = None;
                }
                continue;
            }
            track.well = None;
            track.last = Some(finding.clone());
            let (since_clock, since) = *track.bad.get_or_insert((clock, report.taken));
            if held {
                // What it needs comes back first, and then it has as long as anything else.
                track.bad = Some((clock, since));
                continue;
            }
            if track.told.is_none() && clock.saturating_sub(since_clock) < wait {
                continue;
            }
            let what = match &track.told {
                None => What::Problem,
                Some((told, _)) if finding.level > told.level => What::Problem,
                Some((_, due)) if clock >= *due => What::Again,
                Some(_) => continue,
            };
            messages.push(Message::of(what, finding, &self.host, report.taken, since));
            let level = finding.level.max(Level::Unknown);
            track.told = Some((Told { level, since, last: report.taken }, clock + repeat));
        }
        messages.extend(self.gone(report));
        self.tracks.retain(|_, track| track.bad.is_some() || track.told.is_some());
        messages
    }

    /// All-clears for what is no longer there: a container that was removed, a disk that was unmounted.
    fn gone(&mut self, report: &Report) -> Vec<Message> {
        let present: Vec<String> = report.findings.iter().map(Finding::id).collect();
        // While Docker is silent its containers are not gone, they are not known.
        let silent = |check: &str| {
            let parent = match check {
                "container" | "memory-limit" => "docker",
                "service" => "units",
                other => other,
            };
            // What comes from one record or one question is unknown together with it.
            let source = match check {
                "drill" => "backup",
                "inodes" | "filesystem" => "disk",
                other => other,
            };
            report.findings.iter().any(|finding| {
                (finding.check == parent && finding.level != Level::Ok)
                    || (finding.check == source && finding.level == Level::Unknown)
            })
        };
        let mut messages = Vec::new();
        self.tracks.retain(|id, track| {
            let check = id.split('[').next().unwrap_or_default();
            // These are not found out at the first look after a start; they do not go away.
            let late = ["cpu", "config", "updates"].contains(&check);
            if present.contains(id) || late || silent(check) {
                return true;
            }
            if let Some((told, _)) = &track.told {
                let finding = track.last.clone().unwrap_or_else(|| {
                    let subject =
                        id.split_once('[').map(|(_, rest)| rest.trim_end_matches(']')).unwrap_or_default();
                    Finding::ok(check, "").of(subject)
                });
                let finding = Finding { level: Level::Ok, value: "it is no longer there".into(), ..finding };
                messages.push(Message::of(What::Clear, &finding, &self.host, report.taken, told.since));
            }
            false
        });
        messages
    }

    fn rule(&self, check: &str) -> (Duration, Duration, bool) {
        let own = self.rules.checks.iter().find(|(name, _)| name.as_str() == check).map(|(_, rule)| rule);
        let seconds = |own: Option<pitool_config::values::Duration>, all: pitool_config::values::Duration| {
            Duration::from_secs(own.unwrap_or(all).as_secs())
        };
        (
            seconds(own.and_then(|rule| rule.wait), self.rules.wait),
            seconds(own.and_then(|rule| rule.repeat), self.rules.repeat),
            own.is_none_or(|rule| rule.told),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Timestamp {
        Timestamp::from_second(1_760_000_000 + i64::try_from(second).unwrap()).unwrap()
    }

    fn report(second: u64, findings: Vec<Finding>) -> Report {
        Report { taken: at(second), findings, absent: vec![] }
    }

    fn watch(config: &str) -> Watch {
        let config = format!("[monitoring.alerts]\n{config}");
        let settings = pitool_config::load(&[pitool_config::Fragment::new("t", config)]).unwrap().settings;
        Watch::new(settings.monitoring.alerts, "pi", &BTreeMap::new(), at(0), Duration::ZERO)
    }

    fn steps(
        watch: &mut Watch,
        findings: impl Fn(u64) -> Vec<Finding>,
        until: u64,
    ) -> Vec<(u64, What, String)> {
        let mut told = Vec::new();
        for second in (0..=until).step_by(60) {
            for message in watch.step(&report(second, findings(second)), Duration::from_secs(second)) {
                told.push((second, message.what, message.id.clone()));
            }
        }
        told
    }

    fn disk(used: f64) -> Finding {
        Finding::high("disk", used, format!("{used} %"), 85.0, Some(95.0)).of("/")
    }

    #[test]
    fn after_a_while_then_now_and_then_then_the_all_clear() {
        let mut watch = watch("wait = \"3m\"\nrepeat = \"1h\"\n");
        let told = steps(
            &mut watch,
            |second| vec![disk(if (600..9000).contains(&second) { 90.0 } else { 10.0 })],
            12_000,
        );
        let id = "disk[/]".to_owned();
        assert_eq!(
            told,
            [
                (780, What::Problem, id.clone()),
                (4380, What::Again, id.clone()),
                (7980, What::Again, id.clone()),
                (9180, What::Clear, id)
            ]
        );
        assert!(watch.told().is_empty() && watch.tracks.is_empty());
    }

    #[test]
    fn a_blip_is_nothing_and_worse_is_told_at_once() {
        let mut quiet = watch("wait = \"3m\"\n");
        assert!(
            steps(&mut quiet, |second| vec![disk(if second % 180 == 0 { 90.0 } else { 10.0 })], 3600)
                .is_empty()
        );
        let mut watch = watch("wait = \"3m\"\n");
        let told = steps(&mut watch, |second| vec![disk(if second < 600 { 90.0 } else { 96.0 })], 1200);
        assert_eq!(told.iter().map(|(second, ..)| *second).collect::<Vec<_>>(), [180, 600]);
    }

    #[test]
    fn a_value_that_trembles_is_one_problem() {
        let mut watch = watch("wait = \"1m\"\nrepeat = \"1d\"\n");
        let told =
            steps(&mut watch, |second| vec![disk(if (second / 600) % 2 == 0 { 85.2 } else { 84.8 })], 7200);
        assert_eq!(told.len(), 1, "{told:?}");
        let told = steps(&mut watch, |_| vec![disk(80.0)], 600);
        assert_eq!(told.len(), 1, "well clear of the threshold it is over");
    }

    #[test]
    fn while_nginx_is_down_nobody_is_told_of_its_sites() {
        let mut watch = watch("wait = \"1m\"\n");
        let nginx = |level| Finding::new("service", level, "x").of("nginx");
        let app = |level| Finding::new("app", level, "x").of("notes").needs("service[nginx]");
        // nginx comes back, and the app does not.
        let level = |second| if second < 600 { Level::Fail } else { Level::Ok };
        let told = steps(&mut watch, |second| vec![nginx(level(second)), app(Level::Fail)], 900);
        let told: Vec<(u64, &str)> = told.iter().map(|(second, _, id)| (*second, id.as_str())).collect();
        assert_eq!(told, [(60, "service[nginx]"), (600, "app[notes]"), (660, "service[nginx]")]);
    }

    #[test]
    fn what_is_gone_is_over_unless_nobody_can_say() {
        let container = || Finding::new("container", Level::Fail, "x").of("db").needs("docker");
        let docker = |level| Finding::new("docker", level, "x");
        let mut watch = watch("wait = \"1m\"\nrepeat = \"1w\"\n");
        assert_eq!(steps(&mut watch, |_| vec![docker(Level::Ok), container()], 120).len(), 1);
        let told = steps(&mut watch, |_| vec![docker(Level::Fail)], 0);
        assert!(told.is_empty(), "{told:?}");
        let told = steps(&mut watch, |_| vec![docker(Level::Ok)], 0);
        assert_eq!((told.len(), told[0].1), (1, What::Clear));
    }

    #[test]
    fn a_restart_does_not_tell_again() {
        let mut before = watch("wait = \"1m\"\nrepeat = \"12h\"\n");
        assert_eq!(steps(&mut before, |_| vec![disk(96.0)], 300).len(), 1);
        let mut after = Watch::new(before.rules.clone(), "pi", &before.told(), at(400), Duration::ZERO);
        assert!(steps(&mut after, |_| vec![disk(96.0)], 600).is_empty());
        assert_eq!(steps(&mut after, |_| vec![disk(10.0)], 600).len(), 1);
    }

    #[test]
    fn a_restart_does_not_put_a_reminder_off() {
        let mut before = watch("wait = \"1m\"\nrepeat = \"12h\"\n");
        assert_eq!(steps(&mut before, |_| vec![disk(96.0)], 60).len(), 1);
        // Told after a minute; the service is started again when ten minutes are left.
        let mut after =
            Watch::new(before.rules.clone(), "pi", &before.told(), at(60 + 12 * 3600 - 600), Duration::ZERO);
        let told = steps(&mut after, |_| vec![disk(96.0)], 1200);
        assert_eq!(told, [(600, What::Again, "disk[/]".to_owned())]);
    }

    #[test]
    fn what_touches_its_threshold_from_below_is_not_told_again() {
        let mut watch = watch("wait = \"1m\"\nrepeat = \"1h\"\n");
        let told = steps(&mut watch, |second| vec![disk(if second < 600 { 86.0 } else { 84.0 })], 9000);
        assert_eq!(told, [(60, What::Problem, "disk[/]".to_owned())]);
    }

    #[test]
    fn who_wants_failures_only_hears_when_it_is_none_any_more() {
        let mut watch = watch("level = \"fail\"\nwait = \"1m\"\nrepeat = \"1h\"\n");
        let used = |second| match second {
            0..600 => 96.0,
            600..1200 => 94.0,
            _ => 90.0,
        };
        let told = steps(&mut watch, |second| vec![disk(used(second))], 9000);
        let id = "disk[/]".to_owned();
        assert_eq!(told, [(60, What::Problem, id.clone()), (1260, What::Clear, id)]);
    }

    #[test]
    fn a_clock_that_jumps_changes_nothing() {
        let mut watch = watch("wait = \"3m\"\nrepeat = \"12h\"\n");
        let mut told = 0;
        for second in (0..3600u64).step_by(60) {
            // Wall time is a year off from the tenth minute on, and back from the twentieth.
            let wall = if (600..1200).contains(&second) { second + 31_536_000 } else { second };
            told += watch.step(&report(wall, vec![disk(96.0)]), Duration::from_secs(second)).len();
        }
        assert_eq!(told, 1);
    }

    #[test]
    fn silence_where_it_is_asked_for() {
        let mut watch =
            watch("wait = \"1m\"\nlevel = \"fail\"\n[monitoring.alerts.checks.disk]\ntold = false\n");
        let load = |level| Finding::new("load", level, "x");
        assert!(steps(&mut watch, |_| vec![disk(99.0), load(Level::Warn)], 600).is_empty());
        assert_eq!(steps(&mut watch, |_| vec![load(Level::Fail)], 600).len(), 1);
    }
}
