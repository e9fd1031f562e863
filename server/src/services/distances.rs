//! Who may be written to now on a channel whose provider limits the distance between messages to one person, and the number of
//! people to whom one writes first in a day. What is beyond waits in its chunk.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use domain::pacing::pair;
use uuid::Uuid;

use super::{Context, Result, directory::Channel};
use crate::storage::{
    self, Conn,
    dispatch::Claimed,
    pairs::{self, Admitted},
};

/// How long a person's message keeps the provider's service window open.
const SERVICE_WINDOW: TimeDelta = TimeDelta::hours(24);

/// The deliveries that may go now, and how long the others wait, in seconds of machine time. Of several to one person the
/// first goes.
///
/// # Errors
/// What storage says; then nobody was admitted.
pub async fn admit(context: &Context, channel: &Channel, claimed: &[&Claimed]) -> Result<(HashSet<Uuid>, f64)> {
    let mut tx = context.db.begin().await?;
    let (mut go, mut next_at): (HashSet<Uuid>, Option<DateTime<Utc>>) = (HashSet::new(), None);
    for in_conversation in [true, false] {
        let of_kind: Vec<&Claimed> =
            claimed.iter().copied().filter(|c| c.notification_id.is_none() == in_conversation).collect();
        if of_kind.is_empty() {
            continue;
        }
        let admitted = admit_addresses(context, &mut tx, channel, &of_kind, in_conversation).await?;
        let mut open: HashSet<i64> = admitted.now.into_iter().collect();
        // A second message to one address waits for its turn.
        go.extend(of_kind.iter().filter(|c| open.remove(&c.address_id)).map(|c| c.delivery_id));
        next_at = next_at.into_iter().chain(admitted.next_at).max();
    }
    let now = storage::pace::now(&mut tx).await?;
    tx.commit().await.map_err(storage::Error::from)?;
    let wait = next_at.map_or(pair::EVERY, |at| (at - now).max(TimeDelta::zero()));
    Ok((go, wait.as_seconds_f64()))
}

async fn admit_addresses(
    context: &Context,
    conn: &mut Conn,
    channel: &Channel,
    claimed: &[&Claimed],
    in_conversation: bool,
) -> Result<Admitted> {
    let mut addresses: Vec<i64> = claimed.iter().map(|c| c.address_id).collect();
    addresses.sort_unstable();
    addresses.dedup();
    let paired = pairs::admit(conn, channel.row.id, &addresses, pair::headroom(in_conversation)).await?;
    let Some(limit) = channel.row.recipients_per_day.filter(|_| !paired.now.is_empty()) else { return Ok(paired) };
    let now = context.clock.now();
    let wrote = |c: &&&Claimed| c.last_inbound_at.is_some_and(|at| at + SERVICE_WINDOW > now);
    let open: Vec<i64> = claimed.iter().filter(wrote).map(|c| c.address_id).collect();
    let counted = pairs::count(conn, channel.row.id, &paired.now, &open, limit).await?;
    Ok(Admitted { now: counted.now, next_at: paired.next_at.into_iter().chain(counted.next_at).max() })
}
