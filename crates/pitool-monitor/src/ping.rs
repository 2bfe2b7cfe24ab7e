//! Dead-man pings, as healthchecks.io and its kin take them: a service elsewhere raises the alarm when they stop.
//!
//! It is the only alarm that works when the machine is off.

use pitool_config::settings::Pings;
use pitool_config::values::AbsolutePath;

use crate::sink::secret;
use crate::web;

/// What is pinged for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// The machine lives.
    Heartbeat,
    /// A backup.
    Backup,
    /// A rehearsed restore.
    Drill,
    /// The renewal of certificates.
    Renewal,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// It begins: the other side measures how long it takes.
    Start,
    /// It is done.
    Success,
    /// It failed.
    Fail,
}

/// The most that is sent along: healthchecks.io keeps 100 kB, others 10.
const BODY: usize = 10_000;

/// Pings, if an address is set for that job; tells whether one is.
///
/// # Errors
/// Nobody took it; the words hold no address.
pub fn send(pings: &Pings, job: Job, moment: Moment, text: &str) -> Result<bool, String> {
    let Some(file) = file(pings, job) else { return Ok(false) };
    let base = secret(file)?;
    if !base.starts_with("https://") && !base.starts_with("http://") {
        return Err(format!("{file} holds no address that begins with https://"));
    }
    let suffix = match moment {
        Moment::Start => "/start",
        Moment::Success => "",
        Moment::Fail => "/fail",
    };
    // The last lines say most.
    let mut start = text.len().saturating_sub(BODY);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    let url = format!("{}{suffix}", base.trim_end_matches('/'));
    web::post(&url, &[("Content-Type", "text/plain; charset=utf-8")], &text.as_bytes()[start..])?;
    Ok(true)
}

fn file(pings: &Pings, job: Job) -> Option<&AbsolutePath> {
    match job {
        Job::Heartbeat => pings.heartbeat_file.as_ref(),
        Job::Backup => pings.backup_file.as_ref(),
        Job::Drill => pings.drill_file.as_ref(),
        Job::Renewal => pings.renewal_file.as_ref(),
    }
}
