//! The role ssl, and the sites of the role app where there is a certificate.

use pitool_roles::{app, find, ssl, wanted};
use serde_json::json;

use crate::{machine, rendered, settings};

const DOMAINS: [&str; 2] = ["shop.example.org", "*.shop.example.org"];

#[test]
fn no_domain_is_one_line_and_nothing_else() {
    let wishes = ssl::wishes(&settings(json!({})), &machine("debian", 13, "arm64"));
    assert_eq!(rendered(&wishes), "note: no certificate: [ssl] in the config names no domain\n");
}

#[test]
fn a_domain_without_an_app() {
    let settings = settings(json!({ "ssl": { "domains": ["pi.test"] } }));
    insta::assert_snapshot!(
        "ssl_alone_trixie",
        rendered(&ssl::wishes(&settings, &machine("debian", 13, "arm64")))
    );
    insta::assert_snapshot!(
        "ssl_alone_bookworm",
        rendered(&ssl::wishes(&settings, &machine("debian", 12, "armhf")))
    );
}

#[test]
fn apps_with_names_of_the_certificate_and_without() {
    let settings = settings(json!({
        "ssl": {
            "domains": DOMAINS,
            "challenge": "dns-01",
            "dns_hook": ["/usr/local/bin/dns"],
            "tls": "modern",
            "hsts_max_age": "730d",
            "hsts_subdomains": true,
            "hsts_preload": true,
        },
        "apps": {
            "any": { "upstream_port": 8001, "root": "/opt/any/current" },
            "both": { "server_name": ["a.shop.example.org", "other.example.org"], "upstream_port": 8002 },
            "plain": { "server_name": ["plain.example.org"], "upstream_port": 8003 },
        },
    }));
    insta::assert_snapshot!("ssl_apps", rendered(&ssl::wishes(&settings, &machine("debian", 13, "arm64"))));
}

#[test]
fn hsts_only_where_it_is_wanted() {
    let off = settings(json!({ "ssl": { "domains": ["pi.test"], "hsts": false } }));
    let text = rendered(&ssl::wishes(&off, &machine("debian", 13, "arm64")));
    assert!(!text.contains("Strict-Transport-Security") && text.contains("X-Content-Type-Options"));
}

#[test]
fn without_the_web_server_only_the_certificate_is_looked_after() {
    let settings = settings(json!({
        "app": { "enabled": false },
        "ssl": { "domains": ["mail.test"], "challenge": "dns-01", "dns_hook": ["/usr/local/bin/dns"] },
    }));
    let text = rendered(&ssl::wishes(&settings, &machine("debian", 13, "arm64")));
    assert!(!text.contains("nginx]") && text.contains("certificate[mail.test]"), "{text}");
}

#[test]
fn both_roles_say_the_same_of_the_web_server() {
    let settings = settings(json!({
        "ssl": { "domains": DOMAINS },
        "apps": { "shop": { "server_name": ["shop.example.org"] } },
    }));
    let facts = machine("debian", 13, "arm64");
    let both = wanted(&[find("app").unwrap(), find("ssl").unwrap()], &settings, &facts).unwrap();
    let shared = both.desired.goals.iter().filter(|goal| goal.roles.len() == 2).count();
    let of_app = app::wishes(&settings, &facts).resources.len();
    assert!(shared > 15 && shared < of_app, "{shared} of {of_app}");
}
