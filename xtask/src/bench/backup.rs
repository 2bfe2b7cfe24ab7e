//! `cargo xtask bench backup`: archives against tar and zstd, the script that they replace, restic and borg.
//!
//! Three trees are made, the same on every machine, in the cache outside of the checkout. Every figure is the median
//! of this run, everything is on one disk, in turn, with warm caches and down to the disk (`sync`). What another
//! program does not do (check a database, keep a manifest, encrypt) is not made good for.
//!
//! Restores go onto a file system that is made anew for each, in memory: what a used one on the disk makes of 20,000 new
//! files differs between two runs of one program by more than the programs do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::table::{Row, table};
use crate::tools::{cache_dir, cargo, find, is_root, run, target_dir};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Trees of a tenth of the size
    #[arg(long)]
    quick: bool,
    /// How often everything is measured; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Only this tree: mixed, database or tiny
    #[arg(long)]
    tree: Option<String>,
}

/// A tree, and what it is called in the table.
const TREES: [(&str, &str); 3] = [
    ("mixed", "1 GiB in 20,000 files"),
    ("database", "one SQLite file of 2 GiB"),
    ("tiny", "200,000 files of up to 2 KiB"),
];

/// Files must have lain for this long before they are taken to be unchanged.
const SETTLE: Duration = Duration::from_secs(4);

pub(crate) fn task(args: &Args) -> Result<()> {
    run(cargo().args(["build", "--release", "--locked", "--package", "pitool-backup", "--examples"]))?;
    let scale = if args.quick { 10 } else { 1 };
    let mut rows = Vec::new();
    for (tree, words) in TREES {
        if args.tree.as_deref().is_none_or(|only| only == tree) {
            let bench = Bench::new(tree, scale)?;
            bench.measure(words, args.rounds.max(1), &mut rows)?;
        }
    }
    fs::remove_dir_all(cache_dir().join("bench-backup"))?;
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let size = if args.quick { "; trees of a tenth of the size" } else { "" };
    println!("\n{cores} cores; medians of {} in this run{size}\n", args.rounds);
    table(&rows);
    ensure!(rows.iter().all(|row| row.met), "a target was missed");
    Ok(())
}

/// The places of one tree's measurements.
struct Bench {
    tree: &'static str,
    scale: String,
    folder: PathBuf,
}

/// A place to restore to; gone when dropped.
struct Empty {
    at: PathBuf,
    image: Option<PathBuf>,
}

impl Drop for Empty {
    fn drop(&mut self) {
        if let Some(image) = &self.image {
            let _ = Command::new("umount").arg(&self.at).stderr(Stdio::null()).status();
            let _ = fs::remove_file(image);
        }
    }
}

/// How large it is: the largest tree and its inodes fit; what is not written takes no memory.
const IMAGE: u64 = 8 << 30;

/// The times of a program, first and second run.
struct Peer {
    name: &'static str,
    first: Vec<f64>,
    second: Vec<f64>,
}

impl Peer {
    fn new(name: &'static str) -> Self {
        Self { name, first: Vec::new(), second: Vec::new() }
    }
}

impl Bench {
    fn new(tree: &'static str, scale: u32) -> Result<Self> {
        let folder = cache_dir().join("bench-backup").join(tree);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        Ok(Self { tree, scale: scale.to_string(), folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn example(&self, name: &str) -> Command {
        let mut command = Command::new(target_dir().join("release/examples").join(name));
        command.current_dir(&self.folder);
        command
    }

    fn trees(&self, what: &str) -> Result<()> {
        run(self.example("trees").args([what, self.tree, "tree", &self.scale]).stdout(Stdio::null()))?;
        run(&mut shell(&self.folder, "sync -f ."))?;
        std::thread::sleep(SETTLE);
        Ok(())
    }

    fn fresh(&self, names: &[&str]) -> Result<()> {
        for name in names {
            let path = self.path(name);
            if path.exists() {
                fs::remove_dir_all(&path)?;
            }
            fs::create_dir(&path)?;
        }
        // What the one before left to be written is not the next one's time.
        run(&mut shell(&self.folder, "sync -f ."))
    }

    /// An empty ext4 in memory where there is enough, else on the disk; for who is not root a directory that was never there.
    fn empty(&self, round: usize, who: &str) -> Result<Empty> {
        let at = self.path(&format!("out-{who}-{round}"));
        fs::create_dir(&at)?;
        if !is_root() {
            return Ok(Empty { at, image: None });
        }
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let memory =
            memory.lines().find_map(|line| line.strip_prefix("MemAvailable:")?.split_whitespace().next());
        let enough = memory.and_then(|kib| kib.parse::<u64>().ok()).is_some_and(|kib| kib << 10 > IMAGE);
        let folder = if enough { PathBuf::from("/dev/shm") } else { self.folder.clone() };
        let image = folder.join(format!("pitool-bench-{}.img", std::process::id()));
        fs::File::create(&image)?.set_len(IMAGE)?;
        let empty = Empty { at, image: Some(image.clone()) };
        run(Command::new("mkfs.ext4")
            .args(["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"])
            .arg(&image))?;
        run(Command::new("mount").args(["-o", "loop"]).args([&image, &empty.at]))?;
        Ok(empty)
    }

    fn save(&self) -> Command {
        let mut save = self.example("archive");
        save.args(["save", "store", "scratch"]).arg(self.path("tree"));
        save
    }

    /// Times a command when the tree is in memory and nothing waits to be written: what the one before left or pushed out is not
    /// the next one's time.
    fn turn(&self, command: &mut Command) -> Result<(f64, String)> {
        run(&mut shell(&self.folder, "sync -f . && find tree -type f -exec cat {} + >/dev/null"))?;
        timed(command)
    }

    fn measure(&self, words: &str, rounds: usize, rows: &mut Vec<Row>) -> Result<()> {
        self.trees("make")?;
        let (mut tar, mut floor) = (Vec::new(), Vec::new());
        let mut ours = Peer::new("ours");
        let mut peers = vec![Peer::new("the replaced script")];
        peers.extend(["restic", "borg"].into_iter().filter(|name| find(name).is_some()).map(Peer::new));
        let mut memory: u64 = 0;
        let mut sizes = (0, 0);
        for _ in 0..rounds {
            self.fresh(&["tar", "store", "scratch", "copy", "script", "restic", "borg"])?;
            let stock = "tar --sort=name -C / -c \"${PWD#/}/tree\" | zstd -q -3 -T0 -o tar/a.tar.zst && sync tar/a.tar.zst";
            tar.push(self.turn(&mut shell(&self.folder, stock))?.0);
            let (seconds, said) = self.turn(&mut self.save())?;
            ours.first.push(seconds);
            memory = memory.max(figure(&said, "peak KiB")?);
            sizes = (length(&self.path("tar"))?, length(&self.path("store"))?);
            for peer in &mut peers {
                self.prepare(peer.name)?;
                peer.first.push(self.turn(&mut self.peer(peer.name))?.0);
            }
            self.trees("change")?;
            let (seconds, said) = self.turn(&mut self.save())?;
            ours.second.push(seconds);
            memory = memory.max(figure(&said, "peak KiB")?);
            for peer in &mut peers {
                peer.second.push(self.turn(&mut self.peer(peer.name))?.0);
            }
            // Every archive stands alone: what a second run cannot do without.
            let newest = newest(&self.path("store"))?;
            let copy = format!("cp store/{newest} tar/copy && sync tar/copy");
            floor.push(self.turn(&mut shell(&self.folder, &copy))?.0);
        }
        let first = median(&ours.first);
        let second = median(&ours.second);
        let mut push = |what: String, value: String, target: &str, beside: String, met: bool| {
            rows.push(Row { what, value, target: target.to_owned(), beside, met });
        };
        let ratio = first / median(&tar);
        let beside =
            format!("{first:.2} s against {:.2} s; {} and {} MB", median(&tar), sizes.1 >> 20, sizes.0 >> 20);
        push(
            format!("{words}: first, against tar and zstd -T0"),
            times(ratio),
            "at most 1.0 ×",
            beside,
            ratio <= 1.0,
        );
        let ratio = first / second;
        let beside = format!("{second:.2} s after {first:.2} s; {:.2} s to copy the archive", median(&floor));
        push(
            format!("{words}: second, 1 % changed, faster by"),
            times(ratio),
            "at least 8 ×",
            beside,
            ratio >= 8.0,
        );
        for peer in &peers {
            let cells = [(first, median(&peer.first)), (second, median(&peer.second))];
            let value = cells.map(|(ours, theirs)| times(ours / theirs)).join(", ");
            let beside = format!("{:.2} s, {:.2} s", cells[0].1, cells[1].1);
            let met = cells.iter().all(|(ours, theirs)| ours < theirs);
            push(format!("{words}: first, second, against {}", peer.name), value, "below 1.0 ×", beside, met);
        }
        self.restores(words, rounds, &mut memory, &mut push)?;
        let value = format!("{:.0} MiB", memory as f64 / 1024.0);
        push(
            format!("{words}: peak memory"),
            value,
            "under 64 MiB",
            "save, restore, verify".to_owned(),
            memory < 64 << 10,
        );
        Ok(())
    }

    fn restores(
        &self,
        words: &str,
        rounds: usize,
        memory: &mut u64,
        push: &mut dyn FnMut(String, String, &str, String, bool),
    ) -> Result<()> {
        let (mut stock, mut ours, mut one) = (Vec::new(), Vec::new(), Vec::new());
        let mut read = 0;
        let archive = newest(&self.path("store"))?;
        for round in 0..rounds {
            // By turns, so that nobody always comes second.
            let order = if round % 2 == 0 { ["stock", "ours"] } else { ["ours", "stock"] };
            for who in order {
                let empty = self.empty(round, who)?;
                let out = empty.at.display();
                self.fresh(&[])?;
                if who == "stock" {
                    let unpack = format!("zstd -dc store/{archive} | tar x -C {out} && sync -f {out}");
                    stock.push(timed(&mut shell(&self.folder, &unpack))?.0);
                    continue;
                }
                let mut restore = self.example("archive");
                let (seconds, said) = timed(restore.args(["restore", "store"]).arg(&empty.at))?;
                ensure!(said.contains("problems: []"), "{said}");
                ours.push(seconds);
                *memory = (*memory).max(figure(&said, "peak KiB")?);
            }
        }
        let ratio = median(&ours) / median(&stock);
        let beside = format!("{:.2} s against {:.2} s", median(&ours), median(&stock));
        push(
            format!("{words}: restore, against zstd -dc and tar x"),
            times(ratio),
            "at most 1.0 ×",
            beside,
            ratio <= 1.0,
        );
        let (_, said) = timed(self.example("archive").args(["verify", "store"]))?;
        ensure!(said.contains("problems: []"), "{said}");
        *memory = (*memory).max(figure(&said, "peak KiB")?);
        if self.tree == "mixed" {
            let file = read_line(&mut shell(
                &self.folder,
                "find tree -type f -size +180 -size -220 | sort | sed -n 20p",
            ))?;
            for round in 0..rounds {
                let out = format!("out-one-{round}");
                let mut restore = self.example("archive");
                let (seconds, said) = timed(restore.args(["restore", "store", &out]).arg(self.path(&file)))?;
                ensure!(said.contains("entries: 1,"), "{said}");
                one.push(seconds);
                read = figure(&said, "read bytes")?;
            }
            let size = fs::metadata(self.path("store").join(&archive))?.len();
            let part = read as f64 / size as f64 * 100.0;
            let value = format!("{:.0} ms, {part:.1} %", median(&one) * 1e3);
            let beside = format!("{} KiB read of {} MiB", read >> 10, size >> 20);
            let met = median(&one) < 0.05 && part < 2.0;
            push(format!("{words}: one file of 100 kB"), value, "under 50 ms, under 2 %", beside, met);
        }
        Ok(())
    }

    fn prepare(&self, name: &str) -> Result<()> {
        match name {
            "restic" => run(shell(&self.folder, "restic -q --no-cache -r restic init").stdout(Stdio::null())),
            "borg" => run(&mut shell(&self.folder, "borg init -e none borg")),
            _ => Ok(()),
        }
    }

    /// What a peer's run is, first and later the same.
    fn peer(&self, name: &str) -> Command {
        let script = match name {
            "restic" => "restic -q --no-cache -r restic backup tree && sync -f restic",
            "borg" => "borg create --compression zstd,3 borg::a$(date +%s%N) tree && sync -f borg",
            // As backup.sh did it: a copy, an archive of the copy, a sum beside it.
            _ => {
                "rsync -a --delete tree/ copy/ && tar -C copy -cf - . | pigz > script/a.tar.gz && \
                 sha256sum script/a.tar.gz > script/a.tar.gz.sha256 && sync -f script"
            }
        };
        shell(&self.folder, script)
    }
}

fn shell(folder: &Path, script: &str) -> Command {
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", script]).current_dir(folder);
    command.env("RESTIC_PASSWORD", "bench").env("BORG_RELOCATED_REPO_ACCESS_IS_OK", "yes");
    command
        .env("BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK", "yes")
        .env("BORG_BASE_DIR", folder.join("borg-home"));
    command
}

/// How many seconds a command took, and what it said.
fn timed(command: &mut Command) -> Result<(f64, String)> {
    let begun = Instant::now();
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    let seconds = begun.elapsed().as_secs_f64();
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok((seconds, String::from_utf8_lossy(&output.stdout).into_owned()))
}

fn read_line(command: &mut Command) -> Result<String> {
    Ok(timed(command)?.1.trim().to_owned())
}

/// The number behind a word on a line of its own.
fn figure(said: &str, word: &str) -> Result<u64> {
    let line = said.lines().find_map(|line| line.strip_prefix(word));
    Ok(line.with_context(|| format!("{word} is not told"))?.trim().parse()?)
}

fn newest(store: &Path) -> Result<String> {
    let names = fs::read_dir(store)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names: Vec<String> = names.collect::<Result<_>>()?;
    names.retain(|name| name.ends_with(".tar.zst"));
    names.sort();
    names.pop().context("no archive was made")
}

fn length(folder: &Path) -> Result<u64> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn times(ratio: f64) -> String {
    format!("{ratio:.2} ×")
}
