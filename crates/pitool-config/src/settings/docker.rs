//! The container engine.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::values::{AbsolutePath, Size, Url, UserName};

/// The container engine (Docker).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Docker {
    /// Whether Docker is installed and runs.
    pub enabled: bool,
    /// Whose packages. What is installed already is kept.
    pub source: DockerSource,
    /// Docker's repository, or a mirror of it: the part of the address before the name of the distribution.
    pub repository: Url,
    /// The keyring that signs that repository. Docker's own key, which is built in, where unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = "/etc/apt/keyrings/docker.asc"))]
    pub key_file: Option<AbsolutePath>,
    /// How large a container's log gets before a new file starts.
    pub log_max_size: Size,
    /// How many files of a container's log are kept.
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub log_max_files: u16,
    /// Whether containers go on while Docker itself restarts.
    pub live_restore: bool,
    /// Users in the group `docker`. Each of them can do everything that root can.
    pub users: Vec<UserName>,
    /// Further settings of Docker's own `daemon.json`, laid over what is there.
    pub daemon: Map<String, Value>,
}

impl Default for Docker {
    fn default() -> Self {
        Self {
            enabled: true,
            source: DockerSource::default(),
            repository: Url::docker(),
            key_file: None,
            log_max_size: Size::from_mib(10),
            log_max_files: 3,
            live_restore: true,
            users: Vec::new(),
            daemon: Map::new(),
        }
    }
}

/// Whose packages of Docker are installed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, schemars(inline))]
pub enum DockerSource {
    /// Docker's own where it has some for this machine, else the distribution's.
    #[default]
    Auto,
    /// Docker's own: docker-ce.
    DockerCe,
    /// The distribution's: docker.io.
    Debian,
}
