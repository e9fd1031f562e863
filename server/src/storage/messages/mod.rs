//! Messages as they are shown. Reads only; a page is found by its keys first and loaded by them then. What changes them or
//! stands beside them is below.

pub mod marks;
pub mod media;
pub mod notes;
pub mod past;
pub mod redaction;
pub mod words;

use chrono::{DateTime, Utc};
use domain::{
    channel::{Address, ChannelType},
    delivery::Evidence,
};
use sqlx::{QueryBuilder, Row};
use uuid::Uuid;

use super::{Conn, Result};
use words::Words;

/// A message with the names of what it belongs to.
#[derive(Debug, Clone)]
pub struct MessageRow {
    /// Its id.
    pub id: Uuid,
    /// Its conversation.
    pub conversation_id: Uuid,
    /// Its place in the conversation.
    pub seq: i64,
    /// The person.
    pub contact_id: i64,
    /// Out, or in.
    pub outbound: bool,
    /// Neither: a note or a notice.
    pub internal: bool,
    /// The channel as it is now: its slug and medium, and the address of the person; none for a note.
    pub channel: Option<(String, ChannelType, Address)>,
    /// The sender, as displayed.
    pub sender: String,
    /// The receiver, as displayed.
    pub receiver: String,
    /// What was said.
    pub content: serde_json::Value,
    /// Its words.
    pub plain_text: String,
    /// The version of the form that it was stored in, such as `1.0`.
    pub schema_version: String,
    /// The rest of its document.
    pub envelope: Option<serde_json::Value>,
    /// Who took its words away, when and why.
    pub redaction: Option<serde_json::Value>,
    /// The provider's id.
    pub provider_message_id: Option<String>,
    /// The message that it answers.
    pub in_reply_to: Option<Uuid>,
    /// The notification that it serves or answers.
    pub notification_id: Option<Uuid>,
    /// The delivery that carried it.
    pub delivery_id: Option<Uuid>,
    /// What is known of that delivery.
    pub evidence: Option<Evidence>,
    /// The template version that was rendered: slug and number.
    pub template: Option<(String, i32)>,
    /// The copy of its file: where it stands, and its size in bytes once it is there.
    pub media: Option<(String, Option<i64>)>,
    /// When, by the provider's clock.
    pub provider_time: Option<DateTime<Utc>>,
    /// When it came in or was made.
    pub received_at: DateTime<Utc>,
    /// When it was stored, in machine time.
    pub stored_at: DateTime<Utc>,
}

/// Messages by their ids, in the order of `ids`; those that do not exist are missing.
///
/// # Errors
/// What storage says.
pub async fn load(conn: &mut Conn, ids: &[Uuid]) -> Result<Vec<MessageRow>> {
    let rows = sqlx::query!(
        r#"select m.id as "id!", m.conversation_id as "conversation_id!", m.seq as "seq!", v.contact_id as "contact_id!",
                  m.outbound as "outbound!", m.internal as "internal!", c.slug as "channel?", c.channel_type as "channel_type?",
                  a.kind::text as "kind?", a.value as "value?", m.sender as "sender!", m.receiver as "receiver!",
                  m.content as "content!", m.plain_text as "plain_text!", m.schema_version as "schema_version!",
                  m.envelope as "envelope?", m.redaction as "redaction?",
                  coalesce(m.provider_message_id,
                           (select b.provider_message_id from attempt b where b.delivery_id = d.id
                               and b.provider_message_id is not null order by b.n desc limit 1)) as "provider_message_id?",
                  m.in_reply_to as "in_reply_to?",
                  m.notification_id as "notification_id?", m.delivery_id as "delivery_id?",
                  d.evidence::text as "evidence?", t.slug as "template?", w.number as "template_number?",
                  f.state as "media_state?", f.size as "media_size?",
                  m.provider_time as "provider_time?", m.received_at as "received_at!", m.stored_at as "stored_at!"
             from unnest($1::uuid[]) with ordinality as x(id, position)
             join message m on m.id = x.id join conversation v on v.id = m.conversation_id
             left join channel c on c.id = m.channel_id left join address a on a.id = m.address_id
             left join delivery d on d.id = m.delivery_id and m.outbound
             left join notification n on n.id = m.notification_id and m.outbound
             left join plan p on p.id = n.plan_id
             left join template_version w on w.id = p.template_version_ids[d.step + 1]
             left join template t on t.id = w.template_id
             left join media f on f.message_id = m.id
            order by x.position"#,
        ids
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|r| {
            let channel = match (r.channel, r.channel_type, r.kind, r.value) {
                (Some(slug), Some(kind_of_channel), Some(kind), Some(value)) => {
                    Some((slug, kind_of_channel.parse()?, Address { kind: kind.parse()?, value }))
                }
                _ => None,
            };
            Ok(MessageRow {
                id: r.id,
                conversation_id: r.conversation_id,
                seq: r.seq,
                contact_id: r.contact_id,
                outbound: r.outbound,
                internal: r.internal,
                channel,
                sender: r.sender,
                receiver: r.receiver,
                content: r.content,
                plain_text: r.plain_text,
                schema_version: r.schema_version,
                envelope: r.envelope,
                redaction: r.redaction,
                provider_message_id: r.provider_message_id,
                in_reply_to: r.in_reply_to,
                notification_id: r.notification_id,
                delivery_id: r.delivery_id,
                evidence: r.evidence.map(|e| e.parse()).transpose()?,
                template: r.template.zip(r.template_number),
                media: r.media_state.map(|state| (state, r.media_size)),
                provider_time: r.provider_time,
                received_at: r.received_at,
                stored_at: r.stored_at,
            })
        })
        .collect()
}

/// What a list of messages asks for; all that is set must hold.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Of this conversation.
    pub conversation: Option<Uuid>,
    /// From or to this contact, or about it.
    pub contact: Option<i64>,
    /// Serving or answering this notification.
    pub notification: Option<Uuid>,
    /// On this channel, by its slug.
    pub channel: Option<String>,
    /// Out, or in; notes are neither.
    pub outbound: Option<bool>,
    /// Only notes and notices, or none of them.
    pub internal: Option<bool>,
    /// Having these words.
    pub words: Option<Words>,
    /// That came in or were made at this time or later.
    pub from: Option<DateTime<Utc>>,
    /// That came in or were made before this time.
    pub until: Option<DateTime<Utc>>,
    /// The oldest first.
    pub oldest_first: bool,
    /// Behind this one, which the page before ended with.
    pub before: Option<Uuid>,
}

/// The messages in the tables and those in the archive, as far as lists ask for them.
const ALL_MESSAGES: &str = "(select id, conversation_id, notification_id, channel_id, outbound, internal, received_at from message
    union all select id, conversation_id, notification_id, channel_id, outbound, internal, received_at from archived_message) m
    where true";

/// The ids of a page, those of messages in the archive among them, the newest first unless it is asked for otherwise.
///
/// # Errors
/// What storage says.
pub async fn page(conn: &mut Conn, wanted: &Wanted, limit: i64) -> Result<Vec<Uuid>> {
    // What is in the archive is found by its index; words are not searched there.
    let mut query = QueryBuilder::new("select m.id from ");
    query.push(if wanted.words.is_some() { "message m where true" } else { ALL_MESSAGES });
    if let Some(conversation) = wanted.conversation {
        query.push(" and m.conversation_id = ").push_bind(conversation);
    }
    if let Some(contact) = wanted.contact {
        query.push(" and m.conversation_id = any(array(select id from conversation where contact_id = ");
        query.push_bind(contact).push("))");
    }
    if let Some(notification) = wanted.notification {
        query.push(" and m.notification_id = ").push_bind(notification);
    }
    if let Some(channel) = &wanted.channel {
        query.push(" and m.channel_id = (select id from channel where slug = ").push_bind(channel.clone()).push(")");
    }
    if let Some(outbound) = wanted.outbound {
        query.push(" and not m.internal and m.outbound = ").push_bind(outbound);
    }
    if let Some(internal) = wanted.internal {
        query.push(" and m.internal = ").push_bind(internal);
    }
    if let Some(words) = &wanted.words {
        words.push(&mut query);
    }
    if let Some(from) = wanted.from {
        query.push(" and m.received_at >= ").push_bind(from);
    }
    if let Some(until) = wanted.until {
        query.push(" and m.received_at < ").push_bind(until);
    }
    if let Some(before) = wanted.before {
        query.push(if wanted.oldest_first { " and m.id > " } else { " and m.id < " }).push_bind(before);
    }
    query.push(if wanted.oldest_first { " order by m.id limit " } else { " order by m.id desc limit " });
    let rows = query.push_bind(limit).build().fetch_all(conn).await?;
    rows.into_iter().map(|row| Ok(row.try_get(0)?)).collect()
}
