//! Killing runs at random moments. `PITOOL_BACKUP_KILLS` says how often (20; 200 before a release).

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pitool_backup::Depth;
use pitool_backup::restore::{Destination, Restore, Unfinished, restore};

use crate::place::{Place, Random, assert_same, tree, whys};

const CHILD: &str = "PITOOL_BACKUP_CHILD";
const RESTORING: &str = "PITOOL_BACKUP_RESTORING";

/// The run that is killed: this very program, called again by the test below.
#[test]
fn a_run_in_a_process_of_its_own() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    let mut place = Place::new();
    let folder = std::path::PathBuf::from(folder);
    place.set.paths = vec![folder.join("source")];
    let job = pitool_backup::save::Job {
        set: &place.set,
        store: &pitool_backup::Store::new(folder.join("store")),
        scratch: &folder.join("scratch"),
        identities: &place.identities,
        host: "pi",
        after: 0,
        interrupted: &std::sync::atomic::AtomicBool::new(false),
    };
    pitool_backup::save(&job, &|_| {}).unwrap();
}

#[test]
fn a_run_that_is_killed_leaves_what_was_there_and_nothing_half() {
    let kills: u64 = std::env::var("PITOOL_BACKUP_KILLS").map_or(20, |text| text.parse().unwrap());
    let place = Place::new();
    let mut random = Random(5);
    for file in 0..400 {
        place.write(&format!("d{}/f{file}", file % 7), random.bytes(20_000));
    }
    place.write("large", random.bytes(20_000_000));
    let database = rusqlite::Connection::open(place.source("data.db")).unwrap();
    database.execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (randomblob(3000000))").unwrap();
    let child = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "killed::a_run_in_a_process_of_its_own"]).env(CHILD, place.folder.path());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    // How long a run takes here, so that the kills fall all over it.
    let begun = Instant::now();
    assert!(child().status().unwrap().success());
    let mut whole = begun.elapsed() + Duration::from_millis(20);
    let (mut tries, mut killed) = (0, 0);
    while killed < kills {
        tries += 1;
        assert!(tries <= 10 * kills, "{killed} of {tries} were killed: the kills come too late");
        // Something to do each time: now a little, now much.
        place.write(&format!("d1/f{}", random.below(400)), random.bytes(30_000));
        if tries % 5 == 0 {
            place.write("large", random.bytes(20_000_000));
        }
        let before = place.store().list().unwrap();
        let mut running = child().spawn().unwrap();
        std::thread::sleep(Duration::from_nanos(random.below(whole.as_nanos() as u64)));
        running.kill().unwrap();
        if running.wait().unwrap().success() {
            // The first one had less of the machine to itself.
            whole = whole * 9 / 10;
        } else {
            killed += 1;
        }
        let after = place.store().list().unwrap();
        assert_eq!(after[..before.len()], before[..], "what was there is there");
        let verified = place.verify(Depth::Full);
        assert_eq!(whys(&verified.problems), [""; 0], "what exists is whole");
        // Old ones make no difference to the next kill.
        for old in &after[..after.len().saturating_sub(2)] {
            place.store().remove(&old.name).unwrap();
        }
    }
    place.save();
    assert_eq!(place.leftovers(), [""; 0].map(std::path::PathBuf::from), "the next run cleans up");
    let (out, restored) = place.restore("out");
    assert_eq!(whys(&restored.problems), [""; 0]);
    assert_eq!(fs::read(out.join("large")).unwrap(), fs::read(place.source("large")).unwrap());
}

/// The restore that is killed: this very program, called again by the test below.
#[test]
fn a_restore_in_a_process_of_its_own() {
    let Some(folder) = std::env::var_os(RESTORING) else { return };
    let folder = std::path::PathBuf::from(folder);
    let store = pitool_backup::Store::new(folder.join("store"));
    let archives = store.list().unwrap();
    let (identities, never) =
        (pitool_backup::Identities::default(), std::sync::atomic::AtomicBool::new(false));
    let job = Restore {
        journal: Some(&folder.join("state/restoring.json")),
        ..Restore::new(&store, &archives[0], &identities, &Destination::InPlace, &never)
    };
    restore(&job, &|_| {}).unwrap();
}

#[test]
fn a_restore_that_is_killed_is_told_and_is_done_again() {
    let kills: u64 = std::env::var("PITOOL_BACKUP_KILLS").map_or(20, |text| text.parse().unwrap());
    let place = Place::new();
    let mut random = Random(6);
    let names: Vec<String> = (0..600).map(|file| format!("d{}/f{file}", file % 9)).collect();
    let fill = |random: &mut Random| {
        for name in &names {
            place.write(name, random.bytes(9_000));
        }
        place.write("large", random.bytes(9_000_000));
    };
    fill(&mut random);
    place.save();
    let (saved, _) = place.restore("saved");
    let journal = place.path("state/restoring.json");
    let child = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "killed::a_restore_in_a_process_of_its_own"]);
        command.env(RESTORING, place.folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let begun = Instant::now();
    assert!(child().status().unwrap().success());
    let whole = begun.elapsed();
    let mut told = 0;
    for _ in 0..kills / 2 {
        fill(&mut random);
        let before = tree(&place.path("source"));
        let mut running = child().spawn().unwrap();
        std::thread::sleep(Duration::from_nanos(random.below(whole.as_nanos() as u64)));
        running.kill().unwrap();
        running.wait().unwrap();
        let unfinished = Unfinished::read(&journal).unwrap();
        if let Some(unfinished) = &unfinished {
            told += 1;
            assert_eq!(unfinished.archive, place.newest().name);
            assert_eq!(unfinished.paths, [place.path("source")]);
        }
        // What is not told is as it was, or as it was saved.
        if unfinished.is_none() && tree(&place.path("source")) != before {
            assert_same(&place.path("source"), &saved);
        }
        // And no file is half one and half the other.
        for name in names.iter().map(String::as_str).chain(["large"]) {
            let now = fs::read(place.source(name)).unwrap();
            assert!(now.len() == 9_000 || now.len() == 9_000_000, "{name}: {}", now.len());
        }
        let restored = place.restore_to(&Destination::InPlace, &[], false).unwrap();
        assert_eq!(whys(&restored.problems), [""; 0]);
        assert_eq!(Unfinished::read(&journal).unwrap(), None);
        assert_same(&place.path("source"), &saved);
        // One of them is as large as the tree.
        let safety = pitool_backup::Store::new(place.path("safety"));
        safety.remove(&restored.safety.unwrap()).unwrap();
    }
    assert!(told > 0, "no kill came in the middle");
}

#[test]
fn a_part_of_what_was_cut_off_does_not_make_it_whole() {
    let place = Place::new();
    place.write("a", "saved");
    place.write("b", "saved");
    place.save();
    let journal = place.path("state/restoring.json");
    let text = serde_json::json!({ "archive": place.newest().name, "paths": [place.path("source")],
        "since": "2026-11-21T00:00:00Z" });
    fs::write(&journal, text.to_string()).unwrap();
    let only = [pitool_backup::StoredPath::of(&place.source("a")).unwrap()];
    place.restore_to(&Destination::InPlace, &only, false).unwrap();
    assert!(Unfinished::read(&journal).unwrap().is_some());
    place.write(".pitool-restore-12-3", "half");
    place.restore_to(&Destination::InPlace, &[], false).unwrap();
    assert!(Unfinished::read(&journal).unwrap().is_none() && !place.source(".pitool-restore-12-3").exists());
}
