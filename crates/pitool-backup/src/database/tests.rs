#![expect(clippy::disallowed_methods, reason = "tests make and look at real databases")]

use std::ffi::CString;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::time::{Duration, Instant};

use super::*;

/// The process that reads databases: this very program, called again by the tests below.
mod internal {
    #[test]
    fn sqlite_pages() {
        let arguments: Vec<_> = std::env::args_os().collect();
        if crate::database::is_meant(&arguments) {
            let _ = crate::database::serve();
        }
    }
}

/// A user that has no name anywhere.
const OWNER: u32 = 1234;

struct Place {
    folder: tempfile::TempDir,
    writer: Option<Connection>,
    readers: Arc<Readers>,
}

/// Opens a database without waiting for others.
fn open(path: &Path) -> Connection {
    let database = Connection::open(path).unwrap();
    database.busy_timeout(Duration::ZERO).unwrap();
    database
}

impl Place {
    /// A directory of the owner's, and one that is root's alone for copies.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        for name in ["data", "scratch"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        std::fs::set_permissions(folder.path().join("scratch"), PermissionsExt::from_mode(0o700)).unwrap();
        let limits = Limits { patience: Duration::from_millis(300), reply: Duration::from_secs(5) };
        let readers = Arc::new(Readers::new(&folder.path().join("scratch"), limits));
        let place = Self { folder, writer: None, readers };
        place.give("");
        place
    }

    /// With a database of some pages in which every row says 0.
    fn with(journal: &str) -> Self {
        let mut place = Self::new();
        let writer = open(&place.path("db"));
        writer
            .execute_batch(&format!(
                "PRAGMA journal_mode = {journal}; CREATE TABLE t (n INTEGER, filler);
                 WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 3000)
                 INSERT INTO t SELECT 0, randomblob(100) FROM c;"
            ))
            .unwrap();
        place.writer = Some(writer);
        place.give_all();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("data").join(name)
    }

    /// Gives a file to the owner; only root can, and for others everything belongs to themselves.
    fn give(&self, name: &str) {
        if rustix::process::geteuid().is_root() {
            chown(self.path(name), Some(OWNER), Some(OWNER)).unwrap();
        }
    }

    fn give_all(&self) {
        for entry in std::fs::read_dir(self.path("")).unwrap() {
            self.give(entry.unwrap().file_name().to_str().unwrap());
        }
    }

    fn mode(&self, name: &str, mode: u32) {
        std::fs::set_permissions(self.path(name), PermissionsExt::from_mode(mode)).unwrap();
    }

    fn take_named(&self, name: &CStr, used: Use) -> Result<Snapshot, NotTaken> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let directory = openat(rustix::fs::CWD, self.path(""), flags, Mode::empty()).unwrap();
        let file =
            openat(&directory, name, flags | OFlags::NOFOLLOW | OFlags::NONBLOCK, Mode::empty()).unwrap();
        let meta = Meta::of(&fstat(&file).unwrap());
        Snapshot::of(&self.readers, &Candidate { directory: &directory, name, file: &file, meta }, used)
    }

    fn take(&self, used: Use) -> Result<Snapshot, NotTaken> {
        self.take_named(c"db", used)
    }

    fn refusal(&self) -> String {
        self.take(Use::Long).err().expect("it was taken").to_string()
    }

    /// Changes every row, and tells whether all of the log went into the file.
    fn write(&mut self) -> bool {
        let path = self.path("db");
        let writer = self.writer.get_or_insert_with(|| open(&path));
        writer.execute_batch("UPDATE t SET n = n + 1, filler = randomblob(100)").unwrap();
        let busy: i64 = writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).unwrap();
        busy == 0
    }

    /// What a snapshot gives, as a whole database.
    fn read(&self, snapshot: &Snapshot) -> Connection {
        let mut bytes = vec![0; usize::try_from(snapshot.size()).unwrap()];
        for (number, piece) in (0..).zip(bytes.chunks_mut(256 << 10)) {
            snapshot.read(piece, number * (256 << 10)).unwrap();
        }
        let copy = self.folder.path().join("copy");
        std::fs::write(&copy, &bytes).unwrap();
        assert_eq!(check(&copy, "integrity_check").unwrap(), "ok");
        assert_eq!(snapshot.check(), "ok");
        Connection::open(copy).unwrap()
    }

    fn sum(&self, snapshot: &Snapshot) -> i64 {
        self.read(snapshot).query_row("SELECT sum(n) FROM t", [], |row| row.get(0)).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path("")).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The process that reads for a snapshot.
    fn reader(&self, snapshot: &Snapshot) -> u32 {
        snapshot.held().reader.as_ref().unwrap().id()
    }
}

/// Whether any process has a lock on a file, proc_locks(5).
fn is_locked(path: &Path) -> bool {
    let end = format!(":{}", std::fs::metadata(path).unwrap().ino());
    let locks = std::fs::read_to_string("/proc/locks").unwrap();
    locks.lines().any(|line| line.split_ascii_whitespace().nth(5).is_some_and(|file| file.ends_with(&end)))
}

fn as_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn a_database_without_a_log_is_read_from_its_file_and_nobody_writes_to_that() {
    let mut place = Place::with("WAL");
    place.writer = None;
    let snapshot = place.take(Use::Long).unwrap();
    assert!(snapshot.file.is_some());
    assert!(is_locked(&place.path("db")));
    assert!(!place.write(), "the log went into the file");
    assert_eq!(place.sum(&snapshot), 0);
    drop(snapshot);
    assert!(place.write());
}

#[test]
fn a_database_with_a_log_is_read_through_it() {
    let mut place = Place::with("WAL");
    let snapshot = place.take(Use::Long).unwrap();
    assert!(snapshot.file.is_none());
    place.write();
    place.write();
    assert_eq!(place.sum(&snapshot), 0);
    drop(snapshot);
    assert!(place.write());
    let later = place.take(Use::Long).unwrap();
    assert!(later.file.is_some());
    assert_eq!(place.sum(&later), 9000);
}

#[test]
fn a_database_with_a_journal_is_copied_and_then_free_and_its_copy_goes() {
    let mut place = Place::with("DELETE");
    for used in [Use::Brief, Use::Long] {
        let snapshot = place.take(used).unwrap();
        assert_eq!(snapshot.method(), CopyMethod::OneStep);
        assert_eq!(is_locked(&place.path("db")), used == Use::Brief);
        if used == Use::Long {
            place.write();
        }
        assert_eq!(place.sum(&snapshot), 0);
    }
    assert_eq!(std::fs::read_dir(&place.readers.scratch).unwrap().count(), 0);
    assert_eq!(place.names(), ["db"]);
}

#[test]
fn the_process_has_the_ids_of_the_owner_no_capability_and_cannot_be_traced() {
    if !as_root() {
        return;
    }
    let place = Place::with("WAL");
    let snapshot = place.take(Use::Long).unwrap();
    let process = place.reader(&snapshot);
    // Of the thread that serves: here it is a test of its own, in the program the only one.
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let told: Vec<String> = tasks
        .map(|task| std::fs::read_to_string(task.unwrap().path().join("status")).unwrap())
        .filter(|status| status.contains("CapEff:\t0000000000000000"))
        .collect();
    let [status] = told.as_slice() else { panic!("{} tasks dropped their rights", told.len()) };
    let of = |word: &str| status.lines().find_map(|line| line.strip_prefix(word)).unwrap().trim();
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(of(set), "0000000000000000", "{set}");
    }
    assert_eq!(of("NoNewPrivs:"), "1");
    assert_eq!(of("Uid:"), format!("{OWNER}\t{OWNER}\t{OWNER}\t{OWNER}"));
    assert_eq!(of("Gid:"), format!("{OWNER}\t{OWNER}\t{OWNER}\t{OWNER}"));
    assert_eq!(of("Groups:"), "");
    // Everything below /proc of a process that cannot be traced is root's.
    assert_eq!(std::fs::metadata(format!("/proc/{process}/mem")).unwrap().uid(), 0);
}

#[test]
fn one_process_reads_all_databases_of_an_owner() {
    let place = Place::new();
    let mut processes = std::collections::BTreeSet::new();
    for number in 0..20 {
        let name = format!("db{number}");
        open(&place.path(&name)).execute_batch("CREATE TABLE t (n)").unwrap();
        place.give(&name);
        let snapshot = place.take_named(&CString::new(name).unwrap(), Use::Brief).unwrap();
        processes.insert(place.reader(&snapshot));
    }
    assert_eq!(processes.len(), 1);
}

#[test]
fn names_that_mean_something_to_sqlite_are_names_of_files() {
    let place = Place::new();
    for name in [":memory:", "file:x?mode=memory", "a b'c\"d", "..db"] {
        open(&place.path("plain")).execute_batch("CREATE TABLE t (n); INSERT INTO t VALUES (7)").unwrap();
        std::fs::rename(place.path("plain"), place.path(name)).unwrap();
        place.give(name);
        let snapshot = place.take_named(&CString::new(name).unwrap(), Use::Long).unwrap();
        assert_eq!(place.sum(&snapshot), 7, "{name}");
    }
}

/// K1.1: what SQLite creates beside a database, it creates as the owner, or not at all.
#[test]
fn nothing_is_created_where_the_owner_may_not() {
    if !as_root() {
        return;
    }
    let mut place = Place::with("WAL");
    place.writer = None;
    chown(place.path(""), Some(0), Some(0)).unwrap();
    place.mode("", 0o755);
    assert_eq!(place.names(), ["db"]);
    // It was written to just now: whether somebody still does is not known.
    assert!(place.refusal().contains("changed while it was copied"));
    let before = std::time::SystemTime::now() - Duration::from_secs(60);
    std::fs::File::options().write(true).open(place.path("db")).unwrap().set_modified(before).unwrap();
    let snapshot = place.take(Use::Long).unwrap();
    assert_eq!(place.sum(&snapshot), 0);
    assert_eq!(place.names(), ["db"]);
}

#[test]
fn a_database_that_its_owner_cannot_open_is_not_taken() {
    if !as_root() {
        return;
    }
    let place = Place::with("DELETE");
    place.mode("db", 0o000);
    assert!(place.refusal().contains("its owner cannot open it"), "{}", place.refusal());
    place.mode("db", 0o600);
    chown(place.path(""), Some(0), Some(0)).unwrap();
    place.mode("", 0o700);
    assert!(place.refusal().contains("its owner cannot search its directory"), "{}", place.refusal());
}

#[test]
fn what_does_not_belong_beside_a_database_is_told_and_not_opened() {
    let place = Place::with("DELETE");
    for end in BESIDE {
        let name = format!("db{end}");
        std::os::unix::fs::symlink("/etc/shadow", place.path(&name)).unwrap();
        assert!(place.refusal().contains(&format!("{name} is not a regular file")), "{}", place.refusal());
        std::fs::remove_file(place.path(&name)).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, place.path(&name), Mode::RWXU).unwrap();
        assert!(place.refusal().contains(&format!("{name} is not a regular file")), "{}", place.refusal());
        std::fs::remove_file(place.path(&name)).unwrap();
        if as_root() {
            std::fs::write(place.path(&name), "").unwrap();
            chown(place.path(&name), Some(65534), Some(65534)).unwrap();
            assert!(place.refusal().contains(&format!("{name} belongs to uid 65534")), "{}", place.refusal());
            std::fs::remove_file(place.path(&name)).unwrap();
        }
    }
    assert!(place.take(Use::Long).is_ok());
}

/// A database in the middle of a transaction of 2,000 rows, of which a part is in the file, and its journal.
fn with_hot_journal() -> Place {
    let place = Place::new();
    let (path, journal) = (place.path("live"), place.path("live-journal"));
    let writer = open(&path);
    writer
        .execute_batch(
            "PRAGMA journal_mode = DELETE; CREATE TABLE t (n INTEGER, filler);
             INSERT INTO t VALUES (1, randomblob(100));
             PRAGMA cache_size = 10; PRAGMA cache_spill = 10; BEGIN;
             WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 2000)
             INSERT INTO t SELECT 1, randomblob(400) FROM c;
             UPDATE t SET filler = randomblob(100) WHERE rowid = 1;",
        )
        .unwrap();
    // As the power leaves them.
    std::fs::copy(&path, place.path("db")).unwrap();
    std::fs::copy(&journal, place.path("db-journal")).unwrap();
    drop(writer);
    std::fs::remove_file(path).unwrap();
    place.give_all();
    place
}

/// K6.1.
#[test]
fn a_hot_journal_is_rolled_back_in_the_copy_and_what_is_there_stays() {
    let place = with_hot_journal();
    let (db, journal) =
        (std::fs::read(place.path("db")).unwrap(), std::fs::read(place.path("db-journal")).unwrap());
    assert!(
        db.len() > 100_000 && journal.iter().any(|byte| *byte != 0),
        "nothing of the transaction is there"
    );
    for used in [Use::Brief, Use::Long] {
        let snapshot = place.take(used).unwrap();
        assert_eq!(place.sum(&snapshot), 1, "rows of a transaction that never was");
    }
    assert_eq!(std::fs::read(place.path("db")).unwrap(), db);
    assert_eq!(std::fs::read(place.path("db-journal")).unwrap(), journal);
    assert_eq!(std::fs::read_dir(&place.readers.scratch).unwrap().count(), 0);
}

#[test]
fn a_journal_of_a_writer_at_work_is_not_hot() {
    let place = Place::with("DELETE");
    let writer = place.writer.as_ref().unwrap();
    writer
        .execute_batch("PRAGMA cache_size = 10; BEGIN; UPDATE t SET n = 1, filler = randomblob(200)")
        .unwrap();
    assert!(place.path("db-journal").exists());
    assert!(place.refusal().contains("locked"), "{}", place.refusal());
    writer.execute_batch("COMMIT").unwrap();
    assert_eq!(place.sum(&place.take(Use::Long).unwrap()), 3000);
}

/// Whether each thread of a process is stopped, proc_pid_stat(5).
fn is_stopped(process: rustix::process::Pid) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", process.as_raw_nonzero())).unwrap();
    tasks
        .map(|task| std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap())
        .all(|stat| stat.rsplit(") ").next().is_some_and(|state| state.starts_with('T')))
}

#[test]
fn a_process_that_hangs_or_dies_costs_its_limit_and_one_database() {
    let place = Place::with("WAL");
    let snapshot = place.take(Use::Long).unwrap();
    let process = rustix::process::Pid::from_raw(i32::try_from(place.reader(&snapshot)).unwrap()).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::STOP).unwrap();
    while !is_stopped(process) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let begun = Instant::now();
    let said = snapshot.read(&mut [0; 4096], 0).unwrap_err().to_string();
    assert!(said.contains("did not answer in time"), "{said}");
    assert!((5..9).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    // It is not asked again, and nothing of it is left.
    assert!(snapshot.read(&mut [0; 4096], 0).is_err() && begun.elapsed().as_secs() < 9);
    assert!(rustix::process::test_kill_process(process).is_err());
    assert_ne!(snapshot.check(), "ok");
    drop(snapshot);

    let snapshot = place.take(Use::Long).unwrap();
    let process = rustix::process::Pid::from_raw(i32::try_from(place.reader(&snapshot)).unwrap()).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
    let said = snapshot.read(&mut [0; 4096], 0).unwrap_err().to_string();
    assert!(said.contains("ended") || said.contains("is gone"), "{said}");
    drop(snapshot);
    assert_eq!(place.sum(&place.take(Use::Long).unwrap()), 0);
}

#[test]
fn files_that_only_begin_like_a_database_are_not_taken() {
    let place = Place::new();
    let mut random = 7_u64;
    for length in [16, 100, 512, 4096, 70_000] {
        let mut bytes = MAGIC.to_vec();
        bytes.resize_with(length, || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 56) as u8
        });
        std::fs::write(place.path("db"), &bytes).unwrap();
        place.give("db");
        // It may be taken as corrupt, or not at all.
        if let Ok(snapshot) = place.take(Use::Long) {
            assert_ne!(snapshot.check(), "ok");
        }
    }
}
