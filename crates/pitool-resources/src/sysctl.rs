//! Kernel values in force.

use pitool_engine::{Action, Change, Id, Resource, Stage};
use pitool_host::parse::fstab;
use pitool_host::{Error, Host, Inspect, Result};
use serde::{Deserialize, Serialize};

/// A kernel value as it is now, under /proc/sys (proc_sys(5)). Printed `sysctl[KEY]`.
///
/// The drop-in that sets it at boot is a [`File`](crate::File) of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sysctl {
    key: String,
    value: String,
}

impl Sysctl {
    /// A key with its value, both as sysctl.d(5) writes them.
    pub fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.into() }
    }

    fn path(&self) -> String {
        // A key with slashes may hold dots within its parts (sysctl.d(5)).
        let path = if self.key.contains('/') { self.key.clone() } else { self.key.replace('.', "/") };
        format!("/proc/sys/{path}")
    }
}

fn folded(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether the mount that holds this path is read-only: a container's view of values that are the outer machine's.
fn read_only(host: &dyn Inspect, path: &str) -> Result<bool> {
    let mounts = host.read("/proc/self/mounts")?;
    let mounts = mounts.as_ref().and_then(|content| content.text()).unwrap_or_default().to_owned();
    let holds = |target: &str| path.strip_prefix(target).is_some_and(|rest| rest.starts_with('/'));
    let mounts = fstab::parse(&mounts);
    // Of two mounts at one place the later one is seen.
    let mount = mounts.iter().filter(|mount| holds(&mount.target)).max_by_key(|mount| mount.target.len());
    Ok(mount.is_some_and(|mount| mount.options.iter().any(|option| option == "ro")))
}

impl Resource for Sysctl {
    type State = Option<String>;

    fn id(&self) -> Id {
        Id::new("sysctl", &self.key)
    }

    fn observe(&self, host: &dyn Inspect) -> Result<Option<String>> {
        if !host.live() {
            return Ok(None);
        }
        if read_only(host, &self.path())? {
            return Ok(None);
        }
        // Some values cannot be read, only written; then the drop-in alone stands for them.
        match host.read(&self.path()) {
            Ok(content) => Ok(content.map(|content| folded(content.text().unwrap_or_default()))),
            Err(Error::Path { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn desired(&self, observed: &Option<String>) -> Option<String> {
        observed.as_ref().map(|_| folded(&self.value))
    }

    fn enact(&self, host: &dyn Host, _from: &Option<String>, to: &Option<String>) -> Result<()> {
        to.as_ref().map_or(Ok(()), |value| host.write_in_place(&self.path(), value.as_bytes()))
    }

    fn change(&self, from: &Option<String>, to: &Option<String>) -> Change {
        let words = |state: &Option<String>| state.clone().unwrap_or_else(|| "unknown".into());
        Change::words(Action::Change, format!("{} → {}", words(from), words(to)))
    }

    fn stage(&self) -> Stage {
        Stage::Activate
    }

    fn refusal(&self, _observed: &Option<String>) -> Option<String> {
        None
    }

    fn restored(&self, before: &Option<String>, now: &Option<String>) -> Option<String> {
        // A key that came with a module that is loaded now has no old value to go back to.
        before.clone().or_else(|| now.clone())
    }
}
