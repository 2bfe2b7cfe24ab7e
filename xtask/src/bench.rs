//! `cargo xtask bench`: one table of what pitool costs, each row measured in this run on boxes made for it.
//!
//! Absolute times belong to this machine; what counts is the relation to the floor or the peer measured beside it.

mod backup;
mod monitor;
mod table;

use std::fs;

use anyhow::{Context, Result, ensure};
use pitool_testkit::machine::{BoxOptions, Lab, Machine, Suite};

use table::{Row, median, table};

use crate::build::BINARY_LIMIT;
use crate::deb::{self, PACKAGE_LIMIT};
use crate::tools::{command, run};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The Debian release of the boxes
    #[arg(long, default_value = "trixie")]
    suite: Suite,
    /// How often short commands are run; the median counts
    #[arg(long, default_value_t = 25)]
    rounds: u32,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(clap::Subcommand)]
enum Part {
    /// Archives, against tar and zstd, the replaced script, restic and borg
    Backup(backup::Args),
    /// The service that watches the machine, against node_exporter
    Monitor,
}

pub(crate) fn task(args: &Args) -> Result<()> {
    match &args.part {
        Some(Part::Backup(args)) => backup::task(args),
        Some(Part::Monitor) => watching(args),
        None => boxes(args),
    }
}

fn watching(args: &Args) -> Result<()> {
    let lab = Lab::open()?;
    lab.sweep()?;
    let package = deb::build()?;
    let mut rows = Vec::new();
    monitor::rows(&lab, args.suite, &package.deb, args.rounds, &mut rows)?;
    print(&rows, args.suite, 0);
    ensure!(rows.iter().all(|row| row.met), "a target was missed");
    Ok(())
}

fn boxes(args: &Args) -> Result<()> {
    let lab = Lab::open()?;
    lab.sweep()?;
    let package = deb::build()?;
    let mut rows = Vec::new();
    let fresh = Machine::up(&lab, args.suite, &BoxOptions::named("bench"))?;
    fresh.copy_in(&package.deb, "/root/pitool.deb", 0o644)?;
    fresh.check("apt-get -qq update && apt-get -qq install -y /root/pitool.deb")?;

    let plan = median(&fresh, "pitool plan all", args.rounds)?;
    rows.push(Row {
        what: "`pitool plan all` on a fresh box".into(),
        value: format!("{:.0} ms", plan * 1e3),
        target: "under 100 ms".into(),
        beside: String::new(),
        met: plan < 0.1,
    });

    // Both boxes find the same downloads in the shared cache: fill it before anything is timed.
    let (first, packages) = first_runs(&lab, args.suite, &package.deb, fresh, &mut rows)?;
    no_change(&first, args.rounds, &mut rows)?;
    first.down()?;
    monitor::rows(&lab, args.suite, &package.deb, args.rounds, &mut rows)?;

    let megabytes = |bytes: u64| format!("{:.2} MB", bytes as f64 / f64::from(1 << 20));
    rows.push(Row {
        what: "the .deb / the binary installed".into(),
        value: format!("{} / {}", megabytes(package.deb_size), megabytes(package.binary_size)),
        target: format!("under {} MB / under {} MB", PACKAGE_LIMIT >> 20, BINARY_LIMIT >> 20),
        beside: String::new(),
        met: package.deb_size < PACKAGE_LIMIT && package.binary_size < BINARY_LIMIT,
    });

    print(&rows, args.suite, packages);
    ensure!(rows.iter().all(|row| row.met), "a target was missed");
    Ok(())
}

/// Waits until what making and removing boxes left to be written is on the disk: the next one would pay for it.
fn settle() -> Result<()> {
    run(&mut command("sync"))?;
    std::thread::sleep(std::time::Duration::from_secs(3));
    Ok(())
}

/// How often a first run is measured: the same packages took apt 22 and 27 s within eight minutes.
const FIRST_RUNS: usize = 5;

/// The first run against a bare `apt-get install` of the very same packages on a twin, both in turn. The machine's own
/// speed drifts by more than the limit leaves room for, so each run is compared with the twin just before it, and the
/// median of the ratios counts.
fn first_runs(
    lab: &Lab,
    suite: Suite,
    package: &std::path::Path,
    warm: Machine,
    rows: &mut Vec<Row>,
) -> Result<(Machine, usize)> {
    let before = manual(&warm)?;
    warm.check("pitool apply all")?;
    let after = manual(&warm)?;
    let names: Vec<String> = after.into_iter().filter(|name| !before.contains(name)).collect();
    ensure!(!names.is_empty(), "the first run installed nothing");
    let installed = warm.check("dpkg-query -W | wc -l")?.stdout.trim().parse::<usize>()?;
    warm.down()?;

    let mut pairs = Vec::new();
    let mut kept = None;
    for _ in 0..FIRST_RUNS {
        if let Some(earlier) = kept.take() {
            Machine::down(earlier)?;
        }
        // Each of both comes after a box that was removed: neither has the disk more to itself.
        let twin = Machine::up(lab, suite, &BoxOptions::named("twin"))?;
        let install = format!(
            "export DEBIAN_FRONTEND=noninteractive; apt-get -q update && apt-get -q -y --no-install-recommends install {}",
            names.join(" ")
        );
        settle()?;
        let bare = twin.check(&install)?.duration.as_secs_f64();
        twin.down()?;

        let machine = Machine::up(lab, suite, &BoxOptions::named("ours"))?;
        machine.copy_in(package, "/root/pitool.deb", 0o644)?;
        // Installed without its lists being fetched: the run must do that itself, as the twin does.
        machine.check("dpkg -i /root/pitool.deb")?;
        settle()?;
        let ours = machine.check("pitool apply all")?.duration.as_secs_f64();
        pairs.push((ours / bare, ours, bare));
        kept = Some(machine);
    }
    pairs.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (ratio, ours, bare) = pairs[pairs.len() / 2];
    let beside = format!(
        "{ours:.1} s against {bare:.1} s; of {} pairs {:.2} to {:.2} ×; {} packages named",
        pairs.len(),
        pairs[0].0,
        pairs[pairs.len() - 1].0,
        names.len()
    );
    rows.push(Row {
        what: "first `pitool apply all` against a bare apt-get".into(),
        value: format!("{ratio:.2} ×"),
        target: "at most 1.15 ×".into(),
        beside,
        met: ratio <= 1.15,
    });
    Ok((kept.context("no run was made")?, installed))
}

fn manual(machine: &Machine) -> Result<Vec<String>> {
    Ok(machine.check("apt-mark showmanual")?.stdout.lines().map(str::to_owned).collect())
}

fn no_change(machine: &Machine, rounds: u32, rows: &mut Vec<Row>) -> Result<()> {
    let wall = median(machine, "pitool apply all", rounds)?;
    // The floor: starting one process, reading the same files, asking systemd once.
    let units = machine.check("pitool plan all --json >/dev/null; ls /etc/systemd/system >/dev/null; echo ssh.service fail2ban.service nginx.service docker.service")?;
    let floor = median(
        machine,
        &format!(
            "sh -c 'cat /var/lib/dpkg/status /var/lib/apt/extended_states /etc/passwd /etc/group >/dev/null; systemctl show -p Id,ActiveState {} >/dev/null'",
            units.stdout.trim()
        ),
        rounds,
    )?;
    let measured = machine.measured(["pitool", "apply", "all"])?;
    ensure!(measured.output.ok(), "{}", measured.output);
    let (_, usage) = machine.timed(["pitool", "apply", "all"])?;
    let row = |what: &str, value: String, target: &str, beside: String, met| Row {
        what: what.to_owned(),
        value,
        target: target.to_owned(),
        beside,
        met,
    };
    rows.push(row(
        "`pitool apply all` with nothing to change: wall",
        format!("{:.0} ms", wall * 1e3),
        "under 50 ms",
        format!("{:.1} × the floor of {:.0} ms", wall / floor, floor * 1e3),
        wall < 0.05,
    ));
    let rss = usage.max_rss_kib as f64 / 1024.0;
    rows.push(row("… peak memory", format!("{rss:.1} MB"), "under 15 MB", String::new(), rss < 15.0));
    let children = measured.trace.children();
    rows.push(row("… child processes", children.to_string(), "at most 6", String::new(), children <= 6));
    let written = measured.trace.written_bytes();
    let untouched = written == 0 && measured.trace.read_only();
    rows.push(row("… bytes written to files", written.to_string(), "0", "strace".to_owned(), untouched));
    Ok(())
}

fn print(rows: &[Row], suite: Suite, packages: usize) {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    println!("\non a {suite} box with {packages} packages; {cores} cores; each figure from this run\n");
    table(rows);
}
