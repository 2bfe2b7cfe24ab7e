//! Copies of SQLite databases that are whole, while others write to them.
//!
//! Measured before this was written: copying the file of a database with a rollback journal while it is written
//! gives a corrupt copy; SQLite's backup in steps begins anew with every commit of another process and may never
//! end; in steps inside of a read transaction it ends, and with a write-ahead log nobody waits for it. Without one a
//! read transaction keeps writers out, so there it is a single step. And where the log is empty, a read transaction
//! keeps everybody from writing to the file itself, so that the kernel can copy it: in a third of the time.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use crate::manifest::{CopyMethod, Wal};
use crate::{Error, Result};

/// What the first bytes of a database are, <https://www.sqlite.org/fileformat2.html>.
pub(crate) const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Where the header says whether there is a write-ahead log, and the value for yes.
const WRITE_VERSION: usize = 18;
const WITH_WAL: u8 = 2;

/// How long to wait for a writer who holds the database.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many times a database that is busy is tried again, and how long between.
const RETRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);

/// Held while a database is copied, and while a file that may be one is opened and closed for another reason: closing
/// any descriptor of a file drops all locks that the process has on it (fcntl(2)), those of the copy too.
static ALONE: Mutex<()> = Mutex::new(());

/// Keeps copies away while this is held.
pub(crate) fn lock() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Device and inode of a file, and the beginning of its header.
fn look(file: &File) -> std::io::Result<((u64, u64), [u8; WRITE_VERSION + 1])> {
    let there = file.metadata()?;
    let mut header = [0; WRITE_VERSION + 1];
    file.read_exact_at(&mut header, 0)?;
    Ok(((there.dev(), there.ino()), header))
}

/// Whether there is something in the write-ahead log beside a database. In doubt there is.
fn is_logged(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    match std::fs::metadata(log) {
        Ok(there) => there.len() > 0,
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    }
}

/// Whether an open file is a database.
pub(crate) fn has_magic(file: impl AsFd) -> bool {
    let mut bytes = [0; MAGIC.len()];
    rustix::io::pread(file, &mut bytes, 0).is_ok_and(|read| read == bytes.len()) && bytes == *MAGIC
}

/// What lies beside a database: with its own times what tells whether it has changed.
pub(crate) fn wal(directory: impl AsFd, name: &CStr, size: u64) -> Wal {
    let path = [name.to_bytes(), b"-wal"].concat();
    match rustix::fs::statat(directory, path.as_slice(), rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
        // An empty log is what a reader leaves behind, and means the same as none.
        Ok(stat) if stat.st_size > 0 => {
            let meta = crate::save::walk::Meta::of(&stat);
            Wal { wal_size: meta.size, wal_mtime: Some(meta.mtime), size }
        }
        _ => Wal { wal_size: 0, wal_mtime: None, size },
    }
}

/// A whole copy of a database in a file that is deleted when this is dropped.
pub(crate) struct Copy {
    path: PathBuf,
    pub(crate) method: CopyMethod,
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Copy {
    /// What its file's name begins with.
    pub(crate) const PREFIX: &'static str = ".pitool-database-";

    /// Copies a database; `identity` is device and inode of the file that is meant.
    pub(crate) fn of(path: &Path, identity: (u64, u64), scratch: &Path, number: u64) -> Result<Self> {
        let failed = |source| Error::Database { path: path.to_owned(), source };
        let _alone = lock();
        // Open until the connection is closed, which would lose its locks with any descriptor of the file.
        let file = File::open(path).map_err(Error::path("open", path))?;
        let (there, header) = look(&file).map_err(Error::path("read", path))?;
        if there != identity {
            let source = std::io::Error::other("another file took its place");
            return Err(Error::Path { operation: "copy", path: path.to_owned(), source });
        }
        let method =
            if header[WRITE_VERSION] == WITH_WAL { CopyMethod::ReadTransaction } else { CopyMethod::OneStep };
        // Opening what is not there must fail: a new and empty database would be a backup of nothing.
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let source = Connection::open_with_flags(path, flags).map_err(failed)?;
        source.busy_timeout(PATIENCE).map_err(failed)?;
        let target = scratch.join(format!("{}{}-{number}", Self::PREFIX, std::process::id()));
        let copy = Self { path: target, method };
        source.execute_batch("BEGIN").map_err(failed)?;
        source.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).map_err(failed)?;
        if is_logged(path) {
            copy.fill(&source).map_err(failed)?;
        } else {
            let mut options = std::fs::OpenOptions::new();
            let target = options.write(true).create_new(true).mode(0o600).open(&copy.path);
            target
                .and_then(|mut target| std::io::copy(&mut &file, &mut target))
                .map_err(Error::path("copy", path))?;
        }
        // In this order.
        drop(source);
        drop(file);
        Ok(copy)
    }

    fn fill(&self, source: &Connection) -> rusqlite::Result<()> {
        let mut target = Connection::open(&self.path)?;
        // The copy is thrown away with the run: what it is copied into is synced instead.
        target.execute_batch(
            "PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF; PRAGMA locking_mode = EXCLUSIVE",
        )?;
        let pages = match self.method {
            CopyMethod::OneStep | CopyMethod::Unchanged => -1,
            // 4 MiB at a time with the usual pages.
            CopyMethod::ReadTransaction => 1024,
        };
        let backup = Backup::new(source, &mut target)?;
        let mut tries = 0;
        loop {
            match backup.step(pages)? {
                StepResult::Done => return Ok(()),
                StepResult::More => tries = 0,
                _ if tries < RETRIES => {
                    tries += 1;
                    std::thread::sleep(PAUSE);
                }
                _ => {
                    let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
                    return Err(rusqlite::Error::SqliteFailure(
                        busy,
                        Some("it stays locked by a writer".to_owned()),
                    ));
                }
            }
        }
    }

    /// Opens the copy for reading.
    pub(crate) fn open(&self) -> Result<File> {
        File::open(&self.path).map_err(Error::path("open", &self.path))
    }

    /// What `PRAGMA quick_check` answers on the copy: "ok", or what is wrong.
    pub(crate) fn check(&self) -> String {
        check(&self.path, "quick_check").unwrap_or_else(|error| error.to_string())
    }
}

/// Asks a database that nobody writes to whether it is whole: "ok", or the first lines of what is wrong.
pub(crate) fn check(path: &Path, pragma: &str) -> rusqlite::Result<String> {
    // Immutable: no lock, no log, and nothing is created beside it.
    let mut uri = b"file:".to_vec();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => uri.push(*byte),
            other => uri.extend_from_slice(format!("%{other:02X}").as_bytes()),
        }
    }
    uri.extend_from_slice(b"?immutable=1");
    let uri = String::from_utf8(uri).unwrap_or_default();
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(uri, flags)?;
    let mut statement = database.prepare(&format!("PRAGMA {pragma}(10)"))?;
    let lines: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(lines.join("; "))
}

/// Whether a database looks as it did.
pub(crate) fn is_unchanged(before: &Wal, now: &Wal) -> bool {
    let times = |wal: &Wal| (wal.size, wal.wal_size, wal.wal_mtime.unwrap_or_default());
    times(before) == times(now)
}
