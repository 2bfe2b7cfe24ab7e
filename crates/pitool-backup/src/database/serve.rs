//! The process that opens databases for a run: with the ids of their owner, and without any capability.
//!
//! SQLite opens files by name and creates `-wal` and `-shm` beside them. What it may do there is what the owner of the
//! database may do anyway. The process is this same program, started again as root: a fork would keep the memory of
//! the run, with keys and other people's files in it. Because it takes the owner's ids only after it was started,
//! the kernel does not let the owner's other processes trace it (PR_SET_DUMPABLE of prctl(2)).

use std::ffi::CString;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, fcntl_lock, openat, statat};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, recvmsg, send};
use rustix::process::{Gid, Resource, Rlimit, Uid, getegid, geteuid, getgid, getgroups, getuid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::wire::{DATA, Identity, PACKET, Reply, Request, here};
use super::{MEMORY, answer, vfs};

/// How often a lock that somebody else holds is tried.
const PAUSE: Duration = Duration::from_millis(50);

/// Reads databases for the run at the other end of standard input, until that end is closed.
pub fn serve() -> ExitCode {
    match Server::default().run(io::stdin().as_fd()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Gives up everything that root may do, for good.
fn become_owner(uid: u32, gid: u32) -> io::Result<()> {
    for (resource, limit) in [
        (Resource::Data, MEMORY),
        (Resource::Core, 0),
        // No other process comes of this one.
        (Resource::Nproc, 0),
    ] {
        rustix::process::setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })?;
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    if geteuid().is_root() {
        rustix::thread::set_thread_groups(&[])?;
        rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid)?;
        let ids = [getuid(), geteuid()] == [uid; 2] && [getgid(), getegid()] == [gid; 2];
        let back =
            !uid.is_root() && rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).is_ok();
        if !ids || back || !getgroups()?.is_empty() {
            return Err(io::Error::other("the ids of the owner could not be taken"));
        }
    }
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::clear_ambient_capability_set()?;
    rustix::thread::set_capabilities(None, none)?;
    rustix::thread::set_no_new_privs(true)?;
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    if rustix::thread::capabilities(None)? != none || !rustix::thread::no_new_privs()? {
        return Err(io::Error::other("a capability was kept"));
    }
    Ok(())
}

/// A reply that says why not.
fn failed(error: &dyn std::error::Error) -> Reply {
    Reply::Failed { code: 0, why: error.to_string() }
}

fn refused(error: &rusqlite::Error) -> Reply {
    let code = error.sqlite_error().map_or(0, |error| error.extended_code);
    Reply::Failed { code, why: error.to_string() }
}

#[derive(Default)]
struct Server {
    patience: Duration,
    /// The database that was named last. The working directory is its directory.
    named: Option<(CString, Identity)>,
    open: Option<Open>,
    /// A lock on all of the database.
    lock: Option<OwnedFd>,
}

/// A database inside of a read transaction.
struct Open {
    connection: Connection,
    page: usize,
}

impl Server {
    fn run(mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let mut packet = vec![0; PACKET];
        while let Some((request, directory)) = receive(socket, &mut packet)? {
            let reply = match request {
                Request::Start { uid, gid, patience } => {
                    self.patience = Duration::from_millis(patience.into());
                    become_owner(uid, gid)?;
                    if vfs::register() { Reply::Done } else { return Err(io::ErrorKind::Unsupported.into()) }
                }
                Request::Open { file, writable, name } => {
                    let directory = directory.ok_or(io::ErrorKind::InvalidInput)?;
                    self.open(&directory, name, file, writable)
                }
                Request::Lock => self.lock().map_or_else(|error| failed(&error), |()| Reply::Done),
                Request::Read { at, length } => match self.read(socket, at, length) {
                    Ok(()) => continue,
                    Err(Stop::Database(error)) => refused(&error),
                    Err(Stop::Socket(error)) => return Err(error),
                },
                Request::Check => self.check(),
                Request::Close => {
                    self.close();
                    Reply::Done
                }
            };
            send_all(socket, &reply.bytes())?;
        }
        Ok(())
    }

    fn close(&mut self) {
        self.open = None;
        self.lock = None;
        self.named = None;
    }

    fn open(&mut self, directory: &OwnedFd, name: CString, file: Identity, writable: bool) -> Reply {
        self.close();
        if let Err(error) = rustix::process::fchdir(directory) {
            let why = format!("its owner cannot search its directory: {error}");
            return Reply::Failed { code: 0, why };
        }
        self.named = Some((name.clone(), file));
        if let Err(error) = is_there(&name, file) {
            return failed(&error);
        }
        match begin(&name, writable, self.patience) {
            Ok((connection, page, count)) => match is_there(&name, file) {
                Ok(()) => {
                    self.open = Some(Open { connection, page: page as usize });
                    Reply::Open { page, count }
                }
                Err(error) => failed(&error),
            },
            Err(error) => refused(&error),
        }
    }

    /// Locks all of the file for reading. Every lock with which SQLite writes without a write-ahead log conflicts with
    /// that, those of the rollback of a hot journal too: nobody is writing, and nobody begins to.
    #[expect(clippy::disallowed_methods, reason = "it waits for others' locks for some time on the clock")]
    fn lock(&mut self) -> io::Result<()> {
        // Closing any descriptor of a file drops the locks of the process on it (fcntl(2)).
        self.open = None;
        self.lock = None;
        let (name, file) = self.named.as_ref().ok_or(io::ErrorKind::InvalidInput)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = openat(CWD, name, flags, Mode::empty())
            .map_err(|error| io::Error::other(format!("its owner cannot open it: {error}")))?;
        let begun = Instant::now();
        loop {
            match fcntl_lock(&opened, FlockOperation::NonBlockingLockShared) {
                Ok(()) => break,
                Err(Errno::AGAIN | Errno::ACCESS) if begun.elapsed() < self.patience => {
                    std::thread::sleep(PAUSE);
                }
                Err(Errno::AGAIN | Errno::ACCESS) => return Err(io::Error::other("the database is locked")),
                Err(error) => return Err(error.into()),
            }
        }
        is_there(name, file.to_owned())?;
        self.lock = Some(opened);
        Ok(())
    }

    /// Sends pages as sqlite_dbpage gives them, <https://www.sqlite.org/dbpage.html>.
    fn read(&self, socket: BorrowedFd<'_>, at: u64, length: u32) -> Result<(), Stop> {
        let Open { connection, page } = self.open.as_ref().ok_or(rusqlite::Error::InvalidQuery)?;
        let mut statement = connection.prepare_cached("SELECT data FROM sqlite_dbpage WHERE pgno = ?1")?;
        let mut packet = Vec::with_capacity(PACKET);
        let (first, pages) = (at / *page as u64 + 1, u64::from(length) / *page as u64);
        for number in first..first + pages {
            if packet.is_empty() {
                packet.extend_from_slice(&Reply::Data(Vec::new()).bytes());
            }
            statement.query_row([number], |row| {
                packet.extend_from_slice(row.get_ref(0)?.as_blob()?);
                Ok(())
            })?;
            if packet.len() + page > DATA + 1 || number + 1 == first + pages {
                send_all(socket, &packet).map_err(Stop::Socket)?;
                packet.clear();
            }
        }
        Ok(())
    }

    fn check(&self) -> Reply {
        match &self.open {
            Some(open) => match answer(&open.connection, "quick_check") {
                Ok(said) => Reply::Checked(said),
                Err(error) => Reply::Checked(error.to_string()),
            },
            None => failed(&io::Error::from(io::ErrorKind::InvalidInput)),
        }
    }
}

/// Why pages could not be sent.
enum Stop {
    Database(rusqlite::Error),
    Socket(io::Error),
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

/// Opens a database in the working directory and begins to read; gives the size and the number of its pages too.
#[expect(
    clippy::disallowed_methods,
    reason = "this process has the ids of the database's owner, and the name is one in the directory that root opened"
)]
fn begin(name: &CString, writable: bool, patience: Duration) -> rusqlite::Result<(Connection, u32, u32)> {
    // Opening what is not there must fail: a new and empty database would be a backup of nothing.
    let access = if writable { OpenFlags::SQLITE_OPEN_READ_WRITE } else { OpenFlags::SQLITE_OPEN_READ_ONLY };
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags_and_vfs(here(name), flags, vfs::NAME)?;
    connection.busy_timeout(patience)?;
    connection.execute_batch("BEGIN")?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    let number =
        |pragma: &str| connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, u32>(0));
    let (page, count) = (number("page_size")?, number("page_count")?);
    Ok((connection, page, count))
}

/// Whether the file that is meant has this name. An application may have put another one in its place.
fn is_there(name: &CString, file: Identity) -> io::Result<()> {
    let there = crate::save::meta::Meta::of(&statat(CWD, name, AtFlags::SYMLINK_NOFOLLOW)?);
    if there.file_type == FileType::RegularFile && (there.device, there.inode) == file {
        return Ok(());
    }
    Err(io::Error::other("another file took its place"))
}

fn send_all(socket: BorrowedFd<'_>, packet: &[u8]) -> io::Result<()> {
    loop {
        match send(socket, packet, SendFlags::NOSIGNAL) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The next request and the directory that came with it; `None` when the other end is closed.
fn receive(socket: BorrowedFd<'_>, packet: &mut [u8]) -> io::Result<Option<(Request, Option<OwnedFd>)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut parts = [IoSliceMut::new(packet)];
        match recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    let mut directory = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            directory = descriptors.last();
        }
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    let packet = packet.get(..received.bytes).ok_or(io::ErrorKind::InvalidData)?;
    Ok(Some((Request::parse(packet)?, directory)))
}
