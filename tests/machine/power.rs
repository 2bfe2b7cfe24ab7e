//! The power goes at a random moment of a first run; the next run converges, and so does going back.

use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use pitool_testkit::machine::{BoxOptions, Lab, Machine, Suite};
use pitool_testkit::suite::Runner;

use crate::{expect, installed};

/// How often the power goes on each suite. Two suites make the promised twenty; CI on two cores can afford fewer, the
/// switch is documented in CONTRIBUTING.md.
const CUTS: u32 = 10;

pub(crate) fn cases(runner: &mut Runner, lab: &Lab, suite: Suite, deb: &Path) {
    let cuts = std::env::var("PITOOL_POWER_CUTS").ok().and_then(|cuts| cuts.parse().ok()).unwrap_or(CUTS);
    let mut seed =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |since| since.as_millis() as u64);
    for round in 1..=cuts {
        // xorshift: the moments need to be spread, not unpredictable.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        // Where in the run: spread over it, and at random within its share.
        let share = (f64::from(round - 1) + (seed % 1000) as f64 / 1000.0) / f64::from(cuts);
        let back = seed & 1 == 0;
        runner.case(&format!("{suite}: power cut {round} of {cuts}"), || cut(lab, suite, deb, share, back));
    }
    runner.case(&format!("{suite}: power cut between unpacking and configuring, and back"), || {
        let mut machine = installed(lab, suite, &BoxOptions::named("cut"), deb)?;
        let before = machine.check(PACKAGES)?.stdout;
        // dpkg waits where it has unpacked a configuration file under a name of its own, and not yet put it in its place.
        machine.write_file(
            HELD,
            "post-invoke=if test -e /etc/nginx/sites-available/default.dpkg-new; then touch /run/unpacked; sleep 600; fi\n",
            0o644,
        )?;
        let run = machine.spawn(["pitool", "apply", "all"])?;
        machine.check("for try in $(seq 4000); do test -e /run/unpacked && exit 0; sleep 0.1; done; exit 1")?;
        machine.power_cut()?;
        drop(run);
        machine.start()?;
        machine.check(&format!("rm {HELD}; dpkg -l nginx-common | grep ^iU"))?;
        expect(&machine, "pitool rollback", 0)?;
        as_before(&before, &machine)?;
        machine.down()
    });
}

/// A hook of dpkg's, dpkg(1).
const HELD: &str = "/etc/dpkg/dpkg.cfg.d/held";

/// What dpkg has, the marks of apt left out.
const PACKAGES: &str = "dpkg-query -W -f '${Package} ${Version} ${Status}\\n' | sort";

fn as_before(before: &str, machine: &Machine) -> Result<()> {
    let after = machine.check(PACKAGES)?.stdout;
    let only = |one: &str, other: &str| -> Vec<String> {
        one.lines().filter(|line| !other.lines().any(|known| known == *line)).map(str::to_owned).collect()
    };
    let (gone, left) = (only(before, &after), only(&after, before));
    ensure!(gone.is_empty() && left.is_empty(), "going back took {gone:?} and left {left:?}");
    Ok(())
}

fn cut(lab: &Lab, suite: Suite, deb: &Path, share: f64, back: bool) -> Result<()> {
    let mut machine = installed(lab, suite, &BoxOptions::named("cut"), deb)?;
    let before = machine.check(PACKAGES)?.stdout;
    // A first run takes about this long on the machine that the figures in the notes come from; a run that is over
    // sooner is simply cut after its end.
    let whole = std::env::var("PITOOL_FIRST_RUN").ok().and_then(|text| text.parse().ok()).unwrap_or(45.0);
    let moment = Duration::from_secs_f64(whole * share);
    let mut run = machine.spawn(["pitool", "apply", "all"])?;
    std::thread::sleep(moment);
    let alive = run.running()?;
    machine.power_cut()?;
    drop(run);
    machine.start()?;
    let told = machine.sh("pitool history")?;
    // A cut in the first moments leaves nothing to go back from.
    let back = back && told.stdout.contains("cut off");
    if back {
        let output = machine.sh("pitool rollback")?;
        let moment = moment.as_secs_f64();
        ensure!(output.status == 0, "going back after a cut after {moment:.1} s:\n{told}\n{output}");
        as_before(&before, &machine).with_context(|| format!("after a cut after {moment:.1} s"))?;
    }
    let output = machine.sh("pitool apply all")?;
    ensure!(
        output.status == 0,
        "cut after {:.1} s (running: {alive}):\n{told}\n{output}",
        moment.as_secs_f64()
    );
    expect(&machine, "pitool plan all", 0)
        .with_context(|| format!("cut after {:.1} s", moment.as_secs_f64()))?;
    expect(&machine, "pitool apply all --verify", 0)?;
    println!(
        "      cut after {:.1} s{}{}",
        moment.as_secs_f64(),
        if alive { "" } else { " (the run was over)" },
        if back { ", back and on again" } else { "" },
    );
    machine.down()
}
