//! From names to a certificate: the order, the challenges, the key, the fetched chain.

use std::time::Duration;

use jiff::SignedDuration;
use pitool_host::{Command, Host};
use pitool_net::certificate;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde::{Deserialize, Serialize};

use crate::authority::{Authority, Order, Request, Standing, Task};
use crate::challenge::Solver;
use crate::error::AcmeError;

/// The kind of a certificate's key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyType {
    /// ECDSA on P-256: small and quick, understood by everything.
    #[default]
    EcP256,
    /// ECDSA on P-384.
    EcP384,
    /// RSA with 2048 bits, for very old clients.
    Rsa2048,
    /// RSA with 4096 bits.
    Rsa4096,
}

/// A certificate and its key, as they are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Material {
    /// The certificate with its issuers, PEM.
    pub fullchain: String,
    /// The private key, PEM (PKCS#8).
    pub key: String,
}

/// What was got.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate and its key.
    pub material: Material,
    /// Whether the CA took the order as a replacement, free of rate limits.
    pub replaced: bool,
}

/// How long a CA may take over a validation and over making a certificate, each.
const PATIENCE: Duration = Duration::from_secs(120);

/// The first pause between two questions; each later one is half as long again, up to ten seconds.
const PAUSE: Duration = Duration::from_millis(300);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Gets a certificate.
///
/// # Errors
/// Any reason why there is none. What was put up for the CA is taken down in any case.
pub fn issue(
    host: &dyn Host,
    authority: &dyn Authority,
    solver: &dyn Solver,
    key_type: KeyType,
    request: &Request<'_>,
) -> Result<Issued, AcmeError> {
    if let Some(wanted) = request.profile {
        let offered = authority.profiles();
        if !offered.iter().any(|profile| profile == wanted) {
            return Err(AcmeError::Profile { wanted: wanted.to_owned(), offered });
        }
    }
    let (mut order, replaced) = place(authority, request)?;
    if let Some(wanted) = request.profile {
        // A CA that does not know profiles ignores the wish and issues something else (pebble before 2.7).
        let has = order.profile();
        if has.as_deref() != Some(wanted) {
            return Err(AcmeError::Profile { wanted: wanted.to_owned(), offered: has.into_iter().collect() });
        }
    }
    let tasks = order.tasks(solver.method())?;
    let shown = show(host, order.as_mut(), solver, &tasks);
    for task in &tasks {
        solver.cleanup(host, task);
    }
    shown?;

    let key = new_key(host, key_type)?;
    let csr = signing_request(&key, request.names)?;
    order.finalize(&csr)?;
    if wait(host, order.as_mut(), "the certificate", &[Standing::Valid, Standing::Invalid])?
        == Standing::Invalid
    {
        return Err(refusal(order.as_mut()));
    }
    let fullchain = order.certificate()?;
    let read = certificate::pair(&fullchain, &key)?;
    if let Some(missing) = request.names.iter().find(|name| !read.names.iter().any(|own| own == *name)) {
        return Err(AcmeError::Protocol(format!("the certificate that it made is not good for {missing}")));
    }
    Ok(Issued { material: Material { fullchain, key }, replaced })
}

/// Places the order; without the claim to replace where the CA does not go along with that.
fn place<'a>(
    authority: &'a dyn Authority,
    request: &Request<'_>,
) -> Result<(Box<dyn Order + 'a>, bool), AcmeError> {
    let replacing = request.replaces.is_some();
    match authority.order(request) {
        Ok(order) => Ok((order, replacing)),
        // RFC 9773 section 5: `alreadyReplaced` with 409; others find the field malformed, or the certificate to be
        // another account's; some do not repeat the field. It costs a privilege, not the certificate.
        Err(AcmeError::Refused(problem))
            if replacing && !matches!(problem.short(), "rateLimited" | "accountDoesNotExist") =>
        {
            Ok((authority.order(&Request { replaces: None, ..request.clone() })?, false))
        }
        Err(AcmeError::Protocol(why)) if replacing && (why.contains("replaces") || why.contains("ARI")) => {
            Ok((authority.order(&Request { replaces: None, ..request.clone() })?, false))
        }
        Err(error) => Err(error),
    }
}

/// Shows the control over every name.
fn show(
    host: &dyn Host,
    order: &mut dyn Order,
    solver: &dyn Solver,
    tasks: &[Task],
) -> Result<(), AcmeError> {
    for task in tasks {
        solver.present(host, task)?;
    }
    if !tasks.is_empty() {
        solver.settle(host, tasks)?;
    }
    for task in tasks {
        order.ready(task, solver.method())?;
    }
    match wait(host, order, "the validation", &[Standing::Ready, Standing::Valid, Standing::Invalid])? {
        Standing::Invalid => Err(refusal(order)),
        _ => Ok(()),
    }
}

fn refusal(order: &mut dyn Order) -> AcmeError {
    match order.invalid() {
        Ok(invalid) if !invalid.is_empty() => AcmeError::Validation(invalid),
        Ok(_) => AcmeError::Protocol("an order is invalid, and it does not say why".into()),
        Err(error) => error,
    }
}

/// Asks until the order stands as hoped or feared.
fn wait(
    host: &dyn Host,
    order: &mut dyn Order,
    what: &'static str,
    until: &[Standing],
) -> Result<Standing, AcmeError> {
    let mut waited = Duration::ZERO;
    let mut pause = PAUSE;
    loop {
        let (standing, patience) = order.standing()?;
        if until.contains(&standing) {
            return Ok(standing);
        }
        // The CA's own wish counts, but it cannot keep us here.
        let next = patience.unwrap_or(pause).clamp(PAUSE, LONGEST_PAUSE);
        if waited + next > PATIENCE {
            return Err(AcmeError::Patience(what));
        }
        if host.interrupted() {
            return Err(AcmeError::Interrupted);
        }
        host.sleep(next);
        waited += next;
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}

/// Makes a key, in PEM.
fn new_key(host: &dyn Host, key_type: KeyType) -> Result<String, AcmeError> {
    let made = |algorithm| {
        KeyPair::generate_for(algorithm)
            .map(|key| key.serialize_pem())
            .map_err(|error| AcmeError::Key(format!("no key could be made: {error}")))
    };
    let bits = match key_type {
        KeyType::EcP256 => return made(&rcgen::PKCS_ECDSA_P256_SHA256),
        KeyType::EcP384 => return made(&rcgen::PKCS_ECDSA_P384_SHA384),
        KeyType::Rsa2048 => 2048,
        KeyType::Rsa4096 => 4096,
    };
    // ring makes no RSA keys. A Pi needs up to a minute for a long one.
    let command = Command::new("openssl")
        .args(["genpkey", "-algorithm", "RSA", "-pkeyopt", &format!("rsa_keygen_bits:{bits}")])
        .timeout(Duration::from_secs(300));
    let output = host.ask(&command)?;
    if !output.ok() {
        return Err(AcmeError::Key(format!("openssl could make no key: {}", output.tail())));
    }
    Ok(output.stdout)
}

/// Makes a certificate for these names that its own key signs, to serve until a CA has issued one: good from two days ago
/// for a year.
///
/// # Errors
/// [`AcmeError::Key`]: a name that no certificate can have.
pub fn placeholder(host: &dyn Host, names: &[String]) -> Result<Material, AcmeError> {
    let key = new_key(host, KeyType::EcP256)?;
    let bad = |error: rcgen::Error| AcmeError::Key(error.to_string());
    let pair = KeyPair::from_pem(&key).map_err(bad)?;
    let mut params = CertificateParams::new(names.to_vec()).map_err(bad)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "pitool placeholder");
    // It never decides anything; but a clock that is behind must not make nginx's clients see it as not yet good.
    let now = host.now();
    let moment = |days: i64| {
        let then = now.checked_add(SignedDuration::from_hours(24 * days)).unwrap_or(now);
        let date = then.to_zoned(jiff::tz::TimeZone::UTC).date();
        rcgen::date_time_ymd(
            i32::from(date.year()),
            u8::try_from(date.month()).unwrap_or(1),
            u8::try_from(date.day()).unwrap_or(1),
        )
    };
    (params.not_before, params.not_after) = (moment(-2), moment(365));
    Ok(Material { fullchain: params.self_signed(&pair).map_err(bad)?.pem(), key })
}

fn signing_request(key: &str, names: &[String]) -> Result<Vec<u8>, AcmeError> {
    let bad = |error: rcgen::Error| AcmeError::Key(format!("no request could be made with the key: {error}"));
    let key = KeyPair::from_pem(key).map_err(bad)?;
    let mut params = CertificateParams::new(names.to_vec()).map_err(bad)?;
    // The names are in the extension; a common name is limited to 64 characters, and CAs ignore or refuse it.
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(&key).map_err(bad)?.der().to_vec())
}
