//! Role security.

use pitool_config::Settings;
use pitool_host::Facts;

use crate::Wishes;

/// What the role wants.
pub fn wishes(_settings: &Settings, _facts: &Facts) -> Wishes {
    Wishes::default()
}
