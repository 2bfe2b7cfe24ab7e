//! HTTP with limits: every request ends, and no answer fills the memory.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use rustls_pki_types::CertificateDer;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, SendBody, Timeout};

/// Servers may want to know who asks (RFC 9110 section 10.1.5; RFC 8555 section 6.1 demands it).
const USER_AGENT: &str = concat!("pitool/", env!("CARGO_PKG_VERSION"));

/// The limits of a client's requests. The default is for small questions and answers.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// To connect, the TLS handshake included.
    pub connect: Duration,
    /// For the whole request, the answer's body included.
    pub whole: Option<Duration>,
    /// To send the request's body.
    pub send: Option<Duration>,
    /// From the end of the request until the answer's head is there.
    pub answer: Option<Duration>,
    /// For each read from the connection, of the head too: not less than `answer`.
    pub read: Option<Duration>,
    /// The longest answer that [`Client::send`] reads, in bytes.
    pub largest: u64,
    /// How many redirects are followed. With 0, a redirect is an answer like any other.
    pub redirects: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            whole: Some(Duration::from_secs(30)),
            send: None,
            answer: None,
            read: None,
            // A chain of certificates has some 10 KiB.
            largest: 1 << 20,
            redirects: 0,
        }
    }
}

/// Why a request has no answer. The words never have the address in them, which may be a secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be asked.
    #[error("the address is not one of HTTP or HTTPS")]
    Address,
    /// A limit of time did not hold.
    #[error("no answer{}", .0.map(|limit| format!(" within {} s", limit.as_secs())).unwrap_or_else(|| " in time".into()))]
    Timeout(Option<Duration>),
    /// The name has no address.
    #[error("its name is not known: is the network there?")]
    Name,
    /// The connection cannot be made, or ended.
    #[error(transparent)]
    Io(io::Error),
    /// A certificate that is not trusted here, or not good for the name.
    #[error("TLS: {0}")]
    Untrusted(String),
    /// TLS went wrong otherwise.
    #[error("TLS: {0}")]
    Tls(String),
    /// The answer is longer than allowed.
    #[error("the answer is too large")]
    TooLarge,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// Whether the same request, made again, may have an answer.
    pub fn may_pass(&self) -> bool {
        !matches!(self, Self::Address | Self::Untrusted(_))
    }
}

/// Makes requests over HTTP/1.1 and keeps their connections for some seconds.
#[derive(Clone, Debug)]
pub struct Client {
    agent: Agent,
    limits: Limits,
}

/// The body of an answer that is still coming.
#[derive(Debug)]
pub struct Incoming {
    body: ureq::Body,
    limits: Limits,
}

impl Client {
    /// Makes a client that trusts these authorities and nobody else. The proxy variables of the environment are not
    /// followed: a timer has other ones than the person who tries it by hand.
    pub fn new(roots: &[CertificateDer<'_>], limits: Limits) -> Self {
        let roots: Vec<Certificate<'static>> =
            roots.iter().map(|root| Certificate::from_der(root.as_ref()).to_owned()).collect();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .unversioned_rustls_crypto_provider(crate::tls::provider())
            .build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .user_agent(USER_AGENT)
            .http_status_as_error(false)
            .timeout_connect(Some(limits.connect))
            .timeout_global(limits.whole)
            .timeout_send_body(limits.send)
            .timeout_recv_response(limits.answer)
            .timeout_per_read(limits.read)
            .max_redirects(limits.redirects)
            .max_redirects_will_error(limits.redirects > 0)
            .proxy(None)
            // A connection that the server has closed meanwhile would cost a request.
            .max_idle_age(Duration::from_secs(10))
            .build()
            .new_agent();
        Self { agent, limits }
    }

    /// Makes a request and reads its answer; any status is an answer.
    ///
    /// # Errors
    /// Nobody there, no answer in time, too large an answer.
    pub fn send(&self, request: &Request<Vec<u8>>) -> Result<Response<Vec<u8>>, Error> {
        let (parts, body) = request.clone().into_parts();
        let head = Request::from_parts(parts, ());
        let answer = if body.is_empty() {
            self.begin(head, None)?
        } else {
            let mut body = body.as_slice();
            // Without it, the body would be sent in chunks.
            let mut head = head;
            head.headers_mut().entry(http::header::CONTENT_LENGTH).or_insert_with(|| body.len().into());
            self.begin(head, Some(&mut body))?
        };
        let (parts, body) = answer.into_parts();
        Ok(Response::from_parts(parts, body.bytes()?))
    }

    /// Makes a request, with a body as long as its `Content-Length` where there is one; returns when the answer's head is
    /// there. Any status is an answer.
    ///
    /// # Errors
    /// Nobody there, no answer in time, a body that cannot be read.
    pub fn begin(
        &self,
        request: Request<()>,
        body: Option<&mut dyn Read>,
    ) -> Result<Response<Incoming>, Error> {
        let answer = match body {
            None => self.agent.run(request),
            Some(body) => {
                let (parts, ()) = request.into_parts();
                self.agent.run(Request::from_parts(parts, SendBody::from_reader(body)))
            }
        };
        let (parts, body) = answer.map_err(|error| self.limits.error(error))?.into_parts();
        Ok(Response::from_parts(parts, Incoming { body, limits: self.limits }))
    }
}

impl Incoming {
    /// Reads all of it, up to the client's limit.
    ///
    /// # Errors
    /// Too large an answer, one that breaks off or does not come in time.
    pub fn bytes(mut self) -> Result<Vec<u8>, Error> {
        let limits = self.limits;
        self.body.with_config().limit(limits.largest).read_to_vec().map_err(|error| limits.error(error))
    }

    /// Reads all of it as a text, up to the client's limit.
    ///
    /// # Errors
    /// As [`Incoming::bytes`], and what is not UTF-8.
    pub fn text(self) -> Result<String, Error> {
        String::from_utf8(self.bytes()?)
            .map_err(|error| Error::Other(format!("the answer is not a text: {error}")))
    }

    /// Reads its beginning, to quote what a server said: at most so many bytes, and less where it breaks off.
    pub fn beginning(self, most: u64) -> String {
        let mut bytes = Vec::new();
        // Half of a sentence is better than none.
        let _ = self.reader().take(most).read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Reads it piece by piece, without a limit of size.
    pub fn reader(self) -> impl Read + 'static {
        self.body.into_with_config().limit(u64::MAX).reader()
    }
}

impl Limits {
    /// ureq's error in our words.
    fn error(&self, error: ureq::Error) -> Error {
        match error {
            ureq::Error::Timeout(which) => Error::Timeout(match which {
                Timeout::Global => self.whole,
                Timeout::Connect => Some(self.connect),
                Timeout::SendBody => self.send,
                Timeout::RecvResponse => self.answer,
                Timeout::PerRead => self.read,
                _ => None,
            }),
            ureq::Error::BodyExceedsLimit(_) => Error::TooLarge,
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => Error::Address,
            ureq::Error::HostNotFound => Error::Name,
            ureq::Error::Rustls(error) => tls_error(&error),
            ureq::Error::Tls(why) => Error::Tls(why.to_owned()),
            ureq::Error::Io(error) => self.io(error),
            ureq::Error::ConnectionFailed => Error::Other("no connection".to_owned()),
            other => {
                let words = other.to_string();
                // Some errors quote the address.
                let quotes = words.contains("://");
                Error::Other(if quotes { "the request failed".to_owned() } else { words })
            }
        }
    }

    /// An error that came as one of the system: rustls and ureq pack theirs into one while a body is read.
    fn io(&self, error: io::Error) -> Error {
        if error.kind() == io::ErrorKind::TimedOut {
            return Error::Timeout(None);
        }
        let inner = error.get_ref();
        if let Some(tls) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return tls_error(tls);
        }
        Error::Io(error)
    }
}

/// rustls' error in our words.
fn tls_error(error: &rustls::Error) -> Error {
    match error {
        rustls::Error::InvalidCertificate(_) => Error::Untrusted(error.to_string()),
        _ => Error::Tls(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::{SocketAddr, TcpListener};
    use std::thread;

    use super::*;

    /// Answers one connection after the other with these bytes, and hands what was asked back.
    fn server(answer: &'static [u8]) -> (SocketAddr, std::sync::mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, asked) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let (mut head, mut length) = (String::new(), 0);
                loop {
                    let mut line = String::new();
                    if reader.read_line(&mut line).unwrap_or_default() <= 2 {
                        break;
                    }
                    if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                    head += &line;
                }
                let mut body = vec![0; length];
                let _ = reader.read_exact(&mut body);
                let _ = sender.send(head + &String::from_utf8_lossy(&body));
                let _ = stream.write_all(answer);
                // Without an answer, it stays open.
                silent.extend(answer.is_empty().then_some(stream));
            }
        });
        (address, asked)
    }

    fn get(address: SocketAddr) -> Request<Vec<u8>> {
        Request::get(format!("http://{address}/secret?token=hidden")).body(Vec::new()).unwrap()
    }

    #[test]
    fn any_status_is_an_answer_and_a_redirect_too() {
        let (address, asked) = server(
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno",
        );
        let client = Client::new(&[], Limits::default());
        let answer = client.send(&get(address)).unwrap();
        assert_eq!((answer.status().as_u16(), answer.body().as_slice()), (302, b"no".as_slice()));
        assert!(asked.recv().unwrap().to_ascii_lowercase().contains("user-agent: pitool/"));
        let request = Request::post(format!("http://{address}/")).body(b"12345".to_vec()).unwrap();
        client.send(&request).unwrap();
        let asked = asked.recv().unwrap();
        assert!(asked.ends_with("12345") && !asked.to_ascii_lowercase().contains("chunked"), "{asked}");
    }

    #[test]
    fn every_limit_ends_a_request() {
        let (address, _asked) = server(b"");
        let short = Limits { whole: Some(Duration::from_secs(1)), ..Limits::default() };
        let error = Client::new(&[], short).send(&get(address)).unwrap_err();
        assert!(matches!(error, Error::Timeout(_)), "{error:?}");
        assert_eq!(error.to_string(), "no answer within 1 s");

        let (address, _asked) =
            server(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\nConnection: close\r\n\r\nhello there");
        let small = Limits { largest: 10, ..Limits::default() };
        let error = Client::new(&[], small).send(&get(address)).unwrap_err();
        assert!(matches!(error, Error::TooLarge), "{error:?}");
        let answer = Client::new(&[], small).begin(get(address).map(drop), None).unwrap();
        assert_eq!(answer.into_body().beginning(5), "hello");
        let answer = Client::new(&[], small).begin(get(address).map(drop), None).unwrap();
        let mut all = String::new();
        answer.into_body().reader().read_to_string(&mut all).unwrap();
        assert_eq!(all, "hello there");
    }

    #[test]
    fn what_went_wrong_is_said_without_the_address() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let client = Client::new(&[], Limits::default());
        let error = client.send(&get(closed)).unwrap_err();
        assert!(error.to_string().contains("refused") && error.may_pass(), "{error}");
        let request = Request::get("mailto:somebody").body(Vec::new()).unwrap();
        let error = client.send(&request).unwrap_err();
        assert!(!error.to_string().contains("somebody"), "{error}");
        // A server that does not speak TLS.
        let (address, _asked) = server(b"220 mail.test ESMTP\r\n");
        let request = Request::get(format!("https://{address}/hidden")).body(Vec::new()).unwrap();
        let error = client.send(&request).unwrap_err();
        assert!(matches!(error, Error::Tls(_)), "{error:?}");
        assert!(!error.to_string().contains("hidden") && error.may_pass(), "{error}");
        let unknown = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        assert!(!tls_error(&unknown).may_pass(), "the same certificate will be shown again");
    }
}
