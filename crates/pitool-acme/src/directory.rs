//! What a CA's directory says (RFC 8555 section 7.1.1), and when it suggests to renew (RFC 9773).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use pitool_host::Host;
use pitool_net::certificate::Certificate;
use serde::Deserialize;

use crate::error::{AcmeError, HttpError};
use crate::http::Client;
use crate::renewal::Suggestion;

/// Let's Encrypt's directory.
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Where Let's Encrypt lets people rehearse: its certificates are worth nothing, its limits are wide.
pub const LETS_ENCRYPT_STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";

/// The parts of a directory that are of interest before an account is opened.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Directory {
    /// Where renewal information is asked for; `None` where there is none.
    pub renewal_info: Option<String>,
    /// What it says of itself.
    pub meta: Meta,
}

/// What a directory says of itself.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    /// Its names in CAA records.
    pub caa_identities: Vec<String>,
    /// Whether an account elsewhere is needed.
    pub external_account_required: bool,
}

impl Directory {
    /// Fetches one. It costs none of the CA's limits.
    ///
    /// # Errors
    /// The way to the CA.
    pub fn fetch(client: &Client, url: &str) -> Result<Self, AcmeError> {
        let (value, _) = client.json(url)?;
        serde_json::from_value(value).map_err(|error| AcmeError::Protocol(format!("its directory: {error}")))
    }

    /// Asks when to renew a certificate; `None` where the CA does not say.
    ///
    /// # Errors
    /// The way to the CA. No reason to do or not to do anything: without a suggestion the lifetime decides.
    pub fn suggestion(
        &self,
        host: &dyn Host,
        client: &Client,
        certificate: &Certificate,
        known: Option<&Suggestion>,
    ) -> Result<Option<Suggestion>, AcmeError> {
        let (Some(url), Some(id)) = (&self.renewal_info, &certificate.ari_id) else { return Ok(None) };
        let url = format!("{}/{id}", url.trim_end_matches('/'));
        let (value, after) = client.json(&url)?;
        let info: RenewalInfo =
            serde_json::from_value(value).map_err(|_| HttpError::Answer { url, status: 200 })?;
        Ok(info.read(host.now(), after, known, &host.random(8)?))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RenewalInfo {
    suggested_window: Window,
    #[serde(rename = "explanationURL")]
    explanation: Option<String>,
}

#[derive(Deserialize)]
struct Window {
    start: Timestamp,
    end: Timestamp,
}

/// A CA is asked again no sooner and no later than so (RFC 9773 section 4.3): its own `Retry-After` within these.
const SOONEST: SignedDuration = SignedDuration::from_hours(1);
const LATEST: SignedDuration = SignedDuration::from_hours(24);

/// Where it does not say, as Let's Encrypt says.
const USUAL: SignedDuration = SignedDuration::from_hours(6);

impl RenewalInfo {
    /// Chooses the moment, or keeps the one that was chosen for the same span.
    fn read(
        self,
        now: Timestamp,
        after: Option<Duration>,
        known: Option<&Suggestion>,
        random: &[u8],
    ) -> Option<Suggestion> {
        let Window { start, end } = self.suggested_window;
        // Section 4.2: an end before the start is to be treated as no answer.
        if end <= start {
            return None;
        }
        let after = after.and_then(|after| SignedDuration::try_from(after).ok()).unwrap_or(USUAL);
        let ask_again = now.checked_add(after.clamp(SOONEST, LATEST)).unwrap_or(Timestamp::MAX);
        let chosen = match known {
            Some(known) if (known.start, known.end) == (start, end) => known.chosen,
            _ => {
                let number = random.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
                let seconds = u64::try_from(end.duration_since(start).as_secs()).unwrap_or(0);
                let offset = i64::try_from(number % seconds.max(1)).unwrap_or(0);
                start.checked_add(SignedDuration::from_secs(offset)).unwrap_or(start)
            }
        };
        Some(Suggestion { start, end, chosen, explanation: self.explanation, ask_again })
    }
}

/// Where a directory's CA lets people rehearse, where that is known.
pub fn rehearsal_of(directory: &str) -> Option<&'static str> {
    (directory == LETS_ENCRYPT).then_some(LETS_ENCRYPT_STAGING)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn info(start: i64, end: i64) -> RenewalInfo {
        RenewalInfo { suggested_window: Window { start: at(start), end: at(end) }, explanation: None }
    }

    #[test]
    fn the_moment_is_in_the_span_and_stays() {
        for random in [[0; 8], [255; 8], [1, 2, 3, 4, 5, 6, 7, 8]] {
            let first = info(1000, 2000).read(at(0), None, None, &random).unwrap();
            assert!(first.chosen >= first.start && first.chosen < first.end);
            let again = info(1000, 2000).read(at(10), None, Some(&first), &[9; 8]).unwrap();
            assert_eq!(again.chosen, first.chosen);
        }
        let first = info(1000, 2000).read(at(0), None, None, &[0; 8]).unwrap();
        let moved = info(5000, 6000).read(at(0), None, Some(&first), &[0; 8]).unwrap();
        assert_eq!(moved.chosen, at(5000), "another span, another moment");
        assert_eq!(info(2000, 2000).read(at(0), None, None, &[0; 8]), None);
    }

    #[test]
    fn the_ca_says_when_it_is_asked_again_within_reason() {
        let asked = |after| info(1, 2).read(at(0), after, None, &[0]).unwrap().ask_again.as_second() / 3600;
        assert_eq!(asked(Some(Duration::from_secs(1))), 1);
        assert_eq!(asked(Some(Duration::from_secs(4 * 3600))), 4);
        assert_eq!(asked(Some(Duration::from_secs(u64::MAX / 2))), 24);
        assert_eq!(asked(None), 6);
    }
}
