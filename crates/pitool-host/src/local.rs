//! The real machine, or another root on it.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::{Mode, umask};

use crate::parse::{dpkg_status, extended_states};
use crate::trust::Last;
use crate::{
    Access, Candidate, Command, Content, Error, Host, Inspect, Lock, LockHolder, Looked, Output, Packages,
    Progress, Result, Stat, UnitStatus,
};

mod bus;
mod files;
mod manager;
mod process;
mod rehearsal;
#[cfg(test)]
mod tests;
mod tree;
mod unit_files;

pub use files::is_leftover;
use manager::Manager;
use tree::Tree;

const STATUS: &str = "/var/lib/dpkg/status";
const UPDATES: &str = "/var/lib/dpkg/updates";
const EXTENDED_STATES: &str = "/var/lib/apt/extended_states";

/// Where pitool writes about itself: the journal, the lock, the marks of units.
const OWN_RECORDS: [&str; 2] = ["/var/lib/pitool/", "/run/pitool/"];

/// The real machine.
///
/// With `/` it is the running system. With another root every path is inside it, links included, and programs run
/// by chroot(8) in it; what is not of the file system (clock, random bytes, environment) is this machine's.
pub struct Local {
    tree: Tree,
    progress: Box<dyn Fn(Progress)>,
    interrupted: Arc<AtomicBool>,
    packages: RefCell<Option<Rc<Packages>>>,
    answers: RefCell<Vec<Answer>>,
    manager: Manager,
}

/// A question with its candidates, and what was answered.
type Answer = (Vec<Candidate>, Command, Output);

impl Local {
    /// Opens the machine at this root.
    ///
    /// It also sets the process's umask to 022, so that what programs create does not depend on the caller's.
    pub fn new(root: &str) -> Result<Self> {
        umask(Mode::from_bits_truncate(0o022));
        Ok(Self {
            tree: Tree::open_root(root).map_err(Error::path("open the root", root))?,
            progress: Box::new(|_| {}),
            interrupted: Arc::default(),
            packages: RefCell::default(),
            answers: RefCell::default(),
            manager: Manager::default(),
        })
    }

    /// Sets who hears of progress.
    #[must_use]
    pub fn with_progress(mut self, listener: Box<dyn Fn(Progress)>) -> Self {
        self.progress = listener;
        self
    }

    /// Sets the flag that a signal handler raises when we are asked to stop.
    #[must_use]
    pub fn with_interrupt(mut self, flag: Arc<AtomicBool>) -> Self {
        self.interrupted = flag;
        self
    }

    /// Forgets it after a change at this path, unless the path is one of pitool's own records: no answer about packages
    /// or units depends on those, and a run writes them between any two steps.
    fn changed(&self, path: &str) {
        if !OWN_RECORDS.iter().any(|dir| path.starts_with(dir)) {
            self.forget();
        }
    }

    /// Reads a file that must be text, if it is there; a byte that is not UTF-8 spoils its character only.
    fn text(&self, path: &str) -> Result<Option<String>> {
        let content = self.read(path)?;
        Ok(content.map(|content| String::from_utf8_lossy(content.bytes()).into_owned()))
    }

    fn read_packages(&self) -> Result<Packages> {
        let Some(status) = self.text(STATUS)? else {
            return Err(Error::Unsupported(format!(
                "{STATUS} is missing: pitool works on Debian and Raspberry Pi OS only, where dpkg keeps it"
            )));
        };
        let mut updates = Vec::new();
        for name in self.list(UPDATES)?.unwrap_or_default() {
            // Four digits; dpkg writes a new one as `tmp.i` first.
            if name.bytes().all(|byte| byte.is_ascii_digit()) {
                updates.extend(self.text(&format!("{UPDATES}/{name}"))?);
            }
        }
        let updates: Vec<&str> = updates.iter().map(String::as_str).collect();
        let marks = self.text(EXTENDED_STATES)?.unwrap_or_default();
        let packages = dpkg_status::packages(&status, &updates, &extended_states::parse(&marks));
        packages.ok_or_else(|| Error::Parse {
            what: STATUS.to_owned(),
            why: "the package dpkg is missing".to_owned(),
        })
    }

    /// Whether there is a manager to ask, sd_booted(3).
    fn managed(&self) -> Result<bool> {
        self.manager.there(|| {
            Ok(self.live()
                && self.stat("/run/systemd/system")?.is_some()
                && process::available(&self.tree, "systemctl"))
        })
    }

    fn take_lock(
        &self,
        path: &str,
        holder: &LockHolder,
    ) -> io::Result<std::result::Result<HeldLock, LockHolder>> {
        if let Some((directory, _)) = path.rsplit_once('/') {
            if self.stat(directory).is_ok_and(|found| found.is_none()) {
                self.make_dir(directory, Access::root(0o755)).map_err(io::Error::other)?;
            }
        }
        loop {
            let (directory, name) = self.tree.root().parent(Path::new(path))?;
            // For root alone: flock(2) takes a lock on any descriptor, and anybody who can open it could keep us out.
            let mut file = match directory.create_own(name) {
                Err(error) if error.errno() == Some(rustix::io::Errno::EXIST) => {
                    match directory.open_own(name) {
                        // Removed since.
                        Err(error) if error.is_missing() => continue,
                        opened => opened?,
                    }
                }
                created => created?,
            };
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(mut lock) => {
                    // Somebody may have removed the file between opening and locking: such a lock keeps nobody out.
                    let there = directory.look(name).ok();
                    let there = there.map(|now| (now.metadata().dev(), now.metadata().ino()));
                    let ours = lock.metadata()?;
                    if there != Some((ours.dev(), ours.ino())) {
                        continue;
                    }
                    lock.set_len(0)?;
                    lock.rewind()?;
                    lock.write_all(serde_json::to_string(holder)?.as_bytes())?;
                    return Ok(Ok(HeldLock { _lock: lock }));
                }
                Err((held, Errno::EWOULDBLOCK)) => file = held,
                Err((_, errno)) => return Err(errno.into()),
            }
            // The holder may be about to write its name.
            for _ in 0..10 {
                let mut text = String::new();
                file.rewind()?;
                file.read_to_string(&mut text)?;
                if let Ok(holder) = serde_json::from_str(&text) {
                    return Ok(Err(holder));
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            return Ok(Err(LockHolder { pid: 0, since: String::new(), command: String::new() }));
        }
    }
}

/// Templates are no units, and the manager refuses to show them.
fn is_template(name: &str) -> bool {
    name.contains("@.")
}

impl Inspect for Local {
    fn read(&self, path: &str) -> Result<Option<Content>> {
        files::read(&self.tree, path)
    }

    fn look(&self, path: &str) -> Result<Option<Looked>> {
        files::look(&self.tree, path)
    }

    fn stat(&self, path: &str) -> Result<Option<Stat>> {
        files::stat(&self.tree, path)
    }

    fn list(&self, path: &str) -> Result<Option<Vec<String>>> {
        files::list(&self.tree, path)
    }

    fn ask(&self, command: &Command) -> Result<Output> {
        process::execute(&self.tree, command, &mut |_| {})
    }

    fn ask_with(&self, candidates: &[Candidate], command: &Command) -> Result<Output> {
        rehearsal::ask_with(&self.tree, candidates, command)
    }

    fn ask_once(&self, candidates: &[Candidate], command: &Command) -> Result<Output> {
        let same = |answer: &&Answer| answer.0 == candidates && answer.1 == *command;
        if let Some((.., output)) = self.answers.borrow().iter().find(same) {
            return Ok(output.clone());
        }
        let output =
            if candidates.is_empty() { self.ask(command) } else { self.ask_with(candidates, command) }?;
        self.answers.borrow_mut().push((candidates.to_vec(), command.clone(), output.clone()));
        Ok(output)
    }

    fn packages(&self) -> Result<Rc<Packages>> {
        if let Some(packages) = &*self.packages.borrow() {
            return Ok(Rc::clone(packages));
        }
        let packages = Rc::new(self.read_packages()?);
        *self.packages.borrow_mut() = Some(Rc::clone(&packages));
        Ok(packages)
    }

    fn expect_units(&self, names: &[&str]) {
        if self.managed().unwrap_or_default() {
            let unknown = self.manager.unknown(names);
            self.manager.expect(unknown.into_iter().filter(|name| !is_template(name)).collect());
        }
    }

    fn units(&self, names: &[&str]) -> Result<Vec<UnitStatus>> {
        let unknown = self.manager.unknown(names);
        let (files, units): (Vec<String>, Vec<String>) = match self.managed()? {
            true => unknown.into_iter().partition(|name| is_template(name)),
            false => (unknown, Vec::new()),
        };
        self.manager.ask(&self.tree, units)?;
        for name in files {
            self.manager.learn(vec![unit_files::status(self, &name)?]);
        }
        Ok(self.manager.known(names))
    }

    fn forget(&self) {
        self.packages.take();
        self.answers.take();
        self.manager.forget();
    }

    fn lock_holder(&self, path: &str) -> Result<Option<LockHolder>> {
        let Ok(file) = self.tree.root().look(Path::new(path), Last::Itself) else { return Ok(None) };
        let file = file.metadata();
        let locks = std::fs::read_to_string("/proc/locks").map_err(Error::path("read", "/proc/locks"))?;
        let (major, minor) = (rustix::fs::major(file.dev()), rustix::fs::minor(file.dev()));
        let place = format!("{major:02x}:{minor:02x}:{}", file.ino());
        // `1: FLOCK  ADVISORY  WRITE 4242 00:19:123 0 EOF`, proc_locks(5); whoever waits has `->` in front.
        let held = locks.lines().any(|line| {
            let mut words = line.split_ascii_whitespace().skip(1);
            words.next() == Some("FLOCK") && words.nth(3) == Some(place.as_str())
        });
        if !held {
            return Ok(None);
        }
        let nobody = LockHolder { pid: 0, since: String::new(), command: String::new() };
        let text = self.read(path).ok().flatten();
        let holder = text.and_then(|content| serde_json::from_slice(content.bytes()).ok());
        Ok(Some(holder.unwrap_or(nobody)))
    }

    fn live(&self) -> bool {
        self.tree.live()
    }

    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

impl Host for Local {
    fn write(&self, path: &str, content: &[u8], access: Access) -> Result<()> {
        self.changed(path);
        files::write(&self.tree, path, content, access)
    }

    fn write_in_place(&self, path: &str, content: &[u8]) -> Result<()> {
        self.changed(path);
        files::write_in_place(&self.tree, path, content)
    }

    fn append(&self, path: &str, content: &[u8], durable: bool) -> Result<()> {
        // For journals, between the steps of a run: no answer about packages or units depends on them.
        files::append(&self.tree, path, content, durable)
    }

    fn set_access(&self, path: &str, access: Access) -> Result<()> {
        self.changed(path);
        files::set_access(&self.tree, path, access)
    }

    fn link(&self, path: &str, target: &str) -> Result<()> {
        self.changed(path);
        files::link(&self.tree, path, target)
    }

    fn make_dir(&self, path: &str, access: Access) -> Result<()> {
        self.changed(path);
        files::make_dir(&self.tree, path, access)
    }

    fn remove(&self, path: &str) -> Result<()> {
        self.changed(path);
        files::remove(&self.tree, path)
    }

    fn remove_dir(&self, path: &str) -> Result<bool> {
        self.changed(path);
        files::remove_dir(&self.tree, path)
    }

    fn run_watched(&self, command: &Command, line: &mut dyn FnMut(&str)) -> Result<Output> {
        self.forget();
        let output = process::execute(&self.tree, command, line);
        // Again: the listener may have looked while the command was running.
        self.forget();
        Error::unless_ok(command, output?)
    }

    fn progress(&self, progress: Progress) {
        (self.progress)(progress);
    }

    fn random(&self, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let path = "/dev/urandom";
        File::open(path)
            .and_then(|mut file| file.read_exact(&mut bytes))
            .map_err(Error::path("read", path))?;
        Ok(bytes)
    }

    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }

    fn lock(
        &self,
        path: &str,
        holder: &LockHolder,
    ) -> Result<std::result::Result<Box<dyn Lock>, LockHolder>> {
        let taken = self.take_lock(path, holder).map_err(Error::path("lock", path))?;
        // Whoever held it before may have changed anything.
        self.forget();
        Ok(taken.map(|lock| Box::new(lock) as Box<dyn Lock>))
    }

    fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    fn set_interrupt_aside(&self) {
        self.interrupted.store(false, Ordering::Relaxed);
    }

    fn inspect(&self) -> &dyn Inspect {
        self
    }
}

/// A lock that ends with its file descriptor.
#[derive(Debug)]
struct HeldLock {
    _lock: Flock<File>,
}

impl Lock for HeldLock {}
