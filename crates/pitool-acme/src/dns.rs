//! Asking the machine's name servers what the CA will find: addresses, CAA, TXT and CNAME records.
//!
//! The libc's resolver knows neither CAA nor TXT, and answers from /etc/hosts, where a machine's own name is always
//! right. This is a stub resolver (RFC 1035) that asks the servers of /etc/resolv.conf and believes their recursion.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use pitool_host::{Content, Inspect};
use ring::rand::{SecureRandom, SystemRandom};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An IPv4 address.
    A,
    /// Another name.
    Cname,
    /// A text.
    Txt,
    /// An IPv6 address.
    Aaaa,
    /// Which CAs may issue, RFC 8659.
    Caa,
}

impl Kind {
    fn number(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Cname => 5,
            Self::Txt => 16,
            Self::Aaaa => 28,
            Self::Caa => 257,
        }
    }
}

/// A record of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An address.
    Address(IpAddr),
    /// The name goes on there.
    Cname(String),
    /// A text, its pieces joined.
    Txt(String),
    /// Who may issue.
    Caa {
        /// Whether who does not understand the tag must not issue.
        critical: bool,
        /// `issue`, `issuewild`, `iodef`, …
        tag: String,
        /// The CA's name and parameters.
        value: String,
    },
}

/// What the name server says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Whether the name exists at all.
    pub exists: bool,
    /// Records of the asked kind, and the aliases on the way to them.
    pub records: Vec<Record>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// /etc/resolv.conf names none.
    #[error("no name server is known: /etc/resolv.conf names none")]
    NoServer,
    /// None of them answers.
    #[error("no name server answers for {0}")]
    Silent(String),
    /// They cannot or will not.
    #[error("the name server answers for {name} with {code}")]
    Refused {
        /// The name.
        name: String,
        /// Its word, RFC 1035 section 4.1.1.
        code: &'static str,
    },
    /// Not a name.
    #[error("{0} is not a host name")]
    Name(String),
}

/// Asks name servers.
#[derive(Clone, Debug)]
pub struct Resolver {
    servers: Vec<SocketAddr>,
    patience: Duration,
}

/// Aliases are followed so far: longer chains are loops.
const ALIASES: usize = 8;

impl Resolver {
    /// Asks these servers, each at most twice.
    pub fn new(servers: Vec<SocketAddr>) -> Self {
        Self { servers, patience: Duration::from_secs(3) }
    }

    /// Asks the machine's servers.
    ///
    /// # Errors
    /// /etc/resolv.conf cannot be read.
    pub fn of(host: &dyn Inspect) -> pitool_host::Result<Self> {
        let content = host.read("/etc/resolv.conf")?;
        let text = content.as_ref().and_then(Content::text).unwrap_or_default();
        let servers = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
        let servers = servers.filter_map(|rest| {
            // A link-local server carries its interface, which connects need as a number; the kernel's own is fine.
            let address = rest.trim().split('%').next()?;
            Some(SocketAddr::new(address.parse().ok()?, 53))
        });
        Ok(Self::new(servers.collect()))
    }

    /// Asks for records of a name, and follows its aliases where the server does not.
    ///
    /// # Errors
    /// Nobody answers, or not with an answer. That the name does not exist is an answer.
    pub fn ask(&self, name: &str, kind: Kind) -> Result<Answer, DnsError> {
        let mut name = name.trim_end_matches('.').to_ascii_lowercase();
        let mut aliases = Vec::new();
        for _ in 0..ALIASES {
            let mut answer = self.one(&name, kind)?;
            let alias = answer.records.iter().rev().find_map(|record| match record {
                Record::Cname(target) => Some(target.clone()),
                _ => None,
            });
            let found = answer.records.iter().any(|record| !matches!(record, Record::Cname(_)));
            match alias {
                Some(target) if !found && kind != Kind::Cname && target != name => {
                    aliases.append(&mut answer.records);
                    name = target;
                }
                _ => {
                    aliases.append(&mut answer.records);
                    return Ok(Answer { exists: answer.exists, records: aliases });
                }
            }
        }
        Err(DnsError::Refused { name, code: "a loop of aliases" })
    }

    fn one(&self, name: &str, kind: Kind) -> Result<Answer, DnsError> {
        if self.servers.is_empty() {
            return Err(DnsError::NoServer);
        }
        let mut id = [0; 2];
        // Without random numbers nothing works at all; a known id is only easier to guess.
        let _ = SystemRandom::new().fill(&mut id);
        let query =
            query(u16::from_be_bytes(id), name, kind).ok_or_else(|| DnsError::Name(name.to_owned()))?;
        let mut last = None;
        for server in self.servers.iter().chain(&self.servers) {
            let Some(bytes) = exchange(*server, &query, self.patience) else { continue };
            match parse(&bytes, kind) {
                Some(Ok(answer)) => return Ok(answer),
                Some(Err(code)) => last = Some(DnsError::Refused { name: name.to_owned(), code }),
                None => last = Some(DnsError::Refused { name: name.to_owned(), code: "nonsense" }),
            }
        }
        Err(last.unwrap_or_else(|| DnsError::Silent(name.to_owned())))
    }
}

fn query(id: u16, name: &str, kind: Kind) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(64);
    bytes.extend(id.to_be_bytes());
    // Recursion desired; one question.
    bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
        bytes.push(length);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(kind.number().to_be_bytes());
    bytes.extend([0, 1]);
    Some(bytes)
}

/// Sends a question; by TCP where the answer does not fit into a datagram.
fn exchange(server: SocketAddr, query: &[u8], patience: Duration) -> Option<Vec<u8>> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(server).ok()?;
    socket.set_read_timeout(Some(patience)).ok()?;
    socket.send(query).ok()?;
    let mut buffer = [0; 4096];
    // Datagrams that answer another question are not ours; a few of them may be late ones.
    for _ in 0..4 {
        let length = socket.recv(&mut buffer).ok()?;
        let answer = &buffer[..length];
        if answer.len() < 12 || answer[..2] != query[..2] {
            continue;
        }
        let truncated = answer[2] & 2 != 0;
        return if truncated { by_tcp(server, query, patience) } else { Some(answer.to_vec()) };
    }
    None
}

fn by_tcp(server: SocketAddr, query: &[u8], patience: Duration) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, patience).ok()?;
    stream.set_read_timeout(Some(patience)).ok()?;
    stream.set_write_timeout(Some(patience)).ok()?;
    let mut framed = u16::try_from(query.len()).ok()?.to_be_bytes().to_vec();
    framed.extend(query);
    stream.write_all(&framed).ok()?;
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).ok()?;
    (answer.len() >= 12 && answer[..2] == query[..2]).then_some(answer)
}

/// Reads an answer; `None` where it is damaged, the server's word where it is a refusal.
fn parse(bytes: &[u8], kind: Kind) -> Option<Result<Answer, &'static str>> {
    let exists = match bytes.get(3)? & 15 {
        0 => true,
        3 => false,
        code => {
            return Some(Err(match code {
                1 => "FORMERR",
                2 => "SERVFAIL",
                4 => "NOTIMP",
                5 => "REFUSED",
                _ => "an error",
            }));
        }
    };
    let number = |at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let mut at = 12;
    for _ in 0..number(4)? {
        at = name(bytes, at)?.1 + 4;
    }
    let mut records = Vec::new();
    for _ in 0..number(6)? {
        let start = name(bytes, at)?.1;
        let length = usize::from(number(start + 8)?);
        let data = bytes.get(start + 10..start + 10 + length)?;
        let asked = number(start)?;
        if asked == Kind::Cname.number() {
            records.push(Record::Cname(name(bytes, start + 10)?.0));
        } else if asked == kind.number() {
            records.push(record(kind, data)?);
        }
        at = start + 10 + length;
    }
    Some(Ok(Answer { exists, records }))
}

fn record(kind: Kind, data: &[u8]) -> Option<Record> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some(match kind {
        Kind::A => Record::Address(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).into()),
        Kind::Aaaa => Record::Address(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).into()),
        Kind::Cname => return None,
        Kind::Txt => {
            let mut joined = Vec::new();
            let mut rest = data;
            while let Some((length, after)) = rest.split_first() {
                let (piece, after) = after.split_at_checked(usize::from(*length))?;
                joined.extend(piece);
                rest = after;
            }
            Record::Txt(text(&joined))
        }
        Kind::Caa => {
            let (flags, rest) = data.split_first()?;
            let (length, rest) = rest.split_first()?;
            let (tag, value) = rest.split_at_checked(usize::from(*length))?;
            Record::Caa {
                critical: flags & 128 != 0,
                tag: text(tag).to_ascii_lowercase(),
                value: text(value),
            }
        }
    })
}

/// Reads a name and tells where what follows it begins. Compressed names (section 4.1.4) may point back only, so that
/// no answer leads in circles.
fn name(bytes: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels: Vec<String> = Vec::new();
    let mut after = None;
    let mut limit = at;
    let mut length = 0;
    loop {
        let head = *bytes.get(at)?;
        match head {
            0 => return Some((labels.join("."), after.unwrap_or(at + 1))),
            1..=63 => {
                let label = bytes.get(at + 1..at + 1 + usize::from(head))?;
                length += label.len() + 1;
                if length > 255 {
                    return None;
                }
                labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
                at += 1 + usize::from(head);
            }
            192.. => {
                let target = usize::from(head & 63) << 8 | usize::from(*bytes.get(at + 1)?);
                after = after.or(Some(at + 2));
                if target >= limit {
                    return None;
                }
                limit = target;
                at = target;
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A server on loopback that answers every question with the same records, by UDP and, when `long`, by TCP.
    fn server(answers: &'static [(&'static str, u16, &'static [u8])], code: u8, long: bool) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let listener = std::net::TcpListener::bind(address).unwrap();
        let respond = move |query: &[u8]| {
            let mut answer = query.to_vec();
            answer[2] = 0x81;
            answer[3] = 0x80 | code;
            let count = u16::try_from(answers.len()).unwrap().to_be_bytes();
            answer[6..8].copy_from_slice(&count);
            for (owner, kind, data) in answers {
                if owner.is_empty() {
                    answer.extend([192, 12]);
                } else {
                    let mut encoded = super::query(0, owner, Kind::A).unwrap().split_off(12);
                    encoded.truncate(encoded.len() - 4);
                    answer.extend(encoded);
                }
                answer.extend(kind.to_be_bytes());
                answer.extend([0, 1, 0, 0, 0, 60]);
                answer.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
                answer.extend(*data);
            }
            answer
        };
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let mut answer = respond(&buffer[..length]);
                if long {
                    answer.truncate(12);
                    answer[2] |= 2;
                    answer[6..8].copy_from_slice(&[0, 0]);
                }
                socket.send_to(&answer, from).unwrap();
            }
        });
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut length = [0; 2];
                stream.read_exact(&mut length).unwrap();
                let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut query).unwrap();
                let answer = respond(&query);
                stream.write_all(&u16::try_from(answer.len()).unwrap().to_be_bytes()).unwrap();
                stream.write_all(&answer).unwrap();
            }
        });
        address
    }

    #[test]
    fn records_of_every_kind_and_an_alias_before_them() {
        let resolver = Resolver::new(vec![server(
            &[("", 5, b"\x01b\x04test\x00"), ("b.test", 1, &[192, 0, 2, 7])],
            0,
            false,
        )]);
        let answer = resolver.ask("a.test", Kind::A).unwrap();
        assert_eq!(
            answer.records,
            [Record::Cname("b.test".into()), Record::Address("192.0.2.7".parse().unwrap())]
        );
        let resolver = Resolver::new(vec![server(&[("", 16, b"\x02ab\x01c")], 0, true)]);
        assert_eq!(resolver.ask("a.test", Kind::Txt).unwrap().records, [Record::Txt("abc".into())]);
        let resolver = Resolver::new(vec![server(&[("", 257, b"\x80\x05issueca.test")], 0, false)]);
        let Record::Caa { critical, tag, value } =
            resolver.ask("a.test", Kind::Caa).unwrap().records.remove(0)
        else {
            panic!()
        };
        assert_eq!((critical, tag.as_str(), value.as_str()), (true, "issue", "ca.test"));
    }

    #[test]
    fn no_name_is_an_answer_and_a_broken_server_is_none() {
        let answer = Resolver::new(vec![server(&[], 3, false)]).ask("a.test", Kind::A).unwrap();
        assert!(!answer.exists);
        let error = Resolver::new(vec![server(&[], 2, false)]).ask("a.test", Kind::A).unwrap_err();
        assert_eq!(error, DnsError::Refused { name: "a.test".into(), code: "SERVFAIL" });
        assert_eq!(Resolver::new(vec![]).ask("a.test", Kind::A), Err(DnsError::NoServer));
        let mut silent = Resolver::new(vec!["127.0.0.1:9".parse().unwrap()]);
        silent.patience = Duration::from_millis(50);
        assert_eq!(silent.ask("a.test", Kind::A), Err(DnsError::Silent("a.test".into())));
        assert!(matches!(
            Resolver::new(vec![server(&[], 0, false)]).ask("a..b", Kind::A),
            Err(DnsError::Name(_))
        ));
    }

    #[test]
    fn the_second_server_answers_where_the_first_does_not() {
        let good = server(&[("", 1, &[192, 0, 2, 7])], 0, false);
        let mut resolver = Resolver::new(vec!["127.0.0.1:9".parse().unwrap(), good]);
        resolver.patience = Duration::from_millis(50);
        assert_eq!(resolver.ask("a.test", Kind::A).unwrap().records.len(), 1);
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0..5usize) {
            let kind = [Kind::A, Kind::Cname, Kind::Txt, Kind::Aaaa, Kind::Caa][kind];
            let _ = parse(&bytes, kind);
            let mut framed = vec![0, 0, 0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 0];
            framed.extend(bytes);
            let _ = parse(&framed, kind);
        }
    }
}
