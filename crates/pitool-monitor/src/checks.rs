//! The checks, by subject.

pub(crate) mod care;
pub(crate) mod machine;
pub(crate) mod services;
pub(crate) mod storage;
#[cfg(test)]
pub(crate) mod tests;

/// A share as people read it.
pub(crate) fn percent(share: f64) -> f64 {
    (share * 1000.0).round() / 10.0
}

/// Bytes as people read them: `3.2 GiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 || value >= 100.0 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// A length of time as people read it: `40 s`, `12 min`, `5 h`, `3 days`.
pub fn age(seconds: i64) -> String {
    match seconds {
        i64::MIN..=119 => format!("{} s", seconds.max(0)),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
