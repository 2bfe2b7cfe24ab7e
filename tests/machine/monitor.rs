//! The monitor on whole machines: health, metrics beside a real node_exporter, alerts at a receiver, bad clients, bad days.

mod golden;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use pitool_testkit::machine::{Lab, Machine, Suite};
use pitool_testkit::suite::Runner;

use crate::{converged, expect, install};

/// Quick, so that a test need not wait; and the load of the machine that the box runs on is not the box's.
const CONFIG: &str = r#"
[monitoring.service]
interval = "2s"
[monitoring.page]
enabled = true
[monitoring.limits]
cpu_warn = 255
load_warn = 255
[monitoring.alerts]
wait = "3s"
repeat = "1h"
[monitoring.alerts.webhook]
url = "http://127.0.0.1:9999/alerts"
[monitoring.pings]
heartbeat = "5s"
heartbeat_file = "/etc/pitool/ping-url"
"#;

/// A receiver of alerts and pings in the box: one line for each request; while /root/refuse is there it answers 500.
const RECEIVER: &str = r#"
import http.server, os
class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        bad = os.path.exists("/root/refuse")
        if not bad:
            with open("/root/received", "a") as file:
                file.write(self.path + " " + body.replace("\n", " ") + "\n")
        self.send_response(500 if bad else 200)
        self.end_headers()
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", 9999), Receiver).serve_forever()
"#;

/// The receiver survives a reboot, as a service elsewhere would.
const RECEIVER_UNIT: &str = "[Service]\nExecStart=/usr/bin/python3 /root/receiver.py\nRestart=always\n[Install]\nWantedBy=multi-user.target\n";

pub(crate) fn cases(runner: &mut Runner, lab: &Lab, suite: Suite, deb: &Path) {
    let name = |case: &str| format!("{suite}: monitor: {case}");
    let mut machine = None;
    runner.case(&name("after apply all, health is ok and nothing is unknown"), || {
        let fresh = converged(lab, suite, "watched", deb)?;
        fresh.write_file("/etc/pitool/pitool.toml", CONFIG, 0o644)?;
        fresh.write_file("/etc/pitool/ping-url", "http://127.0.0.1:9999/ping/secret-id\n", 0o600)?;
        fresh.write_file("/root/receiver.py", RECEIVER, 0o644)?;
        fresh.write_file("/etc/systemd/system/receiver.service", RECEIVER_UNIT, 0o644)?;
        fresh.check("systemctl enable --now receiver.service")?;
        expect(&fresh, "pitool apply all", 0)?;
        healthy(&fresh)?;
        let health = expect(&fresh, "pitool health --json", 0)?.stdout;
        ensure!(health.contains("the first one is not due"), "nothing was ever saved: {health}");
        expect(&fresh, "pitool backup run", 0)?;
        wait(
            &fresh,
            "curl -s 127.0.0.1:9101/metrics | grep -q '^pitool_backup_last_success_timestamp_seconds{set=\"machine\"}'",
        )?;
        machine = Some(fresh);
        Ok(())
    });
    let Some(mut machine) = machine else { return };
    runner.case(&name("health is quick, and the unit is hardened"), || {
        let quickest = (0..5)
            .map(|_| machine.sh("pitool health --json").map(|output| output.duration))
            .collect::<Result<Vec<_>>>()?;
        // The way into the box is part of it; the bench measures it alone.
        ensure!(quickest.iter().min() < Some(&Duration::from_millis(600)), "{quickest:?}");
        let exposure = machine.check("systemd-analyze security pitool-monitor --no-pager | tail -1")?.stdout;
        let level =
            exposure.split(": ").nth(1).and_then(|rest| rest.split(' ').next()).context("no level")?;
        ensure!(level.parse::<f64>()? < 3.0, "{exposure}");
        Ok(())
    });
    runner.case(&name("metrics are node_exporter's, and sound"), || golden::compare(&machine, suite));
    runner.case(&name("a Prometheus scrapes it and evaluates the rules"), || prometheus(&machine));
    runner.case(&name("nginx is stopped: told, and its all-clear"), || {
        told_and_cleared(&machine, "systemctl stop nginx", "systemctl start nginx", "service[nginx]")
    });
    runner.case(&name("a disk fills: told, and its all-clear"), || {
        install(&machine, "e2fsprogs")?;
        // Loop devices are the host's: a free one is asked for, and its node made, which a box has not.
        machine.check(
            "test -e /dev/loop-control || mknod /dev/loop-control c 10 237; truncate -s 64M /root/disk && mkfs.ext4 -qF /root/disk && loop=$(losetup -f | cut -d' ' -f1) && \
            { test -e $loop || mknod $loop b 7 ${loop#/dev/loop}; } && losetup $loop /root/disk && \
            mkdir -p /mnt/small && mount $loop /mnt/small",
        )?;
        let result = told_and_cleared(
            &machine,
            "dd if=/dev/zero of=/mnt/small/x bs=1M >/dev/null 2>&1; true",
            "rm /mnt/small/x",
            "disk[/mnt/small]",
        );
        let read_only = result.and_then(|()| {
            machine.check("mount -o remount,ro /mnt/small")?;
            let told = machine.sh("pitool health --json")?.stdout;
            ensure!(told.contains("read-only"), "{told}");
            Ok(())
        });
        machine.check("loop=$(findmnt -no SOURCE /mnt/small); umount /mnt/small; losetup -d $loop")?;
        read_only
    });
    runner.case(&name("a container is unhealthy: told, and its all-clear"), || {
        machine.check("tar -C / -c bin lib lib64 usr/bin/sleep usr/bin/test usr/bin/cat usr/bin/sh usr/bin/dash usr/lib/*-linux-gnu/libc.so.6 \
            usr/lib/*-linux-gnu/ld-linux* usr/lib64 2>/dev/null | docker import - tiny >/dev/null")?;
        machine.check("docker run -d --name patient --memory 32m --health-cmd 'test ! -e /ill' --health-interval 1s --health-retries 1 \
            tiny /usr/bin/sleep 10000")?;
        std::thread::sleep(Duration::from_secs(3));
        let health = machine.sh("pitool health --json")?.stdout;
        ensure!(health.contains("at most 32.0 MiB"), "the limit in force is told: {health}");
        // sh's own redirection: the image has no touch.
        told_and_cleared(&machine, "docker exec patient sh -c ': > /ill'", "docker rm -f patient", "container[patient]")
    });
    runner.case(&name("Docker is dead: told, and the rest goes on"), || {
        machine.check("systemctl stop docker.socket docker.service")?;
        let health = expect(&machine, "pitool health --json", 1)?.stdout;
        ensure!(health.contains("\"check\": \"service\"") && health.contains("docker"), "{health}");
        machine.check("systemctl start docker.service")?;
        wait_healthy(&machine)
    });
    runner.case(&name("bad clients do not stop it"), || bad_clients(&machine));
    runner.case(&name("when it no longer looks, it is started anew"), || {
        let quick = "/run/systemd/system/pitool-monitor.service.d/quick.conf";
        machine.check("mkdir -p /run/systemd/system/pitool-monitor.service.d")?;
        machine.write_file(quick, "[Service]\nWatchdogSec=15\nTimeoutAbortSec=5\n", 0o644)?;
        machine.check("systemctl daemon-reload; systemctl restart pitool-monitor")?;
        let main = "systemctl show -P MainPID pitool-monitor";
        let first = machine.check(main)?.stdout.trim().to_owned();
        std::thread::sleep(Duration::from_secs(20));
        machine.check(&format!("test $({main}) = {first}"))?;
        machine.check(&format!("kill -STOP {first}"))?;
        wait(
            &machine,
            &format!(
                "test $({main}) -gt 0 && test $({main}) != {first} && systemctl -q is-active pitool-monitor"
            ),
        )?;
        machine.check(&format!("rm {quick}; systemctl daemon-reload; systemctl restart pitool-monitor"))?;
        Ok(())
    });
    runner.case(&name("the page is behind a password, at nginx"), || page(&machine));
    runner.case(&name("it writes nothing while nothing happens"), || {
        machine.check("sync; sleep 5")?;
        let written =
            || machine.check("grep ^write_bytes /proc/$(systemctl show -P MainPID pitool-monitor)/io");
        let before = written()?.stdout;
        std::thread::sleep(Duration::from_secs(20));
        let after = written()?.stdout;
        ensure!(before == after, "before {before} after {after}");
        Ok(())
    });
    runner.case(&name("the heartbeat comes, and no secret is in the journal"), || {
        machine.check("grep -c '^/ping/secret-id' /root/received")?;
        machine.check("! journalctl -u pitool-monitor | grep secret-id")?;
        machine.check("pitool alert test && grep -q 'this machine reach you' /root/received")?;
        machine.check("! pitool alert test ntfy")?;
        Ok(())
    });
    runner.case(&name("what could not be sent comes after a power cut, in one message"), || {
        machine.check("touch /root/refuse; systemctl stop nginx")?;
        wait(&machine, "grep -q 'service\\[nginx\\]' /var/lib/pitool-monitor/queue.json")?;
        machine.power_cut()?;
        machine.start()?;
        machine.check("rm -f /root/refuse")?;
        // The receiver was still refusing when the service first tried; it tries again after half a minute.
        wait(&machine, "grep '\"what\":\"digest\"' /root/received | grep -q 'Power was lost'")?;
        let digest = machine.check("grep '\"what\":\"digest\"' /root/received")?.stdout;
        ensure!(digest.contains("service nginx fail"), "{digest}");
        wait_healthy(&machine)?;
        let events = machine.check("curl -s 127.0.0.1:9101/metrics | grep unclean")?.stdout;
        ensure!(events.trim().ends_with(" 1"), "{events}");
        Ok(())
    });
    runner.case(&name("a disk that is full does not stop it"), || {
        // Its state is on a disk without room.
        machine.check("systemctl stop pitool-monitor; mount -t tmpfs -o size=4k tmpfs /var/lib/pitool-monitor; \
            dd if=/dev/zero of=/var/lib/pitool-monitor/x bs=4k count=1 2>/dev/null; systemctl start pitool-monitor; sleep 5")?;
        let answer = machine.check("curl -s 127.0.0.1:9101/metrics | grep -c ^node_")?;
        ensure!(answer.stdout.trim().parse::<u32>()? > 100, "{answer}");
        machine.check("journalctl -u pitool-monitor | grep -q 'stays in memory'")?;
        machine.check("systemctl stop pitool-monitor; umount -l /var/lib/pitool-monitor; systemctl start pitool-monitor")?;
        Ok(())
    });
}

/// The report is ok and has nothing unknown, when the monitor has had a moment.
fn healthy(machine: &Machine) -> Result<()> {
    wait_healthy(machine)?;
    let output = expect(machine, "pitool health --json", 0)?;
    ensure!(!output.stdout.contains("\"level\": \"unknown\""), "{output}");
    for check in ["updates", "config", "web", "docker", "ports"] {
        ensure!(output.stdout.contains(&format!("\"check\": \"{check}\"")), "{check} is missing: {output}");
    }
    Ok(())
}

fn wait_healthy(machine: &Machine) -> Result<()> {
    wait(machine, "pitool health --json > /root/health && grep -q '\"updates\"' /root/health && ! grep -q 'has not yet' /root/health")
        .with_context(|| machine.sh("pitool health -q").map_or(String::new(), |output| output.to_string()))
}

/// Waits until a command succeeds.
fn wait(machine: &Machine, command: &str) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(120);
    while !machine.sh(command)?.ok() {
        ensure!(Instant::now() < end, "`{command}` does not come true");
        std::thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}

fn told_and_cleared(machine: &Machine, breaks: &str, mends: &str, id: &str) -> Result<()> {
    machine.check("truncate -s 0 /root/received")?;
    machine.check(breaks)?;
    let told =
        |what: &str| format!("grep '\"what\":\"{what}\"' /root/received | grep -qF '\"check\":\"{id}\"'");
    wait(machine, &told("problem"))?;
    let health = machine.sh("pitool health")?;
    ensure!([1, 10].contains(&health.status), "{health}");
    machine.check(mends)?;
    wait(machine, &told("clear"))?;
    wait_healthy(machine)
}

fn bad_clients(machine: &Machine) -> Result<()> {
    let script = "import socket,time\n\
        socks=[]\n\
        for n in range(1000):\n\
        \ts=socket.create_connection(('127.0.0.1',9101))\n\
        \ttry: s.send(b'GET /metrics HTTP/1.1\\r\\nX: ' if n%2 else b'G')\n\
        \texcept OSError: pass\n\
        \tsocks.append(s)\n\
        s=socket.create_connection(('127.0.0.1',9101)); s.send(b'GET / HTTP/1.1\\r\\n'+b'A: '+b'b'*200000)\n\
        start=time.monotonic()\n\
        s=socket.create_connection(('127.0.0.1',9101)); s.send(b'GET /metrics HTTP/1.1\\r\\n\\r\\n')\n\
        data=b''\n\
        while True:\n\
        \tpart=s.recv(65536)\n\
        \tif not part: break\n\
        \tdata+=part\n\
        assert data.startswith(b'HTTP/1.1 200'), data[:100]\n\
        assert time.monotonic()-start<1, time.monotonic()-start\n";
    machine.write_file("/root/clients.py", script, 0o644)?;
    machine.check("python3 /root/clients.py")?;
    machine.check("test $(systemctl show -P NRestarts pitool-monitor) = 0")?;
    Ok(())
}

fn page(machine: &Machine) -> Result<()> {
    let code = |options: &str| -> Result<String> {
        let command = format!("curl -s -o /root/page -w '%{{http_code}}' {options} http://127.0.0.1/status/");
        Ok(machine.check(&command)?.stdout)
    };
    ensure!(code("")? == "401", "without a password");
    ensure!(code("-u pitool:wrong")? == "401", "with a wrong one");
    let password = machine.check("sed 's/.*{PLAIN}//' /etc/nginx/pitool-status.htpasswd")?.stdout;
    ensure!(password.trim().len() >= 32, "a password of its own");
    // The service was restarted just before, and its page comes with its first look.
    let right = format!(
        "test $(curl -s -o /root/page -w '%{{http_code}}' -u pitool:{} http://127.0.0.1/status/) = 200",
        password.trim()
    );
    wait(machine, &right).context("with the right one")?;
    // The service looks once a minute: what the cases before broke and mended may still be on its page.
    let all_is_well = format!(
        "curl -s -o /root/page -u pitool:{} http://127.0.0.1/status/ && grep 'All is well' /root/page",
        password.trim()
    );
    wait(machine, &all_is_well)?;
    let text = machine.read_text("/root/page")?;
    ensure!(text.contains("watched") && text.len() < 60_000, "{} bytes", text.len());
    let json = machine
        .check(&format!("curl -s -u pitool:{} http://127.0.0.1/status/status.json", password.trim()))?
        .stdout;
    ensure!(json.starts_with("{\"version\":1"), "{json}");
    machine.check("test $(stat -c %a:%U:%G /etc/nginx/pitool-status.htpasswd) = 640:root:www-data")?;
    Ok(())
}

fn prometheus(machine: &Machine) -> Result<()> {
    install(machine, "prometheus")?;
    let dir = "/usr/share/doc/pitool/prometheus";
    machine.check(&format!(
        "promtool check rules {dir}/rules.yml && cd {dir} && promtool test rules rules_test.yml"
    ))?;
    let config = format!(
        "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [{dir}/rules.yml]\n"
    );
    let scrape = machine.read_text(&format!("{dir}/scrape.yml"))?.replace("30s", "1s");
    machine.write_file("/etc/prometheus/prometheus.yml", config + &scrape, 0o644)?;
    machine.check("promtool check config /etc/prometheus/prometheus.yml && systemctl restart prometheus")?;
    let query =
        |query: &str| format!("curl -sG 127.0.0.1:9090/api/v1/query --data-urlencode 'query={query}'");
    wait(machine, &format!("{} | grep -q '\"1\"'", query("up{job=\"node\"} == 1")))?;
    wait(
        machine,
        &format!("{} | grep -q instance", query("rate(node_cpu_seconds_total{mode=\"idle\"}[10s]) > 0")),
    )?;
    wait(machine, "curl -s 127.0.0.1:9090/api/v1/rules | grep -q '\"health\":\"ok\"'")?;
    machine.check("! curl -s 127.0.0.1:9090/api/v1/rules | grep -q '\"health\":\"err\"'")?;
    machine.check("systemctl stop prometheus; systemctl disable prometheus")?;
    Ok(())
}
