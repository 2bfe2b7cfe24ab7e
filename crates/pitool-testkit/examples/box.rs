//! Boxes by hand: `cargo run -p pitool-testkit --example box -- up NAME [trixie|bookworm] [--pi MODEL]`.
#![expect(clippy::disallowed_methods, reason = "a tool of the developers' own")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people at a terminal")]

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use pitool_testkit::machine::{BoxOptions, Lab, Machine, RaspberryPi, Suite};

const USAGE: &str =
    "box up NAME [SUITE] [--pi MODEL] | sh NAME COMMAND… | cp NAME FILE PATH | ip NAME | dir NAME
    | kill NAME | start NAME | reboot NAME | down NAME | list | sweep | wipe | base SUITE";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match go(&words) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("box: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn go(words: &[&str]) -> Result<ExitCode> {
    let lab = Lab::open()?;
    let at = |name: &str| Machine::attach(&lab, name);
    match words {
        ["wipe"] => lab.remove_disk()?,
        ["base", suite] => println!("{}", lab.base(suite.parse()?)?.display()),
        ["up", name, rest @ ..] => {
            let (suite, model) = match rest {
                [] => (Suite::Trixie, None),
                ["--pi", model] => (Suite::Trixie, Some(model)),
                [suite] => (suite.parse()?, None),
                [suite, "--pi", model] => (suite.parse()?, Some(model)),
                _ => anyhow::bail!("{USAGE}"),
            };
            anyhow::ensure!(at(name).is_err(), "there is a box {name} already");
            let mut options = BoxOptions::named(name);
            options.raspberry_pi = model.map(|model| RaspberryPi::debian(model));
            let machine = Machine::up(&lab, suite, &options)?;
            println!("{name}: {suite} at {}", machine.ip());
            machine.keep()?;
        }
        ["sh", name, "--", command @ ..] | ["sh", name, command @ ..] => {
            let output = at(name)?.sh(&command.join(" "))?;
            print!("{}", output.stdout);
            eprint!("{}", output.stderr);
            return Ok(u8::try_from(output.status).map_or(ExitCode::FAILURE, ExitCode::from));
        }
        ["cp", name, file, path] => {
            let mode =
                std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(file).context("no such file")?);
            at(name)?.copy_in(Path::new(file), path, mode & 0o7777)?;
        }
        ["ip", name] => println!("{}", at(name)?.ip()),
        ["dir", name] => println!("{}", at(name)?.dir().display()),
        ["kill", name] => at(name)?.power_cut()?,
        ["start", name] => at(name)?.start()?,
        ["reboot", name] => at(name)?.reboot()?,
        ["down", name] => at(name)?.down()?,
        ["list"] => {
            for (name, suite, ip) in Machine::kept(&lab)? {
                println!("{name} {suite} {ip}");
            }
        }
        ["sweep"] => println!("{} removed", lab.sweep()?.len()),
        _ => anyhow::bail!("{USAGE}"),
    }
    Ok(ExitCode::SUCCESS)
}
