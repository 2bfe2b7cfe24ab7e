//! Swap files.

use std::time::Duration;

use pitool_engine::{Action, Change, Id, Resource, Stage};
use pitool_host::parse::proc_swaps;
use pitool_host::{Access, Command, FileType, Host, Inspect, Result};
use serde::{Deserialize, Serialize};

/// A file of a given size, formatted as swap space. Printed `swap-file[PATH]`.
///
/// The `.swap` unit that uses it is a file and a unit of their own. A machine that has other swap space already
/// is left alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SwapFile {
    path: String,
    size: u64,
}

/// What is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SwapState {
    /// Size of the file in bytes; `None` where there is none or it is not formatted.
    size: Option<u64>,
    /// Other swap space in use, by name.
    others: Vec<String>,
}

impl SwapFile {
    /// A swap file of so many bytes.
    pub fn new(path: impl Into<String>, size: u64) -> Self {
        Self { path: path.into(), size }
    }
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

impl Resource for SwapFile {
    type State = SwapState;

    fn id(&self) -> Id {
        Id::new("swap-file", &self.path)
    }

    fn observe(&self, host: &dyn Inspect) -> Result<SwapState> {
        let swaps = host.read("/proc/swaps")?;
        let text = swaps.as_ref().and_then(|content| content.text()).unwrap_or_default().to_owned();
        let names: Vec<String> = proc_swaps::parse(&text).into_iter().map(|area| area.path).collect();
        let active = names.contains(&self.path);
        let others = names.into_iter().filter(|name| *name != self.path).collect();
        let size =
            host.stat(&self.path)?.filter(|stat| stat.file_type == FileType::File).map(|stat| stat.size);
        // In use means formatted; else ask, because a power cut may have come between the two.
        let formatted = match size {
            None => false,
            Some(_) if active => true,
            Some(_) => host.ask(&Command::new("blkid").args(["-p", "-t", "TYPE=swap", &self.path]))?.ok(),
        };
        Ok(SwapState { size: size.filter(|_| formatted), others })
    }

    fn desired(&self, observed: &SwapState) -> SwapState {
        if !observed.others.is_empty() {
            return observed.clone();
        }
        SwapState { size: Some(self.size), others: vec![] }
    }

    fn enact(&self, host: &dyn Host, from: &SwapState, to: &SwapState) -> Result<()> {
        let in_use = host.read("/proc/swaps")?;
        let in_use = in_use.as_ref().and_then(|content| content.text()).unwrap_or_default();
        if proc_swaps::parse(in_use).iter().any(|area| area.path == self.path) {
            host.run(&Command::new("swapoff").arg(&self.path).timeout(Duration::from_secs(900)))?;
        }
        if from.size.is_some() || host.stat(&self.path)?.is_some() {
            host.remove(&self.path)?;
        }
        let Some(size) = to.size else { return Ok(()) };
        // Created with its mode first: a swap file that others can read gives away what is in memory.
        host.write(&self.path, b"", Access::root(0o600))?;
        host.run(&Command::new("fallocate").args(["--length", &size.to_string(), &self.path]))?;
        host.run(&Command::new("mkswap").arg(&self.path)).map(drop)
    }

    fn change(&self, from: &SwapState, to: &SwapState) -> Change {
        let words = |state: &SwapState| state.size.map_or_else(|| "absent".to_owned(), mib);
        let action = Action::between(from.size.is_some(), to.size.is_some());
        Change::words(action, format!("{} → {}", words(from), words(to)))
    }

    fn stage(&self) -> Stage {
        Stage::Configure
    }

    fn restored(&self, before: &SwapState, now: &SwapState) -> SwapState {
        SwapState { size: before.size, others: now.others.clone() }
    }
}
