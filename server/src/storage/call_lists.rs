//! Call lists and who is on them. Putting people on them and taking them off happens where notifications are decided about.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Conn, Result};

/// A call list as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct CallListRow {
    /// Its key.
    pub id: i64,
    /// Its slug.
    pub slug: String,
    /// What people call it.
    pub display_name: String,
    /// To whom, over which channel and when it is mailed.
    pub definition: serde_json::Value,
    /// When it is mailed next, where that is set.
    pub due_at: Option<DateTime<Utc>>,
    /// Changes with every write.
    pub version: i32,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// How many entries were not mailed yet.
    pub waiting: i64,
    /// When the first of them came.
    pub first_waiting_at: Option<DateTime<Utc>>,
    /// When it was last mailed.
    pub last_mailed_at: Option<DateTime<Utc>>,
}

/// Creates a call list. Says its key.
///
/// # Errors
/// [`super::Error::Exists`] when the slug is taken.
pub async fn insert(
    conn: &mut Conn,
    slug: &str,
    display_name: &str,
    definition: &serde_json::Value,
    now: DateTime<Utc>,
) -> Result<i64> {
    let id = sqlx::query_scalar!(
        r#"insert into call_list (slug, display_name, definition, created_at, updated_at) values ($1, $2, $3, $4, $4)
           returning id"#,
        slug,
        display_name,
        definition,
        now
    )
    .fetch_one(conn)
    .await?;
    Ok(id)
}

/// Locks the call list with this slug, if it exists.
///
/// # Errors
/// What storage says.
pub async fn lock(conn: &mut Conn, slug: &str) -> Result<()> {
    sqlx::query_scalar!("select id from call_list where slug = $1 for update", slug).fetch_optional(conn).await?;
    Ok(())
}

/// Call lists by slug: one where `only` is given, else a page behind `after`.
///
/// # Errors
/// What storage says.
pub async fn list(conn: &mut Conn, only: Option<&str>, after: &str, limit: i64) -> Result<Vec<CallListRow>> {
    let rows = sqlx::query_as!(
        CallListRow,
        r#"select l.id, l.slug, l.display_name, l.definition, l.due_at, l.version, l.created_at, l.updated_at,
                  w.n as "waiting!", w.first as first_waiting_at, m.last as last_mailed_at
             from call_list l
             cross join lateral (select count(*) as n, min(e.created_at) as first from call_list_entry e
                                  where e.call_list_id = l.id and e.mailed_in is null and e.withdrawn_at is null) w
             cross join lateral (select max(e.mailed_at) as last from call_list_entry e where e.call_list_id = l.id) m
            where ($1::text is null or l.slug = $1) and l.slug > $2 order by l.slug limit $3"#,
        only,
        after,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Changes a call list that the caller has locked; `due_at` is set anew.
///
/// # Errors
/// What storage says.
pub async fn update(
    conn: &mut Conn,
    id: i64,
    display_name: &str,
    definition: &serde_json::Value,
    due_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        r#"update call_list set display_name = $2, definition = $3, due_at = $4, version = version + 1, updated_at = $5
            where id = $1"#,
        id,
        display_name,
        definition,
        due_at,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes a call list that the caller has locked, with its entries.
///
/// # Errors
/// What storage says.
pub async fn delete(conn: &mut Conn, id: i64) -> Result<()> {
    sqlx::query!("delete from call_list where id = $1", id).execute(conn).await?;
    Ok(())
}

/// The name of a policy that still leads to a call list, in its newest version.
///
/// # Errors
/// What storage says.
pub async fn used_by(conn: &mut Conn, slug: &str) -> Result<Option<String>> {
    let user = sqlx::query_scalar!(
        r#"select 'policies/' || p.slug as "name!" from policy p
             join policy_version v on v.policy_id = p.id and v.number = p.latest
            where p.deleted_at is null and v.definition #> '{policy,steps}'
                  @> jsonb_build_array(jsonb_build_object('target', jsonb_build_object('call_list', $1::text)))
            limit 1"#,
        slug
    )
    .fetch_optional(conn)
    .await?;
    Ok(user)
}

/// Which entries are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// All of them.
    All,
    /// Those that were not mailed yet.
    Waiting,
    /// Those that were.
    Mailed,
}

/// One person on a call list.
#[derive(Debug, Clone)]
pub struct EntryRow {
    /// Its key.
    pub id: i64,
    /// The notification that could not reach the person.
    pub notification_id: Uuid,
    /// The person.
    pub contact_id: i64,
    /// When the person was put on the list.
    pub created_at: DateTime<Utc>,
    /// When the entry was mailed.
    pub mailed_at: Option<DateTime<Utc>>,
    /// When it was taken back.
    pub withdrawn_at: Option<DateTime<Utc>>,
    /// What was tried before, a line for each step.
    pub tried: Vec<String>,
}

/// Entries of a call list, the newest first, below one key.
///
/// # Errors
/// What storage says.
pub async fn entries(conn: &mut Conn, call_list_id: i64, show: Show, below: i64, limit: i64) -> Result<Vec<EntryRow>> {
    let rows = sqlx::query_as!(
        EntryRow,
        r#"select e.id, e.notification_id, e.contact_id, e.created_at, e.mailed_at, e.withdrawn_at,
                  array(select (d.step + 1) || '. ' || coalesce(c.slug, 'no channel') || ': '
                               || case when d.work = 'done' then d.evidence::text else d.work::text end
                               || coalesce(' (' || coalesce(d.reason, d.failure_code) || ')', '')
                          from delivery d left join channel c on c.id = d.channel_id
                         where d.notification_id = e.notification_id order by d.step) as "tried!: Vec<String>"
             from call_list_entry e
            where e.call_list_id = $1 and e.id < $2
              and case $3::text when 'waiting' then e.mailed_in is null and e.withdrawn_at is null
                                when 'mailed' then e.mailed_in is not null else true end
            order by e.id desc limit $4"#,
        call_list_id,
        below,
        match show {
            Show::All => "all",
            Show::Waiting => "waiting",
            Show::Mailed => "mailed",
        },
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}
