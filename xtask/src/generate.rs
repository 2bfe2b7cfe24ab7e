//! `cargo xtask generate`: the documents that follow from the code, so that what is documented is what runs.
//!
//! All of them are committed; `--check` says which ones have fallen behind. The documents are asked from the program's own
//! crates, which take long to build: only this task is built with them (feature `generate`), the others start at once.

#[cfg(feature = "generate")]
mod documents;

use anyhow::Result;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write nothing; fail if a generated file is not up to date
    #[arg(long)]
    pub(crate) check: bool,
}

#[cfg(feature = "generate")]
pub(crate) fn task(args: &Args) -> Result<()> {
    if args.check { documents::check() } else { documents::write() }
}

#[cfg(not(feature = "generate"))]
pub(crate) fn task(args: &Args) -> Result<()> {
    use crate::tools::{cargo, run};

    let with_documents = ["run", "--quiet", "--package", "xtask", "--features", "generate", "--", "generate"];
    run(cargo().args(with_documents).args(args.check.then_some("--check")))
}
