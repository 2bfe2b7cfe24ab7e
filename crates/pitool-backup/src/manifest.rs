//! What an archive holds: JSON lines, the last entry of the archive and a file beside it.
//!
//! The first line is a [`Header`], then one [`Entry`] for each tar entry in its order, then [`Database`]s and
//! [`Note`]s, then an [`End`]. The file beside the archive has one line more, the [`Seal`]. Lines are read and
//! written one at a time: a manifest of any length costs the memory of its longest line.

use std::fmt;

use jiff::Timestamp;
use pitool_host::Digest;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{ArchiveName, SetName, StoredPath, path};

/// The path of the manifest inside the archive.
pub const PATH: &str = ".pitool-manifest.jsonl";

/// One line of a manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// The first line.
    Manifest(Header),
    /// A thing that was saved.
    Entry(Entry),
    /// A database that was saved, with what its copy answered.
    Database(Database),
    /// Something that a person should know.
    Note(Note),
    /// The last line of the manifest in the archive.
    End(End),
    /// The last line of the manifest beside the archive.
    Seal(Seal),
}

/// The beginning of a manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// The format of the manifest, [`Header::FORMAT`].
    pub format: u32,
    /// The program that made it: "pitool 0.1.0".
    pub tool: String,
    /// The archive's name.
    pub name: ArchiveName,
    /// The set.
    pub set: SetName,
    /// The machine's name.
    pub host: String,
    /// When the run began.
    pub started: Timestamp,
    /// The paths of the set, as they are stored.
    pub roots: Vec<StoredPath>,
    /// What the set leaves out: that the archive does not have it says nothing about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Whether the archive is encrypted.
    pub encrypted: bool,
    /// The archive that unchanged frames were copied from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<ArchiveName>,
    /// When everything was last read and hashed, whether it looked unchanged or not.
    pub last_full_read: Timestamp,
}

impl Header {
    /// The format that this program writes and the newest that it reads.
    pub const FORMAT: u32 = 1;
}

/// One thing that was saved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Where it is.
    pub path: StoredPath,
    /// What it is.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// The owner's name where it has one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// The group's name where it has one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// When its content last changed.
    pub mtime: Time,
    /// When its inode last changed: with size, mtime and inode what "unchanged" is judged by.
    pub ctime: Time,
    /// Its inode.
    pub inode: u64,
    /// Extended attributes, ACLs and capabilities among them, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub xattrs: Vec<Xattr>,
    /// Where its first tar header begins in the uncompressed archive, in bytes.
    pub offset: u64,
    /// How many bytes of the uncompressed archive are its: headers, data, padding.
    pub length: u64,
    /// It changed while it was read, or too shortly before: it is read again next time, whatever its times say.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unsettled: bool,
}

/// What a thing is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File(File),
    /// A symbolic link, with its target as it is written.
    Symlink(
        #[serde(serialize_with = "path::serialize_bytes", deserialize_with = "path::deserialize_bytes")]
        Vec<u8>,
    ),
    /// Another name of a file saved earlier in this archive.
    HardLink(StoredPath),
    /// A named pipe.
    Fifo,
    /// A character device, major and minor.
    CharDevice(u32, u32),
    /// A block device, major and minor.
    BlockDevice(u32, u32),
}

/// A regular file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct File {
    /// Its length in bytes, holes included.
    pub size: u64,
    /// The digest of its content; of the data between its holes where it has any.
    pub blake3: Digest,
    /// Where its data is, as (offset, length), when it has holes; the last one may be empty and ends the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extents: Option<Vec<(u64, u64)>>,
    /// The chaining values of its data in pieces of 4 MiB, where it has frames of its own: equal means unchanged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pieces: Vec<Digest>,
    /// It is a database, and this is what its write-ahead log looked like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Wal>,
}

impl File {
    /// A file without holes.
    pub(crate) fn plain(size: u64, blake3: Digest) -> Self {
        Self { size, blake3, extents: None, pieces: Vec::new(), database: None }
    }

    /// How many bytes of it are in the archive: its length without holes.
    pub fn stored(&self) -> u64 {
        let sum = |extents: &Vec<(u64, u64)>| {
            // A forged manifest may say anything: a sum that does not fit is longer than any file.
            extents.iter().fold(0, |sum: u64, (_, length)| sum.saturating_add(*length))
        };
        self.extents.as_ref().map_or(self.size, sum)
    }
}

/// What the write-ahead log beside a database looked like before it was copied.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Wal {
    /// Its length; 0 when there was none.
    pub wal_size: u64,
    /// When it last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wal_mtime: Option<Time>,
    /// The length of the database itself as it lay on the disk.
    pub size: u64,
}

/// An extended attribute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Xattr {
    /// Its name with its namespace: `user.comment`, `security.capability`.
    pub name: String,
    /// Its value.
    #[serde(serialize_with = "path::serialize_bytes", deserialize_with = "path::deserialize_bytes")]
    pub value: Vec<u8>,
}

/// How a database was copied and what its copy answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Database {
    /// Where it is.
    pub path: StoredPath,
    /// How it was copied.
    pub method: CopyMethod,
    /// "ok", or the first lines that `PRAGMA quick_check` answered on the copy.
    pub check: String,
}

/// How a database was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CopyMethod {
    /// In steps inside a read transaction: the database has a write-ahead log, and writers went on.
    ReadTransaction,
    /// In one step: the database has a rollback journal, and writers waited.
    OneStep,
    /// It has not changed: the copy in the archive before was taken over.
    Unchanged,
}

/// Something that a person should know about a path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// Which path.
    #[serde(serialize_with = "path::serialize_bytes", deserialize_with = "path::deserialize_bytes")]
    pub path: Vec<u8>,
    /// What happened to it.
    pub what: What,
    /// What the system or SQLite said, where it said something.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// What happened to a path while it was saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// It changed while it was read; what is saved is a mixture of before and after.
    Changed,
    /// It was gone when its turn came.
    Vanished,
    /// A socket: belongs to a running program and cannot be saved.
    Socket,
    /// The archive itself, or the directory that it is written to.
    OwnOutput,
    /// Another file system begins here, and the set stays on its own.
    OtherFileSystem,
    /// Its content changed and its times did not: somebody set them back, or the disk does not keep what it is given.
    ChangedSilently,
    /// A frame of the archive before is not as it was written; it was read anew from the files.
    PreviousDamaged,
    /// A path or database of the set is not there.
    Missing,
    /// A path of the set is a symbolic link: only the link was saved.
    RootIsLink,
    /// It could not be read, whole or in part.
    Unreadable,
    /// A database could not be copied as one; its file was saved as it lay there, which may be in the middle of a write.
    NotCopied,
    /// A file that the set calls a database is none; it was saved as it is.
    NoDatabase,
    /// A database is corrupt; it was saved as it is.
    Corrupt,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = String::from_utf8_lossy(&self.path);
        let what = match self.what {
            What::Changed => "changed while it was read",
            What::Vanished => "was gone when its turn came",
            What::Socket => "is a socket, which cannot be saved",
            What::OwnOutput => "is where archives are written",
            What::OtherFileSystem => "is another file system",
            What::ChangedSilently => "changed, and its times did not",
            What::PreviousDamaged => "is damaged in the archive before, and was read anew",
            What::Missing => "is not there",
            What::RootIsLink => {
                "is a symbolic link: only the link was saved; name the directory that it points to"
            }
            What::Unreadable => "cannot be read",
            What::NotCopied => "could not be copied as a database; its file was saved as it lay there",
            What::NoDatabase => "looks like a database and is none; it was saved as it is",
            What::Corrupt => "is a corrupt database; it was saved as it is",
        };
        let root = if path.starts_with('/') { "" } else { "/" };
        write!(f, "{root}{path} {what}")?;
        match self.detail.trim() {
            "" => Ok(()),
            detail => write!(f, ": {detail}"),
        }
    }
}

impl What {
    /// Whether the archive holds less than the set asks for: then the run has failed, though the archive is kept.
    pub fn is_problem(self) -> bool {
        match self {
            Self::Changed
            | Self::Vanished
            | Self::Socket
            | Self::OwnOutput
            | Self::OtherFileSystem
            | Self::ChangedSilently
            | Self::PreviousDamaged => false,
            Self::Missing
            | Self::RootIsLink
            | Self::Unreadable
            | Self::NotCopied
            | Self::NoDatabase
            | Self::Corrupt => true,
        }
    }
}

/// The end of a manifest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// How many entries there are.
    pub entries: u64,
    /// Regular files among them.
    pub files: u64,
    /// The sum of the files' lengths without holes, in bytes.
    pub bytes: u64,
    /// Databases among them.
    pub databases: u64,
    /// How many notes there are.
    pub notes: u64,
    /// How many of them are problems: the archive holds less than the set asks for.
    pub problems: u64,
    /// Entries that are new or differ from the archive before.
    pub changed: u64,
    /// Bytes of the uncompressed archive whose frames were copied from the archive before.
    pub copied: u64,
}

/// The last line of the manifest beside the archive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seal {
    /// The archive beside it.
    Archive {
        /// Its length in bytes, as it lies on the disk.
        size: u64,
        /// The digest of its bytes, as they lie on the disk.
        blake3: Digest,
        /// How long the run took, in milliseconds.
        milliseconds: u64,
    },
    /// Nothing has changed, and no archive is beside it: everything is in this one.
    UnchangedSince(ArchiveName),
}

/// A time of a file with nanoseconds, in JSON `"1795226407.000000123"`: no number there keeps nineteen digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Seconds since 1970.
    pub seconds: i64,
    /// And nanoseconds, less than 10⁹.
    pub nanoseconds: u32,
}

impl Time {
    /// Reads what [`std::fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        let (seconds, nanoseconds) = text.split_once('.')?;
        let digits = nanoseconds.len() == 9 && nanoseconds.bytes().all(|byte| byte.is_ascii_digit());
        digits.then_some(Self { seconds: seconds.parse().ok()?, nanoseconds: nanoseconds.parse().ok()? })
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:09}", self.seconds, self.nanoseconds)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("expected seconds with nine decimals"))
    }
}
