//! What systemd's manager says of units: asked once for many of them, and while other things are read.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use super::bus::Questions;
use super::process;
use super::tree::Tree;
use crate::parse::systemctl_show;
use crate::{Command, Error, Result, UnitStatus};

/// Answers of the manager of the running system.
#[derive(Default)]
pub(super) struct Manager {
    there: Cell<Option<bool>>,
    known: RefCell<HashMap<String, UnitStatus>>,
    asked: RefCell<Option<Questions>>,
}

impl Manager {
    /// Forgets every answer, and any that is still to come.
    pub(super) fn forget(&self) {
        self.there.take();
        self.known.take();
        self.asked.take();
    }

    /// Whether there is a manager to ask, looked up once.
    pub(super) fn there(&self, look: impl FnOnce() -> Result<bool>) -> Result<bool> {
        let there = self.there.get().map_or_else(look, Ok)?;
        self.there.set(Some(there));
        Ok(there)
    }

    /// Those of these units of which nothing is known yet, each once. What is on its way is waited for.
    pub(super) fn unknown(&self, names: &[&str]) -> Vec<String> {
        self.take_answer();
        let known = self.known.borrow();
        let mut unknown: Vec<String> =
            names.iter().filter(|name| !known.contains_key(**name)).map(|name| (*name).to_owned()).collect();
        unknown.sort_unstable();
        unknown.dedup();
        unknown
    }

    /// What is known of these units, in this order.
    pub(super) fn known(&self, names: &[&str]) -> Vec<UnitStatus> {
        let known = self.known.borrow();
        names.iter().filter_map(|name| known.get(*name).cloned()).collect()
    }

    /// Adds to what is known.
    pub(super) fn learn(&self, found: Vec<UnitStatus>) {
        self.known.borrow_mut().extend(found.into_iter().map(|unit| (unit.name.clone(), unit)));
    }

    /// Asks for these units, and does not wait for the answer.
    pub(super) fn expect(&self, names: Vec<String>) {
        if !names.is_empty() {
            *self.asked.borrow_mut() = Questions::send(names).ok();
        }
    }

    /// Asks for these units: without a process as root, by systemctl for others, and for what is refused in that way.
    pub(super) fn ask(&self, tree: &Tree, names: Vec<String>) -> Result<()> {
        self.expect(names.clone());
        if !names.is_empty() && !self.take_answer() {
            self.learn(by_systemctl(tree, &names)?);
        }
        Ok(())
    }

    /// Waits for the answer that is on its way, and tells whether there was one.
    fn take_answer(&self) -> bool {
        let asked = self.asked.borrow_mut().take();
        let found = asked.and_then(|questions| questions.answers().ok());
        found.map(|found| self.learn(found)).is_some()
    }
}

fn by_systemctl(tree: &Tree, names: &[String]) -> Result<Vec<UnitStatus>> {
    let command =
        Command::new("systemctl").args(["show", systemctl_show::PROPERTIES, "--"]).args(names.to_vec());
    let output = process::execute(tree, &command, &mut |_| {})?;
    let asked: Vec<&str> = names.iter().map(String::as_str).collect();
    if let Some(units) = systemctl_show::parse(&output.stdout, &asked) {
        return Ok(units);
    }
    let output = Error::unless_ok(&command, output)?;
    let why = format!("expected {} blocks in:\n{}", names.len(), output.stdout);
    Err(Error::Parse { what: format!("`{}`", command.display()), why })
}
