//! Shell patterns for names, glob(7): `*`, `?`, `[a-z]`, `[!x]`, `\`.

use crate::{Inspect, Result};

/// Whether a pattern has any special character.
pub fn is_pattern(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}

/// Whether a name matches a pattern, both without `/`. A leading dot must be matched by a dot.
pub fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    // Where to go on after a mismatch: behind the last `*`, with one more character swallowed by it.
    let mut retry: Option<(usize, usize)> = None;
    let (mut p, mut n) = (0, 0);
    while n < name.len() {
        let step = match pattern.get(p) {
            Some('*') => {
                retry = Some((p + 1, n));
                p += 1;
                continue;
            }
            Some('?') => Some(1),
            Some('[') => class(&pattern[p..], name[n]),
            Some('\\') => (pattern.get(p + 1) == Some(&name[n])).then_some(2),
            Some(character) => (*character == name[n]).then_some(1),
            None => None,
        };
        match (step, retry) {
            (Some(step), _) => (p, n) = (p + step, n + 1),
            (None, Some((after, from))) => {
                retry = Some((after, from + 1));
                (p, n) = (after, from + 1);
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|rest| *rest == '*')
}

/// The length of the bracket expression that the pattern begins with, when it matches.
fn class(pattern: &[char], character: char) -> Option<usize> {
    let negated = matches!(pattern.get(1), Some('!' | '^'));
    let first = if negated { 2 } else { 1 };
    // A `]` that comes first stands for itself; without an end the `[` does.
    let Some(end) = pattern.iter().skip(first + 1).position(|c| *c == ']').map(|end| end + first + 1) else {
        return (character == '[').then_some(1);
    };
    let members = &pattern[first..end];
    let mut found = false;
    let mut at = 0;
    while at < members.len() {
        if at + 2 < members.len() && members[at + 1] == '-' {
            found |= (members[at]..=members[at + 2]).contains(&character);
            at += 3;
        } else {
            found |= members[at] == character;
            at += 1;
        }
    }
    (found != negated).then_some(end + 1)
}

/// The paths that match an absolute pattern, sorted; patterns may be in any component.
pub fn expand(inspect: &dyn Inspect, pattern: &str) -> Result<Vec<String>> {
    let mut paths = vec![String::new()];
    for component in pattern.split('/').filter(|component| !component.is_empty()) {
        let mut next = Vec::new();
        for path in paths {
            if !is_pattern(component) {
                next.push(format!("{path}/{component}"));
                continue;
            }
            let directory = if path.is_empty() { "/" } else { &path };
            let names = inspect.list(directory)?.unwrap_or_default();
            next.extend(
                names.iter().filter(|name| matches(component, name)).map(|name| format!("{path}/{name}")),
            );
        }
        paths = next;
    }
    let mut there = Vec::new();
    for path in paths {
        if inspect.stat(&path)?.is_some() {
            there.push(path);
        }
    }
    there.sort();
    Ok(there)
}
