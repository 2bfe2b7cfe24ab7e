//! `cargo xtask ci`: every check that is not a test. `.ci/run` runs it, then `make test`.

use std::thread;

use anyhow::{Result, anyhow, bail};

use crate::arch::Arch;
use crate::cross;
use crate::deb;
use crate::lint;
use crate::times::timed;

pub(crate) fn task() -> Result<()> {
    lint::task()?;

    // What they share is made once, before they are built at the same time.
    for arch in Arch::ALL {
        cross::toolchain(arch)?;
    }
    // Linking takes most of the time of a build, and one processor.
    thread::scope(|scope| {
        let builds = Arch::ALL.map(|arch| scope.spawn(move || package(arch)));
        // Every one is waited for, also when another failed.
        let done = builds.map(|build| build.join().unwrap_or_else(|_| Err(anyhow!("a build panicked"))));
        done.into_iter().collect()
    })
}

/// Builds the package of an architecture, and has lintian judge it.
fn package(arch: Arch) -> Result<()> {
    let released = timed(&format!("package for {arch}"), || deb::released(arch))?;
    timed(&format!("lintian for {arch}"), || {
        for package in [&released.package.deb, &released.symbols] {
            if !deb::lint(package)? {
                bail!("lintian is not installed: run packaging/setup ci");
            }
        }
        Ok(())
    })
}
