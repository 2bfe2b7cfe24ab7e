//! A CA in this process, with what Debian's pebble lacks (profiles, `alreadyReplaced`, windows that move) and with faults,
//! and a name server beside it.
//!
//! It believes every signature: that they are right is pebble's to say. Names are valid at once unless told otherwise.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use serde_json::{Value, json};

/// What goes wrong with the next request to a path.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The socket is accepted and nothing ever comes.
    Stall,
    /// The connection is closed without an answer.
    Close,
    /// An answer that is too long.
    Huge,
    /// An answer that comes a byte at a time.
    Slow,
    /// A status with headers and a body.
    Answer(u16, Vec<(&'static str, String)>, String),
}

/// What the CA knows, and how it behaves.
pub(crate) struct Inner {
    pub(crate) url: String,
    /// The time from which its certificates are good.
    pub(crate) now: Timestamp,
    /// How long they are.
    pub(crate) lifetime: SignedDuration,
    pub(crate) profiles: Vec<&'static str>,
    /// Whether it tells which profile an order has.
    pub(crate) tells_profile: bool,
    /// Whether it has renewal information; and the window.
    pub(crate) ari: bool,
    pub(crate) window: Option<(Timestamp, Timestamp)>,
    pub(crate) explanation: Option<String>,
    /// Certificates that were replaced.
    pub(crate) replaced: BTreeSet<String>,
    /// Whether names have to be shown, and what comes of it.
    pub(crate) invalid: Option<(&'static str, &'static str)>,
    /// Whether the directory wants an external account.
    pub(crate) caa: Vec<&'static str>,
    pub(crate) faults: VecDeque<(&'static str, Fault)>,
    /// Every request: path and payload.
    pub(crate) seen: Vec<(String, Value)>,
    orders: BTreeMap<u32, Value>,
    certificates: BTreeMap<u32, String>,
    issuer: Issuer<'static, KeyPair>,
    issuer_pem: String,
    next: u32,
}

/// A CA at an address of its own.
#[derive(Clone)]
pub(crate) struct Ca(Arc<Mutex<Inner>>);

impl Ca {
    /// Starts one; its certificates are good from this time on.
    pub(crate) fn start(now: Timestamp) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "mock authority");
        let issuer_pem = params.self_signed(&key).unwrap().pem();
        let inner = Inner {
            url,
            now,
            lifetime: SignedDuration::from_hours(90 * 24),
            profiles: vec!["classic", "shortlived"],
            tells_profile: true,
            ari: true,
            window: None,
            explanation: None,
            replaced: BTreeSet::new(),
            invalid: None,
            caa: vec!["ca.test"],
            faults: VecDeque::new(),
            seen: Vec::new(),
            orders: BTreeMap::new(),
            certificates: BTreeMap::new(),
            issuer: Issuer::new(params, key),
            issuer_pem,
            next: 1,
        };
        let ca = Self(Arc::new(Mutex::new(inner)));
        let served = ca.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let ca = served.clone();
                std::thread::spawn(move || ca.serve(stream));
            }
        });
        ca
    }

    /// What it knows.
    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The address of its directory.
    pub(crate) fn directory(&self) -> String {
        format!("{}/dir", self.inner().url)
    }

    /// Lets the next such request go wrong.
    pub(crate) fn fail(&self, path: &'static str, fault: Fault) {
        self.inner().faults.push_back((path, fault));
    }

    /// How many requests had this path, or one below it where it ends with a slash.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.inner().seen.iter().filter(|(seen, _)| is(seen, path)).count()
    }

    /// The payload of the last such request.
    pub(crate) fn last(&self, path: &str) -> Value {
        self.inner().seen.iter().rev().find(|(seen, _)| is(seen, path)).unwrap().1.clone()
    }

    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        while let Some((method, path, body)) = request(&mut reader) {
            let payload = serde_json::from_slice::<Value>(&body)
                .ok()
                .and_then(|jws| BASE64_URL_SAFE_NO_PAD.decode(jws["payload"].as_str()?).ok())
                .and_then(|payload| serde_json::from_slice(&payload).ok())
                .unwrap_or(Value::Null);
            let fault = {
                let mut inner = self.inner();
                inner.seen.push((path.clone(), payload.clone()));
                let at = inner.faults.iter().position(|(wanted, _)| is(&path, wanted));
                at.and_then(|at| inner.faults.remove(at)).map(|(_, fault)| fault)
            };
            let answer = match fault {
                None => self.inner().answer(&method, &path, &payload),
                Some(Fault::Stall) => {
                    std::thread::sleep(Duration::from_secs(30));
                    return;
                }
                Some(Fault::Close) => return,
                Some(Fault::Huge) => (200, vec![], format!("{{\"x\":\"{}\"}}", "x".repeat(2 << 20))),
                Some(Fault::Slow) => {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
                    for _ in 0..1000 {
                        if stream.write_all(b"x").is_err() {
                            return;
                        }
                        std::thread::sleep(Duration::from_millis(20));
                    }
                    return;
                }
                Some(Fault::Answer(status, headers, body)) => (status, headers, body),
            };
            let (status, headers, body) = answer;
            let mut text = format!(
                "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nReplay-Nonce: n{}\r\n",
                body.len(),
                status
            );
            for (name, value) in headers {
                text += &format!("{name}: {value}\r\n");
            }
            if stream.write_all(format!("{text}\r\n").as_bytes()).is_err() {
                return;
            }
            if method != "HEAD" && stream.write_all(body.as_bytes()).is_err() {
                return;
            }
        }
    }
}

fn is(seen: &str, path: &str) -> bool {
    seen == path || path.ends_with('/') && seen.starts_with(path)
}

fn request(reader: &mut BufReader<TcpStream>) -> Option<(String, String, Vec<u8>)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok().filter(|length| *length > 0)?;
        let header = header.trim().to_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((method, path, body))
}

/// A status, headers and a body.
type Answer = (u16, Vec<(&'static str, String)>, String);

/// A problem document.
pub(crate) fn problem(status: u16, kind: &str, detail: &str) -> Answer {
    let body =
        json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail, "status": status });
    (status, vec![("Content-Type", "application/problem+json".into())], body.to_string())
}

impl Inner {
    fn answer(&mut self, method: &str, path: &str, payload: &Value) -> Answer {
        let url = self.url.clone();
        let json = |status: u16, value: &Value| (status, vec![], value.to_string());
        let number =
            |path: &str| path.rsplit('/').next().and_then(|text| text.parse::<u32>().ok()).unwrap_or(0);
        match path {
            "/dir" => {
                let profiles: BTreeMap<_, _> =
                    self.profiles.iter().map(|name| (*name, "a profile")).collect();
                let mut directory = json!({
                    "newNonce": format!("{url}/nonce"), "newAccount": format!("{url}/account"),
                    "newOrder": format!("{url}/order"), "keyChange": format!("{url}/key-change"),
                    "meta": { "caaIdentities": self.caa, "profiles": profiles },
                });
                if self.ari {
                    directory["renewalInfo"] = format!("{url}/renewal").into();
                }
                json(200, &directory)
            }
            "/nonce" => (200, vec![], String::new()),
            "/account" => (
                201,
                vec![("Location", format!("{url}/account/1"))],
                json!({ "status": "valid" }).to_string(),
            ),
            "/order" => self.new_order(payload),
            _ if path.starts_with("/order/") => json(200, &self.orders[&number(path)]),
            _ if path.starts_with("/authz/") => {
                let (status, error) = match self.invalid {
                    None => ("valid", Value::Null),
                    Some((kind, detail)) => (
                        if self.orders[&number(path)]["status"] == "invalid" { "invalid" } else { "pending" },
                        json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail, "status": 403 }),
                    ),
                };
                let order = &self.orders[&number(path)];
                let mut challenge = json!({
                    "type": "dns-01", "token": "token", "status": status,
                    "url": format!("{url}/challenge/{}", number(path)),
                });
                if status == "invalid" {
                    challenge["error"] = error;
                }
                json(
                    200,
                    &json!({ "status": status, "identifier": order["identifiers"][0], "challenges": [challenge] }),
                )
            }
            _ if path.starts_with("/challenge/") => {
                if let Some(order) = self.orders.get_mut(&number(path)) {
                    order["status"] = "invalid".into();
                }
                json(
                    200,
                    &json!({ "type": "dns-01", "token": "token", "status": "processing", "url": format!("{url}{path}") }),
                )
            }
            _ if path.starts_with("/finalize/") => self.finalize(number(path), payload),
            _ if path.starts_with("/certificate/") => (200, vec![], self.certificates[&number(path)].clone()),
            _ if path.starts_with("/renewal/") => match (method, self.window) {
                ("GET", Some((start, end))) => {
                    let mut info = json!({ "suggestedWindow": { "start": start, "end": end } });
                    if let Some(explanation) = &self.explanation {
                        info["explanationURL"] = explanation.clone().into();
                    }
                    (200, vec![("Retry-After", "21600".into())], info.to_string())
                }
                _ => problem(404, "malformed", "no renewal information"),
            },
            _ => problem(404, "malformed", path),
        }
    }

    fn new_order(&mut self, payload: &Value) -> Answer {
        if let Some(replaces) = payload["replaces"].as_str() {
            if !self.replaced.insert(replaces.to_owned()) {
                return problem(409, "alreadyReplaced", "another order replaces it");
            }
        }
        if let Some(profile) = payload["profile"].as_str() {
            if self.tells_profile && !self.profiles.contains(&profile) {
                return problem(400, "invalidProfile", profile);
            }
        }
        let id = self.next;
        self.next += 1;
        let url = &self.url;
        let mut order = json!({
            "status": if self.invalid.is_some() { "pending" } else { "ready" },
            "identifiers": payload["identifiers"],
            "authorizations": [format!("{url}/authz/{id}")],
            "finalize": format!("{url}/finalize/{id}"),
        });
        if payload["replaces"].is_string() {
            order["replaces"] = payload["replaces"].clone();
        }
        if self.tells_profile && payload["profile"].is_string() {
            order["profile"] = payload["profile"].clone();
        }
        self.orders.insert(id, order.clone());
        (201, vec![("Location", format!("{url}/order/{id}"))], order.to_string())
    }

    fn finalize(&mut self, id: u32, payload: &Value) -> Answer {
        let csr = BASE64_URL_SAFE_NO_PAD.decode(payload["csr"].as_str().unwrap_or_default()).unwrap();
        let mut request = CertificateSigningRequestParams::from_der(&csr.into()).unwrap();
        let date = |moment: Timestamp| {
            let date = moment.to_zoned(jiff::tz::TimeZone::UTC).date();
            date_time_ymd(
                i32::from(date.year()),
                u8::try_from(date.month()).unwrap(),
                u8::try_from(date.day()).unwrap(),
            )
        };
        request.params.not_before = date(self.now);
        request.params.not_after = date(self.now.checked_add(self.lifetime).unwrap());
        request.params.use_authority_key_identifier_extension = true;
        let certificate = request.signed_by(&self.issuer).unwrap();
        self.certificates.insert(id, certificate.pem() + &self.issuer_pem);
        let certificate = format!("{}/certificate/{id}", self.url);
        let order = self.orders.get_mut(&id).unwrap();
        order["status"] = "valid".into();
        order["certificate"] = certificate.into();
        (200, vec![], order.to_string())
    }
}

/// What a name server is told to have, that is to fail at questions for CAA records.
pub(crate) const SERVFAIL: &str = "SERVFAIL";

/// A name server that has one CAA record, or none, and one TXT record.
pub(crate) fn name_server(caa: Option<&'static str>, txt: Option<Arc<Mutex<String>>>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let mut answer = buffer[..length].to_vec();
            let kind = u16::from_be_bytes([buffer[length - 4], buffer[length - 3]]);
            answer[2] = 0x81;
            answer[3] = 0x80;
            if (kind, caa) == (257, Some(SERVFAIL)) {
                answer[3] |= 2;
                let _ = socket.send_to(&answer, from);
                continue;
            }
            let data = match (kind, caa, &txt) {
                (257, Some(value), _) => Some([b"\x00\x05issue", value.as_bytes()].concat()),
                (16, _, Some(text)) => {
                    let text = text.lock().unwrap().clone();
                    Some([&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat())
                }
                _ => None,
            };
            if let Some(data) = data {
                answer[7] = 1;
                answer.extend([192, 12]);
                answer.extend(kind.to_be_bytes());
                answer.extend([0, 1, 0, 0, 0, 60]);
                answer.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
                answer.extend(data);
            }
            let _ = socket.send_to(&answer, from);
        }
    });
    address
}
