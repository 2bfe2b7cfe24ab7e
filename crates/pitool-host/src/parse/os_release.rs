//! /etc/os-release, os-release(5).

use serde::Serialize;

/// What the system calls itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OsRelease {
    /// `ID`, `linux` where it is missing.
    pub id: String,
    /// `ID_LIKE`, closest first.
    pub id_like: Vec<String>,
    /// `VERSION_ID`, empty on Debian testing.
    pub version_id: String,
    /// `VERSION_CODENAME`.
    pub codename: String,
    /// `PRETTY_NAME`.
    pub pretty_name: String,
}

/// Reads os-release.
pub fn parse(text: &str) -> OsRelease {
    let mut values = super::assignments(text);
    let mut take = |name: &str| values.remove(name).unwrap_or_default();
    let id = take("ID");
    OsRelease {
        id: if id.is_empty() { "linux".to_owned() } else { id },
        id_like: take("ID_LIKE").split_whitespace().map(str::to_owned).collect(),
        version_id: take("VERSION_ID"),
        codename: take("VERSION_CODENAME"),
        pretty_name: take("PRETTY_NAME"),
    }
}
