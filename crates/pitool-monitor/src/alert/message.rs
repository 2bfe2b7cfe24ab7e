//! What is told, in words.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::checks::age;
use crate::finding::{Finding, Level};

/// Why somebody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Something is not well, or worse than it was.
    Problem,
    /// It still is not.
    Again,
    /// It is well again.
    Clear,
    /// The machine is back, with what there was to tell meanwhile.
    Digest,
    /// Somebody wants to know whether telling works.
    Test,
}

/// One thing that is told. It carries the time at which it happened, however late it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Why.
    pub what: What,
    /// The machine.
    pub host: String,
    /// The finding's id, or a word.
    pub id: String,
    /// How bad.
    pub level: Level,
    /// One line.
    pub title: String,
    /// The value and what to do.
    pub text: String,
    /// The value alone.
    #[serde(default)]
    pub value: String,
    /// What to do, alone.
    #[serde(default)]
    pub hint: String,
    /// When it was found.
    pub time: Timestamp,
    /// Since when it is so.
    pub since: Timestamp,
}

impl Message {
    /// Puts a finding into words.
    pub fn of(what: What, finding: &Finding, host: &str, now: Timestamp, since: Timestamp) -> Self {
        let name = match finding.subject.as_str() {
            "" => finding.check.clone(),
            subject => format!("{} {subject}", finding.check),
        };
        let lasted = age(now.as_second() - since.as_second());
        let word = finding.level.word();
        let title = match what {
            What::Clear => format!("{host}: {name} is well again"),
            What::Again => format!("{host}: {name} still {word}, for {lasted}"),
            _ => format!("{host}: {name} {word}"),
        };
        let mut text = finding.value.clone();
        if what == What::Clear {
            text = format!("{text}\nIt lasted {lasted}.");
        } else if !finding.hint.is_empty() {
            text = format!("{text}\n{}", finding.hint);
        }
        Self {
            what,
            host: host.to_owned(),
            id: finding.id(),
            level: if what == What::Clear { Level::Ok } else { finding.level },
            title,
            text,
            value: finding.value.clone(),
            hint: finding.hint.clone(),
            time: now,
            since,
        }
    }

    /// A message that shows that telling works.
    pub fn test(host: &str, now: Timestamp) -> Self {
        Self {
            what: What::Test,
            host: host.to_owned(),
            id: "test".to_owned(),
            level: Level::Ok,
            title: format!("{host}: a test"),
            text: "If you read this, alerts of this machine reach you.".to_owned(),
            value: String::new(),
            hint: String::new(),
            time: now,
            since: now,
        }
    }

    /// One message for all that waited while the machine was off or the network gone.
    pub fn digest(host: &str, why: &str, waited: &[Self], now: Timestamp, zone: &TimeZone) -> Self {
        let count = match waited.len() {
            0 => String::new(),
            1 => ", 1 alert waited".to_owned(),
            count => format!(", {count} alerts waited"),
        };
        let lines: Vec<String> = waited.iter().map(|message| message.line(zone)).collect();
        let level = waited.iter().map(|message| message.level).max().unwrap_or(Level::Warn);
        Self {
            what: What::Digest,
            host: host.to_owned(),
            id: "digest".to_owned(),
            level,
            title: format!("{host} is back{count}"),
            text: std::iter::once(why.to_owned())
                .chain(lines)
                .filter(|line| !line.is_empty())
                .collect::<Vec<_>>()
                .join("\n"),
            value: String::new(),
            hint: String::new(),
            time: now,
            since: waited.iter().map(|message| message.time).min().unwrap_or(now),
        }
    }

    /// The message as one line with its time.
    fn line(&self, zone: &TimeZone) -> String {
        let title = self.title.strip_prefix(&format!("{}: ", self.host)).unwrap_or(&self.title);
        let first = self.text.lines().next().unwrap_or_default();
        let colon = if first.is_empty() { "" } else { ": " };
        format!("{} {title}{colon}{first}", clock(self.time, zone))
    }

    /// The text, with its time where it is sent late.
    pub fn body(&self, now: Timestamp, zone: &TimeZone) -> String {
        let late = now.as_second() - self.time.as_second();
        // Sending takes a moment; two minutes are more than that.
        if late < 120 || self.what == What::Digest {
            return self.text.clone();
        }
        format!(
            "{}\nThat was at {}; it could not be sent for {}.",
            self.text,
            clock(self.time, zone),
            age(late)
        )
    }
}

/// `2026-11-21 03:37`.
pub(crate) fn clock(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_late_says_when_it_was() {
        let then: Timestamp = "2026-11-21T02:14:00Z".parse().unwrap();
        let now: Timestamp = "2026-11-21T05:14:00Z".parse().unwrap();
        let finding = Finding::new("service", Level::Fail, "stopped").of("nginx").hint("start it");
        let message = Message::of(What::Problem, &finding, "pi", then, then);
        assert_eq!(message.title, "pi: service nginx fail");
        assert_eq!(message.body(then, &TimeZone::UTC), "stopped\nstart it");
        assert!(
            message
                .body(now, &TimeZone::UTC)
                .ends_with("That was at 2026-11-21 02:14; it could not be sent for 3 h.")
        );
        let digest = Message::digest("pi", "power was lost", &[message], now, &TimeZone::UTC);
        assert_eq!(digest.title, "pi is back, 1 alert waited");
        assert_eq!(digest.text, "power was lost\n2026-11-21 02:14 service nginx fail: stopped");
        assert_eq!(digest.level, Level::Fail);
    }
}
