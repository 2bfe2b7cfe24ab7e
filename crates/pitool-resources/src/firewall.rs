//! The firewall: ufw's policies and rules.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use pitool_engine::{Action, Change, Id, Resource, Risk, Stage, Upcoming};
use pitool_host::parse::accounts::Accounts;
use pitool_host::parse::{proc_net_tcp, ufw_rules};
use pitool_host::{Command, Error, Host, Inspect, Result, listening};
use serde::{Deserialize, Serialize};

use crate::in_use::{self, InUse, Named};

/// What happens to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Let in.
    Allow,
    /// Let in, unless the address tried six times in thirty seconds (ufw(8)).
    Limit,
    /// Dropped without a word.
    Deny,
    /// Refused with an answer.
    Reject,
}

impl Policy {
    fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Limit => "limit",
            Self::Deny => "deny",
            Self::Reject => "reject",
        }
    }

    fn of(action: ufw_rules::Action) -> Self {
        match action {
            ufw_rules::Action::Allow => Self::Allow,
            ufw_rules::Action::Limit => Self::Limit,
            ufw_rules::Action::Deny => Self::Deny,
            ufw_rules::Action::Reject => Self::Reject,
        }
    }
}

/// One rule for packets that come in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Rule {
    /// What happens.
    pub policy: Policy,
    /// `tcp`, `udp` or `any`.
    pub protocol: String,
    /// A port, or a range as `3000:3010`, or `any`.
    pub port: String,
    /// An address or network, or `any`.
    pub from: String,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.policy.word(), self.port)?;
        if self.protocol != "any" {
            write!(f, "/{}", self.protocol)?;
        }
        if self.from != "any" {
            write!(f, " from {}", self.from)?;
        }
        Ok(())
    }
}

impl Rule {
    /// A rule for everybody.
    pub fn new(policy: Policy, protocol: &str, port: impl fmt::Display) -> Self {
        Self { policy, protocol: protocol.into(), port: port.to_string(), from: "any".into() }
    }

    /// What the rule is about, whatever it does with it: ufw knows one rule for each.
    fn subject(&self) -> Subject {
        (self.protocol.clone(), self.port.clone(), self.from.clone())
    }

    /// Whether it is about this port, for whomever.
    fn covers(&self, port: u16, udp: bool) -> bool {
        let one = |part: &str| {
            let (first, last) = part.split_once(':').unwrap_or((part, part));
            let number = |text: &str| text.parse::<u16>().ok();
            number(first).zip(number(last)).is_some_and(|(first, last)| (first..=last).contains(&port))
        };
        let protocol = if udp { "udp" } else { "tcp" };
        ["any", protocol].contains(&self.protocol.as_str())
            && (self.port == "any" || self.port.split(',').any(one))
    }

    /// Whether it lets everybody in.
    fn opens(&self) -> bool {
        self.from == "any" && matches!(self.policy, Policy::Allow | Policy::Limit)
    }

    fn arguments(&self) -> Vec<String> {
        let mut words = vec![self.policy.word().to_owned()];
        if self.protocol != "any" {
            words.extend(["proto".to_owned(), self.protocol.clone()]);
        }
        words.extend(["from".to_owned(), self.from.clone(), "to".to_owned(), "any".to_owned()]);
        if self.port != "any" {
            words.extend(["port".to_owned(), self.port.clone()]);
        }
        words
    }
}

/// The firewall as a whole. Printed `firewall[ufw]`.
///
/// Rules that others wrote stay, also where the config wants less for the same port. Ours carry a comment in ufw, so that
/// one that the config no longer has can be told from theirs and goes.
///
/// The first time that it closes, ports that services of this machine use stay open until the config names them, by rules
/// whose comment says so. From then on those rules are what is asked, and who listens decides nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Firewall {
    incoming: Policy,
    outgoing: Policy,
    rules: Vec<Rule>,
    /// Remarks beside some of the rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    remarks: Vec<(Rule, String)>,
    ssh: Option<u16>,
    only_opens: bool,
    moved_by: Option<Id>,
    /// Ports that are closed although they are in use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    closed: Vec<Named>,
    /// Users whose programs keep no port open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    apps: Vec<String>,
}

/// What ufw has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FirewallState {
    installed: bool,
    enabled: bool,
    incoming: String,
    outgoing: String,
    /// Rules with their comments.
    #[serde(with = "pairs")]
    rules: BTreeMap<Rule, String>,
    /// Ports on which sshd's configuration lets it listen.
    ssh: BTreeSet<u16>,
    /// The same without the file that moves sshd to a port, where the config does not want that file.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    ssh_unmoved: BTreeSet<u16>,
    /// Ports that other files of sshd's name: sshd adds them to the one that the config has.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    ssh_besides: BTreeSet<u16>,
    /// Rules of the config that ufw has behind one that the config has after them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    misplaced: BTreeSet<Rule>,
    /// What rules of application profiles say, which others wrote (ufw(8), `APPLICATION INTEGRATION`).
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    profiles: BTreeSet<Rule>,
    /// Ports that services of this machine use, where the firewall is about to close for the first time.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    services: BTreeSet<InUse>,
    /// Ports that programs of users use, likewise.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    programs: BTreeSet<InUse>,
}

impl FirewallState {
    /// Whether it closes what no rule names.
    fn closes(&self) -> bool {
        self.enabled && self.incoming != Policy::Allow.word()
    }

    /// Whether what becomes of the ports in use was decided: it closes already, or pitool has written its rules. Those that
    /// keep a port open come before the others, so that a run that is cut off between them decides again.
    fn decided(&self) -> bool {
        let settled = |comment: &String| ours(comment) && kept_for(comment).is_none();
        if self.enabled { self.closes() } else { self.rules.values().any(settled) }
    }

    /// Whether a rule lets everybody in at this port of TCP's.
    fn lets_in(&self, port: u16) -> bool {
        self.rules.keys().chain(&self.profiles).any(|rule| rule.opens() && rule.covers(port, false))
    }

    /// The rule of somebody else by which everybody gets in at this port, where it is no rule that ours takes the place of.
    fn let_in_by_others(&self, port: u16) -> Option<&Rule> {
        let subject = Rule::new(Policy::Limit, "tcp", port).subject();
        let others = self.rules.iter().filter(|(_, comment)| !ours(comment)).map(|(rule, _)| rule);
        others.chain(&self.profiles).find(|rule| {
            rule.opens()
                && rule.covers(port, false)
                && (rule.subject() != subject || self.profiles.contains(*rule))
        })
    }

    /// The rules by which ports in use stay open.
    fn kept(&self) -> Vec<InUse> {
        let one = |(rule, comment): (&Rule, &String)| {
            Some(InUse {
                port: rule.port.parse().ok()?,
                udp: rule.protocol == "udp",
                by: kept_for(comment)?.to_owned(),
            })
        };
        self.rules.iter().filter_map(one).collect()
    }
}

/// Rules as a list of pairs, because JSON's keys are strings.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::Rule;

    pub(super) fn serialize<S: Serializer>(
        rules: &BTreeMap<Rule, String>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(rules)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<Rule, String>, D::Error> {
        Vec::<(Rule, String)>::deserialize(deserializer).map(|pairs| pairs.into_iter().collect())
    }
}

/// The comment that marks our rules; a remark follows after a colon.
const OURS: &str = "pitool";

/// Whether a comment marks one of our rules.
fn ours(comment: &str) -> bool {
    comment.strip_prefix(OURS).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        || kept_for(comment).is_some()
}

/// The program for which a rule keeps a port open.
fn kept_for(comment: &str) -> Option<&str> {
    comment.strip_prefix(ufw_rules::KEPT)
}

/// The name of the note of what is in use.
const NOTE: &str = "ufw";

/// UDP ports at which ufw lets in by itself what they are for (ufw-framework(8), before.rules): DHCP's answers, mDNS, UPnP.
const OPEN_ANYWAY: [u16; 4] = [68, 546, 1900, 5353];

impl Firewall {
    /// A firewall that drops what comes in, lets out what goes out, and lets ssh in with a limit: on this port,
    /// or where none is given on the ports that sshd's configuration has.
    pub fn new(incoming: Policy, outgoing: Policy, ssh: Option<u16>, rules: Vec<Rule>) -> Self {
        Self {
            incoming,
            outgoing,
            rules,
            remarks: vec![],
            ssh,
            only_opens: false,
            moved_by: None,
            closed: vec![],
            apps: vec![],
        }
    }

    /// Only the rule that opens a port for sshd, before sshd moves there. Printed `firewall[ssh]`.
    pub fn opening(port: Option<u16>) -> Self {
        Self {
            incoming: Policy::Deny,
            outgoing: Policy::Allow,
            rules: vec![],
            remarks: vec![],
            ssh: port,
            only_opens: true,
            moved_by: None,
            closed: vec![],
            apps: vec![],
        }
    }

    /// Adds remarks that `ufw status` shows beside these rules.
    #[must_use]
    pub fn remarked(mut self, remarks: impl IntoIterator<Item = (Rule, String)>) -> Self {
        self.remarks.extend(remarks);
        self
    }

    /// Names ports that are closed although they are in use.
    #[must_use]
    pub fn closed(mut self, ports: impl IntoIterator<Item = Named>) -> Self {
        self.closed.extend(ports);
        self
    }

    /// Names users whose programs keep no port open, because they run behind the web server.
    #[must_use]
    pub fn apps(mut self, users: impl IntoIterator<Item = String>) -> Self {
        self.apps.extend(users);
        self
    }

    /// The comment of one of our rules.
    fn comment(&self, rule: &Rule) -> String {
        let remark = self.remarks.iter().rev().find(|(remarked, _)| remarked == rule);
        remark.map_or_else(|| OURS.to_owned(), |(_, remark)| format!("{OURS}: {remark}"))
    }

    /// Names the file that moves sshd to the port, or back when it goes. Until then the port in use stays open too.
    #[must_use]
    pub fn moved_by(mut self, file: Id) -> Self {
        self.moved_by = Some(file);
        self
    }

    fn wanted(&self, observed: &FirewallState) -> Vec<Rule> {
        let mut ports: BTreeSet<u16> = self.ssh.into_iter().collect();
        if !self.only_opens || ports.is_empty() {
            ports.extend(&observed.ssh);
        }
        let ssh: Vec<Rule> = ports.iter().map(|port| Rule::new(Policy::Limit, "tcp", port)).collect();
        let yielded = self.yielded(&observed.rules);
        let rules = self.rules.iter().filter(|rule| !shuts(rule, &ssh) && !yielded.contains(&rule.subject()));
        // A limit behind a rule that lets everybody in would never be asked.
        let open = ports.iter().filter(|port| observed.let_in_by_others(**port).is_none());
        open.map(|port| Rule::new(Policy::Limit, "tcp", port)).chain(rules.cloned()).collect()
    }

    /// What rules of the config are about where somebody else's rule for the same lets fewer in: that one stays.
    fn yielded(&self, held: &BTreeMap<Rule, String>) -> BTreeSet<Subject> {
        let stricter = |rule: &&Rule| {
            held.iter().any(|(old, comment)| {
                !ours(comment) && old.subject() == rule.subject() && old.policy > rule.policy
            })
        };
        self.rules.iter().filter(stricter).map(Rule::subject).collect()
    }

    /// Whether the config says what becomes of a port, or somebody else's rule in ufw does.
    fn named(&self, observed: &FirewallState, one: &InUse) -> bool {
        let theirs = observed.rules.iter().filter(|(_, comment)| !ours(comment)).map(|(rule, _)| rule);
        let ssh = observed.ssh.iter().chain(&self.ssh).any(|port| !one.udp && *port == one.port);
        ssh || self
            .rules
            .iter()
            .chain(theirs)
            .chain(&observed.profiles)
            .any(|rule| rule.covers(one.port, one.udp))
    }

    /// The ports in use that stay open: those that have their rule, and where nothing was decided yet those of services.
    fn keeps(&self, observed: &FirewallState) -> Vec<InUse> {
        if self.only_opens || self.incoming == Policy::Allow {
            return Vec::new();
        }
        let mut kept = observed.kept();
        kept.extend(observed.services.iter().cloned());
        kept.retain(|one| {
            !self.named(observed, one) && !self.closed.iter().any(|ports| ports.contains(one.port, one.udp))
        });
        kept.sort();
        kept.dedup_by_key(|one| (one.port, one.udp));
        kept
    }

    /// Who uses ports that the firewall is about to close for the first time: services of this machine, and programs of
    /// users. Asked as long as that was not decided.
    fn in_use(&self, host: &dyn Inspect, state: &mut FirewallState) -> Result<()> {
        if self.only_opens || self.incoming == Policy::Allow || state.decided() || !host.live() {
            return Ok(());
        }
        let services = listening::services(host)?;
        let reached = Reached::of(host, state.enabled)?;
        let accounts = if self.apps.is_empty() { None } else { Some(Accounts::read(host)?) };
        let apps: BTreeSet<u32> = accounts
            .iter()
            .flat_map(|accounts| self.apps.iter().filter_map(|name| accounts.uid_of(name)))
            .collect();
        for one in services {
            let used = InUse { port: one.port, udp: one.udp, by: one.program };
            let ufws = one.udp && OPEN_ANYWAY.contains(&one.port);
            if ufws || !reached.at(one.port) || self.named(state, &used) {
                continue;
            }
            let list = if one.system && !apps.contains(&one.uid) {
                &mut state.services
            } else {
                &mut state.programs
            };
            list.insert(used);
        }
        for one in in_use::noted(host, NOTE)? {
            if !self.named(state, &one) {
                state.services.insert(one);
            }
        }
        Ok(())
    }

    /// The config's rules where their order matters: the first that fits decides, so it does where some let in and
    /// others do not. The rules for sshd are not among them: they are never taken away, not even for a moment.
    fn ordered(&self, ssh: &BTreeSet<u16>, held: &BTreeMap<Rule, String>) -> Vec<&Rule> {
        let opens = |rule: &Rule| matches!(rule.policy, Policy::Allow | Policy::Limit);
        if self.rules.iter().all(opens) || !self.rules.iter().any(opens) {
            return Vec::new();
        }
        let ports = ssh.iter().chain(&self.ssh).map(|port| Rule::new(Policy::Limit, "tcp", port).subject());
        let mut ports: BTreeSet<_> = ports.collect();
        ports.extend(self.yielded(held));
        let mut rules: Vec<&Rule> = Vec::new();
        for (at, rule) in self.rules.iter().enumerate() {
            // ufw knows one rule for each subject: the last one.
            let again = self.rules.iter().skip(at + 1).any(|later| later.subject() == rule.subject());
            if !again && !ports.contains(&rule.subject()) {
                rules.push(rule);
            }
        }
        rules
    }

    /// Those of the config's rules that have to move behind others, given one of ufw's lists.
    fn misplaced(&self, state: &FirewallState, list: &[Rule], ipv6: bool) -> BTreeSet<Rule> {
        let ordered = self.ordered(&state.ssh, &state.rules);
        let mut of_family =
            ordered.into_iter().filter(|rule| rule.from == "any" || rule.from.contains(':') == ipv6);
        let place = |rule: &Rule| list.iter().position(|held| held == rule);
        let mut last = None;
        while let Some(rule) = of_family.next() {
            match place(rule) {
                Some(at) if last.is_none_or(|last| at > last) => last = Some(at),
                // From here on everything is added behind what is there.
                found => {
                    let rest = found.map(|_| rule).into_iter().chain(of_family);
                    return rest.filter(|rule| place(rule).is_some()).cloned().collect();
                }
            }
        }
        BTreeSet::new()
    }
}

/// What a rule is about: protocol, port and source.
type Subject = (String, String, String);

/// At which ports packets from outside are let in at the moment, while ufw is off: another filter may close them.
enum Reached {
    /// Nothing else closes.
    All,
    /// The kernel's policy drops what the rules do not let in.
    Named(String),
}

impl Reached {
    /// Asks the kernel where there is the program for it. A filter of nftables' own stays in force beside ufw's rules,
    /// which can open nothing that it closes.
    fn of(host: &dyn Inspect, ufw: bool) -> Result<Self> {
        if ufw || host.stat("/usr/sbin/iptables")?.is_none() {
            return Ok(Self::All);
        }
        let rules = host.ask(&Command::new("iptables").arg("-S"))?.stdout;
        let open = !rules.lines().any(|line| line.starts_with("-P INPUT ") && !line.ends_with(" ACCEPT"));
        Ok(if open { Self::All } else { Self::Named(rules) })
    }

    fn at(&self, port: u16) -> bool {
        let Self::Named(rules) = self else { return true };
        rules.lines().filter(|line| line.ends_with("-j ACCEPT")).any(|line| {
            let mut words = line.split(' ').skip_while(|word| !["--dport", "--dports"].contains(word));
            let ports = words.nth(1).unwrap_or_default().to_owned();
            Rule::new(Policy::Allow, "any", ports).covers(port, false)
        })
    }
}

/// Whether a rule would take the place of one that lets people in by ssh, and shut them out.
fn shuts(rule: &Rule, ssh: &[Rule]) -> bool {
    matches!(rule.policy, Policy::Deny | Policy::Reject)
        && ssh.iter().any(|open| open.subject() == rule.subject())
}

impl Resource for Firewall {
    type State = FirewallState;

    fn id(&self) -> Id {
        Id::new("firewall", if self.only_opens { "ssh" } else { "ufw" })
    }

    fn observe(&self, host: &dyn Inspect) -> Result<FirewallState> {
        let text = |path: &str| -> Result<String> {
            Ok(host
                .read(path)?
                .map(|content| String::from_utf8_lossy(content.bytes()).into_owned())
                .unwrap_or_default())
        };
        let ssh = crate::sshd::ports(host)?;
        let moved_by = self.moved_by.as_ref().filter(|_| self.ssh.is_none()).map(Id::name);
        let ssh_unmoved = match moved_by {
            Some(file) if host.stat(file)?.is_some() => crate::sshd::ports_without(host, Some(file))?,
            _ => BTreeSet::new(),
        };
        let ssh_besides = match &self.moved_by {
            Some(file) if self.ssh.is_some() => crate::sshd::named_besides(host, file.name())?,
            _ => BTreeSet::new(),
        };
        if !host.packages()?.installed("ufw") {
            let mut state = FirewallState { ssh, ssh_unmoved, ssh_besides, ..FirewallState::default() };
            self.in_use(host, &mut state)?;
            return Ok(state);
        }
        let settings = ufw_rules::settings(&text("/etc/ufw/ufw.conf")?, &text("/etc/default/ufw")?);
        let mut state = FirewallState {
            installed: true,
            enabled: settings.enabled,
            incoming: policy_word(&settings.input),
            outgoing: policy_word(&settings.output),
            ssh,
            ssh_unmoved,
            ssh_besides,
            ..FirewallState::default()
        };
        let mut lists = Vec::new();
        for (path, everywhere) in [("/etc/ufw/user.rules", "0.0.0.0/0"), ("/etc/ufw/user6.rules", "::/0")] {
            let mut list = Vec::new();
            for rule in ufw_rules::parse(&text(path)?) {
                // Only plain rules for what comes in to this machine can be ours; the rest is not looked at.
                let plain = !rule.route
                    && rule.direction == "in"
                    && rule.interface_in.is_empty()
                    && rule.dst == everywhere
                    && rule.sport == "any";
                if !plain {
                    continue;
                }
                let everybody = rule.src == everywhere;
                let from = if everybody { "any".to_owned() } else { rule.src };
                let policy = Policy::of(rule.action);
                let held = Rule { policy, protocol: rule.proto, port: rule.dport, from };
                if !rule.dapp.is_empty() {
                    state.profiles.insert(held);
                    continue;
                }
                list.push(held.clone());
                // A rule for everybody is in both files; once is enough.
                if everywhere != "::/0" || !everybody {
                    state.rules.insert(held, rule.comment);
                }
            }
            lists.push((list, everywhere == "::/0"));
        }
        // With IPV6=no the second list is empty.
        for (list, ipv6) in lists.iter().filter(|(list, _)| !list.is_empty()) {
            let misplaced = self.misplaced(&state, list, *ipv6);
            state.misplaced.extend(misplaced);
        }
        self.in_use(host, &mut state)?;
        Ok(state)
    }

    fn desired(&self, observed: &FirewallState) -> FirewallState {
        let mut state = observed.clone();
        let wanted = self.wanted(observed);
        let subjects: BTreeSet<_> = wanted.iter().map(Rule::subject).collect();
        if self.only_opens {
            if !observed.enabled {
                return state;
            }
        } else {
            state.installed = true;
            state.enabled = true;
            state.incoming = self.incoming.word().into();
            state.outgoing = self.outgoing.word().into();
            state.misplaced.clear();
            state.services.clear();
            state.programs.clear();
            state.rules.retain(|rule, comment| subjects.contains(&rule.subject()) || !ours(comment));
            for one in self.keeps(observed) {
                let rule = Rule::new(Policy::Allow, if one.udp { "udp" } else { "tcp" }, one.port);
                state.rules.insert(rule, format!("{}{}", ufw_rules::KEPT, one.by));
            }
        }
        for rule in wanted {
            let subject = rule.subject();
            // A person's own rule that says the same keeps its comment.
            if state.rules.get(&rule).is_none_or(|comment| ours(comment) && !self.only_opens) {
                state.rules.retain(|old, _| old.subject() != subject);
                let comment = self.comment(&rule);
                state.rules.insert(rule, comment);
            }
        }
        state
    }

    fn enact(&self, host: &dyn Host, from: &FirewallState, to: &FirewallState) -> Result<()> {
        if !host.packages()?.installed("ufw") {
            return Ok(());
        }
        let ufw = |words: Vec<String>| host.run(&Command::new("ufw").args(words)).map(drop);
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        if from.enabled && !to.enabled {
            ufw(words("--force disable"))?;
        }
        // What opens comes before what closes, and the policy after the rules: the way in is never shut.
        let ordered: Vec<&Rule> = self
            .ordered(&to.ssh, &to.rules)
            .into_iter()
            .filter(|rule| to.rules.contains_key(*rule))
            .collect();
        let ssh = to.ssh.iter().chain(&self.ssh).map(|port| Rule::new(Policy::Limit, "tcp", port).subject());
        let ssh: BTreeSet<_> = ssh.collect();
        // Those that keep a port open come first: as long as they are alone, nothing is decided.
        let kept = |rule: &&Rule| kept_for(&to.rules[*rule]).is_some();
        let others = to.rules.keys().filter(|rule| !ordered.contains(rule) && !kept(rule));
        for rule in to.rules.keys().filter(kept).chain(others).chain(ordered.iter().copied()) {
            let comment = &to.rules[rule];
            let moves = from.misplaced.contains(rule) && !to.misplaced.contains(rule);
            if moves || from.rules.get(rule) != Some(comment) {
                // ufw changes a rule where it stands: it can move only by going.
                let same = |old: &&Rule| ordered.contains(&rule) && old.subject() == rule.subject();
                if let Some(old) = from.rules.keys().find(same).filter(|old| moves || *old != rule) {
                    let mut arguments = words("--force delete");
                    arguments.extend(old.arguments());
                    ufw(arguments)?;
                }
                let mut arguments = rule.arguments();
                let new = !from.rules.keys().any(|old| old.subject() == rule.subject());
                if new && ssh.contains(&rule.subject()) && !ordered.is_empty() {
                    // Before any rule that could shut it.
                    arguments.insert(0, "prepend".to_owned());
                }
                if !comment.is_empty() {
                    arguments.extend(["comment".to_owned(), comment.clone()]);
                }
                ufw(arguments)?;
            }
        }
        for (direction, from, to) in
            [("incoming", &from.incoming, &to.incoming), ("outgoing", &from.outgoing, &to.outgoing)]
        {
            if from != to && !to.is_empty() {
                ufw(vec!["default".into(), to.clone(), direction.into()])?;
            }
        }
        if to.enabled && !from.enabled {
            ufw(words("--force enable"))?;
        }
        let kept: BTreeSet<_> = to.rules.keys().map(Rule::subject).collect();
        for rule in from.rules.keys().filter(|rule| !kept.contains(&rule.subject())) {
            // A rule that goes closes nothing where the firewall is off, lets in what no rule names, or another rule lets in.
            let shuts = rule.policy == Policy::Limit
                && rule.protocol == "tcp"
                && to.closes()
                && !rule.port.parse().is_ok_and(|port| to.lets_in(port));
            if shuts && listens(host, &rule.port)? {
                return Err(Error::Unsupported(format!(
                    "port {} stays open, because something still listens there; closing it could lock you out",
                    rule.port
                )));
            }
            let mut arguments = words("--force delete");
            arguments.extend(rule.arguments());
            ufw(arguments)?;
        }
        Ok(())
    }

    fn change(&self, from: &FirewallState, to: &FirewallState) -> Change {
        let mut parts = Vec::new();
        if from.enabled != to.enabled {
            parts.push(if to.enabled { "off → on".to_owned() } else { "on → off".to_owned() });
        }
        if from.incoming != to.incoming || from.outgoing != to.outgoing {
            parts.push(format!("incoming {}, outgoing {}", to.incoming, to.outgoing));
        }
        let kept = |rule: &Rule| kept_for(&to.rules[rule]).map_or(String::new(), |by| format!(" for {by}"));
        parts.extend(
            to.rules
                .keys()
                .filter(|rule| !from.rules.contains_key(*rule))
                .map(|rule| format!("+ {rule}{}", kept(rule))),
        );
        parts.extend(
            from.rules.keys().filter(|rule| !to.rules.contains_key(*rule)).map(|rule| format!("- {rule}")),
        );
        let remarked =
            |rule: &&Rule| from.rules.get(*rule).is_some_and(|comment| *comment != to.rules[*rule]);
        parts.extend(to.rules.keys().filter(remarked).map(|rule| format!("~ {rule} (its remark)")));
        if !from.misplaced.is_empty() && to.misplaced.is_empty() {
            parts.push("in the config's order".to_owned());
        }
        if to.closes() {
            let open = |one: &&InUse| {
                let mut rules = to.rules.keys().chain(&to.profiles);
                rules.any(|rule| rule.opens() && rule.covers(one.port, one.udp))
            };
            let cut = from.services.iter().chain(&from.programs).filter(|one| !open(one));
            let cut: Vec<String> = cut.map(ToString::to_string).collect();
            if !cut.is_empty() {
                parts.push(format!("closes {}", cut.join(", ")));
            }
        }
        Change::words(Action::Change, parts.join(", "))
    }

    fn stage(&self) -> Stage {
        Stage::Activate
    }

    fn watches(&self) -> Vec<Id> {
        // Forwards a port opens before sshd moves to it; going back it closes after sshd has left.
        if self.only_opens { vec![Id::new("unit", "ssh.service")] } else { vec![] }
    }

    fn risk(&self) -> Risk {
        Risk::Lockout
    }

    fn refusal(&self, observed: &FirewallState) -> Option<String> {
        if self.only_opens {
            return None;
        }
        let ports: BTreeSet<u16> = self.ssh.iter().chain(&observed.ssh).copied().collect();
        let ssh: Vec<Rule> = ports.iter().map(|port| Rule::new(Policy::Limit, "tcp", *port)).collect();
        let mut sentences = Vec::new();
        if let Some(rule) = self.rules.iter().find(|rule| shuts(rule, &ssh)) {
            sentences.push(format!(
                "the rule `{rule}` is left out, because sshd listens there and it would shut everybody out; name an \
                 address or network in its `from`, or stop sshd first"
            ));
        }
        let unlimited = ports.iter().find_map(|port| Some((port, observed.let_in_by_others(*port)?)));
        if let Some((port, rule)) = unlimited {
            sentences.push(format!(
                "port {port} of ssh has no limit, because ufw asks your own rule `{rule}` first; delete that \
                 (`ufw status numbered`, `ufw delete NUMBER`), then apply again"
            ));
        }
        let yielded = self.yielded(&observed.rules);
        let theirs = observed.rules.iter().filter(|(_, comment)| !ours(comment)).map(|(rule, _)| rule);
        if let Some(rule) = theirs.clone().find(|rule| yielded.contains(&rule.subject())) {
            let wanted = self.rules.iter().find(|wanted| wanted.subject() == rule.subject());
            let wanted = wanted.map(ToString::to_string).unwrap_or_default();
            sentences.push(format!(
                "your own rule `{rule}` stays, where the config wants `{wanted}`; write it into the config, or \
                 `ufw delete {rule}` and apply again"
            ));
        }
        sentences.extend(in_use::sentence("ports", &self.keeps(observed)));
        (!sentences.is_empty()).then(|| sentences.join("\n"))
    }

    fn foresee(&self, observed: &FirewallState, upcoming: &Upcoming) -> FirewallState {
        let mut state = observed.clone();
        if self.moved_by.as_ref().is_some_and(|file| upcoming.contains(file)) {
            state.ssh = match self.ssh {
                Some(port) => state.ssh_besides.iter().copied().chain([port]).collect(),
                None => state.ssh_unmoved.clone(),
            };
            state.ssh_unmoved.clear();
        }
        state
    }

    fn restored(&self, before: &FirewallState, now: &FirewallState) -> FirewallState {
        if !now.installed || !before.installed {
            // It came or went with its package.
            return now.clone();
        }
        let misplaced = now.misplaced.clone();
        let mut state = FirewallState {
            ssh: now.ssh.clone(),
            ssh_unmoved: now.ssh_unmoved.clone(),
            ssh_besides: now.ssh_besides.clone(),
            installed: true,
            misplaced,
            profiles: now.profiles.clone(),
            services: now.services.clone(),
            programs: now.programs.clone(),
            ..before.clone()
        };
        if !self.only_opens && before.closes() {
            // sshd has not moved back yet: its port closes after it has, with what opened it.
            let listens = |rule: &Rule| {
                rule.policy == Policy::Limit
                    && now.ssh.iter().any(|port| rule.port == port.to_string() && !before.lets_in(*port))
            };
            let kept = now.rules.iter().filter(|(rule, _)| listens(rule));
            let kept: Vec<_> = kept.filter(|(rule, _)| !before.rules.contains_key(*rule)).collect();
            state.rules.extend(kept.into_iter().map(|(rule, comment)| (rule.clone(), comment.clone())));
        }
        state
    }

    fn adopt(&self, host: &dyn Host, observed: &FirewallState, settled: bool) -> Result<()> {
        if self.only_opens {
            return Ok(());
        }
        in_use::note(host, NOTE, &observed.services.iter().cloned().collect::<Vec<_>>(), settled)
    }
}

/// ufw's command line has other words for its policies than its files.
fn policy_word(policy: &str) -> String {
    match policy {
        "ACCEPT" => "allow",
        "REJECT" => "reject",
        _ => "deny",
    }
    .to_owned()
}

/// Whether a TCP socket listens on this port.
fn listens(host: &dyn Host, port: &str) -> Result<bool> {
    let Ok(port) = port.parse::<u16>() else { return Ok(false) };
    for path in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let table = host.read(path)?;
        let text = table.as_ref().and_then(|content| content.text()).unwrap_or_default();
        if proc_net_tcp::listeners(text, false).iter().any(|listener| listener.port == port) {
            return Ok(true);
        }
    }
    Ok(false)
}
