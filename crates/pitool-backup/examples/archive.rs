//! The crate as a program, for the tests that kill it and for `cargo xtask bench backup`, which measures whole
//! processes: `archive save STORE SCRATCH PATH…`, `archive restore STORE DIRECTORY [PATH…]`, `archive verify STORE`.

#![expect(clippy::print_stdout, reason = "a program for tests")]
#![expect(clippy::disallowed_methods, reason = "a program for tests")]

use std::error::Error;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use pitool_backup::restore::{Destination, Restore, restore};
use pitool_backup::save::{Job, save};
use pitool_backup::{Depth, Identities, Set, Store, StoredPath, verify};

fn main() -> Result<(), Box<dyn Error>> {
    if pitool_backup::is_database_reader(&std::env::args_os().collect::<Vec<_>>()) {
        pitool_backup::serve_databases();
        return Ok(());
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["save", store, scratch, paths @ ..] => {
            let mut set = Set::new("bench".parse()?);
            set.paths = paths.iter().map(Into::into).collect();
            let job = Job {
                set: &set,
                store: &Store::new(*store),
                scratch: Path::new(scratch),
                identities: &Identities::default(),
                host: "here",
                after: 0,
                interrupted: &AtomicBool::new(false),
            };
            let saved = save(&job, &|_| {})?;
            println!("{} {:?} {:?} {:?}", saved.name, saved.seal, saved.end, saved.duration);
            for note in &saved.notes {
                println!("{} {:?} {}", String::from_utf8_lossy(&note.path), note.what, note.detail);
            }
        }
        ["restore", store, directory, only @ ..] => {
            let store = Store::new(*store);
            let archive = store.list()?.pop().ok_or("no archive")?;
            let only: Option<Vec<StoredPath>> =
                only.iter().map(|path| StoredPath::of(Path::new(path))).collect();
            let restored = restore(
                &Restore {
                    only: &only.ok_or("not an absolute path")?,
                    ..Restore::new(
                        &store,
                        &archive,
                        &Identities::default(),
                        &Destination::Directory(directory.into()),
                        &AtomicBool::new(false),
                    )
                },
                &|_| {},
            )?;
            println!("{restored:?}");
        }
        ["verify", store] => {
            let store = Store::new(*store);
            let archive = store.list()?.pop().ok_or("no archive")?;
            let never = AtomicBool::new(false);
            println!("{:?}", verify(&store, &archive, &Identities::default(), Depth::Full, &never, &|_| {})?);
        }
        _ => return Err("archive save|restore|verify …".into()),
    }
    let (memory, read) = (told("/proc/self/status", "VmHWM:")?, told("/proc/self/io", "rchar:")?);
    println!("peak KiB {memory}\nread bytes {read}");
    Ok(())
}

/// A number that the kernel tells of this process.
fn told(path: &str, word: &str) -> Result<u64, Box<dyn Error>> {
    let text = std::fs::read_to_string(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(word)).ok_or("not told")?;
    Ok(line.split_whitespace().next().ok_or("not told")?.parse()?)
}
