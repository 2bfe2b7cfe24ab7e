//! The simulated machine as a host: what [`Inspect`] and [`Host`] ask of it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use pitool_host::{
    Access, ActiveState, Candidate, Command, Content, Error, FileType, Host, Inspect, Lock, LockHolder,
    Looked, Output, Packages, Progress, Result, Stat, UnitStatus, trust,
};

use super::{Locks, Sim};
use crate::program;
use crate::world::{self, Node, World, errno};

/// What [`Inspect::read`] reads at most.
const LARGEST: u64 = 16 << 20;

impl Sim {
    /// Makes one change to a path, unless a test wants it to fail.
    fn touch(&self, operation: &'static str, path: &str, change: impl FnOnce(&mut World)) -> Result<()> {
        self.touch_or(operation, path, |_| {}, change)
    }

    fn touch_or(
        &self,
        operation: &'static str,
        path: &str,
        torn: impl FnOnce(&mut World),
        change: impl FnOnce(&mut World),
    ) -> Result<()> {
        let what = format!("{operation} {path}");
        if let Some(fault) = self.fault(&what) {
            return Err(Self::refuse(operation, path, fault.errno()));
        }
        self.change_or(&what, torn, change)
    }

    fn refuse(operation: &'static str, path: &str, errno: i32) -> Error {
        Error::path(operation, path)(std::io::Error::from_raw_os_error(errno))
    }

    fn stopped(operation: &'static str, path: &str, stop: world::Stop) -> Error {
        match stop {
            world::Stop::Errno(errno) => Self::refuse(operation, path, errno),
            world::Stop::ForeignLink(name) => {
                Error::finding(operation, path)(trust::Error::ForeignLink { name })
            }
        }
    }

    fn unexpected(path: &str, node: &Node, expected: &'static str) -> Error {
        let found = match node {
            Node::File { size: Some(size), .. } if *size > LARGEST => "larger than 16 MiB",
            Node::File { .. } => "a regular file",
            Node::Dir { .. } => "a directory",
            Node::Link { .. } => "a symbolic link",
            Node::Device => "a character device",
        };
        Error::Unexpected { path: path.to_owned(), found: found.to_owned(), expected }
    }

    /// Gives what is at a path as far as root follows links; `None` where nothing is.
    fn found(&self, operation: &'static str, path: &str, follow: bool) -> Result<Option<Node>> {
        self.alive()?;
        let world = self.world.borrow();
        match world.trusted(path, follow) {
            Ok(real) => Ok(world.nodes.get(&real).cloned()),
            Err(stop @ world::Stop::ForeignLink(_)) => Err(Self::stopped(operation, path, stop)),
            Err(world::Stop::Errno(_)) => Ok(None),
        }
    }

    /// Gives the place of what is to go; `None` where there is no such place.
    fn there(&self, operation: &'static str, path: &str) -> Result<Option<String>> {
        match self.world.borrow().trusted(path, false) {
            Ok(real) => Ok(Some(real)),
            Err(stop @ world::Stop::ForeignLink(_)) => Err(Self::stopped(operation, path, stop)),
            Err(world::Stop::Errno(_)) => Ok(None),
        }
    }

    fn stat_of(node: &Node) -> Stat {
        match node {
            Node::File { content, size, access } => Stat {
                file_type: FileType::File,
                access: *access,
                size: size.unwrap_or(content.bytes().len() as u64),
            },
            Node::Dir { access } => Stat { file_type: FileType::Directory, access: *access, size: 4096 },
            Node::Link { target } => Stat {
                file_type: FileType::Link(target.clone()),
                access: Access::root(0o777),
                size: target.len() as u64,
            },
            Node::Device => Stat { file_type: FileType::Other, access: Access::root(0o660), size: 0 },
        }
    }

    fn content_of(path: &str, node: Node) -> Result<Content> {
        match node {
            Node::File { size: Some(size), .. } if size > LARGEST => {
                Err(Self::unexpected(path, &node, "a configuration file"))
            }
            Node::File { content, .. } => Ok(content),
            other => Err(Self::unexpected(path, &other, "a regular file")),
        }
    }

    /// Gives the place where a change to this path lands, which may be empty yet; its directory must be there.
    fn target(&self, operation: &'static str, path: &str, follow: bool) -> Result<String> {
        self.alive()?;
        let world = self.world.borrow();
        let real = world.trusted(path, follow).map_err(|stop| Self::stopped(operation, path, stop))?;
        match world.nodes.get(world::split(&real).0) {
            Some(Node::Dir { .. }) => Ok(real),
            Some(_) => Err(Self::refuse(operation, path, errno::ENOTDIR)),
            None => Err(Self::refuse(operation, path, errno::ENOENT)),
        }
    }

    /// The same for an atomic replacement, which neither a directory nor the kernel's own file systems take.
    fn replaceable(&self, operation: &'static str, path: &str) -> Result<String> {
        let real = self.target(operation, path, false)?;
        if real.starts_with("/proc/") || real.starts_with("/sys/") {
            return Err(Self::refuse(operation, path, errno::EACCES));
        }
        match self.world.borrow().nodes.get(&real) {
            Some(Node::Dir { .. }) => Err(Self::refuse(operation, path, errno::EISDIR)),
            _ => Ok(real),
        }
    }
}

impl Inspect for Sim {
    fn read(&self, path: &str) -> Result<Option<Content>> {
        self.found("read", path, true)?.map(|node| Self::content_of(path, node)).transpose()
    }

    fn look(&self, path: &str) -> Result<Option<Looked>> {
        let Some(node) = self.found("look at", path, false)? else { return Ok(None) };
        let stat = Self::stat_of(&node);
        let content = match stat.file_type {
            FileType::File => Some(Self::content_of(path, node)?),
            _ => None,
        };
        Ok(Some(Looked { stat, content }))
    }

    fn stat(&self, path: &str) -> Result<Option<Stat>> {
        Ok(self.found("look at", path, false)?.as_ref().map(Self::stat_of))
    }

    fn list(&self, path: &str) -> Result<Option<Vec<String>>> {
        self.found("list", path, true)?;
        Ok(self.world.borrow().names(path))
    }

    fn ask(&self, command: &Command) -> Result<Output> {
        self.ask_with(&[], command)
    }

    fn ask_with(&self, candidates: &[Candidate], command: &Command) -> Result<Output> {
        self.alive()?;
        self.questions.borrow_mut().push(command.display());
        if let Some((_, output)) = self
            .answers
            .borrow()
            .iter()
            .rev()
            .find(|(start, _)| command.display().starts_with(start.as_str()))
        {
            return Ok(output.clone());
        }
        if candidates.is_empty() {
            return program::ask(self, &self.world, command);
        }
        let mut view = self.snapshot();
        for candidate in candidates {
            match candidate {
                Candidate::File { path, content, access } => {
                    view.erase(path).put_with(path, content.clone(), *access);
                }
                Candidate::Link { path, target } => {
                    view.erase(path).put_link(path, target);
                }
                Candidate::Absent { path } => {
                    view.erase(path);
                }
            }
        }
        program::ask(self, &RefCell::new(view), command)
    }

    fn packages(&self) -> Result<Rc<Packages>> {
        self.alive()?;
        Ok(Rc::new(self.world.borrow().packages.clone()))
    }

    fn units(&self, names: &[&str]) -> Result<Vec<UnitStatus>> {
        self.alive()?;
        let world = self.world.borrow();
        Ok(names
            .iter()
            .map(|name| {
                let status = world.unit_status(name);
                if self.away.get() {
                    UnitStatus {
                        active: ActiveState::Inactive,
                        invocation: String::new(),
                        stale: false,
                        unannounced: false,
                        started: None,
                        ..status
                    }
                } else {
                    status
                }
            })
            .collect())
    }

    fn lock_holder(&self, path: &str) -> Result<Option<LockHolder>> {
        Ok(self.locks.borrow().get(path).map(|(_, holder)| holder.clone()))
    }

    fn live(&self) -> bool {
        !self.away.get()
    }

    fn now(&self) -> jiff::Timestamp {
        self.world.borrow().clock
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.borrow().get(name).cloned()
    }
}

impl Host for Sim {
    fn write(&self, path: &str, content: &[u8], access: Access) -> Result<()> {
        let real = self.replaceable("write", path)?;
        let node = Node::File { content: content.to_vec().into(), size: None, access };
        self.touch("write", path, |world| {
            world.unsynced.remove(&real);
            world.nodes.insert(real, node);
        })
    }

    fn write_in_place(&self, path: &str, content: &[u8]) -> Result<()> {
        let real = self.target("write", path, true)?;
        match self.world.borrow().nodes.get(&real) {
            Some(Node::File { .. }) => {}
            Some(_) => return Err(Self::refuse("write", path, errno::EISDIR)),
            None => return Err(Self::refuse("write", path, errno::ENOENT)),
        }
        let mut bytes = content.to_vec();
        // The kernel answers with a line, however the value was written.
        if real.starts_with("/proc/sys/") && !bytes.ends_with(b"\n") {
            bytes.push(b'\n');
        }
        self.touch("write", path, |world| world.edit(&real, bytes))
    }

    fn append(&self, path: &str, content: &[u8], durable: bool) -> Result<()> {
        let real = self.target("append", path, true)?;
        let before = self.world.borrow().nodes.get(&real).cloned();
        let (held, access) = match &before {
            Some(Node::File { content, access, .. }) => (content.bytes().to_vec(), *access),
            Some(_) => return Err(Self::refuse("append", path, errno::EISDIR)),
            None => (Vec::new(), Access::root(0o600)),
        };
        let with = |bytes: &[u8]| {
            let content: Vec<u8> = held.iter().chain(bytes).copied().collect();
            Node::File { content: content.into(), size: None, access }
        };
        let (half, whole) = (with(&content[..content.len() / 2]), with(content));
        self.touch_or(
            "append",
            path,
            |world| {
                world.unsynced.remove(&real);
                world.nodes.insert(real.clone(), half);
            },
            |world| {
                if durable {
                    world.unsynced.remove(&real);
                } else {
                    world.unsynced.entry(real.clone()).or_insert(before.clone());
                }
                world.nodes.insert(real.clone(), whole);
            },
        )
    }

    fn set_access(&self, path: &str, wanted: Access) -> Result<()> {
        let real = self.target("set access of", path, false)?;
        let now = match self.world.borrow().nodes.get(&real) {
            Some(Node::File { access, .. }) => Some(*access),
            Some(Node::Dir { .. }) => None,
            Some(other) => return Err(Self::unexpected(path, other, "a file or directory")),
            None => return Err(Self::refuse("set access of", path, errno::ENOENT)),
        };
        let gives_away = now.is_some_and(|now| (now.uid, now.gid) != (wanted.uid, wanted.gid));
        if gives_away && !self.world.borrow().is_for_root_alone(world::split(&real).0) {
            return Err(Error::Unexpected {
                path: path.to_owned(),
                found: "owned by another user".to_owned(),
                expected: "the file that was looked at; write it to change its owner",
            });
        }
        self.touch("set access of", path, |world| {
            if let Some(Node::File { access, .. } | Node::Dir { access }) = world.nodes.get_mut(&real) {
                *access = wanted;
            }
        })
    }

    fn link(&self, path: &str, target: &str) -> Result<()> {
        let real = self.replaceable("link", path)?;
        let node = Node::Link { target: target.to_owned() };
        self.touch("link", path, |world| {
            world.unsynced.remove(&real);
            world.nodes.insert(real, node);
        })
    }

    fn make_dir(&self, path: &str, access: Access) -> Result<()> {
        let real = self.target("create", path, false)?;
        match self.world.borrow().nodes.get(&real) {
            None | Some(Node::Dir { .. }) => {}
            Some(other) => return Err(Self::unexpected(path, other, "a directory")),
        }
        self.touch("create", path, |world| {
            world.nodes.insert(real, Node::Dir { access });
        })
    }

    fn remove(&self, path: &str) -> Result<()> {
        self.alive()?;
        let Some(real) = self.there("remove", path)? else { return Ok(()) };
        match self.world.borrow().nodes.get(&real) {
            None => return Ok(()),
            Some(Node::Dir { .. }) => return Err(Self::refuse("remove", path, errno::EISDIR)),
            Some(_) => {}
        }
        self.touch("remove", path, |world| {
            world.unsynced.remove(&real);
            world.nodes.remove(&real);
        })
    }

    fn remove_dir(&self, path: &str) -> Result<bool> {
        self.alive()?;
        let Some(real) = self.there("remove directory", path)? else { return Ok(true) };
        match self.world.borrow().nodes.get(&real) {
            None => return Ok(true),
            Some(Node::Dir { .. }) => {}
            Some(_) => return Err(Self::refuse("remove", path, errno::ENOTDIR)),
        }
        if self.world.borrow().names(&real).is_some_and(|names| !names.is_empty()) {
            return Ok(false);
        }
        self.touch("remove", path, |world| {
            world.nodes.remove(&real);
        })?;
        Ok(true)
    }

    fn run_watched(&self, command: &Command, line: &mut dyn FnMut(&str)) -> Result<Output> {
        self.alive()?;
        self.commands.borrow_mut().push(command.display());
        let output = match self.answered(command) {
            Some(output) => {
                self.change(&command.display(), |_| {})?;
                output.stdout.lines().for_each(line);
                output
            }
            None => program::run(self, command, line)?,
        };
        Error::unless_ok(command, output)
    }

    fn progress(&self, progress: Progress) {
        self.progress.borrow_mut().push(progress);
    }

    fn random(&self, length: usize) -> Result<Vec<u8>> {
        self.alive()?;
        let mut world = self.world.borrow_mut();
        world.randoms += 1;
        let seed = world.randoms;
        let mut bytes = Vec::with_capacity(length + 32);
        for block in 0u64.. {
            if bytes.len() >= length {
                break;
            }
            bytes.extend_from_slice(blake3::hash(format!("{seed} {block}").as_bytes()).as_bytes());
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    fn sleep(&self, duration: Duration) {
        if let Ok(duration) = jiff::SignedDuration::try_from(duration) {
            self.world.borrow_mut().clock += duration;
        }
    }

    fn lock(
        &self,
        path: &str,
        holder: &LockHolder,
    ) -> Result<std::result::Result<Box<dyn Lock>, LockHolder>> {
        self.alive()?;
        if let Some((_, other)) = self.locks.borrow().get(path) {
            return Ok(Err(other.clone()));
        }
        let number = self.lock_number.get() + 1;
        self.lock_number.set(number);
        self.locks.borrow_mut().insert(path.to_owned(), (number, holder.clone()));
        Ok(Ok(Box::new(Held { path: path.to_owned(), number, locks: Rc::clone(&self.locks) })))
    }

    fn interrupted(&self) -> bool {
        self.interrupt.get().is_some_and(|at| self.mutations.get() >= at)
    }

    fn set_interrupt_aside(&self) {
        if self.interrupted() {
            self.interrupt.set(None);
        }
    }

    fn inspect(&self) -> &dyn Inspect {
        self
    }
}

/// A lock that is held until it is dropped.
struct Held {
    path: String,
    number: u64,
    locks: Locks,
}

impl Lock for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        // After a kill the lock may be another's by now.
        let mut locks = self.locks.borrow_mut();
        if locks.get(&self.path).is_some_and(|(number, _)| *number == self.number) {
            locks.remove(&self.path);
        }
    }
}
