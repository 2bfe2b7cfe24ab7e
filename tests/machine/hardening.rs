//! What an audit from outside and from inside says of a machine after `pitool apply all`: ssh-audit, clients of older
//! releases, `systemd-analyze security`, lynis. Fault K1.13.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use pitool_testkit::machine::{BoxOptions, Lab, Machine, Suite, ssh_key};
use pitool_testkit::suite::Runner;

use crate::{expect, install, installed};

/// The units of ours, and the exposure that none of them may exceed. docs/security.md says what is left of each, and why.
const EXPOSURES: [(&str, f64); 6] = [
    ("pitool-monitor.service", 3.0),
    ("pitool-docker-firewall.service", 3.0),
    ("pitool-certificates.service", 3.2),
    ("pitool-backup@machine.service", 5.0),
    ("pitool-drill.service", 5.0),
    ("pitool-backup-recover.service", 5.0),
];

pub(crate) fn cases(runner: &mut Runner, lab: &Lab, suite: Suite, deb: &Path) {
    let name = |case: &str| format!("{suite}: hardening: {case}");
    let mut machine = None;
    runner.case(&name("apply all on a box"), || {
        let fresh = installed(lab, suite, &BoxOptions::named("hard"), deb)?;
        fresh.write_file(
            "/etc/pitool/pitool.toml",
            "[ssl]\ndomains = [\"pi.example\"]\nemail = \"a@pi.example\"\n[apps.notes]\nserver_name = [\"pi.example\"]\n\
             upstream_port = 8080\n",
            0o600,
        )?;
        fresh.authorize("pi", &ssh_key(lab)?.public)?;
        fresh.check("pitool apply all")?;
        machine = Some(fresh);
        Ok(())
    });
    let Some(machine) = machine else { return };
    runner.case(&name("no unit of ours is more exposed than it has to be"), || exposures(&machine));
    runner.case(&name("the firewall of published ports starts in its sandbox"), || {
        machine.check("systemctl restart pitool-docker-firewall.service")?;
        machine.check(
            "iptables -w -S DOCKER-USER | grep -q -- '-j PITOOL-DOCKER$' && iptables -w -S PITOOL-DOCKER-REST | grep -q -- '-j DROP$'",
        )?;
        Ok(())
    });
    runner.case(&name("ssh-audit fails nothing but ECDSA host keys"), || audited(lab, &machine));
    for client in Suite::ALL {
        runner.case(&name(&format!("the ssh of {client} gets in with the ECDSA key alone")), || {
            let from = Machine::up(lab, client, &BoxOptions::named("client"))?;
            knows_by_ecdsa(&from, &machine)?;
            old_client(lab, &from, &machine, "")?;
            if client == Suite::Bookworm {
                bullseye(lab, &from, &machine)?;
                dropbear(lab, &from, &machine)?;
            }
            from.down()
        });
    }
    if suite == Suite::Trixie {
        runner.case(&name("lynis has no warning"), || lynis(&machine));
    }
    runner.case(&name("the box goes"), || machine.down());
}

fn exposures(machine: &Machine) -> Result<()> {
    for (unit, most) in EXPOSURES {
        let told = machine.check(&format!("systemd-analyze security --no-pager {unit} | tail -1"))?.stdout;
        let level = told.rsplit(": ").next().and_then(|rest| rest.split(' ').next());
        let level: f64 =
            level.and_then(|level| level.parse().ok()).with_context(|| format!("{unit}: {told}"))?;
        ensure!(level <= most, "{unit} is exposed by {level}, more than {most}");
    }
    Ok(())
}

/// ssh-audit, from PyPI, in an environment of its own on this host.
fn ssh_audit(lab: &Lab) -> Result<PathBuf> {
    let home = lab.cache().join("ssh-audit");
    let program = home.join("bin/ssh-audit");
    if !program.exists() {
        let run = |program: &Path, args: &[&str]| -> Result<()> {
            let status = Command::new(program).args(args).stdout(Stdio::null()).status()?;
            ensure!(status.success(), "{} {} ended with {status}", program.display(), args.join(" "));
            Ok(())
        };
        run(Path::new("python3"), &["-m", "venv", &home.display().to_string()])
            .context("ssh-audit needs python3-venv")?;
        run(&home.join("bin/python"), &["-m", "pip", "install", "--quiet", "ssh-audit==3.3.0"])?;
    }
    Ok(program)
}

fn audited(lab: &Lab, machine: &Machine) -> Result<()> {
    let program = ssh_audit(lab)?;
    // It connects more often than the firewall's limit and sshd's penalties let anybody.
    machine.check(&format!("ufw insert 1 allow from {} to any port 22", machine.gateway()))?;
    let output = Command::new(program)
        .args(["--json", "--skip-rate-test", &machine.ip().to_string()])
        .output()
        .context("starting ssh-audit")?;
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("ssh-audit: {}", String::from_utf8_lossy(&output.stdout)))?;
    let mut failed = Vec::new();
    for part in ["kex", "key", "enc", "mac"] {
        let algorithms = report[part].as_array().with_context(|| format!("no {part} in {report}"))?;
        ensure!(!algorithms.is_empty(), "no {part} in {report}");
        for algorithm in algorithms {
            let name = algorithm["algorithm"].as_str().unwrap_or_default();
            if algorithm["notes"]["fail"].as_array().is_some_and(|notes| !notes.is_empty()) {
                failed.push(format!("{part} {name}"));
            }
        }
    }
    ensure!(failed == ["key ecdsa-sha2-nistp256"], "ssh-audit fails {failed:?}");
    machine.check(&format!("ufw delete allow from {} to any port 22", machine.gateway()))?;
    Ok(())
}

/// Lets a client know the machine by its ECDSA key and by no other.
fn knows_by_ecdsa(client: &Machine, machine: &Machine) -> Result<()> {
    let key = machine.read_text("/etc/ssh/ssh_host_ecdsa_key.pub")?;
    client.check("install -d -m 700 /root/.ssh")?;
    client.write_file("/root/.ssh/known_hosts", format!("{} {key}", machine.ip()), 0o600)
}

fn old_client(lab: &Lab, client: &Machine, machine: &Machine, options: &str) -> Result<()> {
    let key = ssh_key(lab)?;
    client.copy_in(&key.private, "/root/.ssh/id_ed25519", 0o600)?;
    let ssh = format!(
        "ssh -oBatchMode=yes -oStrictHostKeyChecking=yes -oConnectTimeout=10 {options} pi@{} echo in",
        machine.ip()
    );
    let output = client.sh(&ssh)?;
    ensure!(output.stdout.trim() == "in", "`{ssh}`: {output}");
    Ok(())
}

/// OpenSSH 8.4, which Debian 11 has: what it offers by default (`ssh -G` there), where today's client still knows it.
fn bullseye(lab: &Lab, client: &Machine, machine: &Machine) -> Result<()> {
    old_client(
        lab,
        client,
        machine,
        "-oKexAlgorithms=curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521,\
         diffie-hellman-group-exchange-sha256,diffie-hellman-group16-sha512,diffie-hellman-group18-sha512,diffie-hellman-group14-sha256 \
         -oCiphers=chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr,aes128-gcm@openssh.com,aes256-gcm@openssh.com \
         -oMACs=umac-64-etm@openssh.com,umac-128-etm@openssh.com,hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,\
         hmac-sha1-etm@openssh.com,umac-64@openssh.com,umac-128@openssh.com,hmac-sha2-256,hmac-sha2-512,hmac-sha1",
    )
}

/// Dropbear's client, which routers and small images have.
fn dropbear(lab: &Lab, client: &Machine, machine: &Machine) -> Result<()> {
    client.check("apt-get -qq update")?;
    install(client, "dropbear-bin")?;
    client.copy_in(&ssh_key(lab)?.private, "/root/openssh_key", 0o600)?;
    client.check("dropbearconvert openssh dropbear /root/openssh_key /root/dropbear_key 2>&1")?;
    let output =
        client.sh(&format!("dbclient -y -i /root/dropbear_key pi@{} 'echo in' </dev/null", machine.ip()))?;
    ensure!(output.stdout.trim() == "in", "dbclient: {output}");
    Ok(())
}

fn lynis(machine: &Machine) -> Result<()> {
    // Without a source of security updates lynis warns of that alone.
    machine.check(
        "set -e; . /etc/os-release; f=/etc/apt/sources.list.d/debian.sources\n\
         uri=$(awk '/^URIs:/ {print $2; exit}' $f)\n\
         if ! grep -q -- '-security' $f; then\n\
         printf 'Types: deb\\nURIs: %s-security\\nSuites: %s-security\\nComponents: main\\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\\n' \"${uri%/}\" $VERSION_CODENAME > /etc/apt/sources.list.d/security.sources\n\
         fi; apt-get -qq update",
    )?;
    install(machine, "lynis")?;
    machine.check("apt-get -qq -y upgrade >/root/upgrade.log 2>&1")?;
    expect(machine, "lynis audit system --quick --no-colors --quiet >/root/lynis.txt 2>&1; true", 0)?;
    let report = machine.read_text("/var/log/lynis-report.dat")?;
    let all = |key: &str| -> Vec<String> {
        report.lines().filter_map(|line| line.strip_prefix(key)).map(str::to_owned).collect()
    };
    let index: u32 =
        all("hardening_index=").first().and_then(|text| text.parse().ok()).context("no index")?;
    println!("      lynis: index {index}, {} suggestions", all("suggestion[]=").len());
    for suggestion in all("suggestion[]=") {
        println!("      {suggestion}");
    }
    let warnings = all("warning[]=");
    ensure!(warnings.is_empty(), "lynis warns: {warnings:?}");
    // docs/security.md says of each why pitool does not follow it.
    let declined = include_str!("../../docs/security.md");
    let unexplained: Vec<String> = all("suggestion[]=")
        .into_iter()
        .filter(|suggestion| suggestion.split('|').next().is_none_or(|test| !declined.contains(test)))
        .collect();
    ensure!(unexplained.is_empty(), "docs/security.md has no word of {unexplained:#?}");
    if index < 70 {
        let points = machine.check(
            "grep -B2 'assigned partial' /var/log/lynis.log | grep -v '^--'; grep 'Currently having' /var/log/lynis.log | tail -1",
        )?;
        bail!("lynis: {index}\n{points}");
    }
    Ok(())
}
