//! What the lab says to the person who waits.

/// Reports progress to the person who waits.
#[expect(clippy::print_stderr, reason = "a development tool that talks on stderr")]
pub(crate) fn say(text: &str) {
    eprintln!("lab: {text}");
}

/// Cuts a text down to its last lines.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
