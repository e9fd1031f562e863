//! Who takes part in a conversation besides the contact, and what is owed to the contact.

use chrono::{DateTime, Utc};
use domain::conversation::{Kind, Role};
use uuid::Uuid;

use super::{Conn, Result};

/// A participant as it stands.
#[derive(Debug, Clone)]
pub struct ParticipantRow {
    /// Its id; of a channel session, the session's.
    pub id: Uuid,
    /// Its conversation.
    pub conversation_id: Uuid,
    /// What it is.
    pub kind: Kind,
    /// Its resource name.
    pub subject: String,
    /// What people call it.
    pub display_name: String,
    /// In which role it takes part.
    pub role: Role,
    /// When it joined.
    pub joined_at: DateTime<Utc>,
    /// When it left.
    pub left_at: Option<DateTime<Utc>>,
    /// Why.
    pub left_reason: Option<String>,
}

struct Row {
    id: Uuid,
    conversation_id: Uuid,
    kind: String,
    subject: String,
    display_name: String,
    role: String,
    joined_at: DateTime<Utc>,
    left_at: Option<DateTime<Utc>>,
    left_reason: Option<String>,
}

impl TryFrom<Row> for ParticipantRow {
    type Error = super::Error;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            id: row.id,
            conversation_id: row.conversation_id,
            kind: row.kind.parse()?,
            subject: row.subject,
            display_name: row.display_name,
            role: row.role.parse()?,
            joined_at: row.joined_at,
            left_at: row.left_at,
            left_reason: row.left_reason,
        })
    }
}

/// Adds a participant. Says nothing of who is present already: see [`present`].
///
/// # Errors
/// [`super::Error::Exists`] when this one is present.
pub async fn add(conn: &mut Conn, new: &ParticipantRow) -> Result<()> {
    sqlx::query!(
        r#"insert into participant (id, conversation_id, kind, subject, display_name, role, joined_at)
           values ($1, $2, $3, $4, $5, $6, $7)"#,
        new.id,
        new.conversation_id,
        new.kind.as_str(),
        new.subject,
        new.display_name,
        new.role.as_str(),
        new.joined_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The participant of this name who is present.
///
/// # Errors
/// What storage says.
pub async fn present(conn: &mut Conn, conversation_id: Uuid, subject: &str) -> Result<Option<ParticipantRow>> {
    let row = sqlx::query_as!(
        Row,
        r#"select id, conversation_id, kind, subject, display_name, role, joined_at, left_at, left_reason
             from participant where conversation_id = $1 and subject = $2 and left_at is null"#,
        conversation_id,
        subject
    )
    .fetch_optional(conn)
    .await?;
    row.map(ParticipantRow::try_from).transpose()
}

/// One participant, who may have left.
///
/// # Errors
/// What storage says.
pub async fn find(conn: &mut Conn, id: Uuid) -> Result<Option<ParticipantRow>> {
    let row = sqlx::query_as!(
        Row,
        r#"select id, conversation_id, kind, subject, display_name, role, joined_at, left_at, left_reason
             from participant where id = $1"#,
        id
    )
    .fetch_optional(conn)
    .await?;
    row.map(ParticipantRow::try_from).transpose()
}

/// Gives a participant another role.
///
/// # Errors
/// What storage says.
pub async fn set_role(conn: &mut Conn, id: Uuid, role: Role) -> Result<()> {
    sqlx::query!("update participant set role = $2 where id = $1", id, role.as_str()).execute(conn).await?;
    Ok(())
}

/// Lets a participant leave.
///
/// # Errors
/// What storage says.
pub async fn leave(conn: &mut Conn, id: Uuid, reason: &str, at: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "update participant set left_at = $3, left_reason = $2 where id = $1 and left_at is null",
        id,
        reason,
        at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Who is present besides the contact.
///
/// # Errors
/// What storage says.
pub async fn all_present(conn: &mut Conn, conversation_id: Uuid) -> Result<Vec<ParticipantRow>> {
    let rows = sqlx::query_as!(
        Row,
        r#"select id, conversation_id, kind, subject, display_name, role, joined_at, left_at, left_reason
             from participant where conversation_id = $1 and left_at is null order by id"#,
        conversation_id
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(ParticipantRow::try_from).collect()
}

/// A page of participants, the contact's channel sessions among them, by id; with `present`, only those who are there.
///
/// # Errors
/// What storage says.
pub async fn list(
    conn: &mut Conn,
    conversation_id: Uuid,
    present: bool,
    after: Uuid,
    limit: i64,
) -> Result<Vec<ParticipantRow>> {
    let rows = sqlx::query_as!(
        Row,
        r#"select id as "id!", conversation_id as "conversation_id!", kind as "kind!", subject as "subject!",
                  display_name as "display_name!", role as "role!", joined_at as "joined_at!", left_at as "left_at?",
                  left_reason as "left_reason?"
             from (select id, conversation_id, kind, subject, display_name, role, joined_at, left_at, left_reason
                     from participant where conversation_id = $1
                   union all
                   select s.id, s.conversation_id, 'session', 'channelSessions/' || s.id, k.display_name, 'CUSTOMER',
                          s.started_at, s.ended_at, s.end_reason
                     from channel_session s join conversation v on v.id = s.conversation_id join contact k on k.id = v.contact_id
                    where s.conversation_id = $1) p
            where p.id > $3 and (not $2 or p.left_at is null) order by p.id limit $4"#,
        conversation_id,
        present,
        after,
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(ParticipantRow::try_from).collect()
}

/// Gives participants of one conversation to another; those whom the other has too stay behind. Says how many agents went.
///
/// # Errors
/// What storage says.
pub async fn give_to(conn: &mut Conn, from: Uuid, into: Uuid) -> Result<u32> {
    let moved = sqlx::query!(
        r#"update participant p set conversation_id = $2
            where p.conversation_id = $1
              and not (p.left_at is null and exists (select from participant o where o.conversation_id = $2 and o.left_at is null
                                                        and o.subject = p.subject))
            returning p.kind, p.role, p.left_at is null as "present!""#,
        from,
        into
    )
    .fetch_all(conn)
    .await?;
    let mut agents = 0;
    for row in moved {
        agents +=
            u32::from(row.present && domain::conversation::participant::is_agent(row.kind.parse()?, row.role.parse()?));
    }
    Ok(agents)
}

/// Notes that something is owed. Says whether it is new.
///
/// # Errors
/// What storage says.
pub async fn owe(conn: &mut Conn, conversation_id: Uuid, kind: &str, subject: &str, at: DateTime<Utc>) -> Result<bool> {
    let done = sqlx::query!(
        r#"insert into obligation (conversation_id, kind, subject, began_at) values ($1, $2, $3, $4) on conflict do nothing"#,
        conversation_id,
        kind,
        subject,
        at
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Notes that something is owed no longer. Says whether it was.
///
/// # Errors
/// What storage says.
pub async fn settle(conn: &mut Conn, conversation_id: Uuid, kind: &str, subject: &str) -> Result<bool> {
    let done = sqlx::query!(
        "delete from obligation where conversation_id = $1 and kind = $2 and subject = $3",
        conversation_id,
        kind,
        subject
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Notes that nothing is owed any more.
///
/// # Errors
/// What storage says.
pub async fn settle_all(conn: &mut Conn, conversation_id: Uuid) -> Result<()> {
    sqlx::query!("delete from obligation where conversation_id = $1", conversation_id).execute(conn).await?;
    Ok(())
}

/// What is owed in a conversation: kinds and resource names, unfinished notifications that were sent in it among them.
///
/// # Errors
/// What storage says.
pub async fn owed(conn: &mut Conn, conversation_id: Uuid, contact_id: i64) -> Result<Vec<(String, String)>> {
    let rows = sqlx::query!(
        r#"select kind as "kind!", subject as "subject!" from obligation where conversation_id = $1
           union all
           select 'notification', 'notifications/' || n.id from notification n
            where n.contact_id = $2 and n.conversation_id = $1 and n.state in ('pending', 'waiting')
            order by 1, 2"#,
        conversation_id,
        contact_id
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|r| (r.kind, r.subject)).collect())
}

/// Whether a task of the conversation waits for an agent: the contact is in a queue.
///
/// # Errors
/// What storage says.
pub async fn is_queued(conn: &mut Conn, conversation_id: Uuid) -> Result<bool> {
    let found = sqlx::query_scalar!(
        r#"select exists (select from obligation where conversation_id = $1 and kind = 'task') as "found!""#,
        conversation_id
    )
    .fetch_one(conn)
    .await?;
    Ok(found)
}

/// Unfinished notifications that were sent in a conversation, by id.
///
/// # Errors
/// What storage says.
pub async fn waiting_notifications(conn: &mut Conn, conversation_id: Uuid, contact_id: i64) -> Result<Vec<Uuid>> {
    let ids = sqlx::query_scalar!(
        r#"select id from notification where contact_id = $2 and conversation_id = $1 and state in ('pending', 'waiting')
            order by id"#,
        conversation_id,
        contact_id
    )
    .fetch_all(conn)
    .await?;
    Ok(ids)
}
