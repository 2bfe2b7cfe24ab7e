//! What no file says: the kernel asked by system calls, local services asked over sockets.
//!
//! A trait, so that checks are tested with a machine that is made up; [`Live`] is the real one. Every question has a limit of
//! time and of size, because a service that watches must not be stopped by what it watches.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use pitool_host::http::{self, Answer};
use pitool_host::text::chain;

use crate::kernel::pi::Throttled;

/// How full a file system is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes in all.
    pub size: u64,
    /// Bytes that are free, some of them for root alone.
    pub free: u64,
    /// Bytes that anybody may fill.
    pub available: u64,
    /// Inodes in all; 0 where the file system has no fixed number.
    pub files: u64,
    /// Inodes that are free.
    pub files_free: u64,
}

impl Usage {
    /// The share in use of what anybody may fill, 0 to 1, as df(1) counts it.
    pub fn used(&self) -> Option<f64> {
        let used = self.size.saturating_sub(self.free);
        let all = used + self.available;
        (all > 0).then(|| used as f64 / all as f64)
    }

    /// The share of inodes in use.
    pub fn files_used(&self) -> Option<f64> {
        (self.files > 0).then(|| 1.0 - self.files_free.min(self.files) as f64 / self.files as f64)
    }
}

/// What the kernel knows of its clock, adjtimex(2).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ClockState {
    /// Whether something keeps it in step.
    pub synchronized: bool,
    /// How far it is off, in seconds, as far as whoever keeps it knows.
    pub offset: f64,
    /// The largest it may be off, in seconds.
    pub max_error: f64,
}

/// The machine, asked.
pub trait System {
    /// Asks statvfs(3).
    ///
    /// # Errors
    /// What the system said.
    fn usage(&self, point: &str) -> Result<Usage, String>;

    /// Asks adjtimex(2) without setting anything.
    ///
    /// # Errors
    /// What the system said.
    fn clock(&self) -> Result<ClockState, String>;

    /// Asks the Pi's firmware for its throttle bits; `None` where there is no such firmware.
    ///
    /// # Errors
    /// There is one, and it did not answer.
    fn throttled(&self) -> Result<Option<Throttled>, String>;

    /// Asks Docker over its socket; `None` where there is no socket.
    ///
    /// # Errors
    /// There is one, and no answer came of it.
    fn docker(&self, path: &str) -> Result<Option<Answer>, String>;

    /// Asks a service of this machine over HTTP.
    ///
    /// # Errors
    /// No answer came.
    fn http(&self, port: u16, host: &str, path: &str) -> Result<Answer, String>;

    /// Asks the web server, by a TLS handshake under this name, until when its certificate holds.
    ///
    /// # Errors
    /// Nobody answers, or not in TLS; the words say why.
    fn served(&self, name: &str) -> Result<Timestamp, String>;

    /// Time that only goes forwards.
    fn monotonic(&self) -> Duration;
}

/// The real machine.
#[derive(Clone, Copy, Debug)]
pub struct Live {
    started: Instant,
}

impl Default for Live {
    fn default() -> Self {
        Self { started: Instant::now() }
    }
}

/// How long a service of this machine may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The most bytes of an answer that are read: a hundred containers are 200 KiB of Docker's JSON.
const LARGEST: usize = 2 << 20;

/// Docker's socket.
pub const DOCKER: &str = "/run/docker.sock";

/// The Pi's door to its firmware.
const VCIO: &str = "/dev/vcio";

impl System for Live {
    fn usage(&self, point: &str) -> Result<Usage, String> {
        let found = rustix::fs::statvfs(point).map_err(|error| error.to_string())?;
        let (unit, blocks, free, available, files, files_free) =
            (found.f_frsize, found.f_blocks, found.f_bfree, found.f_bavail, found.f_files, found.f_ffree);
        Ok(Usage { size: blocks * unit, free: free * unit, available: available * unit, files, files_free })
    }

    fn clock(&self) -> Result<ClockState, String> {
        adjtimex()
    }

    fn throttled(&self) -> Result<Option<Throttled>, String> {
        match std::fs::OpenOptions::new().read(true).open(VCIO) {
            Ok(device) => mailbox(&device).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{VCIO}: {error}")),
        }
    }

    fn docker(&self, path: &str) -> Result<Option<Answer>, String> {
        let stream = match UnixStream::connect(DOCKER) {
            Ok(stream) => stream,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{DOCKER}: {error}")),
        };
        let limits = |stream: &UnixStream, left| {
            stream.set_read_timeout(Some(left)).and_then(|()| stream.set_write_timeout(Some(left)))
        };
        ask(stream, limits, "docker", path).map(Some).map_err(|error| format!("{DOCKER}: {error}"))
    }

    fn http(&self, port: u16, host: &str, path: &str) -> Result<Answer, String> {
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        let limits = |stream: &TcpStream, left| {
            stream.set_read_timeout(Some(left)).and_then(|()| stream.set_write_timeout(Some(left)))
        };
        TcpStream::connect_timeout(&address, PATIENCE)
            .and_then(|stream| ask(stream, limits, host, path))
            .map_err(|error| format!("port {port}: {error}"))
    }

    fn served(&self, name: &str) -> Result<Timestamp, String> {
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 443);
        pitool_net::served::handshake(address, name, &[])
            .map(|served| served.certificate.not_after)
            .map_err(|error| chain(&error))
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Sends one request and reads the whole answer, within [`PATIENCE`].
fn ask<S: Read + Write>(
    mut stream: S,
    limit: impl Fn(&S, Duration) -> io::Result<()>,
    host: &str,
    path: &str,
) -> io::Result<Answer> {
    let end = Instant::now() + PATIENCE;
    let left = || {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::Error::from(io::ErrorKind::TimedOut)) } else { Ok(left) }
    };
    limit(&stream, left()?)?;
    // HTTP/1.0, so that the answer ends with the connection and comes in one piece.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: pitool\r\nConnection: close\r\n\r\n")?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 8192];
    loop {
        limit(&stream, left()?)?;
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => bytes.extend_from_slice(&chunk[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
        if bytes.len() > LARGEST {
            return Err(io::Error::other("the answer is too large"));
        }
    }
    http::answer(&bytes).ok_or_else(|| io::Error::other("what came back is not HTTP"))
}

#[expect(
    unsafe_code,
    reason = "neither the standard library nor nix has adjtimex(2); it fills a plain struct"
)]
fn adjtimex() -> Result<ClockState, String> {
    // SAFETY: all zeros is a valid timex (modes 0: nothing is set), and the kernel writes only within it.
    let (state, timex) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&mut timex), timex)
    };
    if state < 0 {
        return Err(format!("adjtimex: {}", io::Error::last_os_error()));
    }
    let unit = if timex.status & libc::STA_NANO == 0 { 1e6 } else { 1e9 };
    Ok(ClockState {
        synchronized: timex.status & libc::STA_UNSYNC == 0 && state != libc::TIME_ERROR,
        offset: timex.offset as f64 / unit,
        max_error: timex.maxerror as f64 / 1e6,
    })
}

#[expect(unsafe_code, reason = "the firmware is asked by ioctl(2), which nobody wraps for this device")]
fn mailbox(device: &std::fs::File) -> Result<Throttled, String> {
    // _IOWR(100, 0, char *), drivers/char/broadcom/vcio.c: the size is that of a pointer.
    let request = (3 << 30) | ((std::mem::size_of::<*mut u8>() as u64) << 16) | (100 << 8);
    let mut words = Throttled::question();
    // SAFETY: the driver reads and writes as many bytes as the first word says, which is the size of `words`.
    #[allow(
        clippy::allow_attributes,
        clippy::unnecessary_cast,
        reason = "the type of a request differs by architecture"
    )]
    let result = unsafe { libc::ioctl(device.as_raw_fd(), request as _, words.as_mut_ptr()) };
    if result < 0 {
        return Err(format!("{VCIO}: {}", io::Error::last_os_error()));
    }
    Throttled::answer(&words).ok_or_else(|| format!("{VCIO}: the firmware did not answer"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_kernel_answers() {
        let usage = Live::default().usage("/").unwrap();
        assert!(usage.size > 0 && usage.used().unwrap() <= 1.0);
        assert!(Live::default().usage("/nonexistent").is_err());
        Live::default().clock().unwrap();
    }

    #[test]
    fn a_service_that_never_answers_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let started = Instant::now();
        let error = Live::default().http(port, "x", "/").unwrap_err();
        assert!(started.elapsed() < PATIENCE * 2, "{error}");
        drop(listener);
        assert!(Live::default().http(port, "x", "/").unwrap_err().contains("refused"));
    }

    #[test]
    fn full_is_what_anybody_may_fill() {
        let usage = Usage { size: 100, free: 20, available: 15, files: 0, files_free: 0 };
        assert_eq!(usage.used().map(|used| (used * 1000.0).round()), Some(842.0));
        assert_eq!(usage.files_used(), None);
    }
}
