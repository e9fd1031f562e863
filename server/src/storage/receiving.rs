//! When receipts and answers could last reach us, and the machine time of the database.

use chrono::{DateTime, Utc};

use super::{Conn, Result};

/// Says that receipts and answers can reach us now, and gives the seconds since that was last said.
///
/// # Errors
/// What storage says.
pub async fn seen(conn: &mut Conn) -> Result<f64> {
    let gap = sqlx::query_scalar!(
        r#"with before as (select seen_at from receiving for update)
           update receiving r set seen_at = clock_timestamp() from before
           returning extract(epoch from r.seen_at - before.seen_at)::float8 as "gap!""#
    )
    .fetch_one(conn)
    .await?;
    Ok(gap)
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
