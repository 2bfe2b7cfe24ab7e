//! Databases that are written to while they are copied, and what a drill makes of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pitool_backup::manifest::{CopyMethod, Line, What};
use pitool_backup::{Drill, drill};
use pitool_host::local::Local;
use rusqlite::Connection;

use crate::place::{Place, Stop, whys};

/// A database in which two tables always say the same, with an index to disagree with.
fn database(place: &Place, name: &str, journal: &str, rows: u64) -> Connection {
    let database = Connection::open(place.source(name)).unwrap();
    database.busy_timeout(Duration::from_secs(20)).unwrap();
    database
        .execute_batch(&format!(
            "PRAGMA journal_mode = {journal};
             CREATE TABLE a (n INTEGER PRIMARY KEY, text); CREATE TABLE b (n INTEGER PRIMARY KEY, text);
             CREATE INDEX a_text ON a (text);
             WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {rows})
             INSERT INTO a SELECT n, hex(randomblob(100)) FROM c; INSERT INTO b SELECT * FROM a;"
        ))
        .unwrap();
    database
}

fn step(database: &mut Connection) {
    let transaction = database.transaction().unwrap();
    transaction
        .execute_batch(
            "UPDATE a SET text = hex(randomblob(100)) WHERE n % 97 = abs(random()) % 97;
             DELETE FROM b; INSERT INTO b SELECT * FROM a;",
        )
        .unwrap();
    transaction.commit().unwrap();
}

/// How many rows the tables disagree about: none at any moment at which nobody is in the middle of a change.
fn disagreement(database: &Connection) -> u64 {
    let sql = "SELECT count(*) FROM (SELECT * FROM a EXCEPT SELECT * FROM b)";
    database.query_row(sql, [], |row| row.get(0)).unwrap()
}

fn methods(place: &Place) -> Vec<(CopyMethod, String)> {
    let text = std::process::Command::new("zstd").arg("-qdc").arg(place.manifest()).output().unwrap().stdout;
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .filter_map(|line| match serde_json::from_slice(line).unwrap() {
            Line::Database(database) => Some((database.method, database.check)),
            _ => None,
        })
        .collect()
}

fn saved_while_written(journal: &str, method: CopyMethod) {
    for rows in [200, 6000] {
        let place = Place::new();
        let mut writer = database(&place, "docs.grist", journal, rows);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let stop = &stop;
            let end = Stop(stop);
            let writing = scope.spawn(move || {
                let mut steps = 0;
                while !stop.load(Ordering::Relaxed) {
                    step(&mut writer);
                    steps += 1;
                }
                steps
            });
            for round in 0..4 {
                std::thread::sleep(Duration::from_millis(30));
                let saved = place.save();
                assert!(saved.notes.is_empty(), "{:?}", saved.notes);
                assert_eq!(methods(&place), [(method, "ok".to_owned())]);
                let (out, restored) = place.restore(&format!("out{round}"));
                assert_eq!(whys(&restored.problems), [""; 0]);
                let names: Vec<_> =
                    std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
                assert_eq!(names, ["docs.grist"], "what lies beside a live database stays out");
                let copy = Connection::open(out.join("docs.grist")).unwrap();
                let check: String = copy.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
                assert_eq!((check.as_str(), disagreement(&copy)), ("ok", 0));
            }
            drop(end);
            assert!(writing.join().unwrap() > 0, "nobody wrote");
        });
    }
}

#[test]
fn a_database_with_a_write_ahead_log_is_copied_whole_while_it_is_written() {
    saved_while_written("WAL", CopyMethod::ReadTransaction);
}

#[test]
fn a_database_with_a_rollback_journal_is_copied_whole_while_it_is_written() {
    saved_while_written("DELETE", CopyMethod::OneStep);
}

#[test]
fn an_unchanged_database_is_not_copied_again_and_one_commit_is_seen() {
    let place = Place::new();
    let mut writer = database(&place, "docs.grist", "WAL", 3000);
    std::thread::sleep(Duration::from_secs(4));
    place.save();
    place.save();
    assert_eq!(methods(&place), [(CopyMethod::Unchanged, String::new())]);
    // In the log alone: the file of the database itself stays as it is.
    step(&mut writer);
    place.save();
    assert_eq!(methods(&place), [(CopyMethod::ReadTransaction, "ok".to_owned())]);
    let (out, _) = place.restore("out");
    let copy = Connection::open(out.join("docs.grist")).unwrap();
    let text = |database: &Connection| {
        database.query_row("SELECT group_concat(text) FROM b", [], |row| row.get::<_, String>(0)).unwrap()
    };
    assert_eq!(text(&copy), text(&writer));
}

#[test]
fn a_database_that_is_missing_or_corrupt_fails_the_run_and_creates_nothing() {
    let mut place = Place::new();
    drop(database(&place, "good.db", "DELETE", 2000));
    let bytes = std::fs::read(place.source("good.db")).unwrap();
    let mut corrupt = bytes.clone();
    let half = corrupt.len() / 2;
    corrupt[half..half + 20_000].fill(0x55);
    place.write("corrupt.db", &corrupt);
    place.set.databases =
        vec![place.source("missing.db"), place.source("good.db"), place.source("corrupt.db")];
    let saved = place.save();
    let told: Vec<_> = saved.notes.iter().map(|note| note.what).collect();
    assert_eq!(told, [What::Missing, What::Corrupt], "{:?}", saved.notes);
    assert_eq!(saved.end.problems, 2);
    assert!(!place.source("missing.db").exists(), "no empty database comes of a typing error");
    // What was wrong in one night is not right in the next because nobody looked again.
    let again = place.save();
    let told: Vec<_> = again.notes.iter().map(|note| note.what).collect();
    assert_eq!(told, [What::Missing, What::Corrupt], "{:?}", again.notes);
    let (out, _) = place.restore("out");
    // SQLite counts the copy as a change in the database's header, its first 100 bytes.
    assert!(std::fs::read(out.join("corrupt.db")).unwrap()[100..] == corrupt[100..], "what there is is kept");
}

#[test]
fn old_logs_beside_a_restored_database_go() {
    let place = Place::new();
    drop(database(&place, "a.db", "DELETE", 50));
    drop(database(&place, "large.db", "DELETE", 5000));
    place.save();
    for name in ["a.db", "large.db"] {
        for end in ["-wal", "-shm", "-journal"] {
            place.write(&format!("{name}{end}"), "of another time");
        }
    }
    let destination = pitool_backup::restore::Destination::InPlace;
    let restored = place.restore_to(&destination, &[], false).unwrap();
    assert_eq!(whys(&restored.problems), [""; 0]);
    let mut names: Vec<_> =
        std::fs::read_dir(place.path("source")).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["a.db", "large.db"]);
}

#[test]
fn a_drill_passes_and_fails_with_a_reason() {
    let place = Place::new();
    drop(database(&place, "docs.grist", "WAL", 4000));
    place.write("plain", "text");
    place.save();
    let host = Local::new("/").unwrap();
    let hold = |check: &[&str], limit: u64| {
        let check: Vec<String> = check.iter().map(ToString::to_string).collect();
        let job = Drill {
            store: &place.store(),
            archive: &place.newest(),
            identities: &place.identities,
            scratch: &place.path("scratch"),
            check: &check,
            limit: Duration::from_secs(limit),
            thorough: true,
            host: &host,
            interrupted: &AtomicBool::new(false),
        };
        drill(&job, &|_| {}).unwrap()
    };
    let source = place.path("source");
    let script = format!("grep -q text \"$PITOOL_DRILL{}/plain\"", source.display());
    let drilled = hold(&["sh", "-c", &script], 30);
    assert_eq!((whys(&drilled.problems), drilled.compared, drilled.databases), (Vec::new(), 3, 1));
    assert!(drilled.duration >= drilled.restored.duration && drilled.restored.bytes > 100_000);
    assert_eq!(place.leftovers(), [""; 0].map(std::path::PathBuf::from), "scratch is empty again");

    let failed = whys(&hold(&["sh", "-c", "echo the app does not start >&2; exit 3"], 30).problems);
    assert!(failed[0].contains("status 3") && failed[0].contains("does not start"), "{failed:?}");
    let late = whys(&hold(&["sleep", "60"], 1).problems);
    assert!(late[0].contains("did not finish"), "{late:?}");

    let mut bytes = std::fs::read(place.archive()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(place.archive(), bytes).unwrap();
    let damaged = whys(&hold(&[], 30).problems);
    assert!(damaged[0].contains("docs.grist") && damaged[0].contains("not as it was written"), "{damaged:?}");
}

/// What other programs' SQLite can do and ours cannot (full-text search, maps) is pages like all others.
#[test]
fn databases_with_modules_that_are_not_here_are_copied_and_checked() {
    let place = Place::new();
    let database = Connection::open(place.source("foreign.db")).unwrap();
    database
        .execute_batch(
            "CREATE TABLE t (a CHECK (sqrt(a) >= 0 AND json_valid(b)), b, c AS (soundex(b)));
             CREATE INDEX i ON t (json_extract(b, '$.x'));
             INSERT INTO t SELECT value, json_object('x', value) FROM json_each('[1, 2, 3]');
             PRAGMA writable_schema = ON;
             INSERT INTO sqlite_schema VALUES
                ('table', 'words', 'words', 0, 'CREATE VIRTUAL TABLE words USING fts5 (text)'),
                ('table', 'places', 'places', 0, 'CREATE VIRTUAL TABLE places USING rtree (id, x0, x1)');",
        )
        .unwrap();
    drop(database);
    let saved = place.save();
    assert!(saved.notes.is_empty(), "{:?}", saved.notes);
    assert_eq!(methods(&place), [(CopyMethod::OneStep, "ok".to_owned())]);
    let (out, restored) = place.restore("out");
    assert_eq!(whys(&restored.problems), [""; 0]);
    let back = Connection::open(out.join("foreign.db")).unwrap();
    let words: String =
        back.query_row("SELECT sql FROM sqlite_schema WHERE name = 'words'", [], |row| row.get(0)).unwrap();
    assert!(words.contains("fts5"));
}
