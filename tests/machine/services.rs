//! What ran before a run runs afterwards: containers, sites and their certificates, and what the package leaves.

use std::path::Path;

use anyhow::{Result, ensure};
use pitool_testkit::machine::{BoxOptions, Lab, Machine, Output, Suite};
use pitool_testkit::suite::Runner;

use crate::{expect, install, installed};

const CONFIG: &str = "/etc/pitool/pitool.toml";

pub(crate) fn cases(runner: &mut Runner, lab: &Lab, suite: Suite, deb: &Path) {
    let name = |case: &str| format!("{suite}: services: {case}");
    let mut booted = None;
    runner.case(&name("a box with a Docker that somebody set up"), || {
        let machine = installed(lab, suite, &BoxOptions::named("services"), deb)?;
        docker_by_hand(&machine, suite)?;
        booted = Some(machine);
        Ok(())
    });
    if let Some(machine) = booted {
        if suite == Suite::Bookworm {
            runner.case(&name("a restart that removes a container waits (K3.1)"), || waits(&machine));
        }
        runner.case(&name("containers run on through apply, rollback and a failed apply"), || {
            containers(&machine, suite)
        });
        runner.case(&name("a container that does not come back is named"), || lost(&machine));
        runner.case(&name("removing the package stops what needs it, and installing it starts it"), || {
            package(&machine)
        });
    }
    runner
        .case(&name("a certificate that is there is taken over, and plain HTTP goes on without one"), || {
            certificates(lab, suite, deb)
        });
}

/// A container of each restart policy from an image without a registry, and settings without live-restore.
fn docker_by_hand(machine: &Machine, suite: Suite) -> Result<()> {
    let client = if suite == Suite::Bookworm { "" } else { "docker-cli" };
    install(machine, &format!("docker.io {client} iptables busybox-static"))?;
    machine.check(
        "mkdir -p /root/image/bin && cp /bin/busybox /root/image/bin/sleep && tar -C /root/image -c . | docker import - local:1",
    )?;
    machine.write_file("/etc/docker/daemon.json", "{\n  \"dns\": [\n    \"192.0.2.1\"\n  ]\n}\n", 0o644)?;
    machine.check("systemctl restart docker")?;
    for options in ["--restart unless-stopped", "--restart always", "--restart no", "--rm"] {
        let name = options.rsplit(['-', ' ']).next().unwrap_or_default();
        machine.check(&format!("docker run -d --name {name} {options} local:1 /bin/sleep 100000"))?;
    }
    machine.write_file(CONFIG, "[docker]\nsource = \"debian\"\n", 0o644)
}

/// Whether the output says this, wherever its lines end.
fn says(output: &Output, words: &str) -> bool {
    output.stdout.split_whitespace().collect::<Vec<_>>().join(" ").contains(words)
}

/// The running containers with their ids, process numbers and starts.
fn running(machine: &Machine) -> Result<String> {
    let list = "docker inspect --format '{{.Name}} {{.Id}} {{.State.Pid}} {{.State.StartedAt}}' $(docker ps --quiet) | sort";
    Ok(machine.check(list)?.stdout)
}

/// Whether the running dockerd leaves its containers running when it stops.
fn live_restore(machine: &Machine) -> Result<bool> {
    let info = machine.check("docker info --format '{{.LiveRestoreEnabled}}'")?;
    Ok(info.stdout.trim() == "true")
}

/// Docker 20.10 removes a container with `--rm` whenever it starts, with live-restore, too.
fn waits(machine: &Machine) -> Result<()> {
    let before = running(machine)?;
    let held = "removes rm for good";
    let planned = expect(machine, "pitool plan docker", 2)?;
    ensure!(says(&planned, held), "{planned}");
    let applied = machine.sh("pitool apply docker")?;
    ensure!(says(&applied, held), "{applied}");
    ensure!(running(machine)? == before, "{before}\n{applied}");
    machine.check("docker rm -f rm")?;
    let before = running(machine)?;
    expect(machine, "pitool apply docker", 0)?;
    ensure!(running(machine)? == before, "{before}");
    expect(machine, "pitool rollback", 0)?;
    expect(machine, "pitool rollback", 0)?;
    Ok(())
}

/// K3.1, and K3.7: all of it within a minute or two, against Docker's three starts a minute.
fn containers(machine: &Machine, suite: Suite) -> Result<()> {
    let before = running(machine)?;
    let settings = machine.check("cat /etc/docker/daemon.json")?.stdout;
    let all = if suite == Suite::Bookworm { 3 } else { 4 };
    ensure!(before.lines().count() == all, "{before}");
    let unbroken = |when: &str| -> Result<()> {
        let now = running(machine)?;
        ensure!(now == before, "{when}:\n{before}\nbecame\n{now}");
        Ok(())
    };
    let as_it_was = |when: &str| -> Result<()> {
        unbroken(when)?;
        ensure!(machine.check("cat /etc/docker/daemon.json")?.stdout == settings, "{when}");
        ensure!(!live_restore(machine)?, "{when}: dockerd does not run with what its file says");
        Ok(())
    };
    for round in ["first", "second"] {
        let applied = expect(machine, "pitool apply docker --verbose", 0)?;
        ensure!(applied.stdout.contains("containers that ran before run"), "nobody asked: {applied}");
        unbroken(&format!("after the {round} apply"))?;
        ensure!(live_restore(machine)?);
        let back = expect(machine, "pitool rollback", 0)?;
        ensure!(back.stdout.contains("1 promise checked, in force"), "nobody asked: {back}");
        as_it_was(&format!("after the {round} rollback"))?;
    }
    // Fails after Docker was restarted: the monitor comes later.
    machine.check("mkdir -p /etc/systemd/system/pitool-monitor.service.d")?;
    let block = "[Service]\nExecStartPre=/bin/false\n";
    machine.write_file("/etc/systemd/system/pitool-monitor.service.d/block.conf", block, 0o644)?;
    let failed = expect(machine, "pitool apply docker monitoring", 4)?;
    ensure!(failed.stdout.contains("1 promise checked, in force"), "nobody asked: {failed}");
    as_it_was("after an apply that failed")?;
    machine.check("rm -r /etc/systemd/system/pitool-monitor.service.d && systemctl daemon-reload")?;
    expect(machine, "pitool apply all", 0)?;
    unbroken("after apply all")
}

/// Containers that a restart would remove for good, and one that is removed nevertheless.
fn lost(machine: &Machine) -> Result<()> {
    // dockerd takes no live-restore in swarm mode, so its containers stop with it.
    machine.write_file(CONFIG, "[docker]\nsource = \"debian\"\nlive_restore = false\n", 0o644)?;
    expect(machine, "pitool apply docker", 0)?;
    machine.check("docker rm -f rm; docker run -d --name rm --rm local:1 /bin/sleep 100000")?;
    machine.check("docker swarm init --advertise-addr 127.0.0.1 >/dev/null")?;
    machine.write_file(
        CONFIG,
        "[docker]\nsource = \"debian\"\nlive_restore = false\nlog_max_files = 5\n",
        0o644,
    )?;
    let before = running(machine)?;
    let output = machine.sh("pitool apply docker")?;
    ensure!(says(&output, "removes rm for good"), "{output}");
    ensure!(running(machine)? == before, "{before}\n{output}");
    // What somebody's own unit does with a container while Docker starts again is seen afterwards.
    machine.check("docker rm -f rm && mkdir -p /etc/systemd/system/docker.service.d")?;
    let hook = "[Service]\nExecStartPost=-/bin/sh -c 'sleep 1; docker rm -f no'\n";
    machine.write_file("/etc/systemd/system/docker.service.d/hook.conf", hook, 0o644)?;
    machine.check("systemctl daemon-reload")?;
    let output = expect(machine, "pitool apply docker", 1)?;
    ensure!(output.stdout.contains("no (removed)"), "{output}");
    let now = running(machine)?;
    for name in ["/stopped ", "/always "] {
        ensure!(now.contains(name), "{name} was not started again:\n{now}\n{output}");
    }
    machine.check("rm -r /etc/systemd/system/docker.service.d && systemctl daemon-reload")?;
    Ok(())
}

/// K3.8.
fn package(machine: &Machine) -> Result<()> {
    machine.write_file(
        CONFIG,
        "[backup.sets.machine]\npaths = [\"/etc\"]\n[docker]\nenabled = false\n",
        0o644,
    )?;
    expect(machine, "pitool apply monitoring backup", 0)?;
    let units = "pitool-monitor.service pitool-backup-machine.timer";
    machine.check(&format!("systemctl is-active {units}"))?;
    let removed = machine.check("apt-get -y remove pitool")?;
    ensure!(removed.stdout.contains("these stop with the package: backups, "), "{removed}");
    ensure!(removed.stdout.contains("apt install pitool"), "{removed}");
    let left =
        machine.sh(&format!("systemctl is-active {units}; systemctl is-enabled {units}; pgrep -x pitool"))?;
    ensure!(
        left.stdout.split_whitespace().eq(["inactive", "inactive", "disabled", "disabled"]),
        "something runs or is to run without its program: {left}"
    );
    machine.check("apt-get -y install /root/pitool.deb")?;
    machine.check(&format!("systemctl is-active {units} && systemctl is-enabled {units}"))?;
    expect(machine, "pitool plan monitoring backup", 0)?;
    machine.check(
        "apt-get -y install --reinstall /root/pitool.deb && systemctl is-active pitool-monitor.service",
    )?;
    machine.check("apt-get -y purge pitool")?;
    let left = machine.sh("pgrep -x pitool; systemctl is-active pitool-monitor.service")?;
    ensure!(left.stdout.trim() == "inactive", "{left}");
    Ok(())
}

/// An authority of this box with a certificate for pi.test, as certbot would have left it.
const CERTBOT: &str = r#"set -e
mkdir -p /srv/ca /etc/letsencrypt/live/pi.test /etc/letsencrypt/renewal
cd /srv/ca
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=test authority" -keyout ca.key -out ca.pem 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=pi.test" -keyout pi.key -out pi.csr 2>/dev/null
printf 'subjectAltName=DNS:pi.test\n' > pi.ext
openssl x509 -req -in pi.csr -CA ca.pem -CAkey ca.key -days 60 -extfile pi.ext -out pi.pem 2>/dev/null
cat pi.pem ca.pem > fullchain.pem"#;

/// K3.4, K1.11: no authority answers.
fn certificates(lab: &Lab, suite: Suite, deb: &Path) -> Result<()> {
    let machine = installed(lab, suite, &BoxOptions::named("sites"), deb)?;
    install(&machine, "openssl nginx curl")?;
    machine.check(CERTBOT)?;
    machine.check("systemctl reset-failed; mkdir -p /opt/notes/releases/1/public; ln -s releases/1 /opt/notes/current; echo a page > /opt/notes/releases/1/public/index.html")?;
    machine.write_file(
        CONFIG,
        "[ssl]\ndomains = [\"pi.test\", \"www.pi.test\"]\ndirectory = \"https://127.0.0.1:9/dir\"\nhsts = true\n\
         [apps.notes]\nserver_name = [\"pi.test\", \"www.pi.test\"]\nupstream = false\nroot = \"/opt/notes/current/public\"\n",
        0o644,
    )?;
    let get = |options: &str, url: &str| -> Result<String> {
        let command = format!(
            "curl -s -k -D - {options} --resolve '*:80:127.0.0.1' --resolve '*:443:127.0.0.1' '{url}' | tr -d '\\r'"
        );
        Ok(machine.check(&command)?.stdout)
    };
    let sites = || -> Result<String> {
        Ok(machine
            .check(
                "cat /etc/nginx/sites-enabled/* /etc/nginx/snippets/pitool-* /etc/nginx/conf.d/* | sha256sum",
            )?
            .stdout)
    };
    // No certificate and no authority: plain HTTP serves the site, and nothing says otherwise.
    expect(&machine, "pitool apply app ssl", 0)?;
    machine.check("chown -R appuser: /opt/notes/releases/1")?;
    let plain = get("", "http://pi.test/")?;
    ensure!(plain.starts_with("HTTP/1.1 200") && plain.contains("a page"), "{plain}");
    let encrypted = get("", "https://pi.test/")?;
    ensure!(encrypted.contains("a page"), "{encrypted}");
    ensure!(!encrypted.to_lowercase().contains("strict-transport-security"), "{encrypted}");
    let status = machine.sh("pitool cert status")?;
    ensure!(status.status == 10 && status.stdout.contains("plain HTTP"), "{status}");

    // Links: the app's own lead where the app could look itself, and nowhere else.
    machine.check(
        "printf 'pitool:secret\\n' > /etc/nginx/secret && chown root:www-data /etc/nginx/secret && chmod 640 /etc/nginx/secret && \
         cd /opt/notes/releases/1/public && echo mine > ../own && chown appuser: ../own && \
         su -s /bin/sh appuser -c 'ln -s /etc/nginx/secret secret; ln -s ../own own; ln -s /etc/nginx below'",
    )?;
    ensure!(get("", "http://pi.test/own")?.contains("mine"));
    for path in ["secret", "below/secret"] {
        let answer = get("", &format!("http://pi.test/{path}"))?;
        ensure!(!answer.contains("pitool:") && answer.contains("a page"), "{path}: {answer}");
    }

    // certbot's certificate comes: the next apply moves over, and no file of nginx's changes for it.
    let before = sites()?;
    machine.check(
        "cp /srv/ca/fullchain.pem /etc/letsencrypt/live/pi.test/fullchain.pem; cp /srv/ca/pi.key /etc/letsencrypt/live/pi.test/privkey.pem; \
         cp /srv/ca/pi.pem /etc/letsencrypt/live/pi.test/cert.pem; cp /srv/ca/ca.pem /etc/letsencrypt/live/pi.test/chain.pem; \
         printf '[renewalparams]\\nserver = https://127.0.0.1:9/dir\\nauthenticator = webroot\\n' > /etc/letsencrypt/renewal/pi.test.conf",
    )?;
    let plan = expect(&machine, "pitool plan ssl", 2)?;
    ensure!(plan.stdout.contains("/etc/letsencrypt/live/pi.test/fullchain.pem"), "{plan}");
    expect(&machine, "pitool apply ssl", 0)?;
    expect(&machine, "pitool plan app ssl", 0)?;
    ensure!(sites()? == before, "the sites changed");
    let moved = get("", "http://pi.test/own?a=b")?;
    ensure!(
        moved.starts_with("HTTP/1.1 301") && moved.contains("ocation: https://pi.test/own?a=b"),
        "{moved}"
    );
    let trusted = machine
        .check("curl -s -D - --cacert /srv/ca/ca.pem --resolve pi.test:443:127.0.0.1 https://pi.test/own")?;
    ensure!(trusted.stdout.contains("mine"), "{trusted}");
    ensure!(trusted.stdout.to_lowercase().contains("strict-transport-security"), "{trusted}");
    // The other name has no certificate yet: it goes on over plain HTTP.
    let other = get("", "http://www.pi.test/own")?;
    ensure!(other.starts_with("HTTP/1.1 200"), "{other}");
    // A token of the authority is found whatever the name has.
    machine.check("echo yes > /var/lib/pitool-acme/challenges/.well-known/acme-challenge/probe")?;
    ensure!(get("", "http://pi.test/.well-known/acme-challenge/probe")?.ends_with("yes\n"));
    // Going back leaves certbot's files and the copy.
    let theirs = machine.check("sha256sum /etc/letsencrypt/live/pi.test/*")?.stdout;
    expect(&machine, "pitool rollback 1", 0)?;
    ensure!(machine.check("sha256sum /etc/letsencrypt/live/pi.test/*")?.stdout == theirs);
    // Forwards again: the certificate is there from the first moment.
    expect(&machine, "pitool apply app ssl", 0)?;
    ensure!(get("", "http://pi.test/")?.starts_with("HTTP/1.1 301"));
    Ok(())
}
