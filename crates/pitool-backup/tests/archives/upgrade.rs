//! What earlier versions wrote is read: `tests/upgrade` has archives and a record of each released version, as its package
//! wrote them on Debian 13.

use std::fs;
use std::path::{Path, PathBuf};

use crate::place::{Place, whys};
use pitool_backup::Depth;
use pitool_backup::record::Record;
use pitool_backup::restore::Destination;

fn fixture(path: &str) -> PathBuf {
    Path::new("../../tests/upgrade/v0.1.0").join(path)
}

/// A place whose store has the archives of 0.1.0.
fn upgraded() -> Place {
    let place = Place::new();
    for entry in fs::read_dir(fixture("var/backups/pitool")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), place.path("store").join(entry.file_name())).unwrap();
        }
    }
    place
}

#[test]
fn an_archive_of_0_1_0_is_whole_and_comes_back() {
    let place = upgraded();
    let stored = place.store().list().unwrap();
    assert_eq!(stored.len(), 2, "{stored:#?}");
    for depth in [Depth::Quick, Depth::Full] {
        assert_eq!(whys(&place.verify(depth).problems), [""; 0]);
    }
    let restored = place.restore_to(&Destination::Directory(place.path("out")), &[], false).unwrap();
    // Its owner is root: who is not cannot give files away.
    if rustix::process::geteuid().is_root() {
        assert_eq!(whys(&restored.problems), [""; 0]);
    }
    let read = |path: PathBuf| fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for name in ["a.txt", "b.bin", "deep/y"] {
        assert_eq!(
            read(place.path("out/srv/notes").join(name)),
            read(fixture("srv/notes").join(name)),
            "{name}"
        );
    }
    assert_eq!(fs::read_link(place.path("out/srv/notes/link")).unwrap(), Path::new("a.txt"));
}

#[test]
fn the_record_of_0_1_0_is_read() {
    let text = fs::read(fixture("var/lib/pitool/backup/record.json")).unwrap();
    let record: Record = serde_json::from_slice(&text).unwrap();
    let notes = &record.sets["notes"];
    assert!(notes.success.as_ref().is_some_and(|run| run.ok && run.files == 3), "{notes:?}");
}
