//! Messages as they are shown. Reads only; a page is found by its keys first and loaded by them then.

use chrono::{DateTime, Utc};
use domain::{
    channel::{Address, ChannelType},
    delivery::Evidence,
};
use sqlx::{QueryBuilder, Row};
use uuid::Uuid;

use super::{Conn, Result};

/// A message with the names of what it belongs to.
#[derive(Debug, Clone)]
pub struct MessageRow {
    /// Its id.
    pub id: Uuid,
    /// Its conversation.
    pub conversation_id: Uuid,
    /// The person.
    pub contact_id: i64,
    /// Out, or in.
    pub outbound: bool,
    /// The slug of its channel.
    pub channel: String,
    /// The medium.
    pub channel_type: ChannelType,
    /// The address of the person.
    pub address: Address,
    /// Our own address on the channel at that time.
    pub service_identifier: String,
    /// What was said.
    pub content: serde_json::Value,
    /// Its words.
    pub plain_text: String,
    /// The version of the form of the content, such as `1.0`.
    pub schema_version: String,
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
    /// When, by the provider's clock.
    pub provider_time: Option<DateTime<Utc>>,
    /// When it came in or was made.
    pub received_at: DateTime<Utc>,
}

/// Messages by their ids, in the order of `ids`; those that do not exist are missing.
///
/// # Errors
/// What storage says.
pub async fn load(conn: &mut Conn, ids: &[Uuid]) -> Result<Vec<MessageRow>> {
    let rows = sqlx::query!(
        r#"select m.id as "id!", m.conversation_id as "conversation_id!", v.contact_id as "contact_id!",
                  m.outbound as "outbound!", c.slug as "channel!", c.channel_type as "channel_type!",
                  a.kind::text as "kind!", a.value as "value!", case when m.outbound then m.sender else m.receiver end as "ours!",
                  m.content as "content!", m.plain_text as "plain_text!", m.schema_version as "schema_version!",
                  coalesce(m.provider_message_id,
                           (select b.provider_message_id from attempt b where b.delivery_id = d.id
                               and b.provider_message_id is not null order by b.n desc limit 1)) as "provider_message_id?",
                  m.in_reply_to as "in_reply_to?",
                  m.notification_id as "notification_id?", m.delivery_id as "delivery_id?",
                  d.evidence::text as "evidence?", t.slug as "template?", w.number as "template_number?",
                  m.provider_time as "provider_time?", m.received_at as "received_at!"
             from unnest($1::uuid[]) with ordinality as x(id, position)
             join message m on m.id = x.id join conversation v on v.id = m.conversation_id
             join channel c on c.id = m.channel_id join address a on a.id = m.address_id
             left join delivery d on d.id = m.delivery_id and m.outbound
             left join notification n on n.id = m.notification_id and m.outbound
             left join plan p on p.id = n.plan_id
             left join template_version w on w.id = p.template_version_ids[d.step + 1]
             left join template t on t.id = w.template_id
            order by x.position"#,
        ids
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|r| {
            Ok(MessageRow {
                id: r.id,
                conversation_id: r.conversation_id,
                contact_id: r.contact_id,
                outbound: r.outbound,
                channel: r.channel,
                channel_type: r.channel_type.parse()?,
                address: Address { kind: r.kind.parse()?, value: r.value },
                service_identifier: r.ours,
                content: r.content,
                plain_text: r.plain_text,
                schema_version: r.schema_version,
                provider_message_id: r.provider_message_id,
                in_reply_to: r.in_reply_to,
                notification_id: r.notification_id,
                delivery_id: r.delivery_id,
                evidence: r.evidence.map(|e| e.parse()).transpose()?,
                template: r.template.zip(r.template_number),
                provider_time: r.provider_time,
                received_at: r.received_at,
            })
        })
        .collect()
}

/// What a list of messages asks for; all that is set must hold.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Of this conversation.
    pub conversation: Option<Uuid>,
    /// From or to this contact.
    pub contact: Option<i64>,
    /// Serving or answering this notification.
    pub notification: Option<Uuid>,
    /// On this channel, by its slug.
    pub channel: Option<String>,
    /// Out, or in.
    pub outbound: Option<bool>,
    /// Behind this one, which the page before ended with.
    pub before: Option<Uuid>,
}

/// The ids of a page, the newest first.
///
/// # Errors
/// What storage says.
pub async fn page(conn: &mut Conn, wanted: &Wanted, limit: i64) -> Result<Vec<Uuid>> {
    let mut query = QueryBuilder::new("select m.id from message m where true");
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
        query.push(" and m.outbound = ").push_bind(outbound);
    }
    if let Some(before) = wanted.before {
        query.push(" and m.id < ").push_bind(before);
    }
    query.push(" order by m.id desc limit ").push_bind(limit);
    let rows = query.build().fetch_all(conn).await?;
    rows.into_iter().map(|row| Ok(row.try_get(0)?)).collect()
}
