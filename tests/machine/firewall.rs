//! The first firewall of a machine that people use already: what it closes, what it keeps open, and back.

use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use pitool_testkit::machine::{BoxOptions, Lab, Machine, Suite};
use pitool_testkit::suite::Runner;

use crate::{expect, install, installed};

pub(crate) fn cases(runner: &mut Runner, lab: &Lab, suite: Suite, deb: &Path) {
    let name = |case: &str| format!("{suite}: firewall: {case}");
    let mut machine = None;
    runner.case(&name("a box with ufw, off"), || {
        let fresh = installed(lab, suite, &BoxOptions::named("household"), deb)?;
        let docker = if suite == Suite::Trixie { "docker.io docker-cli" } else { "docker.io" };
        install(
            &fresh,
            &format!(
                "ufw openssh-server dnsmasq ncat python3-minimal {docker} apparmor busybox-static iproute2 curl"
            ),
        )?;
        fresh.check("systemctl disable --now dnsmasq 2>&1; systemctl is-active ssh")?;
        fresh.write_file("/etc/pitool/pitool.toml", CONFIG, 0o644)?;
        machine = Some(fresh);
        Ok(())
    });
    let Some(machine) = machine else { return };
    runner.case(&name("back to a ufw that was off"), || off_before(&machine));
    runner.case(&name("ssh let in by a profile of ufw's"), || profile(&machine));
    runner.case(&name("the plan names what is in use"), || plan(&machine));
    runner.case(&name("what is in use stays open, what a user runs does not"), || stays(&machine));
    runner.case(&name("who listens later opens nothing"), || later(&machine));
    runner.case(&name("the config closes and opens by name"), || by_name(&machine));
    runner.case(&name("published ports and bridges"), || bridges(&machine));
    runner.case(&name("a list of rules leaves the sites' ports open"), || sites(&machine));
    runner.case(&name("back: everything is reached again"), || back(&machine));
}

/// No packages besides what the roles need, so that the case is about the firewall.
const CONFIG: &str = "[security.fail2ban]\nenabled = false\n[security.updates]\nenabled = false\n";

fn off_before(machine: &Machine) -> Result<()> {
    // ufw writes the lines below its tuples anew when it is turned off.
    let rules = "grep -h '### tuple' /etc/ufw/user.rules /etc/ufw/user6.rules; grep -h = /etc/ufw/ufw.conf /etc/default/ufw";
    let before = machine.check(rules)?.stdout;
    expect(machine, "pitool apply security -q", 0)?;
    expect(machine, "ufw status | grep -q 'Status: active'", 0)?;
    expect(machine, "pitool rollback", 0)?;
    let after = machine.check(rules)?.stdout;
    ensure!(before == after, "{after}");
    Ok(())
}

fn profile(machine: &Machine) -> Result<()> {
    machine.check("ufw allow OpenSSH && ufw --force enable")?;
    let before = machine.check("ufw status numbered")?.stdout;
    let planned = expect(machine, "pitool plan security", 2)?.stdout;
    ensure!(!planned.contains("limit 22/tcp") && planned.contains("of ssh has no limit"), "{planned}");
    expect(machine, "pitool apply security -q", 0)?;
    ensure!(outside(machine, 22), "ssh is shut");
    expect(machine, "pitool rollback", 0)?;
    let after = machine.check("ufw status numbered")?.stdout;
    ensure!(before == after, "{after}");
    machine.check("ufw --force reset; rm -f /etc/ufw/*.rules.[0-9]*")?;
    Ok(())
}

/// Starts what a household uses, and what a person runs.
fn household(machine: &Machine) -> Result<()> {
    machine.check(
        "printf 'interface=*\\nno-resolv\\naddress=/pi.test/192.0.2.1\\n' > /etc/dnsmasq.d/lan.conf; \
         sed -i /interface/d /etc/dnsmasq.d/lan.conf; systemctl start dnsmasq; \
         cp $(readlink -f /usr/bin/ncat) /usr/local/bin/smbd; \
         systemd-run --unit=smbd /usr/local/bin/smbd -lk 445; \
         systemd-run --unit=home python3 -c 'import socket
s = socket.create_server((\"\", 8123))
while True: s.accept()'; \
         systemd-run --unit=mine --uid=pi --slice=user-1000.slice ncat -lk 4444; \
         systemctl start docker; tar -C / -c bin/busybox | docker import - tiny; \
         docker network create --opt com.docker.network.bridge.name=caddy0 caddy; \
         docker run -d --name web --network caddy -p 8081:80 tiny /bin/busybox httpd -f -p 80 -h /; \
         docker run -d --name old -p 9000:80 tiny /bin/busybox httpd -f -p 80 -h /; \
         docker run -d --name proxy --network caddy tiny /bin/busybox sleep 100000; \
         ip link add br-guest type bridge; ip addr add 10.77.0.1/24 dev br-guest; ip link set br-guest up; \
         ip netns add guest; ip link add vg0 type veth peer name vg1; ip link set vg0 master br-guest up; \
         ip link set vg1 netns guest; ip -n guest addr add 10.77.0.2/24 dev vg1; ip -n guest link set vg1 up; \
         ip -n guest route add default via 10.77.0.1",
    )?;
    reached(machine, &[22, 53, 445, 8123, 4444, 8081, 9000], &[])
}

/// Checks from outside of the machine which ports are reached.
fn reached(machine: &Machine, open: &[u16], closed: &[u16]) -> Result<()> {
    for port in open {
        ensure!(
            patiently(|| outside(machine, *port)),
            "{port} is not reached\n{}",
            machine.sh("ufw status; iptables -S")?
        );
        ensure!(
            *port != 53 || patiently(|| dns(machine.ip()).unwrap_or(false)),
            "DNS over UDP gets no answer"
        );
    }
    for port in closed {
        ensure!(!outside(machine, *port), "{port} is reached\n{}", machine.sh("ufw status; iptables -S")?);
    }
    Ok(())
}

fn patiently(question: impl Fn() -> bool) -> bool {
    (0..10).any(|_| {
        question() || {
            std::thread::sleep(Duration::from_millis(500));
            false
        }
    })
}

fn outside(machine: &Machine, port: u16) -> bool {
    TcpStream::connect_timeout(&SocketAddr::from((machine.ip(), port)), Duration::from_secs(2)).is_ok()
}

/// Asks for the address of pi.test.
fn dns(ip: Ipv4Addr) -> Result<bool> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.send_to(b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x02pi\x04test\0\0\x01\0\x01", (ip, 53))?;
    let mut answer = [0; 512];
    Ok(socket.recv(&mut answer)? > 12)
}

fn plan(machine: &Machine) -> Result<()> {
    household(machine)?;
    let planned = expect(machine, "COLUMNS=200 pitool plan security docker", 2)?.stdout;
    for words in [
        "53/tcp and 53/udp, dnsmasq: `{ port = 53, protocol = \"any\" }`",
        "445/tcp, smbd: `{ port = 445 }`",
        "8123/tcp, python3",
        "8081/tcp, web: `{ port = 8081 }`",
        "9000/tcp, old: `{ port = 9000 }`",
        "closes 4444/tcp (ncat)",
        "--close-ports",
    ] {
        ensure!(planned.contains(words), "`{words}` is not in\n{planned}");
    }
    let all = expect(machine, "COLUMNS=200 pitool plan security docker --close-ports", 2)?.stdout;
    ensure!(all.contains("445/tcp (smbd)") && !all.contains("stay open"), "{all}");
    Ok(())
}

fn stays(machine: &Machine) -> Result<()> {
    expect(machine, "pitool apply security docker -q", 0)?;
    reached(machine, &[22, 53, 445, 8123, 8081, 9000], &[4444])
}

fn later(machine: &Machine) -> Result<()> {
    machine.check("systemd-run --unit=late ncat -lk 7777; docker run -d --name late -p 7778:80 tiny /bin/busybox httpd -f -p 80 -h /")?;
    let again = machine.measured(["pitool", "plan", "security", "docker"])?;
    ensure!(again.output.status == 0, "{}", again.output);
    ensure!(again.output.stdout.contains("445/tcp, smbd"), "{}", again.output);
    ensure!(again.trace.children() == 0, "a plan with nothing to do asked somebody: {:#?}", again.trace);
    reached(machine, &[445], &[7777, 7778])
}

fn by_name(machine: &Machine) -> Result<()> {
    let firewall = "[security.firewall]\nrules = [{ port = 53, protocol = \"any\" }, { port = 8081 }]\nclose = [445, 8123, 9000]\n";
    machine.write_file("/etc/pitool/pitool.toml", format!("{CONFIG}{firewall}"), 0o644)?;
    let done = expect(machine, "pitool apply security docker", 0)?;
    ensure!(!done.stdout.contains("stay open"), "{done}");
    reached(machine, &[22, 53, 8081], &[445, 8123, 9000, 4444])
}

fn bridges(machine: &Machine) -> Result<()> {
    let guest = |port: u16| {
        machine
            .sh(&format!("ip netns exec guest curl -s -m 3 -o /dev/null http://10.77.0.1:{port}/bin/busybox"))
    };
    ensure!(guest(9000)?.status != 0, "a bridge of somebody's own reaches a closed port");
    ensure!(guest(8081)?.status == 0, "a bridge of somebody's own does not reach an open port");
    let ip = machine.ip();
    // The box's own curl in the network of the container: busybox without libraries cannot look names up on bookworm.
    let from_proxy = "nsenter -n -t $(docker inspect -f '{{.State.Pid}}' proxy) curl -s -m 3 -o /dev/null";
    expect(machine, &format!("{from_proxy} http://{ip}:8081/bin/busybox"), 0)?;
    let web = "$(docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' web)";
    expect(machine, &format!("{from_proxy} http://{web}/bin/busybox"), 0)
        .context("containers of one network reach each other")?;
    Ok(())
}

fn sites(machine: &Machine) -> Result<()> {
    let more =
        "[security.firewall]\nrules = [{ port = 8123 }]\n[apps.blog]\n[ssl]\ndomains = [\"pi.test\"]\n";
    machine.write_file("/etc/pitool/pitool.toml", format!("{CONFIG}{more}"), 0o644)?;
    expect(machine, "pitool apply security -q", 0)?;
    machine.check("systemd-run --unit=http ncat -lk 80; systemd-run --unit=https ncat -lk 443")?;
    reached(machine, &[80, 443, 8123], &[445])?;
    machine.check("systemctl stop http https")?;
    Ok(())
}

fn back(machine: &Machine) -> Result<()> {
    for _ in 0..3 {
        expect(machine, "pitool rollback", 0)?;
    }
    machine.check("docker start web old; true")?;
    reached(machine, &[22, 53, 445, 8123, 4444, 8081, 9000], &[])
}
