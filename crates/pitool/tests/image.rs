//! `pitool image seed` on a folder that looks like a card's boot partition.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "a test arranges its own surroundings")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// An ar archive with the members of a package.
fn archive() -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, content) in [("debian-binary", "2.0\n"), ("control.tar.xz", "abc"), ("data.tar.xz", "defgh")] {
        let length = content.len();
        bytes.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{length:<10}`\n", 0, 0, 0, 100_644).bytes());
        bytes.extend(content.bytes());
        bytes.resize(bytes.len().next_multiple_of(2), b'\n');
    }
    bytes
}

/// What Imager left on a card, and a package and a config beside it.
fn card(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("boot")).unwrap();
    fs::write(folder.path().join("pitool.deb"), archive()).unwrap();
    fs::write(folder.path().join("kitchen.toml"), "[common]\nhostname = \"kitchen\"\n").unwrap();
    for (name, content) in files {
        fs::write(folder.path().join("boot").join(name), content).unwrap();
    }
    folder
}

const IMAGER: &[(&str, &str)] = &[
    ("config.txt", "arm_64bit=1\n"),
    ("user-data", "#cloud-config\nhostname: kitchen\n"),
    ("meta-data", "instance_id: rpios-image\n"),
];

fn seed(folder: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pitool"))
        .current_dir(folder)
        .args(["image", "seed", "boot"])
        .args(more)
        .env_clear()
        .output()
        .unwrap()
}

fn listing(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(listing(&path).into_iter().map(|inner| format!("{name}/{inner}")));
        } else {
            found.push(name);
        }
    }
    found.sort();
    found
}

/// It refuses, says why, and writes nothing.
fn refuses(card: &TempDir, more: &[&str], why: &str) {
    let before = listing(card.path());
    let output = seed(card.path(), more);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains(why), "{said}");
    assert_eq!(listing(card.path()), before);
}

#[test]
fn a_card_gets_the_package_the_config_and_the_order_and_keeps_what_imager_wrote() {
    let card = card(IMAGER);
    let output = seed(card.path(), &["--deb", "pitool.deb", "--config", "kitchen.toml"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let boot = card.path().join("boot");
    assert_eq!(
        listing(&boot),
        [
            "config.txt",
            "meta-data",
            "pitool/first-boot",
            "pitool/pitool.deb",
            "pitool/pitool.toml",
            "user-data",
            "vendor-data"
        ]
    );
    for (name, content) in IMAGER {
        assert_eq!(fs::read_to_string(boot.join(name)).unwrap(), *content);
    }
    let order = fs::read_to_string(boot.join("vendor-data")).unwrap();
    assert!(
        order.starts_with("#!/bin/sh\n") && order.contains("/boot/firmware/pitool/first-boot"),
        "{order}"
    );
    assert!(!order.contains('@'), "{order}");
    let config = fs::read(card.path().join("kitchen.toml")).unwrap();
    assert_eq!(fs::read(boot.join("pitool/pitool.toml")).unwrap(), config);

    // Again, with the package that is there already, and without the config and the report of the last time.
    fs::write(boot.join("pitool/report.txt"), "done\n").unwrap();
    let output = seed(card.path(), &[]);
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("boot/pitool/pitool.toml (removed)"), "{said}");
    assert!(!boot.join("pitool/pitool.toml").exists() && !boot.join("pitool/report.txt").exists());
}

#[test]
fn only_a_whole_package_of_pitools_for_a_pi_is_taken() {
    let card = card(IMAGER);
    let put = |name: &str, content: &[u8]| fs::write(card.path().join(name), content).unwrap();
    let whole = archive();
    put("short.deb", &whole[..whole.len() - 2]);
    put("hello_1_arm64.deb", &whole);
    put("pitool_1_amd64.deb", &whole);
    for (name, why) in [
        ("short.deb", "cut off"),
        ("hello_1_arm64.deb", "not the package pitool"),
        ("pitool_1_amd64.deb", "another processor"),
    ] {
        refuses(&card, &["--deb", name], why);
    }
    put("pitool_1_armhf.deb", &whole);
    assert_eq!(seed(card.path(), &["--deb", "pitool_1_armhf.deb"]).status.code(), Some(0));
}

#[test]
fn what_would_do_nothing_or_harm_is_refused_before_anything_is_written() {
    let deb = &["--deb", "pitool.deb"][..];
    refuses(&card(&[]), deb, "no boot partition");
    refuses(&card(&[("config.txt", "arm_64bit=1\n")]), deb, "no cloud-init");
    refuses(&card(&[("config.txt", "DO NOT EDIT THIS FILE\n"), ("user-data", "")]), deb, "boot/firmware");
    refuses(&card(IMAGER), &[], "--deb");
    refuses(&card(IMAGER), &["--deb", "kitchen.toml"], "no Debian package");
    let foreign = [IMAGER, &[("vendor-data", "#cloud-config\n")]].concat();
    refuses(&card(&foreign), deb, "somebody else's");

    let wrong = card(IMAGER);
    fs::write(wrong.path().join("wrong.toml"), "[common]\nhostnam = \"kitchen\"\n").unwrap();
    refuses(&wrong, &["--deb", "pitool.deb", "--config", "wrong.toml"], "hostname");
}

/// What is on a card may come from anybody.
#[test]
fn nothing_on_a_card_is_followed_and_a_fifo_does_not_hang() {
    let fifo = |path: &Path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    for name in ["config.txt", "user-data", "meta-data", "vendor-data", "pitool", "pitool/pitool.toml"] {
        for link in [true, false] {
            let folder = card(IMAGER);
            let (boot, victim) = (folder.path().join("boot"), folder.path().join("victim"));
            let target = if name == "pitool" { "victim-dir" } else { "victim" };
            fs::create_dir(folder.path().join("victim-dir")).unwrap();
            fs::write(folder.path().join("victim-dir/report.txt"), "precious").unwrap();
            fs::write(&victim, "precious").unwrap();
            if name.contains('/') {
                fs::create_dir(boot.join("pitool")).unwrap();
            }
            let place = boot.join(name);
            let _ = fs::remove_file(&place);
            if link {
                std::os::unix::fs::symlink(folder.path().join(target), &place).unwrap();
            } else {
                fifo(&place);
            }
            let before = listing(&boot);
            let output = seed(folder.path(), &["--deb", "pitool.deb", "--config", "kitchen.toml"]);
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(3), "{name}, link: {link}: {words}");
            assert!(words.contains("nothing was written"), "{words}");
            assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
            assert_eq!(fs::read_to_string(folder.path().join("victim-dir/report.txt")).unwrap(), "precious");
            if link || !name.ends_with("pitool") {
                assert_eq!(listing(&boot).len(), before.len(), "{name}: {words}");
            }
        }
    }
}
