//! A view of the machine in which some files are already as they would be.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::{
    Access, Candidate, Command, Content, FileType, Inspect, Looked, Output, Packages, Result, Stat,
    UnitStatus,
};

/// A machine with candidates in place, for reading; a later candidate of a path hides an earlier one.
///
/// Links are not resolved: a candidate is found by the path that it names.
pub struct Rehearsed<'h> {
    host: &'h dyn Inspect,
    candidates: Vec<Candidate>,
}

impl<'h> Rehearsed<'h> {
    /// Puts the candidates in place.
    pub fn new(host: &'h dyn Inspect, candidates: Vec<Candidate>) -> Self {
        let mut kept: Vec<Candidate> = Vec::new();
        for candidate in candidates {
            kept.retain(|other| other.path() != candidate.path());
            kept.push(candidate);
        }
        Self { host, candidates: kept }
    }

    /// Each candidate, one for a path.
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    fn at(&self, path: &str) -> Option<&Candidate> {
        self.candidates.iter().find(|candidate| candidate.path() == path)
    }

    fn with(&self, more: &[Candidate]) -> Vec<Candidate> {
        self.candidates.iter().chain(more).cloned().collect()
    }
}

impl Inspect for Rehearsed<'_> {
    fn read(&self, path: &str) -> Result<Option<Content>> {
        match self.at(path) {
            Some(Candidate::File { content, .. }) => Ok(Some(content.clone())),
            Some(Candidate::Absent { .. }) => Ok(None),
            Some(Candidate::Link { target, .. }) if target.starts_with('/') => self.read(target),
            _ => self.host.read(path),
        }
    }

    fn stat(&self, path: &str) -> Result<Option<Stat>> {
        Ok(match self.at(path) {
            Some(Candidate::File { content, access, .. }) => {
                Some(Stat { file_type: FileType::File, access: *access, size: content.bytes().len() as u64 })
            }
            Some(Candidate::Link { target, .. }) => Some(Stat {
                file_type: FileType::Link(target.clone()),
                access: Access::root(0o777),
                size: target.len() as u64,
            }),
            Some(Candidate::Absent { .. }) => None,
            None => self.host.stat(path)?,
        })
    }

    fn look(&self, path: &str) -> Result<Option<Looked>> {
        let content = match self.at(path) {
            Some(Candidate::File { content, .. }) => Some(content.clone()),
            Some(_) => None,
            None => return self.host.look(path),
        };
        Ok(self.stat(path)?.map(|stat| Looked { stat, content }))
    }

    fn list(&self, path: &str) -> Result<Option<Vec<String>>> {
        let Some(names) = self.host.list(path)? else { return Ok(None) };
        let mut names: BTreeSet<String> = names.into_iter().collect();
        for candidate in &self.candidates {
            let Some((directory, name)) = candidate.path().rsplit_once('/') else { continue };
            if directory != path.trim_end_matches('/') {
                continue;
            }
            match candidate {
                Candidate::Absent { .. } => names.remove(name),
                _ => names.insert(name.to_owned()),
            };
        }
        Ok(Some(names.into_iter().collect()))
    }

    fn ask(&self, command: &Command) -> Result<Output> {
        self.ask_with(&[], command)
    }

    fn ask_with(&self, candidates: &[Candidate], command: &Command) -> Result<Output> {
        self.host.ask_with(&self.with(candidates), command)
    }

    fn ask_once(&self, candidates: &[Candidate], command: &Command) -> Result<Output> {
        self.host.ask_once(&self.with(candidates), command)
    }

    fn packages(&self) -> Result<Rc<Packages>> {
        self.host.packages()
    }

    fn units(&self, names: &[&str]) -> Result<Vec<UnitStatus>> {
        self.host.units(names)
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
