//! A Debian 11 of a foreign architecture, small and without a kernel: the programs that dpkg needs, run by qemu.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use pitool_testkit::machine::{DebianTree, Lab};

use super::Arm;

/// What dpkg calls, and a shell for the maintainer scripts.
const PACKAGES: &[&str] = &[
    "base-files",
    "coreutils",
    "dash",
    "diffutils",
    "dpkg",
    "findutils",
    "grep",
    "libc-bin",
    "libc6",
    "libgcc-s1",
    "sed",
    "tar",
];

/// Runs a command in a root of its own with a /proc, in a mount namespace that ends with it.
const ENTER: &str = "root=$1; shift; mount -t proc proc \"$root/proc\"; exec chroot \"$root\" \"$@\"";

pub(crate) struct Guest {
    root: PathBuf,
    processor: &'static str,
    qemu: &'static str,
    debian: &'static str,
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

impl Guest {
    /// Makes a fresh one from the cached tree.
    pub(crate) fn make(lab: &Lab, arm: &Arm) -> Result<Self> {
        let tree = DebianTree {
            name: &format!("oldest-{}", arm.debian),
            release: "bullseye",
            variant: "extract",
            architectures: &[arm.debian],
            packages: PACKAGES,
            options: &[],
        };
        let tree = tree.make(lab.cache())?;
        let root = lab.state().join(format!("arm-{}-{}", arm.debian, std::process::id()));
        let copied = Command::new("cp").args(["-a", "--reflink=auto"]).args([&tree, &root]).status()?;
        let guest = Self { root, processor: arm.processor, qemu: arm.qemu, debian: arm.debian };
        ensure!(copied.success(), "{} could not be copied", tree.display());
        for folder in ["proc", "var/lib/dpkg/info", "var/lib/dpkg/updates"] {
            fs::create_dir_all(guest.root.join(folder))?;
        }
        // dpkg's own entry is where pitool reads the machine's architecture.
        let own = format!(
            "Package: dpkg\nStatus: install ok installed\nMaintainer: nobody\nArchitecture: {}\nVersion: 1.20\n\
             Description: the package manager\n",
            arm.debian
        );
        fs::write(guest.root.join("var/lib/dpkg/status"), own)?;
        let answer = guest.run(&["dpkg", "--print-architecture"]).context("running a program for ARM")?;
        ensure!(
            answer.stdout.trim_ascii() == arm.debian.as_bytes(),
            "programs for {} do not run here: packaging/setup arm switches that on ({answer:?})",
            arm.debian
        );
        Ok(guest)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn put(&self, file: &Path, path: &str) -> Result<()> {
        fs::copy(file, self.inside(path))?;
        Ok(())
    }

    fn inside(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Puts a machine to look at into `/fixture`, and two configs.
    pub(crate) fn furnish(&self, base: &Path) -> Result<()> {
        let fixture = self.inside("/fixture");
        for path in ["etc", "usr/lib/os-release", "usr/lib/systemd", "var/lib/dpkg"] {
            let target = fixture.join(path);
            fs::create_dir_all(target.parent().context("a path without a folder")?)?;
            let copied = Command::new("cp").arg("-a").args([&base.join(path), &target]).status()?;
            ensure!(copied.success(), "{path} of the base could not be copied");
        }
        let status = fixture.join("var/lib/dpkg/status");
        let host = fs::read_to_string(&status)?;
        let own = host.split("\n\n").find(|entry| entry.starts_with("Package: dpkg\n"));
        let own = own.and_then(|entry| entry.lines().find(|line| line.starts_with("Architecture: ")));
        let own = own.context("the base has no dpkg")?;
        fs::write(&status, host.replace(own, &format!("Architecture: {}", self.debian)))?;
        let example = Path::new("../../docs/pitool.toml");
        fs::copy(example, fixture.join("example.toml"))?;
        fs::write(fixture.join("wrong.toml"), "[security.ssh]\nprot = 22\n")?;
        Ok(())
    }

    /// Has uname name another machine from now on.
    pub(crate) fn pretend(&self, machine: &str) -> Result<()> {
        let path = self.inside("/usr/sbin/uname");
        fs::write(&path, format!("#!/bin/sh\necho {machine}\n"))?;
        Ok(fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?)
    }

    /// Runs a command on the oldest processor.
    pub(crate) fn run(&self, words: &[&str]) -> Result<Output> {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--", "sh", "-euc", ENTER, "sh"]).arg(&self.root).args(words);
        Ok(plain(&mut command).env("QEMU_CPU", self.processor).output()?)
    }

    /// Runs a command that has to succeed.
    pub(crate) fn check(&self, words: &[&str]) -> Result<()> {
        let output = self.run(words)?;
        ensure!(output.status.success(), "{words:?}: {output:?}");
        Ok(())
    }

    /// Runs a command under a kernel with larger pages. Without `/proc`, and its libraries found by qemu.
    pub(crate) fn run_paged(&self, page: u32, words: &[&str]) -> Result<Output> {
        let mut command = Command::new(self.qemu);
        command.args(["-p", &page.to_string(), "-L"]).arg(&self.root).arg(self.inside(words[0]));
        Ok(plain(command.args(&words[1..])).output()?)
    }

    /// Asks the program of this machine the same; what it says of its root is put as the guest sees it.
    pub(crate) fn natively(&self, program: &Path, words: &[&str]) -> Result<Output> {
        let root = self.root.to_str().context("a root whose name is not UTF-8")?;
        let words = words.iter().map(|word| word.replace("/fixture", &format!("{root}/fixture")));
        let mut output = plain(Command::new(program).args(words)).output()?;
        for text in [&mut output.stdout, &mut output.stderr] {
            *text = String::from_utf8_lossy(text).replace(root, "").into_bytes();
        }
        Ok(output)
    }
}

/// The same surroundings here and there.
fn plain(command: &mut Command) -> &mut Command {
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8")
}
