//! Who listens on a machine, as pitool-host finds it in /proc.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use pitool_host::listening::{Service, services};
use pitool_sim::Sim;

/// A machine on which these listen: port, UDP, user, program, control group.
fn with(sockets: &[(u16, bool, u32, &str, &str)]) -> Sim {
    let sim = Sim::debian(13);
    let mut world = sim.arrange();
    for one in sockets {
        world.listen(one.0, one.1, one.2, one.3, one.4);
    }
    drop(world);
    sim
}

fn seen(sockets: &[(u16, bool, u32, &str, &str)]) -> Vec<(u16, String, bool)> {
    let services = services(&with(sockets)).unwrap();
    services.into_iter().map(|one| (one.port, one.program, one.system)).collect()
}

#[test]
fn a_service_is_the_machines_and_a_users_program_is_not() {
    for (system, uid, cgroup, what) in [
        (true, 0, "/system.slice/smbd.service", "root's service"),
        (true, 0, "/user.slice/user-1000.slice/session-3.scope", "root, by sudo in a session"),
        (true, 104, "/system.slice/dnsmasq.service", "a service with a user of its own"),
        (true, 1000, "/system.slice/nodered.service", "a unit that runs as a person"),
        (true, 62001, "/system.slice/dyn.service", "a dynamic user"),
        (true, 1000, "/system.slice/docker-0123.scope", "a container under systemd"),
        (true, 1000, "/docker/0123", "a container without it"),
        (true, 100, "/machine.slice/libpod-0123.scope", "a container of root's podman"),
        (false, 1000, "/user.slice/user-1000.slice/session-3.scope", "a person's session"),
        (false, 1000, "/user.slice/user-1000.slice/user@1000.service/app.slice/pod.service", "a user unit"),
        (false, 1000, "/system.slice/cron.service", "a person's cron job"),
        (false, 1000, "/system.slice/ssh.service", "a session without logind"),
        (false, 33, "/system.slice/php-fpm.service", "what a worker of a root's service opened"),
        (false, 1000, "/", "a process without a group"),
    ] {
        let sim = Sim::debian(13);
        if ["cron", "ssh", "php-fpm"].iter().any(|name| cgroup == format!("/system.slice/{name}.service")) {
            sim.arrange().process("main", 0, cgroup);
        }
        sim.arrange().listen(8123, false, uid, "server", cgroup);
        let found = services(&sim).unwrap();
        assert_eq!((found[0].system, found.len()), (system, 1), "{what}");
    }
}

#[test]
fn a_port_of_two_is_the_machines_where_one_of_them_is() {
    let user = (53, true, 1000, "mine", "/user.slice/user-1000.slice/session-3.scope");
    let root = (53, true, 0, "dnsmasq", "/system.slice/dnsmasq.service");
    for both in [[user, root], [root, user]] {
        assert_eq!(seen(&both), [(53, "dnsmasq".to_owned(), true)]);
    }
}

#[test]
fn a_client_is_no_server_and_a_name_is_only_a_name() {
    let query = (41234, true, 0, "dnsmasq", "/system.slice/dnsmasq.service");
    let tcp = (41234, false, 0, "it's;x", "/system.slice/x.service");
    assert_eq!(seen(&[query, tcp]), [(41234, "it_s_x".to_owned(), true)]);
    let sim = with(&[(51820, true, 0, "", "")]);
    sim.arrange().listen_on("[::]", 51820, true, 0, "", "");
    let wireguard = Service { port: 51820, udp: true, program: "kernel".into(), uid: 0, system: true };
    assert_eq!(services(&sim).unwrap(), [wireguard]);
    let local = with(&[]);
    local.arrange().listen_on("127.0.0.1", 53, true, 0, "stub", "/system.slice/resolved.service");
    assert_eq!(services(&local).unwrap(), []);
}
