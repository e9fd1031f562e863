//! Connectors outside the process: claiming and marking for them ([`claiming`]), what they say became of it ([`settling`]),
//! what they bring ([`intake`]), and the session of a connected one ([`session`]).
//!
//! The dispatch protocol is that of our own workers; only who makes the call differs. Nothing here knows the contract.

pub mod claiming;
pub mod intake;
pub mod session;
pub mod settling;

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{channel::ChannelType, delivery::AfterUnknown};
use uuid::Uuid;

use super::{Context, Error, Result};
use crate::{
    channels::Outlet,
    storage::{
        self,
        connectors::{Arrival, InstanceRow},
    },
};

/// A channel that connectors outside serve.
#[derive(Debug, Clone)]
pub struct Served {
    /// The channel.
    pub channel_id: i32,
    /// Its slug.
    pub slug: String,
    /// Its type.
    pub channel_type: ChannelType,
    /// Our own address on it.
    pub from: String,
    /// Whether it may send.
    pub enabled: bool,
    /// Its only provider.
    pub provider_id: i32,
    /// What may follow an unknown end.
    pub after_unknown: AfterUnknown,
    /// How long a delivery is a connector's.
    pub lease: Duration,
}

/// The channel of this slug, as connectors outside see it.
///
/// # Errors
/// [`Error::NotFound`], [`Error::WrongState`] where it is served otherwise or its settings cannot be used.
pub async fn served(context: &Context, slug: &str) -> Result<Served> {
    let snapshot = context.directory.snapshot(&context.side).await?;
    let name = super::channels::name_of(slug);
    let channel = snapshot.by_slug(slug).ok_or_else(|| Error::NotFound(name.clone()))?;
    let Some((provider, connector)) = channel.outside() else {
        let message = format!("{name} has no provider of the connector kind external that can be used");
        return Err(Error::WrongState { reason: "STATE_WRONG", message });
    };
    let lease = match connector.outlet() {
        Outlet::Outside { lease, .. } => lease,
        Outlet::Wire | Outlet::WebChat => Duration::ZERO,
    };
    Ok(Served {
        channel_id: channel.row.id,
        slug: slug.to_owned(),
        channel_type: channel.channel_type(),
        from: channel.row.service_identifier.clone(),
        enabled: channel.row.state == "enabled",
        provider_id: provider.row.id,
        after_unknown: connector.traits().after_unknown,
        lease,
    })
}

/// What a program that fetches deliveries says of itself.
#[derive(Debug, Clone)]
pub struct Hello {
    /// The slug of the channel.
    pub channel: String,
    /// The name that it keeps over its restarts.
    pub instance: String,
    /// What it is.
    pub software: String,
    /// Deliveries that it takes at once.
    pub in_flight: usize,
    /// How long it may take to settle one.
    pub settle_timeout: Duration,
}

/// A claim: a chunk, and the token under which it is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClaimKey {
    /// The provider for which it was claimed.
    pub provider_id: i32,
    /// The chunk.
    pub chunk: i64,
    /// The token.
    pub token: Uuid,
}

/// What settles one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AckKey {
    /// The claim in which it was marked.
    pub claim: ClaimKey,
    /// The delivery.
    pub delivery_id: Uuid,
    /// The attempt.
    pub attempt: i16,
}

impl ClaimKey {
    /// As callers are given it.
    #[must_use]
    pub fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(format!("c:{}:{}:{}", self.provider_id, self.chunk, self.token))
    }

    /// What was given, if it is one of ours.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let text = decoded(text)?;
        let [provider, chunk, token] = parts(text.strip_prefix("c:")?)?;
        Some(Self { provider_id: provider.parse().ok()?, chunk: chunk.parse().ok()?, token: token.parse().ok()? })
    }
}

impl AckKey {
    /// As callers are given it.
    #[must_use]
    pub fn encode(&self) -> String {
        let ClaimKey { provider_id, chunk, token } = self.claim;
        URL_SAFE_NO_PAD.encode(format!("a:{provider_id}:{chunk}:{token}:{}:{}", self.delivery_id, self.attempt))
    }

    /// What was given, if it is one of ours.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let text = decoded(text)?;
        let [provider, chunk, token, delivery, attempt] = parts(text.strip_prefix("a:")?)?;
        let claim =
            ClaimKey { provider_id: provider.parse().ok()?, chunk: chunk.parse().ok()?, token: token.parse().ok()? };
        let attempt = attempt.parse().ok().filter(|n| *n >= 1)?;
        Some(Self { claim, delivery_id: delivery.parse().ok()?, attempt })
    }
}

fn decoded(text: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

fn parts<const N: usize>(text: &str) -> Option<[&str; N]> {
    text.split(':').collect::<Vec<_>>().try_into().ok()
}

/// Notes that a program is there which asks again and again rather than holding a connection.
///
/// # Errors
/// What storage says.
pub async fn ask(context: &Context, served: &Served, instance: &str) -> Result<()> {
    let arrival =
        Arrival { provider_id: served.provider_id, name: instance, software: "", in_flight: 0, connected: false };
    storage::connectors::arrive(&mut *context.lists.conn().await?, arrival).await?;
    Ok(())
}

/// A page of the instances that serve a channel, by name.
///
/// # Errors
/// As [`served`].
pub async fn instances(context: &Context, slug: &str, after: &str, limit: i64) -> Result<Vec<InstanceRow>> {
    let served = served(context, slug).await?;
    Ok(storage::connectors::list(&mut *context.lists.conn().await?, served.channel_id, after, limit).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_as_they_went_and_nothing_else_is_one() {
        let claim = ClaimKey { provider_id: 7, chunk: 4711, token: Uuid::from_u128(9) };
        assert_eq!(ClaimKey::decode(&claim.encode()), Some(claim));
        let ack = AckKey { claim, delivery_id: Uuid::from_u128(3), attempt: 2 };
        assert_eq!(AckKey::decode(&ack.encode()), Some(ack));
        assert_eq!(AckKey::decode(&claim.encode()), None);
        assert_eq!(ClaimKey::decode(&ack.encode()), None);
        for wrong in ["", "x", "YTox", &URL_SAFE_NO_PAD.encode("a:1:2:3:4:5")] {
            assert_eq!(AckKey::decode(wrong), None, "{wrong}");
        }
    }
}
