//! `cargo xtask try`: the package in a throw-away Debian box, as a person would use it on a Pi.

use anyhow::{Context, Result, ensure};
use pitool_testkit::machine::{BoxOptions, Lab, Machine, Suite};

use crate::deb;

/// The name of the box.
const NAME: &str = "try";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The Debian release of the box
    #[arg(long, default_value = "trixie")]
    suite: Suite,
    /// Opens a shell in the box instead
    #[arg(long, conflicts_with = "down")]
    shell: bool,
    /// Removes the box instead
    #[arg(long)]
    down: bool,
}

pub(crate) fn task(args: &Args) -> Result<()> {
    let lab = Lab::open()?;
    if args.shell {
        return shell(&lab);
    }
    let earlier = Machine::attach(&lab, NAME).ok();
    if args.down {
        return earlier.context("there is no box to remove")?.down();
    }
    if let Some(earlier) = earlier {
        println!("the box of an earlier try is removed first");
        earlier.down()?;
    }
    lab.sweep()?;

    let package = deb::build()?;
    println!("\n== a fresh Debian {}", args.suite);
    let machine = Machine::up(&lab, args.suite, &BoxOptions::named(NAME))?;
    machine.copy_in(&package.deb, "/root/pitool.deb", 0o644)?;

    let show = |title: &str, command: &str, status: i32| -> Result<()> {
        println!("\n== {title}\n$ {command}");
        let output = machine.sh(&format!("{command} 2>&1"))?;
        print!("{}", output.stdout);
        ensure!(output.status == status, "`{command}` ended with {} instead of {status}", output.status);
        println!("(exit {}, {:.2} s)", output.status, output.duration.as_secs_f64());
        Ok(())
    };
    show("install", "apt-get -qq update && apt-get -q install -y /root/pitool.deb", 0)?;
    show("what would it do?", "pitool plan all", 2)?;
    show("do it", "pitool apply all", 0)?;
    show("again: nothing to change", "pitool apply all", 0)?;
    show("somebody edits a file by hand", "echo x >> /etc/fail2ban/jail.d/pitool.local", 0)?;
    show("it is shown", "pitool plan all", 2)?;
    show("and put right", "pitool apply all", 0)?;
    show("what happened so far", "pitool history", 0)?;
    show("back to before the first run", "pitool rollback 1", 0)?;
    show("and on again", "pitool apply all", 0)?;

    machine.keep()?;
    println!(
        "\nThe box is still there. A shell in it:  sudo make try-shell\nRemove it:                              sudo make try-down"
    );
    Ok(())
}

fn shell(lab: &Lab) -> Result<()> {
    let machine = Machine::attach(lab, NAME).context("there is no box: `sudo make try` makes one")?;
    let pid = machine.pid().context("the box is off: `sudo make try` makes a new one")?.to_string();
    machine.keep()?;
    let status = std::process::Command::new("nsenter")
        .args(["-t", &pid, "-a", "env", "-i", "TERM=xterm-256color", "HOME=/root", "LANG=C.UTF-8"])
        .args(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "bash", "-l"])
        .status()?;
    ensure!(status.code().is_some(), "the shell was killed");
    Ok(())
}
