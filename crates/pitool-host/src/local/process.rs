//! Starting programs and reading what they say.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::tree::Tree;
use crate::trust::{Kind, Last};
use crate::{Command, Error, Output, Result};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What every program is started with, whatever the caller's environment says (traps T24 and T31).
const ENVIRONMENT: [(&str, &str); 10] = [
    ("PATH", PATH),
    ("LC_ALL", "C.UTF-8"),
    ("LANGUAGE", ""),
    ("HOME", "/root"),
    ("TERM", "dumb"),
    ("DEBIAN_FRONTEND", "noninteractive"),
    // needrestart lists what it would restart; pitool restarts what it has to.
    ("NEEDRESTART_MODE", "l"),
    ("NEEDRESTART_SUSPEND", "1"),
    ("APT_LISTCHANGES_FRONTEND", "none"),
    ("UCF_FORCE_CONFFOLD", "1"),
];

/// How long a process group may take to end after SIGTERM, before SIGKILL.
const GRACE: Duration = Duration::from_secs(5);

/// How often a program that says nothing is asked whether it has ended.
const PAUSE: Duration = Duration::from_millis(50);

/// The longest line handed to a listener in one piece.
const LINE_LIMIT: usize = 64 << 10;

/// Runs a command to its end.
pub(super) fn execute(tree: &Tree, command: &Command, line: &mut dyn FnMut(&str)) -> Result<Output> {
    let fail = |source| Error::Start { program: command.program.clone(), source };
    let mut child = prepare(tree, command).and_then(|mut ready| ready.spawn()).map_err(fail)?;
    let watched = watch(&mut child, command, line);
    if !matches!(watched, Ok(Some(_))) {
        stop(&mut child);
    }
    watched
        .map_err(fail)?
        .ok_or_else(|| Error::Timeout { command: command.display(), limit: command.timeout })
}

/// Opens descriptor 3 and becomes the program: the words come as arguments and are never read as a script.
const THIRD: [&str; 3] = ["/bin/sh", "-c", "exec \"$0\" \"$@\" 3>&1"];

fn prepare(tree: &Tree, command: &Command) -> io::Result<std::process::Command> {
    let mut words: Vec<OsString> = Vec::new();
    if command.third {
        words.extend(THIRD.map(OsString::from));
    }
    // Given a path, the standard library starts it without first copying this process.
    words.push(find(tree, &command.program).ok_or(io::ErrorKind::NotFound)?.into());
    if !tree.live() {
        words.splice(0..0, ["chroot".into(), tree.path().into()]);
        if !command.online {
            words.splice(0..0, ["unshare", "--net", "--"].map(OsString::from));
        }
    }
    let mut ready = std::process::Command::new(words.remove(0));
    ready.args(words);
    ready
        .args(command.words())
        .env_clear()
        .envs(ENVIRONMENT)
        .envs(command.env.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        // A group of its own: the terminal's ^C reaches pitool, which lets a started command finish.
        .process_group(0)
        .stdin(if command.stdin.is_empty() { Stdio::null() } else { Stdio::piped() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Ok(ready)
}

/// Looks a program up in the tree: a missing one must not be mistaken for a chroot(1) that failed.
fn find(tree: &Tree, program: &str) -> Option<String> {
    let executable = |path: &str| {
        let found = tree.root().look(Path::new(path), Last::Follow).ok()?;
        (found.kind() == Kind::File && found.access().mode & 0o111 != 0).then(|| path.to_owned())
    };
    if program.contains('/') {
        return executable(program);
    }
    PATH.split(':').find_map(|directory| executable(&format!("{directory}/{program}")))
}

/// Whether a program is there to be started.
pub(super) fn available(tree: &Tree, program: &str) -> bool {
    find(tree, program).is_some()
}

/// Feeds and reads a program until it has ended; `None` when its time was up before that.
///
/// One thread polls all three pipes, so that no pipe can fill up while another is waited for. Once the program has
/// ended, what is in the pipes is read and no more is waited for: a daemon that it started may hold them for ever.
fn watch(child: &mut Child, command: &Command, line: &mut dyn FnMut(&str)) -> io::Result<Option<Output>> {
    let deadline = Instant::now() + command.timeout;
    let mut feeder = Feeder { pipe: nonblocking(child.stdin.take())?, rest: &command.stdin };
    let mut stdout = Reader { pipe: nonblocking(child.stdout.take())?, kept: Vec::new() };
    let mut stderr = Reader { pipe: nonblocking(child.stderr.take())?, kept: Vec::new() };
    let mut lines = Lines::default();
    let mut looked = Instant::now();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        let open = feeder.pipe.is_some() || stdout.pipe.is_some() || stderr.pipe.is_some();
        let busy = if open { wait(&feeder, &stdout, &stderr, left.min(PAUSE))? } else { false };
        feeder.feed();
        let mut read = || {
            stdout.read(|kept, chunk| {
                keep_first(kept, chunk);
                lines.take(chunk, line);
            });
            stderr.read(keep_last);
        };
        read();
        if busy && looked.elapsed() < PAUSE {
            continue;
        }
        looked = Instant::now();
        // Asked before the last reading: what the program wrote itself is then in the pipes.
        let ended = child.try_wait()?;
        if let Some(status) = ended {
            read();
            lines.finish(line);
            let cut = stderr.kept.len().saturating_sub(Output::LIMIT);
            stderr.kept.drain(..cut);
            return Ok(Some(Output {
                status: code(status),
                stdout: text(stdout.kept),
                stderr: text(stderr.kept),
            }));
        }
        if !open {
            std::thread::sleep(left.min(Duration::from_millis(1)));
        }
    }
}

fn nonblocking<P: AsFd>(pipe: Option<P>) -> io::Result<Option<P>> {
    if let Some(pipe) = &pipe {
        fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    Ok(pipe)
}

/// Waits until a pipe has something or takes something; `false` when the pause was over first.
fn wait(
    feeder: &Feeder<'_>,
    stdout: &Reader<ChildStdout>,
    stderr: &Reader<ChildStderr>,
    pause: Duration,
) -> io::Result<bool> {
    let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(3);
    fds.extend(stdout.pipe.iter().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
    fds.extend(stderr.pipe.iter().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
    fds.extend(feeder.pipe.iter().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLOUT)));
    // Rounded up: poll(2) counts milliseconds, and the last one must not be spun away.
    let pause = PollTimeout::try_from(pause + Duration::from_millis(1)).unwrap_or(PollTimeout::ZERO);
    match poll(&mut fds, pause) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Standard input of a program.
struct Feeder<'c> {
    pipe: Option<ChildStdin>,
    rest: &'c [u8],
}

impl Feeder<'_> {
    /// Writes what fits, and closes the pipe after the last byte or when nobody reads.
    fn feed(&mut self) {
        while let Some(pipe) = &mut self.pipe {
            match pipe.write(self.rest) {
                Ok(written) => self.rest = &self.rest[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // EPIPE: a program need not read its input.
                Err(_) => self.rest = &[],
            }
            if self.rest.is_empty() {
                self.pipe = None;
            }
        }
    }
}

/// Standard output or error of a program.
struct Reader<P> {
    pipe: Option<P>,
    kept: Vec<u8>,
}

impl<P: Read> Reader<P> {
    /// Hands on what is in the pipe, and closes it at its end.
    ///
    /// At most as much as a pipe can hold (pipe(7): 1 MiB), so that nobody who never stops keeps us here.
    fn read(&mut self, mut take: impl FnMut(&mut Vec<u8>, &[u8])) {
        let mut chunk = [0; 16 << 10];
        let mut budget = 1 << 20;
        while budget > 0 {
            let Some(pipe) = &mut self.pipe else { return };
            match pipe.read(&mut chunk) {
                Ok(0) => self.pipe = None,
                Ok(length) => {
                    budget -= length.min(budget);
                    take(&mut self.kept, &chunk[..length]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.pipe = None,
            }
        }
    }
}

/// Cuts a stream into lines, at `\n` and also at `\r`: progress bars redraw their line with it.
#[derive(Default)]
struct Lines {
    begun: Vec<u8>,
    /// Whether the last byte was `\r`: a `\n` after it ends the same line.
    returned: bool,
}

impl Lines {
    fn take(&mut self, chunk: &[u8], line: &mut dyn FnMut(&str)) {
        for byte in chunk {
            match byte {
                b'\n' if self.returned => {}
                b'\n' | b'\r' => self.hand_on(line),
                _ => {
                    self.begun.push(*byte);
                    if self.begun.len() >= LINE_LIMIT {
                        self.hand_on(line);
                    }
                }
            }
            self.returned = *byte == b'\r';
        }
    }

    fn hand_on(&mut self, line: &mut dyn FnMut(&str)) {
        line(&String::from_utf8_lossy(&self.begun));
        self.begun.clear();
    }

    /// Hands on the last line, where it has no line end.
    fn finish(&mut self, line: &mut dyn FnMut(&str)) {
        if !self.begun.is_empty() {
            self.hand_on(line);
        }
    }
}

fn keep_first(kept: &mut Vec<u8>, chunk: &[u8]) {
    let room = Output::LIMIT - kept.len();
    kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
}

/// Keeps at least the last [`Output::LIMIT`] bytes; cutting only at twice that moves every byte once.
fn keep_last(kept: &mut Vec<u8>, chunk: &[u8]) {
    kept.extend_from_slice(chunk);
    if kept.len() > 2 * Output::LIMIT {
        kept.drain(..kept.len() - Output::LIMIT);
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// The status as a shell has it in `$?`.
fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

/// Ends a program with all that it started: SIGTERM to its group, then SIGKILL.
fn stop(child: &mut Child) {
    let Ok(pid) = i32::try_from(child.id()).map(Pid::from_raw) else { return };
    // Errors here mean that it is gone already.
    let _ = killpg(pid, Signal::SIGTERM);
    let deadline = Instant::now() + GRACE;
    // WNOWAIT: until it is waited for, nobody else can have its process id.
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    while Instant::now() < deadline && matches!(waitid(Id::Pid(pid), flags), Ok(WaitStatus::StillAlive)) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = killpg(pid, Signal::SIGKILL);
    let _ = child.wait();
}
