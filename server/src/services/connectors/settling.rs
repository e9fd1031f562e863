//! What connectors outside say became of deliveries: written through the same path as the outcomes of our own workers, fenced
//! by the token of the claim.

use std::collections::{BTreeSet, HashMap};

use domain::delivery::{AfterUnknown, FailureClass};
use uuid::Uuid;

use super::AckKey;
use crate::{
    channels::{Refusal, Sent},
    services::{
        Context, Result,
        outcomes::{self, Ended, Stored},
    },
    storage::pulling,
    wake::Topic,
};

/// Stores how attempts ended, in the order in which they are given. One that is told twice counts once; one whose claim was lost
/// is kept as evidence. Chunks in which nothing is left are over.
///
/// # Errors
/// What storage says; then nothing is stored, and the same may be told again.
pub async fn settle(context: &Context, ends: &[(AckKey, Sent)]) -> Result<Vec<Stored>> {
    let snapshot = context.directory.snapshot(&context.side).await?;
    let ability = |provider: i32| {
        let connector = snapshot.provider(provider).and_then(|(_, p)| p.connector.as_ref().ok());
        connector.map_or(AfterUnknown::Nothing, |c| c.traits().after_unknown)
    };
    let ids: Vec<Uuid> = ends.iter().map(|(key, _)| key.delivery_id).collect();
    let current: HashMap<Uuid, i16> =
        pulling::attempts(&mut *context.db.conn().await?, &ids).await?.into_iter().collect();
    let (mut first, mut batch) = (HashMap::new(), Vec::new());
    for (key, sent) in ends {
        if first.contains_key(key) {
            continue;
        }
        first.insert(*key, batch.len());
        // An end of an earlier attempt under the same claim must not settle the one that is open: no token is nil.
        let is_open = current.get(&key.delivery_id) == Some(&key.attempt);
        batch.push(Ended {
            delivery_id: key.delivery_id,
            attempt: key.attempt,
            token: if is_open { key.claim.token } else { Uuid::nil() },
            provider_id: key.claim.provider_id,
            after_unknown: ability(key.claim.provider_id),
            sent: sent.clone(),
        });
    }
    let stored = outcomes::store(context, &batch).await?;
    let of = |key: &AckKey| first.get(key).and_then(|at| stored.get(*at)).copied().unwrap_or(Stored::Late);
    tidy(context, ends.iter().map(|(key, _)| (*key, of(key)))).await?;
    Ok(ends.iter().map(|(key, _)| of(key)).collect())
}

/// Lets what follows again wait in its chunk, and ends the chunks that are over.
async fn tidy(context: &Context, ends: impl Iterator<Item = (AckKey, Stored)>) -> Result<()> {
    let (mut claims, mut conn) = (BTreeSet::new(), context.db.conn().await?);
    for (key, stored) in ends {
        if let Stored::Again(after) = stored {
            let secs = after.to_std().unwrap_or_default().as_secs_f64();
            pulling::postpone(&mut conn, key.claim.chunk, key.claim.token, secs).await?;
        }
        claims.insert((key.claim.chunk, key.claim.token));
    }
    for (chunk, token) in claims {
        pulling::close(&mut conn, chunk, token).await?;
    }
    // Sessions learn here what was settled past them.
    context.wake.signal(Topic::Pulls);
    Ok(())
}

/// How an attempt ended that never left us.
#[must_use]
pub fn of_our_own(refusal: Refusal) -> Sent {
    match refusal.class {
        // The database is away: nothing is wrong with the message.
        FailureClass::Temporary => Sent::NotSent { detail: refusal.detail },
        _ => Sent::Refused(refusal),
    }
}
