//! The ARM packages under emulated ARM processors: installed by an ARM dpkg on the oldest glibc, and asked the same
//! questions as the program of this machine.
//!
//! `cargo xtask test` runs it; by hand, as root: `PITOOL_MACHINE=1 PITOOL_DEB_ARM64=… PITOOL_DEB_ARMHF=… PITOOL_NATIVE=…
//! cargo test -p pitool-testkit --test arm`. A whole emulated machine is `cargo xtask machine`.

#![expect(clippy::disallowed_methods, reason = "a test arranges its own surroundings")]

mod guest;
mod repository;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use pitool_testkit::machine::{Lab, Suite};
use pitool_testkit::suite::Runner;

use guest::Guest;

/// An architecture as the tests see it.
struct Arm {
    debian: &'static str,
    /// Names the package under test.
    variable: &'static str,
    /// The oldest processor that the package promises to run on: that of the Pi 2, and of the Pi 3 and Zero 2.
    processor: &'static str,
    qemu: &'static str,
}

const ARMS: [Arm; 2] = [
    Arm {
        debian: "arm64",
        variable: "PITOOL_DEB_ARM64",
        processor: "cortex-a53",
        qemu: "qemu-aarch64-static",
    },
    Arm { debian: "armhf", variable: "PITOOL_DEB_ARMHF", processor: "cortex-a7", qemu: "qemu-arm-static" },
];

/// Questions whose answer depends on the machine looked at, and not on the one that runs the program.
const QUESTIONS: &[&[&str]] = &[
    &["--root", "/fixture", "facts", "--json"],
    &["--root", "/fixture", "plan", "all", "--json"],
    &["--root", "/fixture", "plan", "all", "--diff"],
    &["--root", "/fixture", "config", "show"],
    &["config", "check", "/fixture/example.toml"],
    &["config", "check", "/fixture/wrong.toml"],
    &["config", "schema"],
    &["completions", "bash"],
    &["plan", "--help"],
    &["aply"],
];

fn main() -> ExitCode {
    let mut runner = Runner::new();
    let Some(lab) = runner.lab() else { return runner.finish() };
    for arm in &ARMS {
        cases(&mut runner, &lab, arm);
    }
    runner.finish()
}

fn cases(runner: &mut Runner, lab: &Lab, arm: &Arm) {
    let name = |case: &str| format!("{}: {case}", arm.debian);
    let mut guest = None;
    runner.case(&name("dpkg installs the package on the oldest glibc"), || {
        let deb = file(arm.variable)?;
        let made = Guest::make(lab, arm)?;
        made.put(&deb, "/pitool.deb")?;
        // What it depends on stands on no list here; apt answers for that in a case of its own.
        let output = made.run(&["dpkg", "--force-depends", "--install", "/pitool.deb"])?;
        ensure!(output.status.success(), "{output:?}");
        let installed = made.run(&["dpkg-query", "-W", "-f", "${Status} ${Architecture}", "pitool"])?;
        let expected = format!("install ok installed {}", arm.debian);
        ensure!(installed.stdout == expected.as_bytes(), "{installed:?}");
        guest = Some(made);
        Ok(())
    });
    let Some(guest) = guest else { return };

    runner.case(&name("the program starts on the oldest processor"), || {
        let output = guest.run(&["pitool", "--version"])?;
        ensure!(output.stdout.starts_with(b"pitool ") && output.status.success(), "{output:?}");
        Ok(())
    });
    runner.case(&name("it reads the running kernel as a program of its width"), || {
        let facts = facts(&guest)?;
        ensure!(facts.contains(&format!("\"arch\": \"{}\"", arm.debian)), "{facts}");
        ensure!(facts.contains("\"page_size\": 4096"), "{facts}");
        ensure!(!facts.contains("\"memory\": 0") && !facts.contains("\"cpus\": 0"), "{facts}");
        Ok(())
    });
    runner.case(&name("it answers like the program of any other architecture"), || same_answers(&guest, lab));
    if arm.debian == "arm64" {
        runner.case(&name("it starts on a kernel with pages of 16 KiB, as the Pi 5's"), || {
            let output = guest.run_paged(16384, &["/usr/bin/pitool", "--version"])?;
            ensure!(output.status.success(), "{output:?}");
            Ok(())
        });
    } else {
        runner.case(&name("the package refuses the processor of a Pi 1 or Zero with a sentence"), || {
            guest.check(&["dpkg", "--purge", "pitool"])?;
            // Debian's own dpkg needs ARMv7 as well, so the processor itself cannot be emulated here.
            guest.pretend("armv6l")?;
            let output = guest.run(&["dpkg", "--force-depends", "--install", "/pitool.deb"])?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(!output.status.success(), "it was installed");
            ensure!(said.contains("needs an ARMv7 or newer processor"), "{said}");
            ensure!(!guest.root().join("usr/bin/pitool").exists(), "something was unpacked");
            Ok(())
        });
    }
    for release in ["bullseye", "bookworm", "trixie"] {
        runner.case(&name(&format!("what it depends on is in {release}")), || {
            repository::satisfies(release, arm.debian, &file(arm.variable)?)
        });
    }
}

fn facts(guest: &Guest) -> Result<String> {
    let output = guest.run(&["pitool", "facts", "--json"])?;
    ensure!(output.status.success(), "{output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

/// Both programs, one fixture: a fresh trixie whose package list is of the guest's architecture.
fn same_answers(guest: &Guest, lab: &Lab) -> Result<()> {
    let native = file("PITOOL_NATIVE")?;
    guest.furnish(&lab.base(Suite::Trixie)?)?;
    for question in QUESTIONS {
        let mut words = vec!["pitool"];
        words.extend(*question);
        let (there, here) = (guest.run(&words)?, guest.natively(&native, question)?);
        let shown = question.join(" ");
        ensure!(
            there.status.code() == here.status.code(),
            "`pitool {shown}` ends with {there:?} on ARM, with {here:?} here"
        );
        for (there, here) in [(&there.stdout, &here.stdout), (&there.stderr, &here.stderr)] {
            let (there, here) = (String::from_utf8_lossy(there), String::from_utf8_lossy(here));
            let first = there.lines().zip(here.lines()).find(|(there, here)| there != here);
            ensure!(there == here, "`pitool {shown}` says other things on ARM than here: {first:?}");
        }
        ensure!(!there.stdout.is_empty() || !there.stderr.is_empty(), "`pitool {shown}` says nothing");
    }
    Ok(())
}

/// The file that a variable of the environment names.
fn file(variable: &str) -> Result<PathBuf> {
    let path = std::env::var_os(variable).with_context(|| format!("{variable} names no file"))?;
    let path = Path::new(&path).canonicalize();
    path.with_context(|| format!("{variable} names a file that is not there"))
}
