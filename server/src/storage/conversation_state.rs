//! The facts of a conversation: locked, changed, and written with the state that they make, what changed and the event of it, in
//! one statement. What they mean is decided in `domain::conversation`; here nothing is.

use chrono::{DateTime, Utc};
use domain::conversation::{Facts, Phase, State};
use uuid::Uuid;

use super::{Conn, Result};

/// A conversation whose row is locked.
#[derive(Debug, Clone)]
pub struct Locked {
    /// Its id.
    pub id: Uuid,
    /// The person.
    pub contact_id: i64,
    /// What is stored of who is present; obligations are not counted here.
    pub facts: Facts,
    /// The state that was written with them.
    pub state: State,
    /// Whether it is on hold.
    pub hold: bool,
    /// The channel in use.
    pub active_channel_id: i32,
    /// The number of its last message.
    pub last_seq: i64,
    /// How many of them the contact wrote.
    pub inbound_count: i64,
    /// The etag.
    pub version: i32,
    /// When it began.
    pub created_at: DateTime<Utc>,
    /// When something was last said.
    pub last_message_at: Option<DateTime<Utc>>,
    /// Why it is being closed.
    pub close_reason: Option<String>,
}

struct Row {
    id: Uuid,
    contact_id: i64,
    phase: String,
    state: String,
    sessions: i32,
    agents: i32,
    wrapping_up: i32,
    ever_agent: bool,
    hold: bool,
    active_channel_id: i32,
    last_seq: i64,
    inbound_count: i64,
    version: i32,
    created_at: DateTime<Utc>,
    last_message_at: Option<DateTime<Utc>>,
    close_reason: Option<String>,
}

impl TryFrom<Row> for Locked {
    type Error = super::Error;

    fn try_from(row: Row) -> Result<Self> {
        let phase: Phase = row.phase.parse()?;
        let count = |n: i32| u32::try_from(n).unwrap_or_default();
        let facts = Facts {
            phase,
            sessions: count(row.sessions),
            agents: count(row.agents),
            wrapping_up: count(row.wrapping_up),
            ever_agent: row.ever_agent,
            obligations: 0,
        };
        Ok(Self {
            id: row.id,
            contact_id: row.contact_id,
            facts,
            state: row.state.parse()?,
            hold: row.hold,
            active_channel_id: row.active_channel_id,
            last_seq: row.last_seq,
            inbound_count: row.inbound_count,
            version: row.version,
            created_at: row.created_at,
            last_message_at: row.last_message_at,
            close_reason: row.close_reason,
        })
    }
}

/// Locks a conversation.
///
/// # Errors
/// What storage says.
pub async fn lock(conn: &mut Conn, id: Uuid) -> Result<Option<Locked>> {
    let row = sqlx::query_as!(
        Row,
        r#"select id, contact_id, phase, state, sessions, agents, wrapping_up, ever_agent, hold, active_channel_id, last_seq,
                  inbound_count, version, created_at, last_message_at, close_reason
             from conversation where id = $1 for update"#,
        id
    )
    .fetch_optional(conn)
    .await?;
    row.map(Locked::try_from).transpose()
}

/// Locks the open conversation of a contact, where there is one.
///
/// # Errors
/// What storage says.
pub async fn lock_open(conn: &mut Conn, contact_id: i64) -> Result<Option<Locked>> {
    let row = sqlx::query_as!(
        Row,
        r#"select id, contact_id, phase, state, sessions, agents, wrapping_up, ever_agent, hold, active_channel_id, last_seq,
                  inbound_count, version, created_at, last_message_at, close_reason
             from conversation where contact_id = $1 and phase = 'open' for update"#,
        contact_id
    )
    .fetch_optional(conn)
    .await?;
    row.map(Locked::try_from).transpose()
}

/// The contact of a conversation: whom to lock before it.
///
/// # Errors
/// What storage says.
pub async fn contact_of(conn: &mut Conn, id: Uuid) -> Result<Option<i64>> {
    Ok(sqlx::query_scalar!("select contact_id from conversation where id = $1", id).fetch_optional(conn).await?)
}

/// The conversation into which one went, after however many merges; itself where it was never merged.
///
/// # Errors
/// What storage says.
pub async fn survivor(conn: &mut Conn, id: Uuid) -> Result<Option<Uuid>> {
    Ok(sqlx::query_scalar!(
        r#"with recursive v as (
             select c.id, c.merged_into, 1 as depth from conversation c where c.id = $1
             union all
             select c.id, c.merged_into, v.depth + 1 from v join conversation c on c.id = v.merged_into where v.depth < 100)
           select id as "id!" from v order by depth desc limit 1"#,
        id
    )
    .fetch_optional(conn)
    .await?)
}

/// What changed, for the timeline and for whoever listens.
#[derive(Debug, Clone)]
pub struct Note<'a> {
    /// The conversation, locked by the caller.
    pub conversation_id: Uuid,
    /// What it happened to: `conversation`, `channel_session` or `participant`.
    pub kind: &'a str,
    /// Its id.
    pub id: Uuid,
    /// What happened, such as `started`.
    pub r#type: &'a str,
    /// The state before, where one changed.
    pub from: Option<&'a str>,
    /// The state after.
    pub to: Option<&'a str>,
    /// Why.
    pub cause: &'a str,
    /// Who did it: a resource name, `contact` or `system`.
    pub actor: &'a str,
    /// The channel.
    pub channel_id: Option<i32>,
    /// The occasion for a controller.
    pub intent: Option<&'a str>,
    /// What else is to be said: names and states, never words or addresses.
    pub data: serde_json::Value,
    /// What the timeline says; none: nothing.
    pub shown: Option<Shown<'a>>,
    /// When.
    pub at: DateTime<Utc>,
}

/// A line of the timeline.
#[derive(Debug, Clone)]
pub struct Shown<'a> {
    /// `state_changed`, `channel_session` or `participant`.
    pub kind: &'a str,
    /// The resource name.
    pub subject: String,
    /// The word.
    pub word: &'a str,
}

/// Writes what changed: one event, and one line of the timeline where it is shown.
///
/// # Errors
/// What storage says.
pub async fn note(conn: &mut Conn, note: &Note<'_>) -> Result<()> {
    let shown = note.shown.as_ref();
    sqlx::query!(
        r#"with g as (
             insert into conversation_change (conversation_id, kind, subject, word, cause, actor, channel_id, at)
             select $1, $12, $13, $14, $7, $8, $9, $11 where $12::text is not null)
           insert into event_out (kind, type, channel_id, from_state, to_state, reason, ids, data, at)
           values ($2, $3, $9, $5, $6, nullif($7, ''), array[$4::uuid],
                   $10::jsonb || jsonb_strip_nulls(jsonb_build_object('conversation', $1::uuid, 'actor', $8::text, 'intent', $15::text)),
                   $11)"#,
        note.conversation_id,
        note.kind,
        note.r#type,
        note.id,
        note.from,
        note.to,
        note.cause,
        note.actor,
        note.channel_id,
        note.data,
        note.at,
        shown.map(|s| s.kind),
        shown.map(|s| s.subject.as_str()),
        shown.map(|s| s.word),
        note.intent
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes the facts of a locked conversation with the state that they make.
///
/// # Errors
/// What storage says.
pub async fn store(conn: &mut Conn, locked: &Locked, now: DateTime<Utc>) -> Result<()> {
    let facts = &locked.facts;
    let count = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    sqlx::query!(
        r#"update conversation
              set phase = $2, state = $3, sessions = $4, agents = $5, wrapping_up = $6, ever_agent = $7, hold = $8,
                  active_channel_id = $9, version = $10, changed_at = greatest(changed_at, $11), close_reason = $12,
                  closing_at = case when $2 = 'closing' then coalesce(closing_at, $11) else closing_at end,
                  closed_at = case when $2 = 'closed' then coalesce(closed_at, $11) end
            where id = $1"#,
        locked.id,
        facts.phase.as_str(),
        locked.state.as_str(),
        count(facts.sessions),
        count(facts.agents),
        count(facts.wrapping_up),
        facts.ever_agent,
        locked.hold,
        locked.active_channel_id,
        locked.version,
        now,
        locked.close_reason.as_deref()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What people change of a conversation.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// How urgent it is, 0 to 9.
    pub priority: Option<i16>,
    /// Its labels; they replace all others.
    pub labels: Option<Vec<String>>,
    /// Its attributes; they replace all others.
    pub attributes: Option<serde_json::Value>,
    /// Single attributes to set (a text) or take away (null).
    pub attribute: serde_json::Value,
}

/// Changes a locked conversation.
///
/// # Errors
/// What storage says.
pub async fn change(conn: &mut Conn, id: Uuid, change: &Change, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"update conversation set priority = coalesce($2, priority), labels = coalesce($3, labels),
                  attributes = jsonb_strip_nulls(coalesce($4, attributes) || $5::jsonb), version = version + 1, changed_at = $6
            where id = $1"#,
        id,
        change.priority,
        change.labels.as_deref() as Option<&[String]>,
        change.attributes,
        change.attribute,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Says into which conversation a locked one went, and who closed it.
///
/// # Errors
/// What storage says.
pub async fn closed_by(conn: &mut Conn, id: Uuid, actor: &str, merged_into: Option<Uuid>) -> Result<()> {
    sqlx::query!(
        "update conversation set closed_by = $2, merged_into = coalesce($3, merged_into) where id = $1",
        id,
        actor,
        merged_into
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Moves all messages of one conversation behind those of another, in their order; both are locked. Says how many went, and how
/// many of them the contact wrote.
///
/// # Errors
/// What storage says.
pub async fn move_messages(conn: &mut Conn, from: Uuid, into: Uuid, last_seq: i64) -> Result<(i64, i64)> {
    let row = sqlx::query!(
        r#"with o as (select m.id, row_number() over (order by m.seq) as n from message m where m.conversation_id = $1),
           u as (update message m set conversation_id = $2, seq = $3 + o.n from o where m.id = o.id returning m.outbound, m.received_at),
           t as (select count(*) as n, count(*) filter (where not outbound) as inbound, max(received_at) as at from u),
           i as (update conversation v set last_seq = v.last_seq + t.n, inbound_count = v.inbound_count + t.inbound,
                        last_message_at = greatest(v.last_message_at, t.at) from t where v.id = $2),
           f as (update conversation v set last_seq = 0, inbound_count = 0 where v.id = $1)
           select n as "n!", inbound as "inbound!" from t"#,
        from,
        into,
        last_seq
    )
    .fetch_one(conn)
    .await?;
    Ok((row.n, row.inbound))
}

/// Moves what is owed, who takes part, what changed and what was sent from one conversation to another; both are locked.
///
/// # Errors
/// What storage says.
pub async fn move_rest(conn: &mut Conn, from: Uuid, into: Uuid) -> Result<()> {
    sqlx::query!(
        r#"with o as (delete from obligation where conversation_id = $1 returning kind, subject, began_at),
           n as (update notification set conversation_id = $2
                  where id = any (array(select m.notification_id from message m where m.conversation_id = any (array[$1, $2])))
                    and conversation_id = $1)
           insert into obligation (conversation_id, kind, subject, began_at)
           select $2, kind, subject, began_at from o on conflict do nothing"#,
        from,
        into
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives a locked conversation to another contact.
///
/// # Errors
/// What storage says.
pub async fn give_to(conn: &mut Conn, id: Uuid, contact_id: i64) -> Result<()> {
    sqlx::query!("update conversation set contact_id = $2 where id = $1", id, contact_id).execute(conn).await?;
    Ok(())
}
