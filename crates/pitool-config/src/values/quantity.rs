//! Durations, sizes and times of day.

use std::fmt;
use std::str::FromStr;

use super::{Invalid, serde_text};

/// A length of time of whole seconds, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(u64);

serde_text!(Duration, "a duration", "duration", "10m");

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;

impl Duration {
    /// A duration of this many seconds; zero counts as one.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(if seconds == 0 { 1 } else { seconds })
    }

    /// A duration of this many minutes.
    pub const fn from_mins(minutes: u64) -> Self {
        Self::from_secs(minutes.saturating_mul(MINUTE))
    }

    /// A duration of this many hours.
    pub const fn from_hours(hours: u64) -> Self {
        Self::from_secs(hours.saturating_mul(HOUR))
    }

    /// A duration of this many days of 24 hours.
    pub const fn from_days(days: u64) -> Self {
        Self::from_secs(days.saturating_mul(DAY))
    }

    /// Its length in seconds.
    pub const fn as_secs(self) -> u64 {
        self.0
    }
}

impl From<Duration> for std::time::Duration {
    fn from(duration: Duration) -> Self {
        Self::from_secs(duration.0)
    }
}

/// Splits `1h30m` into numbers and units.
fn amounts(text: &str) -> Option<Vec<(u64, &str)>> {
    let mut rest = text;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
        found.push((number, &rest[..letters]));
        rest = rest[letters..].trim_start();
    }
    Some(found)
}

impl FromStr for Duration {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let form = "a number with s, m, h, d or w, such as \"10m\", \"1h30m\" or \"30d\"";
        let bad = || Invalid::new(format!("{text:?} is not a duration"));
        let amounts =
            amounts(text.trim()).filter(|found| !found.is_empty()).ok_or_else(|| bad().hint(form))?;
        let mut total: u64 = 0;
        let mut last = u64::MAX;
        for (number, unit) in amounts {
            let scale = match unit {
                "s" => 1,
                "m" => MINUTE,
                "h" => HOUR,
                "d" => DAY,
                "w" => WEEK,
                "" => return Err(bad().hint(format!("add the unit: \"{number}s\" or \"{number}m\""))),
                unit => {
                    return Err(Invalid::new(format!("`{unit}` is not a unit of time"))
                        .hint("s, m, h, d or w; a month is \"30d\""));
                }
            };
            if scale >= last {
                return Err(bad().hint("the larger unit first, each once, such as \"1h30m\""));
            }
            last = scale;
            total = number
                .checked_mul(scale)
                .and_then(|part| total.checked_add(part))
                .filter(|total| *total <= 100 * 365 * DAY)
                .ok_or_else(|| Invalid::new("this duration is longer than a century"))?;
        }
        if total == 0 {
            return Err(Invalid::new("a duration must be longer than zero"));
        }
        Ok(Self(total))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 % WEEK == 0 {
            return write!(f, "{}w", self.0 / WEEK);
        }
        if self.0 % DAY == 0 {
            return write!(f, "{}d", self.0 / DAY);
        }
        let parts = [(self.0 / HOUR, "h"), (self.0 % HOUR / MINUTE, "m"), (self.0 % MINUTE, "s")];
        parts
            .iter()
            .filter(|(number, _)| *number > 0)
            .try_for_each(|(number, unit)| write!(f, "{number}{unit}"))
    }
}

/// A number of bytes, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(u64);

serde_text!(Size, "a size", "size", "200MiB");

const UNITS: [(&str, u32); 5] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];

impl Size {
    /// A size of this many bytes; zero counts as one.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(if bytes == 0 { 1 } else { bytes })
    }

    /// A size of this many mebibytes (1024 × 1024 bytes).
    pub const fn from_mib(mebibytes: u64) -> Self {
        Self::from_bytes(mebibytes.saturating_mul(1 << 20))
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Size {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        let bad = || Invalid::new(format!("{text:?} is not a size"));
        let form = "a whole number with B, KiB, MiB, GiB or TiB, such as \"200MiB\"";
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let number: u64 = text[..digits].parse().map_err(|_| bad().hint(form))?;
        let shift = match text[digits..].trim_start() {
            "B" => 0,
            "KiB" | "K" | "k" => 10,
            "MiB" | "M" | "m" => 20,
            "GiB" | "G" | "g" => 30,
            "TiB" | "T" => 40,
            "" => return Err(bad().hint(format!("add the unit: \"{number}MiB\" or \"{number}B\""))),
            unit => {
                let wanted = unit.get(..1).and_then(|first| {
                    UNITS
                        .iter()
                        .find(|(name, _)| name[..1].eq_ignore_ascii_case(first))
                        .map(|(name, _)| *name)
                });
                let error = Invalid::new(format!("`{unit}` is not a unit of size"));
                return Err(match wanted {
                    Some(name) => error.hint(format!("write \"{number}{name}\"")),
                    None => error.hint(form),
                });
            }
        };
        match number.checked_mul(1 << shift) {
            Some(0) => Err(Invalid::new("a size must be more than zero")),
            Some(bytes) if bytes <= 1 << 60 => Ok(Self(bytes)),
            _ => Err(Invalid::new("this size is too large")),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = UNITS.iter().find(|(_, shift)| self.0 % (1 << shift) == 0);
        let (unit, shift) = exact.copied().unwrap_or(("B", 0));
        write!(f, "{}{unit}", self.0 >> shift)
    }
}

/// A time of day in the machine's time zone, to the minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeOfDay {
    hour: u8,
    minute: u8,
}

serde_text!(TimeOfDay, "a time of day in quotes,", "time of day", "04:00");

impl TimeOfDay {
    /// The hour, from 0 to 23.
    pub const fn hour(self) -> u8 {
        self.hour
    }

    /// The minute, from 0 to 59.
    pub const fn minute(self) -> u8 {
        self.minute
    }
}

impl FromStr for TimeOfDay {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let bad = || Invalid::new(format!("{text:?} is not a time of day")).hint("HH:MM, such as \"04:00\"");
        let (hour, minute) = text.split_once(':').ok_or_else(bad)?;
        let digits = |part: &str, most: u8| {
            let plain = matches!(part.len(), 1 | 2) && part.bytes().all(|b| b.is_ascii_digit());
            part.parse::<u8>().ok().filter(|number| plain && *number <= most)
        };
        match (digits(hour, 23), digits(minute, 59), minute.len()) {
            (Some(hour), Some(minute), 2) => Ok(Self { hour, minute }),
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.hour, self.minute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print_the_same_length() {
        for (text, seconds, printed) in [
            ("10m", 600, "10m"),
            ("1h30m", 5400, "1h30m"),
            ("30d", 30 * DAY, "30d"),
            ("1w", WEEK, "1w"),
            ("7d", WEEK, "1w"),
            ("90s", 90, "1m30s"),
            ("1d 12h", 36 * HOUR, "36h"),
        ] {
            let read: Duration = text.parse().unwrap();
            assert_eq!((read.as_secs(), read.to_string().as_str()), (seconds, printed));
            assert_eq!(printed.parse::<Duration>().unwrap(), read);
        }
        for bad in
            ["", "10", "m", "10 x", "1m1h", "1m2m", "0s", "-1s", "1.5h", "99999999999999999999s", "9999999w"]
        {
            assert!(bad.parse::<Duration>().is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_binary() {
        for (text, bytes, printed) in [
            ("2GiB", 2 << 30, "2GiB"),
            ("2G", 2 << 30, "2GiB"),
            ("10m", 10 << 20, "10MiB"),
            ("1536 MiB", 1536 << 20, "1536MiB"),
            ("1000B", 1000, "1000B"),
        ] {
            let read: Size = text.parse().unwrap();
            assert_eq!((read.bytes(), read.to_string().as_str()), (bytes, printed));
            assert_eq!(printed.parse::<Size>().unwrap(), read);
        }
        for bad in ["", "10", "GiB", "1.5GiB", "2GB", "0B", "99999999TiB", "-1B", "2ß"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
        assert_eq!("2GB".parse::<Size>().unwrap_err().hint.unwrap(), "write \"2GiB\"");
    }

    #[test]
    fn times_of_day_are_on_the_clock() {
        assert_eq!("4:05".parse::<TimeOfDay>().unwrap().to_string(), "04:05");
        for bad in ["", "4", "24:00", "04:60", "04:5", "+4:00", "04:00:00", "004:00"] {
            assert!(bad.parse::<TimeOfDay>().is_err(), "{bad}");
        }
    }
}
