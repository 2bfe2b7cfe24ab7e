//! Debian packages as dpkg knows them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What dpkg says of one package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackageState {
    /// Unpacked, configured, usable.
    Installed,
    /// Removed; its configuration files are still there.
    ConfigFiles,
    /// In between: unpacked, half-installed, half-configured, triggers awaited or pending. dpkg was interrupted.
    Broken,
}

/// One package of one architecture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Its state.
    pub state: PackageState,
    /// Its version; for `ConfigFiles` the version that left them.
    pub version: String,
    /// Its architecture (`all` for architecture-independent ones).
    pub arch: String,
    /// Whether a person or tool asked for it (not marked automatic in apt's extended states).
    pub manual: bool,
    /// Whether dpkg wants it unpacked again before anything else (its flag `reinst-required`, dpkg(1)).
    #[serde(default, skip_serializing)]
    pub reinstall: bool,
    /// What it cannot be without: `Pre-Depends` and `Depends`, as dpkg writes them.
    #[serde(default, skip_serializing)]
    pub depends: String,
    /// `Recommends`, as dpkg writes it.
    #[serde(default, skip_serializing)]
    pub recommends: String,
    /// `Provides`, as dpkg writes it.
    #[serde(default, skip_serializing)]
    pub provides: String,
}

/// The names in a relationship field of dpkg, alternatives among them: versions and architectures are left out.
pub fn related(field: &str) -> impl Iterator<Item = &str> {
    field.split([',', '|']).filter_map(|part| {
        let name = part.trim_start().split([' ', '(', ':', '[']).next()?;
        (!name.is_empty()).then_some(name)
    })
}

/// The package database, keyed by name for the native architecture and `all`, by `name:arch` for foreign ones
/// (multi-arch is on by default on Raspberry Pi OS).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packages {
    /// The native architecture: that of the package `dpkg` itself. Never the kernel's.
    pub native: String,
    /// Packages that dpkg knows anything of; one that is missing is not installed.
    pub packages: BTreeMap<String, Package>,
}

impl Packages {
    /// Looks a package up by name (native or `all`) or by `name:arch`.
    pub fn get(&self, name: &str) -> Option<&Package> {
        self.packages.get(name)
    }

    /// Whether the package is installed and usable.
    pub fn installed(&self, name: &str) -> bool {
        self.get(name).is_some_and(|package| package.state == PackageState::Installed)
    }
}
