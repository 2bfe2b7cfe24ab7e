//! The packages that a fresh machine's apt could install.

use crate::ufw;
use crate::world::{CataloguePackage as Package, CatalogueUnit as Unit, World};

/// What a minimal image has.
pub(crate) const BASE: &[&str] = &[
    "dpkg",
    "apt",
    "systemd",
    "systemd-timesyncd",
    "openssh-server",
    "sudo",
    "locales",
    "tzdata",
    "procps",
    "passwd",
    "ca-certificates",
    "cron",
    "logrotate",
    "dbus",
    "util-linux",
];

/// Packages of which nothing matters but that they are there: name, dependencies.
const PLAIN: &[(&str, &[&str])] = &[
    ("dpkg", &[]),
    ("apparmor", &[]),
    ("tzdata", &[]),
    ("procps", &[]),
    ("passwd", &[]),
    ("util-linux", &[]),
    ("dbus", &[]),
    ("ca-certificates", &["openssl"]),
    ("openssl", &[]),
    ("curl", &["libcurl4"]),
    ("libcurl4", &[]),
    ("gnupg", &["gpg"]),
    ("gpg", &[]),
    ("lsb-release", &[]),
    ("git", &["git-man"]),
    ("git-man", &[]),
    ("vim", &["vim-runtime"]),
    ("vim-runtime", &[]),
    ("htop", &[]),
    ("iotop", &["python3"]),
    ("nload", &[]),
    ("ncdu", &[]),
    ("net-tools", &[]),
    ("wget", &[]),
    ("unzip", &[]),
    ("rsync", &[]),
    ("zstd", &[]),
    ("openssh-client", &[]),
    ("jq", &["libjq1"]),
    ("libjq1", &[]),
    ("build-essential", &["gcc", "make"]),
    ("gcc", &[]),
    ("make", &[]),
    ("python3", &[]),
    ("python3-pip", &["python3"]),
    ("python3-venv", &["python3"]),
    ("python3-systemd", &["python3"]),
    ("apt-listchanges", &["python3"]),
    ("iptables", &[]),
    ("nftables", &[]),
    ("runc", &[]),
    ("docker-compose-plugin", &[]),
    ("docker-buildx-plugin", &[]),
    ("docker-ce-cli", &[]),
    ("docker-buildx", &[]),
    ("docker-cli", &[]),
    ("docker-compose", &[]),
    ("debconf", &[]),
    ("adduser", &[]),
];

/// Fills the catalogue for this release of Debian.
pub(crate) fn fill(world: &mut World, release: u32) {
    for (name, depends) in PLAIN {
        let mut package =
            Package::new(name).depends(depends).file(&format!("/usr/share/doc/{name}/copyright"), "free");
        if matches!(*name, "docker-compose-plugin" | "docker-buildx-plugin" | "docker-ce-cli") {
            package = package.source("download.docker.com");
        }
        world.offer(package);
    }
    world.offer(
        Package::new("apt")
            .file("/usr/share/doc/apt/copyright", "free")
            .unit(Unit::new("apt-daily.timer").without_reload())
            .unit(Unit::new("apt-daily-upgrade.timer").without_reload()),
    );
    world.offer(
        Package::new("hello")
            .version("2.10-3")
            .file("/usr/bin/hello", "ELF")
            .file("/usr/share/doc/hello/copyright", "free"),
    );
    world.offer(
        Package::new("systemd")
            .version(if release == 12 { "252.39-1~deb12u1" } else { "257.8-1~deb13u2" })
            .file("/usr/bin/systemctl", "ELF")
            .conffile("/etc/systemd/journald.conf", "[Journal]\n#Storage=auto\n")
            .unit(
                Unit::new("systemd-journald.service")
                    .without_install()
                    .without_reload()
                    .reads("/etc/systemd/journald.conf")
                    .reads("/etc/systemd/journald.conf.d")
                    .reads("/usr/lib/systemd/journald.conf.d"),
            )
            .unit(Unit::new("systemd-journal-flush.service").without_install().without_reload())
            .unit(Unit::new("systemd-sysctl.service").without_install().without_reload()),
    );
    world.offer(
        Package::new("systemd-timesyncd").conffile("/etc/systemd/timesyncd.conf", "[Time]\n#NTP=\n").unit(
            Unit { wanted_by: "sysinit.target".to_owned(), ..Unit::new("systemd-timesyncd.service") }
                .without_reload()
                .reads("/etc/systemd/timesyncd.conf")
                .reads("/etc/systemd/timesyncd.conf.d"),
        ),
    );
    world.offer(
        Package::new("openssh-server")
            .version(if release == 12 { "1:9.2p1-2+deb12u7" } else { "1:10.0p1-7" })
            .file("/usr/sbin/sshd", "ELF")
            .conffile(
                "/etc/ssh/sshd_config",
                "Include /etc/ssh/sshd_config.d/*.conf\n\n#Port 22\n#PermitRootLogin prohibit-password\n#PasswordAuthentication yes\n\
                 KbdInteractiveAuthentication no\nUsePAM yes\nX11Forwarding yes\nPrintMotd no\nAcceptEnv LANG LC_*\nSubsystem\tsftp\t/usr/lib/openssh/sftp-server\n",
            )
            .conffile(
                "/etc/pam.d/sshd",
                "@include common-auth\naccount    required     pam_nologin.so\n@include common-account\n\
                 session    required     pam_loginuid.so\n@include common-session\n\
                 session    required     pam_limits.so\nsession    required     pam_env.so\n@include common-password\n",
            )
            .file("/etc/ssh/ssh_host_ed25519_key.pub", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHNpbXVsYXRlZA root@raspberrypi\n")
            .unit(
                Unit::new("ssh.service")
                    .alias("sshd.service")
                    .reads("/etc/ssh/sshd_config")
                    .reads("/etc/ssh/sshd_config.d"),
            )
            .unit(Unit { wanted_by: "sockets.target".to_owned(), ..Unit::new("ssh.socket").off().without_reload() }),
    );
    world.offer(
        Package::new("sudo")
            .file("/usr/bin/sudo", "ELF")
            .file("/usr/sbin/visudo", "ELF")
            .conffile(
                "/etc/sudoers",
                "root\tALL=(ALL:ALL) ALL\n%sudo\tALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n",
            )
            .conffile(
                "/etc/pam.d/sudo",
                "session    required   pam_limits.so\n@include common-auth\n@include common-account\n\
                 @include common-session-noninteractive\n",
            ),
    );
    world.offer(
        Package::new("locales")
            .file("/usr/sbin/locale-gen", "script")
            .conffile("/etc/locale.gen", "# de_DE.UTF-8 UTF-8\n# en_GB.UTF-8 UTF-8\n# en_US.UTF-8 UTF-8\n")
            .dir("/usr/lib/locale"),
    );
    world.offer(
        Package::new("cron")
            .file("/usr/sbin/cron", "ELF")
            .conffile("/etc/crontab", "SHELL=/bin/sh\n")
            .unit(Unit::new("cron.service").without_reload()),
    );
    world.offer(
        Package::new("logrotate")
            .file("/usr/sbin/logrotate", "ELF")
            .conffile("/etc/logrotate.conf", "weekly\nrotate 4\ncreate\ninclude /etc/logrotate.d\n")
            .unit(Unit::new("logrotate.timer").without_reload())
            .unit(Unit::new("logrotate.service").without_install().without_reload()),
    );
    world.offer(
        Package::new("ufw")
            .version("0.36.2-9")
            .depends(&["iptables"])
            .file("/usr/sbin/ufw", "script")
            .conffile("/etc/default/ufw", ufw::DEFAULTS)
            .conffile("/etc/ufw/ufw.conf", ufw::CONF)
            .conffile("/etc/ufw/user.rules", &ufw::rules(&[], false))
            .conffile("/etc/ufw/user6.rules", &ufw::rules(&[], true))
            .conffile("/etc/ufw/before.rules", "*filter\nCOMMIT\n")
            .conffile("/etc/ufw/after.rules", "*filter\nCOMMIT\n")
            .unit(
                Unit::new("ufw.service")
                    .without_reload()
                    .reads("/etc/ufw/ufw.conf")
                    .reads("/etc/ufw/user.rules")
                    .reads("/etc/ufw/user6.rules")
                    .reads("/etc/default/ufw"),
            ),
    );
    let mut fail2ban = Unit::new("fail2ban.service")
        .reads("/etc/fail2ban/jail.conf")
        .reads("/etc/fail2ban/jail.local")
        .reads("/etc/fail2ban/jail.d")
        .reads("/etc/fail2ban/fail2ban.local");
    if release == 12 {
        // Debian 13's own jail.d already says so; on 12 the jail looks for a log file that nobody writes (trap T17).
        fail2ban = fail2ban.needs("/etc/fail2ban/jail.d", "backend = systemd");
    }
    world.offer(
        Package::new("fail2ban")
            .version(if release == 12 { "1.0.2-2" } else { "1.1.0-8" })
            .depends(&["python3"])
            .recommends(&["nftables", "python3-systemd"])
            .file("/usr/bin/fail2ban-client", "script")
            .conffile("/etc/fail2ban/jail.conf", "[DEFAULT]\nbantime = 10m\nbackend = auto\n")
            .conffile(
                "/etc/fail2ban/jail.d/defaults-debian.conf",
                if release == 12 {
                    "[sshd]\nenabled = true\n"
                } else {
                    "[sshd]\nbackend = systemd\nenabled = true\n"
                },
            )
            .dir("/var/lib/fail2ban")
            .unit(fail2ban),
    );
    world.offer(
        Package::new("unattended-upgrades")
            .depends(&["python3"])
            .conffile(
                "/etc/apt/apt.conf.d/50unattended-upgrades",
                "Unattended-Upgrade::Origins-Pattern {};\n",
            )
            .file("/usr/bin/unattended-upgrade", "script")
            .unit(Unit::new("unattended-upgrades.service").without_reload()),
    );
    world.offer(
        Package::new("sysstat")
            .conffile("/etc/default/sysstat", "ENABLED=\"false\"\n")
            // The package starts none of them, whatever ENABLED says.
            .unit(Unit { started: false, ..Unit::new("sysstat.service").without_reload() })
            .unit(Unit {
                wanted_by: "sysstat.service".to_owned(),
                started: false,
                ..Unit::new("sysstat-collect.timer").without_reload()
            })
            .unit(Unit {
                wanted_by: "sysstat.service".to_owned(),
                started: false,
                ..Unit::new("sysstat-summary.timer").without_reload()
            }),
    );
    world.offer(
        Package::new("nginx-common")
            .conffile("/etc/nginx/nginx.conf", "user www-data;\nevents {}\nhttp {\n\tinclude /etc/nginx/conf.d/*.conf;\n\tinclude /etc/nginx/sites-enabled/*;\n}\n")
            .conffile("/etc/nginx/sites-available/default", "server { listen 80 default_server; root /var/www/html; }\n")
            .dir("/etc/nginx/conf.d")
            .dir("/etc/nginx/sites-enabled")
            // The real one is a link that the postinst makes; what counts is that installing brings it.
            .file("/etc/nginx/sites-enabled/default", "server { listen 80 default_server; root /var/www/html; }\n")
            .dir("/etc/nginx/snippets"),
    );
    world.offer(
        Package::new("nginx")
            .version(if release == 12 { "1.22.1-9+deb12u3" } else { "1.26.3-3+deb13u1" })
            .depends(&["nginx-common"])
            .file("/usr/sbin/nginx", "ELF")
            .unit(
                Unit::new("nginx.service")
                    .reads("/etc/nginx/nginx.conf")
                    .reads("/etc/nginx/conf.d")
                    .reads("/etc/nginx/sites-enabled"),
            ),
    );
    world.offer(
        Package::new("containerd")
            .depends(&["runc"])
            .file("/usr/bin/containerd", "ELF")
            .unit(Unit::new("containerd.service").without_reload()),
    );
    world.offer(
        Package::new("containerd.io")
            .source("download.docker.com")
            .conflicts(&["containerd", "runc"])
            .file("/usr/bin/containerd", "ELF")
            .unit(Unit::new("containerd.service").without_reload()),
    );
    let docker = || Unit::new("docker.service").reads("/etc/docker/daemon.json");
    world.offer(
        Package::new("docker.io")
            .version(if release == 12 { "20.10.24+dfsg1-1+deb12u1" } else { "26.1.5+dfsg1-9" })
            .depends(&["containerd", "iptables"])
            .file("/usr/sbin/dockerd", "ELF")
            .dir("/etc/docker")
            .group("docker")
            .unit(docker()),
    );
    world.offer(
        Package::new("docker-ce")
            .version("5:29.0.1-1~debian")
            .source("download.docker.com")
            .depends(&["containerd.io", "docker-ce-cli", "iptables"])
            .recommends(&["docker-buildx-plugin", "docker-compose-plugin"])
            .conflicts(&["docker.io"])
            .file("/usr/bin/dockerd", "ELF")
            .dir("/etc/docker")
            .group("docker")
            .unit(docker()),
    );
    world.offer(
        Package::new("rpi-swap")
            .source("archive.raspberrypi")
            .file("/usr/lib/systemd/system-generators/rpi-swap-generator", "ELF")
            .conffile("/etc/rpi/swap.conf", "[Main]\n#Mechanism=auto\n"),
    );
    world.offer(
        Package::new("dphys-swapfile")
            .conffile("/etc/dphys-swapfile", "CONF_SWAPSIZE=512\n")
            .file("/usr/sbin/dphys-swapfile", "script")
            .unit(Unit::new("dphys-swapfile.service").without_reload().reads("/etc/dphys-swapfile")),
    );
    world.offer(
        Package::new("cloud-init")
            .conffile("/etc/cloud/cloud.cfg", "preserve_hostname: false\n")
            .dir("/etc/cloud/cloud.cfg.d")
            .unit(Unit::new("cloud-init.service").without_reload()),
    );
}

impl World {
    /// Starts what every machine starts by itself.
    pub(crate) fn start_base(&mut self) {
        for unit in ["systemd-journald.service", "systemd-journal-flush.service", "systemd-sysctl.service"] {
            self.put_link(
                &format!("/usr/lib/systemd/system/sysinit.target.wants/{unit}"),
                &format!("../{unit}"),
            );
            // Their unit files were put there with the package systemd.
            let _ = self.start_unit(unit);
        }
    }
}
