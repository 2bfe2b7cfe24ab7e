//! Units, containers, ports, the web server and its apps.

use crate::checks::bytes;
use crate::docker::{Container, Docker};
use crate::finding::{Finding, Level, Report};
use crate::sample::{AppAnswer, Reading, Sample};
use crate::setup::Setup;
use crate::units::Unit;

pub(crate) fn judge(sample: &Sample, setup: &Setup, report: &mut Report) {
    units(sample, setup, report);
    docker(sample, setup, report);
    ports(sample, setup, report);
    web(sample, setup, report);
}

fn units(sample: &Sample, setup: &Setup, report: &mut Report) {
    let units = match &sample.units {
        Ok(units) => units,
        Err(why) => {
            report.find(Finding::unknown("units", why));
            return;
        }
    };
    let watched = |unit: &&Unit| setup.expected.units.contains(&unit.unit);
    let failed: Vec<&Unit> = units.iter().filter(|unit| unit.active == "failed" && !watched(unit)).collect();
    let names: Vec<&str> = failed.iter().map(|unit| unit.unit.as_str()).collect();
    let count = units.iter().filter(|unit| unit.load == "loaded").count();
    report.find(
        match names.as_slice() {
            [] => Finding::ok("units", format!("none of {count} has failed")),
            [first, ..] => {
                Finding::new("units", Level::Warn, format!("failed: {}", names.join(", "))).hint(format!(
                    "`systemctl status {first}` says why; `systemctl reset-failed` when it no longer matters"
                ))
            }
        }
        .threshold("none failed"),
    );
    for name in &setup.expected.units {
        let found = units.iter().find(|unit| unit.unit == *name && unit.load != "not-found");
        let why = format!(
            "`systemctl status {name}` and `journalctl -u {name} -n 50` say why; `sudo pitool apply all` starts it"
        );
        let finding = match found {
            None if !sample.unit_files.contains(name) => {
                report
                    .absent("service", format!("{name} is not installed: `sudo pitool apply all` does that"));
                continue;
            }
            _ if sample.unsettled.contains(name) => {
                report.absent(
                    "service",
                    format!("no run has started {name}: `sudo pitool apply all` does that"),
                );
                continue;
            }
            None => Finding::new("service", Level::Fail, "stopped"),
            Some(unit) if unit.load == "masked" => {
                Finding::new("service", Level::Fail, "masked: it cannot start")
            }
            Some(unit) => match (unit.active.as_str(), unit.sub.as_str()) {
                ("active" | "reloading" | "refreshing", sub) => Finding::ok("service", sub),
                ("activating", "auto-restart") => {
                    Finding::new("service", Level::Fail, "it ends and is started again and again")
                }
                ("activating" | "deactivating", sub) => Finding::new("service", Level::Warn, sub),
                (active, _) => Finding::new(
                    "service",
                    Level::Fail,
                    if active == "failed" { "failed" } else { "stopped" },
                ),
            },
        };
        let finding = finding.of(name.trim_end_matches(".service")).threshold("running").hint(why);
        // It is a part of Docker's and stops with it.
        report.find(match name.as_str() {
            "pitool-docker-firewall.service" => finding.needs("service[docker]"),
            _ => finding,
        });
    }
}

fn docker(sample: &Sample, setup: &Setup, report: &mut Report) {
    let containers = match &sample.docker {
        Docker::Absent => {
            report.absent(
                "docker",
                match setup.expected.docker {
                    true => "it is not installed or not running; see its service",
                    false => "it is not wanted",
                },
            );
            return;
        }
        Docker::Silent(why) => {
            let denied = why.contains("denied");
            let finding = if denied {
                Finding::unknown("docker", why).hint("only root and the group docker may ask it: use sudo")
            } else {
                Finding::new("docker", Level::Fail, why)
                    .hint("`systemctl status docker` and `journalctl -u docker -n 50` say why")
            };
            report.find(finding.threshold("it answers").needs("service[docker]"));
            return;
        }
        Docker::Answers(containers) => containers,
    };
    let running = containers.iter().filter(|container| container.state == "running").count();
    report.find(
        Finding::ok("docker", format!("it answers; {running} of {} containers run", containers.len()))
            .threshold("it answers"),
    );
    if containers.is_empty() || sample.memory_limits {
        if containers.is_empty() {
            report.absent("container", "there is none");
        } else {
            report.find(Finding::ok("memory-limit", "the kernel holds containers to their limits"));
        }
    } else {
        report.find(
            Finding::new("memory-limit", Level::Warn, "limits of containers are taken and then ignored")
                .threshold("limits count")
                .hint("`sudo pitool apply common` switches the memory cgroup on, then reboot"),
        );
    }
    for container in containers {
        report.find(
            judge_container(container).of(&container.name).threshold("running, healthy").needs("docker"),
        );
    }
}

fn judge_container(container: &Container) -> Finding {
    let name = &container.name;
    let logs = format!("`docker logs --tail 50 {name}` says what it said last");
    let limit = container.memory_limit.map_or(String::new(), |limit| format!(", at most {}", bytes(limit)));
    let words = format!("{}{limit}", container.status);
    match (container.state.as_str(), container.exit_code()) {
        ("running", _) if container.unhealthy() => {
            let why = format!(
                "its own check fails: `docker inspect --format '{{{{json .State.Health}}}}' {name}` shows its answers"
            );
            Finding::new("container", Level::Fail, words).hint(why)
        }
        ("running", _) => Finding::ok("container", words),
        ("restarting", _) => Finding::new(
            "container",
            Level::Fail,
            format!("it ends and is started again and again ({})", container.status),
        )
        .hint(logs),
        ("dead", _) => Finding::new("container", Level::Fail, container.status.clone())
            .hint(format!("Docker could not remove it: `docker rm -f {name}`")),
        ("paused", _) => Finding::new("container", Level::Warn, container.status.clone())
            .hint(format!("`docker unpause {name}`")),
        ("exited", Some(code)) if code != 0 => {
            Finding::new("container", Level::Warn, container.status.clone())
                .hint(format!("{logs}; `docker rm {name}` if it is no longer wanted"))
        }
        _ => Finding::ok("container", container.status.clone()),
    }
}

fn ports(sample: &Sample, setup: &Setup, report: &mut Report) {
    let listeners = match &sample.listeners {
        Ok(listeners) => listeners,
        Err(why) => {
            report.find(Finding::unknown("ports", why));
            return;
        }
    };
    let name = |port: u16, udp: bool| format!("{port}/{}", if udp { "udp" } else { "tcp" });
    let mut open = Vec::new();
    let mut kept = Vec::new();
    let mut other = Vec::new();
    for listener in listeners.iter().filter(|listener| listener.is_public()) {
        let allowed = setup.expected.ports.iter().any(|rule| {
            let port = pitool_config::values::Port::new(listener.port);
            port.is_some_and(|port| rule.ports.contains(port))
                && if listener.udp { rule.udp } else { rule.tcp }
        });
        let keeps = sample.kept.contains(&(listener.port, listener.udp));
        let list = match (allowed, keeps) {
            (true, _) => &mut open,
            (false, true) => &mut kept,
            (false, false) => &mut other,
        };
        let name = name(listener.port, listener.udp);
        if !list.contains(&name) {
            list.push(name);
        }
    }
    let words = |list: &[String]| if list.is_empty() { "none".to_owned() } else { list.join(", ") };
    let mut listening = format!("listening: {}", words(&open));
    if !kept.is_empty() {
        listening += &format!("; open until the config names them: {}", words(&kept));
    }
    report.find(
        if other.is_empty() {
            Finding::ok("ports", listening)
        } else if setup.expected.firewall {
            Finding::ok("ports", format!("{listening}; kept from outside by the firewall: {}", words(&other)))
        } else {
            Finding::new("ports", Level::Warn, format!("{} can be reached, and no rule of the config allows it", words(&other)))
                .hint("`sudo ss -tulpn` shows who listens; turn the firewall on, or name the port in [security.firewall]")
        }
        .threshold("only ports that the config opens can be reached"),
    );
}

fn web(sample: &Sample, setup: &Setup, report: &mut Report) {
    const NGINX: &str = "service[nginx]";
    let site = |finding: Finding| {
        finding.threshold("200 healthy").needs(NGINX).hint(
        "`sudo nginx -t` checks its configuration, `journalctl -u nginx -n 50` says what went wrong; `sudo pitool apply app` puts it right",
    )
    };
    match &sample.bare {
        None => report.absent("web", "no web server is wanted"),
        Some(answer) => report.find(site(judge_site("web", answer))),
    }
    if setup.expected.apps.is_empty() {
        report.absent("app", "the config names none");
    }
    for AppAnswer { app, site: answer, upstream } in &sample.apps {
        let finding = judge_site("app", answer);
        if finding.level != Level::Ok {
            report.find(site(finding).of(&app.name));
            continue;
        }
        let port = app.upstream.unwrap_or_default();
        report.find(match upstream {
            None => finding.of(&app.name).threshold("200 healthy").needs(NGINX),
            Some(Ok(status)) if *status < 500 => {
                Finding::ok("app", format!("its program on port {port} answers ({status})")).of(&app.name)
            }
            Some(Ok(status)) => {
                Finding::new("app", Level::Fail, format!("its program on port {port} answers with {status}"))
                    .of(&app.name)
                    .threshold("below 500")
                    .hint("the app's own log says why")
            }
            Some(Err(why)) => Finding::new("app", Level::Fail, format!("its program does not answer: {why}"))
                .of(&app.name)
                .threshold("it answers")
                .hint(format!("start it: something should listen on 127.0.0.1:{port}")),
        });
    }
}

fn judge_site(check: &str, answer: &Reading<(u16, String)>) -> Finding {
    match answer {
        Ok((200, body)) if body.trim() == "healthy" => Finding::ok(check, "200 healthy"),
        // A site that has a certificate sends everybody there.
        Ok((status @ (301 | 302 | 307 | 308), _)) => Finding::ok(check, format!("{status}, moved to HTTPS")),
        Ok((status, body)) => Finding::new(check, Level::Fail, format!("{status} {body}")),
        Err(why) => Finding::new(check, Level::Fail, why.clone()),
    }
}
