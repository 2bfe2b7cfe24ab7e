//! Files beside which stands what must come of them. `UPDATE=1 cargo test` writes it anew.

#![expect(clippy::disallowed_methods, reason = "a test arranges its own surroundings")]
#![expect(clippy::unwrap_used, reason = "clippy does not see that the helpers here are only for tests")]

use std::path::{Path, PathBuf};
use std::{env, fs};

use pitool_config::import::import;
use pitool_config::settings::{RootLogin, Site};
use pitool_config::values::Port;
use pitool_config::{Fragment, Settings, load};

fn data(folder: &str) -> PathBuf {
    // Cargo runs tests in the folder of their crate.
    Path::new("testdata").join(folder)
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

/// Every file below a folder, with its path from there.
fn below(folder: &Path, root: &Path, found: &mut Vec<Fragment>) {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            below(&path, root, found);
        } else if path.extension().is_some_and(|ending| ending == "yml") {
            found.push(Fragment::new(path.strip_prefix(root).unwrap(), fs::read(&path).unwrap()));
        }
    }
}

#[test]
fn old_deployments_become_configs() {
    let mut cases: Vec<PathBuf> = fs::read_dir(data("import")).unwrap().map(|e| e.unwrap().path()).collect();
    cases.retain(|path| path.is_dir());
    cases.sort();
    assert!(cases.len() >= 5);
    for case in cases {
        let mut files = Vec::new();
        below(&case, &case, &mut files);
        let host = fs::read_to_string(case.join("HOST")).ok();
        let imported = import(&files, host.as_deref().map(str::trim)).unwrap();
        compare(&case.join("expected.toml"), &imported.toml);
        let notes: String = imported.notes.iter().map(|note| format!("{note}\n")).collect();
        compare(&case.join("notes.txt"), &notes);
        let loaded = load(&[Fragment::new("imported.toml", imported.toml)]).unwrap();
        assert!(loaded.warnings.is_empty(), "{}", case.display());
        // Nothing is lost: every variable is in the config, in a comment there, or in a note.
        let told = fs::read_to_string(case.join("expected.toml")).unwrap() + &notes;
        for file in &files {
            for line in String::from_utf8_lossy(&file.bytes).lines() {
                let name = line.trim().split(':').next().unwrap_or_default();
                let variable =
                    ["app_", "ssh_", "ssl_", "server_", "backup_", "cloud_", "grist_", "favourite_"];
                if variable.iter().any(|start| name.starts_with(start))
                    && !file.path.ends_with("databases.yml")
                {
                    assert!(told.contains(name), "{}: {name}", case.display());
                }
            }
        }
    }
}

#[test]
fn the_import_means_what_the_variables_meant() {
    let vars = "server_timezone: Europe/Berlin\nssh_port: 2222\nssh_permit_root_login: without-password\n\
                ssh_password_authentication: yes\napp_name: shop\napp_user: shop\napp_home: /srv/shop\n\
                app_upstream_port: '9000'\ndomain_name: Shop.example.org\n";
    let imported = import(&[Fragment::new("vars.yml", vars)], None).unwrap();
    let settings = load(&[Fragment::new("imported.toml", imported.toml)]).unwrap().settings;
    let mut wanted = Settings::default();
    wanted.common.timezone = Some("Europe/Berlin".parse().unwrap());
    wanted.security.ssh.port = Port::new(2222);
    wanted.security.ssh.permit_root_login = RootLogin::ProhibitPassword;
    wanted.security.ssh.password_authentication = true;
    let site = Site {
        server_name: vec!["shop.example.org".parse().unwrap()],
        upstream_port: Port::new(9000).unwrap(),
        user: "shop".parse().unwrap(),
        home: Some("/srv/shop".parse().unwrap()),
        ..Site::default()
    };
    wanted.apps.insert("shop".parse().unwrap(), site);
    wanted.ssl.domains = vec!["shop.example.org".parse().unwrap()];
    assert_eq!(settings, wanted);
}

#[test]
fn an_unknown_host_and_broken_yaml_are_errors() {
    let files = [Fragment::new("hosts.yml", "all:\n  hosts:\n    one:\n")];
    let problems = import(&files, Some("two")).unwrap_err();
    assert!(problems[0].to_string().contains("the hosts are one"), "{}", problems[0]);
    let files = [Fragment::new("vars.yml", "a: b\nc: [d\ne: f\n"), Fragment::new("x.yml", "- a\n- b\n")];
    let problems = import(&files, None).unwrap_err();
    assert_eq!(problems.len(), 2);
    assert_eq!((problems[0].path.as_path(), problems[0].line > 1), (Path::new("vars.yml"), true));
}

#[test]
fn what_would_use_up_stack_or_memory_is_an_error_with_its_place() {
    let deep = format!("a: 1\nb: {}{}\n", "[".repeat(100), "]".repeat(100));
    let dashes = format!("a: 1\nb:\n  {}x\n", "- ".repeat(100_000));
    // The parser has a limit of its own for these, which it meets first.
    let brackets = format!("a: 1\nb: {}\n", "[".repeat(200_000));
    let nine = |name: &str, of: &str| format!("{name}: &{name} [{}]\n", [of; 9].join(", "));
    let mut bomb = "a: &a [lol, lol]\n".to_owned();
    for (of, name) in
        ["a", "b", "c", "d", "e", "f", "g", "h"].iter().zip(["b", "c", "d", "e", "f", "g", "h", "i"])
    {
        bomb += &nine(name, &format!("*{of}"));
    }
    let many = format!("a:\n{}", "- x\n".repeat(150_000));
    for (text, line, words) in [
        (deep, 2, "more than 60 deep"),
        (dashes, 3, "more than 60 deep"),
        (brackets, 2, "recursion limit"),
        (bomb, 6, "100000 values"),
        (many, 99_999, "100000 values"),
        ("a: x\n".repeat(300_000), 1, "more than 1024 KiB"),
    ] {
        let problems = import(&[Fragment::new("vars.yml", text)], None).unwrap_err();
        assert!(problems[0].message.contains(words), "{}", problems[0].message);
        assert_eq!(problems[0].line, line, "{words}");
    }
    // As Ansible's files use them.
    let usual = "base: &base\n  port: 22\nssh_port: 2222\nother: *base\n";
    assert!(import(&[Fragment::new("vars.yml", usual)], None).unwrap().toml.contains("2222"));
}

#[test]
fn a_second_yaml_document_is_an_error_at_its_first_line() {
    let files = [Fragment::new("vars.yml", "---\nssh_port: 2222\n---\n# more\nssh_port: 22\n")];
    let problems = import(&files, None).unwrap_err();
    assert_eq!((problems.len(), problems[0].line), (1, 5));
    assert!(problems[0].message.contains("second document"), "{}", problems[0]);
    let files = [Fragment::new("vars.yml", "---\nssh_port: 2222\n...\n---\n")];
    assert!(import(&files, None).unwrap().toml.contains("2222"));
}
