//! The code and the documents name faults by number: each must have its row in docs/faults.md, and each row a test that exists.

#![expect(clippy::disallowed_methods, reason = "a test reads the repository")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    // Cargo runs tests in the folder of their crate.
    Path::new("../..").canonicalize().unwrap()
}

/// Every text file of the repository.
fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if entry.file_type().unwrap().is_dir() {
            let built = ["target", "dist", ".git"].iter().any(|skipped| path == root().join(skipped));
            if !built {
                files(&path, found);
            }
        } else if ["rs", "md", "sh", "py", "toml", "txt", "conf", "service", "rules"]
            .iter()
            .any(|ending| name.ends_with(&format!(".{ending}")))
        {
            found.push(path);
        }
    }
}

/// The fault numbers in a text: `K`, a digit, a dot, digits.
fn numbers(text: &str) -> BTreeSet<String> {
    let bytes = text.as_bytes();
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices('K') {
        let before = at.checked_sub(1).map(|at| bytes[at]);
        if before.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            continue;
        }
        let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let kind = digits(at + 1);
        let dot = at + 1 + kind;
        if !(1..=2).contains(&kind) || bytes.get(dot) != Some(&b'.') {
            continue;
        }
        let number = digits(dot + 1);
        let end = dot + 1 + number;
        // `K1.5x`, `K1.5.2` are no faults.
        if (1..=2).contains(&number) && !bytes.get(end).is_some_and(u8::is_ascii_alphanumeric) {
            found.insert(text[at..end].to_owned());
        }
    }
    found
}

/// The rows of the table: number and test.
fn rows() -> BTreeMap<String, String> {
    let text = fs::read_to_string(root().join("docs/faults.md")).unwrap();
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| K")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 4, "a row has four cells: {line}");
        let tests: &mut String = rows.entry(cells[0].to_owned()).or_default();
        tests.push_str(cells[3].trim_end_matches('|'));
    }
    rows
}

#[test]
fn every_number_has_its_row() {
    let known: BTreeSet<String> = rows().into_keys().collect();
    let mut all = Vec::new();
    files(&root(), &mut all);
    assert!(all.len() > 300, "the repository was not found");
    for path in all.iter().filter(|path| !path.ends_with("crates/pitool/tests/faults.rs")) {
        let Ok(text) = fs::read_to_string(path) else { continue };
        for number in numbers(&text) {
            assert!(
                known.contains(&number),
                "{} names {number}, which docs/faults.md does not have",
                path.display()
            );
        }
    }
}

#[test]
fn every_row_names_tests_that_exist() {
    let root = root();
    let mut all = Vec::new();
    files(&root.join("crates"), &mut all);
    files(&root.join("tests"), &mut all);
    let code: String = all.iter().filter_map(|path| fs::read_to_string(path).ok()).collect();
    for (number, tests) in rows() {
        let mut places = 0;
        let named = tests.split('`').skip(1).step_by(2);
        for test in named.flat_map(|named| named.split("; ")) {
            let (path, names) = test.split_once(": ").unwrap_or((test, test));
            if path.contains('/') {
                let exists =
                    [root.join(path), root.join("crates").join(path)].iter().any(|place| place.exists());
                assert!(exists, "{number}: {path} does not exist");
                places += 1;
            }
            // A function by its name; what a case on a machine is called may be shortened.
            let is_function = |name: &&str| name.contains('_') && !name.contains(['/', ' ', '.', ':']);
            for name in names.split(", ").filter(is_function) {
                assert!(code.contains(name), "{number}: there is no test `{name}`");
            }
        }
        assert!(places > 0, "{number} names no test");
    }
}

#[test]
fn numbers_are_told_from_other_words() {
    let found = numbers("K1.3, (K10.2) K5.11. aK1.9 K1 K1.x K3.14159 BK2.2 K12.10/x");
    let expected = ["K1.3", "K10.2", "K12.10", "K5.11"].map(str::to_owned);
    assert_eq!(found, BTreeSet::from(expected));
}
