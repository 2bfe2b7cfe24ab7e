//! A question to the service pitool-monitor.

use pitool_engine::{Id, Proof, Verdict};
use pitool_host::{Command, Inspect, Output, Result};

/// Whether the monitor answers with metrics, asked over HTTP on this machine.
#[derive(Clone, Debug, PartialEq)]
pub struct MonitorAnswers {
    /// Where it listens.
    pub address: String,
}

impl Proof for MonitorAnswers {
    fn id(&self) -> Id {
        Id::new("proof", "the monitor answers")
    }

    fn ask(&self, host: &dyn Inspect) -> Result<Verdict> {
        // Bash is part of every Debian, and curl is not.
        let script =
            "exec 3<>\"/dev/tcp/$1/$2\" && printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3";
        let (name, port) = self.address.rsplit_once(':').unwrap_or((&self.address, "9101"));
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let command = Command::new("/bin/bash").args(["-c", script, "bash", name, port]);
        Ok(self.judge(&host.ask(&command.timeout(std::time::Duration::from_secs(10)))?))
    }
}

impl MonitorAnswers {
    fn judge(&self, output: &Output) -> Verdict {
        let good =
            output.stdout.starts_with("HTTP/1.1 200 ") && output.stdout.contains("\nnode_boot_time_seconds ");
        if good {
            let count = output.stdout.lines().filter(|line| line.starts_with("# TYPE ")).count();
            return Verdict::InForce { answer: format!("{count} metrics on {}", self.address) };
        }
        let first = output.stdout.lines().next().unwrap_or_default().to_owned();
        Verdict::NotInForce {
            expected: format!("metrics on {}", self.address),
            answer: if first.is_empty() { output.tail() } else { first },
            hint: "`systemctl status pitool-monitor` and `journalctl -u pitool-monitor -n 20` say why".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_metrics_are_an_answer() {
        let proof = MonitorAnswers { address: "127.0.0.1:9101".into() };
        let output = |stdout: &str| Output { status: 0, stdout: stdout.into(), stderr: String::new() };
        let good = "HTTP/1.1 200 OK\r\n\r\n# TYPE node_boot_time_seconds gauge\nnode_boot_time_seconds 1\n";
        assert!(matches!(proof.judge(&output(good)), Verdict::InForce { .. }));
        assert!(matches!(proof.judge(&output("HTTP/1.1 403 Forbidden\r\n\r\n")), Verdict::NotInForce { .. }));
        assert!(matches!(proof.judge(&output("")), Verdict::NotInForce { .. }));
    }
}
