//! What is still to be told: on disk, bounded, tried again with longer and longer pauses.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use pitool_host::{Access, Host};
use serde::{Deserialize, Serialize};

use super::message::Message;
use crate::state::DIR;

/// The most messages that wait; then the oldest goes. A day without network makes a few dozen.
pub const LIMIT: usize = 100;

/// The first pause after a failure, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(3600));

/// A message for one sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The sink's name.
    pub sink: String,
    /// What it is told.
    pub message: Message,
}

/// How one sink is doing.
#[derive(Clone, Debug, Default)]
struct Backoff {
    failures: u32,
    /// Not before then, on the clock that never goes back.
    until: Duration,
    why: String,
}

/// Everything that waits.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: Vec<Waiting>,
    backoff: BTreeMap<String, Backoff>,
    /// How many were given up because too many waited.
    pub dropped: u64,
    changed: bool,
}

fn path() -> String {
    format!("{DIR}/queue.json")
}

impl Queue {
    /// Reads what waited; a damaged file is put aside, because it might tell a person something.
    pub fn read(host: &dyn Host, sinks: &[String]) -> Self {
        let content = host.read(&path()).ok().flatten();
        let Some(content) = content else { return Self::default() };
        match serde_json::from_slice::<Vec<Waiting>>(content.bytes()) {
            Ok(mut waiting) => {
                // A sink that the config no longer has will never take them.
                waiting.retain(|waiting| sinks.contains(&waiting.sink));
                Self { waiting, ..Self::default() }
            }
            Err(_) => {
                // Where even this fails, the file is overwritten the next time.
                let _ =
                    host.write(&format!("{DIR}/queue.damaged.json"), content.bytes(), Access::root(0o600));
                Self { changed: true, ..Self::default() }
            }
        }
    }

    /// Adds a message for each of these sinks.
    pub fn add(&mut self, sinks: &[String], message: &Message) {
        for sink in sinks {
            self.waiting.push(Waiting { sink: sink.clone(), message: message.clone() });
        }
        while self.waiting.len() > LIMIT {
            self.waiting.remove(0);
            self.dropped += 1;
        }
        self.changed = true;
    }

    /// Replaces everything that waits for a sink by one message about it and about why.
    pub fn digest(&mut self, sinks: &[String], host: &str, why: &str, now: Timestamp, zone: &TimeZone) {
        for sink in sinks {
            let (mine, others): (Vec<_>, Vec<_>) =
                std::mem::take(&mut self.waiting).into_iter().partition(|waiting| waiting.sink == *sink);
            self.waiting = others;
            let waited: Vec<Message> = mine.into_iter().map(|waiting| waiting.message).collect();
            let message = Message::digest(host, why, &waited, now, zone);
            self.waiting.push(Waiting { sink: sink.clone(), message });
        }
        self.changed = true;
    }

    /// The next message that may be tried now: the oldest of a sink that is not resting.
    pub fn next(&self, clock: Duration) -> Option<Waiting> {
        let resting = |sink: &str| self.backoff.get(sink).is_some_and(|backoff| clock < backoff.until);
        self.waiting.iter().find(|waiting| !resting(&waiting.sink)).cloned()
    }

    /// When the next one may be tried; `None` when nothing waits.
    pub fn due(&self) -> Option<Duration> {
        let of = |waiting: &Waiting| {
            self.backoff.get(&waiting.sink).map_or(Duration::ZERO, |backoff| backoff.until)
        };
        self.waiting.iter().map(of).min()
    }

    /// The message was taken.
    pub fn sent(&mut self, sent: &Waiting) {
        self.backoff.remove(&sent.sink);
        if let Some(index) = self.waiting.iter().position(|waiting| waiting == sent) {
            self.waiting.remove(index);
        }
        self.changed = true;
    }

    /// The sink did not take it: it rests, twice as long as the last time.
    pub fn failed(&mut self, failed: &Waiting, why: String, clock: Duration) {
        let backoff = self.backoff.entry(failed.sink.clone()).or_default();
        let pause = PAUSES.0.saturating_mul(1 << backoff.failures.min(10)).min(PAUSES.1);
        backoff.failures += 1;
        backoff.until = clock + pause;
        backoff.why = why;
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Sinks that did not take what they were sent, and why.
    pub fn troubles(&self) -> BTreeMap<String, String> {
        self.backoff.iter().map(|(sink, backoff)| (sink.clone(), backoff.why.clone())).collect()
    }

    /// Writes it down, if something changed.
    ///
    /// # Errors
    /// The disk is full or read-only; what waits stays in memory, and it is tried again the next time.
    pub fn write(&mut self, host: &dyn Host) -> pitool_host::Result<()> {
        if !self.changed {
            return Ok(());
        }
        // Plain values always serialize.
        let text = serde_json::to_vec(&self.waiting).unwrap_or_default();
        host.write(&path(), &text, Access::root(0o600))?;
        self.changed = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pitool_host::Inspect;
    use pitool_host::local::Local;

    fn message(number: u32) -> Message {
        let mut message = Message::test("pi", Timestamp::UNIX_EPOCH);
        message.text = number.to_string();
        message
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn one_sink_that_is_down_does_not_hold_up_the_other() {
        let mut queue = Queue::default();
        queue.add(&["a".into(), "b".into()], &message(1));
        let first = queue.next(seconds(0)).unwrap();
        assert_eq!(first.sink, "a");
        queue.failed(&first, "refused".into(), seconds(0));
        let second = queue.next(seconds(0)).unwrap();
        assert_eq!(second.sink, "b");
        queue.sent(&second);
        assert_eq!(queue.next(seconds(29)), None);
        assert_eq!(queue.due(), Some(seconds(30)));
        assert_eq!(queue.next(seconds(30)).unwrap(), first);
        let mut pauses = vec![];
        for _ in 0..9 {
            queue.failed(&first, "refused".into(), seconds(0));
            pauses.push(queue.due().unwrap().as_secs());
        }
        assert_eq!(pauses, [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]);
        assert_eq!(queue.troubles()["a"], "refused");
        queue.sent(&first);
        assert!(queue.is_empty() && queue.troubles().is_empty());
    }

    #[test]
    fn it_is_bounded() {
        let mut queue = Queue::default();
        for number in 0..250 {
            queue.add(&["a".into()], &message(number));
        }
        assert_eq!((queue.len(), queue.dropped), (LIMIT, 150));
        assert_eq!(queue.next(seconds(0)).unwrap().message.text, "150");
    }

    #[test]
    fn it_survives_a_power_cut_and_a_damaged_file() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join(DIR.trim_start_matches('/'))).unwrap();
        let host = Local::new(root.path().to_str().unwrap()).unwrap();
        let sinks = ["a".to_owned(), "b".to_owned()];
        let mut queue = Queue::default();
        queue.add(&sinks, &message(1));
        queue.write(&host).unwrap();
        assert_eq!(Queue::read(&host, &sinks).len(), 2);
        assert_eq!(Queue::read(&host, &sinks[..1]).len(), 1, "b is not configured any more");
        std::fs::write(root.path().join("var/lib/pitool-monitor/queue.json"), "[{\"sink\":").unwrap();
        assert!(Queue::read(&host, &sinks).is_empty());
        assert!(host.read(&format!("{DIR}/queue.damaged.json")).unwrap().is_some());
    }

    #[test]
    fn one_digest_for_all_that_waited() {
        let mut queue = Queue::default();
        for number in 0..3 {
            queue.add(&["a".into(), "b".into()], &message(number));
        }
        queue.digest(
            &["a".into(), "b".into()],
            "pi",
            "power was lost",
            Timestamp::UNIX_EPOCH,
            &TimeZone::UTC,
        );
        assert_eq!(queue.len(), 2);
        let first = queue.next(seconds(0)).unwrap();
        assert!(
            first.message.title.contains("3 alerts waited")
                && first.message.text.starts_with("power was lost\n")
        );
    }
}
