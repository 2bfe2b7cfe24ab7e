//! Nobody is locked out: ways in which a key, an account or sudo does not work, and what must not happen then.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use pitool_engine::{Consent, Desired, Ending, Engine, Id, Journal, Refused, Settled};
use pitool_host::{Access, Output};
use pitool_kinds::Kind;
use pitool_resources::{Directory, Edit, File, Firewall, LoginGuard, Package, Part, Policy, User};
use pitool_sim::{Sim, World};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g pi\n";
/// 1024 bits.
const SHORT: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQCxOKV6nqx/nUN9MDwdGwNBXfwo4nG4L6FTtlF5XV34QlTFc6pS16bqwcJtg9Ug22PKWXW9CJTCa9vynYpyIcKTUbaA/lv4ZO1T5e7b/Tw23ZqKU/biWnLb9lLjeHYX6KNm0UoT6/46hTcqgPARdH8XA3gGkPwZt+Htj4JXhZEB+w== pi\n";
const KEYS: &str = "/home/pi/.ssh/authorized_keys";
const MINE: &str = "/etc/ssh/sshd_config.d/50-mine.conf";
const SUDO: &str = "/etc/sudoers.d/pi";
const PI: Access = Access { mode: 0o600, uid: 1000, gid: 1000 };

/// What closes a way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    /// sshd takes no more passwords; root, who has one, loses it.
    Passwords,
    /// root is refused.
    Root,
    /// ada, an administrator whom pitool made, is wanted no more.
    Pruned,
    /// The run that made ada is taken back.
    RolledBack,
}

const CLOSINGS: [Closing; 4] = [Closing::Passwords, Closing::Root, Closing::Pruned, Closing::RolledBack];

/// Gives a user other fields of shadow(5) from the password on.
fn shadow(world: &mut World, user: &str, fields: &str) {
    let start = format!("{user}:");
    let lines = world.text("/etc/shadow").lines().map(|line| match line.starts_with(&start) {
        true => format!("{user}:{fields}\n"),
        false => format!("{line}\n"),
    });
    let text: String = lines.collect();
    world.put_with("/etc/shadow", text, Access { mode: 0o640, uid: 0, gid: 42 });
}

/// Replaces text in a file.
fn replace(world: &mut World, path: &str, from: &str, to: &str) {
    let text = world.text(path).replace(from, to);
    world.put(path, text);
}

/// pi has a key, no password, and sudo without one.
fn prepared() -> Sim {
    let sim = Sim::debian(13);
    let mut world = sim.arrange();
    world.put_dir("/home/pi/.ssh").put_with(KEYS, KEY, PI);
    world.put(SUDO, "pi ALL=(ALL) NOPASSWD: ALL\n");
    shadow(&mut world, "pi", "!:20000:0:99999:7:::");
    drop(world);
    sim
}

fn ada() -> Vec<Kind> {
    let keys = Edit::Lines(vec![KEY.trim().replace(" pi", " ada")]);
    vec![
        User::new("ada").groups(["sudo"]).into(),
        Directory::new("/home/ada/.ssh").mode(0o700).owner("ada", "ada").into(),
        Part::new("/home/ada/.ssh/authorized_keys", keys).created_as(0o600, "ada", "ada").into(),
        File::new("/etc/sudoers.d/pitool-ada", "ada ALL=(ALL:ALL) NOPASSWD: ALL\n").mode(0o440).into(),
    ]
}

fn desired(kinds: Vec<Kind>) -> Desired<Kind> {
    Desired::new([("one".to_owned(), kinds)]).unwrap()
}

fn engine(sim: &Sim) -> Engine<'_> {
    Engine::new(sim, Journal::default(), "pitool", "test")
}

fn apply(sim: &Sim, desired: &Desired<Kind>, prune: bool) -> Settled {
    let plan = Engine::plan(desired, prune, &Journal::default(), sim).unwrap();
    let mut settled = engine(sim).apply(desired, prune, None, &mut |_| {}).unwrap().settled;
    // A step that is taken although its state holds something back is not a step that waits.
    let waits = |refused: &Refused| plan.steps.iter().all(|step| step.id != refused.id);
    let waiting = plan.refused.iter().filter(|refused| waits(refused));
    let mut planned: Vec<(Id, String)> =
        waiting.map(|refused| (refused.id.clone(), refused.why.clone())).collect();
    if settled.run.is_none() {
        settled.held.append(&mut planned);
    } else {
        let ids = |held: &[(Id, String)]| held.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&settled.held), ids(&planned), "the plan tells the truth");
    }
    assert_eq!(settled.ending, Ending::Done, "{:?}", settled.failures);
    settled
}

fn rollback(sim: &Sim, consent: Consent) -> Settled {
    let settled = engine(sim).rollback::<Kind>(None, consent, &mut |_| {}).unwrap().1;
    assert_eq!(settled.ending, Ending::Done, "{:?}", settled.failures);
    settled
}

fn off(keyword: &str, guard: LoginGuard) -> Desired<Kind> {
    let file = File::new("/etc/ssh/sshd_config.d/01-pitool-x.conf", format!("{keyword} no\n"));
    desired(vec![file.guarded_by(guard).into()])
}

/// Whether the way in stays open, having said why.
fn held(closing: Closing, spoil: impl Fn(&mut World)) -> Option<String> {
    let sim = prepared();
    let root_has_a_password = |sim: &Sim| {
        let mut world = sim.arrange();
        shadow(&mut world, "root", "$y$j9T$salt$hash:20000:0:99999:7:::");
        world.put("/etc/ssh/sshd_config.d/60-root.conf", "PermitRootLogin yes\n");
        spoil(&mut world);
    };
    let settled = match closing {
        Closing::Passwords => {
            root_has_a_password(&sim);
            apply(&sim, &off("PasswordAuthentication", LoginGuard::Key { root: true }), false)
        }
        Closing::Root => {
            root_has_a_password(&sim);
            apply(&sim, &off("PermitRootLogin", LoginGuard::OtherThanRoot { passwords: true }), false)
        }
        Closing::Pruned | Closing::RolledBack => {
            apply(&sim, &desired(ada()), false);
            spoil(&mut sim.arrange());
            match closing {
                Closing::Pruned => apply(&sim, &desired(vec![]), true),
                _ => rollback(&sim, Consent::default()),
            }
        }
    };
    let world = sim.world();
    match closing {
        Closing::Passwords | Closing::Root => {
            assert_eq!(world.exists("/etc/ssh/sshd_config.d/01-pitool-x.conf"), settled.held.is_empty());
        }
        Closing::Pruned | Closing::RolledBack => {
            let there = world.text("/etc/passwd").contains("\nada:");
            assert_eq!(there, !settled.held.is_empty(), "{:?}", settled.held);
            for path in ["/etc/sudoers.d/pitool-ada", "/home/ada/.ssh/authorized_keys"] {
                assert_eq!(world.exists(path), there, "{path}: {:?}", settled.held);
            }
        }
    }
    // The same run says the same again, and does nothing.
    settled.held.first().map(|(_, why)| why.clone())
}

/// A row: what is wrong with pi, what the reason has to say, and for which closings the way in stays open.
struct Row {
    name: &'static str,
    says: &'static str,
    held: [bool; 4],
    spoil: fn(&mut World),
}

const ALL: [bool; 4] = [true; 4];
const NONE: [bool; 4] = [false; 4];
/// What spoils ada as well, so that removing her takes nothing away.
const BOTH: [bool; 4] = [true, true, false, false];

const fn row(name: &'static str, says: &'static str, held: [bool; 4], spoil: fn(&mut World)) -> Row {
    Row { name, says, held, spoil }
}

fn rows() -> Vec<Row> {
    vec![
        // Controls: pi gets in and becomes root.
        row("nothing is wrong", "", NONE, |_| {}),
        row("a harmless option", "", NONE, |w| {
            w.put_with(KEYS, format!("no-agent-forwarding {KEY}"), PI);
        }),
        row("restrict with pty", "", NONE, |w| {
            w.put_with(KEYS, format!("restrict,pty {KEY}"), PI);
        }),
        row("the second file of keys", "", NONE, |w| {
            w.erase(KEYS).put_with("/home/pi/.ssh/authorized_keys2", KEY, PI);
        }),
        row("a file of keys that root made for everybody to read", "", NONE, |w| {
            w.put_with(KEYS, KEY, Access::root(0o644));
        }),
        row("a bad line beside a good one", "", NONE, |w| {
            w.put_with(KEYS, format!("ssh-ed25519 AAAA x\ncommand=\"/bin/true\" {KEY}{KEY}"), PI);
        }),
        row("another user's Match block", "", NONE, |w| {
            w.put(MINE, "Match User bob\n    PubkeyAuthentication no\n");
        }),
        row("a Match block about something else", "", NONE, |w| {
            w.put(MINE, "Match Address 192.168.0.0/16\n    X11Forwarding yes\n");
        }),
        row("sudo that asks nobody for a password", "", NONE, |w| {
            w.put(SUDO, "Defaults:pi !authenticate\n");
        }),
        row("an account that expires in years", "", NONE, |w| shadow(w, "pi", "!:20000:0:99999:7::30000:")),
        row("a password instead of a key", "", [true, false, false, false], |w| {
            w.erase(KEYS).erase(SUDO);
            shadow(w, "pi", "$y$j9T$salt$hash:20000:0:99999:7:::");
        }),
        // Keys.
        row("K2.1: the file is root's", "cannot read", ALL, |w| {
            w.put_with(KEYS, KEY, Access::root(0o600));
        }),
        row("the directory is root's", "cannot read", ALL, |w| {
            w.erase("/home/pi/.ssh").put_dir("/home/pi/.ssh").put_with(KEYS, KEY, PI);
            set_mode(w, "/home/pi/.ssh", Access::root(0o700));
        }),
        row("K2.2: sshd takes no such keys", "PubkeyAcceptedAlgorithms", BOTH, |w| {
            w.put(MINE, "PubkeyAcceptedAlgorithms rsa-sha2-512\n");
        }),
        row("K2.3: no keys of this user", "takes no keys", ALL, |w| {
            w.put(MINE, "Match User pi\n    PubkeyAuthentication no\n");
        }),
        row("K2.3: another file of keys", "no key in /etc/none/pi", ALL, |w| {
            w.put(MINE, "Match User pi\n    AuthorizedKeysFile /etc/none/%u\n");
        }),
        row("there is no key", "no key in", ALL, |w| {
            w.erase(KEYS);
        }),
        row("a key that is cut off", "cannot read a key", ALL, |w| {
            w.put_with(KEYS, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAABAECAwQ= pi\n", PI);
        }),
        row("from=", "option from", ALL, |w| {
            w.put_with(KEYS, format!("from=\"10.0.0.1\" {KEY}"), PI);
        }),
        row("command=", "option command", ALL, |w| {
            w.put_with(KEYS, format!("command=\"/bin/backup\" {KEY}"), PI);
        }),
        row("expiry-time=", "option expiry-time", ALL, |w| {
            w.put_with(KEYS, format!("expiry-time=\"20200101\" {KEY}"), PI);
        }),
        row("restrict", "option restrict", ALL, |w| {
            w.put_with(KEYS, format!("restrict {KEY}"), PI);
        }),
        row("an option that sshd does not know", "no option", ALL, |w| {
            w.put_with(KEYS, format!("shell {KEY}"), PI);
        }),
        row("a short RSA key", "bits", ALL, |w| {
            w.put_with(KEYS, SHORT, PI).put(MINE, "RequiredRSASize 2048\n");
        }),
        row("others may write to the file", "has to be pi's", ALL, |w| {
            w.put_with(KEYS, KEY, Access { mode: 0o666, ..PI });
        }),
        row("others may write to the home", "/home/pi has to be pi's", ALL, |w| {
            set_mode(w, "/home/pi", Access { mode: 0o777, ..PI });
        }),
        row("a link that leads nowhere", "no key in", ALL, |w| {
            w.erase(KEYS).put_link(KEYS, "/mnt/keys");
        }),
        row("a directory in the file's place", "regular file", ALL, |w| {
            w.erase(KEYS).put_dir(KEYS);
        }),
        row("revoked keys that cannot be read", "RevokedKeys", BOTH, |w| {
            w.put(MINE, "RevokedKeys /etc/ssh/revoked\n");
        }),
        row("two methods at once", "no password", ALL, |w| {
            w.put(MINE, "Match User pi\n    AuthenticationMethods publickey,password\n");
        }),
        row("it depends on the address", "depends on the connection", ALL, |w| {
            w.put(MINE, "Match User pi Address 10.0.0.0/8\n    PubkeyAuthentication no\n");
        }),
        row("only from one address", "depends on the connection", ALL, |w| {
            let text = "Match User pi\n    PubkeyAuthentication no\nMatch User pi Address 10.0.0.0/8\n    PubkeyAuthentication yes\n";
            w.put(MINE, text);
        }),
        // sshd's lists, and what it leaves of a session.
        row("AllowUsers", "AllowUsers", ALL, |w| {
            w.put(MINE, "AllowUsers ada root pi@10.0.0.1\n");
        }),
        row("DenyUsers", "DenyUsers", ALL, |w| {
            w.put(MINE, "DenyUsers p?\n");
        }),
        row("DenyGroups", "DenyGroups", ALL, |w| {
            w.put(MINE, "DenyGroups users\n");
        }),
        row("AllowGroups", "AllowGroups", ALL, |w| {
            w.put(MINE, "AllowGroups root ada\n");
        }),
        row("a forced command", "ForceCommand", ALL, |w| {
            w.put(MINE, "Match User pi\n    ForceCommand internal-sftp\n");
        }),
        row("another root directory", "ChrootDirectory", ALL, |w| {
            w.put(MINE, "Match Group pi\n    ChrootDirectory /srv\n");
        }),
        row("no sessions", "MaxSessions", ALL, |w| {
            w.put(MINE, "Match User pi\n    MaxSessions 0\n");
        }),
        row("options on sshd's command line", "options of its own", ALL, |w| {
            w.put("/etc/default/ssh", "SSHD_OPTS=\"-f /etc/ssh/other\"\n");
        }),
        row("a locked account without PAM", "does not use PAM", BOTH, |w| {
            replace(w, "/etc/ssh/sshd_config", "UsePAM yes", "UsePAM no");
        }),
        // The account.
        row("the account has expired", "account has expired", ALL, |w| {
            shadow(w, "pi", "!:20000:0:99999:7::20001:")
        }),
        row("a new password is due", "new password", ALL, |w| shadow(w, "pi", "!:0:0:99999:7:::")),
        row("the password is too old", "new password", ALL, |w| shadow(w, "pi", "!:19000:0:30:7:::")),
        row("and too old even to be changed", "password has expired", ALL, |w| {
            shadow(w, "pi", "!:19000:0:30:7:10::");
        }),
        row("nologin", "lets nobody in", ALL, |w| {
            replace(w, "/etc/passwd", "/home/pi:/bin/bash", "/home/pi:/usr/sbin/nologin")
        }),
        row("a shell that is gone", "is not a program", ALL, |w| {
            replace(w, "/etc/passwd", "/home/pi:/bin/bash", "/home/pi:/usr/bin/zsh");
        }),
        row("a program that is no shell", "/etc/shells", ALL, |w| {
            replace(w, "/etc/passwd", "/home/pi:/bin/bash", "/home/pi:/usr/bin/menu");
            w.put_with("/usr/bin/menu", "ELF", Access::root(0o755));
        }),
        row("/etc/nologin", "/etc/nologin", BOTH, |w| {
            w.put("/etc/nologin", "maintenance\n");
        }),
        row("pam_access", "access.conf", ALL, |w| {
            replace(
                w,
                "/etc/pam.d/sshd",
                "@include common-account",
                "account required pam_access.so\n@include common-account",
            );
            w.put("/etc/security/access.conf", "-:ALL EXCEPT root:ALL\n");
        }),
        row("a module of PAM's that nobody knows", "pam_listfile.so", ALL, |w| {
            replace(
                w,
                "/etc/pam.d/sshd",
                "@include common-account",
                "account required pam_listfile.so onerr=fail\n@include common-account",
            );
        }),
        // sudo.
        row("K2.4: sudo for one command", "asks for its password", ALL, |w| {
            w.put(SUDO, "pi ALL=(root) NOPASSWD: /usr/sbin/reboot\n");
        }),
        row("K2.4: sudo as somebody else", "asks for its password", ALL, |w| {
            w.put(SUDO, "pi ALL=(www-data) NOPASSWD: ALL\n");
        }),
        row("sudo that asks in the end", "asks for its password", ALL, |w| {
            w.put(SUDO, "pi ALL=(ALL) NOPASSWD: ALL\npi ALL=(ALL) ALL\n");
        }),
        row("sudo on another host", "asks for its password", ALL, |w| {
            w.put(SUDO, "pi otherhost=(ALL) NOPASSWD: ALL\n");
        }),
        row("sudo for all but one", "only some commands", ALL, |w| {
            w.put(SUDO, "pi ALL=(ALL) NOPASSWD: ALL, !/usr/bin/bash\n");
        }),
        row("no sudo at all", "allows it nothing", ALL, |w| {
            w.erase(SUDO);
            replace(w, "/etc/group", "sudo:x:27:pi", "sudo:x:27:");
        }),
        row("sudo with root's password", "root's password", ALL, |w| {
            w.put(SUDO, "Defaults:pi rootpw\n");
            shadow(w, "pi", "$y$j9T$salt$hash:20000:0:99999:7:::");
        }),
        row("sudo without its bit", "setuid", BOTH, |w| {
            w.put_with("/usr/bin/sudo", "ELF", Access::root(0o755));
        }),
    ]
}

fn set_mode(world: &mut World, path: &str, access: Access) {
    let node = world.nodes.get_mut(path).expect("a directory");
    *node = pitool_sim::Node::Dir { access };
}

#[test]
fn the_way_in_stays_open_wherever_the_other_one_does_not_work() {
    let mut wrong = Vec::new();
    let rows = rows();
    assert!(rows.iter().filter(|row| row.held != NONE).count() >= 20);
    for row in &rows {
        for (closing, expected) in CLOSINGS.into_iter().zip(row.held) {
            let why = held(closing, row.spoil);
            if why.is_some() != expected {
                wrong.push(format!("{}, {closing:?}: held back: {why:?}", row.name));
            }
            if let Some(why) = why.filter(|why| expected && !why.contains(row.says)) {
                wrong.push(format!("{}, {closing:?}: says {why:?}", row.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn whom_and_why_and_what_to_do_is_said() {
    let why = held(Closing::Passwords, |world| {
        world.put_with(KEYS, KEY, Access::root(0o600));
    });
    assert_eq!(
        why.unwrap(),
        "password logins stay on for root, because nobody could log in with a key and become root (root: there is no key \
         in /root/.ssh/authorized_keys; pi: pi itself cannot read /home/pi/.ssh/authorized_keys (permission denied)). Add \
         a key with `ssh-copy-id USER@THIS-MACHINE` from your computer, or [common.users.NAME] authorized_keys in the \
         config, then apply again"
    );
    let why = held(Closing::RolledBack, |world| {
        world.erase(KEYS);
    });
    assert_eq!(
        why.unwrap(),
        "the file stays for ada, because nobody else could log in and become root (ada: sudo asks for its password, and it \
         has none; pi: there is no key in /home/pi/.ssh/authorized_keys, and it has no password; root: there is no key in \
         /root/.ssh/authorized_keys, and sshd takes no password of root). Give somebody else a key and sudo rights and go \
         back again, or use `--cut-login`"
    );
}

#[test]
fn what_is_closed_already_is_not_said_to_stay_open() {
    // Nobody gets in at all: to turn passwords off takes nothing away.
    let sim = prepared();
    sim.arrange().put(MINE, "AllowGroups nobody\nPasswordAuthentication no\nPermitRootLogin no\n");
    let settled = apply(&sim, &off("PasswordAuthentication", LoginGuard::Key { root: false }), false);
    assert_eq!(settled.held, []);
}

/// Puts the processes between a login over ssh and pitool there.
fn typed_in(sim: &Sim, user: &str, uid: u32, port: u16) {
    sim.arrange()
        .put("/proc/self/stat", "300 (pitool) S 200 300 300 0\n")
        .put("/proc/200/stat", "200 (sudo) S 100 200 200 0\n")
        .put("/proc/200/environ", format!("PATH=/usr/bin\0SUDO_USER={user}\0"))
        .put("/proc/200/status", "Uid:\t0\t0\t0\t0\n")
        .put("/proc/100/stat", "100 (bash) S 90 100 100 0\n")
        .put("/proc/100/status", format!("Name:\tbash\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n"))
        .put("/proc/100/environ", format!("SSH_CONNECTION=192.0.2.1 50000 192.0.2.2 {port}\0"))
        .put("/proc/90/stat", "90 (sshd) S 1 90 90 0\n")
        .put("/proc/90/environ", "");
}

#[test]
fn a_rollback_leaves_the_login_that_it_was_typed_in() {
    // pi could go on: but ada typed it in.
    let sim = prepared();
    apply(&sim, &desired(ada()), false);
    let uid = sim
        .world()
        .text("/etc/passwd")
        .lines()
        .find_map(|line| line.strip_prefix("ada:x:")?.split(':').next()?.parse().ok());
    typed_in(&sim, "ada", uid.unwrap(), 22);
    let plan = Engine::plan_rollback::<Kind>(None, Consent::default(), &Journal::default(), &sim).unwrap().1;
    let settled = rollback(&sim, Consent::default());
    let mut ids: Vec<Id> = settled.held.iter().map(|(id, _)| id.clone()).collect();
    let mut refused: Vec<Id> = plan.refused.iter().map(|refused| refused.id.clone()).collect();
    ids.sort();
    refused.sort();
    let expected = [
        Id::new("file", "/etc/sudoers.d/pitool-ada"),
        Id::new("line", "/home/ada/.ssh/authorized_keys"),
        Id::new("user", "ada"),
    ];
    assert_eq!(ids, expected);
    assert_eq!(refused, expected, "the plan tells the truth");
    for (_, why) in &settled.held {
        assert!(why.contains("typed in over ssh by ada") && why.contains("--cut-login"), "{why}");
    }
    let world = sim.world();
    assert!(world.text("/etc/passwd").contains("\nada:") && world.exists("/home/ada/.ssh/authorized_keys"));
    drop(world);

    // With consent all of it goes.
    let run = engine(&sim).rollback::<Kind>(
        Some(pitool_engine::RunId(1)),
        Consent { cut_login: true },
        &mut |_| {},
    );
    assert_eq!(run.unwrap().1.held, []);
    assert!(!sim.world().text("/etc/passwd").contains("\nada:"));
}

#[test]
fn the_console_may_take_a_user_away_whom_another_can_do_without() {
    let sim = prepared();
    apply(&sim, &desired(ada()), false);
    assert_eq!(rollback(&sim, Consent::default()).held, []);
    assert!(!sim.world().text("/etc/passwd").contains("\nada:"));
}

#[test]
fn a_run_does_not_turn_off_the_login_that_it_was_typed_in() {
    // root by password, while pi has all that is needed.
    let root = |cut_login| {
        let sim = prepared();
        let mut world = sim.arrange();
        shadow(&mut world, "root", "$y$j9T$salt$hash:20000:0:99999:7:::");
        world.put("/etc/ssh/sshd_config.d/60-root.conf", "PermitRootLogin yes\n");
        drop(world);
        typed_in(&sim, "root", 0, 22);
        let want = off("PermitRootLogin", LoginGuard::OtherThanRoot { passwords: true });
        apply(&sim, &want.agreed(Consent { cut_login }), false).held
    };
    let held = root(false);
    assert!(held[0].1.contains("typed in over ssh by root"), "{held:?}");
    assert_eq!(root(true), []);
}

#[test]
fn sshd_stays_on_the_port_of_the_login_that_the_run_was_typed_in() {
    let path = "/etc/ssh/sshd_config.d/01-pitool-port.conf";
    let want = || desired(vec![File::new(path, "Port 2222\n").guarded_by(LoginGuard::OwnSocket).into()]);
    let sim = prepared();
    typed_in(&sim, "pi", 1000, 22);
    let held = apply(&sim, &want(), false).held;
    assert!(held[0].1.contains("stays on port 22"), "{held:?}");
    assert_eq!(apply(&sim, &want().agreed(Consent { cut_login: true }), false).held, []);
    assert!(sim.world().exists(path));
    // And back: now the login is the new port's.
    typed_in(&sim, "pi", 1000, 2222);
    let held = rollback(&sim, Consent::default()).held;
    assert!(held[0].1.contains("stays on port 2222"), "{held:?}");
    assert!(sim.world().exists(path));
}

#[test]
fn going_back_does_not_turn_passwords_off_under_who_needs_them() {
    // The image has passwords off; the first run turned them on, and somebody came to rely on that.
    let sim = prepared();
    sim.arrange().put(MINE, "PasswordAuthentication no\n");
    let path = "/etc/ssh/sshd_config.d/01-pitool-passwords.conf";
    apply(&sim, &desired(vec![File::new(path, "PasswordAuthentication yes\n").into()]), false);
    let mut world = sim.arrange();
    world.erase(KEYS).erase(SUDO);
    shadow(&mut world, "pi", "$y$j9T$salt$hash:20000:0:99999:7:::");
    drop(world);
    let held = rollback(&sim, Consent::default()).held;
    assert!(held[0].1.contains("the file stays for pi"), "{held:?}");
    assert!(sim.world().exists(path));
}

#[test]
fn the_ports_of_other_ssh_servers_and_of_the_login_stay_open() {
    let wall = || {
        let wall = Firewall::new(Policy::Deny, Policy::Allow, None, vec![]);
        desired(vec![Package::new("ufw").into(), wall.into()])
    };
    let rules = |arrange: &dyn Fn(&Sim)| {
        let sim = prepared();
        arrange(&sim);
        apply(&sim, &wall(), false);
        let rules = sim.world().text("/etc/ufw/user.rules").to_owned();
        [22, 2200, 2222].map(|port| rules.contains(&format!("### tuple ### limit tcp {port} ")))
    };
    assert_eq!(rules(&|_| {}), [true, false, false]);
    assert_eq!(rules(&|sim| typed_in(sim, "pi", 1000, 2222)), [true, false, true]);
    let dropbear = |name: &'static str, uid: u32| {
        move |sim: &Sim| {
            let rest = "00000000:00000000 00:00000000 00000000     0        0";
            let table = format!(
                "  sl  local_address rem_address   st\n   0: 00000000:0898 00000000:0000 0A {rest} 77 1 0\n"
            );
            sim.arrange()
                .put("/proc/net/tcp", table)
                .put("/proc/400/comm", format!("{name}\n"))
                .put("/proc/400/status", format!("Name:\t{name}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n"))
                .put_dir("/proc/400/fd")
                .put_link("/proc/400/fd/3", "socket:[77]");
        }
    };
    assert_eq!(rules(&dropbear("dropbear", 0)), [true, true, false]);
    assert_eq!(rules(&dropbear("nc", 0)), [true, false, false]);
    // Any user may call a program so.
    assert_eq!(rules(&dropbear("dropbear", 1000)), [true, false, false]);
}

#[test]
fn nobody_is_asked_while_nothing_would_be_closed_and_each_user_once_otherwise() {
    let asked = |sim: &Sim| -> Vec<String> {
        let asks = |question: &String| {
            ["sshd", "sudo", "setpriv", "journalctl"].iter().any(|name| question.contains(name))
        };
        sim.questions().into_iter().filter(asks).collect()
    };
    let want = || off("PasswordAuthentication", LoginGuard::Key { root: false });
    let sim = prepared();
    apply(&sim, &want(), false);
    let before = asked(&sim).len();
    assert!(before > 0);
    let plan = Engine::plan(&want(), false, &Journal::default(), &sim).unwrap();
    assert!(plan.steps.is_empty() && plan.refused.is_empty());
    assert_eq!(asked(&sim).len(), before, "what is in place cannot lock anybody out any more");

    let sim = prepared();
    let mut world = sim.arrange();
    world.put_with(KEYS, KEY, Access::root(0o600));
    shadow(&mut world, "pi", "$y$j9T$salt$hash:20000:0:99999:7:::");
    drop(world);
    let plan = Engine::plan(&want(), false, &Journal::default(), &sim).unwrap();
    assert_eq!(plan.refused.len(), 1);
    let mut questions = asked(&sim);
    questions.sort();
    questions.dedup();
    assert!(questions.len() <= 6, "{questions:#?}");
}

#[test]
fn only_sshds_own_lines_tell_of_a_login() {
    let key = format!("from=\"192.0.2.0/24\" {KEY}");
    let held = |trusted: &str| {
        let sim = prepared();
        sim.arrange().put_with(KEYS, key.clone(), PI);
        let mut world = sim.arrange();
        shadow(&mut world, "root", "$y$j9T$salt$hash:20000:0:99999:7:::");
        drop(world);
        sim.arrange().put("/etc/ssh/sshd_config.d/60-root.conf", "PermitRootLogin yes\n");
        typed_in(&sim, "pi", 1000, 22);
        let output = |stdout: &str| Output { status: 0, stdout: stdout.to_owned(), stderr: String::new() };
        // What `logger -t sshd` wrote is found by its identifier, and not by fields that a sender cannot choose.
        sim.answer("journalctl", output("Accepted publickey for pi from 192.0.2.1 port 50000 ssh2: x\n"));
        sim.answer("journalctl -b -o cat --no-pager -n 2000 _UID=0 _COMM=sshd", output(trusted));
        let want = off("PasswordAuthentication", LoginGuard::Key { root: true });
        !apply(&sim, &want, false).held.is_empty()
    };
    assert!(held(""));
    assert!(!held("Accepted publickey for pi from 192.0.2.1 port 50000 ssh2: ED25519 SHA256:x\n"));
    assert!(held("Accepted publickey for bob from 192.0.2.1 port 50000 ssh2: ED25519 SHA256:x\n"));
    assert!(held("Accepted publickey for pi from 192.0.2.1 port 50001 ssh2: ED25519 SHA256:x\n"));
    assert!(held("x Accepted publickey for pi from 192.0.2.1 port 50000 ssh2\n"));
}
