//! What takes longer to find out than a look may take: updates, drift, runs, timers. Asked of other programs, seldom.

use std::time::Duration;

use jiff::Timestamp;
use pitool_host::text::chain;
use pitool_host::{Command, Inspect};
use serde::Deserialize;

use crate::sample::{Drift, Known, Reading, Updates, run_at_work};
use crate::status::{Job, Run};

/// How long an answer is good while nothing changes that it depends on.
const GOOD: Duration = Duration::from_secs(3600);

/// How soon it is asked again whether the machine still differs from its config: what a person has put right should not be
/// held against the machine for an hour, and no file tells of a service that was started again.
const AGAIN: Duration = Duration::from_secs(60);

/// Files whose change makes the answers old: packages, apt's lists, pitool's runs and config.
const SOURCES: [&str; 5] = [
    "/var/lib/dpkg/status",
    "/var/lib/apt/lists",
    "/var/lib/pitool/runs",
    "/etc/pitool/pitool.toml",
    FRAGMENTS,
];

const FRAGMENTS: &str = "/etc/pitool/conf.d";

/// How long a change must be past, so that a run or an apt that is still at work is over.
const SETTLED: Duration = Duration::from_secs(20);

/// The answers.
#[derive(Debug, Default)]
pub(super) struct Slow {
    /// For the checks.
    pub(super) known: Known,
    /// Newest first.
    pub(super) runs: Vec<Run>,
    /// Soonest first.
    pub(super) jobs: Vec<Job>,
    asked: Option<Duration>,
    compared: Duration,
    stamp: Vec<Option<std::time::SystemTime>>,
    pending: Option<Duration>,
}

impl Slow {
    /// How the machine differs from its config, where that is known.
    pub(super) fn drift(&self) -> Option<Drift> {
        self.known.drift.clone()?.ok()?
    }

    /// Asks anew, if it is time; tells whether it did.
    pub(super) fn refresh(&mut self, host: &dyn Inspect, clock: Duration) -> bool {
        let fragments = host.list(FRAGMENTS).ok().flatten().unwrap_or_default();
        let stamp: Vec<_> = SOURCES
            .iter()
            .map(|path| (*path).to_owned())
            // A directory's own time does not tell of a change in one of its files.
            .chain(fragments.iter().map(|name| format!("{FRAGMENTS}/{name}")))
            .map(|path| std::fs::metadata(path).and_then(|file| file.modified()).ok())
            .collect();
        if self.asked.is_some() && stamp != self.stamp {
            // Not at once: dpkg's status changes with every package of a long apt run.
            self.pending = Some(clock);
        }
        self.stamp = stamp;
        let old = self.asked.is_none_or(|asked| clock.saturating_sub(asked) >= GOOD);
        let settled = self.pending.is_some_and(|since| clock.saturating_sub(since) >= SETTLED);
        if !old && !settled {
            return self.drift().is_some() && self.compare(host, clock);
        }
        // Half way through a run everything differs, and the run itself looks cut off.
        if run_at_work(host) {
            self.pending = Some(clock);
            return false;
        }
        self.pending = None;
        self.asked = Some(clock);
        self.known.updates = Some(updates(host));
        self.compared = clock;
        self.known.drift = drift(host, self.drift());
        let runs = runs(host);
        self.known.interrupted = Some(match &runs {
            Err(why) => Err(why.clone()),
            Ok(runs) => {
                Ok(runs.first().filter(|run| run.ending != "done").map(|run| format!("run {}", run.number)))
            }
        });
        self.runs = runs.unwrap_or_default();
        self.jobs = jobs(host, host.now());
        true
    }
}

impl Slow {
    /// Compares the machine with its config once more, if it is time; tells whether it did.
    fn compare(&mut self, host: &dyn Inspect, clock: Duration) -> bool {
        if clock.saturating_sub(self.compared) < AGAIN || run_at_work(host) {
            return false;
        }
        self.compared = clock;
        self.known.drift = drift(host, self.drift());
        true
    }
}

/// Counts what apt would install.
fn updates(host: &dyn Inspect) -> Reading<Updates> {
    // Without a lock: it only reads, and must not be in anybody's way.
    let command = Command::new("apt-get").args([
        "--simulate",
        "--quiet=2",
        "-o",
        "Debug::NoLocking=true",
        "-o",
        "APT::Get::Show-User-Simulation-Note=false",
        "upgrade",
    ]);
    let output = host.ask(&command).map_err(|error| chain(&error))?;
    if output.ok() { Ok(counted(&output.stdout)) } else { Err(output.tail()) }
}

/// Reads `Inst NAME [OLD] (NEW ARCHIVE [ARCH])`.
fn counted(text: &str) -> Updates {
    let lines = || text.lines().filter(|line| line.starts_with("Inst "));
    let security = lines().filter(|line| line.contains("-Security") || line.contains("-security")).count();
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Updates { pending: number(lines().count()), security: number(security) }
}

/// This very program.
fn pitool() -> String {
    std::env::current_exe()
        .ok()
        .and_then(|path| path.to_str().map(str::to_owned))
        .unwrap_or_else(|| "pitool".to_owned())
}

#[derive(Deserialize)]
struct Plan {
    steps: Vec<serde::de::IgnoredAny>,
}

/// Plans, as a person would.
fn drift(host: &dyn Inspect, before: Option<Drift>) -> Option<Reading<Option<Drift>>> {
    let output = match host.ask(&Command::new(pitool()).args(["plan", "all", "--json", "--quiet"])) {
        Ok(output) => output,
        Err(error) => return Some(Err(chain(&error))),
    };
    if ![0, 2].contains(&output.status) {
        return Some(Err(refusal(output.status, &output.stderr)));
    }
    Some(match serde_json::from_str::<Plan>(&output.stdout) {
        Err(error) => Err(format!("the plan makes no sense: {error}")),
        Ok(plan) if plan.steps.is_empty() => Ok(None),
        Ok(plan) => {
            let changes = u32::try_from(plan.steps.len()).unwrap_or(u32::MAX);
            Ok(Some(Drift { changes, since: before.map_or(host.now(), |before| before.since) }))
        }
    })
}

/// `pitool plan` ends with this status where the config cannot be used (pitool(1), EXIT STATUS).
const REFUSED_CONFIG: i32 = 3;

/// Says why no plan could be made, in words that everybody on the machine may read.
///
/// A message about a config quotes the line that it is about, and a line may hold a password: only the place is published.
fn refusal(status: i32, stderr: &str) -> String {
    let first = stderr.lines().map(str::trim).find(|line| !line.is_empty());
    if status != REFUSED_CONFIG {
        return first.unwrap_or("`pitool plan` failed without a message").to_owned();
    }
    let place = stderr.lines().find_map(place).map(|place| format!(" at {place}")).unwrap_or_default();
    format!("the config is not valid{place}; `sudo pitool config check` says why")
}

/// The `file:line:column` that a message begins with.
fn place(line: &str) -> Option<&str> {
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let ends = line.match_indices(": ").map(|(at, _)| at);
    ends.map(|end| &line[..end]).find(|start| {
        let mut words = start.rsplitn(3, ':');
        let (column, row, file) = (words.next(), words.next(), words.next());
        column.is_some_and(is_number)
            && row.is_some_and(is_number)
            && file.is_some_and(|file| file.starts_with('/'))
    })
}

#[derive(Deserialize)]
struct History {
    runs: Vec<Told>,
}

#[derive(Deserialize)]
struct Told {
    run: u32,
    started: String,
    command: String,
    ending: Option<String>,
}

fn runs(host: &dyn Inspect) -> Reading<Vec<Run>> {
    let output =
        host.ask(&Command::new(pitool()).args(["history", "--json"])).map_err(|error| chain(&error))?;
    if !output.ok() {
        return Err(output.tail());
    }
    let history: History = serde_json::from_str(&output.stdout).map_err(|error| error.to_string())?;
    let run = |told: Told| Run {
        number: told.run,
        started: told.started,
        command: told.command,
        ending: told.ending.unwrap_or_else(|| "cut off".to_owned()),
    };
    Ok(history.runs.into_iter().take(10).map(run).collect())
}

#[derive(Deserialize)]
struct Timer {
    next: Option<i64>,
    unit: String,
}

/// What systemd's timers will do, soonest first: what takes care of the machine, not every housekeeping of systemd's own.
fn jobs(host: &dyn Inspect, now: Timestamp) -> Vec<Job> {
    let command = Command::new("systemctl").args(["list-timers", "--no-pager", "--output=json"]);
    let Ok(output) = host.ask(&command) else { return Vec::new() };
    let timers: Vec<Timer> = serde_json::from_str(&output.stdout).unwrap_or_default();
    timed(timers, now)
}

fn timed(timers: Vec<Timer>, now: Timestamp) -> Vec<Job> {
    const WANTED: [&str; 6] = ["pitool", "apt-daily", "logrotate", "fstrim", "e2scrub", "certbot"];
    let job = |timer: Timer| {
        let name = timer.unit.strip_suffix(".timer").unwrap_or(&timer.unit).to_owned();
        let next = Timestamp::from_microsecond(timer.next?).ok()?;
        (WANTED.iter().any(|wanted| name.starts_with(wanted)) && next > now).then_some(Job { name, next })
    };
    let mut jobs: Vec<Job> = timers.into_iter().filter_map(job).collect();
    jobs.sort_by_key(|job| job.next);
    jobs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_apt_would_install() {
        let text = "NOTE: x\nInst libc6 [2.36-9] (2.36-10 Debian-Security:12/stable-security [arm64])\nInst vim [1] (2 Debian:12.11/stable [arm64])\nConf libc6 (2.36-10 Debian-Security:12/stable-security [arm64])\n";
        assert_eq!(counted(text), Updates { pending: 2, security: 1 });
        assert_eq!(counted(""), Updates::default());
    }

    #[test]
    fn a_refused_value_is_not_published() {
        let stderr = "/etc/pitool/pitool.toml:12:7: `https://me:hunter2@[` is not a URL: it has no host\n    \
                      url = \"https://me:hunter2@[\"\n          ^^^\n    hint: https://me:hunter2@x\n\nerror: the config cannot be used\n";
        let why = refusal(REFUSED_CONFIG, stderr);
        assert_eq!(
            why,
            "the config is not valid at /etc/pitool/pitool.toml:12:7; `sudo pitool config check` says why"
        );
        let odd = refusal(REFUSED_CONFIG, "error: token hunter2: is none\n");
        assert_eq!(odd, "the config is not valid; `sudo pitool config check` says why");
        assert_eq!(refusal(1, "\nerror: no dpkg here\n  because: x\n"), "error: no dpkg here");
    }

    #[test]
    fn timers_that_are_worth_a_word() {
        let timers: Vec<Timer> = serde_json::from_str(
            r#"[{"next":2000000000000000,"left":1,"last":null,"passed":null,"unit":"logrotate.timer","activates":"x"},
                {"next":1900000000000000,"unit":"apt-daily-upgrade.timer"},
                {"next":1900000000000000,"unit":"systemd-tmpfiles-clean.timer"},
                {"next":null,"unit":"pitool-backup.timer"}]"#,
        )
        .unwrap();
        let names: Vec<String> =
            timed(timers, Timestamp::UNIX_EPOCH).into_iter().map(|job| job.name).collect();
        assert_eq!(names, ["apt-daily-upgrade", "logrotate"]);
    }
}
