//! What the service keeps over restarts and reboots: counted events, who was told of what. A few kB, written on change only.

use std::collections::BTreeMap;

use jiff::Timestamp;
use pitool_host::{Access, Host};
use serde::{Deserialize, Serialize};

use crate::alert::Told;
use crate::event::{Event, Record};

/// Where it is.
pub const DIR: &str = "/var/lib/pitool-monitor";

/// The most events that are kept one by one; older ones are only counted.
const RECENT: usize = 48;

/// How often one kind of event happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// In all.
    pub total: u64,
    /// When last.
    pub last: Option<Timestamp>,
}

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The boot that the rest is about, /proc/sys/kernel/random/boot_id.
    pub boot: String,
    /// The last record of the kernel's log that was counted in that boot.
    pub sequence: Option<u64>,
    /// Sticky throttle bits that were counted in that boot.
    pub sticky: u32,
    /// Whether the service was told to stop; if not, and the boot is another one, the power went.
    pub stopped: bool,
    /// When this was last written.
    pub written: Option<Timestamp>,
    /// Counted events.
    pub events: BTreeMap<Event, Count>,
    /// The last ones.
    pub recent: Vec<(Timestamp, Event)>,
    /// Problems that somebody was told of and that are not over.
    pub told: BTreeMap<String, Told>,
    /// Who was told of them: names of sinks.
    pub sinks: Vec<String>,
    #[serde(skip)]
    changed: bool,
}

/// What a new start found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The service was started anew, or for the first time.
    Again,
    /// The machine booted after a shutdown.
    Boot,
    /// The machine booted after it went off without one. When it was last seen alive, as far as is known.
    Unclean(Option<Timestamp>),
}

fn path() -> String {
    format!("{DIR}/state.json")
}

impl State {
    /// Reads what was kept; a damaged file is as good as none.
    pub fn read(host: &dyn Host) -> Self {
        let content = host.read(&path()).ok().flatten();
        content.and_then(|content| serde_json::from_slice(content.bytes()).ok()).unwrap_or_default()
    }

    /// Begins: in a new boot the kernel's log counts from its beginning again.
    pub fn start(&mut self, boot: &str, now: Timestamp) -> Start {
        let start = match (self.boot == boot, self.boot.is_empty(), self.stopped) {
            (true, ..) | (_, true, _) => Start::Again,
            (.., true) => Start::Boot,
            _ => Start::Unclean(self.written),
        };
        if self.boot != boot {
            boot.clone_into(&mut self.boot);
            self.sequence = None;
            self.sticky = 0;
        }
        if matches!(start, Start::Unclean(_)) {
            self.count(Event::UncleanShutdown, now);
        }
        self.stopped = false;
        self.changed = true;
        start
    }

    /// Who is told now; somebody new has not been told of anything, so all that is not over is told once more.
    pub fn meet(&mut self, sinks: &[String]) {
        if sinks.iter().any(|sink| !self.sinks.contains(sink)) {
            self.told.clear();
        }
        self.sinks = sinks.to_vec();
        self.changed = true;
    }

    /// The service is told to stop.
    pub fn stop(&mut self) {
        self.stopped = true;
        self.changed = true;
    }

    /// Counts one event.
    pub fn count(&mut self, event: Event, now: Timestamp) {
        let count = self.events.entry(event).or_default();
        count.total += 1;
        count.last = Some(now);
        self.recent.push((now, event));
        if self.recent.len() > RECENT {
            self.recent.remove(0);
        }
        self.changed = true;
    }

    /// Counts what the kernel said since the last time.
    pub fn hear(&mut self, records: &[Record], now: Timestamp) {
        for record in records {
            if self.sequence.is_some_and(|last| record.sequence <= last) {
                continue;
            }
            self.sequence = Some(record.sequence);
            if let Some(event) = Event::of(&record.text) {
                self.count(event, now);
            }
        }
    }

    /// Counts the firmware's sticky bits that were not set before. Under-voltage is counted from the kernel's log.
    pub fn throttled(&mut self, bits: u32, now: Timestamp) {
        let sticky = bits & 0x000e_0000;
        if sticky & !self.sticky != 0 {
            self.count(Event::Throttled, now);
        }
        self.sticky |= sticky;
    }

    /// Remembers who was told of what.
    pub fn remember(&mut self, told: BTreeMap<String, Told>) {
        if self.told != told {
            self.told = told;
            self.changed = true;
        }
    }

    /// Whether something is not yet written.
    pub fn changed(&self) -> bool {
        self.changed
    }

    /// Writes it down, if there is something new.
    ///
    /// # Errors
    /// The disk is full or read-only; it is tried again the next time.
    pub fn write(&mut self, host: &dyn Host, now: Timestamp) -> pitool_host::Result<()> {
        if !self.changed {
            return Ok(());
        }
        self.written = Some(now);
        // Plain maps always serialize.
        let text = serde_json::to_vec(self).unwrap_or_default();
        host.write(&path(), &text, Access::root(0o600))?;
        self.changed = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_760_000_000 + second).unwrap()
    }

    fn said(sequence: u64, text: &str) -> Record {
        Record { sequence, text: text.into() }
    }

    #[test]
    fn every_event_counts_once() {
        let mut state = State::default();
        assert_eq!(state.start("a", at(0)), Start::Again);
        let log = [
            said(1, "Undervoltage detected!"),
            said(2, "Voltage normalised"),
            said(3, "Undervoltage detected!"),
        ];
        state.hear(&log, at(1));
        // The service was started anew and reads the log from its beginning.
        let mut again: State = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
        assert_eq!(again.start("a", at(2)), Start::Again);
        again.hear(&log, at(3));
        assert_eq!(again.events[&Event::UnderVoltage], Count { total: 2, last: Some(at(1)) });
        // In a new boot the numbers begin anew.
        again.stopped = true;
        assert_eq!(again.start("b", at(4)), Start::Boot);
        again.hear(&log[..1], at(5));
        assert_eq!(again.events[&Event::UnderVoltage].total, 3);
    }

    #[test]
    fn a_boot_without_a_shutdown() {
        let mut state = State::default();
        state.start("a", at(0));
        state.written = Some(at(7));
        assert_eq!(state.start("b", at(9)), Start::Unclean(Some(at(7))));
        assert_eq!(state.events[&Event::UncleanShutdown].total, 1);
    }

    #[test]
    fn sticky_bits_count_when_they_come() {
        let mut state = State::default();
        state.start("a", at(0));
        for bits in [0, 0x4_0000, 0x4_0000, 0x5_0000, 0xc_0000] {
            state.throttled(bits, at(1));
        }
        assert_eq!(state.events[&Event::Throttled].total, 2);
    }

    #[test]
    fn it_stays_small() {
        let mut state = State::default();
        for second in 0..10_000 {
            state.count(Event::UnderVoltage, at(second));
        }
        assert!(serde_json::to_vec(&state).unwrap().len() < 4096);
        assert_eq!(state.events[&Event::UnderVoltage].total, 10_000);
    }
}
