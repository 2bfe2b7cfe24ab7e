//! ufw, with its state in the files where ufw keeps it.

use pitool_host::ActiveState;

use crate::shell::{Ending, Shell, Stop};
use crate::world::{WRONG, World};

const CONF_FILE: &str = "/etc/ufw/ufw.conf";
const DEFAULTS_FILE: &str = "/etc/default/ufw";
const FILES: [&str; 2] = ["/etc/ufw/user.rules", "/etc/ufw/user6.rules"];

/// ufw.conf as the package ships it.
pub(crate) const CONF: &str = "# /etc/ufw/ufw.conf\n#\n\n# Set to yes to start on boot.\nENABLED=no\n\n# Please use the 'ufw' command to set the loglevel. Eg: 'ufw logging medium'.\n# See 'man ufw' for details.\nLOGLEVEL=low\n";

/// /etc/default/ufw as the package ships it.
pub(crate) const DEFAULTS: &str = "# /etc/default/ufw\n#\n\nIPV6=yes\n\nDEFAULT_INPUT_POLICY=\"DROP\"\n\nDEFAULT_OUTPUT_POLICY=\"ACCEPT\"\n\nDEFAULT_FORWARD_POLICY=\"DROP\"\n\nDEFAULT_APPLICATION_POLICY=\"SKIP\"\n\nMANAGE_BUILTINS=no\n\nIPT_SYSCTL=/etc/ufw/sysctl.conf\n\nIPT_MODULES=\"\"\n";

/// One rule, as a tuple line writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    route: bool,
    action: String,
    log: String,
    proto: String,
    dport: String,
    dst: String,
    sport: String,
    src: String,
    /// The application profiles of the ports, as a tuple writes them, or empty.
    apps: String,
    direction: String,
    comment: String,
}

impl Rule {
    fn new(action: &str) -> Self {
        let any = || "any".to_owned();
        Self {
            route: false,
            action: action.to_owned(),
            log: String::new(),
            proto: any(),
            dport: any(),
            dst: any(),
            sport: any(),
            src: any(),
            apps: String::new(),
            direction: "in".to_owned(),
            comment: String::new(),
        }
    }

    /// Whether it is of this family of addresses.
    fn of(&self, six: bool) -> bool {
        [&self.dst, &self.src].iter().all(|address| *address == "any" || address.contains(':') == six)
    }

    /// Whether both are for the same traffic, whatever they do with it.
    fn same_traffic(&self, other: &Self) -> bool {
        let traffic = |rule: &Self| Self {
            action: String::new(),
            log: String::new(),
            comment: String::new(),
            ..rule.clone()
        };
        traffic(self) == traffic(other)
    }

    fn tuple(&self, six: bool) -> String {
        let any = if six { "::/0" } else { "0.0.0.0/0" };
        let address = |address: &str| if address == "any" { any.to_owned() } else { address.to_owned() };
        let comment = match self.comment.as_str() {
            "" => String::new(),
            text => {
                format!(" comment={}", text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>())
            }
        };
        let log = if self.log.is_empty() { String::new() } else { format!("_{}", self.log) };
        format!(
            "### tuple ### {}{}{log} {} {} {} {} {} {}{}{comment}",
            if self.route { "route:" } else { "" },
            self.action,
            self.proto,
            self.dport,
            address(&self.dst),
            self.sport,
            address(&self.src),
            self.apps,
            self.direction
        )
    }

    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.strip_prefix("### tuple ### ")?.split_whitespace().collect();
        let [action, proto, dport, dst, sport, src, rest @ ..] = words.as_slice() else { return None };
        let address = |text: &str| {
            if text == "0.0.0.0/0" || text == "::/0" { "any".to_owned() } else { text.to_owned() }
        };
        let comment = rest.iter().find_map(|word| word.strip_prefix("comment="));
        let bytes: Vec<u8> = comment
            .unwrap_or_default()
            .as_bytes()
            .chunks(2)
            .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect();
        let rest: Vec<&&str> = rest.iter().filter(|word| !word.starts_with("comment=")).collect();
        let (apps, direction) = match rest.as_slice() {
            [dapp, sapp, direction] => (format!("{dapp} {sapp} "), Some(*direction)),
            rest => (String::new(), rest.first().copied()),
        };
        let (route, action) = action.strip_prefix("route:").map_or((false, *action), |rest| (true, rest));
        let (action, log) = action.split_once('_').unwrap_or((action, ""));
        Some(Self {
            route,
            action: action.to_owned(),
            log: log.to_owned(),
            proto: (*proto).to_owned(),
            dport: (*dport).to_owned(),
            dst: address(dst),
            sport: (*sport).to_owned(),
            src: address(src),
            apps,
            direction: direction.copied().unwrap_or("in").to_owned(),
            comment: String::from_utf8_lossy(&bytes).into_owned(),
        })
    }

    /// The lines for iptables below the tuple.
    fn lines(&self) -> Vec<String> {
        let chain = match (self.route, self.direction.starts_with("out")) {
            (true, _) => "ufw-user-forward",
            (false, true) => "ufw-user-output",
            (false, false) => "ufw-user-input",
        };
        let protos: Vec<&str> = match (self.proto.as_str(), self.dport.as_str(), self.sport.as_str()) {
            ("any", "any", "any") => vec![""],
            ("any", _, _) => vec!["tcp", "udp"],
            (proto, _, _) => vec![proto],
        };
        let mut lines = Vec::new();
        for proto in protos {
            let mut parts = format!("-A {chain}");
            if let Some((way, interface)) = self.direction.split_once('_') {
                parts += &format!(" -{} {interface}", if way == "in" { "i" } else { "o" });
            }
            if !proto.is_empty() {
                parts += &format!(" -p {proto}");
            }
            for (address, flag) in [(&self.dst, "-d"), (&self.src, "-s")] {
                if address != "any" {
                    parts += &format!(" {flag} {address}");
                }
            }
            for (port, one, many) in
                [(&self.dport, "--dport", "--dports"), (&self.sport, "--sport", "--sports")]
            {
                match port.as_str() {
                    "any" => {}
                    port if port.contains([',', ':']) => parts += &format!(" -m multiport {many} {port}"),
                    port => parts += &format!(" {one} {port}"),
                }
            }
            match self.action.as_str() {
                "allow" => lines.push(format!("{parts} -j ACCEPT")),
                "deny" => lines.push(format!("{parts} -j DROP")),
                "reject" => lines.push(format!("{parts} -j REJECT")),
                _ => {
                    lines.push(format!("{parts} -m conntrack --ctstate NEW -m recent --set"));
                    lines.push(format!("{parts} -m conntrack --ctstate NEW -m recent --update --seconds 30 --hitcount 6 -j ufw-user-limit"));
                    lines.push(format!("{parts} -j ufw-user-limit-accept"));
                }
            }
        }
        lines
    }
}

/// Gives the text of user.rules or user6.rules.
pub(crate) fn rules(rules: &[Rule], six: bool) -> String {
    let prefix = if six { "ufw6" } else { "ufw" };
    let mut text = "*filter\n".to_owned();
    for chain in [
        "user-input",
        "user-output",
        "user-forward",
        "before-logging-input",
        "user-limit",
        "user-limit-accept",
    ] {
        text += &format!(":{prefix}-{chain} - [0:0]\n");
    }
    text += "### RULES ###\n";
    for rule in rules {
        text += &format!("\n{}\n", rule.tuple(six));
        for line in rule.lines() {
            text += &format!("{}\n", if six { line.replace("ufw-user", "ufw6-user") } else { line });
        }
    }
    text += "\n### END RULES ###\n\n### LOGGING ###\n### END LOGGING ###\n\n### RATE LIMITING ###\n";
    text += &format!(
        "-A {prefix}-user-limit -m limit --limit 3/minute -j LOG --log-prefix \"[UFW LIMIT BLOCK] \"\n"
    );
    text += &format!(
        "-A {prefix}-user-limit -j REJECT\n-A {prefix}-user-limit-accept -j ACCEPT\n### END RATE LIMITING ###\nCOMMIT\n"
    );
    text
}

impl World {
    fn ufw_rules(&self, file: &str) -> Vec<Rule> {
        self.text(file).lines().filter_map(Rule::parse).collect()
    }

    fn ufw_enabled(&self) -> bool {
        self.text(CONF_FILE).lines().any(|line| line.trim() == "ENABLED=yes")
    }

    fn ufw_set(&mut self, file: &str, key: &str, value: &str) {
        let prefix = format!("{key}=");
        let text = self.text(file).to_owned();
        let lines: Vec<String> = text
            .lines()
            .map(|line| if line.starts_with(&prefix) { format!("{prefix}{value}") } else { line.to_owned() })
            .collect();
        self.edit(file, lines.join("\n") + "\n");
    }

    /// Takes what the files say into force; what is in force is what ufw.service runs with.
    fn ufw_take(&mut self) {
        let files = [CONF_FILE, FILES[0], FILES[1], DEFAULTS_FILE].map(str::to_owned);
        let held = self.gather(&files);
        if let Some(unit) =
            self.units.get_mut("ufw.service").filter(|unit| unit.active == ActiveState::Active)
        {
            unit.running_with.extend(held);
        }
    }
}

/// ufw(8).
pub(crate) fn ufw(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    let force = args.contains(&"--force");
    let words: Vec<&str> = args.iter().copied().filter(|arg| *arg != "--force").collect();
    match words.as_slice() {
        ["enable"] => {
            if !force && !shell.command.stdin.starts_with(b"y") {
                return shell.fail(
                    1,
                    "Command may disrupt existing ssh connections. Proceed with operation (y|n)? Aborted",
                );
            }
            shell.change("ufw enable: conf", |world| world.ufw_set(CONF_FILE, "ENABLED", "yes"))?;
            shell.change("ufw enable: rules", World::ufw_take)?;
            shell.say("Firewall is active and enabled on system startup");
        }
        ["disable"] => {
            shell.change("ufw disable: conf", |world| world.ufw_set(CONF_FILE, "ENABLED", "no"))?;
            shell.change("ufw disable: rules", World::ufw_take)?;
            shell.say("Firewall stopped and disabled on system startup");
        }
        ["reload"] => {
            if !shell.world().ufw_enabled() {
                shell.say("Firewall not enabled (skipping reload)");
                return Ok(0);
            }
            for file in FILES {
                if shell.world().text(file).contains(WRONG) {
                    return shell.fail(1, "ERROR: problem running ufw-init");
                }
            }
            shell.change("ufw reload", World::ufw_take)?;
            shell.say("Firewall reloaded");
        }
        ["reset"] => {
            if !force {
                return shell.fail(
                    1,
                    "Resetting all rules to installed defaults. Proceed with operation (y|n)? Aborted",
                );
            }
            let stamp = shell.world().clock.strftime("%Y%m%d_%H%M%S").to_string();
            for (file, six) in [(FILES[0], false), (FILES[1], true)] {
                shell.change(&format!("ufw reset: {file}"), |world| {
                    if let Some(old) = world.content(file).cloned() {
                        world.put(&format!("{file}.{stamp}"), old);
                    }
                    world.edit(file, rules(&[], six));
                })?;
            }
            shell.change("ufw reset: conf", |world| world.ufw_set(CONF_FILE, "ENABLED", "no"))?;
            shell.change("ufw reset: rules", World::ufw_take)?;
        }
        ["default", policy, rest @ ..] => {
            let value = match *policy {
                "allow" => "\"ACCEPT\"",
                "deny" => "\"DROP\"",
                "reject" => "\"REJECT\"",
                _ => return shell.fail(1, "ERROR: Invalid syntax"),
            };
            let key = match rest {
                [] | ["incoming" | "input"] => "DEFAULT_INPUT_POLICY",
                ["outgoing" | "output"] => "DEFAULT_OUTPUT_POLICY",
                ["routed" | "forward"] => "DEFAULT_FORWARD_POLICY",
                _ => return shell.fail(1, "ERROR: Invalid syntax"),
            };
            shell.change(&format!("ufw default: {key}"), |world| world.ufw_set(DEFAULTS_FILE, key, value))?;
            shell.change("ufw default: rules", World::ufw_take)?;
            shell
                .say(format!("Default {} policy changed to '{policy}'", rest.first().unwrap_or(&"incoming")));
        }
        ["logging", level] => {
            let level = match *level {
                "on" => "low",
                other => other,
            };
            shell.change("ufw logging", |world| {
                world.ufw_set(CONF_FILE, "LOGLEVEL", level);
                world.ufw_take();
            })?;
        }
        ["status", ..] => {
            let enabled = shell.world().ufw_enabled();
            shell.say(format!("Status: {}", if enabled { "active" } else { "inactive" }));
        }
        ["version"] => shell.say("ufw 0.36.2"),
        _ => return rule(shell, &words),
    }
    Ok(0)
}

fn bad<T>(shell: &mut Shell<'_>, what: &str) -> Result<T, Stop> {
    shell.fail(1, format!("ERROR: {what}"))
}

/// Reads a rule in either of ufw's syntaxes.
fn parse(shell: &mut Shell<'_>, words: &[&str]) -> Result<Rule, Stop> {
    let (route, words) = match words {
        ["route", rest @ ..] => (true, rest),
        _ => (false, words),
    };
    let Some((&action, mut rest)) = words.split_first() else { return bad(shell, "Invalid syntax") };
    if !["allow", "deny", "reject", "limit"].contains(&action) {
        return bad(shell, "Invalid syntax");
    }
    let mut rule = Rule { route, ..Rule::new(action) };
    // In the full syntax a port belongs to the address before it.
    let mut to = true;
    while let Some((&word, after)) = rest.split_first() {
        let value = after.first().copied();
        let mut used = 2;
        match (word, value) {
            ("in" | "out", _) => {
                word.clone_into(&mut rule.direction);
                used = 1;
            }
            ("on", Some(interface)) => rule.direction = format!("{}_{interface}", rule.direction),
            ("log" | "log-all", _) => {
                word.clone_into(&mut rule.log);
                used = 1;
            }
            ("proto", Some(proto)) => proto.clone_into(&mut rule.proto),
            ("from", Some(address)) => {
                to = false;
                address.clone_into(&mut rule.src);
            }
            ("to", Some(address)) => {
                to = true;
                address.clone_into(&mut rule.dst);
            }
            ("port", Some(port)) if to => port.clone_into(&mut rule.dport),
            ("port", Some(port)) => port.clone_into(&mut rule.sport),
            ("comment", Some(comment)) => comment.clone_into(&mut rule.comment),
            (port, _) if port.starts_with(|c: char| c.is_ascii_digit()) => {
                let (port, proto) = port.split_once('/').unwrap_or((port, "any"));
                port.clone_into(&mut rule.dport);
                proto.clone_into(&mut rule.proto);
                used = 1;
            }
            ("ssh" | "OpenSSH", _) => {
                (rule.dport, rule.proto) = ("22".to_owned(), "tcp".to_owned());
                used = 1;
            }
            _ => return bad(shell, "Invalid syntax"),
        }
        rest = &rest[used..];
    }
    for port in [&rule.dport, &rule.sport] {
        let good = port == "any"
            || port.split([',', ':']).all(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
        if !good {
            return bad(shell, &format!("Bad port '{port}'"));
        }
        if rule.proto == "any" && port.contains([',', ':']) {
            return bad(shell, "Must specify 'tcp' or 'udp' with multiple ports");
        }
    }
    for address in [&rule.src, &rule.dst] {
        let bare = address.split('/').next().unwrap_or_default();
        if address != "any" && bare.parse::<std::net::IpAddr>().is_err() {
            return bad(shell, "Bad source address");
        }
    }
    if rule.comment.contains('\'') {
        return bad(shell, "Comment may not contain \"'\"");
    }
    Ok(rule)
}

/// Adds, changes or deletes a rule.
fn rule(shell: &mut Shell<'_>, words: &[&str]) -> Ending {
    let words: Vec<&str> = match words {
        ["rule", rest @ ..] => rest.to_vec(),
        _ => words.to_vec(),
    };
    let (delete, position, words) = match words.as_slice() {
        ["delete", rest @ ..] => (true, None, rest),
        ["route", "delete", rest @ ..] => (true, None, rest),
        ["prepend", rest @ ..] => (false, Some(1), rest),
        ["insert", number, rest @ ..] => (false, number.parse::<usize>().ok(), rest),
        rest => (false, None, rest),
    };
    let rule = parse(shell, words)?;
    let both = shell.world().text(DEFAULTS_FILE).lines().any(|line| line.trim() == "IPV6=yes");
    for (file, six) in [(FILES[0], false), (FILES[1], true)] {
        if !rule.of(six) || (six && !both) {
            continue;
        }
        let mut held = shell.world().ufw_rules(file);
        let six_note = if six { " (v6)" } else { "" };
        let at = held.iter().position(|known| known.same_traffic(&rule));
        let words = match (delete, at) {
            (true, Some(at)) if held[at].action == rule.action && held[at].log == rule.log => {
                held.remove(at);
                "Rule deleted"
            }
            (true, _) => {
                shell.say(format!("Could not delete non-existent rule{six_note}"));
                continue;
            }
            (false, Some(at)) if held[at] == rule => {
                shell.say(format!("Skipping adding existing rule{six_note}"));
                continue;
            }
            (false, Some(at)) => {
                held[at] = rule.clone();
                "Rule updated"
            }
            (false, None) => {
                let at = position.map_or(held.len(), |number| number.saturating_sub(1).min(held.len()));
                held.insert(at, rule.clone());
                "Rule added"
            }
        };
        shell.change(&format!("ufw rule: {file}"), |world| {
            world.edit(file, rules(&held, six));
            if world.ufw_enabled() {
                world.ufw_take();
            }
        })?;
        shell.say(format!("{words}{six_note}"));
    }
    Ok(0)
}
