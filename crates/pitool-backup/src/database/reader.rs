//! Processes that read databases for a run, as the run sees them: started for an owner, used again, ended in time.

#![expect(
    clippy::disallowed_methods,
    reason = "a process that does not answer is ended after some time on the clock"
)]

use std::ffi::CStr;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    recv, sendmsg, socketpair,
};

use super::wire::{Identity, PACKET, Reply, Request};

/// With these arguments the program is such a process. They are no command of the command line.
pub(super) const ARGUMENTS: [&str; 2] = ["internal", "sqlite-pages"];

/// Whether a program was started to be such a process; `arguments` begin with its name.
pub fn is_meant(arguments: &[impl AsRef<std::ffi::OsStr>]) -> bool {
    matches!(arguments, [_, first, second] if first.as_ref() == ARGUMENTS[0] && second.as_ref() == ARGUMENTS[1])
}

/// How many processes that have nothing to do are kept: one for each thread, and for a few owners.
const IDLE: usize = 4;

/// How long is waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// For others who hold a lock on a database.
    pub(crate) patience: Duration,
    /// For a process that starts, or that is to send some pages, beyond that.
    pub(crate) reply: Duration,
}

impl Limits {
    /// A Pi with a slow card and much else to do is slow.
    pub(crate) const USUAL: Self = Self { patience: Duration::from_secs(30), reply: Duration::from_secs(60) };
}

/// How slow a check may be, in bytes per second: a card reads thirty times as fast.
const CHECKED: u64 = 1 << 20;

/// A longer text is not what SQLite says.
const TEXT: usize = 2000;

/// The user and the group of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// What a run has for reading databases.
pub(crate) struct Readers {
    /// Those that have nothing to do, the last one used last.
    idle: Mutex<Vec<Reader>>,
    /// The directory for copies, for root alone.
    pub(super) scratch: PathBuf,
    copies: AtomicU64,
    limits: Limits,
}

impl Readers {
    /// None yet.
    pub(crate) fn new(scratch: &Path, limits: Limits) -> Self {
        let idle = Mutex::default();
        Self { idle, scratch: scratch.to_owned(), copies: AtomicU64::new(0), limits }
    }

    /// A number for the name of a copy.
    pub(super) fn number(&self) -> u64 {
        self.copies.fetch_add(1, Ordering::Relaxed)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Reader>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One with these ids that has nothing to do.
    pub(super) fn take(&self, ids: Ids) -> Result<Reader, Failure> {
        let mut idle = self.idle();
        let known = idle.iter().rposition(|reader| reader.ids == ids).map(|place| idle.remove(place));
        drop(idle);
        match known {
            Some(reader) => Ok(reader),
            None => Reader::start(ids, self.limits),
        }
    }

    /// Keeps one for the next database of its owner.
    pub(super) fn keep(&self, reader: Reader) {
        let mut idle = self.idle();
        let oldest = (idle.len() >= IDLE).then(|| idle.remove(0));
        idle.push(reader);
        drop(idle);
        drop(oldest);
    }
}

/// Why a process did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// It said so: SQLite's extended error code or 0, and why.
    #[error("{why}")]
    Refused { code: i32, why: String },
    /// It cannot be used any more.
    #[error("the process that reads it as its owner (uid {uid}) {why}")]
    Broken { uid: u32, why: String },
}

/// A process that reads databases of one owner, one at a time.
pub(super) struct Reader {
    ids: Ids,
    limits: Limits,
    child: Child,
    socket: OwnedFd,
    packet: Vec<u8>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        // It may hang in a system call; there is nothing that it has to finish.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Reader {
    // Not a pitool_host::Command, which cannot give a program a socket.
    fn start(ids: Ids, limits: Limits) -> Result<Self, Failure> {
        let broken =
            |error: io::Error| Failure::Broken { uid: ids.uid, why: format!("cannot be started: {error}") };
        let (socket, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(|error| broken(error.into()))?;
        // An answer may take long; whether it takes too long is looked at this often.
        let look = Duration::from_millis(200);
        set_socket_timeout(&socket, Timeout::Recv, Some(look)).map_err(|error| broken(error.into()))?;
        let child = Command::new("/proc/self/exe")
            .args(ARGUMENTS)
            .env_clear()
            .current_dir("/")
            // What a terminal sends to us is not for it: we end it.
            .process_group(0)
            .stdin(theirs)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(broken)?;
        let mut reader = Self { ids, limits, child, socket, packet: vec![0; PACKET] };
        let patience = u32::try_from(limits.patience.as_millis()).unwrap_or(u32::MAX);
        reader.done(&Request::Start { uid: ids.uid, gid: ids.gid, patience })?;
        Ok(reader)
    }

    /// Its process id.
    #[cfg(test)]
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    fn broken(&self, why: impl std::fmt::Display) -> Failure {
        Failure::Broken { uid: self.ids.uid, why: why.to_string() }
    }

    /// Opens a database in a directory and begins a read transaction; says the size and the number of its pages.
    pub(super) fn open(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &CStr,
        file: Identity,
        writable: bool,
    ) -> Result<(u32, u32), Failure> {
        let request = Request::Open { file, writable, name: name.to_owned() };
        self.send(&request, Some(directory))?;
        match self.reply(self.limits.patience + self.limits.reply)? {
            Reply::Open { page, count } if page.is_power_of_two() && (512..=65536).contains(&page) => {
                Ok((page, count))
            }
            other => Err(self.unexpected(other)),
        }
    }

    /// Locks the database that could not be opened.
    pub(super) fn lock(&mut self) -> Result<(), Failure> {
        self.done(&Request::Lock)
    }

    /// Gives the database back.
    pub(super) fn close(&mut self) -> Result<(), Failure> {
        self.done(&Request::Close)
    }

    fn done(&mut self, request: &Request) -> Result<(), Failure> {
        self.send(request, None)?;
        match self.reply(self.limits.patience + self.limits.reply)? {
            Reply::Done => Ok(()),
            other => Err(self.unexpected(other)),
        }
    }

    /// What `PRAGMA quick_check` answers about a database of this size.
    pub(super) fn check(&mut self, size: u64) -> Result<String, Failure> {
        self.send(&Request::Check, None)?;
        match self.reply(self.limits.reply + Duration::from_secs(size / CHECKED))? {
            Reply::Checked(said) => Ok(cut(said)),
            other => Err(self.unexpected(other)),
        }
    }

    /// Reads whole pages.
    pub(super) fn read(&mut self, mut buffer: &mut [u8], at: u64) -> Result<(), Failure> {
        let length = u32::try_from(buffer.len()).map_err(|error| self.broken(error))?;
        self.send(&Request::Read { at, length }, None)?;
        let end = Instant::now() + self.limits.reply;
        while !buffer.is_empty() {
            let length = self.receive(end)?;
            let reply = self.packet.get(..length).unwrap_or_default();
            match reply.split_first() {
                Some((&Reply::DATA, data)) if !data.is_empty() && data.len() <= buffer.len() => {
                    let (filled, rest) = buffer.split_at_mut(data.len());
                    filled.copy_from_slice(data);
                    buffer = rest;
                }
                _ => {
                    let reply = Reply::parse(reply).map_err(|error| self.broken(error))?;
                    return Err(self.unexpected(reply));
                }
            }
        }
        Ok(())
    }

    fn unexpected(&self, reply: Reply) -> Failure {
        match reply {
            Reply::Failed { code, why } => Failure::Refused { code, why: cut(why) },
            _ => self.broken("sent another answer than was asked for"),
        }
    }

    fn send(&self, request: &Request, directory: Option<BorrowedFd<'_>>) -> Result<(), Failure> {
        let bytes = request.bytes();
        let descriptors: Vec<BorrowedFd<'_>> = directory.into_iter().collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(self.broken("cannot be given a directory"));
        }
        loop {
            match sendmsg(self.socket.as_fd(), &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(self.broken(format!("is gone: {error}"))),
            }
        }
    }

    fn reply(&mut self, limit: Duration) -> Result<Reply, Failure> {
        let length = self.receive(Instant::now() + limit)?;
        let packet = self.packet.get(..length).unwrap_or_default();
        Reply::parse(packet).map_err(|error| self.broken(error))
    }

    /// Receives one packet and says how long it is.
    fn receive(&mut self, end: Instant) -> Result<usize, Failure> {
        loop {
            match recv(self.socket.as_fd(), &mut *self.packet, RecvFlags::empty()) {
                Ok((_, 0)) | Err(Errno::CONNRESET) => return Err(self.broken("ended")),
                Ok((_, length)) => return Ok(length),
                Err(Errno::AGAIN | Errno::INTR) if Instant::now() < end => {}
                Err(Errno::AGAIN | Errno::INTR) => return Err(self.broken("did not answer in time")),
                Err(error) => return Err(self.broken(error)),
            }
        }
    }
}

/// Cuts what is too long, in front of a letter.
fn cut(mut text: String) -> String {
    if text.len() > TEXT {
        let end = (0..=TEXT).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
    }
    text
}
