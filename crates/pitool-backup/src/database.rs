//! Views of SQLite databases that are whole, while others write to them.
//!
//! Measured before this was written: copying the file of a database with a rollback journal while it is written
//! gives a corrupt copy; SQLite's backup in steps begins anew with every commit of another process and may never
//! end. Inside of a read transaction it ends, and with a write-ahead log nobody waits for it, however long it takes: such a
//! database is held, and its pages go into the archive as they are read, without a copy that wears the card. Without a log a
//! read transaction keeps writers out, so there a copy is made in a single step. And where the log is empty, a read
//! transaction keeps everybody from writing to the file itself, so that it can be read without asking SQLite for each page.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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

/// Files of databases that are being looked at or held. Closing any descriptor of a file drops all locks that the process has on
/// it (fcntl(2)), those of a read transaction too: so one at a time, and a file that is held is not opened by anybody else.
static CLAIMED: Mutex<Vec<Identity>> = Mutex::new(Vec::new());
static FREED: Condvar = Condvar::new();

/// Device and inode.
pub(crate) type Identity = (u64, u64);

/// The right to open and to close a file.
pub(crate) struct Claim(Identity);

impl Claim {
    /// Waits until nobody else has a claim on this file.
    pub(crate) fn on(identity: Identity) -> Self {
        let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
        while claimed.contains(&identity) {
            claimed = FREED.wait(claimed).unwrap_or_else(PoisonError::into_inner);
        }
        claimed.push(identity);
        Self(identity)
    }

    /// Takes the claim if nobody has it.
    pub(crate) fn at_once(identity: Identity) -> Option<Self> {
        let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
        let free = !claimed.contains(&identity);
        free.then(|| {
            claimed.push(identity);
            Self(identity)
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
        claimed.retain(|identity| *identity != self.0);
        FREED.notify_all();
    }
}

/// Device and inode of a file, and the beginning of its header.
fn look(file: &File) -> std::io::Result<(Identity, [u8; WRITE_VERSION + 1])> {
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

/// What a database was at one moment.
pub(crate) enum Snapshot {
    /// Without a write-ahead log.
    Copied(Copy),
    /// With one.
    Held(Held),
}

impl Snapshot {
    /// Takes a snapshot; `identity` is the file that is meant, and `number` makes the name of a copy in `scratch`.
    pub(crate) fn of(path: &Path, identity: Identity, scratch: &Path, number: u64) -> Result<Self> {
        let failed = |source| Error::Database { path: path.to_owned(), source };
        let claim = Claim::on(identity);
        let file = File::open(path).map_err(Error::path("open", path))?;
        let (there, header) = look(&file).map_err(Error::path("read", path))?;
        if there != identity {
            let source = std::io::Error::other("another file took its place");
            return Err(Error::Path { operation: "copy", path: path.to_owned(), source });
        }
        // Opening what is not there must fail: a new and empty database would be a backup of nothing.
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let source = Connection::open_with_flags(path, flags).map_err(failed)?;
        source.busy_timeout(PATIENCE).map_err(failed)?;
        source.execute_batch("BEGIN").map_err(failed)?;
        source.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).map_err(failed)?;
        let direct = !is_logged(path);
        // A header without a log, and a log nevertheless: SQLite decides what that means.
        if header[WRITE_VERSION] == WITH_WAL || !direct {
            return Held::of(source, file, direct, claim).map(Self::Held).map_err(failed);
        }
        let target = scratch.join(format!("{}{}-{number}", Copy::PREFIX, std::process::id()));
        let copy = Copy { path: target };
        let mut options = std::fs::OpenOptions::new();
        let target = options.write(true).create_new(true).mode(0o600).open(&copy.path);
        target
            .and_then(|mut target| std::io::copy(&mut &file, &mut target))
            .map_err(Error::path("copy", path))?;
        // In this order.
        drop(source);
        drop(file);
        drop(claim);
        Ok(Self::Copied(copy))
    }

    /// How many bytes it has.
    pub(crate) fn size(&self) -> std::io::Result<u64> {
        match self {
            Self::Copied(copy) => Ok(std::fs::metadata(&copy.path)?.len()),
            Self::Held(held) => Ok(held.size),
        }
    }

    /// How it was taken.
    pub(crate) fn method(&self) -> CopyMethod {
        match self {
            Self::Copied(_) => CopyMethod::OneStep,
            Self::Held(_) => CopyMethod::ReadTransaction,
        }
    }

    /// Opens it for reading.
    pub(crate) fn open(&self) -> std::io::Result<Pages<'_>> {
        Ok(match self {
            Self::Copied(copy) => Pages::Copied(File::open(&copy.path)?),
            Self::Held(held) if held.direct => Pages::Direct(&held.file),
            Self::Held(held) => Pages::Asked(held),
        })
    }

    /// What `PRAGMA quick_check` answers: "ok", or what is wrong.
    pub(crate) fn check(&self) -> String {
        let answer = match self {
            Self::Copied(copy) => check(&copy.path, "quick_check"),
            Self::Held(held) => answer(&held.connection(), "quick_check"),
        };
        answer.unwrap_or_else(|error| error.to_string())
    }
}

/// A snapshot that is being read.
pub(crate) enum Pages<'s> {
    Copied(File),
    Direct(&'s File),
    Asked(&'s Held),
}

impl Pages<'_> {
    /// Reads whole pages; there must be as many from here on.
    pub(crate) fn read(&self, buffer: &mut [u8], at: u64) -> std::io::Result<()> {
        match self {
            Self::Copied(file) => file.read_exact_at(buffer, at),
            Self::Direct(file) => file.read_exact_at(buffer, at),
            Self::Asked(held) => held.read(buffer, at).map_err(std::io::Error::other),
        }
    }
}

/// A database inside of a read transaction: what it shows stays as it is, whoever writes.
///
/// Dropped in this order: a descriptor that is closed before the connection takes its locks away.
pub(crate) struct Held {
    connection: Mutex<Connection>,
    file: File,
    /// Whether the file itself shows the same, because nobody can write to it.
    direct: bool,
    page: usize,
    size: u64,
    _claim: Claim,
}

impl Held {
    fn of(connection: Connection, file: File, direct: bool, claim: Claim) -> rusqlite::Result<Self> {
        let number =
            |pragma: &str| connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, u32>(0));
        let (page, count) = (number("page_size")?, number("page_count")?);
        let asked = u64::from(page) * u64::from(count);
        // What is behind the last page is not the database's, and belongs to the file.
        let size = if direct { file.metadata().map_or(asked, |there| there.len()) } else { asked };
        let page = usize::try_from(page).unwrap_or(usize::MAX);
        Ok(Self { connection: Mutex::new(connection), file, direct, page, size, _claim: claim })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads pages by sqlite_dbpage, <https://www.sqlite.org/dbpage.html>.
    fn read(&self, buffer: &mut [u8], at: u64) -> rusqlite::Result<()> {
        let connection = self.connection();
        let mut page = connection.prepare_cached("SELECT data FROM sqlite_dbpage WHERE pgno = ?1")?;
        let first = at / self.page as u64 + 1;
        for (number, buffer) in (first..).zip(buffer.chunks_mut(self.page)) {
            page.query_row([number], |row| {
                let data = row.get_ref(0)?.as_blob()?;
                let data = data.get(..buffer.len()).ok_or(rusqlite::Error::QueryReturnedNoRows)?;
                buffer.copy_from_slice(data);
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// A whole copy of a database in a file that is deleted when this is dropped.
pub(crate) struct Copy {
    path: PathBuf,
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Copy {
    /// What its file's name begins with.
    pub(crate) const PREFIX: &'static str = ".pitool-database-";
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
    answer(&Connection::open_with_flags(uri, flags)?, pragma)
}

fn answer(database: &Connection, pragma: &str) -> rusqlite::Result<String> {
    let mut statement = database.prepare(&format!("PRAGMA {pragma}(10)"))?;
    let lines: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(lines.join("; "))
}

/// Whether a database looks as it did.
pub(crate) fn is_unchanged(before: &Wal, now: &Wal) -> bool {
    let times = |wal: &Wal| (wal.size, wal.wal_size, wal.wal_mtime.unwrap_or_default());
    times(before) == times(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Place {
        directory: tempfile::TempDir,
        writer: Option<Connection>,
    }

    /// Opens a database without waiting for others.
    fn open(path: &Path) -> Connection {
        let database = Connection::open(path).unwrap();
        database.busy_timeout(Duration::ZERO).unwrap();
        database
    }

    /// A database of some pages in which every row says 0.
    fn place() -> Place {
        let directory = tempfile::tempdir().unwrap();
        let writer = open(&directory.path().join("db"));
        writer
            .execute_batch(
                "PRAGMA journal_mode = WAL; CREATE TABLE t (n INTEGER, filler);
                 WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 3000)
                 INSERT INTO t SELECT 0, randomblob(100) FROM c;",
            )
            .unwrap();
        Place { directory, writer: Some(writer) }
    }

    impl Place {
        fn path(&self) -> PathBuf {
            self.directory.path().join("db")
        }

        fn identity(&self) -> Identity {
            let there = std::fs::metadata(self.path()).unwrap();
            (there.dev(), there.ino())
        }

        fn hold(&self) -> Held {
            match Snapshot::of(&self.path(), self.identity(), self.directory.path(), 0).unwrap() {
                Snapshot::Held(held) => held,
                Snapshot::Copied(_) => panic!("a copy was made"),
            }
        }

        /// Changes every row, and tells whether all of the log went into the file.
        fn write(&mut self) -> bool {
            let path = self.path();
            let writer = self.writer.get_or_insert_with(|| open(&path));
            writer.execute_batch("UPDATE t SET n = n + 1, filler = randomblob(100)").unwrap();
            let busy: i64 =
                writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).unwrap();
            busy == 0
        }

        /// The sum of the rows in what a snapshot gives.
        fn sum(&self, snapshot: &Snapshot) -> i64 {
            let mut bytes = vec![0; usize::try_from(snapshot.size().unwrap()).unwrap()];
            let pages = snapshot.open().unwrap();
            for (number, piece) in (0..).zip(bytes.chunks_mut(64 << 10)) {
                pages.read(piece, number * (64 << 10)).unwrap();
            }
            let copy = self.directory.path().join("copy");
            std::fs::write(&copy, &bytes).unwrap();
            assert_eq!(check(&copy, "integrity_check").unwrap(), "ok");
            let copy = Connection::open(copy).unwrap();
            copy.query_row("SELECT sum(n) FROM t", [], |row| row.get(0)).unwrap()
        }
    }

    /// Whether this process has a lock on a file, proc_locks(5).
    fn is_locked((_, inode): Identity) -> bool {
        let (pid, end) = (std::process::id().to_string(), format!(":{inode}"));
        std::fs::read_to_string("/proc/locks").unwrap().lines().any(|line| {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            words.get(4) == Some(&pid.as_str()) && words.get(5).is_some_and(|file| file.ends_with(&end))
        })
    }

    #[test]
    fn a_database_without_a_log_is_read_from_its_file_and_nobody_writes_to_that() {
        let mut place = place();
        place.writer = None;
        let held = place.hold();
        assert!(held.direct);
        assert!(is_locked(place.identity()));
        assert!(Claim::at_once(place.identity()).is_none());
        let snapshot = Snapshot::Held(held);
        assert!(!place.write(), "the log went into the file");
        assert_eq!((place.sum(&snapshot), snapshot.check().as_str()), (0, "ok"));
        drop(snapshot);
        assert!(place.write());
        assert!(Claim::at_once(place.identity()).is_some());
    }

    #[test]
    fn a_database_with_a_log_is_read_through_it() {
        let mut place = place();
        let held = place.hold();
        assert!(!held.direct);
        let snapshot = Snapshot::Held(held);
        place.write();
        place.write();
        assert_eq!((place.sum(&snapshot), snapshot.check().as_str()), (0, "ok"));
        drop(snapshot);
        assert!(place.write());
        let later = place.hold();
        assert!(later.direct);
        assert_eq!(place.sum(&Snapshot::Held(later)), 9000);
    }
}
