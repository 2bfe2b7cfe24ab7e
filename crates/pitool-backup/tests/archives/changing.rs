//! A tree that others change: between runs, and while one goes on.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pitool_backup::Depth;
use pitool_backup::manifest::What;
use proptest::prelude::*;

use crate::place::{Place, Random, Stop, assert_same, stock_unpack, whys};

/// What happens to a tree between two runs.
#[derive(Clone, Debug)]
enum Act {
    Write(u8, u32),
    Append(u8, u16),
    Poke(u8, u32),
    Remove(u8),
    Rename(u8, u8),
    Link(u8, u8),
    Truncate(u8, u16),
    Mode(u8, u16),
    Directory(u8),
}

fn name(number: u8) -> String {
    // Several directories, and names of which one begins with another.
    match number % 4 {
        0 => format!("f{number}"),
        1 => format!("d/{number}"),
        2 => format!("d/e/{number}"),
        _ => format!("d-{number}"),
    }
}

fn act() -> impl Strategy<Value = Act> {
    let file = 0..24u8;
    prop_oneof![
        3 => (file.clone(), prop_oneof![0..2000u32, 0..600_000u32, 4_000_000..9_000_000u32]).prop_map(|(f, s)| Act::Write(f, s)),
        1 => (file.clone(), any::<u16>()).prop_map(|(f, s)| Act::Append(f, s)),
        1 => (file.clone(), any::<u32>()).prop_map(|(f, at)| Act::Poke(f, at)),
        2 => file.clone().prop_map(Act::Remove),
        1 => (file.clone(), file.clone()).prop_map(|(a, b)| Act::Rename(a, b)),
        1 => (file.clone(), file.clone()).prop_map(|(a, b)| Act::Link(a, b)),
        1 => (file.clone(), any::<u16>()).prop_map(|(f, s)| Act::Truncate(f, s)),
        1 => (file.clone(), any::<u16>()).prop_map(|(f, m)| Act::Mode(f, m)),
        1 => file.prop_map(Act::Directory),
    ]
}

fn enact(place: &Place, act: &Act, random: &mut Random) {
    let path = |file: &u8| place.source(&name(*file));
    match act {
        Act::Write(file, size) => {
            let _ = fs::create_dir_all(path(file).parent().unwrap());
            let _ = fs::write(path(file), random.bytes(*size as usize));
        }
        Act::Append(file, size) => {
            if let Ok(mut opened) = fs::OpenOptions::new().append(true).open(path(file)) {
                std::io::Write::write_all(&mut opened, &random.bytes(usize::from(*size))).unwrap();
            }
        }
        Act::Poke(file, at) => {
            if let Ok(opened) = fs::OpenOptions::new().write(true).open(path(file)) {
                let length = opened.metadata().unwrap().len().max(1);
                std::os::unix::fs::FileExt::write_all_at(&opened, b"!", u64::from(*at) % length).unwrap();
            }
        }
        Act::Remove(file) => {
            let _ = fs::remove_file(path(file));
        }
        Act::Rename(from, to) => {
            let _ = fs::rename(path(from), path(to));
        }
        Act::Link(from, to) => {
            let _ = fs::hard_link(path(from), path(to));
        }
        Act::Truncate(file, size) => {
            if let Ok(opened) = fs::OpenOptions::new().write(true).open(path(file)) {
                opened.set_len(u64::from(*size)).unwrap();
            }
        }
        Act::Mode(file, mode) => {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(u32::from(*mode) & 0o777);
            let _ = fs::set_permissions(path(file), mode);
        }
        Act::Directory(file) => {
            let _ = fs::create_dir_all(path(file));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 60, ..ProptestConfig::default() })]

    /// Whatever happened between the runs, each archive alone is the tree as it was.
    #[test]
    fn each_archive_is_the_tree_as_it_was(runs in prop::collection::vec(prop::collection::vec(act(), 0..12), 1..5), seed in 1..u64::MAX) {
        let place = Place::new();
        let mut random = Random(seed);
        for file in 0..24 {
            enact(&place, &Act::Write(file, 10_000 + u32::from(file) * 20_000), &mut random);
        }
        for (number, acts) in runs.iter().enumerate() {
            for act in acts {
                enact(&place, act, &mut random);
            }
            place.save();
            let (out, restored) = place.restore(&format!("ours{number}"));
            prop_assert_eq!(whys(&restored.problems), Vec::<String>::new());
            assert_same(&out, &place.path("source"));
            let verified = place.verify(Depth::Full);
            prop_assert_eq!(whys(&verified.problems), Vec::<String>::new());
        }
        stock_unpack(&place.archive(), &place.path("stock"));
        assert_same(&place.path("stock").join(place.path("source").strip_prefix("/").unwrap()), &place.path("source"));
    }
}

#[test]
fn while_files_grow_shrink_move_and_vanish_the_archive_stays_whole() {
    let place = Place::new();
    let mut random = Random(11);
    for file in 0..60u64 {
        place.write(&format!("d{}/f{file}", file % 5), random.bytes((file * 40_000) as usize));
    }
    place.write("quiet", "nobody touches this");
    let stop = AtomicBool::new(false);
    let mut seen = BTreeSet::new();
    std::thread::scope(|scope| {
        let end = Stop(&stop);
        for seed in 1..4u64 {
            let (place, stop) = (&place, &stop);
            scope.spawn(move || {
                let mut random = Random(seed * 77);
                while !stop.load(Ordering::Relaxed) {
                    let file = random.below(60);
                    let path = place.source(&format!("d{}/f{file}", file % 5));
                    let other = place.source(&format!("d{}/f{}", random.below(5), random.below(60)));
                    match random.below(6) {
                        0 => drop(fs::remove_file(path)),
                        1 => drop(fs::rename(path, other)),
                        2 => drop(fs::write(path, random.bytes(1 << 20))),
                        3 => {
                            if let Ok(opened) = fs::OpenOptions::new().write(true).open(path) {
                                let _ = opened.set_len(random.below(5_000_000));
                            }
                        }
                        _ => {
                            if let Ok(mut opened) = fs::OpenOptions::new().append(true).open(path) {
                                let size = random.below(300_000) as usize;
                                let _ = std::io::Write::write_all(&mut opened, &random.bytes(size));
                            }
                        }
                    }
                    std::thread::sleep(Duration::from_micros(random.below(300)));
                }
            });
        }
        for round in 0..12 {
            let saved = place.save();
            seen.extend(saved.notes.iter().map(|note| format!("{:?}", note.what)));
            let bad: Vec<_> = saved.notes.iter().filter(|note| note.what.is_problem()).collect();
            assert!(bad.is_empty(), "{bad:?}");
            stock_unpack(&place.archive(), &place.path(&format!("stock{round}")));
            let (out, restored) = place.restore(&format!("ours{round}"));
            // A first name that vanished can leave its other names without a file; renames make no such names here.
            assert_eq!(whys(&restored.problems), [""; 0]);
            assert_eq!(fs::read_to_string(out.join("quiet")).unwrap(), "nobody touches this");
            assert_eq!(whys(&place.verify(Depth::Full).problems), [""; 0]);
            assert_same(
                &out,
                &place.path(&format!("stock{round}")).join(place.path("source").strip_prefix("/").unwrap()),
            );
        }
        drop(end);
    });
    assert!(seen.contains(&format!("{:?}", What::Changed)), "nothing changed while it was read: {seen:?}");
}
