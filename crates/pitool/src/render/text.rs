//! Words, lines and times.

use std::borrow::Cow;
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

    /// Whether there are colours.
    pub fn is_on(self) -> bool {
        self.on
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

/// The sequences of [`Paint`] and of clap's help, which set a colour or a weight and nothing else (ECMA-48, SGR).
const STYLES: [&str; 7] =
    ["\u{1b}[0m", "\u{1b}[1m", "\u{1b}[2m", "\u{1b}[4m", "\u{1b}[31m", "\u{1b}[32m", "\u{1b}[33m"];

/// Whether a terminal obeys a character, or shows what follows in another order than it is written.
fn is_obeyed(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        // Line and paragraph separators, marks and overrides of direction (Unicode UAX #9).
        '\u{2028}' | '\u{2029}' | '\u{61c}' | '\u{200e}' | '\u{200f}' => true,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        c => c.is_control(),
    }
}

/// Replaces characters that a terminal obeys by their code, `\u{1b}`: a file's name, an archive or a YAML file may hold
/// any. Line breaks and tabs stay, and with `styles` the sequences of [`Paint`].
pub fn visible(text: &str, styles: bool) -> Cow<'_, str> {
    replaced(text, styles, |c| c.escape_unicode().to_string())
}

/// The same within JSON, as JSON writes a code: `\u009b`. serde_json escapes what is below U+0020 itself.
pub(super) fn visible_json(text: &str) -> Cow<'_, str> {
    replaced(text, false, |c| format!("\\u{:04x}", u32::from(c)))
}

fn replaced(text: &str, styles: bool, code: impl Fn(char) -> String) -> Cow<'_, str> {
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(at) = rest.find(is_obeyed) {
        shown.push_str(&rest[..at]);
        rest = &rest[at..];
        let style = STYLES.iter().find(|style| styles && rest.starts_with(**style));
        let length = match (style, rest.chars().next()) {
            (Some(style), _) => {
                shown.push_str(style);
                style.len()
            }
            (None, Some(c)) => {
                shown.push_str(&code(c));
                c.len_utf8()
            }
            (None, None) => break,
        };
        rest = &rest[length..];
    }
    shown.push_str(rest);
    Cow::Owned(shown)
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

/// A number of bytes in as few digits as make sense: `17 B`, `1.2 MiB`, `340 GiB`.
pub fn bytes(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let power = bytes.checked_ilog2().map_or(0, |log| log / 10).min(4);
    let unit = units[usize::try_from(power).unwrap_or(0)];
    let scale = 1_u64 << (10 * power);
    match bytes / scale {
        whole @ 0..=9 if power > 0 => format!("{whole}.{} {unit}", bytes % scale * 10 / scale),
        whole => format!("{whole} {unit}"),
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

    /// The zone of the clock.
    pub fn zone(&self) -> &TimeZone {
        &self.0
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
    fn what_a_terminal_obeys_is_shown() {
        assert_eq!(visible("plain\ttext\nü €", false), "plain\ttext\nü €");
        let hostile = "a\u{1b}]0;owned\u{7}\r\u{9b}31m\u{7f}\u{202e}b\u{1b}";
        let shown = r"a\u{1b}]0;owned\u{7}\u{d}\u{9b}31m\u{7f}\u{202e}b\u{1b}";
        assert_eq!(visible(hostile, false), shown);
        assert_eq!(visible(hostile, true), shown, "only whole sequences of ours are styles");
        for painted in ["heading", "good", "notable", "bad", "faint"] {
            let paint = Paint::new(true);
            let text = match painted {
                "heading" => paint.heading("x"),
                "good" => paint.good("x"),
                "notable" => paint.notable("x"),
                "bad" => paint.bad("x"),
                _ => paint.faint("x"),
            };
            assert_eq!(visible(&text, true), text, "{painted}");
            assert!(!visible(&text, false).contains('\u{1b}'), "{painted}");
        }
        assert!(!visible("\u{1b}[8mhidden\u{1b}[2Jgone", true).contains('\u{1b}'));
        let json = serde_json::json!({ "name": hostile }).to_string();
        let shown = visible_json(&json);
        assert!(!shown.contains(is_obeyed), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap()["name"], hostile);
    }

    #[test]
    fn numbers_and_nouns() {
        assert_eq!(count(1, "change"), "1 change");
        assert_eq!(count(0, "directory"), "0 directories");
        assert_eq!(count(2, "day"), "2 days");
        assert_eq!(list(&["a", "b", "c"], 2), "a, b and 1 more");
        assert_eq!(list(&["a", "b"], 2), "a, b");
    }

    #[test]
    fn sizes() {
        for (number, text) in
            [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1 << 20, "1.0 MiB"), (1_234_567, "1.1 MiB")]
        {
            assert_eq!(bytes(number), text);
        }
        assert_eq!(bytes(u64::MAX), "16777215 TiB");
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
