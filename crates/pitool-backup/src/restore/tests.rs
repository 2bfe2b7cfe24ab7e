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
use crate::archive::lines::{LineWriter, closing};
use crate::archive::tar;
use crate::manifest::{End, File as Content, Header, Line, Seal, Time};

/// An entry that says what it likes.
fn entry(path: &str, kind: Kind) -> Entry {
    Entry {
        path: StoredPath::new(path.as_bytes()).unwrap(),
        kind,
        mode: 0o644,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        user: String::new(),
        group: String::new(),
        mtime: Time { seconds: 1, nanoseconds: 0 },
        ctime: Time::default(),
        inode: 0,
        xattrs: Vec::new(),
        offset: 0,
        length: 0,
        unsettled: false,
    }
}

fn file(path: &str, data: &[u8]) -> (Entry, Vec<u8>) {
    (entry(path, Kind::File(Content::plain(data.len() as u64, Digest::of(data)))), data.to_vec())
}

fn link(path: &str, target: &str) -> (Entry, Vec<u8>) {
    (entry(path, Kind::Symlink(target.as_bytes().to_vec())), Vec::new())
}

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
    fn forge(&self, entries: Vec<(Entry, Vec<u8>)>, change: impl Fn(&mut Entry), manifest: bool) -> Stored {
        let name: ArchiveName = "evil-20261121T000000Z-000001".parse().unwrap();
        let mut plain = Vec::new();
        let mut lines = LineWriter::new(Vec::new()).unwrap();
        let header = Header {
            format: 1,
            tool: "evil".into(),
            name: name.clone(),
            set: name.set().clone(),
            host: "there".into(),
            started: name.time(),
            roots: vec![StoredPath::new(&b"a"[..]).unwrap(), self.stored("there")],
            exclude: Vec::new(),
            encrypted: false,
            previous: None,
            last_full_read: name.time(),
        };
        lines.write(&Line::Manifest(header)).unwrap();
        for (mut entry, data) in entries {
            entry.offset = plain.len() as u64;
            plain.extend_from_slice(&tar::head(&entry));
            plain.extend_from_slice(&data);
            plain.resize(plain.len() + tar::padding(data.len() as u64), 0);
            entry.length = plain.len() as u64 - entry.offset;
            change(&mut entry);
            lines.write(&Line::Entry(entry)).unwrap();
        }
        plain.extend_from_slice(&tar::END);
        lines.write(&Line::End(End::default())).unwrap();
        self.put(&name, &plain, lines, manifest)
    }

    fn put(&self, name: &ArchiveName, plain: &[u8], lines: LineWriter<Vec<u8>>, manifest: bool) -> Stored {
        let mut packer = Packer::new(3).unwrap();
        let mut frames = Frames::default();
        let mut archive = packer.pack(plain).unwrap();
        frames.push(archive.len() as u32, plain.len() as u32, Some(Digest::of(&archive)));
        let at = Manifest { offset: 0, length: 0, first: 1, frames: 0 };
        archive.extend_from_slice(&index::write(&frames, at));
        fs::write(self.store.path(name, Part::Archive { encrypted: false }), &archive).unwrap();
        let (mut beside, ..) = lines.finish().unwrap();
        let seal =
            Seal::Archive { size: archive.len() as u64, blake3: Digest::of(&archive), milliseconds: 0 };
        let seal = serde_json::to_vec(&Line::Seal(seal)).unwrap();
        beside.extend_from_slice(&packer.pack(&seal).unwrap());
        let digest = Digest::of(&beside);
        beside.extend_from_slice(&closing(&digest));
        // A broken manifest leaves the headers in the archive to go by.
        beside.truncate(if manifest { beside.len() } else { 50 });
        fs::write(self.store.path(name, Part::Manifest { encrypted: false }), beside).unwrap();
        self.store.find(name).unwrap()
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
        let outside: Vec<_> =
            fs::read_dir(self.outside()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(outside, ["secret"]);
        assert_eq!(fs::read_to_string(self.outside().join("secret")).unwrap(), "untouched");
        let around: BTreeSet<_> =
            fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(around, ["outside", "store", "target"].map(Into::into).into());
        restored
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
    for problems in place.both(&|| vec![(entry("d", Kind::Directory), Vec::new()), file("d/f", b"hello")]) {
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
    let hard = |path: &str, target: &str| {
        (entry(path, Kind::HardLink(StoredPath::new(target.as_bytes()).unwrap())), Vec::new())
    };
    let out = outside.to_str().unwrap().to_owned();
    let problems = place.both(&|| vec![link("way", &out), hard("got", "way/secret"), file("got", b"x")]);
    for problems in problems {
        assert_eq!(problems.len(), 1, "{problems:?}");
    }
    let problems = place.both(&|| vec![link("name", &format!("{out}/secret")), hard("got", "name")]);
    for problems in problems {
        assert!(problems[0].contains("no file here"), "{problems:?}");
    }
}

#[test]
fn paths_that_lead_out_are_refused_by_header_and_by_manifest() {
    let place = Playground::new();
    let name: ArchiveName = "evil-20261121T000000Z-000001".parse().unwrap();
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
        let archive = place.put(&name, &plain, LineWriter::new(Vec::new()).unwrap(), false);
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
