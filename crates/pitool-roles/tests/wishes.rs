//! What the roles want, config by config and machine by machine (security has a file of its own), as a person would read
//! it. `INSTA_UPDATE=always cargo test` writes the snapshots anew.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::fmt::Write;

use pitool_config::{Fragment, load};
use pitool_engine::{Proof, Resource};
use pitool_host::{Facts, Person, SwapMechanism};
use pitool_kinds::Kind;
use pitool_roles::{find, wanted};
use serde_json::Value;

fn machine(release: u32, arch: &str) -> Facts {
    Facts {
        os: "debian".into(),
        release,
        arch: arch.into(),
        memory: 1900 << 20,
        systemd: true,
        live: true,
        ..Facts::default()
    }
}

fn pi(release: u32, arch: &str, swap: SwapMechanism) -> Facts {
    Facts { firmware: Some("/boot/firmware".into()), swap, ..machine(release, arch) }
}

/// Takes the contents out of a serialized resource, as text.
fn contents(value: &mut Value, texts: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            if let Some(Value::String(hex)) = object.get("$content") {
                let digits: Vec<u8> = hex.bytes().map(|c| (c as char).to_digit(16).unwrap() as u8).collect();
                let bytes = digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
                texts.push(String::from_utf8(bytes).unwrap());
                *value = Value::from("below");
                return;
            }
            if let Some(Value::String(template)) = object.get_mut("template") {
                texts.push(std::mem::replace(template, "below".into()));
            }
            object.values_mut().for_each(|value| contents(value, texts));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| contents(item, texts)),
        _ => {}
    }
}

fn line(kind: &Kind) -> String {
    let mut value = serde_json::to_value(kind).unwrap();
    let mut texts = Vec::new();
    contents(&mut value, &mut texts);
    // An enum of one key: the kind's name, which the id says already.
    let inner = value.as_object().and_then(|object| object.values().next()).cloned().unwrap_or(value);
    let dull = ["path", "name", "stage", "risk", "content", "template"];
    let mut words = String::new();
    for (key, value) in inner.as_object().into_iter().flatten() {
        let empty = matches!(value, Value::Null | Value::Bool(false)) || *value == serde_json::json!([]);
        if empty || dull.contains(&key.as_str()) {
            continue;
        }
        match (key.as_str(), value.as_u64()) {
            ("mode", Some(mode)) => write!(words, " mode={mode:04o}").unwrap(),
            _ => write!(words, " {key}={value}").unwrap(),
        }
    }
    let mut text = format!("{:?} {}{words}\n", kind.stage(), kind.id());
    for content in texts {
        assert!(content.is_empty() || content.ends_with('\n'), "{} does not end its last line", kind.id());
        content.lines().for_each(|line| writeln!(text, "    | {line}").unwrap());
    }
    text
}

fn told(role: &str, config: &str, facts: &Facts) -> String {
    let settings = load(&[Fragment::new("pitool.toml", config)]).unwrap().settings;
    let wanted = wanted(&[find(role).unwrap()], &settings, facts).unwrap();
    let mut text = String::new();
    for goal in wanted.desired.goals {
        text.push_str(&line(&goal.resource));
    }
    wanted.proofs.iter().for_each(|(_, proof)| writeln!(text, "{}", proof.id()).unwrap());
    wanted.notes.iter().for_each(|(_, note)| writeln!(text, "note: {note}").unwrap());
    text
}

const PEOPLE: &str = r#"
[common]
packages = ["htop"]
upgrade = "safe"
timezone = "Europe/Berlin"
locale = "en_GB.UTF-8"
hostname = "kitchen-pi.example.org"
swap = "1GiB"
watchdog = true
[common.sysctl]
"net.ipv4.conf.*.rp_filter" = 1
"net.ipv4.conf.eth0/1.forwarding" = 1
[common.users.ada]
sudo = true
comment = "Ada Lovelace"
groups = ["adm"]
authorized_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDhTZ0eb0iNsZ1KIpqQ8LSCDKYFsf/ytYU1jcTqR0ECl ada@laptop"]
"#;

const APPS: &str = r#"
[monitoring.journal]
storage = "volatile"
max_size = "1000000B"
max_age = "36h"
[apps.blog]
user = "blogger"
group = "writers"
home = "/srv/blog"
upstream = false
root = "/srv/blog/current"
log_keep = 3
[apps.shop]
server_name = ["shop.example.org", "*.shop.example.org"]
root = "/opt/shop/current"
docker = true
body_size = "20MiB"
timeout = "5m"
grist_data_dir = "/opt/grist/data"
[apps.shop.env]
LOG_LEVEL = "info"
GREETING = "it's $5"
SECRET_KEY = "mine"
[apps.wiki]
server_name = ["wiki.example.org"]
upstream_port = 8082
websocket = false
"#;

#[test]
fn common_by_default() {
    insta::assert_snapshot!("common_default_trixie_arm64", told("common", "", &machine(13, "arm64")));
    let os = pi(13, "arm64", SwapMechanism::RpiSwap);
    insta::assert_snapshot!("common_default_raspberry_pi_os_trixie", told("common", "", &os));
    let os = pi(12, "armhf", SwapMechanism::DphysSwapfile);
    insta::assert_snapshot!("common_default_raspberry_pi_os_bookworm", told("common", "", &os));
    let boxed = Facts { container: "systemd-nspawn".into(), ..pi(12, "amd64", SwapMechanism::None) };
    insta::assert_snapshot!("common_default_box", told("common", "", &boxed));
}

#[test]
fn common_with_everything() {
    let os = Facts { cloud_init: true, ..pi(13, "arm64", SwapMechanism::RpiSwap) };
    insta::assert_snapshot!("common_full_raspberry_pi_os_trixie", told("common", PEOPLE, &os));
    let os = Facts { time_daemon: "chrony".into(), ..pi(12, "armhf", SwapMechanism::DphysSwapfile) };
    insta::assert_snapshot!("common_full_raspberry_pi_os_bookworm", told("common", PEOPLE, &os));
    let own = Facts { swap: SwapMechanism::Own, ..machine(12, "amd64") };
    insta::assert_snapshot!("common_full_own_swap", told("common", PEOPLE, &own));
}

#[test]
fn no_swap() {
    let none = "[common]\nswap = \"none\"\npackages = []\ntime_sync = false\nmemory_cgroup = false\n";
    for (name, swap) in [
        ("none", SwapMechanism::None),
        ("rpi", SwapMechanism::RpiSwap),
        ("dphys", SwapMechanism::DphysSwapfile),
    ] {
        insta::assert_snapshot!(
            format!("common_no_swap_{name}"),
            told("common", none, &pi(13, "arm64", swap))
        );
    }
}

#[test]
fn monitoring() {
    insta::assert_snapshot!("monitoring_default", told("monitoring", "", &machine(13, "arm64")));
    insta::assert_snapshot!("monitoring_apps", told("monitoring", APPS, &machine(13, "arm64")));
}

#[test]
fn sysstat_is_told_before_it_comes_where_ucf_leaves_nothing_beside() {
    for (release, stage) in [(12, "Configure"), (13, "Prepare")] {
        let text = told("monitoring", "", &machine(release, "arm64"));
        let expected = format!("{stage} line[/etc/default/sysstat ENABLED=]");
        assert!(text.lines().any(|line| line.starts_with(&expected)), "{release}: {text}");
    }
}

#[test]
fn app() {
    insta::assert_snapshot!("app_default", told("app", "", &machine(13, "arm64")));
    insta::assert_snapshot!("app_three", told("app", APPS, &machine(12, "armhf")));
    let off = format!("[app]\nenabled = false\n{APPS}");
    insta::assert_snapshot!("app_without_web_server", told("app", &off, &machine(12, "armhf")));
}

#[test]
fn a_web_server_that_is_there_keeps_its_port() {
    let text = "[ssl]\ndomains = [\"a.example\"]\nchallenge = \"dns-01\"\ndns_hook = [\"/x\"]\n[monitoring.page]\nenabled = true\n";
    let settings = load(&[Fragment::new("pitool.toml", text)]).unwrap().settings;
    let facts = Facts { web_server: "lighttpd".into(), ..machine(13, "arm64") };
    let roles: Vec<_> = pitool_roles::ROLES.iter().collect();
    let names = |facts: &Facts| -> Vec<String> {
        let wanted = wanted(&roles, &settings, facts).unwrap();
        wanted.desired.goals.iter().map(|goal| goal.resource.id().to_string()).collect()
    };
    assert!(names(&machine(13, "arm64")).contains(&"package[nginx]".to_owned()));
    assert!(!names(&facts).iter().any(|name| name.contains("nginx")), "{:?}", names(&facts));
    let notes = wanted(&roles, &settings, &facts).unwrap().notes;
    assert!(notes.iter().any(|(_, note)| note.contains("because lighttpd has port 80")), "{notes:?}");
}

#[test]
fn a_site_of_somebody_elses_goes_on_answering_for_every_name() {
    let config = "[ssl]\ndomains = [\"notes.example.org\"]\n";
    let default_sites = [80, 443].map(|port| (port, "/etc/nginx/sites-enabled/blog".to_owned())).into();
    let facts = Facts { default_sites, ..machine(13, "arm64") };
    assert!(told("app", config, &machine(13, "arm64")).contains("default_server"));
    let told = told("app", config, &facts);
    assert!(!told.contains("default_server"), "{told}");
    assert!(told.contains("sites-enabled/blog answers for every name"), "{told}");
    assert!(!told.contains("the bare address answers"), "{told}");
}

#[test]
fn a_log_driver_of_somebodys_choice_stays() {
    let chosen = |driver: &str| Facts {
        docker_log_driver: driver.to_owned(),
        kernel_modules: true,
        ..machine(13, "arm64")
    };
    let syslog = told("docker", "", &chosen("syslog"));
    assert!(!syslog.contains("json-file") && !syslog.contains("max-size"), "{syslog}");
    assert!(
        syslog.contains("note: /etc/docker/daemon.json names the log driver syslog, which stays"),
        "{syslog}"
    );
    let local = told("docker", "", &chosen("local"));
    assert!(
        !local.contains("json-file") && local.contains("max-size") && !local.contains("note: /etc"),
        "{local}"
    );
    let named = told("docker", "[docker.daemon]\nlog-driver = \"json-file\"\n", &chosen("local"));
    assert!(named.contains("json-file"), "{named}");
}

#[test]
fn sshd_stays_off_where_somebody_turned_it_off() {
    let off = Facts { sshd_off: true, ..machine(13, "arm64") };
    assert!(told("security", "", &machine(13, "arm64")).contains("unit[ssh.service]"));
    let told = told("security", "", &off);
    assert!(!told.contains("unit[ssh.service]") && told.contains("sshd is off and stays off"), "{told}");
}

#[test]
fn a_kernel_without_ipv6_is_not_asked_for_its_sockets() {
    let config = "[apps.notes]\nserver_name = [\"notes.example.org\"]\n[apps.any]\nupstream_port = 8081\n\
                  [ssl]\ndomains = [\"notes.example.org\", \"more.example.org\"]\n";
    for ipv6_disabled in [false, true] {
        let facts = Facts { ipv6_disabled, ..machine(13, "arm64") };
        let told = told("app", config, &facts);
        assert_eq!(told.contains("listen [::]:"), !ipv6_disabled);
        assert_eq!(told.matches("listen 443 ssl").count(), 3);
    }
}

#[test]
fn the_release_and_architecture_change_nothing_else() {
    // Role monitoring has one line for Debian 12, which has a test of its own.
    for (role, releases) in [("monitoring", &[13, 0][..]), ("monitoring", &[12]), ("app", &[12, 13, 0])] {
        let first = told(role, APPS, &machine(releases[0], "amd64"));
        for release in releases {
            for arch in ["amd64", "arm64", "armhf"] {
                assert_eq!(told(role, APPS, &machine(*release, arch)), first, "{role} on {release} {arch}");
            }
        }
    }
    assert_eq!(told("common", PEOPLE, &machine(13, "amd64")), told("common", PEOPLE, &machine(0, "arm64")));
}

#[test]
fn every_role_agrees_with_the_others() {
    let people_and_apps = format!(
        "{PEOPLE}{APPS}\n[common.users.blogger]\nsudo = true\n[docker]\nusers = [\"ada\", \"appuser\"]\n"
    );
    let settings = load(&[Fragment::new("pitool.toml", people_and_apps)]).unwrap().settings;
    let roles: Vec<_> = pitool_roles::ROLES.iter().collect();
    for facts in [machine(12, "amd64"), pi(13, "arm64", SwapMechanism::RpiSwap)] {
        wanted(&roles, &settings, &facts).unwrap();
    }
}

/// A template that is not filled in must still say whose it is.
#[test]
fn every_file_says_who_manages_it() {
    for role in ["common", "monitoring", "app"] {
        let settings = load(&[Fragment::new("pitool.toml", format!("{PEOPLE}{APPS}"))]).unwrap().settings;
        let facts = Facts { cloud_init: true, ..pi(13, "arm64", SwapMechanism::None) };
        for goal in wanted(&[find(role).unwrap()], &settings, &facts).unwrap().desired.goals {
            let mut texts = Vec::new();
            contents(&mut serde_json::to_value(&goal.resource).unwrap(), &mut texts);
            for text in texts {
                let first = text.lines().next().unwrap();
                let id = goal.resource.id();
                let known = first.starts_with(&format!("# Managed by pitool (role {role})."))
                    || first.starts_with("# Made once by pitool (role app)")
                    // A file of one value has no room for a comment.
                    || id.name() == "/etc/timezone";
                assert!(known, "{id}: {first}");
            }
        }
    }
}

#[test]
fn the_roles_settle_on_a_simulated_machine() {
    use pitool_engine::{Ending, Engine, Journal};
    use pitool_sim::{Sim, World};

    for (release, arch) in [(12, "armhf"), (13, "arm64")] {
        let secured = format!("{APPS}[ssl]\ndomains = [\"shop.example.org\", \"pi.test\"]\n");
        for config in ["", APPS, &secured] {
            let sim = Sim::of(World::debian(release, arch));
            let settings = load(&[Fragment::new("pitool.toml", config)]).unwrap().settings;
            let facts = pitool_host::facts::gather(&sim).unwrap();
            let roles: Vec<_> = ["common", "monitoring", "app", "ssl"].into_iter().filter_map(find).collect();
            let desired = wanted(&roles, &settings, &facts).unwrap().desired;
            let engine = Engine::new(&sim, Journal::default(), "pitool apply all", "test");
            let plan = Engine::plan(&desired, false, &Journal::default(), &sim).unwrap();
            let outcome = engine.apply(&desired, false, Some(&plan), &mut |_| {}).unwrap();
            assert_eq!(outcome.settled.ending, Ending::Done, "{:?}", outcome.settled.failures);
            let mut planned: Vec<_> = plan.steps.iter().map(|step| step.id.clone()).collect();
            let mut changed = outcome.settled.changed;
            planned.sort();
            changed.sort();
            assert_eq!(changed, planned, "the plan told the truth");
            let again = Engine::plan(&desired, false, &Journal::default(), &sim).unwrap();
            let again: Vec<_> = again.steps.iter().map(|step| (&step.id, step.change().summary)).collect();
            assert!(again.is_empty(), "{again:?}");
            let (_, back) =
                engine.rollback::<Kind>(None, pitool_engine::Consent::default(), &mut |_| {}).unwrap();
            assert_eq!(back.ending, Ending::Done, "{:?}", back.failures);
        }
    }
}

#[test]
fn keys_go_where_the_account_lives() {
    let person = Person { home: "/srv/ada".into(), group: "users".into() };
    let facts = Facts { people: [("ada".to_owned(), person)].into(), ..machine(13, "arm64") };
    let settings = load(&[Fragment::new("pitool.toml", PEOPLE)]).unwrap().settings;
    let wishes = (find("common").unwrap().wishes)(&settings, &facts);
    let of_ada: Vec<String> =
        wishes.resources.iter().map(|kind| kind.id().to_string()).filter(|id| id.contains(".ssh")).collect();
    assert_eq!(of_ada, ["directory[/srv/ada/.ssh]", "line[/srv/ada/.ssh/authorized_keys]"]);
    let directory = wishes.resources.iter().find(|kind| kind.id().to_string() == of_ada[0]).unwrap();
    assert!(serde_json::to_string(directory).unwrap().contains("\"group\":\"users\""));
}

#[test]
fn backup_by_timer_and_by_cron() {
    let facts = machine(13, "arm64");
    insta::assert_snapshot!("backup_default", told("backup", "", &facts));
    let config = r#"
        [apps.notes]
        grist_data_dir = "/srv/grist"
        [backup]
        directory = "/mnt/usb/pi"
        removable = true
        time = "5 3 13 * fri"
        [backup.sets.photos]
        paths = ["/srv/photos"]
        time = "0 * * * *"
        [backup.ssh.nas]
        host = "nas.local"
        [backup.s3.offsite]
        bucket = "pi-backups"
    "#;
    insta::assert_snapshot!("backup_targets", told("backup", config, &facts));
    insta::assert_snapshot!("backup_cron", told("backup", "[backup]\nschedule = \"cron\"", &facts));
    insta::assert_snapshot!("backup_by_hand", told("backup", "[backup]\nenabled = false", &facts));
}
