//! The one door to apt: every option that keeps it quiet, patient and safe is set here.

use std::collections::BTreeSet;
use std::time::Duration;

use pitool_host::parse::apt_cache_policy;
use pitool_host::{Command, Error, Host, Inspect, Package, PackageState, Packages, Progress, Result};

/// How long to wait for another apt, such as the daily one: people who were bitten chose ten minutes.
const LOCK_WAIT: Duration = Duration::from_secs(600);

/// How long one transaction may take: a Pi Zero that unpacks docker onto a worn card.
const LIMIT: Duration = Duration::from_secs(2 * 3600);

fn apt_get() -> Command {
    Command::new("apt-get")
        .unsaid(["-q", "-y", "-o", "APT::Status-Fd=3", "-o", "Dpkg::Use-Pty=0"])
        .with_third()
        .unsaid(["-o", &format!("DPkg::Lock::Timeout={}", LOCK_WAIT.as_secs())])
        // A configuration file that a person changed stays; a new one that nobody touched is taken.
        .unsaid(["-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"])
        .timeout(LIMIT)
}

/// Runs apt so that packages may come from the network. In another root they are fetched first, because their scripts run
/// without it there.
fn transact(host: &dyn Host, command: &Command) -> Result<()> {
    if host.live() {
        return run(host, command);
    }
    run(host, &command.clone().arg("--download-only").online())?;
    run(host, &command.clone().arg("--no-download"))
}

/// Runs apt, waiting while another one holds a lock, and telling how it gets on.
fn run(host: &dyn Host, command: &Command) -> Result<()> {
    let mut waited = Duration::ZERO;
    loop {
        let result = host.run_watched(command, &mut |line| {
            if let Some(progress) = progress(line) {
                host.progress(progress);
            }
        });
        match result {
            Err(Error::Failed { message, .. }) if waited < LOCK_WAIT && locked(&message) => {
                // DPkg::Lock::Timeout does not cover the lock on the package lists.
                host.progress(Progress::Waiting(
                    "another apt holds its lock; waiting for it to finish".into(),
                ));
                host.sleep(Duration::from_secs(3));
                waited += Duration::from_secs(3);
            }
            other => return other.map(drop),
        }
    }
}

fn locked(message: &str) -> bool {
    message.contains("Could not get lock") || message.contains("Unable to lock directory")
}

/// Understands a line of apt's status (apt's README.progress-reporting): `pmstatus:PACKAGE:PERCENT:WORDS` while
/// dpkg works, `dlstatus:N:PERCENT:WORDS` while it downloads.
fn progress(line: &str) -> Option<Progress> {
    if line.starts_with("Waiting for cache lock") {
        return Some(Progress::Waiting("another apt holds its lock; waiting for it to finish".into()));
    }
    let (kind, rest) = line.split_once(':')?;
    // Downloading is the first half of the bar, dpkg's work the second.
    let offset = match kind {
        "dlstatus" => 0.0,
        "pmstatus" => 50.0,
        _ => return None,
    };
    let mut fields = rest.splitn(3, ':');
    let _package = fields.next()?;
    let percent: f64 = fields.next()?.parse().ok()?;
    Some(Progress::Percent { percent: offset + percent / 2.0, message: fields.next()?.to_owned() })
}

/// Refreshes the package lists.
pub(crate) fn update(host: &dyn Host) -> Result<()> {
    // Without this apt ends with 0 when a mirror does not answer, and the old lists stand for new ones.
    run(host, &apt_get().unsaid(["-o", "APT::Update::Error-Mode=any"]).arg("update").online())
}

/// Whether dpkg's journal holds unfinished work, which makes every apt refuse to do anything.
pub(crate) fn interrupted(host: &dyn Inspect) -> Result<bool> {
    Ok(!host.list("/var/lib/dpkg/updates")?.unwrap_or_default().is_empty())
}

/// Finishes what an interrupted dpkg left half done, except for what goes next.
pub(crate) fn repair<'a>(host: &dyn Host, going: impl Iterator<Item = &'a String>) -> Result<()> {
    let going: BTreeSet<&str> = going.map(String::as_str).collect();
    if broken(&*host.packages()?).next().is_none() && !interrupted(host.inspect())? {
        return Ok(());
    }
    host.progress(Progress::Waiting("dpkg was interrupted earlier; finishing its work".into()));
    let configure =
        Command::new("dpkg").args(["--force-confdef", "--force-confold", "--configure", "-a"]).timeout(LIMIT);
    if host.run(&configure).is_ok() {
        return Ok(());
    }
    let packages = host.packages()?;
    if broken(&packages).all(|(name, _)| going.contains(name.as_str())) {
        return Ok(());
    }
    // Half-unpacked packages keep --configure from succeeding; apt's own repair takes it from there. What dpkg already
    // calls unpacked but still wants installed again it would only configure, which dpkg refuses: that is named.
    let again = broken(&packages).filter(|(_, package)| package.reinstall);
    let again: Vec<&String> = again.map(|(name, _)| name).collect();
    let mut repair = apt_get().args(["--no-install-recommends", "--fix-broken"]);
    if !again.is_empty() {
        repair = repair.arg("--reinstall");
    }
    transact(host, &repair.arg("install").args(again))
}

fn broken(packages: &Packages) -> impl Iterator<Item = (&String, &Package)> {
    packages.packages.iter().filter(|(_, package)| package.state == PackageState::Broken)
}

/// Installs packages, and nothing that they merely recommend: what a role needs it names.
pub(crate) fn install(host: &dyn Host, names: &[String]) -> Result<()> {
    transact(host, &apt_get().args(["--no-install-recommends", "install"]).args(names))
}

/// Removes packages, with their configuration files if `purge`.
pub(crate) fn remove(host: &dyn Host, names: &[String], purge: bool) -> Result<()> {
    // What a power cut left half unpacked would first have to be installed again, and there may be no network.
    let apt = apt_get().unsaid(["-o", "Dpkg::Options::=--force-remove-reinstreq"]);
    run(host, &apt.arg(if purge { "purge" } else { "remove" }).args(names))
}

/// Marks packages as asked for, or as brought in by others.
pub(crate) fn mark(host: &dyn Host, names: &[String], manual: bool) -> Result<()> {
    host.run(&Command::new("apt-mark").arg(if manual { "manual" } else { "auto" }).args(names)).map(drop)
}

/// Upgrades what is installed; `full` may remove packages to get there.
pub(crate) fn upgrade(host: &dyn Host, full: bool) -> Result<()> {
    let verbs: &[&str] = if full { &["dist-upgrade"] } else { &["--with-new-pkgs", "upgrade"] };
    transact(host, &apt_get().args(verbs.iter().copied()))
}

/// The names that apt could not install.
pub(crate) fn unknown(host: &dyn Host, names: &[String]) -> Result<Vec<String>> {
    // Not `show`, which looks for every record in the lists: ten times as long.
    let output = host.ask(&Command::new("apt-cache").arg("policy").args(names))?;
    let known = apt_cache_policy::candidates(&output.stdout);
    Ok(names.iter().filter(|name| !known.contains_key(bare(name))).cloned().collect())
}

/// A package's name without its architecture.
fn bare(name: &str) -> &str {
    name.split(':').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_its_architecture() {
        assert_eq!(bare("libc6:armhf"), "libc6");
    }
}
