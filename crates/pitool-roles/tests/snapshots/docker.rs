//! Role docker.

use pitool_host::{DockerSource, Facts};
use pitool_roles::docker::{repository, wishes};
use serde_json::json;

use crate::{machine, pi, rendered, settings};

fn from(docker_source: DockerSource, facts: Facts) -> Facts {
    Facts { docker_source, ..facts }
}

#[test]
fn dockers_own_on_a_pi_with_trixie() {
    let facts = from(DockerSource::CeAnswers, pi("debian", 13, "arm64"));
    insta::assert_snapshot!(rendered(&wishes(&settings(json!({})), &facts)));
}

#[test]
fn debians_on_bookworm_where_docker_does_not_answer() {
    let facts = from(DockerSource::CeSilent, machine("debian", 12, "amd64"));
    let settings = settings(json!({
        "docker": {"users": ["alice"], "log_max_size": "512KiB", "daemon": {"dns": ["1.1.1.1"]}},
        "security": {"firewall": {"published_ports": "loopback"}},
    }));
    insta::assert_snapshot!(rendered(&wishes(&settings, &facts)));
}

#[test]
fn another_repository_is_believed() {
    let settings = settings(json!({
        "docker": {
            "source": "docker-ce", "repository": "http://10.0.0.1/linux", "key_file": "/etc/apt/keyrings/mirror.gpg",
            "daemon": {"log-driver": "journald"}, "live_restore": false,
        },
        "security": {"firewall": {"incoming": "reject", "rules": [
            {"port": 8080, "from": "192.168.1.0/24"},
            {"port": 53, "protocol": "any", "from": "fd00::/8", "policy": "deny"},
        ]}},
    }));
    insta::assert_snapshot!(rendered(&wishes(&settings, &pi("raspbian", 13, "armhf"))));
}

#[test]
fn the_choice_is_the_same_before_and_after_the_run() {
    let settings = settings(json!({}));
    let packages = |source| {
        let facts = from(source, machine("debian", 13, "arm64"));
        let rendered = rendered(&wishes(&settings, &facts));
        rendered.lines().filter(|line| line.starts_with("packages ")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(packages(DockerSource::CeAnswers), packages(DockerSource::CeInstalled));
    assert_eq!(packages(DockerSource::CeSilent), packages(DockerSource::DebianInstalled));
    assert_ne!(packages(DockerSource::CeAnswers), packages(DockerSource::CeSilent));
}

#[test]
fn nobody_is_asked_where_docker_has_no_packages() {
    let default = settings(json!({}));
    for facts in [pi("raspbian", 13, "armhf"), machine("debian", 13, "armhf"), machine("debian", 11, "arm64")]
    {
        let facts =
            Facts { codename: if facts.release == 11 { "bullseye".into() } else { facts.codename }, ..facts };
        assert_eq!(repository(&default, &facts), None);
        let rendered = rendered(&wishes(&default, &facts));
        assert!(
            rendered.contains("package[docker.io]")
                && rendered.contains("note: Docker's own repository has no")
        );
    }
    assert!(repository(&default, &machine("debian", 12, "amd64")).is_some());
    let forced = settings(json!({"docker": {"source": "debian"}}));
    assert_eq!(repository(&forced, &machine("debian", 12, "amd64")), None);
}

#[test]
fn what_cannot_run_is_refused_with_a_sentence() {
    for facts in [
        Facts { armv6: true, ..pi("raspbian", 12, "armhf") },
        Facts { kernel_modules: false, ..pi("debian", 13, "arm64") },
    ] {
        let wishes = wishes(&settings(json!({})), &facts);
        assert!(wishes.resources.is_empty() && wishes.notes.len() == 1);
    }
    let off = wishes(&settings(json!({"docker": {"enabled": false}})), &pi("debian", 13, "arm64"));
    assert!(off.resources.is_empty() && off.notes.len() == 1);
}

#[test]
fn a_board_with_large_pages_gets_a_warning() {
    let facts = Facts { page_size: 16384, ..pi("debian", 13, "arm64") };
    let wishes = wishes(&settings(json!({})), &facts);
    assert!(wishes.notes.iter().any(|note| note.contains("16 KiB")));
}
