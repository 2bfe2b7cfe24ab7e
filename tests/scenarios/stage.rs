//! Plays a script on a simulated machine.

use pitool::render::Streams;
use pitool_host::{Command, Host, Inspect, LockHolder};
use pitool_sim::{Cut, Fault, Node, PiOs, Sim, World};

use crate::redact::redact;
use crate::script::{CUT_OFF, Part, is_ending, read};

/// Where pitool's lock is.
const LOCK: &str = "/run/pitool/lock";

/// Plays a script and gives it back with what its commands printed.
pub(crate) fn play(script: &str) -> Result<String, String> {
    let mut stage = Stage::new(World::debian(13, "arm64"));
    let mut text = String::new();
    for part in read(script)? {
        match part {
            Part::Words(line) => text.push_str(&format!("{line}\n")),
            Part::Happens { line, words, text: below } => {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                stage.happen(&words, below.as_deref()).map_err(|why| format!("`{line}`: {why}"))?;
                text.push_str(&format!("{line}\n"));
                if let Some(below) = below {
                    text.push_str(&format!("{below}EOF\n"));
                }
            }
            Part::Command { line, words } => {
                let output = stage.command(&words).map_err(|why| format!("`{line}`: {why}"))?;
                text.push_str(&format!("{line}\n{output}"));
            }
        }
    }
    Ok(text)
}

/// Where something is to happen in the next command, by the words of a change.
enum Moment {
    PowerCut(String),
    Interrupt(String),
}

struct Stage {
    sim: Sim,
    root: bool,
    moment: Option<Moment>,
}

impl Stage {
    fn new(world: World) -> Self {
        Self { sim: Sim::of(world), root: true, moment: None }
    }

    fn happen(&mut self, words: &[&str], below: Option<&str>) -> Result<(), String> {
        let sim = &self.sim;
        match (words, below) {
            (["machine", "debian", release @ ("12" | "13")], None) => {
                let release = if *release == "12" { 12 } else { 13 };
                *self = Self::new(World::debian(release, "arm64"));
            }
            (["machine", "pi", model, os], None) => {
                let os = match *os {
                    "trixie" => PiOs::Trixie,
                    "trixie-32-bit" => PiOs::Trixie32,
                    "bookworm" => PiOs::Bookworm,
                    "bookworm-32-bit" => PiOs::Bookworm32,
                    other => return Err(format!("there is no Raspberry Pi OS {other}")),
                };
                *self = Self::new(World::raspberry_pi(model, os));
            }
            (["as", who @ ("root" | "pi")], None) => self.root = *who == "root",
            (["write", path], Some(text)) => {
                let mut world = sim.arrange();
                let parents: Vec<usize> = path.match_indices('/').map(|(at, _)| at).skip(1).collect();
                for end in parents {
                    if !world.exists(&path[..end]) {
                        world.put_dir(&path[..end]);
                    }
                }
                world.put(path, text);
            }
            (["append", path, line], None) => {
                let mut world = sim.arrange();
                let Some(Node::File { access, .. }) = world.node(path, true).cloned() else {
                    return Err("there is no such file".to_owned());
                };
                let text = format!("{}{line}\n", world.text(path));
                world.put_with(path, text, access);
            }
            (["remove", path], None) => {
                sim.arrange().erase(path);
            }
            (["install", names @ ..], None) => {
                sim.arrange().with_installed(names);
            }
            (["offers", name, version], None) => {
                let mut world = sim.arrange();
                let package = world.catalogue.get_mut(*name).ok_or("there is no such package")?;
                (*version).clone_into(&mut package.version);
                world.refresh_lists();
            }
            (["listens", port, protocol @ ("tcp" | "udp"), uid, program, cgroup], None) => {
                let port = port.parse().map_err(|_| "that is no port".to_owned())?;
                let uid = uid.parse().map_err(|_| "that is no user's number".to_owned())?;
                sim.arrange().listen(port, *protocol == "udp", uid, program, cgroup);
            }
            (["run", program, arguments @ ..], None) => {
                let command = Command::new(*program).args(arguments.iter().copied());
                sim.run(&command).map_err(|error| error.to_string())?;
            }
            (["fail", what, status, words], None) => {
                let status = status.parse().map_err(|_| "the status is no number".to_owned())?;
                sim.fail_next(what, Fault::Fails(status, (*words).to_owned()));
            }
            (["disk-full", what], None) => sim.fail_next(what, Fault::DiskFull),
            (["cut-power-at", what], None) => self.moment = Some(Moment::PowerCut((*what).to_owned())),
            (["interrupt-at", what], None) => self.moment = Some(Moment::Interrupt((*what).to_owned())),
            (["restore-power"], None) => sim.restore_power(),
            (["reboot"], None) => sim.reboot(),
            (["offline", state @ ("on" | "off")], None) => sim.offline(*state == "on"),
            (["hold-apt", seconds], None) => {
                sim.hold_apt_lock(seconds.parse().map_err(|_| "that is no number of seconds".to_owned())?);
            }
            (["hold-lock", pid, command], None) => sim.hold_lock(
                LOCK,
                LockHolder {
                    pid: pid.parse().map_err(|_| "that is no process".to_owned())?,
                    since: sim.now().to_string(),
                    command: (*command).to_owned(),
                },
            ),
            (["free-lock"], None) => sim.kill(),
            _ => return Err("README.md does not know these words".to_owned()),
        }
        Ok(())
    }

    /// Runs a command and gives what it printed, with its last line.
    fn command(&mut self, words: &[String]) -> Result<String, String> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if let ["cat", path] = words[..] {
            return Ok(match self.sim.read(path) {
                Ok(Some(content)) => format!("{}[exit 0]\n", content.text().unwrap_or_default()),
                _ => format!("! cat: {path}: No such file or directory\n[exit 1]\n"),
            });
        }
        if words.first() != Some(&"pitool") {
            return Err("only pitool and cat are commands here".to_owned());
        }
        match self.moment.take() {
            Some(Moment::PowerCut(what)) => self.sim.cut_after(self.when(&words, &what)?, Cut::Before),
            Some(Moment::Interrupt(what)) => self.sim.interrupt_after(self.when(&words, &what)? + 1),
            None => {}
        }
        let (code, stdout, stderr) = run(&self.sim, self.root, &words);
        // Nobody presses Ctrl-C for ever.
        self.sim.interrupt_after(usize::MAX >> 1);
        if words.contains(&"--json") {
            valid_json(&stdout)?;
        }
        let mut text = redact(&stdout);
        if !text.is_empty() && !text.ends_with('\n') {
            return Err(format!("the output ends within a line: {text:?}"));
        }
        if text.lines().any(|line| is_ending(line) || line.starts_with("$ ") || line.starts_with('!')) {
            return Err(format!("the output looks like a part of a script:\n{text}"));
        }
        if self.sim.dark() {
            // Whoever has no power says nothing about it.
            return Ok(format!("{text}{CUT_OFF}\n"));
        }
        for line in redact(&stderr).lines() {
            text.push_str(format!("! {line}").trim_end());
            text.push('\n');
        }
        Ok(format!("{text}[exit {code}]\n"))
    }

    /// How many changes there are before the first one with these words, found out on a twin of the machine.
    fn when(&self, words: &[&str], what: &str) -> Result<usize, String> {
        let twin = Sim::of(self.sim.snapshot());
        run(&twin, self.root, words);
        let changes = twin.changes();
        changes
            .iter()
            .position(|change| change.contains(what))
            .ok_or_else(|| format!("nothing in it is {what:?}:\n  {}", changes.join("\n  ")))
    }
}

fn run(sim: &Sim, root: bool, words: &[&str]) -> (u8, String, String) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let code = pitool::run(words.iter().copied(), sim, root, Streams::captured(&mut stdout, &mut stderr));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (code, text(stdout), text(stderr))
}

/// Either one document, or one on each line; each an object with the version of the format.
fn valid_json(stdout: &str) -> Result<(), String> {
    let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text);
    let values = match parse(stdout) {
        Ok(document) => vec![document],
        Err(_) => {
            let lines = stdout.lines().map(|line| parse(line).map_err(|error| format!("{error}: {line}")));
            lines.collect::<Result<Vec<_>, _>>()?
        }
    };
    match values.iter().find(|value| value.get("version").is_none_or(|version| *version != 1)) {
        Some(value) => Err(format!("not version 1: {value}")),
        None => Ok(()),
    }
}
