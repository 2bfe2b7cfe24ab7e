//! `pitool image seed`: a card that sets itself up at its first boot, without keyboard, screen or network step.
//!
//! Current Raspberry Pi OS has cloud-init, which reads its orders from the boot partition. Imager writes `user-data`
//! and `network-config` there, so pitool writes neither: its order is `vendor-data`, which cloud-init knows beside them.
//! The partition is FAT and has no journal: every file is written beside its place, synced, moved and read again. What is
//! on a card may come from anybody: nothing on it is followed, and only regular files are opened.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};

use pitool_host::Access;
use pitool_host::trust::{self, Directory, Kind, Last, Object, Root, attributes, read_bounded};
use serde_json::json;

use crate::cli;
use crate::exit;
use crate::failure::{Failure, Result};
use crate::render::json as json_out;
use crate::session::Session;

/// What cloud-init runs once, and what that has systemd run until it is done.
const VENDOR_DATA: &str = include_str!("image/vendor-data");
const FIRST_BOOT: &str = include_str!("image/first-boot");

/// By this a `vendor-data` is known as ours.
const OURS: &str = "Written by `pitool image seed`";

/// Where Raspberry Pi OS mounts its boot partition.
const BOOT: &str = "/boot/firmware";

/// The folder of pitool's files on it.
const FOLDER: &str = "pitool";

/// The identity of cloud-init's first boot where an image names none, as Raspberry Pi OS has it.
const META_DATA: &str = "dsmode: local\ninstance_id: rpios-image\n";

/// The most that is read of a file on a card, and of a package, in bytes.
const LARGEST_TEXT: u64 = 1 << 20;
const LARGEST_PACKAGE: u64 = 256 << 20;

/// Does what was asked about a card.
pub(crate) fn run(session: &Session<'_, '_>, command: &cli::Image) -> Result<u8> {
    let cli::Image::Seed { directory, deb } = command;
    let deb_content = deb.as_deref().map(package).transpose()?;
    let config = config(session)?;
    let card = Card::open(directory)?;
    if deb_content.is_none() && !card.has("pitool/pitool.deb") {
        return Err(Failure::input("there is no package for the card to install; nothing was written").hint(
            "name one with --deb, of the image's architecture: pitool_…_arm64.deb or pitool_…_armhf.deb",
        ));
    }

    // What an earlier call left would be applied, and its report believed.
    let mut removed = Vec::new();
    let stale = [("pitool/pitool.toml", config.is_none()), ("pitool/report.txt", true)];
    for (path, _) in stale.into_iter().filter(|(path, stale)| *stale && card.has(path)) {
        card.remove(path)?;
        removed.push(card.path(path).display().to_string());
    }
    let mut written = Vec::new();
    let mut put = |path: &str, content: &[u8]| -> Result<()> {
        card.write(path, content)?;
        written.push(card.path(path).display().to_string());
        Ok(())
    };
    if let Some(content) = &deb_content {
        put("pitool/pitool.deb", content)?;
    }
    if let Some(content) = &config {
        put("pitool/pitool.toml", content)?;
    }
    put("pitool/first-boot", FIRST_BOOT.as_bytes())?;
    for (name, content) in [("meta-data", META_DATA), ("user-data", "#cloud-config\n")] {
        if !card.has(name) {
            put(name, content.as_bytes())?;
        }
    }
    // Last: before it is there the card is as it was.
    put("vendor-data", VENDOR_DATA.replace("@DIR@", BOOT).as_bytes())?;

    let terminal = session.terminal;
    if terminal.json {
        json_out::document(
            terminal,
            &json!({ "command": "image seed", "written": written, "removed": removed }),
        );
        return Ok(exit::DONE);
    }
    for path in &removed {
        terminal.line(format!("{path} (removed)"));
    }
    for path in &written {
        terminal.line(path);
    }
    terminal.mention(
        "At its first boot the Pi installs pitool and applies the config, which takes some minutes; how it went then \
         stands in pitool/report.txt on this partition. A card that has booted before does nothing: write the image anew.",
    );
    Ok(exit::DONE)
}

/// A package that the person named: whole, and by its name one of pitool's for a Pi.
fn package(path: &Path) -> Result<Vec<u8>> {
    let content = absolute(path)
        .and_then(|absolute| Root::open(Path::new("/"))?.open_file(&absolute, Last::Follow))
        .and_then(|file| read_bounded(&file, LARGEST_PACKAGE))
        .map_err(|error| Failure::input(format!("cannot read {}", path.display())).because(&error))?;
    let refuse = |why: &str| Err(Failure::input(format!("{} {why}; nothing was written", path.display())));
    if !content.starts_with(b"!<arch>\ndebian-binary") {
        return refuse("is no Debian package");
    }
    if !is_whole(&content) {
        return refuse("is cut off or damaged");
    }
    // NAME_VERSION_ARCH.deb, unless somebody named it otherwise.
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    match name.split('_').collect::<Vec<_>>().as_slice() {
        [package, _, _] if *package != "pitool" => refuse("is not the package pitool"),
        [_, _, arch] if !["arm64", "armhf"].contains(arch) => {
            refuse("is for another processor than a Pi's: take pitool_…_arm64.deb or pitool_…_armhf.deb")
        }
        _ => Ok(content),
    }
}

/// Whether an ar archive ends where its last member does, and has the members of a package, deb(5).
fn is_whole(archive: &[u8]) -> bool {
    let mut rest = archive.get(b"!<arch>\n".len()..).unwrap_or_default();
    let mut names = Vec::new();
    while !rest.is_empty() {
        let Some((header, members)) = rest.split_at_checked(60) else { return false };
        let (Ok(name), Ok(size)) = (std::str::from_utf8(&header[..16]), std::str::from_utf8(&header[48..58]))
        else {
            return false;
        };
        let Ok(size) = size.trim().parse::<usize>() else { return false };
        names.push(name.trim().trim_end_matches('/').to_owned());
        // Members begin at even places; the last one's filling may be missing.
        let Some(next) = members.get(size..) else { return false };
        rest = if size % 2 == 1 { next.get(1..).unwrap_or_default() } else { next };
    }
    let has = |start: &str| names.iter().any(|name| name.starts_with(start));
    has("control.tar") && has("data.tar")
}

/// The config that `--config` names, refused here rather than on a machine without a screen.
fn config(session: &Session<'_, '_>) -> Result<Option<Vec<u8>>> {
    if session.global.config.is_none() {
        return Ok(None);
    }
    let (_, fragments) = session.settings()?;
    Ok(fragments.into_iter().next().map(|fragment| fragment.bytes))
}

/// A path that the person named, from the root.
fn absolute(path: &Path) -> trust::Result<PathBuf> {
    Ok(std::path::absolute(path)?)
}

/// A mounted boot partition of an image that cloud-init sets up.
#[derive(Debug)]
struct Card {
    path: PathBuf,
    directory: Directory,
}

impl Card {
    fn open(path: &Path) -> Result<Self> {
        let directory = absolute(path)
            .and_then(|absolute| Root::open(Path::new("/"))?.directory(&absolute, Last::Follow))
            .map_err(|error| Failure::input(format!("cannot open {}", path.display())).because(&error))?;
        let card = Self { path: path.to_owned(), directory };
        let refuse = |why: String| Err(Failure::input(format!("{why}; nothing was written")));
        if !card.has("config.txt") && !card.has("cmdline.txt") {
            return refuse(format!(
                "{} is no boot partition of a Raspberry Pi: it has neither config.txt nor cmdline.txt",
                path.display()
            ));
        }
        if card.text("config.txt")?.is_some_and(|text| text.contains("DO NOT EDIT THIS FILE")) {
            return refuse(format!(
                "{} is where the boot partition used to be: the firmware reads {}",
                path.display(),
                path.join("firmware").display()
            ));
        }
        if !card.has("user-data") && !card.has("meta-data") {
            return refuse(
                "this image has no cloud-init (Raspberry Pi OS has it since the trixie images of November 2025), and \
                 pitool has no other way in: boot it once and install the package by hand"
                    .to_owned(),
            );
        }
        if card.text("vendor-data")?.is_some_and(|text| !text.trim().is_empty() && !text.contains(OURS)) {
            return refuse(format!(
                "{} is there already and somebody else's",
                card.path("vendor-data").display()
            ));
        }
        // Anything else in these places would be found only after the first files were written.
        for name in ["meta-data", "user-data", "vendor-data"] {
            card.expect(&card.directory, name, Kind::File)?;
        }
        card.expect(&card.directory, FOLDER, Kind::Directory)?;
        if let Some(folder) = card.folder()? {
            for name in ["pitool.deb", "pitool.toml", "first-boot", "report.txt"] {
                card.expect(&folder, name, Kind::File)?;
            }
        }
        Ok(card)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Refuses a card that has something else than this kind at a name.
    fn expect(&self, directory: &Directory, name: &str, kind: Kind) -> Result<()> {
        let found = match directory.look(OsStr::new(name)) {
            Err(error) if error.is_missing() => return Ok(()),
            found => found.and_then(|object| object.expect(kind)),
        };
        found.map_err(|error| {
            Failure::input(format!("cannot use {} on {}; nothing was written", name, self.path.display()))
                .because(&error)
        })
    }

    /// The folder of pitool's own files, if it is there.
    fn folder(&self) -> Result<Option<Directory>> {
        match self.directory.enter(OsStr::new(FOLDER)) {
            Ok(folder) => Ok(Some(folder)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(self.failed("open", FOLDER, &error)),
        }
    }

    fn failed(&self, verb: &str, name: &str, error: &trust::Error) -> Failure {
        Failure::machine(format!("cannot {verb} {}", self.path(name).display())).because(error)
    }

    /// The directory that a file of the card is in, and its name there; `None` where the directory is missing.
    fn place<'n>(&self, name: &'n str) -> Result<Option<(Directory, &'n OsStr)>> {
        match name.split_once('/') {
            Some((_, inner)) => Ok(self.folder()?.map(|folder| (folder, OsStr::new(inner)))),
            None => {
                let directory =
                    self.directory.try_clone().map_err(|error| self.failed("open", name, &error))?;
                Ok(Some((directory, OsStr::new(name))))
            }
        }
    }

    fn has(&self, name: &str) -> bool {
        let there = self.place(name).ok().flatten().map(|(directory, name)| directory.look(name));
        there.is_some_and(|there| there.is_ok_and(|object| object.kind() == Kind::File))
    }

    fn text(&self, name: &str) -> Result<Option<String>> {
        let read =
            self.directory.open_file(OsStr::new(name)).and_then(|file| read_bounded(&file, LARGEST_TEXT));
        match read {
            Ok(content) => Ok(Some(String::from_utf8_lossy(&content).into_owned())),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => {
                Err(Failure::input(format!("cannot read {}; nothing was written", self.path(name).display()))
                    .because(&error))
            }
        }
    }

    fn remove(&self, name: &str) -> Result<()> {
        let Some((directory, inner)) = self.place(name)? else { return Ok(()) };
        directory.remove(inner).map_err(|error| self.failed("remove", name, &error))
    }

    /// Writes a file so that a card that is pulled out holds the old one or the new one, and reads it again: a worn
    /// card says yes to writes that it forgets.
    fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let failed = |error: trust::Error| self.failed("write", name, &error);
        if name.contains('/') && self.folder()?.is_none() {
            let own = Access { mode: 0o755, ..self.own().map_err(failed)? };
            self.directory.make_dir(OsStr::new(FOLDER), own).map_err(failed)?;
        }
        let (directory, inner) = self.place(name)?.ok_or_else(|| {
            Failure::machine(format!("cannot write {}: its folder is gone", self.path(name).display()))
        })?;
        let written = directory.write(inner, |file| -> trust::Result<()> {
            file.write_all(content)?;
            let own = Object::new(file.try_clone()?)?.access();
            attributes::set_access(&*file, Access { mode: 0o644, ..own })
        });
        written.map_err(failed)?;
        let there = directory.open_file(inner).and_then(|file| read_bounded(&file, content.len() as u64));
        if there.is_err() || there.is_ok_and(|there| there != content) {
            return Err(Failure::machine(format!(
                "{} reads otherwise than it was written",
                self.path(name).display()
            ))
            .hint("the card is worn out or no card at all: take another"));
        }
        Ok(())
    }

    /// Owner and group of what this process makes on the card.
    fn own(&self) -> trust::Result<Access> {
        let process = Root::open(Path::new("/"))?.look(Path::new("/proc/self"), Last::Follow)?;
        Ok(process.access())
    }
}
