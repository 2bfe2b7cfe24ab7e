//! Every check on machines made up: four Pis, and what can go wrong on them.

use std::time::Duration;

use pitool_host::Inspect;
use pitool_host::http::Answer;
use pitool_host::local::Local;

use crate::check::judge;
use crate::finding::{Finding, Level, Report};
use crate::kernel::pi::Throttled;
use crate::records::Certificate;
use crate::sample::{Drift, Known, Sample, Updates};
use crate::setup::Setup;
use crate::system::{ClockState, System, Usage};
use crate::units::Unit;

/// A machine whose kernel and services say what the test wants.
#[derive(Clone)]
pub(crate) struct Made {
    pub(crate) usage: Result<Usage, String>,
    pub(crate) throttled: Result<Option<Throttled>, String>,
    pub(crate) docker: Result<Option<Answer>, String>,
    pub(crate) clock: Result<ClockState, String>,
    pub(crate) site: Result<Answer, String>,
    pub(crate) app: Result<Answer, String>,
    pub(crate) served: Result<jiff::Timestamp, String>,
}

const GIB: u64 = 1 << 30;

impl Default for Made {
    fn default() -> Self {
        let healthy = Answer { status: 200, body: b"healthy\n".to_vec() };
        Self {
            usage: Ok(Usage {
                size: 32 * GIB,
                free: 20 * GIB,
                available: 19 * GIB,
                files: 1000,
                files_free: 900,
            }),
            throttled: Ok(Some(Throttled(0))),
            docker: Ok(Some(Answer { status: 200, body: b"[]".to_vec() })),
            clock: Ok(ClockState { synchronized: true, offset: 0.001, max_error: 0.01 }),
            site: Ok(healthy.clone()),
            app: Ok(healthy),
            served: Err("port 443: Connection refused".into()),
        }
    }
}

impl System for Made {
    fn usage(&self, _point: &str) -> Result<Usage, String> {
        self.usage.clone()
    }
    fn clock(&self) -> Result<ClockState, String> {
        self.clock.clone()
    }
    fn throttled(&self) -> Result<Option<Throttled>, String> {
        self.throttled.clone()
    }
    fn docker(&self, _path: &str) -> Result<Option<Answer>, String> {
        self.docker.clone()
    }
    fn http(&self, port: u16, _host: &str, _path: &str) -> Result<Answer, String> {
        if port == 80 { self.site.clone() } else { self.app.clone() }
    }
    fn served(&self, _name: &str) -> Result<jiff::Timestamp, String> {
        self.served.clone()
    }
    fn monotonic(&self) -> Duration {
        Duration::from_secs(100)
    }
}

pub(crate) fn fixture(name: &str) -> Local {
    // Cargo runs tests in the folder of their crate.
    let root = std::path::absolute(format!("testdata/{name}")).unwrap();
    Local::new(root.to_str().unwrap()).unwrap()
}

/// What a config that says nothing wants watched, as the role monitoring writes it, with some values of its own.
pub(crate) fn setup(own: &str) -> Setup {
    fn put(into: &mut toml::Table, own: toml::Table) {
        for (key, value) in own {
            match (into.get_mut(&key), value) {
                (Some(toml::Value::Table(there)), toml::Value::Table(own)) => put(there, own),
                (_, value) => drop(into.insert(key, value)),
            }
        }
    }
    let mut all: toml::Table = include_str!("../../testdata/monitor.toml").parse().unwrap();
    put(&mut all, own.parse().unwrap());
    Setup::from_toml(&all.to_string()).unwrap()
}

/// Units as on a machine where all is well.
fn units(setup: &Setup) -> Vec<Unit> {
    let unit = |name: &String| Unit {
        unit: name.clone(),
        load: "loaded".into(),
        active: "active".into(),
        sub: "running".into(),
        description: String::new(),
    };
    setup.expected.units.iter().map(unit).collect()
}

pub(crate) fn sample(host: &dyn Inspect, made: &Made, setup: &Setup) -> Sample {
    let known = Known {
        interrupted: Some(Ok(None)),
        drift: Some(Ok(None)),
        updates: Some(Ok(Updates { pending: 2, security: 0 })),
    };
    let mut sample = Sample::take(host, made, setup, known);
    sample.units = Ok(units(setup));
    sample
}

fn report(machine: &str, made: &Made, config: &str) -> Report {
    let setup = setup(config);
    let mut sample = sample(&fixture(machine), made, &setup);
    sample.backups = Ok(None);
    let mut before = sample.clone();
    if let Ok(times) = &mut before.cpu {
        times.idle -= 100.0;
    }
    judge(&sample, Some(&before), &setup)
}

fn of<'r>(report: &'r Report, id: &str) -> &'r Finding {
    let found = report.findings.iter().find(|finding| finding.id() == id);
    found.unwrap_or_else(|| panic!("no {id} in {:#?}", report.findings))
}

#[test]
fn a_pi_that_is_well() {
    for machine in ["pi4", "pi5"] {
        let report = report(machine, &Made::default(), "");
        let bad: Vec<_> = report.findings.iter().filter(|finding| finding.level != Level::Ok).collect();
        assert!(bad.is_empty(), "{machine}: {bad:#?}");
        assert!(of(&report, "temperature").value.ends_with("°C"));
        let absent: Vec<&str> = report.absent.iter().map(|absent| absent.check.as_str()).collect();
        assert_eq!(absent, ["card", "container", "app", "certificate", "backup", "drill"]);
    }
}

#[test]
fn too_little_voltage_on_a_pi_3() {
    let made = Made { throttled: Ok(Some(Throttled(0x5_0005))), ..Made::default() };
    let found = report("pi3", &made, "");
    let power = of(&found, "power");
    assert_eq!((power.level, power.value.as_str()), (Level::Fail, "now: under-voltage, throttled"));
    assert!(power.hint.contains("power supply"));
    // The firmware does not answer, and the voltage chip does.
    let made = Made { throttled: Err("/dev/vcio: denied".into()), ..Made::default() };
    assert_eq!(of(&report("pi3", &made, ""), "power").level, Level::Fail);
    // Neither says that all is well, so it is not known.
    assert_eq!(of(&report("pi4", &made, ""), "power").level, Level::Unknown);
    let past = Made { throttled: Ok(Some(Throttled(0x8_0000))), ..Made::default() };
    assert_eq!(of(&report("pi4", &past, ""), "power").level, Level::Warn);
}

#[test]
fn a_worn_compute_module_whose_file_system_stopped() {
    let report = report("cm4", &Made::default(), "");
    assert_eq!(of(&report, "filesystem[/]").value, "it stopped itself after an error");
    assert_eq!(of(&report, "filesystem[/]").level, Level::Fail);
    let card = of(&report, "card[mmcblk0]");
    assert_eq!((card.level, card.value.as_str()), (Level::Warn, "about 90 % of its life is used"));
    assert!(report.absent.iter().any(|absent| absent.check == "swap"));
}

#[test]
fn disks_fill_up() {
    let usage = |available| Usage { size: 100 * GIB, free: available, available, files: 100, files_free: 3 };
    for (available, level) in [(20, Level::Ok), (10, Level::Warn), (4, Level::Fail)] {
        let made = Made { usage: Ok(usage(available * GIB)), ..Made::default() };
        let report = report("pi4", &made, "");
        assert_eq!(of(&report, "disk[/]").level, level, "{available} GiB left");
        assert_eq!(of(&report, "inodes[/]").level, Level::Fail);
    }
    let made = Made { usage: Err("Input/output error".into()), ..Made::default() };
    assert_eq!(of(&report("pi4", &made, ""), "disk[/]").level, Level::Unknown);
    let own = "limits.disk_warn = 50";
    let made = Made { usage: Ok(usage(40 * GIB)), ..Made::default() };
    assert_eq!(of(&report("pi4", &made, own), "disk[/]").level, Level::Warn);
}

#[test]
fn containers_in_every_state() {
    let one = |name: &str, state: &str, status: &str| {
        format!(r#"{{"Id":"ab12","Names":["/{name}"],"Image":"x","State":"{state}","Status":"{status}"}}"#)
    };
    let body = format!(
        "[{},{},{},{},{},{}]",
        one("well", "running", "Up 2 hours (healthy)"),
        one("ill", "running", "Up 2 hours (unhealthy)"),
        one("loop", "restarting", "Restarting (1) 3 seconds ago"),
        one("ended", "exited", "Exited (137) 2 days ago"),
        one("done", "exited", "Exited (0) 2 days ago"),
        one("still", "paused", "Up 2 hours (Paused)"),
    );
    let made = Made { docker: Ok(Some(Answer { status: 200, body: body.into_bytes() })), ..Made::default() };
    let found = report("pi4", &made, "");
    let levels: Vec<Level> = ["well", "ill", "loop", "ended", "done", "still"]
        .map(|name| of(&found, &format!("container[{name}]")).level)
        .into();
    assert_eq!(levels, [Level::Ok, Level::Fail, Level::Fail, Level::Warn, Level::Ok, Level::Warn]);
    assert_eq!(of(&found, "memory-limit").level, Level::Ok);
    assert_eq!(of(&report("pi3", &made, ""), "memory-limit").level, Level::Warn);
    let dead = Made { docker: Err("/run/docker.sock: Connection refused".into()), ..Made::default() };
    assert_eq!(of(&report("pi4", &dead, ""), "docker").level, Level::Fail);
    let denied = Made { docker: Err("/run/docker.sock: Permission denied".into()), ..Made::default() };
    assert_eq!(of(&report("pi4", &denied, ""), "docker").level, Level::Unknown);
    let odd = Made { docker: Ok(Some(Answer { status: 200, body: b"<html>".to_vec() })), ..Made::default() };
    assert_eq!(of(&report("pi4", &odd, ""), "docker").level, Level::Fail);
}

#[test]
fn units_that_do_not_run() {
    let setup = setup("");
    let mut sample = sample(&fixture("pi4"), &Made::default(), &setup);
    let Ok(units) = &mut sample.units else { panic!("made above") };
    let states = [("nginx.service", "inactive", "dead"), ("docker.service", "activating", "auto-restart")];
    for unit in units.iter_mut() {
        if let Some((_, active, sub)) = states.iter().find(|(name, ..)| *name == unit.unit) {
            (unit.active, unit.sub) = ((*active).to_owned(), (*sub).to_owned());
        }
    }
    units.retain(|unit| unit.unit != "fail2ban.service" && unit.unit != "cron.service");
    units.push(Unit {
        unit: "mnt.mount".into(),
        load: "loaded".into(),
        active: "failed".into(),
        ..Unit::default()
    });
    sample.unit_files = vec!["fail2ban.service".into()];
    let report = judge(&sample, None, &setup);
    assert_eq!(of(&report, "service[nginx]").value, "stopped");
    assert_eq!(of(&report, "service[docker]").value, "it ends and is started again and again");
    assert_eq!(of(&report, "service[fail2ban]").level, Level::Fail);
    assert!(report.absent.iter().any(|absent| absent.why.starts_with("cron.service is not installed")));
    assert_eq!(of(&report, "units").value, "failed: mnt.mount");

    // A role that was never applied has nothing to be missed.
    sample.unsettled = vec!["nginx.service".into()];
    let fresh = judge(&sample, None, &setup);
    assert!(fresh.absent.iter().any(|absent| absent.why.starts_with("no run has started nginx.service")));
    assert!(fresh.findings.iter().all(|finding| finding.id() != "service[nginx]"));
    assert_eq!(of(&report, "web").needs.as_deref(), Some("service[nginx]"));
    assert_eq!(of(&report, "cpu").level, Level::Unknown, "one look is no rate");
}

#[test]
fn a_busy_moment_is_no_problem_and_a_busy_minute_is() {
    let setup = setup("");
    let mut sample = sample(&fixture("pi4"), &Made::default(), &setup);
    let mut before = sample.clone();
    if let Ok(times) = &mut before.cpu {
        times.user -= 100.0;
    }
    for (load, level) in [(0.4, Level::Ok), (3.9, Level::Warn)] {
        sample.load = Ok([load, 0.0, 0.0]);
        let cpu = of(&judge(&sample, Some(&before), &setup), "cpu").clone();
        assert_eq!((cpu.level, cpu.number), (level, Some(100.0)), "{cpu:?}");
    }
}

#[test]
fn ports_against_the_policy() {
    let open = report("pi4", &Made::default(), "");
    assert!(of(&open, "ports").value.contains("22/tcp") && of(&open, "ports").level == Level::Ok);
    assert!(of(&open, "ports").value.contains("kept from outside by the firewall: 5353"));
    let expected = setup("");
    let mut keeping = sample(&fixture("pi4"), &Made::default(), &expected);
    keeping.kept = vec![(5353, true)];
    let report_of = judge(&keeping, None, &expected);
    let kept = &of(&report_of, "ports").value;
    assert!(
        kept.contains("open until the config names them: 5353/udp")
            && !kept.contains("outside by the firewall: 5353"),
        "{kept}"
    );
    let without = report("pi4", &Made::default(), "expected.firewall = false");
    let ports = of(&without, "ports");
    assert!(
        ports.level == Level::Warn && ports.value.contains("udp") && !ports.value.contains("9101"),
        "{ports:?}"
    );
}

#[test]
fn sites_and_the_programs_behind_them() {
    let app = "[[expected.apps]]\nname = \"notes\"\nhost = \"notes.example.org\"\nupstream = 5000\n";
    assert_eq!(of(&report("pi4", &Made::default(), app), "app[notes]").level, Level::Ok);
    let gone = Made { app: Err("port 8080: Connection refused".into()), ..Made::default() };
    assert_eq!(of(&report("pi4", &gone, app), "app[notes]").level, Level::Fail);
    let broken = Made { app: Ok(Answer { status: 502, body: vec![] }), ..Made::default() };
    assert_eq!(of(&report("pi4", &broken, app), "app[notes]").level, Level::Fail);
    let own = Made { app: Ok(Answer { status: 404, body: vec![] }), ..Made::default() };
    assert_eq!(of(&report("pi4", &own, app), "app[notes]").level, Level::Ok, "it need not know /health");
    let moved = Made { site: Ok(Answer { status: 301, body: vec![] }), ..Made::default() };
    assert_eq!(of(&report("pi4", &moved, app), "web").level, Level::Ok);
    let down = Made { site: Err("port 80: Connection refused".into()), ..Made::default() };
    let found = report("pi4", &down, app);
    assert_eq!((of(&found, "web").level, of(&found, "app[notes]").level), (Level::Fail, Level::Fail));
}

fn at(time: &str) -> Option<jiff::Timestamp> {
    Some(time.parse().unwrap())
}

const METRICS: &str = "pitool_backup_last_success_timestamp_seconds{set=\"good\"} 1795226400\n";

#[test]
fn backups_as_their_record_has_them() {
    let setup = setup(
        "[expected]\nbackup_sets = [\"good\", \"tried\", \"old\", \"never\", \"new\", \"unknown\"]\n\
         backup_targets = [\"usb\", \"nas\"]\n",
    );
    let take = |record: &str| {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("var/lib/pitool/backup");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("record.json"), record).unwrap();
        std::fs::write(dir.join("metrics.prom"), METRICS).unwrap();
        let mut sample =
            sample(&Local::new(root.path().to_str().unwrap()).unwrap(), &Made::default(), &setup);
        sample.taken = "2026-11-21T12:00:00Z".parse().unwrap();
        (judge(&sample, None, &setup), sample)
    };
    let deed = |time: &str, problem: &str| {
        let problems = if problem.is_empty() { String::new() } else { format!("\"{problem}\"") };
        format!(
            r#"{{"time":"{time}","clock_synchronized":true,"ok":{},"seconds":1.5,"problems":[{problems}]}}"#,
            problem.is_empty()
        )
    };
    let (today, drilled) = (deed("2026-11-21T02:00:00Z", ""), deed("2026-11-01T02:00:00Z", ""));
    let (report, sample) = take(&format!(
        r#"{{"version":1,"sets":{{
            "good":{{"since":"2026-01-01T00:00:00Z","run":{today},"success":{today},"drill":{drilled},"drill_success":{drilled}}},
            "tried":{{"since":"2026-01-01T00:00:00Z","run":{},"success":{today},"drill":{}}},
            "old":{{"success":{},"drill_success":{}}},
            "by_hand":{{"success":{}}},
            "new":{{"since":"2026-11-21T10:00:00Z"}},
            "never":{{"since":"2026-01-01T00:00:00Z"}}}},
          "targets":{{"usb":{{"problem":"no disk is mounted at /mnt/usb"}},"gone":{{"problem":"x"}}}}}}"#,
        deed("2026-11-21T03:00:00Z", "no space"),
        deed("2026-11-21T04:00:00Z", "two files differ"),
        deed("2026-11-01T02:00:00Z", ""),
        deed("2025-11-01T02:00:00Z", ""),
        deed("2025-11-01T02:00:00Z", ""),
    ));
    let level = |id: &str| of(&report, id).level;
    assert_eq!((level("backup[good]"), level("drill[good]")), (Level::Ok, Level::Ok));
    assert_eq!((level("backup[tried]"), level("drill[tried]")), (Level::Warn, Level::Fail));
    assert_eq!((level("backup[old]"), level("backup[never]")), (Level::Fail, Level::Fail));
    assert_eq!((level("drill[old]"), level("drill[never]")), (Level::Warn, Level::Warn));
    assert_eq!((level("backup[new]"), level("drill[new]")), (Level::Ok, Level::Ok), "before its first night");
    assert_eq!(level("backup[unknown]"), Level::Warn);
    assert_eq!((level("backup[to usb]"), level("backup[to nas]")), (Level::Warn, Level::Ok));
    assert_eq!(of(&report, "backup[tried]").hint, "no space");
    assert_eq!(of(&report, "drill[tried]").hint, "two files differ");
    assert!(!report.findings.iter().any(|one| ["by_hand", "machine", "to gone"].contains(&&*one.subject)));
    assert_eq!(sample.backups.unwrap().unwrap().metrics, METRICS);
    assert_eq!(of(&take("{").0, "backup").level, Level::Unknown);
    assert_eq!(of(&take("{\"version\":2}").0, "backup").level, Level::Unknown, "of a later pitool");
}

#[test]
fn certificates_as_stored_and_as_served() {
    let setup = setup("expected.certificate = \"a.example\"");
    let judged = |certificate: Certificate| {
        let mut sample = sample(&fixture("pi4"), &Made::default(), &setup);
        sample.taken = "2026-11-21T12:00:00Z".parse().unwrap();
        sample.certificates = Ok(Some([("a.example".to_owned(), certificate)].into()));
        of(&judge(&sample, None, &setup), "certificate[a.example]").clone()
    };
    let good = Certificate {
        valid_from: at("2026-11-03T00:00:00Z"),
        valid_until: at("2027-02-01T00:00:00Z"),
        served_until: at("2027-02-01T00:00:00Z"),
        ..Certificate::default()
    };
    assert_eq!(judged(good.clone()).level, Level::Ok);
    let young = Certificate {
        valid_from: at("2026-11-20T00:00:00Z"),
        valid_until: at("2026-11-26T00:00:00Z"),
        served_until: at("2026-11-26T00:00:00Z"),
        ..Certificate::default()
    };
    assert_eq!(judged(young).level, Level::Ok, "six days are its whole life");
    let late = Certificate {
        valid_from: at("2026-09-02T00:00:00Z"),
        valid_until: at("2026-12-01T00:00:00Z"),
        served_until: at("2026-12-01T00:00:00Z"),
        error: Some("429".into()),
        ..Certificate::default()
    };
    assert_eq!(
        (judged(late.clone()).level, &*judged(late).hint),
        (Level::Warn, "the last renewal failed: 429")
    );
    let old = Certificate { served_until: at("2026-11-25T00:00:00Z"), ..good.clone() };
    assert_eq!(judged(old.clone()).level, Level::Fail);
    assert!(judged(old).value.contains("hands out the old one"));
    let silent = Certificate { served_until: None, served_error: Some("refused".into()), ..good.clone() };
    assert_eq!(
        (judged(silent.clone()).level, &*judged(silent).value),
        (Level::Fail, "nobody hands it out: refused")
    );
    let stored = Certificate { served_until: None, ..good };
    assert!(judged(stored.clone()).level == Level::Ok && judged(stored).value.starts_with("on disk: holds"));
    assert_eq!(judged(Certificate::default()).level, Level::Fail);
}

#[test]
fn a_certificate_that_was_never_asked_for() {
    let found = report("pi4", &Made::default(), "expected.certificate = \"a.example\"");
    assert_eq!(of(&found, "certificate[a.example]").value, "there is none yet");
    assert!(!report("pi4", &Made::default(), "").findings.iter().any(|one| one.check == "certificate"));
}

#[test]
fn the_care_of_it() {
    let setup = setup("expected.automatic_updates = false");
    let mut sample = sample(&fixture("pi4"), &Made::default(), &setup);
    sample.known.updates = Some(Ok(Updates { pending: 3, security: 1 }));
    sample.reboot = Some("for linux-image".into());
    let since = sample.taken;
    sample.known.drift = Some(Ok(Some(Drift { changes: 2, since })));
    let report = judge(&sample, None, &setup);
    assert_eq!(of(&report, "updates").level, Level::Warn, "nobody installs them");
    assert_eq!(of(&report, "reboot").value, "pending: for linux-image");
    assert_eq!(of(&report, "config").value, "2 things differ from it");
    sample.known.interrupted = Some(Ok(Some("run 4".into())));
    let report = judge(&sample, None, &setup);
    assert_eq!(
        (of(&report, "config").level, of(&report, "config").value.as_str()),
        (Level::Fail, "run 4 was cut off")
    );
    sample.known.interrupted = Some(Err("denied".into()));
    assert_eq!(of(&judge(&sample, None, &setup), "config").level, Level::Unknown);
}

#[test]
fn a_clock_that_nobody_keeps() {
    let made = Made { clock: Ok(ClockState::default()), ..Made::default() };
    assert_eq!(of(&report("pi4", &made, ""), "clock").level, Level::Warn);
    let far = Made {
        clock: Ok(ClockState { synchronized: true, offset: -3.0, max_error: 4.0 }),
        ..Made::default()
    };
    assert_eq!(of(&report("pi4", &far, ""), "clock").level, Level::Warn);
}

#[test]
fn nothing_that_is_gone_is_ok() {
    let root = tempfile::tempdir().unwrap();
    let host = Local::new(root.path().to_str().unwrap()).unwrap();
    let made = Made {
        usage: Err("x".into()),
        throttled: Err("x".into()),
        docker: Err("denied".into()),
        clock: Err("x".into()),
        site: Err("x".into()),
        app: Err("x".into()),
        served: Err("x".into()),
    };
    let setup = setup("");
    let sample = Sample::take(&host, &made, &setup, Known::default());
    let report = judge(&sample, None, &setup);
    let ok: Vec<String> = report.findings.iter().filter(|f| f.level == Level::Ok).map(Finding::id).collect();
    // No file asks for a reboot, and that is all that an empty disk can say.
    assert_eq!(ok, ["reboot"]);
}

#[test]
fn the_setup_survives_its_file() {
    let setup = setup(
        "[alerts.ntfy]\nurl = \"https://ntfy.sh/x\"\n[alerts.checks.disk]\nwait = \"15m\"\n[[expected.apps]]\nname = \"notes\"\nhost = \"\"\n",
    );
    assert_eq!(Setup::from_toml(&setup.to_toml().unwrap()).unwrap(), setup);
}

#[test]
fn the_config_knows_every_check() {
    let found = report(
        "pi4",
        &Made::default(),
        "[[expected.apps]]\nname = \"notes\"\nhost = \"x.org\"\nupstream = 5000\n",
    );
    let mut names: Vec<&str> = found.findings.iter().map(|finding| finding.check.as_str()).collect();
    names.extend(found.absent.iter().map(|absent| absent.check.as_str()));
    names.push("memory-limit");
    names.sort_unstable();
    names.dedup();
    let mut known = pitool_config::CHECKS.to_vec();
    known.sort_unstable();
    assert_eq!(names, known);
}
