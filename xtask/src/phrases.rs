//! `cargo xtask phrases`: phrases that STYLE.md says not to use, counted.
//!
//! The text that is there has many of them. `xtask/phrases.txt` has how many of each; a change may take some away and add
//! none.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result, bail, ensure};

use crate::tools::{command, root};

/// Where the counts are.
const COUNTS: &str = "xtask/phrases.txt";

/// The heading in STYLE.md above the table: the phrase, and what to say instead.
const HEADING: &str = "## Say, and do not say";

/// What is judged: what people write. The table itself, generated files and recorded output are not.
const FILES: [&str; 10] = [
    "*.rs",
    "*.md",
    "*.conf",
    "*.service",
    ":!STYLE.md",
    ":!CHANGELOG.md",
    ":!docs/config.md",
    ":!docs/man",
    ":!tests/scenarios",
    ":!xtask/src/phrases.rs",
];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write the counts, after a change that took some away.
    #[arg(long)]
    pub(crate) update: bool,
}

pub(crate) fn task(args: &Args) -> Result<()> {
    let style = fs::read_to_string(root().join("STYLE.md"))?;
    let phrases = phrases(&style);
    ensure!(phrases.len() > 10, "STYLE.md has no table below \"{HEADING}\"");
    let texts = texts()?;
    let found: BTreeMap<&str, usize> = phrases
        .iter()
        .map(|phrase| (phrase.as_str(), texts.iter().map(|(_, text)| count(text, phrase)).sum()))
        .collect();
    let path = root().join(COUNTS);
    if args.update {
        let lines: String = found.iter().map(|(phrase, count)| format!("{count}\t{phrase}\n")).collect();
        return Ok(fs::write(path, lines)?);
    }
    let allowed = allowed(&fs::read_to_string(&path).unwrap_or_default());
    let mut more = String::new();
    let mut fewer = Vec::new();
    for (phrase, count_now) in &found {
        let before = allowed.get(*phrase).copied().unwrap_or_default();
        if *count_now > before {
            let _ = writeln!(more, "\"{phrase}\": {count_now}, and {COUNTS} has {before}; it is in:");
            for (name, text) in texts.iter().filter(|(_, text)| count(text, phrase) > 0) {
                let _ = writeln!(more, "  {name}: {}", count(text, phrase));
            }
        } else if *count_now < before {
            fewer.push(*phrase);
        }
    }
    ensure!(more.is_empty(), "STYLE.md says what to write instead of these phrases:\n{more}");
    ensure!(
        fewer.is_empty(),
        "there are fewer of {fewer:?} than {COUNTS} has: `cargo xtask phrases --update` writes it down"
    );
    Ok(())
}

/// The first column of the table, without its backquotes.
fn phrases(style: &str) -> Vec<String> {
    let table =
        style.split_once(HEADING).map_or("", |(_, rest)| rest.split("\n## ").next().unwrap_or_default());
    let cell = |line: &str| {
        let cell = line.strip_prefix("| `")?.split_once("` |")?.0;
        Some(cell.to_owned())
    };
    table.lines().filter_map(cell).collect()
}

/// How often a phrase stands in a text as whole words.
fn count(text: &str, phrase: &str) -> usize {
    let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    text.match_indices(phrase)
        .filter(|(at, _)| {
            let before = text[..*at].chars().next_back();
            let after = text[at + phrase.len()..].chars().next();
            !word(before) && !word(after)
        })
        .count()
}

/// The lines of the file of counts.
fn allowed(text: &str) -> BTreeMap<String, usize> {
    let line = |line: &str| {
        let (count, phrase) = line.split_once('\t')?;
        Some((phrase.to_owned(), count.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// Every file that is judged, with its text.
fn texts() -> Result<Vec<(String, String)>> {
    let listed = command("git")
        .args(["-c", &format!("safe.directory={}", root().display()), "ls-files", "-z", "--"])
        .args(FILES)
        .output()
        .context("cannot start git")?;
    if !listed.status.success() {
        bail!("git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    }
    let names = String::from_utf8(listed.stdout).context("a file's name is not UTF-8")?;
    let text = |name: &str| Some((name.to_owned(), fs::read_to_string(root().join(name)).ok()?));
    Ok(names.split_terminator('\0').filter_map(text).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phrase_is_counted_as_whole_words() {
        assert_eq!(count("anew. renewed anew, manewver; anew_x", "anew"), 2);
        assert_eq!(count("it is no file; this is nothing", "is no"), 1);
        assert_eq!(count("ä anew", "anew"), 1);
    }

    #[test]
    fn the_table_of_the_style_page_is_read() {
        let style = "# Style\n\n## Say, and do not say\n\n| Not | Say |\n|---|---|\n| `anew` | again |\n| `is no` | is not a |\n\n## Code\n| `x` | y |\n";
        assert_eq!(phrases(style), ["anew", "is no"]);
        assert_eq!(phrases("# Style\n"), [""; 0]);
        assert_eq!(allowed("2\tis no\n\nbad\n").get("is no"), Some(&2));
    }
}
