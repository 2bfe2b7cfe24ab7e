//! What a program of the simulated machine is handed, and how it ends.

use std::cell::{Ref, RefCell};

use pitool_host::{Command, Error, Output};

use crate::sim::{Fault, Sim};
use crate::world::World;

/// Why a program stops before its end.
pub(crate) enum Stop {
    /// The machine itself failed.
    Broken(Error),
    /// The program gives up with this status.
    Status(i32),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

/// How a program ends: its status.
pub(crate) type Ending = std::result::Result<i32, Stop>;

/// The surroundings of one run of a program.
pub(crate) struct Shell<'a> {
    sim: &'a Sim,
    world: &'a RefCell<World>,
    question: bool,
    /// The command that is run.
    pub(crate) command: &'a Command,
    line: &'a mut dyn FnMut(&str),
    stdout: String,
    stderr: String,
}

impl<'a> Shell<'a> {
    /// Makes the surroundings of one run: on this world, with nothing printed. A question may change nothing.
    pub(crate) fn new(
        sim: &'a Sim,
        world: &'a RefCell<World>,
        question: bool,
        command: &'a Command,
        line: &'a mut dyn FnMut(&str),
    ) -> Self {
        Self { sim, world, question, command, line, stdout: String::new(), stderr: String::new() }
    }

    /// Gives what was printed, with the status that the program ended with.
    pub(crate) fn end(self, status: i32) -> Output {
        Output { status, stdout: self.stdout, stderr: self.stderr }
    }
}

impl Shell<'_> {
    /// The machine as it is.
    pub(crate) fn world(&self) -> Ref<'_, World> {
        self.world.borrow()
    }

    /// Prints a line on standard output.
    pub(crate) fn say(&mut self, line: impl AsRef<str>) {
        (self.line)(line.as_ref());
        self.stdout.push_str(line.as_ref());
        self.stdout.push('\n');
    }

    /// Prints on standard output without ending the line.
    pub(crate) fn print(&mut self, text: &str) {
        self.stdout.push_str(text);
    }

    /// Prints a line on standard error.
    pub(crate) fn complain(&mut self, line: impl AsRef<str>) {
        self.stderr.push_str(line.as_ref());
        self.stderr.push('\n');
    }

    /// Prints a line on standard error and ends the program with this status.
    pub(crate) fn fail<T>(&mut self, status: i32, line: impl AsRef<str>) -> std::result::Result<T, Stop> {
        self.complain(line);
        Err(Stop::Status(status))
    }

    /// Makes one change to the machine; a fault that a test asked for ends the program here.
    pub(crate) fn change<T>(
        &mut self,
        what: &str,
        change: impl FnOnce(&mut World) -> T,
    ) -> std::result::Result<T, Stop> {
        match self.attempt(what, change)? {
            Ok(value) => Ok(value),
            Err(fault) => {
                self.fail(if let Fault::Fails(status, _) = fault { status } else { 1 }, fault.words())
            }
        }
    }

    /// Makes one change to the machine; a fault that a test asked for comes back.
    pub(crate) fn attempt<T>(
        &mut self,
        what: &str,
        change: impl FnOnce(&mut World) -> T,
    ) -> std::result::Result<std::result::Result<T, Fault>, Stop> {
        assert!(!self.question, "the question `{}` changes the machine: {what}", self.command.display());
        match self.sim.fault(what) {
            Some(fault) => Ok(Err(fault)),
            None => Ok(Ok(self.sim.change(what, change)?)),
        }
    }

    /// Ends in a panic: the arguments are none that the simulator knows.
    pub(crate) fn unknown(&self) -> ! {
        panic!("the simulated {} does not know `{}`", self.command.program, self.command.display());
    }

    /// Whether there is no network.
    pub(crate) fn offline(&self) -> bool {
        self.sim.offline.get()
    }

    /// Whether this is another root where nothing runs.
    pub(crate) fn away(&self) -> bool {
        self.sim.away.get()
    }

    /// Waits until the other apt is done, at most so many seconds; `false` when it still holds its locks then.
    pub(crate) fn wait_for_apt(&mut self, patience: i64) -> bool {
        let Some(until) = self.sim.apt_lock.get() else { return true };
        let now = self.world.borrow().clock;
        let left = until.duration_since(now).as_secs();
        if left > 0 && patience > 0 {
            self.say("Waiting for cache lock: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 1234 (unattended-upgr)");
            let slept = jiff::SignedDuration::from_secs(left.min(patience));
            self.world.borrow_mut().clock += slept;
        }
        let free = left <= patience || left <= 0;
        if free {
            self.sim.apt_lock.set(None);
        }
        free
    }
}
