//! Role security.

use pitool_host::Facts;
use pitool_roles::security::wishes;
use serde_json::json;

use crate::{machine, pi, rendered, settings};

#[test]
fn defaults_on_trixie() {
    insta::assert_snapshot!(rendered(&wishes(&settings(json!({})), &machine("debian", 13, "amd64"))));
}

#[test]
fn everything_on_a_pi_with_bookworm() {
    let settings = settings(json!({
        "common": {"sysctl": {"net.ipv4.conf.all.rp_filter": 1}},
        "security": {
            "ssh": {"port": 2222, "permit_root_login": "prohibit-password", "allow_users": ["alice", "bob"]},
            "firewall": {"outgoing": "reject", "rules": [
                {"port": 80},
                {"port": "3000:3010", "protocol": "any", "from": "192.168.1.0/24", "policy": "limit"},
                {"port": 53, "protocol": "any", "from": "fd00::/8"},
            ]},
            "fail2ban": {"bantime": "1d", "ban_growth": false, "ignore": ["203.0.113.0/24"]},
            "updates": {"reboot_time": "04:00", "mail": "root"},
        },
    }));
    insta::assert_snapshot!(rendered(&wishes(&settings, &pi("debian", 12, "arm64"))));
}

#[test]
fn as_open_as_it_gets_on_raspbian() {
    let settings = settings(json!({
        "app": {"enabled": false},
        "security": {
            "hardening": false,
            "ssh": {"permit_root_login": "yes", "password_authentication": true},
            "firewall": {"enabled": false},
            "updates": {"raspberrypi": false},
        },
    }));
    insta::assert_snapshot!(rendered(&wishes(&settings, &pi("raspbian", 13, "armhf"))));
}

#[test]
fn after_a_kernel_upgrade_the_firewall_waits() {
    let facts = Facts { kernel_modules: false, ..machine("debian", 13, "arm64") };
    let wishes = wishes(&settings(json!({})), &facts);
    assert!(wishes.notes.iter().any(|note| note.contains("reboot")));
    assert!(!rendered(&wishes).contains("firewall["));
}

#[test]
fn in_a_container_the_host_keeps_its_kernel_values() {
    let facts = Facts { container: "lxc".into(), ..machine("debian", 13, "arm64") };
    let rendered = rendered(&wishes(&settings(json!({})), &facts));
    assert!(!rendered.contains("kernel.kptr_restrict") && rendered.contains("sysctl[net.ipv4.tcp_rfc1337]"));
}
