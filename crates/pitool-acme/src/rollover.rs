//! Giving an account with an RSA key one on P-256 (RFC 8555 section 7.3.5): certbot's accounts have the former, and
//! instant-acme signs with the latter alone.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::Request;
use pitool_host::{Access, Content, Host};
use ring::rand::SystemRandom;
use ring::rsa::{self, KeyPairComponents, PublicKeyComponents};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::account;
use crate::error::{AcmeError, HttpError};
use crate::http::{Client, problem};
use crate::instant::{Enrolment, Instant};
use crate::storage::Store;

/// An account's RSA key.
pub struct RsaKey {
    pair: rsa::KeyPair,
    jwk: Value,
}

#[derive(Deserialize)]
struct Jwk {
    n: String,
    e: String,
    d: String,
    p: String,
    q: String,
    dp: String,
    dq: String,
    qi: String,
}

impl RsaKey {
    /// Reads one from a JSON web key (RFC 7517), as certbot keeps it.
    ///
    /// # Errors
    /// It is not RSA, or damaged.
    pub fn from_jwk(json: &[u8]) -> Result<Self, AcmeError> {
        let bad = |why: &str| AcmeError::Key(format!("the account's key cannot be used: {why}"));
        let jwk: Jwk = serde_json::from_slice(json).map_err(|_| bad("it is not an RSA key"))?;
        let bytes = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| bad("it is damaged"));
        let components = KeyPairComponents {
            public_key: PublicKeyComponents { n: bytes(&jwk.n)?, e: bytes(&jwk.e)? },
            d: bytes(&jwk.d)?,
            p: bytes(&jwk.p)?,
            q: bytes(&jwk.q)?,
            dP: bytes(&jwk.dp)?,
            dQ: bytes(&jwk.dq)?,
            qInv: bytes(&jwk.qi)?,
        };
        let pair = rsa::KeyPair::from_components(&components).map_err(|error| bad(&error.to_string()))?;
        Ok(Self { pair, jwk: json!({ "e": jwk.e, "kty": "RSA", "n": jwk.n }) })
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, AcmeError> {
        let mut signature = vec![0; self.pair.public().modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .map_err(|_| AcmeError::Key("the account's key cannot sign".into()))?;
        Ok(signature)
    }
}

fn encoded(value: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A JSON web signature (RFC 7515) in the flattened form.
fn signed(
    protected: &Value,
    payload: &Value,
    sign: impl Fn(&[u8]) -> Result<Vec<u8>, AcmeError>,
) -> Result<Value, AcmeError> {
    let (protected, payload) = (encoded(protected), encoded(payload));
    let signature = BASE64_URL_SAFE_NO_PAD.encode(sign(format!("{protected}.{payload}").as_bytes())?);
    Ok(json!({ "protected": protected, "payload": payload, "signature": signature }))
}

/// Changes the key of an account and keeps the account. The new key is on the disk before the CA hears of it: were it
/// lost after that, the account would be.
///
/// # Errors
/// The CA's refusal, or the way to it; the account has its old key then.
pub fn change_key(
    host: &dyn Host,
    client: &Client,
    store: &Store,
    directory: &str,
    account: &str,
    old: &RsaKey,
) -> Result<(), AcmeError> {
    let pending = format!("{}.pending", account::path(store, directory));
    let random = SystemRandom::new();
    let bad = || AcmeError::Key("no key could be made".into());
    if let Some(kept) = host.read(&pending)? {
        // A run was cut off: the CA may have heard of the new key.
        if let Ok((_, kept)) = Instant::open(client, directory, &Enrolment::Key(kept.bytes())) {
            account::keep(host, store, directory, kept.as_deref())?;
            host.remove(&pending)?;
            return Ok(());
        }
    }
    let pkcs8 = match host.read(&pending)? {
        Some(kept) => Content::bytes(&kept).to_vec(),
        None => {
            let made =
                EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(|_| bad())?;
            host.write(&pending, made.as_ref(), Access::root(0o600))?;
            made.as_ref().to_vec()
        }
    };
    let new =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8, &random).map_err(|_| bad())?;
    let (urls, _) = client.json(directory)?;
    let url = |name: &str| {
        urls[name]
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| AcmeError::Protocol(format!("the CA has no {name}")))
    };
    let (change, nonces) = (url("keyChange")?, url("newNonce")?);
    let point = new.public_key().as_ref();
    let (x, y) = point[1..].split_at(32);
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let jwk = json!({ "crv": "P-256", "kty": "EC", "x": encode(x), "y": encode(y) });
    let inner = signed(
        &json!({ "alg": "ES256", "jwk": jwk, "url": change }),
        &json!({ "account": account, "oldKey": old.jwk }),
        |message| new.sign(&random, message).map(|signature| signature.as_ref().to_vec()).map_err(|_| bad()),
    )?;
    for _ in 0..3 {
        let nonce = nonce(client, &nonces)?;
        let protected = json!({ "alg": "RS256", "kid": account, "nonce": nonce, "url": change });
        let body = signed(&protected, &inner, |message| old.sign(message))?;
        let request = Request::post(&change)
            .header("content-type", "application/jose+json")
            .body(body.to_string().into_bytes())
            .map_err(|_| HttpError::Url(change.clone()))?;
        let answer = client.send(&request)?;
        if answer.status().is_success() {
            let (_, kept) = Instant::open(client, directory, &Enrolment::Key(&pkcs8))?;
            account::keep(host, store, directory, kept.as_deref())?;
            host.remove(&pending)?;
            return Ok(());
        }
        let problem = problem(answer.body()).unwrap_or_default();
        if problem.short() != "badNonce" {
            return Err(AcmeError::Refused(Box::new(problem)));
        }
    }
    Err(AcmeError::Protocol("it finds no nonce good".into()))
}

fn nonce(client: &Client, url: &str) -> Result<String, AcmeError> {
    let request = Request::head(url).body(Vec::new()).map_err(|_| HttpError::Url(url.to_owned()))?;
    let answer = client.send(&request)?;
    let nonce = answer.headers().get("replay-nonce").and_then(|value| value.to_str().ok());
    nonce.map(str::to_owned).ok_or_else(|| AcmeError::Protocol("it gives no nonce".into()))
}
