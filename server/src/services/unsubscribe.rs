//! One-click unsubscription (RFC 8058): the link that mails carry, and what a click on it does.
//!
//! The link's token names an address, a channel type and a purpose, and carries an HMAC over them, so that nobody can
//! unsubscribe others by counting. It never expires: a mail may be opened years later.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::channel::ChannelType;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{
    Context, Error, Result,
    consents::{self, Said},
    work::Work,
};
use crate::{storage, wake::Topic};

/// The length of a key, in bytes.
pub const KEY_BYTES: usize = 32;
/// How much of the HMAC a token carries, in bytes: 128 bits cannot be guessed over the network.
const MAC_BYTES: usize = 16;
/// The longest purpose that a token is read with, in bytes.
const MAX_PURPOSE: usize = 200;

/// The secret that makes tokens; the same in every process, and for as long as old links are to work.
#[derive(Clone)]
pub struct Key([u8; KEY_BYTES]);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// What a link speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The key of the address.
    pub address_id: i64,
    /// The channel type on which it was written to.
    pub channel_type: ChannelType,
    /// Why it was written to.
    pub purpose: String,
}

impl Key {
    /// A key of these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// A key derived from a secret of any length.
    #[must_use]
    pub fn derived(secret: &[u8]) -> Self {
        use sha2::Digest;
        Self(Sha256::digest([b"switchboard unsubscribe ", secret].concat()).into())
    }

    /// The token of a subscription: letters, digits, `-` and `_`.
    #[must_use]
    pub fn token(&self, subscription: &Subscription) -> String {
        let payload = payload(subscription);
        let mac = self.mac(&payload);
        URL_SAFE_NO_PAD.encode([&mac[..], &payload].concat())
    }

    /// What a token speaks of; none when it was not made with this key.
    #[must_use]
    pub fn read(&self, token: &str) -> Option<Subscription> {
        if token.len() > 4 * (MAC_BYTES + MAX_PURPOSE + 32) / 3 {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (mac, payload) = bytes.split_at_checked(MAC_BYTES)?;
        self.hmac(payload).verify_truncated_left(mac).ok()?;
        let (address_id, rest) = payload.split_first_chunk::<8>()?;
        let mut words = std::str::from_utf8(rest).ok()?.splitn(2, ' ');
        let (channel_type, purpose) = (words.next()?.parse().ok()?, words.next()?.to_owned());
        Some(Subscription { address_id: i64::from_be_bytes(*address_id), channel_type, purpose })
    }

    fn mac(&self, payload: &[u8]) -> [u8; MAC_BYTES] {
        let full = self.hmac(payload).finalize().into_bytes();
        let mut mac = [0; MAC_BYTES];
        mac.copy_from_slice(&full[..MAC_BYTES]);
        mac
    }

    fn hmac(&self, payload: &[u8]) -> Hmac<Sha256> {
        let mut key = hmac::digest::Key::<Hmac<Sha256>>::default();
        key[..KEY_BYTES].copy_from_slice(&self.0);
        let mut hmac = Hmac::<Sha256>::new(&key);
        hmac.update(payload);
        hmac
    }
}

/// The address of a subscription that ends it with one click; none while no public address is configured.
#[must_use]
pub fn url(context: &Context, address_id: i64, channel_type: ChannelType, purpose: &str) -> Option<String> {
    let base = context.settings.public_url.trim_end_matches('/');
    let purpose = purpose.to_owned();
    let token = context.settings.unsubscribe_key.token(&Subscription { address_id, channel_type, purpose });
    (!base.is_empty()).then(|| format!("{base}/unsubscribe/{token}"))
}

/// Ends a subscription: the address is not written to any more on this channel type for this purpose, and what is queued to it
/// is taken back, as after a STOP word. Asked twice, it is ended once.
///
/// # Errors
/// What storage says.
pub async fn end(context: &Context, subscription: &Subscription) -> Result<()> {
    let mut work = Work::begin(context).await?;
    let (Subscription { address_id, channel_type, purpose }, now) = (subscription, work.now());
    let said = Said {
        address_id: *address_id,
        channel_type: *channel_type,
        purpose,
        opted_in: false,
        source: "UNSUBSCRIBE_LINK",
    };
    match consents::record(work.conn(), &said, None, now).await {
        // The address was deleted since: nobody is left to be written to.
        Err(Error::Storage(storage::Error::Refused { .. })) => return Ok(()),
        done => done?,
    }
    for topic in [Topic::Fallback, Topic::Events] {
        work.wake(topic);
    }
    work.commit(context).await
}

/// The key's eight bytes, the channel type, a space, the purpose.
fn payload(subscription: &Subscription) -> Vec<u8> {
    let words = format!("{} {}", subscription.channel_type, subscription.purpose);
    [&subscription.address_id.to_be_bytes()[..], words.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription() -> Subscription {
        Subscription { address_id: 42, channel_type: ChannelType::Email, purpose: "monthly news".to_owned() }
    }

    #[test]
    fn a_token_speaks_of_what_it_was_made_for() {
        let key = Key::new([7; KEY_BYTES]);
        assert_eq!(key.read(&key.token(&subscription())), Some(subscription()));
    }

    #[test]
    fn a_token_that_was_changed_or_made_by_others_speaks_of_nothing() {
        let key = Key::new([7; KEY_BYTES]);
        let token = key.token(&subscription());
        assert_eq!(Key::new([8; KEY_BYTES]).read(&token), None);
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(key.read(std::str::from_utf8(&changed).unwrap()), None, "character {at}");
        }
        for wrong in ["", "A", "not base64!", &token[..20], &"A".repeat(100_000)] {
            assert_eq!(key.read(wrong), None, "{wrong:.20}");
        }
    }

    #[test]
    fn a_key_is_never_shown() {
        assert_eq!(format!("{:?}", Key::new([7; KEY_BYTES])), "Key(..)");
    }
}
