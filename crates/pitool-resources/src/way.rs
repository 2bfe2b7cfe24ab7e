//! Ways in: who can log in over ssh and become root, asked of sshd, sudo and the kernel.
//!
//! Only what is certain counts as a way in. What depends on something that cannot be known here (an address, a PAM
//! module, a certificate) counts only for the login in which pitool runs, because that one happened.

use std::collections::BTreeSet;

use pitool_host::parse::accounts::{Accounts, Password, Standing, User};
use pitool_host::parse::authorized_keys::{self, Key};
use pitool_host::parse::sshd_config::{self, SshdConfig};
use pitool_host::parse::sudo_list::{self, Right};
use pitool_host::parse::{glob, pam};
use pitool_host::{Access, Candidate, Command, FileType, Inspect, Rehearsed, Result, Stat};

use crate::caller::Caller;

/// Whether something lets a user in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It certainly does.
    Open,
    /// It may, and this is why nobody can tell here.
    Unsure(String),
    /// It certainly does not, and this is why.
    Shut(String),
}

impl Way {
    fn unsure(why: impl Into<String>) -> Self {
        Self::Unsure(why.into())
    }

    fn shut(why: impl Into<String>) -> Self {
        Self::Shut(why.into())
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Open => 2,
            Self::Unsure(_) => 1,
            Self::Shut(_) => 0,
        }
    }

    /// The better of two alternatives.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Shut(one), Self::Shut(two)) if one.is_empty() => Self::Shut(two),
            (Self::Shut(one), Self::Shut(two)) if one != two && !two.is_empty() => {
                Self::Shut(format!("{one}, and {two}"))
            }
            (one, two) if two.rank() > one.rank() => two,
            (one, _) => one,
        }
    }

    /// The worse of two requirements.
    fn and(self, other: Self) -> Self {
        if other.rank() < self.rank() { other } else { self }
    }

    /// Whether it is certain.
    pub(crate) fn is_open(&self) -> bool {
        *self == Self::Open
    }

    /// Whether less is possible than in another situation.
    pub(crate) fn is_worse_than(&self, other: &Self) -> bool {
        self.rank() < other.rank()
    }

    /// Why it is not certain; empty where it is.
    pub(crate) fn why(&self) -> &str {
        match self {
            Self::Open => "",
            Self::Unsure(why) | Self::Shut(why) => why,
        }
    }
}

/// What a setting of ours is about to change, as far as it is known without asking sshd.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    /// Passwords are accepted no more.
    pub(crate) no_passwords: bool,
    /// root is refused.
    pub(crate) no_root: bool,
    /// root's password is accepted no more.
    pub(crate) no_root_password: bool,
    /// Only these users may log in.
    pub(crate) users: Option<Vec<String>>,
}

/// A connection that no setting names: addresses for documentation (RFC 5737) and a routing domain that nobody has.
const ANYWHERE: &str = "host=203.0.113.7,addr=203.0.113.7,laddr=192.0.2.7,lport=22,rdomain=pitool-none";

/// Options of a key that take nothing away which an administrator needs (sshd(8)).
const HARMLESS: [&str; 15] = [
    "agent-forwarding",
    "environment",
    "no-agent-forwarding",
    "no-port-forwarding",
    "no-touch-required",
    "no-user-rc",
    "no-x11-forwarding",
    "permitlisten",
    "permitopen",
    "port-forwarding",
    "pty",
    "restrict",
    "tunnel",
    "user-rc",
    "x11-forwarding",
];

/// PAM's modules of which it is known here when they refuse somebody.
const KNOWN_MODULES: [&str; 23] = [
    "pam_cap.so",
    "pam_deny.so",
    "pam_env.so",
    "pam_faildelay.so",
    "pam_group.so",
    "pam_keyinit.so",
    "pam_lastlog.so",
    "pam_lastlog2.so",
    "pam_limits.so",
    "pam_loginuid.so",
    "pam_mail.so",
    "pam_mkhomedir.so",
    "pam_motd.so",
    "pam_nologin.so",
    "pam_access.so",
    "pam_permit.so",
    "pam_selinux.so",
    "pam_systemd.so",
    "pam_tty_audit.so",
    "pam_umask.so",
    "pam_unix.so",
    "pam_warn.so",
    "pam_wtmpdb.so",
];

/// Settings of sshd that decide about each login, whatever its method.
const FOR_ALL: [&str; 11] = [
    "allowgroups",
    "allowusers",
    "authenticationmethods",
    "chrootdirectory",
    "denygroups",
    "denyusers",
    "forcecommand",
    "maxauthtries",
    "maxsessions",
    "permittty",
    "refuseconnection",
];

/// Settings that decide about a login by key.
const FOR_KEYS: [&str; 5] = [
    "authorizedkeysfile",
    "pubkeyacceptedalgorithms",
    "pubkeyacceptedkeytypes",
    "pubkeyauthentication",
    "revokedkeys",
];

/// Settings that decide about a login by password.
const FOR_PASSWORDS: [&str; 2] = ["kbdinteractiveauthentication", "passwordauthentication"];

/// Who can log in over ssh and become root, on this machine or on the same machine after some files have changed.
pub(crate) struct Ways<'h> {
    host: &'h dyn Inspect,
    view: Rehearsed<'h>,
    accounts: Accounts,
    /// What sshd's files say, read here: where they are, which `Match` blocks there are.
    files: SshdConfig,
    limits: Limits,
    caller: Option<Caller>,
    /// Whether sshd is there and answers.
    answers: bool,
    /// Why nothing that sshd answers is certain.
    doubt: Option<String>,
}

impl<'h> Ways<'h> {
    /// Looks at the machine as it would be with these files in place.
    pub(crate) fn read(
        host: &'h dyn Inspect,
        candidates: &[Candidate],
        limits: Limits,
        caller: Option<&Caller>,
    ) -> Result<Self> {
        let view = Rehearsed::new(host, candidates.to_vec());
        let accounts = Accounts::read(&view)?;
        let files = sshd_config::read(&view)?;
        // sshd refuses to answer before its runtime directory exists.
        let answers =
            host.live() && host.stat("/usr/sbin/sshd")?.is_some() && host.stat("/run/sshd")?.is_some();
        let options = host.read("/etc/default/ssh")?;
        let options = options.as_ref().and_then(|content| content.text()).unwrap_or_default();
        let mut options = options.lines().filter_map(|line| line.trim().strip_prefix("SSHD_OPTS="));
        let own = options.next_back().is_some_and(|options| options.contains("-f") || options.contains("-o"));
        let doubt = own.then(|| "sshd runs with options of its own (/etc/default/ssh)".to_owned());
        Ok(Self { host, view, accounts, files, limits, caller: caller.cloned(), answers, doubt })
    }

    /// Everybody who might log in: the caller first, then people, then the others.
    pub(crate) fn users(&self) -> Vec<String> {
        let name = |user: &User| user.name.clone();
        let is_caller = |user: &&User| self.caller.as_ref().is_some_and(|caller| caller.user == user.name);
        let (callers, others): (Vec<&User>, Vec<&User>) = self.accounts.users.iter().partition(is_caller);
        let (people, rest): (Vec<&User>, Vec<&User>) =
            others.into_iter().partition(|user| (1000..60000).contains(&user.uid));
        let rest = rest.into_iter().filter(|user| !no_shell(&user.shell));
        callers.into_iter().chain(people).chain(rest).map(name).collect()
    }

    /// Whether a user can log in over ssh and become root.
    pub(crate) fn of(&self, name: &str) -> Result<Way> {
        let Some(user) = self.accounts.user(name) else { return Ok(Way::shut("there is no such account")) };
        let login = match self.login(user)? {
            shut @ Way::Shut(_) => return Ok(shut),
            login => login,
        };
        let root = match self.become_root(user)? {
            // pitool runs as root in this user's own session.
            Way::Unsure(_) if self.caller.as_ref().is_some_and(|caller| caller.user == name) => Way::Open,
            way => way,
        };
        Ok(login.and(root))
    }

    /// Whether a user is a person rather than a service: its number is not one of the system's (adduser(8)).
    pub(crate) fn is_person(&self, name: &str) -> bool {
        self.accounts.user(name).is_some_and(|user| user.uid == 0 || (1000..60000).contains(&user.uid))
    }

    fn login(&self, user: &User) -> Result<Way> {
        if no_shell(&user.shell) {
            return Ok(Way::shut(format!("its shell {} lets nobody in", user.shell)));
        }
        let shell = if user.shell.is_empty() { "/bin/sh" } else { &user.shell };
        match self.real(shell)? {
            Some((_, stat)) if stat.file_type == FileType::File && stat.access.mode & 0o111 != 0 => {}
            _ => return Ok(Way::shut(format!("its shell {shell} is not a program"))),
        }
        let shells = self.host.read("/etc/shells")?;
        let listed = |text: &str| text.lines().any(|line| line.trim() == shell);
        let known = shells.as_ref().and_then(|content| content.text()).is_none_or(listed);
        let rules = match self.rules(&user.name)? {
            Ok(rules) => rules,
            Err(why) => return Ok(Way::Unsure(why)),
        };
        if let Some(why) = self.excluded(user, &rules) {
            return Ok(Way::Shut(why));
        }
        if let Some((keyword, value)) = rules.closes() {
            return Ok(Way::shut(format!("sshd has `{keyword} {value}` for it")));
        }
        let with_pam = rules.is("usepam", "no", "yes");
        if !with_pam && self.locked(user)? {
            // auth.c, `allowed_user`: without PAM a locked password shuts out keys too.
            return Ok(Way::shut("its account is locked and sshd does not use PAM"));
        }
        let key = self.key(user, &rules)?;
        let password = self.password(user, &rules, with_pam)?;
        let mut way = rules.methods(&key, &password);
        if with_pam {
            way = way.and(self.account(user, "sshd")?);
        }
        if !known {
            way = way.and(Way::unsure(format!("its shell {shell} is not in /etc/shells")));
        }
        if let Some(doubt) = &self.doubt {
            way = way.and(Way::unsure(doubt));
        }
        if matches!(way, Way::Unsure(_)) && self.happened(user)? {
            way = Way::Open;
        }
        Ok(way)
    }

    /// What sshd has for a user; or why nobody can tell.
    fn rules(&self, user: &str) -> Result<std::result::Result<Rules, String>> {
        if !self.answers {
            if let Some(block) = self.files.conditional.first() {
                return Ok(Err(format!(
                    "sshd does not answer yet, and its configuration depends on `Match {}`",
                    block.criteria
                )));
            }
            return Ok(Ok(Rules { effective: self.files.clone(), asked: false }));
        }
        // Without `Match` the answer is the same for everybody.
        let user = if self.files.conditional.is_empty() { "root" } else { user };
        let command = Command::new("/usr/sbin/sshd").args(["-T", "-C", &format!("user={user},{ANYWHERE}")]);
        let output =
            self.host.ask_once(&self.relevant(&["/etc/ssh/", "/etc/passwd", "/etc/group"]), &command)?;
        if !output.ok() {
            let said = output.tail();
            return Ok(Err(format!("sshd does not answer ({})", said.lines().last().unwrap_or_default())));
        }
        Ok(Ok(Rules { effective: sshd_config::parse_effective(&output.stdout), asked: true }))
    }

    /// The candidates that a program reads.
    fn relevant(&self, places: &[&str]) -> Vec<Candidate> {
        let reads = |candidate: &&Candidate| places.iter().any(|place| candidate.path().starts_with(place));
        self.view.candidates().iter().filter(reads).cloned().collect()
    }

    /// Why sshd's lists keep a user out (sshd_config(5): each that is there must agree).
    fn excluded(&self, user: &User, rules: &Rules) -> Option<String> {
        let groups = self.accounts.groups_of(&user.name);
        let of = |keyword: &str| rules.words(keyword);
        let member = |pattern: &String| groups.iter().any(|group| glob::matches(pattern, group));
        let name =
            |pattern: &String| glob::matches(pattern.split('@').next().unwrap_or_default(), &user.name);
        // A pattern with a host lets in from there only.
        let anywhere = |pattern: &String| match pattern.split_once('@') {
            Some((pattern, host)) => host == "*" && glob::matches(pattern, &user.name),
            None => glob::matches(pattern, &user.name),
        };
        let lists = |keyword: &str, agrees: &dyn Fn(&String) -> bool, wanted: bool| {
            let patterns = of(keyword);
            (!patterns.is_empty() && patterns.iter().any(agrees) != wanted).then(|| keyword.to_owned())
        };
        let ours = self.limits.users.as_ref().filter(|users| !users.contains(&user.name));
        let shut = ours
            .map(|_| "allowusers".to_owned())
            .or_else(|| lists("denyusers", &name, false))
            .or_else(|| match self.limits.users {
                // About to be replaced.
                Some(_) => None,
                None => lists("allowusers", &anywhere, true),
            })
            .or_else(|| lists("denygroups", &member, false))
            .or_else(|| lists("allowgroups", &member, true))?;
        let shown = ["AllowUsers", "DenyUsers", "AllowGroups", "DenyGroups"];
        let shown = shown.iter().find(|shown| shown.eq_ignore_ascii_case(&shut)).copied().unwrap_or_default();
        Some(format!("sshd's {shown} keeps it out"))
    }

    /// What a login by key comes to.
    fn key(&self, user: &User, rules: &Rules) -> Result<Way> {
        if user.uid == 0 {
            let permitted = rules.root();
            if self.limits.no_root
                || !matches!(permitted.as_str(), "yes" | "prohibit-password" | "without-password")
            {
                return Ok(Way::shut("sshd refuses root"));
            }
        }
        let mut best = match self.keys(user, rules)? {
            shut @ Way::Shut(_) if !rules.other_keys() => return Ok(shut),
            Way::Shut(why) => Way::unsure(format!("its keys come from a program or an authority ({why})")),
            way => way,
        };
        if rules.word("revokedkeys").is_some_and(|file| !file.eq_ignore_ascii_case("none")) {
            best = best.and(self.not_revoked(rules)?);
        }
        if let Some(place) = self.depends(&[&FOR_ALL[..], &FOR_KEYS[..]], user, rules) {
            return Ok(best.and(Way::Unsure(place)));
        }
        if !rules.is("pubkeyauthentication", "yes", "yes") {
            return Ok(Way::shut("sshd takes no keys from it"));
        }
        Ok(best)
    }

    /// The best of the keys in the files where sshd looks.
    fn keys(&self, user: &User, rules: &Rules) -> Result<Way> {
        let files = rules.words("authorizedkeysfile");
        let files = if files.is_empty() {
            vec![".ssh/authorized_keys".to_owned(), ".ssh/authorized_keys2".to_owned()]
        } else {
            files
        };
        let mut best: Option<Way> = None;
        let mut first = None;
        for name in files.iter().filter(|name| !name.eq_ignore_ascii_case("none")) {
            let path = expand(name, user);
            first.get_or_insert(path.clone());
            if let Some(way) = self.keys_in(&path, user, rules)? {
                if way.is_open() {
                    return Ok(way);
                }
                best = Some(best.map_or(way.clone(), |best| best.or(way)));
            }
        }
        let nothing = || match first {
            Some(path) => Way::shut(format!("there is no key in {path}")),
            None => Way::shut("sshd reads no file of keys"),
        };
        Ok(best.unwrap_or_else(nothing))
    }

    /// What the keys in one file come to; `None` where there is no file.
    fn keys_in(&self, path: &str, user: &User, rules: &Rules) -> Result<Option<Way>> {
        let candidate = self.view.candidates().iter().find(|candidate| candidate.path() == path);
        let text = match candidate {
            Some(Candidate::File { content, .. }) => String::from_utf8_lossy(content.bytes()).into_owned(),
            Some(Candidate::Absent { .. }) => return Ok(None),
            _ => match self.read_as(path, user)? {
                Some(Ok(text)) => text,
                Some(Err(why)) => return Ok(Some(Way::Shut(why))),
                None => return Ok(None),
            },
        };
        let mut best = Way::shut(format!("there is no key in {path}"));
        for line in text.lines() {
            let way = match authorized_keys::parse_line(line) {
                Ok(None) => continue,
                Ok(Some(key)) => taken(&key, rules),
                Err(why) => Way::shut(format!("sshd cannot read a key in {path}: {why}")),
            };
            best = match (best, way) {
                (Way::Shut(_), shut @ Way::Shut(_)) => shut,
                (best, way) => best.or(way),
            };
        }
        if !matches!(best, Way::Shut(_)) && rules.is("strictmodes", "yes", "yes") {
            if let Some(place) = self.unsafe_at(path, user)? {
                return Ok(Some(Way::shut(format!(
                    "sshd passes over {path}, because {place} has to be {}'s or root's and writable by nobody else",
                    user.name
                ))));
            }
        }
        Ok(Some(best))
    }

    /// Reads a file as sshd does: with the user's own rights, and without waiting for a FIFO's writer. `None` where
    /// nothing is there, an error as words where the user may not read it.
    fn read_as(&self, path: &str, user: &User) -> Result<Option<std::result::Result<String, String>>> {
        let Some((_, stat)) = self.real(path)? else { return Ok(None) };
        if stat.file_type != FileType::File {
            return Ok(Some(Err(format!("{path} is not a regular file"))));
        }
        if user.uid == 0 || !self.host.live() {
            let content = self.host.read(path)?;
            return Ok(content.map(|content| Ok(String::from_utf8_lossy(content.bytes()).into_owned())));
        }
        let command = Command::new("setpriv").args([
            &format!("--reuid={}", user.uid),
            &format!("--regid={}", user.gid),
            "--init-groups",
            "--",
            "dd",
            &format!("if={path}"),
            "iflag=nonblock",
            "bs=65536",
            "count=16",
            "status=none",
        ]);
        let output = self.host.ask_once(&[], &command)?;
        if output.ok() {
            return Ok(Some(Ok(output.stdout)));
        }
        let said = output.tail();
        let why = said.rsplit(": ").next().unwrap_or_default().trim().to_lowercase();
        Ok(Some(Err(format!("{} itself cannot read {path} ({why})", user.name))))
    }

    /// Where a path leads, and what is there: links followed, as realpath(3) does.
    fn real(&self, path: &str) -> Result<Option<(String, Stat)>> {
        let mut rest: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut done: Vec<String> = Vec::new();
        let (mut links, mut found) = (0, None);
        while let Some(piece) = rest.pop() {
            match piece.as_str() {
                "" | "." => continue,
                ".." => {
                    done.pop();
                    continue;
                }
                _ => {}
            }
            done.push(piece);
            let here = format!("/{}", done.join("/"));
            // A path that goes through a file is one that is not there.
            let Some(stat) = self.view.stat(&here).unwrap_or_default() else { return Ok(None) };
            if let FileType::Link(target) = &stat.file_type {
                links += 1;
                if links > 40 {
                    return Ok(None);
                }
                done.pop();
                if target.starts_with('/') {
                    done.clear();
                }
                rest.extend(target.split('/').rev().map(str::to_owned));
                continue;
            }
            found = Some(stat);
        }
        let here = format!("/{}", done.join("/"));
        Ok(match found {
            Some(_) => self.view.stat(&here)?.map(|stat| (here, stat)),
            None => None,
        })
    }

    /// Where on the way to a file of keys somebody else may write, so that sshd does not read it (sshd_config(5),
    /// `StrictModes`): the file, and the directories above it up to the home, or to the root where it is not in the
    /// home.
    fn unsafe_at(&self, path: &str, user: &User) -> Result<Option<String>> {
        let Some((mut place, stat)) = self.real(path)? else { return Ok(None) };
        let home = self.real(&user.home)?.map(|(home, _)| home);
        let mut stat = Some(stat);
        loop {
            if !stat.is_some_and(|stat| self.safe(stat.access, user)) {
                return Ok(Some(place));
            }
            if Some(&place) == home.as_ref() || place == "/" {
                return Ok(None);
            }
            place = match place.rsplit_once('/') {
                Some(("", _)) | None => "/".to_owned(),
                Some((above, _)) => above.to_owned(),
            };
            stat = self.host.stat(&place)?;
        }
    }

    /// Whether it is root's or the user's, and nobody else may write to it; a group may whose only member is the owner,
    /// as Debian's sshd has it.
    fn safe(&self, access: Access, account: &User) -> bool {
        let owner = self.accounts.users.iter().find(|user| user.uid == access.uid);
        let alone = |owner: &User| {
            let others = self.accounts.groups.iter().filter(|group| group.gid == access.gid);
            let primary = |user: &User| user.gid == access.gid && user.name != owner.name;
            owner.gid == access.gid
                && others.flat_map(|group| &group.members).all(|name| *name == owner.name)
                && !self.accounts.users.iter().any(primary)
        };
        (access.uid == 0 || access.uid == account.uid)
            && access.mode & 0o002 == 0
            && (access.mode & 0o020 == 0 || owner.is_some_and(alone))
    }

    /// Whether the keys are certainly none of the revoked ones.
    fn not_revoked(&self, rules: &Rules) -> Result<Way> {
        let path = rules.word("revokedkeys").unwrap_or_default();
        let text = match self.host.read(&path)? {
            // sshd_config(5), `RevokedKeys`: "If it is not readable, then public key authentication will be refused".
            None => {
                return Ok(Way::shut(format!(
                    "sshd takes no key, because {path} (RevokedKeys) is not there"
                )));
            }
            Some(content) => String::from_utf8_lossy(content.bytes()).into_owned(),
        };
        if text.trim().is_empty() {
            return Ok(Way::Open);
        }
        Ok(Way::unsure(format!("its key may be among the revoked ones in {path}")))
    }

    /// What a login by password comes to.
    fn password(&self, user: &User, rules: &Rules, with_pam: bool) -> Result<Way> {
        let refused = self.limits.no_root || self.limits.no_root_password || rules.root() != "yes";
        if user.uid == 0 && refused {
            return Ok(Way::shut("sshd takes no password of root"));
        }
        if self.limits.no_passwords {
            // That is the very step in question, and no news.
            return Ok(Way::shut(""));
        }
        let accepted = rules.is("passwordauthentication", "yes", "yes")
            || (with_pam && rules.is("kbdinteractiveauthentication", "yes", "yes"));
        if self.limits.no_passwords
            || (!accepted && self.depends(&[&FOR_PASSWORDS[..]], user, rules).is_none())
        {
            return Ok(Way::shut("sshd takes no passwords"));
        }
        if user.password != Password::Usable {
            return Ok(Way::shut("it has no password"));
        }
        if let Some(place) = self.depends(&[&FOR_ALL[..], &FOR_PASSWORDS[..]], user, rules) {
            return Ok(Way::Unsure(place));
        }
        if with_pam { self.stack(user, "sshd", "auth") } else { Ok(Way::Open) }
    }

    /// A `Match` block that asks for more than the user and sets one of these: then the answer for one address is not
    /// the answer for all.
    fn depends(&self, keywords: &[&[&str]], user: &User, rules: &Rules) -> Option<String> {
        let decides = |keyword: &str| {
            keywords.iter().any(|list| list.contains(&keyword))
                || (user.uid == 0 && keyword == "permitrootlogin")
        };
        let found = self.files.conditional.iter().find(|block| {
            let keyword = block.setting.keyword.as_str();
            if !decides(keyword) || !asks_for_the_connection(&block.criteria) {
                return false;
            }
            let value = block.setting.value();
            let now = rules.value(keyword);
            let elsewhere = self.files.get(keyword).map(sshd_config::Setting::value);
            let usual = elsewhere.or_else(|| default(keyword).map(str::to_owned)).unwrap_or_default();
            !(value.eq_ignore_ascii_case(&now) && usual.eq_ignore_ascii_case(&now))
        })?;
        Some(format!(
            "it depends on the connection (`Match {}` in {}:{})",
            found.criteria, found.setting.file, found.setting.line
        ))
    }

    /// Whether the password is locked in the way that sshd itself looks at (auth.c, `LOCKED_PASSWD_PREFIX`).
    fn locked(&self, user: &User) -> Result<bool> {
        let shadow = self.view.read("/etc/shadow")?;
        let text =
            shadow.map(|content| String::from_utf8_lossy(content.bytes()).into_owned()).unwrap_or_default();
        let start = format!("{}:", user.name);
        let field = text.lines().find_map(|line| line.strip_prefix(&start));
        Ok(field.is_some_and(|rest| rest.starts_with('!')))
    }

    /// What PAM says of an account, whatever let its user in.
    fn account(&self, user: &User, service: &str) -> Result<Way> {
        let today = self.host.now().as_second().div_euclid(24 * 60 * 60);
        let ageing = self.accounts.ageing.get(&user.name).copied().unwrap_or_default();
        let standing = match ageing.standing(today) {
            Standing::Valid => Way::Open,
            Standing::Ended => Way::shut("its account has expired"),
            Standing::TooOld => Way::shut("its password has expired"),
            Standing::NewPassword if user.password == Password::Usable => {
                Way::unsure("it has to enter a new password first")
            }
            Standing::NewPassword => Way::shut("it has to enter a new password first, and has none"),
        };
        let soon = ageing.expires.is_some_and(|end| end >= 0 && end - today < 30);
        let standing =
            if soon { standing.and(Way::unsure("its account expires within 30 days")) } else { standing };
        Ok(standing.and(self.stack(user, service, "account")?).and(self.stack(user, service, "session")?))
    }

    /// Whether a stage of PAM is one of which it is known when it refuses somebody.
    fn stack(&self, user: &User, service: &str, stage: &str) -> Result<Way> {
        // Its package brings it.
        if service == "sshd" && !self.answers {
            return Ok(Way::Open);
        }
        let Some(entries) = pam::read(&self.view, service)? else {
            return Ok(Way::unsure(format!("/etc/pam.d/{service} is not there")));
        };
        let mut way = Way::Open;
        for entry in entries.iter().filter(|entry| entry.stage == stage && !entry.cannot_refuse()) {
            let found = match entry.module.as_str() {
                "pam_nologin.so" if user.uid != 0 => {
                    let files = ["/etc/nologin", "/var/run/nologin", "/run/nologin"];
                    let mut there = None;
                    for file in files {
                        if self.host.stat(file)?.is_some() {
                            there = Some(file);
                        }
                    }
                    there.map_or(Way::Open, |file| Way::shut(format!("{file} keeps everybody but root out")))
                }
                "pam_access.so" => {
                    self.quiet(entry, "accessfile=", "/etc/security/access.conf", "/etc/security/access.d")?
                }
                "pam_limits.so" => self.few_logins()?,
                module if KNOWN_MODULES.contains(&module) => Way::Open,
                module => Way::unsure(format!(
                    "PAM asks {module} too (/etc/pam.d/{service}), which cannot be foreseen"
                )),
            };
            way = way.and(found);
        }
        Ok(way)
    }

    /// Whether the file of a module has no rule.
    fn quiet(&self, entry: &pam::Entry, option: &str, file: &str, more: &str) -> Result<Way> {
        let named = entry.args.iter().find_map(|arg| arg.strip_prefix(option));
        let mut paths = vec![named.unwrap_or(file).to_owned()];
        if named.is_none() {
            paths.extend(
                self.host.list(more)?.unwrap_or_default().iter().map(|name| format!("{more}/{name}")),
            );
        }
        for path in paths {
            let Some(content) = self.host.read(&path)? else { continue };
            let text = String::from_utf8_lossy(content.bytes()).into_owned();
            if text.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')) {
                return Ok(Way::unsure(format!("PAM asks {}, which has rules in {path}", entry.module)));
            }
        }
        Ok(Way::Open)
    }

    /// Whether limits.conf(5) says nothing of the number of logins.
    fn few_logins(&self) -> Result<Way> {
        let directory = "/etc/security/limits.d";
        let more = self.host.list(directory)?.unwrap_or_default();
        let more =
            more.iter().filter(|name| name.ends_with(".conf")).map(|name| format!("{directory}/{name}"));
        for path in std::iter::once("/etc/security/limits.conf".to_owned()).chain(more) {
            let Some(content) = self.host.read(&path)? else { continue };
            let text = String::from_utf8_lossy(content.bytes()).into_owned();
            let counts = |line: &str| {
                let line = line.split('#').next().unwrap_or_default();
                line.split_whitespace().any(|word| matches!(word, "maxlogins" | "maxsyslogins"))
            };
            if text.lines().any(counts) {
                return Ok(Way::unsure(format!("{path} limits the number of logins")));
            }
        }
        Ok(Way::Open)
    }

    /// Whether a user who is logged in becomes root with sudo.
    fn become_root(&self, user: &User) -> Result<Way> {
        if user.uid == 0 {
            return Ok(Way::Open);
        }
        let program = self.real("/usr/bin/sudo")?;
        match program {
            None => return Ok(Way::shut("sudo is not installed")),
            Some((_, stat)) if stat.access.mode & 0o4000 == 0 || stat.access.uid != 0 => {
                return Ok(Way::shut("/usr/bin/sudo is not setuid root"));
            }
            Some(_) if !self.host.live() => {
                return Ok(Way::unsure("sudo cannot be asked on a machine that does not run"));
            }
            Some(_) => {}
        }
        let command = Command::new("/usr/bin/sudo").args(["-n", "-l", "-U", &user.name]);
        let candidates = self.relevant(&["/etc/sudoers", "/etc/passwd", "/etc/group", "/etc/shadow"]);
        let output = self.host.ask_once(&candidates, &command)?;
        let by = match sudo_list::parse(&output.stdout) {
            Right::Free => Way::Open,
            Right::WithPassword if user.password != Password::Usable => {
                return Ok(Way::shut("sudo asks for its password, and it has none"));
            }
            Right::WithPassword => self.stack(user, "sudo", "auth")?,
            Right::WithRootsPassword => Way::unsure("sudo asks it for root's password"),
            Right::Some => return Ok(Way::shut("sudo lets it run only some commands as root")),
            Right::None if output.ok() || output.stdout.contains("is not allowed to run sudo") => {
                return Ok(Way::shut("sudo allows it nothing"));
            }
            Right::None => return Ok(Way::unsure(format!("sudo does not answer ({})", output.tail()))),
        };
        Ok(by.and(self.account(user, "sudo")?))
    }

    /// Whether the login in which pitool runs is this user's, and one that stays possible: sshd's own line in the
    /// journal for this connection says how it was let in. Only fields that a sender cannot choose are asked for
    /// (systemd.journal-fields(7), "Trusted Journal Fields").
    fn happened(&self, user: &User) -> Result<bool> {
        let Some(caller) = self.caller.as_ref().filter(|caller| caller.user == user.name) else {
            return Ok(false);
        };
        let command = Command::new("journalctl").args([
            "-b",
            "-o",
            "cat",
            "--no-pager",
            "-n",
            "2000",
            "_UID=0",
            "_COMM=sshd",
            "_COMM=sshd-session",
            "_COMM=sshd-auth",
        ]);
        let Ok(output) = self.host.ask_once(&[], &command) else { return Ok(false) };
        let end = format!(" for {} from {} port {} ssh2", user.name, caller.address, caller.from_port);
        let method = output.stdout.lines().rev().find_map(|line| {
            let (method, rest) = line.strip_prefix("Accepted ")?.split_once(' ')?;
            format!(" {rest}").starts_with(&end).then(|| method.to_owned())
        });
        Ok(match method.as_deref() {
            Some("publickey") => true,
            Some("password" | "keyboard-interactive/pam") => {
                let refused = user.uid == 0 && self.limits.no_root_password;
                !self.limits.no_passwords && !refused
            }
            _ => false,
        })
    }
}

/// What sshd has for one user.
struct Rules {
    effective: SshdConfig,
    /// Whether sshd itself said so.
    asked: bool,
}

impl Rules {
    fn words(&self, keyword: &str) -> Vec<String> {
        self.effective.all(keyword).flat_map(|setting| setting.args.clone()).collect()
    }

    fn word(&self, keyword: &str) -> Option<String> {
        self.effective.get(keyword).and_then(|setting| setting.args.first().cloned())
    }

    fn value(&self, keyword: &str) -> String {
        let own = self.effective.get(keyword).map(sshd_config::Setting::value);
        own.or_else(|| default(keyword).map(str::to_owned)).unwrap_or_default()
    }

    /// Whether a keyword, with this default, has a value.
    fn is(&self, keyword: &str, default: &str, value: &str) -> bool {
        self.word(keyword).unwrap_or_else(|| default.to_owned()).eq_ignore_ascii_case(value)
    }

    fn root(&self) -> String {
        self.word("permitrootlogin").unwrap_or_else(|| "prohibit-password".to_owned()).to_ascii_lowercase()
    }

    /// Whether keys come from elsewhere than files too.
    fn other_keys(&self) -> bool {
        ["authorizedkeyscommand", "trustedusercakeys"]
            .iter()
            .any(|keyword| self.word(keyword).is_some_and(|value| !value.eq_ignore_ascii_case("none")))
    }

    /// A setting that leaves no shell of one's own.
    fn closes(&self) -> Option<(&'static str, String)> {
        let settings = [
            ("ForceCommand", "none"),
            ("ChrootDirectory", "none"),
            ("PermitTTY", "yes"),
            ("RefuseConnection", "no"),
        ];
        let named = settings.into_iter().find_map(|(keyword, harmless)| {
            let value = self.effective.get(keyword)?.value();
            (!value.eq_ignore_ascii_case(harmless)).then_some((keyword, value))
        });
        let zero = |keyword| (self.word(keyword)? == "0").then(|| (keyword, "0".to_owned()));
        named.or_else(|| zero("MaxSessions")).or_else(|| zero("MaxAuthTries"))
    }

    /// What comes of a key and a password where sshd asks for one, either or both (`AuthenticationMethods`).
    fn methods(&self, key: &Way, password: &Way) -> Way {
        let either = || key.clone().or(password.clone());
        let Some(setting) = self.effective.get("authenticationmethods") else { return either() };
        let mut best: Option<Way> = None;
        for list in &setting.args {
            if list.eq_ignore_ascii_case("any") {
                return either();
            }
            let mut way = Way::Open;
            let mut keys = 0;
            for method in list.split(',') {
                way = way.and(match method.split(':').next().unwrap_or_default() {
                    "publickey" => {
                        keys += 1;
                        key.clone()
                    }
                    "password" | "keyboard-interactive" => match password {
                        Way::Shut(why) if why.is_empty() => {
                            Way::shut("sshd asks it for a password too, and takes no passwords then")
                        }
                        way => way.clone(),
                    },
                    other => Way::unsure(format!("sshd asks it for {other}")),
                });
            }
            if keys > 1 {
                way = way.and(Way::unsure("sshd asks it for several keys"));
            }
            best = Some(best.map_or(way.clone(), |best| best.or(way)));
        }
        best.unwrap_or_else(either)
    }

    /// Whether sshd takes signatures of this algorithm.
    fn accepts(&self, algorithm: &str) -> bool {
        let named = self.word("pubkeyacceptedalgorithms").or_else(|| self.word("pubkeyacceptedkeytypes"));
        let Some(list) = named else { return true };
        let matches = |list: &str| list.split(',').any(|pattern| glob::matches(pattern, algorithm));
        match list.chars().next() {
            // sshd itself prints the whole list.
            Some('+' | '^') if !self.asked => true,
            Some('-') if !self.asked => !matches(&list[1..]),
            _ => matches(&list),
        }
    }
}

/// Whether sshd takes a key that opens a shell from anywhere.
fn taken(key: &Key, rules: &Rules) -> Way {
    let options = key.option_names();
    let has = |name: &str| options.iter().any(|option| option == name);
    for option in &options {
        match option.as_str() {
            "from" | "expiry-time" | "principals" | "cert-authority" | "verify-required" => {
                return Way::unsure(format!("its key has the option {option}"));
            }
            "command" | "no-pty" => return Way::shut(format!("its key has the option {option}")),
            "restrict" if !has("pty") => return Way::shut("its key has the option restrict"),
            option if HARMLESS.contains(&option) => {}
            option => return Way::shut(format!("sshd knows no option {option} of a key")),
        }
    }
    let algorithms: &[&str] = match key.kind.as_str() {
        "ssh-rsa" => &["rsa-sha2-512", "rsa-sha2-256"],
        kind => &[kind],
    };
    if !algorithms.iter().any(|algorithm| rules.accepts(algorithm)) {
        return Way::shut(format!("sshd takes no {} keys (PubkeyAcceptedAlgorithms)", key.kind));
    }
    let least: u32 = rules.word("requiredrsasize").and_then(|size| size.parse().ok()).unwrap_or(1024);
    match key.rsa_bits() {
        Some(bits) if bits < least => {
            Way::shut(format!("its RSA key has {bits} bits, and sshd takes no less than {least}"))
        }
        None if key.kind == "ssh-rsa" => Way::shut("its RSA key is damaged"),
        _ => Way::Open,
    }
}

/// A file of keys, with its tokens replaced (sshd_config(5), TOKENS).
fn expand(name: &str, user: &User) -> String {
    let mut path = String::new();
    let mut characters = name.chars();
    while let Some(character) = characters.next() {
        match (character, character == '%') {
            (_, true) => match characters.next() {
                Some('h') => path.push_str(&user.home),
                Some('u') => path.push_str(&user.name),
                Some('U') => path.push_str(&user.uid.to_string()),
                Some(other) => path.push(other),
                None => {}
            },
            (other, false) => path.push(other),
        }
    }
    if path.starts_with('/') { path } else { format!("{}/{path}", user.home.trim_end_matches('/')) }
}

/// What sshd has where nobody says anything.
fn default(keyword: &str) -> Option<&'static str> {
    Some(match keyword {
        "pubkeyauthentication" | "passwordauthentication" | "kbdinteractiveauthentication" | "permittty" => {
            "yes"
        }
        "refuseconnection" => "no",
        "authorizedkeysfile" => ".ssh/authorized_keys .ssh/authorized_keys2",
        "authenticationmethods" => "any",
        "chrootdirectory" | "forcecommand" | "revokedkeys" => "none",
        "maxauthtries" => "6",
        "maxsessions" => "10",
        _ => return None,
    })
}

/// Whether the criteria of a `Match` block look at more than the user.
fn asks_for_the_connection(criteria: &str) -> bool {
    let words: Vec<String> = criteria.split_whitespace().map(str::to_ascii_lowercase).collect();
    words.chunks(2).any(|pair| !matches!(pair[0].as_str(), "user" | "group" | "all") || pair[0].contains('='))
}

/// Whether a shell is one of those that end at once: nologin(8), false(1) and the like.
fn no_shell(shell: &str) -> bool {
    const NONE: [&str; 9] =
        ["nologin", "false", "true", "sync", "halt", "shutdown", "git-shell", "rssh", "scponly"];
    let name = shell.rsplit('/').next().unwrap_or_default();
    NONE.contains(&name)
}

/// The names of those for whom less is possible afterwards.
pub(crate) fn losers(before: &Ways<'_>, after: &Ways<'_>) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for user in before.users() {
        if after.of(&user)?.is_worse_than(&before.of(&user)?) {
            names.insert(user);
        }
    }
    Ok(names)
}
