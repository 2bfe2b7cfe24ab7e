//! A small HTTP server that nobody can stop: one thread, `poll(2)`, and a bound for everything.
//!
//! One thread and not a pool: a client that sends a byte a second would hold a thread of a pool, and here it holds 200 bytes. A
//! request's head has 8 KiB and five seconds, an answer five seconds to be taken. When all places are taken, whoever has been
//! waiting longest makes room, so that a thousand idle connections cannot keep a scrape out: it needs a place for a millisecond.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::http::{self, HEAD_LIMIT, Progress, Request};

/// The most connections at one time.
const PLACES: usize = 64;

/// How long a client may take to say what it wants, and then to take the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The most connections taken before those at work are looked at again.
const AT_ONCE: usize = 32;

/// What is answered.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// What the body is.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A good answer.
    pub fn ok(content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, content_type, body: body.into() }
    }

    /// A status with its word.
    pub fn status(status: u16) -> Self {
        let content_type = "text/plain; charset=utf-8";
        Self { status, content_type, body: format!("{}\n", reason(status)).into_bytes() }
    }

    fn bytes(self, head_only: bool) -> Vec<u8> {
        let mut bytes = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
             X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\nX-Frame-Options: DENY\r\n\
             Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; img-src data:\r\n{}Connection: close\r\n\r\n",
            self.status,
            reason(self.status),
            self.content_type,
            self.body.len(),
            if self.status == 401 { "WWW-Authenticate: Bearer realm=\"pitool\"\r\n" } else { "" },
        )
        .into_bytes();
        if !head_only {
            bytes.extend(self.body);
        }
        bytes
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Error",
    }
}

/// A client.
struct Connection {
    stream: TcpStream,
    peer: IpAddr,
    since: Instant,
    read: Vec<u8>,
    /// The answer, and how much of it is sent.
    answer: Option<(Vec<u8>, usize)>,
    done: bool,
}

impl Connection {
    fn new(stream: TcpStream, peer: IpAddr) -> Self {
        Self { stream, peer, since: Instant::now(), read: Vec::new(), answer: None, done: false }
    }

    fn flags(&self) -> PollFlags {
        if self.answer.is_some() { PollFlags::POLLOUT } else { PollFlags::POLLIN }
    }

    /// Goes on as far as it goes without waiting.
    fn advance(&mut self, respond: &mut dyn FnMut(IpAddr, &Request) -> Answer) {
        if self.answer.is_none() {
            let mut chunk = [0; 2048];
            match self.stream.read(&mut chunk) {
                Ok(0) => self.done = true,
                Ok(length) => self.read.extend_from_slice(&chunk[..length]),
                Err(error) if would_block(&error) => return,
                Err(_) => self.done = true,
            }
            let answer = match http::request(&self.read) {
                Progress::Partial => return,
                Progress::Bad(status) => Answer::status(status).bytes(false),
                Progress::Complete(request) => match request.method.as_str() {
                    "GET" => respond(self.peer, &request).bytes(false),
                    "HEAD" => respond(self.peer, &request).bytes(true),
                    _ => Answer::status(405).bytes(false),
                },
            };
            self.read = Vec::new();
            self.since = Instant::now();
            self.answer = Some((answer, 0));
        }
        let Some((answer, sent)) = &mut self.answer else { return };
        while *sent < answer.len() {
            match self.stream.write(&answer[*sent..]) {
                Ok(0) => break,
                Ok(length) => *sent += length,
                Err(error) if would_block(&error) => return,
                Err(_) => break,
            }
        }
        self.done = true;
    }
}

fn would_block(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Binds the address.
///
/// # Errors
/// What the system said: somebody else listens there, or the address is not this machine's.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves until it is told to stop; it notices within half a second.
///
/// # Errors
/// The kernel refuses to wait, which it never does.
pub fn serve(
    listener: &TcpListener,
    stop: &Arc<AtomicBool>,
    mut respond: impl FnMut(IpAddr, &Request) -> Answer,
) -> io::Result<()> {
    let mut connections: Vec<Connection> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let ready = {
            let mut waiting = vec![PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
            waiting.extend(connections.iter().map(|one| PollFd::new(one.stream.as_fd(), one.flags())));
            match poll(&mut waiting, PollTimeout::from(500u16)) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            waiting.iter().map(|fd| fd.revents().is_some_and(|events| !events.is_empty())).collect::<Vec<_>>()
        };
        for (connection, ready) in connections.iter_mut().zip(&ready[1..]) {
            if *ready {
                connection.advance(&mut respond);
            }
        }
        let now = Instant::now();
        connections.retain(|connection| !connection.done && now - connection.since < PATIENCE);
        if ready[0] {
            accept(listener, &mut connections, &mut respond);
        }
    }
    Ok(())
}

fn accept(
    listener: &TcpListener,
    connections: &mut Vec<Connection>,
    respond: &mut dyn FnMut(IpAddr, &Request) -> Answer,
) {
    for _ in 0..AT_ONCE {
        let (stream, peer) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) if would_block(&error) => return,
            // Out of descriptors, or a client that is gone already: those at work go on.
            Err(_) => {
                std::thread::sleep(Duration::from_millis(10));
                return;
            }
        };
        if stream.set_nonblocking(true).is_err() {
            continue;
        }
        if connections.len() >= PLACES {
            let oldest =
                connections.iter().enumerate().min_by_key(|(_, one)| one.since).map(|(index, _)| index);
            if let Some(oldest) = oldest {
                connections.swap_remove(oldest);
            }
        }
        let peer = match peer.ip() {
            IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4),
            v4 => v4,
        };
        let mut connection = Connection::new(stream, peer);
        connection.read.reserve(HEAD_LIMIT.min(512));
        // Most requests are there already.
        connection.advance(respond);
        if !connection.done {
            connections.push(connection);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Serving {
        address: SocketAddr,
        stop: Arc<AtomicBool>,
        thread: Option<std::thread::JoinHandle<()>>,
    }

    impl Serving {
        fn start() -> Self {
            let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let address = listener.local_addr().unwrap();
            let stop = Arc::new(AtomicBool::new(false));
            let flag = Arc::clone(&stop);
            let thread = std::thread::spawn(move || {
                serve(&listener, &flag, |_, request| match request.path.as_str() {
                    "/big" => Answer::ok("text/plain", vec![b'x'; 4 << 20]),
                    "/" => Answer::ok("text/plain", "hello"),
                    _ => Answer::status(404),
                })
                .unwrap();
            });
            Self { address, stop, thread: Some(thread) }
        }

        fn ask(&self, request: &str) -> String {
            let mut stream = TcpStream::connect(self.address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            String::from_utf8_lossy(&answer).into_owned()
        }
    }

    impl Drop for Serving {
        fn drop(&mut self) {
            self.stop.store(true, Ordering::Relaxed);
            self.thread.take().unwrap().join().unwrap();
        }
    }

    const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    #[test]
    fn it_answers() {
        let server = Serving::start();
        let answer = server.ask(GET);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhello"), "{answer}");
        assert!(server.ask("HEAD / HTTP/1.1\r\n\r\n").ends_with("\r\n\r\n"));
        assert!(server.ask("GET /nothing HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
        assert!(server.ask("POST / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
        assert!(server.ask("nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
        assert!(server.ask("GET /big HTTP/1.1\r\n\r\n").len() > 4 << 20);
    }

    #[test]
    fn a_thousand_idle_connections_do_not_keep_a_scrape_out() {
        let server = Serving::start();
        let mut idle = Vec::new();
        for _ in 0..1000 {
            let mut stream = TcpStream::connect(server.address).unwrap();
            let _ = stream.write_all(b"GET / HT");
            idle.push(stream);
        }
        let started = Instant::now();
        assert!(server.ask(GET).ends_with("hello"));
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    }

    #[test]
    fn heads_without_end_and_clients_without_haste() {
        let server = Serving::start();
        assert!(
            server
                .ask(&format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(100_000)))
                .starts_with("HTTP/1.1 431 ")
        );
        // One byte every 300 ms, for ever: it is let go after five seconds, and others are served meanwhile.
        let mut slow = TcpStream::connect(server.address).unwrap();
        slow.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        let started = Instant::now();
        let mut gone = None;
        for byte in b"GET / HTTP/1.1\r\nX: ".iter().chain(std::iter::repeat(&b'a')).take(40) {
            let mut nothing = [0; 1];
            let over = slow.write_all(&[*byte]).is_err() || matches!(slow.read(&mut nothing), Ok(0));
            if over {
                gone = Some(started.elapsed());
                break;
            }
            assert!(server.ask(GET).ends_with("hello"));
            std::thread::sleep(Duration::from_millis(300));
        }
        let gone = gone.expect("it was let go");
        assert!(gone > Duration::from_secs(4) && gone < Duration::from_secs(9), "{gone:?}");
    }

    #[test]
    fn a_client_that_does_not_take_its_answer() {
        let server = Serving::start();
        let mut stuck = Vec::new();
        for _ in 0..20 {
            let mut stream = TcpStream::connect(server.address).unwrap();
            stream.write_all(b"GET /big HTTP/1.1\r\n\r\n").unwrap();
            stuck.push(stream);
        }
        assert!(server.ask(GET).ends_with("hello"));
    }
}
