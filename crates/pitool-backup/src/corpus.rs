//! Hostile archives and sticks, each with its right result: built here, from code, and read by everything that reads
//! archives. What a stick holds is refused or reported within seconds, and changes nothing outside of where it is
//! restored to (K1.7, K1.8).

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use pitool_host::Digest;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::archive::frame::{Packer, skippable};
use crate::archive::index::{self, Frames, Manifest};
use crate::archive::seal::Identities;
use crate::forge::{self, Forgery, Piece, directory, entry, file, hard_link, link, stored};
use crate::manifest::{File as Content, Kind};
use crate::restore::{Destination, Restore, Restored};
use crate::verify::{Depth, verify};
use crate::{Part, Result, Store, Stored, restore};

/// What a stick is made of: where the archive and its manifest are to be.
struct Stick {
    archive: PathBuf,
    manifest: PathBuf,
}

impl Stick {
    fn put(&self, forgery: &Forgery) {
        fs::write(&self.archive, &forgery.archive).unwrap();
        fs::write(&self.manifest, &forgery.manifest).unwrap();
    }

    fn holding(&self, entries: Vec<Piece>) {
        self.put(&good(entries));
    }
}

fn good(entries: Vec<Piece>) -> Forgery {
    forge::forge(&forge::name(), &[stored("srv")], entries, &|_| {})
}

fn plain() -> Forgery {
    good(vec![directory("srv"), file("srv/f", b"hello")])
}

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// What happens to a stick when it is restored to a directory.
enum Right {
    /// Nothing is restored; this is said.
    Refused(&'static str),
    /// So many entries come back, and this is reported of others or of the whole; the archive is as it was written where
    /// it is only what it asks for that is wrong.
    Reported(u64, &'static str, bool),
    /// It is not listed, and so not read.
    Unlisted,
}

use Right::{Refused, Reported, Unlisted};

type Case = (&'static str, fn(&Stick), Right);

/// The sticks.
fn corpus() -> Vec<Case> {
    vec![
        ("an archive that means well", |stick| stick.put(&plain()), Reported(2, "", true)),
        (
            "an archive that is a pipe",
            |stick| {
                stick.put(&plain());
                fs::remove_file(&stick.archive).unwrap();
                fifo(&stick.archive);
            },
            Refused("it is not a regular file"),
        ),
        (
            "a manifest that is a pipe",
            |stick| {
                stick.put(&plain());
                fs::remove_file(&stick.manifest).unwrap();
                fifo(&stick.manifest);
            },
            Unlisted,
        ),
        (
            "an archive that is a link to something endless",
            |stick| {
                stick.put(&plain());
                fs::remove_file(&stick.archive).unwrap();
                symlink("/dev/zero", &stick.archive).unwrap();
            },
            Refused("it is a symbolic link"),
        ),
        (
            "a manifest that is a link to something endless",
            |stick| {
                stick.put(&plain());
                fs::remove_file(&stick.manifest).unwrap();
                symlink("/dev/zero", &stick.manifest).unwrap();
            },
            Unlisted,
        ),
        (
            "an archive that is a directory",
            |stick| {
                stick.put(&plain());
                fs::remove_file(&stick.archive).unwrap();
                fs::create_dir(&stick.archive).unwrap();
            },
            Refused("it is not a regular file"),
        ),
        (
            "a footer that claims all frames there can be",
            |stick| {
                let mut forgery = plain();
                let footer = forgery.archive.len() - index::FOOTER;
                forgery.archive[footer..footer + 4].copy_from_slice(&u32::MAX.to_le_bytes());
                stick.put(&forgery);
            },
            Reported(2, "more frames than an archive can have", false),
        ),
        (
            "the same in a file that has the length for it",
            |stick| {
                let forgery = plain();
                stick.put(&forgery);
                let file = File::options().write(true).open(&stick.archive).unwrap();
                let mut footer = forgery.archive[forgery.archive.len() - index::FOOTER..].to_vec();
                footer[..4].copy_from_slice(&400_000u32.to_le_bytes());
                file.write_all_at(&footer, (1 << 40) - index::FOOTER as u64).unwrap();
            },
            Reported(2, "its index is not as it was written", false),
        ),
        (
            "frames that claim more than any disk has",
            |stick| {
                let packed = Packer::new(3).unwrap().pack(&vec![0; 1 << 20]).unwrap();
                let mut frames = Frames::default();
                let mut archive = Vec::new();
                for _ in 0..40_000 {
                    archive.extend_from_slice(&packed);
                    frames.push(packed.len() as u32, u32::MAX, Some(Digest::of(&packed)));
                }
                archive.extend_from_slice(&index::write(&frames, Manifest::default()));
                stick.put(&Forgery { archive, ..plain() });
            },
            Refused("bytes free, and"),
        ),
        (
            "a manifest of zeros that unpack to more than there is memory",
            |stick| {
                let frame = Packer::new(1).unwrap().pack(&vec![0; 60 << 20]).unwrap();
                let mut manifest = frame.repeat(50);
                let digest = Digest::of(&manifest);
                manifest.extend_from_slice(&crate::archive::lines::closing(&digest));
                stick.put(&Forgery { manifest, ..plain() });
            },
            Refused("its manifest is not understood"),
        ),
        (
            "a manifest that is nested deeper than anybody writes",
            |stick| {
                let manifest = forge::manifest("[".repeat(1 << 20).as_bytes());
                stick.put(&Forgery { manifest, ..plain() });
            },
            Refused("its manifest is not understood"),
        ),
        (
            "a manifest that begins with a frame of no end",
            |stick| {
                let mut manifest = skippable(0, b"");
                manifest[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
                manifest.resize(1 << 20, 0);
                stick.put(&Forgery { manifest, ..plain() });
            },
            Reported(2, "it ends inside of a frame", false),
        ),
        (
            "a manifest that names another archive",
            |stick| {
                let other = "other-20261121T000000Z-000001".parse().unwrap();
                let forgery = forge::forge(&other, &[stored("srv")], vec![file("srv/f", b"x")], &|_| {});
                stick.put(&forgery);
            },
            Reported(1, "it is the manifest of other", false),
        ),
        (
            "a file that claims to be larger than all files",
            |stick| {
                stick.put(&forge::forge(
                    &forge::name(),
                    &[stored("srv")],
                    vec![file("srv/f", b"x")],
                    &|entry| {
                        entry.kind = Kind::File(Content::plain(1 << 62, Digest::of(b"x")));
                    },
                ));
            },
            Reported(0, "where it cannot be", false),
        ),
        (
            "holes whose lengths add up to more than a number holds",
            |stick| {
                stick.put(&forge::forge(
                    &forge::name(),
                    &[stored("srv")],
                    vec![file("srv/f", b"x")],
                    &|entry| {
                        let extents = Some(vec![(u64::MAX - 1, u64::MAX), (u64::MAX, 2)]);
                        entry.kind =
                            Kind::File(Content { extents, ..Content::plain(u64::MAX, Digest::of(b"x")) });
                    },
                ));
            },
            Reported(0, "where it cannot be", false),
        ),
        (
            "a file that is written through a link",
            |stick| stick.holding(vec![link("srv", "/tmp"), file("srv/pitool-planted", b"x")]),
            Reported(1, "a link is not followed", true),
        ),
        (
            "a hard link to what is not restored",
            |stick| stick.holding(vec![link("srv/l", "/etc/shadow"), hard_link("srv/f", "srv/l")]),
            Reported(1, "no file here", true),
        ),
        (
            "a hard link to itself",
            |stick| stick.holding(vec![hard_link("srv/f", "srv/f")]),
            Reported(0, "no file here", true),
        ),
        (
            "a device",
            |stick| stick.holding(vec![(entry("srv/sda", Kind::BlockDevice(8, 0)), Vec::new())]),
            Reported(0, "device node", true),
        ),
    ]
}

struct Read {
    restored: Result<Restored>,
    verified: bool,
}

fn read(store: &Store, stored: &Stored, to: &Path) -> Read {
    let (identities, never) = (Identities::default(), AtomicBool::new(false));
    // Whatever a look at it says, it comes to an end.
    let verified = [Depth::Quick, Depth::Full].map(|depth| {
        verify(store, stored, &identities, depth, &never, &|_| {})
            .is_ok_and(|verified| verified.problems.is_empty())
    });
    let _ = store.summary(stored, &identities);
    let in_place = Restore::new(store, stored, &identities, &Destination::InPlace, &never);
    // Nothing that is asked about is touched.
    let _ = in_place.prepare().map(|prepared| prepared.concerned());
    let destination = Destination::Directory(to.to_owned());
    let restored = restore(&Restore::new(store, stored, &identities, &destination, &never), &|_| {});
    Read { restored, verified: verified == [true, true] }
}

#[test]
fn every_stick_has_its_right_result() {
    for (name, make, right) in corpus() {
        let folder = tempfile::tempdir().unwrap();
        let [at, to] = ["stick", "to"].map(|name| folder.path().join(name));
        fs::create_dir(&at).unwrap();
        let store = Store::new(&at);
        let file = |part| store.path(&forge::name(), part);
        let stick = Stick {
            archive: file(Part::Archive { encrypted: false }),
            manifest: file(Part::Manifest { encrypted: false }),
        };
        make(&stick);
        let begun = Instant::now();
        // As a target or a store lists it: an archive is there if its manifest is a regular file.
        let listed = match store.find(&forge::name()) {
            Ok(listed) => listed,
            Err(error) => {
                assert!(matches!(right, Unlisted), "{name}: {error}");
                continue;
            }
        };
        assert!(!matches!(right, Unlisted), "{name}: it is listed");
        let read = read(&store, &listed, &to);
        assert!(begun.elapsed() < Duration::from_secs(60), "{name}: {:?}", begun.elapsed());
        let (problems, said, whole) = match (&read.restored, right) {
            (Err(error), Refused(said)) => {
                assert!(error.to_string().contains(said), "{name}: {error}");
                assert!(!to.exists() || fs::read_dir(&to).unwrap().next().is_none(), "{name}");
                assert!(!read.verified, "{name}");
                continue;
            }
            (Ok(restored), Reported(entries, said, whole)) => {
                assert_eq!(restored.entries, entries, "{name}: {restored:?}");
                let problems = restored.problems.iter().map(|problem| problem.why.as_str());
                (problems.collect::<Vec<_>>(), said, whole)
            }
            (other, _) => panic!("{name}: {other:?}"),
        };
        assert_eq!(problems.is_empty(), said.is_empty(), "{name}: {problems:?}");
        assert!(said.is_empty() || problems.iter().any(|why| why.contains(said)), "{name}: {problems:?}");
        assert_eq!(read.verified, whole, "{name}");
    }
    assert!(!Path::new("/tmp/pitool-planted").exists());
}
