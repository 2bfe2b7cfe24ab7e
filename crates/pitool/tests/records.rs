//! What backups and certificates write down about themselves, read by the monitor, which does not know their crates.

use pitool_acme::Store;
use pitool_acme::failure::Failure;
use pitool_acme::issue::placeholder;
use pitool_acme::storage::{About, Source, State};
use pitool_backup::metrics;
use pitool_backup::record::{self, Deed, Record};
use pitool_host::{Access, Host, Inspect};
use pitool_monitor::records::{BACKUP, CERTIFICATES, MANAGED, backups, certificates, settled_units};
use pitool_monitor::setup::Expected;
use pitool_monitor::system::Live;
use pitool_sim::Sim;

#[test]
fn the_paths_are_the_same() {
    assert_eq!((BACKUP, CERTIFICATES), (record::PATH, pitool_acme::storage::ROOT));
}

#[test]
fn the_monitor_reads_what_backups_write() {
    let sim = Sim::debian(13);
    let deed = |time: &str, ok: bool, problems: &[&str]| Deed {
        time: time.parse().unwrap(),
        clock_synchronized: true,
        ok,
        archive: Some("machine-20261121T020000Z.tar.zst".into()),
        seconds: 1.5,
        files: 3,
        bytes: 4096,
        problems: problems.iter().map(|problem| (*problem).to_owned()).collect(),
    };
    let (good, bad) =
        (deed("2026-11-20T02:00:00Z", true, &[]), deed("2026-11-21T02:00:00Z", false, &["a", "b"]));
    let (drilled, differs) =
        (deed("2026-11-01T03:00:00Z", true, &[]), deed("2026-11-15T03:00:00Z", false, &["c"]));
    let mut record = Record { version: 1, ..Record::default() };
    let set = record.set("machine");
    set.since = Some("2026-10-01T00:00:00Z".parse().unwrap());
    (set.run, set.success) = (Some(bad), Some(good));
    (set.drill, set.drill_success) = (Some(differs), Some(drilled));
    record.target("nas").problem = Some("away".into());
    record.target("usb").success = Some("2026-11-20T02:01:00Z".parse().unwrap());
    record.write(&sim).unwrap();
    sim.write(metrics::PATH, metrics::render(&record).as_bytes(), Access::root(0o644)).unwrap();

    let expected = Expected {
        backup_sets: vec!["machine".into()],
        backup_targets: vec!["nas".into(), "usb".into()],
        ..Expected::default()
    };
    let read = backups(&sim, &expected).unwrap().unwrap();
    let set = &read.sets["machine"];
    let time = |time: &str| Some(time.parse().unwrap());
    assert_eq!(set.since, time("2026-10-01T00:00:00Z"));
    assert_eq!(set.last_success, time("2026-11-20T02:00:00Z"));
    assert_eq!((set.last_failure, set.error.as_deref()), (time("2026-11-21T02:00:00Z"), Some("a; b")));
    assert_eq!((set.last_drill, set.drill_error.as_deref()), (time("2026-11-01T03:00:00Z"), Some("c")));
    assert_eq!((read.targets["nas"].as_deref(), read.targets["usb"].as_deref()), (Some("away"), None));
    assert!(read.metrics.contains("pitool_backup_target_ok{target=\"nas\"} 0"), "{}", read.metrics);
}

#[test]
fn the_monitor_reads_what_renewals_write() {
    let sim = Sim::debian(13);
    let (store, name) = (Store::default(), "pi.test");
    let expected = Expected { certificate: Some(name.into()), ..Expected::default() };
    let read = || certificates(&sim, &Live::default(), &expected).unwrap().unwrap()[name].clone();
    assert_eq!(read().valid_until, None, "there is none yet");

    store.prepare(&sim).unwrap();
    let material = placeholder(&sim, &[name.to_owned()]).unwrap();
    let about = |source| About { source, directory: String::new(), profile: None };
    let number = store.write(&sim, name, &material, &about(Source::Placeholder), 0).unwrap();
    store.activate(&sim, name, number).unwrap();
    assert_eq!(read().valid_until, None, "a placeholder does not count");

    let number = store.write(&sim, name, &material, &about(Source::Issued), 0).unwrap();
    let live = store.activate(&sim, name, number).unwrap();
    let failure = Failure { at: sim.now(), what: "the CA is away".into(), advice: None, rehearsal: false };
    let mut state = State::default();
    state.failures.record(failure, None, false);
    store.remember(&sim, name, &state).unwrap();
    let found = read();
    assert_eq!(found.valid_from, Some(live.certificate.not_before));
    assert_eq!(found.valid_until, Some(live.certificate.not_after));
    assert_eq!((found.error.as_deref(), found.served_until), (Some("the CA is away"), None));
}

/// The index that version 0.1.0 left after `apply all`.
#[test]
fn the_monitor_reads_what_runs_write() {
    let sim = Sim::debian(13);
    assert_eq!(settled_units(&sim), None);
    let index = include_str!("../../../tests/upgrade/v0.1.0/var/lib/pitool/managed.json");
    sim.arrange().put_dir("/var/lib/pitool").put(MANAGED, index);
    let units = settled_units(&sim).unwrap();
    assert!(units.contains("cron.service") && units.contains("pitool-monitor.service"), "{units:?}");
    assert!(!units.contains("ssh.service"), "its run settled other roles");
}
