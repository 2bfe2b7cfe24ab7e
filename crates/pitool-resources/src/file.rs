//! A whole file that pitool owns.

use pitool_engine::{Change, Id, Resource, Risk, Stage, Turn};
use pitool_host::trust::Kind;
use pitool_host::{Candidate, Content, Digest, Host, Inspect, Result};
use serde::{Deserialize, Serialize};

use crate::login::going_back;
use crate::node::{access, candidate};
use crate::{Check, LoginGuard, Node, Returning};

/// A whole file: content, mode, owner. Printed `file[PATH]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct File {
    path: String,
    content: Content,
    mode: u32,
    owner: String,
    group: String,
    stage: Stage,
    secret: bool,
    check: Option<Check>,
    guard: Option<LoginGuard>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    lifted_by: Vec<Id>,
    #[serde(default)]
    absent: bool,
}

/// The state of a file: what is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileState {
    node: Node,
}

impl File {
    /// A file of root's that everybody may read (0644).
    pub fn new(path: impl Into<String>, content: impl Into<Content>) -> Self {
        Self {
            path: path.into(),
            content: content.into(),
            mode: 0o644,
            owner: "root".into(),
            group: "root".into(),
            stage: Stage::Configure,
            secret: false,
            check: None,
            guard: None,
            lifted_by: vec![],
            absent: false,
        }
    }

    /// No file at this path: one that would contradict ours.
    pub fn absent(path: impl Into<String>) -> Self {
        Self { absent: true, ..Self::new(path, "") }
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

    /// Sets when it is written; [`Stage::Prepare`] for what must be there before its package.
    #[must_use]
    pub fn stage(mut self, stage: Stage) -> Self {
        self.stage = stage;
        self
    }

    /// Marks the content as secret: never shown in a plan, an event or a message.
    #[must_use]
    pub fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// Has a program check the whole configuration with this file in place before it goes live.
    #[must_use]
    pub fn checked_by(mut self, check: Check) -> Self {
        self.check = Some(check);
        self
    }

    /// Holds the file back while it would lock everybody out.
    #[must_use]
    pub fn guarded_by(mut self, guard: LoginGuard) -> Self {
        self.guard = Some(guard);
        self
    }

    /// Names resources that take away the guard's reason when they come: somebody's first key. The plan counts on
    /// them; when the file's turn comes the guard is asked all the same.
    #[must_use]
    pub fn lifted_by(mut self, ids: impl IntoIterator<Item = Id>) -> Self {
        self.lifted_by.extend(ids);
        self
    }

    /// The file as a checker of the whole sees it going back.
    pub fn returning(&self, from: &FileState, to: &FileState) -> Returning {
        let (from, to) = (from.node.clone(), to.node.clone());
        Returning { id: self.id(), path: self.path.clone(), check: self.check, from, to }
    }

    fn wanted(&self) -> Node {
        if self.absent {
            return Node::Absent;
        }
        Node::File {
            content: self.content.clone(),
            mode: self.mode,
            owner: self.owner.clone(),
            group: self.group.clone(),
        }
    }
}

impl File {
    /// Why what is in the file's place is left alone.
    fn obstacle(&self, node: &Node) -> Option<String> {
        let empty = self.absent && matches!(node, Node::Directory { .. });
        if empty { None } else { node.obstacle(&self.path, &[Kind::File, Kind::Link]) }
    }
}

impl Resource for File {
    type State = FileState;

    fn id(&self) -> Id {
        Id::new("file", &self.path)
    }

    fn observe(&self, host: &dyn Inspect) -> Result<FileState> {
        Ok(FileState { node: Node::observe(host, &self.path)? })
    }

    fn desired(&self, observed: &FileState) -> FileState {
        if self.obstacle(&observed.node).is_some() {
            return observed.clone();
        }
        FileState { node: self.wanted() }
    }

    fn enact(&self, host: &dyn Host, from: &FileState, to: &FileState) -> Result<()> {
        if let (Some(check), Node::File { content, mode, owner, group }) = (self.check, &to.node) {
            // What was there before pitool goes back as it was, sound or not; only our own text is checked.
            if *content == self.content {
                let access = access(host, *mode, owner, group)?;
                let candidate = Candidate::File { path: self.path.clone(), content: content.clone(), access };
                check.ask(host, &self.path, candidate)?;
            }
        }
        Node::put(host, &self.path, &from.node, &to.node)
    }

    fn change(&self, from: &FileState, to: &FileState) -> Change {
        Node::change(&from.node, &to.node, self.secret)
    }

    fn stage(&self) -> Stage {
        self.stage
    }

    fn risk(&self) -> Risk {
        if self.guard.is_some() || matches!(self.check, Some(Check::Sshd | Check::Sudoers)) {
            Risk::Lockout
        } else {
            Risk::None
        }
    }

    fn objection(
        &self,
        host: &dyn Inspect,
        _from: &FileState,
        to: &FileState,
        turn: &Turn<'_>,
    ) -> Result<Option<String>> {
        if turn.back {
            let candidates = self.decides_logins(host, to)?;
            if candidates.is_empty() {
                return Ok(None);
            }
            return going_back(host, "the file stays", &candidates, turn);
        }
        match &self.guard {
            Some(_) if self.lifted_by.iter().any(|id| turn.upcoming.contains(id)) => Ok(None),
            Some(guard) => guard.objection(host, &candidate(host, &self.path, &to.node)?, turn),
            None => Ok(None),
        }
    }

    fn refusal(&self, observed: &FileState) -> Option<String> {
        self.obstacle(&observed.node)
    }

    fn decides_logins(&self, host: &dyn Inspect, to: &FileState) -> Result<Vec<Candidate>> {
        if self.path.starts_with("/etc/ssh/") || self.path.starts_with("/etc/sudoers") {
            return Ok(vec![candidate(host, &self.path, &to.node)?]);
        }
        Ok(Vec::new())
    }

    fn fingerprint(&self, state: &FileState) -> Option<Digest> {
        state.node.fingerprint()
    }
}
