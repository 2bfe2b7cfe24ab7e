//! Questions to nginx.

use pitool_acme::Store;
use pitool_acme::storage::{Generation, Source};
use pitool_engine::{Id, Proof, Verdict};
use pitool_host::parse::nginx_dump;
use pitool_host::{Command, Inspect, Output, Result};
use pitool_net::Certificate;

/// Whether a site is part of nginx's configuration and that is sound, asked of `nginx -T`.
#[derive(Clone, Debug, PartialEq)]
pub struct SiteConfigured {
    /// The path below sites-enabled.
    pub path: String,
}

impl Proof for SiteConfigured {
    fn id(&self) -> Id {
        Id::new("proof", &format!("nginx reads {}", self.path))
    }

    fn ask(&self, host: &dyn Inspect) -> Result<Verdict> {
        Ok(self.judge(&host.ask(&Command::new("/usr/sbin/nginx").arg("-T"))?))
    }
}

impl SiteConfigured {
    fn judge(&self, output: &Output) -> Verdict {
        let not = |answer: String, hint: &str| Verdict::NotInForce {
            expected: format!("{} in a sound configuration", self.path),
            answer,
            hint: hint.to_owned(),
        };
        if !output.ok() {
            return not(
                output.tail(),
                "mend the file that it names; until then nginx keeps what it runs with",
            );
        }
        if nginx_dump::parse(&output.stdout).contains_key(&self.path) {
            return Verdict::InForce { answer: "part of `nginx -T`".into() };
        }
        not("it is not part of `nginx -T`".into(), "does /etc/nginx/nginx.conf include sites-enabled/*?")
    }
}

/// Whether the web server answers for a site, asked on this machine.
#[derive(Clone, Debug, PartialEq)]
pub struct SiteHealthy {
    /// The host name to ask for; `None` for the bare address.
    pub name: Option<String>,
    /// Whether over HTTPS. Whose certificate it is, is another question ([`CertificateServed`]).
    pub secured: bool,
}

impl Proof for SiteHealthy {
    fn id(&self) -> Id {
        let by = if self.secured { " over HTTPS" } else { "" };
        Id::new(
            "proof",
            &format!("{} answers /health{by}", self.name.as_deref().unwrap_or("the bare address")),
        )
    }

    fn ask(&self, host: &dyn Inspect) -> Result<Verdict> {
        let name = self.name.as_deref().unwrap_or("127.0.0.1");
        let mut command = Command::new("curl").args(["--silent", "--show-error", "--max-time", "5"]);
        command = if self.secured {
            let there = format!("{name}:443:127.0.0.1");
            command
                .args(["--insecure", "--resolve", &there, "--write-out", "\n%{http_code}"])
                .arg(format!("https://{name}/health"))
        } else {
            let header = format!("Host: {name}");
            command.args(["--header", &header, "--write-out", "\n%{http_code}", "http://127.0.0.1/health"])
        };
        Ok(Self::judge(&host.ask(&command)?))
    }
}

/// Whether the web server serves the certificate that is stored, asked by a TLS handshake: a renewed file that was never
/// loaded is how certificates run out.
#[derive(Clone, Debug, PartialEq)]
pub struct CertificateServed {
    /// What the certificate is called.
    pub certificate: String,
    /// The host name to ask for.
    pub name: String,
}

impl Proof for CertificateServed {
    fn id(&self) -> Id {
        Id::new("proof", &format!("{} is served with its certificate", self.name))
    }

    fn ask(&self, host: &dyn Inspect) -> Result<Verdict> {
        let store = Store::default();
        let live = match store.current(host, &self.certificate)? {
            Some(number) => store.generation(host, &self.certificate, number),
            None => return Ok(Verdict::Pending { until: "the first certificate".into() }),
        };
        let live = match live {
            Ok(live) => live,
            Err(error) => {
                return Ok(Verdict::NotInForce {
                    expected: "a certificate and its key".into(),
                    answer: error.to_string(),
                    hint: "`pitool cert renew` asks for a new one".into(),
                });
            }
        };
        let there = format!("{}:443:127.0.0.1", self.name);
        let output = host.ask(
            &Command::new("curl")
                .args(["--silent", "--show-error", "--max-time", "5", "--insecure", "--output", "/dev/null"])
                .args(["--resolve", &there, "--write-out", "%{certs}"])
                .arg(format!("https://{}/health", self.name)),
        )?;
        Ok(Self::judge(&live, &output))
    }
}

impl CertificateServed {
    fn judge(live: &Generation, output: &Output) -> Verdict {
        let expected = format!("the certificate until {}", date(live));
        let not = |answer: String| Verdict::NotInForce {
            expected: expected.clone(),
            answer,
            hint: "`pitool cert renew` has it loaded, and says why where that does not work".into(),
        };
        if !output.ok() {
            return not(output.tail());
        }
        let served = output.stdout.find("-----BEGIN CERTIFICATE-----").map(|at| &output.stdout[at..]);
        let served = match served.map(Certificate::from_pem) {
            Some(Ok(served)) => served,
            _ => return not("no certificate that can be read".into()),
        };
        if served.fingerprint != live.certificate.fingerprint {
            return not(format!("another one, of {}", served.issuer));
        }
        match live.about.source {
            Source::Placeholder => Verdict::Pending {
                until: "the first certificate; `pitool cert status` says what it waits for".into(),
            },
            Source::Issued | Source::Imported => {
                Verdict::InForce { answer: format!("{}, until {}", served.issuer, date(live)) }
            }
        }
    }
}

fn date(live: &Generation) -> String {
    live.certificate.not_after.to_string().chars().take(10).collect()
}

impl SiteHealthy {
    fn judge(output: &Output) -> Verdict {
        let (body, status) = output.stdout.rsplit_once('\n').unwrap_or(("", ""));
        if output.ok() && status == "200" && body.trim() == "healthy" {
            return Verdict::InForce { answer: "200 healthy".into() };
        }
        let answer = if output.ok() {
            format!("{status} {}", body.lines().next().unwrap_or_default())
        } else {
            output.tail()
        };
        Verdict::NotInForce {
            expected: "200 healthy".into(),
            answer: answer.trim().to_owned(),
            hint: "`nginx -T` shows which server has the name, `journalctl -u nginx -n 20` what went wrong"
                .into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(status: i32, stdout: &str, stderr: &str) -> Output {
        Output { status, stdout: stdout.into(), stderr: stderr.into() }
    }

    #[test]
    fn a_site_is_read_only_when_the_dump_has_it() {
        let dump = "# configuration file /etc/nginx/nginx.conf:\nuser www-data;\n\n\
            # configuration file /etc/nginx/sites-enabled/shop:\nserver {}\n\n";
        let proof = |path: &str| SiteConfigured { path: path.into() };
        let good = output(0, dump, "nginx: configuration file /etc/nginx/nginx.conf test is successful\n");
        assert!(matches!(proof("/etc/nginx/sites-enabled/shop").judge(&good), Verdict::InForce { .. }));
        assert!(matches!(proof("/etc/nginx/sites-enabled/blog").judge(&good), Verdict::NotInForce { .. }));
        let bad = output(
            1,
            "",
            "nginx: [emerg] a duplicate default server for 0.0.0.0:80 in /etc/nginx/sites-enabled/x:4\n",
        );
        let Verdict::NotInForce { answer, .. } = proof("/etc/nginx/sites-enabled/shop").judge(&bad) else {
            panic!("a broken configuration passed")
        };
        assert!(answer.contains("duplicate default server"));
    }

    #[test]
    fn only_healthy_is_healthy() {
        assert!(matches!(SiteHealthy::judge(&output(0, "healthy\n\n200", "")), Verdict::InForce { .. }));
        assert!(matches!(
            SiteHealthy::judge(&output(0, "<html>404</html>\n404", "")),
            Verdict::NotInForce { .. }
        ));
        let refused = output(
            7,
            "\n000",
            "curl: (7) Failed to connect to 127.0.0.1 port 80 after 0 ms: Could not connect to server\n",
        );
        let Verdict::NotInForce { answer, .. } = SiteHealthy::judge(&refused) else {
            panic!("nobody answered")
        };
        assert!(answer.starts_with("curl: (7)"));
    }
}
