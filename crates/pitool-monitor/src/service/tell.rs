//! The thread that tells: what waits in the queue, and the heartbeat.

use std::sync::atomic::Ordering;
use std::time::Duration;

use pitool_host::Inspect;
use pitool_host::local::Local;
use pitool_host::text::chain;

use super::shared::{Error, LONGEST, Shared, lock};
use crate::ping::{self, Job, Moment};
use crate::sink::Sink;
use crate::system::System;

/// The longest pause: a signal to stop does not ring the bell.
const PAUSE: Duration = Duration::from_millis(500);

/// Between two heartbeats of which the first was not taken.
const AGAIN: Duration = Duration::from_secs(60);

/// Tells until the service stops.
pub(super) fn run(shared: &Shared) -> Result<(), Error> {
    let host = Local::new("/")?;
    let sinks = Sink::all(&shared.setup.alerts);
    let mut beat = shared.setup.pings.heartbeat_file.as_ref().map(|_| Duration::ZERO);
    let mut beating = true;
    while !shared.stopped() {
        let clock = shared.system.monotonic();
        if beat.is_some_and(|beat| clock >= beat) && stuck(shared, clock) {
            // Who waits for the heartbeat learns from its absence that nobody looks any more.
            if beating {
                shared.say("the last look does not end: no heartbeat until it has");
            }
            beating = false;
            beat = Some(clock + AGAIN);
        } else if beat.is_some_and(|beat| clock >= beat) {
            let done = ping::send(&shared.setup.pings, Job::Heartbeat, Moment::Success, "");
            if let (Err(why), true) = (&done, beating) {
                shared.say(&format!("the heartbeat was not taken: {why}"));
            }
            beating = done.is_ok();
            let pause =
                if beating { Duration::from_secs(shared.setup.pings.heartbeat.as_secs()) } else { AGAIN };
            beat = Some(shared.system.monotonic() + pause);
        }
        if !deliver(shared, &host, &sinks) {
            let queue = lock(&shared.queue);
            // Woken by a new message, or after the pause; a poisoned lock is as good as another.
            drop(shared.bell.wait_timeout(queue, PAUSE));
        }
    }
    Ok(())
}

/// Whether the thread that looks is stuck, at a file system or a program that does not answer.
fn stuck(shared: &Shared, clock: Duration) -> bool {
    let looked = Duration::from_secs(shared.looked.load(Ordering::Relaxed));
    let interval = Duration::from_secs(shared.setup.service.interval.as_secs());
    clock.saturating_sub(looked) > interval + LONGEST
}

/// Sends one message; tells whether there was one to send. The queue is not locked meanwhile.
fn deliver(shared: &Shared, host: &Local, sinks: &[Sink]) -> bool {
    let next = lock(&shared.queue).next(shared.system.monotonic());
    let Some(waiting) = next else { return false };
    let outcome = match sinks.iter().find(|sink| sink.name() == waiting.sink) {
        Some(sink) => sink.send(&waiting.message, host.now(), &shared.zone),
        None => Ok(()),
    };
    let mut queue = lock(&shared.queue);
    match outcome {
        Ok(()) => {
            queue.sent(&waiting);
            if let Err(error) = queue.write(host) {
                shared.say(&chain(&error));
            }
        }
        Err(why) => {
            shared.say(&format!("{} did not take an alert: {why}", waiting.sink));
            queue.failed(&waiting, why, shared.system.monotonic());
        }
    }
    true
}
