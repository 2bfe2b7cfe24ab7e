//! Names of sets and archives.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The name of a set: lower-case letters, digits, `-` and `_`, beginning with a letter or digit; at most 64 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SetName(String);

impl SetName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SetName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let valid = text.len() <= 64
            && text.bytes().next().is_some_and(plain)
            && text.bytes().all(|byte| plain(byte) || byte == b'-' || byte == b'_');
        if valid {
            return Ok(Self(text.to_owned()));
        }
        let expected = "a set's name: lower-case letters, digits, - and _, beginning with a letter or digit";
        Err(Error::Name { name: text.to_owned(), expected })
    }
}

impl TryFrom<String> for SetName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<SetName> for String {
    fn from(name: SetName) -> Self {
        name.0
    }
}

impl fmt::Display for SetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of one archive: `SET-20261121T020000Z-000017`.
///
/// It is ordered by set, then by sequence number, then by time: the clock of a machine without a battery is wrong
/// after a power cut, and the number is not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ArchiveName {
    set: SetName,
    sequence: u32,
    time: Timestamp,
}

/// The files that belong to one archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The data: `.tar.zst`, or `.tar.zst.age`.
    Archive {
        /// Whether it is encrypted.
        encrypted: bool,
    },
    /// The manifest beside it: `.manifest.zst`, or `.manifest.zst.age`. An archive without it does not exist.
    Manifest {
        /// Whether it is encrypted.
        encrypted: bool,
    },
}

const TIME: &str = "%Y%m%dT%H%M%SZ";

impl ArchiveName {
    /// What a file has behind its name until it is whole and on the disk.
    pub const PARTIAL: &'static str = ".partial";

    /// Names an archive of a set; the time is cut to whole seconds.
    pub fn new(set: SetName, time: Timestamp, sequence: u32) -> Self {
        let time = Timestamp::from_second(time.as_second()).unwrap_or(time);
        Self { set, sequence, time }
    }

    /// The set that it was made of.
    pub fn set(&self) -> &SetName {
        &self.set
    }

    /// When it was begun, by the clock of the machine that made it.
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// Its number in the set; later archives have higher ones.
    pub fn sequence(&self) -> u32 {
        self.sequence
    }

    /// The name of one of its files.
    pub fn file(&self, part: Part) -> String {
        format!("{self}{}", part.suffix())
    }

    /// Reads the name of a file; `None` when it is none of an archive's. A `.partial` file is none.
    pub fn of_file(file: &str) -> Option<(Self, Part)> {
        Part::ALL.iter().find_map(|part| Some((file.strip_suffix(part.suffix())?.parse().ok()?, *part)))
    }
}

impl Part {
    const ALL: [Self; 4] = [
        Self::Archive { encrypted: false },
        Self::Archive { encrypted: true },
        Self::Manifest { encrypted: false },
        Self::Manifest { encrypted: true },
    ];

    fn suffix(self) -> &'static str {
        match self {
            Self::Archive { encrypted: false } => ".tar.zst",
            Self::Archive { encrypted: true } => ".tar.zst.age",
            Self::Manifest { encrypted: false } => ".manifest.zst",
            Self::Manifest { encrypted: true } => ".manifest.zst.age",
        }
    }
}

impl fmt::Display for ArchiveName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.time.to_zoned(TimeZone::UTC).strftime(TIME);
        write!(f, "{}-{time}-{:06}", self.set, self.sequence)
    }
}

impl FromStr for ArchiveName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = || {
            let (rest, sequence) = text.rsplit_once('-')?;
            let (set, time) = rest.rsplit_once('-')?;
            if sequence.len() < 6 || !sequence.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            let time = jiff::civil::DateTime::strptime(TIME, time).ok()?.to_zoned(TimeZone::UTC).ok()?;
            let name = Self::new(set.parse().ok()?, time.timestamp(), sequence.parse().ok()?);
            // One name, one spelling: what is written differently is somebody else's file.
            (name.to_string() == text).then_some(name)
        };
        parsed().ok_or_else(|| Error::Name {
            name: text.to_owned(),
            expected: "an archive's name, such as grist-20261121T020000Z-000017",
        })
    }
}

impl TryFrom<String> for ArchiveName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<ArchiveName> for String {
    fn from(name: ArchiveName) -> Self {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ArchiveName {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_is_read_as_it_is_written() {
        let text = "grist-docs_2-20261121T020007Z-000017";
        let archive = name(text);
        assert_eq!(archive.to_string(), text);
        assert_eq!((archive.set().as_str(), archive.sequence()), ("grist-docs_2", 17));
        assert_eq!(archive.time(), "2026-11-21T02:00:07Z".parse().unwrap());
        assert_eq!(name("a-20261121T020007Z-1000000").sequence(), 1_000_000);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "",
            "grist",
            "grist-20261121T020007Z",
            "grist-20261121T020007Z-17",
            "grist-20261121T020007Z-0000017",
            "grist-20261121T020007Z-+00017",
            "grist-20261321T020007Z-000017",
            "Grist-20261121T020007Z-000017",
            "../x-20261121T020007Z-000017",
            "-20261121T020007Z-000017",
        ] {
            assert!(text.parse::<ArchiveName>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_number_decides_the_order_and_not_the_clock() {
        let mut names = [name("a-20200101T000000Z-000003"), name("a-20261121T020007Z-000002")];
        names.sort();
        assert_eq!(names[1].sequence(), 3);
    }

    #[test]
    fn files_tell_their_archive_and_part() {
        let archive = name("grist-20261121T020007Z-000017");
        for part in Part::ALL {
            assert_eq!(ArchiveName::of_file(&archive.file(part)), Some((archive.clone(), part)));
        }
        assert_eq!(ArchiveName::of_file("grist-20261121T020007Z-000017.tar.zst.partial"), None);
        assert_eq!(ArchiveName::of_file("notes.tar.zst"), None);
    }
}
