//! Encryption to age recipients, and the digest of what lies on the disk.
//!
//! Never a passphrase: age's scrypt takes 256 MiB, more than a small Pi has.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use age::stream::StreamWriter;
use age::x25519;
use pitool_host::Digest;
use pitool_host::trust::{self, Last, Root, read_bounded};

use crate::{Error, Result};

/// A file of identities is small; more is another file.
const LIMIT: u64 = 1 << 20;

/// Files with age identities (`AGE-SECRET-KEY-1…`), as `age-keygen` writes them, that open encrypted archives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identities(Vec<PathBuf>);

impl Identities {
    /// Names the files; they are read when an encrypted archive is opened.
    pub fn new(files: impl IntoIterator<Item = PathBuf>) -> Self {
        Self(files.into_iter().collect())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn load(&self) -> Result<Vec<x25519::Identity>> {
        let mut identities = Vec::new();
        for path in &self.0 {
            let bad = |why: &str| Error::Key {
                what: format!("identity file {}", path.display()),
                why: why.to_owned(),
            };
            let failed = |error: trust::Error| Error::path("read", path)(error);
            let root = Root::open(Path::new("/")).map_err(failed)?;
            let file = root.open_file(path, Last::Follow).map_err(failed)?;
            let text = read_bounded(&file, LIMIT).map_err(failed)?;
            let text = String::from_utf8(text).map_err(|_| bad("it is no text"))?;
            let keys = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            for key in keys {
                identities.push(x25519::Identity::from_str(key).map_err(bad)?);
            }
            if identities.is_empty() {
                return Err(bad("there is no key in it"));
            }
        }
        Ok(identities)
    }
}

/// Checks that age understands these recipients.
pub fn check_recipients(recipients: &[String]) -> Result<()> {
    parse(recipients).map(drop)
}

fn parse(recipients: &[String]) -> Result<Vec<x25519::Recipient>> {
    let parse = |text: &String| {
        let why = |why: &str| Error::Key { what: format!("recipient {text:?}"), why: why.to_owned() };
        x25519::Recipient::from_str(text.trim()).map_err(why)
    };
    recipients.iter().map(parse).collect()
}

/// A file that is written once, front to back: perhaps encrypted, and hashed as it goes to the disk.
pub(crate) struct Output(Inner);

enum Inner {
    Plain(Hashed),
    Sealed(StreamWriter<Hashed>),
}

/// What was written to a finished output.
pub(crate) struct Written {
    pub(crate) file: File,
    pub(crate) size: u64,
    pub(crate) blake3: Digest,
}

struct Hashed {
    file: File,
    hasher: blake3::Hasher,
    size: u64,
    /// Up to where it is on its way to the disk.
    flowing: u64,
}

/// So much is sent on its way to the disk at once: it is written while the rest is read and compressed, instead of at the
/// end, when everybody waits for the sync. POSIX_FADV_DONTNEED begins that (mm/fadvise.c).
const FLOW: u64 = 8 << 20;

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        if self.size - self.flowing >= FLOW {
            // Only advice: what is wrong with the disk is told by the sync.
            let length = std::num::NonZeroU64::new(self.size - self.flowing);
            let _ = rustix::fs::fadvise(&self.file, self.flowing, length, rustix::fs::Advice::DontNeed);
            self.flowing = self.size;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Output {
    pub(crate) fn new(file: File, path: &Path, recipients: &[String]) -> Result<Self> {
        let hashed = Hashed { file, hasher: blake3::Hasher::new(), size: 0, flowing: 0 };
        if recipients.is_empty() {
            return Ok(Self(Inner::Plain(hashed)));
        }
        let recipients = parse(recipients)?;
        // In words of ours: age's are put together by a macro that orders them anew at each build of the program.
        let refused = |why| match why {
            age::EncryptError::Io(source) => Error::path("write", path)(source),
            _ => Error::Key { what: "recipients".to_owned(), why: "they do not go together".to_owned() },
        };
        let encryptor = age::Encryptor::with_recipients(
            recipients.iter().map(|recipient| recipient as &dyn age::Recipient),
        )
        .map_err(refused)?;
        Ok(Self(Inner::Sealed(encryptor.wrap_output(hashed).map_err(Error::path("write", path))?)))
    }

    /// Ends the encryption; the file is not synced yet.
    pub(crate) fn finish(self) -> io::Result<Written> {
        let hashed = match self.0 {
            Inner::Plain(hashed) => hashed,
            Inner::Sealed(writer) => writer.finish()?,
        };
        let blake3 = Digest::from_bytes(*hashed.hasher.finalize().as_bytes());
        Ok(Written { file: hashed.file, size: hashed.size, blake3 })
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Inner::Plain(hashed) => hashed.write(bytes),
            Inner::Sealed(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Inner::Plain(hashed) => hashed.flush(),
            Inner::Sealed(writer) => writer.flush(),
        }
    }
}
