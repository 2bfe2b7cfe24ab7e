//! Whatever the files hold, loading and importing answer.

use pitool_config::import::import;
use pitool_config::{Fragment, example, load};
use proptest::prelude::*;

/// Every problem must also be printable, and point into its file.
fn try_load(bytes: Vec<u8>) {
    let lines = bytes.split(|byte| *byte == b'\n').count();
    let problems = match load(&[Fragment::new("a.toml", bytes)]) {
        Ok(loaded) => {
            let toml = loaded.settings.to_toml().expect("loaded settings can be written");
            let again = load(&[Fragment::new("b.toml", toml)]).expect("written settings load");
            assert_eq!(again.settings, loaded.settings);
            loaded.warnings
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            problems
        }
    };
    for problem in problems {
        assert!(problem.line >= 1 && problem.line <= lines, "{problem:?}");
        assert!(problem.to_string().lines().count() >= 3, "{problem}");
    }
}

fn try_import(bytes: Vec<u8>) {
    match import(&[Fragment::new("hosts.yml", bytes)], None) {
        Ok(imported) => {
            let loaded = load(&[Fragment::new("imported.toml", imported.toml.as_str())]);
            assert!(loaded.is_ok(), "{}", imported.toml);
        }
        Err(problems) => problems.iter().for_each(|problem| assert!(!problem.to_string().is_empty())),
    }
}

/// The example, with every key live.
fn live() -> String {
    let line = |line: &str| {
        let live =
            line.strip_prefix("#e.g. ").or(line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')));
        format!("{}\n", live.unwrap_or(line))
    };
    example().lines().map(line).collect()
}

const VARS: &str = include_str!("../testdata/import/whole/group_vars/all.yml");
const HOSTS: &str = include_str!("../testdata/import/whole/inventory/hosts.yml");

/// Cuts, doubles and overwrites pieces of a text.
fn mutated(text: String) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        any::<Vec<u8>>().prop_map(|bytes| bytes.into_iter().take(6).collect()),
        prop::sample::select(vec![
            "\"",
            "[",
            "]",
            "{",
            "}",
            "=",
            "#",
            "\n",
            "''' ",
            "-1",
            "é",
            "\t",
            "{{ app_name }}",
            "[["
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    let change = (any::<prop::sample::Index>(), 0_usize..12, piece);
    prop::collection::vec(change, 0..6).prop_map(move |changes| {
        let mut bytes = text.clone().into_bytes();
        for (at, length, piece) in changes {
            let start = at.index(bytes.len() + 1);
            let end = (start + length).min(bytes.len());
            bytes.splice(start..end, piece);
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes(bytes in any::<Vec<u8>>()) {
        try_load(bytes.clone());
        try_import(bytes);
    }

    #[test]
    fn random_text(text in "[a-z\\[\\]{}\"'=:. \n#0-9é-]{0,200}") {
        try_load(text.clone().into_bytes());
        try_import(text.into_bytes());
    }

    #[test]
    fn the_example_mutated(bytes in mutated(live())) {
        try_load(bytes);
    }

    #[test]
    fn variables_mutated(bytes in mutated(VARS.to_owned())) {
        try_import(bytes);
    }

    #[test]
    fn hosts_mutated(bytes in mutated(HOSTS.to_owned())) {
        try_import(bytes);
    }
}

#[test]
fn deep_nesting() {
    for open in ["[", "{a=", "{a: ", "- ", "a:\n "] {
        try_load(format!("[docker]\ndaemon.x = {}", open.repeat(5_000)).into_bytes());
        try_import(format!("x: {}", open.repeat(5_000)).into_bytes());
    }
}
