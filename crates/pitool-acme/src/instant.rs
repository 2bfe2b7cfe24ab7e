//! [`Authority`] over instant-acme: the one file that knows the library.
//!
//! The library is asynchronous; the client under it is not, so every future is ready when it is first looked at.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::RETRY_AFTER;
use http_body::Body;
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, BodyWrapper, BytesResponse, CertificateIdentifier,
    ChallengeType, ExternalAccountKey, HttpClient, Identifier, Key, NewAccount, NewOrder, OrderStatus,
};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::authority::{Authority, Method, Order, Request, Standing, Task};
use crate::error::{self, AcmeError, HttpError, Problem};
use crate::http::Client;

/// A CA that is spoken to with instant-acme.
pub struct Instant {
    account: Account,
    patience: Patience,
}

/// What the last answer said about waiting: the library keeps it to itself.
type Patience = Arc<Mutex<Option<Duration>>>;

/// How an account comes about.
pub enum Enrolment<'e> {
    /// It was made before; what was kept of it.
    Known(&'e str),
    /// A new one.
    New {
        /// Whom the CA may write to.
        email: Option<&'e str>,
        /// The account elsewhere that it is bound to: its id and key.
        external: Option<(&'e str, &'e [u8])>,
    },
    /// An account that has this P-256 key (PKCS#8) already.
    Key(&'e [u8]),
}

impl Instant {
    /// Opens an account at a directory; returns what is to be kept of it, where that is new.
    ///
    /// # Errors
    /// The CA's refusal, the way to it, or what was kept cannot be read.
    pub fn open(
        client: &Client,
        directory: &str,
        enrolment: &Enrolment<'_>,
    ) -> Result<(Self, Option<String>), AcmeError> {
        let patience = Patience::default();
        let http = Blocking { client: client.clone(), patience: Arc::clone(&patience) };
        let builder = Account::builder_with_http(Box::new(http));
        let (account, kept) = match enrolment {
            Enrolment::Known(kept) => {
                let credentials: AccountCredentials = serde_json::from_str(kept)
                    .map_err(|error| AcmeError::Key(format!("the account's file cannot be read: {error}")))?;
                (now(builder.from_credentials(credentials))?, None)
            }
            Enrolment::New { email, external } => {
                let contact = email.map(|email| format!("mailto:{email}"));
                let contact: Vec<&str> = contact.as_deref().into_iter().collect();
                let new = NewAccount {
                    contact: &contact,
                    terms_of_service_agreed: true,
                    only_return_existing: false,
                };
                let external = external.map(|(id, key)| ExternalAccountKey::new(id.to_owned(), key));
                let (account, credentials) =
                    now(builder.create(&new, directory.to_owned(), external.as_ref()))?;
                (account, Some(credentials))
            }
            Enrolment::Key(pkcs8) => {
                let der = PrivatePkcs8KeyDer::from(pkcs8.to_vec());
                let key = Key::from_pkcs8_der(der.clone_key())
                    .map_err(|error| AcmeError::Key(format!("the account's key cannot be used: {error}")))?;
                let key = (key, PrivateKeyDer::Pkcs8(der));
                let (account, credentials) = now(builder.from_key(key, directory.to_owned()))?;
                (account, Some(credentials))
            }
        };
        let kept = kept.map(|credentials| serde_json::to_string(&credentials)).transpose();
        let kept = kept.map_err(|error| AcmeError::Key(format!("the account cannot be kept: {error}")))?;
        Ok((Self { account, patience }, kept))
    }
}

impl Authority for Instant {
    fn profiles(&self) -> Vec<String> {
        let mut names: Vec<String> = self.account.profiles().map(|profile| profile.name.to_owned()).collect();
        names.sort();
        names
    }

    fn order(&self, request: &Request<'_>) -> Result<Box<dyn Order + '_>, AcmeError> {
        let identifiers: Vec<Identifier> = request.names.iter().cloned().map(Identifier::Dns).collect();
        let mut new = NewOrder::new(&identifiers);
        if let Some(profile) = request.profile {
            new = new.profile(profile);
        }
        if let Some((authority, serial)) = request.replaces.and_then(|id| id.split_once('.')) {
            let bytes = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
            let (authority, serial) = (bytes(authority), bytes(serial));
            new = new
                .replaces(CertificateIdentifier::new(authority[..].into(), serial[..].into()).into_owned());
        }
        let order = now(self.account.new_order(&new))?;
        Ok(Box::new(Placed { order, patience: &self.patience }))
    }
}

struct Placed<'i> {
    order: instant_acme::Order,
    patience: &'i Patience,
}

fn challenge_type(method: Method) -> ChallengeType {
    match method {
        Method::Http01 => ChallengeType::Http01,
        Method::Dns01 => ChallengeType::Dns01,
    }
}

impl Order for Placed<'_> {
    fn profile(&mut self) -> Option<String> {
        self.order.state().profile.clone()
    }

    fn tasks(&mut self, method: Method) -> Result<Vec<Task>, AcmeError> {
        let mut tasks = Vec::new();
        let mut authorizations = self.order.authorizations();
        while let Some(authorization) = now_some(authorizations.next()) {
            let mut authorization = authorization.map_err(failed)?;
            let (name, wildcard) = match authorization.identifier().identifier {
                Identifier::Dns(name) => (name.clone(), authorization.wildcard),
                other => return Err(AcmeError::Protocol(format!("it asks about {other:?}"))),
            };
            match authorization.status {
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                status => {
                    return Err(AcmeError::Protocol(format!("the authorization of {name} is {status:?}")));
                }
            }
            let url = authorization.url().to_owned();
            let Some(challenge) = authorization.challenge(challenge_type(method)) else {
                let how = match method {
                    Method::Http01 if wildcard => {
                        "http-01, and a wildcard never does: set `challenge = \"dns-01\"`"
                    }
                    Method::Http01 => "http-01",
                    Method::Dns01 => "dns-01",
                };
                return Err(AcmeError::Challenge { name, why: format!("the CA does not offer {how}") });
            };
            let key_authorization = challenge.key_authorization();
            tasks.push(Task {
                name,
                wildcard,
                authorization: url,
                token: challenge.token.clone(),
                key_authorization: key_authorization.as_str().to_owned(),
                dns_value: key_authorization.dns_value(),
            });
        }
        Ok(tasks)
    }

    fn ready(&mut self, task: &Task, method: Method) -> Result<(), AcmeError> {
        let mut authorizations = self.order.authorizations();
        while let Some(authorization) = now_some(authorizations.next()) {
            let mut authorization = authorization.map_err(failed)?;
            if authorization.url() != task.authorization {
                continue;
            }
            let Some(mut challenge) = authorization.challenge(challenge_type(method)) else { continue };
            return now(challenge.set_ready());
        }
        Err(AcmeError::Protocol(format!("the authorization of {} is gone", task.name)))
    }

    fn standing(&mut self) -> Result<(Standing, Option<Duration>), AcmeError> {
        *self.patience.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let status = now(self.order.refresh()).map(|state| (state.status, state.error.clone()));
        let (status, error) = status?;
        let patience = *self.patience.lock().unwrap_or_else(PoisonError::into_inner);
        let standing = match status {
            OrderStatus::Pending => Standing::Pending,
            OrderStatus::Ready => Standing::Ready,
            OrderStatus::Processing => Standing::Processing,
            OrderStatus::Valid => Standing::Valid,
            OrderStatus::Invalid => Standing::Invalid,
        };
        match error {
            // Of an order that failed in validation the single names say more.
            Some(error) if standing != Standing::Invalid => {
                Err(AcmeError::Refused(Box::new(translated(&error))))
            }
            _ => Ok((standing, patience)),
        }
    }

    fn invalid(&mut self) -> Result<Vec<(String, Problem)>, AcmeError> {
        let mut invalid = Vec::new();
        let mut authorizations = self.order.authorizations();
        while let Some(authorization) = now_some(authorizations.next()) {
            let mut authorization = authorization.map_err(failed)?;
            let name = authorization.identifier().to_string();
            let state = now(authorization.refresh())?;
            let error = state.challenges.iter().find_map(|challenge| challenge.error.as_ref());
            if let Some(error) = error {
                invalid.push((name, translated(error)));
            }
        }
        if invalid.is_empty() {
            if let Some(error) = &self.order.state().error {
                return Err(AcmeError::Refused(Box::new(translated(error))));
            }
        }
        Ok(invalid)
    }

    fn finalize(&mut self, csr: &[u8]) -> Result<(), AcmeError> {
        now(self.order.finalize_csr(csr))
    }

    fn certificate(&mut self) -> Result<String, AcmeError> {
        now(self.order.certificate())?
            .ok_or_else(|| AcmeError::Protocol("a valid order has no certificate".into()))
    }
}

fn translated(problem: &instant_acme::Problem) -> Problem {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    Problem {
        kind: text(&problem.r#type),
        detail: text(&problem.detail),
        status: problem.status,
        subproblems: problem
            .subproblems
            .iter()
            .map(|sub| error::Subproblem {
                identifier: sub.identifier.as_ref().map(|identifier| error::Identifier {
                    kind: "dns".into(),
                    value: identifier.authorized(false).to_string(),
                }),
                kind: text(&sub.r#type),
                detail: text(&sub.detail),
            })
            .collect(),
    }
}

fn failed(error: instant_acme::Error) -> AcmeError {
    match error {
        instant_acme::Error::Api(problem) => AcmeError::Refused(Box::new(translated(&problem))),
        instant_acme::Error::Other(other) => match other.downcast::<HttpError>() {
            Ok(error) => AcmeError::Http(*error),
            Err(other) => AcmeError::Protocol(other.to_string()),
        },
        other => AcmeError::Protocol(other.to_string()),
    }
}

/// Runs a future of the library.
fn now<T>(future: impl Future<Output = Result<T, instant_acme::Error>>) -> Result<T, AcmeError> {
    finish(future).map_err(failed)
}

fn now_some<T>(future: impl Future<Output = Option<T>>) -> Option<T> {
    finish(future)
}

/// Polls a future until it is ready. Nothing under it waits for anything but the blocking client, so that is at once.
fn finish<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        std::thread::yield_now();
    }
}

/// [`Client`] as the library wants it.
struct Blocking {
    client: Client,
    patience: Patience,
}

type Answer = Result<BytesResponse, instant_acme::Error>;

impl HttpClient for Blocking {
    fn request(
        &self,
        request: http::Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
        let answer = self.send(request);
        Box::pin(async move { answer })
    }
}

impl Blocking {
    fn send(&self, request: http::Request<BodyWrapper<Bytes>>) -> Answer {
        let (parts, mut body) = request.into_parts();
        let mut bytes = Vec::new();
        // The library's body is one frame, ready at once.
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut context) {
            bytes.extend(frame.into_data().unwrap_or_default());
        }
        let request = http::Request::from_parts(parts, bytes);
        let answer =
            self.client.send(&request).map_err(|error| instant_acme::Error::Other(Box::new(error)))?;
        let seconds =
            answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        *self.patience.lock().unwrap_or_else(PoisonError::into_inner) = seconds.map(Duration::from_secs);
        let (parts, body) = answer.into_parts();
        Ok(BytesResponse { parts, body: Box::new(Bytes::from(body)) })
    }
}
