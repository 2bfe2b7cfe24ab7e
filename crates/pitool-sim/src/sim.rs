//! A simulated Raspberry Pi that can lose power at any change.
//!
//! Every change of the machine goes through one door, `Sim::change`, which counts it, lets the clock tick, and
//! cuts the power where a test asked for that. A command that changes several things (apt unpacks, configures and
//! starts) is as many changes, so that the power can also go in the middle of it.

mod host;

use std::cell::{Cell, Ref, RefCell, RefMut};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use pitool_host::{Command, Error, Inspect, LockHolder, Output, Progress, Result};

use crate::world::{World, errno};

/// Where exactly the power goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cut {
    /// Right before the change.
    #[default]
    Before,
    /// In the middle of it: half of the bytes of an append are there; any other change has not happened.
    Torn,
    /// Right after it, before anyone hears of it.
    After,
}

impl Cut {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Before, Self::Torn, Self::After];
}

/// What goes wrong where a test asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The disk is full.
    DiskFull,
    /// The card has turned read-only.
    ReadOnly,
    /// The command ends with this status and these words on standard error.
    Fails(i32, String),
    /// The command does not end within its limit.
    Hangs,
    /// The command takes this long. Where its limit is shorter, the machine does what was asked all the same, as a service
    /// manager whose client was killed.
    Takes(Duration),
}

impl Fault {
    fn errno(&self) -> i32 {
        match self {
            Self::ReadOnly => errno::EROFS,
            _ => errno::ENOSPC,
        }
    }

    pub(crate) fn words(&self) -> &str {
        match self {
            Self::DiskFull => "No space left on device",
            Self::ReadOnly => "Read-only file system",
            Self::Fails(_, words) => words,
            Self::Hangs | Self::Takes(_) => "",
        }
    }
}

/// The simulated machine. Its knobs are methods; all take `&self`, as the traits do.
#[derive(Debug, Default)]
pub struct Sim {
    pub(crate) world: RefCell<World>,
    fuel: Cell<Option<usize>>,
    cut: Cell<Cut>,
    dead: Cell<bool>,
    mutations: Cell<usize>,
    interrupt: Cell<Option<usize>>,
    faults: RefCell<Vec<(String, Fault)>>,
    answers: RefCell<Vec<(String, Output)>>,
    pub(crate) offline: Cell<bool>,
    pub(crate) away: Cell<bool>,
    pub(crate) apt_lock: Cell<Option<jiff::Timestamp>>,
    variables: RefCell<BTreeMap<String, String>>,
    locks: Locks,
    lock_number: Cell<u64>,
    changes: RefCell<Vec<String>>,
    commands: RefCell<Vec<String>>,
    questions: RefCell<Vec<String>>,
    progress: RefCell<Vec<Progress>>,
}

/// Who holds which lock, and under which number it was taken.
type Locks = Rc<RefCell<BTreeMap<String, (u64, LockHolder)>>>;

/// Making and looking.
impl Sim {
    /// A machine in this state.
    pub fn of(world: World) -> Self {
        Self { world: RefCell::new(world), ..Self::default() }
    }

    /// The state of the machine.
    pub fn world(&self) -> Ref<'_, World> {
        self.world.borrow()
    }

    /// The state of the machine, for a test to arrange: nothing is counted and nothing can go wrong.
    pub fn arrange(&self) -> RefMut<'_, World> {
        self.world.borrow_mut()
    }

    /// A copy of the state of the machine.
    pub fn snapshot(&self) -> World {
        self.world.borrow().clone()
    }

    /// Puts the machine into this state and its power on.
    pub fn reset(&self, world: World) {
        self.world.replace(world);
        self.kill();
    }

    /// How many changes there were since the start.
    pub fn mutations(&self) -> usize {
        self.mutations.get()
    }

    /// What changed since the start, in order: "write /etc/motd", "unpack nginx", "start nginx.service".
    pub fn changes(&self) -> Vec<String> {
        self.changes.borrow().clone()
    }

    /// The commands that were run since the start, as a person would read them.
    pub fn commands(&self) -> Vec<String> {
        self.commands.borrow().clone()
    }

    /// The commands that were asked since the start, as a person would read them.
    pub fn questions(&self) -> Vec<String> {
        self.questions.borrow().clone()
    }

    /// What listeners were told since the start.
    pub fn told(&self) -> Vec<Progress> {
        self.progress.borrow().clone()
    }
}

/// What can go wrong.
impl Sim {
    /// Lets so many more changes happen and cuts the power at the next one.
    pub fn cut_after(&self, changes: usize, cut: Cut) {
        self.fuel.set(Some(changes));
        self.cut.set(cut);
    }

    /// Takes back [`Sim::cut_after`].
    pub fn keep_power(&self) {
        self.fuel.set(None);
    }

    /// Tells whether the power went out, so that every operation fails.
    pub fn dark(&self) -> bool {
        self.dead.get()
    }

    /// Brings the power back: the machine boots.
    pub fn restore_power(&self) {
        self.kill();
        self.apt_lock.set(None);
        self.world.borrow_mut().boot();
    }

    /// Makes of the power cut a mere end of our process: the machine runs on, our locks are free.
    pub fn kill(&self) {
        self.dead.set(false);
        self.fuel.set(None);
        self.locks.borrow_mut().clear();
    }

    /// Boots the machine in good order: nothing that was not synced is lost.
    pub fn reboot(&self) {
        self.world.borrow_mut().unsynced.clear();
        self.restore_power();
    }

    /// Makes the next thing go wrong whose name holds this text: a command ("apt-get install"), a write to a path
    /// ("write /etc/motd"), or a part of a command ("configure nginx", "start ssh.service"), named as in [`Sim::changes`].
    pub fn fail_next(&self, what: &str, fault: Fault) {
        self.faults.borrow_mut().push((what.to_owned(), fault));
    }

    /// Makes every command that starts with these words end so, before any program sees it; running one is one change.
    pub fn answer(&self, command: &str, output: Output) {
        self.answers.borrow_mut().push((command.to_owned(), output));
    }

    /// Lets another apt hold its locks for so many seconds.
    pub fn hold_apt_lock(&self, seconds: i64) {
        let until = self.now() + jiff::SignedDuration::from_secs(seconds);
        self.apt_lock.set(Some(until));
    }

    /// Takes the network away or gives it back.
    pub fn offline(&self, offline: bool) {
        self.offline.set(offline);
    }

    /// Makes it another root (a mounted card) where nothing runs, or the running system again.
    pub fn mounted(&self, mounted: bool) {
        self.away.set(mounted);
    }

    /// Asks us to stop after so many more changes.
    pub fn interrupt_after(&self, changes: usize) {
        self.interrupt.set(Some(self.mutations.get() + changes));
    }

    /// Sets a variable of the environment that pitool was called in.
    pub fn set_variable(&self, name: &str, value: &str) {
        self.variables.borrow_mut().insert(name.to_owned(), value.to_owned());
    }

    /// Lets someone else hold the lock at this path.
    pub fn hold_lock(&self, path: &str, holder: LockHolder) {
        self.locks.borrow_mut().insert(path.to_owned(), (0, holder));
    }
}

/// The door.
impl Sim {
    fn alive(&self) -> Result<()> {
        if self.dead.get() { Err(Error::PowerCut) } else { Ok(()) }
    }

    fn answered(&self, command: &Command) -> Option<Output> {
        let answers = self.answers.borrow();
        let found = answers.iter().rev().find(|(start, _)| command.display().starts_with(start.as_str()));
        found.map(|(_, output)| output.clone())
    }

    pub(crate) fn fault(&self, what: &str) -> Option<Fault> {
        let mut faults = self.faults.borrow_mut();
        let at = faults.iter().position(|(wanted, _)| what.contains(wanted.as_str()))?;
        Some(faults.remove(at).1)
    }

    /// Makes one change; `torn` is what a power cut in its middle leaves.
    fn change_or<T>(
        &self,
        what: &str,
        torn: impl FnOnce(&mut World),
        change: impl FnOnce(&mut World) -> T,
    ) -> Result<T> {
        self.alive()?;
        let mut world = self.world.borrow_mut();
        if self.fuel.get() == Some(0) {
            self.dead.set(true);
            match self.cut.get() {
                Cut::Before => {}
                Cut::Torn => torn(&mut world),
                Cut::After => {
                    change(&mut world);
                }
            }
            return Err(Error::PowerCut);
        }
        self.fuel.set(self.fuel.get().map(|left| left - 1));
        self.mutations.set(self.mutations.get() + 1);
        self.changes.borrow_mut().push(what.to_owned());
        world.clock += jiff::SignedDuration::from_secs(1);
        Ok(change(&mut world))
    }

    pub(crate) fn change<T>(&self, what: &str, change: impl FnOnce(&mut World) -> T) -> Result<T> {
        self.change_or(what, |_| {}, change)
    }
}
