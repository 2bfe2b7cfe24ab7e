//! The simulator's own tests.

use pitool_host::{
    Access, ActiveState, Candidate, Command, Error, Host, Inspect, LockHolder, Output, PackageState,
};

use crate::{Cut, Fault, PiOs, Sim, World};

fn command(line: &str) -> Command {
    let mut words = line.split_whitespace();
    Command::new(words.next().unwrap()).args(words)
}

fn ready(release: u32) -> Sim {
    let sim = Sim::debian(release);
    sim.run(&command("apt-get update")).unwrap();
    sim
}

/// What one does after a crash.
fn install_again(sim: &Sim, names: &str) {
    if sim.run(&command("dpkg --configure -a")).is_err() {
        let packages = sim.packages().unwrap();
        let again =
            packages.packages.iter().filter(|(_, package)| package.reinstall).map(|(name, _)| name.as_str());
        let again = again.collect::<Vec<_>>().join(" ");
        sim.run(&command(&format!("apt-get -y --fix-broken --reinstall install {again}"))).unwrap();
    }
    sim.run(&command(&format!("apt-get -y install {names}"))).unwrap();
}

fn same(a: &World, b: &World) {
    let found = a.differences(b, &[]);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_fresh_machine_is_as_it_boots() {
    for release in [12, 13] {
        let sim = Sim::debian(release);
        let before = sim.snapshot();
        assert!(
            sim.units(&["ssh.service", "sshd"])
                .unwrap()
                .iter()
                .all(|unit| unit.active == ActiveState::Active)
        );
        sim.reboot();
        let found = before.differences(&sim.world(), &[]);
        assert!(found.is_empty(), "{found:#?}");
    }
    for os in PiOs::ALL {
        let sim = Sim::raspberry_pi("Raspberry Pi 4 Model B Rev 1.4", os);
        let before = sim.snapshot();
        sim.reboot();
        let found = before.differences(&sim.world(), &[]);
        assert!(found.is_empty(), "{found:#?}");
    }
}

#[test]
fn packages_need_lists() {
    let sim = Sim::debian(13);
    let error = sim.run(&command("apt-get -y install nginx")).unwrap_err().to_string();
    assert!(error.contains("E: Unable to locate package nginx"), "{error}");
    sim.run(&command("apt-get update")).unwrap();
    sim.run(&command("apt-get -y install nginx")).unwrap();
    let packages = sim.packages().unwrap();
    assert!(packages.installed("nginx") && packages.get("nginx").unwrap().manual);
    assert!(packages.installed("nginx-common") && !packages.get("nginx-common").unwrap().manual);
    let unit = &sim.units(&["nginx.service"]).unwrap()[0];
    assert!(unit.enabled() && unit.active == ActiveState::Active && unit.invocation.len() == 32);
}

#[test]
fn an_installation_converges_after_a_power_cut_anywhere() {
    let whole = ready(13);
    let before = whole.mutations();
    whole.run(&command("apt-get -y install nginx fail2ban")).unwrap();
    let steps = whole.mutations() - before;
    assert!(steps > 15, "{:?}", whole.changes());
    whole.reboot();
    for cut in Cut::ALL {
        for at in 0..steps {
            for reboot in [true, false] {
                let sim = ready(13);
                sim.cut_after(at, cut);
                let error = sim.run(&command("apt-get -y install nginx fail2ban")).unwrap_err();
                assert!(matches!(error, Error::PowerCut), "{error}");
                assert!(sim.read("/etc/passwd").is_err(), "a dark machine answers nothing");
                if reboot {
                    sim.restore_power();
                } else {
                    sim.kill();
                }
                install_again(&sim, "nginx fail2ban");
                if at > 3 {
                    assert!(sim.world().pending.is_empty());
                }
                sim.reboot();
                same(&whole.world(), &sim.world());
            }
        }
    }
}

#[test]
fn a_removal_converges_after_a_power_cut_anywhere() {
    let start = ready(13);
    let bare = start.snapshot();
    start.run(&command("apt-get -y install nginx")).unwrap();
    let installed = start.snapshot();
    let before = start.mutations();
    start.run(&command("apt-get -y purge nginx nginx-common")).unwrap();
    same(&bare, &start.world());
    let steps = start.mutations() - before;
    for cut in Cut::ALL {
        for at in 0..steps {
            let sim = Sim::of(installed.clone());
            sim.cut_after(at, cut);
            sim.run(&command("apt-get -y purge nginx nginx-common")).unwrap_err();
            sim.restore_power();
            sim.run(&command("dpkg --configure -a")).unwrap();
            sim.run(&command("apt-get -y purge nginx nginx-common")).unwrap();
            same(&bare, &sim.world());
        }
    }
}

#[test]
fn apt_refuses_to_go_on_after_an_interruption() {
    let sim = ready(13);
    sim.cut_after(4, Cut::After);
    sim.run(&command("apt-get -y install nginx")).unwrap_err();
    sim.kill();
    assert!(sim.packages().unwrap().packages.values().any(|package| package.state == PackageState::Broken));
    let error = sim.run(&command("apt-get -y install htop")).unwrap_err().to_string();
    assert!(error.contains("dpkg was interrupted, you must manually run 'dpkg --configure -a'"), "{error}");
}

#[test]
fn what_dpkg_wants_installed_again_apt_only_configures_unless_it_is_named() {
    let sim = ready(13);
    let whole = sim.snapshot();
    let cut_off = (1..).find_map(|at| {
        let sim = Sim::of(whole.clone());
        sim.cut_after(at, Cut::After);
        sim.run(&command("apt-get -y install htop")).unwrap_err();
        sim.restore_power();
        let status = sim.read("/var/lib/dpkg/status").unwrap().unwrap();
        status.text().unwrap().contains("install reinstreq unpacked").then_some(sim)
    });
    let sim = cut_off.unwrap();
    for helpless in ["dpkg --configure -a", "apt-get -y --fix-broken install", "apt-get -y install htop"] {
        let error = sim.run(&command(helpless)).unwrap_err().to_string();
        assert!(error.contains("very bad inconsistent state"), "{helpless}: {error}");
    }
    assert!(sim.packages().unwrap().get("htop").unwrap().reinstall);
    sim.run(&command("apt-get -y --fix-broken --reinstall install htop")).unwrap();
    assert!(sim.packages().unwrap().installed("htop"));
}

#[test]
fn a_daemon_runs_with_what_it_read() {
    let sim = Sim::debian(13);
    let drop_in = "/etc/ssh/sshd_config.d/00-x.conf";
    let running = |sim: &Sim| sim.world().units["ssh.service"].running_with.get(drop_in).cloned();
    let invocation = |sim: &Sim| sim.units(&["ssh"]).unwrap()[0].invocation.clone();
    let first = invocation(&sim);
    sim.write(drop_in, b"PermitRootLogin no\n", Access::root(0o644)).unwrap();
    assert_eq!(running(&sim), None);
    sim.run(&command("systemctl reload ssh.service")).unwrap();
    assert_eq!(running(&sim), Some("PermitRootLogin no\n".into()));
    assert_eq!(invocation(&sim), first);
    sim.run(&command("systemctl restart ssh")).unwrap();
    assert_ne!(invocation(&sim), first);
    sim.write(drop_in, b"SYNTAX-ERROR\n", Access::root(0o644)).unwrap();
    sim.run(&command("systemctl reload ssh.service")).unwrap_err();
    assert_eq!(running(&sim), Some("PermitRootLogin no\n".into()), "a refused reload changes nothing");
    sim.run(&command("systemctl restart ssh.service")).unwrap_err();
    assert_eq!(sim.units(&["ssh.service"]).unwrap()[0].active, ActiveState::Failed);
}

#[test]
fn a_candidate_is_checked_without_touching_the_machine() {
    let sim = Sim::debian(13);
    let before = sim.snapshot();
    let ask = |text: &str| {
        let path = "/etc/ssh/sshd_config.d/00-x.conf".to_owned();
        let candidate = Candidate::File { path, content: text.into(), access: Access::root(0o644) };
        sim.ask_with(&[candidate], &command("sshd -T")).unwrap()
    };
    assert!(ask("PasswordAuthentication no\n").stdout.contains("\npasswordauthentication no\n"));
    let wrong = ask("SYNTAX-ERROR\n");
    assert_ne!(wrong.status, 0);
    assert!(wrong.stderr.contains("00-x.conf: line 1"), "{}", wrong.stderr);
    assert_eq!(before, *sim.world());
}

#[test]
#[should_panic(expected = "changes the machine")]
fn a_question_may_not_change_the_machine() {
    let _ = Sim::debian(13).ask(&command("systemctl restart ssh.service"));
}

#[test]
#[should_panic(expected = "does not know `rm -rf /`")]
fn an_unknown_command_is_seen() {
    let _ = Sim::debian(13).run(&command("rm -rf /"));
}

#[test]
fn a_torn_append_leaves_half_and_an_unsynced_one_nothing() {
    let sim = Sim::debian(13);
    sim.append("/var/log/j", b"one\n", true).unwrap();
    sim.append("/var/log/j", b"lost\n", false).unwrap();
    assert_eq!(sim.world().text("/var/log/j"), "one\nlost\n");
    sim.restore_power();
    assert_eq!(sim.world().text("/var/log/j"), "one\n");
    sim.append("/var/log/j", b"kept\n", false).unwrap();
    sim.cut_after(0, Cut::Torn);
    sim.append("/var/log/j", b"four", true).unwrap_err();
    assert!(sim.dark());
    sim.restore_power();
    assert_eq!(sim.world().text("/var/log/j"), "one\nkept\nfo");
    sim.cut_after(1, Cut::After);
    sim.append("/var/log/j", b"1", true).unwrap();
    sim.append("/var/log/j", b"2", true).unwrap_err();
    sim.append("/var/log/j", b"3", true).unwrap_err();
    sim.restore_power();
    assert_eq!(sim.world().text("/var/log/j"), "one\nkept\nfo12", "only the first after the cut happened");
}

#[test]
fn faults_hit_once_and_where_they_were_asked_for() {
    let sim = ready(13);
    sim.fail_next("write /etc/motd", Fault::ReadOnly);
    let error = sim.write("/etc/motd", b"", Access::root(0o644)).unwrap_err();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("Read-only file system"));
    sim.write("/etc/motd", b"", Access::root(0o644)).unwrap();
    sim.fail_next("configure nginx-common", Fault::Fails(1, "nginx-common: postinst says no".to_owned()));
    let error = sim.run(&command("apt-get -y install nginx htop")).unwrap_err().to_string();
    assert!(error.contains("postinst says no") && error.contains("dpkg returned an error code"), "{error}");
    assert!(sim.packages().unwrap().installed("htop"), "dpkg goes on with what does not depend on it");
    assert!(!sim.packages().unwrap().installed("nginx"));
    sim.run(&command("apt-get -y install nginx")).unwrap();
    assert!(sim.packages().unwrap().installed("nginx"));
    sim.fail_next("systemctl restart", Fault::Hangs);
    assert!(matches!(sim.run(&command("systemctl restart nginx")), Err(Error::Timeout { .. })));
}

#[test]
fn fail2ban_of_bookworm_needs_its_jail_first() {
    let jail = "/etc/fail2ban/jail.d/00-pitool.conf";
    let sim = ready(12);
    let error = sim.run(&command("apt-get -y install fail2ban")).unwrap_err().to_string();
    assert!(error.contains("error processing package fail2ban (--configure)"), "{error}");
    assert_eq!(sim.packages().unwrap().get("fail2ban").unwrap().state, PackageState::Broken);
    sim.write(jail, b"[DEFAULT]\nbackend = systemd\n", Access::root(0o644)).unwrap();
    sim.run(&command("dpkg --configure -a")).unwrap();
    assert!(sim.packages().unwrap().installed("fail2ban"));
    let answer = sim.ask(&command("fail2ban-client status")).unwrap();
    assert!(answer.stdout.contains("Jail list:\tsshd"), "{answer:?}");
}

#[test]
fn apt_waits_for_its_lock_and_misses_the_network() {
    let sim = Sim::debian(13);
    sim.hold_apt_lock(60);
    let error = sim.run(&command("apt-get update")).unwrap_err().to_string();
    assert!(error.contains("E: Could not get lock /var/lib/dpkg/lock-frontend"), "{error}");
    let before = sim.now();
    sim.run(&command("apt-get -o DPkg::Lock::Timeout=120 update")).unwrap();
    assert!(sim.now().duration_since(before).as_secs() >= 60);
    sim.offline(true);
    let output = sim.run(&command("apt-get update")).unwrap();
    assert!(output.stderr.contains("Temporary failure resolving 'deb.debian.org'"));
    sim.run(&command("apt-get -o APT::Update::Error-Mode=any update")).unwrap_err();
    let error = sim.run(&command("apt-get -y install htop")).unwrap_err().to_string();
    assert!(error.contains("Unable to fetch some archives"), "{error}");
    assert!(sim.packages().unwrap().get("htop").is_none());
}

#[test]
fn the_version_that_would_be_installed_is_asked_of_the_running_system_only() {
    let sim = ready(13);
    let version = pitool_host::facts::candidate(&sim, "nginx").unwrap();
    assert!(version.starts_with("1.26"), "{version}");
    assert_eq!(pitool_host::facts::candidate(&sim, "nothing-of-that-name").unwrap(), "");
    // A mounted card: its apt-cache may not even be for this processor.
    sim.mounted(true);
    assert_eq!(pitool_host::facts::candidate(&sim, "nginx").unwrap(), "");
}

#[test]
fn another_source_brings_its_packages() {
    let sim = ready(13);
    assert_eq!(sim.ask(&command("apt-cache policy docker-ce")).unwrap().stdout, "");
    let source = "Types: deb\nURIs: https://download.docker.com/linux/debian\nSuites: trixie\nComponents: stable\n\
                  Signed-By: /etc/apt/keyrings/docker.asc\n";
    sim.write("/etc/apt/sources.list.d/docker.sources", source.as_bytes(), Access::root(0o644)).unwrap();
    let error = sim.run(&command("apt-get update")).unwrap_err().to_string();
    assert!(error.contains("is not signed"), "{error}");
    sim.write("/etc/apt/keyrings/docker.asc", b"key", Access::root(0o644)).unwrap();
    sim.run(&command("apt-get update")).unwrap();
    assert!(sim.ask(&command("apt-cache policy")).unwrap().stdout.contains("o=Docker,"));
    sim.run(&command("apt-get -y install docker.io")).unwrap();
    sim.run(&command("apt-get -y --no-install-recommends install docker-ce")).unwrap();
    let packages = sim.packages().unwrap();
    assert!(
        packages.installed("docker-ce") && !packages.installed("docker.io"),
        "the one conflicts with the other"
    );
    assert!(!packages.installed("docker-buildx-plugin"));
    assert!(sim.world().text("/etc/group").contains("\ndocker:x:"));
}

#[test]
fn simulating_changes_nothing_and_autoremove_takes_orphans() {
    let sim = ready(13);
    let output = sim.ask(&command("apt-get -s install nginx")).unwrap();
    assert!(
        output.stdout.contains("Inst nginx-common (") && output.stdout.contains("Conf nginx ("),
        "{output:?}"
    );
    sim.run(&command("apt-get -y install nginx")).unwrap();
    sim.run(&command("apt-get -y --autoremove --purge remove nginx")).unwrap();
    assert!(sim.packages().unwrap().get("nginx-common").is_none());
    sim.run(&command("apt-get -y install nginx htop")).unwrap();
    sim.run(&command("apt-get -y install git htop-")).unwrap();
    let packages = sim.packages().unwrap();
    assert!(packages.installed("git") && packages.get("htop").is_none());
}

#[test]
fn a_persons_conffile_and_disable_outlive_a_removal() {
    let sim = ready(13);
    sim.run(&command("apt-get -y install nginx")).unwrap();
    sim.write("/etc/nginx/nginx.conf", b"mine\n", Access::root(0o600)).unwrap();
    sim.run(&command("systemctl disable --now nginx")).unwrap();
    sim.run(&command("apt-get -y remove nginx nginx-common")).unwrap();
    assert_eq!(sim.packages().unwrap().get("nginx-common").unwrap().state, PackageState::ConfigFiles);
    sim.run(&command("apt-get -y install nginx")).unwrap();
    assert_eq!(sim.world().text("/etc/nginx/nginx.conf"), "mine\n");
    let unit = &sim.units(&["nginx.service"]).unwrap()[0];
    assert!(!unit.enabled() && unit.active == ActiveState::Inactive);
}

#[test]
fn swap_locale_and_sysctl_are_there_after_a_boot() {
    let sim = Sim::debian(13);
    for line in ["fallocate -l 1G /swapfile", "mkswap /swapfile", "swapon /swapfile"] {
        sim.run(&command(line)).unwrap();
    }
    assert_eq!(sim.stat("/swapfile").unwrap().unwrap().size, 1 << 30);
    assert!(sim.read("/swapfile").is_err(), "too large to read");
    assert!(sim.world().text("/proc/swaps").contains("/swapfile"));
    sim.reboot();
    assert!(sim.world().swaps.is_empty());
    let unit = b"[Swap]\nWhat=/swapfile\n\n[Install]\nWantedBy=swap.target\n";
    sim.write("/etc/systemd/system/swapfile.swap", unit, Access::root(0o644)).unwrap();
    sim.run(&command("systemctl enable --now swapfile.swap")).unwrap();
    assert_eq!(sim.world().swaps["/swapfile"], 1 << 30);
    sim.write("/etc/sysctl.d/60-x.conf", b"vm.swappiness = 10\n", Access::root(0o644)).unwrap();
    sim.write_in_place("/proc/sys/vm/vfs_cache_pressure", b"50").unwrap();
    sim.write("/etc/locale.gen", b"en_GB.UTF-8 UTF-8\n", Access::root(0o644)).unwrap();
    sim.run(&command("locale-gen")).unwrap();
    sim.run(&command("sysctl -p /etc/sysctl.d/60-x.conf")).unwrap();
    assert_eq!(sim.world().text("/proc/sys/vm/swappiness"), "10\n");
    assert_eq!(sim.world().text("/proc/sys/vm/vfs_cache_pressure"), "50\n");
    let boot = sim.world().text("/proc/sys/kernel/random/boot_id").to_owned();
    sim.reboot();
    assert_eq!(sim.world().text("/proc/sys/vm/swappiness"), "10\n");
    assert_eq!(sim.world().text("/proc/sys/vm/vfs_cache_pressure"), "100\n");
    assert_eq!(sim.world().swaps["/swapfile"], 1 << 30);
    assert!(sim.ask(&command("locale -a")).unwrap().stdout.contains("en_GB.utf8\n"));
    assert_ne!(sim.world().text("/proc/sys/kernel/random/boot_id"), boot);
    assert!(sim.run(&command("sysctl -w vm.no_such_key=1")).is_err());
}

#[test]
fn the_firewall_in_force_is_what_was_loaded() {
    let sim = ready(13);
    sim.run(&command("apt-get -y install ufw")).unwrap();
    sim.run(&command("ufw enable")).unwrap_err();
    sim.run(&command("ufw limit 22/tcp")).unwrap();
    sim.run(&command("ufw --force enable")).unwrap();
    let rules = "/etc/ufw/user.rules";
    let loaded = |sim: &Sim| sim.world().units["ufw.service"].running_with[rules].clone();
    assert_eq!(loaded(&sim).text().unwrap(), sim.world().text(rules));
    let edited = sim.world().text(rules).replace(" 22 ", " 2222 ");
    sim.write(rules, edited.as_bytes(), Access::root(0o640)).unwrap();
    assert_ne!(loaded(&sim).text().unwrap(), edited, "a changed file is not in force");
    sim.run(&command("ufw reload")).unwrap();
    assert_eq!(loaded(&sim).text().unwrap(), edited);
    sim.run(&command("ufw --force reset")).unwrap();
    assert!(!sim.world().text(rules).contains("### tuple ###"));
}

#[test]
fn locks_interrupts_and_variables_are_the_tests_to_set() {
    let sim = Sim::debian(13);
    let holder = LockHolder { pid: 7, since: "now".to_owned(), command: "pitool apply".to_owned() };
    let held = sim.lock("/run/pitool.lock", &holder).unwrap().ok().unwrap();
    assert_eq!(sim.lock("/run/pitool.lock", &holder).unwrap().err().unwrap(), holder);
    drop(held);
    let killed = sim.lock("/run/pitool.lock", &holder).unwrap().ok().unwrap();
    sim.kill();
    let next = sim.lock("/run/pitool.lock", &holder).unwrap();
    assert!(next.is_ok(), "a lock ends with its process");
    drop(killed);
    assert!(sim.lock("/run/pitool.lock", &holder).unwrap().is_err(), "and is then another's");
    sim.interrupt_after(1);
    assert!(!sim.interrupted());
    sim.write("/etc/motd", b"", Access::root(0o644)).unwrap();
    assert!(sim.interrupted());
    sim.set_variable("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.2 22");
    assert!(sim.variable("SSH_CONNECTION").is_some() && sim.variable("NO_COLOR").is_none());
    sim.answer("apt-config dump", Output { stdout: "APT \"\";\n".to_owned(), ..Output::default() });
    assert!(sim.ask(&command("apt-config dump")).unwrap().ok());
    sim.answer("systemd-run", Output::default());
    let before = sim.mutations();
    sim.run(&command("systemd-run --on-active=600 pitool rollback")).unwrap();
    assert_eq!(sim.mutations(), before + 1);
    let drawn = sim.random(8).unwrap();
    assert_ne!(Sim::of(sim.snapshot()).random(8).unwrap(), drawn, "a copy goes on where it was");
}

#[test]
fn another_root_answers_from_files_alone() {
    let sim = Sim::debian(13);
    sim.mounted(true);
    let unit = &sim.units(&["ssh.service"]).unwrap()[0];
    assert!(
        !sim.live() && unit.enabled() && unit.active == ActiveState::Inactive && unit.invocation.is_empty()
    );
    sim.run(&command("systemctl disable ssh.service")).unwrap();
    sim.run(&command("systemctl restart ssh.service")).unwrap_err();
    assert!(!sim.units(&["ssh.service"]).unwrap()[0].enabled());
}
