use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::*;
use crate::{FileType, UnitStatus};

/// A directory that is removed at the end of a test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("pitool-host-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(fs::canonicalize(path).unwrap())
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.0.display())
    }

    fn put(&self, name: &str, content: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn link(&self, name: &str, target: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// This directory as another root.
    fn host(&self) -> Local {
        Local::new(self.0.to_str().unwrap()).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn live() -> Local {
    Local::new("/").unwrap()
}

/// Our own user and group: tests run as root or not.
fn mine(mode: u32) -> Access {
    let me = fs::metadata("/proc/self").unwrap();
    Access { mode, uid: me.uid(), gid: me.gid() }
}

fn is_root(test: &str) -> bool {
    let root = mine(0).uid == 0;
    if !root {
        println!("{test}: skipped, since it needs root");
    }
    root
}

fn sh(script: &str) -> Command {
    Command::new("sh").args(["-c", script])
}

fn text(host: &Local, path: &str) -> Option<String> {
    host.read(path).unwrap().map(|content| content.text().unwrap().to_owned())
}

#[test]
fn a_write_replaces_content_and_access_and_leaves_nothing_beside_it() {
    for another_root in [false, true] {
        let scratch = Scratch::new("write");
        let (host, path) =
            if another_root { (scratch.host(), "/file".to_owned()) } else { (live(), scratch.path("file")) };
        host.write(&path, b"one", mine(0o640)).unwrap();
        let before = fs::metadata(scratch.path("file")).unwrap();
        host.write(&path, b"two", mine(0o600)).unwrap();
        let after = fs::metadata(scratch.path("file")).unwrap();
        assert_eq!(text(&host, &path).as_deref(), Some("two"));
        assert_eq!((before.mode() & 0o7777, after.mode() & 0o7777), (0o640, 0o600));
        assert_ne!(before.ino(), after.ino(), "replaced, not rewritten");
        assert_eq!(scratch.names(), ["file"]);
        let stat = host.stat(&path).unwrap().unwrap();
        assert_eq!((stat.file_type, stat.access, stat.size), (FileType::File, mine(0o600), 3));
    }
}

#[test]
fn a_write_replaces_a_link_and_never_follows_it() {
    let scratch = Scratch::new("write-link");
    scratch.put("target", "precious");
    scratch.link("link", "target");
    live().write(&scratch.path("link"), b"new", mine(0o644)).unwrap();
    assert_eq!(fs::read_to_string(scratch.path("target")).unwrap(), "precious");
    assert_eq!(fs::read_to_string(scratch.path("link")).unwrap(), "new");
    assert!(!fs::symlink_metadata(scratch.path("link")).unwrap().is_symlink());
}

#[test]
fn a_failed_write_keeps_the_old_file_and_no_left_over() {
    let scratch = Scratch::new("write-fails");
    let host = live();
    scratch.put("directory/inside", "");
    assert!(matches!(
        host.write(&scratch.path("directory"), b"", mine(0o644)),
        Err(Error::Unexpected { expected: "a file", .. })
    ));
    assert!(matches!(host.write(&scratch.path("no/file"), b"", mine(0o644)), Err(Error::Path { .. })));
    if is_root("a_failed_write_keeps_the_old_file_and_no_left_over") {
        // A full disk, after the old file was written.
        let full = scratch.path("full");
        fs::create_dir(&full).unwrap();
        host.run(&Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs", &full])).unwrap();
        host.write(&format!("{full}/file"), b"old", mine(0o644)).unwrap();
        let failed = host.write(&format!("{full}/file"), &[b'x'; 1 << 20], mine(0o644));
        let (kept, names) = (fs::read(format!("{full}/file")), host.list(&full));
        host.run(&Command::new("umount").arg(&full)).unwrap();
        assert!(failed.is_err());
        assert_eq!(kept.unwrap(), b"old");
        assert_eq!(names.unwrap().unwrap(), ["file"]);
    }
}

#[test]
fn left_overs_of_dead_processes_are_swept_and_others_kept() {
    let scratch = Scratch::new("sweep");
    // The kernel's limit of process ids is 2^22: nobody has this one.
    for name in [".file.pitool-9999999-0", ".file.pitool-1-0", ".other.pitool-9999999-0", ".file.pitool-x-0"]
    {
        scratch.put(name, "");
    }
    assert!(is_leftover(".file.pitool-9999999-0"));
    assert!(
        !is_leftover(".file.pitool-x-0") && !is_leftover("file.pitool-1-0") && !is_leftover(".pitool-1-0")
    );
    live().write(&scratch.path("file"), b"", mine(0o644)).unwrap();
    assert_eq!(scratch.names(), [".file.pitool-1-0", ".file.pitool-x-0", ".other.pitool-9999999-0", "file"]);
}

#[test]
fn the_longest_name_can_be_written() {
    let scratch = Scratch::new("long");
    let name = "ü".repeat(127);
    live().write(&scratch.path(&name), b"x", mine(0o644)).unwrap();
    assert_eq!(scratch.names(), [name]);
}

#[test]
fn owners_and_special_bits_are_set() {
    if !is_root("owners_and_special_bits_are_set") {
        return;
    }
    let scratch = Scratch::new("owners");
    let (host, path) = (live(), scratch.path("file"));
    let access = Access { mode: 0o6755, uid: 12, gid: 34 };
    host.write(&path, b"", access).unwrap();
    assert_eq!(host.stat(&path).unwrap().unwrap().access, access);
    let access = Access { mode: 0o4711, uid: 0, gid: 34 };
    host.set_access(&path, access).unwrap();
    assert_eq!(host.stat(&path).unwrap().unwrap().access, access);
    // A new owner alone: chown(2) takes the setuid bit away.
    let access = Access { uid: 56, ..access };
    host.set_access(&path, access).unwrap();
    assert_eq!(host.stat(&path).unwrap().unwrap().access, access);
    let access = Access { mode: 0o1770, uid: 3, gid: 4 };
    host.make_dir(&scratch.path("dir"), access).unwrap();
    assert_eq!(host.stat(&scratch.path("dir")).unwrap().unwrap().access, access);
}

#[test]
fn fat_has_no_owners_and_is_read_back() {
    if !is_root("fat_has_no_owners_and_is_read_back") || live().ask(&Command::new("mkfs.vfat")).is_err() {
        println!("skipped: mkfs.vfat is missing");
        return;
    }
    let scratch = Scratch::new("fat");
    let (host, image, point) = (live(), scratch.path("image"), scratch.path("point"));
    fs::File::create(&image).unwrap().set_len(4 << 20).unwrap();
    fs::create_dir(&point).unwrap();
    host.run(&Command::new("mkfs.vfat").arg(&image)).unwrap();
    if host.run(&Command::new("mount").args(["-o", "loop", &image, &point])).is_err() {
        println!("skipped: no loop devices or no vfat");
        return;
    }
    let path = format!("{point}/cmdline.txt");
    let done = host.write(&path, b"root=/dev/mmcblk0p2", Access { mode: 0o600, uid: 7, gid: 7 });
    let again = host.set_access(&path, Access { mode: 0o600, uid: 7, gid: 7 });
    let read = text(&host, &path);
    host.run(&Command::new("umount").arg(&point)).unwrap();
    done.unwrap();
    again.unwrap();
    assert_eq!(read.as_deref(), Some("root=/dev/mmcblk0p2"));
}

#[test]
fn appending_creates_a_private_file_and_keeps_what_is_there() {
    let scratch = Scratch::new("append");
    let (host, path) = (live(), scratch.path("journal"));
    host.append(&path, b"one\n", true).unwrap();
    host.append(&path, b"two\n", false).unwrap();
    assert_eq!(text(&host, &path).as_deref(), Some("one\ntwo\n"));
    assert_eq!(host.stat(&path).unwrap().unwrap().access, mine(0o600));
    scratch.link("link", "journal");
    assert!(host.append(&scratch.path("link"), b"", false).is_err());
}

#[test]
fn writing_in_place_keeps_the_file() {
    let scratch = Scratch::new("in-place");
    scratch.put("value", "100000");
    let before = fs::metadata(scratch.path("value")).unwrap().ino();
    live().write_in_place(&scratch.path("value"), b"1").unwrap();
    assert_eq!(fs::read_to_string(scratch.path("value")).unwrap(), "1");
    assert_eq!(fs::metadata(scratch.path("value")).unwrap().ino(), before);
    assert!(live().write_in_place(&scratch.path("none"), b"1").is_err());
}

#[test]
fn links_directories_and_removal() {
    let scratch = Scratch::new("links");
    let host = live();
    let path = |name: &str| scratch.path(name);
    host.link(&path("link"), "somewhere").unwrap();
    host.link(&path("link"), "else").unwrap();
    assert_eq!(host.stat(&path("link")).unwrap().unwrap().file_type, FileType::Link("else".into()));
    assert_eq!(host.read(&path("link")).unwrap(), None, "it dangles");
    host.make_dir(&path("dir"), mine(0o750)).unwrap();
    host.make_dir(&path("dir"), mine(0o700)).unwrap();
    assert_eq!(host.stat(&path("dir")).unwrap().unwrap().access, mine(0o700));
    assert!(matches!(host.make_dir(&path("link"), mine(0o700)), Err(Error::Unexpected { .. })));
    assert!(matches!(host.link(&path("dir"), "x"), Err(Error::Unexpected { .. })));
    assert!(matches!(host.read(&path("dir")), Err(Error::Unexpected { .. })));
    assert!(matches!(host.remove(&path("dir")), Err(Error::Unexpected { .. })));
    host.write(&path("dir/b"), b"", mine(0o644)).unwrap();
    host.write(&path("dir/a"), b"", mine(0o644)).unwrap();
    assert_eq!(host.list(&path("dir")).unwrap().unwrap(), ["a", "b"]);
    assert_eq!(host.list(&path("dir/a")).unwrap(), None);
    assert_eq!(host.list(&path("none")).unwrap(), None);
    assert!(!host.remove_dir(&path("dir")).unwrap());
    host.remove(&path("dir/a")).unwrap();
    host.remove(&path("dir/b")).unwrap();
    host.remove(&path("dir/b")).unwrap();
    host.remove(&path("none/b")).unwrap();
    assert!(host.remove_dir(&path("dir")).unwrap());
    assert!(host.remove_dir(&path("dir")).unwrap());
    assert_eq!(host.stat(&path("link/below")).unwrap(), None);
    assert!(host.read("relative").is_err());
}

#[test]
fn large_files_and_fifos_are_refused_at_once() {
    let scratch = Scratch::new("large");
    fs::File::create(scratch.path("large")).unwrap().set_len((16 << 20) + 1).unwrap();
    fs::File::create(scratch.path("fits")).unwrap().set_len(16 << 20).unwrap();
    nix::unistd::mkfifo(Path::new(&scratch.path("fifo")), Mode::from_bits_truncate(0o600)).unwrap();
    assert!(matches!(live().read(&scratch.path("large")), Err(Error::Unexpected { .. })));
    assert_eq!(live().read(&scratch.path("fits")).unwrap().unwrap().bytes().len(), 16 << 20);
    assert!(matches!(live().read(&scratch.path("fifo")), Err(Error::Unexpected { .. })));
    assert!(live().read("/proc/self/status").unwrap().unwrap().text().unwrap().contains("Pid:"));
}

#[test]
fn another_root_is_never_left() {
    let scratch = Scratch::new("root");
    scratch.put("etc/passwd", "ours");
    scratch.put("usr/share/zoneinfo/UTC", "zone");
    scratch.link("etc/absolute", "/etc/passwd");
    scratch.link("etc/climbing", "../../../../../../../etc/passwd");
    scratch.link("etc/twice", "absolute");
    scratch.link("etc/localtime", "/usr/share/zoneinfo/UTC");
    scratch.link("root-of-all", "/");
    scratch.link("up", "/..");
    scratch.link("loop", "/loop");
    let host = scratch.host();
    assert!(!host.live());
    for path in [
        "/etc/passwd",
        "/etc/absolute",
        "/etc/climbing",
        "/etc/twice",
        "/../../etc/passwd",
        "/root-of-all/etc/passwd",
        "/root-of-all/../up/etc/./absolute",
        "//etc//passwd",
    ] {
        assert_eq!(text(&host, path).as_deref(), Some("ours"), "{path}");
    }
    assert_eq!(text(&host, "/etc/localtime").as_deref(), Some("zone"));
    assert_eq!(host.read("/etc/shadow").unwrap(), None);
    assert_eq!(host.read("/etc/passwd/x").unwrap(), None);
    assert!(host.read("/loop").is_err());
    assert_eq!(host.list("/up").unwrap().unwrap(), ["etc", "loop", "root-of-all", "up", "usr"]);
    assert_eq!(host.list("/etc/").unwrap().unwrap().len(), 5);
    assert_eq!(host.stat("/").unwrap().unwrap().file_type, FileType::Directory);
    assert_eq!(host.stat("/up").unwrap().unwrap().file_type, FileType::Link("/..".into()));

    // Writing through a linked directory stays inside too.
    scratch.link("var", "/srv");
    scratch.put("srv/keep", "");
    host.write("/var/new", b"x", mine(0o644)).unwrap();
    assert_eq!(fs::read_to_string(scratch.path("srv/new")).unwrap(), "x");
    host.write("/up/here", b"x", mine(0o644)).unwrap();
    assert!(Path::new(&scratch.path("here")).exists());
    assert!(host.write("/etc/..", b"x", mine(0o644)).is_err());
}

#[test]
fn a_program_sees_only_our_environment() {
    let output = live().ask(&Command::new("env").env("EXTRA", "1")).unwrap();
    let mut names: Vec<&str> = output.stdout.lines().filter_map(|line| line.split('=').next()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "APT_LISTCHANGES_FRONTEND",
            "DEBIAN_FRONTEND",
            "EXTRA",
            "HOME",
            "LANGUAGE",
            "LC_ALL",
            "NEEDRESTART_MODE",
            "NEEDRESTART_SUSPEND",
            "PATH",
            "TERM",
            "UCF_FORCE_CONFFOLD"
        ]
    );
    assert_eq!(live().ask(&sh("pwd; umask")).unwrap().stdout, "/\n0022\n");
}

#[test]
fn statuses_signals_and_missing_programs() {
    let host = live();
    let output = host.ask(&sh("echo out; echo err >&2; exit 3")).unwrap();
    assert_eq!(output, Output { status: 3, stdout: "out\n".into(), stderr: "err\n".into() });
    assert_eq!(host.ask(&sh("kill -9 $$")).unwrap().status, 137);
    assert!(
        matches!(host.run(&sh("echo no >&2; exit 3")), Err(Error::Failed { status: 3, message, .. }) if message == "no")
    );
    assert!(matches!(host.ask(&Command::new("no-such-program")), Err(Error::Start { .. })));
    assert!(matches!(host.ask(&Command::new("/etc/passwd")), Err(Error::Start { .. })));
    assert_eq!(host.ask(&sh("cat; echo $#").args(["x", "a b"])).unwrap().stdout, "1\n");
}

#[test]
fn neither_pipe_blocks_the_other() {
    let script = "head -c 20000000 /dev/zero | tr '\\0' e >&2; head -c 20000000 /dev/zero | tr '\\0' o; printf end >&2; wc -c >&2";
    let input = vec![b'i'; 3 << 20];
    let output = live().ask(&sh(script).stdin(input)).unwrap();
    assert!(output.ok());
    assert_eq!((output.stdout.len(), output.stderr.len()), (Output::LIMIT, Output::LIMIT));
    assert!(output.stderr.ends_with("eend3145728\n"), "the last bytes of stderr are kept");
    // A program need not read its input.
    assert!(live().ask(&Command::new("true").stdin(vec![0; 1 << 20])).unwrap().ok());
}

#[test]
fn lines_come_as_they_are_written() {
    let mut lines = Vec::new();
    let begun = Instant::now();
    let mut first = None;
    live()
        .run_watched(
            &sh("printf 'one\\r\\ntwo\\r50%%\\r'; sleep 0.5; printf 'three\\n\\nlast'"),
            &mut |line| {
                first.get_or_insert(begun.elapsed());
                lines.push(line.to_owned());
            },
        )
        .unwrap();
    assert_eq!(lines, ["one", "two", "50%", "three", "", "last"]);
    assert!(first.unwrap() < Duration::from_millis(400), "{first:?}");
}

#[test]
fn a_timeout_stops_the_whole_group() {
    let scratch = Scratch::new("timeout");
    let script = format!("trap '' TERM; (trap '' TERM; sleep 60) & echo $! > {}; wait", scratch.path("pid"));
    let begun = Instant::now();
    let command = sh(&script).timeout(Duration::from_millis(300));
    assert!(matches!(live().ask(&command), Err(Error::Timeout { .. })));
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    let pid = fs::read_to_string(scratch.path("pid")).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let state = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z "), "the grandchild still runs: {state}");
}

#[test]
fn a_daemon_that_keeps_the_pipes_is_not_waited_for() {
    let begun = Instant::now();
    let output = live().ask(&sh("sleep 20 & echo $!")).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let pid = output.stdout.trim().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[test]
fn a_lock_is_held_once_and_names_its_holder() {
    let scratch = Scratch::new("lock");
    let (one, two) = (scratch.host(), scratch.host());
    fs::create_dir(scratch.path("run")).unwrap();
    if mine(0).uid != 0 {
        // Only root can make the lock's directory root's.
        fs::create_dir(scratch.path("run/pitool")).unwrap();
    }
    let holder =
        |pid| LockHolder { pid, since: "2026-11-21T03:00:00Z".into(), command: "pitool apply".into() };
    let lock = one.lock("/run/pitool/lock", &holder(1)).unwrap().ok().unwrap();
    assert_eq!(two.lock("/run/pitool/lock", &holder(2)).unwrap().err(), Some(holder(1)));
    drop(lock);
    let lock = two.lock("/run/pitool/lock", &holder(2)).unwrap().ok().unwrap();
    assert_eq!(one.lock("/run/pitool/lock", &holder(1)).unwrap().err(), Some(holder(2)));
    // A removed file keeps nobody out, and the next one locks the file that is there.
    fs::remove_file(scratch.path("run/pitool/lock")).unwrap();
    assert!(one.lock("/run/pitool/lock", &holder(1)).unwrap().is_ok());
    drop(lock);
}

#[test]
fn packages_are_read_once_until_a_write() {
    let scratch = Scratch::new("packages");
    let stanza = |name: &str, state: &str, arch: &str| {
        format!(
            "Package: {name}\nStatus: install ok {state}\nArchitecture: {arch}\nVersion: 1.0\nDescription: x\n Package: no\n\n"
        )
    };
    scratch.put(
        "var/lib/dpkg/status",
        &(stanza("dpkg", "installed", "arm64") + &stanza("ufw", "installed", "all")),
    );
    scratch.put("var/lib/dpkg/updates/0001", &stanza("ufw", "half-configured", "all"));
    scratch.put("var/lib/dpkg/updates/tmp.i", "garbage");
    scratch.put("var/lib/apt/extended_states", "Package: ufw\nArchitecture: arm64\nAuto-Installed: 1\n");
    let host = scratch.host();
    let packages = host.packages().unwrap();
    assert_eq!(packages.native, "arm64");
    assert_eq!(
        packages.get("ufw").map(|ufw| (ufw.state, ufw.manual)),
        Some((crate::PackageState::Broken, false))
    );
    fs::remove_file(scratch.path("var/lib/dpkg/updates/0001")).unwrap();
    assert!(Rc::ptr_eq(&packages, &host.packages().unwrap()));
    host.append("/journal", b"x", false).unwrap();
    assert!(Rc::ptr_eq(&packages, &host.packages().unwrap()));
    scratch.put("run/pitool/mark", "");
    host.write("/run/pitool/mark", b"x", mine(0o644)).unwrap();
    assert!(Rc::ptr_eq(&packages, &host.packages().unwrap()));
    host.write("/file", b"x", mine(0o644)).unwrap();
    assert!(host.packages().unwrap().installed("ufw"));
    scratch.put("var/lib/dpkg/status", "");
    host.forget();
    assert!(matches!(host.packages(), Err(Error::Parse { .. })));
}

#[test]
fn unit_files_answer_for_another_root() {
    let scratch = Scratch::new("units");
    let install = "[Unit]\n[Install]\nWantedBy=multi-user.target\n";
    for name in ["ssh", "off", "masked", "getty@"] {
        scratch.put(&format!("usr/lib/systemd/system/{name}.service"), install);
    }
    scratch.put("usr/lib/systemd/system/static.service", "[Service]\nExecStart=/bin/true\n");
    scratch.put("usr/lib/systemd/system/also.service", "[Install]\nAlso=ssh.service\n");
    scratch.link("lib", "usr/lib");
    scratch.put("etc/init.d/old", "");
    fs::set_permissions(scratch.path("etc/init.d/old"), fs::Permissions::from_mode(0o755)).unwrap();
    let wants = "etc/systemd/system/multi-user.target.wants";
    scratch.link(&format!("{wants}/ssh.service"), "/usr/lib/systemd/system/ssh.service");
    scratch.link("etc/systemd/system/sshd.service", "/usr/lib/systemd/system/ssh.service");
    scratch.link("etc/systemd/system/masked.service", "/dev/null");
    scratch.link(
        "etc/systemd/system/getty.target.wants/getty@tty1.service",
        "/usr/lib/systemd/system/getty@.service",
    );
    let names = [
        "ssh.service",
        "sshd.service",
        "off.service",
        "masked.service",
        "static.service",
        "also.service",
        "getty@tty1.service",
        "getty@.service",
        "getty@tty2.service",
        "old.service",
        "none.service",
        "ssh.service",
    ];
    let units = scratch.host().units(&names).unwrap();
    let states: Vec<(&str, &str)> = units.iter().map(|unit| (&*unit.name, &*unit.file_state)).collect();
    let expected = [
        "enabled",
        "enabled",
        "disabled",
        "masked",
        "static",
        "indirect",
        "enabled",
        "enabled",
        "disabled",
        "generated",
        "",
        "enabled",
    ];
    assert_eq!(states, names.into_iter().zip(expected).collect::<Vec<_>>());
    assert!(units.iter().all(|unit| unit.exists == (unit.name != "none.service")));
}

#[test]
fn units_are_answered_on_any_machine() {
    let none = UnitStatus { name: "no-such-unit.service".into(), ..UnitStatus::default() };
    assert_eq!(live().units(&["no-such-unit.service"]).unwrap(), [none]);
}

#[test]
fn a_rehearsal_is_seen_inside_only() {
    if !is_root("a_rehearsal_is_seen_inside_only") {
        return;
    }
    let scratch = Scratch::new("rehearsal");
    scratch.put("etc/changed", "old");
    scratch.put("etc/gone", "old");
    scratch.put("etc/kept", "kept");
    scratch.put("etc/sub/deep", "deep");
    scratch.put("etc/conf.d/old", "old");
    scratch.link("etc/link", "kept");
    scratch.link("alias", "etc");
    fs::set_permissions(scratch.path("etc/kept"), fs::Permissions::from_mode(0o604)).unwrap();
    fs::set_permissions(scratch.path("etc"), fs::Permissions::from_mode(0o711)).unwrap();
    let host = live();
    let file = |name: &str, content: &str| Candidate::File {
        path: scratch.path(name),
        content: content.into(),
        access: Access { mode: 0o640, uid: 1, gid: 2 },
    };
    let candidates = [
        file("alias/changed", "new"),
        file("etc/fresh", "fresh"),
        file("etc/conf.d/new", "new"),
        Candidate::Absent { path: scratch.path("etc/gone") },
        Candidate::Absent { path: scratch.path("nowhere/gone") },
        Candidate::Link { path: scratch.path("etc/pointer"), target: "sub/deep".into() },
    ];
    // While it runs, the outside looks too.
    let script = format!(
        "cd {}; cat changed fresh pointer link; ls -m . conf.d; stat -c '%a %u %g' changed kept .; sleep 0.3; touch /run/pitool/x-$$ && rm /run/pitool/x-$$",
        scratch.path("etc")
    );
    let (path, seen) = (scratch.path("etc"), std::sync::mpsc::channel());
    let watcher = std::thread::spawn(move || {
        let end = Instant::now() + Duration::from_millis(250);
        while Instant::now() < end {
            let names = live().list(&path).unwrap().unwrap();
            seen.0.send((names, fs::read_to_string(format!("{path}/changed")).unwrap())).unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let output = host.ask_with(&candidates, &sh(&script)).unwrap();
    watcher.join().unwrap();
    assert_eq!(
        output.stdout,
        "newfreshdeepkept.:\nchanged, conf.d, fresh, kept, link, pointer, sub\n\nconf.d:\nnew, old\n640 1 2\n604 0 0\n711 0 0\n"
    );
    for (names, content) in seen.1.try_iter() {
        assert_eq!(names, ["changed", "conf.d", "gone", "kept", "link", "sub"]);
        assert_eq!(content, "old");
    }
    assert!(!Path::new(&scratch.path("etc/conf.d/new")).exists());
    assert_eq!(fs::read_to_string(scratch.path("etc/sub/deep")).unwrap(), "deep");

    // Errors leave no trace either; a directory that is missing is one.
    assert!(host.ask_with(&[file("etc/x", "")], &Command::new("no-such-program")).is_err());
    let missing = host.ask_with(&[file("nowhere/file", "")], &Command::new("true"));
    assert!(matches!(missing, Err(Error::Unexpected { found, .. }) if found == "missing"));
    let ours = format!("rehearsal-{}-", std::process::id());
    let left: Vec<String> = host.list("/run/pitool").unwrap().unwrap();
    assert!(!left.iter().any(|name| name.starts_with(&ours)), "{left:?}");
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains("rehearsal"), "{mounts}");
}

#[test]
fn programs_run_inside_another_root() {
    if !is_root("programs_run_inside_another_root") {
        return;
    }
    let scratch = Scratch::new("chroot");
    scratch.put("etc/who", "inside");
    // A shell with the libraries that it needs makes a small root.
    let libraries = live().ask(&Command::new("ldd").arg("/bin/sh")).unwrap().stdout;
    for file in libraries.split_whitespace().filter(|word| word.starts_with('/')).chain(["/bin/dash"]) {
        let copy = scratch.path(&file[1..]);
        fs::create_dir_all(Path::new(&copy).parent().unwrap()).unwrap();
        fs::copy(file, copy).unwrap();
    }
    scratch.link("bin/sh", "/bin/dash");
    let host = scratch.host();
    assert_eq!(
        host.ask(&sh("read who < /etc/who; echo $who $HOME; exit 3")).unwrap().stdout,
        "inside /root\n"
    );
    assert_eq!(host.ask(&sh("exit 3")).unwrap().status, 3);
    assert!(matches!(host.ask(&Command::new("cat")), Err(Error::Start { .. })));
    // What a package's script does to the network is not done to this machine's.
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    let network = |command: Command| {
        let mut seen = None;
        host.run_watched(&command, &mut |pid| {
            seen = Some(fs::read_link(format!("/proc/{pid}/ns/net")).unwrap());
            scratch.put("go", "");
        })
        .unwrap();
        fs::remove_file(scratch.path("go")).unwrap();
        seen.unwrap()
    };
    let wait = sh("echo $$; while [ ! -e /go ]; do :; done");
    assert_ne!(network(wait.clone()), own);
    assert_eq!(network(wait.online()), own);
    let candidate =
        Candidate::File { path: "/etc/who".into(), content: "candidate".into(), access: Access::root(0o644) };
    assert_eq!(
        host.ask_with(&[candidate], &sh("read who < /etc/who; echo $who")).unwrap().stdout,
        "candidate\n"
    );
}

#[test]
fn progress_interrupts_and_random_bytes() {
    let heard = Rc::new(RefCell::new(Vec::new()));
    let (listener, flag) = (Rc::clone(&heard), Arc::new(AtomicBool::new(false)));
    let host = live()
        .with_progress(Box::new(move |progress| listener.borrow_mut().push(progress)))
        .with_interrupt(Arc::clone(&flag));
    host.progress(Progress::Waiting("apt".into()));
    assert_eq!(*heard.borrow(), [Progress::Waiting("apt".into())]);
    assert!(!host.interrupted());
    flag.store(true, Ordering::Relaxed);
    assert!(host.interrupted());
    assert_ne!(host.random(16).unwrap(), host.random(16).unwrap());
}

#[test]
fn nothing_is_written_through_the_link_of_another_user() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let scratch = Scratch::new("others-link");
    scratch.put("secret/keep", "");
    scratch.link("home/.ssh", &scratch.path("secret"));
    let host = live();
    // /tmp is sticky, and this test's own directory is root's: nobody else can exchange it.
    host.write(&scratch.path("home/.ssh/keys"), b"root's own", Access::root(0o600)).unwrap();
    let path = scratch.path("home/.ssh/keys");
    // Who made the link does not matter: root can be made to make it. Who can move it does.
    for (owner, mode) in [(1234, 0o755), (0, 0o777), (0, 0o775), (0, 0o1777)] {
        std::os::unix::fs::chown(scratch.path("home"), Some(owner), None).unwrap();
        fs::set_permissions(scratch.path("home"), fs::Permissions::from_mode(mode)).unwrap();
        let errors = [
            host.write(&path, b"x", Access::root(0o600)).unwrap_err(),
            host.append(&path, b"x", false).unwrap_err(),
            host.set_access(&path, Access::root(0o644)).unwrap_err(),
            host.make_dir(&scratch.path("home/.ssh/dir"), Access::root(0o755)).unwrap_err(),
            host.link(&path, "x").unwrap_err(),
            host.remove(&path).unwrap_err(),
            host.remove_dir(&path).unwrap_err(),
            host.read(&path).unwrap_err(),
            host.look(&path).unwrap_err(),
            host.list(&scratch.path("home/.ssh")).unwrap_err(),
        ];
        for error in errors {
            assert!(
                matches!(&error, Error::Unexpected { found, .. } if found.contains("`.ssh`")),
                "{error:?}"
            );
        }
        let looked = host.look(&scratch.path("home/.ssh")).unwrap().unwrap();
        assert!(matches!(looked.stat.file_type, FileType::Link(_)));
    }
    assert_eq!(fs::read(scratch.path("secret/keys")).unwrap(), b"root's own");
    assert_eq!(fs::metadata(scratch.path("secret/keys")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn what_is_looked_at_is_what_is_read() {
    let scratch = Scratch::new("look");
    scratch.put("mine", "mine");
    scratch.put("secret", "secret");
    scratch.link("link", "secret");
    let (host, stop) = (live(), Arc::new(AtomicBool::new(false)));
    let (file, link) = (scratch.path("mine"), scratch.path("link"));
    let attacker = std::thread::spawn({
        let stop = Arc::clone(&stop);
        let (file, link) = (file.clone(), link.clone());
        move || {
            while !stop.load(Ordering::Relaxed) {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(rustix::fs::CWD, &file, rustix::fs::CWD, &link, flags).unwrap();
            }
        }
    });
    let (mut files, mut links) = (0, 0);
    for _ in 0..20_000 {
        match host.look(&file).map(|looked| looked.unwrap()) {
            Ok(Looked { stat: Stat { file_type: FileType::Link(target), .. }, content: None }) => {
                assert_eq!(target, "secret");
                links += 1;
            }
            Ok(Looked { content: Some(content), .. }) => {
                assert_eq!(content.text(), Some("mine"));
                files += 1;
            }
            Err(Error::Unexpected { found, .. }) => assert_eq!(found, "exchanged all the time"),
            other => panic!("{other:?}"),
        }
    }
    stop.store(true, Ordering::Relaxed);
    attacker.join().unwrap();
    assert!(files > 0 && links > 0, "{files} files, {links} links: nothing was exchanged");
}

#[test]
fn a_file_that_others_can_exchange_is_not_given_away() {
    if !is_root("a_file_that_others_can_exchange_is_not_given_away") {
        return;
    }
    let scratch = Scratch::new("give-away");
    scratch.put("home/file", "");
    std::os::unix::fs::chown(scratch.path("home"), Some(1234), None).unwrap();
    let (host, path) = (live(), scratch.path("home/file"));
    host.set_access(&path, Access::root(0o640)).unwrap();
    let his = Access { mode: 0o600, uid: 1234, gid: 1234 };
    assert!(matches!(host.set_access(&path, his), Err(Error::Unexpected { .. })));
    host.write(&path, b"his", his).unwrap();
    host.set_access(&path, Access { mode: 0o400, ..his }).unwrap();
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!((metadata.uid(), metadata.mode() & 0o777), (1234, 0o400));
}

#[test]
fn the_lock_is_for_root_alone() {
    let scratch = Scratch::new("lock-mode");
    let holder = LockHolder { pid: 1, since: String::new(), command: String::new() };
    scratch.put("run/x", "");
    let _lock = scratch.host().lock("/run/lock", &holder).unwrap().unwrap();
    let mode = fs::metadata(scratch.path("run/lock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "whoever can open it can lock it");
}
