//! Who a sender is: by address, by external id, by token; and one contact who turns out to be another.

use chrono::{DateTime, Utc};

use super::{Conn, Result};

/// A contact, as far as it matters who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Who {
    /// Its key.
    pub id: i64,
    /// Whether it was made of a message whose sender nobody had named.
    pub anonymous: bool,
    /// How many addresses it has.
    pub addresses: i64,
}

/// Locks contacts in the order of their keys, and says what stands of those that exist.
///
/// # Errors
/// What storage says.
pub async fn lock(conn: &mut Conn, ids: &[i64]) -> Result<Vec<Who>> {
    sqlx::query!("select id from contact where id = any($1) order by id for update", ids).fetch_all(&mut *conn).await?;
    stand(conn, ids).await
}

/// Locks the contact that uses an address, chosen as `inbound::contact_of` chooses it, and says what stands of it.
///
/// # Errors
/// What storage says.
pub async fn lock_by_address(conn: &mut Conn, addresses: &[i64]) -> Result<Locked> {
    let id = sqlx::query_scalar!(
        r#"select k.id from contact k
            where k.id = (select c.contact_id from contact_address c
                           where c.address_id = any($1)
                             and (select o.deleted_at is null from contact o where o.id = c.contact_id)
                           order by (select d.id::text from delivery d
                                      where d.address_id = c.address_id
                                        and (select n.contact_id from notification n where n.id = d.notification_id) = c.contact_id
                                      order by d.id desc limit 1) desc nulls last, c.contact_id
                           limit 1) for update"#,
        addresses
    )
    .fetch_optional(&mut *conn)
    .await?;
    match id {
        Some(id) => Ok(stand(conn, &[id]).await?.pop().map_or(Locked::Gone, Locked::Found)),
        None => Ok(Locked::Nobody),
    }
}

/// Who was found behind an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locked {
    /// Nobody uses it.
    Nobody,
    /// The one who did is no more: look again.
    Gone,
    /// This contact, locked.
    Found(Who),
}

async fn stand(conn: &mut Conn, ids: &[i64]) -> Result<Vec<Who>> {
    let rows = sqlx::query_as!(
        Who,
        r#"select k.id,
                  k.external_id is null
                    and (select a.contact_id from anonymous_contact a where a.contact_id = k.id) is not null as "anonymous!",
                  (select count(*) from contact_address l where l.contact_id = k.id) as "addresses!"
             from contact k where k.id = any($1) and k.deleted_at is null order by k.id"#,
        ids
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// The contact of a token that holds.
///
/// # Errors
/// What storage says.
pub async fn by_token(conn: &mut Conn, token: &str, now: DateTime<Utc>) -> Result<Option<i64>> {
    let id = sqlx::query_scalar!(
        r#"select t.contact_id from contact_token t join contact k on k.id = t.contact_id and k.deleted_at is null
            where t.token = $1 and t.expires_at > $2"#,
        token,
        now
    )
    .fetch_optional(conn)
    .await?;
    Ok(id)
}

/// Keeps a token of a contact.
///
/// # Errors
/// What storage says.
pub async fn keep_token(
    conn: &mut Conn,
    token: &str,
    contact_id: i64,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "insert into contact_token (token, contact_id, created_at, expires_at) values ($1, $2, $3, $4)",
        token,
        contact_id,
        now,
        expires_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes that a contact was made of a message whose sender nobody had named.
///
/// # Errors
/// What storage says.
pub async fn set_anonymous(conn: &mut Conn, contact_id: i64) -> Result<()> {
    sqlx::query!("insert into anonymous_contact (contact_id) values ($1) on conflict do nothing", contact_id)
        .execute(conn)
        .await?;
    Ok(())
}

/// Gives a contact these addresses besides those that it has, whoever else has them.
///
/// # Errors
/// What storage says.
pub async fn add_addresses(conn: &mut Conn, contact_id: i64, addresses: &[i64]) -> Result<()> {
    sqlx::query!(
        r#"insert into contact_address (contact_id, address_id, position)
           select $1, x.id, ((select coalesce(max(position), -1) + 1 from contact_address where contact_id = $1))::smallint
             from unnest($2::bigint[]) x(id) on conflict do nothing"#,
        contact_id,
        addresses
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes one contact of two that are locked: addresses, notifications and closed conversations of the first go to the second, and
/// the first is deleted. Its open conversation stays with it: whoever merges sees to that before.
///
/// # Errors
/// What storage says.
pub async fn merge(conn: &mut Conn, from: i64, into: i64, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"with l as (delete from contact_address where contact_id = $1 returning address_id, position)
           insert into contact_address (contact_id, address_id, position)
           select $2, l.address_id,
                  ((select coalesce(max(position), -1) + 1 from contact_address where contact_id = $2) + l.position)::smallint
             from l on conflict do nothing"#,
        from,
        into
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!("update web_chat_session set contact_id = $2 where contact_id = $1", from, into)
        .execute(&mut *conn)
        .await?;
    sqlx::query!("update notification set contact_id = $2 where contact_id = $1", from, into)
        .execute(&mut *conn)
        .await?;
    sqlx::query!("update conversation set contact_id = $2 where contact_id = $1 and phase <> 'open'", from, into)
        .execute(&mut *conn)
        .await?;
    sqlx::query!("delete from audience_member where contact_id = $1", from).execute(&mut *conn).await?;
    sqlx::query!(
        r#"with m as (insert into anonymous_contact (contact_id, merged_into) values ($1, $2)
                      on conflict (contact_id) do update set merged_into = excluded.merged_into)
           update contact set deleted_at = $3, external_id = null, version = version + 1, updated_at = $3 where id = $1"#,
        from,
        into,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The first message of one of a contact's addresses that waits and came before this one.
///
/// # Errors
/// What storage says.
pub async fn earlier_waits(conn: &mut Conn, contact_id: i64, inbound_id: i64) -> Result<Option<i64>> {
    let first = sqlx::query_scalar!(
        r#"select min((select i.id from inbound_inbox i
                         where i.sender = (select a.kind::text || ':' || a.value from address a where a.id = l.address_id)
                           and i.id < $2 and i.parked_at is null
                         order by i.id limit 1)) as "first?"
             from contact_address l where l.contact_id = $1"#,
        contact_id,
        inbound_id
    )
    .fetch_one(conn)
    .await?;
    Ok(first)
}
