//! Requests to S3, signed, tried again where that may help.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::thread::sleep;
use std::time::Duration;

use jiff::Timestamp;
use pitool_host::text::hex;
use pitool_net::{self as net, Incoming, Limits, trust};
use ring::digest;

use super::super::{Error, Result};
use super::credentials::Credentials;
use super::sign::{self, Request};
use super::xml;

/// How often a request is made before it is given up; between two of them 1, 2, 4 and 8 seconds.
const TRIES: u32 = 5;

/// A part of 16 MiB takes this long at 20 KiB a second.
const SEND: Duration = Duration::from_secs(15 * 60);

/// Per step: a large file takes as long as it takes.
const LIMITS: Limits = Limits {
    connect: Duration::from_secs(20),
    whole: None,
    send: Some(SEND),
    // A server may put the parts of a large file together before it answers.
    answer: Some(Duration::from_secs(10 * 60)),
    read: Some(Duration::from_secs(10 * 60)),
    // A list of a thousand files has some 300 KiB.
    largest: 16 << 20,
    redirects: 0,
};

/// A bucket's server.
#[derive(Debug)]
pub(super) struct Client {
    client: net::Client,
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

type Response = http::Response<Incoming>;

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
        let roots = match endpoint.starts_with("https://") {
            true => trust::machine()
                .map_err(|error| Error::Unreachable { place: place.to_owned(), why: error.to_string() })?,
            false => Vec::new(),
        };
        Ok(Self {
            client: net::Client::new(&roots, LIMITS),
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
            status @ (200 | 206) => {
                Ok(Answer::Found { reader: Box::new(response.into_body().reader()), whole: status == 200 })
            }
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

    fn read(&self, response: Response) -> Result<String> {
        response.into_body().text().map_err(|error| self.lost(&error))
    }

    fn lost(&self, error: &net::Error) -> Error {
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
                Err(error) => error.may_pass(),
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
    ) -> std::result::Result<Response, net::Error> {
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
        let request = |length: Option<u64>| {
            let builder =
                length.into_iter().fold(builder, |builder, length| builder.header("content-length", length));
            builder.body(()).map_err(|_| net::Error::Address)
        };
        match payload {
            Payload::Bytes(_) if bare => self.client.begin(request(None)?, None),
            Payload::Bytes(bytes) => {
                self.client.begin(request(Some(bytes.len() as u64))?, Some(&mut &**bytes))
            }
            Payload::Piece { body, progress } => {
                let request = request(Some(body.length))?;
                let length = body.length;
                let mut reader = Counted {
                    inner: body.reader().map_err(net::Error::Io)?,
                    done: 0,
                    length,
                    progress: RefCell::new(*progress),
                };
                self.client.begin(request, Some(&mut reader))
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
    length: u64,
    progress: RefCell<&'p mut dyn FnMut(u64)>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if read == 0 && self.done < self.length && !buffer.is_empty() {
            // The client would ask for more until its limit of time.
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive became shorter meanwhile"));
        }
        self.done += read as u64;
        (self.progress.borrow_mut())(self.done);
        Ok(read)
    }
}
