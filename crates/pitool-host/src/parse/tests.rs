//! Every text in `testdata/parse/<module>/` against the value written down beside it. `UPDATE=1 cargo test` writes
//! the values anew: then read the difference.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json, to_value};

use super::*;

/// Splits a text with several files, each under a line `==> path <==` as head(1) prints it.
fn parts(text: &str) -> Vec<(String, String)> {
    let mut parts: Vec<(String, String)> = Vec::new();
    for line in text.split_inclusive('\n') {
        if let Some(path) = line.trim_end().strip_prefix("==> ").and_then(|rest| rest.strip_suffix(" <==")) {
            parts.push((path.to_owned(), String::new()));
        } else if let Some((_, text)) = parts.last_mut() {
            text.push_str(line);
        }
    }
    parts
}

fn part(text: &str, path: &str) -> String {
    parts(text).into_iter().find(|(other, _)| other == path).map(|(_, text)| text).unwrap_or_default()
}

fn value(module: &str, case: &str, text: &str) -> Value {
    let done = match module {
        "accounts" => {
            let file = |path| part(text, path);
            to_value(accounts::parse(&file("/etc/passwd"), &file("/etc/group"), &file("/etc/shadow")))
        }
        "apt_sources" if case.ends_with("sources") => to_value(apt_sources::parse_stanzas(text)),
        "apt_sources" => to_value(apt_sources::parse_lines(text)),
        "apt_status" => to_value(text.lines().map(apt_status::parse_line).collect::<Vec<_>>()),
        "authorized_keys" => to_value(text.lines().map(authorized_keys::parse_line).collect::<Vec<_>>()),
        "cmdline" => to_value(cmdline::parse(text)),
        "config_txt" => to_value(config_txt::parse(text)),
        "cpuinfo" => to_value(cpuinfo::parse(text)),
        "dpkg_status" => {
            let files = parts(text);
            let updates: Vec<&str> = files
                .iter()
                .filter(|(path, _)| path.contains("/updates/"))
                .map(|(_, text)| text.as_str())
                .collect();
            let marks = part(text, "/var/lib/apt/extended_states");
            let status = part(text, "/var/lib/dpkg/status");
            to_value(dpkg_status::packages(&status, &updates, &extended_states::parse(&marks)))
        }
        "extended_states" => {
            let mut automatic: Vec<(&str, &str)> = extended_states::parse(text).into_iter().collect();
            automatic.sort_unstable();
            to_value(automatic)
        }
        "fail2ban" if case.starts_with("jail-") => to_value(fail2ban::parse_jail(text)),
        "fail2ban" => to_value(fail2ban::parse_jails(text)),
        "fstab" => to_value(fstab::parse(text)),
        "nginx_dump" => to_value(nginx_dump::parse(text)),
        "os_release" => to_value(os_release::parse(text)),
        "proc_meminfo" => to_value(proc_meminfo::parse(text)),
        "proc_pid_stat" => {
            let field = |number| proc_pid_stat::field(text, number);
            Ok(json!({ "ppid": field(proc_pid_stat::PPID), "starttime": field(proc_pid_stat::STARTTIME) }))
        }
        "proc_swaps" => to_value(proc_swaps::parse(text)),
        "sshd_config" if case.ends_with("-T") => to_value(sshd_config::parse_effective(text)),
        "sshd_config" => {
            let files = parts(text);
            let mut include = |pattern: &str| {
                let matching = |path: &str| {
                    path.rsplit_once('/').zip(pattern.rsplit_once('/')).is_some_and(
                        |((directory, name), (wanted, pattern))| {
                            directory == wanted && glob::matches(pattern, name)
                        },
                    )
                };
                files.iter().filter(|(path, _)| matching(path)).cloned().collect()
            };
            let config = sshd_config::parse(sshd_config::PATH, &part(text, sshd_config::PATH), &mut include);
            Ok(json!({
                "config": config,
                "ports": config.ports(),
                "passwordauthentication": config.get("PasswordAuthentication").map(sshd_config::Setting::value),
            }))
        }
        "sysctl_d" => {
            let files = parts(text);
            let texts: Vec<(&str, &str)> =
                files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
            let settings: BTreeMap<&str, _> =
                texts.iter().map(|(path, text)| (*path, sysctl_d::parse(text))).collect();
            let effective: BTreeMap<&str, _> = [
                "net.ipv4.conf.all.rp_filter",
                "net.ipv4.conf.eth0.rp_filter",
                "net.ipv4.conf.eth0/1.rp_filter",
                "vm.swappiness",
                "kernel/sysrq",
                "fs.protected_symlinks",
            ]
            .map(|key| (key, sysctl_d::effective(&texts, key)))
            .into();
            Ok(json!({ "settings": settings, "effective": effective }))
        }
        "systemctl_show" => {
            let (names, output) = text.split_once('\n').unwrap();
            to_value(systemctl_show::parse(output, &names.split(' ').skip(1).collect::<Vec<_>>()))
        }
        "timedatectl" => to_value(timedatectl::synchronized(text)),
        "ufw_rules" if case.starts_with("settings-") => {
            to_value(ufw_rules::settings(&part(text, "/etc/ufw/ufw.conf"), &part(text, "/etc/default/ufw")))
        }
        "ufw_rules" => to_value(ufw_rules::parse(text)),
        other => panic!("testdata/parse/{other} is of no module"),
    };
    done.unwrap()
}

#[test]
fn texts_of_real_machines_are_understood() {
    // Cargo runs tests in the folder of their crate.
    let root = Path::new("testdata/parse");
    let mut cases = 0;
    let mut wrong = Vec::new();
    for module in fs::read_dir(root).unwrap().map(|entry| entry.unwrap()) {
        for file in fs::read_dir(module.path()).unwrap().map(|entry| entry.unwrap().path()) {
            if file.extension().is_none_or(|extension| extension != "txt") {
                continue;
            }
            cases += 1;
            let case = file.file_stem().unwrap().to_str().unwrap();
            let text = fs::read_to_string(&file).unwrap();
            let value = value(module.file_name().to_str().unwrap(), case, &text);
            let golden = file.with_extension("json");
            if std::env::var_os("UPDATE").is_some() {
                fs::write(&golden, serde_json::to_string_pretty(&value).unwrap() + "\n").unwrap();
            }
            let expected: Value =
                serde_json::from_str(&fs::read_to_string(&golden).unwrap_or_default()).unwrap_or_default();
            if value != expected {
                wrong.push(format!("{}:\n{}", file.display(), serde_json::to_string_pretty(&value).unwrap()));
            }
        }
    }
    assert!(cases > 40, "only {cases} cases were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn patterns_match_as_in_a_shell() {
    for (pattern, name, expected) in [
        ("*.conf", "a.conf", true),
        ("*.conf", ".conf", false),
        ("*.conf", "a.conf~", false),
        (".*", ".a", true),
        ("*", "", true),
        ("a*b*c", "a-b-b-c", true),
        ("a*b*c", "a-b-b", false),
        ("[0-9][!a]?", "5bc", true),
        ("[0-9][!a]?", "5ac", false),
        ("[]x]", "]", true),
        ("[x", "[x", true),
        ("\\*", "*", true),
        ("\\*", "x", false),
        ("en[op]*", "enp3s0", true),
    ] {
        assert_eq!(glob::matches(pattern, name), expected, "{pattern} {name}");
    }
}

#[test]
fn a_megabyte_of_dpkg_status_is_read_in_a_blink() {
    let mut text =
        String::from("Package: dpkg\nStatus: install ok installed\nArchitecture: arm64\nVersion: 1\n\n");
    for n in 0..1200 {
        text += &format!(
            "Package: package{n}\nStatus: install ok installed\nPriority: optional\nSection: libs\nInstalled-Size: 123\n\
             Maintainer: Somebody <somebody@example.org>\nArchitecture: arm64\nVersion: 1.2.3-{n}\n\
             Depends: {}\nDescription: words\n{}\n",
            "libc6 (>= 2.38), ".repeat(20),
            " a line of the description that nobody reads here\n".repeat(6)
        );
    }
    let begun = std::time::Instant::now();
    let packages = dpkg_status::packages(&text, &[], &Default::default()).unwrap();
    println!("{} bytes in {:?}", text.len(), begun.elapsed());
    assert_eq!(packages.packages.len(), 1201);
    assert!(begun.elapsed() < std::time::Duration::from_millis(500));
}

#[test]
fn groups_and_members_are_found_both_ways() {
    let accounts = accounts::parse(
        "root:x:0:0:root:/root:/bin/bash\npi:x:1000:1000:,,,:/home/pi:/bin/bash\nweb:x:33:33::/var/www:\n",
        "root:x:0:\nsudo:x:27:pi\npi:x:1000:\nweb:x:33:pi,web\nempty:x:99:\n",
        "root:*:1::::::\npi:$y$j9T$x:1::::::\n",
    );
    assert_eq!(accounts.uid_of("pi"), Some(1000));
    assert_eq!(accounts.gid_of("sudo"), Some(27));
    assert_eq!(accounts.gid_of("nobody"), None);
    assert_eq!(accounts.groups_of("pi"), ["pi", "sudo", "web"]);
    assert_eq!(accounts.members("web"), ["pi", "web"]);
    assert_eq!(accounts.members("root"), ["root"]);
    assert!(accounts.members("empty").is_empty());
    let passwords: Vec<accounts::Password> = accounts.users.iter().map(|user| user.password).collect();
    assert_eq!(
        passwords,
        [accounts::Password::Locked, accounts::Password::Usable, accounts::Password::Unknown]
    );
}
