//! Signatures over time and body: `v1=` and the hexadecimal HMAC-SHA256 of `{unix seconds}.{raw body}`. The time is signed with
//! the body, so that a request that was overheard is worth nothing a few minutes later.

use std::time::Duration;

use chrono::TimeDelta;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use super::super::{WebhookError, WebhookRequest};

/// The header with the time of the request, in seconds since 1970.
pub(super) const TIMESTAMP: &str = "x-switchboard-timestamp";
/// The header with the signature.
pub(super) const SIGNATURE: &str = "x-switchboard-signature";

/// The signature of a body at a time.
pub(super) fn sign(secret: &SecretString, timestamp: i64, body: &[u8]) -> String {
    match mac(secret, timestamp, body) {
        Some(mac) => format!("v1={}", hex::encode(mac.finalize().into_bytes())),
        None => String::new(),
    }
}

/// HMAC takes keys of any length; `None` never happens.
fn mac(secret: &SecretString, timestamp: i64, body: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).ok()?;
    mac.update(timestamp.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    Some(mac)
}

/// Checks the signature of a request by any of the keys, in constant time, and that it is not a replay.
pub(super) fn check<'a>(
    request: &WebhookRequest,
    mut secrets: impl Iterator<Item = &'a SecretString>,
    window: Duration,
) -> Result<(), WebhookError> {
    let forbidden = |words: &str| Err(WebhookError::Forbidden(words.to_owned()));
    let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
    let Some(timestamp) = header(TIMESTAMP).and_then(|text| text.parse::<i64>().ok()) else {
        return forbidden("x-switchboard-timestamp is missing, or is no number of seconds since 1970");
    };
    let given = header(SIGNATURE).and_then(|text| hex::decode(text.strip_prefix("v1=")?).ok());
    let Some(given) = given else {
        return forbidden("x-switchboard-signature is missing, or is not v1= and 64 hexadecimal digits");
    };
    // The signature first: whoever cannot sign is not told anything about our clock.
    let fits = |secret: &SecretString| {
        mac(secret, timestamp, &request.body).is_some_and(|mac| mac.verify_slice(&given).is_ok())
    };
    if !secrets.any(fits) {
        return forbidden("x-switchboard-signature is not that of timestamp, dot and body under the signing secret");
    }
    let age = TimeDelta::seconds(request.received_at.timestamp().saturating_sub(timestamp));
    let window = TimeDelta::from_std(window).unwrap_or(TimeDelta::MAX);
    if age.abs() > window {
        return forbidden("x-switchboard-timestamp is too far from the time here: a replay, or a clock that is wrong");
    }
    Ok(())
}
