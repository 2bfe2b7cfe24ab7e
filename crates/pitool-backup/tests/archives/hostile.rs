//! Somebody else's directories, while root saves them: links, pipes and databases that change places.
//! `PITOOL_RACE_ROUNDS` says how many runs each race goes on for (20).

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use pitool_backup::manifest::What;
use rusqlite::Connection;
use rustix::fs::{CWD, Mode, RenameFlags, mkfifoat, renameat_with};

use crate::place::{Place, Stop, stock_unpack, whys};

const OWNER: u32 = 1234;

#[expect(clippy::print_stdout, reason = "a test says why it did nothing")]
fn as_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: not root");
    }
    root
}

fn rounds() -> u64 {
    std::env::var("PITOOL_RACE_ROUNDS").map_or(20, |text| text.parse().unwrap())
}

/// A database of this journal mode, of the owner's, with one row.
fn database(path: &Path, journal: &str) {
    let made = Connection::open(path).unwrap();
    made.execute_batch(&format!(
        "PRAGMA journal_mode = {journal}; CREATE TABLE t (n); INSERT INTO t VALUES (7)"
    ))
    .unwrap();
    drop(made);
    fs::set_permissions(path, PermissionsExt::from_mode(0o777)).unwrap();
    chown(path, Some(OWNER), Some(OWNER)).unwrap();
}

/// Exchanges two names again and again until it is told to stop; says how often.
fn exchange(a: &Path, b: &Path, stop: &AtomicBool) -> u64 {
    let mut times = 0;
    while !stop.load(Ordering::Relaxed) {
        renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).unwrap();
        times += 1;
    }
    times
}

/// Saves while two names in the source are exchanged, and looks at each run.
fn race(place: &Place, a: &str, b: &str, mut look: impl FnMut(&pitool_backup::save::Saved)) {
    let (a, b, stop) = (place.source(a), place.source(b), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let stop = &stop;
        let end = Stop(stop);
        let swapping = scope.spawn(move || exchange(&a, &b, stop));
        for _ in 0..rounds() {
            look(&place.save());
        }
        drop(end);
        assert!(swapping.join().unwrap() > rounds(), "nothing was exchanged");
    });
}

/// A place whose source belongs to the owner, and a directory of root's beside it.
fn place() -> Place {
    let place = Place::new();
    fs::set_permissions(place.folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    fs::create_dir(place.path("roots")).unwrap();
    place
}

fn give(place: &Place, name: &str) {
    std::os::unix::fs::lchown(place.source(name), Some(OWNER), Some(OWNER)).unwrap();
}

fn names(directory: &Path) -> Vec<OsString> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

/// K1.1: databases in a directory that changes places with a link to one of root's.
#[test]
fn nothing_is_created_in_a_directory_that_a_link_leads_to() {
    if !as_root() {
        return;
    }
    let place = place();
    fs::create_dir(place.source("d")).unwrap();
    for number in 0..20 {
        database(&place.source(&format!("d/99x{number:04}")), "WAL");
    }
    symlink(place.path("roots"), place.source("e")).unwrap();
    for name in ["", "d", "e"] {
        give(&place, name);
    }
    let mut databases = 0;
    race(&place, "d", "e", |saved| {
        databases += saved.end.databases;
        assert_eq!(names(&place.path("roots")), Vec::<OsString>::new(), "root was led there");
    });
    assert!(databases > 0, "no run came to a database");
}

/// A file that changes places with a link to one that only root may read.
#[test]
fn nothing_of_a_file_that_a_link_leads_to_is_saved() {
    if !as_root() {
        return;
    }
    let place = place();
    let secret = place.path("roots/shadow");
    fs::write(&secret, "root:$y$j9T$secret").unwrap();
    fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
    database(&place.source("db"), "WAL");
    for name in ["a", "b", "c"] {
        place.write(name, "of the owner");
        symlink(&secret, place.source(&format!("{name}-link"))).unwrap();
    }
    symlink(&secret, place.source("db-link")).unwrap();
    for name in [("b", "b-link"), ("db", "db-link")] {
        race(&place, name.0, name.1, |saved| {
            let bad: Vec<_> = saved.notes.iter().filter(|note| note.what == What::Unreadable).collect();
            assert!(bad.is_empty(), "{bad:?}");
            let plain = std::process::Command::new("zstd").arg("-qdc").arg(place.archive()).output().unwrap();
            let found = plain.stdout.windows(6).any(|window| window == b"secret");
            assert!(plain.status.success() && !found, "a file of root's is in the archive");
        });
    }
}

/// K1.5: a pipe in a database's place; a run that waits for it would never end.
#[test]
fn a_pipe_in_a_databases_place_stops_nothing() {
    if !as_root() {
        return;
    }
    let place = place();
    for journal in ["WAL", "DELETE"] {
        let name = format!("db-{journal}");
        database(&place.source(&name), journal);
        mkfifoat(CWD, place.source(&format!("{name}-pipe")), Mode::RWXU).unwrap();
    }
    place.write("plain", "text");
    for journal in ["WAL", "DELETE"] {
        let name = format!("db-{journal}");
        let begun = Instant::now();
        race(&place, &name, &format!("{name}-pipe"), |saved| assert!(saved.end.files >= 2, "{saved:?}"));
        assert!(begun.elapsed().as_secs() < 10 + rounds() * 5, "{:?}", begun.elapsed());
    }
}

/// One odd database is told; the others are saved as ever, and its bytes too.
#[test]
fn an_odd_database_is_saved_as_bytes_and_told() {
    if !as_root() {
        return;
    }
    let place = place();
    for (name, journal) in [("closed", "DELETE"), ("good", "WAL"), ("linked", "DELETE"), ("piped", "DELETE")]
    {
        database(&place.source(name), journal);
    }
    fs::set_permissions(place.source("closed"), PermissionsExt::from_mode(0o000)).unwrap();
    symlink(place.path("roots"), place.source("linked-journal")).unwrap();
    mkfifoat(CWD, place.source("piped-wal"), Mode::RWXU).unwrap();
    give(&place, "");
    for _ in 0..2 {
        let saved = place.save();
        let told: Vec<_> = saved
            .notes
            .iter()
            .map(|note| {
                (String::from_utf8_lossy(&note.path).rsplit('/').next().unwrap().to_owned(), note.what)
            })
            .collect();
        let expected = ["closed", "linked", "piped"].map(|name| (name.to_owned(), What::NotCopied));
        assert_eq!(told, expected, "{:?}", saved.notes);
        assert_eq!(saved.end.databases, 1);
    }
    let (out, restored) = place.restore("out");
    assert_eq!(whys(&restored.problems), [""; 0]);
    for name in ["closed", "good", "linked", "piped"] {
        let back = Connection::open(out.join(name)).unwrap();
        assert_eq!(back.query_row("SELECT n FROM t", [], |row| row.get::<_, i64>(0)).unwrap(), 7, "{name}");
    }
    stock_unpack(&place.archive(), &place.path("stock"));
}

/// K6.1, from end to end.
#[test]
fn a_database_after_a_power_cut_comes_back_as_it_was_before_the_transaction() {
    let place = Place::new();
    let live = place.source("live");
    let writer = Connection::open(&live).unwrap();
    writer
        .execute_batch(
            "PRAGMA journal_mode = DELETE; CREATE TABLE t (n INTEGER, filler);
             INSERT INTO t VALUES (1, randomblob(100)); PRAGMA cache_size = 10; PRAGMA cache_spill = 10; BEGIN;
             WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 2000)
             INSERT INTO t SELECT 1, randomblob(400) FROM c; UPDATE t SET filler = randomblob(100) WHERE rowid = 1;",
        )
        .unwrap();
    fs::copy(&live, place.source("cut")).unwrap();
    fs::copy(place.source("live-journal"), place.source("cut-journal")).unwrap();
    drop(writer);
    let saved = place.save();
    assert!(saved.notes.is_empty(), "{:?}", saved.notes);
    let (out, _) = place.restore("out");
    let count = |path: &Path| {
        let there = Connection::open(path).unwrap();
        there.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!(count(&out.join("cut")), 1);
    // What SQLite itself makes of it, with its journal.
    assert_eq!(count(&place.source("cut")), 1);
}
