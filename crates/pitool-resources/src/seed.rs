//! A file that is made once and then belongs to the person.

use pitool_engine::{Action, Change, Id, Resource, Reversal};
use pitool_host::text::hex;
use pitool_host::trust::Kind;
use pitool_host::{Content, Digest, Host, Inspect, Result};
use serde::{Deserialize, Serialize};

use crate::Node;
use crate::node::access;

/// A file that is created from a template and never overwritten: an `.env`. Printed `seed[PATH]`.
///
/// [`Seed::RANDOM`] in the template becomes 32 bytes in hex, a new one at each place: 28 random ones and a check sum. The content is
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
                        text.push_str(&secret(&host.random(RANDOM_BYTES)?));
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
            (SeedState::There(_), SeedState::Made) => Change::words(
                Action::Create,
                format!(
                    "absent → new file from the template, {:04o} {}:{}",
                    self.mode, self.owner, self.group
                ),
            ),
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

    fn restored(&self, before: &SeedState, now: &SeedState) -> SeedState {
        let (SeedState::There(before), SeedState::There(now)) = (before, now) else {
            // A snapshot is of what was there: nobody observes what is only wanted.
            return now.clone();
        };
        SeedState::There(match (before, now) {
            // Made by pitool and never changed: it goes.
            (Node::Absent, Node::File { content, .. }) if self.made(content) => Node::Absent,
            // It is somebody's own: only mode and owner go back.
            (Node::File { mode, owner, group, .. }, Node::File { content, .. }) => Node::File {
                content: content.clone(),
                mode: *mode,
                owner: owner.clone(),
                group: group.clone(),
            },
            (Node::Absent, _) => now.clone(),
            (before, _) => before.clone(),
        })
    }

    fn remains(&self, before: &SeedState, now: &SeedState) -> Option<String> {
        match (before, now) {
            (before, now) if before == now => None,
            (SeedState::There(Node::Absent), SeedState::There(Node::File { .. })) => {
                Some("it was changed since it was made, and stays".to_owned())
            }
            _ => Some(self.change(before, now).summary),
        }
    }
}

impl Seed {
    /// Whether this is what pitool made of the template, with secrets of its own.
    fn made(&self, content: &Content) -> bool {
        let (Some(template), Some(mut rest)) = (self.template.text(), content.text()) else {
            return *content == self.template;
        };
        let mut pieces = template.split(Self::RANDOM);
        let Some(after) = pieces.next().and_then(|first| rest.strip_prefix(first)) else { return false };
        rest = after;
        for piece in pieces {
            let Some((word, after)) = rest.split_at_checked(SECRET_LENGTH) else { return false };
            match after.strip_prefix(piece).filter(|_| is_secret(word)) {
                Some(after) => rest = after,
                None => return false,
            }
        }
        rest.is_empty()
    }
}

/// Random bytes of a secret.
const RANDOM_BYTES: usize = 28;

/// Bytes of its check sum.
const SUM_BYTES: usize = 4;

/// Its length in hex.
const SECRET_LENGTH: usize = 2 * (RANDOM_BYTES + SUM_BYTES);

/// Writes random bytes in hex with a check sum after them, by which a secret that pitool made is known from one that a person
/// put in its place.
fn secret(random: &[u8]) -> String {
    hex(&[random, &sum(random)].concat())
}

fn sum(random: &[u8]) -> [u8; SUM_BYTES] {
    let digest = Digest::of(&[b"pitool seed".as_slice(), random].concat()).to_string();
    let hex = |at: usize| digest.get(at..at + 2).and_then(|byte| u8::from_str_radix(byte, 16).ok());
    std::array::from_fn(|at| hex(2 * at).unwrap_or_default())
}

fn is_secret(word: &str) -> bool {
    let byte = |at: usize| word.get(at..at + 2).and_then(|byte| u8::from_str_radix(byte, 16).ok());
    let random: Option<Vec<u8>> = (0..RANDOM_BYTES).map(|at| byte(2 * at)).collect();
    random.is_some_and(|random| secret(&random) == word)
}
