//! `cargo xtask ci`: every check that is not a test. `.ci/run` runs it, then `make test`.

use anyhow::{Result, bail};

use crate::build::BINARY_LIMIT;
use crate::deb::{self, PACKAGE_LIMIT};
use crate::lint;

pub(crate) fn task() -> Result<()> {
    lint::task()?;

    let package = deb::build()?;
    if package.deb_size >= PACKAGE_LIMIT || package.binary_size >= BINARY_LIMIT {
        bail!("the package is bigger than promised");
    }
    if !deb::lint(&package.deb)? {
        bail!("lintian is not installed: run packaging/setup test");
    }
    Ok(())
}
