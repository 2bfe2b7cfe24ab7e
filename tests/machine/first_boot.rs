//! A card that was seeded: its first boot in a box with cloud-init, set up as Raspberry Pi OS has it.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use pitool_testkit::machine::{BoxOptions, Lab, Machine, RaspberryPi, Suite};
use pitool_testkit::suite::Runner;

/// How long a first boot may take here, with two packages to download.
const LIMIT: Duration = Duration::from_secs(420);

/// Few packages; what counts is the way to the end.
const CONFIG: &str =
    "[common]\npackages = [\"rsync\"]\nhostname = \"kitchen\"\n\n[docker]\nenabled = false\n";

/// What Raspberry Pi OS tells its cloud-init, and that the box's network is not its business.
const CLOUD: &str = "datasource_list: [ NoCloud, None ]\ndatasource:\n  NoCloud:\n    seedfrom: file:///boot/firmware\n\
                     ssh_deletekeys: false\nssh_genkeytypes: []\nnetwork: {config: disabled}\n";

pub(crate) fn cases(runner: &mut Runner, lab: &Lab, suite: Suite, deb: &Path) {
    // Raspberry Pi OS has cloud-init since trixie; that of bookworm (22.4) does not find what the card's own setting names.
    if suite != Suite::Trixie {
        return;
    }
    let name = |case: &str| format!("{suite}: {case}");
    let mut machine = None;
    runner.case(&name("a seeded card sets itself up at its first boot and says so"), || {
        let mut options = BoxOptions::named("card");
        options.raspberry_pi = Some(RaspberryPi::debian("Raspberry Pi 4 Model B Rev 1.4"));
        let mut card = Machine::up(lab, suite, &options)?;
        card.check("apt-get -qq update && apt-get -qq install -y --no-install-recommends cloud-init")?;
        card.write_file("/etc/cloud/cloud.cfg.d/99_raspberry-pi.cfg", CLOUD, 0o644)?;
        card.write_file("/boot/firmware/meta-data", "dsmode: local\ninstance_id: rpios-image\n", 0o755)?;
        let imager = "#cloud-config\nruncmd:\n  - [touch, /imager-was-here]\n";
        card.write_file("/boot/firmware/user-data", imager, 0o755)?;
        card.check("cloud-init clean")?;
        card.shut_down()?;
        seed(&card, deb)?;
        card.start()?;

        let report = finished(&card)?;
        ensure!(report.starts_with("pitool first boot: done"), "{report}");
        ensure!(report.contains("\r\n"), "it is no text for every computer: {report:?}");
        card.check("test -e /imager-was-here && test \"$(hostname)\" = kitchen")?;
        // The report is written before the unit takes itself away.
        card.check(
            "for try in $(seq 300); do systemctl is-active -q pitool-first-boot || exit 0; sleep 0.1; done; exit 1",
        )?;
        card.check("pitool plan all && ! systemctl cat pitool-first-boot.service 2>/dev/null")?;
        machine = Some(card);
        Ok(())
    });
    let Some(mut machine) = machine else { return };
    runner.case(&name("… and a later boot leaves it alone"), || {
        let before = runs(&machine)?;
        ensure!(before == 1, "{before} runs at the first boot");
        machine.reboot()?;
        machine.check("cloud-init status --wait; pitool plan all")?;
        let after = runs(&machine)?;
        ensure!(after == before, "{after} runs");
        Ok(())
    });
}

/// How many runs the machine's journal has.
fn runs(machine: &Machine) -> Result<usize> {
    let history: serde_json::Value = serde_json::from_str(&machine.check("pitool history --json")?.stdout)?;
    let runs = history.get("runs").and_then(serde_json::Value::as_array);
    Ok(runs.with_context(|| format!("no runs: {history}"))?.iter().filter(|run| run["run"].is_u64()).count())
}

/// Seeds the card on this host, with the program in the package, as a person does on a laptop.
fn seed(card: &Machine, deb: &Path) -> Result<()> {
    let folder = card.dir().with_file_name("laptop");
    let unpacked = Command::new("dpkg-deb").arg("-x").args([deb, &folder]).status()?;
    ensure!(unpacked.success(), "the package cannot be unpacked");
    // The box is no Pi, and a package for its processor is refused by its name.
    let renamed = folder.join("pitool.deb");
    std::fs::copy(deb, &renamed)?;
    let config = folder.join("kitchen.toml");
    std::fs::write(&config, CONFIG)?;
    let output = Command::new(folder.join("usr/bin/pitool"))
        .arg("--config")
        .arg(&config)
        .args(["image", "seed"])
        .arg(card.dir().join("boot/firmware"))
        .arg("--deb")
        .arg(renamed)
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Waits for the report of a first boot that came to an end.
fn finished(card: &Machine) -> Result<String> {
    let started = Instant::now();
    while started.elapsed() < LIMIT {
        let report = card.sh("cat /boot/firmware/pitool/report.txt 2>/dev/null")?.stdout;
        if !report.is_empty() && !report.starts_with("pitool first boot: under way") {
            return Ok(report);
        }
        std::thread::sleep(Duration::from_secs(2));
    }
    let state = card.sh(
        "cat /boot/firmware/pitool/report.txt; systemctl status pitool-first-boot --no-pager; cloud-init status --long; \
         tail -n 30 /var/log/cloud-init.log",
    )?;
    bail!("the first boot came to no end in {} s:\n{state}", LIMIT.as_secs())
}
