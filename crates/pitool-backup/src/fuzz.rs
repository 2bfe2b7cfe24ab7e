//! Fuzzing of everything that reads what somebody else may have written: manifest, index and seek table, frames, tar.
//!
//! A loop of mutations with a generator of its own, on stable Rust. Each target starts from files that [`crate::save`]
//! makes, of every format version, changes their structure (lengths, counts, offsets) with the digests made right
//! again, or their bytes, and reads them. No crash, no input that takes longer than [`INPUT`], and no more memory than
//! [`MEMORY`], which is why each target runs in a process of its own.
//!
//! `PITOOL_FUZZ_SECONDS` is the time for each target (3), `PITOOL_FUZZ_SEED` where the generator starts, and
//! `PITOOL_FUZZ_ONLY` the number of the one input to try, as a failure names it.

mod mutate;
mod seeds;
mod targets;

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mutate::Random;
use seeds::Seeds;

/// What one input may take of a processor. A whole archive of 5 MiB takes milliseconds.
const INPUT: Duration = Duration::from_secs(10);

/// What one input may take of the time on the wall, where it waits for something that never comes. A machine that is
/// busy takes its time, too.
const WAIT: Duration = Duration::from_secs(120);

/// What a target may have in memory at its peak, in KiB.
const MEMORY: u64 = 100 << 10;

/// Tells a process which target it is.
const TARGET: &str = "PITOOL_FUZZ_TARGET";

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Runs a target in a process of its own, and says how it went.
fn fuzz(target: &str) {
    let seconds = number("PITOOL_FUZZ_SECONDS").unwrap_or(3);
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "fuzz::in_a_process_of_its_own", "--nocapture", "--ignored"])
        .env(TARGET, target)
        .env("PITOOL_FUZZ_SECONDS", seconds.to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let figures = said.lines().find_map(|line| line.strip_prefix("figures: "));
    let report = format!("{target}: {said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{report}");
    let figures = figures.unwrap_or_else(|| panic!("{report}"));
    let words: Vec<&str> = figures.split(' ').collect();
    let [inputs, read, peak] = words[..] else { panic!("{report}") };
    println!("{target}: {inputs} inputs, {read} of them read without an error, peak {peak} KiB");
    assert!(peak.parse::<u64>().unwrap() <= MEMORY, "{report}");
    // A target that refuses everything at its first byte finds nothing. A machine that is busy gets through few.
    let [inputs, read] = [inputs, read].map(|number| number.parse::<u64>().unwrap());
    assert!(inputs < 1000 || read > inputs / 100, "{report}");
}

#[test]
fn manifest() {
    fuzz("manifest");
}

#[test]
fn index() {
    fuzz("index");
}

#[test]
fn frames() {
    fuzz("frames");
}

#[test]
fn tar() {
    fuzz("tar");
}

#[test]
fn archive() {
    fuzz("archive");
}

/// A target that has a fault, so that a test can see that a fault is found.
#[test]
fn a_planted_fault_is_found() {
    let found = catch_unwind(|| fuzz("planted"));
    let why = found.unwrap_err().downcast::<String>().unwrap();
    assert!(why.contains("PITOOL_FUZZ_ONLY="), "{why}");
    let found = catch_unwind(|| fuzz("planted-loop"));
    let why = found.unwrap_err().downcast::<String>().unwrap();
    assert!(why.contains("takes longer than"), "{why}");
    let found = catch_unwind(|| fuzz("planted-memory"));
    assert!(found.is_err());
}

#[test]
#[ignore = "run by the tests of the targets, in a process of its own"]
fn in_a_process_of_its_own() {
    let target = std::env::var(TARGET).unwrap();
    let seed = number("PITOOL_FUZZ_SEED").unwrap_or(0x5eed);
    let until = Instant::now() + Duration::from_secs(number("PITOOL_FUZZ_SECONDS").unwrap_or(3));
    let only = number("PITOOL_FUZZ_ONLY");
    let seeds = Seeds::new();
    let run = targets::of(&target);
    let wait = if target == "planted-loop" { Duration::from_secs(1) } else { WAIT };
    // The number of the input, shared with what watches that it changes.
    let at = Arc::new(AtomicU64::new(0));
    let watched = at.clone();
    std::thread::spawn(move || {
        let (mut input, mut since, mut used) = (u64::MAX, Instant::now(), processor());
        loop {
            std::thread::sleep(Duration::from_millis(200));
            let now = watched.load(Ordering::Relaxed);
            if now != input {
                (input, since, used) = (now, Instant::now(), processor());
            }
            if processor().saturating_sub(used) > INPUT || since.elapsed() > wait {
                eprintln!(
                    "an input takes longer than {INPUT:?}, or waits for {wait:?}: PITOOL_FUZZ_ONLY={input}"
                );
                std::process::abort();
            }
        }
    });
    let (mut inputs, mut read) = (0, 0);
    loop {
        let input = only.unwrap_or(inputs);
        at.store(input, Ordering::Relaxed);
        // Every input has a generator of its own: it can be made again without those before it.
        let mut random = Random::new(seed ^ input.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let outcome = catch_unwind(AssertUnwindSafe(|| run(&seeds, &mut random)));
        match outcome {
            Ok(good) => read += u64::from(good),
            Err(_) => {
                eprintln!("{target} panics: PITOOL_FUZZ_SEED={seed} PITOOL_FUZZ_ONLY={input}");
                std::process::exit(101);
            }
        }
        inputs += 1;
        if only.is_some() || Instant::now() >= until {
            break;
        }
        if inputs % 100_000 == 0 {
            eprintln!("{target}: {inputs} inputs, peak {} KiB", peak());
        }
    }
    println!("figures: {inputs} {read} {}", peak());
    std::io::stdout().flush().unwrap();
}

/// The time of a processor that this process took so far.
fn processor() -> Duration {
    // The name of the program is in brackets and may have anything in it (proc_pid_stat(5)).
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<u64> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse().unwrap())
        .collect();
    // A hundredth of a second on every Linux.
    Duration::from_millis(fields.iter().sum::<u64>() * 10)
}

/// The most memory that this process had, in KiB (proc_pid_status(5)).
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
