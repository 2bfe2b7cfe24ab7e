//! A directory.

use pitool_engine::{Change, Id, Resource, Reversal, Stage};
use pitool_host::trust::Kind;
use pitool_host::{Host, Inspect, Result};
use serde::{Deserialize, Serialize};

use crate::Node;

/// A directory with its mode and owner; what is in it is not its business. Printed `directory[PATH]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Directory {
    path: String,
    mode: u32,
    owner: String,
    group: String,
    stage: Stage,
}

impl Directory {
    /// A directory of root's that everybody may enter (0755).
    pub fn new(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            mode: 0o755,
            owner: "root".into(),
            group: "root".into(),
            stage: Stage::Configure,
        }
    }

    /// Sets the permission bits.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Sets owner and group, by name.
    #[must_use]
    pub fn owner(mut self, owner: &str, group: &str) -> Self {
        self.owner = owner.into();
        self.group = group.into();
        self
    }

    /// Sets when it is made.
    #[must_use]
    pub fn stage(mut self, stage: Stage) -> Self {
        self.stage = stage;
        self
    }
}

impl Resource for Directory {
    type State = Node;

    fn id(&self) -> Id {
        Id::new("directory", &self.path)
    }

    fn observe(&self, host: &dyn Inspect) -> Result<Node> {
        Node::observe(host, &self.path)
    }

    fn desired(&self, observed: &Node) -> Node {
        if self.refusal(observed).is_some() {
            return observed.clone();
        }
        Node::Directory { mode: self.mode, owner: self.owner.clone(), group: self.group.clone() }
    }

    fn enact(&self, host: &dyn Host, from: &Node, to: &Node) -> Result<()> {
        Node::put(host, &self.path, from, to)
    }

    fn change(&self, from: &Node, to: &Node) -> Change {
        Node::change(from, to, false)
    }

    fn stage(&self) -> Stage {
        self.stage
    }

    fn refusal(&self, observed: &Node) -> Option<String> {
        observed.obstacle(&self.path, &[Kind::Directory])
    }

    fn reversal(&self) -> Reversal {
        Reversal::Partial("a directory that is not empty stays".into())
    }
}
