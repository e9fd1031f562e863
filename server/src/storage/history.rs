//! Notifications as they are shown: where each stands, with its deliveries, attempts, receipts and its place on a call list.
//! Reads only; a page is found by its keys first and loaded by them then.

use chrono::{DateTime, Utc};
use domain::{
    channel::{Address, ChannelType, Lane},
    delivery::{Evidence, Work},
    notification::State,
};
use sqlx::{Postgres, QueryBuilder, Row};
use uuid::Uuid;

use super::{Conn, Result};

/// A notification with the names of what it belongs to.
#[derive(Debug, Clone)]
pub struct NotificationRow {
    /// Its id.
    pub id: Uuid,
    /// Its plan.
    pub plan_id: i64,
    /// The policy and the version that its plan was pinned from.
    pub policy: Option<(String, i32)>,
    /// Where it stands.
    pub state: State,
    /// Why it waits or ended.
    pub reason: Option<String>,
    /// The person.
    pub contact_id: i64,
    /// The slug of its campaign.
    pub campaign: Option<String>,
    /// The slug of the trigger that caused it.
    pub trigger: Option<String>,
    /// The firing of that trigger.
    pub firing: Option<i64>,
    /// The step that is under way.
    pub step: i16,
    /// What it is for.
    pub purpose: String,
    /// The lane.
    pub lane: Lane,
    /// The variables of its templates.
    pub variables: serde_json::Value,
    /// The caller's own marks.
    pub labels: Option<serde_json::Value>,
    /// How many files its mails carry.
    pub attachments: i64,
    /// When the first step may begin.
    pub deliver_after: Option<DateTime<Utc>>,
    /// When it expires.
    pub valid_until: Option<DateTime<Utc>>,
    /// When something is due next.
    pub next_due_at: Option<DateTime<Utc>>,
    /// Since when the traffic that it belongs to is paused.
    pub paused_at: Option<DateTime<Utc>>,
    /// The message that answered it.
    pub answered_by: Option<Uuid>,
    /// The slug of the channel on which the person was reached or answered.
    pub reached_channel: Option<String>,
    /// Whether evidence or an answer came after its step was left.
    pub late: bool,
    /// Counts its moves.
    pub generation: i32,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last moved.
    pub changed_at: DateTime<Utc>,
}

/// Notifications by their ids, in the order of `ids`; those that do not exist are missing.
///
/// # Errors
/// What storage says.
pub async fn notifications(conn: &mut Conn, ids: &[Uuid]) -> Result<Vec<NotificationRow>> {
    let rows = sqlx::query_file!("src/storage/history_notifications.sql", ids).fetch_all(conn).await?;
    rows.into_iter()
        .map(|r| {
            Ok(NotificationRow {
                id: r.id,
                plan_id: r.plan_id,
                policy: r.policy.zip(r.policy_number),
                state: r.state.parse()?,
                reason: r.reason,
                contact_id: r.contact_id,
                campaign: r.campaign,
                trigger: r.trigger,
                firing: r.firing,
                step: r.step,
                purpose: r.purpose,
                lane: r.lane.parse()?,
                variables: r.variables,
                labels: r.labels,
                attachments: r.attachments,
                deliver_after: r.deliver_after,
                valid_until: r.valid_until,
                next_due_at: r.next_due_at,
                paused_at: r.paused_at,
                answered_by: r.answered_by,
                reached_channel: r.reached_channel,
                late: r.late,
                generation: r.generation,
                created_at: r.created_at,
                changed_at: r.changed_at,
            })
        })
        .collect()
}

/// What a list of notifications asks for; all that is set must hold.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Of this campaign, by its slug.
    pub campaign: Option<String>,
    /// Of this trigger, by its slug.
    pub trigger: Option<String>,
    /// To this contact.
    pub contact: Option<i64>,
    /// In one of these states; empty: in any.
    pub states: Vec<State>,
    /// Created at this time or later.
    pub from: Option<DateTime<Utc>>,
    /// Created before this time.
    pub until: Option<DateTime<Utc>>,
    /// Behind this one, which the page before ended with.
    pub before: Option<Uuid>,
}

/// The ids of a page, the newest first.
///
/// # Errors
/// What storage says.
pub async fn page(conn: &mut Conn, wanted: &Wanted, limit: i64) -> Result<Vec<Uuid>> {
    let mut query = QueryBuilder::new("");
    match (&wanted.campaign, wanted.contact) {
        // The index of a campaign is ordered inside each state only: a page of each, then the newest of them.
        (Some(campaign), None) => {
            let states = if wanted.states.is_empty() { State::ALL } else { wanted.states.as_slice() };
            let states: Vec<&str> = states.iter().map(|s| s.as_str()).collect();
            query.push("select x.id from unnest(").push_bind(states.into_iter().map(str::to_owned).collect::<Vec<_>>());
            query.push(
                "::text[]) as s(state) cross join lateral (select n.id from notification n where n.campaign_id = (",
            );
            query.push("select id from campaign where slug = ").push_bind(campaign.clone());
            query.push(") and n.state = s.state::notification_state");
            push_rest(&mut query, wanted);
            query.push(" order by n.id desc limit ").push_bind(limit);
            query.push(") x order by x.id desc limit ").push_bind(limit);
        }
        (campaign, _) => {
            query.push("select n.id from notification n where true");
            if let Some(campaign) = campaign {
                query.push(" and n.campaign_id = (select id from campaign where slug = ").push_bind(campaign.clone());
                query.push(")");
            }
            if !wanted.states.is_empty() {
                let states: Vec<String> = wanted.states.iter().map(|s| s.as_str().to_owned()).collect();
                query.push(" and n.state = any(").push_bind(states).push("::text[]::notification_state[])");
            }
            push_rest(&mut query, wanted);
            query.push(" order by n.id desc limit ").push_bind(limit);
        }
    }
    let rows = query.build().fetch_all(conn).await?;
    rows.into_iter().map(|row| Ok(row.try_get(0)?)).collect()
}

fn push_rest(query: &mut QueryBuilder<Postgres>, wanted: &Wanted) {
    if let Some(trigger) = &wanted.trigger {
        query.push(" and n.trigger_id = (select id from trigger where slug = ").push_bind(trigger.clone()).push(")");
    }
    if let Some(contact) = wanted.contact {
        query.push(" and n.contact_id = ").push_bind(contact);
    }
    if let Some(from) = wanted.from {
        query.push(" and n.created_at >= ").push_bind(from);
    }
    if let Some(until) = wanted.until {
        query.push(" and n.created_at < ").push_bind(until);
    }
    if let Some(before) = wanted.before {
        query.push(" and n.id < ").push_bind(before);
    }
}

/// A delivery with the names of what it uses.
#[derive(Debug, Clone)]
pub struct DeliveryRow {
    /// Its id.
    pub id: Uuid,
    /// The step that it serves.
    pub step: i16,
    /// Where the work on it stands.
    pub work: Work,
    /// What is known of it.
    pub evidence: Evidence,
    /// Why it was skipped, taken back or given up.
    pub reason: Option<String>,
    /// What the last failure means.
    pub failure_class: Option<String>,
    /// The provider's code of the last failure.
    pub failure_code: Option<String>,
    /// The channel, where one was chosen.
    pub channel: Option<(i32, String, ChannelType)>,
    /// The address, with its key, where one was chosen.
    pub address: Option<(i64, Address)>,
    /// The message in a conversation, and what it says.
    pub message: Option<(Uuid, serde_json::Value)>,
    /// Attempts so far, the open one included.
    pub attempts: i16,
    /// The provider of the open attempt.
    pub open_provider: Option<String>,
    /// When the last attempt was marked.
    pub attempt_started_at: Option<DateTime<Utc>>,
    /// When the wait of its step began.
    pub first_sent_at: Option<DateTime<Utc>>,
    /// When it may be tried again.
    pub retry_at: Option<DateTime<Utc>>,
    /// When it expires.
    pub valid_until: Option<DateTime<Utc>>,
    /// When it was queued or skipped.
    pub created_at: DateTime<Utc>,
}

/// The deliveries of a notification, in the order of their steps.
///
/// # Errors
/// What storage says.
pub async fn deliveries(conn: &mut Conn, notification_id: Uuid) -> Result<Vec<DeliveryRow>> {
    let rows = sqlx::query!(
        r#"select d.id as "id!", d.step as "step!", d.work::text as "work!", d.evidence::text as "evidence!",
                  d.reason as "reason?", d.failure_class as "failure_class?", d.failure_code as "failure_code?",
                  c.id as "channel_id?", c.slug as "channel?", c.channel_type as "channel_type?", a.id as "address_id?",
                  a.kind::text as "kind?", a.value as "value?", m.id as "message_id?", m.content as "content?",
                  d.attempts as "attempts!", p.name as "open_provider?", d.attempt_started_at as "attempt_started_at?",
                  d.first_sent_at as "first_sent_at?", d.valid_until as "valid_until?", d.created_at as "created_at!",
                  case when d.work = 'queued' and d.attempts > 0 then
                    (select x.not_before from dispatch x
                      where x.channel_type = c.channel_type and x.send_group_id = d.send_group_id and x.published_at is null
                        and x.not_before > clock_timestamp() and d.id = any(x.delivery_ids) limit 1) end as "retry_at?"
             from delivery d left join channel c on c.id = d.channel_id left join address a on a.id = d.address_id
             left join message m on m.delivery_id = d.id and m.outbound left join channel_provider p on p.id = d.provider_id
            where d.notification_id = $1 order by d.step"#,
        notification_id
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|r| {
            let channel = match (r.channel_id, r.channel, r.channel_type) {
                (Some(id), Some(slug), Some(channel_type)) => Some((id, slug, channel_type.parse()?)),
                _ => None,
            };
            let address = match (r.address_id, r.kind, r.value) {
                (Some(id), Some(kind), Some(value)) => Some((id, Address { kind: kind.parse()?, value })),
                _ => None,
            };
            Ok(DeliveryRow {
                id: r.id,
                step: r.step,
                work: r.work.parse()?,
                evidence: r.evidence.parse()?,
                reason: r.reason,
                failure_class: r.failure_class,
                failure_code: r.failure_code,
                channel,
                address,
                message: r.message_id.zip(r.content),
                attempts: r.attempts,
                open_provider: r.open_provider,
                attempt_started_at: r.attempt_started_at,
                first_sent_at: r.first_sent_at,
                retry_at: r.retry_at,
                valid_until: r.valid_until,
                created_at: r.created_at,
            })
        })
        .collect()
}

/// One call of a provider that is over.
#[derive(Debug, Clone)]
pub struct AttemptRow {
    /// Its delivery.
    pub delivery_id: Uuid,
    /// Its number within the delivery, from 1.
    pub n: i16,
    /// The provider within the channel; empty when it was deleted.
    pub provider: String,
    /// How it ended.
    pub outcome: String,
    /// What a refusal means.
    pub failure_class: Option<String>,
    /// The provider's code.
    pub code: Option<String>,
    /// The provider's words.
    pub detail: Option<String>,
    /// The provider's id of the message.
    pub provider_message_id: Option<String>,
    /// When it was marked.
    pub started_at: DateTime<Utc>,
    /// When its outcome was known.
    pub ended_at: DateTime<Utc>,
}

/// The attempts of deliveries, in order.
///
/// # Errors
/// What storage says.
pub async fn attempts(conn: &mut Conn, deliveries: &[Uuid]) -> Result<Vec<AttemptRow>> {
    let rows = sqlx::query_as!(
        AttemptRow,
        r#"select t.delivery_id as "delivery_id!", t.n as "n!", coalesce(p.name, '') as "provider!",
                  t.outcome::text as "outcome!", t.failure_class as "failure_class?", t.code as "code?",
                  t.detail as "detail?", t.provider_message_id as "provider_message_id?", t.started_at as "started_at!",
                  t.ended_at as "ended_at!"
             from attempt t left join channel_provider p on p.id = t.provider_id
            where t.delivery_id = any($1) order by t.delivery_id, t.n"#,
        deliveries
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// What a provider said of an attempt afterwards.
#[derive(Debug, Clone)]
pub struct ReceiptRow {
    /// Its delivery.
    pub delivery_id: Uuid,
    /// The attempt that it speaks of.
    pub n: i16,
    /// What it is evidence of.
    pub evidence: Evidence,
    /// The provider's code.
    pub failure_code: Option<String>,
    /// When it happened, by the provider's clock.
    pub provider_time: Option<DateTime<Utc>>,
    /// When it came in.
    pub received_at: DateTime<Utc>,
    /// Whether its step had been left.
    pub late: bool,
}

/// The receipts of deliveries, in the order of their arrival.
///
/// # Errors
/// What storage says.
pub async fn receipts(conn: &mut Conn, deliveries: &[Uuid]) -> Result<Vec<ReceiptRow>> {
    let rows = sqlx::query!(
        r#"select delivery_id, n, evidence::text as "evidence!", failure_code, provider_time, received_at, late
             from receipt where delivery_id = any($1) order by received_at, evidence"#,
        deliveries
    )
    .fetch_all(conn)
    .await?;
    let receipt = |r: _| r;
    rows.into_iter()
        .map(receipt)
        .map(|r| {
            Ok(ReceiptRow {
                delivery_id: r.delivery_id,
                n: r.n,
                evidence: r.evidence.parse()?,
                failure_code: r.failure_code,
                provider_time: r.provider_time,
                received_at: r.received_at,
                late: r.late,
            })
        })
        .collect()
}

/// A person's place on a call list.
#[derive(Debug, Clone)]
pub struct ListedRow {
    /// The slug of the list.
    pub call_list: String,
    /// Since when.
    pub created_at: DateTime<Utc>,
    /// When the list was mailed with this entry.
    pub mailed_at: Option<DateTime<Utc>>,
    /// When the entry was taken off, because the person answered.
    pub withdrawn_at: Option<DateTime<Utc>>,
}

/// The place of a notification on a call list, if it has one.
///
/// # Errors
/// What storage says.
pub async fn listed(conn: &mut Conn, notification_id: Uuid) -> Result<Option<ListedRow>> {
    let row = sqlx::query_as!(
        ListedRow,
        r#"select l.slug as call_list, e.created_at, e.mailed_at, e.withdrawn_at
             from call_list_entry e join call_list l on l.id = e.call_list_id where e.notification_id = $1"#,
        notification_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// An answer: when it came in, and on which channel type.
///
/// # Errors
/// What storage says.
pub async fn answer(conn: &mut Conn, message_id: Uuid) -> Result<Option<(DateTime<Utc>, ChannelType)>> {
    let row = sqlx::query!(
        r#"select m.received_at as "received_at!", c.channel_type as "channel_type!"
             from (select received_at, channel_id from message where id = $1
                   union all select received_at, channel_id from archived_message where id = $1) m
             join channel c on c.id = m.channel_id"#,
        message_id
    )
    .fetch_optional(conn)
    .await?;
    row.map(|r| Ok((r.received_at, r.channel_type.parse()?))).transpose()
}

/// The language of a contact and what templates see of it, to show what it was told.
///
/// # Errors
/// What storage says.
pub async fn spoken_to(conn: &mut Conn, contact_id: i64) -> Result<(String, serde_json::Value)> {
    let row = sqlx::query!(
        r#"select k.locale as "locale!", contact_variable(k) as "variable!" from contact k where k.id = $1"#,
        contact_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|r| (r.locale, r.variable)).unwrap_or_else(|| (String::new(), serde_json::json!({}))))
}
