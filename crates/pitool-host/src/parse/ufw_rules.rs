//! ufw's own record of its rules: the `### tuple ###` lines of /etc/ufw/user.rules and user6.rules (ufw's
//! `backend_iptables.py`), and its settings in /etc/ufw/ufw.conf and /etc/default/ufw (ufw-framework(8)).

use serde::Serialize;

/// What the comment of a rule begins with by which pitool keeps a port open that is in use; the program follows.
pub const KEPT: &str = "pitool keeps this open for ";

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// What is done.
    pub action: Action,
    /// What is logged: `log`, `log-all` or nothing.
    pub log: String,
    /// Whether it is about forwarded packets (`ufw route`).
    pub route: bool,
    /// `tcp`, `udp`, `any` or another protocol.
    pub proto: String,
    /// Destination ports: `any`, `22`, `80,443`, `60000:61000`.
    pub dport: String,
    /// Destination address; `0.0.0.0/0` or `::/0` for any.
    pub dst: String,
    /// Source ports.
    pub sport: String,
    /// Source address.
    pub src: String,
    /// Application profile that the destination port comes from, or empty.
    pub dapp: String,
    /// Application profile that the source port comes from, or empty.
    pub sapp: String,
    /// `in` or `out`.
    pub direction: String,
    /// The interface it comes in by, or empty.
    pub interface_in: String,
    /// The interface it goes out by, or empty.
    pub interface_out: String,
    /// The comment, or empty.
    pub comment: String,
}

/// What a rule does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Lets it pass.
    Allow,
    /// Drops it.
    Deny,
    /// Refuses it.
    Reject,
    /// Lets it pass unless there are six new connections within 30 seconds.
    Limit,
}

/// Reads the rules, in their order. A tuple that ufw would skip as malformed is passed over.
pub fn parse(text: &str) -> Vec<Rule> {
    text.lines().filter_map(|line| line.strip_prefix("### tuple ### ")).filter_map(tuple).collect()
}

fn tuple(tuple: &str) -> Option<Rule> {
    let (fields, comment) = match tuple.rsplit_once(" comment=") {
        Some((fields, hex)) => (fields, unhex(hex.trim())?),
        None => (tuple, String::new()),
    };
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let [action, proto, dport, dst, sport, src, rest @ ..] = fields.as_slice() else { return None };
    // Old ufw wrote no direction: everything was incoming.
    let (apps, direction) = match rest {
        [] => (["-", "-"], "in"),
        [direction] => (["-", "-"], *direction),
        [dapp, sapp] => ([*dapp, *sapp], "in"),
        [dapp, sapp, direction] => ([*dapp, *sapp], *direction),
        _ => return None,
    };
    let (route, action) = action.strip_prefix("route:").map_or((false, *action), |action| (true, action));
    let (action, log) = action.split_once('_').unwrap_or((action, ""));
    let action = match action {
        "allow" => Action::Allow,
        "deny" => Action::Deny,
        "reject" => Action::Reject,
        "limit" => Action::Limit,
        _ => return None,
    };
    let mut rule = Rule {
        action,
        log: log.to_owned(),
        route,
        proto: (*proto).to_owned(),
        dport: (*dport).to_owned(),
        dst: (*dst).to_owned(),
        sport: (*sport).to_owned(),
        src: (*src).to_owned(),
        dapp: app(apps[0]),
        sapp: app(apps[1]),
        direction: direction.split('_').next().unwrap_or_default().to_owned(),
        interface_in: String::new(),
        interface_out: String::new(),
        comment,
    };
    // `in_eth0`, and `in_eth0!out_docker0` for routes.
    for part in direction.split('!') {
        match part.split_once('_') {
            Some(("in", interface)) => interface.clone_into(&mut rule.interface_in),
            Some(("out", interface)) => interface.clone_into(&mut rule.interface_out),
            _ => {}
        }
    }
    Some(rule)
}

fn app(name: &str) -> String {
    if name == "-" { String::new() } else { name.replace("%20", " ") }
}

fn unhex(hex: &str) -> Option<String> {
    let digits: Vec<u8> =
        hex.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    let bytes = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some(high << 4 | low),
        _ => None,
    });
    String::from_utf8(bytes.collect::<Option<_>>()?).ok()
}

/// ufw's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Settings {
    /// `ENABLED`: whether the rules are loaded at boot.
    pub enabled: bool,
    /// `LOGLEVEL`.
    pub log_level: String,
    /// `IPV6`.
    pub ipv6: bool,
    /// `DEFAULT_INPUT_POLICY`: `ACCEPT`, `DROP` or `REJECT`.
    pub input: String,
    /// `DEFAULT_OUTPUT_POLICY`.
    pub output: String,
    /// `DEFAULT_FORWARD_POLICY`.
    pub forward: String,
}

/// Reads /etc/ufw/ufw.conf and /etc/default/ufw.
pub fn settings(ufw_conf: &str, default_ufw: &str) -> Settings {
    let (conf, default) = (super::assignments(ufw_conf), super::assignments(default_ufw));
    let yes = |value: Option<&String>| value.is_some_and(|value| value.eq_ignore_ascii_case("yes"));
    let policy = |name: &str| default.get(name).map(|policy| policy.to_ascii_uppercase()).unwrap_or_default();
    Settings {
        enabled: yes(conf.get("ENABLED")),
        log_level: conf.get("LOGLEVEL").cloned().unwrap_or_default(),
        ipv6: yes(default.get("IPV6")),
        input: policy("DEFAULT_INPUT_POLICY"),
        output: policy("DEFAULT_OUTPUT_POLICY"),
        forward: policy("DEFAULT_FORWARD_POLICY"),
    }
}
