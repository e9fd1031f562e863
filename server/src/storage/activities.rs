//! Conversations and their timelines as they are shown. Reads only.

use chrono::{DateTime, Utc};
use sqlx::{QueryBuilder, Row};
use uuid::Uuid;

use super::{Conn, Result};

/// A conversation with the names of what it uses.
#[derive(Debug, Clone)]
pub struct ConversationRow {
    /// Its id.
    pub id: Uuid,
    /// Where it stands: `CREATED`, `ACTIVE` and so on.
    pub state: String,
    /// Whether it is on hold.
    pub hold: bool,
    /// The person.
    pub contact_id: i64,
    /// The slug of the channel in use.
    pub active_channel: String,
    /// The one with the same contact before it.
    pub previous_conversation: Option<Uuid>,
    /// How many messages it has.
    pub messages: i64,
    /// How many activities it has.
    pub activities: i64,
    /// Open channel sessions.
    pub sessions: i32,
    /// Agents who take part.
    pub agents: i32,
    /// How urgent it is, 0 to 9.
    pub priority: i16,
    /// Its labels.
    pub labels: Vec<String>,
    /// Its attributes, a flat object of texts.
    pub attributes: serde_json::Value,
    /// The etag.
    pub version: i32,
    /// When something was last said.
    pub last_message_at: Option<DateTime<Utc>>,
    /// Why it was closed.
    pub close_reason: Option<String>,
    /// The conversation into which it was merged.
    pub merged_into: Option<Uuid>,
    /// When it began.
    pub created_at: DateTime<Utc>,
    /// When something last happened in it.
    pub changed_at: DateTime<Utc>,
    /// When it was closed.
    pub closed_at: Option<DateTime<Utc>>,
    /// When it went into the archive.
    pub archived_at: Option<DateTime<Utc>>,
}

/// Conversations by their ids, in the order of `ids`; those that do not exist are missing.
///
/// # Errors
/// What storage says.
pub async fn conversations(conn: &mut Conn, ids: &[Uuid]) -> Result<Vec<ConversationRow>> {
    let rows = sqlx::query_as!(
        ConversationRow,
        r#"select v.id as "id!", v.state as "state!", v.hold as "hold!", v.contact_id as "contact_id!",
                  c.slug as "active_channel!", v.previous_conversation as "previous_conversation?", v.last_seq as "messages!",
                  coalesce((select r.activities from archived_conversation r where r.conversation_id = v.id),
                           (select count(*) from conversation_activity a where a.conversation_id = v.id)) as "activities!",
                  v.sessions as "sessions!", v.agents as "agents!", v.priority as "priority!", v.labels as "labels!",
                  v.attributes as "attributes!", v.version as "version!", v.last_message_at as "last_message_at?",
                  v.close_reason as "close_reason?", v.merged_into as "merged_into?", v.created_at as "created_at!",
                  v.changed_at as "changed_at!", v.closed_at as "closed_at?", v.archived_at as "archived_at?"
             from unnest($1::uuid[]) with ordinality as x(id, position)
             join conversation v on v.id = x.id join channel c on c.id = v.active_channel_id order by x.position"#,
        ids
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// What a list of conversations asks for; all that is set must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// With this contact.
    pub contact: Option<i64>,
    /// In one of these states; none: in any.
    pub states: Option<Vec<String>>,
    /// With all of these labels.
    pub labels: Vec<String>,
    /// Using this channel, by its slug.
    pub active_channel: Option<String>,
    /// Behind this one, which the page before ended with.
    pub before: Option<(DateTime<Utc>, Uuid)>,
}

impl Wanted {
    /// Whether it means a conversation.
    #[must_use]
    pub fn takes(&self, row: &ConversationRow) -> bool {
        self.contact.is_none_or(|contact| contact == row.contact_id)
            && self.states.as_ref().is_none_or(|states| states.contains(&row.state))
            && self.labels.iter().all(|label| row.labels.contains(label))
            && self.active_channel.as_ref().is_none_or(|channel| *channel == row.active_channel)
    }

    fn push(&self, query: &mut QueryBuilder<sqlx::Postgres>) {
        if let Some(contact) = self.contact {
            query.push(" and v.contact_id = ").push_bind(contact);
        }
        if let Some(states) = &self.states {
            query.push(" and v.state = any(").push_bind(states.clone()).push(")");
        }
        if !self.labels.is_empty() {
            query.push(" and v.labels <> '{}' and v.labels @> ").push_bind(self.labels.clone());
        }
        if let Some(slug) = &self.active_channel {
            query
                .push(" and v.active_channel_id in (select id from channel where slug = ")
                .push_bind(slug.clone())
                .push(")");
        }
    }
}

/// The ids of a page, the most recently active first.
///
/// # Errors
/// What storage says.
pub async fn page(conn: &mut Conn, wanted: &Wanted, limit: i64) -> Result<Vec<Uuid>> {
    let mut query = QueryBuilder::new("select v.id from conversation v where true");
    wanted.push(&mut query);
    if let Some((changed_at, id)) = wanted.before {
        query.push(" and (v.changed_at, v.id) < (").push_bind(changed_at).push(", ").push_bind(id).push(")");
    }
    query.push(" order by v.changed_at desc, v.id desc limit ").push_bind(limit);
    let rows = query.build().fetch_all(conn).await?;
    rows.into_iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Whether a conversation is meant. One row is looked at, by its key; nothing is counted.
///
/// # Errors
/// What storage says.
pub async fn is_meant(conn: &mut Conn, wanted: &Wanted, id: Uuid) -> Result<bool> {
    let mut query = QueryBuilder::new("select 1 from conversation v where v.id = ");
    query.push_bind(id);
    wanted.push(&mut query);
    Ok(query.build().fetch_optional(conn).await?.is_some())
}

/// How many there are.
///
/// # Errors
/// What storage says.
pub async fn count(conn: &mut Conn, wanted: &Wanted) -> Result<i64> {
    let mut query = QueryBuilder::new("select count(*) from conversation v where true");
    wanted.push(&mut query);
    Ok(query.build().fetch_one(conn).await?.try_get(0)?)
}

/// One thing that happened in a conversation.
#[derive(Debug, Clone)]
pub struct ActivityRow {
    /// Its number within the conversation, from 1.
    pub number: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// `message`, `delivery`, `notification`, `consent`, `channel_session`, `participant` or `state_changed`.
    pub kind: String,
    /// What it is about.
    pub subject: String,
    /// The state that was reached, the evidence that came, or what was consented to.
    pub word: String,
    /// The message, where it is one.
    pub message_id: Option<Uuid>,
    /// The slug of the channel.
    pub channel: Option<String>,
    /// Why, where that is known.
    pub cause: String,
    /// Who did it, where that is known.
    pub actor: String,
}

/// Activities of a conversation with numbers above `after`, in order; or below `before`, the newest first.
///
/// # Errors
/// What storage says.
pub async fn activities(
    conn: &mut Conn,
    conversation_id: Uuid,
    after: Option<i64>,
    newest_first: bool,
    limit: i64,
) -> Result<Vec<ActivityRow>> {
    let rows = sqlx::query_as!(
        ActivityRow,
        r#"with numbered as (
             select a.*, row_number() over (order by a.at, a.rank, a.subject, a.word) as number
               from conversation_activity a where a.conversation_id = $1)
           select a.number as "number!", a.at as "at!", a.kind as "kind!", a.subject as "subject!", a.word as "word!",
                  a.message_id as "message_id?", c.slug as "channel?", a.cause as "cause!", a.actor as "actor!"
             from numbered a left join channel c on c.id = a.channel_id
            where ($2::bigint is null or case when $3 then a.number < $2 else a.number > $2 end)
            order by case when $3 then -a.number else a.number end limit $4"#,
        conversation_id,
        after,
        newest_first,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}
