//! What a person wants left out.

use crate::StoredPath;

/// Patterns of paths: `*` and `?` stay within a name, `**` does not.
///
/// With a `/` in front a pattern is of whole paths; with one inside, of their ends; without, of names anywhere.
#[derive(Clone, Debug, Default)]
pub(crate) struct Excludes(Vec<(Anchor, Vec<u8>)>);

#[derive(Clone, Copy, Debug)]
enum Anchor {
    Whole,
    End,
    Name,
}

impl Excludes {
    pub(crate) fn new(patterns: &[String]) -> Self {
        let parse = |pattern: &String| {
            let pattern = pattern.strip_suffix('/').unwrap_or(pattern);
            match pattern.strip_prefix('/') {
                Some(whole) => (Anchor::Whole, whole.as_bytes().to_vec()),
                None if pattern.contains('/') => (Anchor::End, pattern.as_bytes().to_vec()),
                None => (Anchor::Name, pattern.as_bytes().to_vec()),
            }
        };
        Self(patterns.iter().map(parse).collect())
    }

    /// Whether this path is left out; what is below it is never come to.
    pub(crate) fn exclude(&self, path: &StoredPath) -> bool {
        let path = path.as_bytes();
        self.0.iter().any(|(anchor, pattern)| match anchor {
            Anchor::Whole => matches(pattern, path),
            Anchor::Name => matches(pattern, path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)),
            Anchor::End => {
                let starts = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at + 1);
                std::iter::once(0).chain(starts).any(|start| matches(pattern, &path[start..]))
            }
        })
    }
}

/// Matches without recursion, so that no pattern takes more than the product of the lengths: at a dead end it goes
/// back to the last `*`, and when that may not take the next byte, to the last `**`.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    let mut stars: Option<(usize, usize)> = None;
    loop {
        if pattern[p..].starts_with(b"**") {
            p += 2;
            stars = Some((p, t));
            star = None;
            continue;
        }
        match pattern.get(p) {
            Some(b'*') => {
                p += 1;
                star = Some((p, t));
                continue;
            }
            Some(byte) if t < text.len() && (*byte == text[t] || (*byte == b'?' && text[t] != b'/')) => {
                p += 1;
                t += 1;
                continue;
            }
            None if t == text.len() => return true,
            _ => {}
        }
        match (star, stars) {
            (Some((after, at)), _) if at < text.len() && text[at] != b'/' => {
                star = Some((after, at + 1));
                (p, t) = (after, at + 1);
            }
            (_, Some((after, at))) if at < text.len() => {
                star = None;
                stars = Some((after, at + 1));
                (p, t) = (after, at + 1);
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excluded(pattern: &str, path: &str) -> bool {
        Excludes::new(&[pattern.to_owned()]).exclude(&StoredPath::new(path.as_bytes()).unwrap())
    }

    #[test]
    fn patterns_mean_what_the_guide_says() {
        for (pattern, path, expected) in [
            ("*.tmp", "a/b/x.tmp", true),
            ("*.tmp", "a/x.tmp/y", false),
            ("node_modules", "srv/app/node_modules", true),
            ("/srv/*/cache", "srv/a/cache", true),
            ("/srv/*/cache", "srv/a/b/cache", false),
            ("/srv/**/cache", "srv/a/b/cache", true),
            ("/srv/**", "srv/a", true),
            ("/srv/**", "srv", false),
            ("cache/*.bin", "srv/cache/x.bin", true),
            ("cache/*.bin", "cache/x.bin", true),
            ("cache/*.bin", "xcache/x.bin", false),
            ("a?c", "abc", true),
            ("*a*b*c*", "xxaxxbxxcxx", true),
            ("*a*b*c*", "xxaxxcxxbxx", false),
            ("/a**b*c", "a/x/byyb/zbc", true),
            ("cache/", "x/cache", true),
        ] {
            assert_eq!(excluded(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_pattern_of_stars_is_not_slow() {
        let path = "a".repeat(4000);
        assert!(!excluded(&format!("{}b", "*a".repeat(50)), &path));
    }
}
