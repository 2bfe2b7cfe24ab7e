//! `cargo xtask test`: everything that can run here; what cannot is named, with the reason.
//!
//! The tests of the crates come first, with the whole machine for themselves, since they are built. Then come the parts that
//! boot boxes or emulate, two at a time: they wait for disks, downloads and clocks. A row in [`PARTS`] each.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::ops::AddAssign;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use pitool_testkit::machine::{Lab, Suite};

use crate::arch::Arch;
use crate::deb::{self, Released};
use crate::times::{self, Row};
use crate::tools::{cargo, command, find, is_root, root, run, target_dir};

/// Runs the named groups of a part's cases.
type Groups = fn(&[String]) -> Result<Tally>;

/// One part of the tests, run only where all it needs is there.
struct Part {
    name: &'static str,
    needs: &'static [Need],
    run: fn() -> Result<Tally>,
    /// Runs some of its groups of cases again. None: a part that has none, or no limits of time.
    again: Option<Groups>,
}

/// The first alone, the others two at a time in this order: the longest first.
const PARTS: &[Part] = &[
    Part { name: "crates", needs: &[], run: crates, again: None },
    // Boxes of one release share their downloads and so apt's lock on them: those of two do not meet.
    Part {
        name: "machines, trixie",
        needs: BOXES,
        run: || machines(Suite::Trixie, &[]),
        again: Some(|groups| machines(Suite::Trixie, groups)),
    },
    Part {
        name: "machines, bookworm",
        needs: BOXES,
        run: || machines(Suite::Bookworm, &[]),
        again: Some(|groups| machines(Suite::Bookworm, groups)),
    },
    Part { name: "boxes", needs: BOXES, run: boxes, again: None },
    Part { name: "arm", needs: ARM, run: arm, again: None },
    Part {
        name: "package",
        needs: &[Need::Root, Need::Program("cargo-deb"), Need::Program("mmdebstrap")],
        run: package,
        again: None,
    },
];

/// How many parts run at a time, on a machine that has the processors and the memory for it. Boxes wait for disks, downloads and
/// clocks most of their time: two releases beside each other take little longer than one. A group of cases in which a limit of
/// time did not hold there runs once more alone ([`again`]).
const LANES: usize = 2;

/// What a box needs.
const BOXES: &[Need] = &[
    Need::Root,
    Need::Program("cargo-deb"),
    Need::Program("mmdebstrap"),
    Need::Program("systemd-nspawn"),
    Need::Program("strace"),
];

/// What it takes to build and to run programs for ARM.
const ARM: &[Need] = &[
    Need::Root,
    Need::Program("cargo-deb"),
    Need::Program("mmdebstrap"),
    Need::Program("systemd-nspawn"),
    Need::Program("qemu-aarch64-static"),
];

/// Something that a part cannot do without.
enum Need {
    Root,
    Program(&'static str),
}

impl Need {
    /// Why the need is not met here, if it is not.
    fn unmet(&self) -> Option<String> {
        match self {
            Need::Root => (!is_root()).then(|| "not root: no boxes".to_owned()),
            Need::Program(name) => find(name).is_none().then(|| format!("{name} is not installed")),
        }
    }
}

/// How many tests did what.
#[derive(Default)]
pub(crate) struct Tally {
    passed: usize,
    failed: usize,
    skipped: usize,
    /// The lines that tell what failed: a log of hours is read from its end.
    told: Vec<String>,
    /// Groups of cases within the part.
    groups: Vec<Group>,
}

/// A group of cases: what it took, and how many of them failed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    row: Row,
    failed: usize,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, more: Tally) {
        self.passed += more.passed;
        self.failed += more.failed;
        self.skipped += more.skipped;
        self.told.extend(more.told);
        self.groups.extend(more.groups);
    }
}

impl Tally {
    /// The names of the groups in which a case failed. None, if something failed that is in no group: it would fail again.
    fn to_repeat(&self) -> Vec<String> {
        let failed: Vec<&Group> = self.groups.iter().filter(|group| group.failed > 0).collect();
        if failed.iter().map(|group| group.failed).sum::<usize>() != self.failed {
            return Vec::new();
        }
        failed.iter().map(|group| group.row.part.trim().to_owned()).collect()
    }

    /// Puts the second run of the groups that failed in the place of their first.
    fn repeated(mut self, mut alone: Tally) -> Tally {
        if alone.passed == 0 {
            // Nothing was proved by it.
            alone.failed = alone.failed.max(self.failed);
        }
        for group in &mut alone.groups {
            group.row.part += ", again and alone";
        }
        self.passed += self.failed.saturating_sub(alone.failed);
        self.failed = alone.failed;
        self.groups.extend(alone.groups);
        if !self.told.is_empty() {
            self.told
                .insert(0, "beside another part, these failed, and their groups ran again alone:".to_owned());
        }
        if !alone.told.is_empty() {
            self.told.push("alone, these failed:".to_owned());
            self.told.extend(alone.told);
        }
        self
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

pub(crate) fn task() -> Result<()> {
    let started = Instant::now();
    let (first, others) = PARTS.split_first().context("there are no parts")?;
    let mut done = vec![first.run()];
    if others.iter().any(|part| part.unmet().is_none()) {
        // Once, and not in two parts at the same time.
        times::timed("package under test", shipped)?;
    }
    done.extend(again(others, in_lanes(others)));

    let mut rows = times::earlier();
    let before = rows.len();
    let mut total = Tally::default();
    for (part, outcome) in PARTS.iter().zip(done) {
        match outcome {
            Outcome::Ran(tally, seconds) => {
                let passed = format!("{} of {}", tally.passed, tally.passed + tally.failed + tally.skipped);
                rows.push(Row { part: part.name.to_owned(), passed, seconds });
                rows.extend(tally.groups.iter().map(|group| group.row.clone()));
                total += tally;
            }
            Outcome::Skipped(reason) => {
                rows.push(Row {
                    part: format!("{} ({reason})", part.name),
                    passed: "skipped".into(),
                    seconds: 0,
                });
                total.skipped += 1;
            }
        }
    }
    let all = started.elapsed().as_secs();
    rows.push(Row { part: "all tests".into(), passed: format!("{} failed", total.failed), seconds: all });

    println!("==");
    times::print(&rows);
    times::append(&rows[before..])?;
    for line in &total.told {
        println!("{line}");
    }
    println!("{total}");
    if total.failed > 0 {
        bail!("tests failed");
    }
    Ok(())
}

/// What became of a part.
enum Outcome {
    /// What it counted, and how many seconds it took.
    Ran(Tally, u64),
    Skipped(String),
}

impl Part {
    /// Why the part cannot run here, if it cannot.
    fn unmet(&self) -> Option<String> {
        self.needs.iter().find_map(Need::unmet)
    }

    fn run(&self) -> Outcome {
        if let Some(reason) = self.unmet() {
            return Outcome::Skipped(reason);
        }
        println!("== {}", self.name);
        let started = Instant::now();
        let tally = (self.run)().unwrap_or_else(|error| {
            eprintln!("{}: {error:#}", self.name);
            Tally { failed: 1, told: vec![format!("{}: {error:#}", self.name)], ..Tally::default() }
        });
        let seconds = started.elapsed().as_secs();
        println!("== {}: {tally} in {seconds} s", self.name);
        Outcome::Ran(tally, seconds)
    }
}

/// Runs parts [`LANES`] at a time, the next one as soon as one is over; the outcomes are in the order of the parts.
fn in_lanes(parts: &[Part]) -> Vec<Outcome> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let next = Mutex::new(parts.iter().enumerate());
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..LANES.min(cores) {
            scope.spawn(|| {
                loop {
                    // A statement of its own: the lock is not held while the part runs.
                    let taken = next.lock().ok().and_then(|mut next| next.next());
                    let Some((place, part)) = taken else { break };
                    let outcome = part.run();
                    if let Ok(mut done) = done.lock() {
                        done.push((place, outcome));
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

/// Runs the groups once more, alone, in which a case failed beside another part. One that fails alone has failed; one that passes
/// has not, and the table and the lines at its end say that it took two runs.
fn again(parts: &[Part], done: Vec<Outcome>) -> Vec<Outcome> {
    let twice = |(part, outcome): (&Part, Outcome)| match (part.again, outcome) {
        (Some(again), Outcome::Ran(tally, seconds)) if LANES > 1 => {
            let names = tally.to_repeat();
            if names.is_empty() {
                return Outcome::Ran(tally, seconds);
            }
            println!("== {}, again and alone: {}", part.name, names.join(", "));
            let started = Instant::now();
            let alone = again(&names).unwrap_or_else(|error| Tally {
                failed: 1,
                told: vec![format!("{}: {error:#}", part.name)],
                ..Tally::default()
            });
            Outcome::Ran(tally.repeated(alone), seconds + started.elapsed().as_secs())
        }
        (_, outcome) => outcome,
    };
    parts.iter().zip(done).map(twice).collect()
}

/// This machine's package as it is released: what is tested is what people get.
fn shipped() -> Result<Released> {
    deb::released(Arch::host().context("no package is made for this architecture")?)
}

/// The package's life in a Debian tree of its own, from install to purge.
fn package() -> Result<Tally> {
    let deb = shipped()?.package.deb;
    let tree = Lab::open()?.base(Suite::Trixie)?;
    let mut tally = tallied(command(root().join("tests/package/lifecycle.sh")).arg(&deb).arg(&tree), "")?;
    tally += piuparts(&deb, &tree)?;
    Ok(tally)
}

/// Debian's own test of a package's life: installed, removed and purged it leaves nothing behind.
fn piuparts(deb: &Path, tree: &Path) -> Result<Tally> {
    let Some(piuparts) = find("piuparts") else {
        println!("skipped: piuparts (not installed)");
        return Ok(Tally { skipped: 1, ..Tally::default() });
    };
    let log = target_dir().join("piuparts.log");
    let output = std::fs::File::create(&log)?;
    let done = command(piuparts)
        .args(["--distribution", "trixie", "--keep-sources-list", "--no-eatmydata", "--existing-chroot"])
        .arg(tree)
        // debconf's, made by apt's preconfiguration of any package.
        .arg("--ignore-regex=/var/cache/debconf/tmp.ci.*")
        .arg(deb)
        .stderr(output.try_clone()?)
        .stdout(output)
        .status()?
        .success();
    if done {
        println!("ok    piuparts finds nothing left behind");
        return Ok(Tally { passed: 1, ..Tally::default() });
    }
    println!("FAIL  piuparts: see {}", log.display());
    for line in std::fs::read_to_string(&log)?
        .lines()
        .filter(|line| line.contains("not owned") || line.contains("FAIL"))
    {
        println!("      {line}");
    }
    Ok(Tally { failed: 1, ..Tally::default() })
}

/// The ARM packages under emulated processors.
fn arm() -> Result<Tally> {
    let [arm64, armhf] = [Arch::Arm64, Arch::Armhf].map(deb::released);
    let native = shipped()?.program;
    let mut test = machine_test("arm");
    test.env("PITOOL_DEB_ARM64", arm64?.package.deb).env("PITOOL_DEB_ARMHF", armhf?.package.deb);
    tallied(test.env("PITOOL_NATIVE", native), "")
}

/// The boxes themselves.
fn boxes() -> Result<Tally> {
    tallied(&mut machine_test("lab"), "")
}

/// The package on whole machines of a release, and the contract of a host.
///
/// Only the named groups of cases; none: all of them.
fn machines(suite: Suite, groups: &[String]) -> Result<Tally> {
    // As shipped, and in the place where the suites look for it.
    let deb = shipped()?.package.deb;
    run(cargo().args(["build", "--locked", "--package", "pitool-sim", "--example", "contract"]))?;
    let xtask = std::env::current_exe()?;
    let only = if groups.is_empty() { vec![suite.codename().to_owned()] } else { groups.to_vec() };
    let contract = target_dir().join("debug/examples/contract");
    tallied(
        machine_test("machine")
            .env("PITOOL_DEB", deb)
            .env("PITOOL_CONTRACT", contract)
            .env("PITOOL_XTASK", xtask)
            .arg("--")
            .args(only),
        "",
    )
}

fn machine_test(name: &str) -> Command {
    // Boxes are opened only on request, so that a plain `cargo test` by root does not spend an hour.
    let mut test = cargo();
    // The whole workspace, as for the crates: one crate alone would have its dependencies built again with other features.
    test.args(["test", "--locked", "--workspace", "--test", name]).env("PITOOL_MACHINE", "1");
    test
}

/// Every test of every crate, all of them even after a failure.
fn crates() -> Result<Tally> {
    let mut tests = cargo();
    // A build that is kept may be of another checkout, where insta would look for its snapshots.
    tests.args(["test", "--workspace", "--locked", "--no-fail-fast"]).env("INSTA_WORKSPACE_ROOT", root());
    tallied(&mut tests, "test result: ")
}

/// Runs tests that print their counts on lines beginning with `prefix`; shows and adds them up.
fn tallied(tests: &mut Command, prefix: &str) -> Result<Tally> {
    let mut child = tests.stdout(Stdio::piped()).spawn().context("cannot start the tests")?;
    let output = child.stdout.take().context("the tests have no output")?;
    let mut tally = Tally::default();
    let mut reason: usize = 0;
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        let tells = tells(&line);
        if (tells || reason > 0) && !tally.told.contains(&line) {
            tally.told.push(line.clone());
        }
        reason = if tells { REASON } else { reason.saturating_sub(1) };
        if let Some(group) = group(&line) {
            tally.groups.push(group);
        } else if let Some(result) = line.strip_prefix(prefix) {
            tally += Tally {
                passed: count(result, "passed"),
                failed: count(result, "failed"),
                skipped: count(result, "ignored") + count(result, "skipped"),
                ..Tally::default()
            };
        }
    }
    // What does not build, or dies, prints no counts.
    if !child.wait()?.success() && tally.failed == 0 {
        tally.failed = 1;
    }
    Ok(tally)
}

/// Reads a line in which a test program tells of a group of its cases: `group trixie: life: 13 of 13 in 95 s`.
fn group(line: &str) -> Option<Group> {
    let (part, rest) = line.strip_prefix("group ")?.rsplit_once(": ")?;
    let (passed, seconds) = rest.split_once(" in ")?;
    let seconds = seconds.strip_suffix(" s")?.parse().ok()?;
    let (passed, failed) = match passed.split_once(", ") {
        Some((passed, failed)) => (passed, count(failed, "failed")),
        None => (passed, 0),
    };
    Some(Group { row: Row { part: format!("  {part}"), passed: passed.to_owned(), seconds }, failed })
}

/// How many lines after one that tells say why.
const REASON: usize = 3;

/// Tells whether the line names a case or a step that failed, or is what pitool, apt or dpkg said in it.
fn tells(line: &str) -> bool {
    line.contains("FAILED (")
        || line.contains("... FAILED")
        || line.starts_with("FAIL  ")
        || ["error: ", "failed: ", "E: ", "dpkg: error"]
            .iter()
            .any(|start| line.trim_start().starts_with(start))
}

/// The number before `word` in a line such as `ok. 3 passed; 0 failed; 1 ignored; …`.
fn count(result: &str, word: &str) -> usize {
    let words: Vec<_> = result.split([' ', ',', ';']).collect();
    words.windows(2).find(|pair| pair[1] == word).and_then(|pair| pair[0].parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Group, Row, Tally, count, group, tells};

    #[test]
    fn counts_are_read_from_the_result_line() {
        let line = "FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!((count(line, "passed"), count(line, "failed"), count(line, "ignored")), (12, 3, 1));
        assert_eq!((count("38 passed, 0 failed", "passed"), count("ok    it is purged", "passed")), (38, 0));
    }

    #[test]
    fn a_group_is_read_from_its_line() {
        let row = Row { part: "  trixie: life".into(), passed: "12 of 13".into(), seconds: 95 };
        let of = |failed| Some(Group { row: row.clone(), failed });
        assert_eq!(group("group trixie: life: 12 of 13 in 95 s"), of(0));
        assert_eq!(group("group trixie: life: 12 of 13, 1 failed, in 95 s"), of(1));
        assert_eq!(group("trixie: life … ok (95.0 s)"), None);
        // It counts nothing: its cases were counted when they ran.
        assert_eq!(count("group trixie: life: 12 of 13 in 95 s", "passed"), 0);
    }

    fn ran(lines: &[&str], passed: usize, failed: usize) -> Tally {
        let groups = lines.iter().filter_map(|line| group(line)).collect();
        Tally { passed, failed, groups, ..Tally::default() }
    }

    #[test]
    fn a_group_that_failed_beside_another_part_counts_as_it_did_alone() {
        let lines = ["group trixie: life: 13 of 13 in 95 s", "group trixie: power: 1 of 3, 2 failed, in 9 s"];
        let beside = || ran(&lines, 14, 2);
        assert_eq!(beside().to_repeat(), ["trixie: power"]);
        let passed = beside().repeated(ran(&["group trixie: power: 3 of 3 in 7 s"], 3, 0));
        assert_eq!((passed.passed, passed.failed), (16, 0));
        assert_eq!(
            passed.groups.last().map(|group| group.row.part.as_str()),
            Some("  trixie: power, again and alone")
        );
        let failed = beside().repeated(ran(&["group trixie: power: 2 of 3, 1 failed, in 7 s"], 2, 1));
        assert_eq!((failed.passed, failed.failed), (15, 1));
        // A second run in which no case ran proves nothing.
        assert_eq!(beside().repeated(ran(&[], 0, 0)).failed, 2);
        // What failed outside of the groups is not mended by another run of them.
        assert!(ran(&lines, 14, 3).to_repeat().is_empty());
        assert!(ran(&lines[..1], 13, 0).to_repeat().is_empty());
    }

    #[test]
    fn what_failed_is_told_by_its_line() {
        for line in [
            "trixie: power cut 3 of 10 … FAILED (93.2 s)",
            "test tests::five ... FAILED",
            "FAIL  piuparts: see log",
            "    error: the lock is held",
            "    failed: unit[nginx.service] (app)",
            "        E: Sub-process /usr/bin/dpkg returned an error code (1)",
        ] {
            assert!(tells(line), "{line}");
        }
        for line in
            ["trixie: apply all … ok (25.1 s)", "test result: FAILED. 1 passed; 1 failed", "1 failed: 2"]
        {
            assert!(!tells(line), "{line}");
        }
    }
}
