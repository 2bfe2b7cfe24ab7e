//! The simulator's own tests.

use super::*;
use crate::{ActiveState, PackageState};

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
    sim.run(&command("dpkg --configure -a")).unwrap();
    sim.run(&command(&format!("apt-get -y install {names}"))).unwrap();
}

fn same(a: &World, b: &World) {
    let found = a.differences(b, &["/var/lib/dpkg/status", "/var/lib/apt"]);
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
