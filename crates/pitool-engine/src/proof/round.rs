//! One round of questions, in which nobody is asked the same twice.

use std::cell::RefCell;
use std::rc::Rc;

use pitool_host::{Candidate, Command, Content, Inspect, Looked, Output, Packages, Result, Stat, UnitStatus};

/// The machine as one round of proofs asks it: several promises rest on the same answer of the same daemon.
pub(super) struct Round<'h> {
    host: &'h dyn Inspect,
    answers: RefCell<Vec<(Command, Output)>>,
}

impl<'h> Round<'h> {
    pub(super) fn new(host: &'h dyn Inspect) -> Self {
        Self { host, answers: RefCell::default() }
    }
}

impl Inspect for Round<'_> {
    fn ask(&self, command: &Command) -> Result<Output> {
        if let Some((_, output)) = self.answers.borrow().iter().find(|(asked, _)| asked == command) {
            return Ok(output.clone());
        }
        let output = self.host.ask(command)?;
        self.answers.borrow_mut().push((command.clone(), output.clone()));
        Ok(output)
    }

    fn read(&self, path: &str) -> Result<Option<Content>> {
        self.host.read(path)
    }

    fn look(&self, path: &str) -> Result<Option<Looked>> {
        self.host.look(path)
    }

    fn stat(&self, path: &str) -> Result<Option<Stat>> {
        self.host.stat(path)
    }

    fn list(&self, path: &str) -> Result<Option<Vec<String>>> {
        self.host.list(path)
    }

    fn ask_with(&self, candidates: &[Candidate], command: &Command) -> Result<Output> {
        self.host.ask_with(candidates, command)
    }

    fn packages(&self) -> Result<Rc<Packages>> {
        self.host.packages()
    }

    fn units(&self, names: &[&str]) -> Result<Vec<UnitStatus>> {
        self.host.units(names)
    }

    fn expect_units(&self, names: &[&str]) {
        self.host.expect_units(names);
    }

    fn forget(&self) {
        self.host.forget();
    }

    fn live(&self) -> bool {
        self.host.live()
    }

    fn now(&self) -> jiff::Timestamp {
        self.host.now()
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.host.variable(name)
    }
}
