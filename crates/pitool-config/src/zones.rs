//! The names of time zones.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Every name, with the canonical name where the name itself is a legacy alias.
static ZONES: LazyLock<BTreeMap<&str, Option<&str>>> = LazyLock::new(|| {
    include_str!("zones.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| match line.split_once(' ') {
            Some((alias, canonical)) => (alias, Some(canonical)),
            None => (line, None),
        })
        .collect()
});

/// Finds the canonical name of a zone; `None` where no zone has this name.
pub(crate) fn canonical(name: &str) -> Option<&'static str> {
    ZONES.get_key_value(name).map(|(name, canonical)| canonical.unwrap_or(name))
}

/// Every canonical name, sorted.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    ZONES.iter().filter(|(_, canonical)| canonical.is_none()).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alias_leads_to_a_canonical_name() {
        for canonical in ZONES.values().flatten() {
            assert_eq!(ZONES.get(canonical), Some(&None), "{canonical}");
        }
        assert_eq!(canonical("US/Eastern"), Some("America/New_York"));
        assert_eq!(canonical("Europe/Berlin"), Some("Europe/Berlin"));
        assert_eq!(canonical("Europe/Belrin"), None);
        assert!(names().count() > 400);
    }
}
