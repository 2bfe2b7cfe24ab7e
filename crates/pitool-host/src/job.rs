//! Jobs of the service manager, waited for as long as the unit's own limits allow.
//!
//! systemd ends a start after `TimeoutStartSec=` and a stop after `TimeoutStopSec=` (systemd.service(5)). A client that is
//! killed earlier ends nothing: the job goes on, and whoever believes that it failed works against it.

use std::time::Duration;

use crate::{Command, Error, Host, Inspect, Output, Result};

/// What a job may take beyond its unit's limits: it may wait for other jobs before it begins.
const MARGIN: Duration = Duration::from_secs(30);

/// What a job may take whose unit has no limit.
const UNLIMITED: Duration = Duration::from_secs(15 * 60);

/// systemd's own default (systemd-system.conf(5)), for units that name no such limit: timers, targets.
const USUAL: Duration = Duration::from_secs(90);

/// Makes `systemctl VERB UNIT` with the time that its job may take.
///
/// The time is what the unit's limits allow, plus 30 s: `TimeoutStartSec=` for a start or a reload, `TimeoutStopSec=` for
/// a stop, both for a restart; 15 minutes where one of them is infinity.
///
/// # Errors
/// systemctl cannot be started.
pub fn job(host: &dyn Inspect, verb: &str, unit: &str) -> Result<Command> {
    let properties = "--property=TimeoutStartUSec,TimeoutStopUSec";
    let output = host.ask(&Command::new("systemctl").args(["show", properties, "--", unit]))?;
    let command = Command::new("systemctl").args([verb, unit]);
    Ok(command.timeout(limit(verb, &output.stdout)))
}

/// Runs `systemctl VERB UNIT` and waits for its job as long as the unit's limits allow (see [`job`]).
///
/// # Errors
/// The job failed, or it goes on after that time: the message names it.
pub fn run_job(host: &dyn Host, verb: &str, unit: &str) -> Result<Output> {
    let command = job(host.inspect(), verb, unit)?;
    match host.run(&command) {
        Err(Error::Timeout { limit, .. }) => {
            let show = Command::new("systemctl").args(["show", "--property=Job", "--value", "--", unit]);
            let job = host.ask(&show).map(|output| output.stdout.trim().to_owned()).unwrap_or_default();
            Err(Error::Unsupported(too_long(&command.display(), limit, &job)))
        }
        other => other,
    }
}

fn too_long(command: &str, limit: Duration, job: &str) -> String {
    let began =
        format!("`{command}` did not end within {} s, which is more than its unit allows", limit.as_secs());
    if job.is_empty() || job == "0" {
        return began;
    }
    format!(
        "{began}; job {job} of systemd goes on: `systemctl list-jobs` shows what it waits for, `systemctl cancel {job}` \
         ends it"
    )
}

/// The time for a job, from the answer of `systemctl show`.
fn limit(verb: &str, show: &str) -> Duration {
    let of = |property: &str| {
        let value = show.lines().find_map(|line| line.strip_prefix(property)?.strip_prefix('='));
        match value {
            Some("infinity") => None,
            other => Some(other.and_then(span).unwrap_or(USUAL)),
        }
    };
    let (start, stop) = (of("TimeoutStartUSec"), of("TimeoutStopUSec"));
    let allowed = match verb {
        "start" | "reload" => start,
        "stop" => stop,
        _ => start.zip(stop).map(|(start, stop)| start.saturating_add(stop)),
    };
    allowed.map_or(UNLIMITED, |allowed| allowed.saturating_add(MARGIN))
}

/// Reads a time span as systemd prints one: `1min 30s`, `500ms` (systemd.time(7)).
fn span(text: &str) -> Option<Duration> {
    let mut whole = Duration::ZERO;
    for word in text.split_ascii_whitespace() {
        let digits = word.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, unit) = word.split_at(digits);
        let micros: u64 = match unit {
            "us" => 1,
            "ms" => 1_000,
            "s" => 1_000_000,
            "min" => 60_000_000,
            "h" => 3_600_000_000,
            "d" => 86_400_000_000,
            "w" => 604_800_000_000,
            "month" => 2_629_800_000_000,
            "y" => 31_557_600_000_000,
            _ => return None,
        };
        let (seconds, fraction) = number.split_once('.').unwrap_or((number, ""));
        let mut part = seconds.parse::<u64>().ok()?.checked_mul(micros)?;
        if !fraction.is_empty() {
            let scale = 10_u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
            part = part.checked_add(fraction.parse::<u64>().ok()?.checked_mul(micros)? / scale)?;
        }
        whole = whole.checked_add(Duration::from_micros(part))?;
    }
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_systemd_prints_them() {
        for (text, seconds) in
            [("1min 30s", 90.0), ("500ms", 0.5), ("2h 1us", 7_200.000_001), ("1.5s", 1.5), ("0", -1.0)]
        {
            let expected = (seconds >= 0.0).then(|| Duration::from_secs_f64(seconds));
            assert_eq!(span(text), expected, "{text}");
        }
        assert_eq!(span("a while"), None);
    }

    #[test]
    fn a_job_may_take_what_its_unit_allows_and_30_s() {
        let show = |start: &str, stop: &str| format!("TimeoutStartUSec={start}\nTimeoutStopUSec={stop}\n");
        for (verb, start, stop, seconds) in [
            ("start", "1min 30s", "2min", 120),
            ("stop", "1min 30s", "2min", 150),
            ("reload", "10s", "2min", 40),
            ("restart", "1min 30s", "2min", 240),
            ("reload-or-restart", "1min 30s", "2min", 240),
            ("restart", "infinity", "2min", 900),
            ("stop", "infinity", "2min", 150),
            ("stop", "1s", "infinity", 900),
        ] {
            assert_eq!(limit(verb, &show(start, stop)).as_secs(), seconds, "{verb} {start} {stop}");
        }
        // A timer has no such limits.
        assert_eq!(limit("restart", "").as_secs(), 210);
    }
}
