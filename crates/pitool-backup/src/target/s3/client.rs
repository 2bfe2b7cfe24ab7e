//! Requests to S3, signed, tried again where that may help.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use jiff::Timestamp;
use pitool_host::AUTHORITIES;
use pitool_host::text::hex;
use ring::digest;
use ureq::tls::{PemItem, RootCerts, TlsConfig};
use ureq::{Agent, SendBody, http};

use super::super::{Error, Result};
use super::credentials::Credentials;
use super::sign::{self, Request};
use super::xml;

/// How often a request is made before it is given up; between two of them 1, 2, 4 and 8 seconds.
const TRIES: u32 = 5;

/// A part of 16 MiB takes this long at 20 KiB a second.
const SEND: Duration = Duration::from_secs(15 * 60);

/// A bucket's server.
#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
    endpoint: String,
    host: String,
    region: String,
    bucket: String,
    credentials: Credentials,
    place: String,
}

/// A piece of a file that is sent.
pub(super) struct Body<'f> {
    pub(super) file: &'f mut File,
    pub(super) start: u64,
    pub(super) length: u64,
}

/// What came of asking for a file.
pub(super) enum Answer {
    /// There is none.
    Missing,
    /// It comes; `whole` where a range was asked for and all of it comes.
    Found { reader: Box<dyn Read>, whole: bool },
}

/// What is sent.
enum Payload<'p, 'f> {
    Bytes(&'p [u8]),
    Piece { body: &'p mut Body<'f>, progress: &'p mut dyn FnMut(u64) },
}

/// One request; the key is empty for one about the bucket.
struct Call<'a> {
    method: &'a str,
    key: &'a str,
    query: &'a [(&'a str, &'a str)],
    range: Option<u64>,
    operation: &'a str,
}

type Response = http::Response<ureq::Body>;

impl Client {
    pub(super) fn new(
        endpoint: &str,
        region: &str,
        bucket: &str,
        credentials: Credentials,
        place: &str,
    ) -> Result<Self> {
        let host = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest).to_owned();
        if host.contains('/') {
            let why = "the address of the server should have no path".to_owned();
            return Err(Error::Absent { place: place.to_owned(), why });
        }
        let mut tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
        if endpoint.starts_with("https://") {
            tls = tls.root_certs(trusted()?);
        }
        let config = Agent::config_builder()
            .tls_config(tls.build())
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(Duration::from_secs(20)))
            .timeout_send_request(Some(Duration::from_secs(60)))
            .timeout_send_body(Some(SEND))
            // A server may put the parts of a large file together before it answers.
            .timeout_recv_response(Some(Duration::from_secs(10 * 60)))
            .timeout_per_read(Some(Duration::from_secs(120)))
            .user_agent(concat!("pitool/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self {
            agent: config.new_agent(),
            endpoint: endpoint.to_owned(),
            host,
            region: region.to_owned(),
            bucket: bucket.to_owned(),
            credentials,
            place: place.trim_end_matches('/').to_owned(),
        })
    }

    /// Asks for a text.
    pub(super) fn text(
        &self,
        method: &str,
        key: &str,
        query: &[(&str, &str)],
        operation: &str,
    ) -> Result<String> {
        let call = Call { method, key, query, range: None, operation };
        self.read(self.accepted(&call, Payload::Bytes(&[]))?)
    }

    /// Sends a text and reads the answer.
    pub(super) fn post(
        &self,
        key: &str,
        query: &[(&str, &str)],
        body: &[u8],
        operation: &str,
    ) -> Result<String> {
        let call = Call { method: "POST", key, query, range: None, operation };
        self.read(self.accepted(&call, Payload::Bytes(body))?)
    }

    /// Sends a few bytes.
    pub(super) fn put_bytes(&self, key: &str, bytes: &[u8], operation: &str) -> Result<()> {
        let call = Call { method: "PUT", key, query: &[], range: None, operation };
        self.accepted(&call, Payload::Bytes(bytes)).map(drop)
    }

    /// Sends a piece of a file; gives its tag.
    pub(super) fn put(
        &self,
        key: &str,
        query: &[(&str, &str)],
        mut body: Body<'_>,
        operation: &str,
        progress: &mut dyn FnMut(u64),
    ) -> Result<String> {
        let call = Call { method: "PUT", key, query, range: None, operation };
        let response = self.accepted(&call, Payload::Piece { body: &mut body, progress })?;
        let tag = response.headers().get("etag").and_then(|tag| tag.to_str().ok());
        Ok(tag.unwrap_or_default().to_owned())
    }

    /// Asks for a file from a byte on.
    pub(super) fn get(&self, key: &str, from: Option<u64>, operation: &str) -> Result<Answer> {
        let range = from.filter(|from| *from > 0);
        let call = Call { method: "GET", key, query: &[], range, operation };
        let response = self.call(&call, Payload::Bytes(&[]))?;
        match response.status().as_u16() {
            404 => Ok(Answer::Missing),
            status @ (200 | 206) => Ok(Answer::Found {
                reader: Box::new(response.into_body().into_with_config().limit(u64::MAX).reader()),
                whole: status == 200,
            }),
            _ => Err(self.refused(response, operation)),
        }
    }

    /// The size of a file, if it is there.
    pub(super) fn size(&self, key: &str, operation: &str) -> Result<Option<u64>> {
        let call = Call { method: "HEAD", key, query: &[], range: None, operation };
        let response = self.call(&call, Payload::Bytes(&[]))?;
        match response.status().as_u16() {
            404 => Ok(None),
            200 => {
                let length = response.headers().get("content-length").and_then(|it| it.to_str().ok());
                Ok(length.and_then(|length| length.parse().ok()))
            }
            _ => Err(self.refused(response, operation)),
        }
    }

    /// Deletes a file; one that is not there is fine.
    pub(super) fn delete(&self, key: &str, operation: &str) -> Result<()> {
        let call = Call { method: "DELETE", key, query: &[], range: None, operation };
        let response = self.call(&call, Payload::Bytes(&[]))?;
        match response.status().as_u16() {
            200 | 204 | 404 => Ok(()),
            _ => Err(self.refused(response, operation)),
        }
    }

    fn accepted(&self, call: &Call<'_>, payload: Payload<'_, '_>) -> Result<Response> {
        let response = self.call(call, payload)?;
        match response.status().is_success() {
            true => Ok(response),
            false => Err(self.refused(response, call.operation)),
        }
    }

    fn read(&self, mut response: Response) -> Result<String> {
        response.body_mut().with_config().limit(16 << 20).read_to_string().map_err(|error| self.lost(&error))
    }

    fn lost(&self, error: &ureq::Error) -> Error {
        Error::Unreachable { place: self.place.clone(), why: error.to_string() }
    }

    fn refused(&self, response: Response, operation: &str) -> Error {
        let status = response.status();
        let text = self.read(response).unwrap_or_default();
        let code = xml::text(&text, "Code").unwrap_or_default();
        let message = xml::text(&text, "Message").unwrap_or_default();
        let hint = match (code.as_str(), status.as_u16()) {
            ("RequestTimeTooSkewed", _) => "; the clock of this machine is wrong",
            ("NoSuchBucket", _) => "; make the bucket first",
            ("SignatureDoesNotMatch" | "InvalidAccessKeyId", _) => "; is the key right, and the region?",
            ("AccessDenied", _) | (_, 403) => "; the key may not do that",
            _ => "",
        };
        let said = match (message.as_str(), code.as_str()) {
            ("", "") => status.to_string(),
            ("", code) => code.to_owned(),
            (message, code) => format!("{code}: {}", message.trim_end_matches('.')),
        };
        Error::Refused {
            place: self.place.clone(),
            operation: operation.to_owned(),
            said: format!("{said}{hint}"),
        }
    }

    /// Makes a request until there is an answer that says more than "later".
    #[expect(clippy::disallowed_methods, reason = "waits for a server of the real world")]
    fn call(&self, call: &Call<'_>, mut payload: Payload<'_, '_>) -> Result<Response> {
        let digest = match &mut payload {
            Payload::Bytes(bytes) => sign::sha256(bytes),
            Payload::Piece { body, .. } => body.sha256().map_err(|source| Error::Path {
                operation: "read",
                path: "the archive".into(),
                source,
            })?,
        };
        let mut tried = 0;
        loop {
            tried += 1;
            let outcome = self.once(call, &mut payload, &digest);
            let again = match &outcome {
                Ok(response) => response.status().is_server_error() || response.status().as_u16() == 429,
                Err(error) => !matches!(error, ureq::Error::BadUri(_) | ureq::Error::Tls(_)),
            };
            if again && tried < TRIES {
                sleep(Duration::from_secs(1 << (tried - 1)));
                continue;
            }
            return outcome.map_err(|error| self.lost(&error));
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a signature has the real time in it")]
    fn once(
        &self,
        call: &Call<'_>,
        payload: &mut Payload<'_, '_>,
        digest: &str,
    ) -> std::result::Result<Response, ureq::Error> {
        // The bucket is in the path: a name with dots fits no certificate of its own.
        let mut path = format!("/{}", self.bucket);
        if !call.key.is_empty() {
            path += &format!("/{}", sign::encode(call.key, true));
        }
        let stamp = sign::stamp(Timestamp::now());
        let mut headers = vec![("host", self.host.clone())];
        headers.extend(call.range.map(|from| ("range", format!("bytes={from}-"))));
        headers.push(("x-amz-content-sha256", digest.to_owned()));
        headers.push(("x-amz-date", stamp.clone()));
        let request = Request {
            method: call.method,
            path: &path,
            query: call.query,
            headers: &headers,
            payload: digest,
        };
        let authorization = sign::authorization(&request, &self.credentials, &self.region, &stamp);
        let query = sign::query(call.query);
        let mark = if query.is_empty() { "" } else { "?" };
        let mut builder = http::Request::builder()
            .method(call.method)
            .uri(format!("{}{path}{mark}{query}", self.endpoint))
            .header("authorization", authorization);
        for (name, value) in headers.iter().filter(|(name, _)| *name != "host") {
            builder = builder.header(*name, value);
        }
        let bare = matches!(call.method, "GET" | "HEAD" | "DELETE");
        match payload {
            Payload::Bytes(_) if bare => self.agent.run(builder.body(())?),
            Payload::Bytes(bytes) => {
                let builder = builder.header("content-length", bytes.len());
                let mut reader = &**bytes;
                self.agent.run(builder.body(SendBody::from_reader(&mut reader))?)
            }
            Payload::Piece { body, progress } => {
                let builder = builder.header("content-length", body.length);
                let mut reader =
                    Counted { inner: body.reader()?, done: 0, progress: RefCell::new(*progress) };
                self.agent.run(builder.body(SendBody::from_reader(&mut reader))?)
            }
        }
    }
}

impl Body<'_> {
    fn reader(&mut self) -> io::Result<io::Take<&mut File>> {
        self.file.seek(SeekFrom::Start(self.start))?;
        Ok((&mut *self.file).take(self.length))
    }

    fn sha256(&mut self) -> io::Result<String> {
        let mut context = digest::Context::new(&digest::SHA256);
        let mut reader = self.reader()?;
        let mut buffer = vec![0; 256 << 10];
        loop {
            match reader.read(&mut buffer)? {
                0 => return Ok(hex(context.finish().as_ref())),
                read => context.update(&buffer[..read]),
            }
        }
    }
}

/// A reader that tells how far it is.
struct Counted<'p, R> {
    inner: R,
    done: u64,
    progress: RefCell<&'p mut dyn FnMut(u64)>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.done += read as u64;
        (self.progress.borrow_mut())(self.done);
        Ok(read)
    }
}

/// The machine's own list of authorities.
/// What the machine trusts, so that a NAS with its owner's own authority works.
#[expect(clippy::disallowed_methods, reason = "a file of the system's own, below nobody's directory")]
fn trusted() -> Result<RootCerts> {
    let pem = std::fs::read(AUTHORITIES).map_err(|source| Error::Path {
        operation: "read the certificates that this machine trusts (package ca-certificates) from",
        path: AUTHORITIES.into(),
        source,
    })?;
    let certificates = ureq::tls::parse_pem(&pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let certificates: Vec<_> = certificates.collect();
    Ok(RootCerts::new_with_certs(&certificates))
}
