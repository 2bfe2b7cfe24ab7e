use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, mkdirat, mkfifoat};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::*;
use crate::Access;

/// A directory of this process's user, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("pitool-trust-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        Self(path)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    fn put(&self, path: &str, content: &str) -> &Self {
        fs::write(self.path(path), content).unwrap();
        self
    }

    fn dir(&self, path: &str, mode: u32) -> &Self {
        fs::create_dir(self.path(path)).unwrap();
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    fn link(&self, path: &str, target: &str) -> &Self {
        symlink(target, self.path(path)).unwrap();
        self
    }

    fn fifo(&self, path: &str) -> &Self {
        mkfifoat(CWD, self.path(path), Mode::from_raw_mode(0o600)).unwrap();
        self
    }

    /// The root by both ways: openat2 and the walk by hand.
    fn roots(&self) -> [Root; 2] {
        [Root::open(&self.0).unwrap(), Root::open(&self.0).unwrap().by_hand()]
    }

    fn directory(&self, path: &str) -> Directory {
        let path = Path::new("/").join(path);
        Root::open(&self.0).unwrap().directory(&path, Last::Itself).unwrap()
    }

    fn mode(&self, path: &str) -> u32 {
        fs::symlink_metadata(self.path(path)).unwrap().mode() & 0o7777
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn name(name: &str) -> &OsStr {
    OsStr::new(name)
}

fn content(root: &Root, path: &str) -> Result<String> {
    let file = root.open_file(Path::new(path), Last::Follow)?;
    Ok(String::from_utf8(read_bounded(&file, 1000)?).unwrap())
}

fn ours(mode: u32) -> Access {
    Access { mode, uid: geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
}

#[test]
fn a_link_is_followed_only_where_root_alone_can_write() {
    let scratch = Scratch::new("links");
    scratch.put("secret", "secret");
    for (dir, mode) in
        [("own", 0o755), ("private", 0o700), ("group", 0o775), ("world", 0o777), ("sticky", 0o1777)]
    {
        scratch.dir(dir, mode).link(&format!("{dir}/last"), "../secret").link(&format!("{dir}/way"), "..");
    }
    for root in scratch.roots() {
        for dir in ["own", "private"] {
            assert_eq!(content(&root, &format!("/{dir}/last")).unwrap(), "secret");
            assert_eq!(content(&root, &format!("/{dir}/way/secret")).unwrap(), "secret");
        }
        for dir in ["group", "world", "sticky"] {
            for path in [format!("/{dir}/last"), format!("/{dir}/way/secret"), format!("/own/../{dir}/last")]
            {
                let error = content(&root, &path).unwrap_err();
                assert!(matches!(error, Error::ForeignLink { .. }), "{path}: {error:?}");
            }
            let last = format!("/{dir}/last");
            let looked = root.look(Path::new(&last), Last::Itself).unwrap();
            assert_eq!(looked.target().unwrap(), "../secret", "a link itself can be looked at");
            let error = root.directory(Path::new(&format!("/{dir}/way")), Last::Follow).unwrap_err();
            assert!(matches!(error, Error::ForeignLink { .. }), "{error:?}");
        }
    }
}

#[test]
fn a_link_is_not_followed_in_a_directory_that_somebody_can_exchange() {
    let scratch = Scratch::new("exchange");
    scratch.put("secret", "secret");
    for (outer, mode) in [("world", 0o777), ("sticky", 0o1777)] {
        scratch.dir(outer, mode).dir(&format!("{outer}/own"), 0o755);
        scratch.link(&format!("{outer}/own/last"), "/secret");
    }
    for root in scratch.roots() {
        let error = content(&root, "/world/own/last").unwrap_err();
        assert!(matches!(error, Error::ForeignLink { .. }), "{error:?}");
        // In a sticky directory nobody else can rename what is ours.
        assert_eq!(content(&root, "/sticky/own/last").unwrap(), "secret");
    }
}

#[test]
fn another_users_directory_is_not_trusted_whatever_its_mode() {
    if !geteuid().is_root() {
        return; // Only root can give a directory away; the modes are tested for every user.
    }
    let scratch = Scratch::new("owner");
    scratch.put("secret", "secret").dir("his", 0o755).link("his/last", "/secret");
    std::os::unix::fs::chown(scratch.path("his"), Some(1000), Some(1000)).unwrap();
    // A link of his in a directory of root's is root's choice: root put it there or lets it be there.
    scratch.link("last", "secret");
    std::os::unix::fs::lchown(scratch.path("last"), Some(1000), Some(1000)).unwrap();
    for root in scratch.roots() {
        let error = content(&root, "/his/last").unwrap_err();
        assert!(matches!(error, Error::ForeignLink { .. }), "{error:?}");
        assert_eq!(content(&root, "/last").unwrap(), "secret");
    }
}

#[test]
fn no_path_leads_out_of_a_root() {
    let scratch = Scratch::new("inside");
    let outside = Scratch::new("outside");
    outside.put("file", "outside");
    scratch.dir("etc", 0o755).put("etc/file", "inside");
    scratch.link("up", "../../../../../..").link("abs", "/etc/file").link("circle", "circle");
    scratch.link("out", outside.0.to_str().unwrap());
    for root in scratch.roots() {
        for path in
            ["/etc/file", "/up/etc/file", "/abs", "/../../etc/file", "/etc/../etc/./file", "//etc//file"]
        {
            assert_eq!(content(&root, path).unwrap(), "inside", "{path}");
        }
        assert!(content(&root, "/out/file").unwrap_err().is_missing());
        assert_eq!(content(&root, "/circle").unwrap_err().errno(), Some(Errno::LOOP));
        assert!(
            content(&root, "/etc/file/").unwrap_err().is_missing(),
            "a trailing slash asks for a directory"
        );
        assert!(content(&root, "etc/file").is_err(), "relative");
        assert_eq!(root.canonical(Path::new("/up/etc/new")).unwrap(), Path::new("/etc/new"));
        assert_eq!(root.parent(Path::new("/up/new")).unwrap().1, "new");
        assert_eq!(root.parent(Path::new("/")).unwrap_err().errno(), Some(Errno::BUSY));
        assert_eq!(root.parent(Path::new("/etc/..")).unwrap_err().errno(), Some(Errno::INVAL));
    }
}

#[test]
fn only_regular_files_are_opened_and_the_error_names_what_is_there() {
    let scratch = Scratch::new("kinds");
    scratch.put("file", "x").dir("directory", 0o755).link("link", "file").fifo("fifo");
    let _socket = UnixListener::bind(scratch.path("socket")).unwrap();
    let expected = [
        ("directory", Kind::Directory),
        ("link", Kind::Link),
        ("fifo", Kind::Fifo),
        ("socket", Kind::Socket),
    ];
    let directory = scratch.directory("");
    for (entry, kind) in expected {
        let found = |error: Error| match error {
            Error::Unexpected { found, expected: Kind::File } => found,
            error => panic!("{entry}: {error:?}"),
        };
        assert_eq!(found(directory.open_file(name(entry)).unwrap_err()), kind);
        assert_eq!(directory.look(name(entry)).unwrap().kind(), kind);
        assert_eq!(found(directory.look(name(entry)).unwrap().open_file(OFlags::RDONLY).unwrap_err()), kind);
        for root in scratch.roots() {
            let path = Path::new("/").join(entry);
            assert_eq!(found(root.open_file(&path, Last::Itself).unwrap_err()), kind);
        }
        if kind != Kind::Directory {
            let error = directory.enter(name(entry)).unwrap_err();
            assert!(matches!(error, Error::Unexpected { found, expected: Kind::Directory } if found == kind));
        }
    }
    let machine = Root::open(Path::new("/")).unwrap();
    let error = machine.open_file(Path::new("/dev/null"), Last::Follow).unwrap_err();
    assert_eq!(error.to_string(), "it is a character device, expected a regular file");
}

#[test]
fn reading_is_bounded_whatever_the_size_says() {
    let scratch = Scratch::new("bounded");
    let file = scratch.put("file", "12345").directory("").open_file(name("file")).unwrap();
    assert_eq!(read_bounded(&file, 5).unwrap(), b"12345");
    let file = scratch.directory("").open_file(name("file")).unwrap();
    assert!(matches!(read_bounded(&file, 4), Err(Error::TooLarge { limit: 4 })));
    // Its size is 0, and it has no end.
    let endless = File::open("/dev/zero").unwrap();
    assert!(matches!(read_bounded(&endless, 100), Err(Error::TooLarge { limit: 100 })));
    let status = File::open("/proc/self/status").unwrap();
    assert!(read_bounded(&status, 1 << 16).unwrap().starts_with(b"Name:"));
}

#[test]
fn new_things_are_made_where_nobody_else_can_reach_them() {
    let scratch = Scratch::new("staging");
    for (dir, mode) in [("world", 0o777), ("sticky", 0o1777), ("own", 0o755)] {
        scratch.dir(dir, mode).put(&format!("{dir}/file"), "old");
        let directory = scratch.directory(dir);
        directory
            .write::<Error>(name("file"), |file| {
                file.write_all(b"new")?;
                attributes::set_access(&*file, ours(0o644))?;
                let others: Vec<_> = directory.list()?.into_iter().filter(|name| name != "file").collect();
                let [temporary] = &others[..] else { panic!("{others:?}") };
                assert!(is_leftover(temporary));
                if dir != "own" {
                    let looked = directory.look(temporary)?;
                    assert_eq!((looked.kind(), looked.access().mode), (Kind::Directory, 0o700));
                }
                assert_eq!(fs::read_to_string(scratch.path(dir).join("file")).unwrap(), "old");
                Ok(())
            })
            .unwrap();
        assert_eq!(fs::read_to_string(scratch.path(dir).join("file")).unwrap(), "new");
        assert_eq!(scratch.mode(&format!("{dir}/file")), 0o644);

        let made = directory.make_dir(name("made"), ours(0o2750)).unwrap();
        assert_eq!(made.metadata().unwrap().mode() & 0o7777, 0o2750);
        for taken in ["made", "file"] {
            let error = directory.make_dir(name(taken), ours(0o700)).unwrap_err();
            assert_eq!(error.errno(), Some(Errno::EXIST));
        }
        let failed = directory.write(name("file"), |file| {
            file.write_all(b"half")?;
            Err(Error::NotOurs("test"))
        });
        assert!(matches!(failed, Err(Error::NotOurs("test"))));
        assert_eq!(fs::read_to_string(scratch.path(dir).join("file")).unwrap(), "new");
        assert_eq!(directory.list().unwrap(), ["file", "made"], "nothing temporary stays");
    }
}

#[test]
fn a_link_in_a_files_place_is_replaced_and_not_followed() {
    let scratch = Scratch::new("replace");
    scratch.put("victim", "victim").dir("world", 0o777).link("world/file", "../victim");
    let directory = scratch.directory("world");
    directory.write::<Error>(name("file"), |file| Ok(file.write_all(b"new")?)).unwrap();
    assert_eq!(fs::read_to_string(scratch.path("victim")).unwrap(), "victim");
    assert!(fs::symlink_metadata(scratch.path("world/file")).unwrap().is_file());
    fs::create_dir(scratch.path("world/dir")).unwrap();
    assert!(directory.write::<Error>(name("dir"), |_| Ok(())).is_err());
}

#[test]
fn what_somebody_else_made_is_not_taken_over() {
    let scratch = Scratch::new("own");
    scratch.dir("world", 0o777);
    let directory = scratch.directory("world");
    directory.create_own(name("mine")).unwrap().write_all(b"half").unwrap();
    assert_eq!(read_bounded(&directory.open_own(name("mine")).unwrap(), 9).unwrap(), b"half");
    assert_eq!(directory.create_own(name("mine")).unwrap_err().errno(), Some(Errno::EXIST));

    scratch.put("world/open", "");
    fs::set_permissions(scratch.path("world/open"), fs::Permissions::from_mode(0o666)).unwrap();
    directory.create_own(name("linked")).unwrap();
    fs::hard_link(scratch.path("world/linked"), scratch.path("world/second")).unwrap();
    scratch.fifo("world/fifo").link("world/link", "mine");
    for (entry, why) in [
        ("open", "it is not pitool's own: its mode lets others in"),
        ("linked", "it is not pitool's own: it has a second name (a hard link)"),
        ("fifo", "it is a FIFO, expected a regular file"),
        ("link", "it is a symbolic link, expected a regular file"),
    ] {
        assert_eq!(directory.open_own(name(entry)).unwrap_err().to_string(), why);
    }
    if geteuid().is_root() {
        directory.create_own(name("his")).unwrap();
        std::os::unix::fs::chown(scratch.path("world/his"), Some(1000), None).unwrap();
        let error = directory.open_own(name("his")).unwrap_err();
        assert_eq!(error.to_string(), "it is not pitool's own: it belongs to another user");
    }

    let partial = directory.private(name("partial")).unwrap();
    partial.create_own(name("x")).unwrap();
    assert_eq!(directory.private(name("partial")).unwrap().list().unwrap(), ["x"]);
    scratch.dir("world/his-dir", 0o777);
    assert!(matches!(directory.private(name("his-dir")), Err(Error::NotOurs(_))));
    assert!(matches!(directory.private(name("link")), Err(Error::Unexpected { found: Kind::Link, .. })));
}

#[test]
fn attributes_go_to_what_was_looked_at_and_not_to_its_name() {
    let scratch = Scratch::new("attributes");
    scratch.put("victim", "").fifo("fifo").link("link", "victim");
    fs::set_permissions(scratch.path("victim"), fs::Permissions::from_mode(0o600)).unwrap();
    let directory = scratch.directory("");
    let fifo = directory.look(name("fifo")).unwrap();
    let link = directory.look(name("link")).unwrap();
    // What an attacker does between looking and changing.
    fs::rename(scratch.path("fifo"), scratch.path("moved")).unwrap();
    scratch.link("fifo", "victim");
    let before = fs::metadata(scratch.path("victim")).unwrap();

    attributes::set_mode(&fifo, 0o4777).unwrap();
    let time = Timespec { tv_sec: 1_000_000_000, tv_nsec: 5 };
    let times =
        Timestamps { last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, last_modification: time };
    let (uid, gid) = (Some(geteuid().as_raw()), Some(rustix::process::getegid().as_raw()));
    for object in [&fifo, &link] {
        attributes::set_owner(object, uid, gid).unwrap();
        attributes::set_times(object, &times).unwrap();
    }
    if geteuid().is_root() {
        // The trusted namespace is the one that links and FIFOs may have.
        for object in [&fifo, &link] {
            match attributes::set_xattr(object, "trusted.pitool", b"x") {
                Ok(()) => {}
                Err(error) => assert_eq!(error.errno(), Some(Errno::OPNOTSUPP), "{error:?}"),
            }
        }
    }
    let moved = fs::symlink_metadata(scratch.path("moved")).unwrap();
    assert_eq!((moved.mtime(), moved.mtime_nsec()), (1_000_000_000, 5));
    assert_eq!(fs::symlink_metadata(scratch.path("link")).unwrap().mtime(), 1_000_000_000);
    let victim = fs::metadata(scratch.path("victim")).unwrap();
    assert_eq!((victim.mode(), victim.mtime()), (before.mode(), before.mtime()), "the victim is as it was");
    assert_ne!(moved.mode() & 0o777, 0o600, "the FIFO got the mode");
    let error = Object::new(File::open(scratch.path("victim")).unwrap());
    attributes::set_mode(error.unwrap(), 0o640).unwrap();
    assert_eq!(scratch.mode("victim"), 0o640);
}

#[test]
fn a_deep_tree_is_removed_without_descriptors_or_stack() {
    let scratch = Scratch::new("deep");
    scratch.dir("tree", 0o755).put("keep", "x").link("tree/link", "../keep");
    let mut at = scratch.directory("tree");
    for level in 0..1100 {
        for entry in ["a", "b"] {
            mkdirat(&at, entry, Mode::RWXU).unwrap();
        }
        at.create_own(OsStr::from_bytes(b"not-\xff-text")).unwrap();
        if level % 2 == 0 {
            at.remove_dir(name("b")).unwrap();
        }
        at = at.enter(name("a")).unwrap();
    }
    let top = scratch.directory("");
    top.remove_tree(name("tree")).unwrap();
    assert_eq!(top.list().unwrap(), ["keep"]);
    assert!(top.remove_tree(name("tree")).unwrap_err().is_missing());
}

#[test]
fn a_name_is_one_entry() {
    let scratch = Scratch::new("names");
    scratch.dir("dir", 0o755).put("dir/file", "");
    let directory = scratch.directory("");
    for bad in ["", ".", "..", "dir/file", "/etc", "a\0b"] {
        let bad = name(bad);
        let errors = [
            directory.look(bad).unwrap_err(),
            directory.open_file(bad).unwrap_err(),
            directory.enter(bad).unwrap_err(),
            directory.make_dir(bad, ours(0o755)).unwrap_err(),
            directory.remove(bad).unwrap_err(),
            directory.remove_tree(bad).unwrap_err(),
            directory.rename(name("dir"), &directory, bad).unwrap_err(),
            directory.write::<Error>(bad, |_| Ok(())).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.errno(), Some(Errno::INVAL), "{bad:?}: {error:?}");
        }
    }
}

#[test]
fn leftovers_of_dead_processes_are_swept() {
    let scratch = Scratch::new("sweep");
    // Larger than any process id of Linux (PID_MAX_LIMIT is 2^22).
    let (dead, living) = (".file.pitool-2000000000-1", format!(".file.pitool-{}-77", std::process::id()));
    scratch.put(dead, "").put(&living, "").put(".other.pitool-2000000000-1", "").put("file", "");
    scratch.dir(".file.pitool-2000000000-2", 0o700).put(".file.pitool-2000000000-2/file", "");
    let directory = scratch.directory("");
    directory.sweep(name("file"));
    let mut left = [".other.pitool-2000000000-1", &living, "file"];
    left.sort();
    assert_eq!(directory.list().unwrap(), left);
    for (name, leftover) in [
        (dead, true),
        ("file.pitool-1-1", false),
        (".pitool-1-1", false),
        (".x.pitool-1", false),
        (".x.pitool--1-1", false),
    ] {
        assert_eq!(is_leftover(OsStr::new(name)), leftover, "{name}");
    }
}
