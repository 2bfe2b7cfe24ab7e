//! systemd's units, from one `systemctl list-units`.

use std::time::Duration;

use pitool_host::text::chain;
use pitool_host::{Command, Inspect};
use serde::{Deserialize, Serialize};

/// A unit that the manager has in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// Its name.
    pub unit: String,
    /// `loaded`, `not-found`, `masked`.
    pub load: String,
    /// `active`, `reloading`, `inactive`, `failed`, `activating`, `deactivating`.
    pub active: String,
    /// The finer state: `running`, `exited`, `auto-restart`.
    pub sub: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
}

/// Asks the manager for all units.
///
/// # Errors
/// It did not answer; the words say why.
pub fn ask(host: &dyn Inspect) -> Result<Vec<Unit>, String> {
    let command = Command::new("systemctl")
        .args(["list-units", "--all", "--full", "--no-pager", "--output=json"])
        .timeout(Duration::from_secs(10));
    let output = host.ask(&command).map_err(|error| chain(&error))?;
    if !output.ok() {
        return Err(output.tail());
    }
    serde_json::from_str(&output.stdout).map_err(|error| format!("systemctl: {error}"))
}
