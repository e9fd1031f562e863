//! Small signs to providers: a message was read, somebody types. They are left in the transaction that has the cause, and given
//! by a worker; one that cannot be given soon is dropped, since a late sign misleads.

use std::time::Duration;

use crate::{
    channels::{Courtesy, Sent},
    services::{Context, Result, directory::Snapshot, work::Work},
    storage::messages::marks::{self, CourtesyRow, LastInbound},
    wake::Topic,
};

/// For how long it is worth telling that a message was read, and that somebody types, in seconds.
const GOOD_FOR: (f64, f64) = (3_600.0, 20.0);
/// How many are given in one pass.
const BATCH: i64 = 20;
/// How long a sign is held by the one who gives it, and so the pause between its tries, in seconds.
const LEASE_SECS: f64 = 30.0;
/// The longest that one call may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often one is tried.
const TRIES: i16 = 3;

/// Leaves a sign for each message whose channel can take one.
///
/// # Errors
/// What storage says.
pub async fn leave(context: &Context, work: &mut Work, to: Vec<LastInbound>, typing: bool) -> Result<()> {
    let snapshot = context.directory.snapshot(&context.side).await?;
    let good_for = if typing { GOOD_FOR.1 } else { GOOD_FOR.0 };
    for message in to.iter().filter(|message| connector(&snapshot, message.channel_id).is_some()) {
        marks::leave_courtesy(work.conn(), message, typing, good_for).await?;
        work.wake(Topic::Courtesies);
    }
    Ok(())
}

/// Gives what is due. Says whether there may be more.
///
/// # Errors
/// What storage says.
pub async fn give(context: &Context) -> Result<bool> {
    let due = marks::take_courtesies(&mut *context.side.conn().await?, BATCH, LEASE_SECS).await?;
    let more = i64::try_from(due.len()).is_ok_and(|taken| taken == BATCH);
    let snapshot = context.directory.snapshot(&context.side).await?;
    for row in due {
        if is_done(&snapshot, &row).await {
            marks::forget_courtesy(&mut *context.side.conn().await?, row.id).await?;
        }
    }
    Ok(more)
}

/// Gives one. Says whether it is done with: given, refused, or tried often enough.
async fn is_done(snapshot: &Snapshot, row: &CourtesyRow) -> bool {
    let Some((from, connector)) = connector(snapshot, row.channel_id) else { return true };
    let courtesy =
        Courtesy { from: from.to_owned(), provider_message_id: row.provider_message_id.clone(), typing: row.typing };
    match tokio::time::timeout(PATIENCE, connector.give_courtesy(&courtesy)).await {
        Ok(Sent::Accepted { .. }) => true,
        Ok(Sent::Refused(refusal)) => {
            tracing::debug!(channel.id = row.channel_id, code = refusal.code, "a provider refused a sign");
            true
        }
        Ok(Sent::NotSent { .. } | Sent::Unknown { .. }) | Err(_) => row.tries >= TRIES,
    }
}

/// Our address on a channel, and the first of its providers that takes such signs.
fn connector(snapshot: &Snapshot, channel: i32) -> Option<(&str, &dyn crate::channels::Connector)> {
    let channel = snapshot.channel(channel)?;
    let mut usable = channel.providers.iter().filter(|p| p.row.enabled).filter_map(|p| p.connector.as_ref().ok());
    let connector = usable.find(|connector| connector.takes_courtesies())?;
    Some((&channel.row.service_identifier, connector.as_ref()))
}
