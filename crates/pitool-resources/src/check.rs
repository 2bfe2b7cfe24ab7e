//! Checkers: programs that read a configuration and say whether it is sound, before it goes live.

use std::collections::BTreeSet;

use pitool_engine::Id;
use pitool_host::parse::accounts::Accounts;
use pitool_host::{Access, Candidate, Command, Error, Host, Inspect, Result};
use serde::{Deserialize, Serialize};

use crate::Node;

/// A program that checks a configuration with a candidate in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// `sshd -t`: the whole server configuration, drop-ins included.
    Sshd,
    /// `nginx -t`: the whole configuration, every enabled site included.
    Nginx,
    /// `dockerd --validate`: the daemon's JSON.
    Docker,
    /// `visudo -c`: sudoers and its drop-ins.
    Sudoers,
    /// `logrotate -d`: the file alone.
    Logrotate,
    /// `fail2ban-client -t`: every jail and filter.
    Fail2ban,
}

impl Check {
    fn command(self, path: &str) -> Command {
        match self {
            Self::Sshd => Command::new("/usr/sbin/sshd").arg("-t"),
            Self::Nginx => Command::new("/usr/sbin/nginx").args(["-t", "-q"]),
            Self::Docker => Command::new("/usr/sbin/dockerd").args(["--validate", "--config-file", path]),
            Self::Sudoers => Command::new("/usr/sbin/visudo").arg("-c"),
            Self::Logrotate => Command::new("/usr/sbin/logrotate").args(["-d", path]),
            Self::Fail2ban => Command::new("/usr/bin/fail2ban-client").arg("-t"),
        }
    }

    /// Asks the checker about the machine with this candidate in place. Where the program is not there yet (its
    /// package comes later) there is nobody to ask: the proof after the run will.
    ///
    /// # Errors
    /// The checker's own words when the configuration is not sound.
    pub fn ask(self, host: &dyn Host, path: &str, candidate: Candidate) -> Result<()> {
        match self.refuses(host.inspect(), path, &[candidate])? {
            None => Ok(()),
            Some(words) => Err(Error::Unsupported(format!(
                "{path} was not put in place, because `{}` refuses it:\n{words}",
                self.command(path).display(),
            ))),
        }
    }

    /// Asks the checker about the machine with these candidates in place; `None` where it has no objection or is not there.
    fn refuses(self, host: &dyn Inspect, path: &str, candidates: &[Candidate]) -> Result<Option<String>> {
        let command = self.command(path);
        let ready = match self {
            // sshd refuses to check anything before its runtime directory exists.
            Self::Sshd => host.stat("/run/sshd")?.is_some(),
            // Docker 20.10 (bookworm's docker.io) has no --validate; only dockerd's own help says who has.
            Self::Docker if host.live() && host.stat(&command.program)?.is_some() => {
                host.ask(&Command::new(&command.program).arg("--help"))?.stdout.contains("--validate")
            }
            _ => true,
        };
        if !host.live() || !ready || host.stat(&command.program)?.is_none() {
            return Ok(None);
        }
        let output = host.ask_with(candidates, &command)?;
        Ok(Some(output).filter(|output| !output.ok()).map(|output| output.tail()))
    }

    /// Whether it reads one file alone, and not the whole configuration.
    fn of_one_file(self) -> bool {
        match self {
            Self::Docker | Self::Logrotate => true,
            Self::Sshd | Self::Nginx | Self::Sudoers | Self::Fail2ban => false,
        }
    }
}

/// Something with a path that goes back.
#[derive(Clone, Debug)]
pub struct Returning {
    /// The resource.
    pub id: Id,
    /// Its path.
    pub path: String,
    /// Who checks it.
    pub check: Option<Check>,
    /// What is there.
    pub from: Node,
    /// What was there.
    pub to: Node,
}

impl Returning {
    /// What the checker is shown; `None` where it could not be shown: its directory comes back with it.
    fn candidate(&self, host: &dyn Inspect, accounts: &Accounts) -> Option<Candidate> {
        let path = self.path.clone();
        let directory = path.rsplit_once('/').map_or("/", |(directory, _)| directory);
        Some(match &self.to {
            Node::File { content, mode, owner, group } => {
                host.stat(directory).ok()??;
                // An account may come back only later.
                let uid = accounts.uid_of(owner).unwrap_or_default();
                let gid = accounts.gid_of(group).unwrap_or_default();
                Candidate::File { path, content: content.clone(), access: Access { mode: *mode, uid, gid } }
            }
            Node::Link { target } => {
                host.stat(directory).ok()??;
                Candidate::Link { path, target: target.clone() }
            }
            Node::Absent => Candidate::Absent { path },
            Node::Directory { .. } | Node::Other | Node::Unusable { .. } => return None,
        })
    }
}

/// A unit that reads some of what goes back.
#[derive(Clone, Debug)]
pub struct Reader {
    /// What it reads.
    pub reads: Vec<Id>,
    /// Whether it runs once all has gone back.
    pub runs: bool,
}

/// Which of these must not go back, each with why: the program that reads them takes what is there and refuses what would
/// come of it, and a service that goes on would not start any more.
///
/// Left is the one thing without whose return the program is content, what comes back before what goes; where there is no
/// such one, everything that this program checks, and at last everything. What no running unit reads any more is not
/// checked: it goes with its service.
pub fn objections(host: &dyn Inspect, returning: &[Returning], readers: &[Reader]) -> Vec<(Id, String)> {
    let moving: Vec<&Returning> = returning.iter().filter(|one| one.from != one.to).collect();
    let mut held: Vec<(Id, String)> = Vec::new();
    let checks: BTreeSet<Check> = moving.iter().filter_map(|one| one.check).collect();
    for check in checks {
        let of_check = moving.iter().filter(|one| one.check == Some(check) && goes_on(one, readers));
        let of_check: Vec<&Returning> = of_check.copied().collect();
        let groups: Vec<Vec<&Returning>> = if check.of_one_file() {
            of_check.into_iter().map(|one| vec![one]).collect()
        } else {
            vec![of_check]
        };
        for group in groups.into_iter().filter(|group| !group.is_empty()) {
            held.extend(refused(host, check, &group, &moving));
        }
    }
    held
}

/// Whether anything is there after going back that reads it: a unit that runs, or a program that is no unit.
fn goes_on(one: &Returning, readers: &[Reader]) -> bool {
    let mut readers = readers.iter().filter(|reader| reader.reads.contains(&one.id)).peekable();
    readers.peek().is_none() || readers.any(|reader| reader.runs)
}

/// What of a group has to stay for its checker to be content.
fn refused(
    host: &dyn Inspect,
    check: Check,
    group: &[&Returning],
    moving: &[&Returning],
) -> Vec<(Id, String)> {
    let Ok(accounts) = Accounts::read(host) else { return Vec::new() };
    let path = &group[0].path;
    if check.of_one_file() && group[0].to == Node::Absent {
        return Vec::new();
    }
    // A checker that cannot be asked refuses nothing.
    let refuses = |left: &[&Returning]| {
        let stays = |one: &Returning| left.iter().any(|other| other.id == one.id);
        let going = moving.iter().filter(|one| !stays(one));
        let candidates: Vec<Candidate> = going.filter_map(|one| one.candidate(host, &accounts)).collect();
        check.refuses(host, path, &candidates).unwrap_or_default()
    };
    let Some(words) = refuses(&[]) else { return Vec::new() };
    if refuses(moving).is_some() {
        // What is there is refused too: that it goes back makes nothing worse.
        return Vec::new();
    }
    let (coming, going): (Vec<&Returning>, Vec<&Returning>) =
        group.iter().partition(|one| one.to != Node::Absent);
    let one = coming.into_iter().chain(going).find(|one| refuses(&[*one]).is_none());
    let left = match one {
        Some(one) => vec![one],
        None if refuses(group).is_none() => group.to_vec(),
        None => moving.to_vec(),
    };
    let command = check.command(path).display();
    let why = |one: &Returning| {
        let what = if one.from == Node::Absent { "it does not come back" } else { "it stays as it is" };
        let change = if one.to == Node::Absent { "without it" } else { "as it was" };
        format!("{what}, because `{command}` refuses the configuration {change}:\n{words}")
    };
    left.into_iter().map(|one| (one.id.clone(), why(one))).collect()
}
