//! apt's marks, /var/lib/apt/extended_states: stanzas with `Package`, `Architecture` and `Auto-Installed`, apt-mark(8).

use std::collections::HashSet;

/// Names and architectures of the packages that are marked as automatically installed.
pub fn parse(text: &str) -> HashSet<(&str, &str)> {
    let mut automatic = HashSet::new();
    let (mut name, mut arch, mut auto) = ("", "", false);
    for line in text.lines().chain([""]) {
        match line.split_once(':') {
            Some(("Package", value)) => name = value.trim(),
            Some(("Architecture", value)) => arch = value.trim(),
            Some(("Auto-Installed", value)) => auto = value.trim() == "1",
            None if line.trim().is_empty() => {
                if auto {
                    automatic.insert((name, arch));
                }
                (name, arch, auto) = ("", "", false);
            }
            _ => {}
        }
    }
    automatic
}
