//! Sinks against receivers on this machine: good ones, and ones that are down, slow, or say no.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use pitool_config::Fragment;

use super::*;
use crate::finding::Finding;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// Takes one request, answers with this, and hands it over.
fn receiver(answer: &'static str) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut bytes = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            let length = stream.read(&mut chunk).unwrap_or(0);
            bytes.extend_from_slice(&chunk[..length]);
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let wanted = text.lines().find_map(|line| {
                line.to_lowercase().strip_prefix("content-length: ").map(|n| n.parse::<usize>().unwrap())
            });
            let body = text.split_once("\r\n\r\n").map(|(_, body)| body.len());
            if length == 0 || body.is_some() && body >= wanted {
                stream.write_all(answer.as_bytes()).unwrap();
                send.send(text).unwrap();
                return;
            }
        }
    });
    (port, receive)
}

const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn sinks(config: &str) -> Vec<Sink> {
    let settings = pitool_config::load(&[Fragment::new("t", config)]).unwrap().settings;
    Sink::all(&settings.monitoring.alerts)
}

fn message() -> Message {
    let now = Timestamp::now();
    let finding = Finding::new("service", Level::Fail, "it said \"no\" — é").of("nginx").hint("start it");
    Message::of(What::Problem, &finding, "pi", now, now)
}

fn send(sink: &Sink) -> Result<(), String> {
    sink.send(&message(), Timestamp::now(), &TimeZone::UTC)
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[test]
fn ntfy_gets_title_priority_and_token() {
    let (port, received) = receiver(GOOD);
    let token = file("tk_secret\n");
    let config = format!(
        "[monitoring.alerts.ntfy]\nurl = \"http://127.0.0.1:{port}/topic\"\ntoken_file = \"{}\"\n",
        token.path().display()
    );
    send(&sinks(&config)[0]).unwrap();
    let request = received.recv().unwrap();
    assert!(request.starts_with("POST /topic HTTP/1.1\r\n"), "{request}");
    let lower = request.to_lowercase();
    assert!(lower.contains("title: pi: service nginx fail\r\n") && lower.contains("priority: high\r\n"));
    assert!(request.contains("Bearer tk_secret\r\n"));
    assert!(request.ends_with("\r\n\r\nit said \"no\" — é\nstart it"));
}

#[test]
fn a_webhook_with_a_template_and_without() {
    let (port, received) = receiver(GOOD);
    let body = r#"{ "msg": "{title}: {text}", "other": {"x": "{unknown}"} }"#;
    let config =
        format!("[monitoring.alerts.webhook]\nurl = \"http://127.0.0.1:{port}/hook\"\nbody = '{body}'\n");
    send(&sinks(&config)[0]).unwrap();
    let request = received.recv().unwrap();
    let body: serde_json::Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(body["msg"], "pi: service nginx fail: it said \"no\" — é\nstart it");
    assert_eq!(body["other"]["x"], "{unknown}");

    let (port, received) = receiver(GOOD);
    let url = file(&format!("http://127.0.0.1:{port}/secret\n"));
    let config = format!("[monitoring.alerts.webhook]\nurl_file = \"{}\"\n", url.path().display());
    send(&sinks(&config)[0]).unwrap();
    let request = received.recv().unwrap();
    let body: serde_json::Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!((body["version"].as_u64(), body["check"].as_str()), (Some(1), Some("service[nginx]")));
}

#[test]
fn slack_takes_text() {
    let (port, received) = receiver(GOOD);
    let url = file(&format!("http://127.0.0.1:{port}/services/T0/B0/x"));
    send(&sinks(&format!("[monitoring.alerts.slack]\nurl_file = \"{}\"\n", url.path().display()))[0])
        .unwrap();
    let request = received.recv().unwrap();
    let body: serde_json::Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert!(body["text"].as_str().unwrap().starts_with("🔴 *pi: service nginx fail*\n"));
}

#[test]
fn receivers_that_are_down_or_say_no() {
    let (port, _received) = receiver("HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nboom");
    let config =
        |port: u16| format!("[monitoring.alerts.ntfy]\nurl = \"http://127.0.0.1:{port}/secret-topic\"\n");
    assert_eq!(send(&sinks(&config(port))[0]).unwrap_err(), "it answered with status 500 boom");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let why = send(&sinks(&config(free))[0]).unwrap_err();
    assert!(!why.contains("secret-topic") && !why.is_empty(), "{why}");
    let missing = "[monitoring.alerts.slack]\nurl_file = \"/nonexistent/url\"\n";
    assert!(send(&sinks(missing)[0]).unwrap_err().starts_with("/nonexistent/url"));
}

#[test]
fn a_receiver_that_never_answers_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let started = Instant::now();
    let why = send(&sinks(&format!("[monitoring.alerts.ntfy]\nurl = \"http://127.0.0.1:{port}/x\"\n"))[0])
        .unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(25), "{why}");
    assert!(why.contains("no answer within"), "{why}");
}

/// A mail server that follows a script of its answers and hands over what it heard.
fn mail_server(answers: &'static [&'static str]) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut heard = String::new();
        for answer in answers {
            stream.write_all(format!("{answer}\r\n").as_bytes()).unwrap();
            let mut data = answer.starts_with("354");
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 {
                    break;
                }
                heard.push_str(&line);
                if !data || line == ".\r\n" {
                    break;
                }
                data = true;
            }
        }
        let _ = send.send(heard);
    });
    (port, receive)
}

#[test]
fn a_mail_is_handed_over() {
    let (port, heard) = mail_server(&[
        "220 hi",
        "250-mail\r\n250 8BITMIME",
        "250 ok",
        "250 ok",
        "250 ok",
        "354 go",
        "250 queued",
    ]);
    let config = format!(
        "[monitoring.alerts.mail]\nserver = \"localhost\"\nport = {port}\nsecurity = \"none\"\nfrom = \"pi@example.org\"\nto = [\"a@example.org\", \"b@example.org\"]\n"
    );
    send(&sinks(&config)[0]).unwrap();
    let heard = heard.recv().unwrap();
    assert!(heard.starts_with("EHLO pi\r\nMAIL FROM:<pi@example.org>\r\nRCPT TO:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n"), "{heard}");
    assert!(heard.contains("Subject: pi: service nginx fail\r\n") && heard.contains("\r\n.\r\n"));
    assert!(heard.lines().all(|line| line.len() <= 998));
    assert!(heard.contains(&BASE64_STANDARD.encode("it said \"no\" — é\nstart it")[..40]));
}

#[test]
fn no_password_goes_in_the_clear() {
    let password = file("hunter2");
    let common = format!(
        "from = \"pi@example.org\"\nto = [\"a@example.org\"]\nuser = \"pi\"\npassword_file = \"{}\"\n",
        password.path().display()
    );
    let plain = format!("[monitoring.alerts.mail]\nserver = \"localhost\"\nsecurity = \"none\"\n{common}");
    assert!(send(&sinks(&plain)[0]).unwrap_err().contains("never sent in the clear"));
    // A server, or whoever sits before it, that does not offer TLS gets nothing.
    let (port, heard) = mail_server(&["220 hi", "250-mail\r\n250 AUTH PLAIN"]);
    let stripped = format!("[monitoring.alerts.mail]\nserver = \"localhost\"\nport = {port}\n{common}");
    assert!(send(&sinks(&stripped)[0]).unwrap_err().contains("does not offer STARTTLS"));
    assert!(!heard.recv().unwrap().contains("AUTH"));
}

#[test]
fn a_mail_server_that_says_no() {
    let (port, _heard) = mail_server(&["220 hi", "250 mail", "250 ok", "550 no such user"]);
    let config = format!(
        "[monitoring.alerts.mail]\nserver = \"localhost\"\nport = {port}\nsecurity = \"none\"\nfrom = \"pi@example.org\"\nto = [\"a@example.org\"]\n"
    );
    assert_eq!(send(&sinks(&config)[0]).unwrap_err(), "the server said 550 no such user");
}

#[test]
fn headers_are_one_line_of_ascii() {
    assert_eq!(encoded_word("plain"), "plain");
    assert_eq!(encoded_word("a\r\nBcc: x"), "a  Bcc: x");
    assert_eq!(encoded_word("é"), "=?utf-8?B?w6k=?=");
    assert!(encoded_word(&"é".repeat(100)).split(' ').all(|word| word.len() <= 75));
}
