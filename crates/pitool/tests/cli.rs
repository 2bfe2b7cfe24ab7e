//! The program as a person calls it: usage, exit codes, the config.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "a test arranges its own surroundings")]

use pitool_engine::report::Line;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

fn pitool(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pitool"))
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// A root with nothing but an os-release and a config.
fn root(os: &str, config: &str) -> TempDir {
    let root = TempDir::new().unwrap();
    write(root.path(), "etc/os-release", &format!("ID={os}\nVERSION_ID=\"13\"\nPRETTY_NAME=\"{os} 13\"\n"));
    write(root.path(), "etc/pitool/pitool.toml", config);
    root
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[test]
fn help_and_version_are_no_errors() {
    for arguments in [&["--help"][..], &["-h"], &["plan", "--help"], &["config", "import", "--help"]] {
        let output = pitool(arguments);
        assert_eq!((code(&output), stderr(&output)), (0, ""), "{arguments:?}");
        assert!(stdout(&output).contains("Usage: pitool"));
    }
    let output = pitool(&["--version"]);
    assert_eq!((code(&output), stdout(&output)), (0, concat!("pitool ", env!("CARGO_PKG_VERSION"), "\n")));
}

#[test]
fn wrong_usage_is_3_because_2_means_changes_pending() {
    for arguments in [&[][..], &["aply"], &["plan", "--nonsense"], &["rollback", "seven"], &["plan", "-qv"]] {
        let output = pitool(arguments);
        assert_eq!((code(&output), stdout(&output)), (3, ""), "{arguments:?}");
    }
    assert!(stderr(&pitool(&["aply"])).contains("'apply'"));
}

#[test]
fn a_role_that_is_not_there_is_wrong_usage() {
    let output = pitool(&["plan", "securty"]);
    assert_eq!(code(&output), 3);
    assert_eq!(stderr(&output), "error: there is no role `securty`\n\nhint: did you mean `security`?\n");
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let output = pitool(&["completions", shell]);
        assert_eq!(code(&output), 0);
        assert!(stdout(&output).contains("rollback"), "{shell}");
    }
    assert_eq!(code(&pitool(&["completions", "tcsh"])), 3);
}

#[test]
fn a_good_config_and_a_bad_one() {
    let root = root("debian", "[common]\npackagse = []\n");
    let path = root.path().to_str().unwrap();
    let output = pitool(&["config", "check", "--root", path]);
    assert_eq!((code(&output), stdout(&output)), (3, ""));
    let words = stderr(&output);
    assert!(words.starts_with("/etc/pitool/pitool.toml:2:1: unknown key `packagse`\n"), "{words}");
    assert!(words.contains("    ^^^^^^^^\n") && words.contains("did you mean `packages`?"), "{words}");
    assert!(words.ends_with("/etc/pitool/pitool.toml: 1 error.\n"), "{words}");

    write(root.path(), "etc/pitool/pitool.toml", "");
    write(root.path(), "etc/pitool/conf.d/10-zone.toml", "[common]\ntimezone = \"Europe/Zurich\"\n");
    write(root.path(), "etc/pitool/conf.d/README", "not TOML");
    let output = pitool(&["config", "check", "--root", path]);
    assert_eq!((code(&output), stderr(&output)), (0, "2 files: good.\n"));
    let output = pitool(&["config", "show", "--root", path]);
    assert_eq!(code(&output), 0);
    assert!(stdout(&output).contains("timezone = \"Europe/Zurich\"\n"), "{}", stdout(&output));
    let output = pitool(&["config", "show", "--root", path, "--json"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["version"], 1);
    assert_eq!(document["config"]["common"]["timezone"], "Europe/Zurich");
}

#[test]
fn one_config_file_only_when_it_is_named() {
    let root = root("debian", "nonsense");
    let path = root.path().to_str().unwrap();
    let file = root.path().join("other.toml");
    std::fs::write(&file, "[common]\nlocale = \"de_CH.UTF-8\"\n").unwrap();
    let file = file.to_str().unwrap();
    let output = pitool(&["--root", path, "--config", file, "config", "show"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).contains("locale = \"de_CH.UTF-8\"\n"));
    let output = pitool(&["--config", "/nowhere/x.toml", "config", "check"]);
    assert_eq!(code(&output), 3);
    assert!(stderr(&output).starts_with("error: cannot read /nowhere/x.toml\n  because: No such file"));
    assert_eq!(code(&pitool(&["config", "check", "/nowhere/x.toml"])), 3);
}

#[test]
fn the_example_is_written_once() {
    let root = TempDir::new().unwrap();
    let file = root.path().join("pitool.toml");
    let file = file.to_str().unwrap();
    assert_eq!(code(&pitool(&["config", "init", "--config", file])), 0);
    assert_eq!(code(&pitool(&["config", "check", file])), 0);
    let output = pitool(&["config", "init", "--config", file]);
    assert_eq!(code(&output), 3);
    assert!(stderr(&output).contains("is there already; nothing was changed"));
    let output = pitool(&["config", "init", "--stdout"]);
    assert_eq!(stdout(&output), std::fs::read_to_string(file).unwrap());
    let output = pitool(&["config", "schema"]);
    assert!(serde_json::from_slice::<serde_json::Value>(&output.stdout).is_ok());
}

#[test]
fn an_inventory_becomes_a_config() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "vars.yml", "ssh_port: 2222\nnobody_knows: 1\n");
    let vars = dir.path().join("vars.yml");
    let output = pitool(&["config", "import", vars.to_str().unwrap()]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).contains("port = 2222"));
    assert!(stderr(&output).contains("nobody_knows"));
}

#[test]
fn a_machine_that_is_not_ours_is_left_alone_in_one_sentence() {
    let root = root("alpine", "");
    let path = root.path().to_str().unwrap();
    let output = pitool(&["plan", "--root", path]);
    assert_eq!((code(&output), stdout(&output)), (1, ""));
    assert!(stderr(&output).starts_with("error: This is alpine 13"), "{}", stderr(&output));
    // What only looks works anywhere.
    let output = pitool(&["facts", "--root", path]);
    assert_eq!(code(&output), 0);
    assert!(stdout(&output).contains("supported               no: This is alpine 13"), "{}", stdout(&output));
    let output = pitool(&["plan", "--json", "--root", path]);
    let error: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&error["version"], &error["event"]), (&1.into(), &"error".into()));
}

#[test]
fn no_runs_yet() {
    let root = root("debian", "");
    let path = root.path().to_str().unwrap();
    let output = pitool(&["history", "--root", path]);
    assert_eq!((code(&output), stdout(&output)), (0, "There was no run on this machine yet.\n"));
    let output = pitool(&["history", "7", "--root", path]);
    assert_eq!(code(&output), 3);
    assert!(stderr(&output).starts_with("error: there is no run 7"));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let script = format!("{} config schema | head -c 10", env!("CARGO_BIN_EXE_pitool"));
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!(stderr(&output), "");
}

#[test]
fn what_others_wrote_cannot_steer_the_terminal() {
    let dir = TempDir::new().unwrap();
    let hostile = "\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}";
    let shown = r"\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}";
    let name = dir.path().join(format!("{hostile}.toml"));
    std::fs::write(&name, format!("[common]\n# {hostile}\n\"x\u{202e}\" = 1\n")).unwrap();
    write(dir.path(), "vars.yml", "\"\\e]0;owned\\a\\u009b2J\\u202e\": 1\n");
    let (name, vars) = (name.to_str().unwrap(), dir.path().join("vars.yml"));
    let calls: [&[&str]; 4] = [
        &["config", "check", name],
        &["config", "check", name, "--color", "always"],
        &["--config", "/nowhere/\u{1b}[2J", "config", "check"],
        &["config", "import", vars.to_str().unwrap()],
    ];
    for arguments in calls {
        let output = pitool(arguments);
        let both = format!("{}{}", stdout(&output), stderr(&output));
        assert!(both.contains(r"\u{1b}"), "{arguments:?}: {both:?}");
        let painted = ["[0m", "[1m", "[31m", "[33m"].map(|style| format!("\u{1b}{style}"));
        let rest = painted.iter().fold(both.clone(), |text, style| text.replace(style, ""));
        let obeyed = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        assert!(!rest.contains(obeyed), "{arguments:?}: {rest:?}");
        assert!(rest == both || arguments.contains(&"always"), "{both:?}");
    }
    let output = pitool(&["config", "check", name]);
    assert!(stderr(&output).contains(shown), "{}", stderr(&output));
    let output = pitool(&["config", "check", name, "--json"]);
    let text = stdout(&output);
    assert!(!text.contains(|c: char| c.is_control() && c != '\n' || c == '\u{202e}'), "{text:?}");
    assert!(text.contains(r"\u009b2J\u202e"), "{text}");
    serde_json::from_str::<serde_json::Value>(text).unwrap();
}

#[test]
fn colours_only_where_they_are_wanted() {
    let plain = pitool(&["plan", "securty"]);
    let coloured = pitool(&["--color", "always", "plan", "securty"]);
    assert!(!stderr(&plain).contains('\x1b') && stderr(&coloured).contains('\x1b'));
}

#[test]
fn every_line_of_a_run_is_read_by_the_types_that_a_fleet_uses() {
    // How long it took is different every time, and the recording has a letter in its place.
    let golden = std::fs::read_to_string("../../tests/scenarios/json.txt")
        .unwrap()
        .replace("\"seconds\":N", "\"seconds\":1.5");
    let lines: Vec<&str> =
        golden.lines().filter(|line| line.starts_with("{\"version\":1,\"event\":")).collect();
    assert!(lines.len() > 30, "{}", lines.len());
    for text in lines {
        let line = Line::read(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        // Nothing of it is lost on the way.
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_value(&line).unwrap(), value, "{text}");
    }
}
