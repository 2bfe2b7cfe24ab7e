//! Where each generated document comes from, and comparing them with what is there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::tools::root;

/// Folders that hold nothing but generated files: what does not belong there any more is removed.
const OWNED: [&str; 2] = ["docs/man", "docs/completions"];

/// Fails if a generated file is not what the code says now.
pub(super) fn check() -> Result<()> {
    let wanted = documents()?;
    let mut behind: Vec<_> = wanted
        .iter()
        .filter(|(path, text)| fs::read(root().join(path)).ok().as_ref() != Some(*text))
        .map(|(path, _)| path.clone())
        .collect();
    behind.extend(left_over(&wanted)?);
    if behind.is_empty() {
        println!("generated files: {} up to date", wanted.len());
        return Ok(());
    }
    for path in behind {
        eprintln!("not up to date: {}", path.display());
    }
    bail!("run `cargo xtask generate` and commit what it writes")
}

pub(super) fn write() -> Result<()> {
    let wanted = documents()?;
    for path in left_over(&wanted)? {
        fs::remove_file(root().join(&path))?;
        println!("removed {}", path.display());
    }
    for (path, text) in &wanted {
        let file = root().join(path);
        if fs::read(&file).ok().as_ref() == Some(text) {
            continue;
        }
        fs::create_dir_all(file.parent().context("a generated file lies in a folder")?)?;
        fs::write(&file, text)?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

/// Every generated file: its path in the checkout, and its text.
fn documents() -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut documents = BTreeMap::new();

    let command = pitool::cli::command();
    pages(command.clone().disable_help_subcommand(true), &mut documents)?;
    for (shell, name) in [(Shell::Bash, "pitool.bash"), (Shell::Zsh, "_pitool"), (Shell::Fish, "pitool.fish")]
    {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut command.clone(), "pitool", &mut text);
        documents.insert(Path::new("docs/completions").join(name), text);
    }

    let schema: serde_json::Value = serde_json::from_str(pitool_config::schema())?;
    let schema = serde_json::to_string_pretty(&schema)?;
    documents.insert("docs/config.schema.json".into(), with_newline(schema));
    documents.insert("docs/config.md".into(), with_newline(pitool_config::reference()));
    documents.insert("docs/pitool.toml".into(), with_newline(pitool_config::example().to_owned()));
    Ok(documents)
}

/// A man page for the program and for each visible command below it, at every depth.
fn pages(command: clap::Command, documents: &mut BTreeMap<PathBuf, Vec<u8>>) -> Result<()> {
    fn page(command: &clap::Command, documents: &mut BTreeMap<PathBuf, Vec<u8>>) -> Result<()> {
        for below in
            command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help")
        {
            page(below, documents)?;
        }
        let man =
            Man::new(command.clone()).manual("pitool").source(concat!("pitool ", env!("CARGO_PKG_VERSION")));
        let mut text = Vec::new();
        man.render(&mut text)?;
        documents.insert(Path::new("docs/man").join(man.get_filename()), text);
        Ok(())
    }

    let mut command = command;
    command.build();
    page(&command, documents)
}

/// What lies in a folder of generated files and is not generated.
fn left_over(wanted: &BTreeMap<PathBuf, Vec<u8>>) -> Result<Vec<PathBuf>> {
    let mut left = Vec::new();
    for folder in OWNED {
        let Ok(entries) = fs::read_dir(root().join(folder)) else { continue };
        for entry in entries {
            let path = Path::new(folder).join(entry?.file_name());
            if !wanted.contains_key(&path) {
                left.push(path);
            }
        }
    }
    left.sort();
    Ok(left)
}

fn with_newline(text: String) -> Vec<u8> {
    let mut text = text.trim_end().to_owned();
    text.push('\n');
    text.into_bytes()
}
