//! Takes out of an output what is another each time: times, durations, the version.

/// What a placeholder stands for: `0` is a digit, everything else itself. Longer ones first.
const PATTERNS: &[(&str, &str)] =
    &[("0000-00-00T00:00:00", "YYYY-MM-DDTHH:MM:SS"), ("0000-00-00 00:00", "YYYY-MM-DD HH:MM")];

/// Replaces by fixed-width placeholders, so that columns stay columns.
pub(crate) fn redact(output: &str) -> String {
    let output = output.replace(
        &format!("  pitool    {}\n", env!("CARGO_PKG_VERSION")),
        &format!("  pitool    {}\n", "VERSION"),
    );
    let output = output.replace(&format!("\"{}\"", env!("CARGO_PKG_VERSION")), "\"VERSION\"");
    let digit = |c: char| c.is_ascii_digit();
    let mut text = String::new();
    let mut rest = output.as_str();
    while let Some(next) = rest.chars().next() {
        let found = PATTERNS.iter().find(|(pattern, _)| fits(rest, pattern));
        if let Some((pattern, placeholder)) = found {
            text.push_str(placeholder);
            rest = &rest[pattern.len()..];
            if rest.starts_with('.') && placeholder.ends_with("SS") {
                rest = rest[1..].trim_start_matches(|c: char| c.is_ascii_digit());
            }
        } else if let Some(after) = rest.strip_prefix("took ").filter(|after| after.starts_with(digit)) {
            text.push_str("took N.N s");
            rest = after.trim_start_matches(digit).trim_start_matches('.').trim_start_matches(digit);
            rest = rest.strip_prefix(" min ").map_or(rest, |after| after.trim_start_matches(digit));
            rest = rest.strip_prefix(" s").unwrap_or(rest);
        } else if let Some(after) = rest.strip_prefix("\"seconds\":") {
            text.push_str("\"seconds\":N");
            rest = after.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.' || c == 'e' || c == '-');
        } else {
            text.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    text
}

fn fits(text: &str, pattern: &str) -> bool {
    let (text, pattern) = (text.as_bytes(), pattern.as_bytes());
    text.len() >= pattern.len()
        && text.iter().zip(pattern).all(|(found, wanted)| match wanted {
            b'0' => found.is_ascii_digit(),
            _ => found == wanted,
        })
}
