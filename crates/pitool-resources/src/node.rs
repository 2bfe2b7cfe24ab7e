//! What can be at a path: the state that every kind with a path shares.

use pitool_engine::{Action, Change};
use pitool_host::parse::accounts::Accounts;
use pitool_host::trust::Kind;
use pitool_host::{Access, Candidate, Content, Digest, Error, FileType, Host, Inspect, Looked, Result};
use serde::{Deserialize, Serialize};

/// What is at a path. Owners are names, because a plan may name a user that the same run creates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Node {
    /// Nothing.
    #[default]
    Absent,
    /// A regular file.
    File {
        /// What it holds.
        content: Content,
        /// Permission bits.
        mode: u32,
        /// Owner's name, or number where it has no name.
        owner: String,
        /// Group's name, or number where it has no name.
        group: String,
    },
    /// A directory.
    Directory {
        /// Permission bits.
        mode: u32,
        /// Owner's name or number.
        owner: String,
        /// Group's name or number.
        group: String,
    },
    /// A symbolic link.
    Link {
        /// Its target, as written.
        target: String,
    },
    /// Something that pitool does not touch: a device, a socket, a FIFO.
    Other,
    /// What pitool cannot or must not use: a path that leads through somebody else's link, a file that is too large.
    Unusable {
        /// What was found at which path, and what was expected.
        why: String,
    },
}

/// The fingerprint of what a reader of this path gets: of a file its content, of a link its target.
pub fn fingerprint_at(host: &(impl Inspect + ?Sized), path: &str) -> Result<Option<Digest>> {
    let Some(Looked { stat, content }) = host.look(path)? else { return Ok(None) };
    Ok(match stat.file_type {
        FileType::Link(target) => Some(Digest::of(target.as_bytes())),
        _ => content.map(|content| content.digest()),
    })
}

impl Node {
    /// Reads what is at a path: what it looked at is what it read. A path or file that cannot be used is a state and not
    /// an error, so that one user's odd file does not stop the plan.
    pub fn observe(host: &dyn Inspect, path: &str) -> Result<Self> {
        let looked = match host.look(path) {
            Ok(looked) => looked,
            Err(error @ Error::Unexpected { .. }) => return Ok(Self::Unusable { why: error.to_string() }),
            Err(error) => return Err(error),
        };
        let Some(Looked { stat, content }) = looked else { return Ok(Self::Absent) };
        let Access { mode, uid, gid } = stat.access;
        Ok(match (stat.file_type, content) {
            (FileType::Link(target), _) => Self::Link { target },
            (FileType::File, Some(content)) => {
                let (owner, group) = names(host, uid, gid)?;
                Self::File { content, mode, owner, group }
            }
            (FileType::Directory, _) => {
                let (owner, group) = names(host, uid, gid)?;
                Self::Directory { mode, owner, group }
            }
            (FileType::Other | FileType::File, _) => Self::Other,
        })
    }

    /// Tells why what is at a path is left alone, where it is neither of the kinds that a resource works with.
    pub(crate) fn obstacle(&self, path: &str, kinds: &[Kind]) -> Option<String> {
        let kind = match self {
            Self::Absent => return None,
            Self::Unusable { why } => return Some(format!("{why}; pitool leaves it alone")),
            Self::File { .. } => Some(Kind::File),
            Self::Directory { .. } => Some(Kind::Directory),
            Self::Link { .. } => Some(Kind::Link),
            Self::Other => None,
        };
        if kind.is_some_and(|kind| kinds.contains(&kind)) {
            return None;
        }
        let expected = kinds.first().map_or("nothing", |kind| kind.noun());
        let noun = self.noun();
        Some(format!("{path} is {noun}, expected {expected}; pitool leaves it alone until it is moved away"))
    }

    /// Puts a state at a path.
    ///
    /// # Errors
    /// A directory in the way of a file, or the reverse: nothing is removed to make room.
    pub fn put(host: &dyn Host, path: &str, from: &Self, to: &Self) -> Result<()> {
        match (from, to) {
            (Self::Other | Self::Unusable { .. }, _)
            | (Self::Directory { .. }, Self::File { .. } | Self::Link { .. }) => Err(Error::Unexpected {
                path: path.to_owned(),
                found: from.noun().into(),
                expected: to.noun(),
            }),
            (Self::File { .. } | Self::Link { .. }, Self::Directory { .. }) => Err(Error::Unexpected {
                path: path.to_owned(),
                found: from.noun().into(),
                expected: to.noun(),
            }),
            (Self::Directory { .. }, Self::Absent) => host.remove_dir(path).map(drop),
            (_, Self::Absent) => host.remove(path),
            // Another owner gets a new file with the text that is known: the one in its place may have been exchanged.
            (
                Self::File { content: old, owner: was, group: were, .. },
                Self::File { content, mode, owner, group },
            ) if old == content && (was, were) == (owner, group) => {
                host.set_access(path, access(host, *mode, owner, group)?)
            }
            (_, Self::File { content, mode, owner, group }) => {
                host.write(path, content.bytes(), access(host, *mode, owner, group)?)
            }
            (_, Self::Directory { mode, owner, group }) => {
                host.make_dir(path, access(host, *mode, owner, group)?)
            }
            (_, Self::Link { target }) => host.link(path, target),
            (_, Self::Other | Self::Unusable { .. }) => {
                Err(Error::Unsupported(format!("{path} was {}, which pitool does not make", to.noun())))
            }
        }
    }

    /// The fingerprint of what a reader gets, as [`fingerprint_at`] tells it of the machine.
    pub fn fingerprint(&self) -> Option<Digest> {
        match self {
            Self::File { content, .. } => Some(content.digest()),
            Self::Link { target } => Some(Digest::of(target.as_bytes())),
            Self::Absent | Self::Directory { .. } | Self::Other | Self::Unusable { .. } => None,
        }
    }

    /// The text of a file, empty where there is none.
    pub fn text(&self) -> &str {
        match self {
            Self::File { content, .. } => content.text().unwrap_or_default(),
            _ => "",
        }
    }

    fn noun(&self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::File { .. } => "a file",
            Self::Directory { .. } => "a directory",
            Self::Link { .. } => "a symbolic link",
            Self::Other => "a device, socket or FIFO",
            Self::Unusable { .. } => "something that cannot be used",
        }
    }

    /// The difference in words, with both texts where they are not secret.
    pub fn change(from: &Self, to: &Self, secret: bool) -> Change {
        let words = |node: &Self| match node {
            Self::Link { target } => format!("link to {target}"),
            Self::Directory { mode, owner, group } => format!("directory, {mode:04o} {owner}:{group}"),
            Self::File { content, mode, owner, group } => {
                let lines = content.text().map_or(0, |text| text.lines().count());
                let count = if lines == 1 { "1 line".to_owned() } else { format!("{lines} lines") };
                format!("file, {count}, {mode:04o} {owner}:{group}")
            }
            other => other.noun().to_owned(),
        };
        let summary = match (from, to) {
            (
                Self::File { content: a, mode: m, owner: o, group: g },
                Self::File { content: b, mode: n, owner: p, group: h },
            ) => {
                let mut parts = Vec::new();
                if a != b {
                    parts.push("content".to_owned());
                }
                if m != n {
                    parts.push(format!("mode {m:04o} → {n:04o}"));
                }
                if (o, g) != (p, h) {
                    parts.push(format!("owner {o}:{g} → {p}:{h}"));
                }
                parts.join(", ")
            }
            _ => format!("{} → {}", words(from), words(to)),
        };
        let text = |node: &Self| match node {
            Self::File { content, .. } => content.text().is_some().then(|| content.clone()),
            _ => Some(Content::from("")),
        };
        let is_file = |node: &Self| matches!(node, Self::File { .. });
        let texts = (is_file(from) || is_file(to)) && !secret;
        let text = if texts { text(from).zip(text(to)).filter(|(a, b)| a != b) } else { None };
        let is_there = |node: &Self| *node != Self::Absent;
        Change { action: Action::between(is_there(from), is_there(to)), summary, text }
    }
}

fn user_name(accounts: &Accounts, uid: u32) -> Option<&str> {
    accounts.users.iter().find(|user| user.uid == uid).map(|user| user.name.as_str())
}

pub(crate) fn group_name(accounts: &Accounts, gid: u32) -> Option<&str> {
    accounts.groups.iter().find(|group| group.gid == gid).map(|group| group.name.as_str())
}

fn names(host: &dyn Inspect, uid: u32, gid: u32) -> Result<(String, String)> {
    if (uid, gid) == (0, 0) {
        return Ok(("root".into(), "root".into()));
    }
    let accounts = Accounts::read(host)?;
    let owner = user_name(&accounts, uid).map_or_else(|| uid.to_string(), str::to_owned);
    let group = group_name(&accounts, gid).map_or_else(|| gid.to_string(), str::to_owned);
    Ok((owner, group))
}

/// Turns names into numbers, now that they must exist.
pub(crate) fn access(host: &(impl Inspect + ?Sized), mode: u32, owner: &str, group: &str) -> Result<Access> {
    if (owner, group) == ("root", "root") {
        return Ok(Access::root(mode));
    }
    let accounts = Accounts::read(host)?;
    let missing =
        |what: &str, name: &str| Error::Unsupported(format!("there is no {what} {name} on this machine"));
    let uid = accounts.uid_of(owner).or_else(|| owner.parse().ok()).ok_or_else(|| missing("user", owner))?;
    let gid = accounts.gid_of(group).or_else(|| group.parse().ok()).ok_or_else(|| missing("group", group))?;
    Ok(Access { mode, uid, gid })
}

/// A state as what a program would find at the path.
pub(crate) fn candidate(host: &dyn Inspect, path: &str, node: &Node) -> Result<Candidate> {
    let path = path.to_owned();
    Ok(match node {
        Node::File { content, mode, owner, group } => {
            let access = access(host, *mode, owner, group)?;
            Candidate::File { path, content: content.clone(), access }
        }
        Node::Link { target } => Candidate::Link { path, target: target.clone() },
        Node::Absent | Node::Directory { .. } | Node::Other | Node::Unusable { .. } => {
            Candidate::Absent { path }
        }
    })
}

#[cfg(test)]
mod tests {
    use pitool_engine::Resource;
    use pitool_sim::{Node as There, Sim};

    use super::*;
    use crate::{Directory, Edit, File, Link, Part, Seed};

    /// A machine on which ada's home is hers, and what root must not be tricked into.
    fn machine() -> Sim {
        let sim = Sim::debian(13);
        let mut world = sim.arrange();
        let hers = Access { mode: 0o755, uid: 1000, gid: 1000 };
        world.put("/root/secret", "secret\n");
        world.put_with("/home/ada/file", "hers\n", Access { mode: 0o600, ..hers });
        world.nodes.insert("/home/ada".into(), There::Dir { access: hers });
        world.put_link("/home/ada/link", "/root/secret");
        world.put_link("/home/ada/way", "/root");
        world.nodes.insert("/home/ada/fifo".into(), There::Device);
        world.put_dir("/home/ada/dir");
        world.put("/home/ada/latin1", b"caf\xe9\n".to_vec());
        world.put("/etc/real", "here\n");
        world.put_link("/etc/linked", "real");
        drop(world);
        sim
    }

    fn line(path: &str) -> Part {
        Part::new(path, Edit::Lines(vec!["ours".into()]))
    }

    /// What a resource makes of what is there: whether it wants a change, and why it holds back.
    fn seen<R: Resource>(host: &Sim, resource: &R) -> (bool, Option<String>) {
        let observed = resource.observe(host).unwrap();
        let desired = resource.desired(&observed);
        assert_eq!(resource.desired(&desired), desired, "a fixed point");
        (desired != observed, resource.refusal(&observed))
    }

    #[test]
    fn the_action_says_whether_something_comes_or_goes() {
        let file = Node::File {
            content: "a\n".into(),
            mode: 0o644,
            owner: "root".to_owned(),
            group: "root".to_owned(),
        };
        let link = Node::Link { target: "/etc/real".to_owned() };
        for (from, to, action) in [
            (&Node::Absent, &file, Action::Create),
            (&file, &Node::Absent, Action::Remove),
            (&link, &Node::Absent, Action::Remove),
            (&link, &file, Action::Change),
            (&file, &file, Action::Change),
        ] {
            assert_eq!(Node::change(from, to, false).action, action, "{from:?} to {to:?}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_held_back_and_no_error() {
        let sim = machine();
        for (path, why) in [
            ("/home/ada/link", "`link`, in a directory that others can write to"),
            ("/home/ada/way/secret", "`way`, in a directory that others can write to"),
            ("/home/ada/fifo", "is a device, socket or FIFO, expected a regular file"),
            ("/home/ada/dir", "is a directory, expected a regular file"),
            ("/home/ada/latin1", "is not UTF-8"),
        ] {
            let (changes, refusal) = seen(&sim, &line(path));
            assert!(
                !changes && refusal.as_ref().is_some_and(|said| said.contains(why)),
                "{path}: {refusal:?}"
            );
        }
        for path in ["/home/ada/fifo", "/home/ada/dir", "/home/ada/way/secret"] {
            let (changes, refusal) = seen(&sim, &File::new(path, "ours"));
            assert!(!changes && refusal.is_some(), "{path}: {refusal:?}");
        }
        for path in ["/home/ada/fifo", "/home/ada/way/secret"] {
            assert!(seen(&sim, &Seed::new(path, "ours", "root", "root")).1.is_some(), "{path}");
            assert!(seen(&sim, &Link::new(path, "/etc/real")).1.is_some(), "{path}");
        }
        for path in ["/home/ada/fifo", "/home/ada/file", "/home/ada/way", "/home/ada/way/new"] {
            let (changes, refusal) = seen(&sim, &Directory::new(path));
            assert!(!changes && refusal.is_some(), "{path}: {refusal:?}");
        }
        // What can be used is.
        for path in ["/home/ada/file", "/home/ada/new", "/etc/real", "/etc/linked", "/etc/new"] {
            assert_eq!(seen(&sim, &line(path)), (true, None), "{path}");
        }
        // A whole file of ours takes the place of a link, and a person's link in a seed's place is theirs.
        assert_eq!(seen(&sim, &File::new("/home/ada/link", "ours")), (true, None));
        assert_eq!(seen(&sim, &Seed::new("/home/ada/link", "ours", "root", "root")), (false, None));
    }

    #[test]
    fn another_owner_gets_a_new_file_with_the_text_that_is_known() {
        let sim = machine();
        let path = "/home/ada/file";
        let before = Node::observe(&sim, path).unwrap();
        let Node::File { content, mode, .. } = before.clone() else { panic!("{before:?}") };
        let after = Node::File { content, mode, owner: "root".into(), group: "root".into() };
        // Its owner puts another file there.
        sim.arrange().put_with(path, "exchanged", Access { mode: 0o600, uid: 1000, gid: 1000 });
        Node::put(&sim, path, &before, &after).unwrap();
        assert_eq!(Node::observe(&sim, path).unwrap(), after);
    }
}
