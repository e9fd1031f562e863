//! Opening: the one open conversation of a contact, found or begun. The database holds that there is one; the caller holds the
//! contact's lock.

use domain::conversation::closing::IDLE;
use uuid::Uuid;

use super::held::{By, Held};
use crate::{
    services::{Context, Error, Result},
    storage::{
        Conn, conversation_state,
        conversation_timers::{self, TimerRow},
        conversations,
    },
};

/// The open conversation of a contact whose lock the caller holds; begun where there is none. Says whether it is new. A new one
/// has no session yet: the caller starts one before it settles.
///
/// # Errors
/// What storage says.
pub async fn ensure(
    context: &Context,
    conn: &mut Conn,
    contact_id: i64,
    channel_id: i32,
    by: By<'_>,
) -> Result<(Held, bool)> {
    if let Some(row) = conversation_state::lock_open(conn, contact_id).await? {
        return Ok((row.into(), false));
    }
    // Who comes here without the contact's lock meets the unique index, and finds the winner's.
    let (id, new) = conversations::ensure_open(conn, Uuid::now_v7(), contact_id, channel_id, by.at).await?;
    let row = conversation_state::lock(conn, id).await?.ok_or_else(|| Error::NotFound(super::held::name_of(id)))?;
    if new && let Some(after) = idle(context) {
        let timer = TimerRow {
            entity: id,
            kind: conversation_timers::IDLE.to_owned(),
            conversation_id: Some(id),
            due_at: by.at + after,
            generation: 0,
            tries: 0,
        };
        conversation_timers::arm(conn, &timer).await?;
    }
    Ok((row.into(), new))
}

/// How long no message may pass before a conversation is closed; none: for ever.
pub(super) fn idle(context: &Context) -> Option<chrono::TimeDelta> {
    context.settings.idle_close.map_or(Some(IDLE), |set| (!set.is_zero()).then_some(set))
}
