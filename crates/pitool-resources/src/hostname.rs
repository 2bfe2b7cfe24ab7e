//! The machine's name.

use pitool_engine::{Action, Change, Id, Resource};
use pitool_host::{Access, Host, Inspect, Result};
use serde::{Deserialize, Serialize};

/// The name at boot (hostname(5)) and the name now. Printed `hostname[NAME]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hostname {
    name: String,
}

/// Both names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Names {
    at_boot: Option<String>,
    now: Option<String>,
}

const FILE: &str = "/etc/hostname";
const KERNEL: &str = "/proc/sys/kernel/hostname";

impl Hostname {
    /// A machine of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }
}

impl Resource for Hostname {
    type State = Names;

    fn id(&self) -> Id {
        Id::new("hostname", &self.name)
    }

    fn observe(&self, host: &dyn Inspect) -> Result<Names> {
        let first = |path: &str| -> Result<Option<String>> {
            let content = host.read(path)?;
            Ok(content.and_then(|content| {
                Some(content.text()?.lines().find(|line| !line.starts_with('#'))?.trim().to_owned())
            }))
        };
        Ok(Names { at_boot: first(FILE)?, now: if host.live() { first(KERNEL)? } else { None } })
    }

    fn desired(&self, observed: &Names) -> Names {
        Names { at_boot: Some(self.name.clone()), now: observed.now.as_ref().map(|_| self.name.clone()) }
    }

    fn enact(&self, host: &dyn Host, from: &Names, to: &Names) -> Result<()> {
        if from.at_boot != to.at_boot {
            match &to.at_boot {
                Some(name) => host.write(FILE, format!("{name}\n").as_bytes(), Access::root(0o644))?,
                None => host.remove(FILE)?,
            }
        }
        match &to.now {
            Some(name) if from.now != to.now => host.write_in_place(KERNEL, name.as_bytes()),
            _ => Ok(()),
        }
    }

    fn change(&self, from: &Names, to: &Names) -> Change {
        let words = |name: &Option<String>| name.clone().unwrap_or_else(|| "none".into());
        if from.at_boot == to.at_boot {
            let action = Action::between(from.now.is_some(), to.now.is_some());
            return Change::words(action, format!("{} → {} now", words(&from.now), words(&to.now)));
        }
        let action = Action::between(from.at_boot.is_some(), to.at_boot.is_some());
        Change::words(action, format!("{} → {}", words(&from.at_boot), words(&to.at_boot)))
    }
}
