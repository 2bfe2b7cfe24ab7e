//! A mail, handed to a mail server: the little of SMTP that submission needs (RFC 5321, 3207, 4954, 6409).
//!
//! Of our own and not a crate's: one message, one connection, three ways to be private. A mail library brings forty crates and
//! what it can do beyond that (pools, parsing, signing) nobody needs here.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use pitool_config::settings::{Mail, MailSecurity};
use pitool_net::{tls, trust};

use super::encode::encoded_word;
use super::secret::secret;
use crate::alert::message::Message;

/// How long the server may take for one answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The longest line of an answer (RFC 5321, 4.5.3.1.5: 512), generously.
const LINE: u64 = 4096;

/// The most lines of one answer.
const LINES: usize = 100;

trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

/// Hands a message to the server.
pub(super) fn send(mail: &Mail, message: &Message, body: &str, now: Timestamp) -> Result<(), String> {
    let Some(server) = &mail.server else { return Err("`server` is not set".to_owned()) };
    let Some(from) = &mail.from else { return Err("`from` is not set".to_owned()) };
    let to = if mail.to.is_empty() { std::slice::from_ref(from) } else { mail.to.as_slice() };
    let password = mail.password_file.as_ref().map(secret).transpose()?;
    let port = mail.port.map_or(
        match mail.security {
            MailSecurity::Starttls => 587,
            MailSecurity::Tls => 465,
            MailSecurity::None => 25,
        },
        pitool_config::values::Port::number,
    );
    let login = mail.user.as_ref().map(|user| user.as_str()).zip(password.as_deref());
    if login.is_some() && mail.security == MailSecurity::None {
        return Err("a password is never sent in the clear: set `security`, or take `user` away".to_owned());
    }
    let said = |error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            format!("no answer within {} s", PATIENCE.as_secs())
        }
        _ => error.to_string(),
    };
    let socket = connect(server.as_str(), port).map_err(said)?;
    let mut talk = match mail.security {
        MailSecurity::Tls => Talk::new(secured(socket, server.as_str())?),
        MailSecurity::None => Talk::new(Box::new(socket)),
        MailSecurity::Starttls => {
            let mut talk = Talk::new(Box::new(socket.try_clone().map_err(said)?));
            talk.expect(220)?;
            let offers = talk.hello(&message.host)?;
            if !offers.iter().any(|offer| offer.eq_ignore_ascii_case("STARTTLS")) {
                return Err("the server does not offer STARTTLS, and nothing is sent in the clear".to_owned());
            }
            talk.say("STARTTLS")?;
            talk.expect(220)?;
            // What came before the handshake in the same breath would be an attacker's (CVE-2011-0411).
            if !talk.stream.buffer().is_empty() {
                return Err("the server spoke before TLS was there".to_owned());
            }
            Talk::new(secured(socket, server.as_str())?)
        }
    };
    if mail.security != MailSecurity::Starttls {
        talk.expect(220)?;
    }
    let offers = talk.hello(&message.host)?;
    if let Some((user, password)) = login {
        authenticate(&mut talk, &offers, user, password)?;
    }
    talk.say(&format!("MAIL FROM:<{from}>"))?;
    talk.expect(250)?;
    for to in to {
        talk.say(&format!("RCPT TO:<{to}>"))?;
        talk.expect(250)?;
    }
    talk.say("DATA")?;
    talk.expect(354)?;
    talk.say(&letter(from.as_str(), to, message, body, now))?;
    talk.expect(250)?;
    // It has the message; how it says goodbye does not matter.
    let _ = talk.say("QUIT");
    Ok(())
}

fn connect(server: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::other("its name has no address");
    for address in (server, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(socket) => {
                socket.set_read_timeout(Some(PATIENCE))?;
                socket.set_write_timeout(Some(PATIENCE))?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn secured(socket: TcpStream, server: &str) -> Result<Box<dyn Stream>, String> {
    let roots = trust::machine().map_err(|error| error.to_string())?;
    let settings = tls::config(&roots).map_err(|error| error.to_string())?;
    let name =
        rustls_pki_types::ServerName::try_from(server.to_owned()).map_err(|error| error.to_string())?;
    let connection = rustls::ClientConnection::new(settings, name).map_err(|error| error.to_string())?;
    Ok(Box::new(rustls::StreamOwned::new(connection, socket)))
}

fn authenticate(talk: &mut Talk, offers: &[String], user: &str, password: &str) -> Result<(), String> {
    let ways = offers.iter().filter_map(|offer| {
        let (name, ways) = offer.split_once([' ', '='])?;
        name.eq_ignore_ascii_case("AUTH").then_some(ways)
    });
    let ways: Vec<String> = ways.flat_map(str::split_ascii_whitespace).map(str::to_ascii_uppercase).collect();
    let has = |way: &str| ways.iter().any(|offered| offered == way);
    if has("PLAIN") || ways.is_empty() {
        talk.say(&format!("AUTH PLAIN {}", BASE64_STANDARD.encode(format!("\0{user}\0{password}"))))?;
    } else if has("LOGIN") {
        talk.say("AUTH LOGIN")?;
        talk.expect(334)?;
        talk.say(&BASE64_STANDARD.encode(user))?;
        talk.expect(334)?;
        talk.say(&BASE64_STANDARD.encode(password))?;
    } else {
        return Err(format!("the server logs in by {} only, which is not known here", ways.join(", ")));
    }
    talk.expect(235).map(drop)
}

/// The whole letter with its end, every line ended by CR and LF, dots at the beginning of lines doubled.
fn letter(
    from: &str,
    to: &[pitool_config::values::MailAddress],
    message: &Message,
    body: &str,
    now: Timestamp,
) -> String {
    let date = rfc2822::to_string(&message.time.to_zoned(jiff::tz::TimeZone::UTC)).unwrap_or_default();
    let to: Vec<&str> = to.iter().map(AsRef::as_ref).collect();
    let domain = from.rsplit('@').next().unwrap_or("localhost");
    let mut lines = vec![
        format!("From: <{from}>"),
        format!("To: {}", to.iter().map(|to| format!("<{to}>")).collect::<Vec<_>>().join(", ")),
        format!("Subject: {}", encoded_word(&message.title)),
        format!("Date: {date}"),
        format!("Message-ID: <{}.{}@{domain}>", now.as_nanosecond(), std::process::id()),
        "Auto-Submitted: auto-generated".to_owned(),
        "MIME-Version: 1.0".to_owned(),
        "Content-Type: text/plain; charset=utf-8".to_owned(),
        "Content-Transfer-Encoding: base64".to_owned(),
        String::new(),
    ];
    // In base64 no line is too long, and no dot stands at a line's beginning.
    let text = BASE64_STANDARD.encode(body);
    lines.extend(text.as_bytes().chunks(76).map(|line| String::from_utf8_lossy(line).into_owned()));
    lines.push(".".to_owned());
    lines.join("\r\n")
}

/// A conversation.
struct Talk {
    stream: BufReader<Box<dyn Stream>>,
}

impl Talk {
    fn new(stream: Box<dyn Stream>) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    fn say(&mut self, line: &str) -> Result<(), String> {
        let stream = self.stream.get_mut();
        stream
            .write_all(format!("{line}\r\n").as_bytes())
            .and_then(|()| stream.flush())
            .map_err(|error| error.to_string())
    }

    /// Reads an answer of one or more lines.
    fn answer(&mut self) -> Result<(u16, Vec<String>), String> {
        let mut lines = Vec::new();
        for _ in 0..LINES {
            let mut line = String::new();
            let read = self.stream.by_ref().take(LINE).read_line(&mut line);
            match read {
                Ok(0) => return Err("the server hung up".to_owned()),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Err(format!("no answer within {} s", PATIENCE.as_secs()));
                }
                Err(error) => return Err(error.to_string()),
            }
            let line = line.trim_end();
            let code = line.get(..3).and_then(|code| code.parse().ok());
            let Some(code) = code else { return Err("what came back is not SMTP".to_owned()) };
            lines.push(line.get(4..).unwrap_or_default().to_owned());
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok((code, lines));
            }
        }
        Err("the answer has no end".to_owned())
    }

    fn expect(&mut self, wanted: u16) -> Result<Vec<String>, String> {
        match self.answer()? {
            (code, lines) if code == wanted => Ok(lines),
            (code, lines) => Err(format!(
                "the server said {code} {}",
                lines.join(" ").chars().take(160).collect::<String>()
            )),
        }
    }

    fn hello(&mut self, host: &str) -> Result<Vec<String>, String> {
        let name: String =
            host.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-' || *c == '.').collect();
        self.say(&format!("EHLO {}", if name.is_empty() { "localhost" } else { &name }))?;
        self.expect(250)
    }
}
