//! Upgrades of what is installed, where a config asks for them.

use pitool_engine::{Action, Change, Id, Move, Resource, Reversal, Stage};
use pitool_host::{Command, Error, Host, Inspect, Result};
use serde::{Deserialize, Serialize};

use crate::apt;

/// Installed packages that are as new as apt's lists know. Printed `upgrade[safe]` or `upgrade[full]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Upgrade {
    full: bool,
}

impl Upgrade {
    /// Upgrades that remove nothing.
    pub fn safe() -> Self {
        Self { full: false }
    }

    /// Upgrades that may remove packages to get there.
    pub fn full() -> Self {
        Self { full: true }
    }
}

impl Resource for Upgrade {
    /// How many packages have a newer version.
    type State = usize;

    fn id(&self) -> Id {
        Id::new("upgrade", if self.full { "full" } else { "safe" })
    }

    fn observe(&self, host: &dyn Inspect) -> Result<usize> {
        let verbs: &[&str] = if self.full { &["dist-upgrade"] } else { &["--with-new-pkgs", "upgrade"] };
        let output = host.ask(&Command::new("apt-get").args(["-s", "-q"]).args(verbs.iter().copied()))?;
        Ok(output.stdout.lines().filter(|line| line.starts_with("Inst ")).count())
    }

    fn desired(&self, _observed: &usize) -> usize {
        0
    }

    fn enact(&self, host: &dyn Host, _from: &usize, to: &usize) -> Result<()> {
        if *to == 0 { apt::upgrade(host, self.full) } else { Ok(()) }
    }

    fn preflight(host: &dyn Host, moves: &[Move<Self>]) -> std::result::Result<(), (Vec<Id>, Error)> {
        // By old lists apt asks for versions that the mirror does not have any more.
        if moves.is_empty() { Ok(()) } else { apt::update(host).map_err(|error| (vec![], error)) }
    }

    fn change(&self, from: &usize, _to: &usize) -> Change {
        Change::words(Action::Change, format!("{from} packages have a newer version"))
    }

    fn stage(&self) -> Stage {
        Stage::Packages
    }

    fn reversal(&self) -> Reversal {
        Reversal::None("an upgrade is not taken back".into())
    }

    fn restored(&self, _before: &usize, now: &usize) -> usize {
        *now
    }

    fn remains(&self, before: &usize, now: &usize) -> Option<String> {
        (now < before).then(|| "an upgrade is not taken back".to_owned())
    }
}
