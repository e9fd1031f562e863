//! What the mailing of call lists reads and writes: which lists are due, who waits on them, and the mails that carried them.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::{Conn, Result};

/// A call list on which someone waits.
#[derive(Debug, Clone)]
pub struct WaitingList {
    /// Its key.
    pub id: i64,
    /// Its slug.
    pub slug: String,
    /// What people call it.
    pub display_name: String,
    /// To whom, over which channel and when it is mailed.
    pub definition: Value,
    /// When the first of those who wait came.
    pub first_at: DateTime<Utc>,
}

/// Locks lists on which someone waits and which have no time yet; those that another process looks at are left out.
///
/// # Errors
/// What storage says.
pub async fn without_time(conn: &mut Conn, limit: i64) -> Result<Vec<WaitingList>> {
    let lists = sqlx::query_as!(
        WaitingList,
        r#"select l.id as "id!", l.slug as "slug!", l.display_name as "display_name!", l.definition as "definition!",
                  w.first_at as "first_at!"
             from call_list l
            cross join lateral (select e.created_at as first_at from call_list_entry e
                                 where e.call_list_id = l.id and e.mailed_in is null and e.withdrawn_at is null
                                 order by e.id limit 1) w
            where l.due_at is null order by l.id limit $1 for update of l skip locked"#,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(lists)
}

/// Sets when a list is mailed next; none when nothing waits.
///
/// # Errors
/// What storage says.
pub async fn set_due(conn: &mut Conn, id: i64, due_at: Option<DateTime<Utc>>) -> Result<()> {
    sqlx::query!("update call_list set due_at = $2 where id = $1", id, due_at).execute(conn).await?;
    Ok(())
}

/// Locks one list that is due: (key, slug, name, definition).
///
/// # Errors
/// What storage says.
pub async fn take_due(conn: &mut Conn, now: DateTime<Utc>) -> Result<Option<(i64, String, String, Value)>> {
    let row = sqlx::query!(
        r#"select id, slug, display_name, definition from call_list where due_at <= $1
            order by due_at, id limit 1 for update skip locked"#,
        now
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|r| (r.id, r.slug, r.display_name, r.definition)))
}

/// Takes those off a list who answered, or were reached, after they had been put on it.
///
/// # Errors
/// What storage says.
pub async fn withdraw_answered(conn: &mut Conn, call_list_id: i64, now: DateTime<Utc>) -> Result<u64> {
    let done = sqlx::query!(
        r#"update call_list_entry e set withdrawn_at = $2 from notification n
            where e.call_list_id = $1 and e.mailed_in is null and e.withdrawn_at is null and n.id = e.notification_id
              and n.state in ('reached', 'replied', 'acknowledged')"#,
        call_list_id,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// A person who waits to be called.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// The entry.
    pub id: i64,
    /// The notification that no channel could end.
    pub notification_id: Uuid,
    /// The person.
    pub contact_id: i64,
    /// What the person is called.
    pub display_name: String,
    /// The language of the person.
    pub locale: String,
    /// Phones and mailboxes, the preferred ones first.
    pub addresses: Vec<String>,
    /// Since when the person waits.
    pub created_at: DateTime<Utc>,
    /// The plan of the notification.
    pub plan_id: i64,
    /// Its variables.
    pub variables: Value,
    /// What was tried, a line for each step.
    pub tried: Vec<String>,
}

/// Locks those who wait on a list, the first ones first, then reads what is to be said of them.
///
/// # Errors
/// What storage says.
pub async fn take_waiting(conn: &mut Conn, call_list_id: i64, limit: i64) -> Result<Vec<Waiting>> {
    let ids = sqlx::query_scalar!(
        r#"select id from call_list_entry where call_list_id = $1 and mailed_in is null and withdrawn_at is null
            order by id limit $2 for update"#,
        call_list_id,
        limit
    )
    .fetch_all(&mut *conn)
    .await?;
    let waiting = sqlx::query_as!(
        Waiting,
        r#"select e.id as "id!", e.notification_id as "notification_id!", e.contact_id as "contact_id!",
                  coalesce(c.display_name, '') as "display_name!", coalesce(c.locale, '') as "locale!",
                  array(select a.value from contact_address l join address a on a.id = l.address_id
                         where l.contact_id = e.contact_id order by l.position, a.id) as "addresses!: Vec<String>",
                  e.created_at as "created_at!", n.plan_id as "plan_id!", n.variables || contact_variable(c) as "variables!",
                  array(select h.channel_type || ': '
                               || case when d.work = 'done' then d.evidence::text else d.work::text end
                               || coalesce(' (' || coalesce(d.reason, d.failure_code) || ')', '')
                          from delivery d left join channel h on h.id = d.channel_id
                         where d.notification_id = e.notification_id and h.id is not null
                         order by d.step) as "tried!: Vec<String>"
             from call_list_entry e join notification n on n.id = e.notification_id
             left join contact c on c.id = e.contact_id
            where e.id = any($1) order by e.id"#,
        &ids
    )
    .fetch_all(conn)
    .await?;
    Ok(waiting)
}

/// Writes a mail that carries entries: from now on they are in it and in no other.
///
/// # Errors
/// What storage says.
pub async fn carry(
    conn: &mut Conn,
    call_list_id: i64,
    notifications: &[Uuid],
    entries: &[i64],
    now: DateTime<Utc>,
) -> Result<()> {
    let Some(first) = notifications.first() else { return Ok(()) };
    sqlx::query!(
        r#"with m as (insert into call_list_mail (id, call_list_id, notifications, entries, created_at)
                      values ($1, $2, $3, cardinality($4::bigint[]), $5))
           update call_list_entry set mailed_in = $1 where id = any($4)"#,
        first,
        call_list_id,
        notifications,
        entries,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A mail whose notifications have all ended, locked.
#[derive(Debug, Clone)]
pub struct EndedMail {
    /// The mail.
    pub id: Uuid,
    /// Its list.
    pub call_list_id: i64,
    /// Whether it was sent to one mailbox at least.
    pub sent: bool,
    /// Whether a call was made of which nobody knows how it ended: it may have arrived.
    pub unknown: bool,
    /// Why its notifications ended.
    pub reasons: Vec<String>,
}

/// Locks one mail that can be settled.
///
/// # Errors
/// What storage says.
pub async fn take_ended(conn: &mut Conn) -> Result<Option<EndedMail>> {
    let mail = sqlx::query_as!(
        EndedMail,
        r#"select m.id as "id!", m.call_list_id as "call_list_id!",
                  exists (select from notification n where n.id = any(m.notifications)
                                                       and n.state in ('reached', 'replied', 'acknowledged')) as "sent!",
                  exists (select from delivery d where d.notification_id = any(m.notifications) and d.evidence = 'unknown')
                    as "unknown!",
                  array(select distinct n.reason from notification n where n.id = any(m.notifications) and n.reason is not null
                         order by 1) as "reasons!: Vec<String>"
             from call_list_mail m
            where m.settled_at is null
              and not exists (select from notification n where n.id = any(m.notifications) and n.state in ('pending', 'waiting'))
            order by m.created_at limit 1 for update of m skip locked"#
    )
    .fetch_optional(conn)
    .await?;
    Ok(mail)
}

/// Settles a mail that went out, or may have: its entries were mailed.
///
/// # Errors
/// What storage says.
pub async fn settle(conn: &mut Conn, id: Uuid, failure: Option<&str>, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"with m as (update call_list_mail set settled_at = $2, failure = $3 where id = $1)
           update call_list_entry set mailed_at = $2 where mailed_in = $1"#,
        id,
        now,
        failure
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The slug of a list.
///
/// # Errors
/// What storage says.
pub async fn slug_of(conn: &mut Conn, id: i64) -> Result<String> {
    Ok(sqlx::query_scalar!("select slug from call_list where id = $1", id).fetch_one(conn).await?)
}

/// Settles a mail that did not go out: its entries wait again, and their list is mailed anew.
///
/// # Errors
/// What storage says.
pub async fn put_back(
    conn: &mut Conn,
    mail: &EndedMail,
    failure: &str,
    due_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!("update call_list set due_at = least(due_at, $2) where id = $1", mail.call_list_id, due_at)
        .execute(&mut *conn)
        .await?;
    sqlx::query!(
        r#"with m as (update call_list_mail set settled_at = $2, failure = $3 where id = $1)
           update call_list_entry set mailed_in = null, note = $3 where mailed_in = $1"#,
        mail.id,
        now,
        failure
    )
    .execute(conn)
    .await?;
    Ok(())
}
