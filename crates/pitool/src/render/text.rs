//! Words, lines and times.

use std::time::Duration;

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Colours, or none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// Colours if `on`.
    pub fn new(on: bool) -> Self {
        Self { on }
    }

    fn with(self, style: Style, text: &str) -> String {
        if self.on { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// A heading.
    pub fn heading(self, text: &str) -> String {
        self.with(Style::new().bold(), text)
    }

    /// Something new, or good.
    pub fn good(self, text: &str) -> String {
        self.with(AnsiColor::Green.on_default(), text)
    }

    /// Something that changes, or deserves a look.
    pub fn notable(self, text: &str) -> String {
        self.with(AnsiColor::Yellow.on_default(), text)
    }

    /// Something that goes, or failed.
    pub fn bad(self, text: &str) -> String {
        self.with(AnsiColor::Red.on_default(), text)
    }

    /// Something of less importance.
    pub fn faint(self, text: &str) -> String {
        self.with(Style::new().dimmed(), text)
    }
}

/// `1 change`, `2 changes`.
pub fn count(number: usize, noun: &str) -> String {
    let plural = match noun.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o']) => format!("{stem}ies"),
        _ => format!("{noun}s"),
    };
    if number == 1 { format!("1 {noun}") } else { format!("{number} {plural}") }
}

/// The first few of many: `a, b and 7 more`.
pub fn list<T: std::fmt::Display>(items: &[T], most: usize) -> String {
    let shown: Vec<String> = items.iter().take(most).map(T::to_string).collect();
    match items.len().saturating_sub(most) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Breaks a text into lines of at most `width` characters; lines after the first are indented. A word that is too
/// long for a line stays whole, so that it can be copied; so do short commands in backticks, and times.
pub fn wrap(text: &str, width: usize, first: usize, indent: usize) -> String {
    let mut lines = String::new();
    let text = glued(text);
    for (number, paragraph) in text.lines().enumerate() {
        let mut used = if number == 0 { first } else { indent };
        if number > 0 {
            lines.push('\n');
            lines.push_str(&" ".repeat(indent));
        }
        let mut begun = false;
        for word in paragraph.split(' ').filter(|word| !word.is_empty()) {
            let length = word.chars().count();
            if begun && used + 1 + length > width {
                lines.push('\n');
                lines.push_str(&" ".repeat(indent));
                used = indent;
            } else if begun {
                lines.push(' ');
                used += 1;
            }
            lines.push_str(word);
            used += length;
            begun = true;
        }
    }
    lines.replace(GLUE, " ")
}

/// A space at which no line breaks.
const GLUE: char = '\u{a0}';

/// The most characters between two backticks that stay on one line.
const COMMAND: usize = 40;

/// Keeps lines from breaking within short commands.
fn glued(text: &str) -> String {
    let mut parts: Vec<String> = text.split('`').map(str::to_owned).collect();
    let closed = parts.len() - 1;
    // Every other part is between two backticks; one that is never closed is no command.
    for part in parts.iter_mut().take(closed).skip(1).step_by(2) {
        if part.chars().count() <= COMMAND {
            *part = part.replace(' ', &GLUE.to_string());
        }
    }
    parts.join("`")
}

/// A duration in as few words as make sense: `0.4 s`, `52 s`, `3 min 12 s`, `2 h 5 min`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..=9 => format!("{:.1} s", duration.as_secs_f64()),
        10..=59 => format!("{seconds} s"),
        60..=3599 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Times as the machine's own clock shows them.
#[derive(Clone, Debug)]
pub struct Clock(TimeZone);

impl Clock {
    /// A clock in the zone that /etc/localtime holds; UTC without one.
    pub fn new(localtime: Option<&[u8]>) -> Self {
        let zone = localtime.and_then(|bytes| TimeZone::tzif("local", bytes).ok());
        Self(zone.unwrap_or(TimeZone::UTC))
    }

    /// The zone.
    pub fn zone(&self) -> TimeZone {
        self.0.clone()
    }

    /// The same for the middle of a sentence, where no line may break in it.
    pub fn tell(&self, time: &str) -> String {
        self.show(time).replace(' ', &GLUE.to_string())
    }

    /// `2026-11-21 03:37`; a text that is no time stays as it is.
    pub fn show(&self, time: &str) -> String {
        match time.parse::<Timestamp>() {
            Ok(time) => time.to_zoned(self.0.clone()).strftime("%Y-%m-%d %H:%M").to_string(),
            Err(_) => time.to_owned(),
        }
    }
}

/// How long it took from one RFC 3339 time to another, where the clock did not go back.
pub(super) fn between(from: &str, to: &str) -> Option<Duration> {
    let (from, to) = (from.parse::<Timestamp>().ok()?, to.parse::<Timestamp>().ok()?);
    Duration::try_from(to.duration_since(from)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_nouns() {
        assert_eq!(count(1, "change"), "1 change");
        assert_eq!(count(0, "directory"), "0 directories");
        assert_eq!(count(2, "day"), "2 days");
        assert_eq!(list(&["a", "b", "c"], 2), "a, b and 1 more");
        assert_eq!(list(&["a", "b"], 2), "a, b");
    }

    #[test]
    fn lines_break_between_words_only() {
        assert_eq!(wrap("one two three", 9, 2, 4), "one two\n    three");
        assert_eq!(wrap("/a/path/that/is/too/long x", 8, 0, 2), "/a/path/that/is/too/long\n  x");
        assert_eq!(wrap("one\ntwo", 80, 0, 2), "one\n  two");
        assert_eq!(wrap("", 80, 0, 2), "");
        assert_eq!(wrap("then `a b c` it", 8, 0, 0), "then\n`a b c`\nit");
        assert_eq!(wrap("a `b c", 4, 0, 0), "a `b\nc");
    }

    #[test]
    fn short_times() {
        assert_eq!(duration(Duration::from_millis(420)), "0.4 s");
        assert_eq!(duration(Duration::from_secs(52)), "52 s");
        assert_eq!(duration(Duration::from_secs(192)), "3 min 12 s");
        assert_eq!(duration(Duration::from_secs(7500)), "2 h 5 min");
        assert_eq!(Clock::new(None).show("2026-11-21T03:37:22.5Z"), "2026-11-21 03:37");
        assert_eq!(Clock::new(Some(b"nonsense")).show("yesterday"), "yesterday");
        assert_eq!(between("2026-11-21T03:37:22Z", "2026-11-21T03:38:22Z"), Some(Duration::from_secs(60)));
        assert_eq!(between("2026-11-21T03:37:22Z", "2026-11-21T03:36:22Z"), None);
    }
}
