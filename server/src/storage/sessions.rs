//! Channel sessions: begun, touched by each message, ended. Their conversation is locked by the caller.

use chrono::{DateTime, Utc};
use domain::conversation::session::State;
use uuid::Uuid;

use super::{Conn, Result};

/// A channel session as it stands.
#[derive(Debug, Clone)]
pub struct SessionRow {
    /// Its id.
    pub id: Uuid,
    /// Its conversation.
    pub conversation_id: Uuid,
    /// The key of its channel.
    pub channel_id: i32,
    /// The key of the contact's address.
    pub address_id: i64,
    /// `inbound` or `outbound`: who began it.
    pub direction: String,
    /// Where it stands.
    pub state: State,
    /// What the connector says.
    pub data: serde_json::Value,
    /// Whether the contact has written in it.
    pub wrote: bool,
    /// Since when the contact owes an answer.
    pub silent_since: Option<DateTime<Utc>>,
    /// When something was last said in it.
    pub last_at: DateTime<Utc>,
    /// The generation of its timer.
    pub generation: i32,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// Why.
    pub end_reason: Option<String>,
}

struct Row {
    id: Uuid,
    conversation_id: Uuid,
    channel_id: i32,
    address_id: i64,
    direction: String,
    state: String,
    data: serde_json::Value,
    wrote: bool,
    silent_since: Option<DateTime<Utc>>,
    last_at: DateTime<Utc>,
    generation: i32,
    started_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    end_reason: Option<String>,
}

impl TryFrom<Row> for SessionRow {
    type Error = super::Error;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            id: row.id,
            conversation_id: row.conversation_id,
            channel_id: row.channel_id,
            address_id: row.address_id,
            direction: row.direction,
            state: row.state.parse()?,
            data: row.data,
            wrote: row.wrote,
            silent_since: row.silent_since,
            last_at: row.last_at,
            generation: row.generation,
            started_at: row.started_at,
            ended_at: row.ended_at,
            end_reason: row.end_reason,
        })
    }
}

/// A session that begins.
#[derive(Debug, Clone)]
pub struct NewSession<'a> {
    /// A UUIDv7.
    pub id: Uuid,
    /// Its conversation.
    pub conversation_id: Uuid,
    /// Its channel.
    pub channel_id: i32,
    /// The contact's address.
    pub address_id: i64,
    /// Whether the contact began it.
    pub inbound: bool,
    /// Whether it began with words of the contact.
    pub wrote: bool,
    /// What the connector says.
    pub data: &'a serde_json::Value,
}

/// Begins a session.
///
/// # Errors
/// What storage says.
pub async fn begin(conn: &mut Conn, new: &NewSession<'_>, at: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"insert into channel_session (id, conversation_id, channel_id, address_id, direction, data, wrote, last_at, started_at)
           values ($1, $2, $3, $4, case when $5 then 'inbound' else 'outbound' end, $6, $8, $7, $7)"#,
        new.id,
        new.conversation_id,
        new.channel_id,
        new.address_id,
        new.inbound,
        new.data,
        at,
        new.wrote
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes in the open session of a channel and address that the contact wrote: the contact owes nothing, and what the connector
/// says is kept. Says which session it is; none: there is none.
///
/// # Errors
/// What storage says.
pub async fn contact_wrote(
    conn: &mut Conn,
    conversation_id: Uuid,
    channel_id: i32,
    address_id: i64,
    data: &serde_json::Value,
    at: DateTime<Utc>,
) -> Result<Option<Uuid>> {
    let id = sqlx::query_scalar!(
        r#"update channel_session set state = 'active', wrote = true, silent_since = null, last_at = greatest(last_at, $5),
                  generation = generation + 1, data = case when $4::jsonb = '{}' then data else data || $4 end
            where conversation_id = $1 and channel_id = $2 and address_id = $3 and ended_at is null returning id"#,
        conversation_id,
        channel_id,
        address_id,
        data,
        at
    )
    .fetch_optional(conn)
    .await?;
    Ok(id)
}

/// Keeps what the connector says in the open session of a channel and address. Says which session it is; none: there is none.
///
/// # Errors
/// What storage says.
pub async fn contact_came(
    conn: &mut Conn,
    conversation_id: Uuid,
    channel_id: i32,
    address_id: i64,
    data: &serde_json::Value,
) -> Result<Option<Uuid>> {
    let id = sqlx::query_scalar!(
        r#"update channel_session set data = data || $4
            where conversation_id = $1 and channel_id = $2 and address_id = $3 and ended_at is null returning id"#,
        conversation_id,
        channel_id,
        address_id,
        data
    )
    .fetch_optional(conn)
    .await?;
    Ok(id)
}

/// The open session of a channel and address.
///
/// # Errors
/// What storage says.
pub async fn find_open(
    conn: &mut Conn,
    conversation_id: Uuid,
    channel_id: i32,
    address_id: i64,
) -> Result<Option<SessionRow>> {
    let row = sqlx::query_as!(
        Row,
        r#"select id, conversation_id, channel_id, address_id, direction, state, data, wrote, silent_since, last_at, generation,
                  started_at, ended_at, end_reason
             from channel_session where conversation_id = $1 and channel_id = $2 and address_id = $3 and ended_at is null"#,
        conversation_id,
        channel_id,
        address_id
    )
    .fetch_optional(conn)
    .await?;
    row.map(SessionRow::try_from).transpose()
}

/// One session.
///
/// # Errors
/// What storage says.
pub async fn find(conn: &mut Conn, id: Uuid) -> Result<Option<SessionRow>> {
    let row = sqlx::query_as!(
        Row,
        r#"select id, conversation_id, channel_id, address_id, direction, state, data, wrote, silent_since, last_at, generation,
                  started_at, ended_at, end_reason from channel_session where id = $1"#,
        id
    )
    .fetch_optional(conn)
    .await?;
    row.map(SessionRow::try_from).transpose()
}

/// The open sessions of a conversation, the one in which something was said last first.
///
/// # Errors
/// What storage says.
pub async fn open_of(conn: &mut Conn, conversation_id: Uuid) -> Result<Vec<SessionRow>> {
    let rows = sqlx::query_as!(
        Row,
        r#"select id, conversation_id, channel_id, address_id, direction, state, data, wrote, silent_since, last_at, generation,
                  started_at, ended_at, end_reason
             from channel_session where conversation_id = $1 and ended_at is null order by last_at desc, id desc"#,
        conversation_id
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(SessionRow::try_from).collect()
}

/// Writes where the clock of a session stands.
///
/// # Errors
/// What storage says.
pub async fn set_clock(conn: &mut Conn, session: &SessionRow) -> Result<()> {
    sqlx::query!(
        "update channel_session set state = $2, silent_since = $3, last_at = $4, generation = $5 where id = $1",
        session.id,
        session.state.as_str(),
        session.silent_since,
        session.last_at,
        session.generation
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends a session. Its timers are void by its generation, and swept when they fire.
///
/// # Errors
/// What storage says.
pub async fn end(conn: &mut Conn, id: Uuid, reason: &str, actor: &str, at: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"update channel_session set state = 'ended', ended_at = $4, end_reason = $2, ended_by = $3, silent_since = null,
                  generation = generation + 1 where id = $1 and ended_at is null"#,
        id,
        reason,
        actor,
        at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives the sessions of one conversation to another; both are locked. An open one that the other has too stays behind.
///
/// # Errors
/// What storage says.
pub async fn give_to(conn: &mut Conn, from: Uuid, into: Uuid) -> Result<u64> {
    let moved = sqlx::query_scalar!(
        r#"update channel_session s set conversation_id = $2
            where s.conversation_id = $1
              and not (s.ended_at is null
                       and exists (select from channel_session o where o.conversation_id = $2 and o.ended_at is null
                                     and o.channel_id = s.channel_id and o.address_id = s.address_id))
            returning s.ended_at is null as "open!""#,
        from,
        into
    )
    .fetch_all(conn)
    .await?;
    Ok(moved.into_iter().filter(|open| *open).count() as u64)
}

/// The address at which the contact was last met on a channel, in this conversation.
///
/// # Errors
/// What storage says.
pub async fn last_address(conn: &mut Conn, conversation_id: Uuid, channel_id: i32) -> Result<Option<i64>> {
    let id = sqlx::query_scalar!(
        r#"select address_id from channel_session where conversation_id = $1 and channel_id = $2
            order by ended_at is null desc, last_at desc limit 1"#,
        conversation_id,
        channel_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(id)
}

/// Open sessions of channels that are disabled or deleted.
///
/// # Errors
/// What storage says.
pub async fn on_disabled(conn: &mut Conn, limit: i64) -> Result<Vec<Uuid>> {
    let ids = sqlx::query_scalar!(
        r#"select s.id as "id!" from channel c join channel_session s on s.channel_id = c.id and s.ended_at is null and s.state <> 'ended'
            where c.state = 'disabled' order by s.id limit $1"#,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(ids)
}

/// A page of sessions of a conversation, by id; with `open`, only those that are.
///
/// # Errors
/// What storage says.
pub async fn list(
    conn: &mut Conn,
    conversation_id: Uuid,
    open: bool,
    after: Uuid,
    limit: i64,
) -> Result<Vec<SessionRow>> {
    let rows = sqlx::query_as!(
        Row,
        r#"select id, conversation_id, channel_id, address_id, direction, state, data, wrote, silent_since, last_at, generation,
                  started_at, ended_at, end_reason
             from channel_session where conversation_id = $1 and id > $2 and (not $3 or ended_at is null)
            order by id limit $4"#,
        conversation_id,
        after,
        open,
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(SessionRow::try_from).collect()
}
