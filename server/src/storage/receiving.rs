//! When receipts and answers could last reach us, and the machine time of the database.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Conn, Result};

/// Says that receipts and answers can reach us now, and gives the seconds since that was last said; 0 where it never was.
///
/// # Errors
/// What storage says.
pub async fn seen(conn: &mut Conn) -> Result<f64> {
    let gap = sqlx::query_scalar!(
        r#"with before as (select seen_at from receiving for update)
           update receiving r set seen_at = clock_timestamp() from before
           returning case when before.seen_at > '-infinity' then extract(epoch from r.seen_at - before.seen_at)::float8
                          else 0 end as "gap!""#
    )
    .fetch_one(conn)
    .await?;
    Ok(gap)
}

/// Says how a process that takes webhooks stands: whether some wait on its disk. Processes that have been silent for a quarter of
/// an hour are forgotten.
///
/// # Errors
/// What storage says.
pub async fn tell(conn: &mut Conn, receiver: Uuid, spooling: bool) -> Result<()> {
    sqlx::query!(
        r#"with gone as (delete from receiver where id <> $1 and told_at < clock_timestamp() - interval '15 min')
           insert into receiver (id, told_at, spooling) values ($1, clock_timestamp(), $2)
           on conflict (id) do update set told_at = excluded.told_at, spooling = excluded.spooling"#,
        receiver,
        spooling
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Says that a process takes no more webhooks, and leaves none behind.
///
/// # Errors
/// What storage says.
pub async fn leave(conn: &mut Conn, receiver: Uuid) -> Result<()> {
    sqlx::query!("delete from receiver where id = $1 and not spooling", receiver).execute(conn).await?;
    Ok(())
}

/// For how many seconds what people and providers say may have been hidden from the rulebook; none while all is known. The schema
/// says what counts (`deaf_since`).
///
/// # Errors
/// What storage says.
pub async fn deaf_secs(conn: &mut Conn) -> Result<Option<f64>> {
    let secs = sqlx::query_scalar!(r#"select extract(epoch from clock_timestamp() - deaf_since())::float8 as "secs?""#)
        .fetch_one(conn)
        .await?;
    Ok(secs)
}

/// No wait of any group ends before `until`, in business time. Says how many groups that concerns.
///
/// # Errors
/// What storage says.
pub async fn quiet_until(conn: &mut Conn, until: DateTime<Utc>) -> Result<u64> {
    let done = sqlx::query!(
        r#"with l as (select id from send_group where quiet_until < $1 order by id for update)
           update send_group g set quiet_until = $1 from l where g.id = l.id"#,
        until
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// The machine time of the database.
///
/// # Errors
/// What storage says.
pub async fn machine_now(conn: &mut Conn) -> Result<DateTime<Utc>> {
    let now = sqlx::query_scalar!(r#"select clock_timestamp() as "now!""#).fetch_one(conn).await?;
    Ok(now)
}
