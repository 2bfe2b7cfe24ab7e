//! What is mounted beneath what is saved and restored, with real mounts in a namespace of their own.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use pitool_backup::manifest::What;
use pitool_backup::restore::{Destination, Why};
use pitool_backup::{Store, StoredPath};

use crate::place::{Place, Random, whys};

const ALONE: &str = "PITOOL_BACKUP_MOUNTS";

/// Whether this is the process that may mount; where it is not, runs the test in one, if the kernel allows it.
#[expect(clippy::print_stderr, reason = "a test that could not run says so")]
fn may_mount(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let own = ["--mount", "--propagation", "private"];
    let user = if rustix::process::geteuid().is_root() { &[][..] } else { &["--user", "--map-root-user"] };
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(own).args(user);
        command
    };
    if !unshare().arg("true").status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: {test} (nobody may mount here)");
        return false;
    }
    let program = std::env::current_exe().unwrap();
    let output = unshare().arg(program).args(["--exact", test]).env(ALONE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    false
}

fn mount(args: &[&str], at: &Path) {
    fs::create_dir_all(at).unwrap();
    assert!(Command::new("mount").args(args).arg(at).status().unwrap().success());
}

fn stored(path: &Path) -> StoredPath {
    StoredPath::of(path).unwrap()
}

#[test]
fn an_exact_restore_leaves_other_file_systems_alone() {
    if !may_mount("mounts::an_exact_restore_leaves_other_file_systems_alone") {
        return;
    }
    let place = Place::new();
    place.write("kept/file", "saved");
    place.write("disk/sub/file", "saved");
    fs::create_dir(place.source("nas")).unwrap();
    let elsewhere = place.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("precious"), "precious").unwrap();
    place.save();

    // An empty directory of the archive, one with files, one that it does not have, and a single file.
    mount(&["-t", "tmpfs", "none"], &place.source("nas"));
    mount(&["-t", "tmpfs", "none"], &place.source("disk"));
    mount(&["--bind", elsewhere.to_str().unwrap()], &place.source("new/deep"));
    place.write("nas/precious", "precious");
    place.write("disk/precious", "precious");
    place.write("disk/sub/precious", "precious");
    place.write("disk/sub/file", "was there");
    place.write("new/goes", "later");
    place.write("kept/goes", "later");
    place.write("mounted-file", "");
    let file = place.source("mounted-file");
    let args = ["--bind", elsewhere.join("precious").to_str().unwrap()].map(str::to_owned);
    assert!(Command::new("mount").args(args).arg(&file).status().unwrap().success());

    let restored = place.restore_to(&Destination::InPlace, &[], true).unwrap();
    assert_eq!(whys(&restored.problems), [""; 0]);
    for precious in
        ["nas/precious", "disk/precious", "disk/sub/precious", "new/deep/precious", "mounted-file"]
    {
        assert_eq!(fs::read_to_string(place.source(precious)).unwrap(), "precious", "{precious}");
    }
    assert!(!place.source("new/goes").exists() && !place.source("kept/goes").exists());
    assert_eq!(restored.deleted, 2);
    let spared: Vec<_> = restored.spared.iter().map(|one| (one.path.absolute(), one.why)).collect();
    let mounted = ["disk", "disk/sub", "mounted-file", "nas", "new/deep"];
    assert_eq!(spared, mounted.map(|name| (place.source(name), Why::OtherFileSystem)));
    // What was replaced there is kept like all the rest.
    assert_eq!(fs::read_to_string(place.source("disk/sub/file")).unwrap(), "saved");
    let safety = Store::new(place.path("safety"));
    let archives = safety.list().unwrap();
    assert_eq!(archives.iter().map(|one| &one.name).collect::<Vec<_>>(), [&restored.safety.unwrap()]);
    let kept = place.restore_from(&safety, &archives[0], "kept-out");
    assert_eq!(fs::read_to_string(kept.join("disk/sub/file")).unwrap(), "was there");
}

#[test]
fn a_named_file_system_is_purged_but_not_what_is_mounted_in_it() {
    if !may_mount("mounts::a_named_file_system_is_purged_but_not_what_is_mounted_in_it") {
        return;
    }
    let place = Place::new();
    mount(&["-t", "tmpfs", "none"], &place.source(""));
    place.write("file", "saved");
    fs::create_dir(place.source("inner")).unwrap();
    place.save();
    mount(&["-t", "tmpfs", "none"], &place.source("inner"));
    place.write("inner/precious", "precious");
    place.write("goes/away", "later");
    let restored = place.restore_to(&Destination::InPlace, &[], true).unwrap();
    assert_eq!(whys(&restored.problems), [""; 0]);
    assert!(place.source("inner/precious").exists() && !place.source("goes").exists());
    assert_eq!(restored.deleted, 2);
}

#[test]
fn what_is_named_is_saved_wherever_the_way_to_it_ends() {
    if !may_mount("mounts::what_is_named_is_saved_wherever_the_way_to_it_ends") {
        return;
    }
    let mut place = Place::new();
    for name in ["disk", "nas"] {
        mount(&["-t", "tmpfs", "none"], &place.source(name));
    }
    for name in ["disk/named", "nas/deep/named/file", "nas/other", "out/in/file", "out/other", "z"] {
        place.write(name, "content");
    }
    place.set.exclude = vec!["out".into()];
    let named = ["", "disk", "nas/deep/named", "out/in"];
    place.set.paths = named.iter().map(|name| place.source(name)).collect();
    // Until then the times of files tell nothing.
    std::thread::sleep(std::time::Duration::from_secs(4));
    let saved = place.save();
    let other: Vec<_> = saved.notes.iter().map(|note| (note.what, note.path.clone())).collect();
    assert_eq!(other, [(What::OtherFileSystem, stored(&place.source("nas")).as_bytes().to_vec())]);
    let (out, restored) = place.restore("restored");
    assert_eq!(whys(&restored.problems), [""; 0]);
    for there in ["disk/named", "nas/deep/named/file", "out/in/file", "z"] {
        assert_eq!(fs::read_to_string(out.join(there)).unwrap(), "content", "{there}");
    }
    assert!(!out.join("nas/other").exists() && !out.join("out/other").exists());
    // And again, beside the archive before.
    assert_eq!(place.save().end.changed, 0);
}

#[test]
fn an_exact_restore_deletes_only_what_the_archive_would_have() {
    let mut place = Place::new();
    place.write("kept", "saved");
    place.write("archives/kept", "saved");
    place.write("cache/before", "left out");
    place.set.exclude = vec!["cache".into(), "*.tmp".into()];
    place.save();
    place.write("archives/.pitool-target", "{}");
    place.write("archives/newer-20261121T000000Z-000001.tar.zst", "the only copy");
    place.write("more/x.tmp", "left out");
    place.write("more/goes", "later");
    let socket = UnixListener::bind(place.source("socket")).unwrap();
    let restored = place.restore_to(&Destination::InPlace, &[], true).unwrap();
    assert_eq!((whys(&restored.problems), restored.deleted), (Vec::new(), 1));
    for there in ["cache/before", "archives/newer-20261121T000000Z-000001.tar.zst", "more/x.tmp", "socket"] {
        assert!(place.source(there).exists(), "{there}");
    }
    assert!(!place.source("more/goes").exists());
    assert_eq!(restored.spared.len(), 1);
    assert_eq!(
        (restored.spared[0].path.absolute(), restored.spared[0].why),
        (place.source("archives"), Why::Own)
    );
    drop(socket);
}

#[test]
fn archives_beneath_what_is_restored_are_not_deleted() {
    let mut place = Place::new();
    place.write("kept", "saved");
    place.set.paths = vec![place.folder.path().to_owned()];
    place.save();
    place.write("goes", "later");
    let archives = place.store().list().unwrap();
    let restored = place.restore_to(&Destination::InPlace, &[], true).unwrap();
    assert_eq!((whys(&restored.problems), restored.deleted), (Vec::new(), 1));
    assert_eq!(place.store().list().unwrap(), archives);
    let spared: Vec<_> = restored.spared.iter().map(|one| (one.path.absolute(), one.why)).collect();
    assert_eq!(spared, ["safety", "scratch", "state", "store"].map(|name| (place.path(name), Why::Own)));
    assert!(restored.safety.is_some() && Store::new(place.path("safety")).list().unwrap().len() == 1);
}

#[test]
fn nothing_is_deleted_unless_all_is_restored() {
    let place = Place::new();
    place.write("a", Random(1).bytes(600_000));
    place.write("b", "saved");
    place.save();
    let mut bytes = fs::read(place.archive()).unwrap();
    bytes[300_000] ^= 1;
    fs::write(place.archive(), bytes).unwrap();
    place.write("later", "later");
    let restored = place.restore_to(&Destination::InPlace, &[], true).unwrap();
    assert!(place.source("later").exists() && place.source("a").exists());
    assert!(whys(&restored.problems).iter().any(|why| why.contains("nothing was deleted")));
    assert_eq!(restored.deleted, 0);
}
