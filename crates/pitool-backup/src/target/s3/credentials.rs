//! The key of an account, out of its file.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use pitool_host::trust::{self, Last, Root, read_bounded};

use crate::target::{Error, Result};

/// A key file has two lines.
const KEY_LIMIT: u64 = 64 << 10;

/// A key of an account.
#[derive(Clone)]
pub struct Credentials {
    /// Its id, which is no secret.
    pub id: String,
    /// Its secret.
    pub secret: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads a file that has the id on its first line and the secret on its second.
    ///
    /// # Errors
    /// A file that others may read, or that has not two lines.
    pub fn read(file: &Path) -> Result<Self> {
        let bad = |why: &str| Error::Key { file: file.to_owned(), why: why.to_owned() };
        let unread = |error: trust::Error| bad(&format!("it cannot be read ({error})"));
        let opened =
            Root::open(Path::new("/")).and_then(|root| root.open_file(file, Last::Follow)).map_err(unread)?;
        let metadata = opened.metadata().map_err(|error| unread(error.into()))?;
        if metadata.mode() & 0o077 != 0 {
            return Err(bad("others may read it; `chmod 600` it"));
        }
        let text = read_bounded(&opened, KEY_LIMIT).map_err(unread)?;
        let text = String::from_utf8(text).map_err(|_| bad("it is no text"))?;
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        match lines.as_slice() {
            [id, secret] => Ok(Self { id: (*id).to_owned(), secret: (*secret).to_owned() }),
            _ => Err(bad("it should have two lines: the key's id and its secret")),
        }
    }
}
