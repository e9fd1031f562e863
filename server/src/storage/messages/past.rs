//! History from elsewhere: messages that were said before Switchboard, each taken once by (channel, provider's id), in a closed
//! conversation of its contact that holds nothing else.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::super::{Conn, Result, conversations::NewMessage};

/// Takes an id of a provider for a message. Says whether it was free: neither imported before, nor received or sent by us.
///
/// # Errors
/// What storage says.
pub async fn take_ref(conn: &mut Conn, channel: i32, provider_message_id: &str, message: Uuid) -> Result<bool> {
    let done = sqlx::query!(
        r#"with known as (
             select from inbound_ref where channel_id = $1 and provider_message_id = $2
             union all
             select from provider_ref r join channel_provider p on p.id = r.provider_id
              where p.channel_id = $1 and r.provider_message_id = $2),
           fresh as (
             insert into imported_message (channel_id, provider_message_id, message_id)
             select $1, $2, $3 where not exists (select from known) on conflict do nothing returning channel_id)
           insert into inbound_ref (channel_id, provider_message_id) select channel_id, $2 from fresh on conflict do nothing"#,
        channel,
        provider_message_id,
        message
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// The conversation that holds a contact's history from elsewhere, made under `fresh` when there is none. The contact is locked
/// by the caller.
///
/// # Errors
/// What storage says.
pub async fn conversation(conn: &mut Conn, contact: i64, channel: i32, fresh: Uuid, at: DateTime<Utc>) -> Result<Uuid> {
    // Locked: it does not go into the archive while it grows. One that has gone there is forgotten, and another one begins.
    let known = sqlx::query_scalar!(
        "select id from conversation
          where id = (select conversation_id from imported_conversation where contact_id = $1) and archived_at is null for update",
        contact
    );
    if let Some(id) = known.fetch_optional(&mut *conn).await? {
        return Ok(id);
    }
    sqlx::query!(
        r#"with v as (insert into conversation (id, contact_id, phase, state, active_channel_id, created_at, changed_at, closed_at)
                      values ($1, $2, 'closed', 'CLOSED', $3, $4, $4, $4) returning id)
           insert into imported_conversation (contact_id, conversation_id) select $2, id from v"#,
        fresh,
        contact,
        channel,
        at
    )
    .execute(conn)
    .await?;
    Ok(fresh)
}

/// Appends a message of the past: no event tells of it, and nothing is sent.
///
/// # Errors
/// What storage says.
pub async fn append(conn: &mut Conn, message: &NewMessage) -> Result<()> {
    let envelope = message.envelope.as_ref().map(serde_json::to_value).transpose()?;
    sqlx::query!(
        r#"with c as (update conversation set last_seq = last_seq + 1, created_at = least(created_at, $12),
                             changed_at = greatest(changed_at, $12)
                       where id = $2 returning last_seq, contact_id)
           insert into message (id, conversation_id, seq, outbound, channel_id, address_id, sender, receiver, content, plain_text,
                                provider_message_id, provider_time, received_at, envelope, schema_version, dictionary)
           select $1, $2, c.last_seq, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14,
                  search_dictionary(coalesce($13::jsonb->>'language',
                                             (select k.locale from contact k where k.id = c.contact_id), ''))
             from c"#,
        message.id,
        message.conversation_id,
        message.outbound,
        message.channel_id,
        message.address_id,
        message.sender,
        message.receiver,
        message.content,
        message.plain_text,
        message.provider_message_id,
        message.provider_time,
        message.received_at,
        envelope,
        domain::message::CURRENT.version()
    )
    .execute(conn)
    .await?;
    Ok(())
}
