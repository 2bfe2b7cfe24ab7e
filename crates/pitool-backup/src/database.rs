//! Views of SQLite databases that are whole, while others write to them.
//!
//! Measured before this was written: copying the file of a database with a rollback journal while it is written
//! gives a corrupt copy; SQLite's backup in steps begins anew with every commit of another process and may never
//! end. Inside of a read transaction it ends, and with a write-ahead log nobody waits for it, however long it takes: such a
//! database is held, and its pages go into the archive as they are read, without a copy that wears the card. Without a log a
//! read transaction keeps writers out, so there a copy is made in a single step. And where the log is empty, a read
//! transaction keeps everybody from writing to the file itself, so that it can be read without asking SQLite for each page.
//!
//! SQLite runs in a process with the ids of the database's owner ([`serve`]), because it opens by name and creates files.
//! What is read as root is read from descriptors that were opened without following a link.

mod reader;
mod serve;
mod vfs;
mod wire;

use std::ffi::CStr;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OpenFlags, ffi};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid, fchown, fstat, mkdirat, openat, statat};
use rustix::io::Errno;

pub use reader::is_meant;
use reader::{Failure, Ids, Reader};
pub(crate) use reader::{Limits, Readers};
pub use serve::serve;

use crate::manifest::{CopyMethod, Wal};
use crate::save::meta::Meta;

/// What the first bytes of a database are, <https://www.sqlite.org/fileformat2.html>.
pub(crate) const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Where the header says whether there is a write-ahead log, and the value for yes.
const WRITE_VERSION: usize = 18;
const WITH_WAL: u8 = 2;

/// How much memory a process that reads databases may take.
const MEMORY: u64 = 128 << 20;

/// What SQLite keeps beside a database.
const BESIDE: [&str; 3] = ["-journal", "-wal", "-shm"];

/// A file that was written to more recently may be written to again without its times showing it.
const SETTLED: i64 = 3;

/// Device and inode.
pub(crate) type Identity = (u64, u64);

/// Whether an open file is a database.
pub(crate) fn has_magic(file: impl AsFd) -> bool {
    let mut bytes = [0; MAGIC.len()];
    rustix::io::pread(file, &mut bytes, 0).is_ok_and(|read| read == bytes.len()) && bytes == *MAGIC
}

/// What lies beside a database: with its own times what tells whether it has changed.
pub(crate) fn wal(directory: impl AsFd, name: &CStr, size: u64) -> Wal {
    match beside(directory, name, "-wal") {
        // An empty log is what a reader leaves behind, and means the same as none.
        Ok(Some(meta)) if meta.size > 0 => Wal { wal_size: meta.size, wal_mtime: Some(meta.mtime), size },
        _ => Wal { wal_size: 0, wal_mtime: None, size },
    }
}

/// What lies beside a database under its name with this ending.
fn beside(directory: impl AsFd, name: &CStr, end: &str) -> Result<Option<Meta>, Errno> {
    let name = [name.to_bytes(), end.as_bytes()].concat();
    match statat(directory, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(Meta::of(&stat))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Why a database could not be taken as one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotTaken {
    /// Something is odd about it or what lies beside it.
    #[error("{0}")]
    Odd(String),
    /// A system call on it failed.
    #[error("cannot {0}: {1}")]
    Io(&'static str, std::io::Error),
    /// The process that reads it says why.
    #[error(transparent)]
    Reader(#[from] Failure),
}

impl NotTaken {
    fn io<E: Into<std::io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Io(what, source.into())
    }
}

/// A database as root found it.
pub(crate) struct Candidate<'f> {
    /// The directory that it is in.
    pub(crate) directory: &'f OwnedFd,
    /// Its name there.
    pub(crate) name: &'f CStr,
    /// The file, opened without following a link.
    pub(crate) file: &'f OwnedFd,
    /// What fstat(2) says of that.
    pub(crate) meta: Meta,
}

impl Candidate<'_> {
    fn identity(&self) -> Identity {
        (self.meta.device, self.meta.inode)
    }

    fn ids(&self) -> Ids {
        Ids { uid: self.meta.uid, gid: self.meta.gid }
    }

    /// Looks for what does not belong beside a database: SQLite would take it for its own.
    fn look_beside(&self) -> Result<(), NotTaken> {
        let directory = Meta::of(&fstat(self.directory).map_err(NotTaken::io("read its directory"))?);
        for end in BESIDE {
            let failed = NotTaken::io("look at what lies beside it");
            let Some(there) = beside(self.directory, self.name, end).map_err(failed)? else { continue };
            self.accept(end, &there, directory.uid)?;
        }
        Ok(())
    }

    fn accept(&self, end: &str, there: &Meta, directory: u32) -> Result<(), NotTaken> {
        let what = format!("{}{end}", self.name.to_string_lossy());
        if there.file_type != FileType::RegularFile {
            return Err(NotTaken::Odd(format!("{what} is not a regular file")));
        }
        if ![self.meta.uid, directory, 0].contains(&there.uid) {
            let (theirs, own) = (there.uid, self.meta.uid);
            return Err(NotTaken::Odd(format!(
                "{what} belongs to uid {theirs}, and the database to uid {own}"
            )));
        }
        Ok(())
    }

    /// Whether there is something in the write-ahead log. In doubt there is.
    fn is_logged(&self) -> bool {
        !matches!(beside(self.directory, self.name, "-wal"), Ok(None | Some(Meta { size: 0, .. })))
    }

    /// Whether its header says that there is a write-ahead log.
    fn has_wal(&self) -> bool {
        let mut header = [0; WRITE_VERSION + 1];
        let read = rustix::io::pread(self.file, &mut header, 0);
        read.is_ok_and(|read| read == header.len()) && header[WRITE_VERSION] == WITH_WAL
    }

    fn own_file(&self) -> Result<File, NotTaken> {
        self.file.try_clone().map(File::from).map_err(NotTaken::io("read"))
    }

    /// What it and its log and journal look like.
    fn looks(&self) -> Result<[Option<Meta>; 3], NotTaken> {
        let file = Meta::of(&fstat(self.file).map_err(NotTaken::io("read"))?);
        let there = |end| beside(self.directory, self.name, end).map_err(NotTaken::io("look beside it"));
        Ok([Some(file), there("-wal")?, there("-journal")?])
    }
}

/// What a database was at one moment.
pub(crate) struct Snapshot {
    /// The process that has it open.
    held: Mutex<Held>,
    /// The file that shows the same, if one does: then no page is asked for.
    file: Option<File>,
    size: u64,
    method: CopyMethod,
    /// Deleted with it.
    _copy: Option<Copy>,
}

/// What the reader of a snapshot does with it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// All of it is read at once.
    Brief,
    /// It is read piece by piece when there is time.
    Long,
}

impl Snapshot {
    /// Takes a snapshot.
    pub(crate) fn of(readers: &Arc<Readers>, candidate: &Candidate<'_>, used: Use) -> Result<Self, NotTaken> {
        candidate.look_beside()?;
        // Nobody can list the directory with this.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(candidate.directory, c".", flags, Mode::empty());
        let directory = directory.map_err(NotTaken::io("open its directory"))?;
        let mut held = Held::begin(readers, candidate.ids())?;
        match held.ask(|reader| reader.open(directory.as_fd(), candidate.name, candidate.identity(), false)) {
            Ok(pages) => Self::opened(readers, candidate, held, pages, used),
            Err(Failure::Refused { code, .. }) if is_closed_to_readers(code) => {
                Self::recovered(readers, candidate, held)
            }
            Err(failure) => Err(failure.into()),
        }
    }

    fn opened(
        readers: &Readers,
        candidate: &Candidate<'_>,
        mut held: Held,
        (page, count): (u32, u32),
        used: Use,
    ) -> Result<Self, NotTaken> {
        let logged = candidate.is_logged();
        let with_wal = logged || candidate.has_wal();
        let method = if with_wal { CopyMethod::ReadTransaction } else { CopyMethod::OneStep };
        let file = candidate.own_file()?;
        let there = file.metadata().map_err(NotTaken::io("read"))?.len();
        if logged {
            let asked = u64::from(page) * u64::from(count);
            let log = beside(candidate.directory, candidate.name, "-wal").ok().flatten();
            // Each page is in the file or in the log.
            if asked > there.saturating_add(log.map_or(0, |log| log.size)) {
                return Err(NotTaken::Odd("it claims to be larger than its files".to_owned()));
            }
            return Ok(Self::new(held, None, asked, method, None));
        }
        if with_wal || used == Use::Brief {
            // What is behind the last page is not the database's, and belongs to the file.
            return Ok(Self::new(held, Some(file), there, method, None));
        }
        // Whoever wants to write waits until this is done.
        let copy = Copy::make(readers, candidate.ids())?;
        let target = copy.add("", &file)?;
        held.ask(Reader::close)?;
        Self::of_copy(held, copy, target, method)
    }

    /// Takes a database that SQLite cannot open without writing to it: its journal is hot, or its log needs files beside it
    /// that the owner cannot create. It is copied with both, and SQLite puts the copy right.
    #[expect(
        clippy::disallowed_methods,
        reason = "times of files are compared with the clock that they come from"
    )]
    fn recovered(readers: &Readers, candidate: &Candidate<'_>, mut held: Held) -> Result<Self, NotTaken> {
        held.ask(Reader::lock)?;
        let directory = Meta::of(&fstat(candidate.directory).map_err(NotTaken::io("read its directory"))?);
        let before = candidate.looks()?;
        let copy = Copy::make(readers, candidate.ids())?;
        let target = copy.add("", &candidate.own_file()?)?;
        for end in ["-wal", "-journal"] {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let name = [candidate.name.to_bytes(), end.as_bytes()].concat();
            match openat(candidate.directory, name.as_slice(), flags, Mode::empty()) {
                Ok(file) => {
                    let meta = fstat(&file).map_err(NotTaken::io("read what lies beside it"))?;
                    candidate.accept(end, &Meta::of(&meta), directory.uid)?;
                    copy.add(end, &file.into())?;
                }
                Err(Errno::NOENT) => {}
                Err(error) => return Err(NotTaken::io("open what lies beside it")(error)),
            }
        }
        let still = candidate.looks()? == before;
        // The lock keeps out whoever writes without a log. Whoever writes with one leaves traces, but times are coarse.
        let newest = before.iter().flatten().map(|meta| meta.mtime.seconds).max().unwrap_or(0);
        let settled = newest <= jiff::Timestamp::now().as_second() - SETTLED;
        let logged = candidate.is_logged() || candidate.has_wal();
        if !still || (logged && !settled) {
            return Err(NotTaken::Odd("it changed while it was copied".to_owned()));
        }
        held.ask(Reader::close)?;
        let method = if logged { CopyMethod::ReadTransaction } else { CopyMethod::OneStep };
        Self::of_copy(held, copy, target, method)
    }

    /// A snapshot out of a copy that nobody else can reach.
    fn of_copy(mut held: Held, copy: Copy, target: File, method: CopyMethod) -> Result<Self, NotTaken> {
        let there = Meta::of(&fstat(&target).map_err(NotTaken::io("read its copy"))?);
        let identity = (there.device, there.inode);
        let (page, count) =
            held.ask(|reader| reader.open(copy.directory.as_fd(), Copy::NAME, identity, true))?;
        if matches!(beside(&copy.directory, Copy::NAME, "-wal"), Ok(None | Some(Meta { size: 0, .. }))) {
            // Not as long as it was, when a journal was rolled back.
            let size = target.metadata().map_err(NotTaken::io("read its copy"))?.len();
            return Ok(Self::new(held, Some(target), size, method, Some(copy)));
        }
        Ok(Self::new(held, None, u64::from(page) * u64::from(count), method, Some(copy)))
    }

    fn new(held: Held, file: Option<File>, size: u64, method: CopyMethod, copy: Option<Copy>) -> Self {
        Self { held: Mutex::new(held), file, size, method, _copy: copy }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many bytes it has.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// How it was taken.
    pub(crate) fn method(&self) -> CopyMethod {
        self.method
    }

    /// Reads whole pages; there must be as many from here on.
    pub(crate) fn read(&self, buffer: &mut [u8], at: u64) -> std::io::Result<()> {
        match &self.file {
            Some(file) => file.read_exact_at(buffer, at),
            None => self.held().ask(|reader| reader.read(buffer, at)).map_err(std::io::Error::other),
        }
    }

    /// What `PRAGMA quick_check` answers: "ok", or what is wrong.
    pub(crate) fn check(&self) -> String {
        let answer = self.held().ask(|reader| reader.check(self.size));
        answer.unwrap_or_else(|failure| failure.to_string())
    }
}

/// Whether an error of SQLite's means that it would have to write before it could read.
fn is_closed_to_readers(code: i32) -> bool {
    [
        ffi::SQLITE_READONLY_ROLLBACK,
        ffi::SQLITE_READONLY_RECOVERY,
        ffi::SQLITE_READONLY_CANTINIT,
        ffi::SQLITE_READONLY_CANTLOCK,
        ffi::SQLITE_READONLY_DIRECTORY,
        ffi::SQLITE_CANTOPEN,
    ]
    .contains(&code)
}

/// A process that has a database open; afterwards others can use it.
struct Held {
    reader: Option<Reader>,
    readers: Arc<Readers>,
}

impl Held {
    fn begin(readers: &Arc<Readers>, ids: Ids) -> Result<Self, Failure> {
        Ok(Self { reader: Some(readers.take(ids)?), readers: readers.clone() })
    }

    /// Asks the process. One that does not do as it should is ended, and not asked again.
    fn ask<T>(&mut self, request: impl FnOnce(&mut Reader) -> Result<T, Failure>) -> Result<T, Failure> {
        let gone = || Failure::Refused { code: 0, why: "the process that reads it is gone".to_owned() };
        let answer = self.reader.as_mut().ok_or_else(gone).and_then(request);
        if matches!(answer, Err(Failure::Broken { .. })) {
            self.reader = None;
        }
        answer
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(mut reader) = self.reader.take() {
            if reader.close().is_ok() {
                self.readers.keep(reader);
            }
        }
    }
}

/// A copy of a database in a directory that nobody can reach but root, and whoever is handed a descriptor of it. What is in
/// it belongs to the owner of the database. It is deleted when this is dropped.
struct Copy {
    path: PathBuf,
    directory: OwnedFd,
    ids: Ids,
}

impl Drop for Copy {
    #[expect(clippy::disallowed_methods, reason = "it is in a directory of root's own")]
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// What the names of copies begin with.
pub(crate) const PREFIX: &str = ".pitool-database-";

impl Copy {
    /// The name of the database in its directory.
    const NAME: &'static CStr = c"database";

    fn make(readers: &Readers, ids: Ids) -> Result<Self, NotTaken> {
        let failed = || NotTaken::io("make a directory for its copy");
        let name = format!("{PREFIX}{}-{}", std::process::id(), readers.number());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let scratch = openat(rustix::fs::CWD, &readers.scratch, flags, Mode::empty()).map_err(failed())?;
        mkdirat(&scratch, &name, Mode::RWXU).map_err(failed())?;
        let directory = openat(&scratch, &name, flags, Mode::empty()).map_err(failed())?;
        let copy = Self { path: readers.scratch.join(name), directory, ids };
        copy.give(&copy.directory).map_err(failed())?;
        Ok(copy)
    }

    fn give(&self, file: impl AsFd) -> Result<(), Errno> {
        if !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        fchown(file, Some(Uid::from_raw(self.ids.uid)), Some(Gid::from_raw(self.ids.gid)))
    }

    /// Copies an open file into it.
    fn add(&self, end: &str, file: &File) -> Result<File, NotTaken> {
        let name = [Self::NAME.to_bytes(), end.as_bytes()].concat();
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let target = openat(&self.directory, name.as_slice(), flags, Mode::RUSR | Mode::WUSR);
        let mut target = File::from(target.map_err(NotTaken::io("make its copy"))?);
        let mut file = file;
        file.seek(SeekFrom::Start(0))
            .and_then(|_| std::io::copy(&mut file, &mut target))
            .map_err(NotTaken::io("copy"))?;
        self.give(&target).map_err(NotTaken::io("make its copy"))?;
        Ok(target)
    }
}

/// Asks a database that nobody writes to whether it is whole: "ok", or the first lines of what is wrong.
#[expect(clippy::disallowed_methods, reason = "a copy in a directory that nobody else can reach")]
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
mod tests;
