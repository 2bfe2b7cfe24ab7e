//! What reads the inputs. Each says whether it read one to its end without an error.

use std::io::Read;
use std::sync::atomic::AtomicBool;

use pitool_host::Digest;

use super::mutate::{self, Random};
use super::seeds::{Seed, Seeds};
use crate::archive::file::{ArchiveFile, FrameWalk, Reading};
use crate::archive::frame::Packer;
use crate::archive::index::{self, Frames, Manifest};
use crate::archive::lines::{LineWriter, Lines};
use crate::archive::tar::{self, Head};
use crate::manifest::{Entry, Kind, Line};
use crate::verify::{Depth, verify};
use crate::{Part, Store, forge};

pub(super) type Target = fn(&Seeds, &mut Random) -> bool;

pub(super) fn of(name: &str) -> Target {
    match name {
        "manifest" => manifest,
        "index" => index,
        "frames" => frames,
        "tar" => tar,
        "archive" => archive,
        "planted" => planted,
        "planted-loop" => planted_loop,
        "planted-memory" => planted_memory,
        other => panic!("no target {other}"),
    }
}

fn plain<'a>(seeds: &'a Seeds, random: &mut Random) -> &'a Seed {
    let seeds: Vec<&Seed> = seeds.archives.iter().filter(|seed| !seed.encrypted).collect();
    seeds[random.below(seeds.len())]
}

/// The manifest beside an archive, read line by line: its bytes, or its text with the digest made right.
fn manifest(seeds: &Seeds, random: &mut Random) -> bool {
    let seed = random.of(&seeds.archives);
    let other = &random.of(&seeds.archives).manifest;
    let bytes = if seed.encrypted || random.one_in(5) {
        let mut bytes = seed.manifest.clone();
        mutate::bytes(random, &mut bytes, other);
        bytes
    } else {
        let mut text = seed.text.clone();
        mutate::lines(random, &mut text, other);
        forge::manifest(&text)
    };
    let path = seeds.put("manifest", &bytes);
    let Ok(mut lines) = Lines::beside(&path, seed.encrypted, &seeds.identities) else { return false };
    let only = [forge::stored("tmp"), forge::stored("etc/shadow")];
    if random.one_in(4) {
        lines = lines.within(&only);
    }
    let mut good = true;
    for line in lines {
        match line {
            Ok(line) => {
                if let Line::Entry(entry) = &line {
                    // What is made of an entry everywhere.
                    let _ = (tar::head(entry).len(), entry.path.absolute(), entry.path.split());
                }
                serde_json::to_string(&line).unwrap();
            }
            Err(_) => {
                good = false;
                break;
            }
        }
    }
    if let Ok(mut lines) = Lines::beside(&path, seed.encrypted, &seeds.identities) {
        while let Some(Ok(_)) = lines.next_but_entries() {}
    }
    good
}

/// The index and the seek table: numbers that lie under digests that hold, or bytes.
fn index(seeds: &Seeds, random: &mut Random) -> bool {
    let seed = random.of(&seeds.archives);
    let bytes = if seed.encrypted || random.one_in(3) {
        let mut bytes = seed.archive.clone();
        let from = bytes.len().saturating_sub(600);
        let mut end = bytes.split_off(if random.one_in(3) { 0 } else { from });
        mutate::bytes(random, &mut end, &seed.manifest);
        bytes.extend_from_slice(&end);
        bytes
    } else {
        let mut frames = Frames::default();
        let length: usize = random.below(3000);
        let lies = random.one_in(2);
        for _ in 0..random.below(40) {
            let (packed, plain) = if lies && random.one_in(8) {
                (random.number() as u32, random.number() as u32)
            } else {
                (random.below(90) as u32, random.below(1 << 20) as u32)
            };
            frames.push(packed, plain, Some(Digest::of(b"")));
        }
        let manifest = Manifest {
            offset: random.number(),
            length: random.number(),
            first: if lies { random.below(40) } else { 0 },
            frames: if lies { random.number() as usize } else { 0 },
        };
        let length =
            if lies && random.one_in(4) { length } else { (frames.packed_end() as usize).min(1 << 20) };
        let mut bytes = vec![0; length];
        bytes.extend_from_slice(&index::write(&frames, manifest));
        bytes
    };
    let path = seeds.put("index", &bytes);
    match ArchiveFile::open(&path, seed.encrypted, &seeds.identities) {
        Ok(archive) => {
            let mut reading = Reading::new().unwrap();
            for frame in archive.frames.iter() {
                let _ = archive.plain(frame, &mut reading);
            }
            for _ in 0..10 {
                let _ = archive.frames.holding(random.number());
            }
            let archive = std::sync::Arc::new(archive);
            Lines::inside(&archive).is_ok_and(|lines| lines.take(1000).all(|line| line.is_ok()))
                && archive.frames.len() > 0
        }
        Err(_) => false,
    }
}

/// Frames without an index: an archive whose end is lost.
fn frames(seeds: &Seeds, random: &mut Random) -> bool {
    let seed = plain(seeds, random);
    let mut bytes = seed.archive.clone();
    if random.one_in(3) {
        // Frames of a few bytes, and such that unpack to more than they are.
        bytes.clear();
        let mut packer = Packer::new(1).unwrap();
        for _ in 0..random.below(60) {
            if random.one_in(30) {
                bytes.extend_from_slice(&zeros(random.below(70 << 20)));
            } else {
                bytes.extend_from_slice(&packer.pack(&vec![0; random.below(5000)]).unwrap());
            }
        }
    }
    mutate::bytes(random, &mut bytes, &seed.manifest);
    let path = seeds.put("frames", &bytes);
    let archive = ArchiveFile::recover(&path, false, &seeds.identities).unwrap();
    let mut reading = Reading::new().unwrap();
    let mut good = 0;
    for frame in archive.frames.iter() {
        good += u64::from(archive.plain(frame, &mut reading).is_ok());
        reading.lighten();
    }
    let opened = crate::archive::file::Bytes::open(&path, false, &seeds.identities).unwrap();
    let mut walk = FrameWalk::default();
    while let Ok(Some(_)) = walk.next(&opened) {}
    good > 0
}

/// A frame of so many zeros, made without having them in memory: what a target takes of it is the reader's.
fn zeros(length: usize) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.set_pledged_src_size(Some(length as u64)).unwrap();
    encoder.include_contentsize(true).unwrap();
    std::io::copy(&mut std::io::repeat(0).take(length as u64), &mut encoder).unwrap();
    encoder.finish().unwrap()
}

/// The headers of a tar, with their checksums made right.
fn tar(seeds: &Seeds, random: &mut Random) -> bool {
    let seed = plain(seeds, random);
    let heads: Vec<&Vec<u8>> = seed.frames.iter().filter(|frame| frame.len() < 1 << 20).collect();
    let mut bytes = (*random.of(&heads)).clone();
    let other = &random.of(&heads)[..];
    for _ in 0..=random.below(3) {
        let blocks = bytes.len() / tar::BLOCK;
        let at = random.below(blocks) * tar::BLOCK;
        let Some(block) = bytes.get_mut(at..at + tar::BLOCK) else { break };
        // Where numbers, types and names are.
        let field = random.of(&[
            0..100,
            100..108,
            108..116,
            124..136,
            136..148,
            156..157,
            157..257,
            386..483,
            483..495,
        ]);
        match random.below(4) {
            0 => {
                let number = format!("{:o}\0", random.number());
                let room = number.len().min(field.len());
                block[field.start..field.start + room].copy_from_slice(&number.as_bytes()[..room]);
            }
            1 => {
                let number = random.number().to_be_bytes();
                let room = field.len().min(8);
                block[field.end - room..field.end].copy_from_slice(&number[8 - room..]);
                block[field.start] |= if random.one_in(2) { 0x80 } else { 0xff };
            }
            2 => block[field.start] = *random.of(b"01234567SxgLK../\0"),
            _ => {
                let mut part = block[field.clone()].to_vec();
                mutate::bytes(random, &mut part, other);
                part.resize(field.len(), 0);
                block[field.clone()].copy_from_slice(&part);
            }
        }
        if let Ok(block) = <&mut [u8; tar::BLOCK]>::try_from(block) {
            tar::checksum(block);
        }
    }
    if random.one_in(4) {
        mutate::bytes(random, &mut bytes, other);
    }
    let mut at = 0;
    let mut entries = 0;
    while at < bytes.len() {
        match tar::head_of(&bytes[at..]) {
            Ok(Head::Entry { entry, length }) => {
                assert!(length > 0 && length <= bytes.len() - at);
                let _ = tar::head(&entry);
                entries += 1;
                at = at.saturating_add(usize::try_from(entry.length).unwrap_or(usize::MAX));
            }
            _ => break,
        }
    }
    entries > 0
}

/// A whole archive: its entries against its frames by the manifest, and by its own headers where the manifest is bad.
fn archive(seeds: &Seeds, random: &mut Random) -> bool {
    let seed = plain(seeds, random);
    let mut frames = seed.frames.clone();
    if random.one_in(2) {
        let number = random.below(frames.len());
        let other = seed.manifest.clone();
        mutate::bytes(random, &mut frames[number], &other);
    }
    let mut text = seed.text.clone();
    if random.one_in(2) {
        text = entries(random, &text);
    }
    if random.one_in(3) {
        mutate::lines(random, &mut text, &seed.manifest);
    }
    let mut manifest = forge::manifest(&text);
    if random.one_in(4) {
        // The headers in the archive are all that is left.
        manifest.truncate(random.below(manifest.len()));
    }
    let parts: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    let mut bytes = forge::framed(&parts);
    if random.one_in(6) {
        mutate::bytes(random, &mut bytes, &seed.manifest);
    }
    let header = seed.text.split(|byte| *byte == b'\n').next().unwrap();
    let Ok(Line::Manifest(header)) = serde_json::from_slice(header) else {
        panic!("a seed without a header")
    };
    let [archive, beside] = [Part::Archive { encrypted: false }, Part::Manifest { encrypted: false }]
        .map(|part| header.name.file(part));
    let directory = seeds.put(&archive, &bytes);
    seeds.put(&beside, &manifest);
    let store = Store::new(directory.parent().unwrap());
    let stored = store.find(&header.name).unwrap();
    let verified = verify(&store, &stored, &seeds.identities, Depth::Full, &AtomicBool::new(false), &|_| {});
    verified.is_ok_and(|verified| verified.entries > 0)
}

/// Entries that lie about where they are and how long.
fn entries(random: &mut Random, text: &[u8]) -> Vec<u8> {
    let mut writer = Vec::new();
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let Ok(mut line) = serde_json::from_slice::<Line>(line) else { continue };
        if let Line::Entry(entry) = &mut line {
            if random.one_in(4) {
                lie(random, entry);
            }
        }
        serde_json::to_writer(&mut writer, &line).unwrap();
        writer.push(b'\n');
    }
    writer
}

fn lie(random: &mut Random, entry: &mut Entry) {
    let number = random.number();
    match (&mut entry.kind, random.below(6)) {
        (_, 0) => entry.offset = number,
        (_, 1) => entry.length = number,
        (Kind::File(file), 2) => file.size = number,
        (Kind::File(file), 3) => file.extents = Some(vec![(number, random.number()), (random.number(), 1)]),
        (Kind::File(file), 4) => file.pieces.truncate(random.below(3)),
        (Kind::File(file), _) => {
            // Everything moved by the same: what is computed from both still fits together.
            (file.size, entry.length) = (number, number.wrapping_add(*random.of(&[512, 1024, 0])));
        }
        _ => entry.offset = entry.offset.wrapping_add(number),
    }
}

/// Panics where a number is one that the generator likes.
fn planted(seeds: &Seeds, random: &mut Random) -> bool {
    let mut text = seeds.archives[0].text.clone();
    mutate::lines(random, &mut text, b"x");
    let claimed = |number: &str| number.parse::<u64>().is_ok_and(|number| number > 1 << 62);
    let text = String::from_utf8_lossy(&text);
    assert!(!text.split(|byte: char| !byte.is_ascii_digit()).any(claimed), "planted");
    LineWriter::new(Vec::new()).is_ok()
}

/// Never ends where a bit is set.
fn planted_loop(_: &Seeds, random: &mut Random) -> bool {
    while random.one_in(100) {
        std::thread::sleep(std::time::Duration::from_secs(60));
    }
    true
}

/// Takes what it is told to take.
fn planted_memory(_: &Seeds, random: &mut Random) -> bool {
    let taken = vec![1u8; random.below(300 << 20)];
    taken.len() != 1
}
