//! The jobs on real files, beside a simulated machine.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use pitool_sim::Sim;

use super::*;
use crate::record::{ArchiveRecord, LOCAL, Record};
use crate::restore::Destination;
use crate::retention::Policy;
use crate::{Depth, Identities};

/// What a job reported, a line for each event.
#[derive(Default)]
struct Heard(RefCell<Vec<String>>);

impl Listener for Heard {
    fn hear(&self, event: Event<'_>) {
        self.0.borrow_mut().push(match event {
            Event::Saved(outcome) => format!("saved {}", outcome.set),
            Event::Verified(checked) => format!("verified {}", checked.archive.set().as_str()),
            Event::Drilled(drilled) => format!("drilled {}", drilled.set),
            Event::Stopped(resting) => format!("stopped {}", crate::quiet::names(resting)),
            Event::Failed { target, .. } => format!("failed at {target}"),
            Event::Deleted { target, archives, .. } => format!("deleted {archives} at {target}"),
            Event::Weak { target, .. } => format!("weak {target}"),
            Event::Woken(_) => "woken".to_owned(),
            Event::Unfinished(_) => "unfinished".to_owned(),
        });
    }

    fn begin(&self, step: Step<'_>) -> Box<dyn Fn(Progress<'_>) + Sync> {
        self.0.borrow_mut().push(match step {
            Step::Saving(set) => format!("saving {set}"),
            Step::Copying(target) => format!("copying to {target}"),
            Step::Fetching(_) => "fetching".to_owned(),
            Step::Verifying(_) => "verifying".to_owned(),
            Step::Restoring(_) => "restoring".to_owned(),
            Step::Drilling(set) => format!("drilling {set}"),
        });
        Box::new(|_| {})
    }

    fn end(&self) {}
}

/// A machine with a set `notes` of two files, archives, and a stick to copy them to.
struct Setting {
    folder: tempfile::TempDir,
    sim: Sim,
    heard: Heard,
    places: Vec<Place>,
    record: Record,
    stop: AtomicBool,
}

impl Setting {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        for directory in ["notes", "archives", "stick"] {
            fs::create_dir(path.join(directory)).unwrap();
        }
        fs::write(path.join("notes/a"), "one").unwrap();
        // Nothing of it can be compressed away, so that most of an archive is its content.
        let mut state: u32 = 1;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        });
        fs::write(path.join("notes/b"), noise.take(100_000).collect::<Vec<u8>>()).unwrap();
        let place = |name: &str, directory: &str| Place {
            name: name.to_owned(),
            sets: Vec::new(),
            append_only: false,
            policy: Policy { daily: 1, weekly: 0, monthly: 0, yearly: 0, minimum: 1 },
            marked: name != LOCAL,
            kind: Kind::Directory { path: path.join(directory), removable: false },
        };
        let places = vec![place(LOCAL, "archives"), place("stick", "stick")];
        let sim = Sim::debian(13);
        sim.arrange().put_dir("/var/lib/pitool/backup");
        Self {
            sim,
            heard: Heard::default(),
            places,
            record: Record::default(),
            stop: AtomicBool::new(false),
            folder,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn set(&self) -> Set {
        let mut content = crate::Set::new("notes".parse().unwrap());
        content.paths = vec![self.path("notes")];
        Set {
            read_by_services: content.paths.clone(),
            content,
            volumes: Vec::new(),
            rest: None,
            units: Vec::new(),
            services: vec!["notes.service".to_owned()],
            before: Vec::new(),
            after: Vec::new(),
            check: Vec::new(),
            command_timeout: Duration::from_secs(60),
        }
    }

    /// Does something with the jobs, and keeps what they recorded.
    fn with<T>(&mut self, work: impl FnOnce(&mut Jobs<'_>) -> T) -> T {
        let (directory, unfinished) = (self.path("archives"), self.path("restoring.json"));
        // Archives are named by the real time.
        let now = Timestamp::now();
        let mut jobs = Jobs {
            host: &self.sim,
            places: &self.places,
            directory: &directory,
            identities: Identities::default(),
            machine: "pi".to_owned(),
            unfinished: &unfinished,
            record: std::mem::take(&mut self.record),
            now: now.to_zoned(TimeZone::UTC),
            synchronized: true,
            interrupted: &self.stop,
            listener: &self.heard,
        };
        let done = work(&mut jobs);
        self.record = jobs.record;
        done
    }

    fn run(&mut self) -> Outcome {
        let set = self.set();
        self.with(|jobs| jobs.run(&[set], false)).unwrap().remove(0)
    }

    fn heard(&self) -> Vec<String> {
        self.heard.0.borrow_mut().drain(..).collect()
    }

    fn at(&self, target: &str) -> &std::collections::BTreeMap<String, ArchiveRecord> {
        &self.record.targets[target].archives
    }

    /// Changes a byte in the middle of the only archive in a directory.
    fn damage(&self, directory: &str) {
        let files = fs::read_dir(self.path(directory)).unwrap();
        let archive = files
            .map(|entry| entry.unwrap().path())
            .find(|path| path.to_str().unwrap().ends_with(".tar.zst"))
            .unwrap();
        let mut bytes = fs::read(&archive).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&archive, bytes).unwrap();
    }

    fn restore(&mut self, unlisted_paths: bool, sets: &[Set]) -> (Result<()>, Vec<PathBuf>) {
        let mut replaced = Vec::new();
        let result = self.with(|jobs| {
            let place = &jobs.places[0];
            let source = jobs.source(place, &["notes".to_owned()], false)?;
            let order = Order {
                source: &source,
                stored: &source.archives[0],
                target: LOCAL,
                destination: &Destination::InPlace,
                only: &[],
                exact: false,
                keep: true,
                unlisted_paths,
                recipients: &[],
            };
            let restored = jobs.restore(&order, sets, |ready| -> Result<()> {
                replaced = ready.replaces();
                Ok(())
            })?;
            assert_eq!(restored.problems, []);
            assert!(restored.safety.is_some());
            Ok(())
        });
        (result, replaced)
    }
}

#[test]
fn a_set_is_saved_verified_copied_and_recorded_in_this_order() {
    let mut setting = Setting::new();
    let outcome = setting.run();
    assert_eq!(outcome.deed.problems, Vec::<String>::new());
    assert_eq!(outcome.deed.files, 2);
    let copied = &outcome.moved[0];
    assert_eq!((copied.target.as_str(), copied.deleted, copied.archives), ("stick", false, 1));
    assert_eq!(setting.heard(), ["saving notes", "verifying", "copying to stick", "saved notes"]);
    let name = outcome.deed.archive.clone().unwrap();
    assert!(setting.at(LOCAL).contains_key(&name) && setting.at("stick").contains_key(&name));
    assert_eq!(setting.record.sets["notes"].success.as_ref(), Some(&outcome.deed));
    // What is recorded is durable, and the figures for the collector are there.
    assert!(setting.sim.world().exists(crate::record::PATH));
    assert!(setting.sim.world().text(crate::metrics::PATH).contains("notes"));
}

#[test]
fn a_target_that_is_away_is_a_problem_of_its_sets_and_nothing_else_waits_for_it() {
    let mut setting = Setting::new();
    setting.places[1].kind =
        Kind::Directory { path: "/pitool-test-stick-that-is-not-there".into(), removable: true };
    let outcome = setting.run();
    assert!(outcome.saved.is_some() && !outcome.deed.ok);
    assert!(outcome.deed.problems[0].starts_with("not copied to stick: "), "{:?}", outcome.deed);
    assert!(setting.record.targets["stick"].problem.is_some());
    assert_eq!(setting.record.sets["notes"].success, None);
    // A set that does not go there has no problem with it.
    setting.places[1].sets = vec!["other".to_owned()];
    assert_eq!(setting.run().deed.problems, Vec::<String>::new());
}

#[test]
fn the_commands_of_a_set_run_around_it_and_hear_how_it_went() {
    let mut setting = Setting::new();
    let mut set = setting.set();
    set.before = vec!["/usr/bin/before".to_owned(), "a b".to_owned()];
    set.after = vec!["/usr/bin/after".to_owned()];
    setting.sim.answer("/usr/bin/after", pitool_host::Output::default());
    // The command before it fails: nothing is saved, and the one after it runs.
    let failed = pitool_host::Output { status: 3, ..pitool_host::Output::default() };
    setting.sim.answer("/usr/bin/before", failed);
    let outcome = setting.with(|jobs| jobs.run(std::slice::from_ref(&set), false)).unwrap().remove(0);
    assert!(outcome.saved.is_none(), "{outcome:?}");
    assert!(outcome.deed.problems[0].starts_with("its command `before` failed"), "{outcome:?}");
    let commands = setting.sim.commands();
    let at = |what: &str| commands.iter().position(|command| command.contains(what));
    assert!(at("/usr/bin/before").unwrap() < at("/usr/bin/after").unwrap(), "{commands:?}");
}

#[test]
fn a_damaged_archive_is_found_and_counts_for_nothing() {
    let mut setting = Setting::new();
    let name = setting.run().deed.archive.unwrap();
    setting.damage("archives");
    setting.heard();
    let checked = setting
        .with(|jobs| jobs.verify(&jobs.places[0], &["notes".to_owned()], false, Depth::Quick))
        .unwrap();
    assert_eq!(checked[0].archive.to_string(), name);
    assert!(!checked[0].found.problems.is_empty());
    assert_eq!(setting.heard(), ["verifying", "verified notes"]);
    assert!(setting.at(LOCAL)[&name].damaged && !setting.at("stick")[&name].damaged);

    let unknown =
        setting.with(|jobs| jobs.verify(&jobs.places[0], &["other".to_owned()], false, Depth::Quick));
    assert!(matches!(unknown, Err(Error::NoArchive { .. })), "{unknown:?}");
    assert!(matches!(named(&setting.places, Some("cloud")), Err(Error::NoTarget { .. })));
}

#[test]
fn a_drill_restores_and_records_what_failed() {
    let mut setting = Setting::new();
    let set = setting.set();
    let nothing = setting.with(|jobs| jobs.drill(std::slice::from_ref(&set))).unwrap().remove(0);
    assert!(nothing.deed.problems[0].contains("there is no archive of it"), "{nothing:?}");
    let name = setting.run().deed.archive.unwrap();
    let drilled = setting.with(|jobs| jobs.drill(std::slice::from_ref(&set))).unwrap().remove(0);
    assert_eq!((drilled.deed.ok, drilled.deed.files), (true, 3), "{drilled:?}");
    assert!(setting.record.sets["notes"].drill_success.is_some());
    setting.damage("archives");
    let drilled = setting.with(|jobs| jobs.drill(&[set])).unwrap().remove(0);
    assert!(!drilled.deed.ok && drilled.damaged.contains(&name), "{drilled:?}");
    assert!(setting.at(LOCAL)[&name].damaged);
    assert!(setting.record.sets["notes"].drill_success.as_ref().is_some_and(|deed| deed.ok));
}

#[test]
fn what_no_rule_wants_is_planned_first_and_deleted_then() {
    let mut setting = Setting::new();
    let first = setting.run().deed.archive.unwrap();
    fs::write(setting.path("notes/a"), "another one").unwrap();
    // The second run of the day deletes the first one's archive, here and on the stick.
    let outcome = setting.run();
    let deleted: Vec<&str> =
        outcome.moved.iter().filter(|one| one.deleted).map(|one| one.target.as_str()).collect();
    assert_eq!(deleted, [LOCAL, "stick"], "{outcome:?}");
    assert!(!setting.at("stick").contains_key(&first));

    fs::write(setting.path("notes/a"), "and another").unwrap();
    setting.places[1].append_only = true;
    setting.places[0].policy.daily = 9;
    setting.run();
    setting.places[0].policy.daily = 1;
    let (plans, all) = setting.with(|jobs| {
        let (reached, plans) = jobs.plan_prune(jobs.places, &["notes"]);
        (plans.len(), jobs.prune(reached, &plans).unwrap())
    });
    assert_eq!((plans, all), (2, true));
    let heard = setting.heard();
    assert_eq!(heard.last().map(String::as_str), Some("deleted 1 at local"), "{heard:?}");
    assert_eq!((setting.at(LOCAL).len(), setting.at("stick").len()), (1, 2));
}

#[test]
fn a_restore_in_place_stops_what_reads_the_files_and_keeps_what_it_replaces() {
    let mut setting = Setting::new();
    setting.sim.arrange().put(
        "/etc/systemd/system/notes.service",
        "[Service]\nExecStart=/usr/bin/notes\n[Install]\nWantedBy=multi-user.target\n",
    );
    let set = setting.set();
    setting.run();
    fs::write(setting.path("notes/a"), "changed").unwrap();
    let (result, replaced) = setting.restore(false, std::slice::from_ref(&set));
    result.unwrap();
    assert_eq!(replaced, [setting.path("notes")]);
    assert_eq!(fs::read_to_string(setting.path("notes/a")).unwrap(), "one");
    assert!(!setting.path("restoring.json").exists(), "a restore that is over is not written down");

    // The set in the config has other paths: whoever wrote the archive may want anything.
    let mut other = set;
    other.content.paths = vec!["/srv/elsewhere".into()];
    fs::write(setting.path("notes/a"), "changed").unwrap();
    let (result, _) = setting.restore(false, &[other.clone()]);
    let Err(Error::Unlisted { set, paths }) = result else { panic!("{result:?}") };
    assert_eq!((set.as_str(), paths), ("notes", vec![setting.path("notes")]));
    assert_eq!(fs::read_to_string(setting.path("notes/a")).unwrap(), "changed");
    setting.restore(true, &[other]).0.unwrap();
    assert_eq!(fs::read_to_string(setting.path("notes/a")).unwrap(), "one");
}

#[test]
fn units_are_stopped_only_for_what_they_read() {
    let setting = Setting::new();
    let mut set = setting.set();
    let stopped = |set: &Set, paths: &[&str]| {
        let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
        restore::units(std::slice::from_ref(set), &paths)
    };
    set.read_by_services = vec!["/etc/nginx".into()];
    assert_eq!(stopped(&set, &["/etc/nginx/sites-enabled/a"]), ["notes.service"]);
    assert_eq!(stopped(&set, &["/etc"]), ["notes.service"]);
    assert_eq!(stopped(&set, &["/etc/nginx-other", "/srv"]), Vec::<String>::new());
}

#[test]
fn the_lock_waits_for_as_long_as_it_may() {
    let sim = Sim::debian(13);
    let holder = |command: &str| pitool_host::LockHolder {
        pid: 7,
        since: "2026-05-01T12:00:00Z".to_owned(),
        command: command.to_owned(),
    };
    sim.hold_lock("/run/pitool/backup.lock", holder("pitool backup run"));
    let waited = RefCell::new(0);
    let wait = |held: &pitool_host::LockHolder| {
        assert_eq!(held.command, "pitool backup run");
        *waited.borrow_mut() += 1;
    };
    let held = lock(&sim, &holder("pitool backup prune"), Patience::None, &wait).unwrap();
    assert_eq!(held.err().map(|held| held.pid), Some(7));
    assert_eq!(*waited.borrow(), 0);
    let held = lock(&sim, &holder("pitool backup prune"), Patience::Night, &wait).unwrap();
    assert!(held.is_err(), "nobody let it go for twelve hours");
    assert_eq!(*waited.borrow(), 1, "it is said once");
}

#[test]
fn what_an_earlier_job_left_is_reported() {
    let heard = Heard::default();
    let folder = tempfile::tempdir().unwrap();
    let sim = Sim::debian(13);
    sim.arrange().put_dir("/var/lib/pitool/backup");
    let path = folder.path().join("restoring.json");
    assert_eq!(wake(&sim, &path, &heard).unwrap(), 0);
    assert_eq!(heard.0.borrow().len(), 0);
    let text = r#"{"archive":"notes-20260501T120000Z-000001","paths":["/srv/notes"],"since":"2026-05-01T12:00:00Z"}"#;
    fs::write(&path, text).unwrap();
    wake(&sim, Path::new(&path), &heard).unwrap();
    assert_eq!(*heard.0.borrow(), ["unfinished"]);
}
