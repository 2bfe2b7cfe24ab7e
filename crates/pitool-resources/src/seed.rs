//! A file that is made once and then belongs to the person.

use std::fmt::Write;

use pitool_engine::{Change, Id, Resource, Reversal};
use pitool_host::trust::Kind;
use pitool_host::{Content, Host, Inspect, Result};
use serde::{Deserialize, Serialize};

use crate::Node;
use crate::node::access;

/// A file that is created from a template and never overwritten: an `.env`. Printed `seed[PATH]`.
///
/// [`Seed::RANDOM`] in the template becomes 32 random bytes in hex, a new one at each place. The content is
/// secret; mode and owner are looked after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seed {
    path: String,
    /// Kept like a file's content, apart from the journal's text: a config's values may be secret.
    template: Content,
    mode: u32,
    owner: String,
    group: String,
}

/// What is there: a file's content is not compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SeedState {
    /// What is at the path.
    There(Node),
    /// A new file from the template.
    Made,
}

impl Seed {
    /// The place in a template for a random secret.
    pub const RANDOM: &'static str = "@RANDOM@";

    /// A file made from a template, readable by its owner and group (0640).
    pub fn new(path: impl Into<String>, template: impl Into<Content>, owner: &str, group: &str) -> Self {
        Self {
            path: path.into(),
            template: template.into(),
            mode: 0o640,
            owner: owner.into(),
            group: group.into(),
        }
    }

    /// Sets the permission bits.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }
}

impl Resource for Seed {
    type State = SeedState;

    fn id(&self) -> Id {
        Id::new("seed", &self.path)
    }

    fn observe(&self, host: &dyn Inspect) -> Result<SeedState> {
        Node::observe(host, &self.path).map(SeedState::There)
    }

    fn desired(&self, observed: &SeedState) -> SeedState {
        match observed {
            SeedState::There(Node::File { content, .. }) => SeedState::There(Node::File {
                content: content.clone(),
                mode: self.mode,
                owner: self.owner.clone(),
                group: self.group.clone(),
            }),
            SeedState::There(Node::Absent) | SeedState::Made => SeedState::Made,
            // A link or directory that a person put there is theirs.
            SeedState::There(other) => SeedState::There(other.clone()),
        }
    }

    fn enact(&self, host: &dyn Host, from: &SeedState, to: &SeedState) -> Result<()> {
        match (from, to) {
            (_, SeedState::Made) => {
                let mut text = String::new();
                for (at, piece) in self.template.text().unwrap_or_default().split(Self::RANDOM).enumerate() {
                    if at > 0 {
                        for byte in host.random(32)? {
                            // Writing to a string cannot fail.
                            let _ = write!(text, "{byte:02x}");
                        }
                    }
                    text.push_str(piece);
                }
                host.write(&self.path, text.as_bytes(), access(host, self.mode, &self.owner, &self.group)?)
            }
            (SeedState::There(from), SeedState::There(to)) => Node::put(host, &self.path, from, to),
            (SeedState::Made, SeedState::There(to)) => Node::put(host, &self.path, &Node::Absent, to),
        }
    }

    fn change(&self, from: &SeedState, to: &SeedState) -> Change {
        match (from, to) {
            (SeedState::There(from), SeedState::There(to)) => Node::change(from, to, true),
            (SeedState::There(_), SeedState::Made) => Change::words(format!(
                "absent → new file from the template, {:04o} {}:{}",
                self.mode, self.owner, self.group
            )),
            (SeedState::Made, SeedState::There(to)) => Node::change(&Node::Absent, to, true),
            (SeedState::Made, SeedState::Made) => Change::default(),
        }
    }

    fn refusal(&self, observed: &SeedState) -> Option<String> {
        match observed {
            // A link or directory in its place is the person's choice.
            SeedState::There(node) => node.obstacle(&self.path, &[Kind::File, Kind::Link, Kind::Directory]),
            SeedState::Made => None,
        }
    }

    fn reversal(&self) -> Reversal {
        Reversal::Exact
    }

    fn restored(&self, before: &SeedState, _now: &SeedState) -> SeedState {
        match before {
            SeedState::There(node) => SeedState::There(node.clone()),
            SeedState::Made => SeedState::There(Node::File {
                content: Content::from(""),
                mode: self.mode,
                owner: self.owner.clone(),
                group: self.group.clone(),
            }),
        }
    }
}
