//! Asking providers what became of calls whose end is not known, where they can be asked: after the call's timeout and a settling
//! time, so that "has not" is not said of a request that is still in transit.

use chrono::Duration;
use domain::delivery::Evidence;

use super::{Context, Result, rendering};
use crate::{
    channels::{Answer, Question},
    storage::{
        asking::{self, Unanswered},
        deciding::{self, DueTimer},
        receipts::{self, NewReceipt},
    },
    wake::Topic,
};

/// Questions in one pass.
const BATCH: i64 = 20;
/// Tries of one question before it is given up: the step counts as failed at the end of its wait.
const TRIES: i32 = 5;
/// The pause between two tries.
const PAUSE: Duration = Duration::seconds(30);

/// Asks what is due to be asked. Says whether there may be more.
///
/// # Errors
/// What storage says; questions stay due then.
pub async fn ask_due(context: &Context) -> Result<bool> {
    let now = context.clock.now();
    let due = deciding::due_timers(&mut *context.db.conn().await?, "ask", now, BATCH).await?;
    for timer in &due {
        one(context, timer).await?;
    }
    Ok(i64::try_from(due.len()).unwrap_or(BATCH) >= BATCH)
}

async fn one(context: &Context, timer: &DueTimer) -> Result<()> {
    let attempt = i16::try_from(timer.generation % i32::from(i16::MAX)).unwrap_or_default();
    let claimed = asking::claim(&mut *context.db.conn().await?, timer, context.clock.now() + PAUSE).await?;
    if !claimed {
        return Ok(()); // another process asks
    }
    let unanswered = asking::unanswered(&mut *context.db.conn().await?, timer.owner, attempt).await?;
    let Some(open) = unanswered else { return forget(context, timer).await };
    match question(context, &open).await? {
        Answer::Has { provider_message_id } => {
            let receipt = NewReceipt {
                provider_message_id,
                echo: Some((open.claimed.delivery_id, open.attempt)),
                evidence: Evidence::Sent,
                failure_class: None,
                failure_code: None,
                provider_time: None,
            };
            let mut tx = context.db.begin().await?;
            asking::know(&mut tx, open.provider_id, &receipt.provider_message_id, timer.owner, open.attempt).await?;
            receipts::store(&mut tx, open.provider_id, 0, &[receipt]).await?;
            tx.commit().await.map_err(crate::storage::Error::from)?;
            context.wake.signal(Topic::Receipts);
            forget(context, timer).await
        }
        Answer::HasNot => forget(context, timer).await,
        Answer::CannotSay => match asking::tries(&mut *context.db.conn().await?, timer.owner).await? {
            tries if tries >= TRIES => forget(context, timer).await,
            _ => Ok(()), // its timer stands a pause ahead
        },
    }
}

async fn forget(context: &Context, timer: &DueTimer) -> Result<()> {
    Ok(asking::forget(&mut *context.db.conn().await?, timer.owner).await?)
}

async fn question(context: &Context, open: &Unanswered) -> Result<Answer> {
    let snapshot = context.directory.snapshot(&context.side).await?;
    let Some((channel, provider)) = snapshot.provider(open.provider_id) else { return Ok(Answer::HasNot) };
    let Ok(connector) = provider.connector.as_ref() else { return Ok(Answer::CannotSay) };
    let Ok(content) = rendering::words(context, &open.claimed, channel.channel_type()).await else {
        return Ok(Answer::CannotSay);
    };
    let question = Question {
        delivery_id: open.claimed.delivery_id,
        attempt: open.attempt,
        to: open.claimed.to.clone(),
        from: channel.row.service_identifier.clone(),
        content,
        started_at: open.started_at,
    };
    let asked = tokio::time::timeout(connector.traits().timeout, connector.ask(&question)).await;
    Ok(asked.unwrap_or(Answer::CannotSay))
}
