//! Certificates on whole machines: Debian's pebble as the authority, nginx as it comes, everything by name and over TLS.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use pitool_testkit::machine::{BoxOptions, Lab, Machine, Output, Suite};
use pitool_testkit::suite::Runner;

use crate::{converged, expect, install, installed};

const CONFIG: &str = "/etc/pitool/pitool.toml";

/// The certificate of these cases, with the box's own authority.
const BASE: &str = "directory = \"https://localhost:14000/dir\"\nca_file = \"/srv/ca/ca.pem\"\n";

fn here() -> PathBuf {
    // Cargo runs tests in the folder of their crate.
    std::path::absolute("../../tests/machine/certificates").expect("a current directory")
}

/// Starts the authority anew, with these variables; it has forgotten everything.
fn authority(machine: &Machine, variables: &str) -> Result<()> {
    machine.check(&format!("{variables} /root/authority.sh {}", machine.ip()))?;
    Ok(())
}

fn configure(machine: &Machine, ssl: &str) -> Result<()> {
    machine.write_file(CONFIG, format!("[ssl]\n{BASE}{ssl}\n"), 0o644)
}

/// Forgets what failed, so that the next case begins with a clean slate.
fn forget(machine: &Machine) -> Result<()> {
    machine.check("rm -f /var/lib/pitool-acme/certificates/*/state.json /var/lib/pitool-acme/accounts/*; systemctl stop pitool-certificates-retry.timer 2>/dev/null; true")?;
    Ok(())
}

/// Reloads nginx and waits until its workers of before are gone.
fn reload(machine: &Machine) -> Result<()> {
    machine.check(
        "old=$(pgrep -P $(cat /run/nginx.pid)) && systemctl reload nginx && \
         for process in $old; do timeout 30 tail -f -s 0.1 --pid=$process /dev/null || exit 1; done",
    )?;
    Ok(())
}

/// The fingerprint of what is served under a name.
fn served(machine: &Machine, name: &str) -> Result<String> {
    let command = format!(
        "openssl s_client -connect 127.0.0.1:443 -servername {name} </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha256"
    );
    Ok(machine.check(&command)?.stdout)
}

/// What a command said, whatever lines it was broken into.
fn said(output: &Output) -> String {
    let text = format!("{} {}", output.stdout, output.stderr);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// How often the authority was asked for an order.
fn orders(machine: &Machine) -> Result<usize> {
    let log = machine.check("journalctl -u pebble --no-pager -o cat | grep -c 'POST /order-plz' || true")?;
    log.stdout.trim().parse().context("a number")
}

/// Puts records into the name server.
fn dns(machine: &Machine, action: &str, json: &str) -> Result<()> {
    machine.check(&format!("curl -s --fail -d '{json}' http://127.0.0.1:8055/{action}"))?;
    Ok(())
}

/// Puts an authority into a box.
fn prepared(machine: Machine) -> Result<Machine> {
    for script in ["authority.sh", "cuts.sh", "dns-hook.sh"] {
        machine.copy_in(&here().join(script), &format!("/root/{script}"), 0o755)?;
    }
    // Before every name leads to the box itself.
    install(&machine, "pebble wrk strace testssl.sh bsdextrautils openssl")?;
    authority(&machine, "")?;
    Ok(machine)
}

pub(crate) fn cases(runner: &mut Runner, lab: &Lab, suite: Suite, deb: &Path) {
    let name = |case: &str| format!("{suite}: certificates: {case}");
    let mut made = None;
    runner.case(&name("no domain: one line, and nothing is done"), || {
        let machine = prepared(converged(lab, suite, "cert", deb)?)?;
        let output = expect(&machine, "pitool apply ssl", 0)?;
        ensure!(said(&output).contains("[ssl] in the config names no domain"), "{output}");
        machine.check("test ! -e /var/lib/pitool-acme")?;
        expect(&machine, "pitool cert renew", 0)?;
        let run = machine.check("ls /var/lib/pitool/runs | tail -1 | sed 's/^0*//;s/.jsonl//'")?.stdout;
        made = Some((machine, run.trim().parse::<u32>()? + 1));
        Ok(())
    });
    let Some((machine, first_run)) = made else { return };

    runner.case(&name("apply ssl gives HTTPS with HTTP/2 and a good status"), || first(&machine));
    runner.case(&name("twice changes nothing and writes nothing"), || {
        expect(&machine, "pitool apply all", 0)?;
        let before = (orders(&machine)?, served(&machine, "pi.test")?);
        let again = machine.measured(["pitool", "apply", "all"])?;
        ensure!(
            again.output.status == 0 && again.output.stdout.contains("Nothing to change"),
            "{}",
            again.output
        );
        ensure!(again.trace.read_only() && again.trace.written_bytes() == 0, "it wrote: {:#?}", again.trace);
        expect(&machine, "pitool cert renew", 0)?;
        expect(&machine, "pitool apply ssl --verify", 0)?;
        ensure!(
            (orders(&machine)?, served(&machine, "pi.test")?) == before,
            "something was asked for or changed"
        );
        Ok(())
    });
    runner.case(&name("a web server may take its time to heed a reload"), || {
        configure(&machine, "")?;
        expect(&machine, "pitool apply app --prune", 0)?;
        machine.check(
            "for try in $(seq 50); do curl -sk https://pi.test/health || exit 0; sleep 0.1; done; exit 1",
        )?;
        configure(&machine, "domains = [\"pi.test\", \"www.pi.test\"]\nemail = \"admin@pi.test\"")?;
        machine.check(
            "master=$(cat /run/nginx.pid); kill -STOP $master; \
             setsid sh -c \"sleep 4; kill -CONT $master\" >/dev/null 2>&1 </dev/null &",
        )?;
        expect(&machine, "pitool apply app", 0)?;
        Ok(())
    });
    runner.case(&name("renewed means that nobody is shown the old one any more"), || handed_over(&machine));
    runner.case(&name("the timer's unit does its work within its sandbox"), || {
        let before = served(&machine, "pi.test")?;
        // As if the certificate were old: the store forgets that it is the CA's.
        machine.check(
            "sed -i 's/\"issued\"/\"placeholder\"/' /var/lib/pitool-acme/certificates/pi.test/current/about.json; \
             systemctl start pitool-certificates.service",
        )?;
        ensure!(served(&machine, "pi.test")? != before, "nothing was renewed");
        let timer = machine.check("systemctl show -p NextElapseUSecRealtime --value pitool-certificates.timer")?;
        ensure!(!timer.stdout.trim().is_empty(), "no next time");
        Ok(())
    });
    runner.case(&name("renewed under load without one failed request"), || load(&machine));
    runner.case(&name("a corrupted new key is refused, and the old certificate is served"), || {
        corrupted(&machine)
    });
    runner
        .case(&name("what the authority makes hard: nonces, reuse, an external account"), || hard(&machine));
    runner.case(&name("a wildcard by the DNS hook, also by delegation"), || wildcard(&machine));
    runner.case(&name("what cannot work is found here, and costs the authority nothing"), || {
        preflight(&machine)
    });
    runner.case(&name("a name that fails validation, and an authority that stalls"), || failures(&machine));
    runner.case(&name("another certificate is seen and told"), || status(&machine));
    runner.case(&name("killed at every step, nginx serves a pair that belongs together"), || {
        cuts(&machine, suite)
    });
    runner.case(&name("a scanner finds no weakness above low"), || scanned(&machine, suite));
    runner.case(&name("rollback takes HTTPS away and leaves the certificate"), || {
        configure(&machine, "domains = [\"pi.test\"]")?;
        expect(&machine, &format!("pitool rollback {first_run}"), 0)?;
        let left = machine.check(
            "ls /var/lib/pitool-acme/certificates/pi.test; ls /etc/systemd/system/pitool-cert* 2>&1; true",
        )?;
        ensure!(left.stdout.contains("current") && left.stdout.contains("No such"), "{left}");
        Ok(())
    });
    drop(machine);
    runner.case(&name("from certbot with one command"), || certbot(lab, suite, deb));
}

fn first(machine: &Machine) -> Result<()> {
    configure(machine, "domains = [\"pi.test\", \"www.pi.test\"]\nemail = \"admin@pi.test\"")?;
    expect(machine, "pitool apply ssl", 0)?;
    let curl = "curl -s --cacert /srv/ca/root.pem";
    for name in ["pi.test", "www.pi.test"] {
        let answer = machine.check(&format!(
            "{curl} -o /dev/null -w '%{{http_version}} %{{http_code}}' https://{name}/health"
        ))?;
        ensure!(answer.stdout == "2 200", "{name}: {answer}");
    }
    // Nested locations and errors have the headers too, and the redirect keeps the path.
    for path in ["/health", "/nothing/here"] {
        let headers = machine.check(&format!("{curl} -D - -o /dev/null https://pi.test{path}"))?.stdout;
        for header in ["strict-transport-security: max-age=15552000", "x-content-type-options: nosniff"] {
            ensure!(headers.contains(header), "{path} lacks {header}:\n{headers}");
        }
    }
    let moved =
        machine.check("curl -s -o /dev/null -w '%{http_code} %{redirect_url}' 'http://pi.test/a?b=c'")?;
    ensure!(moved.stdout == "301 https://pi.test/a?b=c", "{moved}");
    // A token is handed out for any name, also without a redirect; everything else of an unknown name is not.
    machine.check("echo yes > /var/lib/pitool-acme/challenges/.well-known/acme-challenge/probe")?;
    let token = machine.check("curl -s http://unknown.test/.well-known/acme-challenge/probe http://pi.test/.well-known/acme-challenge/probe")?;
    ensure!(token.stdout == "yes\nyes\n", "{token}");
    let unknown = machine.sh("curl -sk https://unknown.test/")?;
    ensure!(unknown.status == 35, "an unknown name is turned away: {unknown}");
    let status = expect(machine, "pitool cert status", 0)?;
    ensure!(status.stdout.contains("same") && status.stdout.contains("pi.test, www.pi.test"), "{status}");
    let json = expect(machine, "pitool cert status --json", 0)?.stdout;
    ensure!(json.contains("\"served\": \"same\"") && json.contains("\"source\": \"issued\""), "{json}");
    let health = machine.sh("pitool health --json")?.stdout;
    ensure!(health.contains("\"certificate\"") && health.contains("served: holds for"), "{health}");
    let keys = machine.check("stat -L -c '%a %U:%G' /etc/letsencrypt/live/pi.test/privkey.pem")?;
    ensure!(keys.stdout.trim() == "640 root:root", "{keys}");
    let other = expect(machine, "pitool cert status pi.test:443 localhost:14000", 10)?;
    ensure!(other.stdout.contains("clients do not trust it"), "its issuer is not among `ca_file`: {other}");
    Ok(())
}

fn load(machine: &Machine) -> Result<()> {
    let before = served(machine, "pi.test")?;
    let load =
        machine.spawn(["wrk", "-t1", "-c4", "-d12s", "-H", "Connection: close", "https://pi.test/health"])?;
    std::thread::sleep(std::time::Duration::from_secs(2));
    expect(machine, "pitool cert renew --force", 0)?;
    expect(machine, "pitool cert renew --force", 0)?;
    let result = load.wait(std::time::Duration::from_secs(60))?.stdout;
    ensure!(served(machine, "pi.test")? != before, "the same certificate is served");
    let requests =
        result.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse::<u32>().ok());
    ensure!(requests.is_some_and(|requests| requests >= 2000), "too few requests:\n{result}");
    ensure!(!result.contains("Socket errors") && !result.contains("Non-2xx"), "requests failed:\n{result}");
    println!("      {} requests through two renewals", requests.unwrap_or(0));
    Ok(())
}

/// Holds nginx's master where its old and its new workers both take connections: it sleeps 100 ms there, and two seconds
/// more with this. What is shown after the renewal is printed, each certificate once.
const HELD: &str = r#"
master=$(cat /run/nginx.pid)
strace -qq -o /root/held -p $master -e trace=clock_nanosleep -e inject=clock_nanosleep:delay_exit=2000000 &
tracer=$!
trap 'kill $tracer $crowd; wait' EXIT
until grep -q '^TracerPid:.*[1-9]' /proc/$master/status; do sleep 0.05; done
# A worker goes to the end of the row after some connections, so that all of them come up.
timeout 60 python3 -c '
import socket
while True:
    socket.create_connection(("127.0.0.1", 443)).close()
' &
crowd=$!
pitool cert renew --force >&2 || exit 1
for try in $(seq 40); do
    openssl s_client -connect 127.0.0.1:443 -servername pi.test </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha256
done | sort -u
kill $tracer
wait $tracer
grep -q DELAYED /root/held
"#;

fn handed_over(machine: &Machine) -> Result<()> {
    let shown = machine.check(HELD)?.stdout;
    ensure!(shown == served(machine, "pi.test")?, "more than one is served: {shown}");
    Ok(())
}

/// Puts the key that is live over the new one, the moment the new one is written; ends when it has.
const CORRUPT: &str = r#"
import os
top = "/var/lib/pitool-acme/certificates/pi.test/"
live = open(top + "current/privkey.pem").read()
known = set(os.listdir(top))
open("/run/watching", "w")
while True:
    for new in set(os.listdir(top)) - known:
        path = top + new + "/privkey.pem"
        if new.isdigit() and os.path.exists(path):
            # At once: half of it would be another error.
            with open("/root/other.pem", "w") as file:
                file.write(live)
            os.replace("/root/other.pem", path)
            raise SystemExit
"#;

fn corrupted(machine: &Machine) -> Result<()> {
    let before = served(machine, "pi.test")?;
    let other = machine.spawn(["timeout", "60", "python3", "-c", CORRUPT])?;
    machine.check("for try in $(seq 300); do test -e /run/watching && exit 0; sleep 0.1; done; exit 1")?;
    let refused = expect(machine, "pitool cert renew --force", 1)?;
    ensure!(said(&refused).contains("does not belong to the certificate"), "{refused}");
    let other = other.wait(std::time::Duration::from_secs(60))?;
    ensure!(other.ok(), "nothing was corrupted: {other}");
    ensure!(served(machine, "pi.test")? == before, "another certificate is served");
    machine.check("nginx -t && curl -sf --cacert /srv/ca/root.pem https://pi.test/health")?;
    expect(machine, "pitool cert issue", 0)?;
    expect(machine, "pitool cert renew --force", 0)?;
    ensure!(served(machine, "pi.test")? != before, "the failure stays");
    Ok(())
}

fn hard(machine: &Machine) -> Result<()> {
    for (variables, keys) in [
        ("PEBBLE_WFE_NONCEREJECT=15", ""),
        ("PEBBLE_AUTHZREUSE=100", ""),
        ("EAB=1", "eab_kid = \"kid-1\"\neab_hmac_file = \"/root/hmac\""),
    ] {
        authority(machine, variables)?;
        forget(machine)?;
        machine.write_file(
            "/root/hmac",
            "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W\n",
            0o600,
        )?;
        configure(machine, &format!("domains = [\"pi.test\", \"www.pi.test\"]\n{keys}"))?;
        for _ in 0..2 {
            // 15 % of all nonces: three in a row may still be refused, and then it is a failure like any other.
            let mut tries = (0..4).map(|_| machine.sh("pitool cert renew --force"));
            ensure!(tries.any(|output| output.is_ok_and(|output| output.status == 0)), "{variables}");
        }
    }
    // An external account is wanted and none is named.
    forget(machine)?;
    configure(machine, "domains = [\"pi.test\"]")?;
    let refused = expect(machine, "pitool cert renew --force", 1)?;
    ensure!(
        said(&refused).contains("externalAccountRequired") && said(&refused).contains("eab_kid"),
        "{refused}"
    );
    // A CA that has forgotten the account: one failure, then another account.
    authority(machine, "")?;
    forget(machine)?;
    configure(machine, "domains = [\"pi.test\", \"www.pi.test\"]\nkey_type = \"p384\"")?;
    expect(machine, "pitool cert renew --force", 0)?;
    authority(machine, "")?;
    expect(machine, "pitool cert renew --force", 1)?;
    expect(machine, "pitool cert issue", 0)?;
    configure(machine, "domains = [\"pi.test\", \"www.pi.test\"]\nkey_type = \"rsa2048\"")?;
    expect(machine, "pitool cert renew --force", 0)?;
    let kind =
        machine.check("openssl pkey -in /etc/letsencrypt/live/pi.test/privkey.pem -noout -text | head -1")?;
    ensure!(kind.stdout.contains("2048 bit"), "{kind}");
    Ok(())
}

fn wildcard(machine: &Machine) -> Result<()> {
    configure(
        machine,
        "domains = [\"pi.test\", \"*.pi.test\"]\nchallenge = \"dns-01\"\ndns_hook = [\"/root/dns-hook.sh\"]",
    )?;
    forget(machine)?;
    machine.check("rm -f /var/lib/dns-hook.log")?;
    expect(machine, "pitool cert issue", 0)?;
    let log = machine.read_text("/var/lib/dns-hook.log")?;
    ensure!(log.matches("present _acme-challenge.pi.test. pi.test").count() == 2, "{log}");
    ensure!(log.matches("cleanup _acme-challenge.pi.test. pi.test").count() == 2, "{log}");
    expect(machine, "pitool apply ssl", 0)?;
    let any = machine.check("curl -s --cacert /srv/ca/root.pem https://anything.pi.test/health")?;
    ensure!(any.stdout == "healthy\n", "{any}");
    dns(machine, "set-cname", r#"{"host":"_acme-challenge.pi.test","target":"pi.elsewhere.test"}"#)?;
    machine.check("rm -f /var/lib/dns-hook.log")?;
    expect(machine, "pitool cert renew --force", 0)?;
    let log = machine.read_text("/var/lib/dns-hook.log")?;
    ensure!(log.contains("present pi.elsewhere.test. pi.test"), "the delegation was not followed: {log}");
    dns(machine, "clear-cname", r#"{"host":"_acme-challenge.pi.test"}"#)?;
    Ok(())
}

fn preflight(machine: &Machine) -> Result<()> {
    configure(machine, "domains = [\"pi.test\", \"www.pi.test\"]")?;
    expect(machine, "pitool apply ssl", 0)?;
    forget(machine)?;
    expect(machine, "pitool cert renew --force", 0)?;
    let before = (orders(machine)?, served(machine, "pi.test")?);
    let refused = |words: &[&str]| -> Result<()> {
        let output = expect(machine, "pitool cert renew --force", 1).with_context(|| format!("{words:?}"))?;
        for word in words {
            ensure!(said(&output).contains(word), "{word} is not said: {output}");
        }
        Ok(())
    };
    // A stale AAAA.
    dns(machine, "add-aaaa", r#"{"host":"www.pi.test","addresses":["2001:db8::7"]}"#)?;
    refused(&["2001:db8::7 (AAAA), which is not this machine"])?;
    dns(machine, "clear-aaaa", r#"{"host":"www.pi.test"}"#)?;
    // Nobody may issue. (pebble has no name of its own in its directory; the mock of pitool-acme has.)
    dns(machine, "add-caa", r#"{"host":"pi.test","policies":[{"tag":"issue","value":";"}]}"#)?;
    refused(&["does not let this CA issue for pi.test"])?;
    dns(machine, "clear-caa", r#"{"host":"pi.test"}"#)?;
    dns(machine, "set-default-ipv4", r#"{"ip":""}"#)?;
    refused(&["pi.test has no address", "make an A record"])?;
    dns(machine, "set-default-ipv4", &format!(r#"{{"ip":"{}"}}"#, machine.ip()))?;
    machine.check("systemctl stop nginx")?;
    refused(&["nginx does not hand out the files", "nobody answers"])?;
    machine.check("systemctl start nginx")?;
    // A port 80 that somebody else has an answer for.
    machine.check(
        "mv /etc/nginx/snippets/pitool-acme.conf /root/ && touch /etc/nginx/snippets/pitool-acme.conf",
    )?;
    reload(machine)?;
    refused(&["nginx does not hand out the files"])?;
    machine.check("mv /root/pitool-acme.conf /etc/nginx/snippets/")?;
    reload(machine)?;
    machine.check("mount -t tmpfs -o size=16k tmpfs /var/lib/pitool-acme/challenges && mkdir -p /var/lib/pitool-acme/challenges/.well-known/acme-challenge && dd if=/dev/zero of=/var/lib/pitool-acme/challenges/full bs=1k 2>/dev/null; true")?;
    refused(&["nothing can be written", "No space left"])?;
    machine.check("umount /var/lib/pitool-acme/challenges")?;
    ensure!(
        (orders(machine)?, served(machine, "pi.test")?) == before,
        "the authority was asked, or something changed"
    );
    Ok(())
}

fn failures(machine: &Machine) -> Result<()> {
    forget(machine)?;
    authority(machine, "STAGING=1")?;
    configure(
        machine,
        "domains = [\"pi.test\", \"www.pi.test\"]\nrehearsal_directory = \"https://localhost:14001/dir\"",
    )?;
    // An address that nobody answers at says nothing to a machine behind a router; the authority finds it out.
    dns(machine, "add-a", r#"{"host":"www.pi.test","addresses":["192.0.2.1"]}"#)?;
    let failed = machine.sh_within("pitool cert renew --force", std::time::Duration::from_secs(120))?;
    ensure!(failed.status == 1, "{failed}");
    ensure!(
        said(&failed).contains("www.pi.test") && said(&failed).contains("acme:error:"),
        "shown whole: {failed}"
    );
    let state = machine.read_text("/var/lib/pitool-acme/certificates/pi.test/state.json")?;
    ensure!(state.contains("\"count\": 1") && state.contains("\"next_try\""), "{state}");
    let retry = machine.check("systemctl list-timers --all --no-pager | grep pitool-certificates-retry")?;
    ensure!(!retry.stdout.is_empty());
    // The sites go on, the timer waits, and status tells.
    expect(machine, "pitool cert renew", 0)?;
    let status = expect(machine, "pitool cert status", 0)?;
    ensure!(status.stdout.contains("last error"), "{status}");
    // The next try is rehearsed first, and the rehearsal fails where it cannot cost anything.
    let before = orders(machine)?;
    let rehearsed = machine.sh_within("pitool cert renew --force", std::time::Duration::from_secs(120))?;
    ensure!(said(&rehearsed).contains("the rehearsal failed too"), "{rehearsed}");
    ensure!(orders(machine)? == before, "the authority itself was asked");
    dns(machine, "clear-a", r#"{"host":"www.pi.test"}"#)?;
    expect(machine, "pitool cert issue", 0)?;
    expect(machine, "pitool cert renew --force", 0)?;
    machine.check("systemctl kill -s STOP pebble")?;
    let stalled = machine.sh_within("pitool cert renew --force", std::time::Duration::from_secs(90))?;
    machine.check("systemctl kill -s CONT pebble")?;
    ensure!(stalled.status == 1 && said(&stalled).contains("did not answer in time"), "{stalled}");
    // A CA that says no leaves a machine that works: apply ends well and says what failed.
    forget(machine)?;
    configure(machine, "domains = [\"new.test\"]")?;
    machine.check("systemctl stop pebble")?;
    let applied = expect(machine, "pitool apply ssl", 0)?;
    ensure!(
        said(&applied).contains("there is no certificate yet") && said(&applied).contains("cannot reach"),
        "{applied}"
    );
    let placeholder = machine.check("curl -sk https://new.test/health")?;
    ensure!(placeholder.stdout == "healthy\n", "the placeholder serves: {placeholder}");
    expect(machine, "pitool cert status", 10)?;
    authority(machine, "")?;
    forget(machine)?;
    expect(machine, "pitool cert issue", 0)?;
    let swapped = machine.check("curl -s --cacert /srv/ca/root.pem https://new.test/health")?;
    ensure!(swapped.stdout == "healthy\n", "{swapped}");
    configure(machine, "domains = [\"pi.test\", \"www.pi.test\"]")?;
    expect(machine, "pitool apply ssl", 0)?;
    expect(machine, "pitool cert renew --force", 0)?;
    Ok(())
}

/// What is on the disk and what is served are two things.
fn status(machine: &Machine) -> Result<()> {
    let live = "/var/lib/pitool-acme/certificates/pi.test";
    // Somebody flips the link and forgets the reload.
    machine.check(&format!("cd {live}; ln -sfn $(ls -d 0* | tail -2 | head -1) current"))?;
    let seen = expect(machine, "pitool cert status", 10)?;
    ensure!(said(&seen).contains("another certificate is served"), "{seen}");
    let promise = expect(machine, "pitool apply ssl --verify", 1)?;
    ensure!(promise.stdout.contains("NOT IN FORCE"), "{promise}");
    expect(machine, "pitool cert renew", 0)?;
    expect(machine, "pitool cert status", 0)?;
    expect(machine, "pitool cert renew --force", 0)?;
    // A key that was damaged: what runs goes on, and a new certificate is got.
    let before = served(machine, "pi.test")?;
    machine.check(&format!("sed -i '2s/./X/5' {live}/current/privkey.pem"))?;
    let damaged = expect(machine, "pitool cert status", 10)?;
    ensure!(said(&damaged).contains("cannot be used"), "{damaged}");
    ensure!(served(machine, "pi.test")? == before);
    machine.check("curl -s --fail --cacert /srv/ca/root.pem https://pi.test/health")?;
    expect(machine, "pitool cert renew", 0)?;
    expect(machine, "pitool cert status", 0)?;
    ensure!(served(machine, "pi.test")? != before);
    Ok(())
}

fn cuts(machine: &Machine, suite: Suite) -> Result<()> {
    // Every one on one release; on the other those that change the disk.
    let (calls, least) = match suite {
        Suite::Trixie => ("renameat fsync unlinkat mkdirat symlinkat connect bind clone3 clone", 100),
        Suite::Bookworm => ("renameat fsync", 30),
    };
    let output = machine.sh_within(&format!("/root/cuts.sh {calls}"), std::time::Duration::from_secs(900))?;
    let kills: u32 = output
        .stdout
        .lines()
        .last()
        .and_then(|line| line.parse().ok())
        .with_context(|| output.to_string())?;
    ensure!(kills >= least, "only {kills} kills: {output}");
    println!("      killed {kills} times");
    Ok(())
}

/// What testssl.sh says of the site, kept beside this file. `UPDATE=1` writes it anew.
///
/// On a busy machine one of its hundreds of handshakes may come too late, and that one answer is another one, or a weakness. So it
/// scans up to four times, and each answer has to be the wanted one in one of the scans.
fn scanned(machine: &Machine, suite: Suite) -> Result<()> {
    let golden = here().join(format!("testssl-{suite}.txt"));
    if std::env::var_os("UPDATE").is_some() {
        let answers = scan(machine)?;
        weaknesses(&answers)?;
        fs::write(
            &golden,
            answers.iter().map(|(id, answer)| format!("{id}: {answer}\n")).collect::<String>(),
        )?;
    }
    let wanted: BTreeMap<String, String> = fs::read_to_string(&golden)
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(id, answer)| (id.to_owned(), answer.to_owned()))
        .collect();
    ensure!(wanted.len() > 30, "{} has next to nothing", golden.display());
    let mut open: Option<BTreeMap<String, String>> = None;
    for _ in 0..4 {
        let answers = scan(machine)?;
        let names: BTreeSet<&String> = wanted.keys().chain(answers.keys()).collect();
        let other = names.into_iter().filter(|id| wanted.get(*id) != answers.get(*id)).map(|id| {
            let of =
                |answers: &BTreeMap<String, String>| answers.get(id).cloned().unwrap_or("nothing".into());
            (id.clone(), format!("{}, not {}", of(&answers), of(&wanted)))
        });
        let other: BTreeMap<_, _> = other.collect();
        // What was right once is settled.
        let left = match open.take() {
            Some(before) => other.into_iter().filter(|(id, _)| before.contains_key(id)).collect(),
            None => other,
        };
        if left.is_empty() {
            return weaknesses(&wanted);
        }
        open = Some(left);
    }
    bail!("the scanner's answers differ from {}: {open:#?}", golden.display())
}

/// Fails on an answer that is a weakness above low.
fn weaknesses(answers: &BTreeMap<String, String>) -> Result<()> {
    let severities = ["MEDIUM", "HIGH", "CRITICAL", "FATAL"];
    let bad: Vec<_> = answers
        .iter()
        .filter(|(_, answer)| severities.iter().any(|severity| answer.starts_with(severity)))
        .collect();
    ensure!(bad.is_empty(), "{bad:#?}");
    Ok(())
}

/// What the scanner finds of the site and its server: each question by its name, with the severity and the text of the answer.
fn scan(machine: &Machine) -> Result<BTreeMap<String, String>> {
    let scan = "rm -f /root/scan.json; testssl --quiet --color 0 --warnings off --add-ca /srv/ca/root.pem --jsonfile /root/scan.json \
                --ip one -p -s -f -S -h -U https://pi.test/ >/root/scan.txt 2>&1; cat /root/scan.json";
    let json = machine.sh_within(scan, std::time::Duration::from_secs(500))?.stdout;
    let findings: Vec<Finding> = serde_json::from_str(&json).with_context(|| json.clone())?;
    // What the box's own authority is, says nothing of the site: it is unknown (and so is its
    // grade), has no CRL, and its certificates are young.
    let of_authority = [
        "cert_",
        "DNS_CAArecord",
        "intermediate_cert",
        "scanTime",
        "engine_problem",
        "clientProblem",
        "overall_grade",
        "grade_cap_reason",
        // Other from one scan to the next.
        "HTTP_headerTime",
        "HTTP_clock_skew",
        "sessionresumption",
    ];
    // Scores depend on the authority, too.
    let ours = |finding: &&Finding| {
        finding.id != "cert"
            && !finding.id.contains("score")
            && !of_authority.iter().any(|id| finding.id.starts_with(id))
    };
    let answers: BTreeMap<String, String> = findings
        .iter()
        .filter(ours)
        .map(|finding| (finding.id.clone(), format!("{} {}", finding.severity, finding.finding.trim())))
        .collect();
    ensure!(answers.len() > 30, "the scan saw next to nothing: {answers:#?}");
    Ok(answers)
}

#[derive(serde::Deserialize)]
struct Finding {
    id: String,
    severity: String,
    finding: String,
}

fn certbot(lab: &Lab, suite: Suite, deb: &Path) -> Result<()> {
    let machine = prepared(installed(lab, suite, &BoxOptions::named("certbot"), deb)?)?;
    install(&machine, "certbot nginx")?;
    machine.check("systemctl disable --now certbot.timer 2>/dev/null; mkdir -p /var/www/html")?;
    machine.check(
        "REQUESTS_CA_BUNDLE=/srv/ca/ca.pem certbot certonly -n --agree-tos -m admin@pi.test --webroot -w /var/www/html \
         --server https://localhost:14000/dir -d pi.test -d www.pi.test --key-type ecdsa",
    )?;
    // A site of the person's own, as certbot's documentation has it.
    machine.write_file(
        "/etc/nginx/sites-enabled/mine",
        "server { listen 443 ssl; server_name pi.test; ssl_certificate /etc/letsencrypt/live/pi.test/fullchain.pem;\n\
         ssl_certificate_key /etc/letsencrypt/live/pi.test/privkey.pem; root /var/www/html; }\n",
        0o644,
    )?;
    reload(&machine)?;
    let (before, asked) = (served(&machine, "pi.test")?, orders(&machine)?);
    machine.write_file(CONFIG, "[ssl]\nca_file = \"/srv/ca/ca.pem\"\n", 0o644)?;
    let imported = expect(&machine, "pitool cert import", 0)?;
    ensure!(said(&imported).contains("the account is taken over"), "{imported}");
    ensure!(
        (served(&machine, "pi.test")?, orders(&machine)?) == (before.clone(), asked),
        "something was asked for"
    );
    let again = expect(&machine, "pitool cert import", 3)?;
    ensure!(said(&again).contains("no certificate"), "certbot has nothing left: {again}");
    let certbots = machine.check("certbot certificates 2>&1")?;
    ensure!(certbots.stdout.contains("No certificates found"), "{certbots}");
    let listed = expect(&machine, "pitool cert list", 0)?;
    ensure!(listed.stdout.contains("certbot"), "{listed}");
    // The sites of the role come beside it, the certificate stays, and renewing works with the account that was certbot's.
    machine.check("rm /etc/nginx/sites-enabled/mine")?;
    expect(&machine, "pitool apply ssl", 0)?;
    ensure!(
        (served(&machine, "pi.test")?, orders(&machine)?) == (before.clone(), asked),
        "it was issued anew"
    );
    expect(&machine, "pitool cert status", 0)?;
    expect(&machine, "pitool cert renew --force", 0)?;
    ensure!(served(&machine, "pi.test")? != before);
    let accounts = machine.check(
        "journalctl -u pebble --no-pager -o cat | grep -c 'There are now .* accounts in memory' || true",
    )?;
    ensure!(accounts.stdout.trim() == "1", "another account was made: {accounts}");
    Ok(())
}
