//! The thread that looks.

use std::sync::atomic::Ordering;

use pitool_host::local::Local;
use pitool_host::text::chain;
use pitool_host::{Host, Inspect};

use super::notify::{ALIVE, notify};
use super::shared::{Error, RUN, Shared, lock, pause, publish};
use super::slow::Slow;
use crate::alert::Watch;
use crate::check::judge;
use crate::event::KernelLog;
use crate::finding::Report;
use crate::history::History;
use crate::sample::{Sample, run_at_work};
use crate::state::State;
use crate::status::Status;
use crate::system::System;

/// Looks every interval until the service stops.
pub(super) fn run(shared: &Shared, state: State) -> Result<(), Error> {
    let host = Local::new("/")?;
    let mut look = Look::new(shared, &host, state);
    let interval = std::time::Duration::from_secs(shared.setup.service.interval.as_secs());
    look.once();
    // Now that there is something to serve, what takes longer is found out, and looked at again at once.
    while !shared.stopped() {
        if look.slow.refresh(&host, shared.system.monotonic()) {
            look.once();
        }
        let until = look.last + interval;
        if look.amid {
            // The run that started the service is not over: what was found half way through is looked at again soon.
            while shared.system.monotonic() < until && !shared.stopped() && run_at_work(&host) {
                pause(shared, shared.system.monotonic() + SOON);
            }
        } else {
            pause(shared, until);
        }
        if !shared.stopped() {
            look.once();
        }
    }
    look.end();
    Ok(())
}

/// How long after a run its outcome is looked at: services that it started last need a moment.
const SOON: std::time::Duration = std::time::Duration::from_secs(2);

struct Look<'s> {
    shared: &'s Shared,
    host: &'s Local,
    state: State,
    watch: Watch,
    log: Option<KernelLog>,
    before: Option<Sample>,
    history: History,
    slow: Slow,
    last: std::time::Duration,
    /// Whether a run was at work then.
    amid: bool,
    /// What could not be written, said once and not every minute.
    trouble: Option<String>,
}

fn history_path() -> String {
    format!("{RUN}/history.json")
}

impl<'s> Look<'s> {
    fn new(shared: &'s Shared, host: &'s Local, state: State) -> Self {
        let clock = shared.system.monotonic();
        let alerts = shared.setup.alerts.clone();
        let log = KernelLog::open("/dev/kmsg");
        if let Err(error) = &log {
            shared.say(&format!("the kernel's log cannot be read ({error}): power events are not counted"));
        }
        Self {
            watch: Watch::new(alerts, &shared.machine.host, &state.told, host.now(), clock),
            log: log.ok(),
            before: None,
            history: History::read(host, &history_path()),
            slow: Slow::default(),
            last: clock,
            amid: false,
            trouble: None,
            shared,
            host,
            state,
        }
    }

    /// One look, with everything that follows from it.
    fn once(&mut self) {
        let shared = self.shared;
        self.last = shared.system.monotonic();
        self.amid = run_at_work(self.host);
        let sample = Sample::take(self.host, &shared.system, &shared.setup, self.slow.known.clone());
        let report = judge(&sample, self.before.as_ref(), &shared.setup);
        let report = settled(report, self.before.is_some());
        self.count(&sample);
        self.tell(&report);
        self.history.add(&sample, uptime(self.host));
        let units = sample.units.clone().ok();
        publish(shared, self.host, self.status(&sample, &report), units);
        self.write();
        self.before = Some(sample);
        shared.looked.store(shared.system.monotonic().as_secs(), Ordering::Relaxed);
        notify(ALIVE);
    }

    fn count(&mut self, sample: &Sample) {
        if let Some(log) = &mut self.log {
            self.state.hear(&log.read(), sample.taken);
        }
        if let Ok(Some(bits)) = &sample.throttled {
            self.state.throttled(bits.0, sample.taken);
        }
    }

    fn tell(&mut self, report: &Report) {
        let messages = self.watch.step(report, self.shared.system.monotonic());
        self.state.remember(self.watch.told());
        if messages.is_empty() {
            return;
        }
        let sinks = self.shared.sinks();
        let mut queue = lock(&self.shared.queue);
        for message in &messages {
            self.shared.say(&format!("{}: {}", message.title, message.value));
            queue.add(&sinks, message);
        }
        drop(queue);
        self.shared.bell.notify_all();
    }

    fn status(&self, sample: &Sample, report: &Report) -> Status {
        let mut status = Status::of(self.shared.machine.clone(), sample, report, &self.state);
        status.runs.clone_from(&self.slow.runs);
        status.jobs.clone_from(&self.slow.jobs);
        status.drift = self.slow.drift();
        status.history = self.history.lines();
        let (written, time) = self.history.written();
        // Less than an hour says nothing about a day.
        if time.as_secs() >= 3600 {
            status.written_daily = Some((written / time.as_secs_f64() * 86_400.0) as u64);
        }
        let queue = lock(&self.shared.queue);
        status.alerts.sinks = self.shared.sinks();
        status.alerts.waiting = queue.len();
        status.alerts.dropped = queue.dropped;
        status.alerts.troubles = queue.troubles();
        status
    }

    /// Writes down what changed; a disk that is full or read-only must not stop the rest.
    fn write(&mut self) {
        let now = self.host.now();
        let written =
            self.state.write(self.host, now).and_then(|()| lock(&self.shared.queue).write(self.host));
        let trouble = written.err().map(|error| chain(&error));
        if trouble != self.trouble {
            if let Some(trouble) = &trouble {
                self.shared
                    .say(&format!("{trouble}: what is to be kept stays in memory until it can be written"));
            }
            self.trouble = trouble;
        }
    }

    /// The service was told to stop: that is no power cut.
    fn end(&mut self) {
        self.state.stop();
        self.history.write(self.host, &history_path());
        self.write();
    }
}

/// The first look after a start has nothing to compare with: that is not worth a word.
fn settled(mut report: Report, compared: bool) -> Report {
    if !compared {
        report.findings.retain(|finding| finding.check != "cpu");
    }
    report
}

fn uptime(host: &dyn Host) -> std::time::Duration {
    let text = crate::kernel::text(host.inspect(), "/proc/uptime").unwrap_or_default();
    let seconds = text.split(' ').next().and_then(|word| word.parse::<f64>().ok()).unwrap_or_default();
    std::time::Duration::from_secs_f64(seconds.max(0.0))
}
