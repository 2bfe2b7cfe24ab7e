//! Archives, seen by zstd and GNU tar, and by ourselves.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::place::{Place, Random, assert_same, stock_unpack, tree, whys};
use pitool_backup::manifest::What;
use pitool_backup::restore::Destination;
use pitool_backup::{Depth, Identities, Store, StoredPath, Unchanged};

/// One of everything that a file system can hold and that needs no root.
fn furnished() -> Place {
    let place = Place::new();
    let mut random = Random(7);
    place.write("a/plain", "hello");
    place.write("a/empty", "");
    place.write("block", vec![b'x'; 512]);
    place.write("large", random.bytes(9_000_000));
    place.write("piece", random.bytes(4 << 20));
    place.write(&format!("{}/{}/deep", "n".repeat(200), "m".repeat(200)), "deep");
    place.write(&"l".repeat(255), "long");
    place.write("spaces and\nlines\t\\", "odd");
    fs::write(place.path("source").join(std::ffi::OsStr::from_bytes(b"caf\xe9")), "latin").unwrap();
    fs::hard_link(place.source("a/plain"), place.source("z-link")).unwrap();
    fs::hard_link(place.source("large"), place.source("large-link")).unwrap();
    symlink("a/plain", place.source("link")).unwrap();
    symlink(format!("/{}", "t".repeat(300)), place.source("long-link")).unwrap();
    fs::create_dir(place.source("empty-dir")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        place.source("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o640),
        0,
    )
    .unwrap();
    let sparse = fs::File::create(place.source("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"in the middle", 70_000_000).unwrap();
    sparse.set_len(100_000_001).unwrap();
    fs::File::create(place.source("hole")).unwrap().set_len(5_000_000).unwrap();
    fs::set_permissions(place.source("a/plain"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::set_permissions(place.source("a"), fs::Permissions::from_mode(0o1770)).unwrap();
    let _ = rustix::fs::setxattr(
        place.source("a/plain"),
        "user.note",
        b"\0binary=\n\xff",
        rustix::fs::XattrFlags::empty(),
    );
    for (name, seconds) in [("a/empty", -631_152_000), ("block", 1_000_000_000)] {
        let times = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: 123_456_789 };
        let times = rustix::fs::Timestamps { last_access: times, last_modification: times };
        rustix::fs::utimensat(rustix::fs::CWD, place.source(name), &times, rustix::fs::AtFlags::empty())
            .unwrap();
    }
    place
}

#[test]
fn stock_tools_bring_everything_back() {
    let place = furnished();
    let saved = place.save();
    assert_eq!(saved.notes, []);
    stock_unpack(&place.archive(), &place.path("out"));
    let out = place.path("out").join(place.path("source").strip_prefix("/").unwrap());
    assert_same(&out, &place.path("source"));
    let manifest = fs::read_to_string(place.path("out/.pitool-manifest.jsonl")).unwrap();
    assert!(manifest.starts_with("{\"manifest\":") && manifest.contains("/a/plain"), "{manifest}");
    let tested =
        std::process::Command::new("zstd").arg("-qt").arg(place.archive()).arg(place.manifest()).status();
    assert!(tested.unwrap().success());
}

#[test]
fn we_bring_everything_back() {
    let place = furnished();
    place.save();
    let (out, restored) = place.restore("out");
    assert_eq!(whys(&restored.problems), [""; 0]);
    assert_same(&out, &place.path("source"));
    for depth in [Depth::Quick, Depth::Full] {
        let verified = place.verify(depth);
        assert_eq!(whys(&verified.problems), [""; 0]);
    }
}

#[test]
fn the_same_tree_gives_the_same_bytes_whatever_is_copied() {
    let place = furnished();
    std::thread::sleep(std::time::Duration::from_secs(4)); // until the times are settled
    place.save();
    let first = fs::read(place.archive()).unwrap();
    let saved = place.save();
    assert_eq!(saved.end.changed, 0);
    assert!(saved.end.copied > 9_000_000, "{:?}", saved.end);
    let second = fs::read(place.archive()).unwrap();
    // The manifests differ by the run's time; all before them is the same.
    let data = first.iter().zip(&second).take_while(|(a, b)| a == b).count();
    assert!(data > 13_000_000, "{data} of {}", first.len());
    let (out, restored) = place.restore("out");
    assert_eq!(whys(&restored.problems), [""; 0]);
    assert_same(&out, &place.path("source"));
}

#[test]
fn a_set_without_changes_is_a_manifest_that_says_so() {
    let mut place = furnished();
    place.set.unchanged = Unchanged::Manifest;
    std::thread::sleep(std::time::Duration::from_secs(4));
    let first = place.save();
    let second = place.save();
    let third = place.save();
    for unchanged in [second, third] {
        assert_eq!(unchanged.seal, pitool_backup::manifest::Seal::UnchangedSince(first.name.clone()));
    }
    assert_eq!(place.store().list().unwrap().iter().filter(|stored| stored.size > 0).count(), 1);
    let (out, restored) = place.restore("out");
    assert_eq!(whys(&restored.problems), [""; 0]);
    assert_same(&out, &place.path("source"));
    assert_eq!(whys(&place.verify(Depth::Full).problems), [""; 0]);
    place.write("new", "something new");
    assert!(matches!(place.save().seal, pitool_backup::manifest::Seal::Archive { .. }));
}

#[test]
fn a_change_behind_unchanged_times_is_found_when_all_is_read() {
    let mut place = Place::new();
    for number in 0..200 {
        place.write(&format!("f{number:03}"), vec![number as u8; 4000]);
    }
    place.write("large", vec![1; 5_000_000]);
    std::thread::sleep(std::time::Duration::from_secs(4));
    place.set.reread = std::time::Duration::ZERO;
    place.save();
    // Bits change on a disk without anybody writing: under the file system nobody sees it. What is left of such a
    // change to a test is an archive before that says something else.
    let saved = place.save();
    assert_eq!((saved.end.changed, saved.notes.len()), (0, 0));
    assert!(
        saved.end.copied > 5_500_000,
        "what is read again and is the same is not packed again: {:?}",
        saved.end
    );
}

#[test]
fn parts_come_back_alone_and_links_bring_their_file() {
    let place = furnished();
    place.save();
    let stored = |name: &str| StoredPath::of(&place.source(name)).unwrap();
    let restored = place.try_restore("part", &[stored("a"), stored("large-link")]).unwrap();
    assert_eq!(whys(&restored.problems), [""; 0]);
    let out = place.path("part").join(place.path("source").strip_prefix("/").unwrap());
    let names: Vec<_> = tree(&out).into_keys().map(|path| path.display().to_string()).collect();
    assert_eq!(names, ["", "a", "a/empty", "a/plain", "large-link"]);
    let parent = out.parent().unwrap().metadata().unwrap().permissions().mode();
    assert_eq!(parent & 0o777, 0o755, "what leads there can be entered");
    assert_eq!(fs::read(out.join("large-link")).unwrap(), fs::read(place.source("large")).unwrap());
}

#[test]
fn a_part_is_all_that_is_in_it_whatever_the_names_and_nothing_beside_it() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    let odd: [&[u8]; 4] = [b"say \"so\"", b"two\nlines\\", "\u{e4}".as_bytes(), b"\xff no text"];
    for name in ["part", "part-2", "par", "other/part"] {
        fs::create_dir_all(place.source(name)).unwrap();
        for file in odd {
            fs::write(place.source(name).join(std::ffi::OsStr::from_bytes(file)), name).unwrap();
        }
    }
    place.save();
    for part in
        [place.source("part"), place.source("other").join(std::ffi::OsStr::from_bytes(b"part/\xff no text"))]
    {
        let to = part.file_name().unwrap().len().to_string();
        let restored = place.try_restore(&to, &[StoredPath::of(&part).unwrap()]).unwrap();
        assert_eq!(whys(&restored.problems), [""; 0]);
        let out = place.path(&to).join(place.path("source").strip_prefix("/").unwrap());
        let back = out.join(part.strip_prefix(place.path("source")).unwrap());
        match part.is_dir() {
            true => assert_same(&back, &part),
            false => assert_eq!(fs::read(&back).unwrap(), fs::read(&part).unwrap()),
        }
        assert_eq!(fs::read_dir(&out).unwrap().count(), 1, "its neighbours stay in the archive");
    }
}

#[test]
fn in_place_a_state_comes_back_and_what_is_not_of_it_goes_when_asked() {
    let place = furnished();
    let before = tree(&place.path("source"));
    place.save();
    fs::write(place.source("a/plain"), "spoiled").unwrap();
    fs::remove_dir_all(place.source("empty-dir")).unwrap();
    fs::write(place.source("a/intruder"), "x").unwrap();
    fs::create_dir_all(place.source("other/deep")).unwrap();
    fs::write(place.source("other/deep/y"), "y").unwrap();
    fs::remove_file(place.source("link")).unwrap();
    fs::write(place.source("link"), "no link any more").unwrap();
    let restored = place.restore_to(&Destination::InPlace, &[], false).unwrap();
    assert_eq!(whys(&restored.problems), [""; 0]);
    assert!(place.source("a/intruder").exists(), "nobody asked to delete");
    let restored = place.restore_to(&Destination::InPlace, &[], true).unwrap();
    assert_eq!((whys(&restored.problems), restored.deleted), (Vec::new(), 4));
    assert_eq!(tree(&place.path("source")), before);
    // What the first restore replaced is in its safety copy.
    let kept = Store::new(place.path("safety")).list().unwrap();
    stock_unpack(&place.path("safety").join(format!("{}.tar.zst", kept[0].name)), &place.path("kept"));
    let kept = place.path("kept").join(place.path("source").strip_prefix("/").unwrap());
    assert_eq!(fs::read_to_string(kept.join("a/plain")).unwrap(), "spoiled");
    assert_eq!(fs::read_to_string(kept.join("a/intruder")).unwrap(), "x");
}

#[test]
fn what_is_missing_or_cannot_be_saved_is_told() {
    let mut place = furnished();
    place.set.paths.push(place.source("not there"));
    place.set.paths.push("/nowhere/at/all".into());
    place.set.optional.push("/nowhere/either".into());
    place.set.databases.push(place.source("a/plain"));
    place.set.exclude = vec!["*.tmp".into()];
    place.write("x.tmp", "left out");
    let _socket = std::os::unix::net::UnixListener::bind(place.source("socket")).unwrap();
    let saved = place.save();
    let mut told: Vec<_> = saved.notes.iter().map(|note| (note.what, note.what.is_problem())).collect();
    told.sort_by_key(|(what, _)| format!("{what:?}"));
    assert_eq!(
        told,
        [(What::Missing, true), (What::Missing, true), (What::NoDatabase, true), (What::Socket, false)]
    );
    assert_eq!((saved.end.problems, saved.end.notes), (3, 4));
    let (out, _) = place.restore("out");
    assert!(!out.join("x.tmp").exists() && out.join("block").exists());
}

#[test]
fn the_store_is_not_saved_into_itself() {
    let mut place = furnished();
    place.set.paths = vec![place.folder.path().to_owned()];
    let saved = place.save();
    let own: Vec<_> = saved.notes.iter().map(|note| note.what).collect();
    assert_eq!(own, [What::OwnOutput, What::OwnOutput]); // store and scratch
}

/// What one file costs can only be seen where nobody else reads: in a process of its own.
#[test]
fn one_file_of_a_large_archive_costs_a_little_of_it() {
    const ALONE: &str = "PITOOL_BACKUP_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let test = "everything::one_file_of_a_large_archive_costs_a_little_of_it";
        let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
        let output = alone.args(["--exact", test]).env(ALONE, "1").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let place = Place::new();
    let mut random = Random(3);
    for number in 0..300 {
        place.write(&format!("f{number:03}"), random.bytes(100_000));
    }
    place.save();
    let only = [StoredPath::of(&place.source("f150")).unwrap()];
    let before = read_bytes();
    let restored = place.try_restore("one", &only).unwrap();
    let read = read_bytes() - before;
    assert_eq!((whys(&restored.problems), restored.entries), (Vec::new(), 1));
    let size = place.newest().size;
    assert!(read < size / 25, "{read} of {size}");
}

/// What this process has read by system calls.
fn read_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/io").unwrap();
    text.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
}

#[test]
fn encrypted_archives_open_with_their_key_alone_and_copy_frames_too() {
    let mut place = furnished();
    let (key, other) = (age::x25519::Identity::generate(), age::x25519::Identity::generate());
    for (name, key) in [("key", &key), ("other", &other)] {
        use age::secrecy::ExposeSecret;
        fs::write(place.path(name), format!("# created by a test\n{}\n", key.to_string().expose_secret()))
            .unwrap();
    }
    place.set.recipients = vec![key.to_public().to_string()];
    std::thread::sleep(std::time::Duration::from_secs(4));
    place.save();
    assert!(!fs::read(place.archive()).unwrap().windows(4).any(|bytes| bytes == [0x28, 0xb5, 0x2f, 0xfd]));
    for identities in [Identities::default(), Identities::new([place.path("other")])] {
        place.identities = identities;
        let error = place.try_restore("sealed", &[]).unwrap_err();
        assert!(matches!(error, pitool_backup::Error::Sealed { .. }), "{error}");
    }
    place.identities = Identities::new([place.path("key")]);
    let (out, restored) = place.restore("out");
    assert_eq!(whys(&restored.problems), [""; 0]);
    assert_same(&out, &place.path("source"));
    assert_eq!(whys(&place.verify(Depth::Full).problems), [""; 0]);
    assert!(place.save().end.copied > 9_000_000);
    assert_eq!(place.leftovers(), [""; 0].map(std::path::PathBuf::from));
}
