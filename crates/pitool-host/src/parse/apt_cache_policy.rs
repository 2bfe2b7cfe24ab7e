//! `apt-cache policy NAME…`, apt-cache(8): what apt would install.

use std::collections::BTreeMap;

/// Reads the candidate's version of each package; one without a candidate is left out. A package of another architecture
/// (`libc6:armhf`) is known by its name without it.
pub fn candidates(text: &str) -> BTreeMap<&str, &str> {
    let mut found = BTreeMap::new();
    let mut about = None;
    for line in text.lines() {
        if !line.starts_with(' ') {
            about = line.split(':').next();
        } else if let Some(version) = line.strip_prefix("  Candidate: ") {
            found.extend(about.filter(|_| version != "(none)").map(|name| (name, version)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_candidate_and_which() {
        let text = "cron:\n  Installed: (none)\n  Candidate: 3.0pl1-197\n  Version table:\n     3.0pl1-197 500\n\
            mail-transport-agent:\n  Installed: (none)\n  Candidate: (none)\n  Version table:\n\
            libc6:armhf:\n  Installed: (none)\n  Candidate: 2.41-12\n  Version table:\n";
        assert_eq!(candidates(text), BTreeMap::from([("cron", "3.0pl1-197"), ("libc6", "2.41-12")]));
        assert!(candidates("").is_empty());
    }
}
