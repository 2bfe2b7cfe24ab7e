//! The kernel's command line: /proc/cmdline, and cmdline.txt on the boot partition of a Pi.

use serde::Serialize;

/// A command line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cmdline {
    /// Its words in order. The kernel reads them from left to right, and of most the last one counts.
    pub words: Vec<String>,
    /// Whether it is one line: the firmware hands on the first line of cmdline.txt only.
    pub single_line: bool,
}

impl Cmdline {
    /// Whether this very word is there: `quiet` is not in `quieter`, and `a=b` is not in `a=b,c` (trap T2).
    pub fn has(&self, word: &str) -> bool {
        self.words.iter().any(|other| other == word)
    }

    /// The values of `name=value`, in order.
    pub fn values<'c>(&'c self, name: &'c str) -> impl Iterator<Item = &'c str> {
        self.words.iter().filter_map(move |word| word.strip_prefix(name)?.strip_prefix('='))
    }
}

/// Splits a command line into words at blanks that are not within double quotes (lib/cmdline.c, `next_arg`);
/// quotes are kept, so that the words joined by blanks are the line again.
pub fn parse(text: &str) -> Cmdline {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for character in text.chars() {
        quoted ^= character == '"';
        if character.is_whitespace() && !quoted {
            if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
        } else {
            word.push(character);
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    Cmdline { words, single_line: text.lines().filter(|line| !line.trim().is_empty()).count() <= 1 }
}
