//! `cargo xtask ci`: every check that is not a test. `.ci/run` runs it, then `make test`.

use anyhow::{Result, bail};

use crate::arch::Arch;
use crate::deb;
use crate::lint;
use crate::times::timed;

pub(crate) fn task() -> Result<()> {
    lint::task()?;

    for arch in Arch::ALL {
        let released = timed(&format!("package for {arch}"), || deb::released(arch))?;
        timed(&format!("lintian for {arch}"), || {
            for package in [&released.package.deb, &released.symbols] {
                if !deb::lint(package)? {
                    bail!("lintian is not installed: run packaging/setup ci");
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}
