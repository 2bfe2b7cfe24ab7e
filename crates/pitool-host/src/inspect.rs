//! The two halves of the door.

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::{Access, Command, Content, Output, Packages, Result, Stat, UnitStatus};

/// Reading the machine. Nothing here can change it.
///
/// Paths are absolute, UTF-8, as seen on the machine: a host rooted elsewhere (a mounted card) prefixes them. A
/// symbolic link in a directory that somebody else than root can write is not followed ([`crate::trust`]): such a path,
/// like something of the wrong kind, is [`crate::Error::Unexpected`].
/// Answers about packages and units, and those of [`ask_once`](Inspect::ask_once), are read once and kept until the
/// next write through [`Host`].
pub trait Inspect {
    /// Reads a whole regular file, following links; `None` where nothing is there (or a link dangles).
    /// A directory or a file over 16 MiB is an error: nothing that pitool manages is larger.
    fn read(&self, path: &str) -> Result<Option<Content>>;

    /// Looks at a path without following a link in its last component, and reads what it looked at where that is a
    /// regular file (over 16 MiB is an error); `None` where nothing is there.
    ///
    /// One question: asked as [`stat`](Self::stat) and then [`read`](Self::read), the owner of the directory could put
    /// a link to somebody else's file in between.
    fn look(&self, path: &str) -> Result<Option<Looked>>;

    /// Looks at a path without following a link in its last component; `None` where nothing is there.
    fn stat(&self, path: &str) -> Result<Option<Stat>>;

    /// Names in a directory, sorted; `None` where there is no directory.
    fn list(&self, path: &str) -> Result<Option<Vec<String>>>;

    /// Runs a command that only answers a question. A status other than 0 is an answer, not an error.
    fn ask(&self, command: &Command) -> Result<Output>;

    /// Runs a command that only answers a question, in a private view of the machine in which the candidates are
    /// already in place. The machine itself is not touched. Used to check a configuration before it goes live.
    fn ask_with(&self, candidates: &[Candidate], command: &Command) -> Result<Output>;

    /// The same, asked once: the answer is kept until the next write through [`Host`].
    fn ask_once(&self, candidates: &[Candidate], command: &Command) -> Result<Output> {
        if candidates.is_empty() { self.ask(command) } else { self.ask_with(candidates, command) }
    }

    /// The package database, from dpkg's status file and apt's extended states.
    fn packages(&self) -> Result<Rc<Packages>>;

    /// The status of these units, in this order; the manager is asked once for all that are not yet known.
    /// On a machine that is not running (another root) every unit is inactive and its file state comes from files.
    fn units(&self, names: &[&str]) -> Result<Vec<UnitStatus>>;

    /// Says that [`units`](Self::units) will be asked for these: the answer may be on its way while other things are
    /// read. What goes wrong is told with the answer.
    fn expect_units(&self, _names: &[&str]) {}

    /// Forgets all answers that are kept: whoever asks next is to hear what is so now.
    fn forget(&self) {}

    /// Who holds the lock at this path, without touching it; `None` where nobody does. Where somebody does whose name may
    /// not be read, the holder's process id is 0.
    fn lock_holder(&self, _path: &str) -> Result<Option<LockHolder>> {
        Ok(None)
    }

    /// Whether this is the running system: false for another root, where nothing can be started or asked.
    fn live(&self) -> bool;

    /// The time now. It may be wrong: a Pi has no clock chip.
    fn now(&self) -> jiff::Timestamp;

    /// A variable of the environment that pitool was called in (`SSH_CONNECTION`, `NO_COLOR`).
    fn variable(&self, name: &str) -> Option<String>;
}

/// Reading and changing the machine.
///
/// Every write is atomic and durable: a temporary file beside the target, `fsync`, `rename`, `fsync` of the
/// directory. After a power cut at any moment a path holds the old content or the new.
pub trait Host: Inspect {
    /// Replaces or creates a regular file. Its directory must exist. A symbolic link at the path is replaced, not followed.
    fn write(&self, path: &str, content: &[u8], access: Access) -> Result<()>;

    /// Writes into an existing file without replacing it: for `/proc/sys` and `/sys` only.
    fn write_in_place(&self, path: &str, content: &[u8]) -> Result<()>;

    /// Appends to a file, creating it (0600, root) where it is missing. `durable` syncs it, and its directory
    /// when it was created. For journals.
    fn append(&self, path: &str, content: &[u8], durable: bool) -> Result<()>;

    /// Sets mode, owner and group of an existing file or directory.
    fn set_access(&self, path: &str, access: Access) -> Result<()>;

    /// Creates a symbolic link or replaces a link or file at the path, atomically.
    fn link(&self, path: &str, target: &str) -> Result<()>;

    /// Creates one directory, whose parent must exist. One that is there already is given this access.
    fn make_dir(&self, path: &str, access: Access) -> Result<()>;

    /// Removes a file or link; nothing there is fine.
    fn remove(&self, path: &str) -> Result<()>;

    /// Removes an empty directory; `false` when it is not empty; nothing there is fine.
    fn remove_dir(&self, path: &str) -> Result<bool>;

    /// Runs a command that changes something. A status other than 0 is [`crate::Error::Failed`].
    /// `line` is handed each line of its standard output as it comes.
    fn run_watched(&self, command: &Command, line: &mut dyn FnMut(&str)) -> Result<Output>;

    /// Runs a command that changes something. A status other than 0 is [`crate::Error::Failed`].
    fn run(&self, command: &Command) -> Result<Output> {
        self.run_watched(command, &mut |_| {})
    }

    /// Tells whoever listens how a long operation is getting on.
    fn progress(&self, progress: Progress);

    /// Random bytes from the kernel.
    fn random(&self, length: usize) -> Result<Vec<u8>>;

    /// Waits.
    fn sleep(&self, duration: std::time::Duration);

    /// Takes the lock at this path, writing down the holder; or tells who holds it.
    /// It is freed when the value is dropped or the process ends.
    fn lock(&self, path: &str, holder: &LockHolder)
    -> Result<std::result::Result<Box<dyn Lock>, LockHolder>>;

    /// Whether a person or the service manager asked us to stop (SIGINT, SIGTERM).
    fn interrupted(&self) -> bool;

    /// Sets aside that somebody asked us to stop: [`interrupted`](Self::interrupted) is true again when somebody asks once
    /// more. For work that must not be left half done because of a request that was meant for the work before it.
    fn set_interrupt_aside(&self);

    /// This host as its reading half.
    fn inspect(&self) -> &dyn Inspect;
}

/// What is at a path, looked at and read in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    /// What it is.
    pub stat: Stat,
    /// What it holds, where it is a regular file.
    pub content: Option<Content>,
}

/// A file or link as it would be: part of a [`Inspect::ask_with`] question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Candidate {
    /// The file would hold this.
    File {
        /// Its path.
        path: String,
        /// Its content.
        content: Content,
        /// Its mode, owner and group.
        access: Access,
    },
    /// The link would point there.
    Link {
        /// Its path.
        path: String,
        /// Its target.
        target: String,
    },
    /// The path would be gone.
    Absent {
        /// The path.
        path: String,
    },
}

impl Candidate {
    /// The path that it is about.
    pub fn path(&self) -> &str {
        match self {
            Self::File { path, .. } | Self::Link { path, .. } | Self::Absent { path } => path,
        }
    }
}

/// A held lock.
pub trait Lock {}

/// Who holds the lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockHolder {
    /// Process id.
    pub pid: u32,
    /// Since when, RFC 3339.
    pub since: String,
    /// The command line.
    pub command: String,
}

/// How a long operation is getting on.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// So many percent done, and what is happening.
    Percent {
        /// 0 to 100.
        percent: f64,
        /// In a few words.
        message: String,
    },
    /// Waiting for something, in a few words ("another apt holds its lock").
    Waiting(String),
}
