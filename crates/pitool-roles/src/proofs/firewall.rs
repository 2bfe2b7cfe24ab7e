//! Questions to the kernel's packet filter.

use pitool_engine::{Id, Proof, Verdict};
use pitool_host::{Command, Inspect, Result};

/// Whether ufw's rules are in the kernel and let ssh in, wherever sshd listens.
#[derive(Clone, Debug, PartialEq)]
pub struct FirewallActive;

impl Proof for FirewallActive {
    fn id(&self) -> Id {
        Id::new("proof", "the firewall is on and lets ssh in")
    }

    fn ask(&self, host: &dyn Inspect) -> Result<Verdict> {
        let rules = host.ask(&Command::new("iptables").arg("-S"))?;
        let ports = super::sshd::listening(host)?;
        let verdict = judge(&rules.stdout, &ports);
        // The kernel's list of tables of the old kind; it is empty while nobody uses them (trap T21).
        let legacy = host.read("/proc/net/ip_tables_names")?;
        let legacy = legacy.as_ref().and_then(|names| names.text()).unwrap_or_default();
        let version = host.ask(&Command::new("iptables").arg("--version"))?;
        if legacy.contains("filter") && version.stdout.contains("nf_tables") {
            return Ok(Verdict::NotInForce {
                expected: "one kind of packet filter".into(),
                answer: "old iptables tables are in use beside nftables".into(),
                hint: "`iptables-legacy -S` shows them; a reboot after removing what wrote them clears them"
                    .into(),
            });
        }
        Ok(verdict)
    }
}

fn judge(rules: &str, ports: &[u16]) -> Verdict {
    let not = |answer: String| Verdict::NotInForce {
        expected: "ufw's rules are in the kernel".into(),
        answer,
        hint: "`ufw status verbose` and `ufw reload` say more".into(),
    };
    if !rules.lines().any(|line| line.starts_with("-A INPUT") && line.ends_with("-j ufw-before-input")) {
        return not("nothing that comes in is looked at".into());
    }
    // `ufw disable` leaves the jump there, and the chain empty.
    if !rules.lines().any(|line| line.starts_with("-A ufw-before-input ")) {
        return not("ufw is off: its chains are empty".into());
    }
    let lets_in = |port: &u16| {
        let needle = format!("--dport {port} ");
        rules
            .lines()
            .any(|line| line.starts_with("-A ufw-user-input") && format!("{line} ").contains(&needle))
    };
    if let Some(shut) = ports.iter().find(|port| !lets_in(port)) {
        return not(format!("sshd listens on port {shut}, and no rule lets it in"));
    }
    let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
    Verdict::InForce { answer: format!("on, ssh on {}", ports.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = "-P INPUT DROP\n-N ufw-user-input\n-A INPUT -j ufw-before-logging-input\n\
        -A INPUT -j ufw-before-input\n-A ufw-before-input -i lo -j ACCEPT\n-A ufw-user-input -p tcp -m tcp --dport 2222 -m conntrack --ctstate NEW -m recent \
        --set --name DEFAULT --mask 255.255.255.255 --rsource\n-A ufw-user-input -p tcp -m tcp --dport 80 -j ACCEPT\n";

    #[test]
    fn a_port_of_sshd_without_a_rule_is_found() {
        assert!(matches!(judge(RULES, &[2222]), Verdict::InForce { .. }));
        assert!(matches!(judge(RULES, &[22, 2222]), Verdict::NotInForce { .. }));
        assert!(matches!(judge("-P INPUT ACCEPT\n", &[]), Verdict::NotInForce { .. }));
        let disabled = "-P INPUT ACCEPT\n-A INPUT -j ufw-before-input\n";
        assert!(matches!(judge(disabled, &[]), Verdict::NotInForce { .. }));
    }
}
