//! systemd units as the manager knows them.

use serde::{Deserialize, Serialize};

/// Directories of unit files, the first one wins (systemd.unit(5), "Unit File Load Path"; /lib for trees that are
/// not merged).
pub const UNIT_DIRECTORIES: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// The states of `ActiveState` (systemd.unit(5), systemctl(1)) that we tell apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActiveState {
    /// Started; for a one-shot service with `RemainAfterExit` too.
    Active,
    /// Changing: activating, deactivating, reloading, refreshing.
    Changing,
    /// Stopped.
    #[default]
    Inactive,
    /// Stopped by an error.
    Failed,
}

/// What systemd's manager says of one unit, in the words of `systemctl show`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitStatus {
    /// The unit's name with its suffix.
    pub name: String,
    /// Whether there is a unit file (or the manager made one): `LoadState` is `loaded` or `masked`.
    pub exists: bool,
    /// Whether it runs.
    pub active: ActiveState,
    /// `UnitFileState`: `enabled`, `disabled`, `static`, `masked`, `generated`, `indirect`, `alias`, … or empty.
    pub file_state: String,
    /// `InvocationID` of the present or last start, 32 hex digits or empty: a new one for every start.
    pub invocation: String,
    /// `NeedDaemonReload`: the unit file on disk is newer than what the manager read.
    pub stale: bool,
    /// Whether `systemctl start` returns before anybody knows that it will stay up: `Type` is `simple`, `exec` or
    /// `idle` (systemd.service(5)).
    pub unannounced: bool,
    /// `ActiveEnterTimestampMonotonic` of the present or last start, in microseconds since boot: tells which of two
    /// units came first, whatever became of the clock in between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<u64>,
}

impl UnitStatus {
    /// Whether it is started at boot by its own `[Install]` section.
    pub fn enabled(&self) -> bool {
        matches!(self.file_state.as_str(), "enabled" | "enabled-runtime" | "alias")
    }

    /// Whether it cannot be started at all.
    pub fn masked(&self) -> bool {
        self.file_state.starts_with("masked")
    }
}
