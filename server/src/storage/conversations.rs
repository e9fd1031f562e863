//! Conversations and their messages: at most one open conversation for a contact, and a gapless order inside each.

use chrono::{DateTime, Utc};
use domain::{
    channel::Address,
    message::{CURRENT, Envelope},
};
use uuid::Uuid;

use super::{Conn, Result, dispatch::Claimed};

/// Finds the open conversation of a contact and locks it, or opens one under `id`. Says which, and whether it is new.
///
/// Two first messages that race meet in the unique index: the loser finds the winner's.
///
/// # Errors
/// What storage says.
pub async fn ensure_open(
    conn: &mut Conn,
    id: Uuid,
    contact_id: i64,
    channel_id: i32,
    now: DateTime<Utc>,
) -> Result<(Uuid, bool)> {
    let opened = sqlx::query_scalar!(
        r#"insert into conversation (id, contact_id, active_channel_id, previous_conversation, created_at, changed_at)
           select $1, $2, $3, (select max(p.id::text)::uuid from conversation p where p.contact_id = $2), $4, $4
           on conflict (contact_id) where phase = 'open' do nothing returning id"#,
        id,
        contact_id,
        channel_id,
        now
    )
    .fetch_optional(&mut *conn)
    .await?;
    if let Some(id) = opened {
        sqlx::query!(
            r#"insert into event_out (kind, type, to_state, ids, at) values ('conversation', 'created', 'open', array[$1::uuid], $2)"#,
            id,
            now
        )
        .execute(conn)
        .await?;
        return Ok((id, true));
    }
    let id = sqlx::query_scalar!(
        "select id from conversation where contact_id = $1 and phase = 'open' for update",
        contact_id
    )
    .fetch_one(conn)
    .await?;
    Ok((id, false))
}

/// A message as it is stored.
#[derive(Debug, Clone, Default)]
pub struct NewMessage {
    /// A UUIDv7.
    pub id: Uuid,
    /// Its conversation, locked by the caller.
    pub conversation_id: Uuid,
    /// Out, or in.
    pub outbound: bool,
    /// Its channel.
    pub channel_id: i32,
    /// The contact's address.
    pub address_id: i64,
    /// The sender, as displayed.
    pub sender: String,
    /// The receiver, as displayed.
    pub receiver: String,
    /// What is said.
    pub content: serde_json::Value,
    /// Its words.
    pub plain_text: String,
    /// The provider's id.
    pub provider_message_id: Option<String>,
    /// The message that it answers.
    pub in_reply_to: Option<Uuid>,
    /// The notification that it belongs to or answers.
    pub notification_id: Option<Uuid>,
    /// The delivery that carried it.
    pub delivery_id: Option<Uuid>,
    /// When, by the provider's clock.
    pub provider_time: Option<DateTime<Utc>>,
    /// When it arrived or was sent, in business time.
    pub received_at: DateTime<Utc>,
    /// The rest of its document, which makes it readable on its own; none: it is stored in the form 1.0, without it.
    pub envelope: Option<Envelope>,
    /// Who says it, for the event: a resource name, `api`, `system`; none: the contact, or a notification.
    pub actor: Option<String>,
}

/// Appends a message to its conversation; an inbound one moves the active channel. A delivery's message that stands already is
/// left as it is. Says whether it was appended.
///
/// # Errors
/// What storage says.
pub async fn append(conn: &mut Conn, message: &NewMessage, now: DateTime<Utc>) -> Result<bool> {
    let envelope = message.envelope.as_ref().map(serde_json::to_value).transpose()?;
    let done = sqlx::query!(
        r#"with known as (select from message where delivery_id = $13 and outbound and $3),
           c as (update conversation set last_seq = last_seq + 1, changed_at = greatest(changed_at, $15),
                        active_channel_id = case when $3 then active_channel_id else $4 end,
                        inbound_count = inbound_count + case when $3 then 0 else 1 end,
                        last_message_at = greatest(last_message_at, $16)
                  where id = $2 and not exists (select from known) returning last_seq, inbound_count, contact_id),
           m as (
             insert into message (id, conversation_id, seq, outbound, channel_id, address_id, sender, receiver, content,
                                  plain_text, provider_message_id, in_reply_to, notification_id, delivery_id, provider_time,
                                  received_at, envelope, schema_version, dictionary)
             select $1, $2, c.last_seq, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $16, $17,
                    case when $17::jsonb is null then '1.0' else $18 end,
                    search_dictionary(coalesce($17::jsonb->>'language',
                                               (select k.locale from contact k where k.id = c.contact_id), ''))
               from c returning id)
           insert into event_out (kind, type, channel_id, ids, data, at)
           select 'message', 'message_added', $4, array[m.id],
                  jsonb_strip_nulls(jsonb_build_object(
                    'conversation', $2::uuid, 'outbound', $3::boolean, 'seq', c.last_seq, 'actor', $19::text,
                    'intent', case when $3 then null when c.inbound_count = 1 then 'FIRST_MESSAGE' else 'MESSAGE' end)), $15
             from m cross join c"#,
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
        message.in_reply_to,
        message.notification_id,
        message.delivery_id,
        message.provider_time,
        now,
        message.received_at,
        envelope,
        CURRENT.version(),
        message.actor
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Queues one message of a conversation for delivery, in the group of direct traffic.
///
/// # Errors
/// What storage says.
pub async fn deliver(
    conn: &mut Conn,
    delivery_id: Uuid,
    message_id: Uuid,
    send_group_id: i64,
    channel_id: i32,
    address_id: i64,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        r#"insert into delivery (id, message_id, step, send_group_id, channel_id, address_id, work, created_at)
           values ($1, $2, 0, $3, $4, $5, 'queued', $6)"#,
        delivery_id,
        message_id,
        send_group_id,
        channel_id,
        address_id,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// An address by its key.
///
/// # Errors
/// What storage says.
pub async fn address(conn: &mut Conn, address_id: i64) -> Result<Address> {
    let row = sqlx::query!(r#"select kind::text as "kind!", value from address where id = $1"#, address_id)
        .fetch_one(conn)
        .await?;
    Ok(Address { kind: row.kind.parse()?, value: row.value })
}

/// The message of a conversation that a delivery carried.
///
/// # Errors
/// What storage says.
pub async fn message_of_delivery(conn: &mut Conn, delivery_id: Uuid) -> Result<Option<Uuid>> {
    let id = sqlx::query_scalar!("select id from message where delivery_id = $1 and outbound", delivery_id)
        .fetch_optional(conn)
        .await?;
    Ok(id)
}

/// A delivery of a notification that was put on the wire.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The delivery, with what renders it again.
    pub claimed: Claimed,
    /// The provider's id of its last accepted attempt.
    pub provider_message_id: Option<String>,
    /// When its last attempt began.
    pub started_at: Option<DateTime<Utc>>,
    /// The provider that took it.
    pub provider_id: Option<i32>,
    /// The campaign that it belongs to.
    pub campaign_id: Option<i64>,
}

/// What a notification's delivery said, where it is not in a conversation yet.
///
/// # Errors
/// What storage says.
pub async fn sent(conn: &mut Conn, delivery_id: Uuid) -> Result<Option<Sent>> {
    let row = sqlx::query!(
        r#"select d.id as "id!", d.notification_id as "notification_id!", d.step as "step!", d.channel_id as "channel_id!",
                  a.id as "address_id!", a.kind::text as "kind!", a.value as "value!", n.purpose as "purpose!",
                  n.plan_id as "plan_id!", n.variables || contact_variable(k) as "variables!", k.locale as "locale!",
                  d.attempt_started_at as "started_at?", d.provider_id as "provider_id?", n.campaign_id as "campaign_id?",
                  (select t.provider_message_id from attempt t where t.delivery_id = d.id and t.provider_message_id is not null
                    order by t.n desc limit 1) as "provider_message_id?"
             from delivery d join notification n on n.id = d.notification_id join contact k on k.id = n.contact_id
             join address a on a.id = d.address_id
            where d.id = $1 and not exists (select from message m where m.delivery_id = d.id and m.outbound)"#,
        delivery_id
    )
    .fetch_optional(conn)
    .await?;
    row.map(|r| {
        Ok(Sent {
            claimed: Claimed {
                delivery_id: r.id,
                notification_id: Some(r.notification_id),
                step: r.step,
                generation: 0,
                channel_id: r.channel_id,
                address_id: r.address_id,
                to: Address { kind: r.kind.parse()?, value: r.value },
                purpose: r.purpose,
                content: None,
                plan_id: Some(r.plan_id),
                variables: r.variables,
                locale: r.locale,
                attempts: 0,
                failures: 0,
                throttles: 0,
                last_inbound_at: None,
                valid_until: None,
            },
            provider_message_id: r.provider_message_id,
            started_at: r.started_at,
            provider_id: r.provider_id,
            campaign_id: r.campaign_id,
        })
    })
    .transpose()
}

/// What a delivery said, as it stands in its conversation.
///
/// # Errors
/// What storage says.
pub async fn content_of_delivery(conn: &mut Conn, delivery_id: Uuid) -> Result<Option<serde_json::Value>> {
    let content = sqlx::query_scalar!("select content from message where delivery_id = $1 and outbound", delivery_id)
        .fetch_optional(conn)
        .await?;
    Ok(content)
}

/// The channel that a contact's last conversation used.
///
/// # Errors
/// What storage says.
pub async fn last_channel(conn: &mut Conn, contact_id: i64) -> Result<Option<i32>> {
    let id = sqlx::query_scalar!(
        "select active_channel_id from conversation where contact_id = $1 order by id desc limit 1",
        contact_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(id)
}

/// Where a notification's delivery went.
#[derive(Debug, Clone, Copy)]
pub struct SentTo {
    /// The notification.
    pub notification_id: Uuid,
    /// Its contact.
    pub contact_id: i64,
    /// The channel.
    pub channel_id: i32,
    /// The address.
    pub address_id: i64,
}

/// Where a notification's delivery went, if its message stands in no conversation yet.
///
/// # Errors
/// What storage says.
pub async fn sent_of(conn: &mut Conn, delivery_id: Uuid) -> Result<Option<SentTo>> {
    let row = sqlx::query_as!(
        SentTo,
        r#"select n.id as "notification_id!", n.contact_id as "contact_id!", d.channel_id as "channel_id!",
                  d.address_id as "address_id!"
             from delivery d join notification n on n.id = d.notification_id
            where d.id = $1 and d.channel_id is not null and d.address_id is not null
              and not exists (select from message m where m.delivery_id = d.id and m.outbound)"#,
        delivery_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}
