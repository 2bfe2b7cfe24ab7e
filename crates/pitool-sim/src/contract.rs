//! What every [`Host`] must do: one suite for the real machine and for the simulated one.
//!
//! [`files`] and [`commands`] may run anywhere; the others change packages, units and accounts, so they belong in a
//! box. Each part cleans up behind itself, and each answers with what it checked and what went wrong.

use pitool_host::parse::sshd_config::{self, SshdConfig};
use pitool_host::parse::sudo_list::{self, Right};
use pitool_host::parse::systemctl_show;
use pitool_host::{
    Access, ActiveState, Candidate, Command, Content, Error, FileType, Host, LockHolder, Looked, Result,
    UnitStatus,
};

/// One check's name and what went wrong.
pub type Outcome = (&'static str, Verdict);

/// What went wrong with one check, as a sentence.
pub type Verdict = std::result::Result<(), String>;

/// Runs every part; `area` is an empty directory that belongs to the caller.
pub fn check(host: &dyn Host, area: &str) -> Vec<Outcome> {
    let parts =
        [files(host, area), commands(host), views(host, area), packages(host), units(host), accounts(host)];
    let more = [firewall(host), answers(host), logins(host)];
    parts.into_iter().chain(more).flatten().collect()
}

/// Tells which checks failed, one line each; empty when none did.
pub fn failures(outcomes: &[Outcome]) -> String {
    let failed = outcomes.iter().filter_map(|(name, verdict)| Some((name, verdict.as_ref().err()?)));
    failed.map(|(name, why)| format!("{name}: {why}\n")).collect()
}

/// Collects the outcomes of one part.
struct Suite<'a> {
    host: &'a dyn Host,
    outcomes: Vec<Outcome>,
}

impl<'a> Suite<'a> {
    fn new(host: &'a dyn Host) -> Self {
        Self { host, outcomes: Vec::new() }
    }

    fn check(
        &mut self,
        name: &'static str,
        body: impl FnOnce(&'a dyn Host) -> std::result::Result<(), Wrong>,
    ) {
        let verdict = body(self.host).map_err(|Wrong(why)| why);
        self.outcomes.push((name, verdict));
    }
}

/// Why a check failed.
struct Wrong(String);

impl From<Error> for Wrong {
    fn from(error: Error) -> Self {
        let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
        Self(format!("{error}{}", source.unwrap_or_default()))
    }
}

type Checked = std::result::Result<(), Wrong>;

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Checked {
    if found == expected { Ok(()) } else { Err(Wrong(format!("{what} is {found:?}, expected {expected:?}"))) }
}

fn that(what: &str, holds: bool) -> Checked {
    if holds { Ok(()) } else { Err(Wrong(format!("not so: {what}"))) }
}

fn refused<T: std::fmt::Debug>(what: &str, result: Result<T>) -> Checked {
    match result {
        Err(_) => Ok(()),
        Ok(value) => Err(Wrong(format!("{what} worked: {value:?}"))),
    }
}

fn text(host: &dyn Host, path: &str) -> std::result::Result<Option<String>, Wrong> {
    Ok(host.read(path)?.map(|content| String::from_utf8_lossy(content.bytes()).into_owned()))
}

fn kind(host: &dyn Host, path: &str) -> std::result::Result<Option<FileType>, Wrong> {
    Ok(host.stat(path)?.map(|stat| stat.file_type))
}

fn access(host: &dyn Host, path: &str) -> std::result::Result<Option<Access>, Wrong> {
    Ok(host.stat(path)?.map(|stat| stat.access))
}

fn command(line: &str) -> Command {
    let mut words = line.split_whitespace();
    Command::new(words.next().unwrap_or_default()).args(words)
}

/// Files, directories and links in an empty directory that belongs to the caller.
pub fn files(host: &dyn Host, area: &str) -> Vec<Outcome> {
    let mut suite = Suite::new(host);
    let at = |name: &str| format!("{area}/{name}");
    // Unless it is root, the caller can only give files to itself.
    let (uid, gid) = match host.stat(area) {
        Ok(Some(stat)) => (stat.access.uid, stat.access.gid),
        _ => return vec![("the area", Err(format!("{area} is not there")))],
    };
    let mode = |mode: u32| Access { mode, uid, gid };

    suite.check("what is not there is nothing, not an error", |host| {
        for path in [at("none"), at("none/below")] {
            same("read", text(host, &path)?, None)?;
            same("stat", kind(host, &path)?, None)?;
            same("list", host.list(&path)?, None)?;
            host.remove(&path)?;
            host.remove_dir(&path)?;
        }
        same("the area", host.list(area)?, Some(vec![]))
    });
    suite.check("a written file holds its bytes and has its access", |host| {
        let bytes = [0, 255, b'\n', 0x80];
        host.write(&at("file"), &bytes, mode(0o640))?;
        same("the bytes", host.read(&at("file"))?, Some(Content::from(bytes.to_vec())))?;
        let stat = host.stat(&at("file"))?;
        let found = stat.map(|stat| (stat.file_type, stat.access, stat.size));
        same("the file", found, Some((FileType::File, mode(0o640), 4)))
    });
    suite.check("a file is replaced with its access", |host| {
        host.write(&at("file"), b"two\n", mode(0o600))?;
        same("the text", text(host, &at("file"))?, Some("two\n".to_owned()))?;
        same("the access", access(host, &at("file"))?, Some(mode(0o600)))?;
        host.write(&at("file"), b"", mode(0o644))?;
        same("an empty text", text(host, &at("file"))?, Some(String::new()))?;
        same("what is in the area", host.list(area)?, Some(vec!["file".to_owned()]))
    });
    suite.check("unusual bits are kept", |host| {
        for bits in [0o000, 0o444, 0o755, 0o777, 0o2750] {
            host.write(&at("file"), b"x", mode(bits))?;
            same("the access", access(host, &at("file"))?, Some(mode(bits)))?;
        }
        host.write(&at("file"), b"x", mode(0o644))?;
        Ok(())
    });
    suite.check("access is set", |host| {
        host.set_access(&at("file"), mode(0o640))?;
        same("the access", access(host, &at("file"))?, Some(mode(0o640)))?;
        same("the text", text(host, &at("file"))?, Some("x".to_owned()))?;
        refused("setting the access of nothing", host.set_access(&at("none"), mode(0o640)))
    });
    suite.check("a link is looked at and read through", |host| {
        host.write(&at("file"), b"here\n", mode(0o644))?;
        host.link(&at("link"), "file")?;
        same("the link", kind(host, &at("link"))?, Some(FileType::Link("file".to_owned())))?;
        same("what is read", text(host, &at("link"))?, Some("here\n".to_owned()))?;
        host.link(&at("link"), "none")?;
        same("the new target", kind(host, &at("link"))?, Some(FileType::Link("none".to_owned())))?;
        same("what a dangling link holds", text(host, &at("link"))?, None)
    });
    suite.check("a write replaces a link and leaves its target alone", |host| {
        host.link(&at("link"), "file")?;
        host.write(&at("link"), b"own\n", mode(0o644))?;
        same("the link", kind(host, &at("link"))?, Some(FileType::File))?;
        same("its old target", text(host, &at("file"))?, Some("here\n".to_owned()))
    });
    suite.check("a link replaces a file", |host| {
        host.link(&at("link"), &at("file"))?;
        same("the link", kind(host, &at("link"))?, Some(FileType::Link(at("file"))))?;
        same("what is read", text(host, &at("link"))?, Some("here\n".to_owned()))
    });
    suite.check("a link that goes is not followed", |host| {
        host.remove(&at("link"))?;
        same("the link", kind(host, &at("link"))?, None)?;
        same("its target", kind(host, &at("file"))?, Some(FileType::File))
    });
    suite.check("a directory is made once and its access is set each time", |host| {
        host.make_dir(&at("dir"), mode(0o750))?;
        same("the directory", kind(host, &at("dir"))?, Some(FileType::Directory))?;
        same("its access", access(host, &at("dir"))?, Some(mode(0o750)))?;
        host.make_dir(&at("dir"), mode(0o755))?;
        same("its access", access(host, &at("dir"))?, Some(mode(0o755)))?;
        same("what is in it", host.list(&at("dir"))?, Some(vec![]))
    });
    suite.check("a list is sorted and not deep", |host| {
        for name in ["b", "a.b", "a", "Z"] {
            host.write(&at(&format!("dir/{name}")), b"", mode(0o644))?;
        }
        host.make_dir(&at("dir/c"), mode(0o755))?;
        host.write(&at("dir/c/deep"), b"", mode(0o644))?;
        let names = ["Z", "a", "a.b", "b", "c"].map(str::to_owned).to_vec();
        same("what is in it", host.list(&at("dir"))?, Some(names))
    });
    suite.check("a directory is reached through a link", |host| {
        host.link(&at("way"), "dir")?;
        host.write(&at("way/b"), b"through\n", mode(0o644))?;
        same("what is read", text(host, &at("dir/b"))?, Some("through\n".to_owned()))?;
        same("the link", kind(host, &at("way"))?, Some(FileType::Link("dir".to_owned())))?;
        same("how much is in it", host.list(&at("way"))?.map(|names| names.len()), Some(5))?;
        host.remove(&at("way"))?;
        same("the directory", kind(host, &at("dir"))?, Some(FileType::Directory))
    });
    suite.check("looking at a path reads what was looked at, and follows nothing", |host| {
        host.link(&at("way"), "dir/b")?;
        let looked = |name: &str| host.look(&at(name));
        let Some(Looked { stat, content: Some(content) }) = looked("dir/b")? else {
            return Err(Wrong("a file has no content".to_owned()));
        };
        same("the content", content.text(), Some("through\n"))?;
        same("the file", Some(stat), host.stat(&at("dir/b"))?)?;
        for (name, kind) in [("way", FileType::Link("dir/b".to_owned())), ("dir", FileType::Directory)] {
            let found = looked(name)?.map(|looked| (looked.stat.file_type, looked.content));
            same("what is there", found, Some((kind, None)))?;
        }
        same("what is not there", looked("none/below")?, None)?;
        host.remove(&at("way")).map_err(Wrong::from)
    });
    suite.check("a link in a directory that others can write is not followed", |host| {
        host.make_dir(&at("open"), mode(0o777))?;
        host.make_dir(&at("open/below"), mode(0o755))?;
        for way in ["open/way", "open/below/way"] {
            host.link(&at(way), &at("dir"))?;
            let inner = at(&format!("{way}/b"));
            let results = [
                host.read(&inner).map(drop),
                host.look(&inner).map(drop),
                host.stat(&inner).map(drop),
                host.list(&at(way)).map(drop),
                host.write(&inner, b"", mode(0o644)),
                host.append(&inner, b"", false),
                host.set_access(&inner, mode(0o600)),
                host.link(&inner, "file"),
                host.make_dir(&at(&format!("{way}/new")), mode(0o755)),
                host.remove(&inner),
                host.remove_dir(&inner).map(drop),
            ];
            for result in results {
                match result {
                    Err(Error::Unexpected { found, .. }) if found.contains("`way`") => {}
                    other => return Err(Wrong(format!("behind {way}: {other:?}"))),
                }
            }
            same("the link", kind(host, &at(way))?, Some(FileType::Link(at("dir"))))?;
            host.remove(&at(way))?;
        }
        same("the file", text(host, &at("dir/b"))?, Some("through\n".to_owned()))?;
        host.write(&at("open/file"), b"here", mode(0o600))?;
        same("the text", text(host, &at("open/file"))?, Some("here".to_owned()))?;
        same("what is in it", host.list(&at("open"))?, Some(vec!["below".to_owned(), "file".to_owned()]))?;
        host.remove(&at("open/file"))?;
        same("whether the inner one went", host.remove_dir(&at("open/below"))?, true)?;
        same("whether it went", host.remove_dir(&at("open"))?, true)
    });
    suite.check("a directory with something in it stays", |host| {
        same("whether it went", host.remove_dir(&at("dir"))?, false)?;
        same("the directory", kind(host, &at("dir"))?, Some(FileType::Directory))
    });
    suite.check("a directory is no file", |host| {
        refused("reading a directory", host.read(&at("dir")))?;
        refused("writing over a directory", host.write(&at("dir"), b"", mode(0o644)))?;
        refused("linking over a directory", host.link(&at("dir"), "file"))?;
        refused("removing a directory as a file", host.remove(&at("dir")))?;
        same("the directory", kind(host, &at("dir"))?, Some(FileType::Directory))
    });
    suite.check("a file is no directory", |host| {
        same("its list", host.list(&at("file"))?, None)?;
        same("what is below it", kind(host, &at("file/below"))?, None)?;
        refused("making a directory over a file", host.make_dir(&at("file"), mode(0o755)))?;
        refused("removing a file as a directory", host.remove_dir(&at("file")))?;
        refused("writing below a file", host.write(&at("file/below"), b"", mode(0o644)))?;
        same("the file", text(host, &at("file"))?, Some("here\n".to_owned()))
    });
    suite.check("without its directory nothing is made", |host| {
        refused("writing", host.write(&at("none/file"), b"", mode(0o644)))?;
        refused("appending", host.append(&at("none/file"), b"", true))?;
        refused("linking", host.link(&at("none/link"), "file"))?;
        refused("making a directory", host.make_dir(&at("none/dir"), mode(0o755)))?;
        same("the missing directory", kind(host, &at("none"))?, None)
    });
    suite.check("an append makes a private file and adds to it", |host| {
        host.append(&at("log"), b"one\n", true)?;
        same("its mode", access(host, &at("log"))?.map(|access| access.mode), Some(0o600))?;
        host.append(&at("log"), b"two\n", false)?;
        host.append(&at("log"), b"three\n", true)?;
        same("the text", text(host, &at("log"))?, Some("one\ntwo\nthree\n".to_owned()))
    });
    suite.check("an append keeps the file's access", |host| {
        host.set_access(&at("log"), mode(0o640))?;
        host.append(&at("log"), b"four\n", true)?;
        same("its access", access(host, &at("log"))?, Some(mode(0o640)))
    });
    suite.check("what is removed is gone and nothing is left over", |host| {
        for name in ["file", "log", "dir/b", "dir/a.b", "dir/a", "dir/Z", "dir/c/deep"] {
            host.remove(&at(name))?;
        }
        same("whether the inner directory went", host.remove_dir(&at("dir/c"))?, true)?;
        same("whether the directory went", host.remove_dir(&at("dir"))?, true)?;
        same("the area", host.list(area)?, Some(vec![]))
    });
    suite.outcomes
}

/// Commands that are on every machine and change nothing.
pub fn commands(host: &dyn Host) -> Vec<Outcome> {
    let mut suite = Suite::new(host);
    suite.check("a status is an answer to a question", |host| {
        same("the status of true", host.ask(&command("true"))?.status, 0)?;
        same("the status of false", host.ask(&command("false"))?.status, 1)
    });
    suite.check("a status is an error of a run", |host| {
        host.run(&command("true"))?;
        match host.run(&command("false")) {
            Err(Error::Failed { command, status: 1, .. }) => same("the command", command.as_str(), "false"),
            other => Err(Wrong(format!("false gave {other:?}"))),
        }
    });
    suite.check("random bytes differ", |host| {
        let (one, two) = (host.random(32)?, host.random(32)?);
        same("the length", (one.len(), two.len()), (32, 32))?;
        that("they differ", one != two)
    });
    suite.check("a lock is held once and freed when dropped", |host| {
        let holder =
            LockHolder { pid: 1, since: "2026-01-01T00:00:00Z".to_owned(), command: "contract".to_owned() };
        let path = "/run/pitool-contract.lock";
        // Whoever may not write there has nothing to lock either.
        let Ok(first) = host.lock(path, &holder) else { return Ok(()) };
        let Ok(held) = first else { return Err(Wrong("someone holds the lock".to_owned())) };
        if host.lock_holder(path)?.as_ref() != Some(&holder) {
            return Err(Wrong("whoever looks does not see who holds the lock".to_owned()));
        }
        match host.lock(path, &holder)? {
            Ok(_) => return Err(Wrong("the lock was held twice".to_owned())),
            Err(other) => same("the holder", other, holder.clone())?,
        }
        drop(held);
        if host.lock_holder(path)?.is_some() {
            return Err(Wrong("whoever looks sees a lock that was freed".to_owned()));
        }
        let again = host.lock(path, &holder)?.is_ok();
        host.remove(path)?;
        that("it is free again", again)
    });
    suite.outcomes
}

/// Questions about a machine on which candidates are in place already; needs the package sudo.
pub fn views(host: &dyn Host, area: &str) -> Vec<Outcome> {
    let mut suite = Suite::new(host);
    let path = format!("{area}/sudoers");
    let file = |text: &str| Candidate::File {
        path: path.clone(),
        content: text.into(),
        access: Access::root(0o440),
    };
    let question = Command::new("visudo").args(["-cf", path.as_str()]);
    let good = "root ALL=(ALL:ALL) ALL\n";
    suite.check("a candidate is seen by a question", |host| {
        same("a good one", host.ask_with(&[file(good)], &question)?.ok(), true)?;
        same("a bad one", host.ask_with(&[file("SYNTAX-ERROR\n")], &question)?.ok(), false)
    });
    suite.check("a candidate is not there afterwards", |host| {
        same("the file", kind(host, &path)?, None)?;
        same("the area", host.list(area)?, Some(vec![]))
    });
    suite.check("a candidate hides what is there, or takes it away", |host| {
        host.write(&path, b"SYNTAX-ERROR\n", Access::root(0o440))?;
        let seen = host.ask_with(&[file(good)], &question)?.ok();
        let gone = host.ask_with(&[Candidate::Absent { path: path.clone() }], &question)?.ok();
        let held = text(host, &path)?;
        host.remove(&path)?;
        same("the good candidate", seen, true)?;
        same("the absent one", gone, false)?;
        same("the file", held, Some("SYNTAX-ERROR\n".to_owned()))
    });
    suite.check("a link can be a candidate", |host| {
        let target = format!("{area}/target");
        let files = [
            Candidate::File { path: target.clone(), content: good.into(), access: Access::root(0o440) },
            Candidate::Link { path: path.clone(), target },
        ];
        same("the link", host.ask_with(&files, &question)?.ok(), true)
    });
    suite.outcomes
}

/// Packages: installs, removes and purges `hello`; needs apt's sources to answer.
pub fn packages(host: &dyn Host) -> Vec<Outcome> {
    let mut suite = Suite::new(host);
    let apt = |line: &str| {
        command(&format!("apt-get -q -y -o DPkg::Lock::Timeout=120 {line}"))
            .env("DEBIAN_FRONTEND", "noninteractive")
            .timeout(std::time::Duration::from_secs(600))
    };
    let state = |host: &dyn Host| -> std::result::Result<Option<(bool, bool)>, Wrong> {
        let packages = host.packages()?;
        Ok(packages.get("hello").map(|package| (packages.installed("hello"), package.manual)))
    };
    suite.check("the database knows its own architecture", |host| {
        let packages = host.packages()?;
        that("dpkg is installed", packages.installed("dpkg"))?;
        same(
            "its architecture",
            packages.get("dpkg").map(|dpkg| dpkg.arch.clone()),
            Some(packages.native.clone()),
        )
    });
    suite.check("a package that apt does not know is an error that names it", |host| {
        host.run(&apt("update"))?;
        match host.run(&apt("install pitool-no-such-package")) {
            Err(Error::Failed { status: 100, message, .. }) => {
                that(&message, message.contains("Unable to locate package pitool-no-such-package"))
            }
            other => Err(Wrong(format!("it gave {other:?}"))),
        }
    });
    suite.check("an installed package is seen at once", |host| {
        host.run(&apt("purge hello"))?;
        same("the package before", state(host)?, None)?;
        host.run(&apt("install hello"))?;
        same("the package after", state(host)?, Some((true, true)))?;
        same("its file", kind(host, "/usr/bin/hello")?, Some(FileType::File))
    });
    suite.check("its mark is seen at once", |host| {
        host.run(&command("apt-mark auto hello"))?;
        same("the package", state(host)?, Some((true, false)))?;
        host.run(&command("apt-mark manual hello"))?;
        same("the package", state(host)?, Some((true, true)))
    });
    suite.check("apt tells how far it is", |host| {
        let mut lines = Vec::new();
        let install = apt("-o APT::Status-Fd=3 install --reinstall hello").with_third();
        host.run_watched(&install, &mut |line| lines.push(line.to_owned()))?;
        let told = lines.iter().filter(|line| line.starts_with("pmstatus:")).count();
        that(&format!("some of its {} lines are pmstatus", lines.len()), told > 0)
    });
    suite.check("a removed package is gone at once", |host| {
        host.run(&apt("remove hello"))?;
        that("it is not installed", state(host)?.is_none_or(|(installed, _)| !installed))?;
        same("its file", kind(host, "/usr/bin/hello")?, None)?;
        host.run(&apt("purge hello"))?;
        same("the package", state(host)?, None)
    });
    suite.outcomes
}

/// Units: a service of its own; needs systemd to be running.
pub fn units(host: &dyn Host) -> Vec<Outcome> {
    const NAME: &str = "pitool-contract.service";
    const FILE: &str = "/etc/systemd/system/pitool-contract.service";
    const TEXT: &str = "[Service]\nExecStart=/bin/sleep infinity\nExecReload=/bin/true\n\n[Install]\nWantedBy=multi-user.target\n";
    let mut suite = Suite::new(host);
    let status = |host: &dyn Host| -> std::result::Result<UnitStatus, Wrong> {
        host.units(&[NAME])?.pop().ok_or_else(|| Wrong("no status".to_owned()))
    };
    let systemctl =
        |host: &dyn Host, line: &str| host.run(&command(&format!("systemctl {line} {NAME}"))).map(drop);

    suite.check("a unit that is not there has no state", |host| {
        let status = status(host)?;
        same("the unit", status, UnitStatus { name: NAME.to_owned(), ..UnitStatus::default() })?;
        refused("starting it", systemctl(host, "start"))
    });
    suite.check("a unit is there after a daemon-reload", |host| {
        host.write(FILE, TEXT.as_bytes(), Access::root(0o644))?;
        host.run(&command("systemctl daemon-reload"))?;
        let status = status(host)?;
        that("it exists", status.exists)?;
        same("its state", (status.active, status.file_state.as_str()), (ActiveState::Inactive, "disabled"))
    });
    suite.check("a unit is enabled", |host| {
        systemctl(host, "enable")?;
        that("it is enabled", status(host)?.enabled())?;
        let link = "/etc/systemd/system/multi-user.target.wants/pitool-contract.service";
        that("there is a link", matches!(kind(host, link)?, Some(FileType::Link(_))))
    });
    suite.check("each start has an invocation of its own", |host| {
        systemctl(host, "start")?;
        let first = status(host)?;
        same("it", first.active, ActiveState::Active)?;
        same("the length of its invocation", first.invocation.len(), 32)?;
        systemctl(host, "start")?;
        same(
            "the invocation after a start of what runs",
            status(host)?.invocation,
            first.invocation.clone(),
        )?;
        systemctl(host, "reload")?;
        same("the invocation after a reload", status(host)?.invocation, first.invocation.clone())?;
        systemctl(host, "restart")?;
        let second = status(host)?;
        that("a restart gives a new invocation", second.invocation != first.invocation)?;
        that("it comes after the first start", first.started.is_some() && second.started > first.started)?;
        same("it", second.active, ActiveState::Active)
    });
    suite.check("a changed unit file makes it stale", |host| {
        let changed = TEXT.replace("infinity", "1000000");
        that("it is fresh", !status(host)?.stale)?;
        host.write(FILE, changed.as_bytes(), Access::root(0o644))?;
        that("it is stale", status(host)?.stale)?;
        host.run(&command("systemctl daemon-reload"))?;
        that("it is fresh again", !status(host)?.stale)
    });
    suite.check("units are told in the order asked", |host| {
        let names = ["pitool-none.service", NAME, "pitool-none-either.service"];
        let found: Vec<String> = host.units(&names)?.into_iter().map(|status| status.name).collect();
        same("the names", found, names.map(str::to_owned).to_vec())
    });
    suite.check("units are told as `systemctl show` tells them", |host| {
        let names = [
            NAME,
            "pitool-none.service",
            "multi-user.target",
            "apt-daily.timer",
            "dbus.socket",
            "systemd-journald.service",
            "user@0.service",
        ];
        let question = Command::new("systemctl").args(["show", systemctl_show::PROPERTIES, "--"]).args(names);
        let told = systemctl_show::parse(&host.ask(&question)?.stdout, &names);
        let told = told.ok_or_else(|| Wrong("systemctl's answer cannot be read".to_owned()))?;
        same("the units", host.units(&names)?, told)
    });
    suite.check("a unit is stopped and disabled", |host| {
        systemctl(host, "stop")?;
        same("it", status(host)?.active, ActiveState::Inactive)?;
        systemctl(host, "disable")?;
        same("its file state", status(host)?.file_state.as_str(), "disabled")
    });
    suite.check("a masked unit does not start", |host| {
        host.remove(FILE)?;
        host.run(&command("systemctl daemon-reload"))?;
        systemctl(host, "mask")?;
        let masked = status(host)?.masked();
        let started = systemctl(host, "start");
        systemctl(host, "unmask")?;
        that("it is masked", masked)?;
        refused("starting it", started)?;
        that("it is not masked any more", !status(host)?.masked())
    });
    suite.check("a removed unit is gone", |host| {
        host.remove(FILE)?;
        host.run(&command("systemctl daemon-reload"))?;
        that("it is gone", !status(host)?.exists)
    });
    suite.outcomes
}

/// Accounts: a user and a group of its own.
pub fn accounts(host: &dyn Host) -> Vec<Outcome> {
    const USER: &str = "pitool-contract";
    const GROUP: &str = "pitool-others";
    let mut suite = Suite::new(host);
    let entry =
        |host: &dyn Host, file: &str, name: &str| -> std::result::Result<Option<Vec<String>>, Wrong> {
            let text = text(host, file)?.unwrap_or_default();
            let prefix = format!("{name}:");
            let line = text.lines().find(|line| line.starts_with(&prefix));
            Ok(line.map(|line| line.split(':').map(str::to_owned).collect()))
        };
    let run = |host: &dyn Host, line: &str| host.run(&command(line)).map(drop);
    let members = |host: &dyn Host| -> std::result::Result<String, Wrong> {
        Ok(entry(host, "/etc/group", GROUP)?.and_then(|fields| fields.last().cloned()).unwrap_or_default())
    };

    suite.check("a group is added once", |host| {
        run(host, &format!("groupadd --system {GROUP}"))?;
        let gid = entry(host, "/etc/group", GROUP)?.and_then(|fields| fields.get(2)?.parse::<u32>().ok());
        that("its number is a system group's", gid.is_some_and(|gid| gid < 1000))?;
        refused("adding it again", run(host, &format!("groupadd --system {GROUP}")))
    });
    suite.check("a user is added with its group", |host| {
        let options =
            "--system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin";
        run(host, &format!("useradd {options} {USER}"))?;
        let fields = entry(host, "/etc/passwd", USER)?.unwrap_or_default();
        same(
            "its home and shell",
            fields.get(5..),
            Some(&["/nonexistent".to_owned(), "/usr/sbin/nologin".to_owned()][..]),
        )?;
        that("it has a group of its own", entry(host, "/etc/group", USER)?.is_some())?;
        refused("adding it again", run(host, &format!("useradd {options} {USER}")))
    });
    suite.check("a user joins a group and leaves it", |host| {
        run(host, &format!("usermod -a -G {GROUP} {USER}"))?;
        same("the members", members(host)?.as_str(), USER)?;
        run(host, &format!("gpasswd -d {USER} {GROUP}"))?;
        same("the members", members(host)?.as_str(), "")?;
        refused("leaving it again", run(host, &format!("gpasswd -d {USER} {GROUP}")))?;
        refused("joining no group", run(host, &format!("usermod -a -G pitool-none {USER}")))
    });
    suite.check("a user's shell and home are changed", |host| {
        run(host, &format!("usermod -s /bin/sh -d /var/empty {USER}"))?;
        let fields = entry(host, "/etc/passwd", USER)?.unwrap_or_default();
        same(
            "its home and shell",
            fields.get(5..),
            Some(&["/var/empty".to_owned(), "/bin/sh".to_owned()][..]),
        )
    });
    suite.check("user and group are gone when deleted", |host| {
        run(host, &format!("userdel {USER}"))?;
        run(host, &format!("groupdel {GROUP}"))?;
        for (file, name) in [("/etc/passwd", USER), ("/etc/group", USER), ("/etc/group", GROUP)] {
            same("the entry", entry(host, file, name)?, None)?;
        }
        refused("deleting it again", run(host, &format!("userdel {USER}")))
    });
    suite.outcomes
}

/// Firewall: ufw's files after its commands; needs the package ufw, and leaves it as it was.
pub fn firewall(host: &dyn Host) -> Vec<Outcome> {
    let mut suite = Suite::new(host);
    let ufw =
        |host: &dyn Host, args: &[&str]| host.run(&Command::new("ufw").args(args.iter().copied())).map(drop);
    let tuples = |host: &dyn Host, file: &str| -> std::result::Result<Vec<String>, Wrong> {
        let text = text(host, file)?.unwrap_or_default();
        let ours = text.lines().filter(|line| line.starts_with("### tuple ###") && line.contains(" 61234 "));
        Ok(ours.map(|line| line.trim_start_matches("### tuple ### ").to_owned()).collect())
    };
    let (four, six) = ("/etc/ufw/user.rules", "/etc/ufw/user6.rules");
    let full = ["proto", "tcp", "from", "any", "to", "any", "port", "61234"];

    suite.check("ufw is there", |host| {
        if host.packages()?.installed("ufw") {
            return Ok(());
        }
        let install = command("apt-get -q -y -o DPkg::Lock::Timeout=120 install ufw");
        host.run(&command("apt-get -q update"))?;
        host.run(&install.timeout(std::time::Duration::from_secs(600)))?;
        Ok(())
    });
    suite.check("a rule for any address is in both files", |host| {
        ufw(host, &[&["limit"][..], &full, &["comment", "hello"]].concat())?;
        same(
            "the rule",
            tuples(host, four)?,
            vec!["limit tcp 61234 0.0.0.0/0 any 0.0.0.0/0 in comment=68656c6c6f".to_owned()],
        )?;
        same(
            "the rule",
            tuples(host, six)?,
            vec!["limit tcp 61234 ::/0 any ::/0 in comment=68656c6c6f".to_owned()],
        )
    });
    suite.check("another action replaces the rule", |host| {
        ufw(host, &["allow", "61234/tcp"])?;
        let found = tuples(host, four)?;
        that(
            &format!("one rule is there: {found:?}"),
            found.len() == 1 && found[0].starts_with("allow tcp 61234 "),
        )
    });
    suite.check("the short and the full syntax are the same rule", |host| {
        ufw(host, &[&["--force", "delete", "allow"][..], &full].concat())?;
        same("the rules", (tuples(host, four)?, tuples(host, six)?), (vec![], vec![]))
    });
    suite.check("a rule for one family is in its file", |host| {
        let rule = ["deny", "proto", "udp", "from", "192.0.2.0/24", "to", "any", "port", "61234"];
        ufw(host, &rule)?;
        same(
            "the rule",
            tuples(host, four)?,
            vec!["deny udp 61234 0.0.0.0/0 any 192.0.2.0/24 in".to_owned()],
        )?;
        same("the other file", tuples(host, six)?, vec![])?;
        ufw(host, &[&["--force", "delete"][..], &rule].concat())?;
        same("the rule", tuples(host, four)?, vec![])
    });
    suite.check("a default policy is in its file", |host| {
        let policy = |host: &dyn Host| -> std::result::Result<Option<String>, Wrong> {
            let text = text(host, "/etc/default/ufw")?.unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("DEFAULT_INPUT_POLICY="));
            Ok(line.map(|value| value.trim_matches('"').to_owned()))
        };
        let before = policy(host)?;
        ufw(host, &["default", "reject", "incoming"])?;
        same("the policy", policy(host)?.as_deref(), Some("REJECT"))?;
        let word = match before.as_deref() {
            Some("ACCEPT") => "allow",
            Some("REJECT") => "reject",
            _ => "deny",
        };
        ufw(host, &["default", word, "incoming"])?;
        same("the policy", policy(host)?, before)
    });
    suite.check("a rule that makes no sense is refused", |host| {
        refused("a port that is none", ufw(host, &["allow", "99999/tcp"]))?;
        refused("a word that is none", ufw(host, &["permit", "22"]))
    });
    suite.outcomes
}

/// What decides whether somebody can log in and become root; needs sshd and sudo.
pub fn logins(host: &dyn Host) -> Vec<Outcome> {
    const SSHD: &str = "/etc/ssh/sshd_config.d/99-pitool-contract.conf";
    const SUDO: &str = "/etc/sudoers.d/pitool-contract";
    let mut suite = Suite::new(host);
    let sshd = |host: &dyn Host, user: &str, address: &str| -> std::result::Result<SshdConfig, Wrong> {
        let connection = format!("user={user},host={address},addr={address},laddr=192.0.2.7,lport=22");
        let output = host.ask(&Command::new("/usr/sbin/sshd").args(["-T", "-C", &connection]))?;
        that(&format!("sshd answers: {output:?}"), output.ok())?;
        Ok(sshd_config::parse_effective(&output.stdout))
    };
    let value = |config: &SshdConfig, keyword: &str| config.get(keyword).map(sshd_config::Setting::value);

    suite.check("sshd says what it has for a user and an address", |host| {
        let text = "Match User daemon\n    PubkeyAuthentication no\n    AuthorizedKeysFile /etc/none/%u\n\
                    Match Group www-data Address 10.0.0.0/8\n    ForceCommand /bin/true\n";
        host.write(SSHD, text.as_bytes(), Access::root(0o644))?;
        let (daemon, web) = (sshd(host, "daemon", "203.0.113.7")?, sshd(host, "www-data", "203.0.113.7")?);
        let near = sshd(host, "www-data", "10.1.2.3")?;
        host.remove(SSHD)?;
        for (config, keyword, expected) in [
            (&daemon, "pubkeyauthentication", "no"),
            (&daemon, "authorizedkeysfile", "/etc/none/%u"),
            (&daemon, "forcecommand", "none"),
            (&web, "pubkeyauthentication", "yes"),
            (&web, "authorizedkeysfile", ".ssh/authorized_keys .ssh/authorized_keys2"),
            (&web, "forcecommand", "none"),
            (&web, "chrootdirectory", "none"),
            (&web, "revokedkeys", "none"),
            (&web, "trustedusercakeys", "none"),
            (&web, "authorizedkeyscommand", "none"),
            (&web, "authenticationmethods", "any"),
            (&web, "permittty", "yes"),
            (&web, "requiredrsasize", "1024"),
            (&web, "permitrootlogin", "without-password"),
            (&near, "forcecommand", "/bin/true"),
        ] {
            same(keyword, value(config, keyword).as_deref(), Some(expected))?;
        }
        let algorithms = value(&web, "pubkeyacceptedalgorithms").unwrap_or_default();
        for algorithm in ["ssh-ed25519", "rsa-sha2-512"] {
            that(&format!("{algorithm} in {algorithms}"), algorithms.split(',').any(|one| one == algorithm))?;
        }
        Ok(())
    });
    suite.check("sudo says what a user may do", |host| {
        let list = |rules: &str| -> std::result::Result<Right, Wrong> {
            host.write(SUDO, rules.as_bytes(), Access::root(0o440))?;
            let output = host.ask(&Command::new("/usr/bin/sudo").args(["-n", "-l", "-U", "daemon"]))?;
            host.remove(SUDO)?;
            Ok(sudo_list::parse(&output.stdout))
        };
        for (rules, expected) in [
            ("", Right::None),
            ("daemon ALL=(ALL:ALL) ALL\n", Right::WithPassword),
            ("%daemon ALL=(ALL) NOPASSWD: ALL\n", Right::Free),
            ("daemon ALL=NOPASSWD: ALL\n", Right::Free),
            ("daemon ALL=(root) NOPASSWD: /usr/sbin/reboot\n", Right::Some),
            ("daemon ALL=(www-data) NOPASSWD: ALL\n", Right::Some),
            ("daemon ALL=(ALL,!root) NOPASSWD: ALL\n", Right::Some),
            ("daemon otherhost=(ALL) NOPASSWD: ALL\n", Right::None),
            ("daemon ALL=(ALL) NOPASSWD: ALL, !/usr/bin/su\n", Right::Some),
            ("daemon ALL=(ALL) NOPASSWD: ALL\ndaemon ALL=(ALL) ALL\n", Right::WithPassword),
            ("Defaults:daemon !authenticate\ndaemon ALL=(ALL) ALL\n", Right::Free),
            ("Defaults:daemon rootpw\ndaemon ALL=(ALL) ALL\n", Right::WithRootsPassword),
        ] {
            same(rules, list(rules)?, expected)?;
        }
        Ok(())
    });
    suite.check("a file is read with a user's own rights", |host| {
        let path = "/etc/pitool-contract";
        let read = |access: Access| -> std::result::Result<(bool, String), Wrong> {
            host.write(path, b"key\n", access)?;
            let file = format!("if={path}");
            let words =
                ["--reuid=1", "--regid=1", "--init-groups", "--", "dd", &file, "iflag=nonblock", "bs=65536"];
            let output = host.ask(&Command::new("setpriv").args(words).args(["count=16", "status=none"]))?;
            host.remove(path)?;
            Ok((output.ok(), output.stdout))
        };
        same("for root alone", read(Access::root(0o600))?, (false, String::new()))?;
        same("for everybody", read(Access::root(0o644))?, (true, "key\n".to_owned()))?;
        same("for the user", read(Access { mode: 0o600, uid: 1, gid: 0 })?, (true, "key\n".to_owned()))?;
        same("for the group", read(Access { mode: 0o640, uid: 0, gid: 1 })?, (true, "key\n".to_owned()))
    });
    suite.outcomes
}

/// What daemons and the kernel answer about what is in force; needs ufw, and an sshd that listens on port 22.
pub fn answers(host: &dyn Host) -> Vec<Outcome> {
    let mut suite = Suite::new(host);
    let ask = |host: &dyn Host, line: &str| -> std::result::Result<Vec<String>, Wrong> {
        let output = host.ask(&command(line))?;
        same(&format!("the status of {line}"), output.status, 0)?;
        Ok(output.stdout.lines().map(str::to_owned).collect())
    };
    let holds = |lines: &[String], start: &str| {
        let found = lines.iter().any(|line| line.starts_with(start));
        if found { Ok(()) } else { Err(Wrong(format!("no line begins with {start:?}: {lines:#?}"))) }
    };

    suite.check("systemd tells its configuration file by file", |host| {
        let dir = "/etc/systemd/journald.conf.d";
        let file = format!("{dir}/99-pitool-contract.conf");
        let there = host.stat(dir)?.is_some();
        host.make_dir(dir, Access::root(0o755))?;
        host.write(&file, b"[Journal]\nStorage=auto\n", Access::root(0o644))?;
        let told = ask(host, "systemd-analyze cat-config systemd/journald.conf");
        host.remove(&file)?;
        if !there {
            host.remove_dir(dir)?;
        }
        let told = told?;
        let at = |line: &str| told.iter().position(|told| told == line);
        let (main, more) = (at("# /etc/systemd/journald.conf"), at(&format!("# {file}")));
        that("the main file comes first", main.is_some() && main < more)?;
        let after: Vec<&str> =
            told.iter().skip(more.unwrap_or_default() + 1).take(2).map(String::as_str).collect();
        same("what follows the name of the other", after, vec!["[Journal]", "Storage=auto"])
    });
    suite.check("apt tells its configuration value by value", |host| {
        let files = ["98pitool-contract", "99pitool-contract"].map(|name| format!("/etc/apt/apt.conf.d/{name}"));
        let first = "Pitool::Value \"1\";\nPitool::List {\n    \"old\";\n};\n";
        let second = "// A comment.\nPitool::Value \"2\";\n#clear Pitool::List;\nPitool::List {\n    \"a\";\n    \"b\";\n};\n";
        host.write(&files[0], first.as_bytes(), Access::root(0o644))?;
        host.write(&files[1], second.as_bytes(), Access::root(0o644))?;
        let told = ask(host, "apt-config dump");
        for file in &files {
            host.remove(file)?;
        }
        let ours: Vec<String> = told?.into_iter().filter(|line| line.starts_with("Pitool::")).collect();
        // apt also tells a list's own value, which is empty.
        let ours: Vec<&str> = ours.iter().map(String::as_str).filter(|line| !line.ends_with(" \"\";")).collect();
        same("the values", ours, vec!["Pitool::Value \"2\";", "Pitool::List:: \"a\";", "Pitool::List:: \"b\";"])
    });
    suite.check("apt tells where its packages come from", |host| {
        let told = ask(host, "apt-cache policy")?;
        that(
            &format!("a release has the label Debian-Security or Raspbian: {told:#?}"),
            told.iter().any(|line| {
                line.starts_with("     release ")
                    && (line.contains(",l=Debian-Security,") || line.contains("l=Raspbian,"))
            }),
        )
    });
    suite.check("apt tells what it could install", |host| {
        let told = ask(host, "apt-cache policy pitool-nothing dpkg")?;
        let found: Vec<&str> = told.iter().map(String::as_str).take(3).collect();
        that(
            &format!("dpkg alone, with a candidate: {told:#?}"),
            matches!(found[..], ["dpkg:", installed, candidate]
                if installed.starts_with("  Installed: 1.") && candidate.starts_with("  Candidate: 1.")),
        )
    });
    suite.check("the kernel tells who listens", |host| {
        let told = ask(host, "ss -Hltnp")?;
        let sshd = told.iter().find(|line| line.contains("((\"sshd\","));
        let place = sshd.and_then(|line| line.split_whitespace().nth(3));
        that(&format!("sshd is on port 22: {told:#?}"), place.is_some_and(|place| place.ends_with(":22")))
    });
    suite.check("the kernel tells the firewall's rules while it is on", |host| {
        let ufw = |line: &str| host.run(&command(line)).map(drop);
        let rule = "-A ufw-user-input -p tcp -m tcp --dport 61234 ";
        let (jump, filter) = ("-A INPUT -j ufw-before-input", "-A ufw-before-input ");
        ufw("ufw limit 61234/tcp")?;
        ufw("ufw --force enable")?;
        let on = ask(host, "iptables -S");
        ufw("ufw --force disable")?;
        ufw("ufw --force delete limit 61234/tcp")?;
        let (on, off) = (on?, ask(host, "iptables -S")?);
        holds(&on, rule)?;
        holds(&on, jump)?;
        holds(&on, filter)?;
        holds(&on, "-P INPUT DROP")?;
        holds(&off, "-P INPUT ACCEPT")?;
        // The jump may stay, to a chain that is empty.
        let left = off.iter().any(|line| line.starts_with(rule) || line.starts_with(filter));
        that("no rule is left of it", !left)?;
        that("iptables is nftables' own", ask(host, "iptables --version")?.concat().contains("(nf_tables)"))
    });
    suite.outcomes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fault, PiOs, Sim};

    #[test]
    fn the_simulated_machines_keep_the_contract() {
        let debian = [12, 13].map(Sim::debian);
        let pis = PiOs::ALL.map(|os| Sim::raspberry_pi("Raspberry Pi 4 Model B Rev 1.4", os));
        for sim in debian.iter().chain(&pis) {
            sim.make_dir("/var/tmp/area", Access::root(0o755)).unwrap();
            let outcomes = check(sim, "/var/tmp/area");
            assert_eq!(failures(&outcomes), "");
            assert!(outcomes.len() > 40);
        }
    }

    #[test]
    fn a_failure_is_told() {
        let sim = Sim::debian(13);
        sim.make_dir("/var/tmp/area", Access::root(0o755)).unwrap();
        sim.fail_next("write /var/tmp/area", Fault::DiskFull);
        let told = failures(&files(&sim, "/var/tmp/area"));
        assert!(told.starts_with("a written file holds its bytes and has its access: cannot write /var/tmp/area/file: No space left"), "{told}");
    }
}
