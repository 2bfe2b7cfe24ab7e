//! Hostile archives: nothing of them is written outside of where they are restored to.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use pitool_host::Digest;

use super::*;
use crate::Part;
use crate::archive::frame::Packer;
use crate::archive::index::{self, Frames, Manifest};
use crate::archive::lines::LineWriter;
use crate::archive::tar;
use crate::forge::{self, Forgery, Piece, directory, entry, file, hard_link, link};
use crate::manifest::{File as Content, Line};
use crate::store::{Store, Stored};

/// Somewhere with an outside.
struct Playground {
    folder: tempfile::TempDir,
    store: Store,
    identities: Identities,
    interrupted: AtomicBool,
}

impl Playground {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["store", "outside", "target"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("outside/secret"), "untouched").unwrap();
        let store = Store::new(folder.path().join("store"));
        Self { folder, store, identities: Identities::default(), interrupted: AtomicBool::new(false) }
    }

    fn outside(&self) -> PathBuf {
        self.folder.path().join("outside")
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("target")
    }

    /// An archive of one frame that is right in every digest, and whose manifest says what it is told.
    fn forge(&self, entries: Vec<Piece>, change: impl Fn(&mut Entry), manifest: bool) -> Stored {
        let roots = [forge::stored("a"), self.stored("there")];
        self.put(&forge::forge(&forge::name(), &roots, entries, &change), manifest)
    }

    fn put(&self, forgery: &Forgery, manifest: bool) -> Stored {
        let name = forge::name();
        fs::write(self.store.path(&name, Part::Archive { encrypted: false }), &forgery.archive).unwrap();
        // A broken manifest leaves the headers in the archive to go by.
        let length = if manifest { forgery.manifest.len() } else { 50 };
        fs::write(self.store.path(&name, Part::Manifest { encrypted: false }), &forgery.manifest[..length])
            .unwrap();
        self.store.find(&name).unwrap()
    }

    /// A path beneath the target as an archive names it.
    fn stored(&self, name: &str) -> StoredPath {
        StoredPath::new(&self.target().join(name).as_os_str().as_bytes()[1..]).unwrap()
    }

    fn job<'a>(&'a self, archive: &'a Stored, destination: &'a Destination) -> Restore<'a> {
        Restore::new(&self.store, archive, &self.identities, destination, &self.interrupted)
    }

    fn restore(&self, archive: &Stored) -> Result<Restored> {
        let restored = restore(&self.job(archive, &Destination::Directory(self.target())), &|_| {});
        self.untouched();
        restored
    }

    /// Nothing came out of where it should be.
    fn untouched(&self) {
        let outside: Vec<_> =
            fs::read_dir(self.outside()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(outside, ["secret"]);
        assert_eq!(fs::read_to_string(self.outside().join("secret")).unwrap(), "untouched");
        let around: BTreeSet<_> =
            fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(around, ["outside", "store", "target"].map(Into::into).into());
    }

    /// Restores with the manifest, and by the headers alone; hands back the problems of both.
    fn both(&self, entries: &dyn Fn() -> Vec<(Entry, Vec<u8>)>) -> [Vec<String>; 2] {
        [true, false].map(|manifest| {
            let _ = fs::remove_dir_all(self.target());
            let archive = self.forge(entries(), |_| {}, manifest);
            let restored = self.restore(&archive).unwrap();
            let own = restored.problems.into_iter().filter(|problem| problem.path.is_some());
            own.map(|problem| problem.why).collect()
        })
    }
}

#[test]
fn a_forged_archive_that_means_well_comes_back() {
    let place = Playground::new();
    for problems in place.both(&|| vec![directory("d"), file("d/f", b"hello")]) {
        assert_eq!(problems, [""; 0]);
        assert_eq!(fs::read_to_string(place.target().join("d/f")).unwrap(), "hello");
    }
}

#[test]
fn a_link_is_not_written_through() {
    let place = Playground::new();
    let outside = place.outside();
    let outside = outside.to_str().unwrap();
    for target in [outside, "../outside"] {
        let problems =
            place.both(&|| vec![link("way", target), file("way/planted", b"x"), file("way/secret", b"x")]);
        for problems in problems {
            assert_eq!(problems.len(), 2, "{problems:?}");
            assert!(problems[0].contains("a link is not followed"), "{problems:?}");
        }
    }
    // Through a link to a file: what is named by the link is replaced, and not what it points to.
    let secret = format!("{outside}/secret");
    for problems in place.both(&|| vec![link("name", &secret), file("name", b"x")]) {
        assert_eq!(problems, [""; 0]);
        assert_eq!(fs::read(place.target().join("name")).unwrap(), b"x");
    }
}

#[test]
fn a_hard_link_does_not_lead_out() {
    let place = Playground::new();
    let outside = place.outside();
    let out = outside.to_str().unwrap().to_owned();
    let problems = place.both(&|| vec![link("way", &out), hard_link("got", "way/secret"), file("got", b"x")]);
    for problems in problems {
        assert_eq!(problems.len(), 1, "{problems:?}");
    }
    let problems = place.both(&|| vec![link("name", &format!("{out}/secret")), hard_link("got", "name")]);
    for problems in problems {
        assert!(problems[0].contains("no file here"), "{problems:?}");
    }
}

#[test]
fn paths_that_lead_out_are_refused_by_header_and_by_manifest() {
    let place = Playground::new();
    for evil in ["../outside/planted", "/tmp/pitool-planted", "a/../../outside/planted", ".."] {
        // In a header: its path is set by hand, since ours cannot say it.
        let (good, data) = file("g", b"x");
        let mut plain = tar::head(&good);
        plain[..100].fill(0);
        plain[..evil.len()].copy_from_slice(evil.as_bytes());
        plain[148..156].fill(b' ');
        let sum: u32 = plain[..512].iter().map(|byte| u32::from(*byte)).sum();
        plain[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        plain.extend_from_slice(&data);
        plain.resize(1024, 0);
        plain.extend_from_slice(&tar::END);
        let archive = place.put(&forge::of(&plain, LineWriter::new(Vec::new()).unwrap()), false);
        let restored = place.restore(&archive).unwrap();
        assert_eq!(restored.entries, 0);
        // In a manifest.
        let line = serde_json::to_string(&Line::Entry(entry("path", Kind::Fifo))).unwrap();
        assert!(
            serde_json::from_str::<Line>(&line.replace("\"path\":\"path\"", &format!("\"path\":{evil:?}")))
                .is_err()
        );
    }
    assert!(!Path::new("/tmp/pitool-planted").exists());
}

#[test]
fn sizes_that_cannot_be_are_refused_before_anything_is_written() {
    let place = Playground::new();
    // The manifest points outside of the frame, or says more than is there.
    let lies: [&dyn Fn(&mut Entry); 3] =
        [&|entry| entry.offset = u64::MAX - 10, &|entry| entry.offset += 1 << 40, &|entry| {
            entry.kind = Kind::File(Content::plain(1 << 50, Digest::of(b"x")))
        }];
    for lie in lies {
        let archive = place.forge(vec![file("f", b"x")], lie, true);
        let restored = place.restore(&archive).unwrap();
        assert_eq!((restored.entries, restored.problems.len()), (0, 1), "{restored:?}");
    }
    let archive = place.forge(vec![file("f", b"another")], |entry| entry.length = u64::MAX, true);
    let _ = place.restore(&archive).unwrap();
    // A bomb: many frames of zeros that are a few bytes each and claim more than any disk has.
    let name: ArchiveName = "evil-20261121T000000Z-000001".parse().unwrap();
    let packed = Packer::new(19).unwrap().pack(&vec![0; 16 << 20]).unwrap();
    let mut frames = Frames::default();
    let mut bytes = Vec::new();
    for _ in 0..40_000 {
        bytes.extend_from_slice(&packed);
        frames.push(packed.len() as u32, 4_000_000_000, Some(Digest::of(&packed)));
    }
    bytes.extend_from_slice(&index::write(&frames, Manifest::default()));
    fs::write(place.store.path(&name, Part::Archive { encrypted: false }), &bytes).unwrap();
    let error = place.restore(&place.store.find(&name).unwrap()).unwrap_err();
    assert!(matches!(error, Error::Space { needed, .. } if needed > 1 << 40), "{error}");
}

#[test]
fn what_cannot_fit_where_it_came_from_is_refused_before_anything_is_touched() {
    let place = Playground::new();
    fs::create_dir(place.target().join("there")).unwrap();
    fs::write(place.target().join("there/kept"), "as it was").unwrap();
    let [kept, large] = ["there/kept", "there/large"].map(|name| place.stored(name));
    let huge = |entry: &mut Entry| {
        if entry.path == large {
            entry.kind = Kind::File(Content::plain(1 << 50, Digest::of(b"x")));
        }
    };
    let whole = vec![file(&kept.to_string(), b"of the archive"), file(&large.to_string(), b"x")];
    let archive = place.forge(whole, huge, true);

    let error = restore(&place.job(&archive, &Destination::InPlace), &|_| {}).unwrap_err();
    assert!(matches!(error, Error::Space { needed, .. } if needed > 1 << 49), "{error}");
    assert_eq!(fs::read(place.target().join("there/kept")).unwrap(), b"as it was");

    // What is not asked for needs no room.
    let part = Restore { only: &[kept], ..place.job(&archive, &Destination::InPlace) };
    assert_eq!(restore(&part, &|_| {}).unwrap().problems, []);
    assert_eq!(fs::read(place.target().join("there/kept")).unwrap(), b"of the archive");
}

#[test]
fn devices_are_made_only_when_asked_for() {
    let place = Playground::new();
    for problems in place.both(&|| vec![(entry("null", Kind::CharDevice(1, 3)), Vec::new())]) {
        assert!(problems[0].contains("device node"), "{problems:?}");
        assert!(!place.target().join("null").exists());
    }
}

/// K1.7: what is asked about before it is replaced is all that is replaced.
#[test]
fn an_archive_does_not_write_beside_what_it_says_it_was_made_of() {
    let place = Playground::new();
    let outside = place.outside();
    let of_outside = |name: &str| outside.join(name).to_str().unwrap()[1..].to_owned();
    let there = |name: &str| place.stored(name).to_string();
    fs::create_dir(place.target().join("there")).unwrap();
    fs::write(place.target().join("there/kept"), "as it was").unwrap();
    let evil: [Vec<Piece>; 4] = [
        vec![file(&there("there/kept"), b"new"), file(&there("beside"), b"x")],
        vec![file(&there("there/kept"), b"new"), file(&of_outside("planted"), b"x")],
        vec![file(&there("there/kept"), b"new"), hard_link(&there("there/got"), &of_outside("secret"))],
        vec![file(&there("there/kept"), b"new"), file(&there("thereabouts"), b"x")],
    ];
    for entries in evil {
        let archive = place.forge(entries, |_| {}, true);
        let error = restore(&place.job(&archive, &Destination::InPlace), &|_| {}).unwrap_err();
        assert!(error.to_string().contains("none of the paths that it says"), "{error}");
        place.untouched();
        assert_eq!(fs::read(place.target().join("there/kept")).unwrap(), b"as it was");
        assert!(!place.target().join("beside").exists());
    }
    // The same with what it may have.
    let good = vec![file(&there("there/kept"), b"new"), hard_link(&there("there/too"), &there("there/kept"))];
    let archive = place.forge(good, |_| {}, true);
    let restored = restore(&place.job(&archive, &Destination::InPlace), &|_| {}).unwrap();
    assert_eq!(restored.problems, []);
    assert_eq!(fs::read(place.target().join("there/too")).unwrap(), b"new");
}

/// K6.7: a path that the archive does not have is an error, and nothing is touched.
#[test]
fn a_path_that_was_not_saved_is_an_error() {
    let place = Playground::new();
    fs::create_dir(place.target().join("there")).unwrap();
    let kept = place.stored("there/kept");
    let archive = place.forge(vec![file(&kept.to_string(), b"x")], |_| {}, true);
    for destination in [Destination::InPlace, Destination::Directory(place.target())] {
        let only = [kept.clone(), place.stored("there/kep"), place.stored("nowhere")];
        let job = Restore { only: &only, ..place.job(&archive, &destination) };
        let Err(Error::NotSaved { paths, .. }) = restore(&job, &|_| {}) else { panic!("it was restored") };
        assert_eq!(paths, [place.target().join("there/kep"), place.target().join("nowhere")]);
        assert!(!place.target().join("there/kept").exists());
        let job = Restore { only: &only[..1], ..place.job(&archive, &destination) };
        assert_eq!(job.prepare().unwrap().concerned(), [place.target().join("there/kept")]);
    }
}

/// K1.2 without a race: what a name has become a link to meanwhile keeps its mode.
#[test]
fn things_that_are_not_files_are_replaced_and_not_changed() {
    let place = Playground::new();
    fs::create_dir(place.target().join("there")).unwrap();
    let secret = place.outside().join("secret");
    let before = fs::metadata(&secret).unwrap().mode();
    let pipe = place.stored("there/pipe");
    let fifo = || {
        let (mut pipe, data) = (entry(&pipe.to_string(), Kind::Fifo), Vec::new());
        pipe.mode = 0o4777;
        vec![(pipe, data)]
    };
    std::os::unix::fs::symlink(&secret, place.target().join("there/pipe")).unwrap();
    let archive = place.forge(fifo(), |_| {}, true);
    let restored = restore(&place.job(&archive, &Destination::InPlace), &|_| {}).unwrap();
    assert_eq!(restored.problems, []);
    place.untouched();
    assert_eq!(fs::metadata(&secret).unwrap().mode(), before);
    let made = fs::symlink_metadata(place.target().join("there/pipe")).unwrap();
    assert_eq!(made.mode(), 0o010_000 | 0o4777);
    // Nothing of ours stays behind.
    assert_eq!(fs::read_dir(place.target().join("there")).unwrap().count(), 1);
}

/// A directory that somebody may have put in the place of another keeps its owner and mode.
#[test]
fn a_directory_that_may_have_been_exchanged_keeps_its_mode() {
    use std::os::unix::fs::PermissionsExt;
    if !rustix_is_root() {
        println!("skipped: only root can give a directory to somebody else");
        return;
    }
    let place = Playground::new();
    let there = place.target().join("there");
    fs::create_dir_all(there.join("secrets")).unwrap();
    fs::set_permissions(there.join("secrets"), fs::Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::chown(&there, Some(1000), Some(1000)).unwrap();
    let name = |name: &str| place.stored(name).to_string();
    let mut open = directory(&name("there/secrets"));
    open.0.mode = 0o777;
    let archive = place.forge(vec![open.clone(), file(&name("there/secrets/f"), b"x")], |_| {}, true);
    let restored = restore(&place.job(&archive, &Destination::InPlace), &|_| {}).unwrap();
    assert_eq!(restored.problems.len(), 1, "{restored:?}");
    assert!(restored.problems[0].why.contains("keeps its owner and mode"), "{restored:?}");
    let mode = fs::metadata(there.join("secrets")).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o700);
    // What its owner could do himself is done.
    std::os::unix::fs::chown(there.join("secrets"), Some(1000), Some(1000)).unwrap();
    let restored = restore(&place.job(&archive, &Destination::InPlace), &|_| {}).unwrap();
    assert_eq!(restored.problems, []);
    assert_eq!(fs::metadata(there.join("secrets")).unwrap().mode() & 0o7777, 0o777);
}

/// Several threads read an archive: what is in a directory may be there before the directory's own entry is.
#[test]
fn a_directory_that_this_restore_made_on_the_way_gets_its_owner_and_mode() {
    use std::os::unix::fs::PermissionsExt;
    let place = Playground::new();
    let there = place.target().join("there");
    fs::create_dir_all(&there).unwrap();
    fs::set_permissions(&there, fs::Permissions::from_mode(0o777)).unwrap();
    let name = |name: &str| place.stored(name).to_string();
    let mut open = directory(&name("there/late"));
    open.0.mode = 0o770;
    let archive = place.forge(vec![file(&name("there/late/f"), b"x"), open], |_| {}, true);
    let restored = restore(&place.job(&archive, &Destination::InPlace), &|_| {}).unwrap();
    assert_eq!(restored.problems, []);
    assert_eq!(fs::metadata(there.join("late")).unwrap().mode() & 0o7777, 0o770);
}

/// K1.7 with another archive put there after the look: what is written is checked, too.
#[test]
fn an_archive_that_is_exchanged_after_the_look_writes_nowhere_else() {
    let place = Playground::new();
    fs::create_dir(place.target().join("there")).unwrap();
    let there = |name: &str| place.stored(name).to_string();
    let archive = place.forge(vec![file(&there("there/f"), b"good")], |_| {}, true);
    let destination = Destination::InPlace;
    let job = place.job(&archive, &destination);
    let prepared = job.prepare().unwrap();
    let planted = place.outside().join("planted").to_str().unwrap()[1..].to_owned();
    place.forge(vec![file(&there("there/f"), b"good")], |entry| entry.path = forge::stored(&planted), true);
    let restored = prepared.run(&|_| {}).unwrap();
    assert_eq!((restored.entries, restored.problems.len()), (0, 1), "{restored:?}");
    assert!(restored.problems[0].why.contains("none of the paths"), "{restored:?}");
    place.untouched();
}

/// K1.2 as a race: a name is exchanged with a link to a file of root's while what has this name is restored.
#[test]
fn a_name_that_is_exchanged_meanwhile_changes_nothing_elsewhere() {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let place = Playground::new();
    fs::create_dir(place.target().join("there")).unwrap();
    let secret = place.outside().join("secret");
    let before = fs::metadata(&secret).unwrap();
    let pipe = place.target().join("there/pipe");
    let link = place.target().join("there/link");
    std::os::unix::fs::symlink(&secret, &link).unwrap();
    let name = place.stored("there/pipe").to_string();
    let fifo = Entry { mode: 0o4777, ..entry(&name, Kind::Fifo) };
    // One archive may have a name any number of times: that many chances.
    let archive = place.forge(vec![(fifo, Vec::new()); 3000], |_| {}, true);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let _ = renameat_with(CWD, &link, CWD, &pipe, RenameFlags::EXCHANGE);
            }
        });
        let restored = restore(&place.job(&archive, &Destination::InPlace), &|_| {});
        done.store(true, Ordering::Relaxed);
        assert!(restored.unwrap().entries > 0);
    });
    place.untouched();
    let after = fs::metadata(&secret).unwrap();
    assert_eq!((after.mode(), after.uid()), (before.mode(), before.uid()));
}
