//! Files that are right, of every format version.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use crate::archive::file::{ArchiveFile, Reading};
use crate::archive::lines::Lines;
use crate::archive::seal::Identities;
use crate::manifest::Line;
use crate::save::{Job, save};
use crate::{Part, Set, Store};

/// What the targets start from.
pub(super) struct Seeds {
    folder: tempfile::TempDir,
    pub(super) archives: Vec<Seed>,
    pub(super) identities: Identities,
}

/// One archive.
pub(super) struct Seed {
    pub(super) encrypted: bool,
    pub(super) archive: Vec<u8>,
    pub(super) manifest: Vec<u8>,
    /// The manifest's lines as text; empty where it is encrypted.
    pub(super) text: Vec<u8>,
    /// The content of its frames; none where it is encrypted.
    pub(super) frames: Vec<Vec<u8>>,
}

impl Seeds {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = age::x25519::Identity::generate();
        let identity = folder.path().join("key");
        fs::write(&identity, age::secrecy::ExposeSecret::expose_secret(&key.to_string())).unwrap();
        let identities = Identities::new([identity]);
        let small = folder.path().join("small");
        fs::create_dir(&small).unwrap();
        fs::write(small.join("a"), "hello").unwrap();
        fs::write(small.join("b"), [7; 700]).unwrap();
        fs::hard_link(small.join("a"), small.join("c")).unwrap();
        std::os::unix::fs::symlink("/etc/shadow", small.join("d")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            small.join("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        let long = small.join("n".repeat(120));
        fs::create_dir(&long).unwrap();
        fs::write(long.join("o".repeat(120)), "long").unwrap();
        let large = folder.path().join("large");
        fs::create_dir(&large).unwrap();
        fs::write(large.join("pieces"), vec![1; (4 << 20) + 300_000]).unwrap();
        let sparse = fs::File::create(large.join("sparse")).unwrap();
        for hole in 0..30 {
            std::os::unix::fs::FileExt::write_all_at(&sparse, b"data", hole * (1 << 20)).unwrap();
        }
        fs::write(large.join("small"), "small").unwrap();
        let recipient = key.to_public().to_string();
        let mut seeds = Self { folder, archives: Vec::new(), identities };
        let saved = [(&small, None), (&large, None), (&small, Some(recipient))];
        seeds.archives = saved.map(|(path, recipient)| seeds.saved(path, recipient)).into();
        seeds
    }

    fn saved(&self, path: &Path, recipient: Option<String>) -> Seed {
        let directory = tempfile::tempdir_in(self.folder.path()).unwrap();
        let [store, scratch] = ["store", "scratch"].map(|name| directory.path().join(name));
        for path in [&store, &scratch] {
            fs::create_dir(path).unwrap();
        }
        let store = Store::new(store);
        let mut set = Set::new("fuzz".parse().unwrap());
        set.paths = vec![path.to_owned()];
        let encrypted = recipient.is_some();
        set.recipients = recipient.into_iter().collect();
        let job = Job {
            set: &set,
            store: &store,
            scratch: &scratch,
            identities: &self.identities,
            host: "fuzz",
            after: 0,
            interrupted: &AtomicBool::new(false),
        };
        let name = save(&job, &|_| {}).unwrap().name;
        let [archive, manifest] =
            [Part::Archive { encrypted }, Part::Manifest { encrypted }].map(|part| store.path(&name, part));
        let (mut text, mut frames) = (Vec::new(), Vec::new());
        if !encrypted {
            let lines = Lines::beside(&manifest, false, &self.identities).unwrap();
            for line in lines {
                let line: Line = line.unwrap();
                serde_json::to_writer(&mut text, &line).unwrap();
                text.push(b'\n');
            }
            let opened = ArchiveFile::open(&archive, false, &self.identities).unwrap();
            let mut reading = Reading::new().unwrap();
            for frame in opened.frames.iter() {
                opened.plain(frame, &mut reading).unwrap();
                frames.push(reading.plain.clone());
            }
        }
        Seed {
            encrypted,
            archive: fs::read(archive).unwrap(),
            manifest: fs::read(manifest).unwrap(),
            text,
            frames,
        }
    }

    /// Puts bytes into a file.
    pub(super) fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}
