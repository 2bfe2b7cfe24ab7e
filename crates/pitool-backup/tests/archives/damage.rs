//! Flipped bits, lost ends, full disks.

use std::fs;
use std::path::Path;

use pitool_backup::{Depth, Error};

use crate::place::{Place, Random, assert_same, whys};

fn small() -> Place {
    let place = Place::new();
    let mut random = Random(9);
    for file in 0..20 {
        place.write(&format!("f{file:02}"), random.bytes(3000 + file * 100));
    }
    place.write("large", random.bytes(400_000));
    place.save();
    place
}

#[test]
fn a_flipped_bit_anywhere_is_found_and_named() {
    let place = small();
    let mut random = Random(21);
    for (path, every) in [(place.archive(), 1), (place.manifest(), 1)] {
        let whole = fs::read(&path).unwrap();
        // All of both ends, where everything is structure, and places in between.
        let edge = 1500.min(whole.len() / 2);
        let mut places: Vec<usize> = (0..edge / 8).map(|at| at * 8).collect();
        places.extend((whole.len() - edge..whole.len()).step_by(3));
        places.extend((0..60 * every).map(|_| random.below(whole.len() as u64) as usize));
        for at in places {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << random.below(8);
            fs::write(&path, &flipped).unwrap();
            let verified = place.verify(Depth::Quick);
            assert!(!verified.problems.is_empty(), "byte {at} of {} in {}", whole.len(), path.display());
        }
        fs::write(&path, &whole).unwrap();
    }
    // In the data of a file it is the file that is named, and nothing else is lost.
    let whole = fs::read(place.archive()).unwrap();
    let mut flipped = whole.clone();
    let middle = whole.len() - 200_000;
    flipped[middle] ^= 4;
    fs::write(place.archive(), &flipped).unwrap();
    let verified = place.verify(Depth::Full);
    let named = format!(
        "{:?}",
        verified.problems.iter().filter_map(|problem| problem.path.as_ref()).collect::<Vec<_>>()
    );
    assert!(named.contains("source/large") && !named.contains("source/f"), "{named}");
    let (out, restored) = place.restore("out");
    assert!(
        whys(&restored.problems).iter().any(|why| why.contains("large")),
        "{:?}",
        whys(&restored.problems)
    );
    assert!(!out.join("large").exists(), "what does not have its digest is not handed out");
    assert_eq!(fs::read(out.join("f07")).unwrap(), fs::read(place.source("f07")).unwrap());
}

#[test]
fn a_cut_archive_restores_all_that_is_whole_with_and_without_its_manifest() {
    let place = small();
    let whole = fs::read(place.archive()).unwrap();
    let manifest = fs::read(place.manifest()).unwrap();
    for with_manifest in [true, false] {
        for tenth in [3, 6, 9] {
            fs::write(place.archive(), &whole[..whole.len() * tenth / 10]).unwrap();
            // Without it the archive would not be listed; a broken one is the same for what it tells.
            fs::write(place.manifest(), if with_manifest { &manifest[..] } else { &manifest[..100] })
                .unwrap();
            let (out, restored) = place.restore(&format!("out{with_manifest}{tenth}"));
            assert!(!restored.problems.is_empty());
            let there: Vec<_> = fs::read_dir(&out).map_or(Vec::new(), Iterator::collect);
            for entry in &there {
                let name = entry.as_ref().unwrap().file_name();
                let file = place.source(name.to_str().unwrap());
                assert_eq!(fs::read(out.join(&name)).unwrap(), fs::read(file).unwrap(), "{name:?}");
            }
            // The small files are in the first frame, the large one is most of the archive.
            assert_eq!(there.len(), 20, "{tenth}");
        }
    }
    // With only the end of the manifest beside it lost, the one inside serves.
    fs::write(place.archive(), &whole).unwrap();
    fs::write(place.manifest(), &manifest[..100]).unwrap();
    let (out, restored) = place.restore("inside");
    assert_eq!(restored.problems.len(), 1, "{:?}", whys(&restored.problems));
    assert_same(&out, &place.path("source"));
}

#[test]
fn a_damaged_archive_is_not_copied_from() {
    let place = small();
    std::thread::sleep(std::time::Duration::from_secs(4));
    place.save();
    let mut bytes = fs::read(place.archive()).unwrap();
    for at in [100, 300_000] {
        bytes[at] ^= 1;
    }
    fs::write(place.archive(), &bytes).unwrap();
    let saved = place.save();
    let told: Vec<_> = saved.notes.iter().map(|note| format!("{:?}", note.what)).collect();
    assert!(told.iter().all(|what| what == "PreviousDamaged") && !told.is_empty(), "{told:?}");
    assert_eq!(whys(&place.verify(Depth::Full).problems), [""; 0]);
    let (out, _) = place.restore("out");
    assert_same(&out, &place.path("source"));
}

#[test]
fn a_full_disk_ends_the_run_and_leaves_what_was_there() {
    let mut place = small();
    let mount = place.path("mount");
    fs::create_dir(&mount).unwrap();
    let options = ["-t", "tmpfs", "-o", "size=3m", "tmpfs"];
    let mounted = std::process::Command::new("mount").args(options).arg(&mount).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        println!("skipped: a small disk cannot be mounted here (not root)");
        return;
    }
    let _unmounted = Unmounted(&mount);
    let job = |set: &pitool_backup::Set| {
        let job = pitool_backup::save::Job {
            set,
            store: &pitool_backup::Store::new(&mount),
            scratch: &place.folder.path().join("scratch"),
            identities: &place.identities,
            host: "pi",
            after: 0,
            interrupted: &std::sync::atomic::AtomicBool::new(false),
        };
        pitool_backup::save(&job, &|_| {})
    };
    job(&place.set).unwrap();
    let before = files(&mount);
    place.write("more", Random(1).bytes(10_000_000));
    let set = place.set.clone();
    for _ in 0..2 {
        let error = job(&set).unwrap_err();
        assert!(matches!(error, Error::Path { operation: "write", .. }), "{error:?}");
        assert_eq!(files(&mount), before);
    }
    place.set.paths.clear();
    fs::remove_file(place.source("more")).unwrap();
    job(&set).unwrap();
}

struct Unmounted<'a>(&'a Path);

impl Drop for Unmounted<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(self.0).status();
    }
}

fn files(directory: &Path) -> Vec<(std::ffi::OsString, u64)> {
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name(), entry.metadata().unwrap().len()))
        .collect();
    files.sort();
    files
}

#[test]
fn two_runs_do_not_meet() {
    let place = small();
    let _lock = place.store().lock().unwrap();
    assert!(matches!(place.try_save().unwrap_err(), Error::Locked(_)));
}
