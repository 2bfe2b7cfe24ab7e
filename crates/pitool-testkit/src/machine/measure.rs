//! What a program costs: time, memory, processes, and bytes written.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::guest::{Background, Machine, Output, clean_environment};

const LIMIT: Duration = Duration::from_secs(600);

/// Calls that change files, or start programs.
const CALLS: &str = "execve,execveat,open,openat,openat2,creat,write,writev,pwrite64,pwritev,pwritev2,\
sendfile,copy_file_range,splice,fallocate,truncate,ftruncate,rename,renameat,renameat2,link,linkat,symlink,\
symlinkat,unlink,unlinkat,mkdir,mkdirat,rmdir,mknod,mknodat,chmod,fchmod,fchmodat,chown,fchown,lchown,fchownat,\
utimensat,setxattr,lsetxattr,fsetxattr,removexattr,lremovexattr,fremovexattr,mount,umount2";

/// What a program and its children used of the machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// The largest resident set of any one process; nothing below 2 MiB can be told apart.
    pub max_rss_kib: u64,
    /// Time on the processor in user mode.
    pub user: Duration,
    /// Time on the processor in the kernel.
    pub system: Duration,
}

/// What a program did to files, and the programs it started.
///
/// Only what the program and its descendants did: work it asked a daemon for, over D-Bus for example, is the
/// daemon's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Every program that was started, the measured one first.
    pub programs: Vec<String>,
    /// Bytes written, by the path in the box; pipes, sockets, terminals and `/dev/null` do not count.
    pub written: BTreeMap<String, u64>,
    /// Paths that were opened for writing.
    pub opened: BTreeSet<String>,
    /// Other calls that changed the file system and succeeded, as `unlink /etc/x`.
    pub changes: Vec<String>,
}

impl Trace {
    /// Counts the bytes that went into files.
    pub fn written_bytes(&self) -> u64 {
        self.written.values().sum()
    }

    /// Counts the programs that the measured one started, directly or not.
    pub fn children(&self) -> usize {
        self.programs.len().saturating_sub(1)
    }

    /// Tells whether no file was opened for writing, written, or changed otherwise.
    pub fn read_only(&self) -> bool {
        self.written.is_empty() && self.opened.is_empty() && self.changes.is_empty()
    }
}

/// A program that ran, what it used and what it did.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Status, output and wall time, which tracing makes longer: compare times of [`Machine::timed`] instead.
    pub output: Output,
    /// Time and memory.
    pub usage: Usage,
    /// Files and programs.
    pub trace: Trace,
}

impl Machine {
    /// Runs a program in the box, untraced, and tells the time and memory it took.
    pub fn timed<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> Result<(Output, Usage)> {
        let (output, usage, _) = self.observed(argv, false)?;
        Ok((output, usage))
    }

    /// Runs a program in the box under strace, and tells what it used and what it did.
    pub fn measured<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> Result<Measured> {
        let (output, usage, trace) = self.observed(argv, true)?;
        Ok(Measured { output, usage, trace })
    }

    fn observed<S: AsRef<OsStr>>(
        &self,
        argv: impl IntoIterator<Item = S>,
        traced: bool,
    ) -> Result<(Output, Usage, Trace)> {
        let argv: Vec<OsString> = argv.into_iter().map(|word| word.as_ref().to_owned()).collect();
        let name = argv.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        let (usage_file, trace_file) = (self.scratch().join("usage"), self.scratch().join("trace"));
        let entry = self.entry()?;

        // A fork starts with its parent's resident set, and a maximum never falls: so between this process,
        // which may be large, and the program stands GNU time, which is small.
        let mut command = Command::new("time");
        if traced {
            command = Command::new("strace");
            command.args(["--follow-forks", "--seccomp-bpf", "-qq", "-y", "-s", "0", "-o"]).arg(&trace_file);
            command.args(["-e", &format!("trace={CALLS}"), "-e", "signal=none", "--", "time"]);
        }
        command
            .args(["--quiet", "-f", "%M %U %S", "-o"])
            .arg(&usage_file)
            .arg("nsenter")
            .args(entry)
            .args(&argv);
        clean_environment(&mut command);
        let output = Background::start(&self.scratch(), name, command)?.wait(LIMIT)?;

        let usage = fs::read_to_string(&usage_file).context("what time measured")?;
        let usage = parse_usage(&usage).with_context(|| format!("what time measured: {usage:?}"))?;
        let mut trace = Trace::default();
        if traced {
            let bytes = fs::read(&trace_file).context("what strace saw")?;
            trace = parse(&String::from_utf8_lossy(&bytes));
            fs::remove_file(&trace_file)?;
        }
        fs::remove_file(&usage_file)?;
        Ok((output, usage, trace))
    }
}

fn parse_usage(text: &str) -> Option<Usage> {
    let mut words = text.lines().last()?.split_whitespace();
    let max_rss_kib = words.next()?.parse().ok()?;
    let user = Duration::try_from_secs_f64(words.next()?.parse().ok()?).ok()?;
    let system = Duration::try_from_secs_f64(words.next()?.parse().ok()?).ok()?;
    Some(Usage { max_rss_kib, user, system })
}

/// Reads what `strace -f -y` wrote, from the point where the box is entered and the program starts.
fn parse(text: &str) -> Trace {
    let mut trace = Trace::default();
    let mut unfinished: BTreeMap<&str, &str> = BTreeMap::new();
    // Two processes belong to the measuring, the first two that start a program: time, and nsenter below it.
    let mut outside: Vec<&str> = Vec::new();
    for line in text.lines() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(start) = rest.strip_suffix(" <unfinished ...>") {
            unfinished.insert(pid, start);
            continue;
        }
        let whole;
        let call = if rest.starts_with("<... ") {
            let Some(start) = unfinished.remove(pid) else { continue };
            let end = rest.split_once(" resumed>").map_or("", |(_, end)| end);
            whole = format!("{start}{end}");
            whole.as_str()
        } else {
            rest
        };
        let Some((name, arguments)) = call.split_once('(') else { continue };
        let Some((arguments, result)) = arguments.rsplit_once(") = ").or_else(|| spaced(arguments)) else {
            continue;
        };
        if result.trim_start().starts_with(['-', '?']) {
            continue;
        }
        if outside.len() < 2 && name == "execve" {
            outside.push(pid);
        }
        if !outside.contains(&pid) && outside.len() == 2 {
            trace.add(name, arguments, result.trim_start());
        }
    }
    trace
}

/// Splits where strace aligned the result with spaces.
fn spaced(arguments: &str) -> Option<(&str, &str)> {
    let (start, result) = arguments.rsplit_once(" = ")?;
    Some((start.trim_end().strip_suffix(')')?, result))
}

impl Trace {
    fn add(&mut self, name: &str, arguments: &str, result: &str) {
        match name {
            "execve" | "execveat" => self.programs.extend(quoted(arguments).into_iter().next()),
            "open" | "openat" | "openat2" | "creat" => {
                let writes = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"];
                if name == "creat" || writes.iter().any(|flag| arguments.contains(flag)) {
                    // The file that was reached, not the name that was asked for.
                    self.opened.extend(descriptor(result).filter(|path| counts(path)));
                }
            }
            "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" | "sendfile" => {
                self.count(descriptor(arguments), result);
            }
            "copy_file_range" | "splice" => {
                let target = arguments.splitn(3, ", ").nth(2);
                self.count(target.and_then(descriptor), result);
            }
            _ => {
                let mut paths = quoted(arguments);
                if paths.is_empty() {
                    paths.extend(descriptor(arguments));
                }
                self.changes.push(format!("{name} {}", paths.join(" ")));
            }
        }
    }

    fn count(&mut self, path: Option<String>, result: &str) {
        let digits = result.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        if let (Some(path), Ok(bytes)) = (path.filter(|path| counts(path)), digits.parse::<u64>()) {
            *self.written.entry(path).or_default() += bytes;
        }
    }
}

/// Reads the path of the first descriptor in a text, as in `3</etc/hosts>`.
fn descriptor(text: &str) -> Option<String> {
    let (number, rest) = text.split_once('<')?;
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // A path may hold ">", escaped by strace as octal or not; the comma or the end behind it decides.
    let end = rest.find(">,").or_else(|| rest.find('>'))?;
    Some(rest[..end].to_owned())
}

/// Tells whether writing to a path is writing to a file.
fn counts(path: &str) -> bool {
    let devices =
        ["/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/ptmx", "/dev/console", "/dev/urandom"];
    // The nameless file that collects the output is outside the box, and deleted.
    path.starts_with('/')
        && !devices.contains(&path)
        && !path.starts_with("/dev/pts/")
        && !path.starts_with("/memfd:")
        && !path.contains("/#")
}

fn quoted(arguments: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = arguments;
    while let Some((_, after)) = rest.split_once('"') {
        let Some((text, after)) = after.split_once('"') else { break };
        found.push(text.to_owned());
        rest = after;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_counts_programs_and_bytes_of_the_box_only() {
        let text = r#"1 execve("/usr/bin/time", [""...], 0x1 /* 7 vars */) = 0
1 openat(AT_FDCWD</>, "/lab/usage", O_WRONLY|O_CREAT|O_TRUNC, 0666) = 3</lab/usage>
2 execve("/usr/bin/nsenter", [""...], 0x1 /* 7 vars */) = 0
3 execve("/usr/local/bin/cat", [""...], 0x1) = -1 ENOENT (No such file or directory)
3 execve("/bin/cat", [""...], 0x1 /* 7 vars */) = 0
3 openat(AT_FDCWD</>, "out", O_WRONLY|O_CREAT|O_TRUNC, 0666) = 4</root/out>
3 write(4</root/out>, ""..., 5 <unfinished ...>
4 execve("/bin/sh", [""...], 0x1 /* 7 vars */) = 0
3 <... write resumed>) = 5
3 write(1</var/lib/pitool-lab/a/#123 (deleted)>, ""..., 9) = 9
4 write(2<pipe:[17]>, ""..., 4) = 4
4 openat(AT_FDCWD</>, "/dev/null", O_RDWR) = 5</dev/null>
4 openat(AT_FDCWD</>, "/etc/hosts", O_RDONLY|O_CLOEXEC) = 5</etc/hosts>
4 unlinkat(AT_FDCWD</root>, "gone", 0)    = 0
4 unlink("/never")                        = -1 ENOENT (No such file or directory)
4 +++ exited with 0 +++
1 write(3</lab/usage>, ""..., 15) = 15
"#;
        let trace = parse(text);
        assert_eq!(trace.programs, ["/bin/cat", "/bin/sh"]);
        assert_eq!(trace.children(), 1);
        assert_eq!(trace.written, BTreeMap::from([("/root/out".to_owned(), 5)]));
        assert_eq!(trace.opened, BTreeSet::from(["/root/out".to_owned()]));
        assert_eq!(trace.changes, ["unlinkat gone"]);
        assert!(!trace.read_only());
    }
}
