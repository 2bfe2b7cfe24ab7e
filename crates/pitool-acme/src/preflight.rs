//! What can be found out here before a CA is asked: a failed preflight costs none of its limits.
//!
//! The CA looks from outside; this machine cannot. But most of what goes wrong shows here too: a name that leads
//! nowhere or to another machine, a stale AAAA, a CAA record for somebody else, a port 80 that answers with something
//! else, a wrong clock, a full disk.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use pitool_host::text::hex;
use pitool_host::{Access, Host, http};

use crate::authority::Method;
use crate::dns::{Kind, Record, Resolver};
use crate::obstacle::Obstacle;

fn obstacle(what: impl Into<String>, advice: impl Into<String>) -> Obstacle {
    Obstacle { what: what.into(), advice: advice.into(), doubtful: false }
}

/// One that only this machine's place in the network may be to blame for.
fn doubtful(what: impl Into<String>, advice: impl Into<String>) -> Obstacle {
    Obstacle { doubtful: true, ..obstacle(what, advice) }
}

/// What is looked at.
#[derive(Clone, Debug)]
pub struct Preflight<'p> {
    /// The names of the certificate.
    pub names: &'p [String],
    /// How the control over them is shown.
    pub method: Method,
    /// Whom to ask about names.
    pub resolver: &'p Resolver,
    /// Where nginx looks for tokens.
    pub challenges: &'p str,
    /// Where certificates are stored.
    pub store: &'p str,
    /// The names of the CA in CAA records; none where it does not say.
    pub identities: &'p [String],
    /// The port of HTTP-01: 80, except in tests.
    pub port: u16,
}

/// The name of the probe. What is in it is random, so that nobody else can answer for it.
const PROBE: &str = "pitool-probe";

/// How long a machine on the way may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A run may just have reloaded nginx, whose workers of before still answer for a moment.
const RELOADING: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(200);

impl Preflight<'_> {
    /// Looks at everything; what stands in the way, each with what to do.
    pub fn look(&self, host: &dyn Host) -> Vec<Obstacle> {
        let mut found = Vec::new();
        let token = self.disk(host, &mut found);
        if self.method == Method::Http01 {
            if let Some(token) = &token {
                self.web(host, token, &mut found);
            }
        }
        for name in self.names {
            if let Err(why) = self.caa(name) {
                found.push(why);
            }
        }
        // A probe that stays is of no use to anybody; the next one takes its place.
        let _ = host.remove(&format!("{}/{PROBE}", self.challenges));
        found
    }

    /// Writes a probe where certificates and where tokens go; returns what is in it.
    fn disk(&self, host: &dyn Host, found: &mut Vec<Obstacle>) -> Option<String> {
        let token: String = match host.random(8) {
            Ok(bytes) => hex(&bytes),
            Err(error) => {
                found.push(obstacle(format!("no random numbers: {error}"), "the kernel should have them"));
                return None;
            }
        };
        let mut places = vec![self.store];
        if self.method == Method::Http01 {
            places.push(self.challenges);
        }
        for place in places {
            let path = format!("{place}/{PROBE}");
            if let Err(error) = host.write(&path, token.as_bytes(), Access::root(0o644)) {
                let why = crate::error::AcmeError::Machine(error).whole();
                found.push(obstacle(
                    format!("nothing can be written into {place}: {why}"),
                    "make room or see why the disk is read-only; without it a certificate would be got and lost",
                ));
                return None;
            }
            if place == self.store {
                let _ = host.remove(&path);
            }
        }
        Some(token)
    }

    /// Fetches the token as the CA will: at this machine first, then at each address of each name.
    fn web(&self, host: &dyn Host, token: &str, found: &mut Vec<Obstacle>) {
        let path = format!("/.well-known/acme-challenge/{PROBE}");
        let Some(first) = self.names.first() else { return };
        let here = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), self.port);
        let answer = fetch_while_reloading(host, here, first, &path, token);
        if !answer.hands_out(token) {
            found.push(obstacle(
                format!(
                    "nginx does not hand out the files for the CA on port {}: {}",
                    self.port,
                    answer.words()
                ),
                "`pitool apply ssl` sets it up; a site of your own that answers for the name needs the line \
                 `include snippets/pitool-acme.conf;`",
            ));
            return;
        }
        for name in self.names {
            if name.starts_with("*.") {
                found.push(obstacle(
                    format!("{name} is a wildcard, which no file can show the control of"),
                    "set `challenge = \"dns-01\"` and `dns_hook` in [ssl]",
                ));
                continue;
            }
            self.addresses(name, &path, token, found);
        }
    }

    fn addresses(&self, name: &str, path: &str, token: &str, found: &mut Vec<Obstacle>) {
        let mut addresses = Vec::new();
        let mut failed = Vec::new();
        for kind in [Kind::A, Kind::Aaaa] {
            match self.resolver.ask(name, kind) {
                Ok(answer) => {
                    addresses.extend(answer.records.into_iter().filter_map(|record| match record {
                        Record::Address(address) => Some(address),
                        _ => None,
                    }))
                }
                Err(error) => failed.push(error.to_string()),
            }
        }
        if addresses.is_empty() {
            let (what, advice) = match failed.first() {
                Some(why) => {
                    (format!("{name} cannot be looked up: {why}"), "mend the name server or the network")
                }
                None => (
                    format!("{name} has no address"),
                    "make an A record with this machine's public address for it",
                ),
            };
            found.push(obstacle(what, advice));
            return;
        }
        for address in addresses {
            let answer = fetch(SocketAddr::new(address, self.port), name, path);
            if let Some(why) = judge(name, address, is_here(address), &answer, token) {
                found.push(why);
            }
        }
    }

    /// Whether the CAA records of a name or of its parents let this CA issue, RFC 8659 section 3.
    fn caa(&self, name: &str) -> Result<(), Obstacle> {
        let wildcard = name.starts_with("*.");
        let mut at = name.trim_start_matches("*.");
        loop {
            let answer = self.resolver.ask(at, Kind::Caa).map_err(|error| {
                doubtful(
                    format!("the CAA records of {at} cannot be looked up: {error}"),
                    "if the CA finds the same it refuses: mend the name server of the domain, or this machine's",
                )
            })?;
            let records: Vec<&Record> =
                answer.records.iter().filter(|record| matches!(record, Record::Caa { .. })).collect();
            if !records.is_empty() {
                return match caa_allows(&records, wildcard, self.identities) {
                    true => Ok(()),
                    false => Err(obstacle(
                        format!("a CAA record of {at} does not let this CA issue for {name}"),
                        format!(
                            "add a record `0 {} \"{}\"` beside it",
                            if wildcard { "issuewild" } else { "issue" },
                            self.identities.first().map_or("THE-CA", String::as_str)
                        ),
                    )),
                };
            }
            match at.split_once('.') {
                Some((_, parent)) if parent.contains('.') => at = parent,
                _ => return Ok(()),
            }
        }
    }
}

/// Whether these records let a CA of these names issue.
fn caa_allows(records: &[&Record], wildcard: bool, identities: &[String]) -> bool {
    const KNOWN: &[&str] =
        &["issue", "issuewild", "iodef", "issuemail", "issuevmc", "contactemail", "contactphone"];
    let mut issue = Vec::new();
    let mut issuewild = Vec::new();
    for record in records {
        let Record::Caa { critical, tag, value } = record else { continue };
        let who = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match tag.as_str() {
            "issue" => issue.push(who),
            "issuewild" => issuewild.push(who),
            tag if *critical && !KNOWN.contains(&tag) => return false,
            _ => {}
        }
    }
    let relevant = if wildcard && !issuewild.is_empty() { issuewild } else { issue };
    // A CA that does not tell its names has to judge for itself.
    relevant.is_empty()
        || identities.is_empty() && relevant.iter().any(|who| !who.is_empty())
        || relevant.iter().any(|who| identities.iter().any(|own| own.eq_ignore_ascii_case(who)))
}

/// Whether an address is one of this machine's: only then can a socket have it.
fn is_here(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// What an address of a name answered.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fetched {
    Answer { status: u16, body: String },
    Refused(String),
    Silent,
}

impl Fetched {
    fn hands_out(&self, token: &str) -> bool {
        matches!(self, Self::Answer { status: 200, body } if body.trim() == token)
    }

    fn words(&self) -> String {
        match self {
            Self::Answer { status, .. } if (300..400).contains(status) => {
                format!("it answers {status}, a redirect")
            }
            Self::Answer { status: 200, .. } => "it answers something else".into(),
            Self::Answer { status: 0, .. } => "what answers does not speak HTTP".into(),
            Self::Answer { status, .. } => format!("it answers {status}"),
            Self::Refused(why) => format!("nobody answers ({why})"),
            Self::Silent => "it does not answer".into(),
        }
    }
}

/// What an address's answer means. A machine behind a router may be unable to reach its own public IPv4 address, so
/// silence there says nothing; IPv6 has no such routers, and silence there is a stale record.
fn judge(name: &str, address: IpAddr, here: bool, answer: &Fetched, token: &str) -> Option<Obstacle> {
    let record = if address.is_ipv4() { "A" } else { "AAAA" };
    match answer {
        answer if answer.hands_out(token) => None,
        // From inside, a router answers at its own public address itself; and the CA follows a redirect.
        Fetched::Answer { status, .. } => Some(Obstacle {
            doubtful: !here && address.is_ipv4() || (300..400).contains(status),
            ..obstacle(
                format!(
                    "{name} leads to {address} ({record}), and another answer than this machine's comes from there: {}",
                    answer.words()
                ),
                format!(
                    "correct the {record} record, or let what stands before this machine hand on port 80"
                ),
            )
        }),
        _ if here => Some(obstacle(
            format!(
                "{name} leads to {address}, which is this machine, and port 80 is closed there: {}",
                answer.words()
            ),
            format!(
                "does nginx listen on that address, and does the firewall let port 80 in? ({record} record)"
            ),
        )),
        _ if address.is_ipv6() => Some(obstacle(
            format!("{name} leads to {address} (AAAA), which is not this machine: {}", answer.words()),
            "correct the AAAA record or take it away: the CA tries IPv6 first",
        )),
        _ => None,
    }
}

/// Fetches, and again for a moment while the answer is a wrong one. Silence and a closed port are no old worker's.
fn fetch_while_reloading(
    host: &dyn Host,
    address: SocketAddr,
    name: &str,
    path: &str,
    token: &str,
) -> Fetched {
    let mut answer = fetch(address, name, path);
    let mut waited = Duration::ZERO;
    while matches!(answer, Fetched::Answer { .. }) && !answer.hands_out(token) && waited < RELOADING {
        host.sleep(PAUSE);
        waited += PAUSE;
        answer = fetch(address, name, path);
    }
    answer
}

/// One plain GET, by HTTP/1.1 and without following anything.
fn fetch(address: SocketAddr, name: &str, path: &str) -> Fetched {
    let mut stream = match TcpStream::connect_timeout(&address, PATIENCE) {
        Ok(stream) => stream,
        Err(error) if error.kind() == std::io::ErrorKind::TimedOut => return Fetched::Silent,
        Err(error) => return Fetched::Refused(error.to_string()),
    };
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let _ = stream.set_write_timeout(Some(PATIENCE));
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {name}\r\nUser-Agent: pitool\r\nConnection: close\r\n\r\n");
    if let Err(error) = stream.write_all(request.as_bytes()) {
        return Fetched::Refused(error.to_string());
    }
    let mut bytes = Vec::new();
    // Some 64 KiB are more than any answer to this; whatever was read before an error counts.
    let read = stream.take(64 << 10).read_to_end(&mut bytes);
    if bytes.is_empty() {
        return match read {
            Err(_) => Fetched::Silent,
            Ok(_) => Fetched::Answer { status: 0, body: String::new() },
        };
    }
    match http::answer(&bytes) {
        Some(answer) => Fetched::Answer {
            status: answer.status,
            body: String::from_utf8_lossy(&answer.body).into_owned(),
        },
        // Too long to be the token, or no HTTP.
        None => Fetched::Answer { status: http::status(&bytes).unwrap_or(0), body: String::new() },
    }
}

#[cfg(test)]
mod tests {
    use pitool_host::Inspect;
    use pitool_sim::Sim;

    use super::*;

    fn caa(tag: &str, value: &str, critical: bool) -> Record {
        Record::Caa { critical, tag: tag.into(), value: value.into() }
    }

    #[test]
    fn caa_records_as_the_ca_reads_them() {
        let le = ["letsencrypt.org".to_owned()];
        for (records, wildcard, allowed) in [
            (vec![caa("issue", "letsencrypt.org", false)], false, true),
            (vec![caa("issue", "LetsEncrypt.org; validationmethods=http-01", false)], false, true),
            (vec![caa("issue", "other.test", false)], false, false),
            (vec![caa("issue", "other.test", false), caa("issue", "letsencrypt.org", false)], false, true),
            (vec![caa("issue", ";", false)], false, false),
            (vec![caa("issue", "letsencrypt.org", false), caa("issuewild", ";", false)], true, false),
            (vec![caa("issue", "letsencrypt.org", false), caa("issuewild", ";", false)], false, true),
            (vec![caa("issue", "letsencrypt.org", false)], true, true),
            (vec![caa("iodef", "mailto:a@b.test", false)], false, true),
            (vec![caa("tbs", "x", true)], false, false),
            (vec![caa("tbs", "x", false)], false, true),
        ] {
            let references: Vec<&Record> = records.iter().collect();
            assert_eq!(caa_allows(&references, wildcard, &le), allowed, "{records:?} {wildcard}");
        }
        let references = [&caa("issue", "other.test", false)];
        assert!(caa_allows(&references, false, &[]), "a CA without names judges for itself");
        assert!(!caa_allows(&[&caa("issue", ";", false)], false, &[]));
    }

    #[test]
    fn silence_behind_a_router_says_nothing_and_anything_else_does() {
        let (v4, v6): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap());
        let right = Fetched::Answer { status: 200, body: "token\n".into() };
        let wrong = Fetched::Answer { status: 404, body: "token".into() };
        let judge = |address, here, answer: &Fetched| judge("a.test", address, here, answer, "token");
        assert_eq!(judge(v4, false, &right), None);
        assert_eq!(judge(v6, false, &right), None);
        assert!(judge(v4, false, &wrong).unwrap().what.contains("another answer"));
        let moved = Fetched::Answer { status: 301, body: String::new() };
        let is_doubtful = |address, here, answer| judge(address, here, answer).unwrap().doubtful;
        assert!(is_doubtful(v4, false, &wrong) && is_doubtful(v6, true, &moved));
        assert!(!is_doubtful(v4, true, &wrong) && !is_doubtful(v6, false, &wrong));
        assert_eq!(judge(v4, false, &Fetched::Silent), None);
        assert_eq!(judge(v4, false, &Fetched::Refused("refused".into())), None);
        assert!(judge(v4, true, &Fetched::Refused("refused".into())).unwrap().what.contains("closed"));
        assert!(judge(v6, false, &Fetched::Silent).unwrap().advice.contains("AAAA"));
    }

    #[test]
    fn own_addresses_are_known() {
        assert!(is_here("127.0.0.1".parse().unwrap()));
        assert!(!is_here("192.0.2.1".parse().unwrap()));
    }

    const WRONG: &str = "HTTP/1.1 404 Not Found\r\n\r\n";
    const RIGHT: &str = "HTTP/1.1 200 OK\r\n\r\ntoken";

    /// A server that gives these answers, one to each that asks; a closed port after them.
    fn server(answers: Vec<&'static str>) -> SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for text in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 512]).unwrap();
                stream.write_all(text.as_bytes()).unwrap();
            }
        });
        address
    }

    #[test]
    fn what_does_not_speak_http_is_no_answer() {
        let address = server(vec!["SSH-2.0-OpenSSH\r\n", RIGHT, "HTTP/1.1 301 Moved\r\n\r\n"]);
        assert_eq!(fetch(address, "a.test", "/x"), Fetched::Answer { status: 0, body: String::new() });
        assert_eq!(fetch(address, "a.test", "/x"), Fetched::Answer { status: 200, body: "token".into() });
        assert!(fetch(address, "a.test", "/x").words().contains("redirect"));
    }

    #[test]
    fn a_wrong_answer_is_asked_again_for_a_moment_and_a_closed_port_is_not() {
        let sim = Sim::debian(13);
        let ask = |address| {
            let before = sim.now();
            let answer = fetch_while_reloading(&sim, address, "a.test", "/x", "token");
            (answer, sim.now().duration_since(before).unsigned_abs())
        };

        let (answer, waited) = ask(server(vec![WRONG, WRONG, WRONG, RIGHT]));
        assert!(answer.hands_out("token") && waited == 3 * PAUSE, "{answer:?} after {waited:?}");

        let (answer, waited) = ask(server(vec![WRONG; 99]));
        assert_eq!((answer, waited), (Fetched::Answer { status: 404, body: String::new() }, RELOADING));

        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (answer, waited) = ask(closed);
        assert!(matches!(answer, Fetched::Refused(_)) && waited.is_zero(), "{answer:?} after {waited:?}");
    }
}
