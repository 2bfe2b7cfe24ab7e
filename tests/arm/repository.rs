//! Asks apt whether a release of Debian has what a package depends on, without installing anything.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use pitool_testkit::machine::release_source;

/// Has apt work out the package's installation on an empty system of that release and architecture.
pub(crate) fn satisfies(release: &str, architecture: &str, deb: &Path) -> Result<()> {
    let folder =
        std::env::temp_dir().join(format!("pitool-apt-{release}-{architecture}-{}", std::process::id()));
    let answer = simulated(&folder, release, architecture, deb);
    let _ = fs::remove_dir_all(&folder);
    answer
}

fn simulated(folder: &Path, release: &str, architecture: &str, deb: &Path) -> Result<()> {
    for path in
        ["etc/apt/preferences.d", "etc/apt/apt.conf.d", "state/lists/partial", "cache/archives/partial"]
    {
        fs::create_dir_all(folder.join(path))?;
    }
    fs::write(folder.join("etc/apt/sources.list"), release_source(release)? + "\n")?;
    fs::write(folder.join("status"), "")?;
    let apt = |words: &[&str]| -> Result<String> {
        let at = |key: &str, path: &str| format!("-o{key}={}", folder.join(path).display());
        let output = Command::new("apt-get")
            .args([at("Dir::Etc", "etc/apt"), at("Dir::State", "state"), at("Dir::State::status", "status")])
            .args([at("Dir::Cache", "cache"), format!("-oAPT::Architecture={architecture}")])
            .args([format!("-oAPT::Architectures={architecture}"), "-oAPT::Sandbox::User=root".into()])
            .args(["-oAcquire::Languages=none", "-oDebug::NoLocking=1", "-qq"])
            .args(words)
            .output()?;
        ensure!(output.status.success(), "apt-get {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    };
    apt(&["update"])?;
    let plan = apt(&["--simulate", "--no-install-recommends", "install", &deb.display().to_string()])?;
    ensure!(plan.contains("Inst pitool ") && plan.contains("Inst systemd "), "{plan}");
    Ok(())
}
