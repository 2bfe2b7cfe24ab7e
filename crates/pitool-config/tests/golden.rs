//! Files beside which stands what must come of them. `UPDATE=1 cargo test` writes it anew.

#![expect(clippy::unwrap_used, reason = "clippy does not see that the helpers here are only for tests")]

use std::path::{Path, PathBuf};
use std::{env, fs};

use pitool_config::{Fragment, Settings, load};

fn data(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(folder)
}

/// The files of a folder with this ending, in order.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == ending))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no file in {}", folder.display());
    found
}

/// One file holds several fragments where a line `#### NAME` starts each.
fn fragments(path: &Path) -> Vec<Fragment> {
    let bytes = fs::read(path).unwrap();
    let name = path.file_name().unwrap();
    if !bytes.starts_with(b"#### ") {
        return vec![Fragment::new(name, bytes)];
    }
    let text = String::from_utf8(bytes).unwrap();
    text.split("#### ")
        .skip(1)
        .map(|part| {
            let (name, text) = part.split_once('\n').unwrap();
            Fragment::new(name, text)
        })
        .collect()
}

fn compare(path: &Path, got: &str) {
    if env::var_os("UPDATE").is_some() {
        fs::write(path, got).unwrap();
        return;
    }
    let wanted = fs::read_to_string(path).unwrap_or_default();
    assert!(got == wanted, "{} differs; got:\n{got}\nwanted:\n{wanted}", path.display());
}

#[test]
fn valid_files_give_their_settings() {
    for path in files(&data("valid"), "toml") {
        let loaded = load(&fragments(&path)).unwrap_or_else(|problems| {
            panic!("{}: {}", path.display(), problems.iter().map(|p| format!("{p}\n")).collect::<String>())
        });
        let toml = loaded.settings.to_toml().unwrap();
        let warnings: String = loaded.warnings.iter().map(|warning| format!("{warning}\n")).collect();
        compare(&path.with_extension("txt"), &format!("{warnings}{}", only_changes(&loaded.settings)));
        let again = load(&[Fragment::new("again.toml", toml)]).unwrap();
        assert_eq!(again.settings, loaded.settings, "{}", path.display());
    }
}

/// The lines of the settings that the defaults do not have, each under its section.
fn only_changes(settings: &Settings) -> String {
    let lines = |settings: &Settings| {
        let mut section = String::new();
        let mut lines = Vec::new();
        for line in settings.to_toml().unwrap().lines().filter(|line| !line.is_empty()) {
            if line.starts_with('[') && line.ends_with(']') {
                section = line.to_owned();
            } else {
                lines.push((section.clone(), line.to_owned()));
            }
        }
        lines
    };
    let defaults = lines(&Settings::default());
    let mut text = String::new();
    let mut last = String::new();
    for (section, line) in lines(settings).into_iter().filter(|line| !defaults.contains(line)) {
        if section != last {
            text += &format!("{section}\n");
            last = section;
        }
        text += &format!("{line}\n");
    }
    text
}

#[test]
fn invalid_files_give_their_problems() {
    for path in files(&data("invalid"), "toml") {
        let problems = load(&fragments(&path)).expect_err(&path.display().to_string());
        let text: Vec<String> = problems.iter().map(|problem| format!("{problem}\n")).collect();
        compare(&path.with_extension("txt"), &text.join("\n"));
    }
}

#[test]
fn no_fragment_and_empty_fragments_are_the_defaults() {
    assert_eq!(load(&[]).unwrap().settings, Settings::default());
    let empty = [Fragment::new("a.toml", ""), Fragment::new("b.toml", "# nothing\n")];
    assert_eq!(load(&empty).unwrap().settings, Settings::default());
}
