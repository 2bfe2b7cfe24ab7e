//! The package from a signed apt repository: installed, upgraded, refused where it was tampered with; and what a
//! machine that pitool configured is after upgrade, downgrade, removal and return.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use pitool_testkit::machine::{Lab, Machine, Suite};
use pitool_testkit::suite::Runner;

use crate::{converged, expect};

/// Where the box's own web server shows the repository.
const URL: &str = "http://127.0.0.1:8000";

/// The number of the release before the one under test.
const EARLIER: &str = "0.0.9-1";

pub(crate) fn cases(runner: &mut Runner, lab: &Lab, suite: Suite, deb: &Path) {
    let name = |case: &str| format!("{suite}: {case}");
    let mut shop = None;
    runner.case(&name("a signed repository, and a box that is told of it"), || {
        let made = Shop::open(lab, suite, deb)?;
        made.release(&made.earlier)?;
        made.machine.check(&format!(
            "systemd-run --quiet --unit=shop python3 -m http.server --directory /srv/repo --bind 127.0.0.1 8000\n\
             for try in $(seq 50); do curl -fs {URL}/pitool.sources >/dev/null && break; sleep 0.1; done\n\
             curl -fsSLo /usr/share/keyrings/pitool-archive-keyring.gpg {URL}/pitool-archive-keyring.gpg\n\
             curl -fsSLo /etc/apt/sources.list.d/pitool.sources {URL}/pitool.sources"
        ))?;
        shop = Some(made);
        Ok(())
    });
    let Some(shop) = shop else { return };
    let machine = &shop.machine;

    runner.case(&name("apt installs it from there"), || {
        let update = machine.check("apt-get update 2>&1")?;
        ensure!(!update.stdout.contains("W: "), "apt warns: {update}");
        machine.check("apt-get -qq install -y pitool")?;
        installed(machine, EARLIER)
    });
    runner.case(&name("a configured machine is upgraded from there, and nothing is left to do"), || {
        expect(machine, "pitool apply common security", 0)?;
        shop.release(deb)?;
        machine.check("apt-get -qq update && apt-get -qq upgrade -y")?;
        installed(machine, &shop.version)?;
        settled(machine)
    });
    runner.case(&name("downgraded on demand it finds its journal, and nothing to do"), || {
        machine.check(&format!("apt-get -qq install -y --allow-downgrades pitool={EARLIER}"))?;
        installed(machine, EARLIER)?;
        settled(machine)
    });
    runner.case(&name("removed it leaves the machine in force, and back it finds nothing to do"), || {
        machine.check("apt-get -qq remove -y pitool")?;
        machine.check("systemctl is-active fail2ban ssh && ufw status | grep -q 'Status: active'")?;
        machine.check("apt-get -qq install -y pitool && apt-get -qq install -y --reinstall pitool")?;
        installed(machine, &shop.version)?;
        settled(machine)
    });
    runner.case(&name("a released version is not released again with other content"), || {
        let refused = shop.try_release(&shop.other)?;
        ensure!(refused.contains("raise the version"), "{refused}");
        Ok(())
    });
    runner.case(&name("a package built for one machine only is not released"), || {
        let refused = shop.try_release(&shop.native)?;
        ensure!(refused.contains("for the machine that built it"), "{refused}");
        Ok(())
    });
    runner.case(&name("apt refuses a repository that somebody else changed"), || {
        machine.check("sed -i 's/^Origin: pitool/Origin: nobody/' /srv/repo/dists/stable/InRelease")?;
        let update = machine.sh("apt-get update 2>&1")?;
        ensure!(update.stdout.contains("signature verification"), "{update}");
        ensure!(update.stdout.contains(URL), "{update}");
        Ok(())
    });
    runner.case(&name("purged it takes config and journal, and the machine stays as it is"), || {
        let purged = machine.check("apt-get -qq purge -y pitool")?;
        ensure!(purged.stdout.contains("the machine stays configured"), "{purged}");
        machine.check(
            "test ! -e /etc/pitool && test ! -e /var/lib/pitool && systemctl is-active fail2ban ssh",
        )?;
        Ok(())
    });
}

/// A plan without a step, and the history that tells of the one run.
fn settled(machine: &Machine) -> Result<()> {
    expect(machine, "pitool plan common security", 0)?;
    let history = machine.check("pitool history")?;
    ensure!(history.stdout.contains("apply"), "the journal is gone: {history}");
    Ok(())
}

fn installed(machine: &Machine, version: &str) -> Result<()> {
    let there = machine.check("dpkg-query -W -f '${Version}' pitool")?.stdout;
    ensure!(there == version, "{there} is installed, not {version}");
    Ok(())
}

/// A repository in a box, the key that signs it, and packages to put into it.
struct Shop {
    machine: Machine,
    home: PathBuf,
    version: String,
    earlier: PathBuf,
    other: PathBuf,
    native: PathBuf,
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").args(["--kill", "all"]).env("GNUPGHOME", &self.home).status();
        let _ = fs::remove_dir_all(&self.home);
    }
}

impl Shop {
    fn open(lab: &Lab, suite: Suite, deb: &Path) -> Result<Self> {
        // A short path: gpg's socket lies in it.
        let home = std::env::temp_dir().join(format!("pitool-shop-{}", std::process::id()));
        let _ = fs::remove_dir_all(&home);
        fs::create_dir_all(&home)?;
        // A machine that was configured, and whose program is to come from the repository.
        let machine = converged(lab, suite, "shop", deb)?;
        machine.check("apt-get -qq remove -y pitool")?;
        let said = |command: &mut Command| -> Result<String> {
            let output = command.env("GNUPGHOME", &home).output()?;
            ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
            Ok(String::from_utf8(output.stdout)?.trim().to_owned())
        };
        said(Command::new("chmod").arg("700").arg(&home))?;
        let key = [
            "--batch",
            "--passphrase",
            "",
            "--quick-gen-key",
            "shop@example.org",
            "ed25519",
            "sign",
            "never",
        ];
        said(Command::new("gpg").args(key))?;
        let version = said(Command::new("dpkg-deb").arg("-f").arg(deb).arg("Version"))?;

        // The same program under another number, with another word in it, and as its own machine would build it.
        let changed = |name: &str, from: &str, to: &str| -> Result<PathBuf> {
            let (tree, package) = (home.join(name), home.join(format!("{name}.deb")));
            said(Command::new("dpkg-deb").arg("-R").args([deb, &tree]))?;
            let control = tree.join("DEBIAN/control");
            let text = fs::read_to_string(&control)?;
            ensure!(text.contains(from), "the package has no {from:?}");
            fs::write(&control, text.replace(from, to))?;
            said(
                Command::new("dpkg-deb").args(["--root-owner-group", "-Zgzip", "-b"]).args([&tree, &package]),
            )?;
            Ok(package)
        };
        let earlier = changed("earlier", &format!("Version: {version}"), &format!("Version: {EARLIER}"))?;
        let other = changed("other", "Section: admin", "Section: utils")?;
        let native = changed("native", "libc6 (>= 2.31)", "libc6 (>= 2.39)")?;
        Ok(Self { machine, home, version, earlier, other, native })
    }

    /// Adds a package to the repository, with the task that people use.
    fn release(&self, deb: &Path) -> Result<()> {
        let (done, said) = self.task(deb)?;
        ensure!(done, "{said}");
        Ok(())
    }

    fn try_release(&self, deb: &Path) -> Result<String> {
        let (done, said) = self.task(deb)?;
        ensure!(!done, "it was released");
        Ok(said)
    }

    fn task(&self, deb: &Path) -> Result<(bool, String)> {
        let xtask = std::env::var_os("PITOOL_XTASK").context("PITOOL_XTASK names no program")?;
        let output = Command::new(xtask)
            .args(["release", "--key", "shop@example.org", "--url", URL, "--repo"])
            .arg(self.machine.dir().join("srv/repo"))
            .arg(deb)
            .env("GNUPGHOME", &self.home)
            .output()?;
        Ok((output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()))
    }
}
