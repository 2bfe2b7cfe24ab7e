//! A symbolic link, or its absence.

use pitool_engine::{Change, Id, Resource, Stage, Upcoming};
use pitool_host::trust::Kind;
use pitool_host::{Candidate, Digest, Host, Inspect, Result};
use serde::{Deserialize, Serialize};

use crate::{Check, Node, Returning};

/// A symbolic link to a target, or nothing at a path. Printed `link[PATH]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    path: String,
    target: Option<String>,
    shipped_by: Option<(String, String)>,
    check: Option<Check>,
}

impl Link {
    /// A link to a target, written as given.
    pub fn new(path: impl Into<String>, target: impl Into<String>) -> Self {
        Self { path: path.into(), target: Some(target.into()), shipped_by: None, check: None }
    }

    /// No link at this path.
    pub fn absent(path: impl Into<String>) -> Self {
        Self { path: path.into(), target: None, shipped_by: None, check: None }
    }

    /// Tells that installing a package makes a link here to this target, so that a plan made before the package
    /// is there is true.
    #[must_use]
    pub fn shipped_by(mut self, package: &str, target: &str) -> Self {
        self.shipped_by = Some((package.into(), target.into()));
        self
    }

    /// Has a program check the whole configuration with this link in place before it goes live.
    #[must_use]
    pub fn checked_by(mut self, check: Check) -> Self {
        self.check = Some(check);
        self
    }

    /// The link as a checker of the whole sees it going back.
    pub fn returning(&self, from: &Node, to: &Node) -> Returning {
        let (from, to) = (from.clone(), to.clone());
        Returning { id: self.id(), path: self.path.clone(), check: self.check, from, to }
    }
}

impl Resource for Link {
    type State = Node;

    fn id(&self) -> Id {
        Id::new("link", &self.path)
    }

    fn observe(&self, host: &dyn Inspect) -> Result<Node> {
        Node::observe(host, &self.path)
    }

    fn desired(&self, observed: &Node) -> Node {
        if self.refusal(observed).is_some() {
            return observed.clone();
        }
        self.target.clone().map_or(Node::Absent, |target| Node::Link { target })
    }

    fn enact(&self, host: &dyn Host, from: &Node, to: &Node) -> Result<()> {
        // Only our own link is checked: what was there before goes back as it was, and what goes may be the last
        // piece of a configuration that is going.
        if let (Some(check), Some(target), true) = (self.check, &self.target, *to == self.desired(from)) {
            let candidate = Candidate::Link { path: self.path.clone(), target: target.clone() };
            check.ask(host, &self.path, candidate)?;
        }
        Node::put(host, &self.path, from, to)
    }

    fn change(&self, from: &Node, to: &Node) -> Change {
        Node::change(from, to, false)
    }

    fn refusal(&self, observed: &Node) -> Option<String> {
        let empty = self.target.is_none() && matches!(observed, Node::Directory { .. });
        if empty { None } else { observed.obstacle(&self.path, &[Kind::Link, Kind::File]) }
    }

    fn stage(&self) -> Stage {
        Stage::Configure
    }

    fn foresee(&self, observed: &Node, upcoming: &Upcoming) -> Node {
        match &self.shipped_by {
            Some((package, target))
                if *observed == Node::Absent && upcoming.contains(&Id::new("package", package)) =>
            {
                Node::Link { target: target.clone() }
            }
            _ => observed.clone(),
        }
    }

    fn fingerprint(&self, state: &Node) -> Option<Digest> {
        state.fingerprint()
    }
}
