//! Claiming chunks for connectors outside, and marking the deliveries whose call starts now: the sentences of the dispatch
//! protocol, said by somebody who does not make the call.

use domain::channel::Address;
use domain::message::Content;
use uuid::Uuid;

use super::{AckKey, ClaimKey, Served, settling};
use crate::{
    channels::{Outlet, Refusal, Sent},
    services::{Context, Error, Result, notifications, rendering, unsubscribe},
    storage::{
        self,
        dispatch::{self, Claimed},
        outcomes, pulling,
    },
    wake::Topic,
};

/// How soon what a mark refused may be looked at again, in seconds.
const AFTER_REFUSAL: f64 = 1.0;

/// A chunk that was claimed, with what is to be sent.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The claim.
    pub key: ClaimKey,
    /// What is queued in it.
    pub deliveries: Vec<Claimed>,
}

/// One delivery as a connector outside is given it.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The delivery.
    pub delivery_id: Uuid,
    /// What settles it; none before it is marked.
    pub key: Option<AckKey>,
    /// Where to.
    pub to: Address,
    /// Our own address.
    pub from: String,
    /// What to say.
    pub content: Content,
    /// What the provider is told besides.
    pub parameters: crate::services::parameters::Parameters,
    /// Whether the person wrote to the channel within a day.
    pub window_open: bool,
    /// A link that ends the subscription.
    pub unsubscribe_url: Option<String>,
}

/// Claims a chunk for an instance: the one that is named, or whichever is next. None where there is nothing now.
///
/// # Errors
/// [`Error::WrongState`] for a chunk of another channel, and what storage says.
pub async fn claim(context: &Context, served: &Served, instance: &str, chunk: Option<i64>) -> Result<Option<Claim>> {
    if !served.enabled {
        return Ok(None);
    }
    loop {
        let (mut tx, token) = (context.db.begin().await?, Uuid::new_v4());
        let next = match chunk {
            Some(chunk) => own(&mut tx, served, chunk).await?,
            None => pulling::next(&mut tx, served.channel_id).await?,
        };
        let Some(id) = next else { return Ok(None) };
        let deliveries = dispatch::claim(&mut tx, id, token, served.lease.as_secs_f64()).await?;
        pulling::hold(&mut tx, id, token, instance).await?;
        tx.commit().await.map_err(storage::Error::from)?;
        if !deliveries.is_empty() {
            return Ok(Some(Claim { key: ClaimKey { provider_id: served.provider_id, chunk: id, token }, deliveries }));
        }
        // Everything in it was taken back, or nothing was claimed.
        pulling::close(&mut *context.db.conn().await?, id, token).await?;
        if chunk.is_some() {
            return Ok(None);
        }
    }
}

/// The chunk, if it still stands.
async fn own(conn: &mut storage::Conn, served: &Served, chunk: i64) -> Result<Option<i64>> {
    match pulling::channel_of(conn, chunk).await? {
        None => Ok(None),
        Some(channel) if channel == served.channel_id => Ok(Some(chunk)),
        Some(_) => Err(Error::WrongState {
            reason: "STATE_WRONG",
            message: format!("chunk {chunk} does not belong to channels/{}", served.slug),
        }),
    }
}

/// Marks deliveries of a claim whose call starts now, and says which may go, each with its attempt. What is refused is taken
/// back where nobody wants it any more.
///
/// # Errors
/// What storage says.
pub async fn mark(context: &Context, claim: &ClaimKey, lease_secs: f64, ids: &[Uuid]) -> Result<Vec<(Uuid, i16)>> {
    let (conn, now) = (&mut *context.db.conn().await?, context.clock.now());
    let marked = dispatch::mark(conn, claim.chunk, claim.token, ids, claim.provider_id, lease_secs, now).await?;
    let refused: Vec<Uuid> = ids.iter().copied().filter(|id| !marked.iter().any(|(m, _)| m == id)).collect();
    if !refused.is_empty() {
        dispatch::cancel_unwanted(conn, &refused, now).await?;
        outcomes::make_due_if_invalid(conn, &refused, now).await?;
        pulling::postpone(conn, claim.chunk, claim.token, AFTER_REFUSAL).await?;
        notifications::wake(context);
    }
    Ok(marked)
}

/// Marks deliveries of a claim for a worker that settles them by itself, and renews the claim.
///
/// # Errors
/// [`Error::NotFound`] for a claim of a channel that is no longer served from outside, and what storage says.
pub async fn mark_and_renew(context: &Context, claim: &ClaimKey, ids: &[Uuid]) -> Result<Vec<(Uuid, i16)>> {
    let snapshot = context.directory.snapshot(&context.side).await?;
    let outlet = snapshot.provider(claim.provider_id).and_then(|(_, p)| Some(p.connector.as_ref().ok()?.outlet()));
    let Some(Outlet::Outside { lease, .. }) = outlet else { return Err(Error::NotFound("the claim".to_owned())) };
    let lease = lease.as_secs_f64();
    pulling::renew(&mut *context.db.conn().await?, &[claim.chunk], &[claim.token], &[], lease).await?;
    mark(context, claim, lease, ids).await
}

/// Marks deliveries and renders them. What cannot be rendered is settled here, as our own workers would: it never leaves.
///
/// # Errors
/// What storage says.
pub async fn hand_over(
    context: &Context,
    served: &Served,
    claim: &ClaimKey,
    slice: Vec<Claimed>,
) -> Result<Vec<Outgoing>> {
    let ids: Vec<Uuid> = slice.iter().map(|c| c.delivery_id).collect();
    let marked = mark(context, claim, served.lease.as_secs_f64(), &ids).await?;
    let (mut ready, mut ended) = (Vec::new(), Vec::new());
    for claimed in slice {
        let Some((_, attempt)) = marked.iter().find(|(id, _)| *id == claimed.delivery_id) else { continue };
        let key = AckKey { claim: *claim, delivery_id: claimed.delivery_id, attempt: *attempt };
        match outgoing(context, served, &claimed, Some(key)).await {
            Ok(outgoing) => ready.push(outgoing),
            Err(refusal) => ended.push((key, settling::of_our_own(refusal))),
        }
    }
    if !ended.is_empty() {
        settling::settle(context, &ended).await?;
    }
    Ok(ready)
}

/// One delivery, rendered.
///
/// # Errors
/// A refusal of our own, without a call.
pub async fn outgoing(
    context: &Context,
    served: &Served,
    claimed: &Claimed,
    key: Option<AckKey>,
) -> std::result::Result<Outgoing, Refusal> {
    let (content, parameters) = rendering::content(context, claimed, served.channel_type).await?;
    let window = chrono::TimeDelta::hours(24);
    Ok(Outgoing {
        delivery_id: claimed.delivery_id,
        key,
        to: claimed.to.clone(),
        from: served.from.clone(),
        content,
        parameters,
        window_open: claimed.last_inbound_at.is_some_and(|at| at + window > context.clock.now()),
        unsubscribe_url: unsubscribe::url(context, claimed.address_id, served.channel_type, &claimed.purpose),
    })
}

/// Claims for a worker that marks by itself: the claim with its deliveries rendered. What cannot be rendered is marked and
/// settled at once.
///
/// # Errors
/// As [`claim`].
pub async fn claim_rendered(
    context: &Context,
    served: &Served,
    instance: &str,
    chunk: Option<i64>,
) -> Result<Option<(ClaimKey, Vec<Outgoing>)>> {
    let Some(claim) = claim(context, served, instance, chunk).await? else { return Ok(None) };
    let (mut ready, mut broken) = (Vec::new(), Vec::new());
    for claimed in claim.deliveries {
        match outgoing(context, served, &claimed, None).await {
            Ok(outgoing) => ready.push(outgoing),
            Err(refusal) => broken.push((claimed.delivery_id, refusal)),
        }
    }
    let ids: Vec<Uuid> = broken.iter().map(|(id, _)| *id).collect();
    let lease = served.lease.as_secs_f64();
    let marked = if ids.is_empty() { Vec::new() } else { mark(context, &claim.key, lease, &ids).await? };
    let ended: Vec<(AckKey, Sent)> = broken
        .into_iter()
        .filter_map(|(id, refusal)| {
            let (_, attempt) = marked.iter().find(|(m, _)| *m == id)?;
            Some((AckKey { claim: claim.key, delivery_id: id, attempt: *attempt }, settling::of_our_own(refusal)))
        })
        .collect();
    if !ended.is_empty() {
        settling::settle(context, &ended).await?;
    }
    if ready.is_empty() {
        finish(context, &claim.key).await?;
        return Ok(None);
    }
    Ok(Some((claim.key, ready)))
}

/// Ends a claim: its chunk is over, or goes back with what is still queued.
///
/// # Errors
/// What storage says.
pub async fn finish(context: &Context, claim: &ClaimKey) -> Result<()> {
    if pulling::end(&mut *context.db.conn().await?, claim.chunk, claim.token).await? {
        context.wake.signal(Topic::Relay);
    }
    Ok(())
}
