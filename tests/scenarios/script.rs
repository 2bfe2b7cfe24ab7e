//! What a script consists of.

/// One part of a script.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// A comment or an empty line.
    Words(String),
    /// Something that happens to the machine: its words, and the text below it up to `EOF`.
    Happens { line: String, words: Vec<String>, text: Option<String> },
    /// A command; what the script says that it prints is passed over.
    Command { line: String, words: Vec<String> },
}

/// Reads a script.
pub(crate) fn read(script: &str) -> Result<Vec<Part>, String> {
    let lines: Vec<&str> = script.lines().collect();
    let mut parts = Vec::new();
    let mut at = 0;
    while let Some(&line) = lines.get(at) {
        at += 1;
        if line.is_empty() || line.starts_with('#') {
            parts.push(Part::Words(line.to_owned()));
        } else if let Some(command) = line.strip_prefix("$ ") {
            // The output goes up to its last line; a command that was never played has none.
            let rest = &lines[at..];
            let end = rest.iter().position(|line| is_ending(line));
            let next = rest.iter().position(|line| line.starts_with("$ ")).unwrap_or(rest.len());
            at += end.filter(|end| *end < next).map_or(0, |end| end + 1);
            parts.push(Part::Command { line: line.to_owned(), words: words(command)? });
        } else if let Some(start) = line.strip_suffix(" <<EOF") {
            let rest = &lines[at..];
            let end = rest.iter().position(|line| *line == "EOF");
            let end = end.ok_or_else(|| format!("`{line}` has no EOF"))?;
            let text = rest[..end].iter().map(|line| format!("{line}\n")).collect();
            at += end + 1;
            parts.push(Part::Happens { line: line.to_owned(), words: words(start)?, text: Some(text) });
        } else {
            parts.push(Part::Happens { line: line.to_owned(), words: words(line)?, text: None });
        }
    }
    Ok(parts)
}

/// Whether a line is the last one of an output.
pub(crate) fn is_ending(line: &str) -> bool {
    line == CUT_OFF || line.strip_prefix("[exit ").is_some_and(|rest| rest.ends_with(']'))
}

/// The last line of the output of a command that the power took away.
pub(crate) const CUT_OFF: &str = "[cut off]";

/// Splits a line into words; double quotes keep spaces.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let (mut word, mut begun, mut quoted) = (String::new(), false, false);
    for c in line.chars() {
        match c {
            '"' => (begun, quoted) = (true, !quoted),
            ' ' if !quoted => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            _ => {
                word.push(c);
                begun = true;
            }
        }
    }
    if quoted {
        return Err(format!("`{line}` has an open quote"));
    }
    if begun {
        words.push(word);
    }
    Ok(words)
}
